//! Errors of async-nats as those of an engine.
//!
//! Of a foreign error only its kind and what JetStream said are kept: others can quote addresses, with passwords in them.

use std::error::Error;

use async_nats::{
    client::{PublishErrorKind as SendErrorKind, RequestErrorKind as ClientErrorKind},
    jetstream::{
        self, ErrorCode,
        context::{PublishError, PublishErrorKind},
    },
};

use crate::relay::engine::{AppendError, EngineError};

/// A newer server's word for [`ErrorCode::STREAM_WRONG_LAST_SEQUENCE`].
const WRONG_LAST_SEQUENCE_CONSTANT: ErrorCode = ErrorCode(10164);

/// The most of a server's text.
const MAX_TEXT: usize = 200;

/// What JetStream answered, if an error has that in it.
fn answer<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a jetstream::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(answer) = error.downcast_ref() {
            return Some(answer);
        }
        next = error.source();
    }
    None
}

/// Whether it only says that the server cannot do it now.
fn is_passing(answer: &jetstream::Error) -> bool {
    let code = answer.error_code();
    code == ErrorCode::CLUSTER_NOT_AVAILABLE
        || code == ErrorCode::CLUSTER_NOT_LEADER
        || code == ErrorCode::STREAM_NOT_FOUND
        || code == ErrorCode::CONSUMER_NOT_FOUND
}

pub(super) fn text(answer: &jetstream::Error) -> String {
    answer.to_string().chars().take(MAX_TEXT).filter(|c| !c.is_control()).collect()
}

/// What JetStream answered.
pub(super) fn answered(answer: &jetstream::Error) -> EngineError {
    if is_passing(answer) {
        EngineError::Away(text(answer))
    } else {
        EngineError::Refused(text(answer))
    }
}

/// A request failed: what JetStream said, or if it did not, what the request was for.
pub(super) fn failed(error: &(dyn Error + 'static), purpose: &str) -> EngineError {
    answer(error).map_or_else(|| EngineError::Away(format!("{purpose}: no answer")), answered)
}

/// A publication was not acknowledged.
pub(super) fn unpublished(error: &PublishError) -> AppendError {
    let away = |text: &str| AppendError::Engine(EngineError::Away(text.to_owned()));
    match error.kind() {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
            AppendError::OutOfDate
        }
        PublishErrorKind::MaxPayloadExceeded => AppendError::TooLarge,
        PublishErrorKind::StreamNotFound => away("nobody leads the stream"),
        PublishErrorKind::TimedOut => away("no acknowledgement in time"),
        PublishErrorKind::BrokenPipe => closed().into(),
        PublishErrorKind::MaxAckPending => away("too many acknowledgements are due"),
        PublishErrorKind::Other => answer(error).map_or_else(|| closed().into(), refused),
    }
}

/// JetStream refused a publication.
fn refused(answer: &jetstream::Error) -> AppendError {
    let code = answer.error_code();
    if code == ErrorCode::STREAM_WRONG_LAST_SEQUENCE || code == WRONG_LAST_SEQUENCE_CONSTANT {
        AppendError::OutOfDate
    } else if code == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM {
        AppendError::TooLarge
    } else if code == ErrorCode::STREAM_STORE_FAILED && answer.to_string().contains("maximum")
        || code == ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        || code == ErrorCode::INSUFFICIENT_RESOURCES
        || code == ErrorCode::STORAGE_RESOURCES_EXCEEDED
        || code == ErrorCode::MEMORY_RESOURCES_EXCEEDED
    {
        AppendError::Full
    } else {
        AppendError::Engine(answered(answer))
    }
}

pub(super) fn closed() -> EngineError {
    EngineError::Away("the connection is closed".to_owned())
}

/// A request was not even sent.
pub(super) fn unsent(kind: SendErrorKind) -> EngineError {
    match kind {
        SendErrorKind::MaxPayloadExceeded => {
            EngineError::Refused("the message is too large".to_owned())
        }
        SendErrorKind::InvalidSubject => EngineError::Refused("the subject is invalid".to_owned()),
        SendErrorKind::Send => closed(),
    }
}

/// A request to another client failed otherwise than by silence.
pub(super) fn unasked(kind: ClientErrorKind) -> EngineError {
    match kind {
        ClientErrorKind::MaxPayloadExceeded => {
            EngineError::Refused("the message is too large".to_owned())
        }
        ClientErrorKind::InvalidSubject => {
            EngineError::Refused("the subject is invalid".to_owned())
        }
        ClientErrorKind::NoResponders | ClientErrorKind::TimedOut | ClientErrorKind::Other => {
            closed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u64, description: &str) -> jetstream::Error {
        let answer =
            serde_json::json!({ "code": 400, "err_code": code, "description": description });
        serde_json::from_value(answer).unwrap()
    }

    fn other(code: u64, description: &str) -> AppendError {
        unpublished(&PublishError::with_source(PublishErrorKind::Other, said(code, description)))
    }

    #[test]
    fn both_codes_of_a_wrong_sequence_are_known() {
        for code in [10071, 10164] {
            assert_eq!(other(code, "wrong last sequence: 7"), AppendError::OutOfDate);
        }
        let mapped = PublishError::new(PublishErrorKind::WrongLastSequence);
        assert_eq!(unpublished(&mapped), AppendError::OutOfDate);
    }

    #[test]
    fn a_full_stream_is_told_from_one_that_fails() {
        assert_eq!(other(10077, "maximum bytes exceeded"), AppendError::Full);
        assert_eq!(other(10077, "maximum messages exceeded"), AppendError::Full);
        let failed = other(10077, "write error");
        assert!(matches!(failed, AppendError::Engine(EngineError::Refused(_))), "{failed:?}");
        assert_eq!(other(10054, "message size exceeds maximum allowed"), AppendError::TooLarge);
    }

    #[test]
    fn a_foreign_error_is_not_quoted() {
        let secret = "cannot reach nats://user:secret@host";
        let error = PublishError::with_source(PublishErrorKind::Other, secret);
        assert!(!unpublished(&error).to_string().contains("secret"));
        let error: async_nats::Error = secret.into();
        let failed = failed(&*error, "info");
        assert_eq!(failed, EngineError::Away("info: no answer".to_owned()));
    }
}

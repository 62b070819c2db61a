use std::{error::Error, fmt};

use serde_json::json;

use super::*;
use crate::proto::{ProtocolError, emit::Emit, reason::tests::reasons};

/// An error, and the text of what is inside.
type Shown = (Box<dyn Error>, Option<String>);

fn shown(error: impl Error + 'static, inner: Option<&dyn fmt::Display>) -> Shown {
    (Box::new(error), inner.map(ToString::to_string))
}

/// One of each variant that has a reason inside, or is one.
fn errors_with_reasons() -> Vec<Shown> {
    let mut all = Vec::new();
    for reason in reasons() {
        let text: Option<&dyn fmt::Display> = Some(&reason);
        all.push(shown(NamespaceError::Closed(reason.clone()), text));
        all.push(shown(EmitError::Closed(reason.clone()), text));
        all.push(shown(AckError::Disconnected(reason.clone()), text));
        all.push(shown(AckError::NeverSent(EmitError::Closed(reason.clone())), text));
        for error in [
            ReadyError::TimedOut { last: Some(reason.clone()) },
            ReadyError::Failing(reason.clone()),
            ReadyError::Ended(reason.clone()),
        ] {
            all.push(shown(error.clone(), text));
            let (server, namespace) = ("http://a/socket.io/".to_owned(), "/a".to_owned());
            all.push(shown(StartError::Ready { server, namespace, error }, text));
        }
        all.push(match reason.clone() {
            Reason::Connect(failure) => shown(reason, Some(&failure)),
            Reason::Protocol(error) => shown(reason, Some(&error)),
            Reason::Refused(refusal) => shown(reason, Some(&refusal)),
            _ => shown(reason, None),
        });
    }
    all
}

/// One of each other variant.
fn other_errors() -> Vec<Shown> {
    let mut all = Vec::new();
    let event = Unsendable { event: "e".to_owned(), size: 2, attachments: 1 };
    for error in [
        BuildError::Url("no".to_owned()),
        BuildError::Header { name: "a".to_owned(), error: "no" },
        BuildError::Query("sid".to_owned()),
        BuildError::Auth("no".to_owned()),
        BuildError::Tls { option: "add_ca_pem", error: "no".to_owned() },
        BuildError::Proxy("no".to_owned()),
        BuildError::Fallback("no".to_owned()),
        BuildError::Option { name: "jitter", expected: "0.0 to 1.0" },
        BuildError::NoArbiter,
    ] {
        all.push(shown(StartError::Build(error.clone()), Some(&error)));
        all.push(shown(error, None));
    }
    for error in [
        EmitError::ReservedName("connect".to_owned()),
        EmitError::Encode("no".to_owned()),
        EmitError::Full(Emit::new("e", ()).unwrap()),
        EmitError::Offline,
        EmitError::Expired,
        EmitError::Discarded,
        EmitError::Middleware("no".to_owned()),
        EmitError::PayloadTooLarge { size: 2, limit: 1 },
        EmitError::TooManyAttachments { count: 2, limit: 1 },
        EmitError::Unsendable(event.clone()),
    ] {
        all.push(shown(AckError::NeverSent(error.clone()), Some(&error)));
        all.push(shown(error, None));
    }
    for error in [
        AnswerError::NotAsked,
        AnswerError::AlreadyAnswered,
        AnswerError::Encode("no".to_owned()),
        AnswerError::Full,
        AnswerError::Closed,
        AnswerError::PayloadTooLarge { size: 2, limit: 1 },
        AnswerError::TooManyAttachments { count: 2, limit: 1 },
    ] {
        all.push(shown(error, None));
    }
    let decode = DecodeError::new("no map");
    all.push(shown(AckError::Decode(decode.clone()), Some(&decode)));
    all.push(shown(decode, None));
    all.push(shown(AckError::TimedOut, None));
    all.push(shown(AckError::Unsendable(event), None));
    all.push(shown(ReadyError::TimedOut { last: None }, None));
    all.push(shown(ReadyError::Busy, Some(&Busy)));
    all.push(shown(Busy, None));
    all.push(shown(NamespaceError::Name("a,b".to_owned()), None));
    all.push(shown(NamespaceError::Exists("/shop".to_owned()), None));
    all.push(shown(NamespaceError::TooMany, None));
    all.push(shown(NamespaceError::Auth("no".to_owned()), None));
    let (name, expected) = ("ack_timeout", "more than zero");
    all.push(shown(NamespaceError::Option { name, expected }, None));
    all.push(shown(BridgeError::SameNamespace, None));
    all.push(shown(BridgeError::ReservedName("connect".to_owned()), None));
    all.push(shown(BridgeError::Option { name: "ack_timeout", expected: "more than zero" }, None));
    all.push(shown(ProtocolError::Utf8, None));
    all
}

#[test]
fn who_walks_the_chain_of_an_error_reads_everything_once() {
    for (error, inner) in errors_with_reasons().into_iter().chain(other_errors()) {
        let mut texts = vec![error.to_string()];
        let mut last: &dyn Error = &*error;
        while let Some(source) = last.source() {
            texts.push(source.to_string());
            last = source;
        }
        for (outer, source) in texts.iter().zip(texts.iter().skip(1)) {
            assert!(!outer.contains(source.as_str()), "{outer:?} shows its source {source:?}");
        }
        if let Some(inner) = inner {
            assert_eq!(texts.concat().matches(&inner).count(), 1, "{error:?}: {texts:?}");
        }
    }
}

#[test]
fn an_error_that_quotes_the_server_is_cut() {
    let long = json!({ "a": "x".repeat(400_000) }).to_string();
    let error = serde_json::from_str::<std::collections::HashMap<String, u8>>(&long);
    let error = DecodeError::from_serde(error.unwrap_err()).to_string();
    assert!(error.starts_with("invalid type: string \"xxx"), "{error}");
    assert_eq!(error.chars().count(), 201);
    let error = ConnectFailure::Handshake("x\n".repeat(1_000)).to_string();
    assert!(!error.contains('\n') && error.len() < 600, "{error}");
}

//! The server's response to the request for a websocket. awc takes the first response and passes on only its
//! status. Here interim responses are skipped, and the text of a refusal is read.

use std::{
    borrow::Cow,
    error::Error,
    fmt, mem,
    time::{Duration, SystemTime},
};

use actix_service::Service;
use awc::{
    ConnectRequest, ConnectResponse,
    error::{ConnectError, SendRequestError},
    http::{
        StatusCode,
        header::{self, HeaderMap, HttpDate},
    },
    middleware::Transform,
};
use bytes::Bytes;
use futures::{
    Stream, StreamExt as _,
    future::{LocalBoxFuture, ready},
};
use serde::Deserialize;

use super::polling::Answer;
use crate::{
    display::brief,
    proto::{engine_refusal::EngineRefusal, refusal::refusal},
    runtime::clock,
};

/// The most interim responses (such as 103 Early Hints) before the final one.
const MAX_INTERIM: usize = 8;

/// The most bytes of a refusal's body that are read,
pub(super) const MAX_BODY: usize = 64 << 10;
/// and the longest time: a refusal must not wait long for its text.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// A refusal, as an error that awc passes on.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// How long the server asks to wait (`Retry-After`).
    pub(super) retry_after: Option<Duration>,
    pub(super) words: Words,
}

impl Refused {
    /// Reads the text of the response to a poll.
    pub(super) async fn read(answer: &mut Answer) -> Self {
        let body = rest(answer).await;
        let retry_after = retry_after(&answer.headers);
        Self { status: answer.status, retry_after, words: Words::of(answer.status, &body) }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, retry_after: _, words: _ } = self;
        write!(f, "refused with {status}")
    }
}

impl Error for Refused {}

/// The server sent too many interim responses.
#[derive(Debug)]
pub(super) struct NeverFinal;

impl fmt::Display for NeverFinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MAX_INTERIM} interim responses")
    }
}

impl Error for NeverFinal {}

/// The text of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// For people to read: shortened and escaped.
    pub(super) shown: Option<String>,
    pub(super) meaning: Option<EngineRefusal>,
    /// Whether it is the answer of the server in Python to a request for a websocket, in a mode without
    /// websockets. The text without its quotes could come from anything.
    pub(super) is_bad_request_of_python: bool,
}

impl Words {
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let said = message(text);
        Self {
            shown: shown(&said),
            meaning: meaning(status, text, &said),
            is_bad_request_of_python: text == "\"Bad Request\"",
        }
    }

    /// The part of a body that people can read.
    pub(super) fn shown(body: &[u8]) -> Option<String> {
        shown(&message(String::from_utf8_lossy(body).trim()))
    }
}

fn shown(said: &str) -> Option<String> {
    (!said.is_empty()).then(|| brief(&said))
}

/// Of JSON, only the message is used: a server may repeat credentials in the rest. Of an HTML page, which
/// comes from a proxy, the title or the first heading.
fn message(text: &str) -> Cow<'_, str> {
    let head: String = text.chars().take(9).collect::<String>().to_ascii_lowercase();
    if text.starts_with(['{', '[', '"']) {
        refusal(Some(text)).message().to_owned().into()
    } else if head.starts_with("<html") || head.starts_with("<!doctype") {
        // The pages of haproxy have no title.
        element(text, "title").or_else(|| element(text, "h1")).unwrap_or_default().into()
    } else {
        text.into()
    }
}

/// The refusal that a server means by this text. A server says `Forbidden` with status 400 to a request for a
/// websocket; with 403, which others use as well, the code must be there, and the text is that of its
/// application.
fn meaning(status: StatusCode, body: &str, said: &str) -> Option<EngineRefusal> {
    #[derive(Deserialize)]
    struct Coded {
        code: u64,
    }

    let code = || serde_json::from_str(body).ok().map(|Coded { code }| code);
    let forbidden = u64::from(EngineRefusal::Forbidden.code());
    match (status, said) {
        (StatusCode::BAD_REQUEST, "Bad request") => Some(EngineRefusal::BadRequest),
        (StatusCode::BAD_REQUEST, "Forbidden") => Some(EngineRefusal::Forbidden),
        (StatusCode::FORBIDDEN, _) if code() == Some(forbidden) => Some(EngineRefusal::Forbidden),
        _ => EngineRefusal::of_text(said),
    }
}

/// The text of the first element of this name in a page.
fn element<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    // This has the same length as the page.
    let lower = page.to_ascii_lowercase();
    let tag = lower.find(&format!("<{name}"))?;
    let begin = lower.get(tag..)?.find('>')?.checked_add(tag)?.checked_add(1)?;
    let end = lower.get(begin..)?.find(&format!("</{name}"))?.checked_add(begin)?;
    page.get(begin..end).map(str::trim)
}

/// The awc middleware that waits for the final response, and turns a refusal into [`Refused`].
pub(super) struct ReadRefusals;

pub(super) struct Reading<S> {
    service: S,
}

impl<S> Transform<S, ConnectRequest> for ReadRefusals
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
    S::Future: 'static,
{
    type Transform = Reading<S>;

    fn new_transform(self, service: S) -> Self::Transform {
        Reading { service }
    }
}

impl<S> Service<ConnectRequest> for Reading<S>
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
    S::Future: 'static,
{
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = LocalBoxFuture<'static, Result<ConnectResponse, SendRequestError>>;

    actix_service::forward_ready!(service);

    fn call(&self, request: ConnectRequest) -> Self::Future {
        let answer = self.service.call(request);
        Box::pin(async move {
            match answer.await? {
                ConnectResponse::Tunnel(mut head, mut framed) => {
                    let mut interim = 0..MAX_INTERIM;
                    let has_body = loop {
                        if head.status == StatusCode::SWITCHING_PROTOCOLS {
                            return Ok(ConnectResponse::Tunnel(head, framed));
                        }
                        // The codec panics when it is asked for a body that is not there, or for a head
                        // while one is. It does not let its kinds of messages be named, but a new one
                        // has had none.
                        let codec = framed.codec_ref();
                        let has_body = mem::discriminant(&codec.message_type())
                            != mem::discriminant(&same(codec).message_type());
                        if has_body || !is_interim(head.status) {
                            break has_body;
                        }
                        if interim.next().is_none() {
                            return Err(custom(NeverFinal));
                        }
                        // Frames that come with the last one wait in `framed`.
                        head = framed.next().await.ok_or(ConnectError::Disconnected)??;
                    };
                    let retry_after = retry_after(head.headers());
                    // An interim response has no body, whatever follows.
                    let words = if has_body && !is_interim(head.status) {
                        // Its type cannot be named either.
                        #[expect(clippy::redundant_closure_for_method_calls)]
                        let framed = framed.into_map_codec(|codec| codec.into_payload_codec());
                        let chunks = framed.scan((), |(), chunk| ready(chunk.ok().flatten()));
                        Words::of(head.status, &body(chunks).await)
                    } else {
                        Words::default()
                    };
                    Err(custom(Refused { status: head.status, retry_after, words }))
                }
                answer @ ConnectResponse::Client(_) => Ok(answer),
            }
        })
    }
}

fn custom(error: impl Error + 'static) -> SendRequestError {
    SendRequestError::Custom(Box::new(error), Box::new(()))
}

/// A new value of the same type.
fn same<C: Default>(_: &C) -> C {
    C::default()
}

/// Whether another response follows (RFC 9110, section 15.2). 101 is final.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// As much of the body of a response as comes in time.
pub(super) async fn rest(answer: &mut Answer) -> Vec<u8> {
    body(answer.body.by_ref().scan((), |(), chunk| ready(chunk.ok()))).await
}

/// As much of the body as comes in time.
async fn body(mut chunks: impl Stream<Item = Bytes> + Unpin) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < MAX_BODY
            && let Some(chunk) = chunks.next().await
        {
            body.extend(chunk.iter().take(MAX_BODY.saturating_sub(body.len())));
        }
    };
    // When the time is over, the part that has come is used.
    let _in_time = clock::within(PATIENCE, reading).await;
    body
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    parse(value, clock::wall())
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date: SystemTime = value.parse::<HttpDate>().ok()?.into();
    // The date may be in the past.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_its_title_or_its_first_heading() {
        for (page, says) in [
            (
                "<html><head><title>502 Bad\nGateway</title></head></html>",
                Some("502 Bad\\nGateway"),
            ),
            ("<HTML><TITLE lang=en> No </TITLE><h1>Yes</h1></HTML>", Some("No")),
            (
                "<html><body><h1>503 Service Unavailable</h1>\nNo server",
                Some("503 Service Unavailable"),
            ),
            ("<!doctype html><h1>No end", None),
            ("<html><title", None),
        ] {
            assert_eq!(Words::shown(page.as_bytes()).as_deref(), says, "{page}");
        }
    }

    #[test]
    fn a_time_to_retry_is_a_number_of_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("007", Some(7)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 s", None),
            ("soon", None),
            ("1994-11-06T08:50:37Z", None),
        ] {
            assert_eq!(parse(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}

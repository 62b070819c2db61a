//! Commands to the holder of an upstream, and what it answers: one line of JSON each.
//!
//! ```text
//! {"event":["buy","tea",3]}
//! {"event":["picture",{"_placeholder":true,"num":0}],"attachments":["AQID"],"ack":false}
//!
//! {"answer":[7]}
//! {"error":{"kind":"not-sent","text":"the namespace is not joined","sent":"no"}}
//! ```
//!
//! `event` and `attachments` are as in a [record](super::record). With `"ack":false`, the event is answered when it is
//! written to the connection; otherwise, by the answer of the server. `sent` says whether the server got the event: `no`, `maybe`
//! or `yes`. Fields that are not known are ignored, and an error of a kind that is not known counts by its `sent`.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    client::socket::Socket,
    display::brief,
    payload::{Payload, error::DecodeError},
    proto::{
        emit::{Emit, check_name},
        error::{AckError, EmitError},
    },
    relay::{
        engine::{EngineError, RequestError},
        record::{Fault, answer_payload, event_payload, push_payload, push_text},
    },
};

/// Whether the server got the event of a command that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// It has not, and will not.
    No,
    /// Nobody knows. Ask the server, or send the command again with the same id if the server drops repeats.
    Maybe,
    /// It has.
    Yes,
}

impl Sent {
    fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

/// Why a command to an upstream has no result. [`sent`](Self::sent) says whether the server got its event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The event cannot be sent by anybody: its name is [reserved](EmitError::ReservedName), or its arguments cannot be
    /// [serialised](EmitError::Encode). Nothing was sent.
    #[error("{0}")]
    Event(EmitError),
    /// The name of the upstream, or the id of a durable command, is not 1 to 128 ASCII letters, digits, `-` or
    /// `_`. Nothing was sent.
    #[error("not 1 to 128 ASCII letters, digits, - or _: {}", crate::display::Excerpt(.0))]
    Name(String),
    /// The command is larger than the engine takes. Nothing was sent.
    #[error("a command of {size} bytes, and the engine takes {limit}")]
    TooLarge {
        /// Its size, in bytes, with the attachments in base64.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// No worker holds the upstream, such as while one takes over from another. Nothing was sent; try again in a few
    /// seconds.
    #[error("nobody holds the upstream")]
    Nobody,
    /// The holder has not sent the event: its namespace was not joined in time, its buffer is full, or the server would not
    /// take the event. Nothing was sent.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The holder refuses the command, and will refuse it again. Nothing was sent.
    #[error("the holder refuses: {0}")]
    Refused(String),
    /// There was no answer in time: of the holder, or of the server. The event may have been sent.
    #[error("no answer in time; the server may have got the event")]
    NoAnswer,
    /// The holder has lost the connection before there was an answer. The event may have been sent.
    #[error("no answer, and the server may have got the event: {0}")]
    Unanswered(String),
    /// The server has answered, and the answer did not reach the caller: it is larger than the engine takes.
    #[error("the answer got lost: {0}")]
    AnswerLost(String),
    /// The server has answered, and the answer does not fit the type that was asked for.
    #[error("unexpected answer: {0}")]
    Undecodable(DecodeError),
    /// The engine keeps the durable command, and there is no answer yet. The command will be done; see
    /// [`Caller::result`](crate::relay::Caller::result). The event may have been sent.
    #[error("no answer yet; the command is kept")]
    NotYet,
    /// The engine was not reached, or refused. It [depends](EngineError) whether the event may have been sent.
    #[error("{0}")]
    Engine(EngineError),
    /// What the holder has answered is not in a format that this version knows. The event may have been sent.
    #[error("the holder has answered in another format")]
    Format,
}

impl CallError {
    /// Whether the server got the event.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Event(_)
            | Self::Name(_)
            | Self::TooLarge { .. }
            | Self::Nobody
            | Self::NotSent(_)
            | Self::Refused(_)
            | Self::Engine(EngineError::Refused(_)) => Sent::No,
            Self::NoAnswer
            | Self::Unanswered(_)
            | Self::NotYet
            | Self::Engine(EngineError::Away(_))
            | Self::Format => Sent::Maybe,
            Self::AnswerLost(_) | Self::Undecodable(_) => Sent::Yes,
        }
    }
}

impl From<RequestError> for CallError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Nobody => Self::Nobody,
            RequestError::NoAnswer => Self::NoAnswer,
            RequestError::Engine(error) => Self::Engine(error),
        }
    }
}

impl From<EngineError> for CallError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// An event that is to be sent by the holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) payload: Payload,
    /// Whether it is done with the answer of the server. Otherwise, when it is written.
    pub(crate) wants_answer: bool,
}

#[derive(Deserialize)]
struct CommandLine<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(borrow, default)]
    attachments: Vec<Cow<'a, str>>,
    ack: Option<bool>,
}

impl Command {
    pub(crate) fn to_body(&self) -> Bytes {
        let mut line = "{".to_owned();
        push_payload(&mut line, "event", &self.payload);
        line.push_str(if self.wants_answer { "}" } else { ",\"ack\":false}" });
        line.into()
    }

    /// Reads a command, which anybody who reaches the engine may have written.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Fault> {
        let line = serde_json::from_slice(body).map_err(|_| Fault::Json)?;
        let CommandLine { event, attachments, ack } = line;
        let payload = event_payload(event.get(), &attachments)?;
        Ok(Self { payload, wants_answer: ack.unwrap_or(true) })
    }
}

/// A durable command, as it was given to the holder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durable<'a> {
    pub(crate) id: &'a str,
    /// See [`DurableRequest::tries`](super::engine::DurableRequest::tries).
    pub(crate) tries: u32,
}

impl Durable<'_> {
    /// The last argument of the event, by which the server can drop repeats. It is that of
    /// [`message_ids`](crate::ClientBuilder::message_ids).
    fn argument(&self) -> String {
        let mut json = "{\"messageId\":".to_owned();
        push_text(&mut json, self.id);
        json.push_str(if self.tries > 1 { ",\"redelivered\":true}" } else { "}" });
        json
    }
}

/// What the holder says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) body: Bytes,
    /// Another try would come to the same. If not, a durable command is to be tried again.
    pub(crate) is_final: bool,
}

/// Sends the event of a command, and has the answer for the caller.
///
/// It takes no longer than `deadline`: after that, the event is not sent any more. The answer has at most `limit`
/// bytes.
pub(crate) async fn execute(
    socket: &Socket,
    body: &[u8],
    durable: Option<Durable<'_>>,
    deadline: Duration,
    limit: usize,
) -> Executed {
    let (emit, wants_answer) = match prepare(body, durable) {
        Ok(prepared) => prepared,
        Err(failed) => return failed,
    };
    let outcome = if wants_answer {
        // Who sends it again is the holder.
        socket.send_with_ack::<Payload>(emit).timeout(deadline).retries(0).await
    } else {
        match socket.send(emit.lifetime(deadline)) {
            Ok(written) => written.await.map(|()| Payload::answer("[]", Vec::new())),
            Err(error) => Err(error),
        }
        .map_err(AckError::NeverSent)
    };
    answered(outcome, limit)
}

fn prepare(body: &[u8], durable: Option<Durable<'_>>) -> Result<(Emit, bool), Executed> {
    let refuse = |text: &dyn std::fmt::Display| error_body("refused", &brief(&text), Sent::No);
    let refused = |text: &dyn std::fmt::Display| Executed { body: refuse(text), is_final: true };
    let Command { payload, wants_answer } = Command::read(body).map_err(|fault| refused(&fault))?;
    check_name(payload.name()).map_err(|error| refused(&error))?;
    let payload = match durable {
        Some(durable) => payload.with_argument(&durable.argument()),
        None => payload,
    };
    Ok((Emit { payload, terms: None }, wants_answer))
}

fn answered(outcome: Result<Payload, AckError>, limit: usize) -> Executed {
    let (kind, text, sent, is_final) = match outcome {
        Ok(payload) => {
            let body = answer_body(&payload);
            if body.len() <= limit {
                return Executed { body, is_final: true };
            }
            let size = body.len();
            let text = format!("an answer of {size} bytes, and the engine takes {limit}");
            ("answer-lost", text, Sent::Yes, true)
        }
        Err(AckError::NeverSent(error)) => {
            let is_final = match &error {
                EmitError::ReservedName(_)
                | EmitError::Encode(_)
                | EmitError::Middleware(_)
                | EmitError::PayloadTooLarge { .. }
                | EmitError::TooManyAttachments { .. }
                | EmitError::Unsendable(_) => true,
                EmitError::Full(_)
                | EmitError::Closed(_)
                | EmitError::Offline
                | EmitError::Expired
                | EmitError::Discarded => false,
            };
            ("not-sent", brief(&error), Sent::No, is_final)
        }
        Err(AckError::TimedOut) => ("no-answer", String::new(), Sent::Maybe, false),
        Err(AckError::Disconnected(reason)) => ("unanswered", brief(&reason), Sent::Maybe, false),
        Err(AckError::Unsendable(error)) => ("unanswered", brief(&error), Sent::Maybe, true),
        Err(AckError::Decode(error)) => ("answer-lost", error.without_values(), Sent::Yes, true),
    };
    Executed { body: error_body(kind, &text, sent), is_final }
}

/// The answer to a command that is not sent.
pub(crate) fn not_sent(text: &str) -> Bytes {
    error_body("not-sent", text, Sent::No)
}

fn answer_body(payload: &Payload) -> Bytes {
    let mut line = "{".to_owned();
    push_payload(&mut line, "answer", payload);
    line.push('}');
    line.into()
}

fn error_body(kind: &str, text: &str, sent: Sent) -> Bytes {
    let mut line = "{\"error\":{\"kind\":".to_owned();
    push_text(&mut line, kind);
    line.push_str(",\"text\":");
    push_text(&mut line, text);
    line.push_str(",\"sent\":");
    push_text(&mut line, sent.as_str());
    line.push_str("}}");
    line.into()
}

#[derive(Deserialize)]
struct AnswerLine<'a> {
    #[serde(borrow)]
    answer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attachments: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<ErrorFields<'a>>,
}

#[derive(Deserialize)]
struct ErrorFields<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    sent: Cow<'a, str>,
}

/// Reads what a holder has answered.
pub(crate) fn read_answer(body: &[u8]) -> Result<Payload, CallError> {
    let line = serde_json::from_slice(body).map_err(|_| CallError::Format)?;
    match line {
        AnswerLine { answer: Some(answer), attachments, error: None } => {
            answer_payload(answer.get(), &attachments).map_err(|_| CallError::Format)
        }
        AnswerLine { answer: None, error: Some(error), .. } => Err(error.read()),
        AnswerLine { .. } => Err(CallError::Format),
    }
}

impl ErrorFields<'_> {
    fn read(self) -> CallError {
        let text = brief(&self.text);
        match (&*self.kind, &*self.sent) {
            ("refused", "no") => CallError::Refused(text),
            ("no-answer", "maybe") => CallError::NoAnswer,
            (_, "no") => CallError::NotSent(text),
            (_, "yes") => CallError::AnswerLost(text),
            (_, "maybe") => CallError::Unanswered(text),
            _ => CallError::Format,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        payload::{encode_event, encode_reply},
        proto::reason::Reason,
    };

    fn failed(error: AckError) -> (CallError, bool) {
        let Executed { body, is_final } = answered(Err(error), 1_000);
        (read_answer(&body).unwrap_err(), is_final)
    }

    #[test]
    fn a_command_is_read_as_it_was_written() {
        for wants_answer in [true, false] {
            let data = Bytes::from_static(b"\0\xff");
            let payload = encode_event("buy\n", &("tea", data, 3)).unwrap();
            let command = Command { payload, wants_answer };
            let body = command.to_body();
            assert!(!body.contains(&b'\n'));
            assert_eq!(Command::read(&body), Ok(command));
        }
        let command = Command::read(br#"{"event":["buy",1],"colour":"red"}"#).unwrap();
        assert!(command.wants_answer && command.payload.name() == "buy");
        let payload = encode_event("buy", &("tea", 3)).unwrap();
        let body = Command { payload, wants_answer: true }.to_body();
        assert_eq!(body, r#"{"event":["buy","tea",3]}"#);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let payload = encode_reply(&(7, Bytes::from_static(b"\0"))).unwrap();
        let Executed { body, is_final } = answered(Ok(payload.clone()), 1_000);
        assert!(is_final);
        assert_eq!(read_answer(&body), Ok(payload.clone()));
        let Executed { body, is_final } = answered(Ok(payload), 10);
        assert!(is_final);
        let error = read_answer(&body).unwrap_err();
        assert!(matches!(error, CallError::AnswerLost(_)), "{error}");
        assert_eq!(error.sent(), Sent::Yes);
    }

    #[test]
    fn an_error_says_whether_the_event_was_sent_and_whether_it_is_worth_another_try() {
        let never = AckError::NeverSent;
        for (error, sent, is_final) in [
            (never(EmitError::Offline), Sent::No, false),
            (never(EmitError::Expired), Sent::No, false),
            (never(EmitError::Closed(Reason::Shutdown)), Sent::No, false),
            (never(EmitError::PayloadTooLarge { size: 2, limit: 1 }), Sent::No, true),
            (never(EmitError::Middleware("no".into())), Sent::No, true),
            (AckError::TimedOut, Sent::Maybe, false),
            (AckError::Disconnected(Reason::Shutdown), Sent::Maybe, false),
            (AckError::Decode(DecodeError::new("x")), Sent::Yes, true),
        ] {
            let (read, was_final) = failed(error.clone());
            assert_eq!((read.sent(), was_final), (sent, is_final), "{error:?}");
        }
        let (error, _) = failed(never(EmitError::Offline));
        assert_eq!(error, CallError::NotSent(EmitError::Offline.to_string()));
        assert_eq!(failed(AckError::TimedOut).0, CallError::NoAnswer);
    }

    #[test]
    fn a_command_that_cannot_be_read_or_sent_is_refused() {
        for body in [
            &b""[..],
            b"{}",
            b"\xff",
            br#"{"event":[]}"#,
            br#"{"event":["disconnect"]}"#,
            br#"{"event":["e"],"attachments":["?"]}"#,
        ] {
            let Executed { body, is_final } = prepare(body, None).unwrap_err();
            assert!(is_final);
            let error = read_answer(&body).unwrap_err();
            assert!(matches!(error, CallError::Refused(_)), "{error}");
            assert_eq!(error.sent(), Sent::No);
        }
    }

    #[test]
    fn an_answer_in_another_format_may_have_been_sent() {
        for (body, error) in [
            ("", CallError::Format),
            ("{}", CallError::Format),
            (r#"{"answer":7}"#, CallError::Format),
            (r#"{"answer":[],"error":{"sent":"no"}}"#, CallError::Format),
            (r#"{"error":{"kind":"moon"}}"#, CallError::Format),
            (r#"{"error":{"kind":"moon","sent":"no"}}"#, CallError::NotSent(String::new())),
            (
                r#"{"error":{"kind":"refused","sent":"maybe"}}"#,
                CallError::Unanswered(String::new()),
            ),
        ] {
            assert_eq!(read_answer(body.as_bytes()), Err(error), "{body}");
        }
    }

    #[test]
    fn a_durable_event_has_its_id_as_the_last_argument_and_says_that_it_comes_again() {
        let body = br#"{"event":["buy","tea"]}"#;
        for (tries, expected) in [
            (1, r#"["buy","tea",{"messageId":"order-7"}]"#),
            (2, r#"["buy","tea",{"messageId":"order-7","redelivered":true}]"#),
        ] {
            let durable = Durable { id: "order-7", tries };
            let (emit, wants_answer) = prepare(body, Some(durable)).unwrap();
            assert_eq!((emit.payload.json(), wants_answer), (expected, true));
        }
    }
}

#[cfg(test)]
mod server_tests {
    //! Commands with a server.

    use socketioxide::{
        SocketIo,
        extract::{AckSender, Data, SocketRef},
    };

    use super::*;
    use crate::{Client, payload::encode_event};

    const LIMIT: usize = 10_000;
    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(100);

    /// A server that sells, is mute, leaves, and says what it got.
    fn start_server() -> String {
        let (layer, io) = SocketIo::new_layer();
        io.ns("/", async |socket: SocketRef| {
            socket.on("buy", async |Data::<(String, u32)>((_, count)), ack: AckSender| {
                ack.send(&(count + 4)).unwrap();
            });
            socket.on("mute", async || {});
            socket.on("leave", async |socket: SocketRef| socket.disconnect().unwrap());
            socket.on("echo", async |Data::<serde_json::Value>(got), ack: AckSender| {
                ack.send(&got).unwrap();
            });
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().layer(layer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        url
    }

    fn body(name: &str, arguments: impl serde::Serialize, wants_answer: bool) -> Bytes {
        let payload = encode_event(name, &arguments).unwrap();
        Command { payload, wants_answer }.to_body()
    }

    #[actix::test]
    async fn a_command_is_answered_by_the_server() {
        let client = Client::builder(start_server()).connect().await.unwrap();
        let ask = async |body: Bytes, durable, deadline| {
            let executed = execute(client.socket(), &body, durable, deadline, LIMIT).await;
            (read_answer(&executed.body), executed.is_final)
        };
        let (answer, is_final) = ask(body("buy", ("tea", 3), true), None, LONG).await;
        assert_eq!((answer.unwrap().decode::<u32>().unwrap(), is_final), (7, true));
        let durable = Some(Durable { id: "order-7", tries: 2 });
        let (answer, is_final) = ask(body("echo", (), true), durable, LONG).await;
        let expected = serde_json::json!({ "messageId": "order-7", "redelivered": true });
        assert_eq!(answer.unwrap().decode::<serde_json::Value>().unwrap(), expected);
        assert!(is_final);
        let (answer, _) = ask(body("mute", (), false), None, LONG).await;
        assert_eq!(answer.unwrap().to_json(), "[]");
        let none = (Err(CallError::NoAnswer), false);
        assert_eq!(ask(body("mute", (), true), None, SHORT).await, none);
        let (answer, _) = ask(body("echo", "x".repeat(LIMIT), true), None, LONG).await;
        assert!(matches!(answer, Err(CallError::AnswerLost(_))), "{answer:?}");
        let (answer, is_final) = ask(body("leave", (), true), None, LONG).await;
        assert!(matches!(answer, Err(CallError::Unanswered(_))), "{answer:?}");
        assert!(!is_final);
        // The namespace has ended.
        let (answer, is_final) = ask(body("buy", ("tea", 3), true), None, LONG).await;
        assert!(matches!(answer, Err(CallError::NotSent(_))), "{answer:?}");
        assert!(!is_final);
    }

    #[actix::test]
    async fn a_command_waits_for_its_namespace_until_its_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = Client::builder(url).start().unwrap();
        for wants_answer in [true, false] {
            let body = body("buy", ("tea", 3), wants_answer);
            let executed = execute(client.socket(), &body, None, SHORT, LIMIT).await;
            let error = read_answer(&executed.body).unwrap_err();
            assert!(matches!(error, CallError::NotSent(_)), "{error}");
            assert_eq!((error.sent(), executed.is_final), (Sent::No, false));
        }
    }
}

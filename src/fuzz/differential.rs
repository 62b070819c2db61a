//! The decoders against the official parsers of the current servers, and of 2.x, which run in Node.js.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use proptest::{prelude::*, test_runner::TestCaseResult};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::{
    mutate::{self, Message},
    *,
};
use crate::{
    Args, Value,
    proto::packet::{Body, FOREIGN_ID, ProtocolError},
};

/// The official parser in a process of its own.
struct Official {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    packet: Option<Theirs>,
    refused: Option<String>,
    /// Whether it is nested too deeply to be compared.
    #[serde(default)]
    deep: bool,
}

#[derive(Debug, Deserialize)]
struct Theirs {
    r#type: u8,
    nsp: String,
    id: Option<f64>,
    data: Option<Json>,
}

impl Official {
    fn start(version: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/node");
        let mut child = Command::new("node")
            .args(["parse.js", version])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is installed");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn read(&mut self, messages: &[Message]) -> Vec<Outcome> {
        let messages = messages.iter().map(|message| match message {
            Message::Text(text) => json!(text),
            Message::Binary(data) => {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "bin": hex })
            }
        });
        writeln!(self.input, "{}", Json::Array(messages.collect())).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect(
            "the packages of tests/support/node are installed: run `cargo test --test acks` once",
        )
    }
}

impl Drop for Official {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether two values are the same in JavaScript, which has one type of numbers.
fn same_value(ours: &Value, theirs: &Json) -> bool {
    match (ours, theirs) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(a), Json::Bool(b)) => a == b,
        (Value::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::String(a), Json::String(b)) => a == b,
        (Value::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Bytes(a), Json::Object(b)) => {
            let hex: String = a.iter().map(|byte| format!("{byte:02x}")).collect();
            b.len() == 1 && b.get("$bin") == Some(&json!(hex))
        }
        (Value::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        _ => false,
    }
}

/// Whether two packets are the same; `None` if they cannot be compared: because they are nested too deeply, or
/// have a number that fits in no type.
fn same_packet(ours: &Packet, theirs: &Theirs) -> Option<bool> {
    let text = |json: &Option<Box<str>>| match json {
        None => Some(None),
        Some(json) => {
            let payload = crate::Payload::answer(format!("[{json}]"), Vec::new());
            payload.decode::<Value>().ok().map(Some)
        }
    };
    let (kind, id, data) = match &ours.body {
        Body::Connect(data) => (0, None, text(data)?),
        Body::Disconnect => (1, None, None),
        Body::Event { id, payload } => {
            let Args(arguments) = payload.decode().ok()?;
            let name = match (theirs.data.as_ref()?.get(0)?, payload.name()) {
                // Our name for a number is its text.
                (Json::Number(number), name) => Value::Number(
                    (name.parse::<f64>().ok() == number.as_f64()).then(|| number.clone())?,
                ),
                (_, name) => Value::from(name.to_owned()),
            };
            (2, *id, Some(Value::Array([vec![name], arguments].concat())))
        }
        Body::Ack { id, payload } => {
            let Args(arguments) = payload.decode().ok()?;
            // An answer may have no arguments.
            let data =
                (theirs.data.is_some() || !arguments.is_empty()).then(|| Value::Array(arguments));
            (3, Some(*id), data)
        }
        Body::ConnectError(data) => (4, None, text(data)?),
    };
    let their_kind = if theirs.r#type > 4 { theirs.r#type - 3 } else { theirs.r#type };
    #[expect(
        clippy::cast_precision_loss,
        clippy::as_conversions,
        clippy::float_cmp,
        reason = "as JavaScript has it"
    )]
    let same_id = match (id, theirs.id) {
        (Some(FOREIGN_ID), theirs) => theirs.is_none_or(|id| id >= FOREIGN_ID as f64),
        (Some(ours), Some(theirs)) => (ours as f64) == theirs,
        (ours, theirs) => ours.is_none() && theirs.is_none(),
    };
    let same_data = match (&data, &theirs.data) {
        // Null is no data.
        (None | Some(Value::Null), None | Some(Json::Null)) => true,
        (Some(ours), Some(theirs)) => same_value(ours, theirs),
        _ => false,
    };
    Some(kind == their_kind && ours.namespace == theirs.nsp && same_id && same_data)
}

/// Whether JavaScript reads this character as the number 0.
fn is_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// The part of a packet before its JSON: count, namespace and id.
fn header(message: &Message) -> &str {
    let Message::Text(text) = message else { return "" };
    let is_count = |c: char| c.is_ascii_digit() || c == '-';
    let has_namespace = text.trim_start_matches(is_count).starts_with('/');
    let start = if has_namespace { text.find(',').unwrap_or(text.len()) } else { 0 };
    let end = text[start..].find(['[', '{', '"']).map_or(text.len(), |end| start + end);
    &text[..end]
}

/// Whether our decoder may refuse a message that the official one accepts. The table of `ProtocolError` has the
/// reasons.
fn may_refuse(error: &Refused, message: &Message, theirs: Option<&Theirs>) -> bool {
    let Refused::Protocol(error) = error else { return false };
    match error {
        ProtocolError::Base64 | ProtocolError::Namespace | ProtocolError::Placeholder => true,
        // JavaScript takes a space for the number 0.
        ProtocolError::UnknownType(_) => {
            matches!(message, Message::Text(text) if text.chars().nth(1).is_some_and(is_space))
        }
        ProtocolError::Attachments => {
            let count = header(message).get(2..).unwrap_or_default();
            let count = count.split('-').next().unwrap_or_default();
            count.len() > 10 || count.is_empty() || count.bytes().any(|byte| !byte.is_ascii_digit())
        }
        ProtocolError::Json(_) | ProtocolError::Payload => {
            // Spaces among the digits of an id.
            header(message).contains(is_space)
                || match theirs {
                    // An array where newer servers have an object.
                    Some(Theirs { r#type: 0, data: Some(Json::Array(_)), .. }) => true,
                    // Digits before the JSON of a packet that has no id.
                    Some(Theirs { r#type: 0 | 1 | 4, id, .. }) => id.is_some(),
                    // An event without JSON.
                    Some(Theirs { data, .. }) => data.is_none(),
                    // The same, and attachments are to come.
                    None => *error == ProtocolError::Payload,
                }
        }
        _ => false,
    }
}

/// The names that the official client reserves.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether our decoder may accept a message that the official one refuses. The documentation of the text form
/// has the reasons.
fn may_take(protocol: Protocol, packet: Option<&Packet>, message: &Message) -> bool {
    match packet.map(|packet| &packet.body) {
        // Any JSON is data of an error, and anything may follow a disconnect.
        Some(Body::ConnectError(_) | Body::Disconnect) => true,
        // Null is no data; and credentials exist since revision 4.
        Some(Body::Connect(data)) => data.is_none() || protocol == Protocol::Eio3,
        // A count of no attachments; any name.
        Some(Body::Event { payload, .. }) => {
            header(message).contains('-') || RESERVED.contains(&payload.name())
        }
        Some(Body::Ack { .. }) => header(message).contains('-'),
        // The same, and attachments are to come.
        None => {
            matches!(message, Message::Text(text) if RESERVED.iter().any(|name| text.contains(name)))
        }
    }
}

fn check(protocol: Protocol, official: &mut Official, messages: &[Message]) -> TestCaseResult {
    let mut decoder = Decoder::new(Parser::Json, LIMITS);
    let is_escaped = messages
        .iter()
        .any(|message| matches!(message, Message::Text(text) if text.contains("\\u")));
    // The text that began the packet: attachments complete it.
    let mut opening = None;
    for (theirs, message) in official.read(messages).into_iter().zip(messages) {
        if matches!(message, Message::Text(_)) {
            opening = Some(message);
        }
        if theirs.deep {
            return Ok(());
        }
        let ours = read(protocol, &mut decoder, message);
        let is_allowed = match (&ours, &theirs.refused) {
            (Err(_), Some(_)) => return Ok(()),
            (Err(error), None) => may_refuse(error, message, theirs.packet.as_ref()),
            (Ok(packet), Some(_)) => may_take(protocol, packet.as_ref(), message),
            (Ok(ours), None) => match (ours, &theirs.packet) {
                (None, None) => continue,
                (Some(ours), Some(theirs)) => match same_packet(ours, theirs) {
                    Some(true) | None => continue,
                    Some(false) => {
                        // In the official decoder, a space is a digit of an id, and any packet may have an id.
                        opening.is_some_and(|text| header(text).contains(is_space))
                            || matches!(theirs.r#type, 0 | 1 | 4) && theirs.id.is_some()
                            // The key of a placeholder is spelled with escapes: no encoder writes it like that.
                            || matches!(message, Message::Binary(_)) && is_escaped
                    }
                },
                // A count of no attachments.
                _ => header(message).contains("0-"),
            },
        };
        prop_assert!(is_allowed, "{message:?}: ours: {ours:?}, theirs: {theirs:?}");
        return Ok(());
    }
    Ok(())
}

fn compare(name: &str, version: &str, protocol: Protocol) {
    let official = RefCell::new(Official::start(version));
    mutate::run(name, mutate::messages(mutate::corpus()), |messages| {
        check(protocol, &mut official.borrow_mut(), &messages)
    });
}

#[test]
#[ignore = "needs Node.js and the packages of tests/support/node"]
fn fuzz_against_the_official_parsers_of_4_x() {
    compare("parsers 4.8.4", "4.8.4", Protocol::Eio4);
}

#[test]
#[ignore = "needs Node.js and the packages of tests/support/node"]
fn fuzz_against_the_official_parsers_of_2_x() {
    compare("parsers 2.5.1", "2.5.1", Protocol::Eio3);
}

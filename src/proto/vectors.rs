//! Compares the decoder and the encoder with the official parsers, on the same packets.
//!
//! `tests/vectors/packets.json` was made by `tests/vectors/generate.mjs`, which runs the official parsers.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    engine::{EnginePacket, Frame, Protocol, decode},
    packet::{Body, Decoder, Limits, Packet, Parser, ProtocolError, Refused},
};

#[derive(Deserialize)]
struct Vectors {
    packets: Vec<Valid>,
    malformed: Vec<Malformed>,
}

#[derive(Deserialize)]
struct Valid {
    revision: u8,
    note: String,
    text: String,
    attachments: Vec<String>,
    /// Packets that the official encoder writes and its own decoder refuses.
    #[serde(default)]
    decode_only: bool,
    #[serde(flatten)]
    packet: Expected,
}

#[derive(Deserialize)]
struct Malformed {
    note: String,
    frames: Vec<Input>,
    ours: String,
    packet: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Binary { bin: String },
}

#[derive(Deserialize)]
struct Expected {
    r#type: String,
    nsp: String,
    id: Option<u64>,
    // `null` is data; if the field is absent, there is no data.
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/packets.json")).unwrap()
}

pub(super) fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub(super) fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn feed(decoder: &mut Decoder, input: &Input) -> Result<Option<Packet>, Refused> {
    match input {
        Input::Text(text) => decoder.text(text.as_str().into()),
        Input::Binary { bin } => decoder.binary(bytes(bin)),
    }
}

fn decoder() -> Decoder {
    Decoder::new(Parser::Json, Limits { attachments: 10, bytes: 1 << 20 })
}

/// Replaces placeholders with `{"$bin":…}`.
fn fill(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Object(fields) if fields.get("_placeholder") == Some(&json!(true)) => {
            let number = usize::try_from(fields["num"].as_u64().unwrap()).unwrap();
            *value = json!({ "$bin": hex(&attachments[number]) });
        }
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, attachments)),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, attachments)),
        _ => {}
    }
}

/// The packet in the form of the vectors.
fn describe(packet: &Packet) -> Value {
    let text =
        |json: &Option<Box<str>>| json.as_deref().map(|json| serde_json::from_str(json).unwrap());
    let (kind, id, data): (_, _, Option<Value>) = match &packet.body {
        Body::Connect(data) => ("connect", None, text(data)),
        Body::Disconnect => ("disconnect", None, None),
        Body::ConnectError(data) => ("connect_error", None, text(data)),
        Body::Event { id, payload, .. } => ("event", *id, Some(whole(payload))),
        Body::Ack { id, payload } => ("ack", Some(*id), Some(whole(payload))),
    };
    described(kind, &packet.namespace, id, data)
}

fn whole(payload: &crate::Payload) -> Value {
    let mut value = serde_json::from_str(payload.json()).unwrap();
    if !payload.attachments().is_empty() {
        fill(&mut value, payload.attachments());
    }
    value
}

fn described(kind: &str, namespace: &str, id: Option<u64>, data: Option<Value>) -> Value {
    let mut fields = Map::new();
    fields.insert("type".to_owned(), kind.into());
    fields.insert("nsp".to_owned(), namespace.into());
    id.map(|id| fields.insert("id".to_owned(), id.into()));
    data.map(|data| fields.insert("data".to_owned(), data));
    Value::Object(fields)
}

impl Expected {
    fn describe(&self) -> Value {
        described(&self.r#type, &self.nsp, self.id, self.data.clone())
    }
}

#[test]
fn packets_of_the_official_encoders_are_read_and_written_back() {
    for Valid { revision, note, text, attachments, decode_only, packet: expected } in
        vectors().packets
    {
        let mut decoder = decoder();
        let mut read = decoder.text(text.as_str().into());
        for data in &attachments {
            assert_eq!(read, Ok(None), "{note}: {text}");
            read = decoder.binary(bytes(data));
        }
        let packet = read.unwrap_or_else(|error| panic!("{note}: {text}: {error:?}"));
        let packet = packet.unwrap_or_else(|| panic!("{note}: {text}: incomplete"));
        assert_eq!(describe(&packet), expected.describe(), "{note}: {text}");
        if decode_only {
            continue;
        }

        let protocol = if revision == 5 { Protocol::Eio4 } else { Protocol::Eio3 };
        let mut written = Vec::new();
        packet.encode(protocol, |frame| written.push(decode(protocol, frame).unwrap()));
        let mut official = vec![EnginePacket::Message(text.into())];
        official.extend(attachments.iter().map(|data| EnginePacket::Binary(bytes(data))));
        assert_eq!(written, official, "{note}");
    }
}

/// This serialises the values with our own serialiser, instead of using the text that came in.
#[test]
fn values_are_serialised_into_packets_that_mean_the_same() {
    for Valid { note, packet: expected, .. } in vectors().packets {
        let Some(Value::Array(mut data)) = expected.data else { continue };
        if expected.r#type != "event" || !data[0].is_string() {
            continue;
        }
        let name = data.remove(0);
        let arguments: Vec<Argument> = data.iter().map(|value| Argument(value.clone())).collect();
        let payload =
            crate::payload::encode_event(name.as_str().unwrap(), &Spread(arguments)).unwrap();
        let mut whole = whole(&payload);
        assert_eq!(whole.as_array_mut().unwrap().split_off(1), data, "{note}");
    }
}

/// Any number of arguments.
struct Spread(Vec<Argument>);

impl serde::Serialize for Spread {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple as _;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|argument| tuple.serialize_element(argument))?;
        tuple.end()
    }
}

/// A value with `{"$bin":…}` for bytes.
struct Argument(Value);

impl serde::Serialize for Argument {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Value::Object(fields) if fields.contains_key("$bin") => {
                serializer.serialize_bytes(&bytes(fields["$bin"].as_str().unwrap()))
            }
            Value::Object(fields) => {
                serializer.collect_map(fields.iter().map(|(key, value)| (key, Self(value.clone()))))
            }
            Value::Array(values) => serializer.collect_seq(values.iter().cloned().map(Self)),
            other => other.serialize(serializer),
        }
    }
}

#[test]
fn malformed_packets_are_refused_for_what_is_wrong_with_them() {
    for Malformed { note, frames, ours, packet: expected } in vectors().malformed {
        let mut decoder = decoder();
        let mut outcome = Ok(None);
        for frame in &frames {
            outcome = feed(&mut decoder, frame);
            if outcome.is_err() {
                break;
            }
        }
        let shown = match &outcome {
            Ok(_) => "accepts".to_owned(),
            Err(Refused::TooLarge { .. }) => "TooLarge".to_owned(),
            Err(Refused::Protocol(error)) => variant(error),
        };
        let text = match &frames[..] {
            [Input::Text(text), ..] => text.chars().take(80).collect(),
            _ => String::new(),
        };
        assert_eq!(shown, ours, "{note}: {text}");
        if let Some(expected) = expected {
            let packet = outcome.unwrap().unwrap_or_else(|| panic!("{note}: incomplete"));
            let (ours, official) = (describe(&packet), expected.describe());
            assert!(same(&ours, &official), "{note}: {text}: {ours} is not {official}");
        }
    }
}

/// JavaScript writes `1e2` as `100`, so the vectors do the same.
fn same(ours: &Value, official: &Value) -> bool {
    match (ours, official) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let found = |(key, a): (&String, &Value)| b.get(key).is_some_and(|b| same(a, b));
            a.len() == b.len() && a.iter().all(found)
        }
        _ => ours == official,
    }
}

fn variant(error: &ProtocolError) -> String {
    let debug = format!("{error:?}");
    debug.split(['(', ' ', '{']).next().unwrap().to_owned()
}

#[test]
fn every_frame_of_the_vectors_is_survived_by_both_revisions() {
    for malformed in vectors().malformed {
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            for frame in &malformed.frames {
                drop(match frame {
                    Input::Text(text) => decode(protocol, Frame::Text(text.as_str().into())),
                    Input::Binary { bin } => decode(protocol, Frame::Binary(bytes(bin))),
                });
            }
        }
    }
}

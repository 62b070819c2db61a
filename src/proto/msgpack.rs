//! The wire of socket.io-msgpack-parser: a packet is one msgpack map, in one binary message.
//!
//! ```text
//! {"type": 2, "id": 7, "data": ["name", …], "nsp": "/"}    the types of text packets, without 5 and 6
//!
//! 2.x    connect, disconnect and error come as this map in JSON, in a text message, and a 5 or a 6
//!        is a 2 or a 3 that has binary in it
//! ```
//!
//! Nothing else in the crate knows of it. What goes out is JSON text and attachments up to here, and
//! what comes in is so from here on:
//!
//! | msgpack | in the text |
//! |---|---|
//! | nil, `undefined` (ext 0 of one byte, marked as such) | null |
//! | a number | the number; null if it is infinite or none |
//! | bin, an `ArrayBuffer` (ext 0 with its length) | an attachment |
//! | a `Date` (ext 0 of eight bytes, marked as such) | what its `toISOString` gives |
//! | any other ext | `[type, attachment]`, as the official decoder has it |
//! | text | text; bytes in it that are no UTF-8 are replaced, as the official decoder does |
//! | a map | an object; integer keys become strings, other keys are refused |
//! | the key `_placeholder` | `"\u005fplaceholder"`, the same, and known to be data |
//!
//! The meanings of ext 0 are those of notepack 2.2, on which the official parser stands.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;
use rmp::{
    Marker, decode,
    encode::{self, ByteBuf},
};
use serde::{Deserialize, Serialize};
use serde_json::{Number, value::RawValue};

use super::packet::{
    Body, FOREIGN_ID, Limits, MAX_NAMESPACE, Packet, Parts, ProtocolError, Refused, event_name,
};
use crate::{
    error::brief,
    payload::text::Text,
    payload::{ESCAPED, Payload, Token, Tokens, unquoted},
};

/// How deep what comes in may be nested: no deeper than anybody could decode it.
const MAX_DEPTH: u8 = 128;

/// The farthest from 1970 that a `Date` can be, in milliseconds.
const MAX_DATE: u64 = 8_640_000_000_000_000;

/// The size of the message that a packet is sent as, or more.
pub(super) fn at_most(Parts { namespace, json, attachments, .. }: &Parts<'_>) -> u64 {
    // The fields by themselves have fewer than 64 bytes; and the worst that can become of JSON is
    // that of short fractions, of which `0.5,` becomes nine bytes.
    let json = json.map_or(0, str::len).saturating_mul(3);
    let size = attachments.iter().map(Bytes::len).fold(64, usize::saturating_add);
    let size = size.saturating_add(json).saturating_add(namespace.len());
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The message that a packet is sent as.
pub(super) fn encode(&Parts { namespace, kind, id, json, attachments }: &Parts<'_>) -> Bytes {
    let size = attachments.iter().map(Bytes::len).fold(64, usize::saturating_add);
    let size = json.map_or(0, str::len).saturating_add(namespace.len()).saturating_add(size);
    let mut out = ByteBuf::with_capacity(size);
    // What is not there must not be there as nil.
    let fields = [id.is_some(), json.is_some()]
        .into_iter()
        .fold(2_u32, |sum, is_there| sum.saturating_add(u32::from(is_there)));
    let Ok(_) = encode::write_map_len(&mut out, fields);
    let Ok(()) = encode::write_str(&mut out, "type");
    let Ok(_) = encode::write_uint(&mut out, kind.into());
    if let Some(id) = id {
        let Ok(()) = encode::write_str(&mut out, "id");
        let Ok(_) = encode::write_uint(&mut out, id);
    }
    if let Some(json) = json {
        let Ok(()) = encode::write_str(&mut out, "data");
        write(&mut out, json, attachments);
    }
    let Ok(()) = encode::write_str(&mut out, "nsp");
    let Ok(()) = encode::write_str(&mut out, namespace);
    out.into_vec().into()
}

/// Writes what the text says, with the attachments in their places. The text is scanned token by
/// token, so its depth does not matter.
fn write(out: &mut ByteBuf, json: &str, attachments: &[Bytes]) {
    let mut lengths = lengths(json).into_iter();
    let mut tokens = Tokens::of(json);
    while let Some(token) = tokens.next() {
        match token {
            Token::Object => {
                let length = lengths.next().unwrap_or_default();
                match attachment(&mut tokens, attachments) {
                    Some(data) => {
                        let Ok(()) = encode::write_bin(out, data);
                    }
                    None => {
                        let Ok(_) = encode::write_map_len(out, length / 2);
                    }
                }
            }
            Token::Array => {
                let Ok(_) = encode::write_array_len(out, lengths.next().unwrap_or_default());
            }
            Token::End => {}
            Token::Text(quoted) => {
                let Ok(()) = encode::write_str(out, &unquoted(quoted));
            }
            Token::Plain(text) => plain(out, text),
        }
    }
}

/// How many tokens stand directly in each object and array, in the order in which they begin:
/// msgpack says that first.
fn lengths(json: &str) -> Vec<u32> {
    let mut lengths = Vec::<u32>::new();
    let mut open = Vec::new();
    for token in Tokens::of(json) {
        if token == Token::End {
            open.pop();
            continue;
        }
        if let Some(length) = open.last().and_then(|&at: &usize| lengths.get_mut(at)) {
            *length = length.saturating_add(1);
        }
        if matches!(token, Token::Object | Token::Array) {
            open.push(lengths.len());
            lengths.push(0);
        }
    }
    lengths
}

/// The attachment whose place it is, if the object that has just begun is one. Then its tokens are
/// skipped.
fn attachment<'a>(tokens: &mut Tokens<'_>, attachments: &'a [Bytes]) -> Option<&'a Bytes> {
    const MARK: Token<'_> = Token::Text(r#""_placeholder""#);
    const YES: Token<'_> = Token::Plain("true");
    const NUMBER: Token<'_> = Token::Text(r#""num""#);
    let mut ahead = tokens.clone();
    let mut next = || ahead.next();
    let data = match [next()?, next()?, next()?, next()?, next()?] {
        [MARK, YES, NUMBER, Token::Plain(number), Token::End]
        | [NUMBER, Token::Plain(number), MARK, YES, Token::End] => {
            attachments.get(number.parse::<usize>().ok()?)?
        }
        _ => return None,
    };
    *tokens = ahead;
    Some(data)
}

fn plain(out: &mut ByteBuf, text: &str) {
    match text {
        "true" | "false" => {
            let Ok(()) = encode::write_bool(out, text == "true");
        }
        // It has a sign only as a fraction.
        "-0" => {
            let Ok(()) = encode::write_f64(out, -0.0);
        }
        _ => {
            if let Ok(number) = text.parse::<u64>() {
                let Ok(_) = encode::write_uint(out, number);
            } else if let Ok(number) = text.parse::<i64>() {
                let Ok(_) = encode::write_sint(out, number);
            } else {
                match text.parse::<f64>() {
                    Ok(number) if number.is_finite() => {
                        let Ok(()) = encode::write_f64(out, number);
                    }
                    _ => {
                        let Ok(()) = encode::write_nil(out);
                    }
                }
            }
        }
    }
}

/// Reads a packet in a binary message.
pub(super) fn decode(message: &Bytes, limits: Limits) -> Result<Packet, Refused> {
    let mut reader = Reader {
        message,
        input: decode::Bytes::new(message),
        json: Vec::new(),
        attachments: Vec::new(),
        attached: 0,
        limits,
    };
    reader.value(MAX_DEPTH)?;
    let Reader { input, json, attachments, .. } = reader;
    if !input.remaining_slice().is_empty() {
        return Err(broken("there is more behind it").into());
    }
    let json = ByteString::try_from(json).map_err(|_| ProtocolError::Utf8)?;
    Ok(packet(&json.into(), attachments)?)
}

/// Reads a packet in a text message, as servers 2.x send some.
pub(super) fn decode_text(text: &Text) -> Result<Packet, Refused> {
    if text.starts_with('{') {
        Ok(packet(text, Vec::new())?)
    } else {
        Err(broken("it is one of the default parser").into())
    }
}

/// The map of a packet. Fields that nobody knows are ignored.
#[derive(Deserialize)]
struct Fields<'a> {
    r#type: u8,
    nsp: String,
    id: Option<Number>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn packet(source: &Text, attachments: Vec<Bytes>) -> Result<Packet, ProtocolError> {
    let Fields { r#type, nsp, id, data } =
        serde_json::from_str(source).map_err(|error| broken(brief(&error)))?;
    if nsp.len() > MAX_NAMESPACE {
        return Err(ProtocolError::Namespace);
    }
    let id = id.map(|id| id.as_u64().unwrap_or(FOREIGN_ID));
    let data = data.map(RawValue::get);
    let of_shape = |first| data.filter(|data| data.starts_with(first));
    let body = match r#type {
        0 if data.is_some() => {
            Body::Connect(Some(of_shape('{').ok_or(ProtocolError::Payload)?.into()))
        }
        0 => Body::Connect(None),
        1 => Body::Disconnect,
        2 | 5 => {
            let json = of_shape('[').ok_or(ProtocolError::Payload)?;
            let (name, arguments) = event_name(json)?;
            let json = source.slice_ref(json);
            Body::Event { id, payload: Payload::event(json, name, arguments, attachments) }
        }
        3 | 6 => {
            let json = of_shape('[').ok_or(ProtocolError::Payload)?;
            let id = id.unwrap_or(FOREIGN_ID);
            Body::Ack { id, payload: Payload::answer(source.slice_ref(json), attachments) }
        }
        4 => Body::ConnectError(data.map(Into::into)),
        other => return Err(ProtocolError::UnknownType(other)),
    };
    Ok(Packet::new(nsp.into(), body))
}

fn broken(why: impl Into<String>) -> ProtocolError {
    ProtocolError::Msgpack(why.into())
}

/// Reading fails for this only, as what is to come has been looked at.
fn cut(_: impl Sized) -> Refused {
    broken("it ends too early").into()
}

/// Turns msgpack into JSON and attachments. A length is believed only as far as there are bytes.
struct Reader<'a> {
    message: &'a Bytes,
    input: decode::Bytes<'a>,
    json: Vec<u8>,
    attachments: Vec<Bytes>,
    /// The bytes of all attachments.
    attached: usize,
    limits: Limits,
}

impl<'a> Reader<'a> {
    /// `depth`: how many maps and arrays may be inside each other from here on.
    fn value(&mut self, depth: u8) -> Result<(), Refused> {
        let marker = self.marker()?;
        match marker {
            Marker::Null => {
                decode::read_nil(&mut self.input).map_err(cut)?;
                self.push("null")
            }
            Marker::True | Marker::False => {
                let value = decode::read_bool(&mut self.input).map_err(cut)?;
                self.write(&value)
            }
            Marker::F32 => {
                let value = decode::read_f32(&mut self.input).map_err(cut)?;
                self.write(&f64::from(value))
            }
            Marker::F64 => {
                let value = decode::read_f64(&mut self.input).map_err(cut)?;
                self.write(&value)
            }
            Marker::FixPos(_) | Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => {
                let value: u64 = decode::read_int(&mut self.input).map_err(cut)?;
                self.write(&value)
            }
            Marker::FixNeg(_) | Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {
                let value: i64 = decode::read_int(&mut self.input).map_err(cut)?;
                self.write(&value)
            }
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let text = self.text()?;
                self.write_text(&text)
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let length = decode::read_bin_len(&mut self.input).map_err(cut)?;
                let data = self.take(length)?;
                self.attach(data)
            }
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => self.array(depth),
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => self.map(depth),
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32 => self.extension(marker),
            Marker::Reserved => Err(broken("it has the byte 0xc1, which means nothing").into()),
        }
    }

    /// What comes next.
    fn marker(&self) -> Result<Marker, Refused> {
        let first = self.input.remaining_slice().first();
        first.map(|&byte| Marker::from_u8(byte)).ok_or_else(|| cut(()))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Refused> {
        let length = decode::read_str_len(&mut self.input).map_err(cut)?;
        Ok(String::from_utf8_lossy(self.take(length)?))
    }

    fn write_text(&mut self, text: &str) -> Result<(), Refused> {
        // With its quotes, and what may be six characters as `\u0000`.
        let escapes = text.bytes().filter(|byte| *byte < b' ').count();
        self.room(text.len().saturating_add(escapes.saturating_mul(5)).saturating_add(2))?;
        self.write(text)
    }

    fn array(&mut self, depth: u8) -> Result<(), Refused> {
        let depth = deeper(depth)?;
        let length = decode::read_array_len(&mut self.input).map_err(cut)?;
        self.push("[")?;
        for index in 0..length {
            if index > 0 {
                self.push(",")?;
            }
            self.value(depth)?;
        }
        self.push("]")
    }

    fn map(&mut self, depth: u8) -> Result<(), Refused> {
        let depth = deeper(depth)?;
        let length = decode::read_map_len(&mut self.input).map_err(cut)?;
        self.push("{")?;
        for index in 0..length {
            if index > 0 {
                self.push(",")?;
            }
            self.key()?;
            self.push(":")?;
            self.value(depth)?;
        }
        self.push("}")
    }

    fn key(&mut self) -> Result<(), Refused> {
        match self.marker()? {
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                let key = self.text()?;
                if key == "_placeholder" { self.push(ESCAPED) } else { self.write_text(&key) }
            }
            Marker::FixPos(_)
            | Marker::U8
            | Marker::U16
            | Marker::U32
            | Marker::U64
            | Marker::FixNeg(_)
            | Marker::I8
            | Marker::I16
            | Marker::I32
            | Marker::I64 => {
                self.push("\"")?;
                self.value(0)?;
                self.push("\"")
            }
            other => Err(broken(format!("a key is a {other:?}")).into()),
        }
    }

    fn extension(&mut self, marker: Marker) -> Result<(), Refused> {
        let meta = decode::read_ext_meta(&mut self.input).map_err(cut)?;
        let data = self.take(meta.size)?;
        match (marker, meta.typeid) {
            (Marker::FixExt1, 0) => self.push("null"),
            (Marker::FixExt8, 0) => {
                let millis = <[u8; 8]>::try_from(data).map(i64::from_be_bytes).map_err(cut)?;
                self.write(&date(millis))
            }
            (Marker::Ext8 | Marker::Ext16 | Marker::Ext32, 0) => self.attach(data),
            (_, kind) => {
                self.push("[")?;
                self.write(&kind)?;
                self.push(",")?;
                self.attach(data)?;
                self.push("]")
            }
        }
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], Refused> {
        let length = usize::try_from(length).map_err(cut)?;
        let rest = self.input.remaining_slice();
        let (data, rest) = rest.split_at_checked(length).ok_or_else(|| cut(()))?;
        self.input = decode::Bytes::new(rest);
        Ok(data)
    }

    fn attach(&mut self, data: &[u8]) -> Result<(), Refused> {
        let limit = self.limits.attachments;
        if self.attachments.len() >= limit {
            return Err(ProtocolError::TooManyAttachments { limit }.into());
        }
        let number = self.attachments.len();
        self.attachments.push(self.message.slice_ref(data));
        self.attached = self.attached.saturating_add(data.len());
        self.push(&format!(r#"{{"_placeholder":true,"num":{number}}}"#))
    }

    fn push(&mut self, json: &str) -> Result<(), Refused> {
        self.room(json.len())?;
        self.json.extend_from_slice(json.as_bytes());
        Ok(())
    }

    /// Writes a value that is short, or for which there is room.
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        serde_json::to_writer(&mut self.json, value).map_err(|error| broken(brief(&error)))?;
        self.room(0)
    }

    /// Whether so much text fits in.
    fn room(&self, wanted: usize) -> Result<(), Refused> {
        let limit = self.limits.bytes;
        let size = self.json.len().saturating_add(self.attached).saturating_add(wanted);
        if size > limit { Err(Refused::TooLarge { limit }) } else { Ok(()) }
    }
}

fn deeper(depth: u8) -> Result<u8, Refused> {
    depth.checked_sub(1).ok_or_else(|| {
        broken(format!("it is nested deeper than {MAX_DEPTH} maps and arrays")).into()
    })
}

/// What `toISOString` makes of a date, by its distance from 1970; `None` if it is too far.
///
/// The year is that of a calendar in which it begins in March, so that a leap day is its last.
#[expect(clippy::arithmetic_side_effects, reason = "the distance is bounded")]
fn date(millis: i64) -> Option<String> {
    if millis.unsigned_abs() > MAX_DATE {
        return None;
    }
    let (days, millis) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // From 1 March of the year 0, in cycles of 400 years.
    let days = days + 719_468;
    let (cycle, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (cycle * 400 + year, month + 3),
        _ => (cycle * 400 + year + 1, month - 9),
    };
    let year = match year {
        0..=9_999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, millis) = (millis / 1_000 % 60, millis % 1_000);
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{
        super::{
            engine::{Frame, Protocol},
            packet::{Decoder, Parser, tests as packets},
            vectors::{bytes, hex},
        },
        *,
    };
    use crate::payload::event_e;

    const LIMITS: Limits = Limits { attachments: 10, bytes: 1 << 20 };

    fn read(message: &str) -> Result<Packet, Refused> {
        decode(&bytes(message), LIMITS)
    }

    /// What a packet is in the default parser: text, and attachments in hex.
    fn shown(packet: Packet) -> Vec<String> {
        let mut messages = Vec::new();
        packet.encode(Protocol::Eio4, |frame| {
            messages.push(match frame {
                Frame::Text(text) => text.to_string(),
                Frame::Binary(data) => hex(&data),
            });
        });
        messages
    }

    /// The packet that the default parser has as these messages.
    fn packet_of(messages: &[&str]) -> Packet {
        let mut decoder = Decoder::new(Parser::Json, LIMITS);
        let mut packet = decoder.text(messages[0][1..].into()).unwrap();
        for data in &messages[1..] {
            packet = decoder.binary(bytes(data)).unwrap();
        }
        packet.unwrap()
    }

    /// The value that is read from msgpack by itself, as JSON.
    fn value(message: &str) -> Result<String, Refused> {
        let packet = read(&format!("83a47479706504a36e7370a12fa464617461{message}"))?;
        let Body::ConnectError(data) = packet.body else { panic!("not an error") };
        Ok(data.as_deref().unwrap_or("null").to_owned())
    }

    #[test]
    fn packets_are_written_and_read_as_by_the_official_parser() {
        for (message, messages) in [
            ("82a47479706500a36e7370a12f", &["40"][..]),
            (
                "83a47479706500a46461746181a5746f6b656ea178a36e7370a62f61646d696e",
                &[r#"40/admin,{"token":"x"}"#],
            ),
            ("83a47479706502a46461746192a3666f6f01a36e7370a12f", &[r#"42["foo",1]"#]),
            (
                "83a47479706502a46461746192a362696ec403010203a36e7370a12f",
                &[r#"451-["bin",{"_placeholder":true,"num":0}]"#, "010203"],
            ),
            ("84a47479706503a269640ca46461746191a3626172a36e7370a12f", &[r#"4312["bar"]"#]),
            (
                "84a47479706503a2696400a46461746192c40081a161c402ffffa36e7370a12f",
                &[
                    r#"462-0[{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]"#,
                    "",
                    "ffff",
                ],
            ),
            ("82a47479706501a36e7370a12f", &["41"]),
            (
                "83a47479706504a46461746181a76d657373616765a26e6fa36e7370a12f",
                &[r#"44{"message":"no"}"#],
            ),
        ] {
            assert_eq!(shown(read(message).unwrap()), messages, "{message}");
            assert_eq!(hex(&encode(&packet_of(messages).parts())), message, "{messages:?}");
        }
    }

    #[test]
    fn what_servers_in_the_field_send_is_understood() {
        for (message, messages) in [
            // The reply of a server without recovery: the `pid` is undefined.
            (
                "83a47479706500a46461746182a3736964a26964a3706964d40000a36e7370a12f",
                &[r#"40{"sid":"id","pid":null}"#][..],
            ),
            // Another order, and an option.
            (
                "85a47479706502a46461746192a3666f6f81a16193c3c2c0a76f7074696f6e7381a8636f6d7072657373\
                 c3a2696407a36e7370a62f61646d696e",
                &[r#"42/admin,7["foo",{"a":[true,false,null]}]"#],
            ),
            // python-socketio: nil for what is not there.
            ("84a47479706501a464617461c0a36e7370a12fa26964c0", &["41"]),
            ("84a47479706500a464617461c0a36e7370a12fa26964c0", &["40"]),
            // No data of an error is undefined.
            ("83a47479706504a464617461d40000a36e7370a12f", &["44"]),
            // Servers 2.x: the types with attachments, which are inside.
            (
                "84a47479706505a46461746193a46261636b01c4020102a36e7370a12fa2696400",
                &[r#"451-0["back",1,{"_placeholder":true,"num":0}]"#, "0102"],
            ),
            ("84a47479706506a46461746190a36e7370a12fa2696405", &["435[]"]),
            // An id that the official parser writes as a float, one below zero, and none.
            (
                "84a47479706502a46461746191a165a36e7370a12fa26964cb43f0000000000000",
                &[r#"4218446744073709551615["e"]"#],
            ),
            ("84a47479706503a46461746190a36e7370a12fa26964ff", &["4318446744073709551615[]"]),
            ("83a47479706503a46461746190a36e7370a12f", &["4318446744073709551615[]"]),
            // One of 2^53.
            (
                "84a47479706503a46461746190a36e7370a12fa26964cf0020000000000000",
                &["439007199254740992[]"],
            ),
            // Numbers as names, and lengths in more bytes than they need.
            ("83a47479706502a464617461dd0000000107a36e7370da00012f", &["42[7]"]),
        ] {
            assert_eq!(shown(read(message).unwrap()), messages, "{message}");
        }
    }

    #[test]
    fn some_packets_of_servers_2_x_are_in_text() {
        for (text, messages) in [
            (r#"{"type":0,"nsp":"/"}"#, &["40"][..]),
            (r#"{"type":1,"nsp":"/foo"}"#, &["41/foo,"]),
            (
                r#"{"type":4,"nsp":"/unknown","data":"Invalid namespace"}"#,
                &[r#"44/unknown,"Invalid namespace""#],
            ),
        ] {
            assert_eq!(shown(decode_text(&text.into()).unwrap()), messages, "{text}");
        }
        for text in ["0", r#"0{"sid":"x"}"#, r#"2["e"]"#, "", "{", "[]", r#"{"type":0}"#] {
            let error = decode_text(&text.into()).unwrap_err();
            assert!(matches!(error, Refused::Protocol(ProtocolError::Msgpack(_))), "{text}");
        }
    }

    #[test]
    fn values_beyond_json_become_what_json_has_for_them() {
        for (message, json) in [
            ("93cb7ff8000000000000cb7ff0000000000000ca7fc00000", "[null,null,null]"),
            ("93d40000d40001c0", "[null,null,null]"),
            ("92ca3dcccccdca3f000000", "[0.10000000149011612,0.5]"),
            (
                "92cfffffffffffffffffd38000000000000000",
                "[18446744073709551615,-9223372036854775808]",
            ),
            ("8301c0ffc2d3ffffffffffffff0090", r#"{"1":null,"-1":false,"-256":[]}"#),
            ("d7000000000000000000", r#""1970-01-01T00:00:00.000Z""#),
            ("d700ffffffffffffffff", r#""1969-12-31T23:59:59.999Z""#),
            ("d700001eb208c2dc0000", r#""+275760-09-13T00:00:00.000Z""#),
            ("d700ffe14df73d240000", r#""-271821-04-20T00:00:00.000Z""#),
            ("d700001eb208c2dc0001", "null"),
            ("d7007fffffffffffffff", "null"),
            ("d7008000000000000000", "null"),
            ("d7000000018df74f83ff", r#""2024-02-29T23:59:59.999Z""#),
            ("d700000000dd9aa6e000", r#""2000-02-29T00:00:00.000Z""#),
            ("d700fffffdfeddd91000", r#""1900-03-01T00:00:00.000Z""#),
            ("d700ffffc77590fba000", r#""0000-01-01T00:00:00.000Z""#),
            ("d700ffffc7758e687200", r#""-000001-12-31T12:00:00.000Z""#),
            ("d7000000e677d21fdc00", r#""+010000-01-01T00:00:00.000Z""#),
            ("a400225c0a", r#""\u0000\"\\\n""#),
            ("83a16101a16102ff03", r#"{"a":1,"a":2,"-1":3}"#),
        ] {
            assert_eq!(value(message).unwrap(), json, "{message}");
        }
    }

    #[test]
    fn binary_in_an_extension_is_an_attachment_and_one_that_nobody_knows_is_not_lost() {
        // An ArrayBuffer, one of a single byte, a timestamp of msgpack, one of the application.
        let data = "94c702000102c7010009d6ff00000001d505aabb";
        let packet = read(&format!("84a47479706503a2696400a36e7370a12fa464617461{data}"));
        let messages = shown(packet.unwrap());
        assert_eq!(
            messages,
            [
                r#"464-0[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},"#.to_owned()
                    + r#"[-1,{"_placeholder":true,"num":2}],[5,{"_placeholder":true,"num":3}]]"#,
                "0102".to_owned(),
                "09".to_owned(),
                "00000001".to_owned(),
                "aabb".to_owned(),
            ]
        );
    }

    /// The official decoder takes such text, and the official encoder writes it: of half a character
    /// in a text that is not very short it counts a byte too much, and leaves it as it is.
    #[test]
    fn text_that_is_no_unicode_is_replaced_where_it_is_none() {
        for (message, json) in [
            ("a3c3a9ff", "\"é\u{fffd}\""),
            ("a4eda080c3", "\"\u{fffd}\u{fffd}\u{fffd}\u{fffd}\""),
            ("81a1ffa180", "{\"\u{fffd}\":\"\u{fffd}\"}"),
        ] {
            assert_eq!(value(message).unwrap(), json, "{message}");
        }
        // It may grow, and is bounded all the same.
        let message =
            format!("84a47479706503a2696400a46461746191d9c8{}a36e7370a12f", "ff".repeat(200));
        let limits = |bytes| Limits { attachments: 1, bytes };
        assert_eq!(decode(&bytes(&message), limits(700)).map(drop), Ok(()));
        let large = Err(Refused::TooLarge { limit: 600 });
        assert_eq!(decode(&bytes(&message), limits(600)).map(drop), large);
    }

    #[test]
    fn what_looks_like_the_place_of_an_attachment_stays_data() {
        // {"_placeholder": true, "num": …}, with the number of the attachment beside it or none.
        for number in ["00", "05"] {
            let looks = format!("82ac5f706c616365686f6c646572c3a36e756d{number}");
            let message = format!("83a47479706502a46461746193a165c40178{looks}a36e7370a12f");
            let packet = read(&message).unwrap();
            let Body::Event { payload, .. } = &packet.body else { panic!("{packet:?}") };
            let (data, value) = payload.decode::<(Bytes, Value)>().unwrap();
            let number: u8 = number.parse().unwrap();
            assert_eq!(value, json!({ "_placeholder": true, "num": number }));
            assert_eq!(data, &b"x"[..]);
            assert_eq!(payload.attachments().len(), 1);
            // And so it goes on.
            assert_eq!(hex(&encode(&packet.parts())), message);
        }
    }

    #[test]
    fn malformed_messages_are_refused_for_what_is_wrong_with_them() {
        let broken = |why: &str| ProtocolError::Msgpack(why.to_owned());
        let early = || broken("it ends too early");
        for (message, error) in [
            ("", early()),
            ("82a47479706500a36e7370a1", early()),
            ("82a47479706500a36e7370", early()),
            ("82", early()),
            ("dfffffffff", early()),
            ("ddffffffff", early()),
            ("dbffffffff", early()),
            ("c6ffffffff", early()),
            ("c9ffffffff00", early()),
            ("d70000", early()),
            ("cd00", early()),
            ("cb00", early()),
            ("82a47479706500a36e7370a12fc0", broken("there is more behind it")),
            ("c1", broken("it has the byte 0xc1, which means nothing")),
            ("81c0c0", broken("a key is a Null")),
            ("8190c0", broken("a key is a FixArray(0)")),
            ("82a47479706507a36e7370a12f", ProtocolError::UnknownType(7)),
            ("82a47479706502a36e7370a12f", ProtocolError::Payload),
            ("83a47479706502a46461746180a36e7370a12f", ProtocolError::Payload),
            ("83a47479706502a46461746190a36e7370a12f", ProtocolError::Payload),
            ("83a47479706502a46461746191c0a36e7370a12f", ProtocolError::Payload),
            ("83a47479706500a46461746190a36e7370a12f", ProtocolError::Payload),
        ] {
            assert_eq!(read(message), Err(error.into()), "{message}");
        }
        for message in ["80", "90", "07", "81a47479706500", "82a474797065a0a36e7370a12f"] {
            let error = read(message).unwrap_err();
            assert!(matches!(error, Refused::Protocol(ProtocolError::Msgpack(_))), "{message}");
        }
        let long = format!("82a47479706500a36e7370da0201{}", "2f".repeat(513));
        assert_eq!(read(&long), Err(ProtocolError::Namespace.into()));
    }

    #[test]
    fn numbers_and_texts_are_written_in_the_shortest_way() {
        for (json, message) in [
            ("[0,127,128,255,256]", "95007fcc80ccffcd0100"),
            (
                "[65535,65536,4294967295,4294967296]",
                "94cdffffce00010000ceffffffffcf0000000100000000",
            ),
            ("[-1,-32,-33,-128,-129]", "95ffe0d0dfd080d1ff7f"),
            ("[-32769,-2147483649]", "92d2ffff7fffd3ffffffff7fffffff"),
            ("[18446744073709551615]", "91cfffffffffffffffff"),
            ("[18446744073709551616]", "91cb43f0000000000000"),
            ("[-9223372036854775808]", "91d38000000000000000"),
            (
                "[0.5,1.0,-0,1E2]",
                "94cb3fe0000000000000cb3ff0000000000000cb8000000000000000cb4059000000000000",
            ),
            ("[1e400,-1e400,null,true,false]", "95c0c0c0c3c2"),
            (r#"["\u00e9\ud83d\ude00\n\"\\\/"]"#, "91aac3a9f09f98800a225c2f"),
            (r#"["\ud800"]"#, "91a3efbfbd"),
            (" [ 1 , { \"a\" : [ ] , \"b\" : { } } ] ", "920182a16190a16280"),
        ] {
            let mut out = ByteBuf::new();
            write(&mut out, json, &[]);
            assert_eq!(hex(&out.into_vec()), message, "{json}");
        }
        let long = |count: usize| {
            let mut out = ByteBuf::new();
            write(&mut out, &format!("[{}0]", "0,".repeat(count - 1)), &[]);
            hex(&out.into_vec())[..6].to_owned()
        };
        assert_eq!([long(15), long(16), long(65_536)], ["9f0000", "dc0010", "dd0001"]);
    }

    #[test]
    fn only_what_names_an_attachment_is_its_place() {
        let data = [Bytes::from_static(b"x")];
        for (json, message) in [
            (r#"[{"_placeholder":true,"num":0}]"#, "91c40178"),
            (r#"[ { "num" : 0 , "_placeholder" : true } , [] ]"#, "92c4017890"),
            (r#"[{"_placeholder":true,"num":1}]"#, "9182ac5f706c616365686f6c646572c3a36e756d01"),
            (r#"[{"_placeholder":false,"num":0}]"#, "9182ac5f706c616365686f6c646572c2a36e756d00"),
            (r#"[{"num":0}]"#, "9181a36e756d00"),
        ] {
            let mut out = ByteBuf::new();
            write(&mut out, json, &data);
            assert_eq!(hex(&out.into_vec()), message, "{json}");
        }
        let mut out = ByteBuf::new();
        write(&mut out, r#"[{"_placeholder":true,"num":0},[1]]"#, &[]);
        assert_eq!(hex(&out.into_vec()), "9282ac5f706c616365686f6c646572c3a36e756d009101");
    }

    #[test]
    fn depth_is_refused_in_what_comes_and_no_matter_in_what_goes_out() {
        let nested = |depth: usize| format!("{}c0", "91".repeat(depth));
        // One is the packet itself.
        assert!(value(&nested(127)).is_ok());
        let deep =
            Err(ProtocolError::Msgpack("it is nested deeper than 128 maps and arrays".into()));
        assert_eq!(value(&nested(128)), deep.map_err(Refused::Protocol));
        value(&"91".repeat(1_000_000)).unwrap_err();
        value(&"81a0".repeat(1_000_000)).unwrap_err();

        for (open, close) in [("[", "]"), ("{\"\":", "}")] {
            let deep = format!("[\"e\",{}1{}]", open.repeat(100_000), close.repeat(100_000));
            let payload = event_e(&deep, vec![Bytes::new()]);
            let body = Body::Event { id: None, payload };
            assert!(encode(&Packet::new("/".into(), body).parts()).len() > 100_000);
        }
    }

    #[test]
    fn the_limits_hold_for_what_a_message_becomes() {
        let read = |data: &str, limits| {
            let message = format!("84a47479706503a2696400a464617461{data}a36e7370a12f");
            decode(&bytes(&message), limits).map(|_| ())
        };
        let limit = |attachments, bytes| Limits { attachments, bytes };
        assert_eq!(read("92c400c400", limit(2, 1_000)), Ok(()));
        let many = ProtocolError::TooManyAttachments { limit: 1 };
        assert_eq!(read("92c400c400", limit(1, 1_000)), Err(many.into()));

        let large = Err(Refused::TooLarge { limit: 1_000 });
        let bin = format!("91c50384{}", "00".repeat(900));
        assert_eq!(read(&bin, limit(1, 1_000)), Ok(()));
        let bin = format!("91c503e0{}", "00".repeat(992));
        assert_eq!(read(&bin, limit(1, 1_000)), large);
        let nulls = format!("dc00c8{}", "c0".repeat(200));
        assert_eq!(read(&nulls, limit(1, 1_000)), large);
        let control = format!("91d9c8{}", "00".repeat(200));
        assert_eq!(read(&control, limit(1, 1_000)), large);
        assert_eq!(read(&control, limit(1, 2_000)), Ok(()));
        // What is too large is not written first.
        let control = bytes(&format!("da8000{}", "00".repeat(0x8000)));
        let used = allocation_counter::measure(|| drop(decode(&control, limit(1, 1_000))));
        assert!(used.bytes_max < 1_000, "{used:?}");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<i8>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<f32>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            "[a\0-\x1f\"\\\\]{0,300}".prop_map(Into::into),
        ];
        leaf.prop_recursive(8, 64, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..20)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_packet_comes_back_as_it_went(packet in packets::packet()) {
            let back = decode(&encode(&packet.parts()), LIMITS).unwrap();
            // Null is no data.
            let null = Body::ConnectError(Some("null".into()));
            let body = if packet.body == null { Body::ConnectError(None) } else { packet.body };
            prop_assert_eq!(back, Packet { body, ..packet });
        }

        #[test]
        fn any_value_comes_back_as_it_went(value in any_value()) {
            let json = json!(["e", value]).to_string();
            let body = Body::Event { id: None, payload: event_e(&json, vec![]) };
            let packet = Packet::new("/".into(), body);
            prop_assert_eq!(decode(&encode(&packet.parts()), LIMITS).unwrap(), packet);
        }

        #[test]
        fn no_message_panics(message in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(decode(&message.into(), LIMITS));
        }

        #[test]
        fn no_message_that_was_changed_or_cut_panics(
            packet in packets::packet(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            end in any::<prop::sample::Index>(),
        ) {
            let mut message = encode(&packet.parts()).to_vec();
            for (at, byte) in changes {
                let at = at.index(message.len());
                message[at] = byte;
            }
            drop(decode(&message.clone().into(), LIMITS));
            message.truncate(end.index(message.len()));
            prop_assert!(decode(&message.into(), LIMITS).is_err());
        }

        #[test]
        fn no_text_panics_on_its_way_out(json in "[\\[\\]{}\",:a1é\\\\ ]{0,64}") {
            write(&mut ByteBuf::new(), &json, &[Bytes::new()]);
        }

        #[test]
        fn what_a_message_allocates_is_a_small_multiple_of_its_size(
            head in prop::sample::select(vec![
                "", "84a47479706502a2696400a36e7370a12fa464617461dd00ffffff", "ddffffffff",
                "dfffffffff", "dbffffffff", "da7000", "c57000", "c9ffffffff00",
            ]),
            body in prop::collection::vec(
                prop::sample::select(vec![
                    "c0", "c2", "00", "a0", "a100", "c400", "c70000", "d40000", "91", "81a0", "90",
                    "ca00000001", "cb0000000000000001", "d70000000000000000", "a1ff", "8101",
                ]),
                1..4,
            ),
            times in 0..2_000_usize,
        ) {
            let message = bytes(&format!("{head}{}", body.concat().repeat(times)));
            let used = allocation_counter::measure(|| drop(decode(&message, LIMITS)));
            let bound = u64::try_from(message.len() * 16 + 4_096).unwrap();
            prop_assert!(used.bytes_max <= bound, "{} bytes for {}", used.bytes_max, message.len());
        }
    }
}

//! The wire of socket.io-msgpack-parser: a packet is one msgpack map, in one binary message.
//!
//! ```text
//! {"type": 2, "id": 7, "data": ["name", …], "nsp": "/"}    the types of text packets, without 5 and 6
//!
//! 2.x    connect, disconnect and error come as this map in JSON, in a text message; and a 5 or a 6
//!        is a 2 or a 3 that has binary in it
//! ```
//!
//! Nothing else in the crate knows this form. What goes out is JSON text and attachments up to here, and
//! what comes in is that from here on:
//!
//! | msgpack | in the text |
//! |---|---|
//! | nil, `undefined` (ext 0 of one byte, marked as such) | null |
//! | a number | the number; null if it is infinite or NaN |
//! | bin, an `ArrayBuffer` (ext 0 with its length) | an attachment |
//! | a `Date` (ext 0 of eight bytes, marked as such) | its `toISOString` |
//! | any other ext | `[type, attachment]`, as in the official decoder |
//! | text | text; bytes that are not UTF-8 are replaced, as in the official decoder |
//! | a map | an object; integer keys become strings, other keys are refused |
//! | the key `_placeholder` | `"\u005fplaceholder"`, the same, and known to be data |
//!
//! The meanings of ext 0 are those of notepack 2.2, which the official parser uses.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use bytes::Bytes;
use rmp::{
    Marker, decode,
    encode::{self, ByteBuf},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Number, value::RawValue};

use super::{
    packet::{
        Body, FOREIGN_ID, Limits, Packet, Parts, ProtocolError, Refused, event_name_of_json,
        refusal, root,
    },
    peer_text,
};
use crate::{
    display::brief,
    payload::{ESCAPED, Payload, Token, Tokens, plain_end, text::Text, unquoted},
};

/// How deeply incoming values may be nested: deeper ones could not be decoded anyway.
const MAX_DEPTH: u8 = 128;

/// The farthest from 1970 that a `Date` can be, in milliseconds.
const MAX_DATE: u64 = 8_640_000_000_000_000;

/// An upper bound for the size of the message that a packet is sent as.
pub(super) fn at_most(Parts { namespace, json, attachments, .. }: &Parts<'_>) -> u64 {
    // The fields themselves have fewer than 64 bytes. JSON grows most with short fractions: `0.5,`
    // becomes nine bytes.
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
    // A missing field must be left out: nil would be a value.
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

/// How many levels of arrays and objects begin with the shortest head. If one gets more values than that has room
/// for, all that is in it is moved: so each byte is moved as often at most.
const SHORT_LEVELS: usize = 16;

/// An array or an object that is being written. Its length stands in its head, and is known at its end.
struct Open {
    is_map: bool,
    /// The place of its head.
    at: usize,
    /// The bytes that are kept free for its head: one, or as many as the longest takes.
    room: usize,
    /// How many values it has so far. A key is one, too.
    length: u32,
}

impl Open {
    fn begin(out: &mut ByteBuf, is_map: bool, level: usize) -> Self {
        let out = out.as_mut_vec();
        let at = out.len();
        let room = if level < SHORT_LEVELS { 1 } else { 5 };
        out.resize(at.saturating_add(room), 0);
        Self { is_map, at, room, length: 0 }
    }

    fn end(self, out: &mut ByteBuf) {
        let Self { is_map, at, room, length } = self;
        let of = |map, array| Marker::to_u8(&if is_map { map } else { array });
        let count = if is_map { length / 2 } else { length };
        let bytes @ [.., high, low] = count.to_be_bytes();
        let head = at..at.saturating_add(room);
        let out = out.as_mut_vec();
        match (room, count) {
            (1, 0..=15) => {
                if let Some(head) = out.get_mut(at) {
                    *head = of(Marker::FixMap(low), Marker::FixArray(low));
                }
            }
            (1, 0..=0xFFFF) => {
                out.splice(head, [of(Marker::Map16, Marker::Array16), high, low]);
            }
            _ => {
                let marker = of(Marker::Map32, Marker::Array32);
                out.splice(head, [marker].into_iter().chain(bytes));
            }
        }
    }
}

/// Writes the values of the text, with the attachments in their places. The text is scanned token by
/// token, so its depth does not matter.
fn write(out: &mut ByteBuf, json: &str, attachments: &[Bytes]) {
    let mut open = Vec::<Open>::with_capacity(4);
    let mut tokens = Tokens::of(json);
    while let Some(token) = tokens.next() {
        if token == Token::End {
            if let Some(ended) = open.pop() {
                ended.end(out);
            }
            continue;
        }
        if let Some(around) = open.last_mut() {
            around.length = around.length.saturating_add(1);
        }
        match token {
            Token::Object => match attachment(&mut tokens, attachments) {
                Some(data) => {
                    let Ok(()) = encode::write_bin(out, data);
                }
                None => open.push(Open::begin(out, true, open.len())),
            },
            Token::Array => open.push(Open::begin(out, false, open.len())),
            Token::End => {}
            Token::Text(quoted) => {
                let Ok(()) = encode::write_str(out, &unquoted(quoted));
            }
            Token::Plain(text) => plain(out, text),
        }
    }
}

/// The attachment, if the object that has just begun is a placeholder. Its tokens are then
/// skipped.
fn attachment<'a>(tokens: &mut Tokens<'_>, attachments: &'a [Bytes]) -> Option<&'a Bytes> {
    const MARK: Token<'_> = Token::Text(r#""_placeholder""#);
    const YES: Token<'_> = Token::Plain("true");
    const NUMBER: Token<'_> = Token::Text(r#""num""#);
    if attachments.is_empty() {
        return None;
    }
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
        // Only a float can have the sign.
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
        json: String::with_capacity(message.len().min(limits.bytes)),
        attachments: Vec::new(),
        attached: 0,
        limits,
    };
    let Fields { kind, nsp, id, data } = reader.fields()?;
    let Reader { input, mut json, mut attachments, attached, .. } = reader;
    if attached < message.len() / 2 {
        // As slices, they would keep the whole message in memory.
        for data in &mut attachments {
            *data = Bytes::copy_from_slice(data);
        }
    }
    if json.len() < json.capacity() / 2 {
        json.shrink_to_fit();
    }
    if !input.remaining_slice().is_empty() {
        return Err(broken("there is more behind it").into());
    }
    let kind = kind.ok_or_else(|| broken("it has no type"))?;
    let nsp = nsp.ok_or_else(|| broken("it has no namespace"))?;
    Ok(packet(kind, &nsp, id, data.then(|| json.into()), attachments)?)
}

/// Reads a packet in a text message, as servers 2.x send some.
pub(super) fn decode_text(text: &Text) -> Result<Packet, Refused> {
    /// The map of a packet. Unknown fields are ignored.
    #[derive(Deserialize)]
    struct Fields<'a> {
        r#type: u8,
        nsp: String,
        id: Option<Number>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    if !text.starts_with('{') {
        return Err(broken("it is one of the default parser").into());
    }
    let Fields { r#type, nsp, id, data } =
        serde_json::from_str(text).map_err(|error| broken(brief(&error)))?;
    let data = data.map(|data| text.slice_ref(data.get()).into());
    Ok(packet(r#type, &nsp, id.map(|id| number(&id)), data, Vec::new())?)
}

/// An id as it is kept.
fn number(id: &Number) -> u64 {
    id.as_u64().unwrap_or(FOREIGN_ID)
}

/// A packet of the fields of its map.
fn packet(
    kind: u8,
    nsp: &str,
    id: Option<u64>,
    data: Option<Text>,
    attachments: Vec<Bytes>,
) -> Result<Packet, ProtocolError> {
    peer_text::Kind::Namespace.check(nsp)?;
    let of_shape = |data: Option<Text>, first| {
        data.filter(|data| data.starts_with(first)).ok_or(ProtocolError::Payload)
    };
    let body = match kind {
        0 if data.is_some() => {
            let reply = of_shape(data, '{')?;
            peer_text::Kind::Reply.check(&reply)?;
            Body::Connect(Some((*reply).into()))
        }
        0 => Body::Connect(None),
        1 => Body::Disconnect,
        2 | 5 => {
            let json = of_shape(data, '[')?;
            let (name, arguments) = event_name_of_json(&json)?;
            Body::Event { id, payload: Payload::event(json, name, arguments, attachments) }
        }
        3 | 6 => {
            let json = of_shape(data, '[')?;
            let id = id.unwrap_or(FOREIGN_ID);
            Body::Ack { id, payload: Payload::answer(json, attachments) }
        }
        4 => Body::ConnectError(refusal(data.as_deref())),
        other => return Err(ProtocolError::UnknownType(other)),
    };
    let namespace = if nsp == "/" { root() } else { nsp.into() };
    Ok(Packet { namespace, body })
}

fn broken(why: impl Into<String>) -> ProtocolError {
    ProtocolError::Msgpack(why.into())
}

/// The only way in which reading can fail, as the marker has been checked: the message is cut.
fn cut(_: impl Sized) -> Refused {
    broken("it ends too early").into()
}

/// Turns msgpack into JSON and attachments. A length is trusted only as far as there are bytes.
struct Reader<'a> {
    message: &'a Bytes,
    input: decode::Bytes<'a>,
    json: String,
    attachments: Vec<Bytes>,
    /// The bytes of all attachments.
    attached: usize,
    limits: Limits,
}

/// The map of a packet.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<u8>,
    nsp: Option<Cow<'a, str>>,
    id: Option<u64>,
    /// Whether there is data, which the reader has.
    data: bool,
}

impl<'a> Reader<'a> {
    /// Reads the map of a packet. Unknown fields are ignored; of two with one name, the last one counts.
    fn fields(&mut self) -> Result<Fields<'a>, Refused> {
        let (Marker::FixMap(_) | Marker::Map16 | Marker::Map32) = self.marker()? else {
            return Err(broken("it is no map").into());
        };
        let length = decode::read_map_len(&mut self.input).map_err(cut)?;
        let mut fields = Fields::default();
        for _ in 0..length {
            let key = if self.is_text()? {
                Some(self.text()?)
            } else {
                self.aside(Self::key)?;
                None
            };
            match key.as_deref() {
                Some("type") => fields.kind = Some(self.read()?),
                Some("id") => fields.id = self.read::<Option<Number>>()?.as_ref().map(number),
                Some("nsp") if self.is_text()? => fields.nsp = Some(self.text()?),
                Some("nsp") => return Err(broken("its namespace is no text").into()),
                Some("data") => {
                    self.json.clear();
                    self.attachments.clear();
                    self.attached = 0;
                    self.value(MAX_DEPTH - 1)?;
                    fields.data = self.json != "null";
                }
                _ => self.aside(|reader| reader.value(MAX_DEPTH - 1))?,
            }
        }
        Ok(fields)
    }

    /// Whether the next value is a text.
    fn is_text(&self) -> Result<bool, Refused> {
        let marker = self.marker()?;
        Ok(matches!(marker, Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32))
    }

    /// Reads something, and forgets what it is.
    fn aside(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let (json, count, attached) = (self.json.len(), self.attachments.len(), self.attached);
        read(self)?;
        self.json.truncate(json);
        self.attachments.truncate(count);
        self.attached = attached;
        Ok(())
    }

    /// Reads a value of a type.
    fn read<T: DeserializeOwned>(&mut self) -> Result<T, Refused> {
        let begin = self.json.len();
        self.value(0)?;
        let json = self.json.get(begin..).unwrap_or_default();
        let value = serde_json::from_str(json).map_err(|error| broken(brief(&error)))?;
        self.json.truncate(begin);
        Ok(value)
    }

    /// `depth`: how many levels of maps and arrays may follow.
    fn value(&mut self, depth: u8) -> Result<(), Refused> {
        let marker = self.marker()?;
        match marker {
            Marker::Null => {
                decode::read_nil(&mut self.input).map_err(cut)?;
                self.push("null")
            }
            Marker::True | Marker::False => {
                let value = decode::read_bool(&mut self.input).map_err(cut)?;
                self.push(if value { "true" } else { "false" })
            }
            Marker::F32 => {
                let value = decode::read_f32(&mut self.input).map_err(cut)?;
                self.float(value.into())
            }
            Marker::F64 => {
                let value = decode::read_f64(&mut self.input).map_err(cut)?;
                self.float(value)
            }
            Marker::FixPos(_) | Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => {
                let value: u64 = decode::read_int(&mut self.input).map_err(cut)?;
                self.number(value)
            }
            Marker::FixNeg(_) | Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {
                let value: i64 = decode::read_int(&mut self.input).map_err(cut)?;
                self.number(value)
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

    /// The marker of the next value.
    fn marker(&self) -> Result<Marker, Refused> {
        let first = self.input.remaining_slice().first();
        first.map(|&byte| Marker::from_u8(byte)).ok_or_else(|| cut(()))
    }

    fn text(&mut self) -> Result<Cow<'a, str>, Refused> {
        let length = decode::read_str_len(&mut self.input).map_err(cut)?;
        let text = self.take(length)?;
        Ok(str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed))
    }

    fn write_text(&mut self, text: &str) -> Result<(), Refused> {
        let plain = plain_end(text.as_bytes(), 0);
        let rest = text.as_bytes().get(plain..).unwrap_or_default();
        if rest.iter().all(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.room(text.len().saturating_add(2))?;
            self.json.push('"');
            self.json.push_str(text);
            self.json.push('"');
            return Ok(());
        }
        // With its quotes, and six characters for each escape such as `\u0000`.
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
                self.number(kind)?;
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
        self.json.push_str(json);
        Ok(())
    }

    /// Null if JSON has no such number.
    fn float(&mut self, value: f64) -> Result<(), Refused> {
        match Number::from_f64(value) {
            Some(number) => self.number(number),
            None => self.push("null"),
        }
    }

    fn number(&mut self, number: impl fmt::Display) -> Result<(), Refused> {
        write!(self.json, "{number}").map_err(|error| broken(brief(&error)))?;
        self.room(0)
    }

    /// Writes a value that is short, or for which room was checked.
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let json = serde_json::to_string(value).map_err(|error| broken(brief(&error)))?;
        self.push(&json)
    }

    /// Checks that this much text fits within the limit.
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

/// The `toISOString` of a date, given in milliseconds since 1970; `None` if it is out of range.
///
/// It counts in years that begin in March, so that a leap day is the last day of the year.
#[expect(clippy::arithmetic_side_effects, reason = "the distance is bounded")]
fn date(millis: i64) -> Option<String> {
    if millis.unsigned_abs() > MAX_DATE {
        return None;
    }
    let (days, millis) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days since 1 March of the year 0, in cycles of 400 years.
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
mod tests;

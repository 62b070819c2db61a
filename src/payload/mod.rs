//! Arguments: the JSON text of a packet as it is on the wire, and its attachments.
//!
//! Nothing is parsed until somebody asks, and then straight into the type asked for. A payload
//! that came in is a slice of the message it came in, so it costs nothing to hand on, and pins
//! that message's buffer for as long as it is kept; [`Payload::detach`] is the way out. With
//! [another parser](crate::Parser) the text is made from the message, and attachments are slices.
//!
//! How arguments map to Rust types, both ways:
//!
//! | Rust | arguments |
//! |---|---|
//! | `()`, a unit struct | none |
//! | a tuple, an array `[T; N]`, a tuple struct | one for each element |
//! | anything else (a struct, a `Vec`, a `String`, …) | one |
//! | [`Bytes`] anywhere inside | an attachment |
//!
//! A null alone is `None` of any type, or `(Value::Null,)`: to serde, a bare
//! [`Value::Null`](serde_json::Value::Null) is the same as `()`, which is no argument at all.
//!
//! In the text of a packet, an attachment has its place as an object: `{"_placeholder":true,"num":0}`.
//! An object of the application that has `"_placeholder":true` in it is data like any other, unless
//! there are attachments in the same event or answer: servers would take it for the place of one, and
//! put in other bytes, or end the connection if there are none with its number. The protocol has no
//! way to tell them apart, so this is refused ([`EmitError::Encode`](crate::EmitError::Encode),
//! [`AnswerError::Encode`](crate::AnswerError::Encode)), whatever the parser is. Servers 1.x, and
//! others older than the end of 2022, take any value for `true` that JavaScript does: what they would
//! mistake by that is not refused.
//!
//! A string of JavaScript may have half of a character in it, for instance when it was cut to a length.
//! Rust has no text like that: such a half is decoded as U+FFFD, �, also in the name of an event. It is
//! still there to be had as it came ([`Payload::to_json`]) and to be passed on
//! ([`Event::to_emit`](crate::Event::to_emit)). With msgpack it is replaced when it comes.
//!
//! "Anywhere" does not reach behind `#[serde(flatten)]`, `#[serde(tag = …)]` and
//! `#[serde(untagged)]` when decoding: serde reads what is there into a buffer of its own first,
//! and that has no place for attachments. What is written in that way is sent well.

mod de;
mod placeholder;
mod ser;
pub(crate) mod text;
mod tokens;

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{error::DecodeError, payload::text::Text};

#[cfg(feature = "msgpack")]
pub(crate) use placeholder::ESCAPED;
pub(crate) use placeholder::{AMBIGUOUS, check_placeholders};
pub(crate) use ser::{encode_event, encode_reply};
use tokens::mended;
pub(crate) use tokens::{Token, Tokens, read, unquoted};

/// The arguments of an event or of an answer. Cheap to clone.
#[derive(Clone)]
pub struct Payload {
    /// It goes through many hands.
    inner: Arc<Inner>,
}

struct Inner {
    /// A JSON array: the arguments, behind the event's name if there is one.
    json: Text,
    name: Name,
    /// Where the first argument starts in `json`; at the closing bracket if there is none.
    arguments: usize,
    attachments: Vec<Bytes>,
}

/// The name of an event.
#[derive(Debug)]
pub(crate) enum Name {
    /// It stands here in the text. Nowhere, if it is an answer.
    At(Range<usize>),
    /// The text spells it in another way.
    Escaped(Box<str>),
}

impl Name {
    /// That of an event whose text begins with it, without spaces.
    fn first_in(json: &str, name: &str) -> Self {
        let place = 2..name.len().saturating_add(2);
        if json.get(place.clone()) == Some(name) {
            Self::At(place)
        } else {
            Self::Escaped(name.into())
        }
    }
}

impl Payload {
    /// An answer; `json` is a checked JSON array.
    pub(crate) fn answer(json: impl Into<Text>, attachments: Vec<Bytes>) -> Self {
        Self::event(json, Name::At(0..0), 1, attachments)
    }

    /// An event; `json` is a checked JSON array that begins with its name, and whose first argument
    /// starts at `arguments`.
    pub(crate) fn event(
        json: impl Into<Text>,
        name: Name,
        arguments: usize,
        attachments: Vec<Bytes>,
    ) -> Self {
        let json = json.into();
        Self { inner: Arc::new(Inner { json, name, arguments, attachments }) }
    }

    /// The arguments in a type of the application, by the rules at the [top](self).
    ///
    /// Arguments beyond those that the type asks for are ignored, as a JavaScript function ignores
    /// them; ones that are missing are `None` where the type says `Option`.
    ///
    /// An attachment can be had as [`Bytes`], as a `Vec<u8>` by way of `serde_bytes`, or as
    /// whatever else asks serde for bytes. A type that takes anything, such as
    /// [`serde_json::Value`], sees the place that an attachment has in the text:
    /// `{"_placeholder":true,"num":N}`, for [`attachments`](Self::attachments)`()[N]`.
    ///
    /// # Errors
    ///
    /// The arguments have another shape; or there is an attachment in what `T` has behind
    /// `#[serde(flatten)]`, `#[serde(tag = …)]` or `#[serde(untagged)]`, where it is not found.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        let decoded = de::decode(self).or_else(|error| {
            // The text is looked through only where it may be the reason.
            let json = mended(self.json()).ok_or(error)?;
            de::decode(&self.with(json, self.inner.arguments, self.attachments().to_vec()))
        });
        decoded.map_err(DecodeError::from_serde)
    }

    /// The arguments as JSON text, between brackets: `[1,"two"]`. Attachments are in it as
    /// `{"_placeholder":true,"num":N}`.
    pub fn to_json(&self) -> String {
        format!("[{}", self.arguments())
    }

    /// The binary attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        &self.inner.attachments
    }

    /// Length of the text and of all attachments, in bytes.
    pub fn size(&self) -> usize {
        let text = self.json().len();
        self.attachments().iter().fold(text, |sum, bytes| sum.saturating_add(bytes.len()))
    }

    /// A copy that has its own memory.
    ///
    /// A payload shares the buffer that its message was read into. Keep a small piece of a large
    /// message for long, and the whole message stays in memory; detach it first.
    #[must_use]
    pub fn detach(&self) -> Self {
        let json = self.json().to_owned();
        let attachments = self.attachments().iter().map(|data| Bytes::copy_from_slice(data));
        self.with(json, self.inner.arguments, attachments.collect())
    }

    /// Another text, with the same name in the same place.
    fn with(&self, json: String, arguments: usize, attachments: Vec<Bytes>) -> Self {
        let name = match &self.inner.name {
            Name::At(place) => Name::At(place.clone()),
            Name::Escaped(name) => Name::Escaped(name.clone()),
        };
        Self::event(json, name, arguments, attachments)
    }

    /// The name of the event; empty if this is an answer.
    pub(crate) fn name(&self) -> &str {
        match &self.inner.name {
            Name::At(place) => self.inner.json.part(place).unwrap_or_default(),
            Name::Escaped(name) => name,
        }
    }

    /// The whole array: the name of an event, if it is one, and the arguments.
    pub(crate) fn json(&self) -> &str {
        &self.inner.json
    }

    /// The arguments, comma-separated, and the closing bracket.
    pub(crate) fn arguments(&self) -> &str {
        self.json().get(self.inner.arguments..).unwrap_or("]")
    }

    /// Whether there are attachments, and an object that came as data and would be taken for the place
    /// of one by who gets this as text: only another parser can tell them apart.
    pub(crate) fn is_ambiguous_as_text(&self) -> bool {
        !self.attachments().is_empty() && placeholder::has_escaped(self.json())
    }

    /// The same with one more argument, in JSON.
    pub(crate) fn with_argument(&self, json: &str) -> Self {
        let before = self.json();
        let all = before.strip_suffix(']').unwrap_or(before);
        let comma = if all == "[" { "" } else { "," };
        // Where there were no arguments, the first one comes behind the comma.
        let arguments = self
            .inner
            .arguments
            .saturating_add(usize::from(self.arguments() == "]" && !comma.is_empty()));
        let json = format!("{all}{comma}{json}]");
        self.with(json, arguments, self.attachments().to_vec())
    }

    /// The same arguments behind the name of an event.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        let mut json = format!("[{}", serde_json::Value::from(name));
        if self.arguments() != "]" {
            json.push(',');
        }
        let arguments = json.len();
        json.push_str(self.arguments());
        let name = Name::first_in(&json, name);
        Self::event(json, name, arguments, self.attachments().to_vec())
    }

    /// The same as an answer, which has no name before its arguments.
    pub(crate) fn to_reply(&self) -> Self {
        if self.is_named() {
            return Self::answer(self.to_json(), self.attachments().to_vec());
        }
        self.clone()
    }

    /// Whether an event's name comes before the arguments.
    fn is_named(&self) -> bool {
        self.inner.arguments > 1
    }
}

/// An event of this text, which begins with `["e"`.
#[cfg(test)]
pub(crate) fn event_e(json: &str, attachments: Vec<Bytes>) -> Payload {
    let arguments = if json == r#"["e"]"# { 4 } else { 5 };
    Payload::event(json, Name::first_in(json, "e"), arguments, attachments)
}

/// What the answer to an emit can be had as: any type that serde decodes, or a [`Payload`], which is
/// the answer as it came.
pub trait Reply: Sized {
    /// Decodes an answer.
    ///
    /// # Errors
    ///
    /// It has another shape.
    fn from_payload(payload: Payload) -> Result<Self, DecodeError>;
}

impl<T: DeserializeOwned> Reply for T {
    fn from_payload(payload: Payload) -> Result<Self, DecodeError> {
        payload.decode()
    }
}

impl Reply for Payload {
    fn from_payload(payload: Payload) -> Result<Self, DecodeError> {
        Ok(payload)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        // The text says what the name is.
        self.json() == other.json()
            && self.inner.arguments == other.inner.arguments
            && self.attachments() == other.attachments()
    }
}

impl Eq for Payload {}

/// Shows the size only: what an application sends and receives is not for the logs.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("size", &self.size())
            .field("attachments", &self.attachments().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Shot {
        id: u32,
        body: Bytes,
        tags: Vec<String>,
        more: Option<Box<Self>>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Pair(u8, String);

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Unit;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    enum Shape {
        Dot,
        Blob(Bytes),
        Line { from: u8, data: Bytes },
        Two(u8, Bytes),
    }

    fn text<T: Serialize>(arguments: &T) -> String {
        encode_event("e", arguments).unwrap().json().to_string()
    }

    fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: T) {
        let event = encode_event("e", &value).unwrap();
        assert_eq!(event.decode::<T>().unwrap(), value, "as an event: {}", event.json());
        let reply = encode_reply(&value).unwrap();
        assert_eq!(reply.decode::<T>().unwrap(), value, "as a reply: {}", reply.json());
    }

    #[test]
    fn a_tuple_is_several_arguments_unit_is_none_and_anything_else_is_one() {
        assert_eq!(text(&()), r#"["e"]"#);
        assert_eq!(text(&Unit), r#"["e"]"#);
        assert_eq!(text(&(1, "two")), r#"["e",1,"two"]"#);
        assert_eq!(text(&[1, 2]), r#"["e",1,2]"#);
        assert_eq!(text(&Pair(1, "x".into())), r#"["e",1,"x"]"#);
        assert_eq!(text(&vec![1, 2]), r#"["e",[1,2]]"#);
        assert_eq!(text(&"one"), r#"["e","one"]"#);
        assert_eq!(text(&None::<u8>), r#"["e",null]"#);
        assert_eq!(text(&(vec![1],)), r#"["e",[1]]"#);
        assert_eq!(text(&[0_u8; 0]), r#"["e"]"#);
        assert_eq!(encode_reply(&()).unwrap().json(), "[]");
        assert_eq!(encode_reply(&7).unwrap().json(), "[7]");
    }

    #[test]
    fn a_name_is_quoted_like_any_json_string() {
        assert_eq!(encode_event("a\"b\n", &()).unwrap().json(), r#"["a\"b\n"]"#);
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        there_and_back(());
        there_and_back(Unit);
        there_and_back(5_u8);
        there_and_back(String::from("x"));
        there_and_back((1_u8, String::from("two"), vec![3_u8]));
        there_and_back(vec![1_u8, 2]);
        there_and_back(Some(3_u8));
        there_and_back(None::<u8>);
        there_and_back(Pair(1, "x".into()));
        there_and_back(BTreeMap::from([(String::from("k"), Bytes::from_static(b"v"))]));
        there_and_back(Bytes::from_static(b"raw"));
        there_and_back((Bytes::new(), Bytes::from_static(b"b"), 7));
        for shape in [
            Shape::Dot,
            Shape::Blob(Bytes::from_static(b"1")),
            Shape::Line { from: 1, data: Bytes::from_static(b"2") },
            Shape::Two(2, Bytes::from_static(b"3")),
        ] {
            there_and_back((shape, Bytes::from_static(b"beside")));
        }
        there_and_back(Shot {
            id: 1,
            body: Bytes::from_static(&[0, 255]),
            tags: vec!["a".into()],
            more: Some(Box::new(Shot { id: 2, body: Bytes::new(), tags: vec![], more: None })),
        });
    }

    #[test]
    fn bytes_become_attachments_in_the_order_of_the_text() {
        let payload = encode_event(
            "e",
            &(Bytes::from_static(b"a"), json!({"x": 1}), Bytes::from_static(b"b")),
        )
        .unwrap();
        assert_eq!(
            payload.json(),
            r#"["e",{"_placeholder":true,"num":0},{"x":1},{"_placeholder":true,"num":1}]"#
        );
        assert_eq!(payload.attachments(), [&b"a"[..], &b"b"[..]]);
    }

    #[test]
    fn extra_arguments_are_ignored_and_missing_ones_are_none() {
        let payload = encode_reply(&(1, 2, 3)).unwrap();
        assert_eq!(payload.decode::<(u8, u8)>().unwrap(), (1, 2));
        assert_eq!(payload.decode::<u8>().unwrap(), 1);
        payload.decode::<()>().unwrap();
        let (a, d) = encode_reply(&1).unwrap().decode::<(u8, Option<u8>)>().unwrap();
        assert_eq!((a, d), (1, None));
        assert_eq!(encode_reply(&()).unwrap().decode::<Option<u8>>().unwrap(), None);
        encode_reply(&1).unwrap().decode::<(u8, u8)>().unwrap_err();
        encode_reply(&()).unwrap().decode::<u8>().unwrap_err();
    }

    /// What the one argument is read as, alone and among others.
    fn read<T: DeserializeOwned + PartialEq + fmt::Debug>(json: &str) -> Option<T> {
        let alone = Payload::answer(format!("[{json}]"), vec![]).decode::<T>().ok();
        let several = [
            Payload::answer(format!("[{json}]"), vec![]).decode::<(T,)>().ok(),
            Payload::answer(format!("[ {json} , 2]"), vec![]).decode::<T>().ok().map(|one| (one,)),
            event_e(&format!(r#"["e",{json},2]"#), vec![]).decode::<T>().ok().map(|one| (one,)),
            // With attachments it is read by way of visitors of our own.
            Payload::answer(format!("[{json}]"), vec![Bytes::new()]).decode::<(T,)>().ok(),
        ];
        for one in several {
            assert_eq!(one.as_ref().map(|(one,)| one), alone.as_ref(), "{json}");
        }
        alone
    }

    #[test]
    fn a_number_is_read_whole_or_not_at_all_alone_as_among_others() {
        const HUGE: &str = "340282366920938463463374607431768211455";
        const LEAST: &str = "-170141183460469231731687303715884105728";
        const TOO_HUGE: &str = "340282366920938463463374607431768211456";
        macro_rules! none {
            ($json:expr, $($kind:ty)*) => {
                $(assert_eq!(read::<$kind>($json), None, "{} as {}", $json, stringify!($kind));)*
            };
        }
        macro_rules! all {
            ($value:expr, $($kind:ty)*) => {
                $(assert_eq!(read::<$kind>(&$value.to_string()), $value.to_string().parse::<$kind>().ok());)*
            };
        }
        for json in ["1e+21", "1E3", "-1.5", "1.5", "1.0", "-1e2", TOO_HUGE, "1e400"] {
            none!(json, u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 bool char String);
        }
        for json in ["\"1\"", "true", "null", "[1]", "{\"a\":1}"] {
            none!(json, u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f64);
        }
        all!(7, u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f32 f64);
        all!(-7, i8 i16 i32 i64 i128 f32 f64);
        assert_eq!(read::<u128>(HUGE), Some(u128::MAX));
        assert_eq!(read::<i128>(LEAST), Some(i128::MIN));
        assert_eq!(read::<i128>(HUGE), None);
        assert_eq!(read::<f64>("1e+21"), Some(1e21));
        assert_eq!(read::<f64>("-1.5"), Some(-1.5));
        assert_eq!(read::<f32>("1.5"), Some(1.5));
        assert_eq!(read::<Option<u128>>("1e+21"), None);
        assert_eq!(read::<Option<u128>>(HUGE), Some(Some(u128::MAX)));
        assert_eq!(read::<bool>("true"), Some(true));
        assert_eq!(read::<String>("\"1\""), Some("1".to_owned()));
    }

    #[test]
    fn half_of_a_character_is_replaced_where_it_is_decoded_and_kept_where_it_is_not() {
        let json = r#"["e","cut \ud83d",{"\ude00":["\ud83d\ude00\ud83d"]},"\\ud83d"]"#;
        let payload = event_e(json, vec![]);
        assert_eq!(payload.decode::<String>().unwrap(), "cut \u{fffd}");
        assert_eq!(payload.decode::<Value>().unwrap(), json!("cut \u{fffd}"));
        assert_eq!(
            payload.decode::<(String, Value, String)>().unwrap(),
            ("cut \u{fffd}".into(), json!({ "\u{fffd}": ["😀\u{fffd}"] }), "\\ud83d".into())
        );
        assert_eq!(read::<char>(r#""\ud83d""#), Some('\u{fffd}'));
        // What stays text stays as it came, and an error is one still.
        assert_eq!(payload.to_json(), json.replace(r#""e","#, ""));
        let (raw,) = payload.decode::<(Box<RawValue>,)>().unwrap();
        assert_eq!(raw.get(), r#""cut \ud83d""#);
        payload.decode::<(u8, Value)>().unwrap_err();
        let data = Bytes::from_static(b"x");
        let json = r#"[{"_placeholder":true,"num":0},"\ud83d"]"#;
        let payload = Payload::answer(json, vec![data.clone()]);
        assert_eq!(payload.decode::<(Bytes, String)>().unwrap(), (data, "\u{fffd}".to_owned()));
    }

    #[test]
    fn a_value_shows_the_place_of_an_attachment() {
        let payload = encode_reply(&json!({"deep": [1, null]})).unwrap();
        assert_eq!(payload.decode::<Value>().unwrap(), json!({"deep": [1, null]}));
        let payload = encode_reply(&(Bytes::from_static(b"x"), 1)).unwrap();
        assert_eq!(
            payload.decode::<(Value, u8)>().unwrap(),
            (json!({"_placeholder": true, "num": 0}), 1)
        );
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_data() {
        let looks = json!({"_placeholder": true, "num": 0});
        let payload = encode_reply(&looks).unwrap();
        assert!(payload.attachments().is_empty());
        assert_eq!(payload.decode::<Value>().unwrap(), looks);
        payload.decode::<Bytes>().unwrap_err();
    }

    #[test]
    fn what_the_peer_would_take_for_an_attachment_that_it_is_not_is_refused() {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let data = Bytes::from_static(b"x");
        for json in [
            r#"{"_placeholder":true,"num":0}"#,
            r#"{"_placeholder":true,"num":1}"#,
            r#"{"_placeholder":true}"#,
            r#"[{"a":[{"num":0,"b":{},"_placeholder":true}]}]"#,
            r#"{"_placeholder":false,"_placeholder":true}"#,
            r#"{"\u005fplaceholde\u0072" : true}"#,
        ] {
            encode_reply(&raw(json)).unwrap();
            for refused in [
                encode_event("e", &(&data, raw(json))),
                encode_event("e", &(raw(json), &data)),
                encode_reply(&(raw(json), [&data])),
            ] {
                let error = refused.unwrap_err().to_string();
                assert!(error.contains("_placeholder"), "{json}: {error}");
            }
        }
        for json in [
            r#"{"_placeholder":"true","num":0}"#,
            r#"{"_placeholder":false}"#,
            r#"{"_placeholder":[true]}"#,
            r#"["_placeholder",true]"#,
            r#"{"a":"{\"_placeholder\":true}"}"#,
            r#"{"\\u005fplaceholder":true}"#,
        ] {
            let payload = encode_event("_placeholder", &(&data, raw(json))).unwrap();
            let (bytes, value) = payload.decode::<(Bytes, Value)>().unwrap();
            assert_eq!((bytes, value), (data.clone(), serde_json::from_str(json).unwrap()));
        }
    }

    #[test]
    fn a_float_comes_as_it_was_sent() {
        for bits in [
            0x90eb_3b3d_ad73_5f6d_u64,
            0xec03_0e4f_3b5f_8a3d,
            0x3fb9_9999_9999_999a,
            0x0000_0000_0000_0001,
            0x000f_ffff_ffff_ffff,
            0x7fef_ffff_ffff_ffff,
            0x4340_0000_0000_0001,
        ] {
            there_and_back(f64::from_bits(bits));
            there_and_back(json!([f64::from_bits(bits)]));
        }
        there_and_back((-1.952_402_357_427_174e-227, -3.247_538_833_266_955_4e212));
    }

    #[test]
    fn behind_a_buffer_of_serde_an_attachment_is_not_found_which_is_an_error() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Body {
            body: Bytes,
        }
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Flat {
            id: u8,
            #[serde(flatten)]
            body: Body,
        }
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        #[serde(tag = "type")]
        enum Tagged {
            Photo(Body),
        }
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        #[serde(untagged)]
        enum Untagged {
            Photo(Body),
        }
        fn there_and_not_back<T: Serialize + DeserializeOwned + fmt::Debug>(value: &T) {
            let payload = encode_reply(value).unwrap();
            assert_eq!(payload.attachments(), [&b"jpeg"[..]], "{value:?}");
            let error = payload.decode::<T>().unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains("jpeg"), "{error}");
        }
        let body = || Body { body: Bytes::from_static(b"jpeg") };
        there_and_back(body());
        there_and_not_back(&Flat { id: 1, body: body() });
        there_and_not_back(&Tagged::Photo(body()));
        there_and_not_back(&Untagged::Photo(body()));
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        let payload = Payload::answer(deep.clone(), vec![]);
        payload.decode::<Value>().unwrap_err();
        let payload = Payload::answer(deep, vec![Bytes::new()]);
        payload.decode::<(Value,)>().unwrap_err();
    }

    #[test]
    fn the_arguments_of_an_event_can_be_an_answer() {
        let bytes = Bytes::from_static(b"x");
        let event = encode_event("e", &(1, bytes.clone())).unwrap();
        assert_eq!(event.to_reply(), encode_reply(&(1, bytes)).unwrap());
        assert_eq!(event.to_reply().to_reply(), event.to_reply());
        assert_eq!(encode_event("e", &()).unwrap().to_reply(), encode_reply(&()).unwrap());
    }

    #[test]
    fn arguments_can_get_another_name() {
        let bytes = Bytes::from_static(b"x");
        for name in ["f", "a\"b\n", ""] {
            let event = encode_event("e", &(1, bytes.clone())).unwrap();
            assert_eq!(event.renamed(name), encode_event(name, &(1, bytes.clone())).unwrap());
            let event = encode_event("e", &()).unwrap();
            assert_eq!(event.renamed(name), encode_event(name, &()).unwrap());
            let reply = encode_reply(&7).unwrap();
            assert_eq!(reply.renamed(name), encode_event(name, &7).unwrap());
        }
    }

    #[test]
    fn debug_and_json_forms() {
        let payload = encode_event("e", &("secret", 1)).unwrap();
        assert_eq!(payload.to_json(), r#"["secret",1]"#);
        assert!(!format!("{payload:?}").contains("secret"));
        assert_eq!(encode_event("e", &()).unwrap().to_json(), "[]");
        assert_eq!(payload.detach(), payload);
    }
}

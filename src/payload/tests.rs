use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{value::Args, *};

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
    let event = encode_event("a\"b\n", &()).unwrap();
    assert_eq!((event.json(), event.name()), (r#"["a\"b\n"]"#, "a\"b\n"));
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
    let payload =
        encode_event("e", &(Bytes::from_static(b"a"), json!({"x": 1}), Bytes::from_static(b"b")))
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
        let renamed = event.renamed(name);
        assert_eq!(renamed, encode_event(name, &(1, bytes.clone())).unwrap());
        assert_eq!(renamed.name(), name);
        let event = encode_event("e", &()).unwrap();
        assert_eq!(event.renamed(name), encode_event(name, &()).unwrap());
        let reply = encode_reply(&7).unwrap();
        assert_eq!(reply.renamed(name), encode_event(name, &7).unwrap());
    }
}

#[test]
fn another_argument_comes_behind_the_others() {
    let data = Bytes::from_static(b"x");
    for (event, expected) in [
        (encode_event("e", &()), encode_event("e", &("id",))),
        (encode_event("e", &(1, &data)), encode_event("e", &(1, &data, "id"))),
        (encode_reply(&()), encode_reply(&("id",))),
        (encode_reply(&(&data, 1)), encode_reply(&(&data, 1, "id"))),
    ] {
        let (event, expected) = (event.unwrap(), expected.unwrap());
        let longer = event.with_argument(r#""id""#);
        assert_eq!(longer, expected);
        assert_eq!((longer.name(), longer.to_json()), (event.name(), expected.to_json()));
    }
}

#[test]
fn what_looks_like_a_placeholder_beside_an_attachment_is_for_another_parser_only() {
    let data = |json: &str| event_e(&format!(r#"["e",{json}]"#), vec![Bytes::new()]);
    let escaped = r#"{"\u005fplaceholder":true,"num":0}"#;
    assert!(data(escaped).is_ambiguous_as_text());
    assert!(!data(r#"{"_placeholder":true,"num":0}"#).is_ambiguous_as_text());
    assert!(!data(r#"{"\u005fplaceholder":false}"#).is_ambiguous_as_text());
    let alone = event_e(&format!(r#"["e",{escaped}]"#), vec![]);
    assert!(!alone.is_ambiguous_as_text());
}

#[test]
fn payloads_differ_in_their_text_or_their_attachments_or_in_where_the_arguments_begin() {
    let data = |data: &'static str| vec![Bytes::from_static(data.as_bytes())];
    let all = [
        Payload::answer(r#"["e",1]"#, vec![]),
        Payload::answer(r#"["e",2]"#, vec![]),
        Payload::answer(r#"["e",1]"#, data("x")),
        Payload::answer(r#"["e",1]"#, data("y")),
        event_e(r#"["e",1]"#, vec![]),
    ];
    for (index, one) in all.iter().enumerate() {
        for (other_index, other) in all.iter().enumerate() {
            assert_eq!(one == other, index == other_index, "{index} {other_index}");
        }
    }
}

#[test]
fn what_a_payload_holds_is_its_text_a_name_beside_it_and_the_attachments() {
    let handles = size_of::<Bytes>();
    for (payload, expected) in [
        (encode_event("e", &1), r#"["e",1]"#.len()),
        (encode_event("a\"b", &1), r#"["a\"b",1]"#.len() + "a\"b".len()),
        (encode_reply(&()), "[]".len()),
    ] {
        assert_eq!(payload.unwrap().held(), expected);
    }
    let data = vec![Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
    let payload = Payload::answer("[]", data);
    assert_eq!((payload.held(), payload.size()), (2 + 5 + 2 * handles, 2 + 5));
}

/// The text of an error without the place in the JSON.
fn without_place(error: DecodeError) -> String {
    error.to_string().split(" at line ").next().unwrap().to_owned()
}

#[test]
fn an_attachment_is_copied_once() {
    let read = |numbers: &[usize], data: &[&'static [u8]]| {
        let places =
            numbers.iter().map(|number| format!(r#"{{"_placeholder":true,"num":{number}}}"#));
        let json = format!("[[{}]]", places.collect::<Vec<_>>().join(","));
        let data = data.iter().map(|data| Bytes::from_static(data)).collect();
        Payload::answer(json, data).decode::<Vec<Bytes>>().map_err(without_place)
    };
    let (one, two) = (&b"one"[..], &b"two"[..]);
    assert_eq!(read(&[1, 0], &[one, two]), Ok(vec![two.into(), one.into()]));
    // As much is copied as there is.
    assert_eq!(read(&[0, 0], &[one, two]), Ok(vec![one.into(), one.into()]));
    for (numbers, error) in
        [(&[0, 1, 0][..], "an attachment is named too often"), (&[0, 1, 2], "no such attachment")]
    {
        assert_eq!(read(numbers, &[one, two]).unwrap_err(), error);
    }
}

#[test]
fn what_is_missing_is_told() {
    const NONE: &str = "there are no arguments";
    fn error<T: DeserializeOwned + fmt::Debug>() -> String {
        let empty = [Payload::answer("[ ]", vec![]), event_e(r#"["e"]"#, vec![])];
        let [error, other] = empty.map(|empty| without_place(empty.decode::<T>().unwrap_err()));
        assert_eq!(error, other);
        error
    }
    assert_eq!(error::<u8>(), NONE);
    assert_eq!(error::<u128>(), NONE);
    assert_eq!(error::<Vec<u8>>(), NONE);
    assert_eq!(error::<(u8, u8)>(), "there are fewer arguments than that");
}

#[test]
fn a_variant_without_data_has_none_beside_attachments_either() {
    for attachments in [vec![], vec![Bytes::new()]] {
        let read = |json| Payload::answer(json, attachments.clone()).decode::<Shape>().ok();
        assert_eq!(read(r#"["Dot"]"#), Some(Shape::Dot));
        assert_eq!(read(r#"[{"Dot":null}]"#), Some(Shape::Dot));
        assert_eq!(read(r#"[{"Dot":1}]"#), None);
        assert_eq!(read(r#"["Blob"]"#), None);
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

#[test]
fn each_type_reads_what_the_table_says() {
    fn read<T: DeserializeOwned>(wire: &str) -> Result<T, DecodeError> {
        let reply = Payload::answer(wire, vec![]);
        let json = wire.strip_prefix('[').unwrap();
        let comma = if json == "]" { "" } else { "," };
        let event = event_e(&format!("[\"e\"{comma}{json}"), vec![]);
        assert_eq!(event.decode::<T>().is_ok(), reply.decode::<T>().is_ok(), "{wire}");
        reply.decode()
    }
    /// What becomes of `[]`, `[1]`, `[1,2]` and `[[1,2]]`, as JSON.
    fn row<T: DeserializeOwned + Serialize>(expected: [Option<&str>; 4]) {
        let wires = ["[]", "[1]", "[1,2]", "[[1,2]]"];
        let json = |wire| read::<T>(wire).ok().map(|value| serde_json::to_string(&value).unwrap());
        assert_eq!(wires.map(json), expected.map(|json| json.map(str::to_owned)));
    }
    #[derive(Deserialize, Serialize)]
    struct Two(u8, u8);

    row::<()>([Some("null"); 4]);
    row::<u8>([None, Some("1"), Some("1"), None]);
    row::<Vec<u8>>([None, None, None, Some("[1,2]")]);
    row::<((u8, u8),)>([None, None, None, Some("[[1,2]]")]);
    row::<Option<u8>>([Some("null"), Some("1"), Some("1"), None]);
    row::<(u8, u8)>([None, None, Some("[1,2]"), None]);
    row::<[u8; 2]>([None, None, Some("[1,2]"), None]);
    row::<Two>([None, None, Some("[1,2]"), None]);
    row::<(u8, Option<u8>)>([None, Some("[1,null]"), Some("[1,2]"), None]);
    row::<Args<u8>>([Some("[]"), Some("[1]"), Some("[1,2]"), None]);
    row::<value::Value>([None, Some("1"), Some("1"), Some("[1,2]")]);
    row::<Args>([Some("[]"), Some("[1]"), Some("[1,2]"), Some("[[1,2]]")]);
    assert_eq!(read::<Option<u8>>("[null]").unwrap(), None);
    assert_eq!(read::<[u8; 2]>("[1,2,3]").unwrap(), [1, 2], "the rest is ignored");
}

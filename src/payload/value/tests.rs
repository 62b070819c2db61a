use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::payload::{Payload, encode_event};

fn data(text: &'static [u8]) -> Value {
    Bytes::from_static(text).into()
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Values of all kinds, nested, some of them objects that look like the place of an attachment.
fn values(kinds: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    kinds.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z\\PC]{0,3}|num", inner, 0..4).prop_map(Value::Object),
        ]
    })
}

fn plain() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ]
    .boxed()
}

fn any_kind() -> BoxedStrategy<Value> {
    let bytes = prop::collection::vec(any::<u8>(), 0..6);
    prop_oneof![3 => plain(), 1 => bytes.prop_map(|data| Bytes::from(data).into())].boxed()
}

proptest! {
    #[test]
    fn values_come_back_as_they_went(
        list in prop::collection::vec(values(any_kind()), 0..5),
    ) {
        let list = Args(list);
        let event = encode_event("e", &list).unwrap();
        prop_assert_eq!(event.decode::<Args>().unwrap(), list.clone());
        let reply = encode_reply(&list).unwrap();
        prop_assert_eq!(reply.decode::<Args>().unwrap(), list.clone());
        prop_assert_eq!(&reply, &event.to_reply());
        let one = Value::Array(list.0);
        let event = encode_event("e", &one).unwrap();
        prop_assert_eq!(event.decode::<Value>().unwrap(), one.clone());
        prop_assert_eq!(one.decode::<Value>().unwrap(), one);
    }

    #[test]
    fn values_of_json_are_those_of_serde_json(value in values(plain())) {
        let json = value.decode::<serde_json::Value>().unwrap();
        prop_assert_eq!(&Value::from(json.clone()), &value);
        prop_assert_eq!(&serde_json::from_value::<Value>(json.clone()).unwrap(), &value);
        prop_assert_eq!(&serde_json::from_str::<Value>(&json.to_string()).unwrap(), &value);
        prop_assert_eq!(serde_json::to_string(&value).unwrap(), json.to_string());
    }
}

#[test]
fn values_stand_wherever_serde_has_a_place() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Post {
        id: u32,
        body: Value,
        more: Option<Value>,
        all: Args,
    }
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Anything(Args);

    let post = Post {
        id: 7,
        body: Value::from(vec![data(b"1"), json!({ "a": [null] }).into()]),
        more: Some(object([("photo", data(b"2"))])),
        all: Args(vec![data(b"3"), 4.into()]),
    };
    let event = encode_event("e", &post).unwrap();
    assert_eq!(event.attachments(), [&b"1"[..], b"2", b"3"]);
    assert_eq!(event.decode::<Post>().unwrap(), post);
    assert_eq!(Value::of(&post).unwrap().decode::<Post>().unwrap(), post);

    let pair = (Value::from("two"), data(b"x"));
    let event = encode_event("e", &pair).unwrap();
    assert_eq!(event.json(), r#"["e","two",{"_placeholder":true,"num":0}]"#);
    assert_eq!(event.decode::<(Value, Value)>().unwrap(), pair);
    assert_eq!(event.decode::<(Value, Bytes)>().unwrap().1, "x");
    assert_eq!(event.decode::<Anything>().unwrap(), Anything(Args(vec![pair.0, pair.1])));
    let nested = (1, Args(vec![1, 2]));
    assert_eq!(encode_reply(&nested).unwrap().json(), "[1,[1,2]]");
    assert_eq!(encode_reply(&nested).unwrap().decode::<(u8, Args<u8>)>().unwrap().1.0, [1, 2]);
}

#[test]
fn a_list_is_as_many_arguments_as_it_has() {
    let json = |arguments: &Args| encode_event("e", arguments).unwrap().json().to_owned();
    assert_eq!(json(&Args(vec![])), r#"["e"]"#);
    assert_eq!(json(&Args(vec![Value::Null])), r#"["e",null]"#);
    assert_eq!(json(&[1, 2].into_iter().map(Value::from).collect()), r#"["e",1,2]"#);
    assert_eq!(encode_event("e", &Value::Null).unwrap().json(), r#"["e",null]"#);
    assert_eq!(encode_reply(&Args::<u8>(vec![])).unwrap().json(), "[]");
    assert_eq!(encode_reply(&Args::from(vec!["a", "b"])).unwrap().json(), r#"["a","b"]"#);
    // What is missing is not made up, and nothing is left away.
    let payload = Payload::answer(r#"[1,"two",null]"#, vec![]);
    assert_eq!(payload.decode::<Args<Option<serde_json::Value>>>().unwrap().0.len(), 3);
    payload.decode::<Args<u8>>().unwrap_err();
}

#[test]
fn attachments_are_found_where_the_placeholder_is_and_shared() {
    let attachments = vec![Bytes::from(vec![1; 64]), Bytes::from(vec![2; 64])];
    let json = r#"[{"num":1,"_placeholder":true},[{"_placeholder":true,"num":0}],
        {"\u005fplaceholder":true,"num":0},{"_placeholder":false,"num":0},{"_placeholder":true,"num":7}]"#;
    let payload = Payload::answer(json, attachments.clone());
    let Args(values): Args = payload.decode().unwrap();
    let Value::Bytes(second) = &values[0] else { panic!("{values:?}") };
    assert_eq!(second.as_ptr(), attachments[1].as_ptr(), "no copy");
    assert_eq!(values[1], [attachments[0].clone()].into_iter().collect());
    // Written so by another parser: data.
    let looks = |is: bool, num: u8| json!({ "_placeholder": is, "num": num }).into();
    assert_eq!(values[2..], [looks(true, 0), looks(false, 0), looks(true, 7)]);

    // Without attachments it is data anyway.
    let payload = Payload::answer(r#"[{"_placeholder":true,"num":0}]"#, vec![]);
    assert_eq!(payload.decode::<Value>().unwrap(), looks(true, 0));
}

#[test]
fn numbers_beyond_64_bits_are_the_nearest_float_and_beyond_that_an_error() {
    let read = |json: &str| Payload::answer(format!("[{json}]"), vec![]).decode::<Value>();
    assert_eq!(read("18446744073709551615").unwrap(), u64::MAX.into());
    assert_eq!(read("-9223372036854775808").unwrap(), i64::MIN.into());
    assert_eq!(read("18446744073709551616").unwrap(), 18_446_744_073_709_551_616_f64.into());
    assert_eq!(read("-9223372036854775809").unwrap(), (-9_223_372_036_854_775_808_f64).into());
    assert_eq!(read("1e3").unwrap(), 1000_f64.into());
    assert_eq!(read("1e-999").unwrap(), 0_f64.into());
    read("1e400").unwrap_err();
    for nothing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Value::from(nothing), Value::Null);
    }
}

#[test]
fn there_is_a_way_from_each_kind() {
    for (value, json) in [
        (Value::from(()), "null"),
        (None::<u8>.into(), "null"),
        (Some("x").into(), r#""x""#),
        (true.into(), "true"),
        (1_u8.into(), "1"),
        ((-1_i64).into(), "-1"),
        (0.5_f32.into(), "0.5"),
        (String::from("x").into(), r#""x""#),
        ([1, 2].into_iter().collect(), "[1,2]"),
        (json!({ "b": [1, "x", null], "a": true }).into(), r#"{"a":true,"b":[1,"x",null]}"#),
        (BTreeMap::from([("k".to_owned(), Value::Null)]).into(), r#"{"k":null}"#),
    ] {
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
    }
    assert_eq!(object([("k", "v".into())]).get("k").and_then(Value::as_str), Some("v"));
    assert_eq!((Value::Null.get("k"), Value::from(1).as_str()), (None, None));
}

#[test]
fn deep_nesting_is_an_error_here_too() {
    let deep = format!("[{}{}]", "[".repeat(100_000), "]".repeat(100_000));
    Payload::answer(deep.clone(), vec![]).decode::<Value>().unwrap_err();
    Payload::answer(deep, vec![Bytes::new()]).decode::<Args>().unwrap_err();
}

#[test]
fn behind_flatten_a_value_is_the_placeholder_of_the_attachment() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Loose {
        id: u32,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }

    let loose = |photo: Value| Loose { id: 1, rest: [("photo".to_owned(), photo)].into() };
    let event = encode_event("e", &loose(data(b"1"))).unwrap();
    assert_eq!(event.attachments(), [&b"1"[..]]);
    let place = json!({ "_placeholder": true, "num": 0 }).into();
    assert_eq!(event.decode::<Loose>().unwrap(), loose(place));
    assert_eq!(event.decode::<Value>().unwrap().get("photo"), Some(&data(b"1")));
}

#[test]
fn a_value_is_made_of_what_other_formats_have_too() {
    use serde::{
        de::{IntoDeserializer, value::Error},
        forward_to_deserialize_any,
    };

    /// What a format has that JSON has not.
    enum Other {
        Bytes,
        Buffer,
        Some,
        Newtype,
    }

    impl<'de> Deserializer<'de> for Other {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self {
                Self::Bytes => visitor.visit_bytes(b"x"),
                Self::Buffer => visitor.visit_byte_buf(b"x".to_vec()),
                Self::Some => visitor.visit_some(7_u64.into_deserializer()),
                Self::Newtype => visitor.visit_newtype_struct(7_u64.into_deserializer()),
            }
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            visitor: V,
        ) -> Result<V::Value, Error> {
            visitor.visit_newtype_struct(self)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    for (other, expected) in [
        (Other::Bytes, data(b"x")),
        (Other::Buffer, data(b"x")),
        (Other::Some, 7_u64.into()),
        (Other::Newtype, 7_u64.into()),
    ] {
        assert_eq!(Value::deserialize(other), Ok(expected));
    }
}

#[test]
fn arguments_are_a_list() {
    let list = vec![Value::Null, 7_u64.into()];
    assert_eq!(Args(list.clone()).into_iter().collect::<Vec<_>>(), list);
}

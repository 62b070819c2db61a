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

/// The messages of a packet with the default parser: text, and attachments in hex.
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

/// The packet that the default parser reads from these messages.
fn packet_of(messages: &[&str]) -> Packet {
    let mut decoder = Decoder::new(Parser::Json, LIMITS);
    let mut packet = decoder.text(messages[0][1..].into()).unwrap();
    for data in &messages[1..] {
        packet = decoder.binary(bytes(data)).unwrap();
    }
    packet.unwrap()
}

/// The JSON of a value in msgpack.
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
        // The fields in another order, with one of `options`.
        (
            "85a47479706502a46461746192a3666f6f81a16193c3c2c0a76f7074696f6e7381a8636f6d7072657373\
             c3a2696407a36e7370a62f61646d696e",
            &[r#"42/admin,7["foo",{"a":[true,false,null]}]"#],
        ),
        // python-socketio writes nil for a missing field.
        ("84a47479706501a464617461c0a36e7370a12fa26964c0", &["41"]),
        ("84a47479706500a464617461c0a36e7370a12fa26964c0", &["40"]),
        // An error without data has `undefined`.
        ("83a47479706504a464617461d40000a36e7370a12f", &["44"]),
        // Servers 2.x use the types with attachments, which are inside.
        (
            "84a47479706505a46461746193a46261636b01c4020102a36e7370a12fa2696400",
            &[r#"451-0["back",1,{"_placeholder":true,"num":0}]"#, "0102"],
        ),
        ("84a47479706506a46461746190a36e7370a12fa2696405", &["435[]"]),
        // An id that the official parser writes as a float, a negative id, and no id.
        (
            "84a47479706502a46461746191a165a36e7370a12fa26964cb43f0000000000000",
            &[r#"4218446744073709551615["e"]"#],
        ),
        ("84a47479706503a46461746190a36e7370a12fa26964ff", &["4318446744073709551615[]"]),
        ("83a47479706503a46461746190a36e7370a12f", &["4318446744073709551615[]"]),
        // The id 2^53.
        (
            "84a47479706503a46461746190a36e7370a12fa26964cf0020000000000000",
            &["439007199254740992[]"],
        ),
        // A number as a name, and lengths in more bytes than they need.
        ("83a47479706502a464617461dd0000000107a36e7370da00012f", &["42[7]"]),
    ] {
        assert_eq!(shown(read(message).unwrap()), messages, "{message}");
    }
}

#[test]
fn fields_that_nobody_knows_leave_nothing_and_the_last_of_two_counts() {
    // A binary, a map with an odd key, a key that is a number, and an empty one.
    let unknown = "a178c40107a17981ff9101078101c0a0a17a";
    for (message, messages) in [
        (
            format!("87a47479706502{unknown}a46461746192a165c40109a36e7370a12f"),
            &[r#"451-["e",{"_placeholder":true,"num":0}]"#, "09"][..],
        ),
        (
            format!("87a46461746192a165c40109{unknown}a36e7370a12fa47479706502"),
            &[r#"451-["e",{"_placeholder":true,"num":0}]"#, "09"],
        ),
        (
            "86a47479706504a46461746191c40109a36e7370a12fa46461746191a165a47479706502a36e7370a22f61"
                .to_owned(),
            &[r#"42/a,["e"]"#],
        ),
    ] {
        assert_eq!(shown(read(&message).unwrap()), messages, "{message}");
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
        ("92cfffffffffffffffffd38000000000000000", "[18446744073709551615,-9223372036854775808]"),
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
    // An ArrayBuffer, an ArrayBuffer of one byte, a timestamp of msgpack, an extension of the application.
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

/// The official decoder accepts text that is not UTF-8, and the official encoder writes it. In a text that is
/// not very short, it counts one byte too many for half a surrogate pair, and leaves that byte as it is.
#[test]
fn text_that_is_no_unicode_is_replaced_where_it_is_none() {
    for (message, json) in [
        ("a3c3a9ff", "\"é\u{fffd}\""),
        ("a4eda080c3", "\"\u{fffd}\u{fffd}\u{fffd}\u{fffd}\""),
        ("81a1ffa180", "{\"\u{fffd}\":\"\u{fffd}\"}"),
    ] {
        assert_eq!(value(message).unwrap(), json, "{message}");
    }
    // The text may grow by that, up to the limit.
    let message = format!("84a47479706503a2696400a46461746191d9c8{}a36e7370a12f", "ff".repeat(200));
    let limits = |bytes| Limits { attachments: 1, bytes };
    assert_eq!(decode(&bytes(&message), limits(700)).map(drop), Ok(()));
    let large = Err(Refused::TooLarge { limit: 600 });
    assert_eq!(decode(&bytes(&message), limits(600)).map(drop), large);
}

#[test]
fn what_looks_like_the_place_of_an_attachment_stays_data() {
    // {"_placeholder": true, "num": …}, with the number of an attachment that is there, or is not.
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
        // It is written like that again.
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
        ("81a464617461ddffffffff", early()),
        ("81a464617461dbffffffff", early()),
        ("81a464617461c6ffffffff", early()),
        ("81a464617461c9ffffffff00", early()),
        ("81a464617461d70000", early()),
        ("81a464617461cd00", early()),
        ("81a464617461cb00", early()),
        ("82a47479706500a36e7370a12fc0", broken("there is more behind it")),
        ("81a464617461c1", broken("it has the byte 0xc1, which means nothing")),
        ("c1", broken("it is no map")),
        ("81a36e737001", broken("its namespace is no text")),
        ("81a36e7370a12f", broken("it has no type")),
        ("81a47479706501", broken("it has no namespace")),
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
        ("[65535,65536,4294967295,4294967296]", "94cdffffce00010000ceffffffffcf0000000100000000"),
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
fn arrays_and_objects_of_every_length_are_written_at_every_level() {
    for level in [0, 1, 2, SHORT_LEVELS - 2, SHORT_LEVELS - 1, SHORT_LEVELS, SHORT_LEVELS + 1, 100]
    {
        for count in [0, 1, 15, 16, 17, 65_535, 65_536] {
            let entries: Vec<_> = (0..count).map(|number| format!("\"{number}\":[1]")).collect();
            for inner in [
                format!("[{}]", ["{}"].repeat(count).join(",")),
                format!("{{{}}}", entries.join(",")),
            ] {
                // What is around it gets a longer head, too.
                let (open, close) =
                    ("[".repeat(level), format!("{}]", ",0".repeat(16)).repeat(level));
                let json = format!("[{open}{inner}{close}]");
                let packet = Packet {
                    namespace: root(),
                    body: Body::Ack {
                        id: 0,
                        payload: Payload::answer(Text::from(json.clone()), Vec::new()),
                    },
                };
                let message = encode(&packet.parts());
                assert!(u64::try_from(message.len()).unwrap() <= at_most(&packet.parts()));
                let Body::Ack { payload, .. } = decode(&message, LIMITS).unwrap().body else {
                    panic!("no ack")
                };
                assert!(payload.json() == json, "{count} at level {level}");
            }
        }
    }
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
    // The packet itself is one level.
    assert!(value(&nested(127)).is_ok());
    let deep = Err(ProtocolError::Msgpack("it is nested deeper than 128 maps and arrays".into()));
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
    // Nothing is allocated for text that is too large.
    let control = bytes(&format!("da8000{}", "00".repeat(0x8000)));
    let used = allocation_counter::measure(|| drop(decode(&control, limit(1, 1_000))));
    assert!(used.bytes_max < 2_000, "{used:?}");
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

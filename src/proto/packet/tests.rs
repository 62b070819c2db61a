use proptest::prelude::*;

use super::*;
use crate::{
    payload::event_e,
    proto::engine::{Frame, Message},
};

impl Packet {
    /// The messages that it is sent as.
    pub(crate) fn encode(&self, protocol: Protocol, write: impl FnMut(Frame)) {
        Parser::Json.encode(self, protocol, write);
    }
}

impl Parser {
    fn encode(self, packet: &Packet, protocol: Protocol, mut write: impl FnMut(Frame)) {
        let mut whole = |message: Message<'_>| {
            write(match message {
                Message::Text(first, second) => Frame::Text([first, second].concat().into()),
                Message::Binary(first, second) => Frame::Binary([first, second].concat().into()),
                Message::Barrier(_) => panic!("a packet is no barrier"),
            });
        };
        let mut n = 0;
        while self.write(packet, n, protocol, &mut String::new(), &mut whole) {
            n += 1;
        }
    }
}

fn decoder() -> Decoder {
    Decoder::new(Parser::Json, Limits { attachments: 10, bytes: 1 << 20 })
}

fn read(text: &str) -> Result<Option<Packet>, Refused> {
    decoder().text(text.into())
}

fn frames(packet: Packet, protocol: Protocol) -> Vec<Frame> {
    let mut frames = Vec::new();
    packet.encode(protocol, |frame| frames.push(frame));
    frames
}

#[test]
fn the_size_of_the_largest_message_is_known_before_it_is_encoded() {
    let blobs = |sizes: &[usize]| -> Vec<Bytes> {
        sizes.iter().map(|&size| Bytes::from(vec![7; size])).collect()
    };
    for (namespace, id, sizes) in [
        ("/", None, &[][..]),
        ("/", Some(0), &[]),
        ("/", Some(9), &[1]),
        ("/", Some(10), &[100]),
        ("/shop", None, &[1; 10]),
        ("/käse", Some(u64::MAX), &[0, 30, 60, 0]),
    ] {
        let payload = event_e(r#"["e","ü"]"#, blobs(sizes));
        let mut bodies = vec![Body::Event { id, payload: payload.clone() }];
        bodies.extend(id.map(|id| Body::Ack { id, payload }));
        for (body, protocol) in
            bodies.into_iter().flat_map(|b| [(b.clone(), Protocol::Eio3), (b, Protocol::Eio4)])
        {
            let packet = Packet::new(namespace.into(), body);
            let largest = frames(packet.clone(), protocol).iter().map(Frame::size).max();
            let largest = largest.unwrap();
            assert_eq!(packet.exceeds(Parser::Json, protocol, largest), None, "{packet:?}");
            assert_eq!(
                packet.exceeds(Parser::Json, protocol, largest - 1),
                Some(largest),
                "{packet:?}"
            );
        }
    }
    assert_eq!(
        Packet::new(root(), Body::Disconnect).exceeds(Parser::Json, Protocol::Eio4, 0),
        None
    );
}

#[test]
fn an_event_is_taken_apart_without_a_copy() {
    let text = ByteString::from("2/shop,7[ \"a\" , {\"b\":1} ]");
    let packet = decoder().text(text.clone().into()).unwrap().unwrap();
    assert_eq!(packet.namespace, "/shop");
    let Body::Event { id, payload } = packet.body else { panic!("not an event") };
    assert_eq!((id, payload.name()), (Some(7), "a"));
    assert_eq!(payload.to_json(), "[{\"b\":1} ]");
    assert!(text.as_bytes().as_ptr_range().contains(&payload.name().as_bytes().as_ptr()));
}

#[test]
fn an_escaped_name_is_read_as_what_it_means() {
    let packet = read(r#"2["a\"\u00e9",1]"#).unwrap().unwrap();
    let Body::Event { payload, .. } = packet.body else { panic!("not an event") };
    assert_eq!(payload.name(), "a\"é");
    assert_eq!(payload.to_json(), "[1]");
}

#[test]
fn a_name_with_half_a_character_is_no_reason_to_end_the_connection() {
    let packet = read(r#"2["a\ud83dz",1]"#).unwrap().unwrap();
    let Body::Event { payload, .. } = packet.body else { panic!("not an event") };
    assert_eq!(payload.name(), "a\u{fffd}z");
    assert_eq!(payload.json(), r#"["a\ud83dz",1]"#);
}

#[test]
fn space_before_the_arguments_of_an_ack_is_no_name() {
    let packet = read("31 [1,2]").unwrap().unwrap();
    let Body::Ack { id: 1, payload } = packet.body else { panic!("not ack 1") };
    assert_eq!(payload.decode::<(u8, u8)>().unwrap(), (1, 2));
}

#[test]
fn an_id_may_have_any_number_of_digits() {
    let long = "9".repeat(400);
    for (digits, id) in [
        ("9007199254740992", 1 << 53),
        ("000000000000000000000000000000007", 7),
        ("18446744073709551614", u64::MAX - 1),
        ("18446744073709551615", FOREIGN_ID),
        ("18446744073709551616", FOREIGN_ID),
        (&long, FOREIGN_ID),
    ] {
        let packet = read(&format!("2{digits}[\"e\"]")).unwrap().unwrap();
        assert!(matches!(packet.body, Body::Event { id: Some(found), .. } if found == id));
        let packet = read(&format!("3{digits}[]")).unwrap().unwrap();
        assert!(matches!(packet.body, Body::Ack { id: found, .. } if found == id), "{digits}");
    }
}

#[test]
fn an_ack_without_an_id_is_nobodys() {
    let mut decoder = decoder();
    for text in ["3", "3[1]", "3/shop,[]", r#"61-[{"_placeholder":true,"num":0}]"#] {
        let packet = decoder.text(text.into()).unwrap();
        let packet = packet.or_else(|| decoder.binary(Bytes::new()).unwrap()).unwrap();
        assert!(matches!(packet.body, Body::Ack { id: FOREIGN_ID, .. }), "{text}");
    }
}

#[test]
fn a_packet_counts_for_what_it_holds() {
    let payload = event_e(r#"["e",1]"#, vec![Bytes::from_static(b"abc")]);
    let held = payload.held();
    for (body, size) in [
        (Body::Event { id: None, payload: payload.clone() }, held),
        (Body::Ack { id: 1, payload }, held),
        (Body::Connect(Some("{}".into())), 2),
        (Body::Connect(None), 0),
        (Body::ConnectError(Some("1".into())), 1),
        (Body::Disconnect, 0),
    ] {
        assert_eq!(Packet::new("/".into(), body.clone()).size(), size, "{body:?}");
    }
}

#[test]
fn attachments_are_counted_in_bytes() {
    let mut decoder = Decoder::new(Parser::Json, Limits { attachments: 2, bytes: 100 });
    decoder.text(r#"52-["e",{"_placeholder":true,"num":0}]"#.into()).unwrap();
    assert!(decoder.is_waiting());
    let refused = decoder.binary(Bytes::from(vec![0; 90])).unwrap_err();
    assert_eq!(refused, Refused::TooLarge { limit: 100 });
    // As many as that are not too many.
    let text = r#"51-["e",{"_placeholder":true,"num":0}]"#;
    let json = text.len() - "51-".len();
    for (size, fits) in [(100 - json, true), (101 - json, false)] {
        let mut decoder = Decoder::new(Parser::Json, Limits { attachments: 2, bytes: 100 });
        decoder.text(text.into()).unwrap();
        assert_eq!(decoder.binary(Bytes::from(vec![0; size])).is_ok(), fits);
    }
    assert!(!decoder.is_waiting());
}

#[test]
fn depth_is_nobodys_concern_before_somebody_asks_for_the_arguments() {
    for head in ["2", "51-"] {
        let deep = format!("{head}[\"e\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).is_ok());
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

fn payload(name: Option<String>) -> impl Strategy<Value = Payload> {
    let data = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    (prop::collection::vec(json(), 0..4), prop::collection::vec(data, 0..4)).prop_map(
        move |(values, data)| match &name {
            Some(name) => crate::payload::encode_event(name, &(values, data)).unwrap(),
            None => crate::payload::encode_reply(&(values, data)).unwrap(),
        },
    )
}

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, Just(u64::MAX), any::<u64>()]
}

fn body() -> impl Strategy<Value = Body> {
    let object = || json().prop_map(|value| serde_json::json!({ "a": value }).to_string());
    prop_oneof![
        prop::option::of(object()).prop_map(|data| Body::Connect(data.map(Into::into))),
        Just(Body::Disconnect),
        prop::option::of(json())
            .prop_map(|data| Body::ConnectError(data.map(|data| data.to_string().into()))),
        (prop::option::of(id()), any::<String>()).prop_flat_map(|(id, name)| {
            payload(Some(name)).prop_map(move |payload| Body::Event { id, payload })
        }),
        (id(), payload(None)).prop_map(|(id, payload)| Body::Ack { id, payload }),
    ]
}

pub(in crate::proto) fn packet() -> impl Strategy<Value = Packet> {
    let namespace = prop_oneof![Just("/".to_owned()), "/[^,]{1,12}"];
    (namespace, body()).prop_map(|(namespace, body)| Packet::new(namespace.into(), body))
}

/// Feeds websocket messages the way a connection does.
fn feed(
    decoder: &mut Decoder,
    protocol: Protocol,
    frame: Frame,
) -> Result<Option<Packet>, Refused> {
    use crate::proto::engine::{EnginePacket, decode};
    match decode(protocol, frame)? {
        EnginePacket::Message(text) => decoder.text(text),
        EnginePacket::Binary(data) => decoder.binary(data),
        _ => Ok(None),
    }
}

#[test]
fn the_size_of_an_attachment_as_base64_is_known_before_it_is_encoded() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    for size in 0..=20 {
        let payload = event_e(r#"["e"]"#, vec![Bytes::new(), Bytes::from(vec![7; size])]);
        let packet = Packet::new(root(), Body::Event { id: None, payload });
        let told = u64::try_from(format!("b{}", STANDARD.encode(vec![7; size])).len()).unwrap();
        for limit in 1..=40 {
            let expected = (told > limit).then_some(told);
            assert_eq!(packet.exceeds_as_base64(Parser::Json, limit), expected, "{size} {limit}");
        }
    }
    let plain = Packet::new(root(), Body::Event { id: None, payload: event_e(r#"["e"]"#, vec![]) });
    assert_eq!(plain.exceeds_as_base64(Parser::Json, 1), None);
}

#[test]
fn in_msgpack_a_packet_may_be_larger_than_its_parts_and_its_text() {
    let fractions = crate::payload::encode_event("e", &vec![0.5; 1_000]).unwrap();
    let data = vec![Bytes::from_static(&[0; 1_000]); 10];
    let attachments = crate::payload::encode_event("e", &data).unwrap();
    for (payload, size) in [(fractions, 9_000), (attachments, 10_000)] {
        let body = Body::Event { id: None, payload };
        let packet = Packet::new("/".into(), body);
        assert_eq!(packet.exceeds(Parser::Json, Protocol::Eio4, size), None);
        assert!(packet.exceeds(Parser::Msgpack, Protocol::Eio4, size) > Some(size));
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(packet in packet(), eio3 in any::<bool>()) {
        let protocol = if eio3 { Protocol::Eio3 } else { Protocol::Eio4 };
        let mut decoder = decoder();
        let mut decoded = Vec::new();
        for frame in frames(packet.clone(), protocol) {
            decoded.extend(feed(&mut decoder, protocol, frame).unwrap());
        }
        prop_assert_eq!(decoded, vec![packet]);
    }

    #[test]
    fn what_exceeds_a_limit_is_found_out(
        packet in packet(),
        eio3 in any::<bool>(),
        limit in 0..400_u64,
    ) {
        let protocol = if eio3 { Protocol::Eio3 } else { Protocol::Eio4 };
        let is_bounded = matches!(packet.body, Body::Event { .. } | Body::Ack { .. });
        for parser in [Parser::Json, Parser::Msgpack] {
            let mut size = 0;
            parser.encode(&packet, protocol, |frame| size = size.max(frame.size()));
            let expected = (is_bounded && size > limit).then_some(size);
            prop_assert_eq!(packet.exceeds(parser, protocol, limit), expected);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,64}") {
        drop(read(&text));
    }

    #[test]
    fn nothing_that_looks_like_a_packet_panics(
        text in r#"[0-7]([0-9]{0,12}-)?(/[a-z,]{0,4},?)?[0-9]{0,20}[\[\]{}",:a-z0-9_ ]{0,32}"#,
    ) {
        drop(read(&text));
    }

    #[test]
    fn what_a_message_allocates_is_a_small_multiple_of_its_size(
        head in prop::sample::select(vec![
            "42", "42/", "0", "451-", "4510-[\"e\",", "4610-7[", "44", "40", "b", "42[\"\\", "",
        ]),
        body in "[\\[\\]{}\",:a0é\\\\]{0,3}",
        times in 0..2_000_usize,
    ) {
        let text = ByteString::from(format!("{head}{}", body.repeat(times)));
        let size = text.len();
        let used = allocation_counter::measure(|| {
            let mut decoder = decoder();
            for _ in 0..3 {
                drop(feed(&mut decoder, Protocol::Eio4, Frame::Text(text.clone())));
            }
            for _ in 0..12 {
                let data = Frame::Binary(text.as_bytes().clone());
                drop(feed(&mut decoder, Protocol::Eio4, data));
            }
        });
        let bound = u64::try_from(size * 4 + 4_096).unwrap();
        prop_assert!(used.bytes_max <= bound, "{} bytes for {size}", used.bytes_max);
    }

    #[test]
    fn no_sequence_of_messages_panics(
        messages in prop::collection::vec(
            prop_oneof![
                "4?[0-6]{1,2}-?[\\[\"a\\],]{0,8}".prop_map(|text| Frame::Text(text.into())),
                prop::collection::vec(any::<u8>(), 0..8).prop_map(|data| Frame::Binary(data.into())),
                packet().prop_map(|packet| frames(packet, Protocol::Eio4).swap_remove(0)),
            ],
            0..16,
        ),
    ) {
        let mut decoder = decoder();
        for message in messages {
            drop(feed(&mut decoder, Protocol::Eio4, message));
        }
    }
}

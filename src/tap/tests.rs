use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::proto::{
    engine::{Frame, Message, PING, PONG, Protocol},
    packet::Parser,
    reason::Reason,
    transports::Transport,
};

const SECRET: &str = "s3cret";

struct Wire {
    tapped: Tapped,
    seen: Arc<Mutex<Vec<Record>>>,
}

impl Wire {
    fn new(parser: Parser, text: usize) -> Self {
        let seen = Arc::<Mutex<Vec<Record>>>::default();
        let list = Arc::clone(&seen);
        let tap = Tap::new(move |record| list.lock().unwrap().push(record.clone())).text(text);
        Self { tapped: Tapped::new(Some(tap), &"client".into(), parser), seen }
    }

    fn input(&mut self, frame: Frame) -> Record {
        self.tapped.received(|| None, &frame);
        self.last()
    }

    fn output(&mut self, message: &Message<'_>) -> Record {
        self.tapped.sent(None, message);
        self.last()
    }

    fn text(&mut self, text: &str) -> Record {
        self.input(Frame::Text(text.into()))
    }

    fn last(&self) -> Record {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

/// Kind, namespace, name, ack, attachments, text.
type Shown<'a> = (Kind, Option<&'a str>, Option<&'a str>, Option<u64>, usize, &'a str);

fn shown(record: &Record) -> Shown<'_> {
    let Record { kind, ack, attachments, text, .. } = record;
    (*kind, record.namespace.as_deref(), record.name.as_deref(), *ack, *attachments, text)
}

#[test]
fn each_kind_of_message_is_told_as_it_is() {
    let mut wire = Wire::new(Parser::Json, 100);
    let root = Some("/");
    for (text, expected) in [
        (
            r#"0{"sid":"s3cret","upgrades":[],"pingInterval":25,"pingTimeout":20,"x":"s3cret"}"#,
            (
                Kind::Open,
                None,
                None,
                None,
                0,
                r#"{"pingInterval":25,"pingTimeout":20,"upgrades":[]}"#,
            ),
        ),
        (r#"40{"sid":"s3cret","pid":"s3cret"}"#, (Kind::Connect, root, None, None, 0, "")),
        ("40/a,", (Kind::Connect, Some("/a"), None, None, 0, "")),
        ("40/a?token=s3cret,", (Kind::Connect, Some("/a"), None, None, 0, "")),
        ("41/a,", (Kind::Disconnect, Some("/a"), None, None, 0, "")),
        (r#"44{"message":"no"}"#, (Kind::ConnectError, root, None, None, 0, r#"{"message":"no"}"#)),
        (r#"42["a b",1]"#, (Kind::Event, root, Some("a b"), None, 0, r#"["a b",1]"#)),
        (r#"42/n,7["\u00e4"]"#, (Kind::Event, Some("/n"), Some("ä"), Some(7), 0, r#"["\u00e4"]"#)),
        ("42[7]", (Kind::Event, root, Some("7"), None, 0, "[7]")),
        (r#"42["a",{"#, (Kind::Event, root, Some("a"), None, 0, r#"["a",{"#)),
        ("42", (Kind::Event, root, None, None, 0, "")),
        ("439[1]", (Kind::Ack, root, None, Some(9), 0, "[1]")),
        (r#"451-["b",0]"#, (Kind::Event, root, Some("b"), None, 1, r#"["b",0]"#)),
        ("bAP8=", (Kind::Attachment, None, None, None, 0, "00ff")),
        ("bAP8=", (Kind::Unreadable, None, None, None, 0, "")),
        ("462-3[0,1]", (Kind::Ack, root, None, Some(3), 2, "[0,1]")),
        ("1", (Kind::Close, None, None, None, 0, "")),
        ("2", (Kind::Ping, None, None, None, 0, "")),
        ("3", (Kind::Pong, None, None, None, 0, "")),
        ("6", (Kind::Noop, None, None, None, 0, "")),
        ("", (Kind::Unreadable, None, None, None, 0, "")),
        ("s3cret", (Kind::Unreadable, None, None, None, 0, "")),
        (r#"4{"type":0,"data":{"sid":"s3cret"}}"#, (Kind::Unreadable, None, None, None, 0, "")),
    ] {
        let record = wire.text(text);
        assert_eq!(shown(&record), expected, "{text}");
        assert_eq!((record.direction, record.session), (Some(Direction::In), 1));
        assert_eq!(record.size, u64::try_from(text.len()).unwrap());
        assert!(!format!("{record} {record:?} {}", record.text).contains(SECRET), "{text}");
    }
    let sent = wire.output(&Message::Text("420", "[\"x\"]"));
    assert_eq!(shown(&sent), (Kind::Event, root, Some("x"), Some(0), 0, "[\"x\"]"));
    assert_eq!((sent.direction, sent.size), (Some(Direction::Out), 8));
    assert_eq!(wire.output(&PING).kind, Kind::Ping);
    assert_eq!(wire.output(&PONG).kind, Kind::Pong);
    let count = wire.seen.lock().unwrap().len();
    wire.tapped.sent(None, &Message::Barrier(1));
    assert_eq!(wire.seen.lock().unwrap().len(), count, "not of this layer");
}

#[test]
fn an_old_server_has_its_binary_behind_a_byte() {
    let mut wire = Wire::new(Parser::Json, 100);
    wire.text(r#"451-["b",0]"#);
    let frame = Frame::Binary(vec![4, 0xab].into());
    wire.tapped.received(|| Some(Protocol::Eio3), &frame);
    assert_eq!((wire.last().text.as_str(), wire.last().size), ("ab", 2));
}

#[test]
fn changes_of_the_connection_are_told() {
    let mut wire = Wire::new(Parser::Json, 100);
    let closed = Reason::TransportClose(None);
    wire.tapped.dialling("host:1", Protocol::Eio4, Transport::Polling);
    wire.tapped.lost(&closed);
    wire.tapped.retrying(1, std::time::Duration::from_millis(1_234));
    wire.tapped.opened();
    wire.tapped.upgraded();
    wire.tapped.lost(&closed);
    wire.tapped.lost(&Reason::Shutdown);
    wire.tapped.gave_up(&closed);
    let records = wire.seen.lock().unwrap().clone();
    let told: Vec<_> = records.iter().map(|r| (r.kind, r.text.as_str(), r.direction)).collect();
    let reason = closed.to_string();
    let expected = [
        (Kind::Dialling, "host:1, Engine.IO 4 (servers 3.x and 4.x), polling"),
        (Kind::Failed, &reason),
        (Kind::Retrying, "attempt 1 in 1.2s"),
        (Kind::Upgraded, "websocket"),
        (Kind::Lost, &reason),
        (Kind::Closed, &Reason::Shutdown.to_string()),
        (Kind::GaveUp, &reason),
    ];
    assert_eq!(told, expected.map(|(kind, text)| (kind, text, None)));
    assert!(records.iter().map(|record| record.number).eq(0..7));
}

#[test]
fn an_answer_is_matched_to_its_event() {
    let mut wire = Wire::new(Parser::Json, 100);
    let first = wire.output(&Message::Text("42/a,7", r#"["sum",1]"#));
    // The server has ids of its own, and so has each namespace.
    let asked = wire.text(r#"42/a,7["who"]"#);
    wire.output(&Message::Text("427", r#"["other"]"#));
    let answer = wire.text("43/a,7[3]");
    assert_eq!((answer.answers, answer.name.as_deref()), (Some(first.number), Some("sum")));
    assert!(answer.latency.is_some());
    let given = wire.output(&Message::Text("43/a,7", "[]"));
    assert_eq!((given.answers, given.name.as_deref()), (Some(asked.number), Some("who")));
    let late = wire.text("43/a,7[3]");
    assert_eq!((late.answers, late.latency, late.name), (None, None, None), "the second one");
    // It is not of this session.
    wire.tapped.lost(&Reason::TransportClose(None));
    assert_eq!(wire.text("437[]").answers, None);
}

#[test]
fn only_so_many_events_wait_for_their_answers() {
    let mut wire = Wire::new(Parser::Json, 0);
    for id in 0..10_000 {
        wire.output(&Message::Text(&format!("42{id}"), r#"["e"]"#));
        wire.seen.lock().unwrap().truncate(1);
    }
    assert_eq!(wire.text("435903[]").answers, None);
    let answered = wire.text("435904[]").answers;
    assert!(answered.is_some(), "{answered:?}");
}

#[test]
fn a_text_and_a_name_are_cut_between_characters() {
    let long = "ä".repeat(1_000);
    for (limit, size) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 4), (100, 100), (usize::MAX, 2_004)] {
        let mut wire = Wire::new(Parser::Json, limit);
        let record = wire.text(&format!("42[\"{long}\"]"));
        assert_eq!((record.text.len(), record.is_cut), (size, size < 2_004), "{limit}");
        assert_eq!(record.name.unwrap().len(), 256);
        wire.text(r#"451-["b"]"#);
        let record = wire.input(Frame::Binary(vec![7; 1_000].into()));
        assert!(record.text.len() <= limit && record.is_cut == (limit < 2_000), "{limit}");
    }
}

#[cfg(feature = "msgpack")]
#[test]
fn msgpack_has_names_texts_and_no_secrets() {
    use bytes::Bytes;

    use crate::{
        payload::{Payload, encode_event},
        proto::packet::{Body, Packet},
    };

    let mut wire = Wire::new(Parser::Msgpack, 100);
    let mut send = |body, protocol| {
        let packet = Packet::new("/a".into(), body);
        let mut head = String::new();
        let tapped = &mut wire.tapped;
        Parser::Msgpack.write(&packet, 0, protocol, &mut head, |message| {
            tapped.sent(Some(protocol), &message);
        });
        wire.seen.lock().unwrap().last().unwrap().clone()
    };
    let event = |id| Body::Event { id, payload: encode_event("e", &(1, "x")).unwrap() };
    for protocol in [Protocol::Eio3, Protocol::Eio4] {
        let record = send(event(Some(3)), protocol);
        let expected = (Kind::Event, Some("/a"), Some("e"), Some(3), 0, r#"["e",1,"x"]"#);
        assert_eq!(shown(&record), expected);
        assert!(record.size > 20);
    }
    let secret: Box<str> = r#"{"token":"s3cret"}"#.into();
    let record = send(Body::Connect(Some(secret)), Protocol::Eio4);
    assert_eq!(shown(&record), (Kind::Connect, Some("/a"), None, None, 0, ""));
    let refusal: Box<str> = r#"{"message":"no"}"#.into();
    let record = send(Body::ConnectError(Some(refusal)), Protocol::Eio4);
    assert_eq!(record.text, r#"{"message":"no"}"#);
    let payload = Payload::answer(bytestring::ByteString::from_static("[1]"), Vec::new());
    let record = send(Body::Ack { id: 3, payload }, Protocol::Eio4);
    assert_eq!((record.kind, record.answers), (Kind::Ack, None), "the event was ours");
    assert_eq!(send(Body::Disconnect, Protocol::Eio4).kind, Kind::Disconnect);
    // Another parser than that of the server.
    let record = wire.text(r#"40{"sid":"s3cret"}"#);
    assert_eq!((record.kind, record.text.as_str()), (Kind::Unreadable, ""));
    let mut wire = Wire::new(Parser::Json, 100);
    let record = wire.input(Frame::Binary(Bytes::from_static(b"\x81\xa3sids3cret")));
    assert_eq!((record.kind, record.text.as_str()), (Kind::Unreadable, ""));
}

#[test]
fn a_tap_that_panics_gets_no_more() {
    let count = Arc::<Mutex<u32>>::default();
    let calls = Arc::clone(&count);
    let tap = Tap::new(move |_| {
        *calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        panic!("of its own");
    });
    let mut tapped = Tapped::new(Some(tap), &"client".into(), Parser::Json);
    for _ in 0..3 {
        tapped.received(|| None, &Frame::Text("2".into()));
    }
    assert!(!tapped.is_on());
    assert_eq!(*count.lock().unwrap(), 1);
}

fn event(wire: &mut Wire, size: usize) -> Record {
    wire.text(&format!("42[\"{}\"]", "x".repeat(size)))
}

#[test]
fn a_recording_keeps_the_last_within_its_bounds() {
    let mut wire = Wire::new(Parser::Json, usize::MAX);
    let recording = Recording::new(3, 1 << 20);
    for size in 0..5 {
        recording.add(&event(&mut wire, size));
    }
    let numbers = |recording: &Recording| -> Vec<u64> {
        recording.records().iter().map(|record| record.number).collect()
    };
    assert_eq!((numbers(&recording), recording.dropped()), (vec![2, 3, 4], 2));
    for (number, count) in [(0, 3), (2, 3), (3, 2), (4, 1), (5, 0)] {
        let since = recording.since(number);
        assert_eq!(since.len(), count);
        assert!(since.iter().all(|record| record.number >= number));
    }
    assert_eq!(recording.take().len(), 3);
    assert_eq!((recording.records().len(), recording.dropped()), (0, 2));

    let recording = Recording::new(usize::MAX, 10_000);
    for _ in 0..100 {
        recording.add(&event(&mut wire, 1_000));
        let held: usize = recording.records().iter().map(Record::held).sum();
        assert!(held <= 10_000, "{held}");
    }
    assert!(recording.records().len() > 3);
    recording.add(&event(&mut wire, 10_000));
    assert!(recording.records().len() > 3, "one that is too large pushes no other out");

    for none in [Recording::new(0, usize::MAX), Recording::new(usize::MAX, 0)] {
        none.add(&event(&mut wire, 1));
        assert_eq!((none.records().len(), none.dropped()), (0, 1));
    }
}

#[test]
fn written_records_can_be_read() {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(data)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let file = Shared::default();
    let recording = Recording::new(100, 1 << 20);
    for tap in [Tap::lines(file.clone()), recording.tap()] {
        let mut tapped = Tapped::new(Some(tap), &"client".into(), Parser::Json);
        tapped.dialling("host:1", Protocol::Eio4, Transport::WebSocket);
        for text in ["0{}", "42/n,7[\"a\\n\"]", "2", "451-[\"b\",0]", "bAP8="] {
            tapped.received(|| None, &Frame::Text(text.into()));
        }
        tapped.sent(None, &Message::Text("43/n,7", "[]"));
        tapped.lost(&Reason::TransportClose(None));
    }
    let data = file.0.lock().unwrap().clone();
    assert_eq!(data.split(|byte| *byte == b'\n').count(), 9, "the last one is empty");
    let records: Vec<Record> = read(&data[..]).map(Result::unwrap).collect();
    // Each tap has seen it at its own time.
    let timeless = |mut record: Record| {
        record.time = std::time::UNIX_EPOCH;
        record.latency = record.latency.map(|_| std::time::Duration::ZERO);
        record
    };
    let kept: Vec<Record> = recording.records().into_iter().map(timeless).collect();
    assert_eq!(records.into_iter().map(timeless).collect::<Vec<_>>(), kept);
    assert_eq!(kept.get(6).unwrap().answers, Some(2));
    assert!(read(&b"{}\n"[..]).next().unwrap().is_err());
    assert!(read(&b"\n \n"[..]).next().is_none());
}

#[test]
fn a_writer_that_fails_is_written_to_no_more() {
    struct Broken(Arc<Mutex<u32>>);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            *self.0.lock().unwrap() += 1;
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let calls = Arc::<Mutex<u32>>::default();
    let mut tapped =
        Tapped::new(Some(Tap::lines(Broken(Arc::clone(&calls)))), &"client".into(), Parser::Json);
    for _ in 0..3 {
        tapped.received(|| None, &Frame::Text("2".into()));
    }
    assert_eq!(*calls.lock().unwrap(), 1);
    assert!(tapped.is_on());
}

#[test]
fn credentials_are_not_taken_for_a_part_of_the_namespace() {
    let mut wire = Wire::new(Parser::Json, usize::MAX);
    for text in ["40/admin\0{\"token\":\"s3cret\"}", "40/admin?token=s3cret,"] {
        let record = wire.text(text);
        let namespace = record.namespace.as_deref().unwrap();
        assert!(namespace.starts_with("/admin"), "{namespace:?}");
        assert!(!serde_json::to_string(&record).unwrap().contains(SECRET), "{record:?}");
    }
}

proptest! {
    #[test]
    fn a_secret_is_in_no_record_however_its_message_is_broken(
        which in 0..5_usize,
        cut in 0..80_usize,
        at in 0..80_usize,
        byte in 0_u8..128,
        is_out in any::<bool>(),
    ) {
        let text = [
            r#"0{"sid":"s3cret","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#,
            r#"40{"sid":"s3cret","pid":"s3cret"}"#,
            r#"40/admin,{"token":"s3cret"}"#,
            "40/admin?token=s3cret,",
            r#"4{"type":0,"data":{"sid":"s3cret"},"nsp":"/"}"#,
        ][which];
        // The type stays: another type is another packet.
        let mut text = text.as_bytes().to_vec();
        if at > 1 && at < text.len() && text.get(at) != Some(&b'?') {
            text[at] = byte;
        }
        text.truncate(text.len().saturating_sub(cut / 4));
        let text = String::from_utf8(text).unwrap();
        let mut wire = Wire::new(Parser::Json, usize::MAX);
        let record = if is_out { wire.output(&Message::Text("", &text)) } else { wire.text(&text) };
        let json = serde_json::to_string(&record).unwrap();
        prop_assert!(!json.contains(SECRET), "{json}");
    }
}

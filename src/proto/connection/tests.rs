use bytes::Bytes;
use bytestring::ByteString;

use super::{
    leaving::{Leaving, PONG_TIMEOUT},
    revision::{PONG_SLACK, PROBE_AFTER, PROBE_TIMEOUT, SECOND_TIMEOUT},
    *,
};
use crate::{
    backpressure::send_quota::SendPermit,
    proto::{
        dial_limiter::DialLimiter,
        emit::{Place, Terms},
        error::EmitError,
        packet::{Limits, Parser},
        proxy_failure::ProxyFailure,
        reconnect::Reconnect,
        refusal::refusal,
        tls_failure::TlsFailure,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const MODERN: &str =
    r#"0{"sid":"S","pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
const PLAIN: &str = r#"0{"sid":"S","pingInterval":25000,"pingTimeout":20000}"#;

/// A connection, and the clock it believes in.
struct Bench {
    core: Connection,
    now: Instant,
}

impl Bench {
    fn new(pin: Option<Protocol>) -> Self {
        Self::with(pin, Reconnect::never())
    }

    fn with(pin: Option<Protocol>, reconnect: Reconnect) -> Self {
        Self::with_parser(pin, reconnect, Parser::default())
    }

    fn with_parser(pin: Option<Protocol>, reconnect: Reconnect, parser: Parser) -> Self {
        Self::of(Config { parser, ..Self::config(pin, reconnect) })
    }

    fn of(config: Config) -> Self {
        Self { core: Connection::new(Arc::new(config), 7), now: Instant::now() }
    }

    fn config(pin: Option<Protocol>, reconnect: Reconnect) -> Config {
        Config {
            name: "client".into(),
            pin,
            parser: Parser::default(),
            limits: Limits { attachments: 10, bytes: 1_000 },
            max_payload: None,
            connect_timeout: 20 * SECOND,
            join_timeout: 15 * SECOND,
            attachment_timeout: 30 * SECOND,
            reconnect,
            retry_window: 1,
            transports: Allowed::WebSocket,
            endpoints: Vec::new(),
        }
    }

    /// Dials, and gets a websocket.
    fn dialled(pin: Option<Protocol>) -> Self {
        Self::dialled_with(Parser::Json, pin)
    }

    fn dialled_with(parser: Parser, pin: Option<Protocol>) -> Self {
        let mut bench = Self::with_parser(pin, Reconnect::never(), parser);
        assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
        let asked = pin.unwrap_or(Protocol::Eio4);
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(asked)));
        bench.core.handle_dialled(bench.now);
        bench
    }

    fn open(protocol: Protocol) -> Self {
        let mut bench = Self::dialled(None);
        match protocol {
            Protocol::Eio4 => bench.text(MODERN),
            Protocol::Eio3 => {
                bench.text(PLAIN);
                bench.text("40");
                let greeted = Event::Greeted(session(Protocol::Eio3));
                assert_eq!(bench.core.poll_event(), Some(greeted));
            }
        }
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        if protocol == Protocol::Eio3 {
            assert_eq!(bench.core.poll_event(), Some(Event::Packet(joined_root())));
        }
        bench
    }

    fn text(&mut self, text: &str) {
        self.core.handle_frame(self.now, Frame::Text(text.into()));
    }

    fn binary(&mut self, data: &[u8]) {
        self.core.handle_frame(self.now, Frame::Binary(Bytes::copy_from_slice(data)));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.handle_timeout(self.now);
    }

    /// The server refuses with this HTTP status.
    fn refused(&mut self, status: u16) {
        let reason = Reason::Connect(ConnectFailure::status(status));
        self.core.handle_dial_failed(self.now, reason, None);
    }

    /// Takes the messages that are to be written, as text.
    fn written(&mut self) -> Vec<String> {
        self.written_up_to(usize::MAX)
    }

    /// The same for at most `count` messages.
    fn written_up_to(&mut self, count: usize) -> Vec<String> {
        let mut written = Vec::new();
        let is_more = |written: &Vec<String>| written.len() < count;
        while is_more(&written)
            && self.core.poll_transmit(|message| {
                written.push(match message {
                    Message::Text(first, second) => format!("{first}{second}"),
                    Message::Binary(first, second) => {
                        format!("{:?}", Bytes::from([first, second].concat()))
                    }
                    Message::Barrier(number) => format!("ping {number}"),
                });
            })
        {}
        written
    }

    fn send(&mut self, packet: Packet) {
        let epoch = self.core.epoch();
        self.core.send(self.now, epoch, Outgoing::bare(packet));
    }

    fn leave(&mut self, namespace: &str) {
        let packet = packet(namespace, Body::Disconnect);
        self.core.leave(self.now, self.core.epoch(), packet);
    }

    #[track_caller]
    fn expect_lost(&mut self, reason: Reason) {
        assert_eq!(
            self.core.poll_event(),
            Some(Event::Lost { reason, again: false, suspect: None })
        );
        assert!(self.core.is_idle());
    }
}

/// The default policy, with a limiter that is not shared with other tests.
fn policy() -> Reconnect {
    Reconnect::default().limiter(DialLimiter::unlimited())
}

fn packet(namespace: &str, body: Body) -> Packet {
    Packet::new(namespace.into(), body)
}

fn session(protocol: Protocol) -> Session {
    let max_payload = (protocol == Protocol::Eio4).then_some(1_000_000);
    let max_silence = Duration::from_secs(45);
    Session { epoch: 1, protocol, sid: "S".into(), max_payload, has_base64: false, max_silence }
}

/// What is written to a server whose handshake does not tell its revision.
const ASKED: [&str; 2] = ["2", "ping 1"];

/// The session of [`PLAIN`].
fn plain() -> Session {
    Session { max_payload: None, ..session(Protocol::Eio4) }
}

#[test]
fn max_payload_decides_at_once() {
    let mut bench = Bench::dialled(None);
    bench.text(MODERN);
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(session(Protocol::Eio4))));
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
    assert!(bench.written().is_empty());
}

#[test]
fn a_server_that_speaks_first_is_an_old_one() {
    for first in ["40", "42[\"early\"]", "40/foo,"] {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        assert_eq!(bench.core.protocol(), None);
        bench.text(first);
        assert_eq!(bench.core.protocol(), Some(Protocol::Eio3), "{first}");
        assert!(bench.written().is_empty(), "nobody asked it to join");
    }
}

/// In msgpack: an event named `e` with an attachment of three bytes, and the greeting of a server 2.x.
const EVENT: &[u8] = b"\x83\xa4type\x02\xa4data\x92\xa1e\xc4\x03abc\xa3nsp\xa1/";
const ROOT: &str = r#"4{"type":0,"nsp":"/"}"#;

#[test]
fn with_msgpack_too_a_server_that_speaks_first_is_an_old_one() {
    let joined = Bytes::from_static(b"\x04\x82\xa4type\x00\xa3nsp\xa1/");
    let early = Bytes::from([&[4], EVENT].concat());
    for first in [Frame::Text(ROOT.into()), Frame::Binary(joined), Frame::Binary(early)] {
        let mut bench = Bench::dialled_with(Parser::Msgpack, None);
        bench.text(PLAIN);
        bench.core.handle_frame(bench.now, first);
        assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
        let greeted = Event::Greeted(session(Protocol::Eio3));
        assert_eq!(bench.core.poll_event(), Some(greeted));
        assert!(bench.written().is_empty(), "nobody asked it to join");
    }
}

#[test]
fn a_server_with_another_parser_is_told_by_its_first_packet() {
    let mut bench = Bench::dialled_with(Parser::Msgpack, None);
    bench.text(PLAIN);
    bench.text("40");
    assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(_))));
    let error = ProtocolError::Msgpack("it is one of the default parser".to_owned());
    bench.expect_lost(Reason::Protocol(error));

    let mut bench = Bench::open(Protocol::Eio3);
    bench.text(ROOT);
    bench.expect_lost(Reason::Connect(ConnectFailure::Parser(Parser::Json)));
    // With msgpack, it is an unknown packet type like any other.
    let mut bench = Bench::dialled_with(Parser::Msgpack, None);
    bench.text(MODERN);
    bench.core.poll_event();
    bench.binary(b"\x82\xa4type\x7b\xa3nsp\xa1/");
    bench.expect_lost(Reason::Protocol(ProtocolError::UnknownType(b'{')));

    // A message that is not a packet does not show the revision.
    for parser in [Parser::Json, Parser::Msgpack] {
        let mut bench = Bench::dialled_with(parser, None);
        bench.text(PLAIN);
        bench.binary(b"\x04\xc1");
        assert_eq!(bench.core.protocol(), None);
        let lost = bench.core.poll_event();
        assert!(
            matches!(lost, Some(Event::Lost { reason: Reason::Protocol(_), again: false, .. })),
            "{lost:?}"
        );
    }
}

#[test]
fn an_event_that_cannot_be_read_ends_the_connection_with_new_servers_only() {
    for (text, error) in [
        (r#"42[{"t":"d"}]"#, ProtocolError::Payload),
        ("42/shop,[]", ProtocolError::Payload),
        ("431{}", ProtocolError::Payload),
        (r#"430-0["300"]"#, ProtocolError::Json("trailing characters at line 1 column 3".into())),
    ] {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.text("40");
        while bench.core.poll_event().is_some() {}
        bench.text(text);
        bench.text(r#"42["next"]"#);
        let unreadable = bench.core.poll_event();
        assert!(matches!(unreadable, Some(Event::Unreadable(_))), "{text}: {unreadable:?}");
        let next = bench.core.poll_event();
        assert!(matches!(next, Some(Event::Packet(_))), "{text}: {next:?}");

        let mut bench = Bench::dialled(None);
        bench.text(MODERN);
        bench.core.poll_event();
        bench.text(text);
        bench.expect_lost(Reason::Protocol(error));
    }
    // These cannot be skipped: attachments would follow, or they are about joining.
    for text in ["451-[{}]", "40[]", "44denied", "49"] {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.text("40");
        while bench.core.poll_event().is_some() {}
        bench.text(text);
        let lost = bench.core.poll_event();
        assert!(
            matches!(lost, Some(Event::Lost { reason: Reason::Protocol(_), .. })),
            "{text}: {lost:?}"
        );
    }
}

#[test]
fn with_msgpack_a_packet_is_one_binary_message() {
    let data = Bytes::from_static(b"abc");
    let payload = crate::payload::encode_event("e", &data).unwrap();
    let event = packet("/", Body::Event { id: None, payload });
    let mut bench = Bench::dialled_with(Parser::Msgpack, None);
    bench.text(MODERN);
    bench.core.poll_event();
    bench.send(event.clone());
    assert_eq!(bench.written(), [format!("{:?}", Bytes::from_static(EVENT))]);
    bench.binary(EVENT);
    assert_eq!(bench.core.poll_event(), Some(Event::Packet(event.clone())));
    bench.text("2");
    assert_eq!(bench.written(), ["3"]);

    let mut bench = Bench::dialled_with(Parser::Msgpack, None);
    bench.text(PLAIN);
    bench.text(ROOT);
    while bench.core.poll_event().is_some() {}
    let framed = Bytes::from([&[4], EVENT].concat());
    bench.send(event.clone());
    assert_eq!(bench.written(), [format!("{framed:?}")]);
    bench.binary(&framed);
    assert_eq!(bench.core.poll_event(), Some(Event::Packet(event)));
}

#[test]
fn an_old_server_that_thinks_for_long_is_found_by_a_ping() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER.mul_f64(0.99));
    assert!(bench.written().is_empty());
    bench.pass(PROBE_AFTER.mul_f64(0.01));
    assert_eq!(bench.written(), ASKED);
    bench.text("3");
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
    let greeted = Event::Greeted(session(Protocol::Eio3));
    assert_eq!(bench.core.poll_event(), Some(greeted), "`/` is not joined yet");
    bench.text("40");
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(session(Protocol::Eio3))));
}

#[test]
fn a_server_that_answers_a_ping_and_then_says_nothing_is_a_new_one() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
    bench.pass(bench.core.config.join_timeout / 2);
    assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(Session { epoch: 2, ..plain() })));

    // Any other packet shows that it is an old server, which takes its time.
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    bench.text("42[\"early\"]");
    while bench.core.poll_event().is_some() {}
    bench.pass(bench.core.config.join_timeout / 2);
    assert_eq!(bench.core.poll_event(), None);
    bench.text("40");
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(session(Protocol::Eio3))));
}

#[test]
fn whoever_leaves_the_root_does_not_wait_for_it_any_more() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
    bench.core.poll_action();
    bench.leave("/");
    bench.pass(bench.core.config.join_timeout / 2);
    bench.pass(bench.core.config.join_timeout / 2);
    assert_eq!((bench.core.poll_event(), bench.core.poll_action()), (None, None));
}

#[test]
fn a_server_that_seems_to_be_both_is_not_dialled_without_end() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    // Each time, it answers like a server of the other revision.
    for (answer, again) in [(r#"40{"sid":"id"}"#, true), ("40", true), (r#"40{"sid":"id"}"#, false)]
    {
        while bench.core.poll_event().is_some() {}
        bench.text(answer);
        let lost = bench.core.poll_event();
        assert!(matches!(&lost, Some(Event::Lost { again: is, .. }) if *is == again), "{lost:?}");
        if again {
            bench.core.handle_dialled(bench.now);
            bench.text(PLAIN);
        }
    }
    assert!(bench.core.is_idle());
}

#[test]
fn a_server_that_has_joined_the_root_has_made_no_mistakes() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    for answer in [r#"40{"sid":"id"}"#, "40"] {
        while bench.core.poll_event().is_some() {}
        bench.text(answer);
        assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
    }
    bench.text("40");
    while bench.core.poll_event().is_some() {}
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.core.join(bench.now, "/");
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    while bench.core.poll_event().is_some() {}
    bench.text(r#"40{"sid":"id"}"#);
    let lost = bench.core.poll_event();
    assert!(matches!(lost, Some(Event::Lost { again: true, .. })), "{lost:?}");
}

#[test]
fn a_server_that_is_another_one_is_not_dialled_where_nobody_wants_that() {
    for closes in [false, true] {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(PROBE_AFTER);
        bench.text("3");
        bench.core.poll_action();
        if closes {
            bench.leave("/");
            bench.core.close(bench.now + 5 * SECOND);
        } else {
            bench.core.set_wanted(false);
        }
        while bench.core.poll_event().is_some() {}
        bench.pass(bench.core.config.join_timeout / 2);
        bench.text(r#"40{"sid":"id"}"#);
        let dials = std::iter::from_fn(|| bench.core.poll_action());
        assert!(!dials.into_iter().any(|action| matches!(action, Action::Dial(_))), "{closes}");
    }
}

#[test]
fn a_server_that_tells_a_socket_id_unasked_is_a_new_one() {
    const ANSWER: &str = r#"40{"sid":"id"}"#;
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.text(ANSWER);
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
    let answer = packet("/", Body::Connect(Some(r#"{"sid":"id"}"#.into())));
    assert_eq!(bench.core.poll_event(), Some(Event::Packet(answer)));

    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    bench.text(ANSWER);
    assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
    assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
}

#[test]
fn a_server_that_has_read_the_ping_has_little_time_to_answer_it() {
    for (trip, left) in [(Duration::ZERO, PONG_SLACK), (SECOND / 10, SECOND / 5)] {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(PROBE_AFTER);
        assert_eq!(bench.written(), ASKED);
        bench.pass(trip);
        bench.core.handle_pong(bench.now, 1);
        bench.pass(left.mul_f64(0.99));
        assert_eq!(bench.core.poll_event(), None);
        bench.pass(left.mul_f64(0.01));
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
    }
}

#[test]
fn a_server_that_hangs_up_on_the_ping_is_dialled_again_without_a_word() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    assert_eq!(bench.written(), ASKED);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    assert_eq!(bench.core.poll_event(), None);
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
}

#[test]
fn a_server_that_hangs_up_before_the_ping_is_written_says_nothing_about_itself() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.expect_lost(Reason::TransportClose(None));
    assert_eq!(bench.core.protocol(), None);
    bench.core.join(bench.now, "/");
    assert!(bench.written().is_empty());
}

#[test]
fn a_server_that_stays_silent_is_of_revision_4() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.pass(PROBE_TIMEOUT);
    assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
}

#[test]
fn a_server_that_goes_before_it_is_asked_is_lost() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.core.handle_lost(bench.now, Reason::TransportClose(Some(1001)));
    bench.expect_lost(Reason::TransportClose(Some(1001)));
}

#[test]
fn status_400_is_answered_with_the_other_revision_once() {
    let refused = ConnectFailure::status(400);
    let mut bench = Bench::new(None);
    bench.core.join(bench.now, "/");
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    bench.refused(400);
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    bench.refused(400);
    assert_eq!(bench.core.poll_action(), None);
    bench.expect_lost(Reason::Connect(refused));

    bench.core.join(bench.now, "/");
    bench.refused(503);
    bench.expect_lost(Reason::Connect(ConnectFailure::status(503)));
}

#[test]
fn what_a_server_says_to_the_revision_that_it_speaks_counts_more() {
    let mut bench = Bench::new(None);
    bench.core.join(bench.now, "/");
    bench.refused(400);
    bench.refused(401);
    bench.expect_lost(Reason::Connect(ConnectFailure::status(401)));
    bench.core.join(bench.now, "/");
    bench.refused(400);
    let none = Reason::Connect(ConnectFailure::NoWebsocket("Bad Request".to_owned()));
    bench.core.handle_dial_failed(bench.now, none.clone(), None);
    bench.expect_lost(none);

    // If the second dial gets no answer, the first refusal is reported.
    for silence in [Reason::TransportClose(None), Reason::TransportError("reset".to_owned())] {
        let mut bench = Bench::new(None);
        bench.core.join(bench.now, "/");
        bench.refused(400);
        bench.core.handle_dialled(bench.now);
        bench.core.handle_lost(bench.now, silence);
        bench.expect_lost(Reason::Connect(ConnectFailure::status(400)));
    }
    let mut bench = Bench::new(None);
    bench.core.join(bench.now, "/");
    bench.refused(400);
    bench.core.handle_dialled(bench.now);
    bench.pass(SECOND_TIMEOUT);
    bench.expect_lost(Reason::Connect(ConnectFailure::status(400)));
}

#[test]
fn a_connection_that_ends_before_the_handshake_is_answered_with_the_other_revision_once() {
    let cut = || Reason::TransportClose(None);
    let actions = |bench: &mut Bench| -> Vec<Action> {
        std::iter::from_fn(|| bench.core.poll_action()).collect()
    };
    let mut bench = Bench::dialled(None);
    bench.core.handle_lost(bench.now, cut());
    assert_eq!(actions(&mut bench), [Action::Dial(Protocol::Eio3)]);
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));

    let mut bench = Bench::dialled(None);
    bench.text("1");
    assert_eq!(actions(&mut bench), [Action::Drop, Action::Dial(Protocol::Eio3)]);
    bench.core.handle_dialled(bench.now);
    bench.core.handle_lost(bench.now, cut());
    let Some(Event::Lost { reason, .. }) = bench.core.poll_event() else { panic!("not lost") };
    for protocol in [Protocol::Eio3, Protocol::Eio4] {
        assert!(reason.to_string().contains(&protocol.to_string()), "{reason}");
    }

    // A server that takes both revisions: the first connection was lost by chance.
    let mut bench = Bench::dialled(None);
    bench.core.handle_lost(bench.now, cut());
    assert_eq!(actions(&mut bench), [Action::Dial(Protocol::Eio3)]);
    bench.core.handle_dialled(bench.now);
    bench.text(MODERN);
    assert_eq!(actions(&mut bench), [Action::Dial(Protocol::Eio4)]);

    // With a fixed revision, the other one is not tried.
    let mut bench = Bench::dialled(Some(Protocol::Eio4));
    bench.core.handle_lost(bench.now, cut());
    bench.expect_lost(cut());
}

#[test]
fn one_handshake_that_is_cut_short_does_not_change_what_a_server_is() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    for known in [Some(Protocol::Eio4), None] {
        bench.core.join(bench.now, "/");
        bench.core.handle_dialled(bench.now);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        assert_eq!(bench.core.protocol(), known);
    }
    // Nor does a refusal by a proxy in front of it.
    let mut bench = Bench::open(Protocol::Eio4);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.core.join(bench.now, "/");
    bench.refused(502);
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
    bench.core.join(bench.now, "/");
    bench.pass(20 * SECOND);
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
}

#[test]
fn the_known_revision_is_kept_for_the_next_connection() {
    let mut bench = Bench::open(Protocol::Eio3);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.expect_lost(Reason::TransportClose(None));
    bench.core.join(bench.now, "/");
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(Session { epoch: 2, .. }))));
}

#[test]
fn a_server_that_does_not_understand_any_more_is_asked_anew() {
    let mut bench = Bench::open(Protocol::Eio3);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.expect_lost(Reason::TransportClose(None));
    bench.core.join(bench.now, "/");
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    bench.refused(400);
    assert!(matches!(bench.core.poll_event(), Some(Event::Lost { .. })));
    bench.core.join(bench.now, "/");
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    // A timeout does not show the revision.
    bench.core.handle_dial_failed(bench.now, Reason::Connect(ConnectFailure::TimedOut), None);

    let mut bench = Bench::open(Protocol::Eio4);
    bench.text("40");
    assert_eq!(bench.core.protocol(), None);
}

#[test]
fn a_connection_that_is_lost_by_chance_when_it_is_asked_misleads_for_one_connection_only() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    assert_eq!(bench.written(), ASKED);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    bench.text("40");
    assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    bench.text("40");
    assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(_))));
    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
}

fn send_quota() -> Arc<crate::backpressure::send_quota::SendQuota> {
    use crate::backpressure::send_quota::{Limits, SendQuota};
    SendQuota::new(Limits { items: 10, bytes: 1_000, acks: 0 })
}

fn event(name: &'static str, permit: Option<SendPermit>, place: Place) -> Outgoing {
    let payload = crate::payload::encode_event(name, &()).unwrap();
    let packet = packet("/", Body::Event { id: None, payload });
    let terms = Some(Box::new(Terms { place, lifetime: None }));
    Outgoing { permit, terms, ..Outgoing::bare(packet) }
}

#[test]
fn what_was_not_written_is_given_back() {
    let mut bench = Bench::open(Protocol::Eio4);
    let send_quota = send_quota();
    for name in ["a", "b", "c"] {
        bench.core.send(bench.now, 1, event(name, send_quota.reserve(1), Place::Last));
    }
    bench.send(packet("/", Body::Disconnect));
    assert!(bench.core.poll_transmit(|_| ()));
    bench.core.handle_lost(bench.now, Reason::PingTimeout);
    bench.expect_lost(Reason::PingTimeout);
    let unwritten = bench.core.take_unwritten();
    assert_eq!(send_quota.waiting(), 2);
    let names = unwritten.iter().map(|outgoing| match &outgoing.packet.body {
        Body::Event { payload, .. } => payload.name(),
        other => panic!("{other:?}"),
    });
    assert_eq!(names.collect::<Vec<_>>(), ["b", "c"]);
    assert!(bench.core.take_unwritten().is_empty() && bench.written().is_empty());
}

#[test]
fn an_event_whose_attachments_are_not_all_written_is_given_back() {
    for (written, given_back) in [(0, 1), (1, 1), (2, 1), (3, 0)] {
        let mut bench = Bench::open(Protocol::Eio4);
        let send_quota = send_quota();
        let arguments = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let payload = crate::payload::encode_event("e", &arguments).unwrap();
        let packet = packet("/", Body::Event { id: Some(7), payload });
        let permit = send_quota.reserve(1);
        bench.core.send(bench.now, 1, Outgoing { permit, ..Outgoing::bare(packet.clone()) });
        for _ in 0..written {
            assert!(bench.core.poll_transmit(|_| ()));
        }
        bench.core.handle_lost(bench.now, Reason::PingTimeout);
        let unwritten = bench.core.take_unwritten();
        assert_eq!((unwritten.len(), send_quota.waiting()), (given_back, given_back), "{written}");
        assert!(unwritten.iter().all(|outgoing| outgoing.packet == packet));
        drop(unwritten);
        assert_eq!(send_quota.discarded(), u64::try_from(given_back).unwrap());
    }
}

#[test]
fn what_was_written_and_perhaps_not_read_is_counted() {
    // Three events are sent. The last one has an attachment, so it takes two messages.
    for (written, pong, in_doubt) in
        [(0, false, 0), (2, false, 2), (3, false, 2), (4, false, 3), (5, false, 3), (5, true, 0)]
    {
        let mut bench = Bench::open(Protocol::Eio4);
        let payload = crate::payload::encode_event("e", &Bytes::from_static(b"a")).unwrap();
        let large = packet("/", Body::Event { id: None, payload });
        bench.core.send(bench.now, 1, event("a", None, Place::Last));
        bench.core.send(bench.now, 1, event("b", None, Place::Last));
        bench.send(large);
        assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
        bench.pass(SECOND);
        for _ in 0..written {
            assert!(bench.core.poll_transmit(|_| ()));
        }
        if pong {
            bench.core.handle_pong(bench.now, 1);
        }
        bench.core.handle_lost(bench.now, Reason::PingTimeout);
        assert_eq!(bench.core.tally().in_doubt, in_doubt, "{written}, {pong}");
    }
}

#[test]
fn what_is_written_behind_a_ping_is_confirmed_by_the_next_one() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.core.send(bench.now, 1, event("a", None, Place::Last));
    bench.written();
    bench.pass(SECOND);
    assert_eq!(bench.written(), ["ping 1"]);
    bench.core.send(bench.now, 1, event("b", None, Place::Last));
    bench.written();
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 44 * SECOND), "one ping at a time");
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
    bench.pass(SECOND);
    assert_eq!(bench.written(), ["ping 2"]);
    bench.core.handle_pong(bench.now, 2);
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 43 * SECOND));
}

#[test]
fn one_copy_of_an_event_waits_at_a_time() {
    let mut bench = Bench::open(Protocol::Eio4);
    for id in [1, 2, 1, 1] {
        let payload = crate::payload::encode_event("e", &()).unwrap();
        bench.send(packet("/", Body::Event { id: Some(id), payload }));
    }
    assert_eq!(bench.written(), [r#"421["e"]"#, r#"422["e"]"#]);
}

#[test]
fn of_what_waits_under_one_key_the_last_counts_in_the_place_of_the_first() {
    let mut bench = Bench::open(Protocol::Eio4);
    let send_quota = send_quota();
    let key = |key: &'static str| Place::Latest(key.into());
    for (name, place) in [
        ("a1", key("a")),
        ("x", Place::Last),
        ("b1", key("b")),
        ("a2", key("a")),
        ("b2", key("b")),
        ("y", Place::Last),
    ] {
        bench.core.send(bench.now, 1, event(name, send_quota.reserve(1), place));
    }
    assert_eq!(send_quota.waiting(), 4);
    assert_eq!((bench.core.tally().replaced, send_quota.discarded()), (2, 0));
    assert_eq!(bench.written(), [r#"42["a2"]"#, r#"42["x"]"#, r#"42["b2"]"#, r#"42["y"]"#]);
    bench.core.send(bench.now, 1, event("a3", None, key("a")));
    assert_eq!(bench.written(), [r#"42["a3"]"#], "nothing waits any more");
}

#[test]
fn a_wrong_pin_is_told_with_both_sides() {
    let mut bench = Bench::dialled(Some(Protocol::Eio3));
    bench.pass(20 * SECOND);
    let Some(Event::Lost { reason, .. }) = bench.core.poll_event() else { panic!("not lost") };
    let text = reason.to_string();
    assert!(text.contains("1.x and 2.x") && text.contains("3.x and 4.x"), "{text}");
}

#[test]
fn nothing_takes_longer_than_its_timeout() {
    let failed = |failure| Reason::Connect(failure);
    let mut bench = Bench::new(None);
    bench.core.join(bench.now, "/");
    bench.pass(20 * SECOND);
    bench.expect_lost(failed(ConnectFailure::TimedOut));

    let mut bench = Bench::dialled(None);
    bench.pass(20 * SECOND);
    bench.expect_lost(failed(ConnectFailure::TimedOut));

    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.pass(PROBE_AFTER);
    bench.text("3");
    assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
    bench.pass(15 * SECOND);
    bench.expect_lost(Reason::JoinTimeout);
    assert_eq!(bench.core.protocol(), None, "it may have been taken for an old one by mistake");

    let mut bench = Bench::open(Protocol::Eio4);
    bench.text(r#"451-["e",{"_placeholder":true,"num":0}]"#);
    bench.pass(30 * SECOND);
    bench.expect_lost(Reason::Protocol(ProtocolError::AttachmentsMissing));

    let mut bench = Bench::open(Protocol::Eio4);
    bench.pass(45 * SECOND);
    bench.expect_lost(Reason::PingTimeout);
}

#[test]
fn the_time_for_attachments_counts_from_their_packet() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.text(r#"452-["e",{"_placeholder":true,"num":0}]"#);
    bench.pass(20 * SECOND);
    bench.core.handle_frame(bench.now, Frame::Binary(Bytes::new()));
    bench.pass(10 * SECOND);
    bench.expect_lost(Reason::Protocol(ProtocolError::AttachmentsMissing));
}

#[test]
fn pings_are_answered_once_however_many_there_are() {
    let mut bench = Bench::open(Protocol::Eio4);
    for _ in 0..1_000 {
        bench.text("2");
    }
    assert_eq!(bench.written(), ["3"]);
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 45 * SECOND));
    // Each ping gives the server the same time again.
    bench.pass(25 * SECOND);
    bench.text("2");
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 45 * SECOND));
}

#[test]
fn a_client_that_is_late_reads_before_it_judges() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.core.note_lateness(bench.now, false);
    assert!(!bench.core.is_late());
    bench.now += 100 * SECOND;
    bench.core.note_lateness(bench.now, false);
    assert!(bench.core.is_late());
    bench.core.handle_timeout(bench.now);
    assert_eq!(bench.core.poll_event(), None);
    bench.text("2");
    assert!(!bench.core.is_late());
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 45 * SECOND));
}

#[test]
fn by_polling_a_client_that_is_late_writes_nothing_before_the_server_has_taken_the_pong() {
    let config = Config { transports: Allowed::Polling, ..Bench::config(None, policy()) };
    let mut bench = Bench::of(config);
    bench.core.join(bench.now, "/");
    bench.core.poll_action();
    bench.core.handle_dialled(bench.now);
    bench.core.handle_revision(bench.now, Protocol::Eio4);
    bench.text(MODERN);
    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    let send = |bench: &mut Bench, name| bench.send(event(name, None, Place::Last).packet);
    bench.written();
    // If the client is in time, the pong and the event go together.
    bench.text("2");
    send(&mut bench, "a");
    assert_eq!(bench.written(), ["3", r#"42["a"]"#]);
    // If it is late, the ping may have come long ago.
    bench.now += 100 * SECOND;
    bench.core.note_lateness(bench.now, false);
    bench.text("2");
    send(&mut bench, "b");
    assert_eq!(bench.written(), ["3", "ping 1"]);
    bench.text("2");
    assert_eq!(bench.written(), ["3"]);
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.written(), [r#"42["b"]"#]);
    // If the server has given it up, the event is for the next session.
    bench.now += 100 * SECOND;
    bench.core.note_lateness(bench.now, false);
    bench.text("2");
    send(&mut bench, "c");
    assert_eq!(bench.written(), ["3", "ping 2"]);
    bench.core.handle_lost(bench.now, Reason::SessionUnknown);
    assert_eq!(bench.core.take_unwritten().len(), 1);
}

#[test]
fn a_server_that_closes_the_session_has_closed_it() {
    for protocol in [Protocol::Eio4, Protocol::Eio3] {
        let mut bench = Bench::open(protocol);
        bench.core.poll_action();
        bench.text("1");
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        bench.expect_lost(Reason::TransportClose(None));
    }
}

/// An event that a server may not take, and that asks for an answer.
fn large(id: u64) -> Packet {
    let payload = crate::payload::encode_event("large", &"x".repeat(100_000)).unwrap();
    packet("/", Body::Event { id: Some(id), payload })
}

#[test]
fn a_large_event_is_a_suspect_until_it_is_known_to_be_read() {
    for (answer, is_suspect) in
        [(None, true), (Some("4381[]"), true), (Some("4380[]"), false), (Some("pong"), false)]
    {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.send(large(80));
        assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND), "it is to be confirmed");
        assert_eq!(bench.written().len(), 1);
        bench.pass(SECOND);
        assert_eq!(bench.written(), ["ping 1"]);
        match answer {
            Some("pong") => bench.core.handle_pong(bench.now, 1),
            Some(text) => bench.text(text),
            None => {}
        }
        while bench.core.poll_event().is_some_and(|event| matches!(event, Event::Packet(_))) {}
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        let Some(Event::Lost { suspect, .. }) = bench.core.poll_event() else { panic!() };
        assert_eq!(suspect.is_some(), is_suspect, "{answer:?}");
        // It is no suspect on the next connection.
        bench.core.join(bench.now, "/");
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        bench.core.poll_event();
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.expect_lost(Reason::TransportClose(None));
    }
}

#[test]
fn an_event_over_which_two_connections_were_lost_is_not_given_back() {
    for id in [None, Some(7)] {
        let send_quota = send_quota();
        let data = Bytes::from(vec![7; 100_000]);
        let payload = crate::payload::encode_event("large", &data).unwrap();
        let packet = packet("/", Body::Event { id, payload });
        let mut permit = send_quota.reserve(1).unwrap();
        let status = permit.write_status();
        let mut outgoing = Outgoing { permit: Some(permit), ..Outgoing::bare(packet) };
        let mut bench = Bench::open(Protocol::Eio4);
        for is_convicted in [false, true] {
            bench.core.send(bench.now, bench.core.epoch(), outgoing);
            // The server closes the connection before the attachment is written.
            assert!(bench.core.poll_transmit(|_| ()));
            bench.core.handle_lost(bench.now, Reason::TransportClose(None));
            let Some(Event::Lost { suspect: Some(suspect), .. }) = bench.core.poll_event() else {
                panic!("no suspect")
            };
            assert_eq!(suspect.is_convicted(), is_convicted);
            let mut unwritten = bench.core.take_unwritten();
            assert_eq!(
                (unwritten.len(), send_quota.waiting()),
                if is_convicted { (0, 0) } else { (1, 1) }
            );
            let Some(given_back) = unwritten.pop() else { break };
            outgoing = given_back;
            bench.core.join(bench.now, "/");
            bench.core.handle_dialled(bench.now);
            bench.text(MODERN);
            bench.core.poll_event();
        }
        // An event that asks for an answer is counted by the namespace, which waits for the answer.
        assert_eq!(send_quota.discarded(), u64::from(id.is_none()));
        let cause = status.cause::<EmitError>();
        assert_eq!(matches!(cause, Some(EmitError::Unsendable(_))), id.is_none(), "{cause:?}");
    }
}

#[test]
fn nothing_of_a_connection_that_has_ended_goes_on_in_the_next_one() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.send(large(80));
    assert_eq!(bench.written().len(), 1);
    // This side gives the connection up.
    bench.pass(45 * SECOND);
    bench.expect_lost(Reason::PingTimeout);
    bench.core.join(bench.now, "/");
    bench.core.handle_dialled(bench.now);
    bench.text(MODERN);
    bench.core.poll_event();
    bench.text("2");
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.expect_lost(Reason::TransportClose(None));
    bench.core.join(bench.now, "/");
    bench.core.handle_dialled(bench.now);
    assert!(bench.written().is_empty(), "the ping was one of another connection");
}

#[test]
fn behind_a_suspect_all_that_is_sent_is_to_be_confirmed() {
    let question = |id| {
        let payload = crate::payload::encode_event("e", &()).unwrap();
        packet("/", Body::Event { id: Some(id), payload })
    };
    let mut bench = Bench::open(Protocol::Eio4);
    bench.send(question(1));
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 45 * SECOND), "its answer is enough");
    bench.send(large(2));
    bench.written();
    bench.pass(SECOND);
    bench.written();
    // A pong to an earlier ping does not confirm it.
    bench.core.handle_pong(bench.now, 0);
    bench.send(question(3));
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 44 * SECOND), "one ping at a time");
}

#[test]
fn a_transport_that_gets_through_is_kept_until_it_fails_too() {
    let reconnect = policy().jitter(0.0);
    let transports = Allowed::WebSocketFirst;
    let config = Config { transports, ..Bench::config(None, reconnect) };
    let mut bench = Bench::of(config);
    let none = || Reason::Connect(ConnectFailure::NoWebsocket("Not Found".to_owned()));
    // There are no websockets: the same attempt goes on with polling, which has as much time.
    bench.core.join(bench.now, "/");
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    assert_eq!(bench.core.transport(), Transport::WebSocket);
    bench.now += 15 * SECOND;
    bench.core.handle_dial_failed(bench.now, none(), None);
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    assert_eq!(bench.core.transport(), Transport::Polling);
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 20 * SECOND));
    // The form of the answer to a poll shows the revision.
    bench.core.handle_dialled(bench.now);
    bench.core.handle_revision(bench.now, Protocol::Eio3);
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
    bench.text(PLAIN);
    bench.text("40");
    assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(_))));
    while bench.core.poll_event().is_some() {}
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    let delay = retrying(&mut bench, 1);
    bench.pass(delay);
    assert_eq!(bench.core.transport(), Transport::Polling);
    // Polling gets no answer in time, nor does a websocket.
    for (attempt, next) in [(2, Transport::WebSocket), (3, Transport::Polling)] {
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        bench.pass(20 * SECOND);
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        let delay = retrying(&mut bench, attempt);
        bench.pass(delay);
        assert_eq!(bench.core.transport(), next);
    }
    bench.core.handle_upgraded();
    assert_eq!(bench.core.transport(), Transport::WebSocket);
}

#[test]
fn a_server_that_cannot_be_reached_is_passed_within_the_same_attempt() {
    let endpoints = ["a:1", "b:2"].map(ByteString::from).to_vec();
    let transports = Allowed::WebSocketFirst;
    let config = Bench::config(None, policy().jitter(0.0));
    let mut bench = Bench::of(Config { transports, endpoints, ..config });
    let dial = Some(Action::Dial(Protocol::Eio4));
    let timed_out = || Reason::Connect(ConnectFailure::TimedOut);
    bench.core.join(bench.now, "/");
    assert_eq!((bench.core.poll_action(), bench.core.endpoint()), (dial, 0));
    // The same server is tried by polling, too.
    bench.core.handle_dial_failed(bench.now, timed_out(), None);
    assert_eq!((bench.core.poll_action(), bench.core.endpoint()), (dial, 0));
    bench.pass(20 * SECOND);
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    assert_eq!((bench.core.poll_action(), bench.core.endpoint()), (dial, 1));
    assert_eq!(bench.core.transport(), Transport::WebSocket, "nothing is known of this one");
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 20 * SECOND), "it has as much time");
    assert_eq!(bench.core.last_reason(), Some(&timed_out()));
    let passed = Event::Passed { endpoint: 0, reason: timed_out() };
    assert_eq!(bench.core.poll_event(), Some(passed));
    // This server is an old one; the first one need not be.
    bench.core.handle_dialled(bench.now);
    bench.text(PLAIN);
    bench.text("40");
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
    while bench.core.poll_event().is_some() {}
    bench.now += 60 * SECOND;
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    let delay = retrying(&mut bench, 1);
    assert_eq!(delay, SECOND);
    bench.pass(delay);
    let known = Some(Action::Dial(Protocol::Eio3));
    assert_eq!((bench.core.poll_action(), bench.core.endpoint()), (known, 1), "back to it first");
    bench.refused(503);
    assert_eq!((bench.core.poll_action(), bench.core.endpoint()), (dial, 0), "and then in order");
    assert_eq!(bench.core.protocol(), None);
    bench.refused(503);
    let passed = Event::Passed { endpoint: 1, reason: answered(503) };
    assert_eq!(bench.core.poll_event(), Some(passed));
    let told = vec![("a:1".to_owned(), answered(503)), ("b:2".to_owned(), answered(503))];
    let reason = Reason::Connect(ConnectFailure::Endpoints(told));
    let lost = Event::Lost { reason: reason.clone(), again: true, suspect: None };
    assert_eq!(bench.core.poll_event(), Some(lost));
    // Each server has its own count. That of the first one began anew with the session.
    let retrying = Event::Retrying { attempt: 1, delay: SECOND, reason };
    assert_eq!(bench.core.poll_event(), Some(retrying));
    // When nobody wants a connection any more, the next dial begins with the first server.
    bench.core.set_wanted(false);
    bench.core.join(bench.now, "/");
    assert_eq!(bench.core.endpoint(), 0);
}

#[test]
fn a_policy_that_stops_stops_for_all_servers() {
    let endpoints = ["a:1", "b:2"].map(ByteString::from).to_vec();
    let reconnect = policy().retry(|_| Retry::Stop);
    let mut bench = Bench::of(Config { endpoints, ..Bench::config(None, reconnect) });
    bench.core.join(bench.now, "/");
    bench.refused(503);
    let told = vec![("a:1".to_owned(), answered(503))];
    bench.expect_lost(Reason::Connect(ConnectFailure::Endpoints(told)));
}

fn answered(status: u16) -> Reason {
    Reason::Connect(ConnectFailure::status(status))
}

#[test]
fn polling_alone_never_becomes_a_websocket() {
    for (transports, is_alone) in [
        (Allowed::WebSocket, false),
        (Allowed::Polling, true),
        (Allowed::WebSocketFirst, false),
        (Allowed::PollingFirst { remembers: true }, false),
    ] {
        let config = Config { transports, ..Bench::config(None, policy()) };
        assert_eq!(Bench::of(config).core.is_polling_alone(), is_alone, "{transports:?}");
    }
}

#[test]
fn whoever_insists_on_a_revision_does_not_get_the_other_one_that_polling_has_shown() {
    let transports = Allowed::Polling;
    let config = Config { transports, ..Bench::config(Some(Protocol::Eio4), policy()) };
    let mut bench = Bench::of(config);
    bench.core.join(bench.now, "/");
    bench.core.poll_action();
    bench.core.handle_dialled(bench.now);
    bench.core.handle_revision(bench.now, Protocol::Eio4);
    assert_eq!(bench.core.poll_event(), None);
    bench.core.handle_revision(bench.now, Protocol::Eio3);
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    let lost = bench.core.poll_event();
    let Some(Event::Lost { reason: Reason::Connect(failure), again: false, .. }) = lost else {
        panic!("{lost:?}")
    };
    assert!(matches!(failure, ConnectFailure::Unsupported { .. }), "{failure}");
}

#[test]
fn an_old_server_is_pinged_and_must_answer() {
    let mut bench = Bench::open(Protocol::Eio3);
    bench.pass(25 * SECOND);
    assert_eq!(bench.written(), ["2"]);
    bench.text("3");
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + 25 * SECOND));
    bench.pass(25 * SECOND);
    assert_eq!(bench.written(), ["2"]);
    bench.pass(20 * SECOND);
    bench.expect_lost(Reason::PingTimeout);
}

#[test]
fn a_refused_root_fails_everybody_who_waits() {
    let mut bench = Bench::dialled(None);
    bench.text(PLAIN);
    bench.text(r#"44"denied""#);
    assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
    let reason = Reason::Refused(refusal(Some(r#""denied""#)));
    assert_eq!(bench.core.poll_event(), Some(Event::Refused(reason)));
    // A second try takes a new connection.
    assert_eq!(bench.core.join(bench.now, "/foo"), Admission::Later);
    assert_eq!(bench.written(), ["ping 1"]);
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    let lost = Event::Lost { reason: Reason::Reconnect, again: true, suspect: None };
    assert_eq!(bench.core.poll_event(), Some(lost));
}

#[test]
fn namespaces_are_admitted_as_the_revision_allows() {
    let mut bench = Bench::open(Protocol::Eio4);
    let now = session(Protocol::Eio4);
    assert_eq!(bench.core.join(bench.now, "/"), Admission::Now(now.clone()));
    assert_eq!(bench.core.join(bench.now, "/foo"), Admission::Now(now));

    let mut bench = Bench::open(Protocol::Eio3);
    let now = session(Protocol::Eio3);
    assert_eq!(bench.core.join(bench.now, "/"), Admission::Joined(now.clone()));
    assert_eq!(bench.core.join(bench.now, "/foo"), Admission::Now(now));
    bench.text("41");
    assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
    assert_eq!(bench.written(), ["ping 1"]);
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
}

#[test]
fn what_was_sent_is_read_before_another_connection_takes_the_place_of_this_one() {
    let mut bench = Bench::open(Protocol::Eio3);
    let body =
        Body::Event { id: None, payload: crate::payload::encode_event("last", &()).unwrap() };
    bench.send(packet("/", body));
    bench.leave("/");
    assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
    assert_eq!(bench.written(), [r#"42["last"]"#, "ping 1", "ping 2"]);
    assert_eq!(bench.core.poll_action(), None);
    bench.core.handle_pong(bench.now, 2);
    assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    assert_eq!(bench.core.tally().in_doubt, 0);
    // It is not replaced if nobody wants it any more.
    let mut bench = Bench::open(Protocol::Eio3);
    bench.leave("/");
    assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
    bench.core.set_wanted(false);
    bench.pass(PONG_TIMEOUT);
    assert_eq!(bench.core.poll_action(), None);
}

#[test]
fn a_connection_that_the_server_spoils_each_time_is_replaced_with_growing_delays() {
    let mut bench =
        Bench::with(Some(Protocol::Eio4), policy().delay(SECOND, 60 * SECOND).jitter(0.0));
    assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
    for (attempt, delay) in (1..).zip([SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND]) {
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        bench.core.replace(bench.now, bench.core.epoch());
        let reason = Reason::Reconnect;
        let lost = Event::Lost { reason: reason.clone(), again: true, suspect: None };
        let retrying = Event::Retrying { attempt, delay, reason };
        assert_eq!(
            [bench.core.poll_event(), bench.core.poll_event()],
            [Some(lost), Some(retrying)]
        );
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        assert_eq!(bench.core.poll_action(), None);
        bench.pass(delay);
    }
}

#[test]
fn goodbye_is_said_when_what_was_said_before_has_been_heard() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.leave("/foo");
    bench.leave("/bar");
    assert_eq!(bench.written(), ["ping 1", "ping 2"]);
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.written(), ["41/foo,"]);
    // Without a pong, the disconnect is sent after a while.
    bench.pass(PONG_TIMEOUT);
    assert_eq!(bench.written(), ["41/bar,"]);
}

#[test]
fn whoever_comes_back_before_goodbye_says_it_first() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.leave("/foo");
    bench.leave("/bar");
    bench.send(packet("/foo", Body::Connect(None)));
    assert_eq!(bench.written(), ["ping 1", "ping 2"]);
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.written(), ["41/foo,", "ping 3"]);
    bench.core.handle_pong(bench.now, 2);
    assert_eq!(bench.written(), ["41/bar,"]);
    bench.core.handle_pong(bench.now, 3);
    assert_eq!(bench.written(), ["40/foo,"]);
}

#[test]
fn whoever_comes_back_waits_until_the_goodbye_has_been_heard() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.leave("/foo");
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.written(), ["ping 1", "41/foo,"]);
    bench.send(packet("/foo?a=1", Body::Connect(None)));
    bench.send(packet("/bar", Body::Connect(None)));
    assert_eq!(bench.written(), ["ping 2", "40/bar,"]);
    // Without a pong, the request is sent after a while.
    bench.pass(PONG_TIMEOUT);
    assert_eq!(bench.written(), ["40/foo?a=1,"]);
}

#[test]
fn closing_waits_for_the_goodbyes_but_not_for_ever() {
    let mut bench = Bench::open(Protocol::Eio4);
    bench.leave("/");
    bench.core.close(bench.now + 5 * SECOND);
    assert_eq!(bench.core.poll_action(), None);
    bench.core.handle_pong(bench.now, 1);
    assert_eq!(bench.core.poll_action(), Some(Action::Close));
    assert_eq!(bench.written(), ["ping 1", "41"]);
    bench.pass(5 * SECOND);
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    bench.expect_lost(Reason::Shutdown);

    let mut bench = Bench::open(Protocol::Eio4);
    bench.leave("/");
    bench.core.close(bench.now + 5 * SECOND);
    bench.pass(PONG_TIMEOUT);
    assert_eq!(bench.core.poll_action(), Some(Action::Close), "no pong, but there is time");
    assert_eq!(bench.written(), ["ping 1", "41"]);
}

#[test]
fn a_server_that_closes_without_a_word_on_a_request_to_join_has_another_parser() {
    let mut bench = Bench::with(None, policy());
    bench.core.join(bench.now, "/");
    let close = Reason::TransportClose(None);
    let parser = Reason::Connect(ConnectFailure::Parser(Parser::Json));
    // For each session: what happens, the reason of the driver, and the reason that is reported.
    for (asks, answer, reason, told) in [
        (true, None, &close, &close),
        (true, None, &close, &parser),
        (true, None, &Reason::TransportClose(Some(1005)), &parser),
        // The server has understood the request.
        (true, Some(r#"40{"sid":"x"}"#), &close, &close),
        (true, None, &close, &close),
        // There was no request.
        (false, None, &close, &close),
        (true, None, &close, &close),
        // The connection ended for another reason.
        (true, None, &Reason::PingTimeout, &Reason::PingTimeout),
        (true, None, &close, &close),
        (true, None, &close, &parser),
    ] {
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        if asks {
            bench.send(packet("/", Body::Connect(None)));
            assert_eq!(bench.written(), ["40"]);
        }
        if let Some(answer) = answer {
            bench.text(answer);
        }
        while bench.core.poll_event().is_some() {}
        bench.core.handle_lost(bench.now, reason.clone());
        let lost = Event::Lost { reason: told.clone(), again: true, suspect: None };
        assert_eq!(bench.core.poll_event(), Some(lost));
        while bench.core.poll_event().is_some() {}
        bench.pass(10 * SECOND);
    }
}

#[test]
fn what_belongs_to_an_older_session_is_not_sent() {
    let mut bench = Bench::open(Protocol::Eio4);
    let packet = packet("/", Body::Disconnect);
    bench.core.send(bench.now, 0, Outgoing::bare(packet.clone()));
    bench.core.leave(bench.now, 0, packet);
    assert!(bench.written().is_empty() && bench.core.take_unwritten().is_empty());
    bench.core.send(bench.now, 0, event("e", None, Place::Last));
    assert!(bench.written().is_empty());
    assert_eq!(bench.core.take_unwritten().len(), 1, "an event is given back");
}

#[test]
fn an_old_server_gets_attachments_in_its_own_form() {
    let mut bench = Bench::open(Protocol::Eio3);
    let payload = crate::payload::encode_event("e", &Bytes::from_static(b"x")).unwrap();
    bench.send(packet("/", Body::Event { id: None, payload }));
    assert_eq!(bench.written(), [r#"451-["e",{"_placeholder":true,"num":0}]"#, r#"b"\x04x""#]);
}

/// Takes the events of a loss, and returns the delay until the next attempt.
fn retrying(bench: &mut Bench, number: u32) -> Duration {
    assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
    let Some(Event::Retrying { attempt, delay, .. }) = bench.core.poll_event() else {
        panic!("no attempt");
    };
    assert_eq!(attempt, number);
    assert_eq!(bench.core.poll_timeout(), Some(bench.now + delay));
    delay
}

fn unreachable() -> Reason {
    Reason::Connect(ConnectFailure::Unreachable("nobody there".to_owned()))
}

/// The dial fails. Returns the delay until the next attempt.
fn fail(bench: &mut Bench, number: u32) -> Duration {
    assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
    bench.core.handle_dial_failed(bench.now, unreachable(), None);
    retrying(bench, number)
}

#[test]
fn the_first_connection_is_tried_again_too_with_growing_delays() {
    let mut bench = Bench::with(None, policy().jitter(0.0));
    bench.core.join(bench.now, "/");
    for (number, seconds) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5)] {
        let delay = fail(&mut bench, number);
        assert_eq!(delay, seconds * SECOND);
        bench.pass(delay.mul_f64(0.99));
        assert_eq!(bench.core.poll_action(), None, "too early");
        bench.pass(delay.mul_f64(0.011));
    }
}

#[test]
fn after_a_failure_of_tls_the_longest_delay_comes_first() {
    lasts(&ConnectFailure::Tls(TlsFailure::UnknownIssuer));
}

#[test]
fn after_a_refusal_of_a_proxy_the_longest_delay_comes_first() {
    let (proxy, failure) = ("proxy.test:3128".to_owned(), ProxyFailure::CredentialsRefused);
    lasts(&ConnectFailure::Proxy { proxy, failure });
}

fn lasts(failure: &ConnectFailure) {
    let mut bench = Bench::with(None, policy().jitter(0.0));
    bench.core.join(bench.now, "/");
    for number in [1, 2] {
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        let reason = Reason::Connect(failure.clone());
        bench.core.handle_dial_failed(bench.now, reason, None);
        let delay = retrying(&mut bench, number);
        assert_eq!(delay, 5 * SECOND);
        bench.pass(delay);
    }
}

#[test]
fn only_a_session_that_has_lasted_begins_the_count_anew() {
    let mut bench = Bench::with(None, policy().jitter(0.0));
    bench.core.join(bench.now, "/");
    let delay = fail(&mut bench, 1);
    for (lasts, number) in [(SECOND, 2), (6 * SECOND, 1)] {
        bench.pass(delay.max(5 * SECOND));
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        bench.pass(lasts);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        retrying(&mut bench, number);
    }
}

#[test]
fn a_connection_in_place_of_a_spoiled_one_is_an_attempt_and_one_that_nobody_wants_is_none() {
    let mut bench = Bench::with(None, policy().jitter(0.0));
    bench.core.join(bench.now, "/");
    let delay = fail(&mut bench, 1);
    bench.pass(delay);
    bench.core.handle_dialled(bench.now);
    bench.text(MODERN);
    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    assert_eq!(bench.core.attempt(), 1);
    bench.core.replace(bench.now, bench.core.epoch());
    assert_eq!(bench.core.attempt(), 2);
    bench.core.set_wanted(false);
    assert_eq!(bench.core.attempt(), 0);
}

#[test]
fn who_dials_knows_the_attempt_and_why_there_is_no_connection() {
    let mut bench = Bench::with(None, policy().attempts(2));
    assert_eq!((bench.core.attempt(), bench.core.last_reason()), (0, None));
    bench.core.join(bench.now, "/");
    for number in [1, 2] {
        let delay = fail(&mut bench, number);
        bench.pass(delay);
        assert_eq!(
            (bench.core.attempt(), bench.core.last_reason()),
            (number, Some(&unreachable()))
        );
    }
    let failed = Reason::Provider("no token".to_owned());
    bench.core.handle_dial_failed(bench.now, failed.clone(), None);
    bench.core.join(bench.now, "/");
    assert_eq!((bench.core.attempt(), bench.core.last_reason()), (0, Some(&failed)), "it gave up");
}

#[test]
fn a_provider_that_fails_is_asked_again_and_says_nothing_of_the_server() {
    let mut bench = Bench::with(None, policy());
    bench.core.join(bench.now, "/");
    bench.core.handle_dialled(bench.now);
    bench.text(MODERN);
    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    bench.core.handle_lost(bench.now, Reason::PingTimeout);
    let delay = retrying(&mut bench, 1);
    bench.pass(delay);
    bench.core.handle_dial_failed(bench.now, Reason::Provider("no token".to_owned()), None);
    retrying(&mut bench, 2);
    assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
}

#[test]
fn a_server_that_names_a_time_is_left_alone_for_it_but_not_for_ever() {
    let hour = 3_600 * SECOND;
    for (retry_after, expected) in [
        (None, SECOND),
        (Some(Duration::ZERO), SECOND),
        (Some(SECOND / 2), SECOND),
        (Some(SECOND * 30), SECOND * 30),
        (Some(hour), hour),
        (Some(hour + SECOND), hour),
        (Some(Duration::MAX), hour),
    ] {
        let mut bench = Bench::with(None, policy().jitter(0.0));
        bench.core.join(bench.now, "/");
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        let busy = Reason::Connect(ConnectFailure::status(503));
        bench.core.handle_dial_failed(bench.now, busy, retry_after);
        assert_eq!(retrying(&mut bench, 1), expected);
        bench.pass(expected);
        assert_eq!(fail(&mut bench, 2), 2 * SECOND, "once");
    }
}

#[test]
fn whoever_has_slept_longer_than_the_server_waits_connects_again() {
    let timed_out = Reason::Connect(ConnectFailure::TimedOut);
    let dialling: fn(&mut Bench) = |_| {};
    let opening: fn(&mut Bench) = |bench| bench.core.handle_dialled(bench.now);
    let undecided: fn(&mut Bench) = |bench| {
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
    };
    let open: fn(&mut Bench) = |bench| {
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    };
    for (prepare, patience, reason) in [
        (dialling, 20 * SECOND, timed_out.clone()),
        (opening, 20 * SECOND, timed_out),
        (undecided, 45 * SECOND, Reason::PingTimeout),
        (open, 45 * SECOND, Reason::PingTimeout),
    ] {
        let mut bench = Bench::with(None, policy());
        bench.core.join(bench.now, "/");
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        prepare(&mut bench);
        bench.core.handle_suspended(bench.now, patience);
        assert_eq!(bench.core.poll_event(), None, "{reason:?}");
        bench.core.handle_suspended(bench.now, patience + SECOND);
        // Everything that came before is read first.
        bench.pass(Duration::from_millis(1));
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        let lost = Event::Lost { reason, again: true, suspect: None };
        assert_eq!(bench.core.poll_event(), Some(lost));
        let retrying = bench.core.poll_event();
        assert!(matches!(retrying, Some(Event::Retrying { .. })), "{retrying:?}");
        // A delay that runs anyway goes on.
        bench.core.handle_suspended(bench.now, 3_600 * SECOND);
        assert_eq!((bench.core.poll_action(), bench.core.poll_event()), (None, None));
    }
}

#[test]
fn what_came_before_the_machine_was_suspended_is_read_and_keeps_nothing_alive() {
    for protocol in [Protocol::Eio4, Protocol::Eio3] {
        let mut bench = Bench::open(protocol);
        bench.core.handle_suspended(bench.now, 3_600 * SECOND);
        assert!(bench.core.is_late(), "nothing is written to a connection that is gone");
        for text in [r#"42["e"]"#, "2", "3"] {
            bench.text(text);
        }
        let event = bench.core.poll_event();
        assert!(matches!(event, Some(Event::Packet(_))), "{protocol:?}: {event:?}");
        assert_eq!(bench.core.poll_event(), None);
        bench.pass(Duration::from_millis(999));
        assert_eq!(bench.core.poll_event(), None, "more may be on its way");
        bench.pass(Duration::from_millis(1));
        bench.expect_lost(Reason::PingTimeout);
    }
}

#[test]
fn it_gives_up_after_as_many_attempts_as_it_has() {
    let mut bench = Bench::with(None, policy().attempts(2));
    bench.core.join(bench.now, "/");
    for number in [1, 2] {
        let delay = fail(&mut bench, number);
        bench.pass(delay);
    }
    assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
    bench.core.handle_dial_failed(bench.now, unreachable(), None);
    let reason = unreachable();
    bench.expect_lost(reason.clone());
    assert_eq!(bench.core.poll_event(), Some(Event::GaveUp { attempts: 2, reason }));
    assert_eq!(bench.core.poll_timeout(), None);
}

#[test]
fn clients_that_share_a_limiter_never_come_back_faster_than_its_rate() {
    let limiter = DialLimiter::per_second(10);
    let mut benches: Vec<Bench> =
        (0..50).map(|_| Bench::with(None, policy().jitter(0.0).limiter(limiter.clone()))).collect();
    let start = benches[0].now;
    for bench in &mut benches {
        bench.now = start;
        bench.core.join(start, "/");
        // The first dial of each client does not queue.
        assert_eq!(fail(bench, 1), SECOND);
    }
    let mut dials = Vec::new();
    while dials.len() < 50 {
        let next = benches.iter().filter_map(|bench| bench.core.poll_timeout()).min();
        let now = next.expect("somebody waits");
        for bench in &mut benches {
            bench.now = now;
            bench.core.handle_timeout(now);
            if matches!(bench.core.poll_action(), Some(Action::Dial(_))) {
                dials.push(now);
                bench.core.handle_dialled(bench.now);
                bench.text(MODERN);
                assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
            }
        }
    }
    let turns = (0..50).map(|turn| start + SECOND + turn * SECOND / 10);
    assert!(turns.eq(dials));
}

#[test]
fn whoever_does_not_want_to_queue_any_more_is_out_at_once() {
    for shut_down in [false, true] {
        let limiter = DialLimiter::per_second(1);
        let mut bench = Bench::with(None, policy().jitter(0.0).limiter(limiter.clone()));
        bench.core.join(bench.now, "/");
        let delay = fail(&mut bench, 1);
        limiter.reserve(bench.now + delay);
        bench.pass(delay);
        assert_eq!(bench.core.poll_action(), None);
        assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
        // Late input does not put it off.
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.text(MODERN);
        assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
        if shut_down {
            bench.core.close(bench.now + SECOND);
            bench.expect_lost(Reason::Shutdown);
        } else {
            bench.core.set_wanted(false);
        }
        assert!(bench.core.is_idle());
        bench.pass(60 * SECOND);
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        assert_eq!(bench.core.poll_action(), None);
    }
}

#[test]
fn when_nobody_wants_a_connection_nothing_waits_or_dials() {
    let mut bench = Bench::with(None, policy());
    bench.core.join(bench.now, "/");
    fail(&mut bench, 1);
    bench.core.set_wanted(false);
    assert!(bench.core.is_idle());
    bench.pass(60 * SECOND);
    assert_eq!(bench.core.poll_action(), Some(Action::Drop));
    assert_eq!(bench.core.poll_action(), None);
    // A new request for a connection is met at once.
    bench.core.join(bench.now, "/");
    assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
    bench.core.set_wanted(false);
    assert_eq!(bench.core.poll_action(), Some(Action::Drop), "while dialling, too");
    bench.core.handle_dialled(bench.now);
    bench.core.handle_dial_failed(bench.now, unreachable(), None);
    assert_eq!(bench.core.poll_event(), None);
    assert!(bench.core.is_idle());
}

#[test]
fn a_shutdown_ends_the_waiting_and_a_closing_connection_does_not_come_back() {
    let mut bench = Bench::with(None, policy());
    bench.core.join(bench.now, "/");
    fail(&mut bench, 1);
    bench.core.close(bench.now + SECOND);
    bench.expect_lost(Reason::Shutdown);

    let mut bench = Bench::with(None, policy());
    bench.core.join(bench.now, "/");
    bench.core.handle_dialled(bench.now);
    bench.text(MODERN);
    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    bench.leave("/");
    bench.core.close(bench.now + SECOND);
    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
    bench.expect_lost(Reason::TransportClose(None));
}

#[test]
fn the_policy_decides_by_the_reason_what_is_tried_again() {
    for (retry, again) in [(Retry::Again, true), (Retry::WithNewAuth, true), (Retry::Stop, false)] {
        let policy = policy().retry(move |reason| match reason {
            Reason::TransportClose(Some(4_000)) => retry,
            other => Retry::default_for(other),
        });
        let mut bench = Bench::with(None, policy);
        bench.core.join(bench.now, "/");
        let delay = fail(&mut bench, 1);
        bench.pass(delay);
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        bench.core.handle_lost(bench.now, Reason::TransportClose(Some(4_000)));
        let lost = bench.core.poll_event();
        assert!(matches!(lost, Some(Event::Lost { again: told, .. }) if told == again));
        assert_eq!(bench.core.is_idle(), !again, "{retry:?}");
    }
}

#[test]
fn a_server_that_is_what_it_is_is_not_tried_again() {
    let mut bench = Bench::with(Some(Protocol::Eio3), policy());
    bench.core.join(bench.now, "/");
    bench.core.handle_dialled(bench.now);
    bench.pass(20 * SECOND);
    let lost = bench.core.poll_event();
    assert!(matches!(lost, Some(Event::Lost { again: false, .. })), "{lost:?}");
}

mod operations {
    //! Random operations: whatever is done and happens, in whatever order, certain things hold.

    use proptest::{prelude::*, test_runner::TestCaseResult};

    use super::*;
    use crate::fuzz::mutate;

    #[derive(Debug, Clone)]
    enum Operation {
        Join(&'static str),
        Leave(&'static str),
        Wanted(bool),
        Emit,
        /// Emits an event with this key and an attachment.
        EmitLatest(&'static str),
        /// Replaces the current connection, or the one before it.
        Replace {
            is_current: bool,
        },
        Close,
        Dialled,
        DialFailed,
        Lost,
        Text(&'static str),
        Binary,
        /// The transport has shown the revision.
        Shown(Protocol),
        Upgraded,
        Pong(u64),
        /// The pong to the last ping that was written.
        PongToAll,
        Late(bool),
        /// Nothing is written for a while.
        Block(bool),
        Pass(u64),
        /// Time passes without a call of `handle_timeout`.
        Sleep(u64),
        Suspended(u64),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let namespace = prop::sample::select(vec!["/", "/foo"]);
        let text = prop::sample::select(vec![
            MODERN,
            PLAIN,
            "40",
            "40/foo,",
            r#"40{"sid":"id"}"#,
            "41",
            "44\"no\"",
            "42[\"e\"]",
            "42[{}]",
            "1",
            "2",
            "3",
            "9",
            "451-[\"e\"]",
            "",
        ]);
        prop_oneof![
            namespace.clone().prop_map(Operation::Join),
            namespace.prop_map(Operation::Leave),
            any::<bool>().prop_map(Operation::Wanted),
            Just(Operation::Emit),
            prop::sample::select(vec!["a", "b"]).prop_map(Operation::EmitLatest),
            any::<bool>().prop_map(|is_current| Operation::Replace { is_current }),
            Just(Operation::Close),
            Just(Operation::Dialled),
            Just(Operation::DialFailed),
            Just(Operation::Lost),
            // Most operations are incoming messages.
            text.clone().prop_map(Operation::Text),
            text.clone().prop_map(Operation::Text),
            text.prop_map(Operation::Text),
            Just(Operation::Binary),
            prop::sample::select(vec![Protocol::Eio3, Protocol::Eio4]).prop_map(Operation::Shown),
            Just(Operation::Upgraded),
            (0..9_u64).prop_map(Operation::Pong),
            Just(Operation::PongToAll),
            any::<bool>().prop_map(Operation::Late),
            any::<bool>().prop_map(Operation::Block),
            (0..60_000_u64).prop_map(Operation::Pass),
            (0..90_000_u64).prop_map(Operation::Sleep),
            (0..60_000_u64).prop_map(Operation::Suspended),
        ]
    }

    /// A deadline is there exactly when something is waited for.
    fn check_deadlines(core: &Connection) -> TestCaseResult {
        let runs = |timer| core.timers.runs(timer);
        let (mut open, mut attachments, mut root, mut closing) = (false, false, false, false);
        let (mut delay, mut dial, mut connect, mut probe) = (false, false, false, false);
        match &core.state {
            State::Idle => {}
            State::Waiting => delay = true,
            State::Queued => dial = true,
            State::Opening(opening) => {
                probe = opening.handshake().is_some();
                connect = !probe;
            }
            State::Open(session) => {
                open = true;
                attachments = core.reader.is_waiting();
                root = session.root == Root::Pending;
                closing = session.is_closing;
                let heartbeat = Some(session.heartbeat().poll_timeout());
                prop_assert_eq!(core.timers.at(Timer::Heartbeat), heartbeat);
                prop_assert!(!closing || core.writer.is_leaving(), "it could be closed");
            }
            State::Closing { .. } => closing = true,
        }
        for (timer, is_waited_for) in [
            (Timer::Delay, delay),
            (Timer::Dial, dial),
            (Timer::Connect, connect),
            (Timer::Probe, probe),
            (Timer::Leave, open && core.writer.leaving().is_some_and(Leaving::is_waiting)),
            (Timer::Heartbeat, open),
            (Timer::Attachments, attachments),
            (Timer::Close, closing),
            (Timer::Join, root),
        ] {
            prop_assert_eq!(runs(timer), is_waited_for, "{:?} in {:?}", timer, core.state);
        }
        prop_assert!(!runs(Timer::Doubt) || root);
        let is_asked = core.writer.unconfirmed().is_asked();
        prop_assert!(!runs(Timer::Confirm) || open && !is_asked);
        let is_unconfirmed = open && core.writer.unconfirmed().in_doubt() > 0;
        prop_assert!(!is_unconfirmed || is_asked || runs(Timer::Confirm), "nobody asks");
        prop_assert_eq!(core.poll_timeout().is_none(), core.is_idle());
        prop_assert!(
            !core.writer.leaving().is_some_and(Leaving::is_replacement_due),
            "it could be replaced"
        );
        prop_assert!(!core.is_idle() || core.attempt() == 0);
        let is_opening = matches!(core.state, State::Opening(_));
        prop_assert!(!is_opening || !core.writer.suspects_one(), "a suspect of another connection");
        prop_assert_eq!(core.ping_timeout(), open.then_some(20 * SECOND));
        prop_assert_eq!(core.strain(0.5).is_some(), open);
        Ok(())
    }

    /// The expected answer to a namespace that wants to join.
    fn admission(core: &Connection, namespace: &str) -> Admission {
        let Some(Open { session, root, is_closing: false, .. }) = core.open() else {
            return Admission::Later;
        };
        match (root, namespace) {
            (Root::Joined, "/") => Admission::Joined(session.clone()),
            (Root::Free | Root::Joined, _) | (Root::Pending, "/") => {
                Admission::Now(session.clone())
            }
            (Root::Pending | Root::Gone, _) => Admission::Later,
        }
    }

    /// The traffic, counted by the test itself.
    #[derive(Debug, Default)]
    struct Traffic {
        emitted: u64,
        /// Events that were written, up to the last attachment.
        written: u64,
        /// Events of which something was written.
        begun: u64,
        /// Events that were given back.
        returned: u64,
        bytes_in: u64,
        bytes_out: u64,
        /// The last ping.
        ping: u64,
    }

    impl Traffic {
        fn note(&mut self, written: &[String]) {
            for text in written {
                if let Some(number) = text.strip_prefix("ping ") {
                    self.ping = number.parse().unwrap();
                    continue;
                }
                // The attachment, of revision 4 and 3.
                let data = ["b\"a\"", "b\"\\x04a\""].iter().position(|data| data == text);
                self.bytes_out += u64::try_from(data.map_or(text.len(), |n| n + 1)).unwrap();
                self.written += u64::from(data.is_some() || text.starts_with("42"));
                self.begun += u64::from(text.starts_with("42") || text.starts_with("451-"));
            }
        }
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each operation and event")]
    fn check(operations: Vec<Operation>, pin: Option<Protocol>, servers: usize) -> TestCaseResult {
        // Few enough turns that some dials are queued.
        let limiter = DialLimiter::per_second(1);
        let now = Instant::now();
        for _ in 0..3 {
            limiter.reserve(now);
        }
        let policy = policy().attempts(2).limiter(limiter);
        let endpoints = vec![ByteString::new(); servers];
        let mut bench = Bench::of(Config { endpoints, ..Bench::config(pin, policy) });
        let (mut open, mut retry, mut anybody) = (false, false, false);
        let mut epoch = 0;
        let mut traffic = Traffic::default();
        let mut is_blocked = false;
        // Whether there is a transport, or it is being dialled.
        let mut has_link = false;
        for operation in operations {
            let is_dialling =
                matches!(&bench.core.state, State::Opening(opening) if opening.is_dialling());
            match operation {
                Operation::Join(namespace) => {
                    let expected = admission(&bench.core, namespace);
                    prop_assert_eq!(bench.core.join(bench.now, namespace), expected);
                    anybody = true;
                }
                Operation::Leave(namespace) => bench.leave(namespace),
                Operation::Wanted(wanted) => {
                    bench.core.set_wanted(wanted);
                    anybody = wanted;
                }
                Operation::Emit => {
                    let payload = crate::payload::encode_event("e", &1).unwrap();
                    let body = Body::Event { id: None, payload };
                    bench.send(packet("/", body));
                    traffic.emitted += 1;
                }
                Operation::EmitLatest(key) => {
                    let data = Bytes::from_static(b"a");
                    let payload = crate::payload::encode_event("l", &data).unwrap();
                    let body = Body::Event { id: None, payload };
                    let place = Place::Latest(key.into());
                    let terms = Some(Box::new(Terms { place, lifetime: None }));
                    let outgoing = Outgoing { terms, ..Outgoing::bare(packet("/", body)) };
                    bench.core.send(bench.now, bench.core.epoch(), outgoing);
                    traffic.emitted += 1;
                }
                // Only a namespace that is joined asks to replace the connection.
                Operation::Replace { is_current: true } if !anybody => {}
                Operation::Replace { is_current } => {
                    let is_due = bench.core.open().is_some_and(|open| !open.is_closing);
                    let old = u64::from(!is_current);
                    bench.core.replace(bench.now, bench.core.epoch().wrapping_sub(old));
                    let is_open = matches!(bench.core.state, State::Open(_));
                    prop_assert!(is_open != is_current || !is_due);
                    // The next attempt, if there is one, comes after a delay.
                    prop_assert!(!matches!(bench.core.state, State::Opening(_)) || !is_due);
                }
                Operation::Close => bench.core.close(bench.now + SECOND),
                Operation::Dialled => bench.core.handle_dialled(bench.now),
                Operation::DialFailed => {
                    bench.refused(400);
                    has_link &= !is_dialling;
                }
                Operation::Lost => {
                    has_link &= is_dialling;
                    bench.core.handle_lost(bench.now, Reason::TransportClose(None));
                }
                Operation::Text(text) => {
                    bench.text(text);
                    traffic.bytes_in += u64::try_from(text.len()).unwrap();
                }
                Operation::Binary => {
                    bench.binary(&[4]);
                    traffic.bytes_in += 1;
                }
                Operation::Shown(protocol) => bench.core.handle_revision(bench.now, protocol),
                Operation::Upgraded => bench.core.handle_upgraded(),
                Operation::Pong(ping) => bench.core.handle_pong(bench.now, ping),
                Operation::PongToAll => bench.core.handle_pong(bench.now, traffic.ping),
                Operation::Late(is_more) => bench.core.note_lateness(bench.now, is_more),
                Operation::Block(wanted) => is_blocked = wanted,
                Operation::Pass(millis) => bench.pass(Duration::from_millis(millis)),
                Operation::Sleep(millis) => bench.now += Duration::from_millis(millis),
                Operation::Suspended(millis) => {
                    let gap = Duration::from_millis(millis);
                    bench.core.handle_suspended(bench.now, gap);
                }
            }
            let is_settled = bench.core.is_settled();
            traffic.returned += u64::try_from(bench.core.take_unwritten().len()).unwrap();
            while let Some(event) = bench.core.poll_event() {
                prop_assert!(!is_settled);
                match event {
                    Event::Greeted(session) => {
                        prop_assert_eq!(session.protocol, Protocol::Eio3);
                        prop_assert!(session.epoch > epoch, "an epoch was used again");
                        epoch = session.epoch;
                    }
                    Event::Opened(session) => {
                        prop_assert!(!open, "opened twice");
                        let new = u64::from(session.protocol == Protocol::Eio4);
                        prop_assert!(session.epoch >= epoch + new, "an epoch was used again");
                        prop_assert!(pin.is_none_or(|pin| pin == session.protocol));
                        epoch = session.epoch;
                        open = true;
                    }
                    Event::Unreadable(_) => {
                        prop_assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
                    }
                    Event::Packet(_) | Event::Refused(_) => {
                        prop_assert!(open || bench.core.protocol() == Some(Protocol::Eio3));
                    }
                    Event::Lost { again, .. } => {
                        open = false;
                        retry = again;
                    }
                    Event::Passed { endpoint, .. } => {
                        prop_assert!(!open && endpoint != bench.core.endpoint());
                    }
                    Event::Retrying { delay, .. } => {
                        prop_assert!(retry && delay <= 8 * SECOND);
                    }
                    Event::GaveUp { attempts, .. } => {
                        prop_assert!(!retry && attempts == 2);
                    }
                }
            }
            let actions: Vec<Action> = std::iter::from_fn(|| bench.core.poll_action()).collect();
            prop_assert!(actions.is_empty() || !is_settled);
            prop_assert!(bench.core.is_settled());
            let dials = actions.iter().filter(|action| matches!(action, Action::Dial(_))).count();
            prop_assert!(dials <= 1, "more than one dial at a time");
            prop_assert!(anybody || dials == 0, "a dial that nobody wants");
            for action in &actions {
                has_link = match action {
                    Action::Dial(_) => true,
                    Action::Drop => false,
                    Action::Close => has_link,
                };
            }
            let is_up = matches!(bench.core.state, State::Open(_) | State::Closing { .. });
            prop_assert!(is_up || !open);
            let is_opening = matches!(bench.core.state, State::Opening(_));
            prop_assert_eq!(has_link, is_up || is_opening, "in {:?}", bench.core.state);
            prop_assert_eq!(bench.core.epoch(), epoch);
            let written = bench.written_up_to(if is_blocked { 1 } else { usize::MAX });
            let is_undecided = matches!(&bench.core.state, State::Opening(opening)
                if opening.handshake().is_some());
            prop_assert!(is_up || is_undecided || written.is_empty(), "{:?}", written);
            let is_new = open && bench.core.protocol() == Some(Protocol::Eio4);
            prop_assert!(
                is_new || !written.iter().any(|text| text.starts_with("40")),
                "a request to join, unasked"
            );
            traffic.note(&written);
            let Tally { events, bytes_in, bytes_out, replaced, answers, .. } = bench.core.tally();
            let told = (*events, *bytes_in, *bytes_out, *answers);
            prop_assert_eq!(told, (traffic.begun, traffic.bytes_in, traffic.bytes_out, 0));
            let settled = traffic.written + traffic.returned + *replaced;
            prop_assert!(settled <= traffic.emitted, "{:?}", traffic);
            let may_wait = is_blocked
                && !matches!(bench.core.state, State::Idle | State::Waiting | State::Queued);
            prop_assert!(may_wait || settled == traffic.emitted, "an event is lost: {:?}", traffic);
            check_deadlines(&bench.core)?;
            if let Some(timeout) = bench.core.poll_timeout() {
                prop_assert!(!bench.core.is_idle());
                prop_assert!(timeout < bench.now + 86_401 * SECOND);
            }
        }
        Ok(())
    }

    fn run() -> impl Strategy<Value = (Vec<Operation>, Option<Protocol>, usize)> {
        use Operation::{Dialled, Join, Pass, Text};
        let pins = vec![None, Some(Protocol::Eio3), Some(Protocol::Eio4)];
        // Most runs begin with a session: random operations rarely make one.
        let begin = prop::sample::select(vec![
            vec![],
            vec![Join("/"), Dialled, Text(MODERN)],
            vec![Join("/"), Dialled, Text(PLAIN), Text("40")],
            vec![Join("/"), Dialled, Text(PLAIN)],
            vec![Join("/"), Dialled, Text(PLAIN), Pass(60), Text("3")],
            vec![Join("/"), Dialled, Text(MODERN), Text("451-[\"e\"]")],
        ]);
        let operations = (begin, prop::collection::vec(operation(), 0..80));
        let operations = operations.prop_map(|(begin, rest)| [begin, rest].concat());
        (operations, prop::sample::select(pins), 1..4_usize)
    }

    proptest! {
        #[test]
        fn no_order_of_events_breaks_the_rules((operations, pin, servers) in run()) {
            check(operations, pin, servers)?;
        }
    }

    #[test]
    fn fuzz_orders_of_events() {
        mutate::run("connection", run(), |(operations, pin, servers)| {
            check(operations, pin, servers)
        });
    }
}

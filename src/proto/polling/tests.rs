use bytestring::ByteString;

use super::*;

const OPEN: &str = r#"0{"sid":"S","upgrades":["websocket"],"maxPayload":12}"#;

/// A session by polling.
struct Bench {
    polling: Polling,
}

impl Bench {
    /// A session that has begun with this open packet, with no open request.
    fn opened(open: &str, wants_websocket: bool) -> Self {
        let mut bench = Self { polling: Polling::new(1_000, wants_websocket) };
        assert!(!bench.polling.has_room(), "there is no session yet");
        assert!(!bench.polling.poll_get() && bench.polling.poll_post().is_none());
        bench.answer(open);
        bench
    }

    /// The GET is answered.
    fn answer(&mut self, body: &str) -> Vec<Incoming> {
        self.polling.handle_chunk(body.as_bytes());
        self.polling.handle_end();
        self.incoming()
    }

    fn incoming(&mut self) -> Vec<Incoming> {
        std::iter::from_fn(|| self.polling.poll_incoming().unwrap()).collect()
    }

    /// The body of the next POST.
    fn post(&mut self) -> Option<String> {
        self.polling.poll_post().map(|post| String::from_utf8(post.body).unwrap())
    }

    fn push(&mut self, text: &str) {
        assert!(self.polling.has_room(), "{text}");
        self.polling.push(Message::Text("4", text));
    }
}

fn frame(text: &'static str) -> Incoming {
    Incoming::Frame(Frame::Text(ByteString::from_static(text)))
}

#[test]
fn the_first_body_opens_the_session_and_tells_the_revision() {
    let mut polling = Polling::new(1_000, false);
    polling.handle_chunk(br#"13:0{"sid":"S3"}2:40"#);
    polling.handle_end();
    let mut bench = Bench { polling };
    let expected = [Incoming::Revision(Protocol::Eio3), frame(r#"0{"sid":"S3"}"#), frame("40")];
    assert_eq!(bench.incoming(), expected);
    assert_eq!(bench.polling.sid(), Some("S3"));
    assert!(bench.polling.poll_get() && !bench.polling.poll_get(), "one at a time");
}

#[test]
fn there_is_no_other_poll_before_the_answer_is_read_to_its_end() {
    let mut bench = Bench::opened(OPEN, false);
    assert!(bench.polling.poll_get());
    for (piece, expected) in [("4", vec![]), ("0\u{1e}", vec![frame("40")]), ("2", vec![])] {
        bench.polling.handle_chunk(piece.as_bytes());
        assert_eq!(bench.incoming(), expected);
        assert!(!bench.polling.poll_get(), "{piece}");
    }
    bench.polling.handle_end();
    assert!(!bench.polling.poll_get(), "it has not been read");
    assert_eq!(bench.incoming(), [frame("2")]);
    assert!(bench.polling.poll_get());
}

#[test]
fn a_barrier_is_confirmed_when_the_packets_before_it_have_been_posted() {
    let mut bench = Bench::opened(OPEN, false);
    bench.polling.push(Message::Barrier(1));
    assert_eq!(bench.incoming(), [Incoming::Confirmed(1)], "there is nothing to wait for");
    bench.push("12345");
    bench.polling.push(Message::Barrier(2));
    bench.push("6789012345");
    bench.polling.push(Message::Barrier(3));
    assert!(!bench.polling.has_room(), "the second one does not fit");
    assert_eq!(bench.post().as_deref(), Some("412345"));
    assert!(bench.post().is_none() && !bench.polling.has_room(), "one at a time");
    assert_eq!(bench.incoming(), []);
    bench.polling.handle_posted();
    assert_eq!(bench.incoming(), [Incoming::Confirmed(2)]);
    assert_eq!(bench.post().as_deref(), Some("46789012345"));
    bench.polling.handle_posted();
    assert_eq!(bench.incoming(), [Incoming::Confirmed(3)]);
}

#[test]
fn a_barrier_behind_an_open_post_waits_for_its_answer() {
    let mut bench = Bench::opened(OPEN, false);
    bench.push("1");
    assert!(bench.post().is_some());
    bench.polling.push(Message::Barrier(1));
    assert_eq!(bench.incoming(), []);
    bench.polling.handle_posted();
    assert_eq!(bench.incoming(), [Incoming::Confirmed(1)]);
}

#[test]
fn an_upgrade_waits_until_no_request_is_open() {
    let mut bench = Bench::opened(OPEN, true);
    assert!(bench.polling.poll_probe() && !bench.polling.poll_probe());
    assert!(bench.polling.poll_get());
    bench.push("1");
    assert!(bench.post().is_some());
    bench.polling.handle_probed(true);
    assert!(!bench.polling.has_room() && !bench.polling.is_paused());
    bench.polling.handle_posted();
    assert!(!bench.polling.is_paused(), "the poll is open");
    assert_eq!(bench.answer("6\u{1e}42"), [frame("6"), frame("42")]);
    assert!(bench.polling.is_paused());
    assert!(!bench.polling.poll_get() && bench.post().is_none());
}

#[test]
fn what_is_in_a_body_already_is_posted_before_the_upgrade() {
    let mut bench = Bench::opened(OPEN, true);
    assert!(bench.polling.poll_probe());
    bench.push("123456789");
    bench.push("123456789");
    assert!(bench.post().is_some());
    bench.polling.handle_probed(true);
    bench.polling.handle_posted();
    assert!(!bench.polling.is_paused(), "one was carried over");
    assert!(bench.post().is_some());
    bench.polling.handle_posted();
    assert!(bench.polling.is_paused());
}

#[test]
fn polling_goes_on_if_the_websocket_does_not_work() {
    for pauses in [false, true] {
        let mut bench = Bench::opened(OPEN, true);
        assert!(bench.polling.poll_probe());
        bench.polling.handle_probed(pauses);
        if pauses {
            assert!(!bench.polling.poll_get());
            bench.polling.handle_pause_timeout();
        }
        assert!(!bench.polling.is_paused() && !bench.polling.poll_probe());
        assert!(bench.polling.poll_get() && bench.polling.has_room());
    }
}

#[test]
fn nothing_is_probed_that_is_not_wanted_or_not_offered() {
    let plain = r#"0{"sid":"S","upgrades":[]}"#;
    assert!(!Bench::opened(plain, true).polling.poll_probe());
    assert!(!Bench::opened(OPEN, false).polling.poll_probe());
}

#[test]
fn the_close_packet_is_the_last_one_and_goes_when_the_server_has_read_the_others() {
    for carried in [false, true] {
        let mut bench = Bench::opened(OPEN, true);
        bench.push("12345");
        if carried {
            bench.push("123456789");
        }
        bench.polling.close();
        assert!(!bench.polling.poll_probe() && !bench.polling.poll_get());
        let mut posts = Vec::new();
        while let Some(post) = bench.post() {
            assert!(!bench.polling.is_closed());
            posts.push(post);
            bench.polling.handle_posted();
        }
        let expected: &[&str] =
            if carried { &["412345", "4123456789", "1"] } else { &["412345", "1"] };
        assert_eq!(posts, expected);
        assert!(bench.polling.is_closed());
    }
}

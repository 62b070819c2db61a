//! What a client sends to connect, where it comes from, and what it does about a refusal.

// A test fails by panicking, and measures by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix_socketio::{
    ConnectFailure, DialLimiter, EngineRefusal, Protocol, ReadyError, Reason, Reconnect, Transport,
};
use awc::http::header::HttpDate;
use std::{
    cell::Cell,
    io::{Read, Write},
    net::TcpStream,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use support::{
    answered, eventually,
    every::within,
    logged,
    node::{self, Config, Line},
    oxide,
    raw::{self, Answer},
    recorder::Recorder,
    scripted::Scripted,
};

/// Short delays, so that the tests are quick.
fn quick() -> Reconnect {
    Reconnect::default()
        .delay(Duration::from_millis(20), Duration::from_millis(100))
        .limiter(DialLimiter::unlimited())
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[actix::test]
async fn a_user_and_password_go_as_basic_credentials() {
    let server = Scripted::start();
    let client = support::client(server.url()).basic_auth("tea", "s3cret: €").start().unwrap();
    let mut peer = server.accept().await;
    // As `printf 'tea:s3cret: €' | base64` has it.
    assert_eq!(peer.header("authorization"), Some("Basic dGVhOnMzY3JldDog4oKs"));
    peer.greet().await;
    within(client.socket().ready()).await.unwrap();
}

#[actix::test]
async fn providers_are_asked_before_each_dial_and_know_why() {
    let server = Scripted::start();
    server.refuse_next(401, "stale");
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let url = format!("{}/socket.io/", server.url());
    // A session has to last for the longest delay to count as a success, after which the count begins anew.
    let policy = quick().delay(Duration::from_millis(20), Duration::from_secs(3_600));
    let client = support::client(format!("{}?key=s3cret", server.url()))
        .reconnect(policy)
        .header("x-fixed", "yes")
        .header("authorization", "none")
        .query("tenant", "acme")
        .query("token", "none")
        .headers_with(move |dial| {
            noted.lock().unwrap().push((dial.attempt(), dial.reason().cloned()));
            assert_eq!(dial.endpoint(), url);
            // It may hold what cannot leave the thread.
            let attempt = Rc::new(Cell::new(dial.attempt()));
            async move {
                tokio::task::yield_now().await;
                Ok::<_, String>(vec![pair("authorization", &format!("h{}", attempt.get()))])
            }
        })
        .query_with(async |dial| {
            let token = format!("q {}", dial.attempt());
            Ok::<_, String>(vec![("token".to_owned(), token)])
        })
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_reconnecting().await;
    let mut peer = server.accept().await;
    assert_eq!(peer.header("x-fixed"), Some("yes"));
    assert_eq!(peer.header("authorization"), Some("h1"));
    assert_eq!(peer.parameter("tenant"), Some("acme"));
    assert_eq!(peer.parameter("token"), Some("q%201"));
    peer.greet().await;
    recorder.next_ready().await;
    peer.cut().await;
    let reason = recorder.next_disconnected().await;
    let peer = server.accept().await;
    assert_eq!(peer.parameter("token"), Some("q%202"));
    let refused = Reason::Connect(answered(401, "stale"));
    let expected = [(0, None), (1, Some(refused)), (2, Some(reason))];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[actix::test]
async fn the_host_header_is_that_of_the_url_unless_it_is_set() {
    let server = Scripted::start();
    for set in [None, Some("other.example")] {
        let builder = support::client(server.url());
        let builder = set.into_iter().fold(builder, |builder, host| builder.header("Host", host));
        let _client = builder.start().unwrap();
        let peer = server.accept().await;
        let url = server.url();
        let authority = url.strip_prefix("http://").unwrap();
        assert_eq!(peer.header("host"), Some(set.unwrap_or(authority)));
    }
}

#[actix::test]
async fn what_a_provider_cannot_give_is_not_dialled_for_and_is_tried_again() {
    let server = Scripted::start();
    let client = support::client(server.url())
        .reconnect(quick())
        .headers_with(async |dial| match dial.attempt() {
            0 => Err("no token yet"),
            1 => Ok(vec![pair("upgrade", "s3cret")]),
            _ => Ok(vec![pair("x-late", "yes")]),
        })
        .query_with(async |dial| match dial.attempt() {
            2 => Ok::<_, String>(vec![pair("long", &"s3cret".repeat(20_000))]),
            _ => Ok(Vec::new()),
        })
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    for expected in [
        "no token yet",
        "header \"upgrade\" cannot be sent: the websocket handshake sets it",
        "the query makes the URL too long",
    ] {
        let reason = recorder.next_reconnecting().await.reason().clone();
        assert_eq!(reason, Reason::Provider(expected.to_owned()));
    }
    let mut peer = server.accept().await;
    assert_eq!(peer.header("x-late"), Some("yes"));
    assert_eq!(server.requests(), 1);
    peer.greet().await;
    recorder.next_ready().await;
}

/// Counts those that are dropped.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[actix::test]
async fn a_provider_that_never_answers_is_dropped() {
    let server = Scripted::start();
    let (asked, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asking, guarded) = (Arc::clone(&asked), Arc::clone(&dropped));
    let client = support::client(server.url())
        .reconnect(quick())
        .connect_timeout(Duration::from_millis(100))
        .headers_with(move |_| {
            asking.fetch_add(1, Ordering::SeqCst);
            let guard = Guard(Arc::clone(&guarded));
            async move {
                std::future::pending::<()>().await;
                drop(guard);
                Ok::<_, String>(Vec::new())
            }
        })
        .start()
        .unwrap();
    let mut recorder = Recorder::of(client.socket());
    for number in 1..=2 {
        let next = recorder.next_reconnecting().await;
        assert_eq!(next.reason(), &Reason::Connect(ConnectFailure::TimedOut));
        assert!(dropped.load(Ordering::SeqCst) >= number);
    }
    eventually("it is asked again", || asked.load(Ordering::SeqCst) >= 3).await;
    within(client.shutdown(Duration::ZERO)).await;
    assert_eq!(dropped.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
    assert_eq!(server.requests(), 0);
}

#[actix::test]
async fn a_server_that_says_when_to_come_back_is_left_alone_until_then() {
    let server = Scripted::start();
    let second = Duration::from_secs(1);
    server.refuse_next_with(503, &[("retry-after", "1")], "busy");
    server.refuse_next_with(429, &[("retry-after", "whenever")], "slow down");
    let far = HttpDate::from(SystemTime::now() + 7_200 * second).to_string();
    server.refuse_next_with(503, &[("retry-after", &far)], "gone fishing");
    let began = Instant::now();
    let client = support::client(server.url()).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());

    let next = recorder.next_reconnecting().await;
    assert_eq!(next.reason(), &Reason::Connect(answered(503, "busy")));
    assert_eq!(next.delay(), second);
    let next = recorder.next_reconnecting().await;
    assert_eq!(next.reason(), &Reason::Connect(answered(429, "slow down")));
    assert!(next.delay() < second, "{:?}", next.delay());
    assert!(began.elapsed() >= second);
    // Two hours are too many.
    assert_eq!(recorder.next_reconnecting().await.delay(), 3_600 * second);
    assert_eq!(server.requests(), 3);

    // A caller that asks for it gets it at once.
    client.socket().disconnect();
    recorder.next_connect_error().await;
    client.socket().connect();
    server.accept().await.greet().await;
    recorder.next_ready().await;
}

/// awc alone would let the connections after the hundredth wait until others end.
#[actix::test]
async fn a_thread_has_as_many_connections_as_it_asks_for() {
    let server = oxide::start();
    let mut clients = Vec::new();
    for _ in 0..150 {
        clients.push(support::client(server.url()).start().unwrap());
    }
    for client in &clients {
        within(client.socket().ready()).await.unwrap();
    }
    assert!(clients.iter().all(|client| client.socket().state().is_joined()));
}

/// Why there is no connection to this server, which is dialled once.
async fn failure(builder: actix_socketio::ClientBuilder) -> ConnectFailure {
    let client = builder.reconnect(Reconnect::never()).start().unwrap();
    match Recorder::of(client.socket()).next_connect_error().await {
        Reason::Connect(failure) => failure,
        other => panic!("{other:?}"),
    }
}

async fn failure_at(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> ConnectFailure {
    let server = raw::start(answer);
    failure(support::client(server.url())).await
}

/// All a server of revision 3 says to let a client in, in one piece, behind these answers.
fn welcome_behind(interim: &str, request: &str) -> Answer {
    let open = raw::text(r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#);
    let head = format!("{interim}{}", raw::accept(request));
    Answer::Bytes([head.into_bytes(), open, raw::text("40")].concat())
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";

#[actix::test]
async fn interim_answers_are_no_answers() {
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let processing = "HTTP/1.1 102 Processing\r\n\r\n";
    for interim in [HINTS, go_on, &[HINTS, go_on, processing].concat(), &HINTS.repeat(8)] {
        let interim = interim.to_owned();
        let server = raw::start(move |request| welcome_behind(&interim, request));
        let builder = support::builder(server.url()).protocol(Protocol::Eio3);
        let client = builder.start().unwrap();
        within(client.socket().ready()).await.unwrap();
    }
}

#[actix::test]
async fn interim_answers_come_to_an_end() {
    let failure = failure_at(|request| welcome_behind(&HINTS.repeat(9), request)).await;
    assert_eq!(failure, ConnectFailure::Handshake("more than 8 interim responses".to_owned()));
    let failure = failure_at(|_| Answer::Last(HINTS.as_bytes().to_vec())).await;
    assert_eq!(failure, ConnectFailure::NoAnswer);
    // No such answer has a body.
    for (version, length) in [("1.0", ""), ("1.1", "content-length: 3\r\n")] {
        let odd =
            format!("HTTP/{version} 103 Early Hints\r\n{length}\r\noddHTTP/1.1 101 No\r\n\r\n");
        let failure = failure_at(move |_| Answer::Bytes(odd.clone().into_bytes())).await;
        assert_eq!(failure, answered(103, ""));
    }
    let busy = format!("{HINTS}HTTP/1.1 503 Busy\r\n\r\n");
    let failure = failure_at(move |_| Answer::Bytes(busy.clone().into_bytes())).await;
    assert_eq!(failure, answered(503, ""));
}

#[actix::test]
async fn a_connection_that_is_closed_without_an_answer_asks_for_the_path_and_the_scheme() {
    // It waits for somebody else to serve the path, and hangs up.
    let wrong = || support::client(node::server(Line::V4).url()).path("/wrong/");
    let nothing_there = failure(wrong()).await;
    let is_told = matches!(nothing_there, ConnectFailure::Status { status: 404, .. });
    assert!(is_told, "a poll is answered: {nothing_there:?}");
    let failure = failure(wrong().transports([Transport::WebSocket])).await;
    assert_eq!(failure, ConnectFailure::NoAnswer);
    let text = failure.to_string();
    assert!(text.contains("path") && text.contains("https"), "{text}");
    // A server that expects TLS, or a balancer without anybody behind it.
    assert_eq!(failure_at(|_| Answer::Last(Vec::new())).await, ConnectFailure::NoAnswer);
    assert_eq!(failure_at(|_| Answer::Reset).await, ConnectFailure::NoAnswer);
    // What some that expect TLS say: an alert.
    let alert = failure_at(|_| Answer::Last(vec![0x15, 3, 1, 0, 2, 2, 70])).await;
    let ConnectFailure::Handshake(text) = alert else { panic!("{alert:?}") };
    assert!(text.contains("not HTTP") && text.contains("https"), "{text}");
}

#[actix::test]
async fn a_path_is_requested_with_a_slash_unless_the_server_has_none() {
    for slash in [true, false] {
        let options = serde_json::json!({ "path": "/realtime/ws", "addTrailingSlash": slash });
        let server = node::start(Line::V4, &Config { options, ..Config::default() });
        let client = support::builder(server.url()).path("/realtime/ws").add_trailing_slash(slash);
        let client = client.start().unwrap();
        within(client.socket().ready()).await.unwrap();
    }
}

#[actix::test]
async fn a_server_without_websockets_is_told_from_others() {
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let options = serde_json::json!({ "transports": ["polling"] });
        let server = node::start(line, &Config { options, ..Config::default() });
        let client = support::client(server.url()).transports([Transport::WebSocket]);
        let failure = failure(client).await;
        assert_eq!(
            failure,
            ConnectFailure::NoWebsocket("Transport unknown".to_owned()),
            "{line:?}"
        );
        let text = failure.to_string();
        assert!(text.contains("allow HTTP long-polling"), "{text}");
    }
    // Servers in Python: with other transports, and in a mode that has no websockets.
    for (body, says) in [
        (r#""Invalid transport""#, Some("Invalid transport")),
        (r#""Bad Request""#, Some("Bad Request")),
        // The server does not matter.
        ("Bad Request", None),
        ("is the transport unknown?", None),
    ] {
        let length = body.len();
        let answer = format!("HTTP/1.1 400 BAD REQUEST\r\ncontent-length: {length}\r\n\r\n{body}");
        let failure = failure_at(move |_| Answer::Bytes(answer.clone().into_bytes())).await;
        let expected = match says {
            Some(says) => ConnectFailure::NoWebsocket(says.to_owned()),
            None => answered(400, body),
        };
        assert_eq!(failure, expected);
    }
}

/// What this server answers to a request with this line and these headers, up to the end of the connection.
fn answer_of(server: &node::Server, line: &str, headers: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

#[actix::test]
async fn the_refusals_of_the_protocol_are_known_by_their_codes() {
    use EngineRefusal::{
        BadHandshakeMethod, BadRequest, Forbidden, SessionUnknown, TransportUnknown,
        UnsupportedVersion,
    };
    const CLOSE: &str = "Connection: close\r\n";
    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const POLLING: [Transport; 1] = [Transport::Polling];
    const WEBSOCKET: [Transport; 1] = [Transport::WebSocket];
    // For requests that this client does not make, another server repeats what the official one says.
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let server = node::server(line);
        let eio = if line.is_old() { "EIO=3" } else { "EIO=4" };
        let mut cases = vec![
            ("GET", "transport=tin_can", CLOSE, TransportUnknown),
            ("GET", "transport=polling&sid=none", CLOSE, SessionUnknown),
            ("POST", "transport=polling", CLOSE, BadHandshakeMethod),
            ("GET", "transport=websocket", CLOSE, BadRequest),
            ("GET", "transport=websocket&sid=none", UPGRADE, SessionUnknown),
        ];
        if !line.is_old() {
            cases.push(("GET", "transport=polling&EIO=3", CLOSE, UnsupportedVersion));
        }
        for (method, query, headers, expected) in cases {
            let has_revision = query.contains("EIO");
            let eio = if has_revision { "x=1" } else { eio };
            let request = format!("{method} /socket.io/?{query}&{eio}");
            let answer = answer_of(server, &request, headers);
            let shown = String::from_utf8_lossy(&answer).into_owned();
            let code = format!(r#""code":{}"#, expected.code());
            assert!(headers == UPGRADE || shown.contains(&code), "{request}: {shown}");
            let raw = raw::start(move |_| Answer::Last(answer.clone()));
            let transports = if headers == UPGRADE { WEBSOCKET } else { POLLING };
            let failure = failure(support::client(raw.url()).transports(transports)).await;
            assert_eq!(failure, ConnectFailure::Engine(expected), "{shown}");
        }
    }
    // A server that has no polling, and one that wants another origin.
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        let options = serde_json::json!({ "transports": ["websocket"] });
        let server = node::start(line, &Config { options, ..Config::default() });
        let builder = support::client(server.url()).transports(POLLING);
        assert_eq!(failure(builder).await, ConnectFailure::Engine(TransportUnknown));
    }
    let options = serde_json::json!({ "origins": "http://good.test:*" });
    let server = node::start(Line::V2_5_1, &Config { options, ..Config::default() });
    let builder = support::client(server.url()).header("origin", "http://evil.test");
    assert_eq!(failure(builder.transports(POLLING)).await, ConnectFailure::Engine(Forbidden));
    // Who insists on the other revision learns that it is that. (By a websocket, the server says nothing.)
    let builder = support::client(node::server(Line::V4).url()).protocol(Protocol::Eio3);
    let unsupported = failure(builder.transports(POLLING)).await;
    let ConnectFailure::Unsupported { server, .. } = unsupported else { panic!("{unsupported:?}") };
    assert!(server.contains("Unsupported protocol version"), "{server}");
    // Others say these words as well.
    for (status, body) in [("403 Forbidden", "Forbidden"), ("404 Not Found", "Bad request")] {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let failure = failure_at(move |_| Answer::Bytes(answer.clone().into_bytes())).await;
        assert!(matches!(failure, ConnectFailure::Status { status: 403 | 404, .. }), "{failure:?}");
    }
    // With allowRequest, the text is of the application, or there is none; by a websocket without the code.
    for (status, body) in [
        ("403 Forbidden", r#"{"code":4,"message":"no token"}"#),
        ("403 Forbidden", r#"{"code":4,"message":"Forbidden"}"#),
        ("400 Bad Request", "Forbidden"),
    ] {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let failure = failure_at(move |_| Answer::Bytes(answer.clone().into_bytes())).await;
        assert_eq!(failure, ConnectFailure::Engine(Forbidden));
    }
}

#[actix::test]
async fn subprotocols_are_offered_and_only_one_of_them_is_accepted() {
    let server = Scripted::start();
    let client = support::client(server.url()).subprotocols(["b.v2", "a"]).start().unwrap();
    let peer = server.accept().await;
    let offered = peer.header("sec-websocket-protocol").unwrap();
    assert_eq!(offered.split(',').map(str::trim).collect::<Vec<_>>(), ["b.v2", "a"]);
    drop(client);
    // By polling, none is chosen.
    let builder = support::client(node::server(Line::V4).url()).subprotocols(["b.v2", "a"]);
    let client = within(builder.transports([Transport::Polling]).connect()).await.unwrap();
    assert_eq!(client.subprotocol(), None);
    // The official servers choose the first one, also for an upgrade.
    for line in [Line::V2_5_1, Line::V3_1_2, Line::V4] {
        for transports in [[Transport::WebSocket; 2], [Transport::Polling, Transport::WebSocket]] {
            let builder = support::client(node::server(line).url()).subprotocols(["b.v2", "a"]);
            let client = builder.transports(transports).start().unwrap();
            within(client.socket().ready()).await.unwrap();
            let is_websocket = || client.transport() == Some(Transport::WebSocket);
            eventually("a websocket", is_websocket).await;
            assert_eq!(client.subprotocol(), Some("b.v2"), "{line:?} {transports:?}");
        }
    }
    // What another one chooses.
    for (offered, chosen, is_taken) in [
        (&["a", "b"][..], Some("b"), true),
        (&["a", "b"], None, true),
        (&["a", "b"], Some("c"), false),
        (&["a", "b"], Some("A"), false),
        (&["a", "b"], Some("a, b"), false),
        (&[], Some("a"), false),
        (&[], None, true),
    ] {
        let server = raw::start(move |request| {
            let Answer::Bytes(welcome) = welcome_behind("", request) else { unreachable!() };
            let chosen = chosen.map(|name| format!("\r\nSec-WebSocket-Protocol: {name}\r\n"));
            let end = welcome.windows(2).position(|pair| pair == b"\r\n").unwrap();
            let (first, rest) = welcome.split_at(end);
            let chosen = chosen.unwrap_or_else(|| "\r\n".to_owned());
            Answer::Bytes([first, chosen.as_bytes(), &rest[2..]].concat())
        });
        let builder = support::client(server.url()).subprotocols(offered.iter().copied());
        let client = builder.reconnect(Reconnect::never()).start().unwrap();
        let ready = within(client.socket().ready()).await;
        match (ready, is_taken) {
            (Ok(_), true) => assert_eq!(client.subprotocol(), chosen),
            (Err(error), false) => {
                assert!(error.to_string().contains("subprotocols"), "{error}");
            }
            (ready, _) => panic!("{offered:?} {chosen:?}: {ready:?}"),
        }
    }
}

#[actix::test]
async fn who_waits_learns_at_once_of_a_handshake_that_is_too_large() {
    for transports in [&[Transport::WebSocket][..], &[Transport::Polling]] {
        let builder = support::client(node::server(Line::V4).url()).max_message_size(50);
        let builder = builder.transports(transports.iter().copied()).reconnect(quick());
        let client = builder.start().unwrap();
        let error = within(client.socket().ready()).await.unwrap_err();
        let reason = Reason::Connect(ConnectFailure::TooLarge { limit: 50 });
        assert_eq!(error, ReadyError::Failing(reason));
    }
}

#[actix::test]
async fn of_two_transports_that_fail_the_one_is_told_that_got_an_answer() {
    // No answer to polls.
    let server = raw::start(|head| {
        if head.contains("transport=polling") {
            return Answer::Last(Vec::new());
        }
        Answer::Last(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n".to_vec())
    });
    let both = [Transport::WebSocket, Transport::Polling];
    let builder = support::client(server.url()).transports(both);
    assert_eq!(failure(builder).await, answered(502, ""));
}

#[actix::test]
async fn what_a_server_says_that_refuses_is_told_and_logged_escaped_and_cut() {
    logged::start();
    let page = "<!DOCTYPE html><html><head>\n<Title>\n502 Bad Gateway</TITLE></head>s3cret</html>";
    let long = "x".repeat(100_000);
    let cut = format!("\"{}…\"", "x".repeat(200));
    let list = r#"["no",{"key":"s3cret"}]"#;
    let object = r#"{"message":"no","token":"s3cret"}"#;
    let chunks = "4\r\nsay \r\n2\r\nno\r\n0\r\n\r\n";
    let sized = |body: &str, more: usize| format!("content-length: {}\r\n", body.len() + more);
    let nothing = "403: does it want a header? (options header, headers_with); no further";
    for (headers, body, expected) in [
        (sized("not\nfor you", 0), "not\nfor you", r#""not\nfor you""#),
        ("transfer-encoding: chunked\r\n".to_owned(), chunks, r#""say no""#),
        // It promises more than it sends.
        (sized("half of it", 1), "half of it", r#""half of it""#),
        (sized(&long, 1_000_000), &long, &cut),
        (sized(page, 0), page, r#""502 Bad Gateway""#),
        // In all but the message it may repeat credentials, whether all of it has come or not.
        (sized(list, 0), list, r#""no""#),
        (sized(list, 1), list.trim_end_matches(']'), nothing),
        (sized(object, 0), object, r#""no""#),
        (sized(object, 1), object.trim_end_matches('}'), nothing),
        // None of these has a body, whatever comes.
        (sized("", 0), "s3cret", nothing),
        (String::new(), "s3cret", nothing),
        (sized("s3cret", 0) + "upgrade: websocket\r\n", "s3cret", nothing),
    ] {
        let answer = format!("HTTP/1.1 403 Forbidden\r\n{headers}\r\n{body}");
        // A server may get the port of one before it.
        let before = logged::lines_at(log::Level::Warn).len();
        let server = raw::start(move |_| Answer::Bytes(answer.clone().into_bytes()));
        let failure = failure(support::client(server.url())).await;
        let ConnectFailure::Status { status: 403, says } = &failure else { panic!("{failure:?}") };
        assert_eq!(says.is_none(), expected == nothing, "{body}: {failure}");
        assert!(expected == nothing || failure.to_string().contains(expected), "{failure}");
        let lines = logged::lines_at(log::Level::Warn).split_off(before);
        let begin =
            format!("{0}: no connection to http://{0}/", server.url().replace("http://", ""));
        let line = lines.iter().find(|line| line.starts_with(&begin)).unwrap();
        assert!(line.contains(expected) && line.len() < 500, "{body}: {line}");
    }
    assert!(!logged::lines().concat().contains("s3cret"));
}

#[actix::test]
async fn the_log_of_a_link_that_fails_begins_with_a_warning_and_names_it() {
    logged::start();
    let server = Scripted::start();
    for status in [503, 503, 503, 401] {
        server.refuse_next(status, "busy");
    }
    let builder = support::client(server.url()).path("/live/").query("token", "s3cret");
    let client = builder.header("authorization", "s3cret").reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    server.accept().await.greet().await;
    for _ in 0..4 {
        recorder.next_reconnecting().await;
    }
    recorder.next_ready().await;

    let link = format!("127.0.0.1:{}", server.port());
    let url = format!("{link}: no connection to {}/live/: ", server.url());
    let of = |level, begin: &str| {
        let lines = logged::lines_at(level).into_iter();
        lines.filter(|line| line.starts_with(begin)).collect::<Vec<_>>()
    };
    let warnings = of(log::Level::Warn, &url);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let parts = ["HTTP status 503", "(it says \"busy\")", "; retry 1 in "];
    assert!(parts.iter().all(|part| warnings[0].contains(part)), "{warnings:?}");
    assert_eq!(of(log::Level::Debug, &url).len(), 2);
    let changes = of(log::Level::Info, &url);
    assert!(changes.len() == 1 && changes[0].contains("HTTP status 401"), "{changes:?}");
    let back = of(log::Level::Info, &format!("{link}: connected after 4 failed attempts"));
    assert_eq!(back.len(), 1, "{:?}", logged::lines());
    assert_eq!(of(log::Level::Info, &format!("{link}/: joined")).len(), 1);
    for line in logged::lines() {
        assert!(line.contains(&link) && !line.contains("s3cret"), "{line}");
    }

    // It was up: the next one to fail is the first of another row.
    drop(server);
    recorder.next_disconnected().await;
    for _ in 0..3 {
        recorder.next_reconnecting().await;
    }
    assert_eq!(of(log::Level::Warn, &url).len(), 2, "{:?}", logged::lines());
}

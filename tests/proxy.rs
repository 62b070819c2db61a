//! Proxies on the way to the server: those of the tests, and real ones where they are installed.

// A test fails by panicking, and waits by the real clock.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    env, fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use actix_socketio::{
    BuildError, Client, ClientBuilder, ConnectFailure, DialLimiter, IpFamily, Proxy, ProxyFailure,
    ReadyError, Reason, Reconnect, StartError, TlsFailure, Transport,
    tls::{Tls, rustls::version},
};
use bytes::Bytes;
use support::{
    eventually,
    every::within,
    installed::Installed,
    logged,
    node::{self, Config, Line},
    oxide,
    proxy::Proxy as Network,
    raw::{self, Answer, Raw},
    recorder::Recorder,
    reserved::Port,
    tls::{Authority, Certificate, Front},
    tunnel::{Kind, LOGIN, LOGIN_IN_URL, Tunnel},
};

const OFFICIAL: [Line; 3] = [Line::V2_5_1, Line::V3_1_2, Line::V4];
const WEBSOCKET: &[Transport] = &[Transport::WebSocket];
const POLLING: &[Transport] = &[Transport::Polling];
const UPGRADE: &[Transport] = &[Transport::Polling, Transport::WebSocket];

fn through(url: &str, proxy: &str) -> ClientBuilder {
    support::builder(url).proxy(Proxy::new(proxy))
}

/// Joins, and gets an answer.
async fn talk(builder: ClientBuilder, transports: &[Transport]) -> Client {
    let builder = builder.transports(transports.iter().copied());
    let client = within(builder.connect()).await.unwrap();
    let answer = within(client.socket().emit_with_ack("echo", ("through", "it"))).await;
    let answer: (String, String) = answer.unwrap();
    assert_eq!(answer, ("through".to_owned(), "it".to_owned()));
    if transports == UPGRADE {
        eventually("an upgrade", || client.transport() == Some(Transport::WebSocket)).await;
    }
    client
}

/// Why there is no connection: the name of the proxy, and what is wrong.
async fn failure(builder: ClientBuilder) -> (String, ProxyFailure) {
    let client = builder.start().unwrap();
    match Recorder::of(client.socket()).next_connect_error().await {
        Reason::Connect(ConnectFailure::Proxy { proxy, failure }) => (proxy, failure),
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn each_transport_passes_each_kind_of_proxy_and_the_proxy_resolves_names() {
    let other = oxide::start();
    let mut ports: Vec<u16> = OFFICIAL.iter().map(|line| node::server(*line).port()).collect();
    ports.push(other.port());
    for (kind, asks) in
        [(Kind::Http, false), (Kind::Http, true), (Kind::Socks, false), (Kind::Socks, true)]
    {
        let tunnel = Tunnel::start(kind, asks);
        for port in &ports {
            for transports in [WEBSOCKET, POLLING, UPGRADE] {
                let before = tunnel.targets().len();
                for host in ["server.test", "127.0.0.1"] {
                    let url = format!("http://{host}:{port}");
                    talk(through(&url, &tunnel.url()), transports).await;
                    let targets = tunnel.targets().split_off(before);
                    assert!(targets.contains(&format!("{host}:{port}")), "{kind:?}: {targets:?}");
                }
            }
        }
    }
}

#[actix::test]
async fn tls_is_spoken_with_the_server_itself() {
    let authority = Authority::new("test");
    let tls = authority.sign(&["server.test"]).node();
    let server = node::start(Line::V4, &Config { tls, ..Config::default() });
    let trusting = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
    let url = format!("https://server.test:{}", server.port());
    for kind in [Kind::Http, Kind::Socks] {
        let tunnel = Tunnel::start(kind, true);
        for transports in [WEBSOCKET, POLLING, UPGRADE] {
            talk(through(&url, &tunnel.url()).tls(trusting.clone()), transports).await;
        }
        // A failure of the server is not reported as one of the proxy.
        let stranger = Tls::new().add_ca_pem(Authority::new("other").pem()).only_added_cas();
        let client = through(&url, &tunnel.url()).tls(stranger).start().unwrap();
        let reason = Recorder::of(client.socket()).next_connect_error().await;
        assert!(matches!(reason, Reason::Connect(ConnectFailure::Tls(_))), "{reason:?}");
    }
}

/// An HTTP proxy that speaks TLS, and its URL.
fn behind_tls(certificate: &Certificate, asks: bool) -> (Tunnel, Front, String) {
    let tunnel = Tunnel::start(Kind::Http, asks);
    let front = Front::start(tunnel.port(), certificate);
    let url = format!("https://{}127.0.0.1:{}", if asks { LOGIN_IN_URL } else { "" }, front.port());
    (tunnel, front, url)
}

#[actix::test]
async fn tls_is_spoken_with_a_proxy_and_within_that_with_the_server() {
    let authority = Authority::new("test");
    let tls = authority.sign(&["server.test"]).node();
    let server = node::start(Line::V4, &Config { tls, ..Config::default() });
    let plain = node::server(Line::V2_5_1);
    let trusting = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
    for asks in [false, true] {
        let (tunnel, _front, proxy) = behind_tls(&authority.sign(&["127.0.0.1"]), asks);
        for transports in [WEBSOCKET, POLLING, UPGRADE] {
            for url in [plain.url(), format!("https://server.test:{}", server.port())] {
                let before = tunnel.targets().len();
                talk(through(&url, &proxy).tls(trusting.clone()), transports).await;
                let (_, target) = url.split_once("://").unwrap();
                assert!(tunnel.targets()[before..].contains(&target.to_owned()), "{url}");
            }
        }
    }
    // The name that is set is that of the server alone.
    let (_tunnel, _front, proxy) = behind_tls(&authority.sign(&["127.0.0.1"]), false);
    let url = format!("https://127.0.0.1:{}", server.port());
    talk(through(&url, &proxy).tls(trusting.server_name("server.test")), WEBSOCKET).await;
}

#[actix::test]
async fn much_passes_each_way_through_tls_in_tls() {
    let authority = Authority::new("test");
    let tls = authority.sign(&["server.test"]).node();
    let server = node::start(Line::V4, &Config { tls, ..Config::default() });
    let (_tunnel, _front, proxy) = behind_tls(&authority.sign(&["127.0.0.1"]), false);
    let url = format!("https://server.test:{}", server.port());
    let trusting = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
    for transports in [WEBSOCKET, POLLING] {
        let client = talk(through(&url, &proxy).tls(trusting.clone()), transports).await;
        let much = Bytes::from(vec![7; 700_000]);
        for _ in 0..5 {
            let back = within(client.socket().emit_with_ack::<Bytes>("echo", &much)).await;
            assert_eq!(back.unwrap(), much);
        }
    }
}

#[actix::test]
async fn what_is_wrong_with_tls_to_a_proxy_is_told_of_the_proxy() {
    let (authority, stranger) = (Authority::new("test"), Authority::new("other"));
    let trusting = || Tls::new().add_ca_pem(authority.pem()).only_added_cas();
    let good = authority.sign(&["127.0.0.1"]);
    let server = node::server(Line::V4).url();
    for (certificate, expected, words) in [
        (stranger.sign(&["127.0.0.1"]), TlsFailure::UnknownIssuer, "the proxy's certificate comes"),
        (
            authority.sign(&["a.test"]),
            TlsFailure::WrongName {
                expected: "127.0.0.1".to_owned(),
                names: vec!["a.test".to_owned()],
            },
            "the proxy's certificate is not for \"127.0.0.1\": it has \"a.test\"",
        ),
        (
            authority.sign_expired(&["127.0.0.1"]),
            TlsFailure::Expired { since: Some("Wed, 01 Jan 2020 00:00:00 GMT".to_owned()) },
            "the proxy's certificate has expired",
        ),
    ] {
        let (_tunnel, front, url) = behind_tls(&certificate, false);
        for transports in [WEBSOCKET, POLLING] {
            let builder = through(&server, &url).tls(trusting()).transports(transports.to_vec());
            let (proxy, failed) = failure(builder).await;
            assert_eq!(proxy, format!("127.0.0.1:{}", front.port()));
            assert_eq!(failed, ProxyFailure::Tls(expected.clone()));
            let text = failed.to_string();
            assert!(text.contains(words) && !text.contains("server"), "{text}");
        }
    }
    // A proxy without TLS; a proxy with TLS that is taken for one without; a fault of the server behind it.
    let (plain, _) = closing_socks(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let url = format!("https://{}", plain.authority());
    let failed = failure(through(&server, &url).tls(trusting())).await.1;
    // Its answer may be lost with the connection.
    let is_told = [ProxyFailure::Tls(TlsFailure::NotTls), ProxyFailure::NoAnswer].contains(&failed);
    assert!(is_told, "{failed:?}");
    let (_tunnel, front, url) = behind_tls(&good, false);
    let taken = failure(through(&server, &format!("http://127.0.0.1:{}", front.port()))).await.1;
    assert!(taken.to_string().contains("https://"), "{taken}");
    let tls = stranger.sign(&["server.test"]).node();
    let untrusted = node::start(Line::V4, &Config { tls, ..Config::default() });
    let target = format!("https://server.test:{}", untrusted.port());
    let client = through(&target, &url).tls(trusting()).start().unwrap();
    let reason = Recorder::of(client.socket()).next_connect_error().await;
    let expected = Reason::Connect(ConnectFailure::Tls(TlsFailure::UnknownIssuer));
    assert_eq!(reason, expected);
    // It wants a certificate of the client, and says so in the handshake or behind it.
    for spoken in [&version::TLS12, &version::TLS13] {
        let tunnel = Tunnel::start(Kind::Http, false);
        let front = Front::asking(tunnel.port(), &good, spoken, &authority);
        let url = format!("https://127.0.0.1:{}", front.port());
        let failed = failure(through(&server, &url).tls(trusting())).await.1;
        let text = failed.to_string();
        assert!(text.contains("Tls::client_certificate"), "{spoken:?}: {failed:?}");
        let own = authority.sign(&["client"]);
        let tls = trusting().client_certificate(own.chain, own.key);
        talk(through(&server, &url).tls(tls), WEBSOCKET).await;
    }
}

#[actix::test]
async fn a_proxy_with_tls_needs_options_of_tls_that_can_be_used() {
    let broken = Tls::new().add_ca_pem("no certificate");
    let builder = || support::builder("http://server.test").tls(broken.clone());
    builder().start().unwrap();
    builder().proxy(Proxy::new("http://p.test")).start().unwrap();
    let error = builder().proxy(Proxy::new("https://p.test")).start().unwrap_err();
    assert!(matches!(error, BuildError::Tls { option: "add_ca_pem", .. }), "{error:?}");
}

#[actix::test]
async fn much_passes_each_way() {
    const COUNT: u64 = 10_000;
    let server = node::server(Line::V4);
    for kind in [Kind::Http, Kind::Socks] {
        let tunnel = Tunnel::start(kind, false);
        let builder = through(&server.url(), &tunnel.url()).send_buffer(20_000, 16 << 20);
        let client = builder.start().unwrap();
        let socket = client.socket();
        let mut recorder = Recorder::of(socket);
        recorder.next_ready().await;
        let stream = tunnel.url();
        socket.emit("burst", COUNT).unwrap();
        for number in 0..COUNT {
            socket.emit("record", (&stream, number)).unwrap();
        }
        recorder.burst(COUNT).await;
        let _: String = within(socket.emit_with_ack("echo", "last")).await.unwrap();
        assert_eq!(server.recorded(&stream), (0..COUNT).collect::<Vec<_>>());
    }
}

#[actix::test]
async fn a_lost_connection_is_made_again_through_the_proxy() {
    let server = node::server(Line::V4);
    for kind in [Kind::Http, Kind::Socks] {
        let tunnel = Tunnel::start(kind, false);
        let network = Network::start(tunnel.port());
        let proxy = format!("{}://127.0.0.1:{}", tunnel.scheme(), network.port());
        let client = through(&server.url(), &proxy).reconnect(quick()).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        recorder.next_ready().await;
        network.cut();
        recorder.next_disconnected().await;
        recorder.ready_after_attempts().await;
        assert_eq!(tunnel.targets().len(), 2);
    }
}

/// An HTTP proxy that gives this answer to each request, and closes.
fn answering(answer: &str) -> (Raw, &'static str) {
    let answer = answer.to_owned();
    (raw::start(move |_| Answer::Last(answer.clone().into_bytes())), "http")
}

fn answering_socks(answer: &'static [u8]) -> (Raw, &'static str) {
    // Without an end: what the client still says would make it a reset.
    (raw::start_at_once(move || Answer::Bytes(answer.to_vec())), "socks5")
}

fn closing_socks(answer: &'static [u8]) -> (Raw, &'static str) {
    (raw::start_at_once(move || Answer::Last(answer.to_vec())), "socks5")
}

#[actix::test]
async fn each_refusal_names_the_proxy_and_says_what_to_do() {
    let page = "HTTP/1.1 403 Forbidden\r\nServer: squid\r\nContent-Type: text/html\r\n\r\n\
                <!DOCTYPE html><html><head><title>Not at work</title></head>";
    let says = |says: &str| Some(says.to_owned());
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(8 << 20));
    let huge_page = format!("{page}{}", "x".repeat(8 << 20));
    let denied = || ProxyFailure::Status { status: 403, says: says("Not at work") };
    let unreachable = || ProxyFailure::Status { status: 503, says: None };
    let basic = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\n\r\n";
    let ntlm = "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\n\r\n";
    let not_found = || ProxyFailure::Status { status: 404, says: says("Cannot CONNECT") };
    for ((proxy, scheme), expected, words) in [
        (answering(basic), ProxyFailure::CredentialsRequired, "user:password@"),
        (answering(ntlm), ProxyFailure::UnsupportedAuth("NTLM".to_owned()), "only Basic"),
        (answering(page), denied(), "403 (\"Not at work\"): it does not allow this server"),
        (answering(&huge_page), denied(), "port 443 only"),
        (answering("HTTP/1.1 503 X\r\n\r\n"), unreachable(), "can it reach the server?"),
        (answering("HTTP/1.1 404 X\r\n\r\nCannot CONNECT"), not_found(), "is it a proxy"),
        (answering(""), ProxyFailure::NoAnswer, "HTTP proxy (http://) or a SOCKS proxy"),
        (answering("HTTP/1.1 200 Conn"), ProxyFailure::NoAnswer, "without a whole answer"),
        (
            answering(&huge),
            ProxyFailure::Malformed("its headers have more than 8192 bytes".to_owned()),
            "headers",
        ),
        ((raw::start(|_| Answer::Reset), "http"), ProxyFailure::NoAnswer, "closed"),
        (answering_socks(&[5, 0xff]), ProxyFailure::CredentialsRequired, "user:password@"),
        (closing_socks(&[]), ProxyFailure::NoAnswer, "SOCKS proxy (socks5://)?"),
        (closing_socks(&[5]), ProxyFailure::NoAnswer, "closed"),
        (
            answering_socks(&[5, 0, 5, 4, 0, 1, 0, 0, 0, 0, 0, 0]),
            ProxyFailure::Socks(4),
            "the host is unreachable (SOCKS code 4)",
        ),
        (
            answering_socks(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            ProxyFailure::Malformed("it seems to speak HTTP: write http://".to_owned()),
            "write http://",
        ),
    ] {
        let url = format!("{scheme}://{}", proxy.authority());
        for transports in [WEBSOCKET, POLLING] {
            let builder = through("http://server.test", &url).transports(transports.to_vec());
            let (name, failure) = failure(builder).await;
            assert_eq!(failure, expected);
            assert_eq!(name, proxy.authority());
            assert!(failure.to_string().contains(words), "{failure}");
        }
        let error = within(through("http://server.test", &url).connect()).await.unwrap_err();
        assert!(
            error.to_string().contains(&format!("the proxy {} ", proxy.authority())),
            "{error}"
        );
    }
}

#[actix::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    logged::start();
    for (kind, url) in [(Kind::Http, "http"), (Kind::Socks, "socks5")] {
        let tunnel = Tunnel::start(kind, true);
        let none = format!("{url}://{}", tunnel.authority());
        let (_, missing) = failure(through("http://server.test", &none)).await;
        assert_eq!(missing, ProxyFailure::CredentialsRequired);
        let wrong = format!("{url}://me:s3cre7@{}", tunnel.authority());
        let builder = through("http://server.test", &wrong);
        assert!(!format!("{builder:?}").contains("s3cre7"), "{builder:?}");
        let (_, refused) = failure(builder).await;
        assert_eq!(refused, ProxyFailure::CredentialsRefused);
        assert!(!refused.to_string().contains("s3cre7"));
        talk(through(&node::server(Line::V4).url(), &tunnel.url()), WEBSOCKET).await;
    }
    let lines = logged::lines();
    assert!(lines.iter().any(|line| line.contains("does not accept the user")), "{lines:?}");
    for secret in ["s3cre7", "s3cret", LOGIN.1] {
        assert!(!lines.iter().any(|line| line.contains(secret)), "{lines:?}");
    }
}

#[actix::test]
async fn a_proxy_that_is_not_there_is_told_from_a_server_that_is_not_there() {
    let port = Port::reserve();
    let closed = port.number();
    for kind in [Kind::Http, Kind::Socks] {
        let tunnel = Tunnel::start(kind, false);
        let dead = format!("{}://127.0.0.1:{closed}", tunnel.scheme());
        let (name, failed) = failure(through("http://server.test", &dead)).await;
        assert_eq!(name, format!("127.0.0.1:{closed}"));
        assert!(matches!(failed, ProxyFailure::Unreachable(_)), "{failed:?}");
        assert!(failed.to_string().contains("refused"), "{failed}");
        let unknown = format!("{}://proxy.invalid", tunnel.scheme());
        let (name, failed) = failure(through("http://server.test", &unknown)).await;
        assert!(name.starts_with("proxy.invalid:"), "{name}");
        assert!(matches!(failed, ProxyFailure::UnknownHost(_)), "{failed:?}");
        let server = format!("http://server.test:{closed}");
        let (name, failed) = failure(through(&server, &tunnel.url())).await;
        assert_eq!(name, tunnel.authority());
        let expected = match kind {
            Kind::Http => ProxyFailure::Status { status: 503, says: None },
            Kind::Socks => ProxyFailure::Socks(5),
        };
        assert_eq!(failed, expected);
        // Its own addresses are the ones that the options are about.
        let none = through(&server, &tunnel.url()).ip_family(IpFamily::V6);
        let (_, failed) = failure(none).await;
        assert!(failed.to_string().contains("ip_family"), "{failed}");
    }
}

#[actix::test]
async fn a_proxy_that_is_slow_or_mute_is_named_before_the_time_is_up() {
    let mute = raw::start(|_| Answer::Bytes(Vec::new()));
    // A byte now and then, for ever.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let slow = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").ok();
                while stream.write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    for (url, authority) in [
        (format!("http://{}", mute.authority()), mute.authority()),
        (format!("socks5://{}", mute.authority()), mute.authority()),
        (format!("http://{slow}"), slow.to_string()),
    ] {
        for transports in [WEBSOCKET, POLLING] {
            let builder = through("http://server.test", &url)
                .transports(transports.to_vec())
                .connect_timeout(Duration::from_millis(400));
            assert_eq!(failure(builder).await, (authority.clone(), ProxyFailure::TimedOut));
        }
    }
}

/// A short delay for what may go away by itself, and a long one for what does not.
fn quick() -> Reconnect {
    Reconnect::default()
        .delay(Duration::from_millis(10), Duration::from_secs(600))
        .jitter(0.0)
        .limiter(DialLimiter::unlimited())
}

#[actix::test]
async fn a_proxy_that_will_not_let_the_client_pass_is_not_asked_again_soon() {
    for ((proxy, scheme), lasts) in [
        (answering("HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\n\r\n"), true),
        (answering("HTTP/1.1 403 X\r\n\r\n"), true),
        (answering("SSH-2.0-OpenSSH_9.2\r\n"), true),
        (answering_socks(&[5, 0xff]), true),
        (answering_socks(&[5, 0, 5, 2, 0, 1]), true),
        (answering("HTTP/1.1 503 X\r\n\r\n"), false),
        (answering_socks(&[5, 0, 5, 5, 0, 1]), false),
        (answering(""), false),
    ] {
        let url = format!("{scheme}://{}", proxy.authority());
        let client = through("http://server.test", &url).reconnect(quick()).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        let next = recorder.next_reconnecting().await;
        let expected = if lasts { Duration::from_secs(600) } else { Duration::from_millis(10) };
        assert_eq!(next.delay(), expected, "{}", next.reason());
        // A caller that waits gets the reason, at once or after a few attempts.
        let error = within(client.socket().ready()).await.unwrap_err();
        assert_eq!(error, ReadyError::Failing(next.reason().clone()));
    }
}

/// Runs the test of this name, which is ignored otherwise, in a process of its own with these
/// variables, and no others about proxies.
fn with_variables(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{variables:?}: {said}");
}

#[actix::test]
async fn the_environment_names_the_proxy_if_it_is_asked() {
    let server = node::server(Line::V4);
    let url = format!("http://server.test:{}", server.port());
    for kind in [Kind::Http, Kind::Socks] {
        let tunnel = Tunnel::start(kind, true);
        let proxy = tunnel.url();
        for variables in [
            &[("HTTP_PROXY", &*proxy)][..],
            &[("http_proxy", &proxy), ("HTTPS_PROXY", "http://127.0.0.1:1")],
            &[("all_proxy", &proxy), ("NO_PROXY", "other.test")],
        ] {
            let before = tunnel.targets().len();
            let variables = [variables, &[("PROXY_TEST_URL", &url)]].concat();
            with_variables("where_the_environment_has_a_proxy", &variables);
            assert!(tunnel.targets().len() > before, "{variables:?}");
        }
        let before = tunnel.targets().len();
        let local = [("ALL_PROXY", &*proxy), ("PROXY_TEST_URL", &server.url())];
        let exempt = [&local[..], &[("NO_PROXY", "127.0.0.0/8")]].concat();
        with_variables("where_the_environment_has_a_proxy", &exempt);
        with_variables("where_nobody_asks_the_environment", &local);
        assert_eq!(tunnel.targets().len(), before);
    }
    with_variables("where_the_environment_has_no_usable_proxy", &[("ALL_PROXY", "ftp://s3cret")]);
}

#[ignore = "it is run by the_environment_names_the_proxy_if_it_is_asked"]
#[actix::test]
async fn where_the_environment_has_a_proxy() {
    let url = env::var("PROXY_TEST_URL").unwrap();
    for transports in [WEBSOCKET, POLLING] {
        talk(support::builder(&url).proxy(Proxy::from_env()), transports).await;
    }
}

#[ignore = "it is run by the_environment_names_the_proxy_if_it_is_asked"]
#[actix::test]
async fn where_nobody_asks_the_environment() {
    talk(support::builder(env::var("PROXY_TEST_URL").unwrap()), WEBSOCKET).await;
}

#[ignore = "it is run by the_environment_names_the_proxy_if_it_is_asked"]
#[actix::test]
async fn where_the_environment_has_no_usable_proxy() {
    let builder = support::builder("http://server.test").proxy(Proxy::from_env());
    let error = builder.connect().await.unwrap_err();
    let StartError::Build(error) = error else { panic!("{error:?}") };
    let error = error.to_string();
    assert!(error.starts_with("option proxy: the variable ALL_PROXY: its scheme"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}

/// A proxy as the system's packages install it.
async fn real(program: &str, arguments: impl Fn(u16, &Path) -> Vec<String>) -> Option<Installed> {
    Installed::start(program, "REQUIRE_PROXIES", arguments).await
}

/// Everything that passes a real proxy, over each transport, with and without TLS.
async fn passes(proxy: &str) {
    let authority = Authority::new("test");
    let tls = authority.sign(&["127.0.0.1"]).node();
    let secured = node::start(Line::V4, &Config { tls, ..Config::default() });
    for transports in [WEBSOCKET, POLLING, UPGRADE] {
        for line in OFFICIAL {
            talk(through(&node::server(line).url(), proxy), transports).await;
        }
        let trusting = Tls::new().add_ca_pem(authority.pem()).only_added_cas();
        talk(through(&secured.url(), proxy).tls(trusting), transports).await;
    }
}

#[actix::test]
async fn tinyproxy_lets_pass_and_refuses() {
    let config = |more: &'static str| {
        move |port: u16, directory: &Path| {
            let file = directory.join("tinyproxy.conf");
            fs::write(&file, format!("Port {port}\nListen 127.0.0.1\nTimeout 600\n{more}\n"))
                .unwrap();
            vec!["-d".to_owned(), "-c".to_owned(), file.to_str().unwrap().to_owned()]
        }
    };
    let Some(open) = real("tinyproxy", config("")).await else { return };
    passes(&open.url("http", "")).await;
    let (name, failed) = failure(through("http://127.0.0.1:1", &open.url("http", ""))).await;
    assert_eq!(name, open.authority());
    let ProxyFailure::Status { status: 500..=504, says: Some(_) } = failed else {
        panic!("{failed:?}")
    };
    let asking = real("tinyproxy", config("BasicAuth me pw")).await;
    let asking = asking.unwrap();
    passes(&asking.url("http", "me:pw@")).await;
    for (login, expected) in
        [("", ProxyFailure::CredentialsRequired), ("me:no@", ProxyFailure::CredentialsRefused)]
    {
        let url = asking.url("http", login);
        assert_eq!(failure(through("http://127.0.0.1:1", &url)).await.1, expected);
    }
}

#[actix::test]
async fn squid_lets_pass_and_refuses() {
    let config = |port: u16, directory: &Path| {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        // The hash of "pw".
        fs::write(path("users"), "me:$apr1$saltsalt$x78Y39ym2RjUNQHTLgwHz/\n").unwrap();
        let text = format!(
            "http_port 127.0.0.1:{port}\n\
             auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
             acl users proxy_auth REQUIRED\nacl no_port port 9\n\
             http_access deny no_port\nhttp_access allow users\nhttp_access deny all\n\
             pid_filename none\ncache_log /dev/null\naccess_log none\ncache deny all\n\
             netdb_filename none\ncoredump_dir {}\nshutdown_lifetime 0 seconds\n",
            path("users"),
            directory.display(),
        );
        fs::write(path("squid.conf"), text).unwrap();
        vec!["-N".to_owned(), "-f".to_owned(), path("squid.conf")]
    };
    let Some(squid) = real("squid", config).await else { return };
    passes(&squid.url("http", "me:pw@")).await;
    for (login, expected) in
        [("", ProxyFailure::CredentialsRequired), ("me:no@", ProxyFailure::CredentialsRefused)]
    {
        let url = squid.url("http", login);
        assert_eq!(failure(through("http://127.0.0.1:1", &url)).await.1, expected);
    }
    let url = squid.url("http", "me:pw@");
    for (server, status) in [("http://127.0.0.1:9", 403), ("http://127.0.0.1:1", 503)] {
        let (_, failed) = failure(through(server, &url)).await;
        let ProxyFailure::Status { status: found, says: Some(title) } = &failed else {
            panic!("{failed:?}")
        };
        assert_eq!((*found, title.contains("could not be retrieved")), (status, true), "{failed}");
    }
}

#[actix::test]
async fn microsocks_lets_pass_and_refuses() {
    let arguments = |more: &'static str| {
        move |port: u16, _: &Path| {
            let all = format!("-i 127.0.0.1 -p {port} {more}");
            all.split_whitespace().map(str::to_owned).collect()
        }
    };
    let Some(open) = real("microsocks", arguments("")).await else { return };
    passes(&open.url("socks5", "")).await;
    let (name, failed) = failure(through("http://127.0.0.1:1", &open.url("socks5h", ""))).await;
    assert_eq!((name, failed), (open.authority(), ProxyFailure::Socks(5)));
    let unknown = failure(through("http://server.invalid", &open.url("socks5", ""))).await.1;
    assert!(matches!(unknown, ProxyFailure::Socks(1 | 4)), "{unknown:?}");
    let asking = real("microsocks", arguments("-u me -P pw")).await.unwrap();
    passes(&asking.url("socks5", "me:pw@")).await;
    for (login, expected) in
        [("", ProxyFailure::CredentialsRequired), ("me:no@", ProxyFailure::CredentialsRefused)]
    {
        let url = asking.url("socks5", login);
        assert_eq!(failure(through("http://127.0.0.1:1", &url)).await.1, expected);
    }
}

//! TLS: servers that are reached through it, and the errors for those that are not.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use actix_socketio::{
    Client, ClientBuilder, ConnectFailure, DialLimiter, ReadyError, Reason, Reconnect, StartError,
    TlsFailure,
    tls::{
        Tls,
        rustls::{
            ClientConfig, RootCertStore, crypto,
            pki_types::{CertificateDer, pem::PemObject},
            version,
        },
    },
};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use support::{
    every::within,
    logged,
    node::{self, Config, Line, Server},
    oxide,
    proxy::Proxy,
    raw::{self, Answer},
    recorder::Recorder,
    scripted::Scripted,
    tls::{Authority, Certificate, Front},
};

const OFFICIAL: [Line; 3] = [Line::V2_5_1, Line::V3_1_2, Line::V4];

fn secured(line: Line, tls: Value) -> Server {
    node::start(line, &Config { tls, ..Config::default() })
}

fn trusting(authority: &Authority) -> Tls {
    Tls::new().add_ca_pem(authority.pem())
}

fn client(url: &str, tls: Tls) -> ClientBuilder {
    support::builder(url).tls(tls)
}

/// Joins, and gets an answer.
async fn talk(builder: ClientBuilder) -> Client {
    let client = within(builder.connect()).await.unwrap();
    let answer = client.socket().emit_with_ack("echo", ("over", "TLS"));
    let answer: (String, String) = within(answer).await.unwrap();
    assert_eq!(answer, ("over".to_owned(), "TLS".to_owned()));
    client
}

/// Why there is no TLS session.
async fn failure(builder: ClientBuilder) -> TlsFailure {
    match obstacle(builder).await {
        ConnectFailure::Tls(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// Why there is no connection.
async fn obstacle(builder: ClientBuilder) -> ConnectFailure {
    let client = builder.reconnect(Reconnect::never()).start().unwrap();
    match Recorder::of(client.socket()).next_connect_error().await {
        Reason::Connect(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn https_and_wss_reach_servers_by_name_and_by_address() {
    let authority = Authority::new("test");
    let certificate = authority.sign(&["localhost", "127.0.0.1"]);
    let official = OFFICIAL.map(|line| secured(line, certificate.node()));
    let other = oxide::start();
    let front = Front::start(other.port(), &certificate);
    let mut ports: Vec<u16> = official.iter().map(Server::port).collect();
    ports.push(front.port());
    let tls = trusting(&authority);
    for port in ports {
        for url in [format!("https://localhost:{port}"), format!("wss://127.0.0.1:{port}")] {
            let client = talk(client(&url, tls.clone())).await;
            within(client.shutdown(Duration::from_secs(5))).await;
        }
    }
}

#[actix::test]
async fn the_name_of_the_server_can_be_another_than_the_host_of_the_url() {
    let authority = Authority::new("test");
    let server = secured(Line::V4, authority.sign(&["realtime.test", "10.1.2.3"]).node());
    for name in ["realtime.test", "10.1.2.3"] {
        let client = talk(client(&server.url(), trusting(&authority).server_name(name))).await;
        let handshake = within(client.socket().emit_with_ack("handshake", ())).await;
        let handshake: Value = handshake.unwrap();
        // It is for TLS only.
        assert_eq!(handshake["headers"]["host"], format!("127.0.0.1:{}", server.port()));
    }
}

#[actix::test]
async fn a_certificate_that_is_not_valid_is_refused_in_words_that_help() {
    let (authority, other) = (Authority::new("test"), Authority::new("other"));
    let here = ["localhost", "127.0.0.1"];
    let wrong = TlsFailure::WrongName {
        expected: "127.0.0.1".to_owned(),
        names: vec!["a.test".to_owned(), "*.b.test".to_owned(), "10.0.0.1".to_owned()],
    };
    let expired = TlsFailure::Expired { since: Some("Wed, 01 Jan 2020 00:00:00 GMT".to_owned()) };
    let early = TlsFailure::NotYetValid { from: Some("Tue, 01 Jan 2999 00:00:00 GMT".to_owned()) };
    for (certificate, expected, words) in [
        (other.sign(&here), TlsFailure::UnknownIssuer, "add_ca_file"),
        (
            authority.sign(&["a.test", "*.b.test", "10.0.0.1"]),
            wrong,
            r#"not for "127.0.0.1": it has "a.test", "*.b.test", "10.0.0.1""#,
        ),
        (authority.sign_expired(&here), expired, "expired on Wed, 01 Jan 2020"),
        (authority.sign_for_later(&here), early, "not valid yet, but from Tue, 01 Jan 2999"),
    ] {
        let upstream = Scripted::start();
        let front = Front::start(upstream.port(), &certificate);
        let url = format!("https://127.0.0.1:{}", front.port());
        let only = trusting(&authority).only_added_cas();
        for tls in [trusting(&authority), only] {
            let failure = failure(client(&url, tls)).await;
            assert_eq!(failure, expected);
            assert!(failure.to_string().contains(words), "{failure}");
        }
        assert_eq!(upstream.requests(), 0, "nothing is sent to it");
    }
}

#[actix::test]
async fn a_server_that_wants_a_certificate_gets_it_or_is_told_from_others() {
    let (authority, other) = (Authority::new("test"), Authority::new("other"));
    let certificate = authority.sign(&["localhost", "127.0.0.1"]);
    let upstream = oxide::start();
    for (name, version, expected) in [
        ("TLSv1.2", &version::TLS12, TlsFailure::Refused("HandshakeFailure".to_owned())),
        ("TLSv1.3", &version::TLS13, TlsFailure::CertificateRequired),
    ] {
        let server = secured(Line::V4, certificate.node_asking(&authority, name));
        let front = Front::asking(upstream.port(), &certificate, version, &authority);
        let fronted = format!("https://127.0.0.1:{}", front.port());
        let with = |url: &str, Certificate { chain, key }: Certificate| {
            client(url, trusting(&authority).client_certificate(chain, key))
        };
        for (url, expected) in
            [(server.url(), expected), (fronted.clone(), TlsFailure::CertificateRequired)]
        {
            let missing = failure(client(&url, trusting(&authority))).await;
            assert_eq!(missing, expected);
            assert!(missing.to_string().contains("a client certificate"), "{missing}");
            talk(with(&url, authority.sign(&["me"]))).await;
        }
        let refused = failure(with(&fronted, other.sign(&["me"]))).await;
        assert_eq!(refused, TlsFailure::Refused("UnknownCA".to_owned()));
        assert!(refused.to_string().contains("does not accept the client"), "{refused}");
        // Node.js looks at it behind the handshake, and closes without a word.
        let closed = obstacle(with(&server.url(), other.sign(&["me"]))).await;
        assert_eq!(closed, ConnectFailure::NoAnswer);
    }
}

#[actix::test]
async fn a_port_that_speaks_plain_http_is_told_from_one_that_speaks_tls() {
    let authority = Authority::new("test");
    let plain = node::server(Line::V4);
    let other = oxide::start();
    for port in [plain.port(), other.port()] {
        let url = format!("https://127.0.0.1:{port}");
        let failure = failure(client(&url, trusting(&authority))).await;
        assert_eq!(failure, TlsFailure::NotTls);
        assert!(failure.to_string().contains("http://"), "{failure}");
    }
    let certificate = authority.sign(&["127.0.0.1"]);
    let secure = secured(Line::V4, certificate.node());
    let front = Front::start(other.port(), &certificate);
    for port in [secure.port(), front.port()] {
        let obstacle = obstacle(support::builder(format!("http://127.0.0.1:{port}"))).await;
        assert!(obstacle.to_string().contains("https?"), "{obstacle:?}");
    }
    // One that closes, or resets, gives no reason.
    for answer in [|| Answer::Last(Vec::new()), || Answer::Reset] {
        let server = raw::start_at_once(answer);
        let url = format!("https://{}", server.authority());
        let obstacle = obstacle(client(&url, trusting(&authority))).await;
        assert_eq!(obstacle, ConnectFailure::NoAnswer);
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
async fn a_server_without_a_valid_certificate_is_not_dialled_again_soon() {
    let (authority, other) = (Authority::new("test"), Authority::new("other"));
    let asking = authority.sign(&["127.0.0.1"]).node_asking(&authority, "TLSv1.3");
    let servers = [
        secured(Line::V4, other.sign(&["127.0.0.1"]).node()),
        secured(Line::V4, authority.sign(&["a.test"]).node()),
        secured(Line::V4, authority.sign_expired(&["127.0.0.1"]).node()),
        secured(Line::V4, asking),
        node::start(Line::V4, &Config::default()),
    ];
    for server in servers {
        let proxy = Proxy::start(server.port());
        let builder = client(&format!("https://127.0.0.1:{}", proxy.port()), trusting(&authority));
        let client = builder.reconnect(quick()).start().unwrap();
        let mut recorder = Recorder::of(client.socket());
        let next = recorder.next_reconnecting().await;
        let Reason::Connect(ConnectFailure::Tls(failure)) = next.reason() else {
            panic!("{next:?}")
        };
        assert_eq!(next.delay(), Duration::from_secs(600), "{failure}");
        assert_eq!(proxy.counts().connections, 1, "{failure}");
        // A caller that waits gets the reason at once.
        let error = within(client.socket().ready()).await.unwrap_err();
        assert_eq!(error, ReadyError::Failing(next.reason().clone()));
    }
}

#[actix::test]
async fn ten_thousand_events_pass_each_way() {
    const COUNT: u64 = 10_000;
    let authority = Authority::new("test");
    let certificate = authority.sign(&["127.0.0.1"]);
    for line in OFFICIAL {
        let server = secured(line, certificate.node());
        let builder = client(&server.url(), trusting(&authority)).send_buffer(20_000, 16 << 20);
        let client = builder.start().unwrap();
        let socket = client.socket();
        let mut recorder = Recorder::of(socket);
        recorder.next_ready().await;
        socket.emit("burst", COUNT).unwrap();
        for number in 0..COUNT {
            socket.emit("record", ("tls", number)).unwrap();
        }
        recorder.burst(COUNT).await;
        let _: Value = within(socket.emit_with_ack("echo", "last")).await.unwrap();
        assert_eq!(server.recorded("tls"), (0..COUNT).collect::<Vec<_>>(), "{line:?}");
    }
}

#[actix::test]
async fn large_messages_pass_each_way() {
    let authority = Authority::new("test");
    let certificate = authority.sign(&["127.0.0.1"]);
    let server = secured(Line::V4, certificate.node());
    let client = client(&server.url(), trusting(&authority)).start().unwrap();
    for size in [16 << 10, 300 << 10, 900 << 10] {
        let data = bytes::Bytes::from(vec![7; size]);
        let answer: bytes::Bytes =
            within(client.socket().emit_with_ack("echo", data.clone())).await.unwrap();
        assert_eq!(answer, data);
    }
}

#[actix::test]
async fn a_lost_connection_is_made_again_over_tls() {
    let authority = Authority::new("test");
    let certificate = authority.sign(&["127.0.0.1"]);
    let server = secured(Line::V4, certificate.node());
    let proxy = Proxy::start(server.port());
    let url = format!("https://127.0.0.1:{}", proxy.port());
    let client = client(&url, trusting(&authority)).reconnect(quick()).start().unwrap();
    let mut recorder = Recorder::of(client.socket());
    recorder.next_ready().await;
    for reset in [false, true] {
        if reset {
            proxy.reset();
        } else {
            proxy.cut();
        }
        let reason = recorder.next_disconnected().await;
        // Without the end that TLS has of its own, the end of the connection is what it is without TLS.
        let is_closed = reason == Reason::TransportClose(None);
        assert_eq!(is_closed, !reset, "{reason:?}");
        client.socket().emit("echo", "again").unwrap();
        recorder.ready_after_attempts().await;
        assert_eq!(recorder.next_event("echo").await.args::<String>().unwrap(), "again");
    }
    assert_eq!(proxy.counts().connections, 3);
}

#[actix::test]
async fn any_certificate_is_accepted_on_demand_and_the_log_warns_of_it() {
    logged::start();
    let certificate = Authority::new("unknown").sign_expired(&["a.test"]);
    let server = secured(Line::V4, certificate.node());
    let tls = Tls::new().danger_accept_any_certificate();
    talk(client(&server.url(), tls)).await;
    let warnings = logged::warnings();
    let link = format!("127.0.0.1:{}: ", server.port());
    let warned = |line: &String| line.starts_with(&link) && line.contains("is not checked");
    assert_eq!(warnings.iter().filter(|line| warned(line)).count(), 1, "{warnings:?}");
}

#[actix::test]
async fn a_configuration_of_the_application_is_used_as_it_is() {
    let authority = Authority::new("test");
    let server = secured(Line::V4, authority.sign(&["127.0.0.1"]).node());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    talk(client(&server.url(), Tls::from_config(config.clone()))).await;
    let mut named = config;
    named.alpn_protocols = vec![b"http/1.1".to_vec()];
    talk(client(&server.url(), Tls::from_config(Arc::new(named)))).await;
}

#[actix::test]
async fn who_waits_for_a_server_that_is_not_trusted_learns_why() {
    let server = secured(Line::V4, Authority::new("test").sign(&["127.0.0.1"]).node());
    let tls = trusting(&Authority::new("other"));
    let error = within(Client::builder(server.url()).tls(tls).connect()).await.unwrap_err();
    let StartError::Ready { server: shown, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*shown, format!("{}/socket.io/", server.url()));
    assert!(error.to_string().contains("not trusted here"), "{error}");
}

/// A directory of this test.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the test of this name, which is ignored otherwise, in a process of its own, where the system
/// trusts what is in this file.
fn where_the_system_trusts(file: &Path, test: &str, url: &str) {
    let empty = directory("tls-none");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", file)
        .env("SSL_CERT_DIR", empty)
        .env("TLS_TEST_URL", url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[cfg(target_os = "linux")]
#[actix::test]
async fn what_the_system_trusts_is_trusted() {
    let authority = Authority::new("system");
    let server = secured(Line::V4, authority.sign(&["127.0.0.1"]).node());
    let file = directory("tls-system").join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    where_the_system_trusts(&file, "where_it_is_trusted", &server.url());
    let none = directory("tls-system").join("none.pem");
    fs::write(&none, "").unwrap();
    where_the_system_trusts(&none, "where_nothing_is_trusted", &server.url());
}

#[ignore = "it is run by what_the_system_trusts_is_trusted"]
#[actix::test]
async fn where_it_is_trusted() {
    let url = env::var("TLS_TEST_URL").unwrap();
    talk(support::builder(url.clone())).await;
    // Added authorities are added.
    talk(client(&url, trusting(&Authority::new("other")))).await;
    let only = trusting(&Authority::new("other")).only_added_cas();
    assert_eq!(failure(client(&url, only)).await, TlsFailure::UnknownIssuer);
}

#[ignore = "it is run by what_the_system_trusts_is_trusted"]
#[actix::test]
async fn where_nothing_is_trusted() {
    let url = env::var("TLS_TEST_URL").unwrap();
    let error = Client::builder(&url).start().unwrap_err().to_string();
    assert!(error.contains("ca-certificates") && error.contains("add_ca_file"), "{error}");
    // What is added is enough.
    let failure = failure(client(&url, trusting(&Authority::new("other")))).await;
    assert_eq!(failure, TlsFailure::UnknownIssuer);
}

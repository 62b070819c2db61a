use super::*;
use crate::transport::{IpFamily, Proxy};

fn builder(url: &str) -> ClientBuilder {
    Client::builder(url)
}

fn refused(builder: ClientBuilder) -> BuildError {
    match builder.build() {
        Err(error) => error,
        Ok(_) => panic!("it is taken"),
    }
}

#[test]
fn debug_of_a_builder_shows_no_secret_of_the_url() {
    for (url, shown) in [
        ("http://host:3000/shop", "http://host:3000/shop"),
        ("http://host/shop?token=s3cret", "http://host/shop"),
        ("http://host#s3cret", "http://host"),
        ("http://user:s3cret@host/shop", "http://host/shop"),
        ("http://user:s3cret@host/shop?token=s3cret#s3cret", "http://host/shop"),
        ("http://user:s3@cret@host", "http://host"),
        ("http://user:s3/cret@host", "http://host"),
        ("http://user:s3?cret@host", "http://…"),
        ("http://user:s3#cret@host/shop", "http://…"),
        ("http://user:s3@c?ret@host", "http://…"),
        ("http://host?token=a@s3cret", "http://…"),
        ("user:s3cret@host", "host"),
        ("host?next=http://s3cret", "host"),
        ("", ""),
    ] {
        let debug = format!("{:?}", builder(url));
        assert!(debug.contains(&format!("url: {shown:?},")), "{url}: {debug}");
        for part in ["s3", "cret"] {
            assert!(!debug.contains(part), "{url}: {debug}");
        }
    }
}

#[test]
fn debug_of_a_builder_shows_no_secret_of_the_options() {
    let builder = builder("http://host")
        .path("/live/?token=s3cret")
        .query("key", "s3cret")
        .header("authorization", "s3cret")
        .headers_with(|_| async { Ok::<_, String>(vec![("a".to_owned(), "s3cret".to_owned())]) })
        .auth(serde_json::json!({ "token": "s3cret" }));
    let debug = format!("{builder:?}");
    assert!(debug.contains("\"/live/\"") && !debug.contains("s3cret"), "{debug}");
    let debug = format!("{:?}", builder.path("/live/#s3cret"));
    assert!(debug.contains("\"/live/\"") && !debug.contains("s3cret"), "{debug}");
}

#[test]
fn a_path_is_one_that_a_url_can_have() {
    for path in ["/", "/socket.io/", "/a/b", "/live%20data/", "/~x/!$&'()*+,;=:@", "//a//"] {
        assert!(builder("http://host:80").path(path).build().is_ok(), "{path}");
    }
    for path in [
        "",
        "socket.io/",
        "/s3cret?",
        "/s3cret#",
        "/s3cret s3cret/",
        "/s3cret\n",
        "/s3cret\0",
        "/s3cret<",
        "/s3cret\u{e9}",
    ] {
        let error = refused(builder("http://host").path(path));
        assert!(matches!(error, BuildError::Option { name: "path", .. }), "{path}: {error:?}");
        assert!(!format!("{error:?}{error}").contains("s3cret"), "{path}: {error}");
    }
    let long = builder("http://host").query("q", "s3cret".repeat(20_000));
    assert!(!refused(long).to_string().contains("s3cret"));
}

#[test]
fn a_path_ends_in_a_slash_unless_it_is_not_to() {
    for (path, with, without) in [
        ("/socket.io/", "/socket.io/", "/socket.io"),
        ("/realtime/ws", "/realtime/ws/", "/realtime/ws"),
        ("/", "/", "/"),
        ("/a//", "/a//", "/a/"),
    ] {
        for (add, expected) in [(true, with), (false, without)] {
            let builder = builder("http://host").path(path).add_trailing_slash(add);
            let base =
                builder.build().map(|parts| parts.targets.at(0).endpoint.url().to_string()).ok();
            assert_eq!(base, Some(format!("http://host{expected}")), "{path}");
        }
    }
}

#[test]
fn a_url_that_is_refused_is_not_repeated() {
    for url in [
        "http://user:s3cret@host",
        "ftp://host/?token=s3cret",
        "s3cret",
        "http://host/s3cret,",
        "http://host/\ns3cret",
        "s3cret://host",
    ] {
        let error = refused(builder(url));
        assert!(!format!("{error:?}{error}").contains("s3cret"), "{url}: {error:?}");
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_named_by_its_option() {
    let error = refused(builder("http://host").proxy(Proxy::new("u:s3cret@proxy.test")));
    assert!(matches!(error, BuildError::Proxy(_)), "{error:?}");
    assert!(error.to_string().starts_with("option proxy: it has no scheme"), "{error}");
    assert!(!format!("{error:?}{error}").contains("s3cret"), "{error}");
    let long = format!("http://{}.test", "a.".repeat(150));
    let error = refused(builder(&long).proxy(Proxy::new("socks5://proxy.test")));
    assert!(error.to_string().contains("255 bytes"), "{error}");
    let fine = builder("http://host").proxy(Proxy::new("http://u:s3cret@proxy.test:3128"));
    let debug = format!("{fine:?}");
    assert!(debug.contains("http://proxy.test:3128") && !debug.contains("s3cret"), "{debug}");
    assert!(fine.build().is_ok());
}

#[test]
fn a_local_address_is_of_the_family_that_is_used() {
    for (family, is_v4, is_taken) in [
        (IpFamily::Any, true, true),
        (IpFamily::Any, false, true),
        (IpFamily::V4, true, true),
        (IpFamily::V4, false, false),
        (IpFamily::V6, true, false),
        (IpFamily::V6, false, true),
    ] {
        let builder = builder("http://host").ip_family(family);
        let builder = if is_v4 {
            builder.local_address([127, 0, 0, 1])
        } else {
            builder.local_address([0, 0, 0, 0, 0, 0, 0, 1])
        };
        match builder.build() {
            Ok(_) => assert!(is_taken, "{family:?}"),
            Err(error) => {
                let is_named = matches!(error, BuildError::Option { name: "local_address", .. });
                assert!(is_named && !is_taken, "{family:?} {error:?}");
            }
        }
    }
}

#[test]
fn each_option_takes_what_its_documentation_says_and_no_more() {
    type Set = fn(ClientBuilder, usize) -> ClientBuilder;
    type SetTime = fn(ClientBuilder, Duration) -> ClientBuilder;
    let nanos = |count: usize| Duration::from_nanos(count.try_into().unwrap());
    let counts: [(&str, Set); 9] = [
        ("max_message_size", |builder, count| builder.max_message_size(count)),
        ("max_payload", |builder, count| builder.max_payload(count.try_into().unwrap())),
        ("retry_window", |builder, count| builder.retry_window(count)),
        ("send_buffer", |builder, count| builder.send_buffer(count, 1)),
        ("send_buffer", |builder, count| builder.send_buffer(1, count)),
        ("pending_acks", |builder, count| builder.pending_acks(count)),
        ("receive_window", |builder, count| builder.receive_window(count, 1)),
        ("receive_window", |builder, count| builder.receive_window(1, count)),
        ("receive_window", |builder, count| builder.receive_window(count, count)),
    ];
    for (name, set) in counts {
        let refused = BuildError::Option { name, expected: "at least 1" };
        assert_eq!(self::refused(set(builder("http://host"), 0)), refused);
        for count in [1, usize::MAX] {
            assert!(set(builder("http://host"), count).build().is_ok(), "{name}({count})");
        }
    }
    let times: [(&str, SetTime); 4] = [
        ("connect_timeout", ClientBuilder::connect_timeout),
        ("join_timeout", ClientBuilder::join_timeout),
        ("ack_timeout", ClientBuilder::ack_timeout),
        ("attachment_timeout", ClientBuilder::attachment_timeout),
    ];
    for (name, set) in times {
        let refused = BuildError::Option { name, expected: "more than zero" };
        assert_eq!(self::refused(set(builder("http://host"), Duration::ZERO)), refused);
        for time in [nanos(1), Duration::MAX] {
            assert!(set(builder("http://host"), time).build().is_ok(), "{name}({time:?})");
        }
    }
    let with = |policy: Reconnect| builder("http://host").reconnect(policy);
    let policy = Reconnect::default;
    for jitter in [-0.1, 1.1, 7.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = refused(with(policy().jitter(jitter)));
        assert!(matches!(error, BuildError::Option { name: "jitter", .. }), "{jitter}: {error}");
    }
    let error = refused(with(policy().delay(nanos(2), nanos(1))));
    assert!(matches!(error, BuildError::Option { name: "delay", .. }), "{error}");
    for fine in [
        policy().jitter(0.0),
        policy().jitter(-0.0),
        policy().jitter(1.0),
        policy().delay(Duration::ZERO, Duration::ZERO),
        policy().delay(nanos(1), nanos(1)),
        policy().delay(Duration::ZERO, Duration::MAX),
        policy().attempts(0),
        policy().attempts(u32::MAX),
    ] {
        assert!(with(fine.clone()).build().is_ok(), "{fine:?}");
    }
    for fine in [
        builder("http://host").max_attachments(0),
        builder("http://host").max_attachments(usize::MAX),
        builder("http://host").retries(u32::MAX),
        builder("http://host").offline(Offline::BufferFor(Duration::ZERO)),
    ] {
        assert!(fine.build().is_ok());
    }
}

#[test]
fn who_waits_for_a_namespace_waits_for_the_connection_too() {
    let ready =
        |builder: ClientBuilder| builder.build().map(|parts| parts.defaults.ready_timeout).ok();
    let seconds = Duration::from_secs;
    assert_eq!(ready(builder("http://host")), Some(seconds(40)));
    let set = builder("http://host").connect_timeout(seconds(1)).join_timeout(seconds(2));
    assert_eq!(ready(set.clone()), Some(seconds(3)));
    assert_eq!(ready(set.join_timeout(Duration::MAX)), Some(Duration::MAX));
}

use serde_json::{Value, json};

use super::*;

#[test]
fn a_refusal_is_shared_by_all_who_are_told() {
    let refusal = Refusal::new("no".to_owned(), Some(r#"{"code":42}"#));
    let copy = Reason::Refused(refusal.clone()).clone();
    let Reason::Refused(copy) = copy else { panic!("{copy:?}") };
    assert!(Arc::ptr_eq(&copy.0, &refusal.0));
    assert_eq!(copy, refusal);
    assert_eq!(copy.json(), Some(r#"{"code":42}"#));
    assert_eq!(copy.decode::<Value>().unwrap(), json!({ "code": 42 }));
    Refusal::new("no".to_owned(), None).decode::<Value>().unwrap_err();
    let cut = Refusal::new("no".to_owned(), Some(r#""\ud83d""#));
    assert_eq!((cut.decode::<String>(), cut.json()), (Ok("\u{fffd}".into()), Some(r#""\ud83d""#)));
}

#[test]
fn a_reason_is_counted_by_the_name_of_its_variant() {
    for reason in [
        Reason::ClientDisconnect,
        Reason::Shutdown,
        Reason::ServerDisconnect,
        Reason::Refused(Refusal::new("no".to_owned(), None)),
        Reason::JoinTimeout,
        Reason::PingTimeout,
        Reason::TransportClose(Some(4_000)),
        Reason::ServerShutdown,
        Reason::TransportError("reset".to_owned()),
        Reason::TooLargeForServer,
        Reason::TooLarge { limit: 1 },
        Reason::Protocol(ProtocolError::Utf8),
        Reason::Connect(ConnectFailure::TimedOut),
        Reason::Provider("no token".to_owned()),
        Reason::Middleware("not now".to_owned()),
        Reason::Reconnect,
    ] {
        let debug = format!("{reason:?}");
        let variant = debug.split(['(', ' ']).next().unwrap();
        let kind = reason.kind().replace('_', "");
        assert_eq!(kind, variant.to_lowercase());
        assert!(!reason.kind().contains(char::is_uppercase));
    }
}

/// An error, and the text of what is inside.
type Shown = (Box<dyn Error>, Option<String>);

fn shown(error: impl Error + 'static, inner: Option<&dyn fmt::Display>) -> Shown {
    (Box::new(error), inner.map(ToString::to_string))
}

/// One of each variant.
fn reasons() -> Vec<Reason> {
    let eio3 = Protocol::Eio3;
    let failures = [
        ConnectFailure::Unreachable("refused".to_owned()),
        ConnectFailure::UnknownHost("no such name".to_owned()),
        ConnectFailure::TimedOut,
        ConnectFailure::NoAnswer,
        ConnectFailure::Status(301),
        ConnectFailure::Status(401),
        ConnectFailure::Status(404),
        ConnectFailure::Status(502),
        ConnectFailure::NoWebsocket("no".to_owned()),
        ConnectFailure::Handshake("no".to_owned()),
        ConnectFailure::Parser(Parser::Json),
        ConnectFailure::Unsupported { asked: eio3, server: "it is old".to_owned() },
    ];
    let mut reasons = vec![
        Reason::ClientDisconnect,
        Reason::Shutdown,
        Reason::ServerDisconnect,
        Reason::Refused(Refusal::new("denied".to_owned(), None)),
        Reason::JoinTimeout,
        Reason::PingTimeout,
        Reason::TransportClose(None),
        Reason::TransportClose(Some(4_000)),
        Reason::ServerShutdown,
        Reason::TransportError("reset".to_owned()),
        Reason::TooLargeForServer,
        Reason::TooLarge { limit: 1 },
        Reason::Protocol(ProtocolError::Utf8),
        Reason::Provider("no token".to_owned()),
        Reason::Middleware("not now".to_owned()),
        Reason::Reconnect,
        Reason::SlowSubscriber,
    ];
    reasons.extend(failures.map(Reason::Connect));
    reasons
}

/// One of each variant that has a reason inside, or is one.
fn errors_with_reasons() -> Vec<Shown> {
    let mut all = Vec::new();
    for reason in reasons() {
        let text: Option<&dyn fmt::Display> = Some(&reason);
        all.push(shown(NamespaceError::Closed(reason.clone()), text));
        all.push(shown(EmitError::Closed(reason.clone()), text));
        all.push(shown(AckError::Disconnected(reason.clone()), text));
        all.push(shown(AckError::NeverSent(EmitError::Closed(reason.clone())), text));
        for error in [
            ReadyError::TimedOut { last: Some(reason.clone()) },
            ReadyError::Failing(reason.clone()),
            ReadyError::Ended(reason.clone()),
        ] {
            all.push(shown(error.clone(), text));
            let (server, namespace) = ("http://a/socket.io/".to_owned(), "/a".to_owned());
            all.push(shown(StartError::Ready { server, namespace, error }, text));
        }
        all.push(match reason.clone() {
            Reason::Connect(failure) => shown(reason, Some(&failure)),
            Reason::Protocol(error) => shown(reason, Some(&error)),
            Reason::Refused(refusal) => shown(reason, Some(&refusal)),
            _ => shown(reason, None),
        });
    }
    all
}

/// One of each other variant.
fn other_errors() -> Vec<Shown> {
    let mut all = Vec::new();
    let event = Unsendable { event: "e".to_owned(), size: 2, attachments: 1 };
    for error in [
        BuildError::Url("no".to_owned()),
        BuildError::Header { name: "a".to_owned(), error: "no" },
        BuildError::Query("sid".to_owned()),
        BuildError::Auth("no".to_owned()),
        BuildError::Option { name: "jitter", expected: "0.0 to 1.0" },
        BuildError::NoArbiter,
    ] {
        all.push(shown(StartError::Build(error.clone()), Some(&error)));
        all.push(shown(error, None));
    }
    for error in [
        EmitError::ReservedName("connect".to_owned()),
        EmitError::Encode("no".to_owned()),
        EmitError::Full(Emit::new("e", ()).unwrap()),
        EmitError::Offline,
        EmitError::Expired,
        EmitError::Discarded,
        EmitError::Middleware("no".to_owned()),
        EmitError::PayloadTooLarge { size: 2, limit: 1 },
        EmitError::TooManyAttachments { count: 2, limit: 1 },
        EmitError::Unsendable(event.clone()),
    ] {
        all.push(shown(AckError::NeverSent(error.clone()), Some(&error)));
        all.push(shown(error, None));
    }
    for error in [
        AnswerError::NotAsked,
        AnswerError::AlreadyAnswered,
        AnswerError::Encode("no".to_owned()),
        AnswerError::Full,
        AnswerError::Closed,
        AnswerError::PayloadTooLarge { size: 2, limit: 1 },
        AnswerError::TooManyAttachments { count: 2, limit: 1 },
    ] {
        all.push(shown(error, None));
    }
    let decode = DecodeError::new("no map");
    all.push(shown(AckError::Decode(decode.clone()), Some(&decode)));
    all.push(shown(decode, None));
    all.push(shown(AckError::TimedOut, None));
    all.push(shown(AckError::Unsendable(event), None));
    all.push(shown(ReadyError::TimedOut { last: None }, None));
    all.push(shown(NamespaceError::Name("a,b".to_owned()), None));
    all.push(shown(NamespaceError::Exists("/shop".to_owned()), None));
    all.push(shown(NamespaceError::Auth("no".to_owned()), None));
    let (name, expected) = ("ack_timeout", "more than zero");
    all.push(shown(NamespaceError::Option { name, expected }, None));
    all.push(shown(BridgeError::SameNamespace, None));
    all.push(shown(BridgeError::ReservedName("connect".to_owned()), None));
    all.push(shown(ProtocolError::Utf8, None));
    all
}

#[test]
fn who_walks_the_chain_of_an_error_reads_everything_once() {
    for (error, inner) in errors_with_reasons().into_iter().chain(other_errors()) {
        let mut texts = vec![error.to_string()];
        let mut last: &dyn Error = &*error;
        while let Some(source) = last.source() {
            texts.push(source.to_string());
            last = source;
        }
        for (outer, source) in texts.iter().zip(texts.iter().skip(1)) {
            assert!(!outer.contains(source.as_str()), "{outer:?} shows its source {source:?}");
        }
        if let Some(inner) = inner {
            assert_eq!(texts.concat().matches(&inner).count(), 1, "{error:?}: {texts:?}");
        }
    }
}

#[test]
fn where_there_is_no_system_the_error_shows_what_the_docs_do() {
    let shown = BuildError::NoArbiter.to_string();
    let docs = include_str!("../lib.rs");
    let lines = RECIPE.lines().map(|line| line.trim().replace("(url)", "("));
    for line in lines.filter(|line| !line.is_empty()) {
        let (begin, _) = line.split_once("builder(").unwrap_or((&line, ""));
        assert!(shown.contains(begin) && docs.contains(begin), "{begin}");
    }
    assert!(docs.contains(".start_in(&told.recv()?)?;"));
    // What `main` prints of an error that it returns.
    let debug = format!("{:?}", StartError::from(BuildError::NoArbiter));
    assert!(debug.contains("no actix system") && debug.contains("start_in"), "{debug}");
    assert!(debug.contains("\"Where it runs\"") && docs.contains("//! # Where it runs"), "{debug}");
}

#[test]
fn a_status_is_shown_with_what_can_be_done_about_it() {
    for (statuses, remedy) in [
        (&[301, 302, 308][..], ": redirects are not followed"),
        (&[401, 403], ": does it want a header? (options header, headers_with)"),
        (&[200, 404, 405, 426], ": is the path right (option path), and is it a Socket.IO server?"),
        (&[400, 429, 500, 503], ""),
    ] {
        for &status in statuses {
            let shown = ConnectFailure::Status(status).to_string();
            assert!(shown.ends_with(&format!(" HTTP status {status}{remedy}")), "{shown}");
        }
    }
}

#[test]
fn a_client_that_was_not_joined_names_its_server_and_namespace_and_what_a_path_is_for() {
    let refused = |message: &str| Reason::Refused(Refusal::new(message.to_owned(), None));
    let unknown = refused("Invalid namespace");
    let text = |namespace: &str, reason: &Reason| {
        let error = ReadyError::Ended(reason.clone());
        let (server, namespace) = ("http://a:1/socket.io/".to_owned(), namespace.to_owned());
        StartError::Ready { server, namespace, error }.to_string()
    };
    let named = text("/socket.io/", &unknown);
    let begin = "namespace \"/socket.io/\" of http://a:1/socket.io/: the server refused: ";
    assert!(named.starts_with(begin), "{named}");
    assert!(named.contains("path in the URL is a namespace"), "{named}");
    let plain = |namespace: &str, reason: &Reason| {
        let shown = format!("namespace \"{namespace}\" of http://a:1/socket.io/: {reason}");
        assert_eq!(text(namespace, reason), shown);
    };
    plain("/", &unknown);
    plain("/a", &refused("wrong password"));
    plain("/a", &Reason::JoinTimeout);
}

#[test]
fn what_a_server_says_is_shown_escaped_and_cut_and_its_data_never() {
    let data = Some(r#""s3cret""#);
    let table = [
        ("", "the server refused: it gave data, but no message (see Refusal::json)".to_owned()),
        (
            "no\nroot logged in\u{1b}[2J",
            r#"the server refused: "no\nroot logged in\u{1b}[2J""#.to_owned(),
        ),
        (&"ä".repeat(200), format!("the server refused: \"{}\"", "ä".repeat(200))),
        (&"ä".repeat(400_000), format!("the server refused: \"{}\"…", "ä".repeat(200))),
    ];
    for (message, shown) in table {
        let reason = Reason::Refused(Refusal::new(message.to_owned(), data));
        assert_eq!(reason.to_string(), shown);
        let debug = format!("{reason:?}");
        assert!(!debug.contains("s3cret") && debug.len() < 600, "{debug}");
    }
    let nothing = Reason::Refused(Refusal::new(String::new(), None));
    assert_eq!(nothing.to_string(), "the server refused: no reason given");
}

#[test]
fn an_error_that_quotes_the_server_is_cut() {
    let long = json!({ "a": "x".repeat(400_000) }).to_string();
    let error = serde_json::from_str::<std::collections::HashMap<String, u8>>(&long);
    let error = DecodeError::from_serde(error.unwrap_err()).to_string();
    assert!(error.starts_with("invalid type: string \"xxx"), "{error}");
    assert_eq!(error.chars().count(), 201);
    let error = ConnectFailure::Handshake("x\n".repeat(1_000)).to_string();
    assert!(!error.contains('\n') && error.len() < 600, "{error}");
}

#[test]
fn the_log_has_what_was_found_and_expected_but_no_value() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase", deny_unknown_fields)]
    enum Kind {
        Tea,
        Cup { _size: u8 },
    }

    fn logged<T: DeserializeOwned + fmt::Debug>(json: &Value) -> String {
        let error = serde_json::from_str::<T>(&json.to_string()).unwrap_err();
        DecodeError::from_serde(error).without_values()
    }

    let place = |text: &str| text.split(" at line ").next().unwrap().to_owned();
    for secret in ["s3cret", "a \", expected s3cret", "a`, expected `s3cret", &"s3cret ".repeat(99)]
    {
        let secret = &json!(secret);
        let is_cut = secret.to_string().len() > 200;
        let expected = |text: &str, expected: &str| {
            if is_cut { text.to_owned() } else { format!("{text}, expected {expected}") }
        };
        assert_eq!(place(&logged::<u8>(secret)), expected("invalid type: string", "u8"));
        let unknown = expected("unknown variant", "`tea` or `cup`");
        assert_eq!(place(&logged::<Kind>(secret)), unknown);
        let name = secret.as_str().unwrap();
        let unknown = expected("unknown field", "`_size`");
        assert_eq!(place(&logged::<Kind>(&json!({ "cup": { name: 1 } }))), unknown);
        let own = DecodeError::from_serde(serde::de::Error::custom(format!("bad {secret}")));
        assert!(!own.without_values().contains("s3cret"), "{own}");
    }
    let number = "invalid value: integer, expected u8";
    assert_eq!(place(&logged::<u8>(&json!(300))), number);
    assert_eq!(place(&logged::<Kind>(&json!({ "cup": {} }))), "missing field `_size`");
    assert!(logged::<(u8, u8)>(&json!([1])).starts_with("invalid length 1, expected a tuple"));
}

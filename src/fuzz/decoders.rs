//! Random messages to the decoders: each is refused, or is a packet that can be sent.

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{
    mutate::{self, Message},
    *,
};
use crate::proto::{
    engine::{EnginePacket, Handshake},
    packet::{Body, FOREIGN_ID},
    peer_text::MAX_NAMESPACE,
};

const PROTOCOLS: [Protocol; 2] = [Protocol::Eio3, Protocol::Eio4];

/// The messages that a packet is sent as.
fn write(parser: Parser, protocol: Protocol, packet: &Packet) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut more = true;
    for n in 0.. {
        if !more {
            break;
        }
        more = parser.write(packet, n, protocol, &mut String::new(), |message| {
            messages.push(match message {
                engine::Message::Text(first, second) => Message::Text(format!("{first}{second}")),
                engine::Message::Binary(first, second) => Message::Binary([first, second].concat()),
                engine::Message::Barrier(_) => panic!("a packet is no barrier"),
            });
        });
    }
    messages
}

fn check_packet(packet: &Packet, length: usize) -> TestCaseResult {
    prop_assert!(packet.namespace.len() <= MAX_NAMESPACE);
    match &packet.body {
        Body::Connect(data) | Body::ConnectError(data) => {
            if let Some(json) = data {
                prop_assert!(serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok());
            }
        }
        Body::Disconnect => {}
        Body::Event { payload, .. } | Body::Ack { payload, .. } => {
            prop_assert!(payload.attachments().len() <= LIMITS.attachments);
            // Msgpack is shorter than JSON.
            prop_assert!(payload.size() <= 32 * length + 64, "{} of {length}", payload.size());
            let json = payload.to_json();
            prop_assert!(
                json.starts_with('[') && json.ends_with(|c: char| c == ']' || c.is_whitespace())
            );
            let is_event = matches!(packet.body, Body::Event { .. });
            prop_assert!(is_event || payload.name().is_empty());
        }
    }
    // The size of its largest message is known without writing it.
    for protocol in PROTOCOLS {
        let largest = |message: &Message| match message {
            Message::Text(text) => text.len(),
            Message::Binary(data) => data.len(),
        };
        let size = write(Parser::Json, protocol, packet).iter().map(largest).max().unwrap();
        if matches!(packet.body, Body::Event { .. } | Body::Ack { .. }) {
            let told = packet.exceeds(Parser::Json, protocol, 0);
            prop_assert_eq!(told, Some(u64::try_from(size).unwrap()));
        }
    }
    Ok(())
}

/// A packet that is written and read again is the same.
fn there_and_back(parser: Parser, protocol: Protocol, packet: &Packet) -> TestCaseResult {
    let written = write(parser, protocol, packet);
    let (back, refused) = read_all(protocol, parser, &written);
    prop_assert!(refused.is_none(), "{written:?} is refused: {refused:?}");
    prop_assert_eq!(&back, std::slice::from_ref(packet), "{:?}", written);
    Ok(())
}

fn check(messages: &[Message]) -> TestCaseResult {
    let length = |message: &Message| match message {
        Message::Text(text) => text.len(),
        Message::Binary(data) => data.len(),
    };
    let length = messages.iter().map(length).sum();
    for message in messages {
        for protocol in PROTOCOLS {
            let read = engine::decode(protocol, message.frame());
            if let Ok(EnginePacket::Open(text)) = read
                && let Ok(handshake) = Handshake::parse(&text)
            {
                prop_assert!(handshake.ping_interval >= std::time::Duration::from_millis(10));
                prop_assert!(handshake.max_silence() <= std::time::Duration::from_hours(48));
            }
        }
    }
    for protocol in PROTOCOLS {
        for packet in read_all(protocol, Parser::Json, messages).0 {
            prop_assert!(packet.namespace.starts_with('/'));
            check_packet(&packet, length)?;
            there_and_back(Parser::Json, protocol, &packet)?;
            arguments::check(&packet)?;
        }
    }
    #[cfg(feature = "msgpack")]
    for protocol in PROTOCOLS {
        for packet in read_all(protocol, Parser::Msgpack, messages).0 {
            check_packet(&packet, length)?;
            arguments::check(&packet)?;
            let is_text = protocol == Protocol::Eio3
                && !matches!(packet.body, Body::Event { .. } | Body::Ack { .. });
            // Numbers that msgpack does not have become null, so the packet may change once, but not twice.
            let written = write(Parser::Msgpack, Protocol::Eio4, &packet);
            let (once, refused) = read_all(Protocol::Eio4, Parser::Msgpack, &written);
            prop_assert!(refused.is_none() || is_text, "{written:?}: {refused:?}");
            for packet in once {
                there_and_back(Parser::Msgpack, Protocol::Eio4, &packet)?;
            }
        }
    }
    Ok(())
}

#[test]
fn fuzz_packets() {
    mutate::run("packets", mutate::messages(mutate::corpus()), |messages| check(&messages));
}

/// The packets of the corpus in msgpack.
#[cfg(feature = "msgpack")]
#[test]
fn fuzz_msgpack() {
    let mut corpus = Vec::new();
    for protocol in PROTOCOLS {
        for messages in mutate::corpus() {
            for packet in read_all(protocol, Parser::Json, &messages).0 {
                let foreign = Body::Ack {
                    id: FOREIGN_ID,
                    payload: crate::payload::encode_reply(&()).unwrap(),
                };
                if packet.body != foreign {
                    corpus.push(write(Parser::Msgpack, protocol, &packet));
                }
            }
        }
    }
    mutate::run("msgpack", mutate::messages(corpus), |messages| check(&messages));
}

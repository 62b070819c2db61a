//! Packets as they are on the wire, for what is written by hand: the stub server, the bare loops and the actor.

use std::io::Write as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::spec::{Msg, Road};

/// What a websocket carries.
pub enum Frame<T> {
    Text(T),
    Binary(Bytes),
}

/// A packet in msgpack, with the fields in this order.
#[derive(Serialize, Deserialize)]
struct Map<'a, T> {
    r#type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
    nsp: &'a str,
}

const JOINED: &[u8] = b"\x83\xa4type\x00";
const MESSAGE: &[u8] = b"\x83\xa4type\x02\xa4data\x92\xa3msg";
const BLOB: &[u8] = b"\x83\xa4type\x02\xa4data\x92\xa3bin";
const ANSWER: &[u8] = b"\x84\xa4type\x03";

fn map(r#type: u8, id: Option<u64>, data: Option<impl Serialize>) -> Frame<String> {
    let map = Map { r#type, id, data, nsp: "/" };
    Frame::Binary(rmp_serde::to_vec_named(&map).expect("plain data").into())
}

/// The request to join the namespace.
pub fn join(road: Road) -> Frame<String> {
    if road == Road::Msgpack { map(0, None, None::<()>) } else { Frame::Text("40".into()) }
}

/// An event; with an id if it asks for an answer.
pub fn event(road: Road, id: Option<u64>, name: &str, argument: impl Serialize) -> Frame<String> {
    if road == Road::Msgpack {
        return map(2, id, Some((name, argument)));
    }
    let mut text = b"42".to_vec();
    if let Some(id) = id {
        write!(text, "{id}").expect("a vector takes all");
    }
    serde_json::to_writer(&mut text, &(name, argument)).expect("plain data");
    Frame::Text(String::from_utf8(text).expect("JSON is text"))
}

/// The event that has come, as it is emitted on another connection.
pub fn pass(frame: Frame<Bytes>) -> Frame<String> {
    match frame {
        Frame::Text(text) => {
            assert!(text.starts_with(b"42["), "an event");
            Frame::Text(String::from_utf8(text.into()).expect("JSON is text"))
        }
        Frame::Binary(data) => {
            assert!(data.starts_with(MESSAGE), "an event");
            Frame::Binary(data)
        }
    }
}

/// An event with an attachment. In text, the attachment is a frame of its own.
pub fn blob(road: Road, data: Bytes) -> (Frame<String>, Option<Bytes>) {
    if road == Road::Msgpack {
        return (map(2, None, Some(("bin", data))), None);
    }
    (Frame::Text(r#"451-["bin",{"_placeholder":true,"num":0}]"#.into()), Some(data))
}

pub fn answer(road: Road, id: u64, number: u64) -> Frame<String> {
    if road == Road::Msgpack {
        return map(3, Some(id), Some((number,)));
    }
    Frame::Text(format!("43{id}[{number}]"))
}

/// The arguments of an event that gets its id later, see [`numbered`].
pub fn arguments(road: Road, name: &str, argument: impl Serialize) -> Frame<String> {
    if road == Road::Msgpack {
        return Frame::Binary(
            rmp_serde::to_vec_named(&(name, argument)).expect("plain data").into(),
        );
    }
    Frame::Text(serde_json::to_string(&(name, argument)).expect("plain data"))
}

/// The event that these are the [`arguments`] of.
pub fn numbered(id: u64, arguments: &Frame<String>) -> Frame<String> {
    match arguments {
        Frame::Text(arguments) => Frame::Text(format!("42{id}{arguments}")),
        Frame::Binary(arguments) => {
            let mut packet = b"\x84\xa4type\x02\xa2id".to_vec();
            rmp_serde::encode::write(&mut packet, &id).expect("a vector takes all");
            packet.extend_from_slice(b"\xa3nsp\xa1/\xa4data");
            packet.extend_from_slice(arguments);
            Frame::Binary(packet.into())
        }
    }
}

/// What the server sends.
#[derive(Debug)]
pub enum Packet {
    Event(Msg),
    /// The id and the number in it.
    Answer(u64, u64),
    /// An event whose attachment is the next packet.
    Announced,
    Blob(Bytes),
    Joined,
}

/// Panics at what the stub server does not send.
pub fn read(frame: Frame<Bytes>) -> Packet {
    match frame {
        Frame::Text(text) => read_text(&text),
        Frame::Binary(data) => read_binary(data),
    }
}

fn read_text(text: &[u8]) -> Packet {
    #[derive(Deserialize)]
    struct Placeholder {
        num: usize,
    }
    if let Some(event) = text.strip_prefix(b"42") {
        let (name, message): (&str, Msg) = serde_json::from_slice(event).expect("an event");
        assert_eq!(name, "msg", "the event");
        Packet::Event(message)
    } else if let Some(rest) = text.strip_prefix(b"43") {
        let at = rest.iter().position(|byte| *byte == b'[').expect("arguments");
        let id = str::from_utf8(&rest[..at]).expect("digits").parse().expect("a number");
        let (number,) = serde_json::from_slice(&rest[at..]).expect("a number");
        Packet::Answer(id, number)
    } else if let Some(event) = text.strip_prefix(b"451-") {
        let (name, data): (&str, Placeholder) = serde_json::from_slice(event).expect("JSON");
        assert_eq!((name, data.num), ("bin", 0), "the event");
        Packet::Announced
    } else {
        assert!(text.starts_with(b"40{"), "the namespace is joined");
        Packet::Joined
    }
}

/// A packet, or an attachment that has been announced.
fn read_binary(frame: Bytes) -> Packet {
    if frame.starts_with(MESSAGE) {
        let (_, message) = parsed::<(&str, Msg)>(&frame).1;
        Packet::Event(message)
    } else if frame.starts_with(ANSWER) {
        let (id, (number,)) = parsed(&frame);
        Packet::Answer(id.expect("an id"), number)
    } else if frame.starts_with(BLOB) {
        let (_, data) = parsed::<(&str, &[u8])>(&frame).1;
        Packet::Blob(frame.slice_ref(data))
    } else if frame.starts_with(JOINED) {
        Packet::Joined
    } else {
        Packet::Blob(frame)
    }
}

/// The id and the data of a packet in msgpack.
fn parsed<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> (Option<u64>, T) {
    let Map { id, data, .. } = rmp_serde::from_slice(packet).expect("msgpack");
    (id, data.expect("data"))
}

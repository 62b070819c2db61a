//! Makes records of what happens on a connection.
//!
//! None of this runs without a tap. The observer reads each message a second time, and leniently, since the
//! client may refuse a message of which there must be a record.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Map, Value};

use super::{Direction, Kind, Record, Tap};
#[cfg(feature = "msgpack")]
use crate::proto::packet::{Body, Decoder, Limits, Packet};
use crate::{
    display::brief,
    guard::{self, Panicked},
    logs::say,
    proto::{
        engine::{self, EnginePacket, Frame, Message, Protocol},
        packet::{self, Parser},
        peer_text::MAX_NAMESPACE,
        reason::Reason,
        transports::Transport,
    },
    runtime::clock,
};

/// The longest name of an event in a record, in bytes.
const MAX_NAME: usize = 256;

/// How many of the last events that ask for an answer are remembered, to match them with their answers.
const MAX_ASKED: usize = 4_096;

/// The fields of a handshake that are not secret.
const HANDSHAKE: [&str; 4] = ["upgrades", "pingInterval", "pingTimeout", "maxPayload"];

/// The tap of a connection, if it has one.
#[derive(Debug, Default)]
pub(crate) struct Tapped(Option<Box<Observer>>);

#[derive(Debug)]
struct Observer {
    tap: Tap,
    client: ByteString,
    parser: Parser,
    next: u64,
    session: u64,
    /// Whether the client has a session.
    is_up: bool,
    /// The attachments that are still to come, from the server and to it.
    due: (usize, usize),
    asked: Asked,
}

impl Tapped {
    /// `client` is the name of the client.
    pub(crate) fn new(tap: Option<Tap>, client: &ByteString, parser: Parser) -> Self {
        Self(tap.map(|tap| {
            let (due, asked, client) = ((0, 0), Asked::default(), client.clone());
            Box::new(Observer {
                tap,
                client,
                parser,
                next: 0,
                session: 0,
                is_up: false,
                due,
                asked,
            })
        }))
    }

    /// A message came in.
    #[inline]
    pub(crate) fn received(&mut self, protocol: impl FnOnce() -> Option<Protocol>, frame: &Frame) {
        if self.0.is_some() {
            self.tell(Direction::In, protocol(), frame);
        }
    }

    /// A message goes out.
    #[inline]
    pub(crate) fn sent(&mut self, protocol: Option<Protocol>, message: &Message<'_>) {
        if self.0.is_some() {
            self.tell_whole(protocol, message);
        }
    }

    /// A barrier is not a message.
    #[cold]
    #[inline(never)]
    fn tell_whole(&mut self, protocol: Option<Protocol>, message: &Message<'_>) {
        let frame = match *message {
            Message::Text(first, second) => Frame::Text([first, second].concat().into()),
            Message::Binary(first, second) => Frame::Binary([first, second].concat().into()),
            Message::Barrier(_) => return,
        };
        self.tell(Direction::Out, protocol, &frame);
    }

    #[cold]
    #[inline(never)]
    fn tell(&mut self, direction: Direction, protocol: Option<Protocol>, frame: &Frame) {
        self.give(|observer| observer.message(direction, protocol, frame));
    }

    /// Whether there is a tap.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A server is dialled.
    pub(crate) fn dialling(&mut self, server: &str, protocol: Protocol, transport: Transport) {
        self.give(|observer| {
            observer.is_up = false;
            observer.change(Kind::Dialling, &format!("{server}, {protocol}, {transport}"))
        });
    }

    /// Namespaces may be joined.
    pub(crate) fn opened(&mut self) {
        if let Some(observer) = &mut self.0 {
            observer.is_up = true;
        }
    }

    pub(crate) fn upgraded(&mut self) {
        self.give(|observer| observer.change(Kind::Upgraded, "websocket"));
    }

    /// The connection was lost, or could not be made.
    pub(crate) fn lost(&mut self, reason: &Reason) {
        self.give(|observer| {
            let kind = match (std::mem::take(&mut observer.is_up), reason) {
                (_, Reason::Shutdown) => Kind::Closed,
                (true, _) => Kind::Lost,
                (false, _) => Kind::Failed,
            };
            observer.due = (0, 0);
            observer.asked = Asked::default();
            observer.change(kind, &reason.to_string())
        });
    }

    pub(crate) fn retrying(&mut self, attempt: u32, delay: Duration) {
        self.give(|observer| {
            observer.change(Kind::Retrying, &format!("attempt {attempt} in {delay:.1?}"))
        });
    }

    pub(crate) fn gave_up(&mut self, reason: &Reason) {
        self.give(|observer| observer.change(Kind::GaveUp, &reason.to_string()));
    }

    /// Gives the tap a record. One that panics is removed.
    fn give(&mut self, record: impl FnOnce(&mut Observer) -> Record) {
        let Some(observer) = &mut self.0 else { return };
        let record = record(observer);
        observer.next = observer.next.saturating_add(1);
        if let Err(panicked) = observer.look(&record) {
            say!(log::Level::Error, record.client, "the tap {panicked}: it gets no more records");
            self.0 = None;
        }
    }
}

impl Observer {
    fn look(&self, record: &Record) -> Result<(), Panicked> {
        self.tap.look.get().map_or(Ok(()), |look| guard::run(|| look(record)))
    }

    fn record(&self, kind: Kind, direction: Option<Direction>) -> Record {
        Record {
            client: self.client.to_string(),
            number: self.next,
            time: clock::wall(),
            session: self.session,
            kind,
            direction,
            namespace: None,
            name: None,
            size: 0,
            attachments: 0,
            ack: None,
            answers: None,
            latency: None,
            text: String::new(),
            is_cut: false,
        }
    }

    /// Sets the text of the record, cut to the limit.
    fn with_text(&self, mut record: Record, text: &str) -> Record {
        let text = text.trim_start();
        cut(text, self.tap.text).clone_into(&mut record.text);
        record.is_cut = record.text.len() < text.len();
        record
    }

    fn change(&self, kind: Kind, text: &str) -> Record {
        self.with_text(self.record(kind, None), text)
    }

    /// Until the protocol revision of the server is known, the newer one is assumed.
    fn message(
        &mut self,
        direction: Direction,
        protocol: Option<Protocol>,
        frame: &Frame,
    ) -> Record {
        let protocol = protocol.unwrap_or(Protocol::Eio4);
        let packet = engine::decode(protocol, frame.clone());
        if matches!(packet, Ok(EnginePacket::Open(_))) {
            self.session = self.session.saturating_add(1);
        }
        let mut record = match packet {
            Err(_) => self.record(Kind::Unreadable, None),
            Ok(EnginePacket::Open(json)) => {
                self.with_text(self.record(Kind::Open, None), &handshake(&json))
            }
            Ok(EnginePacket::Close) => self.record(Kind::Close, None),
            Ok(EnginePacket::Ping) => self.record(Kind::Ping, None),
            Ok(EnginePacket::Pong) => self.record(Kind::Pong, None),
            Ok(EnginePacket::Idle) => self.record(Kind::Noop, None),
            Ok(EnginePacket::Message(text)) => match self.parser {
                Parser::Json => self.packet(direction, &text),
                #[cfg(feature = "msgpack")]
                Parser::Msgpack => self.decoded(direction, self.decoder().text(text)),
            },
            Ok(EnginePacket::Binary(data)) => match self.parser {
                Parser::Json => self.attachment(direction, &data),
                #[cfg(feature = "msgpack")]
                Parser::Msgpack => self.decoded(direction, self.decoder().binary(data)),
            },
        };
        record.direction = Some(direction);
        record.size = frame.size();
        record
    }

    fn due(&mut self, direction: Direction) -> &mut usize {
        match direction {
            Direction::In => &mut self.due.0,
            Direction::Out => &mut self.due.1,
        }
    }

    /// A packet in JSON.
    fn packet(&mut self, direction: Direction, text: &str) -> Record {
        let Ok(packet::Head { kind, count, namespace, id, json }) = packet::head(text) else {
            return self.record(Kind::Unreadable, None);
        };
        *self.due(direction) = count;
        let (kind, json) = match kind {
            b'0' => (Kind::Connect, None),
            b'1' => (Kind::Disconnect, None),
            b'2' | b'5' => (Kind::Event, Some(json)),
            b'4' => (Kind::ConnectError, Some(json)),
            _ => (Kind::Ack, Some(json)),
        };
        let name = if kind == Kind::Event { json.and_then(event_name) } else { None };
        let mut record = self.described(direction, kind, namespace.unwrap_or("/"), id, name);
        record.attachments = count;
        match json {
            Some(json) => self.with_text(record, json),
            None => record,
        }
    }

    /// An attachment that no packet has announced may be a packet in another form, with anything in it.
    fn attachment(&mut self, direction: Direction, data: &Bytes) -> Record {
        let due = self.due(direction);
        let Some(left) = due.checked_sub(1) else {
            return self.record(Kind::Unreadable, None);
        };
        *due = left;
        let mut record = self.record(Kind::Attachment, None);
        for byte in data.iter().take(self.tap.text / 2) {
            let Ok(()) = write!(record.text, "{byte:02x}") else { break };
        }
        record.is_cut = record.text.len() / 2 < data.len();
        record
    }

    #[cfg(feature = "msgpack")]
    fn decoder(&self) -> Decoder {
        Decoder::new(self.parser, Limits { attachments: usize::MAX, bytes: usize::MAX })
    }

    /// A packet of another parser than JSON.
    #[cfg(feature = "msgpack")]
    fn decoded(
        &mut self,
        direction: Direction,
        packet: Result<Option<Packet>, packet::Refused>,
    ) -> Record {
        let Ok(Some(Packet { namespace, body })) = packet else {
            return self.record(Kind::Unreadable, None);
        };
        let (kind, id, payload) = match &body {
            Body::Connect(_) => (Kind::Connect, None, None),
            Body::Disconnect => (Kind::Disconnect, None, None),
            Body::ConnectError(_) => (Kind::ConnectError, None, None),
            Body::Event { id, payload } => (Kind::Event, *id, Some(payload)),
            Body::Ack { id, payload } => (Kind::Ack, Some(*id), Some(payload)),
        };
        let name = payload.filter(|_| kind == Kind::Event);
        let name = name.map(|payload| cut(payload.name(), MAX_NAME).to_owned());
        let mut record = self.described(direction, kind, &namespace, id, name);
        if let Some(payload) = payload {
            record.attachments = payload.attachments().len();
            return self.with_text(record, payload.json());
        }
        match &body {
            Body::ConnectError(Some(json)) => self.with_text(record, json),
            _ => record,
        }
    }

    /// The record of a packet, without its text.
    fn described(
        &mut self,
        direction: Direction,
        kind: Kind,
        namespace: &str,
        id: Option<u64>,
        name: Option<String>,
    ) -> Record {
        // Servers of revision 3 get the credentials as a query behind the namespace.
        // Credentials that no comma separates from the name look like a part of it.
        let namespace = namespace.split(['?', '{']).next().unwrap_or_default();
        let namespace = cut(namespace, MAX_NAMESPACE);
        let mut record = self.record(kind, None);
        record.namespace = Some(namespace.to_owned());
        record.ack = id;
        record.name = name;
        let Some(id) = id else { return record };
        let is_question = kind == Kind::Event;
        let from_server = (direction == Direction::In) == is_question;
        let question = Question { from_server, namespace: namespace.to_owned(), id };
        let now = clock::now();
        if is_question {
            self.asked.add(question, now, record.number, record.name.clone());
        } else if let Some((since, number, name)) = self.asked.remove(&question) {
            record.answers = Some(number);
            record.latency = Some(now.saturating_duration_since(since));
            record.name = name;
        }
        record
    }
}

/// Identifies an event that asks for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    from_server: bool,
    namespace: String,
    id: u64,
}

/// The time, the number of its record, and the name of the event.
type Sent = (Instant, u64, Option<String>);

/// The events that wait for an answer.
#[derive(Debug, Default)]
struct Asked {
    sent: HashMap<Question, Sent>,
    /// In the order in which they were sent; answered ones may still be there.
    order: VecDeque<(Question, u64)>,
}

impl Asked {
    fn add(&mut self, question: Question, now: Instant, number: u64, name: Option<String>) {
        self.order.push_back((question.clone(), number));
        self.sent.insert(question, (now, number, name));
        while self.order.len() > MAX_ASKED {
            let Some((oldest, number)) = self.order.pop_front() else { return };
            // It may have been sent again since.
            if self.sent.get(&oldest).is_some_and(|sent| sent.1 == number) {
                self.sent.remove(&oldest);
            }
        }
    }

    fn remove(&mut self, question: &Question) -> Option<Sent> {
        let sent = self.sent.remove(question);
        while self.order.front().is_some_and(|(oldest, _)| !self.sent.contains_key(oldest)) {
            self.order.pop_front();
        }
        sent
    }
}

/// The name of an event, which comes first, even if the rest is not JSON.
fn event_name(json: &str) -> Option<String> {
    let inside = json.trim_start().strip_prefix('[')?;
    let first = serde_json::Deserializer::from_str(inside).into_iter::<Value>().next()?.ok()?;
    Some(match first {
        Value::String(name) => cut(&name, MAX_NAME).to_owned(),
        other => brief(&other),
    })
}

/// A handshake without its secrets.
fn handshake(json: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(json) else { return String::new() };
    let shown = HANDSHAKE.into_iter().filter_map(|name| fields.remove_entry(name));
    Value::Object(shown.collect::<Map<_, _>>()).to_string()
}

/// As much of a text as fits into this many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

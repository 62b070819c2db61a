//! One connection: what the peer is, whether it lives, what goes out and what came in.
//!
//! ```text
//!          connect          dialled            open packet, verdict
//!   Idle ───────────▶ Dialling ────▶ Opening ─────────────────────▶ Open
//!    ▲                   ▲  │           │ no verdict yet             │
//!    │                   │  │           ▼                            │
//!    │                   └──┼────── Undecided ──────────────────────▶│
//!    │                      ▼                                        ▼
//!    └──────────────── lost, refused, timed out ◀── Closing ◀── close
//! ```
//!
//! # Which server is it?
//!
//! One client speaks to servers of both protocol revisions. On a websocket it always asks for
//! revision 4, which servers of either revision take, and then:
//!
//! 1. `maxPayload` in the handshake: revision 4 (servers since 4.5). Decided at once.
//! 2. Otherwise it says nothing, since a request to join `/` would make a server 2.x join it
//!    twice. A Socket.IO packet that comes by itself is one from a server 1.x or 2.x.
//! 3. After [`GRACE`] of silence it sends a ping. A server 1.x or 2.x answers it. A server 3.1 to
//!    4.4 hangs up, without a word to its application; it is dialled again at once, and now known.
//!    A server 3.0 stays silent for [`PATIENCE`].
//!
//! A server that refuses with HTTP status 400 is asked once more, for revision 3: some servers
//! that know no other look at the number. The verdict is kept for the next connection.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{
    engine::{self, Due, EnginePacket, Frame, Handshake, Heartbeat, Protocol, later},
    packet::{Body, Decoder, Limits, Packet, ProtocolError, Refused, root},
    socket::refusal,
};
use crate::{
    error::{ConnectFailure, Reason},
    outbox::Permit,
};

/// How long an undecided server may be silent before it is asked.
pub(crate) const GRACE: Duration = Duration::from_millis(300);
/// How long it then has for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// How long a farewell waits for the proof that what was sent before it has been read.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The revision that the application insists on.
    pub(crate) pin: Option<Protocol>,
    pub(crate) limits: Limits,
    /// From the first dial to the handshake.
    pub(crate) connect_timeout: Duration,
    /// For the server to join `/` by itself, in revision 3.
    pub(crate) join_timeout: Duration,
    /// For the attachments of a packet to arrive.
    pub(crate) attachment_timeout: Duration,
}

/// A packet to be sent, and the room it holds until it is written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) packet: Packet,
    pub(crate) permit: Option<Permit>,
}

/// What a namespace has to know of an open connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Counts connections, so that what belongs to an older one is recognised.
    pub(crate) epoch: u64,
    pub(crate) protocol: Protocol,
    /// The engine session's id, a secret.
    pub(crate) sid: ByteString,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, protocol, sid: _ } = self;
        f.debug_struct("Session")
            .field("epoch", epoch)
            .field("protocol", protocol)
            .finish_non_exhaustive()
    }
}

/// What the driver is to do with the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Drop whatever there is, and dial.
    Dial(Protocol),
    /// Write what there is, close, and report the end as lost.
    Close,
    /// Drop it now.
    Drop,
}

/// A websocket message to write.
#[derive(Debug)]
pub(crate) enum Transmit {
    /// The last message of an event carries its permit.
    Frame(Frame, Option<Permit>),
    /// A ping of the websocket layer. Its pong shows that the server has read all before it.
    Ping(u64),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Namespaces may join.
    Opened(Session),
    /// Of the current session.
    Packet(Packet),
    /// An old server refused `/`, and with it every namespace that waits.
    Refused(Reason),
    /// The connection is gone, or did not come about. `again`: another is on its way.
    Lost { reason: Reason, again: bool },
}

/// The answer to a namespace that wants to join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go ahead.
    Now(Session),
    /// The server has joined it already.
    Joined(Session),
    /// [`Event::Opened`] will say when.
    Later,
}

#[derive(Debug)]
pub(crate) struct Connection {
    config: Config,
    /// What the server is known to speak.
    verdict: Option<Protocol>,
    epoch: u64,
    state: State,
    decoder: Decoder,
    transmit: VecDeque<Transmit>,
    farewells: VecDeque<Farewell>,
    pings: u64,
    /// The server's ping is to be answered. One answer is enough for any number of pings, and
    /// needs no queue that a flood of them could fill.
    pong: bool,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// `refused`: why the server did not take revision 4, if this is the second try.
    Dialling {
        asked: Protocol,
        deadline: Instant,
        refused: Option<ConnectFailure>,
    },
    /// There is a websocket, but no handshake yet.
    Opening {
        asked: Protocol,
        deadline: Instant,
    },
    Undecided {
        handshake: Handshake,
        until: Instant,
        asked: bool,
    },
    Open(Open),
    Closing {
        until: Instant,
    },
}

#[derive(Debug)]
struct Open {
    session: Session,
    handshake: Handshake,
    heartbeat: Heartbeat,
    root: Root,
    /// When the attachments of a half-received packet must be here.
    attachments: Option<Instant>,
    /// The application is done: close when all is said.
    closing: Option<Instant>,
}

/// What a server of revision 3 has done about `/`, on which all else depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// Revision 4: nothing, `/` is a namespace like any other.
    Free,
    Pending {
        until: Instant,
    },
    Joined,
    /// Left or refused. It cannot be joined again on this connection.
    Gone,
}

/// A packet that says goodbye, held back until what was sent before it has been read: an official
/// server may drop events that arrive together with a disconnect.
#[derive(Debug)]
struct Farewell {
    packet: Packet,
    ping: u64,
    until: Instant,
}

impl Connection {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            verdict: config.pin,
            decoder: Decoder::new(config.limits),
            config,
            epoch: 0,
            state: State::Idle,
            transmit: VecDeque::new(),
            farewells: VecDeque::new(),
            pings: 0,
            pong: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// What the server speaks, as far as is known.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.verdict
    }

    /// How long the server waits for the answer to a ping.
    pub(crate) fn ping_timeout(&self) -> Option<Duration> {
        match &self.state {
            State::Open(open) => Some(open.handshake.ping_timeout),
            _ => None,
        }
    }

    /// The number of the current connection, or of the last one.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether everything that happened has been told, and everything asked for been taken.
    pub(crate) fn is_settled(&self) -> bool {
        self.actions.is_empty() && self.events.is_empty()
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    // What the application wants.

    /// A namespace wants to join.
    pub(crate) fn join(&mut self, now: Instant, namespace: &str) -> Admission {
        let open = match &self.state {
            State::Idle => {
                self.dial(now);
                return Admission::Later;
            }
            State::Open(open) if open.closing.is_none() => open,
            _ => return Admission::Later,
        };
        let session = open.session.clone();
        match open.root {
            Root::Free => Admission::Now(session),
            Root::Joined if namespace == "/" => Admission::Joined(session),
            Root::Joined => Admission::Now(session),
            Root::Pending { .. } => Admission::Later,
            Root::Gone => {
                self.lost(Reason::Reconnect, true);
                self.dial(now);
                Admission::Later
            }
        }
    }

    /// Sends a packet of the session `epoch`; a packet of an older one is discarded.
    pub(crate) fn send(&mut self, epoch: u64, outgoing: Outgoing) {
        let Outgoing { packet, permit } = outgoing;
        if !self.is_current(epoch) {
            return;
        }
        // Whoever joins again has left before.
        if matches!(packet.body, Body::Connect(_)) {
            let farewells = std::mem::take(&mut self.farewells);
            let (leaving, others): (VecDeque<_>, VecDeque<_>) =
                farewells.into_iter().partition(|bye| is_of(&packet.namespace, &bye.packet));
            self.farewells = others;
            leaving.into_iter().for_each(|farewell| self.encode(farewell.packet, None));
        }
        self.encode(packet, permit);
    }

    /// Leaves a namespace: sends its disconnect when all before it has been read.
    pub(crate) fn leave(&mut self, now: Instant, epoch: u64, packet: Packet) {
        if !self.is_current(epoch) {
            return;
        }
        if let State::Open(open) = &mut self.state
            && open.root != Root::Free
            && packet.namespace == *"/"
        {
            open.root = Root::Gone;
        }
        self.pings = self.pings.wrapping_add(1);
        self.transmit.push_back(Transmit::Ping(self.pings));
        let until = later(now, FAREWELL);
        self.farewells.push_back(Farewell { packet, ping: self.pings, until });
    }

    /// Closes when all is said, or at `until`.
    pub(crate) fn close(&mut self, until: Instant) {
        match &mut self.state {
            State::Open(open) => {
                open.closing = Some(until);
                self.try_close();
            }
            State::Idle | State::Closing { .. } => {}
            State::Dialling { .. } | State::Opening { .. } | State::Undecided { .. } => {
                self.actions.push_back(Action::Drop);
                self.lost(Reason::Shutdown, false);
            }
        }
    }

    fn try_close(&mut self) {
        if let State::Open(Open { closing: Some(until), .. }) = self.state
            && self.farewells.is_empty()
        {
            self.state = State::Closing { until };
            self.actions.push_back(Action::Close);
        }
    }

    /// Starts anew. What was not written to the old connection keeps its room until here, so that
    /// a shutdown can count it.
    fn dial(&mut self, now: Instant) {
        self.decoder = Decoder::new(self.config.limits);
        self.transmit.clear();
        self.farewells.clear();
        self.pong = false;
        let asked = self.verdict.unwrap_or(Protocol::Eio4);
        let deadline = later(now, self.config.connect_timeout);
        self.state = State::Dialling { asked, deadline, refused: None };
        self.actions.push_back(Action::Dial(asked));
    }

    fn encode(&mut self, packet: Packet, mut permit: Option<Permit>) {
        let State::Open(Open { session: Session { protocol, .. }, .. }) = self.state else {
            return;
        };
        let transmit = &mut self.transmit;
        packet.encode(protocol, |frame| transmit.push_back(Transmit::Frame(frame, None)));
        if let Some(Transmit::Frame(_, last)) = transmit.back_mut() {
            *last = permit.take();
        }
    }

    fn is_current(&self, epoch: u64) -> bool {
        matches!(&self.state, State::Open(open) if open.session.epoch == epoch)
    }

    // What happened.

    /// There is a websocket.
    pub(crate) fn handle_dialled(&mut self) {
        if let State::Dialling { asked, deadline, .. } = self.state {
            self.state = State::Opening { asked, deadline };
        }
    }

    /// There is none.
    pub(crate) fn handle_dial_failed(&mut self, failure: ConnectFailure) {
        let State::Dialling { asked, deadline, refused } = &mut self.state else { return };
        let deadline = *deadline;
        match refused.take() {
            None if self.verdict.is_none() && failure == ConnectFailure::Status(400) => {
                let asked = Protocol::Eio3;
                self.state = State::Dialling { asked, deadline, refused: Some(failure) };
                self.actions.push_back(Action::Dial(asked));
            }
            None if self.config.pin.is_some() && failure == ConnectFailure::Status(400) => {
                let asked = *asked;
                let server = "the server refuses that with HTTP status 400".to_owned();
                self.lost(Reason::Connect(ConnectFailure::Unsupported { asked, server }), false);
            }
            first => self.lost(Reason::Connect(first.unwrap_or(failure)), false),
        }
    }

    /// A websocket message came.
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: Frame) {
        if let Err(refused) = self.try_frame(now, frame) {
            self.fail(match refused {
                Refused::TooLarge { limit } => Reason::TooLarge { limit },
                Refused::Protocol(ProtocolError::Handshake(error)) => {
                    Reason::Connect(ConnectFailure::Handshake(error))
                }
                Refused::Protocol(error) => match &self.state {
                    State::Opening { .. } => {
                        Reason::Connect(ConnectFailure::Handshake(error.to_string()))
                    }
                    _ => Reason::Protocol(error),
                },
            });
        }
    }

    fn try_frame(&mut self, now: Instant, frame: Frame) -> Result<(), Refused> {
        match &mut self.state {
            State::Idle | State::Dialling { .. } | State::Closing { .. } => Ok(()),
            State::Opening { asked, .. } => {
                let asked = *asked;
                match engine::decode(asked, frame)? {
                    EnginePacket::Open(json) => {
                        self.greeted(now, asked, Handshake::parse(&json)?);
                        Ok(())
                    }
                    _ => Err(ProtocolError::Handshake("no handshake".to_owned()).into()),
                }
            }
            State::Undecided { handshake, .. } => {
                // Only a server of revision 3 has anything to say now.
                let handshake = handshake.clone();
                match engine::decode(Protocol::Eio3, frame)? {
                    EnginePacket::Pong => {
                        self.opened(now, Protocol::Eio3, handshake);
                        Ok(())
                    }
                    EnginePacket::Message(text) => {
                        self.opened(now, Protocol::Eio3, handshake);
                        self.message(now, text)
                    }
                    EnginePacket::Close => {
                        self.fail(Reason::TransportClose(None));
                        Ok(())
                    }
                    EnginePacket::Idle | EnginePacket::Ping => Ok(()),
                    EnginePacket::Attachment(_) => Err(ProtocolError::UnexpectedBinary.into()),
                    EnginePacket::Open(_) => Err(second_handshake()),
                }
            }
            State::Open(open) => {
                open.heartbeat.handle_any();
                match engine::decode(open.session.protocol, frame)? {
                    EnginePacket::Ping => {
                        open.heartbeat.handle_ping(now);
                        self.pong = true;
                        Ok(())
                    }
                    EnginePacket::Pong | EnginePacket::Idle => Ok(()),
                    EnginePacket::Message(text) => self.message(now, text),
                    EnginePacket::Attachment(data) => {
                        let packet = self.decoder.attachment(data)?;
                        self.packet(now, packet);
                        Ok(())
                    }
                    EnginePacket::Close => {
                        self.fail(Reason::TransportClose(None));
                        Ok(())
                    }
                    EnginePacket::Open(_) => Err(second_handshake()),
                }
            }
        }
    }

    fn message(&mut self, now: Instant, text: ByteString) -> Result<(), Refused> {
        let packet = self.decoder.text(text)?;
        self.packet(now, packet);
        Ok(())
    }

    /// The server said hello. Decides what it is, or waits for what tells.
    fn greeted(&mut self, now: Instant, asked: Protocol, handshake: Handshake) {
        if asked == Protocol::Eio3 || self.verdict.is_some() {
            self.opened(now, asked, handshake);
        } else if handshake.max_payload.is_some() {
            self.opened(now, Protocol::Eio4, handshake);
        } else {
            self.state = State::Undecided { handshake, until: later(now, GRACE), asked: false };
        }
    }

    fn opened(&mut self, now: Instant, protocol: Protocol, handshake: Handshake) {
        self.verdict = Some(protocol);
        self.epoch = self.epoch.wrapping_add(1);
        let session = Session { epoch: self.epoch, protocol, sid: handshake.sid.clone() };
        let root = match protocol {
            Protocol::Eio4 => Root::Free,
            Protocol::Eio3 => Root::Pending { until: later(now, self.config.join_timeout) },
        };
        if root == Root::Free {
            self.events.push_back(Event::Opened(session.clone()));
        }
        let heartbeat = Heartbeat::new(now, protocol, &handshake);
        self.state = State::Open(Open {
            session,
            handshake,
            heartbeat,
            root,
            attachments: None,
            closing: None,
        });
    }

    /// A packet is complete, or (`None`) waits for attachments.
    fn packet(&mut self, now: Instant, packet: Option<Packet>) {
        let State::Open(open) = &mut self.state else { return };
        let timeout = self.config.attachment_timeout;
        if self.decoder.is_waiting() {
            open.attachments.get_or_insert_with(|| later(now, timeout));
        } else {
            open.attachments = None;
        }
        let Some(packet) = packet else { return };
        if open.root != Root::Free && packet.namespace == *"/" {
            match (&packet.body, open.root) {
                (Body::Connect(_), Root::Pending { .. }) => {
                    open.root = Root::Joined;
                    self.events.push_back(Event::Opened(open.session.clone()));
                }
                (Body::ConnectError(data), Root::Pending { .. }) => {
                    open.root = Root::Gone;
                    let reason = Reason::Refused(refusal(data.as_deref()));
                    return self.events.push_back(Event::Refused(reason));
                }
                (Body::Disconnect, _) => open.root = Root::Gone,
                _ => {}
            }
        }
        self.events.push_back(Event::Packet(packet));
    }

    /// The pong of the websocket layer to ping number `ping`.
    pub(crate) fn handle_pong(&mut self, ping: u64) {
        self.say_farewells(|farewell| farewell.ping <= ping);
    }

    /// Sends the farewells that are due, and closes behind the last one if that is wanted.
    fn say_farewells(&mut self, due: impl Fn(&Farewell) -> bool) {
        while self.farewells.front().is_some_and(&due) {
            if let Some(farewell) = self.farewells.pop_front() {
                self.encode(farewell.packet, None);
            }
        }
        self.try_close();
    }

    /// The websocket is gone.
    pub(crate) fn handle_lost(&mut self, now: Instant, reason: Reason) {
        match &self.state {
            State::Idle | State::Dialling { .. } => {}
            // It hung up on our question, as servers 3.1 to 4.4 do.
            State::Undecided { asked: true, .. } => {
                self.verdict = Some(Protocol::Eio4);
                self.dial(now);
            }
            State::Opening { asked: Protocol::Eio3, .. } => {
                let reason = self.silent(Protocol::Eio3, reason);
                self.lost(reason, false);
            }
            State::Opening { .. } | State::Undecided { .. } | State::Open(_) => {
                self.lost(reason, false);
            }
            State::Closing { .. } => self.lost(Reason::Shutdown, false),
        }
    }

    /// What it means that a server that was asked for `asked` does not get to a handshake.
    fn silent(&self, asked: Protocol, otherwise: Reason) -> Reason {
        if asked == Protocol::Eio4 || self.config.pin.is_none() {
            return otherwise;
        }
        let server = format!(
            "the server does not answer that, like one of {} without `allowEIO3`",
            Protocol::Eio4
        );
        Reason::Connect(ConnectFailure::Unsupported { asked, server })
    }

    /// Ends the connection from this side.
    fn fail(&mut self, reason: Reason) {
        self.actions.push_back(Action::Drop);
        self.lost(reason, false);
    }

    fn lost(&mut self, reason: Reason, again: bool) {
        self.state = State::Idle;
        self.events.push_back(Event::Lost { reason, again });
    }

    /// Safe to call early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => {}
            State::Dialling { deadline, .. } => {
                if *deadline <= now {
                    self.fail(Reason::Connect(ConnectFailure::TimedOut));
                }
            }
            State::Opening { asked, deadline } => {
                if *deadline <= now {
                    let asked = *asked;
                    let reason = self.silent(asked, Reason::Connect(ConnectFailure::TimedOut));
                    self.fail(reason);
                }
            }
            State::Undecided { handshake, until, asked } => {
                if *until > now {
                    return;
                }
                if *asked {
                    let handshake = handshake.clone();
                    self.opened(now, Protocol::Eio4, handshake);
                } else {
                    *asked = true;
                    *until = later(now, PATIENCE);
                    self.transmit.push_back(Transmit::Frame(engine::PING, None));
                }
            }
            State::Open(_) => self.open_timeout(now),
            State::Closing { until } => {
                if *until <= now {
                    self.fail(Reason::Shutdown);
                }
            }
        }
    }

    fn open_timeout(&mut self, now: Instant) {
        self.say_farewells(|farewell| farewell.until <= now);
        let State::Open(open) = &mut self.state else { return };
        match open.heartbeat.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => self.transmit.push_back(Transmit::Frame(engine::PING, None)),
            Due::Dead => return self.fail(Reason::PingTimeout),
        }
        if open.attachments.is_some_and(|until| until <= now) {
            return self.fail(Reason::Protocol(ProtocolError::AttachmentsMissing));
        }
        if open.closing.is_some_and(|until| until <= now) {
            return self.fail(Reason::Shutdown);
        }
        if matches!(open.root, Root::Pending { until } if until <= now) {
            let reason = self.silent(Protocol::Eio3, Reason::JoinTimeout);
            self.fail(reason);
        }
    }

    // What there is to do.

    /// The one moment at which [`handle_timeout`](Self::handle_timeout) must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Dialling { deadline, .. } | State::Opening { deadline, .. } => Some(*deadline),
            State::Undecided { until, .. } | State::Closing { until } => Some(*until),
            State::Open(open) => {
                let root = match open.root {
                    Root::Pending { until } => Some(until),
                    Root::Free | Root::Joined | Root::Gone => None,
                };
                [Some(open.heartbeat.poll_timeout()), open.attachments, open.closing, root]
                    .into_iter()
                    .flatten()
                    .chain(self.farewells.front().map(|farewell| farewell.until))
                    .min()
            }
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        if std::mem::take(&mut self.pong) {
            return Some(Transmit::Frame(engine::PONG, None));
        }
        self.transmit.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

fn second_handshake() -> Refused {
    ProtocolError::Handshake("a second one".to_owned()).into()
}

/// Whether a packet is of the namespace that `request` asks for, perhaps with a query behind it.
fn is_of(request: &str, packet: &Packet) -> bool {
    let name = request.split('?').next().unwrap_or(request);
    packet.namespace == *name
}

/// The packet by which a server of revision 3 says that `/` is joined, for a namespace that was
/// not there when it came.
pub(crate) fn joined_root() -> Packet {
    Packet::new(root(), Body::Connect(None))
}

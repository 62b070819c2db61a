//! One connection: what the peer is, whether it lives, what goes out and what came in.
//!
//! ```text
//!          connect          dialled            open packet, verdict
//!   Idle ───────────▶ Dialling ────▶ Opening ─────────────────────▶ Open
//!    ▲                 ▲ ▲  │           │ no verdict yet             │
//!    │                 │ │  │           ▼                            │
//!    │                 │ └──┼────── Undecided ──────────────────────▶│
//!    │       Queued ───┘    ▼                                        ▼
//!    │         ▲      lost, refused, timed out ◀─── Closing ◀─── close
//!    │      Waiting         │
//!    │         ▲            │
//!    │         └──────┬─────┘
//!    └────────────────┘ nobody wants it, or not again
//! ```
//!
//! Where somebody still wants the connection and the policy allows it, a loss is followed by a wait
//! and another dial, for which it queues with all clients that share its limiter. Attempts are
//! counted in a row; a session that has lasted begins the count anew. Nothing waits, queues or dials
//! when nobody wants the connection any more.
//!
//! # Which server is it?
//!
//! One client speaks to servers of both protocol revisions. On a websocket it always asks for
//! revision 4, which servers of either revision take, and then:
//!
//! 1. `maxPayload` in the handshake: revision 4 (servers since 4.5). Decided at once.
//! 2. Otherwise it says nothing, since a request to join `/` would make a server 2.x join it
//!    twice. A Socket.IO packet that comes by itself is one from a server 1.x or 2.x, unless it
//!    tells a socket id, as the answer to a request does in revision 4; a ping is one from a server
//!    3.0 to 4.4.
//! 3. After [`GRACE`] of silence it sends a ping. A server 1.x or 2.x answers it. A server 3.1 to
//!    4.4 hangs up, without a word to its application; it is dialled again at once, and now known.
//!    A server 3.0 stays silent. Behind the ping goes one of the websocket layer, whose pong tells
//!    that the server has read both: it then has [`SLACK`] for its answer, or twice the time that
//!    the pong took, and without a pong [`PATIENCE`].
//! 4. The answer to a ping is weak evidence: some servers of revision 4 answer one. If nothing
//!    follows it for half of the time to join, the server is dialled again and taken for one of
//!    revision 4. Should it be an old one after all, which thinks for that long, its next packet
//!    says so.
//!
//! A server that refuses with HTTP status 400, or ends the connection before its handshake, is asked
//! once more, for revision 3: some servers that know no other do one or the other. The verdict is
//! kept for the next connection. One handshake that was cut short does not change it, a second one
//! in a row does.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{
    deadline::deadline_after,
    engine::{self, Due, EnginePacket, Frame, Handshake, Heartbeat, Message, Protocol},
    namespace::refusal,
    outgoing::Outgoing,
    packet::{Body, Decoder, Limits, Packet, Parser, ProtocolError, Refused, root},
    proof::Unconfirmed,
    reconnect::{Jitter, Reconnect, Retry},
    session::Session,
    suspect::{Suspect, Suspects},
};
use crate::{
    backpressure::send_quota::SendPermit,
    error::{ConnectFailure, EmitError, Reason, brief},
    payload::text::Text,
};

/// How long an undecided server may be silent before it is asked.
pub(crate) const GRACE: Duration = Duration::from_millis(50);
/// How long it then has for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// How long it has at least when it is known to have read the question.
pub(crate) const SLACK: Duration = Duration::from_millis(100);
/// How long a server that did not take revision 4 has for the handshake of revision 3. An old one
/// sends it at once; some new ones never say a word.
const SECOND_TRY: Duration = Duration::from_secs(2);
/// So many times in a row a server is dialled again at once since it was taken for another one.
const MAX_MISTAKES: u32 = 2;
/// How long a farewell waits for the proof that what was sent before it has been read.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest time for which a server can ask to be left alone: what it says may be a mistake, or
/// the word of something on the way to it, and nobody is to be parked for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The revision that the application insists on.
    pub(crate) pin: Option<Protocol>,
    pub(crate) parser: Parser,
    pub(crate) limits: Limits,
    /// From the first dial to the handshake.
    pub(crate) connect_timeout: Duration,
    /// For the server to join `/` by itself, in revision 3.
    pub(crate) join_timeout: Duration,
    /// For the attachments of a packet to arrive.
    pub(crate) attachment_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    /// For the jitter.
    pub(crate) seed: u64,
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

/// What waits to be written. A packet becomes messages when its turn comes: until then it can be
/// replaced, or given back.
#[derive(Debug)]
enum Queued {
    Packet(Outgoing),
    Ping(u64),
    /// A ping of revision 3.
    Heartbeat,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A server of revision 3 is there. It joins `/`, or not, and may speak there before; all
    /// others wait.
    Greeted(Session),
    /// Namespaces may join.
    Opened(Session),
    /// Of the current session.
    Packet(Packet),
    /// An old server sent an event or an answer that is none. It is left out.
    Unreadable(ProtocolError),
    /// An old server let nobody into `/`, and with it into no namespace that waits.
    Refused(Reason),
    /// The connection is gone, or did not come about. `again`: another is on its way. What was not
    /// written to it is to be [taken](Connection::take_unwritten). `suspect`: the event over which the
    /// server may have ended it.
    Lost { reason: Reason, again: bool, suspect: Option<Suspect> },
    /// Attempt number `attempt` is made after `delay`, because of `reason`.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// As many attempts were made as are allowed.
    GaveUp { attempts: u32, reason: Reason },
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
    /// Handshakes that were cut short, in a row.
    cut_short: u32,
    /// Times in a row that the server turned out to be of another revision than it was taken for.
    mistakes: u32,
    /// Somebody wants a connection.
    wanted: bool,
    /// Attempts in a row, since the last session that lasted.
    attempts: u32,
    /// Sessions in a row that the server has closed without a word when a namespace wanted to join.
    mute: u32,
    /// Why the last connection ended, or could not be made.
    last: Option<Reason>,
    draws: Jitter,
    decoder: Decoder,
    queue: VecDeque<Queued>,
    /// The packet of which only the first messages are written, so many. A server has it when it has
    /// all of them.
    writing: Option<(Outgoing, usize)>,
    /// A buffer for the beginning of messages.
    head: String,
    unwritten: Vec<Outgoing>,
    farewells: VecDeque<PendingLeave>,
    returns: VecDeque<PendingRejoin>,
    /// Namespaces that were left on this connection.
    left: HashSet<ByteString>,
    pings: u64,
    /// The last one that was written.
    pinged: u64,
    proof: Unconfirmed,
    suspects: Suspects,
    /// The one that the connection was lost over, until that is told.
    suspect: Option<Suspect>,
    /// The server's ping is to be answered. One answer is enough for any number of pings, and
    /// needs no queue that a flood of them could fill.
    pong: bool,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    tally: Tally,
}

/// What happened, in numbers, since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Events, handed to the transport.
    pub(crate) events: u64,
    /// Answers to the server.
    pub(crate) answers: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Events whose place another one has taken.
    pub(crate) replaced: u64,
    /// Events that were written to a connection before it was lost, and perhaps not read.
    pub(crate) in_doubt: u64,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Until the delay before the next attempt is over.
    Waiting {
        until: Instant,
    },
    /// Until it is this client's turn.
    Queued {
        until: Instant,
    },
    /// `first`: why the server did not take revision 4, if this is the second try.
    Dialling {
        asked: Protocol,
        deadline: Instant,
        first: Option<Reason>,
    },
    /// There is a websocket, but no handshake yet.
    Opening {
        asked: Protocol,
        deadline: Instant,
        first: Option<Reason>,
    },
    Undecided {
        handshake: Handshake,
        until: Instant,
        probe: Option<Probe>,
    },
    Open(Open),
    Closing {
        protocol: Protocol,
        until: Instant,
    },
}

/// The question to a server that does not say what it is.
#[derive(Debug, Clone, Copy)]
struct Probe {
    since: Instant,
    /// The ping of the websocket layer behind it.
    ping: u64,
}

#[derive(Debug)]
struct Open {
    session: Session,
    since: Instant,
    heartbeat: Heartbeat,
    root: Root,
    /// Packets have come.
    is_heard: bool,
    /// A namespace has asked to join.
    is_asked: bool,
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
    /// `doubt`: when the server is taken for one of revision 4 after all, unless it says something.
    Pending {
        until: Instant,
        doubt: Option<Instant>,
    },
    Joined,
    /// Left or refused. It cannot be joined again on this connection.
    Gone,
}

/// A packet that says goodbye, held back until what was sent before it has been read: an official
/// server may drop events that arrive together with a disconnect.
#[derive(Debug)]
struct PendingLeave {
    packet: Packet,
    ping: u64,
    until: Instant,
    /// The request to join again, if that is wanted already.
    back: Option<Outgoing>,
}

/// A request to join a namespace that was left on this connection, held back until the goodbye has
/// been read: an official server acts on a disconnect a moment later than on a request to join, and
/// takes one that arrives together with the goodbye for a second one. It closes the connection.
#[derive(Debug)]
struct PendingRejoin {
    request: Outgoing,
    ping: u64,
    until: Instant,
}

impl Connection {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            verdict: config.pin,
            decoder: Decoder::new(config.parser, config.limits),
            suspects: Suspects::new(config.parser),
            draws: Jitter::new(config.seed),
            config,
            cut_short: 0,
            mistakes: 0,
            epoch: 0,
            state: State::Idle,
            wanted: false,
            attempts: 0,
            mute: 0,
            last: None,
            queue: VecDeque::new(),
            writing: None,
            head: String::new(),
            unwritten: Vec::new(),
            farewells: VecDeque::new(),
            returns: VecDeque::new(),
            left: HashSet::new(),
            pings: 0,
            pinged: 0,
            proof: Unconfirmed::default(),
            suspect: None,
            pong: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// What the server speaks, as far as is known.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.verdict
    }

    /// The number of the attempt to connect again that goes on, or is next; 0 if it is none.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempts
    }

    /// Why the last connection ended, or could not be made.
    pub(crate) fn last(&self) -> Option<&Reason> {
        self.last.as_ref()
    }

    /// When this part of the time is over that the heartbeat may take.
    pub(crate) fn strain(&self, part: f64) -> Option<Instant> {
        match &self.state {
            State::Open(open) => Some(open.heartbeat.strain(part)),
            _ => None,
        }
    }

    /// How long one of the two waits for an answer to its ping, while there is a connection.
    pub(crate) fn ping_timeout(&self) -> Option<Duration> {
        match &self.state {
            State::Open(open) => Some(open.heartbeat.timeout()),
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
                self.wanted = true;
                self.dial(now);
                return Admission::Later;
            }
            State::Open(open) if open.closing.is_none() => open,
            _ => return Admission::Later,
        };
        let session = open.session.clone();
        match open.root {
            Root::Joined if namespace == "/" => Admission::Joined(session),
            Root::Free | Root::Joined => Admission::Now(session),
            // What comes is for it, up to the server's verdict.
            Root::Pending { .. } if namespace == "/" => Admission::Now(session),
            Root::Pending { .. } => Admission::Later,
            Root::Gone => {
                self.replace(now, session.epoch);
                Admission::Later
            }
        }
    }

    /// Has another connection made in the place of the one of that number, for all namespaces.
    pub(crate) fn replace(&mut self, now: Instant, epoch: u64) {
        if matches!(&self.state, State::Open(open) if open.closing.is_none())
            && self.is_current(epoch)
        {
            self.attempts = 0;
            self.tell_lost(Reason::Reconnect, true);
            self.dial(now);
        }
    }

    /// Says whether anybody wants a connection. If nobody does, there is no further attempt; a
    /// connection that is open stays open.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
        if wanted {
            return;
        }
        match self.state {
            State::Idle | State::Open(_) | State::Closing { .. } => {}
            State::Waiting { .. }
            | State::Queued { .. }
            | State::Dialling { .. }
            | State::Opening { .. }
            | State::Undecided { .. } => {
                self.actions.push_back(Action::Drop);
                self.state = State::Idle;
                self.attempts = 0;
            }
        }
    }

    /// Sends a packet of the session `epoch`. An event of an older one is
    /// [given back](Self::take_unwritten).
    pub(crate) fn send(&mut self, now: Instant, epoch: u64, outgoing: Outgoing) {
        if !self.is_current(epoch) {
            self.unwritten.extend(Some(outgoing).filter(Outgoing::is_event));
            return;
        }
        if !matches!(outgoing.packet.body, Body::Connect(_)) {
            if outgoing.is_plain()
                || self.suspects.is_open()
                || self.suspects.is_suspicious(&outgoing)
            {
                self.proof.expect(now);
            }
            return self.enqueue(outgoing);
        }
        let name = name(&outgoing.packet);
        if let Some(farewell) = self.farewell_of(&name) {
            farewell.back = Some(outgoing);
        } else if self.left.contains(&name) {
            self.hold(outgoing, deadline_after(now, FAREWELL));
        } else {
            self.enqueue(outgoing);
        }
    }

    fn farewell_of(&mut self, name: &str) -> Option<&mut PendingLeave> {
        self.farewells.iter_mut().find(|farewell| farewell.packet.namespace == *name)
    }

    /// Holds a request to join back, until what has been said before it has been read.
    fn hold(&mut self, request: Outgoing, until: Instant) {
        let ping = self.ping();
        self.returns.push_back(PendingRejoin { request, ping, until });
    }

    fn ping(&mut self) -> u64 {
        self.pings = self.pings.wrapping_add(1);
        self.queue.push_back(Queued::Ping(self.pings));
        self.pings
    }

    /// Leaves a namespace that was joined: sends its disconnect when all before it has been read.
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
        let ping = self.ping();
        let until = deadline_after(now, FAREWELL);
        self.farewells.push_back(PendingLeave { packet, ping, until, back: None });
    }

    /// Closes when all is said, or at `until`.
    pub(crate) fn close(&mut self, until: Instant) {
        match &mut self.state {
            State::Open(open) => {
                open.closing = Some(until);
                self.try_close();
            }
            State::Idle | State::Closing { .. } => {}
            State::Waiting { .. }
            | State::Queued { .. }
            | State::Dialling { .. }
            | State::Opening { .. }
            | State::Undecided { .. } => {
                self.actions.push_back(Action::Drop);
                self.end(Reason::Shutdown);
            }
        }
    }

    fn try_close(&mut self) {
        if let State::Open(Open { closing: Some(until), ref session, .. }) = self.state
            && self.farewells.is_empty()
        {
            self.state = State::Closing { protocol: session.protocol, until };
            self.actions.push_back(Action::Close);
        }
    }

    /// The delay is over: dials as soon as the limiter lets it.
    fn queue(&mut self, now: Instant) {
        let until = self.config.reconnect.reserve(now);
        if until <= now {
            self.dial(now);
        } else {
            self.state = State::Queued { until };
        }
    }

    /// Starts anew.
    fn dial(&mut self, now: Instant) {
        self.decoder = Decoder::new(self.config.parser, self.config.limits);
        self.queue.clear();
        self.writing = None;
        self.farewells.clear();
        self.returns.clear();
        self.left.clear();
        self.pong = false;
        self.proof = Unconfirmed::default();
        self.suspects.begin();
        let asked = self.verdict.unwrap_or(Protocol::Eio4);
        let deadline = deadline_after(now, self.config.connect_timeout);
        self.state = State::Dialling { asked, deadline, first: None };
        self.actions.push_back(Action::Dial(asked));
    }

    /// Asks for revision 3, since the server did not take the other one for the reason `first`.
    fn dial_again(&mut self, deadline: Instant, first: Reason) {
        let asked = Protocol::Eio3;
        self.state = State::Dialling { asked, deadline, first: Some(first) };
        self.actions.push_back(Action::Dial(asked));
    }

    /// Queues a packet, or puts it in the place of one with the same key. One that somebody waits
    /// for an answer to is not replaced.
    fn enqueue(&mut self, outgoing: Outgoing) {
        if outgoing.is_copy() && self.queued(&outgoing.packet) {
            return;
        }
        let place = outgoing.key().and_then(|key| {
            self.queue.iter_mut().rev().find_map(|queued| match queued {
                Queued::Packet(other)
                    if other.key() == Some(key)
                        && other.packet.namespace == outgoing.packet.namespace
                        && matches!(other.packet.body, Body::Event { id: None, .. }) =>
                {
                    Some(other)
                }
                _ => None,
            })
        });
        match place {
            None => self.queue.push_back(Queued::Packet(outgoing)),
            Some(place) => {
                let old = std::mem::replace(place, outgoing);
                place.number = old.number;
                self.tally.replaced = self.tally.replaced.saturating_add(1);
                if let Some(permit) = old.permit {
                    permit.settled();
                }
            }
        }
    }

    /// Whether an event of this id waits to be written already.
    fn queued(&self, packet: &Packet) -> bool {
        let Body::Event { id: Some(id), .. } = packet.body else { return false };
        self.queue.iter().any(|queued| match queued {
            Queued::Packet(other) => {
                matches!(other.packet.body, Body::Event { id: Some(other), .. } if other == id)
                    && other.packet.namespace == packet.namespace
            }
            Queued::Ping(_) | Queued::Heartbeat => false,
        })
    }

    /// Takes note of a packet that is written.
    fn note(&mut self, packet: &Packet) {
        match &packet.body {
            Body::Event { id, .. } => {
                self.tally.events = self.tally.events.saturating_add(1);
                if id.is_none() {
                    self.proof.note_written();
                }
            }
            Body::Ack { .. } => self.tally.answers = self.tally.answers.saturating_add(1),
            Body::Connect(_) => {
                if let State::Open(open) = &mut self.state {
                    open.is_asked = true;
                }
            }
            Body::Disconnect | Body::ConnectError(_) => {}
        }
    }

    /// The events that were not written to the connection they were for, and will not be.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.unwritten)
    }

    /// For who adds it up to take from.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn is_current(&self, epoch: u64) -> bool {
        matches!(&self.state, State::Open(open) if open.session.epoch == epoch)
    }

    // What happened.

    /// There is a websocket.
    pub(crate) fn handle_dialled(&mut self, now: Instant) {
        if let State::Dialling { asked, deadline, first } = &mut self.state {
            let (asked, mut deadline, first) = (*asked, *deadline, first.take());
            if first.is_some() {
                deadline = deadline.min(deadline_after(now, SECOND_TRY));
            }
            self.state = State::Opening { asked, deadline, first };
        }
    }

    /// There is none. With `retry_after`, the server wants to be left alone for that time.
    pub(crate) fn handle_dial_failed(
        &mut self,
        now: Instant,
        reason: Reason,
        retry_after: Option<Duration>,
    ) {
        let State::Dialling { asked, deadline, first } = &mut self.state else { return };
        let deadline = *deadline;
        let is_400 = reason == Reason::Connect(ConnectFailure::Status(400));
        match first.take() {
            None if self.verdict.is_none() && is_400 => self.dial_again(deadline, reason),
            None if self.config.pin.is_some() && is_400 => {
                let asked = *asked;
                let server = "the server refuses that with HTTP status 400".to_owned();
                self.lost(now, Reason::Connect(ConnectFailure::Unsupported { asked, server }));
            }
            first => {
                if is_400 {
                    // It does not understand the revision that it did understand.
                    self.verdict = self.config.pin;
                }
                let reason = match first {
                    Some(first) => weightier(first, reason),
                    None => reason,
                };
                let pause = retry_after.unwrap_or_default().min(LONGEST_PAUSE);
                self.lost_for(now, reason, pause);
            }
        }
    }

    /// A websocket message came.
    pub(crate) fn handle_frame(&mut self, now: Instant, frame: Frame) {
        self.tally.bytes_in = self.tally.bytes_in.saturating_add(frame.size());
        let Err(refused) = self.try_frame(now, frame) else { return };
        if matches!(self.state, State::Opening { .. }) {
            let failure = match refused {
                Refused::TooLarge { limit } => Reason::TooLarge { limit },
                Refused::Protocol(ProtocolError::Handshake(error)) => {
                    Reason::Connect(ConnectFailure::Handshake(error))
                }
                Refused::Protocol(error) => {
                    Reason::Connect(ConnectFailure::Handshake(error.to_string()))
                }
            };
            self.actions.push_back(Action::Drop);
            return self.cut_short(now, failure);
        }
        let reason = match refused {
            Refused::TooLarge { limit } => Reason::TooLarge { limit },
            // So a server 2.x with the other parser says that it has joined this client.
            Refused::Protocol(ProtocolError::UnknownType(b'{'))
                if self.config.parser == Parser::Json =>
            {
                Reason::Connect(ConnectFailure::Parser(Parser::Json))
            }
            Refused::Protocol(error) => Reason::Protocol(error),
        };
        self.fail(now, reason);
    }

    fn try_frame(&mut self, now: Instant, frame: Frame) -> Result<(), Refused> {
        match &mut self.state {
            State::Idle
            | State::Waiting { .. }
            | State::Queued { .. }
            | State::Dialling { .. }
            | State::Closing { .. } => Ok(()),
            State::Opening { asked, first, .. } => {
                let (asked, was_cut) = (*asked, first.as_ref().is_some_and(is_cut));
                match engine::decode(asked, frame)? {
                    EnginePacket::Open(json) => {
                        let handshake = Handshake::parse(&json)?;
                        if was_cut && handshake.max_payload.is_some() {
                            // It takes both revisions: the other one was cut short by chance.
                            self.verdict = Some(Protocol::Eio4);
                            self.dial(now);
                        } else {
                            self.greeted(now, asked, handshake);
                        }
                        Ok(())
                    }
                    EnginePacket::Close => {
                        self.actions.push_back(Action::Drop);
                        self.cut_short(now, Reason::TransportClose(None));
                        Ok(())
                    }
                    _ => Err(ProtocolError::Handshake("no handshake".to_owned()).into()),
                }
            }
            State::Undecided { handshake, probe, .. } => {
                let (handshake, asked) = (handshake.clone(), probe.is_some());
                match engine::decode(Protocol::Eio3, frame)? {
                    // Those of revision 3 never ping.
                    EnginePacket::Ping => {
                        // Once asked, it may still hang up on that.
                        if !asked {
                            self.opened(now, Protocol::Eio4, &handshake);
                        }
                        self.pong = true;
                        Ok(())
                    }
                    EnginePacket::Pong => {
                        self.opened(now, Protocol::Eio3, &handshake);
                        self.doubt(now);
                        Ok(())
                    }
                    EnginePacket::Message(text) => match self.read(text, Protocol::Eio3) {
                        Ok(packet) => {
                            self.speaks_first(now, &handshake, packet);
                            Ok(())
                        }
                        Err(refused) => {
                            self.opened(now, Protocol::Eio3, &handshake);
                            Err(refused)
                        }
                    },
                    EnginePacket::Close => {
                        self.fail(now, Reason::TransportClose(None));
                        Ok(())
                    }
                    EnginePacket::Idle => Ok(()),
                    EnginePacket::Binary(data) => {
                        let packet = self.decoder.binary(data)?;
                        self.speaks_first(now, &handshake, packet);
                        Ok(())
                    }
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
                    EnginePacket::Message(text) => {
                        let protocol = open.session.protocol;
                        let packet = self.read(text, protocol)?;
                        self.packet(now, packet);
                        Ok(())
                    }
                    EnginePacket::Binary(data) => {
                        let packet = self.decoder.binary(data)?;
                        self.packet(now, packet);
                        Ok(())
                    }
                    EnginePacket::Close => {
                        self.actions.push_back(Action::Drop);
                        self.handle_lost(now, Reason::TransportClose(None));
                        Ok(())
                    }
                    EnginePacket::Open(_) => Err(second_handshake()),
                }
            }
        }
    }

    /// Reads a packet. `None` if that is not all of it, or if it is none.
    fn read(&mut self, text: Text, protocol: Protocol) -> Result<Option<Packet>, Refused> {
        let is_whole = text.starts_with(['2', '3']);
        match self.decoder.text(text) {
            // The clients of these servers go on, and so nobody has noticed what such a server sends.
            Err(Refused::Protocol(error @ (ProtocolError::Json(_) | ProtocolError::Payload)))
                if is_whole && protocol == Protocol::Eio3 =>
            {
                self.events.push_back(Event::Unreadable(error));
                Ok(None)
            }
            read => read,
        }
    }

    /// The server said hello. Decides what it is, or waits for what tells.
    fn greeted(&mut self, now: Instant, asked: Protocol, handshake: Handshake) {
        if asked == Protocol::Eio3 || self.verdict.is_some() {
            self.opened(now, asked, &handshake);
        } else if handshake.max_payload.is_some() {
            self.opened(now, Protocol::Eio4, &handshake);
        } else {
            self.state =
                State::Undecided { handshake, until: deadline_after(now, GRACE), probe: None };
        }
    }

    /// A server of which nobody has asked anything says something.
    fn speaks_first(&mut self, now: Instant, handshake: &Handshake, packet: Option<Packet>) {
        let is_new = packet.as_ref().is_some_and(is_answer_of_revision_4);
        let protocol = if is_new { Protocol::Eio4 } else { Protocol::Eio3 };
        self.opened(now, protocol, handshake);
        self.packet(now, packet);
    }

    /// All that shows that the server is an old one is that it has answered a ping.
    fn doubt(&mut self, now: Instant) {
        let half = self.config.join_timeout.checked_div(2).unwrap_or_default();
        if let State::Open(Open { root: Root::Pending { doubt, .. }, .. }) = &mut self.state {
            *doubt = Some(deadline_after(now, half));
        }
    }

    fn opened(&mut self, now: Instant, protocol: Protocol, handshake: &Handshake) {
        self.verdict = Some(protocol);
        self.cut_short = 0;
        self.epoch = self.epoch.wrapping_add(1);
        let session = Session {
            epoch: self.epoch,
            protocol,
            sid: handshake.sid.clone(),
            max_payload: handshake.max_payload,
        };
        let root = match protocol {
            Protocol::Eio4 => Root::Free,
            Protocol::Eio3 => {
                Root::Pending { until: deadline_after(now, self.config.join_timeout), doubt: None }
            }
        };
        self.events.push_back(match root {
            Root::Free => Event::Opened(session.clone()),
            Root::Pending { .. } | Root::Joined | Root::Gone => Event::Greeted(session.clone()),
        });
        let heartbeat = Heartbeat::new(now, protocol, handshake);
        self.state = State::Open(Open {
            session,
            since: now,
            heartbeat,
            root,
            is_heard: false,
            is_asked: false,
            attachments: None,
            closing: None,
        });
    }

    /// A packet is complete, or (`None`) waits for attachments.
    fn packet(&mut self, now: Instant, packet: Option<Packet>) {
        let State::Open(open) = &mut self.state else { return };
        let timeout = self.config.attachment_timeout;
        if self.decoder.is_waiting() {
            open.attachments.get_or_insert_with(|| deadline_after(now, timeout));
        } else {
            open.attachments = None;
        }
        let Some(packet) = packet else { return };
        open.is_heard = true;
        self.mute = 0;
        if let Body::Ack { id, .. } = packet.body
            && self.suspects.is_open()
        {
            self.suspects.handle_answer(&packet.namespace, id);
        }
        if open.session.protocol == Protocol::Eio4 && matches!(packet.body, Body::Connect(Some(_)))
        {
            self.mistakes = 0;
        }
        if open.session.protocol == Protocol::Eio4 && packet.body == Body::Connect(None) {
            // No server of revision 4 answers like that.
            self.verdict = self.config.pin;
            if open.session.max_payload.is_none() && self.config.pin.is_none() {
                return self.mistaken(now, Protocol::Eio3);
            }
            // The namespace ends over it.
        }
        if let Root::Pending { doubt, .. } = &mut open.root {
            *doubt = None;
            if self.config.pin.is_none() && is_answer_of_revision_4(&packet) {
                return self.mistaken(now, Protocol::Eio4);
            }
        }
        if open.root != Root::Free && packet.namespace == *"/" {
            match (&packet.body, open.root) {
                (Body::Connect(_), Root::Pending { .. }) => {
                    self.mistakes = 0;
                    open.root = Root::Joined;
                    self.events.push_back(Event::Opened(open.session.clone()));
                }
                (Body::ConnectError(data), Root::Pending { .. }) => {
                    open.root = Root::Gone;
                    let reason = Reason::Refused(refusal(data.as_deref()));
                    return self.events.push_back(Event::Refused(reason));
                }
                (Body::Disconnect, Root::Pending { .. }) => {
                    open.root = Root::Gone;
                    return self.events.push_back(Event::Refused(Reason::ServerDisconnect));
                }
                (Body::Disconnect, _) => open.root = Root::Gone,
                _ => {}
            }
        }
        self.events.push_back(Event::Packet(packet));
    }

    /// The server speaks this revision after all: it answered a ping as only old ones are known to, or
    /// the connection was lost by chance when it was asked.
    fn mistaken(&mut self, now: Instant, protocol: Protocol) {
        self.verdict = Some(protocol);
        let failure = format!("it was taken for one of another protocol revision than {protocol}");
        let reason = Reason::Connect(ConnectFailure::Handshake(failure));
        self.mistakes = self.mistakes.saturating_add(1);
        let is_closing = matches!(&self.state, State::Open(open) if open.closing.is_some());
        // One that seems to be both would be dialled without end.
        if is_closing || !self.wanted || self.mistakes > MAX_MISTAKES {
            return self.fail(now, reason);
        }
        self.actions.push_back(Action::Drop);
        self.tell_lost(reason, true);
        self.dial(now);
    }

    /// The pong of the websocket layer to ping number `ping`.
    pub(crate) fn handle_pong(&mut self, now: Instant, ping: u64) {
        if let State::Undecided { until, probe: Some(probe), .. } = &mut self.state
            && probe.ping == ping
        {
            // It has read the question. On a way as long as this one, the answer may be behind.
            let trip = now.saturating_duration_since(probe.since);
            *until = (*until).min(deadline_after(now, trip.saturating_mul(2).max(SLACK)));
        }
        self.proof.handle_pong(now, ping);
        self.suspects.handle_pong(ping);
        self.admit_returns(|back| back.ping <= ping);
        self.say_farewells(|farewell| farewell.ping <= ping);
    }

    /// Sends the farewells that are due, and closes behind the last one if that is wanted.
    fn say_farewells(&mut self, due: impl Fn(&PendingLeave) -> bool) {
        while self.farewells.front().is_some_and(&due) {
            if let Some(PendingLeave { packet, until, back, .. }) = self.farewells.pop_front() {
                self.left.insert(packet.namespace.clone());
                self.enqueue(Outgoing::bare(packet));
                if let Some(request) = back {
                    self.hold(request, deadline_after(until, FAREWELL));
                }
            }
        }
        self.try_close();
    }

    /// Sends the requests to join again that are due.
    fn admit_returns(&mut self, due: impl Fn(&PendingRejoin) -> bool) {
        while self.returns.front().is_some_and(&due) {
            if let Some(PendingRejoin { request, .. }) = self.returns.pop_front() {
                self.enqueue(request);
            }
        }
    }

    /// The websocket is gone.
    pub(crate) fn handle_lost(&mut self, now: Instant, reason: Reason) {
        match &self.state {
            State::Idle | State::Waiting { .. } | State::Queued { .. } | State::Dialling { .. } => {
            }
            // It hung up on our question, as servers 3.1 to 4.4 do.
            State::Undecided { probe: Some(_), .. } if self.queue.is_empty() => {
                self.verdict = Some(Protocol::Eio4);
                self.dial(now);
            }
            State::Opening { .. } => self.cut_short(now, reason),
            State::Undecided { .. } => self.lost(now, reason),
            State::Open(open) => {
                let is_limited = open.session.max_payload.is_some();
                let (reason, suspect) = self.suspects.handle_lost(reason, is_limited);
                self.suspect = suspect;
                self.lost(now, reason);
            }
            State::Closing { .. } => self.end(Reason::Shutdown),
        }
    }

    /// The connection ended before the handshake.
    fn cut_short(&mut self, now: Instant, reason: Reason) {
        let State::Opening { asked, deadline, first } = &mut self.state else { return };
        let (asked, deadline, first) = (*asked, *deadline, first.take());
        match first {
            // Perhaps over the revision that it was asked for.
            None if self.verdict.is_none() && is_cut(&reason) => self.dial_again(deadline, reason),
            None => {
                // That may happen to any. If it happens again, the server may be another one.
                self.cut_short = self.cut_short.saturating_add(1);
                if !is_cut(&reason) || self.cut_short > 1 {
                    self.verdict = self.config.pin;
                }
                let reason = self.silent(asked, reason);
                self.lost(now, reason);
            }
            Some(first) => self.lost(now, weightier(first, reason)),
        }
    }

    /// Whoever moves the bytes is awake, or has read what there was; `is_more` if there may be more.
    pub(crate) fn note_lateness(&mut self, now: Instant, is_more: bool) {
        if let State::Open(open) = &mut self.state {
            open.heartbeat.note_lateness(now, is_more);
        }
    }

    /// Whether nothing is to be written until all that has come is read: the heartbeat is overdue.
    pub(crate) fn is_late(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.heartbeat.is_late())
    }

    /// The machine was suspended for about `gap`, of which `now` and all deadlines know nothing. If
    /// the server cannot have waited for so long, the connection is gone, and nobody will say so.
    pub(crate) fn handle_suspended(&mut self, now: Instant, gap: Duration) {
        let (patience, reason) = match &self.state {
            State::Idle | State::Waiting { .. } | State::Queued { .. } | State::Closing { .. } => {
                return;
            }
            State::Dialling { .. } | State::Opening { .. } => {
                (self.config.connect_timeout, Reason::Connect(ConnectFailure::TimedOut))
            }
            State::Undecided { handshake, .. } => (handshake.patience(), Reason::PingTimeout),
            State::Open(open) => (open.heartbeat.patience(), Reason::PingTimeout),
        };
        if gap > patience {
            self.fail(now, reason);
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
    fn fail(&mut self, now: Instant, reason: Reason) {
        self.actions.push_back(Action::Drop);
        self.lost(now, reason);
    }

    /// The connection is gone: waits for the next attempt, if there is to be one.
    fn lost(&mut self, now: Instant, reason: Reason) {
        self.lost_for(now, reason, Duration::ZERO);
    }

    /// The same, and waits for `pause` at least.
    fn lost_for(&mut self, now: Instant, reason: Reason, pause: Duration) {
        let reason = self.explained(reason);
        let policy = &self.config.reconnect;
        let is_closing = match &self.state {
            State::Open(open) => {
                if deadline_after(open.since, policy.stable_after()) <= now {
                    self.attempts = 0;
                }
                open.closing.is_some()
            }
            _ => false,
        };
        // New credentials go with the next request anyway, so `WithNewAuth` is nothing special here.
        if is_closing || !self.wanted || policy.choose(&reason) == Retry::Stop {
            return self.end(reason);
        }
        let attempt = self.attempts.saturating_add(1);
        if !policy.allows(attempt) {
            let attempts = self.attempts;
            self.end(reason.clone());
            if attempts > 0 {
                self.events.push_back(Event::GaveUp { attempts, reason });
            }
            return;
        }
        self.attempts = attempt;
        let delay = policy.wait(attempt, self.draws.next()).max(pause);
        self.state = State::Waiting { until: deadline_after(now, delay) };
        self.tell_lost(reason.clone(), true);
        self.events.push_back(Event::Retrying { attempt, delay, reason });
    }

    /// A server that does not understand the request to join closes the connection, and so may others,
    /// once.
    fn explained(&mut self, reason: Reason) -> Reason {
        let State::Open(open) = &self.state else { return reason };
        let is_mute = open.is_asked && !open.is_heard && open.closing.is_none();
        if !is_mute || !matches!(reason, Reason::TransportClose(None | Some(1_000 | 1_005))) {
            self.mute = 0;
            return reason;
        }
        self.mute = self.mute.saturating_add(1);
        if self.mute < 2 {
            return reason;
        }
        Reason::Connect(ConnectFailure::Parser(self.config.parser))
    }

    /// The connection is gone, and is not tried again by itself.
    fn end(&mut self, reason: Reason) {
        self.state = State::Idle;
        self.attempts = 0;
        self.tell_lost(reason, false);
    }

    fn tell_lost(&mut self, reason: Reason, again: bool) {
        let suspect = self.suspect.take();
        let mut in_doubt = std::mem::take(&mut self.proof).in_doubt();
        if let Some((mut writing, _)) = self.writing.take() {
            // The server has a part of it, and does nothing with that.
            in_doubt = in_doubt.saturating_sub(u64::from(writing.is_plain()));
            match suspect.as_ref().filter(|suspect| suspect.has_ended(&writing)) {
                None => self.unwritten.extend(Some(writing).filter(Outgoing::is_event)),
                Some(Suspect { event, .. }) => {
                    let permit = writing.permit.take();
                    let is_plain = writing.is_plain();
                    let end = |permit: SendPermit| {
                        if is_plain {
                            permit.refuse(&EmitError::Unsendable(event.clone()));
                        } else {
                            // It is counted as unanswered.
                            permit.settled();
                        }
                    };
                    permit.into_iter().for_each(end);
                }
            }
        }
        self.unwritten.extend(self.queue.drain(..).filter_map(|queued| match queued {
            Queued::Packet(outgoing) => Some(outgoing).filter(Outgoing::is_event),
            Queued::Ping(_) | Queued::Heartbeat => None,
        }));
        self.tally.in_doubt = self.tally.in_doubt.saturating_add(in_doubt);
        self.last = Some(reason.clone());
        self.events.push_back(Event::Lost { reason, again, suspect });
    }

    /// Safe to call early.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Idle => {}
            State::Waiting { until } => {
                if *until <= now {
                    self.queue(now);
                }
            }
            State::Queued { until } => {
                if *until <= now {
                    self.dial(now);
                }
            }
            State::Dialling { deadline, .. } => {
                if *deadline <= now {
                    self.fail(now, Reason::Connect(ConnectFailure::TimedOut));
                }
            }
            State::Opening { deadline, .. } => {
                if *deadline <= now {
                    self.actions.push_back(Action::Drop);
                    self.cut_short(now, Reason::Connect(ConnectFailure::TimedOut));
                }
            }
            State::Undecided { handshake, until, probe } => {
                if *until > now {
                    return;
                }
                if probe.is_some() {
                    let handshake = handshake.clone();
                    return self.opened(now, Protocol::Eio4, &handshake);
                }
                self.queue.push_back(Queued::Heartbeat);
                let asked = Probe { since: now, ping: self.ping() };
                if let State::Undecided { until, probe, .. } = &mut self.state {
                    *until = deadline_after(now, PATIENCE);
                    *probe = Some(asked);
                }
            }
            State::Open(_) => self.open_timeout(now),
            State::Closing { until, .. } => {
                if *until <= now {
                    self.fail(now, Reason::Shutdown);
                }
            }
        }
    }

    fn open_timeout(&mut self, now: Instant) {
        self.admit_returns(|back| back.until <= now);
        self.say_farewells(|farewell| farewell.until <= now);
        if self.proof.is_due(now) {
            let ping = self.ping();
            self.proof.ask(ping);
        }
        let State::Open(open) = &mut self.state else { return };
        match open.heartbeat.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => self.queue.push_back(Queued::Heartbeat),
            Due::Dead => return self.fail(now, Reason::PingTimeout),
        }
        if open.attachments.is_some_and(|until| until <= now) {
            return self.fail(now, Reason::Protocol(ProtocolError::AttachmentsMissing));
        }
        if open.closing.is_some_and(|until| until <= now) {
            return self.fail(now, Reason::Shutdown);
        }
        let Root::Pending { until, doubt } = open.root else { return };
        if until <= now {
            // What it speaks is found out anew.
            self.verdict = self.config.pin;
            let reason = self.silent(Protocol::Eio3, Reason::JoinTimeout);
            self.fail(now, reason);
        } else if doubt.is_some_and(|doubt| doubt <= now) {
            self.mistaken(now, Protocol::Eio4);
        }
    }

    // What there is to do.

    /// The one moment at which [`handle_timeout`](Self::handle_timeout) must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::Dialling { deadline, .. } | State::Opening { deadline, .. } => Some(*deadline),
            State::Waiting { until }
            | State::Queued { until }
            | State::Undecided { until, .. }
            | State::Closing { until, .. } => Some(*until),
            State::Open(open) => {
                let root = match open.root {
                    Root::Pending { until, doubt } => Some(doubt.unwrap_or(until)),
                    Root::Free | Root::Joined | Root::Gone => None,
                };
                [Some(open.heartbeat.poll_timeout()), open.attachments, open.closing, root]
                    .into_iter()
                    .flatten()
                    .chain(self.farewells.front().map(|farewell| farewell.until))
                    .chain(self.returns.front().map(|back| back.until))
                    .chain(self.proof.poll_timeout())
                    .min()
            }
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Has the next message written. `false` if there is none.
    pub(crate) fn poll_transmit(&mut self, write: impl FnOnce(Message<'_>)) -> bool {
        let bytes_out = &mut self.tally.bytes_out;
        let write = |message: Message<'_>| {
            *bytes_out = bytes_out.saturating_add(message.size());
            write(message);
        };
        if std::mem::take(&mut self.pong) {
            write(engine::PONG);
            return true;
        }
        let (outgoing, n) = match self.writing.take() {
            Some(writing) => writing,
            None => match self.queue.pop_front() {
                None => return false,
                Some(Queued::Packet(outgoing)) => (outgoing, 0),
                Some(Queued::Ping(number)) => {
                    self.proof.note_ping(number);
                    self.pinged = number;
                    write(Message::Ping(number));
                    return true;
                }
                Some(Queued::Heartbeat) => {
                    write(engine::PING);
                    return true;
                }
            },
        };
        // Nothing is queued before there is a session.
        let (State::Open(Open { session: Session { protocol, .. }, .. })
        | State::Closing { protocol, .. }) = self.state
        else {
            return false;
        };
        let head = &mut self.head;
        let is_more = self.config.parser.write(&outgoing.packet, n, protocol, head, write);
        if n == 0 {
            self.note(&outgoing.packet);
            self.suspects.note_written(&outgoing, self.pinged);
        }
        if is_more {
            self.writing = Some((outgoing, n.saturating_add(1)));
        } else if let Some(permit) = outgoing.permit {
            permit.written();
        }
        true
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

/// Of two reasons for which a server has taken neither revision, the one that says more: whoever does
/// not know a revision closes the connection, or answers with HTTP status 400, whatever else there
/// is. Names both revisions where neither reason says anything.
fn weightier(first: Reason, second: Reason) -> Reason {
    match (&first, &second) {
        (_, Reason::Connect(ConnectFailure::Status(status))) if *status != 400 => second,
        (_, Reason::Connect(ConnectFailure::NoWebsocket(_))) => second,
        _ if is_cut(&first) && is_cut(&second) => {
            let failure = format!(
                "the connection ended before the handshake, whether {} or {} was asked for ({})",
                Protocol::Eio4,
                Protocol::Eio3,
                brief(&first)
            );
            Reason::Connect(ConnectFailure::Handshake(failure))
        }
        _ => first,
    }
}

/// Whether the connection ended without a reason that says more.
fn is_cut(reason: &Reason) -> bool {
    matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_))
}

/// Whether this is how a server of revision 4 answers a request to join `/`.
fn is_answer_of_revision_4(packet: &Packet) -> bool {
    matches!(&packet.body, Body::Connect(Some(_))) && packet.namespace == *"/"
}

fn second_handshake() -> Refused {
    ProtocolError::Handshake("a second one".to_owned()).into()
}

/// The namespace of a packet. A request to join may have a query behind it.
fn name(packet: &Packet) -> ByteString {
    let full = &packet.namespace;
    full.split_once('?').map_or_else(|| full.clone(), |(name, _)| full.slice_ref(name))
}

/// The packet by which a server of revision 3 says that `/` is joined, for a namespace that was
/// not there when it came.
pub(crate) fn joined_root() -> Packet {
    Packet::new(root(), Body::Connect(None))
}

#[cfg(test)]
mod tests;

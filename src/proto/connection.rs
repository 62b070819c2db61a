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
    fmt,
    time::{Duration, Instant},
};

use bytestring::ByteString;

use super::{
    backoff::{Draws, Reconnect, Retry},
    engine::{self, Due, EnginePacket, Frame, Handshake, Heartbeat, Message, Protocol, later},
    namespace::refusal,
    packet::{Body, Decoder, Limits, Packet, Parser, ProtocolError, Refused, root},
    proof::Proof,
    suspect::{Suspect, Suspects},
};
use crate::{
    backpressure::send_quota::Permit,
    error::{ConnectFailure, EmitError, Reason, brief},
    message::emit::Terms,
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

/// A packet to be sent, and what goes with it on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) packet: Packet,
    /// The room it holds until it is written.
    pub(crate) permit: Option<Permit>,
    /// How it may wait.
    pub(crate) terms: Option<Box<Terms>>,
    /// When it must not wait any more for its namespace.
    pub(crate) expires: Option<Instant>,
    /// Counts what its namespace sends, so that what comes back finds its place.
    pub(crate) number: u64,
}

/// It goes from hand to hand. What is larger is moved by a call, which takes as long as much of what
/// else is done with an event.
const _: () = assert!(size_of::<Outgoing>() <= 128);

impl Outgoing {
    /// A packet of the protocol itself.
    pub(crate) fn bare(packet: Packet) -> Self {
        Self { packet, permit: None, terms: None, expires: None, number: 0 }
    }

    /// One of the tries of a message that is sent until it is answered. The room is held by the
    /// message.
    fn is_copy(&self) -> bool {
        self.permit.is_none() && self.is_event()
    }

    /// It is sent now or never.
    pub(crate) fn is_volatile(&self) -> bool {
        self.terms.as_deref().is_some_and(Terms::are_volatile)
    }

    fn is_event(&self) -> bool {
        matches!(self.packet.body, Body::Event { .. })
    }

    /// An event that asks for no answer.
    fn is_plain(&self) -> bool {
        matches!(self.packet.body, Body::Event { id: None, .. })
    }

    /// Whose place among what waits it takes.
    pub(crate) fn key(&self) -> Option<&ByteString> {
        self.terms.as_deref().and_then(Terms::key)
    }
}

/// What a namespace has to know of an open connection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// Counts connections, so that what belongs to an older one is recognised.
    pub(crate) epoch: u64,
    pub(crate) protocol: Protocol,
    /// The engine session's id, a secret.
    pub(crate) sid: ByteString,
    /// The largest message that the server takes, in bytes, if it says.
    pub(crate) max_payload: Option<u64>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, protocol, sid: _, max_payload } = self;
        f.debug_struct("Session")
            .field("epoch", epoch)
            .field("protocol", protocol)
            .field("max_payload", max_payload)
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
    /// Somebody wants a connection.
    wanted: bool,
    /// Attempts in a row, since the last session that lasted.
    attempts: u32,
    /// Sessions in a row that the server has closed without a word when a namespace wanted to join.
    mute: u32,
    /// Why the last connection ended, or could not be made.
    last: Option<Reason>,
    draws: Draws,
    decoder: Decoder,
    queue: VecDeque<Queued>,
    /// The packet of which only the first messages are written, so many. A server has it when it has
    /// all of them.
    writing: Option<(Outgoing, usize)>,
    /// A buffer for the beginning of messages.
    head: String,
    unwritten: Vec<Outgoing>,
    farewells: VecDeque<Farewell>,
    returns: VecDeque<Return>,
    /// Namespaces that were left on this connection.
    left: HashSet<ByteString>,
    pings: u64,
    proof: Proof,
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
struct Farewell {
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
struct Return {
    request: Outgoing,
    ping: u64,
    until: Instant,
}

impl Connection {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            verdict: config.pin,
            decoder: Decoder::new(config.parser, config.limits),
            draws: Draws::new(config.seed),
            config,
            cut_short: 0,
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
            proof: Proof::default(),
            suspects: Suspects::default(),
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
            if outgoing.is_plain() || self.suspects.is_open() {
                self.proof.expect(now);
            }
            return self.enqueue(outgoing);
        }
        let name = name(&outgoing.packet);
        if let Some(farewell) = self.farewell_of(&name) {
            farewell.back = Some(outgoing);
        } else if self.left.contains(&name) {
            self.hold(outgoing, later(now, FAREWELL));
        } else {
            self.enqueue(outgoing);
        }
    }

    fn farewell_of(&mut self, name: &str) -> Option<&mut Farewell> {
        self.farewells.iter_mut().find(|farewell| farewell.packet.namespace == *name)
    }

    /// Holds a request to join back, until what has been said before it has been read.
    fn hold(&mut self, request: Outgoing, until: Instant) {
        let ping = self.ping();
        self.returns.push_back(Return { request, ping, until });
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
        let until = later(now, FAREWELL);
        self.farewells.push_back(Farewell { packet, ping, until, back: None });
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
        self.proof = Proof::default();
        self.suspects.begin();
        let asked = self.verdict.unwrap_or(Protocol::Eio4);
        let deadline = later(now, self.config.connect_timeout);
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
                deadline = deadline.min(later(now, SECOND_TRY));
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
                        self.fail(now, Reason::TransportClose(None));
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
            self.state = State::Undecided { handshake, until: later(now, GRACE), probe: None };
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
            *doubt = Some(later(now, half));
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
                Root::Pending { until: later(now, self.config.join_timeout), doubt: None }
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
            open.attachments.get_or_insert_with(|| later(now, timeout));
        } else {
            open.attachments = None;
        }
        let Some(packet) = packet else { return };
        open.is_heard = true;
        self.mute = 0;
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
        if matches!(&self.state, State::Open(open) if open.closing.is_some()) || !self.wanted {
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
            *until = (*until).min(later(now, trip.saturating_mul(2).max(SLACK)));
        }
        self.proof.handle_pong(now, ping);
        self.suspects.handle_pong(ping);
        self.admit_returns(|back| back.ping <= ping);
        self.say_farewells(|farewell| farewell.ping <= ping);
    }

    /// Sends the farewells that are due, and closes behind the last one if that is wanted.
    fn say_farewells(&mut self, due: impl Fn(&Farewell) -> bool) {
        while self.farewells.front().is_some_and(&due) {
            if let Some(Farewell { packet, until, back, .. }) = self.farewells.pop_front() {
                self.left.insert(packet.namespace.clone());
                self.enqueue(Outgoing::bare(packet));
                if let Some(request) = back {
                    self.hold(request, later(until, FAREWELL));
                }
            }
        }
        self.try_close();
    }

    /// Sends the requests to join again that are due.
    fn admit_returns(&mut self, due: impl Fn(&Return) -> bool) {
        while self.returns.front().is_some_and(&due) {
            if let Some(Return { request, .. }) = self.returns.pop_front() {
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
                if later(open.since, policy.proof()) <= now {
                    self.attempts = 0;
                }
                open.closing.is_some()
            }
            _ => false,
        };
        // New credentials go with the next request anyway, so `WithNewAuth` is nothing special here.
        if is_closing || !self.wanted || policy.verdict(&reason) == Retry::Stop {
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
        self.state = State::Waiting { until: later(now, delay) };
        self.tell_lost(reason.clone(), true);
        self.events.push_back(Event::Retrying { attempt, delay, reason });
    }

    /// A server that does not understand the request to join closes the connection, and so may others,
    /// once.
    fn explained(&mut self, reason: Reason) -> Reason {
        let State::Open(open) = &self.state else { return reason };
        let is_mute = open.is_asked && !open.is_heard && open.closing.is_none();
        if !is_mute || !matches!(reason, Reason::TransportClose(_)) {
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
                    let refuse = |permit: Permit| {
                        permit.refuse(&EmitError::Unsendable(event.clone()));
                    };
                    permit.into_iter().for_each(refuse);
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
                    *until = later(now, PATIENCE);
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
            self.suspects.note_written(&outgoing, self.pings);
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
        _ if is_cut(&first) => {
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
mod tests {
    use bytes::Bytes;

    use super::{super::backoff::DialLimiter, *};
    use crate::message::emit::Place;

    const SECOND: Duration = Duration::from_secs(1);
    const MODERN: &str =
        r#"0{"sid":"S","pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    const PLAIN: &str = r#"0{"sid":"S","pingInterval":25000,"pingTimeout":20000}"#;

    /// A connection, and the clock it believes in.
    struct Bench {
        core: Connection,
        now: Instant,
    }

    impl Bench {
        fn new(pin: Option<Protocol>) -> Self {
            Self::with(pin, Reconnect::never())
        }

        fn with(pin: Option<Protocol>, reconnect: Reconnect) -> Self {
            let config = Config {
                pin,
                parser: Parser::default(),
                limits: Limits { attachments: 10, bytes: 1_000 },
                connect_timeout: 20 * SECOND,
                join_timeout: 15 * SECOND,
                attachment_timeout: 30 * SECOND,
                reconnect,
                seed: 7,
            };
            Self { core: Connection::new(config), now: Instant::now() }
        }

        /// Dials, and has the websocket.
        fn dialled(pin: Option<Protocol>) -> Self {
            Self::dialled_with(Parser::Json, pin)
        }

        fn dialled_with(parser: Parser, pin: Option<Protocol>) -> Self {
            let mut bench = Self::new(pin);
            bench.core.config.parser = parser;
            assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
            let asked = pin.unwrap_or(Protocol::Eio4);
            assert_eq!(bench.core.poll_action(), Some(Action::Dial(asked)));
            bench.core.handle_dialled(bench.now);
            bench
        }

        fn open(protocol: Protocol) -> Self {
            let mut bench = Self::dialled(None);
            match protocol {
                Protocol::Eio4 => bench.text(MODERN),
                Protocol::Eio3 => {
                    bench.text(PLAIN);
                    bench.text("40");
                    let greeted = Event::Greeted(session(Protocol::Eio3));
                    assert_eq!(bench.core.poll_event(), Some(greeted));
                }
            }
            assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
            if protocol == Protocol::Eio3 {
                assert_eq!(bench.core.poll_event(), Some(Event::Packet(joined_root())));
            }
            bench
        }

        fn text(&mut self, text: &str) {
            self.core.handle_frame(self.now, Frame::Text(text.into()));
        }

        fn binary(&mut self, data: &[u8]) {
            self.core.handle_frame(self.now, Frame::Binary(Bytes::copy_from_slice(data)));
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.core.handle_timeout(self.now);
        }

        /// The server refuses with this HTTP status.
        fn refused(&mut self, status: u16) {
            let reason = Reason::Connect(ConnectFailure::Status(status));
            self.core.handle_dial_failed(self.now, reason, None);
        }

        /// What is to be written, as text.
        fn written(&mut self) -> Vec<String> {
            let mut written = Vec::new();
            while self.core.poll_transmit(|message| {
                written.push(match message {
                    Message::Text(first, second) => format!("{first}{second}"),
                    Message::Binary(first, second) => {
                        format!("{:?}", Bytes::from([first, second].concat()))
                    }
                    Message::Ping(number) => format!("ping {number}"),
                });
            }) {}
            written
        }

        fn send(&mut self, packet: Packet) {
            let epoch = self.core.epoch();
            self.core.send(self.now, epoch, Outgoing::bare(packet));
        }

        fn leave(&mut self, namespace: &str) {
            let packet = packet(namespace, Body::Disconnect);
            self.core.leave(self.now, self.core.epoch(), packet);
        }

        #[track_caller]
        fn expect_lost(&mut self, reason: Reason) {
            assert_eq!(
                self.core.poll_event(),
                Some(Event::Lost { reason, again: false, suspect: None })
            );
            assert!(self.core.is_idle());
        }
    }

    /// The default policy, apart from the clients of other tests.
    fn policy() -> Reconnect {
        Reconnect::default().limiter(DialLimiter::unlimited())
    }

    fn packet(namespace: &str, body: Body) -> Packet {
        Packet::new(namespace.into(), body)
    }

    fn session(protocol: Protocol) -> Session {
        let max_payload = (protocol == Protocol::Eio4).then_some(1_000_000);
        Session { epoch: 1, protocol, sid: "S".into(), max_payload }
    }

    /// The session of [`PLAIN`].
    /// What a server is asked that does not say what it is.
    const ASKED: [&str; 2] = ["2", "ping 1"];

    fn plain() -> Session {
        Session { max_payload: None, ..session(Protocol::Eio4) }
    }

    #[test]
    fn max_payload_decides_at_once() {
        let mut bench = Bench::dialled(None);
        bench.text(MODERN);
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(session(Protocol::Eio4))));
        assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
        assert!(bench.written().is_empty());
    }

    #[test]
    fn a_server_that_speaks_first_is_an_old_one() {
        for first in ["40", "42[\"early\"]", "40/foo,"] {
            let mut bench = Bench::dialled(None);
            bench.text(PLAIN);
            assert_eq!(bench.core.protocol(), None);
            bench.text(first);
            assert_eq!(bench.core.protocol(), Some(Protocol::Eio3), "{first}");
            assert!(bench.written().is_empty(), "nobody asked it to join");
        }
    }

    /// An event named `e` with three bytes, and the greeting of a server 2.x, as msgpack has them.
    const EVENT: &[u8] = b"\x83\xa4type\x02\xa4data\x92\xa1e\xc4\x03abc\xa3nsp\xa1/";
    const ROOT: &str = r#"4{"type":0,"nsp":"/"}"#;

    #[test]
    fn with_msgpack_too_a_server_that_speaks_first_is_an_old_one() {
        let joined = Bytes::from_static(b"\x04\x82\xa4type\x00\xa3nsp\xa1/");
        let early = Bytes::from([&[4], EVENT].concat());
        for first in [Frame::Text(ROOT.into()), Frame::Binary(joined), Frame::Binary(early)] {
            let mut bench = Bench::dialled_with(Parser::Msgpack, None);
            bench.text(PLAIN);
            bench.core.handle_frame(bench.now, first);
            assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
            let greeted = Event::Greeted(session(Protocol::Eio3));
            assert_eq!(bench.core.poll_event(), Some(greeted));
            assert!(bench.written().is_empty(), "nobody asked it to join");
        }
    }

    #[test]
    fn a_server_with_another_parser_is_told_by_its_first_packet() {
        let mut bench = Bench::dialled_with(Parser::Msgpack, None);
        bench.text(PLAIN);
        bench.text("40");
        assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(_))));
        let error = ProtocolError::Msgpack("it is one of the default parser".to_owned());
        bench.expect_lost(Reason::Protocol(error));

        // Nor is it one of an old server if it is none at all.
        for parser in [Parser::Json, Parser::Msgpack] {
            let mut bench = Bench::dialled_with(parser, None);
            bench.text(PLAIN);
            bench.binary(b"\x04\xc1");
            assert_eq!(bench.core.protocol(), None);
            let lost = bench.core.poll_event();
            assert!(
                matches!(lost, Some(Event::Lost { reason: Reason::Protocol(_), again: false, .. })),
                "{lost:?}"
            );
        }
    }

    #[test]
    fn an_event_that_cannot_be_read_ends_the_connection_with_new_servers_only() {
        for (text, error) in [
            (r#"42[{"t":"d"}]"#, ProtocolError::Payload),
            ("42/shop,[]", ProtocolError::Payload),
            ("431{}", ProtocolError::Payload),
            (
                r#"430-0["300"]"#,
                ProtocolError::Json("trailing characters at line 1 column 3".into()),
            ),
        ] {
            let mut bench = Bench::dialled(None);
            bench.text(PLAIN);
            bench.text("40");
            while bench.core.poll_event().is_some() {}
            bench.text(text);
            bench.text(r#"42["next"]"#);
            let unreadable = bench.core.poll_event();
            assert!(matches!(unreadable, Some(Event::Unreadable(_))), "{text}: {unreadable:?}");
            let next = bench.core.poll_event();
            assert!(matches!(next, Some(Event::Packet(_))), "{text}: {next:?}");

            let mut bench = Bench::dialled(None);
            bench.text(MODERN);
            bench.core.poll_event();
            bench.text(text);
            bench.expect_lost(Reason::Protocol(error));
        }
        // What follows it, or what it says, would be lost with it.
        for text in ["451-[{}]", "40[]", "44denied", "49"] {
            let mut bench = Bench::dialled(None);
            bench.text(PLAIN);
            bench.text("40");
            while bench.core.poll_event().is_some() {}
            bench.text(text);
            let lost = bench.core.poll_event();
            assert!(
                matches!(lost, Some(Event::Lost { reason: Reason::Protocol(_), .. })),
                "{text}: {lost:?}"
            );
        }
    }

    #[test]
    fn with_msgpack_a_packet_is_one_binary_message() {
        let data = Bytes::from_static(b"abc");
        let payload = crate::payload::encode_event("e", &data).unwrap();
        let event = packet("/", Body::Event { id: None, payload });
        let mut bench = Bench::dialled_with(Parser::Msgpack, None);
        bench.text(MODERN);
        bench.core.poll_event();
        bench.send(event.clone());
        assert_eq!(bench.written(), [format!("{:?}", Bytes::from_static(EVENT))]);
        bench.binary(EVENT);
        assert_eq!(bench.core.poll_event(), Some(Event::Packet(event.clone())));
        bench.text("2");
        assert_eq!(bench.written(), ["3"]);

        let mut bench = Bench::dialled_with(Parser::Msgpack, None);
        bench.text(PLAIN);
        bench.text(ROOT);
        while bench.core.poll_event().is_some() {}
        let framed = Bytes::from([&[4], EVENT].concat());
        bench.send(event.clone());
        assert_eq!(bench.written(), [format!("{framed:?}")]);
        bench.binary(&framed);
        assert_eq!(bench.core.poll_event(), Some(Event::Packet(event)));
    }

    #[test]
    fn an_old_server_that_thinks_for_long_is_found_by_a_ping() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE.mul_f64(0.99));
        assert!(bench.written().is_empty());
        bench.pass(GRACE.mul_f64(0.01));
        assert_eq!(bench.written(), ASKED);
        bench.text("3");
        assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
        let greeted = Event::Greeted(session(Protocol::Eio3));
        assert_eq!(bench.core.poll_event(), Some(greeted), "`/` is not joined yet");
        bench.text("40");
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(session(Protocol::Eio3))));
    }

    #[test]
    fn a_server_that_answers_a_ping_and_then_says_nothing_is_a_new_one() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        bench.text("3");
        assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
        bench.pass(bench.core.config.join_timeout / 2);
        assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(Session { epoch: 2, ..plain() })));

        // Anything but that, and it is an old one that thinks for long.
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        bench.text("3");
        bench.text("42[\"early\"]");
        while bench.core.poll_event().is_some() {}
        bench.pass(bench.core.config.join_timeout / 2);
        assert_eq!(bench.core.poll_event(), None);
        bench.text("40");
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(session(Protocol::Eio3))));
    }

    #[test]
    fn a_server_that_tells_a_socket_id_unasked_is_a_new_one() {
        const ANSWER: &str = r#"40{"sid":"id"}"#;
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.text(ANSWER);
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
        let answer = packet("/", Body::Connect(Some(r#"{"sid":"id"}"#.into())));
        assert_eq!(bench.core.poll_event(), Some(Event::Packet(answer)));

        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        bench.text("3");
        bench.text(ANSWER);
        assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
        assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
    }

    #[test]
    fn a_server_that_has_read_the_ping_has_little_time_to_answer_it() {
        for (trip, left) in [(Duration::ZERO, SLACK), (SECOND / 10, SECOND / 5)] {
            let mut bench = Bench::dialled(None);
            bench.text(PLAIN);
            bench.pass(GRACE);
            assert_eq!(bench.written(), ASKED);
            bench.pass(trip);
            bench.core.handle_pong(bench.now, 1);
            bench.pass(left.mul_f64(0.99));
            assert_eq!(bench.core.poll_event(), None);
            bench.pass(left.mul_f64(0.01));
            assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
        }
    }

    #[test]
    fn a_server_that_hangs_up_on_the_ping_is_dialled_again_without_a_word() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        assert_eq!(bench.written(), ASKED);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        assert_eq!(bench.core.poll_event(), None);
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
    }

    #[test]
    fn a_server_that_hangs_up_before_the_ping_is_written_says_nothing_about_itself() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.expect_lost(Reason::TransportClose(None));
        assert_eq!(bench.core.protocol(), None);
        bench.core.join(bench.now, "/");
        assert!(bench.written().is_empty());
    }

    #[test]
    fn a_server_that_stays_silent_is_of_revision_4() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        bench.pass(PATIENCE);
        assert_eq!(bench.core.poll_event(), Some(Event::Opened(plain())));
    }

    #[test]
    fn a_server_that_goes_before_it_is_asked_is_lost() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.core.handle_lost(bench.now, Reason::TransportClose(Some(1001)));
        bench.expect_lost(Reason::TransportClose(Some(1001)));
    }

    #[test]
    fn status_400_is_answered_with_the_other_revision_once() {
        let refused = ConnectFailure::Status(400);
        let mut bench = Bench::new(None);
        bench.core.join(bench.now, "/");
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        bench.refused(400);
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
        bench.refused(400);
        assert_eq!(bench.core.poll_action(), None);
        bench.expect_lost(Reason::Connect(refused));

        bench.core.join(bench.now, "/");
        bench.refused(503);
        bench.expect_lost(Reason::Connect(ConnectFailure::Status(503)));
    }

    #[test]
    fn what_a_server_says_to_the_revision_that_it_speaks_counts_more() {
        let mut bench = Bench::new(None);
        bench.core.join(bench.now, "/");
        bench.refused(400);
        bench.refused(401);
        bench.expect_lost(Reason::Connect(ConnectFailure::Status(401)));
        bench.core.join(bench.now, "/");
        bench.refused(400);
        let none = Reason::Connect(ConnectFailure::NoWebsocket("Bad Request".to_owned()));
        bench.core.handle_dial_failed(bench.now, none.clone(), None);
        bench.expect_lost(none);

        // It says nothing, and that is not the last word either.
        for silence in [Reason::TransportClose(None), Reason::TransportError("reset".to_owned())] {
            let mut bench = Bench::new(None);
            bench.core.join(bench.now, "/");
            bench.refused(400);
            bench.core.handle_dialled(bench.now);
            bench.core.handle_lost(bench.now, silence);
            bench.expect_lost(Reason::Connect(ConnectFailure::Status(400)));
        }
        let mut bench = Bench::new(None);
        bench.core.join(bench.now, "/");
        bench.refused(400);
        bench.core.handle_dialled(bench.now);
        bench.pass(SECOND_TRY);
        bench.expect_lost(Reason::Connect(ConnectFailure::Status(400)));
    }

    #[test]
    fn a_connection_that_ends_before_the_handshake_is_answered_with_the_other_revision_once() {
        let cut = || Reason::TransportClose(None);
        let actions = |bench: &mut Bench| -> Vec<Action> {
            std::iter::from_fn(|| bench.core.poll_action()).collect()
        };
        let mut bench = Bench::dialled(None);
        bench.core.handle_lost(bench.now, cut());
        assert_eq!(actions(&mut bench), [Action::Dial(Protocol::Eio3)]);
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
        assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));

        let mut bench = Bench::dialled(None);
        bench.text("1");
        assert_eq!(actions(&mut bench), [Action::Drop, Action::Dial(Protocol::Eio3)]);
        bench.core.handle_dialled(bench.now);
        bench.core.handle_lost(bench.now, cut());
        let Some(Event::Lost { reason, .. }) = bench.core.poll_event() else { panic!("not lost") };
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            assert!(reason.to_string().contains(&protocol.to_string()), "{reason}");
        }

        // One that takes both was cut off by chance.
        let mut bench = Bench::dialled(None);
        bench.core.handle_lost(bench.now, cut());
        assert_eq!(actions(&mut bench), [Action::Dial(Protocol::Eio3)]);
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert_eq!(actions(&mut bench), [Action::Dial(Protocol::Eio4)]);

        // Who insists on a revision gets no other.
        let mut bench = Bench::dialled(Some(Protocol::Eio4));
        bench.core.handle_lost(bench.now, cut());
        bench.expect_lost(cut());
    }

    #[test]
    fn one_handshake_that_is_cut_short_does_not_change_what_a_server_is() {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        for known in [Some(Protocol::Eio4), None] {
            bench.core.join(bench.now, "/");
            bench.core.handle_dialled(bench.now);
            bench.core.handle_lost(bench.now, Reason::TransportClose(None));
            assert_eq!(bench.core.protocol(), known);
        }
        // Nor do refusals of what is before it.
        let mut bench = Bench::open(Protocol::Eio4);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.core.join(bench.now, "/");
        bench.refused(502);
        assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
    }

    #[test]
    fn the_verdict_is_kept_for_the_next_connection() {
        let mut bench = Bench::open(Protocol::Eio3);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.expect_lost(Reason::TransportClose(None));
        bench.core.join(bench.now, "/");
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(Session { epoch: 2, .. }))));
    }

    #[test]
    fn a_server_that_does_not_understand_any_more_is_asked_anew() {
        let mut bench = Bench::open(Protocol::Eio3);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.expect_lost(Reason::TransportClose(None));
        bench.core.join(bench.now, "/");
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
        bench.refused(400);
        assert!(matches!(bench.core.poll_event(), Some(Event::Lost { .. })));
        bench.core.join(bench.now, "/");
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        // That nobody is there says nothing of what it is.
        bench.core.handle_dial_failed(bench.now, Reason::Connect(ConnectFailure::TimedOut), None);

        let mut bench = Bench::open(Protocol::Eio4);
        bench.text("40");
        assert_eq!(bench.core.protocol(), None);
    }

    #[test]
    fn a_connection_that_is_lost_by_chance_when_it_is_asked_misleads_for_one_connection_only() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        assert_eq!(bench.written(), ASKED);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        bench.text("40");
        assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
        bench.core.handle_dialled(bench.now);
        bench.text(PLAIN);
        bench.text("40");
        assert!(matches!(bench.core.poll_event(), Some(Event::Greeted(_))));
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
    }

    fn outbox() -> std::sync::Arc<crate::backpressure::send_quota::Outbox> {
        use crate::backpressure::send_quota::{Limits, Outbox};
        Outbox::new(Limits { items: 10, bytes: 1_000, asks: 0 })
    }

    fn event(name: &'static str, permit: Option<Permit>, place: Place) -> Outgoing {
        let payload = crate::payload::encode_event(name, &()).unwrap();
        let packet = packet("/", Body::Event { id: None, payload });
        let terms = Some(Box::new(Terms { place, lifetime: None }));
        Outgoing { permit, terms, ..Outgoing::bare(packet) }
    }

    #[test]
    fn what_was_not_written_is_given_back() {
        let mut bench = Bench::open(Protocol::Eio4);
        let outbox = outbox();
        for name in ["a", "b", "c"] {
            bench.core.send(bench.now, 1, event(name, outbox.reserve(1), Place::Last));
        }
        bench.send(packet("/", Body::Disconnect));
        assert!(bench.core.poll_transmit(|_| ()));
        bench.core.handle_lost(bench.now, Reason::PingTimeout);
        bench.expect_lost(Reason::PingTimeout);
        let unwritten = bench.core.take_unwritten();
        assert_eq!(outbox.waiting(), 2);
        let names = unwritten.iter().map(|outgoing| match &outgoing.packet.body {
            Body::Event { payload, .. } => payload.name(),
            other => panic!("{other:?}"),
        });
        assert_eq!(names.collect::<Vec<_>>(), ["b", "c"]);
        assert!(bench.core.take_unwritten().is_empty() && bench.written().is_empty());
    }

    #[test]
    fn an_event_whose_attachments_are_not_all_written_is_given_back() {
        for (written, given_back) in [(0, 1), (1, 1), (2, 1), (3, 0)] {
            let mut bench = Bench::open(Protocol::Eio4);
            let outbox = outbox();
            let arguments = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
            let payload = crate::payload::encode_event("e", &arguments).unwrap();
            let packet = packet("/", Body::Event { id: Some(7), payload });
            let permit = outbox.reserve(1);
            bench.core.send(bench.now, 1, Outgoing { permit, ..Outgoing::bare(packet.clone()) });
            for _ in 0..written {
                assert!(bench.core.poll_transmit(|_| ()));
            }
            bench.core.handle_lost(bench.now, Reason::PingTimeout);
            let unwritten = bench.core.take_unwritten();
            assert_eq!((unwritten.len(), outbox.waiting()), (given_back, given_back), "{written}");
            assert!(unwritten.iter().all(|outgoing| outgoing.packet == packet));
            drop(unwritten);
            assert_eq!(outbox.discarded(), u64::try_from(given_back).unwrap());
        }
    }

    #[test]
    fn what_was_written_and_perhaps_not_read_is_counted() {
        // Three events are sent. The last one has an attachment, so it takes two messages.
        for (written, pong, in_doubt) in [
            (0, false, 0),
            (2, false, 2),
            (3, false, 2),
            (4, false, 3),
            (5, false, 3),
            (5, true, 0),
        ] {
            let mut bench = Bench::open(Protocol::Eio4);
            let payload = crate::payload::encode_event("e", &Bytes::from_static(b"a")).unwrap();
            let large = packet("/", Body::Event { id: None, payload });
            bench.core.send(bench.now, 1, event("a", None, Place::Last));
            bench.core.send(bench.now, 1, event("b", None, Place::Last));
            bench.send(large);
            assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
            bench.pass(SECOND);
            for _ in 0..written {
                assert!(bench.core.poll_transmit(|_| ()));
            }
            if pong {
                bench.core.handle_pong(bench.now, 1);
            }
            bench.core.handle_lost(bench.now, Reason::PingTimeout);
            assert_eq!(bench.core.tally().in_doubt, in_doubt, "{written}, {pong}");
        }
    }

    #[test]
    fn one_copy_of_an_event_waits_at_a_time() {
        let mut bench = Bench::open(Protocol::Eio4);
        for id in [1, 2, 1, 1] {
            let payload = crate::payload::encode_event("e", &()).unwrap();
            bench.send(packet("/", Body::Event { id: Some(id), payload }));
        }
        assert_eq!(bench.written(), [r#"421["e"]"#, r#"422["e"]"#]);
    }

    #[test]
    fn of_what_waits_under_one_key_the_last_counts_in_the_place_of_the_first() {
        let mut bench = Bench::open(Protocol::Eio4);
        let outbox = outbox();
        let key = |key: &'static str| Place::Latest(key.into());
        for (name, place) in [
            ("a1", key("a")),
            ("x", Place::Last),
            ("b1", key("b")),
            ("a2", key("a")),
            ("b2", key("b")),
            ("y", Place::Last),
        ] {
            bench.core.send(bench.now, 1, event(name, outbox.reserve(1), place));
        }
        assert_eq!(outbox.waiting(), 4);
        assert_eq!(bench.core.tally().replaced, 2);
        assert_eq!(bench.written(), [r#"42["a2"]"#, r#"42["x"]"#, r#"42["b2"]"#, r#"42["y"]"#]);
        bench.core.send(bench.now, 1, event("a3", None, key("a")));
        assert_eq!(bench.written(), [r#"42["a3"]"#], "nothing waits any more");
    }

    #[test]
    fn a_wrong_pin_is_told_with_both_sides() {
        let mut bench = Bench::dialled(Some(Protocol::Eio3));
        bench.pass(20 * SECOND);
        let Some(Event::Lost { reason, .. }) = bench.core.poll_event() else { panic!("not lost") };
        let text = reason.to_string();
        assert!(text.contains("1.x and 2.x") && text.contains("3.x and 4.x"), "{text}");
    }

    #[test]
    fn nothing_takes_longer_than_its_timeout() {
        let failed = |failure| Reason::Connect(failure);
        let mut bench = Bench::new(None);
        bench.core.join(bench.now, "/");
        bench.pass(20 * SECOND);
        bench.expect_lost(failed(ConnectFailure::TimedOut));

        let mut bench = Bench::dialled(None);
        bench.pass(20 * SECOND);
        bench.expect_lost(failed(ConnectFailure::TimedOut));

        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.pass(GRACE);
        bench.text("3");
        assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
        bench.pass(15 * SECOND);
        bench.expect_lost(Reason::JoinTimeout);

        let mut bench = Bench::open(Protocol::Eio4);
        bench.text(r#"451-["e",{"_placeholder":true,"num":0}]"#);
        bench.pass(30 * SECOND);
        bench.expect_lost(Reason::Protocol(ProtocolError::AttachmentsMissing));

        let mut bench = Bench::open(Protocol::Eio4);
        bench.pass(45 * SECOND);
        bench.expect_lost(Reason::PingTimeout);
    }

    #[test]
    fn the_time_for_attachments_counts_from_their_packet() {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.text(r#"452-["e",{"_placeholder":true,"num":0}]"#);
        bench.pass(20 * SECOND);
        bench.core.handle_frame(bench.now, Frame::Binary(Bytes::new()));
        bench.pass(10 * SECOND);
        bench.expect_lost(Reason::Protocol(ProtocolError::AttachmentsMissing));
    }

    #[test]
    fn pings_are_answered_once_however_many_there_are() {
        let mut bench = Bench::open(Protocol::Eio4);
        for _ in 0..1_000 {
            bench.text("2");
        }
        assert_eq!(bench.written(), ["3"]);
        assert_eq!(bench.core.poll_timeout(), Some(bench.now + 45 * SECOND));
    }

    #[test]
    fn an_old_server_is_pinged_and_must_answer() {
        let mut bench = Bench::open(Protocol::Eio3);
        bench.pass(25 * SECOND);
        assert_eq!(bench.written(), ["2"]);
        bench.text("3");
        bench.pass(25 * SECOND);
        assert_eq!(bench.written(), ["2"]);
        bench.pass(20 * SECOND);
        bench.expect_lost(Reason::PingTimeout);
    }

    #[test]
    fn a_refused_root_fails_everybody_who_waits() {
        let mut bench = Bench::dialled(None);
        bench.text(PLAIN);
        bench.text(r#"44"denied""#);
        assert_eq!(bench.core.poll_event(), Some(Event::Greeted(session(Protocol::Eio3))));
        let reason = Reason::Refused(refusal(Some(r#""denied""#)));
        assert_eq!(bench.core.poll_event(), Some(Event::Refused(reason)));
        // A second try takes a new connection.
        assert_eq!(bench.core.join(bench.now, "/foo"), Admission::Later);
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
        let lost = Event::Lost { reason: Reason::Reconnect, again: true, suspect: None };
        assert_eq!(bench.core.poll_event(), Some(lost));
    }

    #[test]
    fn namespaces_are_admitted_as_the_revision_allows() {
        let mut bench = Bench::open(Protocol::Eio4);
        let now = session(Protocol::Eio4);
        assert_eq!(bench.core.join(bench.now, "/"), Admission::Now(now.clone()));
        assert_eq!(bench.core.join(bench.now, "/foo"), Admission::Now(now));

        let mut bench = Bench::open(Protocol::Eio3);
        let now = session(Protocol::Eio3);
        assert_eq!(bench.core.join(bench.now, "/"), Admission::Joined(now.clone()));
        assert_eq!(bench.core.join(bench.now, "/foo"), Admission::Now(now));
        bench.text("41");
        assert_eq!(bench.core.join(bench.now, "/"), Admission::Later);
        assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio3)));
    }

    #[test]
    fn goodbye_is_said_when_what_was_said_before_has_been_heard() {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.leave("/foo");
        bench.leave("/bar");
        assert_eq!(bench.written(), ["ping 1", "ping 2"]);
        bench.core.handle_pong(bench.now, 1);
        assert_eq!(bench.written(), ["41/foo,"]);
        // No pong: after a while it is said all the same.
        bench.pass(FAREWELL);
        assert_eq!(bench.written(), ["41/bar,"]);
    }

    #[test]
    fn whoever_comes_back_before_goodbye_says_it_first() {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.leave("/foo");
        bench.leave("/bar");
        bench.send(packet("/foo", Body::Connect(None)));
        assert_eq!(bench.written(), ["ping 1", "ping 2"]);
        bench.core.handle_pong(bench.now, 1);
        assert_eq!(bench.written(), ["41/foo,", "ping 3"]);
        bench.core.handle_pong(bench.now, 2);
        assert_eq!(bench.written(), ["41/bar,"]);
        bench.core.handle_pong(bench.now, 3);
        assert_eq!(bench.written(), ["40/foo,"]);
    }

    #[test]
    fn whoever_comes_back_waits_until_the_goodbye_has_been_heard() {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.leave("/foo");
        bench.core.handle_pong(bench.now, 1);
        assert_eq!(bench.written(), ["ping 1", "41/foo,"]);
        bench.send(packet("/foo?a=1", Body::Connect(None)));
        bench.send(packet("/bar", Body::Connect(None)));
        assert_eq!(bench.written(), ["ping 2", "40/bar,"]);
        // No pong: after a while it is asked all the same.
        bench.pass(FAREWELL);
        assert_eq!(bench.written(), ["40/foo?a=1,"]);
    }

    #[test]
    fn closing_waits_for_the_goodbyes_but_not_for_ever() {
        let mut bench = Bench::open(Protocol::Eio4);
        bench.leave("/");
        bench.core.close(bench.now + 5 * SECOND);
        assert_eq!(bench.core.poll_action(), None);
        bench.core.handle_pong(bench.now, 1);
        assert_eq!(bench.core.poll_action(), Some(Action::Close));
        assert_eq!(bench.written(), ["ping 1", "41"]);
        bench.pass(5 * SECOND);
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        bench.expect_lost(Reason::Shutdown);
    }

    #[test]
    fn a_server_that_closes_without_a_word_on_a_request_to_join_has_another_parser() {
        let mut bench = Bench::with(None, policy());
        bench.core.join(bench.now, "/");
        let close = Reason::TransportClose(None);
        let parser = Reason::Connect(ConnectFailure::Parser(Parser::Json));
        // What happens in each session, the reason that the driver has, and the one that is told.
        for (asks, answer, reason, told) in [
            (true, None, &close, &close),
            (true, None, &close, &parser),
            (true, None, &Reason::TransportClose(Some(1005)), &parser),
            // It has understood.
            (true, Some(r#"40{"sid":"x"}"#), &close, &close),
            (true, None, &close, &close),
            // There was nothing to be understood.
            (false, None, &close, &close),
            (true, None, &close, &close),
            // It is something else.
            (true, None, &Reason::PingTimeout, &Reason::PingTimeout),
            (true, None, &close, &close),
            (true, None, &close, &parser),
        ] {
            assert_eq!(bench.core.poll_action(), Some(Action::Dial(Protocol::Eio4)));
            bench.core.handle_dialled(bench.now);
            bench.text(MODERN);
            if asks {
                bench.send(packet("/", Body::Connect(None)));
                assert_eq!(bench.written(), ["40"]);
            }
            if let Some(answer) = answer {
                bench.text(answer);
            }
            while bench.core.poll_event().is_some() {}
            bench.core.handle_lost(bench.now, reason.clone());
            let lost = Event::Lost { reason: told.clone(), again: true, suspect: None };
            assert_eq!(bench.core.poll_event(), Some(lost));
            while bench.core.poll_event().is_some() {}
            bench.pass(10 * SECOND);
        }
    }

    #[test]
    fn what_belongs_to_an_older_session_is_not_sent() {
        let mut bench = Bench::open(Protocol::Eio4);
        let packet = packet("/", Body::Disconnect);
        bench.core.send(bench.now, 0, Outgoing::bare(packet.clone()));
        bench.core.leave(bench.now, 0, packet);
        assert!(bench.written().is_empty() && bench.core.take_unwritten().is_empty());
        bench.core.send(bench.now, 0, event("e", None, Place::Last));
        assert!(bench.written().is_empty());
        assert_eq!(bench.core.take_unwritten().len(), 1, "an event is given back");
    }

    #[test]
    fn an_old_server_gets_attachments_in_its_own_form() {
        let mut bench = Bench::open(Protocol::Eio3);
        let payload = crate::payload::encode_event("e", &Bytes::from_static(b"x")).unwrap();
        bench.send(packet("/", Body::Event { id: None, payload }));
        assert_eq!(bench.written(), [r#"451-["e",{"_placeholder":true,"num":0}]"#, r#"b"\x04x""#]);
    }

    /// Takes what a loss tells, and gives the delay until the next attempt.
    fn retrying(bench: &mut Bench, number: u32) -> Duration {
        assert!(matches!(bench.core.poll_event(), Some(Event::Lost { again: true, .. })));
        let Some(Event::Retrying { attempt, delay, .. }) = bench.core.poll_event() else {
            panic!("no attempt");
        };
        assert_eq!(attempt, number);
        assert_eq!(bench.core.poll_timeout(), Some(bench.now + delay));
        delay
    }

    fn unreachable() -> Reason {
        Reason::Connect(ConnectFailure::Unreachable("nobody there".to_owned()))
    }

    /// Dials in vain, from the first try on.
    fn fail(bench: &mut Bench, number: u32) -> Duration {
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        bench.core.handle_dial_failed(bench.now, unreachable(), None);
        retrying(bench, number)
    }

    #[test]
    fn the_first_connection_is_tried_again_too_with_growing_delays() {
        let mut bench = Bench::with(None, policy().jitter(0.0));
        bench.core.join(bench.now, "/");
        for (number, seconds) in [(1, 1), (2, 2), (3, 4), (4, 5), (5, 5)] {
            let delay = fail(&mut bench, number);
            assert_eq!(delay, seconds * SECOND);
            bench.pass(delay.mul_f64(0.99));
            assert_eq!(bench.core.poll_action(), None, "too early");
            bench.pass(delay.mul_f64(0.011));
        }
    }

    #[test]
    fn only_a_session_that_has_lasted_begins_the_count_anew() {
        let mut bench = Bench::with(None, policy().jitter(0.0));
        bench.core.join(bench.now, "/");
        let delay = fail(&mut bench, 1);
        for (lasts, number) in [(SECOND, 2), (6 * SECOND, 1)] {
            bench.pass(delay.max(5 * SECOND));
            assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
            bench.core.handle_dialled(bench.now);
            bench.text(MODERN);
            assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
            bench.pass(lasts);
            bench.core.handle_lost(bench.now, Reason::TransportClose(None));
            retrying(&mut bench, number);
        }
    }

    #[test]
    fn who_dials_knows_the_attempt_and_why_there_is_no_connection() {
        let mut bench = Bench::with(None, policy().attempts(2));
        assert_eq!((bench.core.attempt(), bench.core.last()), (0, None));
        bench.core.join(bench.now, "/");
        for number in [1, 2] {
            let delay = fail(&mut bench, number);
            bench.pass(delay);
            assert_eq!((bench.core.attempt(), bench.core.last()), (number, Some(&unreachable())));
        }
        let failed = Reason::Provider("no token".to_owned());
        bench.core.handle_dial_failed(bench.now, failed.clone(), None);
        bench.core.join(bench.now, "/");
        assert_eq!((bench.core.attempt(), bench.core.last()), (0, Some(&failed)), "it gave up");
    }

    #[test]
    fn a_provider_that_fails_is_asked_again_and_says_nothing_of_the_server() {
        let mut bench = Bench::with(None, policy());
        bench.core.join(bench.now, "/");
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        bench.core.handle_lost(bench.now, Reason::PingTimeout);
        let delay = retrying(&mut bench, 1);
        bench.pass(delay);
        bench.core.handle_dial_failed(bench.now, Reason::Provider("no token".to_owned()), None);
        retrying(&mut bench, 2);
        assert_eq!(bench.core.protocol(), Some(Protocol::Eio4));
    }

    #[test]
    fn a_server_that_names_a_time_is_left_alone_for_it_but_not_for_ever() {
        let hour = 3_600 * SECOND;
        for (retry_after, expected) in [
            (None, SECOND),
            (Some(Duration::ZERO), SECOND),
            (Some(SECOND / 2), SECOND),
            (Some(SECOND * 30), SECOND * 30),
            (Some(hour), hour),
            (Some(hour + SECOND), hour),
            (Some(Duration::MAX), hour),
        ] {
            let mut bench = Bench::with(None, policy().jitter(0.0));
            bench.core.join(bench.now, "/");
            assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
            let busy = Reason::Connect(ConnectFailure::Status(503));
            bench.core.handle_dial_failed(bench.now, busy, retry_after);
            assert_eq!(retrying(&mut bench, 1), expected);
            bench.pass(expected);
            assert_eq!(fail(&mut bench, 2), 2 * SECOND, "once");
        }
    }

    #[test]
    fn whoever_has_slept_longer_than_the_server_waits_connects_again() {
        let timed_out = Reason::Connect(ConnectFailure::TimedOut);
        let dialling: fn(&mut Bench) = |_| {};
        let opening: fn(&mut Bench) = |bench| bench.core.handle_dialled(bench.now);
        let undecided: fn(&mut Bench) = |bench| {
            bench.core.handle_dialled(bench.now);
            bench.text(PLAIN);
        };
        let open: fn(&mut Bench) = |bench| {
            bench.core.handle_dialled(bench.now);
            bench.text(MODERN);
            assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        };
        for (prepare, patience, reason) in [
            (dialling, 20 * SECOND, timed_out.clone()),
            (opening, 20 * SECOND, timed_out),
            (undecided, 45 * SECOND, Reason::PingTimeout),
            (open, 45 * SECOND, Reason::PingTimeout),
        ] {
            let mut bench = Bench::with(None, policy());
            bench.core.join(bench.now, "/");
            assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
            prepare(&mut bench);
            bench.core.handle_suspended(bench.now, patience);
            assert_eq!(bench.core.poll_event(), None, "{reason:?}");
            bench.core.handle_suspended(bench.now, patience + SECOND);
            assert_eq!(bench.core.poll_action(), Some(Action::Drop));
            let lost = Event::Lost { reason, again: true, suspect: None };
            assert_eq!(bench.core.poll_event(), Some(lost));
            let retrying = bench.core.poll_event();
            assert!(matches!(retrying, Some(Event::Retrying { .. })), "{retrying:?}");
            // What waits anyway goes on waiting.
            bench.core.handle_suspended(bench.now, 3_600 * SECOND);
            assert_eq!((bench.core.poll_action(), bench.core.poll_event()), (None, None));
        }
    }

    #[test]
    fn it_gives_up_after_as_many_attempts_as_it_has() {
        let mut bench = Bench::with(None, policy().attempts(2));
        bench.core.join(bench.now, "/");
        for number in [1, 2] {
            let delay = fail(&mut bench, number);
            bench.pass(delay);
        }
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        bench.core.handle_dial_failed(bench.now, unreachable(), None);
        let reason = unreachable();
        bench.expect_lost(reason.clone());
        assert_eq!(bench.core.poll_event(), Some(Event::GaveUp { attempts: 2, reason }));
        assert_eq!(bench.core.poll_timeout(), None);
    }

    #[test]
    fn clients_that_share_a_limiter_never_come_back_faster_than_its_rate() {
        let limiter = DialLimiter::per_second(10);
        let mut benches: Vec<Bench> = (0..50)
            .map(|_| Bench::with(None, policy().jitter(0.0).limiter(limiter.clone())))
            .collect();
        let start = benches[0].now;
        for bench in &mut benches {
            bench.now = start;
            bench.core.join(start, "/");
            // The first time, nobody queues.
            assert_eq!(fail(bench, 1), SECOND);
        }
        let mut dials = Vec::new();
        while dials.len() < 50 {
            let next = benches.iter().filter_map(|bench| bench.core.poll_timeout()).min();
            let now = next.expect("somebody waits");
            for bench in &mut benches {
                bench.now = now;
                bench.core.handle_timeout(now);
                if matches!(bench.core.poll_action(), Some(Action::Dial(_))) {
                    dials.push(now);
                    bench.core.handle_dialled(bench.now);
                    bench.text(MODERN);
                    assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
                }
            }
        }
        let turns = (0..50).map(|turn| start + SECOND + turn * SECOND / 10);
        assert!(turns.eq(dials));
    }

    #[test]
    fn whoever_does_not_want_to_queue_any_more_is_out_at_once() {
        for shut_down in [false, true] {
            let limiter = DialLimiter::per_second(1);
            let mut bench = Bench::with(None, policy().jitter(0.0).limiter(limiter.clone()));
            bench.core.join(bench.now, "/");
            let delay = fail(&mut bench, 1);
            limiter.reserve(bench.now + delay);
            bench.pass(delay);
            assert_eq!(bench.core.poll_action(), None);
            assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
            // Nothing that comes late puts it off.
            bench.core.handle_lost(bench.now, Reason::TransportClose(None));
            bench.text(MODERN);
            assert_eq!(bench.core.poll_timeout(), Some(bench.now + SECOND));
            if shut_down {
                bench.core.close(bench.now + SECOND);
                bench.expect_lost(Reason::Shutdown);
            } else {
                bench.core.set_wanted(false);
            }
            assert!(bench.core.is_idle());
            bench.pass(60 * SECOND);
            assert_eq!(bench.core.poll_action(), Some(Action::Drop));
            assert_eq!(bench.core.poll_action(), None);
        }
    }

    #[test]
    fn when_nobody_wants_a_connection_nothing_waits_or_dials() {
        let mut bench = Bench::with(None, policy());
        bench.core.join(bench.now, "/");
        fail(&mut bench, 1);
        bench.core.set_wanted(false);
        assert!(bench.core.is_idle());
        bench.pass(60 * SECOND);
        assert_eq!(bench.core.poll_action(), Some(Action::Drop));
        assert_eq!(bench.core.poll_action(), None);
        // Whoever wants one again gets it at once.
        bench.core.join(bench.now, "/");
        assert!(matches!(bench.core.poll_action(), Some(Action::Dial(_))));
        bench.core.set_wanted(false);
        assert_eq!(bench.core.poll_action(), Some(Action::Drop), "while dialling, too");
        bench.core.handle_dialled(bench.now);
        bench.core.handle_dial_failed(bench.now, unreachable(), None);
        assert_eq!(bench.core.poll_event(), None);
        assert!(bench.core.is_idle());
    }

    #[test]
    fn a_shutdown_ends_the_waiting_and_a_closing_connection_does_not_come_back() {
        let mut bench = Bench::with(None, policy());
        bench.core.join(bench.now, "/");
        fail(&mut bench, 1);
        bench.core.close(bench.now + SECOND);
        bench.expect_lost(Reason::Shutdown);

        let mut bench = Bench::with(None, policy());
        bench.core.join(bench.now, "/");
        bench.core.handle_dialled(bench.now);
        bench.text(MODERN);
        assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
        bench.leave("/");
        bench.core.close(bench.now + SECOND);
        bench.core.handle_lost(bench.now, Reason::TransportClose(None));
        bench.expect_lost(Reason::TransportClose(None));
    }

    #[test]
    fn the_policy_decides_by_the_reason_what_is_tried_again() {
        for (retry, again) in
            [(Retry::Again, true), (Retry::WithNewAuth, true), (Retry::Stop, false)]
        {
            let policy = policy().retry(move |reason| match reason {
                Reason::TransportClose(Some(4_000)) => retry,
                other => Retry::default_for(other),
            });
            let mut bench = Bench::with(None, policy);
            bench.core.join(bench.now, "/");
            let delay = fail(&mut bench, 1);
            bench.pass(delay);
            bench.core.handle_dialled(bench.now);
            bench.text(MODERN);
            assert!(matches!(bench.core.poll_event(), Some(Event::Opened(_))));
            bench.core.handle_lost(bench.now, Reason::TransportClose(Some(4_000)));
            let lost = bench.core.poll_event();
            assert!(matches!(lost, Some(Event::Lost { again: told, .. }) if told == again));
            assert_eq!(bench.core.is_idle(), !again, "{retry:?}");
        }
    }

    #[test]
    fn a_server_that_is_what_it_is_is_not_tried_again() {
        let mut bench = Bench::with(Some(Protocol::Eio3), policy());
        bench.core.join(bench.now, "/");
        bench.core.handle_dialled(bench.now);
        bench.pass(20 * SECOND);
        let lost = bench.core.poll_event();
        assert!(matches!(lost, Some(Event::Lost { again: false, .. })), "{lost:?}");
    }

    mod operations {
        //! Random operations: whatever is done and happens, in whatever order, certain things hold.

        use proptest::prelude::*;

        use super::*;

        #[derive(Debug, Clone)]
        enum Operation {
            Join(&'static str),
            Leave(&'static str),
            Wanted(bool),
            Emit,
            Close,
            Dialled,
            DialFailed,
            Lost,
            Text(&'static str),
            Binary,
            Pong,
            Pass(u64),
            Suspended(u64),
        }

        fn operation() -> impl Strategy<Value = Operation> {
            let namespace = prop::sample::select(vec!["/", "/foo"]);
            let text = prop::sample::select(vec![
                MODERN,
                PLAIN,
                "40",
                "40/foo,",
                "41",
                "44\"no\"",
                "42[\"e\"]",
                "42[{}]",
                "1",
                "2",
                "3",
                "9",
                "451-[\"e\"]",
                "",
            ]);
            prop_oneof![
                namespace.clone().prop_map(Operation::Join),
                namespace.prop_map(Operation::Leave),
                any::<bool>().prop_map(Operation::Wanted),
                Just(Operation::Emit),
                Just(Operation::Close),
                Just(Operation::Dialled),
                Just(Operation::DialFailed),
                Just(Operation::Lost),
                // Most of what happens is that something comes.
                text.clone().prop_map(Operation::Text),
                text.clone().prop_map(Operation::Text),
                text.prop_map(Operation::Text),
                Just(Operation::Binary),
                Just(Operation::Pong),
                (0..60_000_u64).prop_map(Operation::Pass),
                (0..60_000_u64).prop_map(Operation::Suspended),
            ]
        }

        proptest! {
            #[test]
            fn no_order_of_events_breaks_the_rules(
                operations in prop::collection::vec(operation(), 0..80),
                pin in prop::sample::select(vec![None, Some(Protocol::Eio3), Some(Protocol::Eio4)]),
            ) {
                // So few that some are queued.
                let limiter = DialLimiter::per_second(1);
                let now = Instant::now();
                for _ in 0..3 {
                    limiter.reserve(now);
                }
                let policy = policy().attempts(2).limiter(limiter);
                let mut bench = Bench::with(pin, policy);
                let (mut open, mut retry, mut anybody) = (false, false, false);
                let mut epoch = 0;
                for operation in operations {
                    match operation {
                        Operation::Join(namespace) => {
                            bench.core.join(bench.now, namespace);
                            anybody = true;
                        }
                        Operation::Leave(namespace) => bench.leave(namespace),
                        Operation::Wanted(wanted) => {
                            bench.core.set_wanted(wanted);
                            anybody = wanted;
                        }
                        Operation::Emit => {
                            let payload = crate::payload::encode_event("e", &1).unwrap();
                            let body = Body::Event { id: None, payload };
                            bench.send(packet("/", body));
                        }
                        Operation::Close => bench.core.close(bench.now + SECOND),
                        Operation::Dialled => bench.core.handle_dialled(bench.now),
                        Operation::DialFailed => {
                            bench.refused(400);
                        }
                        Operation::Lost => {
                            bench.core.handle_lost(bench.now, Reason::TransportClose(None));
                        }
                        Operation::Text(text) => bench.text(text),
                        Operation::Binary => {
                            bench.core.handle_frame(bench.now, Frame::Binary(Bytes::new()));
                        }
                        Operation::Pong => bench.core.handle_pong(bench.now, 1),
                        Operation::Pass(millis) => bench.pass(Duration::from_millis(millis)),
                        Operation::Suspended(millis) => {
                            let gap = Duration::from_millis(millis);
                            bench.core.handle_suspended(bench.now, gap);
                        }
                    }
                    while let Some(event) = bench.core.poll_event() {
                        match event {
                            Event::Greeted(session) => {
                                prop_assert_eq!(session.protocol, Protocol::Eio3);
                                prop_assert!(session.epoch > epoch, "an epoch was used again");
                                epoch = session.epoch;
                            }
                            Event::Opened(session) => {
                                prop_assert!(!open, "opened twice");
                                let new = u64::from(session.protocol == Protocol::Eio4);
                                prop_assert!(session.epoch >= epoch + new, "an epoch was used again");
                                prop_assert!(pin.is_none_or(|pin| pin == session.protocol));
                                epoch = session.epoch;
                                open = true;
                            }
                            Event::Unreadable(_) => {
                                prop_assert_eq!(bench.core.protocol(), Some(Protocol::Eio3));
                            }
                            Event::Packet(_) | Event::Refused(_) => {
                                prop_assert!(open || bench.core.protocol() == Some(Protocol::Eio3));
                            }
                            Event::Lost { again, .. } => {
                                open = false;
                                retry = again;
                            }
                            Event::Retrying { delay, .. } => {
                                prop_assert!(retry && delay <= 8 * SECOND);
                            }
                            Event::GaveUp { attempts, .. } => {
                                prop_assert!(!retry && attempts == 2);
                            }
                        }
                    }
                    let dials = std::iter::from_fn(|| bench.core.poll_action())
                        .filter(|action| matches!(action, Action::Dial(_)))
                        .count();
                    prop_assert!(dials <= 1, "more than one dial at a time");
                    prop_assert!(anybody || dials == 0, "a dial that nobody wants");
                    if open && bench.core.protocol() == Some(Protocol::Eio4) {
                        drop(bench.written());
                    } else {
                        for text in bench.written() {
                            prop_assert!(!text.starts_with("40"), "a request to join, unasked");
                        }
                    }
                    if let Some(timeout) = bench.core.poll_timeout() {
                        prop_assert!(!bench.core.is_idle());
                        prop_assert!(timeout < bench.now + 86_401 * SECOND);
                    }
                }
            }
        }
    }
}

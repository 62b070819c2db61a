//! What the actors say to each other, and what the handles say to them.
//!
//! Each kind of speaker has one message, so each actor has one door for it. None of them waits for a
//! result; a sender that wants one includes a [`Teller`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{Message, Recipient};
use bytestring::ByteString;

use crate::{
    actor::{
        held::Held,
        shutdown::{Ending, ShutdownLatch, ShutdownSender},
        subscribers::{NewSubscription, policy::SubscriptionId},
        waiters::ReadySender,
    },
    backpressure::{receive_window::Load, send_quota::SendPermit},
    payload::Payload,
    proto::{
        emit::Emit, outgoing::Outgoing, packet::Packet, reason::Reason, session::Session,
        suspect::Suspect, ticket::SessionTicket,
    },
    runtime::task::Teller,
};

/// What the Connection tells a Namespace.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromConnection {
    /// There is a connection that takes requests to join.
    Opened { session: Session },
    /// Packets of this namespace.
    Routed { epoch: u64, packets: Vec<Packet>, held: Held },
    /// The connection is gone, or did not come about.
    Lost { reason: Reason, again: bool, suspect: Option<Suspect> },
    /// What the connection was given, and did not write.
    Unwritten { batch: Vec<Outgoing> },
    /// Another attempt to connect is to be made.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// No more attempts to connect are made.
    GaveUp { attempts: u32, reason: Reason },
    /// An old server refused `/`, and with it all namespaces that wait.
    Refused { reason: Reason },
    /// Have stuck subscribers, or `all` that are slow, hold up the connection no more.
    Shed { all: bool, share: Load },
    /// Send what can be sent, wait for the answers, end, and report.
    Finish { ending: Ending },
    /// It is over.
    End { latch: Arc<ShutdownLatch> },
}

/// What a Namespace tells its Connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromNamespace {
    /// It wants to be joined.
    Join { namespace: ByteString, addr: Recipient<FromConnection> },
    /// It is joined or to be joined, or neither.
    Wanted { namespace: ByteString, wanted: bool },
    /// Packets to be sent.
    Transmit { epoch: u64, batch: VecDeque<Outgoing> },
    /// The packet that leaves a namespace.
    Leave { epoch: u64, packet: Packet },
    /// There is room in the window again, or a namespace is dead.
    Room,
    /// It has nothing to send any more.
    Finished { namespace: ByteString },
    /// The connection of that number is of no use to a namespace any more.
    Replace { epoch: u64 },
}

/// What a handle of a namespace tells its actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromHandle {
    /// There is a batch of events to be sent.
    Submitted,
    /// Give back what was not sent.
    TakeUnsent { waiter: Teller<Vec<Emit>> },
    /// Somebody wants to go on with this session elsewhere.
    GiveTicket { waiter: Teller<Option<SessionTicket>> },
    /// An answer to the server.
    Answer(Answer),
    /// Somebody wants to hear.
    Subscribe { subscription: Box<NewSubscription> },
    /// Somebody wants to hear no more.
    Cancel { number: SubscriptionId },
    /// Somebody waits until the namespace is joined, for so long.
    AwaitReady { waiter: ReadySender, timeout: Duration },
    /// Join again, if that does not go on already.
    Rejoin { intent_seq: u64 },
    /// Leave.
    Disconnect { intent_seq: u64 },
}

/// The answer to the question with this id, which the server asked while the namespace was joined for the time
/// `join_id`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) join_id: u64,
    pub(crate) id: u64,
    pub(crate) payload: Payload,
    pub(crate) permit: SendPermit,
}

/// What a handle of the client tells the Connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromClient {
    /// Shut down within the deadline. The answer comes when all namespaces have ended.
    Shutdown { deadline: Duration, ending: Ending, waiter: ShutdownSender },
    /// The last handle was dropped.
    Abandoned,
}

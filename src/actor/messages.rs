//! The messages between the actors, and from the handles to them.
//!
//! There is one message type for each sender, so each actor has one handler for it. None has a
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

/// Messages of the Connection to a Namespace.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromConnection {
    /// There is a connection that takes requests to join.
    Opened { session: Session },
    /// Packets of this namespace.
    Routed { epoch: u64, packets: Vec<Packet>, held: Held },
    /// The connection is lost, or could not be made.
    Lost { reason: Reason, again: bool, suspect: Option<Suspect> },
    /// Packets that the connection has not written.
    Unwritten { batch: Vec<Outgoing> },
    /// Another attempt to connect is to be made.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// No more attempts to connect are made.
    GaveUp { attempts: u32, reason: Reason },
    /// An old server refused `/`, and with it all namespaces that wait.
    Refused { reason: Reason },
    /// Stuck subscribers, or `all` slow ones, must no longer hold the connection back.
    Shed { all: bool, share: Load },
    /// Send the waiting events, wait for the answers, end, and report.
    Finish { ending: Ending },
    /// Everything is over.
    End { latch: Arc<ShutdownLatch> },
}

/// Messages of a Namespace to its Connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromNamespace {
    /// It wants to be joined.
    Join { namespace: ByteString, addr: Recipient<FromConnection> },
    /// Whether it is joined or to be joined.
    Wanted { namespace: ByteString, wanted: bool },
    /// Packets to be sent.
    Transmit { epoch: u64, batch: VecDeque<Outgoing> },
    /// The packet that leaves a namespace.
    Leave { epoch: u64, packet: Packet },
    /// There is room in the window again, or a namespace is dead.
    Room,
    /// It has nothing to send any more.
    Finished { namespace: ByteString },
    /// The connection with this number cannot serve a namespace any more.
    Replace { epoch: u64 },
}

/// Messages of the handles of a namespace to its actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromHandle {
    /// A batch of events waits in the queue.
    Submitted,
    /// Give back what was not sent.
    TakeUnsent { waiter: Teller<Vec<Emit>> },
    /// Give a ticket to continue this session elsewhere.
    GiveTicket { waiter: Teller<Option<SessionTicket>> },
    /// An answer to the server.
    Answer(Answer),
    /// A new subscription.
    Subscribe { subscription: Box<NewSubscription> },
    /// The end of a subscription.
    Cancel { number: SubscriptionId },
    /// A caller waits until the namespace is joined, for this long.
    AwaitReady { waiter: ReadySender, timeout: Duration },
    /// Join again, unless the namespace is joined or being joined.
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

/// Messages of the handles of a client to the Connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromClient {
    /// Shut down within the deadline. The answer comes when all namespaces have ended.
    Shutdown { deadline: Duration, ending: Ending, waiter: ShutdownSender },
    /// The last handle was dropped.
    Abandoned,
}

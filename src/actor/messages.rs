//! The messages between the actors, and from the handles of a client to its Connection.
//!
//! There is one message type for each sender, so each actor has one handler for it. None has a
//! result. What handles ask of a namespace is not a message: it waits in the
//! [`command_queue`](crate::actor::command_queue).

use std::{cell::Cell, collections::VecDeque, sync::Arc, time::Duration};

use actix::{Message, Recipient};
use bytestring::ByteString;

use crate::{
    actor::{
        held::Held,
        shutdown::{Ending, ShutdownLatch},
    },
    backpressure::receive_window::Load,
    proto::{
        outgoing::Outgoing, packet::Packet, reason::Reason, session::Session, suspect::Suspect,
        transports::Transport,
    },
    runtime::spare,
};

thread_local! {
    static PACKETS: Cell<Vec<Packet>> = const { Cell::new(Vec::new()) };
    static BATCH: Cell<VecDeque<Outgoing>> = const { Cell::new(VecDeque::new()) };
}

/// The most items for which a buffer is kept: some 64 kB.
const SPARE: usize = 512;

/// A buffer for [packets](FromConnection::Routed).
pub(crate) fn lend_packets() -> Vec<Packet> {
    spare::lend(&PACKETS)
}

/// Takes the buffer back when it is empty.
pub(crate) fn take_back_packets(packets: Vec<Packet>) {
    if packets.capacity() <= SPARE {
        spare::take_back(&PACKETS, packets);
    }
}

/// A buffer for packets to be [sent](FromNamespace::Transmit).
pub(crate) fn lend_batch() -> VecDeque<Outgoing> {
    spare::lend(&BATCH)
}

/// Takes the buffer back when it is empty.
pub(crate) fn take_back_batch(batch: VecDeque<Outgoing>) {
    if batch.capacity() <= SPARE {
        spare::take_back(&BATCH, batch);
    }
}

/// Messages of the Connection to a Namespace.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromConnection {
    /// There is a connection that takes requests to join.
    Opened { session: Session },
    /// Packets of this namespace.
    Routed { epoch: u64, packets: Vec<Packet>, held: Held },
    /// The connection has another transport.
    Upgraded { transport: Transport },
    /// The connection is lost, or could not be made.
    Lost { reason: Reason, again: bool, suspect: Option<Box<Suspect>> },
    /// Packets that the connection has not written.
    Unwritten { batch: Vec<Outgoing> },
    /// Another attempt to connect will be made.
    Retrying { attempt: u32, delay: Duration, reason: Reason },
    /// No more attempts to connect are made.
    GaveUp { attempts: u32, reason: Reason },
    /// An old server refused `/`, and with it all namespaces that wait.
    Refused { reason: Reason },
    /// Stuck subscribers, or `all` slow ones, must no longer hold the connection back.
    Shed { all: bool, share: Load },
    /// Nothing has come or gone for a while: room that is not used can be given back.
    Rest,
    /// Send the waiting events, wait for the answers, end, and report.
    Finish { ending: Ending },
    /// Everything has ended.
    End { latch: Arc<ShutdownLatch> },
}

/// Messages of a Namespace to its Connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromNamespace {
    /// The namespace wants to be joined.
    Join { namespace: ByteString, addr: Recipient<FromConnection> },
    /// Whether the namespace is joined or will be.
    Wanted { namespace: ByteString, wanted: bool },
    /// Packets to be sent.
    Transmit { epoch: u64, batch: VecDeque<Outgoing> },
    /// The packet that leaves a namespace.
    Leave { epoch: u64, packet: Packet },
    /// There is room in the window again, or a namespace has died.
    Room,
    /// The namespace has nothing left to send.
    Finished { namespace: ByteString },
    /// The connection with this number cannot serve a namespace any more.
    Replace { epoch: u64 },
}

/// Messages of the handles of a client to the Connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum FromClient {
    /// Look into [`ShutdownRequests`](crate::actor::shutdown::ShutdownRequests).
    Shutdown,
    /// The last handle was dropped.
    Abandoned,
}

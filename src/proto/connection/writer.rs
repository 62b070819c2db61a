//! What goes out on a connection, until the server has read it.
//!
//! Packets go to the [`send_queue`](super::send_queue), except for those that [`leaving`](super::leaving) holds
//! back for a pong. After they are written, [`unconfirmed`](super::unconfirmed) counts the events that the server
//! may not have read, and [`suspect`](crate::proto::suspect) keeps the one over which it may close the connection.

use std::time::Instant;

use super::{
    events::Tally,
    leaving::Leaving,
    send_queue::{SendQueue, Written},
    timers::Timers,
    unconfirmed::Unconfirmed,
};
use crate::proto::{
    engine::{Message, Protocol},
    outgoing::Outgoing,
    packet::{Body, Packet, Parser},
    reason::Reason,
    suspect::{Suspect, Suspects},
};

#[derive(Debug)]
pub(super) struct Writer {
    parser: Parser,
    queue: SendQueue,
    /// `None` until a namespace is left.
    leaving: Option<Box<Leaving>>,
    unconfirmed: Unconfirmed,
    suspects: Suspects,
    /// The one that the connection was lost over, until that is told.
    suspect: Option<Box<Suspect>>,
}

impl Writer {
    pub(super) fn new(parser: Parser) -> Self {
        Self {
            parser,
            queue: SendQueue::default(),
            leaving: None,
            unconfirmed: Unconfirmed::default(),
            suspects: Suspects::new(parser),
            suspect: None,
        }
    }

    /// There will be another connection, on which nothing has been sent.
    pub(super) fn begin(&mut self) {
        self.queue.clear();
        self.leaving = None;
        self.unconfirmed = Unconfirmed::default();
        self.suspects.begin();
    }

    /// The queue, for pings and pongs.
    pub(super) fn queue(&mut self) -> &mut SendQueue {
        &mut self.queue
    }

    /// Sends a packet of the current session.
    pub(super) fn send(
        &mut self,
        now: Instant,
        outgoing: Outgoing,
        timers: &mut Timers,
        tally: &mut Tally,
    ) {
        if matches!(outgoing.packet.body, Body::Connect(_)) {
            if let Some(leaving) = &mut self.leaving {
                return leaving.join(now, outgoing, &mut self.queue, timers);
            }
            self.queue.push(outgoing);
            return;
        }
        if outgoing.is_plain() || self.suspects.is_open() || self.suspects.is_suspicious(&outgoing)
        {
            self.unconfirmed.expect(now, timers);
        }
        if self.queue.push(outgoing) {
            tally.replaced = tally.replaced.saturating_add(1);
        }
    }

    /// Sends the disconnect of a namespace when everything before it has been read.
    pub(super) fn leave(&mut self, now: Instant, packet: Packet, timers: &mut Timers) {
        let leaving = self.leaving.get_or_insert_default();
        leaving.leave(now, packet, &mut self.queue, timers);
    }

    /// Replaces the connection when everything before has been read: see
    /// [`take_due_replacement`](Self::take_due_replacement).
    pub(super) fn replace(&mut self, now: Instant, timers: &mut Timers) {
        let leaving = self.leaving.get_or_insert_default();
        leaving.replace(now, &mut self.queue, timers);
    }

    /// Whether the connection is to be replaced now.
    pub(super) fn take_due_replacement(&mut self) -> bool {
        self.leaving.as_mut().is_some_and(|leaving| leaving.take_due_replacement())
    }

    /// Whether a disconnect is held back.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| leaving.is_pending())
    }

    /// The server is pinged, to confirm what was written.
    pub(super) fn ask(&mut self) {
        self.unconfirmed.ask(self.queue.ping());
    }

    /// The server has read everything before this ping. `is_open`: there is a session.
    pub(super) fn handle_pong(
        &mut self,
        now: Instant,
        ping: u64,
        is_open: bool,
        timers: &mut Timers,
    ) {
        self.suspects.handle_pong(ping);
        self.queue.handle_pong(ping);
        let is_more = self.unconfirmed.handle_pong(ping);
        if is_open {
            if is_more {
                self.unconfirmed.expect(now, timers);
            }
            if let Some(leaving) = &mut self.leaving {
                leaving.handle_pong(ping, &mut self.queue, timers);
            }
        }
    }

    /// The server has answered an event.
    #[inline]
    pub(super) fn handle_answer(&mut self, namespace: &str, id: u64) {
        if self.suspects.is_open() {
            self.suspects.handle_answer(namespace, id);
        }
    }

    /// The time is over for what is held back. `is_polling`: it goes on waiting.
    pub(super) fn handle_timeout(&mut self, now: Instant, is_polling: bool, timers: &mut Timers) {
        let Some(leaving) = &mut self.leaving else { return };
        if is_polling {
            leaving.wait_on(now, timers);
        } else {
            leaving.handle_timeout(now, &mut self.queue, timers);
        }
    }

    /// The server, or something on the way to it, has ended the session. Returns the reason, with its
    /// probable cause. `is_limited`: the server has announced its limit.
    pub(super) fn handle_lost(&mut self, reason: Reason, is_limited: bool) -> Reason {
        let (reason, suspect) = self.suspects.handle_lost(reason, is_limited);
        self.suspect = suspect;
        reason
    }

    /// The connection is gone. Returns the event over which the server may have ended it.
    pub(super) fn end(&mut self, tally: &mut Tally) -> Option<Box<Suspect>> {
        let suspect = self.suspect.take();
        let is_cut = self.queue.end(suspect.as_deref());
        let in_doubt = std::mem::take(&mut self.unconfirmed).in_doubt();
        let in_doubt = in_doubt.saturating_sub(u64::from(is_cut));
        tally.in_doubt = tally.in_doubt.saturating_add(in_doubt);
        suspect
    }

    /// Gives back an event that is not for this connection.
    pub(super) fn give_back(&mut self, outgoing: Outgoing) {
        self.queue.give_back(outgoing);
    }

    /// Events that were not written to the connection that they were meant for, and will not be.
    pub(super) fn take_unwritten(&mut self) -> Vec<Outgoing> {
        self.queue.take_unwritten()
    }

    /// Writes the next message. `false` if there is none. Calls `note_request` after a request to join.
    #[inline]
    pub(super) fn transmit(
        &mut self,
        protocol: Option<Protocol>,
        tally: &mut Tally,
        write: impl FnOnce(Message<'_>),
        note_request: impl FnOnce(),
    ) -> bool {
        let Tally { events, answers, bytes_out, .. } = tally;
        let write = |message: Message<'_>| {
            *bytes_out = bytes_out.saturating_add(message.size());
            write(message);
        };
        let note = |written: Written<'_>| match written {
            Written::Ping(number) => self.unconfirmed.note_ping(number),
            Written::Packet { outgoing, ping } => {
                match &outgoing.packet.body {
                    Body::Event { id, .. } => {
                        *events = events.saturating_add(1);
                        if id.is_none() {
                            self.unconfirmed.note_written();
                        }
                    }
                    Body::Ack { .. } => *answers = answers.saturating_add(1),
                    Body::Connect(_) => note_request(),
                    Body::Disconnect | Body::ConnectError(_) => {}
                }
                self.suspects.note_written(outgoing, ping);
            }
        };
        self.queue.transmit(self.parser, protocol, write, note)
    }
}

#[cfg(test)]
impl Writer {
    pub(super) fn leaving(&self) -> Option<&Leaving> {
        self.leaving.as_deref()
    }

    pub(super) fn unconfirmed(&self) -> &Unconfirmed {
        &self.unconfirmed
    }

    /// Whether there is a suspect to be cleared or confirmed.
    pub(super) fn suspects_one(&self) -> bool {
        self.suspects.is_open()
    }
}

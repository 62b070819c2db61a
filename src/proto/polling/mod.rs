//! HTTP long-polling: packets come in the responses to GETs and go out in POSTs, one of each at a time; and
//! the upgrade to a websocket.
//!
//! ```text
//!  open packet ──▶ polling ──▶ probing ──▶ pausing ──▶ (websocket)
//!                     ▲           │           │
//!                     └───────────┴───────────┘  the websocket does not work
//! ```
//!
//! A request is never repeated: its packets may have arrived. So a failed request ends the session.
//!
//! An upgrade loses nothing if no request is open when the websocket takes over. So while it is *pausing*,
//! the client waits for the open requests, and begins none. The server answers an open GET for that purpose.

mod batch;
mod body;

use std::{collections::VecDeque, mem};

pub(crate) use self::batch::Post;
use self::{batch::Batch, body::Body};
use super::{
    engine::{Frame, Handshake, Incoming, Message, Protocol},
    packet::Refused,
    peer_text::PeerText,
};

const CLOSE: Message<'static> = Message::Text("1", "");

#[derive(Debug)]
pub(crate) struct Polling {
    /// The largest packet to accept, in bytes.
    limit: usize,
    session: Option<Session>,
    get: Option<Body>,
    post: Option<Posting>,
    upgrade: Upgrade,
    ending: Ending,
    /// What has come in, apart from the packets in the body.
    incoming: VecDeque<Incoming>,
}

#[derive(Debug)]
struct Session {
    protocol: Protocol,
    sid: PeerText,
    batch: Batch,
    /// The last barrier after the packets of the next body, and of the one after that.
    barriers: [Option<u64>; 2],
}

/// The POST that is open.
#[derive(Debug)]
struct Posting {
    barrier: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    /// The upgrade is not wanted, not possible, or has failed.
    Off,
    /// The upgrade is wanted, if the server offers it.
    Wanted,
    Offered,
    Probing,
    Pausing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    /// The close packet must be sent.
    Closing,
    /// The close packet is in a body, or was sent last.
    Said,
}

impl Polling {
    /// The first GET is being answered; its body follows.
    pub(crate) fn new(limit: usize, wants_websocket: bool) -> Self {
        Self {
            limit,
            session: None,
            get: Some(Body::new(None, limit)),
            post: None,
            upgrade: if wants_websocket { Upgrade::Wanted } else { Upgrade::Off },
            ending: Ending::No,
            incoming: VecDeque::new(),
        }
    }

    /// The session's id, as soon as it is known.
    pub(crate) fn sid(&self) -> Option<&str> {
        self.session.as_ref().map(|session| &*session.sid)
    }

    /// A piece of the body of the response to the GET.
    pub(crate) fn handle_chunk(&mut self, chunk: &[u8]) {
        if let Some(body) = &mut self.get {
            body.push(chunk);
        }
    }

    /// The body of the response is complete.
    pub(crate) fn handle_end(&mut self) {
        if let Some(body) = &mut self.get {
            body.complete();
        }
    }

    /// The POST was answered: the server has read its packets.
    pub(crate) fn handle_posted(&mut self) {
        if let Some(Posting { barrier }) = self.post.take() {
            self.incoming.extend(barrier.map(Incoming::Confirmed));
        }
    }

    /// The websocket has answered the probe, or does not work.
    pub(crate) fn handle_probed(&mut self, works: bool) {
        if self.upgrade == Upgrade::Probing {
            self.upgrade = if works { Upgrade::Pausing } else { Upgrade::Off };
        }
    }

    /// The open requests were not answered in time: polling goes on.
    pub(crate) fn handle_pause_timeout(&mut self) {
        if self.upgrade == Upgrade::Pausing {
            self.upgrade = Upgrade::Off;
        }
    }

    /// The next packet or message. `None` if nothing is complete.
    pub(crate) fn poll_incoming(&mut self) -> Result<Option<Incoming>, Refused> {
        if let Some(incoming) = self.incoming.pop_front() {
            return Ok(Some(incoming));
        }
        let Some(body) = &mut self.get else { return Ok(None) };
        let Some(frame) = body.next()? else {
            if body.is_complete() {
                self.get = None;
            }
            return Ok(None);
        };
        if self.session.is_some() {
            return Ok(Some(Incoming::Frame(frame)));
        }
        let protocol = body.protocol().unwrap_or(Protocol::Eio4);
        self.open(protocol, &frame);
        // It goes before the open packet, which does not tell the revision.
        self.incoming.push_back(Incoming::Frame(frame));
        Ok(Some(Incoming::Revision(protocol)))
    }

    /// The first packet. If it is not an open packet, the reader ends the connection over it.
    fn open(&mut self, protocol: Protocol, frame: &Frame) {
        let Frame::Text(text) = frame else { return };
        let Some(handshake) = text.strip_prefix('0').and_then(|json| Handshake::parse(json).ok())
        else {
            return;
        };
        if self.upgrade == Upgrade::Wanted {
            let offers = handshake.has_websocket;
            self.upgrade = if offers { Upgrade::Offered } else { Upgrade::Off };
        }
        let batch = Batch::new(protocol, handshake.max_payload);
        self.session = Some(Session { protocol, sid: handshake.sid, batch, barriers: [None; 2] });
    }

    /// Whether a packet may be pushed. While a POST is open, packets wait where they can still be replaced.
    pub(crate) fn has_room(&self) -> bool {
        self.post.is_none()
            && self.upgrade != Upgrade::Pausing
            && self.session.as_ref().is_some_and(|session| session.batch.has_room())
    }

    /// Adds a packet to the next body, or a barrier after all packets before it.
    pub(crate) fn push(&mut self, message: Message<'_>) {
        let Some(session) = &mut self.session else { return };
        let [this, next] = &mut session.barriers;
        match message {
            Message::Barrier(barrier) if !session.batch.has_carried() => {
                if !session.batch.is_empty() {
                    *this = Some(barrier);
                } else if let Some(post) = &mut self.post {
                    post.barrier = Some(barrier);
                } else {
                    self.incoming.push_back(Incoming::Confirmed(barrier));
                }
            }
            Message::Barrier(barrier) => *next = Some(barrier),
            Message::Text(..) | Message::Binary(..) => session.batch.push(message),
        }
    }

    /// Closes the session, after everything that was pushed.
    pub(crate) fn close(&mut self) {
        if self.ending == Ending::No {
            self.ending = Ending::Closing;
            self.upgrade = Upgrade::Off;
        }
    }

    /// The POST that ends a session that is given up: the close packet alone, since the other waiting packets
    /// may have to be reported as lost. `None` if the server has been told, or there is no session.
    pub(crate) fn farewell(&self) -> Option<Post> {
        let session = self.session.as_ref().filter(|_| self.ending != Ending::Said)?;
        let mut batch = Batch::new(session.protocol, None);
        batch.push(CLOSE);
        batch.take()
    }

    /// Whether everything is sent, including the close packet.
    pub(crate) fn is_closed(&self) -> bool {
        self.ending == Ending::Said && self.post.is_none() && self.is_batch_empty()
    }

    /// Whether a GET must be sent now.
    pub(crate) fn poll_get(&mut self) -> bool {
        let Some(session) = &self.session else { return false };
        let may = self.get.is_none()
            && self.incoming.is_empty()
            && self.upgrade != Upgrade::Pausing
            && self.ending == Ending::No;
        if may {
            self.get = Some(Body::new(Some(session.protocol), self.limit));
        }
        may
    }

    /// The next body to post, if there is one.
    pub(crate) fn poll_post(&mut self) -> Option<Post> {
        if self.post.is_some() {
            return None;
        }
        let session = self.session.as_mut()?;
        // The close packet gets a body of its own: an official server drops the events that come together with it.
        if self.ending == Ending::Closing && session.batch.is_empty() {
            session.batch.push(CLOSE);
            self.ending = Ending::Said;
        }
        let post = session.batch.take()?;
        let [this, next] = mem::take(&mut session.barriers);
        session.barriers = [next, None];
        self.post = Some(Posting { barrier: this });
        Some(post)
    }

    /// Whether a websocket should be probed now.
    pub(crate) fn poll_probe(&mut self) -> bool {
        let may = self.upgrade == Upgrade::Offered;
        if may {
            self.upgrade = Upgrade::Probing;
        }
        may
    }

    /// Whether the websocket may take over now.
    pub(crate) fn is_paused(&self) -> bool {
        self.upgrade == Upgrade::Pausing
            && self.get.is_none()
            && self.post.is_none()
            && self.incoming.is_empty()
            && self.is_batch_empty()
    }

    fn is_batch_empty(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.batch.is_empty())
    }
}

#[cfg(test)]
mod tests;

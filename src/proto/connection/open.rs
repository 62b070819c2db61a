//! An open session: its heartbeat, and which namespaces may join on it.

use std::time::{Duration, Instant};

use super::{
    events::Admission,
    root::Root,
    timers::{Timer, Timers},
};
use crate::proto::{
    engine::{Due, Handshake, Heartbeat},
    session::Session,
};

#[derive(Debug)]
pub(super) struct Open {
    pub(super) session: Session,
    since: Instant,
    heartbeat: Heartbeat,
    pub(super) root: Root,
    /// Whether the application has ended the client: close when everything is sent.
    pub(super) is_closing: bool,
}

impl Open {
    /// A session that begins with this handshake, and its heartbeat.
    pub(super) fn new(
        now: Instant,
        session: Session,
        handshake: &Handshake,
        timers: &mut Timers,
    ) -> Self {
        let heartbeat = Heartbeat::new(now, session.protocol, handshake);
        timers.set(Timer::Heartbeat, heartbeat.poll_timeout());
        let root = Root::new(session.protocol);
        Self { session, since: now, heartbeat, root, is_closing: false }
    }

    /// When it began.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether a namespace may join; `None` if that takes another connection.
    pub(super) fn admit(&self, namespace: &str) -> Option<Admission> {
        let session = || self.session.clone();
        match self.root {
            Root::Joined if namespace == "/" => Some(Admission::Joined(session())),
            Root::Free | Root::Joined => Some(Admission::Now(session())),
            // Until the server's answer, packets are for this namespace.
            Root::Pending if namespace == "/" => Some(Admission::Now(session())),
            Root::Pending => Some(Admission::Later),
            Root::Gone => None,
        }
    }

    /// The application leaves a namespace.
    pub(super) fn leave(&mut self, namespace: &str, timers: &mut Timers) {
        self.root.handle_leave(namespace);
        if self.root != Root::Pending {
            timers.stop(Timer::Join);
            timers.stop(Timer::Doubt);
        }
    }

    /// When this fraction of the heartbeat's time will have passed.
    pub(super) fn strain(&self, part: f64) -> Instant {
        self.heartbeat.strain(part)
    }

    /// How long the side that pings waits for the answer.
    pub(super) fn ping_timeout(&self) -> Duration {
        self.heartbeat.timeout()
    }

    /// A message came.
    #[inline]
    pub(super) fn handle_any(&mut self, now: Instant, timers: &mut Timers) {
        if self.heartbeat.handle_any(now) {
            self.set_timer(timers);
        }
    }

    /// The server's ping came.
    pub(super) fn handle_ping(&mut self, now: Instant, timers: &mut Timers) {
        self.heartbeat.handle_ping(now);
        self.set_timer(timers);
    }

    /// The driver has woken up, or has read what there was. `is_more`: there may be more.
    pub(super) fn note_lateness(&mut self, now: Instant, is_more: bool, timers: &mut Timers) {
        self.heartbeat.note_lateness(now, is_more);
        if self.heartbeat.is_late() {
            self.set_timer(timers);
        }
    }

    /// Whether the heartbeat is overdue, and there may be more to read.
    pub(super) fn is_late(&self) -> bool {
        self.heartbeat.is_late()
    }

    /// The machine was suspended for about `gap`. If the server cannot have waited that long, the session ends
    /// when everything that came before has been read.
    pub(super) fn handle_suspended(&mut self, now: Instant, gap: Duration, timers: &mut Timers) {
        if gap > self.heartbeat.max_silence() {
            self.heartbeat.handle_absence(now);
            self.set_timer(timers);
        }
    }

    /// The deadline of the heartbeat has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant, timers: &mut Timers) -> Due {
        let due = self.heartbeat.handle_timeout(now);
        self.set_timer(timers);
        due
    }

    #[inline]
    fn set_timer(&self, timers: &mut Timers) {
        timers.set(Timer::Heartbeat, self.heartbeat.poll_timeout());
    }
}

#[cfg(test)]
impl Open {
    pub(super) fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }
}

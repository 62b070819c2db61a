//! The state of a namespace: joined, on the way there, or ended.
//!
//! ```text
//!                handle_open             credentials          reply
//!  Waiting ──────────────────▶ Asking ─────────────▶ Joining ───────▶ Joined
//!   ▲   ▲                        │                      │                │
//!   │   └────────────────────────┴──────────────────────┤◀───────────────┤ lost, and tried again
//!   │ ▲                                                 │                │
//!   │ └── Pausing ◀── by the policy for the reason ─────┤◀───────────────┤ refused, disconnected,
//!   │ rejoin                                            │                │ timed out
//!   ├──── Resting ◀── let go of for a subscriber ───────┤◀───────────────┤
//!   └──── Ended ◀─── otherwise, or left ────────────────┴────────────────┘
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::proto::{
    attempts::Attempts, config::Config, deadline::deadline_after, engine::Protocol, reason::Reason,
    reconnect::Retry, session::Session,
};

/// An answer that comes within this time is accepted, however short the time to join is.
const LATE: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct Join {
    config: Arc<Config>,
    /// Whether it is the namespace `/`.
    is_root: bool,
    state: State,
    /// `Some` if the namespace was given up while the server still owes the answer to the request to join.
    unanswered: Option<Box<Owed>>,
    /// The connection on which the server was asked a second time, because it did not answer the first
    /// one.
    repeated: Option<u64>,
    /// The connection on which it was left.
    left: Option<u64>,
    /// Whether it rests when the connection is lost.
    lets_go: bool,
    /// The number of attempts to join, successful or not.
    last_id: u64,
    /// Attempts to join after the server has ended it.
    attempts: Attempts,
    /// The number of questions to the application for credentials.
    questions: u64,
}

#[derive(Debug)]
enum State {
    /// It will be joined as soon as there is a connection.
    Waiting,
    /// It will be joined after a delay: the server has ended or refused it.
    Pausing {
        until: Instant,
    },
    /// The application has been asked for the credentials. `question` is the number of that question.
    Asking {
        session: Session,
        deadline: Instant,
        question: u64,
    },
    /// The deadline is for the answer to the request that was made at `since`, and may not be the first
    /// one; where there is none, the connection has it. `has_begun`: events came before the answer, so
    /// the server has let this client in.
    Joining {
        session: Session,
        since: Instant,
        deadline: Option<Instant>,
        has_begun: bool,
    },
    Joined {
        session: Session,
        since: Instant,
    },
    /// It will be joined when the subscribers have caught up.
    Resting,
    /// It is not joined, and will not be.
    Ended(Reason),
}

/// The answer to a request to join that a server still owes, on this connection.
///
/// The server may be slow, so a second request might join the namespace twice; and a disconnect before the
/// answer would be an error, over which servers close the connection. So the client waits for the answer,
/// for twice the [time to join](Config::join_timeout) and at least [`LATE`]; then the server is
/// asked again. If it answers both requests, the connection is replaced.
#[derive(Debug)]
struct Owed {
    session: Session,
    /// When the server was asked.
    since: Instant,
}

/// What happens next when the server has ended or refused a namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Attempt number `attempt` to join, after `delay`.
    Attempt { attempt: u32, delay: Duration },
    /// Nothing. `gave_up`: the number of attempts, if no more are allowed.
    End { gave_up: Option<u32> },
}

/// A deadline that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client tries again, for which a connection must be requested.
    Rejoin,
    /// The application has not given the credentials in time.
    Credentials,
    /// The server has not answered in time.
    Answer,
}

/// To which of several attempts to join a packet belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// There was no earlier request, or its answer counts for the current one.
    No,
    /// The namespace has ended in the meantime.
    Ended,
}

impl Join {
    pub(super) fn new(config: Arc<Config>, is_root: bool, seed: u64) -> Self {
        Self {
            is_root,
            state: State::Waiting,
            unanswered: None,
            repeated: None,
            left: None,
            lets_go: false,
            last_id: 0,
            attempts: Attempts::new(config.reconnect.clone(), seed),
            questions: 0,
            config,
        }
    }

    /// The connection that the namespace is joined, or being joined, on.
    #[inline]
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Joining { session, .. } | State::Joined { session, .. } => Some(session),
            State::Waiting
            | State::Pausing { .. }
            | State::Asking { .. }
            | State::Resting
            | State::Ended(_) => None,
        }
    }

    /// That connection is a websocket now.
    pub(super) fn handle_upgraded(&mut self) {
        if let State::Joining { session, .. } | State::Joined { session, .. } = &mut self.state {
            session.has_base64 = false;
        }
    }

    /// The number of that connection.
    #[inline]
    pub(super) fn epoch(&self) -> Option<u64> {
        self.session().map(|session| session.epoch)
    }

    /// Why this namespace has ended, if it has.
    pub(super) fn ended(&self) -> Option<&Reason> {
        match &self.state {
            State::Ended(reason) => Some(reason),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined { .. })
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.state, State::Joining { .. })
    }

    /// Whether the server has let this client in, as far as is known.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.state, State::Joined { .. } | State::Joining { has_begun: true, .. })
    }

    /// The number of the last attempt to join.
    pub(super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Attempts in a row to join.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.made()
    }

    /// The number of the question to the application for the credentials, while there is one.
    pub(super) fn question(&self) -> Option<u64> {
        match self.state {
            State::Asking { question, .. } => Some(question),
            _ => None,
        }
    }

    /// Whether packets on that connection may belong to an earlier session of this namespace.
    pub(super) fn was_left_on(&self, epoch: u64) -> bool {
        self.left == Some(epoch)
    }

    /// Whether the server was asked twice on that connection.
    pub(super) fn was_repeated_on(&self, epoch: u64) -> bool {
        self.repeated == Some(epoch)
    }

    /// The application wants it joined. `true` if a connection must be requested for that.
    pub(super) fn rejoin(&mut self, now: Instant) -> bool {
        self.come_back(now, self.config.join_timeout)
    }

    /// The same; the server has `time_to_answer` for an answer that it owes.
    fn come_back(&mut self, now: Instant, time_to_answer: Duration) -> bool {
        if !matches!(self.state, State::Ended(_) | State::Pausing { .. }) {
            return false;
        }
        self.state = State::Waiting;
        let is_due = |owed: &mut Box<Owed>| deadline_after(owed.since, time_to_answer) > now;
        if let Some(owed) = self.unanswered.take_if(is_due) {
            self.enter(now, owed.session, owed.since);
            return false;
        }
        true
    }

    /// Whether it will be joined as soon as there is a connection.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// The application is asked for the credentials.
    pub(super) fn ask(&mut self, now: Instant, session: Session) {
        let deadline = deadline_after(now, self.config.join_timeout);
        self.questions = self.questions.wrapping_add(1);
        self.state = State::Asking { session, deadline, question: self.questions };
    }

    /// The connection for which the application is asked for the credentials.
    pub(super) fn asking(&self) -> Option<&Session> {
        match &self.state {
            State::Asking { session, .. } => Some(session),
            _ => None,
        }
    }

    /// Whether a server of revision 3 joins it by itself. Then the connection waits for that.
    pub(super) fn is_implicit(&self, session: &Session) -> bool {
        self.is_root && session.protocol == Protocol::Eio3
    }

    /// The request to join is sent, if the server needs one.
    pub(super) fn request(&mut self, now: Instant, session: Session) {
        let owed = self.unanswered.take().map(|owed| owed.session.epoch);
        self.repeated = owed.filter(|&epoch| epoch == session.epoch);
        self.enter(now, session, now);
    }

    fn enter(&mut self, now: Instant, session: Session, since: Instant) {
        let timeout = self.config.join_timeout;
        let deadline = (!self.is_implicit(&session)).then(|| deadline_after(now, timeout));
        self.last_id = self.last_id.wrapping_add(1);
        self.state = State::Joining { session, since, deadline, has_begun: false };
    }

    /// An event came.
    #[inline]
    pub(super) fn handle_event(&mut self) {
        if let State::Joining { has_begun, .. } = &mut self.state {
            *has_begun = true;
        }
    }

    /// The server has let this client in.
    pub(super) fn handle_reply(&mut self, now: Instant) {
        if let Some(session) = self.session().cloned() {
            self.state = State::Joined { session, since: now };
        }
    }

    /// The namespace is left, on that connection.
    pub(super) fn leave(&mut self, epoch: u64) {
        self.left = Some(epoch);
    }

    /// Notes that the server was asked, and still owes the answer.
    pub(super) fn note_owed(&mut self) {
        if let State::Joining { session, since, .. } = &self.state {
            self.unanswered = Some(Box::new(Owed { session: session.clone(), since: *since }));
        }
    }

    /// The namespace has ended for this reason; decides what is next. `is_asked`: the request to join
    /// was sent. `can_renew`: there may be new credentials the next time.
    pub(super) fn decide(
        &mut self,
        now: Instant,
        reason: &Reason,
        is_asked: bool,
        can_renew: bool,
    ) -> Next {
        self.note_success(now);
        let retry = self.attempts.choose(reason, &self.config.name);
        let is_wanted = match retry {
            Retry::Again => true,
            Retry::WithNewAuth => can_renew,
            Retry::Stop => false,
        };
        // Nothing was sent in this attempt, but the answer to an earlier request may still come.
        if matches!(self.state, State::Asking { .. }) || *reason == Reason::JoinTimeout {
            if is_asked {
                self.note_owed();
            }
        } else {
            self.unanswered = None;
        }
        if !is_wanted {
            return Next::End { gave_up: None };
        }
        let attempt = match self.attempts.next() {
            Ok(attempt) => attempt,
            Err(attempts) => {
                return Next::End { gave_up: Some(attempts).filter(|&attempts| attempts > 0) };
            }
        };
        // New credentials are tried at once. If they are refused, too, the delays begin.
        let delay = match (reason, retry) {
            (Reason::Refused(_), Retry::WithNewAuth) if attempt == 1 => Duration::ZERO,
            (Reason::Refused(_), Retry::WithNewAuth) => {
                self.attempts.delay(attempt.saturating_sub(1))
            }
            _ => self.attempts.delay(attempt),
        };
        Next::Attempt { attempt, delay }
    }

    /// Waits for that time, and tries again.
    pub(super) fn pause(&mut self, now: Instant, delay: Duration) {
        self.lets_go = false;
        self.state = State::Pausing { until: deadline_after(now, delay) };
    }

    /// Ends the namespace, until the application joins it again.
    pub(super) fn end(&mut self, reason: Reason) {
        self.attempts.reset();
        self.lets_go = false;
        self.state = State::Ended(reason);
    }

    /// Waits for another connection, or rests.
    pub(super) fn wait(&mut self) {
        let rests = std::mem::take(&mut self.lets_go);
        self.state = if rests { State::Resting } else { State::Waiting };
    }

    /// Rests when the connection is lost, until it [wakes](Self::wake). Returns the number of the connection,
    /// if there is one and it was not going to rest already.
    pub(super) fn let_go(&mut self) -> Option<u64> {
        let epoch = self.epoch()?;
        (!std::mem::replace(&mut self.lets_go, true)).then_some(epoch)
    }

    /// Whether it rests, or will rest when the connection is lost.
    pub(super) fn is_let_go(&self) -> bool {
        self.lets_go || matches!(self.state, State::Resting)
    }

    /// Waits for a connection, if it rests. Says whether it did.
    pub(super) fn wake(&mut self) -> bool {
        let rested = matches!(self.state, State::Resting);
        if rested {
            self.state = State::Waiting;
        }
        rested
    }

    /// After a session that has lasted, the count of attempts begins anew.
    fn note_success(&mut self, now: Instant) {
        if let State::Joined { since, .. } = self.state {
            self.attempts.note_session(since, now);
        }
    }

    /// The connection is gone, or there never was one.
    pub(super) fn handle_lost(&mut self, now: Instant) {
        self.note_success(now);
        self.unanswered = None;
    }

    /// The server refused this client: that was the answer that it owed.
    pub(super) fn handle_refused(&mut self) {
        self.unanswered = None;
    }

    /// A packet came on that connection; it may be the answer that the server owes. `settles`: it shows
    /// whether this client was let in.
    #[inline]
    pub(super) fn handle_late(&mut self, now: Instant, epoch: u64, settles: bool) -> Late {
        let is_owed = |owed: &mut Box<Owed>| owed.session.epoch == epoch;
        let Some(owed) = self.unanswered.take_if(is_owed) else { return Late::No };
        if self.ended().is_some() {
            if !settles {
                self.unanswered = Some(owed);
            }
            return Late::Ended;
        }
        // The late answer is what the application wants now.
        self.enter(now, owed.session, owed.since);
        Late::No
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Joining { deadline, .. } => deadline,
            State::Asking { deadline, .. } => Some(deadline),
            State::Pausing { until } => Some(until),
            State::Waiting | State::Joined { .. } | State::Resting | State::Ended(_) => None,
        }
    }

    /// The deadline that has passed, if any. It may be called early.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Overdue> {
        self.poll_timeout().filter(|&at| at <= now)?;
        match self.state {
            State::Pausing { .. } => {
                let time_to_answer = self.config.join_timeout.saturating_mul(2).max(LATE);
                self.come_back(now, time_to_answer).then_some(Overdue::Rejoin)
            }
            State::Asking { .. } => Some(Overdue::Credentials),
            State::Joining { .. } => Some(Overdue::Answer),
            State::Waiting | State::Joined { .. } | State::Resting | State::Ended(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{
        packet::{Limits, Parser},
        reconnect::Reconnect,
        refusal::refusal,
        transports::Allowed,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn join(is_root: bool, reconnect: Reconnect) -> Join {
        let config = Config {
            name: "client".into(),
            pin: None,
            parser: Parser::default(),
            limits: Limits { attachments: 10, bytes: 1_000 },
            max_payload: None,
            connect_timeout: SECOND,
            join_timeout: 3 * SECOND,
            attachment_timeout: SECOND,
            reconnect,
            retry_window: 1,
            transports: Allowed::WebSocket,
            endpoints: Vec::new(),
        };
        Join::new(Arc::new(config), is_root, 7)
    }

    fn policy() -> Reconnect {
        Reconnect::default().delay(SECOND, SECOND).jitter(0.0).attempts(2)
    }

    fn session(epoch: u64, protocol: Protocol) -> Session {
        let max_silence = Duration::from_secs(45);
        Session {
            epoch,
            protocol,
            sid: "S".into(),
            max_payload: None,
            has_base64: false,
            max_silence,
        }
    }

    #[test]
    fn a_request_has_a_deadline_unless_the_server_joins_by_itself() {
        let now = Instant::now();
        for (is_root, protocol, deadline) in [
            (true, Protocol::Eio4, Some(now + 3 * SECOND)),
            (false, Protocol::Eio3, Some(now + 3 * SECOND)),
            (true, Protocol::Eio3, None),
        ] {
            let mut join = join(is_root, policy());
            assert!(join.is_waiting());
            join.request(now, session(1, protocol));
            assert_eq!((join.last_id(), join.epoch()), (1, Some(1)));
            assert_eq!(join.poll_timeout(), deadline);
            assert_eq!(join.handle_timeout(now), None);
            assert_eq!(join.handle_timeout(now + 3 * SECOND), deadline.map(|_| Overdue::Answer));
            assert!(!join.has_begun());
            join.handle_event();
            assert!(join.has_begun() && !join.is_joined());
            join.handle_reply(now);
            assert!(join.is_joined());
            assert_eq!(join.poll_timeout(), None);
        }
    }

    #[test]
    fn the_credentials_have_a_deadline_of_their_own() {
        let now = Instant::now();
        let mut join = join(true, policy());
        for number in [1, 2] {
            join.ask(now, session(1, Protocol::Eio4));
            assert_eq!((join.question(), join.epoch()), (Some(number), None));
            assert_eq!(join.handle_timeout(now + 3 * SECOND), Some(Overdue::Credentials));
        }
    }

    #[test]
    fn attempts_follow_the_policy() {
        let now = Instant::now();
        let refused = Reason::Refused(refusal(None));
        let policy = policy().retry(|reason| match reason {
            Reason::Refused(_) => Retry::WithNewAuth,
            other => Retry::default_for(other),
        });
        let mut join = join(true, policy);
        join.request(now, session(1, Protocol::Eio4));
        let end = |gave_up| Next::End { gave_up };
        assert_eq!(join.decide(now, &Reason::ServerDisconnect, true, true), end(None));
        assert_eq!(join.decide(now, &refused, true, false), end(None), "it has no others");
        for (attempt, delay) in [(1, Duration::ZERO), (2, SECOND)] {
            let next = Next::Attempt { attempt, delay };
            assert_eq!(join.decide(now, &refused, true, true), next);
            join.pause(now, delay);
            assert_eq!(join.handle_timeout(now + delay), Some(Overdue::Rejoin));
            assert!(join.is_waiting());
        }
        assert_eq!(join.decide(now, &refused, true, true), end(Some(2)));
        join.end(refused.clone());
        assert_eq!((join.ended(), join.attempts()), (Some(&refused), 0));
        assert!(join.rejoin(now));
    }

    #[test]
    fn a_session_that_has_lasted_begins_the_count_of_attempts_anew() {
        let start = Instant::now();
        let lasting = policy().stable_after();
        for (lasted, attempts) in [(lasting / 2, 1), (lasting, 0)] {
            let joined = || {
                let mut join = join(true, policy());
                join.request(start, session(1, Protocol::Eio4));
                join.decide(start, &Reason::JoinTimeout, true, false);
                join.handle_reply(start);
                assert_eq!(join.attempts(), 1);
                join
            };
            let mut lost = joined();
            lost.handle_lost(start + lasted);
            assert_eq!(lost.attempts(), attempts);
            let mut stopped = joined();
            let next = stopped.decide(start + lasted, &Reason::JoinTimeout, true, false);
            assert_eq!(next, Next::Attempt { attempt: attempts + 1, delay: SECOND });
        }
    }

    #[test]
    fn an_answer_that_is_owed_is_waited_for() {
        let start = Instant::now();
        let mut join = join(true, policy());
        join.request(start, session(1, Protocol::Eio4));
        let now = start + 3 * SECOND;
        let next = join.decide(now, &Reason::JoinTimeout, true, false);
        assert_eq!(next, Next::Attempt { attempt: 1, delay: SECOND });
        join.pause(now, SECOND);
        // The answer may still come, so the server is not asked again.
        assert_eq!(join.handle_timeout(now + SECOND), None);
        assert!(join.is_joining());

        // Packets for a namespace that has ended are not for the current session.
        join.note_owed();
        join.end(Reason::ClientDisconnect);
        assert_eq!(join.handle_late(now, 2, true), Late::No, "it is of another connection");
        assert_eq!(join.handle_late(now, 1, false), Late::Ended);
        assert_eq!(join.handle_late(now, 1, true), Late::Ended);
        assert_eq!(join.handle_late(now, 1, true), Late::No, "it is owed no more");

        // After a while, the server is asked again.
        join.wait();
        join.request(start, session(1, Protocol::Eio4));
        join.note_owed();
        join.end(Reason::ClientDisconnect);
        assert!(join.rejoin(start + 3 * SECOND));
        join.request(start + 3 * SECOND, session(1, Protocol::Eio4));
        assert!(join.was_repeated_on(1) && !join.was_repeated_on(2));
    }
}

//! One subscriber: an actor, its interests, and what waits for it.
//!
//! Delivery respects the mailbox of the actor. While there is room, messages go in with `try_send`. When it
//! is full, one message goes in with `send`, past the bound, and its response shows that the actor has
//! handled everything before it; until then, messages wait here. So a mailbox holds what its actor allows and
//! one more, and nobody has to poll it. It is also full when it holds more than [this many
//! bytes](MAX_UNCOUNTED), and the content of a full mailbox counts for the window.
//!
//! What waits is bounded: events by the window of the Connection, which has them
//! [shed](Subscriber::shed); life-cycle messages, which come without end while a server cannot be
//! reached, by [`MAX_STATES`].

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use actix::MailboxError;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};

use crate::{
    actor::{
        journal::counted,
        subscribers::{
            interests::{Interests, Notice, Part},
            policy::{Overflow, Overrun, SubscriptionId},
            sent::{Fence, Sent},
        },
    },
    backpressure::receive_window::{Backlog, Load},
    display::Name,
    guard::Panicked,
    logs::{repeated, say},
    message::{Event, Lagged, Undecodable},
    runtime::task::Task,
};

/// How many life-cycle messages wait for an actor. Beyond that, the oldest one is dropped: it tells what was,
/// and the newest ones what is.
const MAX_STATES: usize = 64;
/// How many bytes they have, unless there is only one.
const MAX_STATE_BYTES: usize = 1 << 20;

/// How many `Emitted` messages wait for an actor, which never hold anything back.
const MAX_EMITTED: usize = 1_024;

/// How many questions an actor may be answering. The next one waits, with all messages after it.
const MAX_ANSWERS: usize = 64;

/// The bytes in a mailbox, and of questions, that are not counted for the window. A message that exceeds them
/// fills the mailbox.
const MAX_UNCOUNTED: usize = 256 << 10;

/// The most bytes of the questions that an actor may be answering, unless there is only one. The next one waits.
const MAX_ASKED: usize = 1 << 20;

/// The most bytes of `Emitted` messages that wait for an actor, unless there is only one.
const MAX_EMITTED_BYTES: usize = 1 << 20;

/// Whether an actor takes messages.
enum Mailbox {
    /// It takes more, as far as is known. Nothing waits here.
    Open,
    /// It takes no more for now.
    Full(Fence),
    /// It takes nothing any more: the actor is dead.
    Gone,
}

/// A question that the actor is answering.
struct Asked {
    answer: Fence,
    size: usize,
}

impl Future for Asked {
    type Output = (Result<Result<(), MailboxError>, Panicked>, usize);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let size = self.size;
        self.answer.poll_unpin(cx).map(|outcome| (outcome, size))
    }
}

/// What was discarded at one place in the order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gap {
    events: u64,
    states: u64,
}

impl Gap {
    const EVENT: Self = Self { events: 1, states: 0 };
    const STATE: Self = Self { events: 0, states: 1 };

    fn add(&mut self, other: Self) {
        self.events = self.events.saturating_add(other.events);
        self.states = self.states.saturating_add(other.states);
    }
}

/// A message that waits.
struct Waiting {
    /// What was discarded right before it.
    gap: Gap,
    notice: Notice,
    /// Its size in bytes.
    size: usize,
}

/// How many messages a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// All, until the subscription ends.
    Lasting,
    /// One message.
    Once,
    /// No more.
    Over,
}

pub(crate) struct Subscriber {
    /// How many calls this came from, except for cancelled ones.
    calls: usize,
    interests: Interests,
    term: Lifetime,
    overflow: Overflow,
    mailbox: Mailbox,
    /// The bytes in the mailbox, or more: some may have been handled.
    unhandled: usize,
    queue: VecDeque<Waiting>,
    /// How many of `queue` are events, and their bytes.
    events: usize,
    bytes: usize,
    /// The bytes of the other messages in `queue`.
    state_bytes: usize,
    /// What was discarded after everything in `queue`.
    gap: Gap,
    /// How many events were discarded since this was last taken.
    missed: u64,
    /// How many events were lost because the actor is dead.
    lost: u64,
    /// The questions that the actor is answering, and their bytes.
    answers: FuturesUnordered<Asked>,
    asked: usize,
    undecodable: Vec<Undecodable>,
    /// What it missed, if it does not get `Lagged` itself.
    lagged: Vec<Lagged>,
    /// Whether the actor has handled something since events were last to be discarded.
    lively: bool,
    /// Whether new events are discarded, until the actor has handled something.
    sheds: bool,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls: _,
            interests: _,
            term,
            overflow,
            mailbox,
            unhandled,
            queue,
            events: _,
            bytes,
            state_bytes: _,
            gap: _,
            missed: _,
            lost: _,
            answers,
            asked,
            undecodable: _,
            lagged: _,
            lively: _,
            sheds,
        } = self;
        f.debug_struct("Subscriber")
            .field("term", term)
            .field("overflow", overflow)
            .field("mailbox", mailbox)
            .field("unhandled", unhandled)
            .field("queue", &queue.len())
            .field("bytes", bytes)
            .field("answers", &answers.len())
            .field("asked", asked)
            .field("sheds", sheds)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Full(_) => "Full",
            Self::Gone => "Gone",
        })
    }
}

impl Subscriber {
    pub(crate) fn new(interests: Interests) -> Self {
        Self {
            calls: 1,
            interests,
            term: Lifetime::Lasting,
            overflow: Overflow::Pause,
            mailbox: Mailbox::Open,
            unhandled: 0,
            queue: VecDeque::new(),
            events: 0,
            bytes: 0,
            state_bytes: 0,
            gap: Gap::default(),
            missed: 0,
            lost: 0,
            answers: FuturesUnordered::new(),
            asked: 0,
            undecodable: Vec::new(),
            lagged: Vec::new(),
            lively: true,
            sheds: false,
        }
    }

    /// A subscriber to one message.
    pub(crate) fn once(interests: Interests) -> Self {
        Self { term: Lifetime::Once, ..Self::new(interests) }
    }

    /// The subscriber's name for the log.
    pub(crate) fn interests(&self) -> &Interests {
        &self.interests
    }

    /// Whether later calls of the same actor may extend it.
    pub(crate) fn is_lasting(&self) -> bool {
        self.term == Lifetime::Lasting
    }

    /// Whether these are further interests of the same actor.
    pub(crate) fn can_adopt(&self, interests: &Interests) -> bool {
        self.term == Lifetime::Lasting && !self.is_gone() && self.interests.complement(interests)
    }

    pub(crate) fn adopt(&mut self, interests: Interests) {
        self.calls = self.calls.saturating_add(1);
        self.interests = std::mem::take(&mut self.interests).merge(interests);
    }

    pub(crate) fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
    }

    /// What must be done because events come too fast, if anything.
    pub(crate) fn overrun(&self) -> Option<Overrun> {
        let (waiting, overrun) = match self.overflow {
            Overflow::Pause | Overflow::DropNewest { .. } => return None,
            Overflow::Disconnect { waiting } => (waiting, Overrun::Leave),
            Overflow::LetGo { waiting } => (waiting, Overrun::LetGo),
        };
        (self.events > waiting || self.sheds).then_some(overrun)
    }

    /// Whether this subscriber, for which the session was let go, is not ready yet for the namespace to be
    /// joined again.
    pub(crate) fn holds_off(&self) -> bool {
        matches!(self.overflow, Overflow::LetGo { .. }) && self.is_behind()
    }

    /// Removes the part that came from the call with that number, one of its calls. Ends the subscriber,
    /// unless that is only a part of it.
    pub(crate) fn cancel(&mut self, number: SubscriptionId) -> Option<Part> {
        let part = self.interests.cancel(number);
        self.calls = self.calls.saturating_sub(1);
        if part.is_none() || self.calls == 0 {
            self.end();
        }
        part
    }

    /// Ends it: it gets nothing more, but may still answer open questions.
    fn end(&mut self) {
        self.term = Lifetime::Over;
        self.queue.clear();
        (self.events, self.bytes, self.state_bytes) = (0, 0, 0);
        self.gap = Gap::default();
        if !self.is_gone() {
            self.mailbox = Mailbox::Open;
        }
    }

    pub(crate) fn has_undecodable(&self) -> bool {
        !self.undecodable.is_empty()
    }

    /// The events that did not fit the actor's types, since this was last taken.
    pub(crate) fn take_undecodable(&mut self) -> Vec<Undecodable> {
        std::mem::take(&mut self.undecodable)
    }

    /// What it missed without getting `Lagged`, since this was last taken.
    pub(crate) fn take_lagged(&mut self) -> Vec<Lagged> {
        std::mem::take(&mut self.lagged)
    }

    /// Whether it gets the losses of others.
    pub(crate) fn hears_all_lagged(&self) -> bool {
        self.interests.want_all_lagged()
    }

    /// Whether [`deliver`](Self::deliver) gives the actor its `Undecodable` messages.
    pub(crate) fn hears_undecodable(&self) -> bool {
        self.interests.undecodable.is_some()
    }

    /// Whether the actor is known to be dead.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.mailbox, Mailbox::Gone)
    }

    /// Whether something waits for it.
    pub(crate) fn is_behind(&self) -> bool {
        match self.mailbox {
            Mailbox::Open => !self.queue.is_empty() || !self.answers.is_empty(),
            Mailbox::Full(_) => true,
            Mailbox::Gone => false,
        }
    }

    /// Whether there is nothing left to do for it.
    pub(crate) fn is_done(&self) -> bool {
        match self.mailbox {
            Mailbox::Open => {
                self.term == Lifetime::Over && self.queue.is_empty() && self.answers.is_empty()
            }
            Mailbox::Full(_) => false,
            Mailbox::Gone => true,
        }
    }

    /// Checks whether the actor is dead.
    pub(crate) fn check(&mut self) {
        if !self.interests.are_connected() {
            self.mailbox = Mailbox::Gone;
        }
    }

    pub(crate) fn wants_event(&self, event: &Event) -> bool {
        self.term != Lifetime::Over && !self.is_gone() && self.interests.want_event(event)
    }

    /// The events that wait for the actor, and their bytes, with those in its mailbox: those that hold
    /// the connection up, and those that do not. Life-cycle messages are few, so they do not count.
    pub(crate) fn backlog(&self) -> Backlog {
        let bytes = self.bytes.saturating_add(self.in_hands());
        let (load, none) = (Load { items: self.events, bytes }, Load::default());
        let (holding, kept) = if self.sheds { (none, load) } else { (load, none) };
        Backlog { holding, kept }
    }

    /// The bytes of messages that the actor has and has not handled, as far as they count for the window.
    fn in_hands(&self) -> usize {
        let is_full = matches!(self.mailbox, Mailbox::Full(_));
        let unhandled = if is_full { self.unhandled } else { 0 };
        self.asked.saturating_add(unhandled).saturating_sub(MAX_UNCOUNTED)
    }

    /// Whether there is something to do for it: by [`poll`](Self::poll), or because it is
    /// [done](Self::is_done).
    pub(crate) fn is_busy(&self) -> bool {
        !matches!(self.mailbox, Mailbox::Open)
            || self.term == Lifetime::Over
            || self.missed > 0
            || self.gap != Gap::default()
            || !self.queue.is_empty()
            || !self.answers.is_empty()
            || self.has_undecodable()
    }

    /// Delivers a message if it is wanted, or queues it after others. Returns whether it is wanted.
    pub(crate) fn offer(&mut self, notice: &Notice) -> bool {
        let is_wanted = self.term != Lifetime::Over && self.interests.want(notice);
        if is_wanted {
            self.take(notice.clone());
        }
        is_wanted
    }

    /// The same for a message that is known to be wanted.
    pub(crate) fn take(&mut self, notice: Notice) {
        // A subscriber to one message never misses it.
        let misses = self.term != Lifetime::Once && (self.discards() || self.drops_newest());
        if self.term == Lifetime::Once {
            self.term = Lifetime::Over;
        }
        match self.mailbox {
            Mailbox::Gone => return self.lose_for_good(u64::from(notice.is_event())),
            Mailbox::Open if self.queue.is_empty() && self.takes(&notice) => {
                let size = notice.size();
                return self.deliver(notice, size);
            }
            Mailbox::Open | Mailbox::Full(_) => {}
        }
        let is_over = matches!(notice, Notice::Emitted(_))
            && (self.events >= MAX_EMITTED || self.bytes >= MAX_EMITTED_BYTES);
        if notice.is_event() && (misses || is_over) {
            self.gap.add(Gap::EVENT);
            self.lose(1);
        } else {
            self.queue(notice);
        }
    }

    /// Counts events that come, or wait, for a dead actor.
    fn lose_for_good(&mut self, events: u64) {
        self.lost = self.lost.saturating_add(events);
        self.lose(events);
    }

    fn lose(&mut self, events: u64) {
        self.missed = self.missed.saturating_add(events);
    }

    /// Whether new events are discarded, until the actor has handled something. For subscribers that need
    /// every event, the connection is closed instead.
    fn discards(&self) -> bool {
        self.sheds && !matches!(self.overflow, Overflow::LetGo { .. })
    }

    /// Whether the actor takes this message now.
    fn takes(&self, notice: &Notice) -> bool {
        matches!(self.mailbox, Mailbox::Open)
            && ((self.answers.len() < MAX_ANSWERS && self.asked < MAX_ASKED)
                || !self.interests.answer(notice))
    }

    fn drops_newest(&self) -> bool {
        matches!(self.overflow, Overflow::DropNewest { waiting } if self.events >= waiting)
    }

    fn deliver(&mut self, notice: Notice, size: usize) {
        let Self { interests, mailbox, unhandled, answers, asked, undecodable, .. } = self;
        let is_event = notice.is_event();
        *unhandled = unhandled.saturating_add(size);
        let is_last = *unhandled > MAX_UNCOUNTED;
        let mut lost = false;
        interests.send(notice, is_last, |sent| match sent {
            Sent::Taken => {}
            Sent::Full(fence) => {
                // If there are several fences, all must be kept: a fence that is dropped takes its message
                // with it.
                let fence = match std::mem::replace(mailbox, Mailbox::Open) {
                    Mailbox::Full(first) => Task::new(async move {
                        drop(first.await);
                        fence.await.unwrap_or(Err(MailboxError::Closed))
                    }),
                    Mailbox::Open | Mailbox::Gone => fence,
                };
                *mailbox = Mailbox::Full(fence);
            }
            Sent::Asked(answer) => {
                *asked = asked.saturating_add(size);
                answers.push(Asked { answer, size });
            }
            Sent::Undecodable(event) => undecodable.push(event),
            Sent::Gone => {
                lost = is_event;
                *mailbox = Mailbox::Gone;
            }
            Sent::Failed => *mailbox = Mailbox::Gone,
        });
        if is_last && !matches!(mailbox, Mailbox::Full(_)) {
            // It has been handled, or counts elsewhere.
            *unhandled = 0;
        }
        self.lose_for_good(u64::from(lost));
    }

    fn queue(&mut self, notice: Notice) {
        let size = notice.size();
        if notice.is_event() {
            self.events = self.events.saturating_add(1);
            self.bytes = self.bytes.saturating_add(size);
        } else {
            let mut states = self.queue.len().saturating_sub(self.events);
            while states > 0
                && (states >= MAX_STATES || self.state_bytes.saturating_add(size) > MAX_STATE_BYTES)
            {
                self.discard_oldest_state();
                states = states.saturating_sub(1);
            }
            self.state_bytes = self.state_bytes.saturating_add(size);
        }
        self.queue.push_back(Waiting { gap: std::mem::take(&mut self.gap), notice, size });
    }

    /// From now on it keeps what waits, as far as there is `room` for that, and discards new events until the
    /// actor has handled something. Without `all`, only if the actor has handled nothing since the last time.
    /// Returns whether it has begun to discard.
    pub(crate) fn shed(&mut self, all: bool, room: Load) -> bool {
        if std::mem::take(&mut self.lively) && !all {
            return false;
        }
        if self.sheds || self.backlog() == Backlog::default() {
            return false;
        }
        self.sheds = true;
        if self.discards() {
            self.discard_newest(room);
        }
        true
    }

    /// Discards the newest of the waiting events, until the others have room, except for the last one that
    /// needs it.
    fn discard_newest(&mut self, room: Load) {
        while let Some(place) = self.queue.iter().rposition(|waiting| waiting.notice.is_event()) {
            let size = self.queue.get(place).map_or(0, |waiting| waiting.size);
            let events = self.events.saturating_sub(1);
            let bytes = self.bytes.saturating_sub(size);
            let held = bytes.saturating_add(self.in_hands());
            if (Load { items: events, bytes: held }).is_below(room) {
                return;
            }
            if let Some(Waiting { gap, .. }) = self.queue.remove(place) {
                let behind = self.queue.get_mut(place).map_or(&mut self.gap, |next| &mut next.gap);
                behind.add(gap);
                behind.add(Gap::EVENT);
            }
            (self.events, self.bytes) = (events, bytes);
            self.lose(1);
        }
    }

    /// Called when it is dead: logs that, and returns how many waiting events are lost, with
    /// those that were lost before.
    pub(crate) fn bury(&mut self, namespace: &Name) -> u64 {
        self.lose_for_good(u64::try_from(self.events).unwrap_or(u64::MAX));
        (self.events, self.bytes, self.state_bytes) = (0, 0, 0);
        self.gap = Gap::default();
        self.queue.clear();
        let (missed, lost) = (self.take_missed(), self.lost);
        // The failure of a function was logged before; a stream, and a subscriber that has ended, may go.
        let may_go = self.interests.owner.name.is_none() || self.term == Lifetime::Over;
        let level = match (may_go, lost) {
            (true, _) => log::Level::Debug,
            (false, 0) => log::Level::Info,
            (false, _) => log::Level::Warn,
        };
        let interests = &self.interests;
        repeated!(
            level,
            namespace,
            "{interests} is gone: it has stopped, or panicked; {} for it lost",
            counted(lost, "event")
        );
        missed
    }

    /// How many events were discarded since this was last taken.
    pub(crate) fn take_missed(&mut self) -> u64 {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            self.interests.named.iter().for_each(|(_, named)| named.note_missed(missed));
        }
        missed
    }

    fn discard_oldest_state(&mut self) {
        let oldest = self.queue.iter().position(|waiting| !waiting.notice.is_event());
        if let Some(place) = oldest
            && let Some(Waiting { gap, size, .. }) = self.queue.remove(place)
        {
            self.state_bytes = self.state_bytes.saturating_sub(size);
            let behind = self.queue.get_mut(place).map_or(&mut self.gap, |next| &mut next.gap);
            behind.add(gap);
            behind.add(Gap::STATE);
        }
    }

    /// Delivers what waits, as far as the mailbox takes it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, namespace: &Name) {
        loop {
            while let Poll::Ready(Some((answered, size))) = self.answers.poll_next_unpin(cx) {
                self.asked = self.asked.saturating_sub(size);
                self.note_outcome(&answered, namespace);
            }
            if let Mailbox::Full(fence) = &mut self.mailbox {
                let Poll::Ready(outcome) = fence.poll_unpin(cx) else { return };
                (self.mailbox, self.unhandled) = (Mailbox::Open, 0);
                self.note_outcome(&outcome, namespace);
            }
            let mut idle = true;
            while self.queue.front().is_none_or(|next| self.takes(&next.notice))
                && matches!(self.mailbox, Mailbox::Open)
                && let Some((notice, size)) = self.next(namespace)
            {
                idle = false;
                self.deliver(notice, size);
            }
            if idle {
                return;
            }
        }
    }

    /// Notes that the actor has handled something, unless it is dead. An actor that was restarted by a
    /// supervisor does not respond, but is alive.
    fn note_outcome(
        &mut self,
        outcome: &Result<Result<(), MailboxError>, Panicked>,
        namespace: &Name,
    ) {
        (self.lively, self.sheds) = (true, false);
        if let Err(panicked) = outcome {
            repeated!(log::Level::Warn, namespace, "a message for {} {panicked}", self.interests);
        }
        if !matches!(outcome, Ok(Ok(()))) && !self.interests.are_connected() {
            self.mailbox = Mailbox::Gone;
        }
    }

    /// What is due: the first message that waits, or before it a `Lagged` for what is missing before
    /// it.
    fn next(&mut self, namespace: &Name) -> Option<(Notice, usize)> {
        let gap = self.queue.front_mut().map_or(&mut self.gap, |first| &mut first.gap);
        if *gap != Gap::default() {
            let Gap { events: missed, states: missed_states } = std::mem::take(gap);
            if missed > 0 {
                repeated!(
                    log::Level::Warn,
                    namespace,
                    "{} was too slow, and missed {}",
                    self.interests,
                    counted(missed, "event")
                );
            }
            if missed_states > 0 {
                say!(
                    log::Level::Debug,
                    namespace,
                    "{} missed {missed_states} old states",
                    self.interests
                );
            }
            let namespace = namespace.namespace.clone();
            let lagged = Lagged { namespace, missed, missed_states };
            if self.interests.lagged.is_none() {
                self.lagged.push(lagged.clone());
            }
            return Some((Notice::Lagged(lagged), 0));
        }
        let Waiting { notice, size, .. } = self.queue.pop_front()?;
        if notice.is_event() {
            self.events = self.events.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(size);
        } else {
            self.state_bytes = self.state_bytes.saturating_sub(size);
        }
        Some((notice, size))
    }
}

#[cfg(test)]
mod tests;

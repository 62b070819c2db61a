//! One subscriber: an actor, what it wants to hear, and what waits for it.
//!
//! Delivery respects the mailbox of the actor. While there is room, messages go in with
//! `try_send`. When it is full, one message goes in with `send`, past the bound, and its response
//! is the sign that the actor has handled all before it; until then, messages wait here. So a
//! mailbox holds what its actor allows and one more, and nobody has to poll it.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    pin::Pin,
    task::{Context, Poll},
};

use actix::{
    Addr, Handler, MailboxError, Message, Recipient,
    dev::{RecipientRequest, SendError, ToEnvelope},
};

use crate::message::{ConnectError, Disconnected, Event, GaveUp, Lagged, Ready, Reconnecting};

/// All that depends on which messages there are, so that each is named once.
macro_rules! facts {
    ($($message:ident: $field:ident),* $(,)?) => {
        /// A message that a subscriber may get.
        #[derive(Debug, Clone)]
        pub(crate) enum Fact {
            $($message($message),)*
        }

        /// Where the messages go; `None` for those that the subscriber does not want.
        #[derive(Default)]
        pub(crate) struct Ears {
            /// Whose they are: what an actor subscribes to one by one is one subscription.
            actor: u64,
            $($field: Option<Recipient<$message>>,)*
        }

        impl Ears {
            fn want(&self, fact: &Fact) -> bool {
                match fact {
                    $(Fact::$message(_) => self.$field.is_some(),)*
                }
            }

            fn send(&self, fact: Fact) -> Sent {
                match fact {
                    $(Fact::$message(message) => send(self.$field.as_ref(), message),)*
                }
            }

            /// Whether the actor lives. Recipients of one actor live and die together.
            fn are_connected(&self) -> bool {
                true $(&& self.$field.as_ref().is_none_or(Recipient::connected))*
            }

            /// Whether these are of the same actor, for other messages.
            fn complement(&self, other: &Self) -> bool {
                self.actor == other.actor
                    $(&& !(self.$field.is_some() && other.$field.is_some()))*
            }

            fn merge(self, other: Self) -> Self {
                Self { actor: self.actor, $($field: self.$field.or(other.$field),)* }
            }
        }

        $(
            impl Subscribable for $message {}

            impl sealed::Sealed for $message {
                #[expect(private_interfaces, reason = "sealed: nobody outside can name the trait")]
                fn ears(recipient: Recipient<Self>) -> Ears {
                    let actor = actor(&recipient);
                    Ears { actor, $field: Some(recipient), ..Ears::default() }
                }
            }
        )*
    };
}

facts!(
    Ready: ready,
    Event: event,
    Disconnected: disconnected,
    ConnectError: connect_error,
    Lagged: lagged,
    Reconnecting: reconnecting,
    GaveUp: gave_up,
);

impl Fact {
    fn is_event(&self) -> bool {
        matches!(self, Self::Event(_))
    }

    /// What it counts for in a queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Event(event) => event.payload.size(),
            _ => 0,
        }
    }
}

impl Ears {
    /// Those of an actor that handles the three that everybody needs.
    pub(crate) fn of_actor<A>(addr: Addr<A>) -> Self
    where
        A: Handler<Ready> + Handler<Event> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Ready> + ToEnvelope<A, Event> + ToEnvelope<A, Disconnected>,
    {
        let ready = addr.clone().recipient();
        Self {
            actor: actor(&ready),
            ready: Some(ready),
            event: Some(addr.clone().recipient()),
            disconnected: Some(addr.recipient()),
            ..Self::default()
        }
    }

    pub(crate) fn want_events(&self) -> bool {
        self.event.is_some()
    }

    pub(crate) fn want_ready(&self) -> bool {
        self.ready.is_some()
    }
}

/// Tells actors apart: the same for all recipients of one, whatever their message. As long as
/// there is a recipient, no other actor can have it.
fn actor<M>(recipient: &Recipient<M>) -> u64
where
    M: Message + Send,
    M::Result: Send,
{
    BuildHasherDefault::<DefaultHasher>::default().hash_one(recipient)
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").finish_non_exhaustive()
    }
}

/// A message that an actor can subscribe to by itself, with
/// [`Socket::subscribe_to`](crate::Socket::subscribe_to).
///
/// It is implemented for [`Ready`], [`Event`], [`Disconnected`], [`ConnectError`], [`Lagged`],
/// [`Reconnecting`] and [`GaveUp`], and for nothing else.
pub trait Subscribable: Message<Result = ()> + Send + sealed::Sealed {}

mod sealed {
    use actix::Recipient;

    use super::Ears;

    /// Makes the ears of a subscriber to one message.
    #[expect(unnameable_types, reason = "nobody outside is to implement it")]
    pub trait Sealed: actix::Message + Send + Sized
    where
        Self::Result: Send,
    {
        #[expect(private_interfaces, reason = "sealed: nobody outside can name the trait")]
        fn ears(recipient: Recipient<Self>) -> Ears;
    }
}

pub(crate) fn ears<M: Subscribable>(recipient: Recipient<M>) -> Ears {
    <M as sealed::Sealed>::ears(recipient)
}

/// Resolves when the subscriber has handled the message that overfilled its mailbox.
type Fence = Pin<Box<dyn Future<Output = Result<(), MailboxError>>>>;

pub(crate) struct Subscriber {
    ears: Ears,
    queue: VecDeque<Fact>,
    /// How many of `queue` are events, and their bytes.
    events: usize,
    bytes: usize,
    fence: Option<Fence>,
    /// The actor has got something done since the last time that events were to be discarded.
    lively: bool,
    /// How many events were discarded since the last one that was delivered.
    missed: u64,
    gone: bool,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ears: _, queue, events: _, bytes, fence, lively: _, missed, gone } = self;
        f.debug_struct("Subscriber")
            .field("queue", &queue.len())
            .field("bytes", bytes)
            .field("full", &fence.is_some())
            .field("missed", missed)
            .field("gone", gone)
            .finish_non_exhaustive()
    }
}

/// What became of a message.
enum Sent {
    Taken,
    /// It overfilled the mailbox.
    Full(Fence),
    Gone,
}

fn send<M>(recipient: Option<&Recipient<M>>, message: M) -> Sent
where
    M: Message<Result = ()> + Send + 'static,
{
    let Some(recipient) = recipient else { return Sent::Taken };
    match recipient.try_send(message) {
        Ok(()) => Sent::Taken,
        Err(SendError::Closed(_)) => Sent::Gone,
        Err(SendError::Full(message)) => {
            let request: RecipientRequest<M> = recipient.send(message);
            Sent::Full(Box::pin(request))
        }
    }
}

impl Subscriber {
    pub(crate) fn new(ears: Ears) -> Self {
        Self {
            ears,
            queue: VecDeque::new(),
            events: 0,
            bytes: 0,
            fence: None,
            lively: true,
            missed: 0,
            gone: false,
        }
    }

    /// Whether it is the same actor, that subscribes to more.
    pub(crate) fn can_adopt(&self, ears: &Ears) -> bool {
        !self.gone && self.ears.complement(ears)
    }

    pub(crate) fn adopt(&mut self, ears: Ears) {
        self.ears = std::mem::take(&mut self.ears).merge(ears);
    }

    /// The actor is dead, as far as is known.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Looks whether the actor is dead.
    pub(crate) fn check(&mut self) {
        self.gone |= !self.ears.are_connected();
    }

    pub(crate) fn wants_events(&self) -> bool {
        self.ears.want_events()
    }

    /// How many events wait for the actor, and their bytes. Other messages are few, and not
    /// discarded, so they do not count.
    pub(crate) fn backlog(&self) -> (usize, usize) {
        (self.events, self.bytes)
    }

    /// Delivers a message, or queues it behind others.
    pub(crate) fn offer(&mut self, fact: Fact) {
        if self.gone || !self.ears.want(&fact) {
            return;
        }
        if self.fence.is_none() {
            return self.deliver(fact);
        }
        if self.missed > 0 && fact.is_event() {
            self.missed = self.missed.saturating_add(1);
            return;
        }
        self.events = self.events.saturating_add(usize::from(fact.is_event()));
        self.bytes = self.bytes.saturating_add(fact.size());
        self.queue.push_back(fact);
    }

    fn deliver(&mut self, fact: Fact) {
        match self.ears.send(fact) {
            Sent::Taken => {}
            Sent::Full(fence) => self.fence = Some(fence),
            Sent::Gone => self.gone = true,
        }
    }

    /// Discards the events that wait, and those that come until the actor is through with its
    /// mailbox; not if the actor got something done since the last time, unless it is a matter of
    /// `all`. Gives their number.
    pub(crate) fn shed(&mut self, all: bool) -> u64 {
        if std::mem::take(&mut self.lively) && !all {
            return 0;
        }
        let before = self.queue.len();
        self.queue.retain(|fact| !fact.is_event());
        (self.events, self.bytes) = (0, 0);
        let shed = u64::try_from(before.saturating_sub(self.queue.len())).unwrap_or(u64::MAX);
        self.missed = self.missed.saturating_add(shed);
        shed
    }

    /// Delivers what waits, as far as the mailbox takes it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, namespace: &bytestring::ByteString) {
        while let Some(fence) = &mut self.fence {
            match fence.as_mut().poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Err(_)) => {
                    self.gone = true;
                    self.queue.clear();
                    return;
                }
                Poll::Ready(Ok(())) => {
                    self.fence = None;
                    self.lively = true;
                }
            }
            if self.missed > 0 {
                let missed = std::mem::take(&mut self.missed);
                log::warn!("{namespace}: a slow subscriber missed {missed} events");
                self.deliver(Fact::Lagged(Lagged { namespace: namespace.clone(), missed }));
            }
            while self.fence.is_none() && !self.gone {
                let Some(fact) = self.queue.pop_front() else { break };
                self.events = self.events.saturating_sub(usize::from(fact.is_event()));
                self.bytes = self.bytes.saturating_sub(fact.size());
                self.deliver(fact);
            }
        }
    }
}

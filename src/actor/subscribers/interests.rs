//! What there is to hear, and what a subscriber wants of it.

use std::{
    any::type_name,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use actix::{Addr, Handler, Message, Recipient, dev::ToEnvelope};

use crate::{
    actor::subscribers::{
        listener::{Filter, FilteredListener},
        policy::SubscriptionId,
        sent::{Sent, send},
    },
    message::{
        ConnectError, Disconnected, Emitted, Event, GaveUp, Lagged, Ready, Reconnecting,
        ServerError, Undecodable,
    },
};

/// All that depends on which messages there are, so that each is named once.
macro_rules! facts {
    ($($message:ident: $field:ident),* $(,)?) => {
        /// A message that a subscriber may get.
        #[derive(Debug, Clone)]
        pub(crate) enum Notice {
            $($message($message),)*
        }

        /// Where the messages go; `None` for those that the subscriber does not want.
        #[derive(Default)]
        pub(crate) struct Interests {
            /// What an actor subscribes to one by one is one subscription.
            pub(super) owner: Owner,
            $(pub(super) $field: Option<Recipient<$message>>,)*
            /// Who hears events by their names.
            pub(super) named: Vec<FilteredListener>,
        }

        impl Interests {
            pub(super) fn want(&self, fact: &Notice) -> bool {
                match fact {
                    Notice::Event(event) if self.hear(event.name()) => true,
                    $(Notice::$message(_) => self.$field.is_some(),)*
                }
            }

            fn send_fact(&self, fact: Notice) -> Sent {
                match fact {
                    $(Notice::$message(message) => send(self.$field.as_ref(), message),)*
                }
            }

            /// Whether the actor lives. Recipients of one actor live and die together.
            pub(crate) fn are_connected(&self) -> bool {
                if let Some(named) = self.named.first() {
                    return named.is_connected();
                }
                $(
                    if let Some(recipient) = &self.$field {
                        return recipient.connected();
                    }
                )*
                true
            }

            /// Whether these are of the same actor, for other messages.
            pub(super) fn complement(&self, other: &Self) -> bool {
                self.owner.id == other.owner.id
                    $(&& !(self.$field.is_some() && other.$field.is_some()))*
            }

            pub(super) fn merge(mut self, other: Self) -> Self {
                self.named.extend(other.named);
                Self {
                    owner: self.owner,
                    $($field: self.$field.or(other.$field),)*
                    named: self.named,
                }
            }
        }

        $(
            impl Subscribable for $message {}

            impl sealed::Sealed for $message {
                #[expect(private_interfaces, reason = "sealed: nobody outside can name the trait")]
                fn interests(recipient: Recipient<Self>) -> Interests {
                    let (owner, recipient) = Owner::of(recipient);
                    Interests { owner, $field: Some(recipient), ..Interests::default() }
                }
            }
        )*

        /// Who it is, and what is heard.
        impl fmt::Display for Interests {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let kinds = [$(self.$field.as_ref().map(|_| stringify!($message))),*];
                let kinds = kinds.into_iter().flatten().map(str::to_owned);
                let all: Vec<String> = kinds.chain(self.named.iter().map(FilteredListener::to_string)).collect();
                write!(f, "{} ({})", self.owner.name.unwrap_or("a subscriber"), all.join(", "))
            }
        }
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
    ServerError: server_error,
    Undecodable: undecodable,
    Emitted: emitted,
);

impl Notice {
    pub(super) fn is_event(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Undecodable(_) | Self::Emitted(_))
    }

    /// What it counts for in a queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Event(event) | Self::Undecodable(Undecodable { event, .. }) => {
                event.payload.size()
            }
            Self::Emitted(emitted) => emitted.payload.size(),
            _ => 0,
        }
    }
}

impl Interests {
    /// Those of an actor that handles the three that everybody needs.
    pub(crate) fn of_actor<A>(addr: Addr<A>) -> Self
    where
        A: Handler<Ready> + Handler<Event> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Ready> + ToEnvelope<A, Event> + ToEnvelope<A, Disconnected>,
    {
        let (owner, ready) = Owner::of(addr.clone());
        Self {
            owner,
            ready: Some(ready),
            event: Some(addr.clone().recipient()),
            disconnected: Some(addr.recipient()),
            ..Self::default()
        }
    }

    /// Those of somebody who hears some events.
    pub(crate) fn of_named(owner: Owner, named: FilteredListener) -> Self {
        Self { owner, named: vec![named], ..Self::default() }
    }

    /// Whether some listener is for events of this name.
    fn hear(&self, name: &str) -> bool {
        self.named.iter().any(|named| named.filter.fits(name))
    }

    /// Whether this is a question that the actor is to answer.
    pub(super) fn answer(&self, fact: &Notice) -> bool {
        let Notice::Event(event) = fact else { return false };
        let mut named = self.named.iter();
        named.any(|named| named.answers() && named.filter.fits(event.name()))
    }

    /// Sends a message to whom it concerns: an event may be for several listeners. The last one gets
    /// it without a copy. An actor that hears of what it cannot decode is told at once, before what came
    /// later.
    pub(super) fn send(&self, fact: Notice, mut note: impl FnMut(Sent)) {
        let Notice::Event(event) = fact else { return note(self.send_fact(fact)) };
        let mut note = |sent| {
            if let (Sent::Undecodable(what), Some(_)) = (&sent, &self.undecodable) {
                note(send(self.undecodable.as_ref(), what.clone()));
            }
            note(sent);
        };
        let mut last: Option<&FilteredListener> = None;
        let name = event.name();
        for named in self.named.iter().filter(|named| named.filter.fits(name)) {
            if let Some(before) = last.replace(named) {
                note(before.send(event.clone()));
            }
        }
        let Some(last) = last else { return note(self.send_fact(Notice::Event(event))) };
        if self.event.is_some() {
            note(last.send(event.clone()));
            note(self.send_fact(Notice::Event(event)));
        } else {
            note(last.send(event));
        }
    }

    /// Whether all events are wanted.
    pub(crate) fn want_all_events(&self) -> bool {
        self.event.is_some() || self.named.iter().any(|named| matches!(named.filter, Filter::All))
    }

    pub(crate) fn want_event(&self, event: &Event) -> bool {
        self.event.is_some() || self.hear(event.name())
    }

    pub(crate) fn want_ready(&self) -> bool {
        self.ready.is_some()
    }
}

/// Whose they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Owner {
    /// Tells actors apart: the same for all recipients of one, whatever their message. As long as
    /// there is a recipient, no other actor can have it.
    id: u64,
    /// The name of its type, as far as that is known. `None` if it is no actor.
    pub(super) name: Option<&'static str>,
}

impl Owner {
    /// An actor, and its way for messages.
    pub(crate) fn of<G, M>(actor: G) -> (Self, Recipient<M>)
    where
        G: Into<Recipient<M>>,
        M: Message + Send,
        M::Result: Send,
    {
        let name = type_name::<G>().strip_prefix("actix::address::Addr<");
        let name = name.and_then(|name| name.strip_suffix('>')).unwrap_or("an actor");
        let recipient = actor.into();
        let id = BuildHasherDefault::<DefaultHasher>::default().hash_one(&recipient);
        (Self { id, name: Some(name) }, recipient)
    }

    /// Where there is no actor.
    pub(crate) fn alone(number: SubscriptionId) -> Self {
        Self { id: number.alone(), name: None }
    }

    /// The same, in a subscription of its own.
    pub(crate) fn apart(self, number: SubscriptionId) -> Self {
        Self { id: number.alone(), ..self }
    }
}

impl fmt::Debug for Interests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interests").finish_non_exhaustive()
    }
}

/// A message that an actor can subscribe to by itself, with
/// [`Socket::subscribe_to`](crate::Socket::subscribe_to).
///
/// It is implemented for [`Ready`], [`Event`], [`Disconnected`], [`ConnectError`], [`Lagged`],
/// [`Reconnecting`], [`GaveUp`], [`ServerError`], [`Undecodable`] and [`Emitted`], and for nothing else.
pub trait Subscribable: Message<Result = ()> + Send + sealed::Sealed {}

mod sealed {
    use actix::Recipient;

    use super::Interests;

    /// What a subscriber to one message wants.
    #[expect(unnameable_types, reason = "nobody outside is to implement it")]
    pub trait Sealed: actix::Message + Send + Sized
    where
        Self::Result: Send,
    {
        #[expect(private_interfaces, reason = "sealed: nobody outside can name the trait")]
        fn interests(recipient: Recipient<Self>) -> Interests;
    }
}

pub(crate) fn interests<M: Subscribable>(recipient: Recipient<M>) -> Interests {
    <M as sealed::Sealed>::interests(recipient)
}

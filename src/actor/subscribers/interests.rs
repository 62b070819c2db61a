//! The kinds of messages, and which of them a subscriber wants.

use std::{
    any::type_name,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use actix::{Addr, Handler, Message, Recipient, dev::ToEnvelope};
use serde::de::DeserializeOwned;

use crate::{
    actor::subscribers::{
        filter::Filter,
        listener::{FilteredListener, Listener, Outlet},
        listeners::Listeners,
        policy::SubscriptionId,
        sent::Sent,
    },
    message::{
        ConnectError, Disconnected, Emitted, Event, GaveUp, Lagged, Ready, Reconnecting,
        ServerError, Undecodable, Upgraded, contract::NamedEvent,
    },
};

/// Everything that depends on the kinds of messages, so that each kind is named only once.
macro_rules! notices {
    ($($message:ident: $field:ident),* $(,)?) => {
        /// A message that a subscriber may get.
        #[derive(Debug, Clone)]
        pub(crate) enum Notice {
            $($message($message),)*
        }

        /// The kind of a message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $($message,)*
        }

        impl Notice {
            pub(super) fn kind(&self) -> Kind {
                match self {
                    $(Self::$message(_) => Kind::$message,)*
                }
            }
        }

        /// Where the messages go; `None` for those that the subscriber does not want.
        #[derive(Default)]
        pub(crate) struct Interests {
            /// All calls of one actor are one subscription.
            pub(super) owner: Owner,
            $(pub(super) $field: Option<Outlet<$message>>,)*
            /// Listeners for events by name.
            pub(super) named: Listeners,
        }

        impl Interests {
            pub(super) fn want(&self, notice: &Notice) -> bool {
                match notice {
                    Notice::Event(event) if self.hear(event.name()) => true,
                    $(Notice::$message(_) => self.$field.is_some(),)*
                }
            }

            fn send_notice(&self, notice: Notice, is_last: bool) -> Sent {
                match notice {
                    $(Notice::$message(message) => {
                        let outlet = self.$field.as_ref();
                        outlet.map_or(Sent::Taken, |outlet| outlet.send(message, is_last))
                    })*
                }
            }

            /// Whether the actor is alive. All recipients of one actor live and die together.
            pub(crate) fn are_connected(&self) -> bool {
                if let Some(named) = self.named.first() {
                    return named.outlet.is_connected();
                }
                $(
                    if let Some(outlet) = &self.$field {
                        return outlet.is_connected();
                    }
                )*
                true
            }

            /// Whether these belong to the same actor, for other messages.
            pub(super) fn complement(&self, other: &Self) -> bool {
                self.owner.id == other.owner.id
                    $(&& !(self.$field.is_some() && other.$field.is_some()))*
            }

            /// Removes the part that came from the call with this number, if that can end alone.
            pub(super) fn cancel(&mut self, number: SubscriptionId) -> Option<Part> {
                if let Some(named) = self.named.remove(number) {
                    return Some(Part::Named(named.filter.clone()));
                }
                $(
                    if self.$field.take_if(|outlet| outlet.is_part(number)).is_some() {
                        return Some(Part::Kind(Kind::$message));
                    }
                )*
                None
            }

            /// All parts, with the numbers of the calls that they came from.
            pub(super) fn parts(&self) -> impl Iterator<Item = (SubscriptionId, Part)> {
                let kinds = [$(
                    self.$field.as_ref().map(|outlet| (outlet.number(), Part::Kind(Kind::$message)))
                ),*];
                let named = self.named.iter();
                let named = named.map(|(number, one)| (number, Part::Named(one.filter.clone())));
                kinds.into_iter().flatten().chain(named)
            }

            pub(super) fn merge(mut self, other: Self) -> Self {
                self.named.append(other.named);
                Self {
                    owner: self.owner,
                    $($field: self.$field.or(other.$field),)*
                    named: self.named,
                }
            }
        }

        $(
            impl Subscribable for $message {}

            impl Listenable for $message {}

            impl sealed::Kind for $message {
                #[expect(private_interfaces, reason = "nobody outside can name the trait")]
                fn place(interests: &mut Interests) -> &mut Option<Outlet<Self>> {
                    &mut interests.$field
                }
            }

            notices!(@listen $message);
        )*

        /// The subscriber, and the messages that it listens to.
        impl fmt::Display for Interests {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let owner = self.owner.name;
                let kinds = [$(self.$field.as_ref().map(|outlet| match owner {
                    Some(_) => stringify!($message).to_owned(),
                    None => format!("{} as {}", stringify!($message), outlet.kind()),
                })),*];
                let kinds = kinds.into_iter().flatten();
                let named = self.named.iter().map(|(_, named)| named.to_string());
                let all: Vec<String> = kinds.chain(named).collect();
                write!(f, "{} ({})", owner.unwrap_or("a subscriber"), all.join(", "))
            }
        }
    };

    // Events are selected by name.
    (@listen Event) => {
        impl sealed::Heard for Event {
            #[expect(private_bounds, private_interfaces, reason = "nobody outside can name the trait")]
            fn listen(
                number: SubscriptionId,
                owner: Owner,
                filter: Filter,
                listener: impl Listener<Self> + 'static,
            ) -> Interests {
                Interests::of_named(owner, number, FilteredListener::new(number, filter, listener))
            }
        }
    };

    // All other messages are selected by kind.
    (@listen $message:ident) => {
        impl sealed::Heard for $message {
            fn what(_: &Filter) -> String {
                stringify!($message).to_owned()
            }

            #[expect(private_bounds, private_interfaces, reason = "nobody outside can name the trait")]
            fn listen(
                number: SubscriptionId,
                owner: Owner,
                _: Filter,
                listener: impl Listener<Self> + 'static,
            ) -> Interests {
                Interests::of(owner, Outlet::part(number, listener))
            }
        }
    };
}

notices!(
    Ready: ready,
    Event: event,
    Disconnected: disconnected,
    ConnectError: connect_error,
    Lagged: lagged,
    Reconnecting: reconnecting,
    Upgraded: upgraded,
    GaveUp: gave_up,
    ServerError: server_error,
    Undecodable: undecodable,
    Emitted: emitted,
);

impl Notice {
    pub(super) fn is_event(&self) -> bool {
        matches!(self, Self::Event(_) | Self::Undecodable(_) | Self::Emitted(_))
    }

    /// Its size in a queue, in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Event(event) | Self::Undecodable(Undecodable { event, .. }) => {
                event.payload.held()
            }
            Self::Emitted(emitted) => emitted.payload.held(),
            Self::Disconnected(Disconnected { reason, .. })
            | Self::ConnectError(ConnectError { reason, .. })
            | Self::Reconnecting(Reconnecting { reason, .. })
            | Self::GaveUp(GaveUp { reason, .. }) => reason.held(),
            Self::ServerError(ServerError { error, .. }) => error.held(),
            Self::Ready(_) | Self::Lagged(_) | Self::Upgraded(_) => 0,
        }
    }
}

impl Interests {
    /// The interests of an actor that handles the three usual messages.
    pub(crate) fn of_actor<A>(number: SubscriptionId, addr: Addr<A>) -> Self
    where
        A: Handler<Ready> + Handler<Event> + Handler<Disconnected>,
        A::Context: ToEnvelope<A, Ready> + ToEnvelope<A, Event> + ToEnvelope<A, Disconnected>,
    {
        let (owner, ready) = Owner::of::<_, Ready>(addr.clone());
        let (event, disconnected) = (addr.clone().recipient(), addr.recipient());
        Self {
            owner,
            ready: Some(Outlet::whole(number, ready)),
            event: Some(Outlet::whole(number, event)),
            disconnected: Some(Outlet::whole(number, disconnected)),
            ..Self::default()
        }
    }

    /// The interests of an actor that gets one kind of message.
    pub(crate) fn of_kind<M: Subscribable>(
        number: SubscriptionId,
        actor: impl Into<Recipient<M>>,
    ) -> Self {
        let (owner, recipient) = Owner::of(actor);
        Self::of(owner, Outlet::whole(number, recipient))
    }

    fn of<M: sealed::Kind>(owner: Owner, outlet: Outlet<M>) -> Self {
        let mut interests = Self { owner, ..Self::default() };
        *M::place(&mut interests) = Some(outlet);
        interests
    }

    /// The interests of a listener for some events.
    pub(crate) fn of_named(owner: Owner, number: SubscriptionId, named: FilteredListener) -> Self {
        let mut interests = Self { owner, ..Self::default() };
        interests.named.insert(number, named);
        interests
    }

    /// Whether a listener wants events of this name.
    fn hear(&self, name: &str) -> bool {
        self.named.any(name, |_| true)
    }

    /// Whether this is a question that the actor answers.
    pub(super) fn answer(&self, notice: &Notice) -> bool {
        let Notice::Event(event) = notice else { return false };
        self.named.any(event.name(), FilteredListener::answers)
    }

    /// Sends a message to its listeners: an event may be for several. The last one gets
    /// it without a copy. An actor that gets `Undecodable` is told at once, before messages that came
    /// later. With `is_last`, the message fills the mailbox.
    pub(super) fn send(&self, notice: Notice, is_last: bool, mut note: impl FnMut(Sent)) {
        let Notice::Event(event) = notice else { return note(self.send_notice(notice, is_last)) };
        let mut note = |sent| {
            if let (Sent::Undecodable(what), Some(outlet)) = (&sent, &self.undecodable) {
                note(outlet.send(what.clone(), is_last));
            }
            note(sent);
        };
        let mut last: Option<&FilteredListener> = None;
        self.named.any(event.name(), |named| {
            if let Some(before) = last.replace(named) {
                note(before.send(event.clone(), is_last));
            }
            false
        });
        let Some(last) = last else { return note(self.send_notice(Notice::Event(event), is_last)) };
        if self.event.is_some() {
            note(last.send(event.clone(), is_last));
            note(self.send_notice(Notice::Event(event), is_last));
        } else {
            note(last.send(event, is_last));
        }
    }

    /// Whether all events are wanted.
    pub(crate) fn want_all_events(&self) -> bool {
        self.event.is_some() || self.named.iter().any(|(_, named)| named.filter.is_all())
    }

    pub(crate) fn want_event(&self, event: &Event) -> bool {
        self.event.is_some() || self.hear(event.name())
    }

    /// Whether this gets the losses of those subscribers in the namespace that do not get them themselves.
    pub(super) fn want_all_lagged(&self) -> bool {
        self.owner.is_alone && self.lagged.is_some()
    }

    /// Identifies its actor.
    pub(super) fn owner_id(&self) -> u64 {
        self.owner.id
    }

    pub(crate) fn want_ready(&self) -> bool {
        self.ready.is_some()
    }
}

/// A part of a subscription.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Kind(Kind),
    Named(Filter),
}

/// The owner of interests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Owner {
    /// Identifies the actor: the same for all its recipients, whatever their message. As long as
    /// there is a recipient, no other actor can have it.
    id: u64,
    /// The name of its type, if known. `None` if it is not an actor.
    pub(super) name: Option<&'static str>,
    /// Whether no further call extends this subscription.
    is_alone: bool,
}

impl Owner {
    /// An actor, and its recipient for a message.
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
        (Self { id, name: Some(name), is_alone: false }, recipient)
    }

    /// An owner without an actor.
    pub(crate) fn alone(number: SubscriptionId) -> Self {
        Self { id: number.alone(), name: None, is_alone: true }
    }

    /// The same, in a subscription of its own.
    pub(crate) fn apart(self, number: SubscriptionId) -> Self {
        Self { id: number.alone(), is_alone: true, ..self }
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
/// [`Reconnecting`], [`Upgraded`], [`GaveUp`], [`ServerError`], [`Undecodable`] and [`Emitted`], and for nothing else.
pub trait Subscribable: Message<Result = ()> + Listenable + sealed::Kind {}

/// What can be received with [`Socket::listen_to`](crate::Socket::listen_to): each
/// [`Subscribable`] message, and each type of the application that is a [`NamedEvent`] and can be
/// deserialised.
pub trait Listenable: Sized + Send + sealed::Heard + 'static {}

impl<E: NamedEvent + DeserializeOwned + Send + 'static> Listenable for E {}

mod sealed {
    use serde::de::DeserializeOwned;

    use super::{Interests, Owner};
    use crate::{
        actor::subscribers::{
            filter::Filter,
            listener::{FilteredListener, Listener, Outlet},
            policy::SubscriptionId,
            typed::Typed,
        },
        message::contract::NamedEvent,
    };

    /// A kind of message.
    #[expect(unnameable_types, reason = "nobody outside is to implement it")]
    pub trait Kind: Sized {
        /// The outlet for it.
        #[expect(private_interfaces, reason = "nobody outside can name the trait")]
        fn place(interests: &mut Interests) -> &mut Option<Outlet<Self>>;
    }

    /// What can be listened to.
    #[expect(unnameable_types, reason = "nobody outside is to implement it")]
    pub trait Heard: Sized {
        /// The filter for these events, if they are events.
        fn filter() -> Filter {
            Filter::all()
        }

        /// A description for the log.
        fn what(filter: &Filter) -> String {
            filter.to_string()
        }

        #[expect(private_bounds, private_interfaces, reason = "nobody outside can name the trait")]
        fn listen(
            number: SubscriptionId,
            owner: Owner,
            filter: Filter,
            listener: impl Listener<Self> + 'static,
        ) -> Interests;
    }

    impl<E: NamedEvent + DeserializeOwned + 'static> Heard for E {
        fn filter() -> Filter {
            E::NAME.into()
        }

        #[expect(private_bounds, private_interfaces, reason = "nobody outside can name the trait")]
        fn listen(
            number: SubscriptionId,
            owner: Owner,
            filter: Filter,
            listener: impl Listener<Self> + 'static,
        ) -> Interests {
            let listener = Typed::<E, _>::new(listener);
            Interests::of_named(owner, number, FilteredListener::new(number, filter, listener))
        }
    }
}

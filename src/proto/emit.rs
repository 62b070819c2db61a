//! What the application sends: an event, and whether and how long it may wait.

use std::{fmt, time::Duration};

use bytestring::ByteString;
use serde::Serialize;

use crate::{
    payload::{Payload, encode_event},
    proto::error::EmitError,
};

/// An event for the server, ready to be sent: its name is checked and its arguments are serialised.
///
/// [`Socket::emit`](crate::Socket::emit) makes one and sends it at once. Made by hand, it can have
/// options, and is sent with [`Socket::send`](crate::Socket::send) or
/// [`Socket::send_with_ack`](crate::Socket::send_with_ack):
///
/// ```
/// # use std::time::Duration;
/// # use actix_socketio::{Emit, EmitError, Socket};
/// # fn example(socket: &Socket) -> Result<(), EmitError> {
/// // Now or never.
/// socket.send(Emit::new("mouse", (3, 4))?.volatile())?;
/// // If several wait, only the last one is sent.
/// socket.send(Emit::new("price", ("tea", 3))?.latest("tea"))?;
/// // Not worth sending in an hour.
/// socket.send(Emit::new("alarm", "door")?.lifetime(Duration::from_secs(3_600)))?;
/// # Ok(())
/// # }
/// ```
///
/// It is also an actix message, for the [`Recipient`](actix::Recipient) of a namespace; see
/// [`Socket::recipient`](crate::Socket::recipient).
#[derive(Clone, PartialEq, Eq)]
pub struct Emit {
    pub(crate) payload: Payload,
    /// `None` for most events.
    pub(crate) terms: Option<Box<Terms>>,
}

/// How and how long an event may wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) place: Place,
    pub(crate) lifetime: Option<Duration>,
}

impl Terms {
    /// Whether the event is sent now or never.
    pub(crate) fn are_volatile(&self) -> bool {
        self.place == Place::None
    }

    /// The key of the waiting event that it replaces.
    pub(crate) fn key(&self) -> Option<&ByteString> {
        match &self.place {
            Place::Latest(key) => Some(key),
            Place::Last | Place::None => None,
        }
    }
}

/// The place of an event among those that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// After everything that was emitted before.
    #[default]
    Last,
    /// The place of the event with this key, if one waits.
    Latest(ByteString),
    /// It does not wait.
    None,
}

impl Emit {
    /// Makes an event with these arguments: a tuple for several, `()` for none, anything else for
    /// one; see the mapping at [`payload`](crate::payload).
    ///
    /// # Errors
    ///
    /// [`EmitError::ReservedName`] or [`EmitError::Encode`].
    pub fn new(name: &str, arguments: impl Serialize) -> Result<Self, EmitError> {
        check_name(name)?;
        let payload =
            encode_event(name, &arguments).map_err(|error| EmitError::Encode(error.to_string()))?;
        Ok(Self { payload, terms: None })
    }

    /// Sends the event at once or never. It is dropped, and [counted](crate::Stats::discarded), if
    ///
    /// * its namespace is not joined when its turn comes;
    /// * more than 64 events wait for the connection, as they do when the server does not keep up;
    /// * the connection is lost before the event is written.
    ///
    /// An event is either volatile or the [latest](Self::latest) of its kind: of these two calls, the last
    /// one takes effect.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.terms_mut().place = Place::None;
        self
    }

    /// Replaces a waiting event that was emitted with the same key, whether it waits for the
    /// namespace to be joined or for the connection to take it. So of a changing value, at most one
    /// event waits. Replaced events are [counted](crate::Stats::replaced).
    ///
    /// An event that asks for an answer is replaced while it waits in the buffer, but not once the
    /// connection has it. The key has no effect on an event with
    /// [retries](crate::AckRequest::retries).
    #[must_use]
    pub fn latest(mut self, key: impl Into<String>) -> Self {
        self.terms_mut().place = Place::Latest(key.into().into());
        self
    }

    /// How long the event may wait for its namespace to be joined. After that it is dropped and
    /// [counted](crate::Stats::discarded); a future that waits for it resolves to
    /// [`EmitError::Expired`], for an answer as
    /// [`AckError::NeverSent`](crate::AckError::NeverSent). Default: as long as [`Offline`] says.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.terms_mut().lifetime = Some(lifetime);
        self
    }

    fn terms_mut(&mut self) -> &mut Terms {
        self.terms.get_or_insert_default()
    }

    /// The same event under another name.
    ///
    /// # Errors
    ///
    /// [`EmitError::ReservedName`].
    pub fn renamed(self, name: &str) -> Result<Self, EmitError> {
        check_name(name)?;
        Ok(self.with_name(name))
    }

    /// The same event under a name that has been [checked](check_name).
    pub(crate) fn with_name(self, name: &str) -> Self {
        Self { payload: self.payload.renamed(name), ..self }
    }

    /// The same event with other arguments.
    ///
    /// # Errors
    ///
    /// [`EmitError::Encode`].
    pub fn with_args(self, arguments: impl Serialize) -> Result<Self, EmitError> {
        let Self { payload, .. } = Self::new(self.name(), arguments)?;
        Ok(Self { payload, ..self })
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.payload.name()
    }

    /// The serialised arguments.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The room that it takes while it waits, in bytes: its arguments and its key.
    pub(crate) fn size(&self) -> usize {
        let key = self.terms.as_deref().and_then(Terms::key).map_or(0, |key| key.len());
        self.payload.size().saturating_add(key)
    }

    pub(crate) fn is_volatile(&self) -> bool {
        self.terms.as_deref().is_some_and(Terms::are_volatile)
    }
}

/// Whether an application may emit events of this name. The others belong to the life cycle of the
/// official clients and servers, which end the connection over them, or take them for their own.
pub(crate) fn check_name(name: &str) -> Result<(), EmitError> {
    match name {
        "connect" | "connect_error" | "disconnect" | "disconnecting" | "newListener"
        | "removeListener" => Err(EmitError::ReservedName(name.to_owned())),
        _ => Ok(()),
    }
}

impl fmt::Debug for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payload, terms } = self;
        f.debug_struct("Emit")
            .field("name", &self.name())
            .field("payload", payload)
            .field("terms", terms)
            .finish()
    }
}

/// What happens to events that are emitted while their namespace is being joined, or waits to be
/// joined again.
///
/// [`ClientBuilder::offline`](crate::ClientBuilder::offline) sets it for a client, and
/// [`Socket::with_offline`](crate::Socket::with_offline) for one handle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offline {
    /// Events wait, within the bounds of [`send_buffer`](crate::ClientBuilder::send_buffer), and
    /// are sent in order when the namespace is joined.
    #[default]
    Buffer,
    /// Events wait for at most this time. After that they are dropped and
    /// [counted](crate::Stats::discarded).
    BufferFor(Duration),
    /// Events are refused with [`EmitError::Offline`]. An event that was taken is dropped if the
    /// connection is lost before it is written.
    ///
    /// If events of the server come before its answer to the request to join (see
    /// [`Ready`](crate::Ready)), events emitted from then on are taken, and wait for that answer.
    Fail,
}

impl Offline {
    pub(crate) fn lifetime(self) -> Option<Duration> {
        match self {
            Self::BufferFor(lifetime) => Some(lifetime),
            Self::Buffer | Self::Fail => None,
        }
    }
}

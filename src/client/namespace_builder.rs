//! Everything that can be set for one namespace.

use std::{fmt, time::Duration};

use serde::Serialize;

use crate::{
    actor::{settings::Settings, subscribers::policy::Overflow},
    client::{
        Client,
        address::namespace_name,
        credentials::Auth,
        error::NamespaceError,
        socket::{Defaults, Socket},
    },
    middleware::Middleware,
    proto::{emit::Offline, reconnect::Range},
    runtime::provider::JoinContext,
};

/// The options of one namespace, set before it is joined; see [`Client::namespace`].
///
/// The defaults are those of the [`ClientBuilder`](crate::ClientBuilder). Options apply from the
/// first moment: the first request to join has these credentials, and the first event of the server
/// passes this middleware.
///
/// ```
/// use actix_socketio::{
///     Client, Overflow, Socket,
///     middleware::{NameList, RateLimit},
/// };
/// use serde_json::json;
/// use std::time::Duration;
///
/// fn open(client: &Client) -> Result<Socket, actix_socketio::NamespaceError> {
///     client
///         .namespace("/shop")
///         .auth(json!({ "token": "s3cret" }))
///         .middleware(NameList::incoming(["price", "sold"]))
///         .middleware(RateLimit::outgoing(100, Duration::from_secs(1)))
///         .overflow(Overflow::DropNewest { waiting: 1_000 })
///         .join()
/// }
/// ```
#[derive(Clone)]
#[must_use = "the namespace is not joined before `join`"]
pub struct NamespaceBuilder {
    client: Client,
    namespace: String,
    /// `None`: that of the client.
    auth: Option<Auth>,
    settings: Settings,
    defaults: Defaults,
}

/// Shows nothing of the credentials.
impl fmt::Debug for NamespaceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, namespace, auth, settings, defaults } = self;
        let Defaults { ack_timeout, ready_timeout: _, retries, offline } = defaults;
        f.debug_struct("NamespaceBuilder")
            .field("namespace", namespace)
            .field("auth", auth)
            .field("middleware", &settings.middleware.len())
            .field("overflow", &settings.overflow)
            .field("offline", offline)
            .field("ack_timeout", ack_timeout)
            .field("retries", retries)
            .finish_non_exhaustive()
    }
}

impl NamespaceBuilder {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        let (settings, defaults) = (client.inner.settings.clone(), client.inner.defaults);
        Self { client, namespace, auth: None, settings, defaults }
    }

    /// The credentials for this namespace, in place of those of the client; see
    /// [`ClientBuilder::auth`](crate::ClientBuilder::auth).
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        self.auth = Some(Auth::fixed(auth));
        self
    }

    /// A provider of credentials for this namespace, asked before each request to join it, instead
    /// of those of the client; see [`ClientBuilder::auth_with`](crate::ClientBuilder::auth_with).
    pub fn auth_with<P, F, T, E>(mut self, provider: P) -> Self
    where
        P: Fn(JoinContext) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        self.auth = Some(Auth::provided(provider));
        self
    }

    /// Sends no credentials to this namespace, even if the client has some.
    pub fn without_auth(mut self) -> Self {
        self.auth = Some(Auth::None);
        self
    }

    /// Adds a middleware for this namespace. What comes in passes it behind those of the client, and
    /// behind those that were added before; see [`middleware`](crate::middleware).
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.settings.middleware.push(middleware);
        self
    }

    /// What to do when events come too fast for a subscriber that does not say so itself; see
    /// [`ClientBuilder::overflow`](crate::ClientBuilder::overflow).
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.settings.overflow = overflow;
        self
    }

    /// What happens to events that are emitted while this namespace is not joined; see
    /// [`ClientBuilder::offline`](crate::ClientBuilder::offline).
    pub fn offline(mut self, offline: Offline) -> Self {
        self.settings.offline = offline;
        self.defaults.offline = offline;
        self
    }

    /// How long an answer may take, unless the call sets a time; more than zero. See
    /// [`ClientBuilder::ack_timeout`](crate::ClientBuilder::ack_timeout).
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.defaults.ack_timeout = timeout;
        self
    }

    /// How often an event that asks for an answer is sent again, unless the call sets a number; see
    /// [`ClientBuilder::retries`](crate::ClientBuilder::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.defaults.retries = retries;
        self
    }

    /// Joins the namespace. It does not wait for that, as [`Client::of`] does not.
    ///
    /// # Errors
    ///
    /// [`NamespaceError::Exists`] if the client has this namespace already, even if it was left or
    /// refused: [`Client::of`] gives it as it is. The default namespace exists from the start; its
    /// options are set in the [`ClientBuilder`](crate::ClientBuilder). Other errors: the name is not
    /// allowed, the credentials are not an object, an option is out of its range, or the client has
    /// been shut down.
    pub fn join(self) -> Result<Socket, NamespaceError> {
        let Self { client, namespace, auth, mut settings, defaults } = self;
        let name = namespace_name(&namespace)?;
        let Range { name: option, is_kept, expected } =
            Range::time("ack_timeout", defaults.ack_timeout);
        if !is_kept {
            return Err(NamespaceError::Option { name: option, expected });
        }
        if let Some(auth) = auth {
            let built = auth.build().map_err(NamespaceError::Auth)?;
            (settings.core.credentials, settings.provider) = built;
        }
        client.inner.join(name, &settings, defaults, &client.lifeline)
    }
}

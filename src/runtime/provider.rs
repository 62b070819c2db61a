//! Providers: functions of the application that are called each time credentials, headers or a query are needed.

use std::{fmt, sync::Arc};

use bytestring::ByteString;
use futures::{FutureExt, future::LocalBoxFuture};

use crate::{
    display::brief,
    guard::{Kept, Panicked},
    proto::reason::Reason,
    runtime::task::Task,
};

/// An asynchronous function of the application, from `I` to `O`.
pub(crate) struct Provider<I, O>(Arc<Provide<I, O>>);

type Provide<I, O> = dyn Fn(I) -> Provided<O> + Send + Sync;

/// The future value of a provider, or the text of its error.
pub(crate) type Provided<O> = LocalBoxFuture<'static, Result<O, String>>;

impl<I, O> Clone for Provider<I, O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I, O> fmt::Debug for Provider<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").finish_non_exhaustive()
    }
}

impl<I, O> Provider<I, O> {
    /// `check` converts the value of the application, or returns why it cannot be used.
    pub(crate) fn new<P, F, G, E>(
        provide: P,
        check: impl Fn(G) -> Result<O, String> + Copy + Send + Sync + 'static,
    ) -> Self
    where
        P: Fn(I) -> F + Send + Sync + 'static,
        I: 'static,
        F: Future<Output = Result<G, E>> + 'static,
        E: fmt::Display,
        O: 'static,
    {
        let panicked = |panicked: Panicked| format!("it {panicked}");
        let provide = Arc::new(Kept::new(provide));
        Self(Arc::new(move |input| {
            let provide = Arc::clone(&provide);
            // The value and the error belong to the application as well, until they are converted.
            let given = Task::new(async move {
                let given = provide.get().ok_or_else(String::new)?(input).await;
                given.map_err(|error| brief(&error)).and_then(check)
            });
            given.map(move |given| given.map_err(panicked).flatten()).boxed_local()
        }))
    }

    pub(crate) fn ask(&self, input: I) -> Provided<O> {
        (self.0)(input)
    }
}

/// A request to join a namespace that is about to be made; see
/// [`ClientBuilder::auth_with`](crate::ClientBuilder::auth_with).
#[derive(Debug, Clone)]
pub struct JoinContext {
    pub(crate) namespace: ByteString,
    pub(crate) attempt: u32,
    pub(crate) reason: Option<Reason>,
}

impl JoinContext {
    /// The namespace to be joined.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The number of the attempt in a row, since the server last ended or refused this namespace;
    /// 0 if it did not.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Why the namespace is not joined any more, or why the last attempt failed. After
    /// [`Reason::Refused`], credentials that were kept from before are likely to be refused again.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

/// A dial that is about to be made; see
/// [`ClientBuilder::headers_with`](crate::ClientBuilder::headers_with).
#[derive(Debug, Clone)]
pub struct DialContext {
    pub(crate) endpoint: ByteString,
    pub(crate) attempt: u32,
    pub(crate) reason: Option<Reason>,
}

impl DialContext {
    /// The server that is dialled, as `http://host:port/path/`: as in
    /// [`Client::endpoint`](crate::Client::endpoint). It has no query and no credentials.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number of the attempt to connect again, as in
    /// [`Reconnecting::attempt`](crate::Reconnecting::attempt). 0 for the first dial of a client,
    /// and for one that the application asked for.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Why the last connection ended or could not be made, if there was one.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

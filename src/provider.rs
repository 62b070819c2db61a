//! What the application gives anew each time: credentials.

use std::{fmt, sync::Arc};

use bytestring::ByteString;
use futures::future::LocalBoxFuture;

use crate::{error::Reason, proto::socket::Auth};

/// Gives the credentials for a request to join.
#[derive(Clone)]
pub(crate) struct AuthProvider(Arc<Provide>);

type Provide = dyn Fn(Join) -> LocalBoxFuture<'static, Result<Auth, String>> + Send + Sync;

impl fmt::Debug for AuthProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthProvider").finish_non_exhaustive()
    }
}

impl AuthProvider {
    pub(crate) fn new(
        provide: impl Fn(Join) -> LocalBoxFuture<'static, Result<Auth, String>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(provide))
    }

    pub(crate) fn provide(&self, join: Join) -> LocalBoxFuture<'static, Result<Auth, String>> {
        let Self(provide) = self;
        provide(join)
    }
}

/// A request to join a namespace that is about to be made; see
/// [`ClientBuilder::auth_with`](crate::ClientBuilder::auth_with).
#[derive(Debug, Clone)]
pub struct Join {
    pub(crate) namespace: ByteString,
    pub(crate) attempt: u32,
    pub(crate) reason: Option<Reason>,
}

impl Join {
    /// The namespace that is to be joined.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The number of the attempt in a row, since the server last ended or refused this namespace;
    /// 0 if it did not.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Why the namespace is not joined any more, or was not the last time. After
    /// [`Reason::Refused`], credentials that were kept from before are likely to be refused again.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

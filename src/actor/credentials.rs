//! The credentials of a namespace: their source, and the question to the application.

use std::{
    fmt,
    task::{Context, Poll, ready},
};

use futures::{TryFutureExt, future};

use crate::{
    middleware::Chain,
    proto::{namespace::Auth, reason::Reason},
    runtime::provider::{JoinContext, Provided, Provider},
};

/// Gives the credentials for a request to join.
pub(crate) type AuthProvider = Provider<JoinContext, Auth>;

/// The source of credentials that the core does not have itself.
#[derive(Debug)]
pub(crate) struct Credentials {
    provider: Option<AuthProvider>,
    /// Credentials that never change, if there is no provider, but a middleware that must see
    /// them.
    fixed: Option<Auth>,
    asking: Option<Box<Asking>>,
}

/// The application is asked for the credentials.
struct Asking {
    /// The number of the question.
    number: u64,
    join: JoinContext,
    answer: Provided<Option<Auth>>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Credentials {
    /// `fixed`: credentials without a provider that a middleware must see.
    pub(crate) fn new(provider: Option<AuthProvider>, fixed: Option<Auth>) -> Self {
        Self { provider, fixed, asking: None }
    }

    /// Whether there may be credentials, apart from those that a middleware adds.
    pub(crate) fn are_known(&self) -> bool {
        self.provider.is_some() || self.fixed.is_some()
    }

    /// The credentials for the request to join with this number, once the provider has given them and
    /// the middleware has seen them.
    pub(crate) fn poll(
        &mut self,
        number: u64,
        join: impl FnOnce() -> JoinContext,
        chain: &Chain,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Auth>, Reason>> {
        let Self { provider, fixed, asking } = self;
        let ask = || {
            let join = join();
            let answer: Provided<_> = match provider {
                Some(provider) => Box::pin(provider.ask(join.clone()).map_ok(Some)),
                None => Box::pin(future::ready(Ok(fixed.clone()))),
            };
            Box::new(Asking { number, join, answer })
        };
        // The answer to an older question is dropped.
        let asking = match asking.take().filter(|asking| asking.number == number) {
            Some(same) => asking.insert(same),
            None => asking.insert(ask()),
        };
        let Asking { join, answer, .. } = &mut **asking;
        let auth = ready!(answer.as_mut().poll(cx)).map_err(Reason::Provider)?;
        if chain.is_empty() {
            return Poll::Ready(Ok(auth));
        }
        Poll::Ready(chain.join(join, auth.as_ref()).map_err(Reason::Middleware))
    }

    /// Forgets the question, which is no longer asked.
    pub(crate) fn forget(&mut self) {
        self.asking = None;
    }
}

//! The credentials of a namespace: where they come from, and the question to the application.

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

/// Where the credentials come from that the core does not have.
#[derive(Debug)]
pub(crate) struct Credentials {
    provider: Option<AuthProvider>,
    /// Those that are always the same, where there is no provider, and yet a middleware that sees
    /// them.
    fixed: Option<Auth>,
    asking: Option<Asking>,
}

/// The application is asked for the credentials.
struct Asking {
    /// Of the question.
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
    /// `fixed` are those that a middleware is to see where there is no provider.
    pub(crate) fn new(provider: Option<AuthProvider>, fixed: Option<Auth>) -> Self {
        Self { provider, fixed, asking: None }
    }

    /// Whether there may be credentials, apart from those that a middleware adds.
    pub(crate) fn are_known(&self) -> bool {
        self.provider.is_some() || self.fixed.is_some()
    }

    /// Those for the request to join of that number, once the application has given them and the
    /// middleware has seen them.
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
            Asking { number, join, answer }
        };
        // An answer to an older question is not waited for.
        let asking = match asking.take().filter(|asking| asking.number == number) {
            Some(same) => asking.insert(same),
            None => asking.insert(ask()),
        };
        let Asking { join, answer, .. } = asking;
        let auth = ready!(answer.as_mut().poll(cx)).map_err(Reason::Provider)?;
        if chain.is_empty() {
            return Poll::Ready(Ok(auth));
        }
        Poll::Ready(chain.join(join, auth.as_ref()).map_err(Reason::Middleware))
    }

    /// Nobody asks any more.
    pub(crate) fn forget(&mut self) {
        self.asking = None;
    }
}

//! Runs what a relay does on an arbiter.

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _,
};

use crate::{guard::Panicked, runtime::task::Task};

/// A task runs in its context.
struct Host;

impl Actor for Host {
    type Context = Context<Self>;
}

/// Runs it on the arbiter of this thread. Code of the application is polled and dropped in there; if that panics, `tell` says so.
pub(crate) fn run(
    future: impl Future<Output = ()> + 'static,
    tell: impl FnOnce(&Panicked) + 'static,
) {
    let task = Task::new(future);
    Host::create(move |ctx| {
        ctx.spawn(task.into_actor(&Host).map(move |outcome, _, ctx: &mut Context<Host>| {
            if let Err(panicked) = outcome {
                tell(&panicked);
            }
            ctx.stop();
        }));
        Host
    });
}

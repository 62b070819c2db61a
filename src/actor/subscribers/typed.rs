//! Events as messages of types of the application, answered by what a handler returns.

use std::{any::type_name, marker::PhantomData};

use actix::{MailboxError, Message, Recipient};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actor::subscribers::{listener::Listener, sent::Sent},
    display::Excerpt,
    guard,
    logs::repeated,
    message::{
        Event, Undecodable,
        answer::AnswerError,
        contract::{Answer, Call, Failed},
    },
    payload::error::DecodeError,
    runtime::task::{self, Task},
};

/// Decodes an event, and passes it to `take`. Both run code of the application. If it is not taken, the result
/// says why.
fn read<M: DeserializeOwned, T>(
    event: Event,
    is_connected: impl FnOnce() -> bool,
    take: impl FnOnce(M) -> T,
) -> Result<(Event, T), Sent> {
    let error = match guard::run(|| event.args::<M>().map(take)) {
        Ok(Ok(taken)) => return Ok((event, taken)),
        Ok(Err(error)) => error,
        // A message for a dead receiver is dropped, and the drop may be what panicked.
        Err(_) if !is_connected() => return Err(Sent::Gone),
        Err(panicked) => DecodeError::panicked(&panicked),
    };
    Err(Sent::Undecodable(Undecodable { event, error, wanted: type_name::<M>() }))
}

/// Decodes events for a receiver of messages of its own type.
pub(crate) struct Typed<E, L> {
    listener: L,
    kind: PhantomData<fn(E)>,
}

impl<E, L> Typed<E, L> {
    pub(crate) fn new(listener: L) -> Self {
        Self { listener, kind: PhantomData }
    }
}

impl<E, L> Listener for Typed<E, L>
where
    E: DeserializeOwned,
    L: Listener<E>,
{
    fn send(&self, event: Event) -> Sent {
        let listener = &self.listener;
        let taken = read(event, || listener.is_connected(), |message: E| listener.send(message));
        taken.map_or_else(|not| not, |(_, sent)| sent)
    }

    fn send_last(&self, event: Event) -> Sent {
        let listener = &self.listener;
        let taken =
            read(event, || listener.is_connected(), |message: E| listener.send_last(message));
        taken.map_or_else(|not| not, |(_, sent)| sent)
    }

    fn is_connected(&self) -> bool {
        self.listener.is_connected()
    }

    fn kind(&self) -> &'static str {
        type_name::<E>()
    }
}

/// An actor whose handler's result is the answer.
pub(crate) struct Answering<C: Message + Send>(pub(crate) Recipient<C>)
where
    C::Result: Send;

impl<C> Listener for Answering<C>
where
    C: Call + DeserializeOwned + Message + Send + 'static,
    C::Result: Answer<C::Reply> + Send,
    C::Reply: Serialize,
{
    fn send(&self, event: Event) -> Sent {
        let taken = read(event, || self.is_connected(), |message: C| self.0.send(message));
        let (event, asked) = match taken {
            Ok(taken) => taken,
            Err(not) => return not,
        };
        Sent::Asked(Task::new(async move {
            let handled = task::catch(asked).await.unwrap_or(Err(MailboxError::Closed));
            let gone = handled.as_ref().map(drop).map_err(|_| MailboxError::Closed);
            let reply = || {
                let reply = handled.map_err(|_| GONE.to_owned()).and_then(Answer::into_reply);
                if event.wants_ack() {
                    answer(&event, reply);
                }
            };
            if let Err(panicked) = guard::run(reply) {
                let (whose, name, kind) = (event.whose(), Excerpt(event.name()), type_name::<C>());
                repeated!(log::Level::Warn, whose, "the answer to {name} ({kind}) {panicked}");
                // Does nothing if the answer was given before.
                drop(event.ack(Failed { error: PANICKED.to_owned() }));
            }
            gone
        }))
    }

    fn is_connected(&self) -> bool {
        self.0.connected()
    }

    fn kind(&self) -> &'static str {
        type_name::<C>()
    }

    fn answers(&self) -> bool {
        true
    }
}

/// What the server gets when the actor stops, or panics, before it has answered,
const GONE: &str = "the actor that should answer is gone";

/// and when the answer panics before it is sent.
const PANICKED: &str = "the answer could not be made";

/// Answers, if necessary with an error, so that the server need not wait.
fn answer(event: &Event, reply: Result<impl Serialize, String>) {
    let outcome = match reply {
        Ok(reply) => event.ack(reply).or_else(|error| match error {
            AnswerError::Encode(_)
            | AnswerError::PayloadTooLarge { .. }
            | AnswerError::TooManyAttachments { .. } => {
                repeated!(log::Level::Warn, event.whose(), "an answer was replaced: {error}");
                event.ack(Failed { error: error.to_string() })
            }
            error => Err(error),
        }),
        Err(error) => event.ack(Failed { error }),
    };
    if let Err(error) = outcome {
        repeated!(log::Level::Warn, event.whose(), "an answer was not sent: {error}");
    }
}

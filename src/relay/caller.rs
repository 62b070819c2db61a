//! Commands to upstreams, from anywhere.

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    message::contract::{Call, NamedEvent},
    payload::{Payload, Reply},
    proto::{emit::Emit, error::EmitError},
    relay::{
        command::{CallError, Command, read_answer},
        engine::Engine,
        name,
    },
};

/// How long a caller waits, if it does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends commands to upstreams: the worker that holds the upstream emits the event, and the answer of the server comes back.
///
/// It needs no worker in its own process. It is cheap to clone, and may be used from any thread.
///
/// ```no_run
/// use std::time::Duration;
/// use actix_socketio::{Call, NamedEvent, relay::{Caller, CallError, Engine, Sent}};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Buy {
///     what: String,
/// }
///
/// impl NamedEvent for Buy {
///     const NAME: &'static str = "buy";
/// }
///
/// impl Call for Buy {
///     type Reply = u64;
/// }
///
/// # async fn example(engine: Engine) -> Result<(), CallError> {
/// let caller = Caller::new(engine);
/// let tea = Buy { what: "tea".into() };
/// match caller.call("shop", &tea).timeout(Duration::from_secs(2)).await {
///     Ok(order) => println!("order {order}"),
///     Err(error) if error.sent() == Sent::No => println!("nothing is ordered: {error}"),
///     Err(error) => println!("ask the shop: {error}"),
/// }
/// // Is done even if all workers are down now. Another process can fetch the answer.
/// caller.call("shop", &tea).durable("order-7").submit().await?;
/// let order: u64 = caller.result("shop", "order-7", Duration::from_secs(60)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Caller {
    engine: Engine,
}

impl Caller {
    /// A caller of the upstreams of this engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Emits an event of a type of your own, and waits for its reply; see
    /// [`contract`](crate::message::contract).
    pub fn call<C>(&self, upstream: &str, call: &C) -> CallRequest<C::Reply>
    where
        C: Call + Serialize,
        C::Reply: Reply,
    {
        self.emit_with_ack(upstream, C::NAME, call)
    }

    /// Emits an event, and waits for the server's answer. Arguments and answers are mapped as for
    /// [`Socket::emit_with_ack`](crate::Socket::emit_with_ack).
    pub fn emit_with_ack<R: Reply>(
        &self,
        upstream: &str,
        name: &str,
        arguments: impl Serialize,
    ) -> CallRequest<R> {
        self.request(upstream, Emit::new(name, arguments), true)
    }

    /// Emits an event, and waits until the holder has written it to its connection. Whether the server
    /// has got it, only an answer can tell.
    pub fn emit(&self, upstream: &str, name: &str, arguments: impl Serialize) -> CallRequest<()> {
        self.request(upstream, Emit::new(name, arguments), false)
    }

    /// The same with an event of a type of your own; see [`contract`](crate::message::contract).
    pub fn emit_event<E: NamedEvent + Serialize>(
        &self,
        upstream: &str,
        event: &E,
    ) -> CallRequest<()> {
        self.emit(upstream, E::NAME, event)
    }

    fn request<R>(
        &self,
        upstream: &str,
        emit: Result<Emit, EmitError>,
        wants_answer: bool,
    ) -> CallRequest<R> {
        let command = emit.map_err(CallError::Event).and_then(|Emit { payload, .. }| {
            checked(upstream)?;
            let body = Command { payload, wants_answer }.to_body();
            let (size, limit) = (body.len(), self.engine.0.max_record());
            if size > limit { Err(CallError::TooLarge { size, limit }) } else { Ok(body) }
        });
        CallRequest {
            engine: self.engine.clone(),
            upstream: upstream.to_owned(),
            command,
            timeout: TIMEOUT,
            reply: PhantomData,
        }
    }

    /// Waits for the answer of a [durable](CallRequest::durable) command, which any process may have sent. It can be fetched
    /// more than once, for as long as the engine keeps answers.
    ///
    /// # Errors
    ///
    /// [`CallError::NotYet`] if there is no answer in this time: the command waits, or nobody has
    /// sent it, or its answer is not kept any more. Or the error with which the command has ended.
    pub async fn result<R: Reply>(
        &self,
        upstream: &str,
        id: &str,
        within: Duration,
    ) -> Result<R, CallError> {
        checked(upstream)?;
        checked(id)?;
        let body = self.engine.0.result(upstream, id, within).await?.ok_or(CallError::NotYet)?;
        decode(&body)
    }
}

fn checked(text: &str) -> Result<(), CallError> {
    name::check(text).map_err(CallError::Name)
}

fn decode<R: Reply>(body: &[u8]) -> Result<R, CallError> {
    read_answer(body)
        .and_then(|payload: Payload| R::from_payload(payload).map_err(CallError::Undecodable))
}

/// A command that is sent once it is awaited: at most once, and only if somebody holds the upstream now.
#[must_use = "nothing is sent before this is awaited"]
pub struct CallRequest<R> {
    engine: Engine,
    upstream: String,
    command: Result<Bytes, CallError>,
    timeout: Duration,
    reply: PhantomData<fn() -> R>,
}

impl<R: Reply> CallRequest<R> {
    /// How long to wait for the answer, from when this is first polled. The holder gets as long for the server's answer, and
    /// does not send the event after that. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has the engine keep the command until the server has answered it: at least once, whoever holds the upstream by
    /// then.
    ///
    /// The id is 1 to 128 ASCII letters, digits, `-` or `_`, and one of your own for each command of an upstream. A command
    /// with a known id is not kept twice, even if it is done already, for as long as the engine keeps its answer, so it can be sent again if the outcome is not known. The event gets a last argument
    /// `{"messageId":"…"}` with it, as with [`message_ids`](crate::ClientBuilder::message_ids), by which the
    /// server can [drop repeats](crate::guide::delivery#at-least-once); an event that may have been sent before has
    /// `"redelivered":true` in it as well.
    ///
    /// A command that the server would never take, such as one that is too large, ends with an error as its
    /// [result](Caller::result).
    pub fn durable(self, id: impl Into<String>) -> DurableCall<R> {
        DurableCall { request: self, id: id.into() }
    }

    async fn send(self) -> Result<R, CallError> {
        let Self { engine, upstream, command, timeout, reply: _ } = self;
        let body = engine.0.request(&upstream, command?, timeout).await?;
        decode(&body)
    }
}

/// A command that is resolved. It always resolves, some moments after its timeout at the latest. Dropping it cancels
/// nothing that was sent.
type Calling<R> = Pin<Box<dyn Future<Output = Result<R, CallError>> + Send>>;

impl<R: Reply + 'static> IntoFuture for CallRequest<R> {
    type Output = Result<R, CallError>;
    type IntoFuture = Calling<R>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

impl<R> fmt::Debug for CallRequest<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine: _, upstream, command, timeout, reply: _ } = self;
        f.debug_struct("CallRequest")
            .field("upstream", upstream)
            .field("command", &command.as_ref().map(Bytes::len))
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

/// A command that the engine keeps until it is done; see [`CallRequest::durable`].
///
/// Awaited, it is given to the engine and waits for the answer; [`CallError::NotYet`] if that does not come in
/// time.
#[derive(Debug)]
#[must_use = "nothing is kept before this is awaited, or submitted"]
pub struct DurableCall<R> {
    request: CallRequest<R>,
    id: String,
}

impl<R: Reply> DurableCall<R> {
    /// How long to wait for the answer, once the engine has the command. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.request.timeout = timeout;
        self
    }

    /// Gives the command to the engine, and waits for no answer. [`Caller::result`] fetches it.
    ///
    /// # Errors
    ///
    /// The engine has not taken it; or, with [`EngineError::Away`](crate::relay::EngineError::Away), may have taken it. Then submit
    /// it again.
    pub async fn submit(self) -> Result<(), CallError> {
        let CallRequest { engine, upstream, command, .. } = self.request;
        let body = command?;
        checked(&self.id)?;
        Ok(engine.0.enqueue(&upstream, &self.id, body).await?)
    }

    async fn send(self) -> Result<R, CallError> {
        let caller = Caller::new(self.request.engine.clone());
        let (upstream, id) = (self.request.upstream.clone(), self.id.clone());
        let timeout = self.request.timeout;
        self.submit().await?;
        caller.result(&upstream, &id, timeout).await
    }
}

impl<R: Reply + 'static> IntoFuture for DurableCall<R> {
    type Output = Result<R, CallError>;
    type IntoFuture = Calling<R>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, future::pending};

    use super::*;
    use crate::relay::{command::Sent, engine::Lease};

    fn lease() -> Lease {
        Lease { upstream: "shop".into(), worker: "one".into(), fence: 1, revision: 1 }
    }

    #[derive(Serialize)]
    struct Buy(&'static str, u32);

    impl NamedEvent for Buy {
        const NAME: &'static str = "buy";
    }

    impl Call for Buy {
        type Reply = u64;
    }

    #[actix::test]
    async fn a_call_has_the_reply_of_its_contract() {
        let engine = Engine::in_process();
        let caller = Caller::new(engine.clone());
        let mut commands = engine.0.serve(&lease(), pending().boxed());
        let mut serve = async |answer: &'static str| {
            let request = commands.next().await.unwrap().unwrap();
            assert_eq!(request.body, r#"{"event":["buy","tea",3]}"#);
            (request.reply)(Bytes::from(answer)).await.unwrap();
        };
        let call = || caller.call("shop", &Buy("tea", 3)).into_future();
        assert_eq!(tokio::join!(call(), serve(r#"{"answer":[7]}"#)).0, Ok(7));
        let (error, ()) = tokio::join!(call(), serve(r#"{"answer":["no"]}"#));
        let error = error.unwrap_err();
        assert!(matches!(error, CallError::Undecodable(_)), "{error}");
        assert_eq!(error.sent(), Sent::Yes);
        let (error, ()) =
            tokio::join!(call(), serve(r#"{"error":{"kind":"not-sent","text":"x","sent":"no"}}"#));
        assert_eq!(error, Err(CallError::NotSent("x".into())));
    }

    #[actix::test]
    async fn a_call_ends_whatever_happens() {
        tokio::time::pause();
        let engine = Engine::in_process();
        let caller = Caller::new(engine.clone());
        assert_eq!(caller.call("shop", &Buy("tea", 3)).await, Err(CallError::Nobody));
        let _deaf = engine.0.serve(&lease(), pending().boxed());
        let timeout = Duration::from_secs(1);
        let asked = caller.call("shop", &Buy("tea", 3)).timeout(timeout).await;
        assert_eq!(asked, Err(CallError::NoAnswer));
    }

    #[actix::test]
    async fn what_nobody_can_send_is_not_sent() {
        let engine =
            Engine::in_process_with(crate::relay::InProcessOptions::default().max_bytes(64));
        let caller = Caller::new(engine);
        let now = |request: CallRequest<()>| request.into_future().now_or_never().unwrap();
        let reserved = now(caller.emit("shop", "disconnect", ()));
        assert_eq!(reserved, Err(CallError::Event(EmitError::ReservedName("disconnect".into()))));
        let named = now(caller.emit("shop.eu", "buy", ()));
        assert_eq!(named, Err(CallError::Name("shop.eu".into())));
        let large = now(caller.emit("shop", "buy", "x".repeat(64)));
        assert!(matches!(large, Err(CallError::TooLarge { size: 64.., limit: 64 })), "{large:?}");
        let durable = caller.emit("shop", "buy", ()).durable("a b").submit().now_or_never();
        assert_eq!(durable, Some(Err(CallError::Name("a b".into()))));
        for error in [reserved, named, large] {
            assert_eq!(error.unwrap_err().sent(), Sent::No);
        }
    }

    #[actix::test]
    async fn a_durable_call_is_kept_and_its_answer_is_fetched_by_its_id() {
        tokio::time::pause();
        let engine = Engine::in_process();
        let caller = Caller::new(engine.clone());
        let call = || caller.call("shop", &Buy("tea", 3)).durable("order-7");
        let second = Duration::from_secs(1);
        assert_eq!(call().timeout(second).await, Err(CallError::NotYet));
        call().submit().await.unwrap();
        let mut commands = engine.0.take_durable(&lease(), 8);
        let serve = async {
            let command = commands.next().await.unwrap().unwrap();
            assert_eq!((&*command.id, command.tries), ("order-7", 1));
            (command.done)(Bytes::from(r#"{"answer":[7]}"#)).await.unwrap();
        };
        assert_eq!(tokio::join!(call().into_future(), serve).0, Ok(7));
        assert!(commands.next().now_or_never().is_none(), "it was kept once");
        let other = Caller::new(engine);
        assert_eq!(other.result::<u64>("shop", "order-7", second).await, Ok(7));
        assert_eq!(other.result::<u64>("shop", "order-8", second).await, Err(CallError::NotYet));
    }

    #[actix::test]
    async fn an_emit_asks_for_no_answer() {
        let engine = Engine::in_process();
        let caller = Caller::new(engine.clone());
        let mut commands = engine.0.serve(&lease(), pending().boxed());
        let serve = async {
            let request = commands.next().await.unwrap().unwrap();
            assert_eq!(request.body, r#"{"event":["look"],"ack":false}"#);
            (request.reply)(Bytes::from(r#"{"answer":[]}"#)).await.unwrap();
        };
        let emitted = caller.emit("shop", "look", ()).into_future();
        assert_eq!(tokio::join!(emitted, serve).0, Ok(()));
    }
}

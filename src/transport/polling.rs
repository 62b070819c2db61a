//! HTTP long-polling on awc: sends the requests that [the core](crate::proto::polling) asks for.

use std::{
    fmt,
    future::pending,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use awc::{
    error::PayloadError,
    http::{
        StatusCode,
        header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING},
    },
};
use bytes::Bytes;
use futures::{future::LocalBoxFuture, stream::LocalBoxStream};

use super::{
    WebSocket,
    cookies::Cookies,
    dial::{KeptRequest, Road, is_end},
    refusal::Refused,
};
use crate::{
    logs::say,
    proto::{
        deadline::deadline_after,
        engine::{Frame, Incoming, Message},
        engine_refusal::EngineRefusal,
        polling,
        reason::{ConnectFailure, Reason},
    },
    runtime::clock::{self, Timer},
};

/// How long a websocket may take to open and to answer the probe: the servers' own limit.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the open requests may then take. For an upgrade, a server answers a poll within 100 milliseconds;
/// a POST has to arrive first.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the request that gives a session up may take, with its repeats. The next session waits for it.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before a repeat of that request, if it got no answer.
const FAREWELL_PAUSE: Duration = Duration::from_millis(20);

/// The response to a poll. Its type in awc depends on awc's features.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: LocalBoxStream<'static, Result<Bytes, PayloadError>>,
    /// Whether the response says where its body ends; otherwise, the end of the connection ends it.
    has_end: bool,
}

impl Answer {
    pub(super) fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: LocalBoxStream<'static, Result<Bytes, PayloadError>>,
    ) -> Self {
        let has_end =
            headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        Self { status, headers, body, has_end }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Reason>> {
        let cut = |error: &dyn fmt::Display| {
            Reason::TransportError(format!("the answer to a poll was cut: {error}"))
        };
        Poll::Ready(match ready!(self.body.as_mut().poll_next(cx)) {
            Some(Ok(chunk)) => Ok(Some(chunk)),
            None => Ok(None),
            Some(Err(PayloadError::Incomplete(Some(error)))) if is_end(&error) => {
                if self.has_end {
                    Err(cut(&"the connection was closed"))
                } else {
                    Ok(None)
                }
            }
            Some(Err(error)) => Err(cut(&error)),
        })
    }
}

pub(crate) struct Polling {
    core: polling::Polling,
    road: Road,
    cookies: Cookies,
    /// The GET and the POST with these cookies.
    requests: [KeptRequest; 2],
    get: Get,
    post: Option<LocalBoxFuture<'static, Result<Answer, Failure>>>,
    probe: Probe,
}

enum Get {
    Idle,
    Asked(LocalBoxFuture<'static, Result<Answer, Failure>>),
    Body(Answer),
}

enum Probe {
    Idle,
    Opening(LocalBoxFuture<'static, Option<Box<WebSocket>>>),
    /// The websocket works. It waits until polling has paused, or until this time.
    Works {
        websocket: Box<WebSocket>,
        until: Instant,
        timer: Timer,
    },
}

/// Why a request has failed.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refused),
    /// It got no response.
    Lost(Reason),
}

impl Failure {
    /// The reason to end the session.
    fn reason(self) -> Reason {
        const PAYLOAD_TOO_LARGE: u16 = 413;
        match self {
            Self::Refused(Refused { status, .. }) if status.as_u16() == PAYLOAD_TOO_LARGE => {
                Reason::TooLargeForServer
            }
            Self::Refused(Refused { words, .. })
                if words.meaning == Some(EngineRefusal::SessionUnknown) =>
            {
                Reason::SessionUnknown
            }
            Self::Refused(Refused { status, words, .. }) => {
                let says = words.shown.map(|says| format!(": {says}")).unwrap_or_default();
                Reason::TransportError(format!(
                    "a poll was refused with HTTP status {status}{says}"
                ))
            }
            Self::Lost(Reason::Connect(ConnectFailure::NoAnswer)) => Reason::TransportClose(None),
            Self::Lost(Reason::Connect(failure)) => Reason::TransportError(failure.to_string()),
            Self::Lost(reason) => reason,
        }
    }
}

#[derive(Debug)]
pub(super) enum Polled {
    Incoming(Incoming),
    Upgraded(Box<WebSocket>),
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, road: _, cookies, requests: _, get: _, post, probe: _ } = self;
        f.debug_struct("Polling")
            .field("core", core)
            .field("cookies", cookies)
            .field("post", &post.is_some())
            .finish_non_exhaustive()
    }
}

impl Polling {
    /// Opens a session: sends the first GET.
    pub(super) async fn open(road: Road, wants_websocket: bool) -> Result<Self, Failure> {
        let mut cookies = Cookies::default();
        let answer = road.get(None, &cookies, &mut KeptRequest::default()).await?;
        cookies.handle_answer(&answer.headers);
        let core = polling::Polling::new(road.max_message(), wants_websocket);
        let (get, post, probe) = (Get::Body(answer), None, Probe::Idle);
        Ok(Self { core, road, cookies, requests: <_>::default(), get, post, probe })
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Polled, Reason>> {
        // To look at the requests for each packet would cost more than the packet.
        if let Some(incoming) = self.core.poll_incoming().map_err(Reason::from)? {
            return Poll::Ready(Ok(Polled::Incoming(incoming)));
        }
        loop {
            self.poll_post(cx)?;
            self.poll_probe(cx);
            if let Some(incoming) = self.core.poll_incoming().map_err(Reason::from)? {
                return Poll::Ready(Ok(Polled::Incoming(incoming)));
            }
            if self.core.is_paused()
                && let Probe::Works { mut websocket, .. } =
                    std::mem::replace(&mut self.probe, Probe::Idle)
            {
                websocket.start_send(UPGRADE);
                return Poll::Ready(Ok(Polled::Upgraded(websocket)));
            }
            if self.core.is_closed() {
                return Poll::Ready(Err(Reason::TransportClose(None)));
            }
            if !self.poll_get(cx)? {
                return Poll::Pending;
            }
        }
    }

    /// Continues the GET. `false` if there is nothing to do now.
    fn poll_get(&mut self, cx: &mut Context<'_>) -> Result<bool, Reason> {
        match &mut self.get {
            Get::Idle => {
                if self.core.poll_get() {
                    let ([kept, _], sid) = (&mut self.requests, self.core.sid());
                    self.get = Get::Asked(Box::pin(self.road.get(sid, &self.cookies, kept)));
                    return Ok(true);
                }
                Ok(false)
            }
            Get::Asked(answer) => match answer.as_mut().poll(cx) {
                Poll::Pending => Ok(false),
                Poll::Ready(answer) => {
                    let answer = answer.map_err(Failure::reason)?;
                    self.handle_answer(&answer);
                    self.get = Get::Body(answer);
                    Ok(true)
                }
            },
            Get::Body(answer) => {
                let Poll::Ready(chunk) = answer.poll_chunk(cx) else { return Ok(false) };
                if let Some(chunk) = chunk? {
                    self.core.handle_chunk(&chunk);
                } else {
                    self.get = Get::Idle;
                    self.core.handle_end();
                }
                Ok(true)
            }
        }
    }

    /// Continues the POST, and then the next one.
    fn poll_post(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        loop {
            self.poll_answer(cx)?;
            if self.post.is_some() {
                return Ok(());
            }
            let Some(post) = self.core.poll_post() else { return Ok(()) };
            let Some(sid) = self.core.sid() else { return Ok(()) };
            let [_, kept] = &mut self.requests;
            self.post = Some(Box::pin(self.road.post(sid, post, &self.cookies, kept)));
        }
    }

    /// Continues the open POST.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Result<(), Reason> {
        let Some(post) = &mut self.post else { return Ok(()) };
        let Poll::Ready(answer) = post.as_mut().poll(cx) else { return Ok(()) };
        self.post = None;
        self.handle_answer(&answer.map_err(Failure::reason)?);
        self.core.handle_posted();
        Ok(())
    }

    fn handle_answer(&mut self, answer: &Answer) {
        if self.cookies.handle_answer(&answer.headers) {
            self.requests = <_>::default();
        }
    }

    /// Continues the upgrade to a websocket.
    fn poll_probe(&mut self, cx: &mut Context<'_>) {
        if self.core.poll_probe()
            && let Some(sid) = self.core.sid()
        {
            let opening = self.road.websocket(Some(sid), &self.cookies);
            let client = self.road.client().clone();
            let probing = async move {
                let websocket = opening.await.inspect_err(|error| {
                    say!(log::Level::Debug, client, "no upgrade to a websocket: {error:?}");
                });
                probe(websocket.ok()?, &client).await.map(Box::new)
            };
            self.probe = Probe::Opening(Box::pin(async {
                clock::within(PROBE_TIMEOUT, probing).await.flatten()
            }));
        }
        if let Probe::Opening(opening) = &mut self.probe {
            let Poll::Ready(websocket) = opening.as_mut().poll(cx) else { return };
            self.core.handle_probed(websocket.is_some());
            self.probe = match websocket {
                Some(websocket) => {
                    let until = deadline_after(clock::now(), PAUSE_TIMEOUT);
                    Probe::Works { websocket, until, timer: Timer::default() }
                }
                None => Probe::Idle,
            };
        }
        if let Probe::Works { until, timer, .. } = &mut self.probe
            && timer.poll(cx, Some(*until)).is_ready()
        {
            say!(
                log::Level::Debug,
                self.road.client(),
                "no upgrade to a websocket: a poll was not answered for it"
            );
            self.core.handle_pause_timeout();
            self.probe = Probe::Idle;
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        self.poll_answer(cx)?;
        if self.core.has_room() {
            // Packets are sent by the flush; otherwise each POST would have just one.
            return Poll::Ready(Ok(()));
        }
        self.poll_post(cx)?;
        Poll::Pending
    }

    pub(super) fn start_send(&mut self, message: Message<'_>) {
        self.core.push(message);
    }

    pub(super) fn start_close(&mut self) {
        self.core.close();
        self.probe = Probe::Idle;
    }

    /// Gives the session up. A server notices at once that a websocket is gone. With polling, it
    /// would notice only when the heartbeat times out; so this tells it.
    pub(super) fn hang_up(self) -> Option<LocalBoxFuture<'static, ()>> {
        let Self { core, road, cookies, requests: [_, mut kept], .. } = self;
        let (sid, post) = (core.sid()?.to_owned(), core.farewell()?);
        Some(Box::pin(async move {
            let told = clock::within(FAREWELL_TIMEOUT, async {
                // A server that misses this request would have two sessions of a client that reconnects, and
                // the end of the old one would cost the new one its rooms. What has cut the session may cut
                // this request, too; it is the only request that may be repeated.
                while let Err(Failure::Lost(reason)) =
                    road.post(&sid, post.clone(), &cookies, &mut kept).await
                {
                    say!(
                        log::Level::Debug,
                        road.client(),
                        "the server may not know of the end yet: {reason}"
                    );
                    clock::within(FAREWELL_PAUSE, pending::<()>()).await;
                }
            });
            if told.await.is_none() {
                say!(log::Level::Debug, road.client(), "the server may not know of the end");
            }
        }))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        self.poll_post(cx)?;
        if self.post.is_some() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

const UPGRADE: Message<'static> = Message::Text("5", "");

/// Asks the server whether it sees the websocket as part of the session.
async fn probe(mut websocket: WebSocket, client: &str) -> Option<WebSocket> {
    websocket.start_send(Message::Text("2", "probe"));
    std::future::poll_fn(|cx| websocket.poll_flush(cx)).await.ok()?;
    match std::future::poll_fn(|cx| websocket.poll_next(cx)).await {
        Ok(Incoming::Frame(Frame::Text(text))) if text == "3probe" => Some(websocket),
        _ => {
            say!(log::Level::Debug, client, "no upgrade to a websocket: not the answer to a probe");
            None
        }
    }
}

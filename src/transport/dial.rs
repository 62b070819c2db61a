//! Dialling: from a URL and headers to an open websocket, or the first answer to a poll.

use std::{error::Error as _, fmt, io, iter, mem, sync::Arc, time::Duration};

use awc::{
    Client, ClientRequest, ClientResponse, FrozenClientRequest,
    error::{ConnectError, PayloadError, SendRequestError, WsClientError},
    http::{
        Method, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
            SEC_WEBSOCKET_PROTOCOL,
        },
    },
};
use bytes::Bytes;
use bytestring::ByteString;
use futures::{Stream, future::try_join};

use super::{
    Endpoint, Link, Session, WebSocket,
    connector::{Connector, unwrapped},
    cookies::Cookies,
    polling::{Answer, Failure as PollFailure, Polling},
    refusal::{ReadRefusals, Refused, Words, rest},
    request::{Headers, Query, Subprotocols},
    way::Way,
};
use crate::{
    display::{Excerpt, brief},
    proto::{
        engine::Protocol,
        engine_refusal::EngineRefusal,
        namespace::escape,
        polling::Post,
        reason::{ConnectFailure, Reason},
        tls_failure::TlsFailure,
        transports::Transport,
    },
    runtime::provider::DialContext,
};

/// The server to dial, and the settings for that.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The name of the client in the log.
    pub(crate) client: ByteString,
    pub(crate) endpoint: Endpoint,
    pub(crate) way: Way,
    /// The TLS settings, if the endpoint has TLS.
    pub(crate) tls: Option<Session>,
    pub(crate) query: Query,
    pub(crate) headers: Headers,
    pub(crate) subprotocols: Subprotocols,
    /// The largest message to accept, in bytes.
    pub(crate) max_message: usize,
}

/// The servers of a client, in order of preference.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    first: Arc<Target>,
    others: Vec<Arc<Target>>,
}

impl Targets {
    pub(crate) fn new(first: Target, others: Vec<Target>) -> Self {
        let others = others.into_iter().map(Arc::new).collect();
        Self { first: Arc::new(first), others }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Target>> {
        iter::once(&self.first).chain(&self.others)
    }

    /// The server at this place in the order.
    pub(crate) fn at(&self, place: usize) -> &Arc<Target> {
        self.iter().nth(place).unwrap_or(&self.first)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct DialFailure {
    pub(crate) reason: Reason,
    /// How long the server asks to wait before the next attempt (`Retry-After`).
    pub(crate) retry_after: Option<Duration>,
    /// The server's own words, shortened and escaped.
    pub(crate) says: Option<String>,
}

impl From<Reason> for DialFailure {
    fn from(reason: Reason) -> Self {
        Self { reason, retry_after: None, says: None }
    }
}

/// Longer than any deadline of the core, which has the only deadlines.
const FOREVER: Duration = Duration::from_secs(86_400);

/// How long a connection for polling is kept while no request uses it. Node closes it after 5 seconds, and a
/// request that crosses the close would be lost.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// Dials one server, on the thread that it was made on.
///
/// It has an awc client of its own: awc pools connections by host and port, and two targets that differ in
/// anything else, such as TLS, must not share them.
pub(crate) struct LinkDialer {
    target: Arc<Target>,
    /// `None` until it is needed.
    client: Option<Client>,
}

impl fmt::Debug for LinkDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, client: _ } = self;
        f.debug_struct("LinkDialer").field("target", target).finish_non_exhaustive()
    }
}

impl LinkDialer {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self { target, client: None }
    }

    fn client(&mut self) -> Client {
        let make = || {
            let connector = Connector(Arc::clone(&self.target));
            let connector = awc::Connector::new()
                .timeout(FOREVER)
                .conn_keep_alive(KEEP_IDLE)
                .connector(connector);
            // The connection's core has the only deadline.
            Client::builder()
                .connector(connector)
                .wrap(ReadRefusals)
                .disable_timeout()
                .disable_redirects()
                .finish()
        };
        self.client.get_or_insert_with(make).clone()
    }

    /// There is a websocket, for which awc's client has nothing left to do.
    pub(crate) fn rest(&mut self) {
        self.client = None;
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Opens this transport. `is_alone`: polling must not become a websocket.
    pub(crate) fn dial(
        &mut self,
        protocol: Protocol,
        transport: Transport,
        is_alone: bool,
        dial: DialContext,
    ) -> impl Future<Output = Result<Link, DialFailure>> + use<> {
        let (client, target) = (self.client(), Arc::clone(&self.target));
        async move {
            let road = Road::new(client, target, protocol, dial).await?;
            match transport {
                Transport::WebSocket => {
                    let websocket = road.websocket(None, &Cookies::default()).await;
                    Ok(Link::WebSocket(websocket?))
                }
                Transport::Polling => match Polling::open(road, !is_alone).await {
                    Ok(polling) => Ok(Link::Polling(Box::new(polling))),
                    Err(PollFailure::Refused(refused)) => Err(refusal(refused, transport)),
                    Err(PollFailure::Lost(reason)) => Err(reason.into()),
                },
            }
        }
    }
}

/// A request that is sent again and again with other bodies: to build one, and format its URL and headers, costs as
/// much as a dozen small packets.
#[derive(Default)]
pub(super) struct KeptRequest(Option<FrozenClientRequest>);

/// The way to the server for one session: all its requests have the same headers and query.
pub(super) struct Road {
    client: Client,
    target: Arc<Target>,
    protocol: Protocol,
    query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Road {
    /// Asks the providers of the application for headers and query.
    async fn new(
        client: Client,
        target: Arc<Target>,
        protocol: Protocol,
        dial: DialContext,
    ) -> Result<Self, Reason> {
        let (query, headers) = (target.query.clone(), target.headers.clone());
        let (query, headers) = try_join(query.of(dial.clone()), headers.of(dial)).await?;
        Ok(Self { client, target, protocol, query, headers })
    }

    /// The name of the client in the log.
    pub(super) fn client(&self) -> &ByteString {
        &self.target.client
    }

    /// The largest message to accept, in bytes.
    pub(super) fn max_message(&self) -> usize {
        self.target.max_message
    }

    fn uri(&self, transport: Transport, sid: Option<&str>) -> Result<Uri, Reason> {
        let sid = sid.map(|sid| format!("&sid={}", escape(sid))).unwrap_or_default();
        let (protocol, transport) = (self.protocol.number(), transport.name());
        let query = ["EIO=", protocol, "&transport=", transport, &sid, &self.query];
        // Options were checked at the start, and values of providers are encoded: only the length is left.
        let too_long = |_| Reason::Provider("the query makes the URL too long".to_owned());
        self.target.endpoint.uri(&query).map_err(too_long)
    }

    /// The headers of a request.
    fn headers(&self, cookies: &Cookies) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = self.headers.clone();
        let find =
            |sought| headers.iter().find(|(name, _)| *name == sought).map(|(_, value)| value);
        if let Some(cookie) = cookies.header(find(COOKIE)) {
            headers.retain(|(name, _)| *name != COOKIE);
            headers.push((COOKIE, cookie));
        }
        if headers.iter().all(|(name, _)| name != HOST)
            && let Ok(host) = self.target.endpoint.host_header()
        {
            headers.push((HOST, host));
        }
        headers
    }

    /// Opens a websocket, for an existing session or a new one.
    pub(super) fn websocket(
        &self,
        sid: Option<&str>,
        cookies: &Cookies,
    ) -> impl Future<Output = Result<WebSocket, DialFailure>> + use<> {
        let request = self.uri(Transport::WebSocket, sid).map(|uri| {
            let mut request = self.client.ws(uri);
            if let Some(names) = self.target.subprotocols.offered() {
                request = request.protocols(names);
            }
            let headers = self.headers(cookies).into_iter();
            headers.fold(request, |request, (name, value)| request.header(name, value))
        });
        let target = Arc::clone(&self.target);
        async move {
            let connected = request?.connect().await;
            let (answer, framed) = connected.map_err(|error| failure_of(error, &target))?;
            let chosen = answer.headers().get_all(SEC_WEBSOCKET_PROTOCOL);
            let subprotocol = subprotocol(chosen, &target.subprotocols).map_err(Reason::Connect)?;
            Ok(WebSocket::new(framed, target.max_message, subprotocol))
        }
    }

    /// Sends a poll.
    pub(super) fn get(
        &self,
        sid: Option<&str>,
        cookies: &Cookies,
        kept: &mut KeptRequest,
    ) -> impl Future<Output = Result<Answer, PollFailure>> + use<> {
        let request = self.kept(kept, || self.request(Method::GET, sid, cookies));
        let sent = request.map(FrozenClientRequest::send);
        let target = Arc::clone(&self.target);
        async move { answer(sent?.await, &target).await }
    }

    pub(super) fn post(
        &self,
        sid: &str,
        post: Post,
        cookies: &Cookies,
        kept: &mut KeptRequest,
    ) -> impl Future<Output = Result<Answer, PollFailure>> + use<> {
        let Post { body, content_type } = post;
        let request = self.kept(kept, || {
            let request = self.request(Method::POST, Some(sid), cookies)?;
            // The same for all posts of a session.
            Ok(request.insert_header((CONTENT_TYPE, content_type)))
        });
        let sent = request.map(|request| request.send_body(body));
        let target = Arc::clone(&self.target);
        async move {
            let mut answer = answer(sent?.await, &target).await?;
            // A connection is reused only if the response was read to its end.
            rest(&mut answer).await;
            Ok(answer)
        }
    }

    /// The request that is kept, or a new one.
    fn kept<'a>(
        &self,
        kept: &'a mut KeptRequest,
        make: impl FnOnce() -> Result<ClientRequest, PollFailure>,
    ) -> Result<&'a FrozenClientRequest, PollFailure> {
        let KeptRequest(kept) = kept;
        if let Some(request) = kept {
            return Ok(request);
        }
        let request = make()?.freeze().map_err(|error| {
            let error = WsClientError::SendRequest(error.into());
            PollFailure::Lost(failure_of(error, &self.target).reason)
        })?;
        Ok(kept.insert(request))
    }

    fn request(
        &self,
        method: Method,
        sid: Option<&str>,
        cookies: &Cookies,
    ) -> Result<ClientRequest, PollFailure> {
        let uri = self.uri(Transport::Polling, sid).map_err(PollFailure::Lost)?;
        // Packets are small, and a few bytes must not decompress to many.
        let identity = (ACCEPT_ENCODING, "identity");
        let request = self.client.request(method, uri).no_decompress().insert_header(identity);
        let headers = self.headers(cookies).into_iter();
        Ok(headers.fold(request, ClientRequest::append_header))
    }
}

/// The place of the subprotocol that the server has chosen, which must be one of those that were offered (RFC
/// 6455, section 4.1).
fn subprotocol<'a>(
    chosen: impl Iterator<Item = &'a HeaderValue>,
    offered: &Subprotocols,
) -> Result<Option<usize>, ConnectFailure> {
    let place = |value: &HeaderValue| {
        offered.place(value).ok_or_else(|| {
            let name = String::from_utf8_lossy(value.as_bytes());
            let name = Excerpt(&name);
            ConnectFailure::Handshake(format!(
                "it has chosen the subprotocol {name}, which was not offered (option subprotocols)"
            ))
        })
    };
    let places: Vec<usize> = chosen.map(place).collect::<Result<_, _>>()?;
    Ok(places.first().copied())
}

/// A successful response to a poll, or why there is none.
async fn answer<B>(
    answer: Result<ClientResponse<B>, SendRequestError>,
    target: &Target,
) -> Result<Answer, PollFailure>
where
    B: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let answer = answer.map_err(|error| {
        PollFailure::Lost(failure_of(WsClientError::SendRequest(error), target).reason)
    })?;
    let (status, mut headers) = (answer.status(), HeaderMap::new());
    let answer = answer.map_body(|head, body| {
        headers = mem::take(&mut head.headers);
        body
    });
    let mut answer = Answer::new(status, headers, Box::pin(answer));
    if status == StatusCode::OK {
        return Ok(answer);
    }
    Err(PollFailure::Refused(Refused::read(&mut answer).await))
}

fn failure_of(error: WsClientError, target: &Target) -> DialFailure {
    match tls_failure(&error, target) {
        Some(failure) => Reason::Connect(ConnectFailure::Tls(failure)).into(),
        None => failure(error, target.endpoint.authority()),
    }
}

/// What is wrong with TLS, if the error is about TLS. A server that wants a client certificate may say so only
/// when the request is on its way.
fn tls_failure(error: &WsClientError, target: &Target) -> Option<TlsFailure> {
    let tls = target.tls.as_ref()?;
    let WsClientError::SendRequest(error) = error else { return None };
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) | SendRequestError::Send(error) => {
            tls.explain(error)
        }
        SendRequestError::Response(error) => tls.explain(error.source()?.downcast_ref()?),
        _ => None,
    }
}

/// awc's errors cannot leave this thread, so they become text. awc's own prefix is left out: it says
/// nothing that the variant does not say.
fn failure(error: WsClientError, server: &str) -> DialFailure {
    let failure = match error {
        WsClientError::SendRequest(SendRequestError::Custom(error, _)) => {
            match error.downcast::<Refused>() {
                Ok(refused) => return refusal(*refused, Transport::WebSocket),
                Err(error) => ConnectFailure::Handshake(brief(&error)),
            }
        }
        WsClientError::SendRequest(
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout,
        ) => ConnectFailure::TimedOut,
        WsClientError::SendRequest(SendRequestError::Connect(ConnectError::Disconnected)) => {
            ConnectFailure::NoAnswer
        }
        WsClientError::SendRequest(SendRequestError::Send(error)) if is_end(&error) => {
            ConnectFailure::NoAnswer
        }
        WsClientError::SendRequest(SendRequestError::Response(error)) => {
            match error.source().and_then(|source| source.downcast_ref()) {
                Some(broken) if is_end(broken) => ConnectFailure::NoAnswer,
                Some(_) => ConnectFailure::Handshake(brief(&error)),
                None => ConnectFailure::Handshake(format!(
                    "its answer is not HTTP ({}): is the port right, and is it http or https?",
                    brief(&error)
                )),
            }
        }
        WsClientError::SendRequest(SendRequestError::Connect(ConnectError::Io(error))) => {
            match unwrapped(&error) {
                Some(failure) => failure.clone(),
                // TCP reports that it was refused or has no route; only TLS reports that it was closed.
                None if error.kind() == io::ErrorKind::UnexpectedEof => ConnectFailure::NoAnswer,
                None => ConnectFailure::Unreachable(brief(&format_args!("{server}: {error}"))),
            }
        }
        WsClientError::SendRequest(error) => {
            ConnectFailure::Unreachable(brief(&format_args!("{server}: {error}")))
        }
        error => ConnectFailure::Handshake(brief(&error)),
    };
    Reason::Connect(failure).into()
}

/// A request for this transport was refused.
fn refusal(refused: Refused, transport: Transport) -> DialFailure {
    let Refused { status, retry_after, words } = refused;
    let Words { shown: says, meaning, is_bad_request_of_python } = words;
    let has_no_transport =
        is_bad_request_of_python || meaning == Some(EngineRefusal::TransportUnknown);
    let failure = match (&says, meaning) {
        (Some(says), _) if has_no_transport && transport == Transport::WebSocket => {
            ConnectFailure::NoWebsocket(says.clone())
        }
        (_, Some(meaning)) => ConnectFailure::Engine(meaning),
        (says, None) => ConnectFailure::Status { status: status.as_u16(), says: says.clone() },
    };
    DialFailure { reason: Reason::Connect(failure), retry_after, says }
}

/// Whether the other side has ended the connection, cleanly or not.
pub(super) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

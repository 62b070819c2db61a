//! What an error or a line of the log means, and what to do.
//!
//! (This module is a page to read; it has no items.)
//!
//! # First, a log
//!
//! Without a logger, a client that cannot connect says nothing: it waits and tries again. So first of all,
//! [set up a log](crate::guide::logging), and run the program with `RUST_LOG=actix_socketio=debug`. The first
//! warning has the reason, the text of the server, and the time of the next attempt:
//!
//! ```text
//! localhost:3000: no connection to http://localhost:3000/socket.io/: the server cannot be reached: localhost:3000: Connection refused (os error 111); retry 1 in 1.2s
//! ```
//!
//! | symptom | look at |
//! |---|---|
//! | nothing happens, and there is no error | the log; [`ready`](crate::Socket::ready) or [`connect`](crate::ClientBuilder::connect), which return the reason |
//! | it connects, but no event comes | the namespace (a path in the URL is one; the [`path`](crate::ClientBuilder::path) of the request is something else); the log says `no subscriber wants "price"` for names without a listener, and `the event "price" does not fit Price` for arguments that do not fit |
//! | the server does not get an event | [`emit_with_ack`](crate::Socket::emit_with_ack), whose error says what happened to it; [`Socket::state`](crate::Socket::state) |
//! | the program ends at once | `main` must wait for something: [How long it runs](crate#how-long-it-runs) |
//! | events come late, or in bursts | a handler blocks the arbiter (the log: `was blocked for`), or a subscriber is slow: [`guide::actors`](crate::guide::actors) |
//! | it reconnects again and again | the reason in the line `connection ended:`, in the table below |
//! | polling works, a websocket does not | a proxy on the way: [`guide::getting_through`](crate::guide::getting_through) |
//! | memory grows | the gauges `waiting_in` and `waiting_out` of [`Stats`](crate::Stats); what this library holds is [bounded](crate::ClientBuilder#limits) |
//!
//! # Why a session ended: `Reason`
//!
//! It comes with [`Disconnected`](crate::Disconnected), [`ConnectError`](crate::ConnectError) and
//! [`Reconnecting`](crate::Reconnecting), in [`ReadyError`](crate::ReadyError), and in most other errors. The
//! table in [`error`](crate::error#reasons) says after which of them the client tries again.
//!
//! | reason | printed | what to do |
//! |---|---|---|
//! | [`ClientDisconnect`](crate::Reason::ClientDisconnect) | `this client left the namespace` | nothing: [`disconnect`](crate::Socket::disconnect) was called. [`connect`](crate::Socket::connect) joins again |
//! | [`Shutdown`](crate::Reason::Shutdown) | `the client was shut down, or its last handle was dropped` | if that was not intended: keep a [`Client`](crate::Client) or [`Socket`](crate::Socket). A `Subscription` does not keep the connection alive |
//! | [`ServerDisconnect`](crate::Reason::ServerDisconnect) | `the server disconnected this client` | the server called `socket.disconnect()`: its log says why. If it does that when a token expires: [`guide::credentials`](crate::guide::credentials) |
//! | [`Refused`](crate::Reason::Refused) | `the server refused: …` | the text is the server's: `Invalid namespace` is a wrong namespace, others come from its middleware, most often for a missing or stale token ([`auth`](crate::ClientBuilder::auth)). [`Refusal::decode`](crate::Refusal::decode) has its data |
//! | [`JoinTimeout`](crate::Reason::JoinTimeout) | `the server did not answer the request to join in time: …` | a middleware of the server that never calls `next()`; or the [`parser`](crate::ClientBuilder::parser) is another one; or it is slow: [`join_timeout`](crate::ClientBuilder::join_timeout) |
//! | [`PingTimeout`](crate::Reason::PingTimeout) | `no heartbeat from the server in time` | the network is gone, the server hangs, or this machine was asleep. Nothing to do if it is rare |
//! | [`TransportClose`](crate::Reason::TransportClose) | `the connection was closed…` | the server has ended, or a balancer closes idle connections: [`guide::getting_through`](crate::guide::getting_through). Right after an emit: the event breaks a rule or limit of the server (size, number of attachments) |
//! | [`ServerShutdown`](crate::Reason::ServerShutdown) | `the server shuts down or restarts` | nothing |
//! | [`TransportError`](crate::Reason::TransportError) | `the connection failed: …` | the network; with polling also a status, such as 504 of a balancer whose timeout is shorter than the heartbeat |
//! | [`SessionUnknown`](crate::Reason::SessionUnknown) | `the server does not know the session: …` | several servers behind one address: sticky sessions at the balancer, or [`transports([Transport::WebSocket])`](crate::ClientBuilder::transports) |
//! | [`TooLargeForServer`](crate::Reason::TooLargeForServer) | `the server refused a message as too large: …` | a larger `maxHttpBufferSize` at the server, or [pieces](crate::guide::uploads) |
//! | [`TooLarge`](crate::Reason::TooLarge) | `the server sent a message of more than … bytes (option max_message_size)` | [`max_message_size`](crate::ClientBuilder::max_message_size) |
//! | [`Protocol`](crate::Reason::Protocol) | `the server broke the protocol: …` | often the other [`parser`](crate::ClientBuilder::parser), or something on the way that is not a Socket.IO server. The text is a [`ProtocolError`](#a-broken-protocol-protocolerror) |
//! | [`Connect`](crate::Reason::Connect) | `no connection: …` | see the next table |
//! | [`Provider`](crate::Reason::Provider) | `a provider of the application failed: …` | the text is that of your own `auth_with`, `headers_with` or `query_with` |
//! | [`Middleware`](crate::Reason::Middleware) | `a middleware stopped the request to join: …` | the text is that of your own [middleware](crate::middleware) |
//! | [`Reconnect`](crate::Reason::Reconnect) | `the connection was replaced, …` | nothing: the next connection is on its way |
//! | [`SlowSubscriber`](crate::Reason::SlowSubscriber) | `a subscriber was too slow` | [`Overflow`](crate::Overflow) `Disconnect` or `LetGo` is set; make the subscriber faster, or set another one |
//!
//! # Why there is no connection: `ConnectFailure`
//!
//! | failure | printed | what to do |
//! |---|---|---|
//! | [`Unreachable`](crate::ConnectFailure::Unreachable) | `the server cannot be reached: …` | does it run, on this host and port? In a container, `localhost` is the container. A firewall may refuse, too |
//! | [`UnknownHost`](crate::ConnectFailure::UnknownHost) | `the host is not known: …` | the name in the URL, or the DNS |
//! | [`TimedOut`](crate::ConnectFailure::TimedOut) | `the server did not answer in time: …` | the [`path`](crate::ClientBuilder::path) differs from the server's: a server on Node.js may then not answer at all; a firewall that drops packets, a host that is down, or a [proxy](crate::ClientBuilder::proxy) that is needed; [`connect_timeout`](crate::ClientBuilder::connect_timeout) if it is slow |
//! | [`NoAnswer`](crate::ConnectFailure::NoAnswer) | `the server closed the connection without an answer: …` | the port belongs to another service, the [`path`](crate::ClientBuilder::path) is wrong, or the URL has `http` where the server speaks TLS |
//! | [`Tls`](crate::ConnectFailure::Tls) | `…` | see [TLS](#tls) |
//! | [`Proxy`](crate::ConnectFailure::Proxy) | `the proxy … …` | see [Proxies](#proxies) |
//! | [`Status`](crate::ConnectFailure::Status) | `the server answered the request to connect with HTTP status …` | see [HTTP](#http) |
//! | [`Engine`](crate::ConnectFailure::Engine) | `the server refused the request: …` | see [Engine.IO](#engineio) |
//! | [`NoWebsocket`](crate::ConnectFailure::NoWebsocket) | `this server does not offer websockets (it says …): …` | allow [`Transport::Polling`](crate::Transport::Polling), as the default does |
//! | [`Handshake`](crate::ConnectFailure::Handshake) | `not a Socket.IO server: …` | the URL, port and [`path`](crate::ClientBuilder::path): something else answers there. A plain websocket server is not a Socket.IO server |
//! | [`TooLarge`](crate::ConnectFailure::TooLarge) | `the handshake has more than … bytes: …` | [`max_message_size`](crate::ClientBuilder::max_message_size) |
//! | [`Parser`](crate::ConnectFailure::Parser) | `the server closes the connection on each request to join: …` | the [`parser`](crate::ClientBuilder::parser) of the server |
//! | [`Endpoints`](crate::ConnectFailure::Endpoints) | `…: …; …: …` | each server with its own reason: [`fallback`](crate::ClientBuilder::fallback) |
//! | [`Unsupported`](crate::ConnectFailure::Unsupported) | `this client asked for …, but …` | remove [`protocol`](crate::ClientBuilder::protocol), and the client finds the revision by itself |
//!
//! ## HTTP
//!
//! The title of the page that came with the status is in the line of the log.
//!
//! | status | what to do |
//! |---|---|
//! | 200 | a web page answers: the [`path`](crate::ClientBuilder::path), or the port |
//! | 301, 302, 307, 308 | use the URL of the redirect, often `https`: redirects are not followed |
//! | 401, 403 | a header that the server, or a gateway before it, wants: [`bearer_auth`](crate::ClientBuilder::bearer_auth), [`basic_auth`](crate::ClientBuilder::basic_auth), [`headers_with`](crate::ClientBuilder::headers_with). A token in `auth` is sent later, and not seen by a gateway |
//! | 404, 405, 426 | the [`path`](crate::ClientBuilder::path): `/socket.io/` unless the server sets another |
//! | 407 | a proxy on the way wants credentials: [`guide::getting_through`](crate::guide::getting_through) |
//! | 429 | nothing: the client waits as long as the server says |
//! | 502, 503, 504 | nothing, as the client tries again: the balancer has no server to pass the request on to. If it lasts: is that server up? |
//!
//! ## Engine.IO
//!
//! | refusal | printed | what to do |
//! |---|---|---|
//! | [`TransportUnknown`](crate::EngineRefusal::TransportUnknown) | `it does not offer this transport (code 0, …): …` | other [`transports`](crate::ClientBuilder::transports) |
//! | [`SessionUnknown`](crate::EngineRefusal::SessionUnknown) | `it does not know the session (code 1, …): …` | sticky sessions at the balancer |
//! | [`BadHandshakeMethod`](crate::EngineRefusal::BadHandshakeMethod) | `the HTTP method is not GET (code 2, …): …` | something on the way changes requests |
//! | [`BadRequest`](crate::EngineRefusal::BadRequest) | `the request is not complete (code 3, …): …` | a proxy removes `Upgrade`: [`guide::getting_through`](crate::guide::getting_through) has the lines for nginx |
//! | [`Forbidden`](crate::EngineRefusal::Forbidden) | `it lets nobody in with these headers and query (code 4, …): …` | `allowRequest` of the server: a header, such as `Origin` |
//! | [`UnsupportedVersion`](crate::EngineRefusal::UnsupportedVersion) | `it does not speak this protocol revision (code 5, …)` | remove [`protocol`](crate::ClientBuilder::protocol) |
//!
//! ## TLS
//!
//! | failure | printed | what to do |
//! |---|---|---|
//! | [`UnknownIssuer`](crate::TlsFailure::UnknownIssuer) | `the server's certificate comes from an authority that is not trusted here: …` | `Tls::add_ca_file` with your authority, or the whole chain at the server |
//! | [`WrongName`](crate::TlsFailure::WrongName) | `the server's certificate is not for …: …` | the host of the URL, or `Tls::server_name` |
//! | [`Expired`](crate::TlsFailure::Expired) | `the server's certificate has expired…; is the clock of this machine right?` | renew it |
//! | [`NotYetValid`](crate::TlsFailure::NotYetValid) | `the server's certificate is not valid yet…; is the clock of this machine right?` | the clock |
//! | [`Certificate`](crate::TlsFailure::Certificate) | `the server's certificate is not valid: …` | as the text says |
//! | [`CertificateRequired`](crate::TlsFailure::CertificateRequired) | `the server wants a client certificate: …` | `Tls::client_certificate` |
//! | [`Refused`](crate::TlsFailure::Refused) | `the server ended the TLS handshake with the alert …` | most often the client certificate; the text says it |
//! | [`NotTls`](crate::TlsFailure::NotTls) | `the server does not speak TLS at this port: …` | `http` in the URL |
//! | [`Handshake`](crate::TlsFailure::Handshake) | `the TLS handshake failed: …` | as the text says |
//!
//! ## Proxies
//!
//! The text follows the name of the proxy.
//!
//! | failure | printed | what to do |
//! |---|---|---|
//! | [`Unreachable`](crate::ProxyFailure::Unreachable) | `cannot be reached: …` | its host and port, or whether it runs |
//! | [`UnknownHost`](crate::ProxyFailure::UnknownHost) | `has no known address: …` | its name |
//! | [`Tls`](crate::ProxyFailure::Tls) | `gives no TLS session: …` | the [certificate](crate::TlsFailure) of the proxy itself, for `https://` in its URL |
//! | [`TimedOut`](crate::ProxyFailure::TimedOut) | `did not connect to the server in time: …` | check that it can reach the server |
//! | [`NoAnswer`](crate::ProxyFailure::NoAnswer) | `closed the connection without a whole answer: …` | `http://` or `socks5://` |
//! | [`CredentialsRequired`](crate::ProxyFailure::CredentialsRequired) | `wants a user and a password: …` | `http://user:password@host:port` |
//! | [`CredentialsRefused`](crate::ProxyFailure::CredentialsRefused) | `does not accept the user or the password` | percent-encode special characters |
//! | [`UnsupportedAuth`](crate::ProxyFailure::UnsupportedAuth) | `wants an authentication that is not supported (…): …` | a local proxy that does Kerberos or NTLM for its clients |
//! | [`Status`](crate::ProxyFailure::Status) | `answered with HTTP status …` | 403: many proxies allow port 443 only; 502 to 504: it cannot reach the server |
//! | [`Socks`](crate::ProxyFailure::Socks) | `did not connect to the server: … (SOCKS code …)` | as the text says |
//! | [`Malformed`](crate::ProxyFailure::Malformed) | `does not answer like a proxy of its kind: …` | `http://` or `socks5://`; or no proxy listens at that port |
//!
//! # Starting
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`Build`](crate::StartError::Build) | `…` | an option cannot be used, see below |
//! | [`Ready`](crate::StartError::Ready) | `namespace … of …: …` | the client started, and did not join: the [`ReadyError`](crate::ReadyError) below |
//! | [`TimedOut`](crate::ReadyError::TimedOut) | `the namespace was not ready in time…` | the last failure, if there is one in the text. To wait for a server that comes later: [`Reconnect::patient`](crate::Reconnect::patient) |
//! | [`Failing`](crate::ReadyError::Failing) | `…` | the reason is one above. The client keeps trying by its policy |
//! | [`Ended`](crate::ReadyError::Ended) | `…` | the reason is one above. [`connect`](crate::Socket::connect) tries again |
//! | [`Busy`](crate::ReadyError::Busy) | `… calls wait for the namespace already` | the arbiter of the client is blocked, or `ready` is called in a loop without awaiting it |
//! | [`Url`](crate::BuildError::Url) | `unusable URL: …` | such as `http://localhost:3000/shop`; `https` needs the cargo feature `rustls` |
//! | [`Header`](crate::BuildError::Header) | `header … cannot be sent: …` | its name or value; those of the websocket handshake are set by the client |
//! | [`Query`](crate::BuildError::Query) | `…` | `EIO`, `transport` and `sid` belong to the protocol |
//! | [`Auth`](crate::BuildError::Auth) | `unusable auth: …` | an object, such as `json!({ "token": token })` |
//! | [`Tls`](crate::BuildError::Tls) | `option … of TLS: …` | the file or the PEM text; without system authorities, install `ca-certificates` |
//! | [`Proxy`](crate::BuildError::Proxy) | `option proxy: …` | its URL, or the variable that the text names |
//! | [`Fallback`](crate::BuildError::Fallback) | `option fallback: …` | the same scheme, namespace and no query |
//! | [`Option`](crate::BuildError::Option) | `option … takes …` | the value |
//! | [`NoArbiter`](crate::BuildError::NoArbiter) | `no actix system runs on this thread: …` | `#[actix::main]`, or [a system on a thread](crate::guide::plain_tokio) |
//! | [`Name`](crate::NamespaceError::Name) | `… cannot be a namespace: …` | a query belongs to [`query`](crate::ClientBuilder::query) |
//! | [`Exists`](crate::NamespaceError::Exists) | `… exists already: …` | [`Client::of`](crate::Client::of), or set its options where it is joined first |
//! | [`Auth`](crate::NamespaceError::Auth) | `unusable auth: …` | as above |
//! | [`Option`](crate::NamespaceError::Option) | `option … takes …` | the value |
//! | [`TooMany`](crate::NamespaceError::TooMany) | `the client has … namespaces already` | fewer, or more clients; names are not forgotten |
//! | [`Closed`](crate::NamespaceError::Closed) | `the client has ended: …` | start another client |
//!
//! # Emitting, asking, answering
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`ReservedName`](crate::EmitError::ReservedName) | `… is a reserved event name` | another name |
//! | [`Encode`](crate::EmitError::Encode) | `the arguments cannot be serialised: …` | your `Serialize`; a map needs keys that are text |
//! | [`Full`](crate::EmitError::Full) | `the buffer for outgoing events is full: …` | await what `emit` returns; [`send_buffer`](crate::ClientBuilder::send_buffer), [`pending_acks`](crate::ClientBuilder::pending_acks). The error has the event |
//! | [`Closed`](crate::EmitError::Closed) | `the namespace is closed: …` | the reason is one above; [`connect`](crate::Socket::connect) |
//! | [`Offline`](crate::EmitError::Offline) | `the namespace is not joined` | [`Offline::Fail`](crate::Offline::Fail) or `volatile` asked for that |
//! | [`Expired`](crate::EmitError::Expired) | `the event waited for too long to be sent: …` | its [`lifetime`](crate::Emit::lifetime), or its ack timeout, was over before the namespace was joined |
//! | [`Discarded`](crate::EmitError::Discarded) | `the event waited, and was discarded` | a later one with its key, or [`take_unsent`](crate::Socket::take_unsent) |
//! | [`Middleware`](crate::EmitError::Middleware) | `a middleware stopped the event: …` | the text is that of your own middleware |
//! | [`PayloadTooLarge`](crate::EmitError::PayloadTooLarge) | `a message of … bytes, and the server takes … (…)` | [pieces](crate::guide::uploads), `maxHttpBufferSize` at the server; socketioxide announces 100 kB but takes more by websocket: [`max_payload`](crate::ClientBuilder::max_payload) |
//! | [`TooManyAttachments`](crate::EmitError::TooManyAttachments) | `… attachments, and option max_attachments allows …` | fewer, or [`max_attachments`](crate::ClientBuilder::max_attachments) if the server takes more |
//! | [`Unsendable`](crate::EmitError::Unsendable) | `the connection was lost each time that the event … was sent, …` | smaller: this server does not announce its limit |
//! | [`NeverSent`](crate::AckError::NeverSent) | `never sent: …` | safe to ask again |
//! | [`TimedOut`](crate::AckError::TimedOut) | `no answer in time; …` | does the handler of the server call its callback? It may have seen the event |
//! | [`Disconnected`](crate::AckError::Disconnected) | `no answer, and the server may have seen the event: …` | it may have seen the event: [`retries`](crate::AckRequest::retries) |
//! | [`Unsendable`](crate::AckError::Unsendable) | `the connection was lost each time that the event … was sent, …` | as above |
//! | [`Decode`](crate::AckError::Decode) | `unexpected answer: …` | the type: [which one reads which answer](crate::payload); [error-first answers](crate::Socket::emit_with_ack) are a pair |
//! | [`NotAsked`](crate::AnswerError::NotAsked) | `the server did not ask for an answer` | [`wants_ack`](crate::Event::wants_ack) |
//! | [`AlreadyAnswered`](crate::AnswerError::AlreadyAnswered) | `the event has been answered` | another subscriber, or a middleware, was first |
//! | [`Encode`](crate::AnswerError::Encode) | `the answer cannot be serialised: …` | your `Serialize` |
//! | [`Full`](crate::AnswerError::Full) | `the buffer for outgoing events is full` | answer later |
//! | [`Closed`](crate::AnswerError::Closed) | `the session that the event came in has ended` | nothing: nobody waits for the answer |
//! | [`PayloadTooLarge`](crate::AnswerError::PayloadTooLarge) | `a message of … bytes, and the server takes … (…)` | a smaller answer |
//! | [`TooManyAttachments`](crate::AnswerError::TooManyAttachments) | `… attachments, and option max_attachments allows …` | fewer |
//!
//! # A broken protocol: `ProtocolError`
//!
//! Such a server has a bug, or another [`parser`](crate::ClientBuilder::parser), or is not a Socket.IO
//! server: report it with the messages that it sends. Two of these are limits with an option.
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`Empty`](crate::ProtocolError::Empty) | `an empty message` | – |
//! | [`UnknownEngineType`](crate::ProtocolError::UnknownEngineType) | `unknown Engine.IO packet type …` | the parser; or a plain websocket server |
//! | [`Base64`](crate::ProtocolError::Base64) | `an attachment in broken base64` | – |
//! | [`Handshake`](crate::ProtocolError::Handshake) | `unusable handshake: …` | the URL and the path |
//! | [`Utf8`](crate::ProtocolError::Utf8) | `text that is not UTF-8` | – |
//! | [`WebSocket`](crate::ProtocolError::WebSocket) | `illegal websocket frames: …` | a proxy on the way that changes them |
//! | [`Polling`](crate::ProtocolError::Polling) | `a malformed answer to a poll: …` | a proxy on the way that changes answers |
//! | [`UnknownType`](crate::ProtocolError::UnknownType) | `unknown packet type …` | the parser |
//! | [`Attachments`](crate::ProtocolError::Attachments) | `malformed number of attachments` | – |
//! | [`TooManyAttachments`](crate::ProtocolError::TooManyAttachments) | `more than … attachments` | [`max_attachments`](crate::ClientBuilder::max_attachments) |
//! | [`AttachmentsMissing`](crate::ProtocolError::AttachmentsMissing) | `attachments that never came` | a slow line: [`attachment_timeout`](crate::ClientBuilder::attachment_timeout) |
//! | [`Namespace`](crate::ProtocolError::Namespace) | `a namespace of more than … bytes` | – |
//! | [`TooLong`](crate::ProtocolError::TooLong) | `a … of more than … bytes` | – |
//! | [`Json`](crate::ProtocolError::Json) | `malformed JSON: …` | attachments from socketioxide 0.18 by polling: use a websocket |
//! | [`Payload`](crate::ProtocolError::Payload) | `a payload of the wrong shape` | – |
//! | [`UnexpectedBinary`](crate::ProtocolError::UnexpectedBinary) | `an attachment that no packet announced` | the parser of the server may be msgpack |
//! | [`UnexpectedText`](crate::ProtocolError::UnexpectedText) | `a packet where attachments were due` | – |
//! | [`Placeholder`](crate::ProtocolError::Placeholder) | `a placeholder for an attachment that does not exist` | – |
//! | [`Msgpack`](crate::ProtocolError::Msgpack) | `malformed msgpack packet: …` | the parser of the server may be JSON |
//!
//! # Lines of the log
//!
//! Each text follows the name of the client and the namespace. If a line has a reason, it is one of those above.
//!
//! | line | what to do |
//! |---|---|
//! | `no subscriber wants … yet; it is kept for one` | nothing, if one subscribes later; otherwise check the name of the event, and the namespace |
//! | `… discarded that no subscriber wanted, the last one is …` | the same |
//! | `no subscriber wants …; the event is discarded` | the same: there are subscribers, and none for this event |
//! | `the event … does not fit …: …` | the type does not fit the arguments: [`Undecodable`](crate::Undecodable) has the event |
//! | `… is too slow: new events are discarded, and … kept for it` | [`guide::actors`](crate::guide::actors) |
//! | `… was too slow, and missed …` | the same; [`Lagged`](crate::Lagged) tells the subscriber |
//! | `left, since a subscriber is too slow` | [`Overflow::Disconnect`](crate::Overflow::Disconnect) is set; [`connect`](crate::Socket::connect) joins again |
//! | `session let go, since a subscriber is too slow` | nothing: [`Overflow::LetGo`](crate::Overflow::LetGo) is set, and the namespace is joined again |
//! | `gave up after … attempts: …` | the reason is one above; [`attempts`](crate::Reconnect::attempts) are used up |
//! | `the server reports an error: …` | as the text says: [`ServerError`](crate::ServerError) has its data |
//! | `the middleware …` | a middleware of yours panicked: its event is refused or dropped |
//! | `… is gone: it has stopped, or panicked; … for it lost` | the actor: did it panic? |
//! | `the function for … panicked` | look at the panic, which is printed above the line. The function is not called again |
//! | `the arbiter of this client was blocked for … ms or more` | [an arbiter of its own](crate::guide::actors) for what blocks |
//! | `auth is not sent: servers 1.x and 2.x take none for /` | [`query`](crate::ClientBuilder::query) or [`header`](crate::ClientBuilder::header) |
//! | `the server has joined it twice` | nothing: the connection is replaced |
//! | `lost right after the event …, which is large` | smaller messages, or `maxHttpBufferSize` at the server |
//! | `… never sent: …` | the namespace ended before it was sent. With [`Shutdown`](crate::Reason::Shutdown): [`shutdown`](crate::Client::shutdown) with more time |
//! | `…; no further attempt (Reconnect::retry decides, …` | the server has ended it, and by default that is for good: the [policy](crate::Reconnect::retry) can say otherwise |
//! | `…'s certificate is not checked` | remove `danger_accept_any_certificate` |
//! | `a value of the application … (when it was dropped: …)` | a `Drop` of yours panics |
//!
//! # Bridges
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`SameNamespace`](crate::BridgeError::SameNamespace) | `a bridge needs two namespaces` | two clients, or two namespaces of one |
//! | [`ReservedName`](crate::BridgeError::ReservedName) | `… is a reserved event name` | another name in [`rename`](crate::Route::rename) |
//! | [`Option`](crate::BridgeError::Option) | `option … takes …` | the value |
//!
//! A running bridge has no error of its own: [`BridgeStats`](crate::BridgeStats) counts the outcomes of
//! events, and [`guide::bridges`](crate::guide::bridges) what each number means. It ends with one of its
//! clients.
//!
//! The errors of a relay are on a page of their own, `guide::relay`, which is there with the feature `relay`.
//!
//! # When that does not help
//!
//! Run it with `RUST_LOG=actix_socketio=debug`, and ask the same server with the example `sio`
//! (`cargo run --example sio -- listen <url>`): if that gets through, the difference is in the options. On the server,
//! `DEBUG=engine,socket.io*` has the official one log what it sees.

#[cfg(test)]
mod tests {
    use std::fmt;

    use crate::{
        error::{
            AckError, AnswerError, BridgeError, BuildError, ConnectFailure, DecodeError, EmitError,
            EngineRefusal, NamespaceError, ProxyFailure, ReadyError, Reason, StartError,
            TlsFailure, Unsendable,
        },
        proto::{ProtocolError, emit::Emit, reason::tests::reasons},
        relay,
    };

    /// An error of the page.
    trait Listed: fmt::Display {
        /// The link in its row.
        fn link(&self) -> &'static str;
    }

    /// All variants: a new one does not compile until it is here, and then the page must have a row for it.
    macro_rules! variants {
        ($($type:ty { $($variant:ident)+ })+) => {
            const LINKS: &[&str] =
                &[$($(concat!("crate::", stringify!($type), "::", stringify!($variant))),+),+];
            $(impl Listed for $type {
                fn link(&self) -> &'static str {
                    match self {
                        $(Self::$variant { .. } => {
                            concat!("crate::", stringify!($type), "::", stringify!($variant))
                        })+
                    }
                }
            })+
        };
    }

    variants! {
        Reason {
            ClientDisconnect Shutdown ServerDisconnect Refused JoinTimeout PingTimeout
            TransportClose ServerShutdown TransportError SessionUnknown TooLargeForServer TooLarge
            Protocol Connect Provider Middleware Reconnect SlowSubscriber
        }
        ConnectFailure {
            Unreachable UnknownHost TimedOut NoAnswer Tls Proxy Status Engine NoWebsocket Handshake
            TooLarge Parser Endpoints Unsupported
        }
        EngineRefusal {
            TransportUnknown SessionUnknown BadHandshakeMethod BadRequest Forbidden
            UnsupportedVersion
        }
        TlsFailure {
            UnknownIssuer WrongName Expired NotYetValid Certificate CertificateRequired Refused
            NotTls Handshake
        }
        ProxyFailure {
            Unreachable UnknownHost Tls TimedOut NoAnswer CredentialsRequired CredentialsRefused
            UnsupportedAuth Status Socks Malformed
        }
        StartError { Build Ready }
        ReadyError { TimedOut Failing Ended Busy }
        BuildError { Url Header Query Auth Tls Proxy Fallback Option NoArbiter }
        NamespaceError { Name Exists Auth Option TooMany Closed }
        EmitError {
            ReservedName Encode Full Closed Offline Expired Discarded Middleware PayloadTooLarge
            TooManyAttachments Unsendable
        }
        AckError { NeverSent TimedOut Disconnected Unsendable Decode }
        AnswerError {
            NotAsked AlreadyAnswered Encode Full Closed PayloadTooLarge TooManyAttachments
        }
        BridgeError { SameNamespace ReservedName Option }
        relay::EngineError { Away Refused }
        relay::NatsError { OutOfRange Differs TooOld NoPlace Away Refused }
        relay::RelayError { Name Doubled Option Client NoArbiter }
        relay::ReaderError { Name OutOfRange NoActor NoArbiter }
        relay::CallError {
            Event Name TooLarge Nobody NotSent Refused NoAnswer Unanswered AnswerLost Undecodable
            NotYet Engine Format
        }
        ProtocolError {
            Empty UnknownEngineType Base64 Handshake Utf8 WebSocket Polling UnknownType Attachments
            TooManyAttachments AttachmentsMissing Namespace TooLong Json Payload UnexpectedBinary
            UnexpectedText Placeholder Msgpack
        }
    }

    fn boxed<T: Listed + 'static>(errors: impl IntoIterator<Item = T>) -> Vec<Box<dyn Listed>> {
        errors.into_iter().map(|error| -> Box<dyn Listed> { Box::new(error) }).collect()
    }

    fn text() -> String {
        "text".to_owned()
    }

    /// One of each variant at least.
    fn samples() -> impl Iterator<Item = Box<dyn Listed>> {
        connections().into_iter().chain(calls()).chain(relays())
    }

    fn connections() -> Vec<Box<dyn Listed>> {
        let failures = reasons().into_iter().filter_map(|reason| match reason {
            Reason::Connect(failure) => Some(failure),
            _ => None,
        });
        [
            boxed(failures),
            boxed(reasons()),
            boxed([
                EngineRefusal::TransportUnknown,
                EngineRefusal::SessionUnknown,
                EngineRefusal::BadHandshakeMethod,
                EngineRefusal::BadRequest,
                EngineRefusal::Forbidden,
                EngineRefusal::UnsupportedVersion,
            ]),
            boxed([
                TlsFailure::UnknownIssuer,
                TlsFailure::WrongName { expected: text(), names: vec![text()] },
                TlsFailure::Expired { since: None },
                TlsFailure::NotYetValid { from: Some(text()) },
                TlsFailure::Certificate(text()),
                TlsFailure::CertificateRequired,
                TlsFailure::Refused(text()),
                TlsFailure::NotTls,
                TlsFailure::Handshake(text()),
            ]),
            boxed([
                ProxyFailure::Unreachable(text()),
                ProxyFailure::UnknownHost(text()),
                ProxyFailure::Tls(TlsFailure::UnknownIssuer),
                ProxyFailure::TimedOut,
                ProxyFailure::NoAnswer,
                ProxyFailure::CredentialsRequired,
                ProxyFailure::CredentialsRefused,
                ProxyFailure::UnsupportedAuth(text()),
                ProxyFailure::Status { status: 403, says: Some(text()) },
                ProxyFailure::Socks(5),
                ProxyFailure::Malformed(text()),
            ]),
            boxed([
                ProtocolError::Empty,
                ProtocolError::UnknownEngineType(9),
                ProtocolError::Base64,
                ProtocolError::Handshake(text()),
                ProtocolError::Utf8,
                ProtocolError::WebSocket(text()),
                ProtocolError::Polling("no"),
                ProtocolError::UnknownType(9),
                ProtocolError::Attachments,
                ProtocolError::TooManyAttachments { limit: 1 },
                ProtocolError::AttachmentsMissing,
                ProtocolError::Namespace,
                ProtocolError::TooLong { what: "session id", limit: 1 },
                ProtocolError::Json(text()),
                ProtocolError::Payload,
                ProtocolError::UnexpectedBinary,
                ProtocolError::UnexpectedText,
                ProtocolError::Placeholder,
                ProtocolError::Msgpack(text()),
            ]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn calls() -> Vec<Box<dyn Listed>> {
        let ended = || Reason::PingTimeout;
        let large = || Unsendable { event: text(), size: 1, attachments: 0 };
        let ready = |error| StartError::Ready { server: text(), namespace: text(), error };
        [
            boxed([StartError::Build(BuildError::NoArbiter), ready(ReadyError::Busy)]),
            boxed([
                ReadyError::TimedOut { last: Some(ended()) },
                ReadyError::Failing(ended()),
                ReadyError::Ended(ended()),
                ReadyError::Busy,
            ]),
            boxed([
                BuildError::Url(text()),
                BuildError::Header { name: text(), error: "its value is not allowed" },
                BuildError::Query(text()),
                BuildError::Auth(text()),
                BuildError::Tls { option: "add_ca_file", error: text() },
                BuildError::Proxy(text()),
                BuildError::Fallback(text()),
                BuildError::Option { name: "ack_timeout", expected: "more than zero" },
                BuildError::NoArbiter,
            ]),
            boxed([
                NamespaceError::Name(text()),
                NamespaceError::Exists(text()),
                NamespaceError::Auth(text()),
                NamespaceError::Option { name: "ack_timeout", expected: "more than zero" },
                NamespaceError::TooMany,
                NamespaceError::Closed(ended()),
            ]),
            boxed([
                EmitError::ReservedName(text()),
                EmitError::Encode(text()),
                EmitError::Full(Emit::new("e", ()).unwrap()),
                EmitError::Closed(ended()),
                EmitError::Offline,
                EmitError::Expired,
                EmitError::Discarded,
                EmitError::Middleware(text()),
                EmitError::PayloadTooLarge { size: 2, limit: 1 },
                EmitError::TooManyAttachments { count: 2, limit: 1 },
                EmitError::Unsendable(large()),
            ]),
            boxed([
                AckError::NeverSent(EmitError::Offline),
                AckError::TimedOut,
                AckError::Disconnected(ended()),
                AckError::Unsendable(large()),
                AckError::Decode(DecodeError::new("no map")),
            ]),
            boxed([
                AnswerError::NotAsked,
                AnswerError::AlreadyAnswered,
                AnswerError::Encode(text()),
                AnswerError::Full,
                AnswerError::Closed,
                AnswerError::PayloadTooLarge { size: 2, limit: 1 },
                AnswerError::TooManyAttachments { count: 2, limit: 1 },
            ]),
            boxed([relay::EngineError::Away(text()), relay::EngineError::Refused(text())]),
            boxed([
                BridgeError::SameNamespace,
                BridgeError::ReservedName(text()),
                BridgeError::Option { name: "ack_timeout", expected: "more than zero" },
            ]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn relays() -> Vec<Box<dyn Listed>> {
        use relay::{CallError, EngineError, NatsError, ReaderError, RelayError};

        [
            boxed([EngineError::Away(text()), EngineError::Refused(text())]),
            boxed([
                NatsError::OutOfRange(text()),
                NatsError::Differs { stream: text(), differences: text() },
                NatsError::TooOld(text()),
                NatsError::NoPlace { stream: text(), replicas: 3, text: text() },
                NatsError::Away(text()),
                NatsError::Refused(text()),
            ]),
            boxed([
                RelayError::Name(text()),
                RelayError::Doubled(text()),
                RelayError::Option { name: "buffer", expected: "more than zero" },
                RelayError::Client { upstream: text(), error: BuildError::NoArbiter },
                RelayError::NoArbiter,
            ]),
            boxed([
                ReaderError::Name(text()),
                ReaderError::OutOfRange { option: "window", range: "1 or more" },
                ReaderError::NoActor,
                ReaderError::NoArbiter,
            ]),
            boxed([
                CallError::Event(EmitError::ReservedName(text())),
                CallError::Name(text()),
                CallError::TooLarge { size: 2, limit: 1 },
                CallError::Nobody,
                CallError::NotSent(text()),
                CallError::Refused(text()),
                CallError::NoAnswer,
                CallError::Unanswered(text()),
                CallError::AnswerLost(text()),
                CallError::Undecodable(DecodeError::new("no map")),
                CallError::NotYet,
                CallError::Engine(EngineError::Away(text())),
                CallError::Format,
            ]),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What the row of this link says is printed.
    fn printed(link: &str) -> &'static str {
        // The rows of the relay are on the page that is there only with it.
        let pages = concat!(include_str!("troubleshooting.rs"), include_str!("relay.rs"));
        let rows = pages.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("//! | [")?.split(" | ");
            cells.next()?.ends_with(&format!("]({link})")).then(|| cells.next())?
        });
        let rows: Vec<_> = rows.collect();
        let [printed] = rows[..] else { panic!("{} rows for {link}", rows.len()) };
        printed.trim_matches('`')
    }

    #[test]
    fn the_page_has_a_row_for_each_error_with_what_it_prints() {
        let samples: Vec<_> = samples().collect();
        for link in LINKS {
            printed(link);
            assert!(samples.iter().any(|sample| sample.link() == *link), "no sample of {link}");
        }
        for sample in samples {
            let (text, row) = (sample.to_string(), printed(sample.link()));
            let mut rest = text.as_str();
            for (number, part) in row.split('…').enumerate() {
                let at = rest.find(part).filter(|at| number > 0 || *at == 0);
                let at = at.unwrap_or_else(|| panic!("{}: {row:?}, not {text:?}", sample.link()));
                rest = &rest[at + part.len()..];
            }
            assert!(rest.is_empty() || row.ends_with('…'), "{row:?} goes on: {text:?}");
        }
    }
}

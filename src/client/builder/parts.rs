//! Checks the options, and makes the parts of a client from them.

use std::sync::Arc;

use bytestring::ByteString;
use url::Host;

#[cfg(feature = "rustls")]
use crate::tls::Tls;
use crate::{
    actor::{settings::Settings, waiters::Patience},
    backpressure::{receive_window::ReceiveWindow, send_quota},
    client::{
        address::Address,
        builder::ClientBuilder,
        error::BuildError,
        lifeline::{MessageIds, seed},
        socket::Defaults,
    },
    proto::{
        config::Config, namespace, packet::Limits, reconnect::Range, ticket::SessionTicket,
        transports::Allowed,
    },
    tap::Tap,
    transport::{Endpoint, Headers, Query, Target, Targets, Way},
};

/// The longest name of a client, in bytes.
const MAX_NAME: usize = 64;

/// How many servers there may be beside the first.
const MAX_FALLBACKS: usize = 15;

/// The parts of a client.
pub(super) struct Parts {
    pub(super) config: Arc<Config>,
    pub(super) targets: Targets,
    pub(super) settings: Settings,
    pub(super) defaults: Defaults,
    pub(super) ids: Option<MessageIds>,
    pub(super) tap: Option<Tap>,
    pub(super) tickets: Vec<SessionTicket>,
}

impl ClientBuilder {
    /// The name of the default namespace, or an error in the options.
    #[cfg(feature = "relay")]
    pub(crate) fn default_namespace(&self) -> Result<ByteString, BuildError> {
        let Parts { settings, .. } = self.clone().build()?;
        Ok(settings.core.namespace.clone())
    }

    /// The default namespace, in place of the path of the URL.
    #[cfg(feature = "relay")]
    pub(crate) fn with_default_namespace(mut self, namespace: &str) -> Self {
        for url in std::iter::once(&mut self.url).chain(&mut self.fallbacks) {
            let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let query = rest.split_once('?').map(|(_, query)| query);
            let (query, mark) = query.map_or(("", ""), |query| (query, "?"));
            // What is wrong with a URL is found when it is parsed.
            if !scheme.is_empty() {
                *url = format!("{scheme}://{authority}{namespace}{mark}{query}");
            }
        }
        self
    }

    pub(super) fn build(self) -> Result<Parts, BuildError> {
        self.check_ranges()?;
        let Address { endpoint, namespace, query } =
            Address::parse(&self.url, &self.path, self.trailing_slash)?;
        let fallbacks = self.fallbacks(&endpoint, &namespace)?;
        let query = Query::new(query, self.query, self.query_with)?;
        let transports = Allowed::of(self.transports, self.remember_upgrade)
            .ok_or(BuildError::Option { name: "transports", expected: "at least one transport" })?;
        // Not less, or callers would learn that time is up, and not why.
        let ready = self.connect_timeout.saturating_add(self.join_timeout);
        let defaults = Defaults {
            ack_timeout: self.ack_timeout,
            ready_timeout: ready,
            retries: self.retries,
            offline: self.offline,
        };
        let patience = Patience {
            is_endless: self.reconnect.is_patient(),
            has_providers: self.headers_with.is_some() || query.has_provider(),
            servers: fallbacks.len().saturating_add(1),
        };
        let (credentials, provider) = self.auth.build().map_err(BuildError::Auth)?;
        let headers = Headers::new(self.headers, self.headers_with)?;
        let authority = || endpoint.authority().clone();
        let name = self.name.map_or_else(authority, ByteString::from);
        // A part of the time, so that the error can name the proxy.
        let quarter = self.connect_timeout.checked_div(4).unwrap_or_default();
        let limit = self.connect_timeout.saturating_sub(quarter);
        let target = |endpoint: Endpoint| -> Result<Target, BuildError> {
            if endpoint.uri(&["EIO=4&transport=websocket", &query.text()]).is_err() {
                return Err(BuildError::Url("it is too long with the query".to_owned()));
            }
            #[cfg(feature = "rustls")]
            let tls = endpoint
                .is_secure
                .then(|| Tls::session(self.tls.clone(), &endpoint.host, &name))
                .transpose()?;
            #[cfg(not(feature = "rustls"))]
            let tls = if endpoint.is_secure {
                return Err(BuildError::Url(NO_TLS.to_owned()));
            } else {
                None
            };
            #[cfg(feature = "rustls")]
            let with_proxy = |host: &Host| {
                let made = Tls::session_with_proxy(self.tls.clone(), host, &name);
                made.map_err(BuildError::from)
            };
            #[cfg(not(feature = "rustls"))]
            let with_proxy = |_: &Host| Err(BuildError::Proxy(NO_TLS.to_owned()));
            let (through, tcp) = (self.through.clone(), self.tcp);
            let way = Way::new(name.clone(), through, tcp, &endpoint, limit, with_proxy)?;
            let (query, headers) = (query.clone(), headers.clone());
            let max_message = self.max_message_size;
            let subprotocols = self.subprotocols.clone();
            let client = name.clone();
            Ok(Target { client, endpoint, way, tls, query, headers, subprotocols, max_message })
        };
        let fallbacks: Result<_, _> = fallbacks.into_iter().map(target).collect();
        let targets = Targets::new(target(endpoint)?, fallbacks?);
        let config = Arc::new(Config {
            name: name.clone(),
            pin: self.protocol,
            parser: self.parser,
            transports,
            endpoints: targets.iter().map(|target| target.endpoint.authority().clone()).collect(),
            limits: Limits { attachments: self.max_attachments, bytes: self.max_message_size },
            max_payload: self.max_payload,
            connect_timeout: self.connect_timeout,
            join_timeout: self.join_timeout,
            attachment_timeout: self.attachment_timeout,
            reconnect: self.reconnect,
            retry_window: self.retry_window,
        });
        Ok(Parts {
            config: Arc::clone(&config),
            targets,
            settings: Settings {
                core: namespace::Setup {
                    config,
                    namespace,
                    credentials,
                    recovery: None,
                    seed: seed(),
                },
                provider,
                middleware: self.middleware,
                outgoing: send_quota::Limits {
                    items: self.outgoing.items,
                    bytes: self.outgoing.bytes,
                    acks: self.pending_acks,
                },
                offline: self.offline,
                overflow: self.overflow,
                patience,
                counters: Arc::default(),
                window: Arc::new(ReceiveWindow::new(self.receive_window)),
            },
            defaults,
            ids: self.message_ids.then(MessageIds::new),
            tap: self.tap,
            tickets: self.tickets,
        })
    }

    /// The fallback servers of the service whose first server this is.
    fn fallbacks(
        &self,
        first: &Endpoint,
        namespace: &ByteString,
    ) -> Result<Vec<Endpoint>, BuildError> {
        let refuse = |error: &str| Err(BuildError::Fallback(error.to_owned()));
        if self.fallbacks.len() > MAX_FALLBACKS {
            return refuse("there are more than 15");
        }
        if !self.fallbacks.is_empty() && !self.through.is_open_to_all() {
            return refuse("the option unix_socket leads to one server");
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for url in &self.fallbacks {
            let address = Address::parse(url, &self.path, self.trailing_slash);
            let Address { endpoint, namespace: path, query } = match address {
                Err(BuildError::Url(error)) => return refuse(&error),
                address => address?,
            };
            if path != "/" && path != *namespace {
                return refuse("its path is another namespace than that of the first URL");
            }
            if !query.is_empty() {
                return refuse("it has a query: use the option query, which is for all servers");
            }
            if endpoint.is_secure != first.is_secure {
                return refuse(
                    "with and without TLS must not be mixed: use one scheme for all URLs",
                );
            }
            if endpoint == *first || endpoints.contains(&endpoint) {
                return refuse("it has a server that is named already");
            }
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    }

    /// The range of each option. All fields are listed, so that a new one is not forgotten.
    fn check_ranges(&self) -> Result<(), BuildError> {
        let Self {
            // They are looked at where they are read.
            url: _,
            fallbacks: _,
            path: _,
            query: _,
            headers: _,
            auth: _,
            #[cfg(feature = "rustls")]
                tls: _,
            // They take anything.
            trailing_slash: _,
            query_with: _,
            headers_with: _,
            protocol: _,
            parser: _,
            transports: _,
            remember_upgrade: _,
            max_attachments: _,
            retries: _,
            message_ids: _,
            offline: _,
            overflow: _,
            middleware: _,
            tap: _,
            tickets: _,
            name,
            reconnect,
            connect_timeout,
            join_timeout,
            ack_timeout,
            attachment_timeout,
            max_message_size,
            max_payload,
            retry_window,
            outgoing,
            pending_acks,
            receive_window,
            tcp,
            through,
            subprotocols,
        } = self;
        let counts =
            |name, count: usize| Range { name, is_kept: count > 0, expected: "at least 1" };
        let ranges = [
            Range {
                name: "name",
                is_kept: name.as_deref().is_none_or(|name| {
                    (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control)
                }),
                expected: "1 to 64 bytes without control characters",
            },
            Range::time("connect_timeout", *connect_timeout),
            Range::time("join_timeout", *join_timeout),
            Range::time("ack_timeout", *ack_timeout),
            Range::time("attachment_timeout", *attachment_timeout),
            counts("max_message_size", *max_message_size),
            Range { name: "max_payload", is_kept: *max_payload != Some(0), expected: "at least 1" },
            counts("retry_window", *retry_window),
            counts("send_buffer", outgoing.items.min(outgoing.bytes)),
            counts("pending_acks", *pending_acks),
            counts("receive_window", receive_window.items.min(receive_window.bytes)),
            Range {
                name: "unix_socket",
                is_kept: through.is_possible(),
                expected: "a path that is not empty, and short enough for a socket (about 100 bytes)",
            },
            Range {
                name: "subprotocols",
                is_kept: subprotocols.are_possible(),
                expected: "up to 16 different names, each of letters, digits and !#$%&'*+-.^_`|~",
            },
            Range {
                name: "local_address",
                is_kept: tcp.local.is_none_or(|local| tcp.family.has(local)),
                expected: "an address of the family that the option ip_family allows",
            },
        ];
        let broken = ranges.into_iter().chain(reconnect.ranges()).find(|range| !range.is_kept);
        let error =
            broken.map(|Range { name, expected, .. }| BuildError::Option { name, expected });
        error.map_or(Ok(()), Err)
    }
}

#[cfg(not(feature = "rustls"))]
const NO_TLS: &str = "its scheme needs TLS, which this program was built without: build actix-socketio with \
                      its feature rustls";

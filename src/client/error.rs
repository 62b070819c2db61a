//! Why there is no client, or no namespace.

use std::fmt;

use thiserror::Error;

#[cfg(feature = "rustls")]
use crate::tls::TlsError;
use crate::{
    actor::waiters::ReadyError,
    display::{Excerpt, brief},
    proto::reason::Reason,
    transport::{ProxyError, RequestError},
};

/// The most namespaces of a client.
pub(crate) const MAX_NAMESPACES: usize = 4_096;

/// What to do where there is no system; the docs of the crate have it too.
const RECIPE: &str = "
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let system = actix::System::new();
        tell.send(actix::System::current().arbiter().clone()).ok();
        system.run()
    });
    let client = Client::builder(url).start_in(&told.recv()?)?;
";

/// Why a client cannot be built: an option is invalid.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL cannot be used. The text says why, and does not repeat it.
    #[error("unusable URL: {}", brief(.0))]
    Url(String),
    /// A header's name or value is not allowed in HTTP; or the header is one that the websocket
    /// handshake sets itself; or it is a `Host` or an `Origin` that is invalid or set twice. Its value is not
    /// repeated here.
    #[error("{}", RequestError::Header { name: name.clone(), error })]
    Header {
        /// The header's name.
        name: String,
        /// What is wrong with it.
        error: &'static str,
    },
    /// A parameter of the query, set as an option or in the URL, has a name that belongs to the
    /// protocol: `EIO`, `transport` or `sid`.
    #[error("{}", RequestError::Query(.0.clone()))]
    Query(String),
    /// The `auth` value is not an object, or could not be serialised.
    #[error("unusable auth: {}", brief(.0))]
    Auth(String),
    /// An option of TLS (`ClientBuilder::tls`) cannot be used.
    #[error("option {option} of TLS: {error}")]
    Tls {
        /// The option's name, such as `add_ca_file`.
        option: &'static str,
        /// What is wrong with it. No key is quoted.
        error: String,
    },
    /// The [proxy](crate::ClientBuilder::proxy) cannot be used. The text says why, and which variable
    /// it is if the proxy comes from the environment. It does not repeat the URL.
    #[error("option proxy: {}", brief(.0))]
    Proxy(String),
    /// The URL of a [fallback](crate::ClientBuilder::fallback) cannot be used, or it does not fit the other
    /// options. The text says why, and does not repeat the URL.
    #[error("option fallback: {}", brief(.0))]
    Fallback(String),
    /// An option is out of its range.
    #[error("option {name} takes {expected}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// The values that it takes.
        expected: &'static str,
    },
    /// There is no actix system on this thread. The text shows how to start one, and so does the
    /// documentation of [the crate](crate#where-it-runs).
    #[error(
        "no actix system runs on this thread: start one on another, and the client there\n{RECIPE}"
    )]
    NoArbiter,
}

/// `?` in `main` shows this, so a variant whose name is not clear has a sentence.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => f.debug_tuple("Url").field(error).finish(),
            Self::Header { name, error } => {
                f.debug_struct("Header").field("name", name).field("error", error).finish()
            }
            Self::Query(name) => f.debug_tuple("Query").field(name).finish(),
            Self::Auth(error) => f.debug_tuple("Auth").field(error).finish(),
            Self::Tls { option, error } => {
                f.debug_struct("Tls").field("option", option).field("error", error).finish()
            }
            Self::Proxy(error) => f.debug_tuple("Proxy").field(error).finish(),
            Self::Fallback(error) => f.debug_tuple("Fallback").field(error).finish(),
            Self::Option { name, expected } => {
                f.debug_struct("Option").field("name", name).field("expected", expected).finish()
            }
            Self::NoArbiter => f.write_str(
                "NoArbiter: no actix system runs on this thread; use #[actix::main], or start a system on another thread and the client there with start_in (see \"Where it runs\" in the docs of the crate)",
            ),
        }
    }
}

impl From<RequestError> for BuildError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Header { name, error } => Self::Header { name, error },
            RequestError::Query(name) => Self::Query(name),
        }
    }
}

impl From<ProxyError> for BuildError {
    fn from(ProxyError(error): ProxyError) -> Self {
        Self::Proxy(error)
    }
}

#[cfg(feature = "rustls")]
impl From<TlsError> for BuildError {
    fn from(TlsError { option, error }: TlsError) -> Self {
        Self::Tls { option, error }
    }
}

/// Why a client cannot join a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// The name has a comma, a question mark, a `#` or a control character, or is longer than 512
    /// bytes.
    #[error("{} cannot be a namespace: it has a comma, a question mark, a #, a control character, or more than 512 bytes", Excerpt(.0))]
    Name(String),
    /// The client has this namespace already, so its options cannot be set any more.
    /// [`Client::of`](crate::Client::of) gives it as it is. Set options where the namespace is
    /// joined first; for the default namespace, that is
    /// [`Client::builder`](crate::Client::builder).
    #[error("{} exists already: use Client::of, or set its options where it is joined first (for the default namespace at Client::builder)", Excerpt(.0))]
    Exists(String),
    /// The `auth` value is not an object, or could not be serialised.
    #[error("unusable auth: {}", brief(.0))]
    Auth(String),
    /// An option is out of its range.
    #[error("option {name} takes {expected}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// The values that it takes.
        expected: &'static str,
    },
    /// The client has 4096 namespaces already, joined or not. There is no way to remove one.
    #[error("the client has {MAX_NAMESPACES} namespaces already")]
    TooMany,
    /// The client has ended.
    #[error("the client has ended: {0}")]
    Closed(Reason),
}

/// Why a client was not started, or not joined to its default namespace.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is invalid.
    #[error("{0}")]
    Build(BuildError),
    /// The default namespace was not joined.
    #[error("namespace {} of {server}: {error}{}", Excerpt(namespace), advice(namespace, error))]
    Ready {
        /// Where the request went, such as `http://host:port/path/`.
        server: String,
        /// Its name.
        namespace: String,
        /// Why.
        error: ReadyError,
    },
}

/// The usual cause when the server refuses.
fn advice(namespace: &str, error: &ReadyError) -> &'static str {
    match error {
        ReadyError::Ended(Reason::Refused(refusal))
            if refusal.message() == "Invalid namespace" && namespace != "/" =>
        {
            " (a path in the URL is a namespace; the path of the request is the option path)"
        }
        ReadyError::Ended(Reason::Refused(refusal)) if refusal.message() != "Invalid namespace" => {
            " (a middleware of the server says so; a token goes into the option auth, for / of a server 1.x or 2.x into query or header)"
        }
        _ => "",
    }
}

impl From<BuildError> for StartError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::refusal::Refusal;

    #[test]
    fn where_there_is_no_system_the_error_shows_what_the_docs_do() {
        let shown = BuildError::NoArbiter.to_string();
        let docs = include_str!("../lib.rs");
        let lines = RECIPE.lines().map(|line| line.trim().replace("(url)", "("));
        for line in lines.filter(|line| !line.is_empty()) {
            let (begin, _) = line.split_once("builder(").unwrap_or((&line, ""));
            assert!(shown.contains(begin) && docs.contains(begin), "{begin}");
        }
        assert!(docs.contains(".start_in(&told.recv()?)?;"));
        // What `main` prints of an error that it returns.
        let debug = format!("{:?}", StartError::from(BuildError::NoArbiter));
        assert!(debug.contains("no actix system") && debug.contains("start_in"), "{debug}");
        assert!(
            debug.contains("\"Where it runs\"") && docs.contains("//! # Where it runs"),
            "{debug}"
        );
    }

    #[test]
    fn a_client_that_was_not_joined_names_its_server_and_namespace_and_what_a_path_is_for() {
        let refused = |message: &str| Reason::Refused(Refusal::new(message.to_owned(), None));
        let unknown = refused("Invalid namespace");
        let text = |namespace: &str, reason: &Reason| {
            let error = ReadyError::Ended(reason.clone());
            let (server, namespace) = ("http://a:1/socket.io/".to_owned(), namespace.to_owned());
            StartError::Ready { server, namespace, error }.to_string()
        };
        let named = text("/socket.io/", &unknown);
        let begin = "namespace \"/socket.io/\" of http://a:1/socket.io/: the server refused: ";
        assert!(named.starts_with(begin), "{named}");
        assert!(named.contains("path in the URL is a namespace"), "{named}");
        let plain = |namespace: &str, reason: &Reason| {
            let shown = format!("namespace \"{namespace}\" of http://a:1/socket.io/: {reason}");
            assert_eq!(text(namespace, reason), shown);
        };
        plain("/", &unknown);
        let stale = text("/a", &refused("wrong password"));
        assert!(
            stale.contains(": the server refused: \"wrong password\" (a middleware"),
            "{stale}"
        );
        assert!(stale.contains("a token goes into the option auth"), "{stale}");
        plain("/a", &Reason::JoinTimeout);
    }
}

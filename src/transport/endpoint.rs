//! The address of the server, and what is derived from it.

use awc::http::{
    Uri,
    header::{HeaderValue, InvalidHeaderValue},
    uri::InvalidUri,
};
use bytestring::ByteString;
use url::Host;

/// The URL of a server, taken apart. `http` and `ws` mean the same, and so do `https` and `wss`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https` or `wss`.
    pub(crate) is_secure: bool,
    pub(crate) host: Host,
    port: u16,
    authority: ByteString,
    url: ByteString,
    /// The URI for awc, up to its query.
    request: ByteString,
}

impl Endpoint {
    /// A port that is not the default of the scheme, and the path of the request, as it is sent.
    pub(crate) fn new(is_secure: bool, host: Host, port: Option<u16>, path: &str) -> Self {
        let name = host.to_string();
        let (scheme, default_port) = if is_secure { ("https://", 443) } else { ("http://", 80) };
        let with_port = [&*name, ":", &port.unwrap_or(default_port).to_string()].concat();
        // awc knows nothing of TLS, so its scheme is always `http`, and the port is always there.
        let request = ["http://", &with_port, path, "?"].concat().into();
        let authority = if port.is_some() { with_port } else { name };
        let url = [scheme, &authority, path].concat().into();
        let port = port.unwrap_or(default_port);
        Self { is_secure, host, port, authority: authority.into(), url, request }
    }

    /// `host:port`, without the default port: the name of the connection in logs, and the `Host` header.
    pub(crate) fn authority(&self) -> &ByteString {
        &self.authority
    }

    /// `http://host:port/path/`, for people to read.
    pub(crate) fn url(&self) -> &ByteString {
        &self.url
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The URI for awc, with these parameters of the query.
    pub(crate) fn uri(&self, query: &[&str]) -> Result<Uri, InvalidUri> {
        Uri::try_from([&self.request, &*query.concat()].concat())
    }

    /// The value of the `Host` header.
    pub(super) fn host_header(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        HeaderValue::from_maybe_shared(self.authority.clone().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_that_of_the_scheme_of_the_user() {
        let endpoint = |is_secure, host: &str, port| {
            Endpoint::new(is_secure, Host::parse(host).unwrap(), port, "/a/")
        };
        for (endpoint, authority, url, uri) in [
            (endpoint(false, "h", None), "h", "http://h/a/", "http://h:80/a/?q=1"),
            (endpoint(true, "h", None), "h", "https://h/a/", "http://h:443/a/?q=1"),
            (endpoint(false, "h", Some(443)), "h:443", "http://h:443/a/", "http://h:443/a/?q=1"),
            (endpoint(true, "h", Some(80)), "h:80", "https://h:80/a/", "http://h:80/a/?q=1"),
            (
                endpoint(true, "[::1]", Some(1)),
                "[::1]:1",
                "https://[::1]:1/a/",
                "http://[::1]:1/a/?q=1",
            ),
        ] {
            assert_eq!(endpoint.authority(), authority);
            assert_eq!(endpoint.host_header().unwrap(), authority);
            assert_eq!(endpoint.url(), url);
            assert_eq!(endpoint.uri(&["q=", "1"]).unwrap(), uri);
        }
    }
}

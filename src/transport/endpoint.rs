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
    port: Option<u16>,
    path: String,
    authority: ByteString,
    url: ByteString,
}

impl Endpoint {
    /// A port that is not the default of the scheme, and the path of the request, as it is sent.
    pub(crate) fn new(is_secure: bool, host: Host, port: Option<u16>, path: String) -> Self {
        let authority = match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let scheme = if is_secure { "https" } else { "http" };
        let url = format!("{scheme}://{authority}{path}").into();
        Self { is_secure, host, port, path, authority: authority.into(), url }
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
        self.port.unwrap_or(if self.is_secure { 443 } else { 80 })
    }

    /// The URI for awc, with these parameters of the query. awc knows nothing of TLS, so its scheme is
    /// always `http`, and the port is always there.
    pub(crate) fn uri(&self, query: &str) -> Result<Uri, InvalidUri> {
        let Self { host, path, .. } = self;
        Uri::try_from(format!("http://{host}:{}{path}?{query}", self.port()))
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
            Endpoint::new(is_secure, Host::parse(host).unwrap(), port, "/a/".to_owned())
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
            assert_eq!(endpoint.uri("q=1").unwrap(), uri);
        }
    }
}

//! Where the server is, and all that follows from it.

use awc::http::{
    Uri,
    header::{HeaderValue, InvalidHeaderValue},
    uri::InvalidUri,
};
use url::Host;

/// The URL of a server, taken apart. `http` and `ws` mean the same, and so do `https` and `wss`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https` or `wss`.
    pub(crate) is_secure: bool,
    pub(crate) host: Host,
    /// If it is not the default of the scheme.
    pub(crate) port: Option<u16>,
    /// The path of the request, as it is sent.
    pub(crate) path: String,
}

impl Endpoint {
    /// `host:port`, without the default port: the name of the connection in logs, and the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let Self { is_secure: _, host, port, path: _ } = self;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{host}{port}")
    }

    /// `http://host:port/path/`, for people to read.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(if self.is_secure { 443 } else { 80 })
    }

    /// The URI for awc, with these parameters of the query. awc knows nothing of TLS, so its scheme is
    /// always `http`, and the port is always there.
    pub(crate) fn uri(&self, query: &str) -> Result<Uri, InvalidUri> {
        let Self { is_secure: _, host, port: _, path } = self;
        Uri::try_from(format!("http://{host}:{}{path}?{query}", self.port()))
    }

    /// The value of the `Host` header.
    pub(super) fn host_header(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        HeaderValue::try_from(self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_that_of_the_scheme_of_the_user() {
        let endpoint = |is_secure, host: &str, port| Endpoint {
            is_secure,
            host: Host::parse(host).unwrap(),
            port,
            path: "/a/".to_owned(),
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

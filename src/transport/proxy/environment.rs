//! Proxies from environment variables, by the rules that most programs share.

use std::{fmt, net::IpAddr};

use url::Host;

use crate::transport::Endpoint;

/// The variables, as they were read.
#[derive(Clone, Default)]
pub(super) struct Environment {
    http: Option<Variable>,
    https: Option<Variable>,
    all: Option<Variable>,
    none: Vec<Exempt>,
}

#[derive(Clone)]
struct Variable {
    name: &'static str,
    value: String,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exempt {
    Everything,
    /// The address, and the length of the prefix in bits.
    Network(IpAddr, u8),
    /// A domain with all its subdomains, in lower case and without dots at its ends.
    Domain(String),
}

/// Shows no URL of a proxy, which may have a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, https, all, none } = self;
        let set = [http, https, all].into_iter().flatten().map(|variable| variable.name);
        f.debug_struct("Environment")
            .field("set", &set.collect::<Vec<_>>())
            .field("none", none)
            .finish()
    }
}

impl Environment {
    pub(super) fn read(value: impl Fn(&str) -> Option<String>) -> Self {
        // A CGI program gets the headers of a request as variables, and a header `Proxy` as `HTTP_PROXY`.
        if value("REQUEST_METHOD").is_some() {
            return Self::default();
        }
        let read = |names: [&'static str; 2]| {
            let read = |name| value(name).map(|value| value.trim().to_owned());
            names.into_iter().find_map(|name| {
                let value = read(name).filter(|value| !value.is_empty())?;
                Some(Variable { name, value })
            })
        };
        let none = read(["NO_PROXY", "no_proxy"]);
        Self {
            http: read(["HTTP_PROXY", "http_proxy"]),
            https: read(["HTTPS_PROXY", "https_proxy"]),
            all: read(["ALL_PROXY", "all_proxy"]),
            none: none.map(|none| Exempt::list(&none.value)).unwrap_or_default(),
        }
    }

    /// The variable that names the proxy for this server, and the proxy.
    pub(super) fn proxy(&self, endpoint: &Endpoint) -> Option<(&'static str, &str)> {
        if self.none.iter().any(|exempt| exempt.has(&endpoint.host)) {
            return None;
        }
        let own = if endpoint.is_secure { &self.https } else { &self.http };
        let variable = own.as_ref().or(self.all.as_ref())?;
        Some((variable.name, &variable.value))
    }
}

impl Exempt {
    fn list(text: &str) -> Vec<Self> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(Self::parse).collect()
    }

    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::Everything;
        }
        let (address, prefix) = entry.split_once('/').unwrap_or((entry, ""));
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(address).parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            if prefix.is_empty() {
                return Self::Network(address, bits);
            }
            if let Some(prefix) = prefix.parse().ok().filter(|prefix| *prefix <= bits) {
                return Self::Network(address, prefix);
            }
        }
        Self::Domain(entry.trim_matches('.').to_ascii_lowercase())
    }

    fn has(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Network(IpAddr::V4(network), prefix), Host::Ipv4(address)) => {
                let bits = u32::from(*network) ^ u32::from(*address);
                bits.leading_zeros() >= u32::from(*prefix)
            }
            (Self::Network(IpAddr::V6(network), prefix), Host::Ipv6(address)) => {
                let bits = u128::from(*network) ^ u128::from(*address);
                bits.leading_zeros() >= u32::from(*prefix)
            }
            (Self::Domain(domain), Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let above = name.strip_suffix(domain.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn environment(variables: Variables<'_>) -> Environment {
        Environment::read(|name| {
            let found = variables.iter().find(|(other, _)| *other == name)?;
            Some(found.1.to_owned())
        })
    }

    /// The proxy for a server, if there is one.
    fn proxy(variables: Variables<'_>, url: &str) -> Option<String> {
        let (scheme, host) = url.split_once("://").unwrap();
        let host = Host::parse(host).unwrap();
        let endpoint = Endpoint::new(scheme == "https", host, None, "/");
        environment(variables).proxy(&endpoint).map(|(_, proxy)| proxy.to_owned())
    }

    #[test]
    fn each_scheme_has_a_variable_and_both_have_another_one() {
        let all: Variables<'_> =
            &[("HTTP_PROXY", "http:1"), ("HTTPS_PROXY", "https:1"), ("ALL_PROXY", "all:1")];
        for (variables, http, https) in [
            (all, Some("http:1"), Some("https:1")),
            (&all[..1], Some("http:1"), None),
            (&all[1..], Some("all:1"), Some("https:1")),
            (&all[2..], Some("all:1"), Some("all:1")),
            (&[], None, None),
            (&[("http_proxy", "lower"), ("https_proxy", "s")], Some("lower"), Some("s")),
            (&[("http_proxy", "lower"), ("HTTP_PROXY", "upper")], Some("upper"), None),
            (&[("http_proxy", "lower"), ("HTTP_PROXY", "")], Some("lower"), None),
            (&[("all_proxy", " all "), ("HTTPS_PROXY", " ")], Some("all"), Some("all")),
            (&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "x"), ("all_proxy", "x")], None, None),
            (&[("HTTP_PROXY", "x"), ("NO_PROXY", "*")], None, None),
            (&[("HTTP_PROXY", "x"), ("no_proxy", "b.test, a.test")], None, None),
        ] {
            assert_eq!(proxy(variables, "http://a.test").as_deref(), http, "{variables:?}");
            assert_eq!(proxy(variables, "https://a.test").as_deref(), https, "{variables:?}");
        }
    }

    #[test]
    fn a_server_may_be_exempt() {
        let with = |none: &str, host: &str| {
            let variables = [("ALL_PROXY", "p.test"), ("NO_PROXY", none)];
            proxy(&variables, &format!("https://{host}")).is_none()
        };
        for (none, exempt, others) in [
            (
                "10.0.0.0/8, .internal.test,localhost,::1",
                &["x.internal.test", "internal.test", "10.1.2.3", "[::1]", "localhost"][..],
                &["a.test", "notinternal.test", "11.0.0.1", "[::2]", "localhost.test"][..],
            ),
            ("Example.COM", &["example.com", "a.b.example.com", "example.com."], &["ample.com"]),
            ("1.2.3.4,[::2]", &["1.2.3.4", "[::2]"], &["1.2.3.5", "1.2.3.4.test"]),
            ("192.168.1.9/24", &["192.168.1.1"], &["192.168.2.1"]),
            ("0.0.0.0/0", &["9.9.9.9"], &["[::1]", "a.test"]),
            ("fd00::/8", &["[fd12::1]"], &["[fe80::1]"]),
            ("10.0.0.0/33,a/b, ,,", &[], &["10.0.0.1", "a", "b"]),
            ("*", &["a.test", "127.0.0.1", "[::1]"], &[]),
            ("*.a.test", &[], &["b.a.test"]),
            ("", &[], &["localhost", "127.0.0.1"]),
        ] {
            for host in exempt {
                assert!(with(none, host), "{none}: {host}");
            }
            for host in others {
                assert!(!with(none, host), "{none}: {host}");
            }
        }
    }

    #[test]
    fn debug_shows_which_variables_are_set_and_no_password() {
        let variables = [("ALL_PROXY", "http://u:s3cret@p.test"), ("NO_PROXY", "a.test")];
        let debug = format!("{:?}", environment(&variables));
        assert!(debug.contains("ALL_PROXY") && debug.contains("a.test"), "{debug}");
        assert!(!debug.contains("s3cret"), "{debug}");
    }
}

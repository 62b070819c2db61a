use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::crypto::ring;

use super::*;

/// A certificate that signs itself, and its key.
fn pair() -> (String, String) {
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn domain(name: &str) -> Host {
    Host::Domain(name.to_owned())
}

fn session(tls: Tls) -> Result<Session, TlsError> {
    Tls::session(Some(tls), &domain("a.test"), "a.test")
}

fn refused(tls: Tls) -> (&'static str, String) {
    let TlsError { option, error } = session(tls).unwrap_err();
    (option, error)
}

#[test]
fn an_option_that_cannot_be_used_is_named_with_what_is_wrong() {
    let (pem, key) = pair();
    let (_, other) = pair();
    let cut = &pem[..pem.len() / 2];
    let no_der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let with = |chain: &str, key: &str| Tls::new().client_certificate(chain, key);
    let own = || {
        let provider = Arc::new(ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    };
    let mut http2 = own();
    http2.alpn_protocols = vec![b"h2".to_vec(), HTTP.to_vec()];
    for (tls, option, what) in [
        (Tls::new().add_ca_pem(""), "add_ca_pem", "BEGIN CERTIFICATE"),
        (Tls::new().add_ca_pem(key.as_str()), "add_ca_pem", "BEGIN CERTIFICATE"),
        (Tls::new().add_ca_pem(&b"\x30\x82\x01"[..]), "add_ca_pem", "BEGIN CERTIFICATE"),
        (Tls::new().add_ca_pem(cut), "add_ca_pem", "cut off"),
        (Tls::new().add_ca_pem(no_der), "add_ca_pem", "cannot be read"),
        (Tls::new().add_ca_file("/no/such.pem"), "add_ca_file", "/no/such.pem: No such file"),
        (Tls::new().only_added_cas(), "only_added_cas", "none is added"),
        (with("", &key), CLIENT_CERTIFICATE, "the chain: it has no -----BEGIN CERTIFICATE-----"),
        (with(&pem, ""), CLIENT_CERTIFICATE, "the key: it has no -----BEGIN PRIVATE KEY-----"),
        (with(&pem, &pem), CLIENT_CERTIFICATE, "the key: it has no -----BEGIN PRIVATE KEY-----"),
        (with(&pem, &key[..90]), CLIENT_CERTIFICATE, "the key: it is not in PEM"),
        (with(&pem, &other), CLIENT_CERTIFICATE, "the key does not belong"),
        (Tls::new().server_name("a b"), "server_name", "neither a host name nor an IP address"),
        (Tls::new().server_name(""), "server_name", "neither a host name nor an IP address"),
        (Tls::from_config(http2), "from_config", "alpn_protocols"),
        (Tls::from_config(own()).add_ca_pem(pem.as_str()), "from_config", "itself"),
        (Tls::from_config(own()).danger_accept_any_certificate(), "from_config", "itself"),
    ] {
        // The client's certificate is looked at behind the authorities of the system, if there are any.
        let tls = if option == CLIENT_CERTIFICATE {
            tls.add_ca_pem(pem.as_str()).only_added_cas()
        } else {
            tls
        };
        let (named, error) = refused(tls);
        assert_eq!(named, option, "{error}");
        assert!(error.contains(what), "{option}: {error}");
        for secret in key.lines().chain(other.lines()).filter(|line| !line.contains("----")) {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn the_name_is_the_host_of_the_url_unless_it_is_set() {
    let name = |set: Option<&str>, host: Host| {
        let tls = Tls::new().danger_accept_any_certificate();
        let tls = set.into_iter().fold(tls, Tls::server_name);
        Tls::session(Some(tls), &host, "").map(|session| session.name.to_str().into_owned()).ok()
    };
    for (set, host, expected) in [
        (None, "a.test", Some("a.test")),
        (None, "127.0.0.1", Some("127.0.0.1")),
        (None, "[::1]", Some("::1")),
        (None, "my_service.local.", Some("my_service.local")),
        (Some("b.test"), "a.test", Some("b.test")),
        (Some("[::1]"), "a.test", Some("::1")),
        (Some("10.0.0.1"), "a.test", Some("10.0.0.1")),
        (Some("b.test:443"), "a.test", None),
        (Some("https://b.test"), "a.test", None),
    ] {
        assert_eq!(name(set, Host::parse(host).unwrap()).as_deref(), expected, "{set:?} {host}");
    }
}

#[test]
fn clones_share_what_the_options_come_to_until_one_of_them_changes() {
    let (pem, _) = pair();
    let tls = Tls::new().add_ca_pem(pem.as_str()).only_added_cas();
    let config = |tls: &Tls| {
        let session = session(tls.clone()).unwrap();
        Arc::clone(session.connector.config())
    };
    let first = config(&tls);
    assert!(Arc::ptr_eq(&first, &config(&tls.clone().server_name("b.test"))));
    assert!(!Arc::ptr_eq(&first, &config(&tls.clone().add_ca_pem(pem.as_str()))));
    assert_eq!(first.alpn_protocols, [HTTP]);
}

#[test]
fn debug_shows_no_certificate_and_no_key() {
    let tls = Tls::new().add_ca_pem("s3cret").client_certificate("s3cret", "s3cret");
    let debug = format!("{:?}", tls.server_name("a.test"));
    assert!(debug.contains("client_certificate: true") && debug.contains("a.test"), "{debug}");
    assert!(!debug.contains("s3cret") && !debug.contains("115, 51"), "{debug}");
}

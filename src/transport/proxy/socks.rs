//! SOCKS 5: RFC 1928, and RFC 1929 for the user and the password.
//!
//! ```text
//! 05 count method…                        05 method         00: nothing, 02: user and password
//! 01 length user length password          01 status         if it is 02; status 00 is good
//! 05 01 00 kind address port              05 code 00 kind address port     code 00 is good
//! ```
//!
//! An address has a kind: 01 for the 4 bytes of IPv4, 04 for the 16 of IPv6, and 03 for a name, after
//! its length in one byte. A port has two bytes.

use actix_codec::{AsyncRead, AsyncWrite};
use url::Host;

use super::{Login, read_exact, write_all};
use crate::proto::proxy_failure::ProxyFailure;

const VERSION: u8 = 5;
/// The version of the subnegotiation with user and password.
const LOGIN_VERSION: u8 = 1;
const NOTHING: u8 = 0;
const LOGIN: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// The kind of authentication of a proxy that accepts none of those that were offered.
const UNNAMED: &str = "of a kind that it does not name";

/// Asks for a connection to the server.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &Host,
    port: u16,
    login: Option<&Login>,
) -> Result<(), ProxyFailure> {
    let request = request(host, port)?;
    let methods: &[u8] =
        if login.is_some() { &[VERSION, 2, NOTHING, LOGIN] } else { &[VERSION, 1, NOTHING] };
    write_all(stream, methods).await?;
    let mut chosen = [0; 2];
    read_exact(stream, &mut chosen).await?;
    if let Some(login) = method(chosen, login)? {
        write_all(stream, &login.message()).await?;
        let mut answer = [0; 2];
        read_exact(stream, &mut answer).await?;
        let [_, status] = answer;
        if status != 0 {
            return Err(ProxyFailure::CredentialsRefused);
        }
    }
    write_all(stream, &request).await?;
    let mut answer = [0; 4];
    read_exact(stream, &mut answer).await?;
    // The rest is the address from which the proxy connects, which is not needed.
    let rest = if let Some(length) = reply(answer)? {
        length
    } else {
        let mut length = [0];
        read_exact(stream, &mut length).await?;
        let [length] = length;
        usize::from(length)
    };
    let mut rest = vec![0; rest.saturating_add(2)];
    read_exact(stream, &mut rest).await
}

fn request(host: &Host, port: u16) -> Result<Vec<u8>, ProxyFailure> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host {
        Host::Ipv4(address) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Host::Ipv6(address) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Host::Domain(name) => {
            // The length was checked at the start.
            let too_long = |_| ProxyFailure::Socks(8);
            request.extend([NAME, u8::try_from(name.len()).map_err(too_long)?]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// The login, if it must be sent.
fn method(
    [version, chosen]: [u8; 2],
    login: Option<&Login>,
) -> Result<Option<&Login>, ProxyFailure> {
    check_version(version)?;
    match (chosen, login) {
        (NOTHING, _) => Ok(None),
        (LOGIN, Some(login)) => Ok(Some(login)),
        (NO_METHOD, None) => Err(ProxyFailure::CredentialsRequired),
        (NO_METHOD, Some(_)) => Err(ProxyFailure::UnsupportedAuth(UNNAMED.to_owned())),
        (other, _) => Err(ProxyFailure::Malformed(format!(
            "it chose authentication {other:#04x}, which was not offered"
        ))),
    }
}

fn check_version(version: u8) -> Result<(), ProxyFailure> {
    match version {
        VERSION => Ok(()),
        b'H' => Err(ProxyFailure::Malformed("it seems to speak HTTP: write http://".to_owned())),
        other => Err(ProxyFailure::Malformed(format!("it begins with byte {other:#04x}"))),
    }
}

impl Login {
    fn message(&self) -> Vec<u8> {
        let mut message = vec![LOGIN_VERSION];
        for part in [&self.user, &self.password] {
            // The length was checked at the start.
            let length = u8::try_from(part.len()).unwrap_or(u8::MAX);
            message.push(length);
            message.extend(part.iter().take(length.into()));
        }
        message
    }
}

/// The length of the address that follows; `None` if it is in the next byte.
fn reply([version, code, _, kind]: [u8; 4]) -> Result<Option<usize>, ProxyFailure> {
    check_version(version)?;
    match (code, kind) {
        (0, IPV4) => Ok(Some(4)),
        (0, IPV6) => Ok(Some(16)),
        (0, NAME) => Ok(None),
        (0, other) => {
            Err(ProxyFailure::Malformed(format!("it has an address of the kind {other:#04x}")))
        }
        (code, _) => Err(ProxyFailure::Socks(code)),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn login() -> Login {
        Login { user: b"me".to_vec(), password: b"pw".to_vec() }
    }

    /// The outcome of the request if the proxy sends this answer and closes, the request that it got, and the
    /// bytes after the answer.
    async fn ask(
        host: &str,
        answer: &[u8],
        login: Option<&Login>,
    ) -> (Result<(), ProxyFailure>, Vec<u8>, Vec<u8>) {
        let (mut here, mut there) = duplex(1 << 10);
        there.write_all(answer).await.unwrap();
        there.shutdown().await.unwrap();
        let outcome = connect(&mut here, &Host::parse(host).unwrap(), 258, login).await;
        let (mut rest, mut request) = (Vec::new(), Vec::new());
        here.read_to_end(&mut rest).await.unwrap();
        drop(here);
        there.read_to_end(&mut request).await.unwrap();
        (outcome, request, rest)
    }

    #[actix::test]
    async fn the_request_has_the_name_or_the_address_of_the_server() {
        let good = [5, 0, 5, 0, 0, 1, 9, 9, 9, 9, 9, 9];
        for (host, address) in [
            ("a.test", &b"\x03\x06a.test"[..]),
            ("1.2.3.4", &[1, 1, 2, 3, 4]),
            ("[::7]", &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
        ] {
            let (outcome, request, _) = ask(host, &good, None).await;
            assert_eq!(outcome, Ok(()));
            assert_eq!(request, [&[5, 1, 0, 5, 1, 0], address, &[1, 2]].concat());
        }
        let answer = [&[5, 2, 1, 0][..], &good[2..]].concat();
        let (outcome, request, _) = ask("1.2.3.4", &answer, Some(&login())).await;
        assert_eq!(outcome, Ok(()));
        assert_eq!(request[..11], *b"\x05\x02\x00\x02\x01\x02me\x02pw");
        // A name of 300 bytes does not fit.
        let (outcome, request, _) = ask(&"a.".repeat(150), &good, None).await;
        assert_eq!((outcome, request.len()), (Err(ProxyFailure::Socks(8)), 0));
    }

    #[actix::test]
    async fn the_answer_ends_behind_its_address() {
        for address in [
            &[1, 9, 9, 9, 9, 9, 9][..],
            &[3, 0, 9, 9],
            &[3, 2, b'a', b'b', 9, 9],
            &[4, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
        ] {
            let answer = [&[5, 0, 5, 0, 0], address, b"hello"].concat();
            let (outcome, _, rest) = ask("a.test", &answer, None).await;
            assert_eq!((outcome, &rest[..]), (Ok(()), &b"hello"[..]), "{address:?}");
        }
    }

    #[actix::test]
    async fn each_refusal_has_a_kind_of_its_own() {
        let malformed = |what: &str| ProxyFailure::Malformed(what.to_owned());
        for (answer, has_login, expected) in [
            (&[5, 0xff][..], false, ProxyFailure::CredentialsRequired),
            (&[5, 0xff], true, ProxyFailure::UnsupportedAuth(UNNAMED.to_owned())),
            (&[5, 2, 1, 1], true, ProxyFailure::CredentialsRefused),
            (&[5, 0, 5, 5, 0, 1], false, ProxyFailure::Socks(5)),
            (&[5, 0, 5, 200, 0, 1], false, ProxyFailure::Socks(200)),
            (&[5, 2], false, malformed("it chose authentication 0x02, which was not offered")),
            (b"HTTP/1.1 400", false, malformed("it seems to speak HTTP: write http://")),
            (&[4, 90], false, malformed("it begins with byte 0x04")),
            (&[5, 0, 5, 0, 0, 2, 9], false, malformed("it has an address of the kind 0x02")),
            (&[], false, ProxyFailure::NoAnswer),
            (&[5], false, ProxyFailure::NoAnswer),
            (&[5, 0, 5, 0, 0, 1, 9, 9], false, ProxyFailure::NoAnswer),
        ] {
            let login = has_login.then(login);
            let (outcome, ..) = ask("a.test", answer, login.as_ref()).await;
            assert_eq!(outcome, Err(expected), "{answer:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_proxy_answers_is_read_or_refused(
            begin in proptest::bool::ANY,
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        ) {
            let begin: &[u8] = if begin { &[5, 0, 5, 0, 0] } else { &[] };
            let answer = [begin, &bytes].concat();
            let (_, _, rest) = ask("a.test", &answer, Some(&login())).now_or_never().unwrap();
            assert!(answer.ends_with(&rest));
        }
    }
}

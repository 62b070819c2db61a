//! HTTP proxies: the method `CONNECT` (RFC 9110, section 9.3.6), with or without TLS to the proxy.
//!
//! ```text
//! CONNECT host:port HTTP/1.1      HTTP/1.1 200 Connection established
//! Host: host:port                                                       (and from here on the server)
//! Proxy-Authorization: Basic …
//! ```

use actix_codec::{AsyncRead, AsyncWrite, ReadBuf};
use futures::FutureExt as _;
use url::Host;

use super::{Login, fill, read_exact, write_all};
use crate::{
    display::{Excerpt, brief},
    proto::proxy_failure::ProxyFailure,
    runtime::clock::within,
    transport::{
        refusal::{MAX_BODY, PATIENCE, Words},
        request::basic_credentials,
    },
};

/// The most bytes of the head of a response,
const MAX_HEAD: usize = 8 << 10;
/// and the most heads: interim responses (1xx) come before the final one.
const MAX_HEADS: usize = 9;

/// The beginning of every response.
const BEGIN: &[u8] = b"HTTP/1.";

/// Asks for a connection to the server.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &Host,
    port: u16,
    login: Option<&Login>,
) -> Result<(), ProxyFailure> {
    let token = login.map(|login| basic_credentials(&login.user, &login.password));
    let authorization =
        token.as_ref().map(|token| format!("Proxy-Authorization: Basic {token}\r\n"));
    let request = format!(
        "CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{}\r\n",
        authorization.unwrap_or_default()
    );
    write_all(stream, request.as_bytes()).await?;
    for _ in 0..MAX_HEADS {
        let head = Head::parse(&read_head(stream).await?)?;
        match head.status {
            100 | 102..=199 => {}
            200..=299 => return Ok(()),
            // Tinyproxy answers a wrong password with 401, like a server.
            401 | 407 => return Err(head.unauthorized(login.is_some())),
            status => {
                let body = body(stream, &head).await;
                let says = Words::shown(&body);
                // The response may repeat the request, with the password.
                let is_echo = login.zip(token).is_some_and(|(login, token)| {
                    finds(&body, token.as_bytes()) || finds(&body, &login.password)
                });
                let says = says.filter(|_| !is_echo);
                return Err(ProxyFailure::Status { status, says });
            }
        }
    }
    Err(ProxyFailure::Malformed(format!("there are {MAX_HEADS} interim answers (1xx) and more")))
}

fn finds(text: &[u8], sought: &[u8]) -> bool {
    !sought.is_empty() && text.windows(sought.len()).any(|part| part == sought)
}

/// The head of a response, up to its blank line. It is read byte by byte: the bytes after it may be
/// the server's.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, ProxyFailure> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        read_exact(stream, &mut byte).await?;
        head.extend(byte);
        if !is_http(&head) {
            // A few more bytes, for people to recognise what it is. There may never be a blank line.
            let mut more = [0; 60];
            let mut more = ReadBuf::new(&mut more);
            let _: Option<Result<(), ProxyFailure>> = fill(stream, &mut more).now_or_never();
            head.extend(more.filled());
            return Err(ProxyFailure::Malformed(alien(&head)));
        }
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(head);
        }
        if head.len() >= MAX_HEAD {
            let what = format!("its headers have more than {MAX_HEAD} bytes");
            return Err(ProxyFailure::Malformed(what));
        }
    }
}

/// Whether a response may begin like this.
fn is_http(begin: &[u8]) -> bool {
    begin.iter().zip(BEGIN).all(|(found, expected)| found == expected)
}

/// A name for what is not HTTP.
fn alien(begin: &[u8]) -> String {
    match begin.first() {
        Some(5) => "it speaks SOCKS: write socks5://".to_owned(),
        Some(0x15 | 0x16) => "it speaks TLS: write https://".to_owned(),
        _ => format!("it begins with {}", Excerpt(&String::from_utf8_lossy(begin))),
    }
}

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<usize>,
    is_chunked: bool,
    /// The kinds of authentication that it offers.
    kinds: Vec<String>,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self, ProxyFailure> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).filter(|status| status.len() == 3);
        let status = status.and_then(|status| status.parse().ok());
        let has_begin = first.as_bytes().starts_with(BEGIN);
        let status = status.filter(|status| has_begin && (100..=599).contains(status));
        let Some(status) = status else {
            let what = format!("it begins with {}", Excerpt(first));
            return Err(ProxyFailure::Malformed(what));
        };
        let mut parsed = Self { status, length: None, is_chunked: false, kinds: Vec::new() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => parsed.length = value.parse().ok(),
                "transfer-encoding" => parsed.is_chunked = true,
                "proxy-authenticate" => {
                    let kind = value.split([' ', ',']).next().unwrap_or_default();
                    parsed.kinds.push(kind.to_owned());
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    fn unauthorized(self, has_login: bool) -> ProxyFailure {
        let has_basic = self.kinds.iter().any(|kind| kind.eq_ignore_ascii_case("basic"));
        if !has_basic && !self.kinds.is_empty() {
            return ProxyFailure::UnsupportedAuth(brief(&self.kinds.join(", ")));
        }
        if has_login { ProxyFailure::CredentialsRefused } else { ProxyFailure::CredentialsRequired }
    }
}

/// The page that comes with a refusal, as much of it as comes soon.
async fn body<S: AsyncRead + Unpin>(stream: &mut S, head: &Head) -> Vec<u8> {
    let mut body = vec![0; head.length.unwrap_or(MAX_BODY).min(MAX_BODY)];
    let mut buffer = ReadBuf::new(&mut body);
    // If the time is over, the part that has come is used.
    let _: Option<Result<(), ProxyFailure>> = within(PATIENCE, fill(stream, &mut buffer)).await;
    let length = buffer.filled().len();
    body.truncate(length);
    if head.is_chunked {
        // Skips the line with the length of the first chunk.
        return body.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default().to_vec();
    }
    body
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// The outcome of the request if the proxy sends this answer and closes, the request that it got, and the
    /// bytes after the answer.
    async fn ask(
        answer: &[u8],
        login: Option<&Login>,
    ) -> (Result<(), ProxyFailure>, String, Vec<u8>) {
        let (mut here, mut there) = duplex(1 << 20);
        there.write_all(answer).await.unwrap();
        there.shutdown().await.unwrap();
        let host = Host::parse("server.test").unwrap();
        let outcome = connect(&mut here, &host, 443, login).await;
        let mut rest = Vec::new();
        here.read_to_end(&mut rest).await.unwrap();
        drop(here);
        let mut request = String::new();
        there.read_to_string(&mut request).await.unwrap();
        (outcome, request, rest)
    }

    fn login() -> Login {
        Login { user: b"Aladdin".to_vec(), password: b"open sesame".to_vec() }
    }

    #[actix::test]
    async fn the_request_names_the_server_and_the_answer_ends_with_its_head() {
        for answer in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200\r\n\r\n",
            "HTTP/1.1 299 \r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let (outcome, request, rest) = ask(format!("{answer}hello").as_bytes(), None).await;
            assert_eq!(outcome, Ok(()), "{answer}");
            assert_eq!(
                request,
                "CONNECT server.test:443 HTTP/1.1\r\nHost: server.test:443\r\n\r\n"
            );
            assert_eq!(rest, b"hello");
        }
        let (_, request, _) = ask(b"HTTP/1.1 200 OK\r\n\r\n", Some(&login())).await;
        let header = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        assert!(request.ends_with(header), "{request}");
    }

    #[actix::test]
    async fn each_refusal_has_a_kind_of_its_own() {
        let status = |status, says: Option<&str>| ProxyFailure::Status {
            status,
            says: says.map(str::to_owned),
        };
        let malformed = |what: &str| ProxyFailure::Malformed(what.to_owned());
        let page = "<!DOCTYPE html><html><head><title>Access\nDenied</title></head></html>";
        let basic = "HTTP/1.0 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        let others = "HTTP/1.1 407 No\r\nproxy-authenticate: Negotiate\r\n\
                      proxy-authenticate: NTLM x\r\n\r\n";
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        for (answer, has_login, expected) in [
            (basic, false, ProxyFailure::CredentialsRequired),
            (basic, true, ProxyFailure::CredentialsRefused),
            ("HTTP/1.1 407\r\n\r\n", true, ProxyFailure::CredentialsRefused),
            ("HTTP/1.0 401 Unauthorized\r\n\r\n", true, ProxyFailure::CredentialsRefused),
            (others, true, ProxyFailure::UnsupportedAuth("Negotiate, NTLM".to_owned())),
            (
                &format!("HTTP/1.1 403 Forbidden\r\n\r\n{page}"),
                false,
                status(403, Some("Access\\nDenied")),
            ),
            (
                &format!("HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n80\r\n{page}"),
                false,
                status(500, Some("Access\\nDenied")),
            ),
            ("HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno more", false, status(503, Some("no"))),
            ("HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n", false, status(302, None)),
            ("HTTP/1.1 101 Switching\r\n\r\n", false, status(101, None)),
            ("HTTP/1.1 500 X\r\n\r\nwhat is open sesame?", true, status(500, None)),
            ("HTTP/1.1 500 X\r\n\r\nBasic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", true, status(500, None)),
            ("", false, ProxyFailure::NoAnswer),
            ("HTTP/1.1 200 OK\r\n", false, ProxyFailure::NoAnswer),
            ("\u{5}\u{0}", false, malformed("it speaks SOCKS: write socks5://")),
            ("SSH-2.0-x\r\n", false, malformed(r#"it begins with "SSH-2.0-x\r\n""#)),
            ("HTTP/2 200\r\n\r\n", false, malformed(r#"it begins with "HTTP/2 200\r\n\r\n""#)),
            ("HTTP/1.1 2000\r\n\r\n", false, malformed("it begins with \"HTTP/1.1 2000\"")),
            ("HTTP/1.1 +20\r\n\r\n", false, malformed("it begins with \"HTTP/1.1 +20\"")),
            (&long, false, malformed("its headers have more than 8192 bytes")),
        ] {
            let login = has_login.then(login);
            let (outcome, ..) = ask(answer.as_bytes(), login.as_ref()).await;
            assert_eq!(outcome, Err(expected), "{answer:.99}");
        }
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000);
        let (outcome, ..) = ask(interim.as_bytes(), None).await;
        assert!(matches!(outcome, Err(ProxyFailure::Malformed(_))), "{outcome:?}");
    }

    #[actix::test]
    async fn a_page_without_an_end_is_not_waited_for() {
        let (mut here, mut there) = duplex(1 << 20);
        there.write_all(b"HTTP/1.1 403 No\r\n\r\nnot here").await.unwrap();
        let host = Host::parse("server.test").unwrap();
        let outcome = connect(&mut here, &host, 443, None).await;
        let says = Some("not here".to_owned());
        assert_eq!(outcome, Err(ProxyFailure::Status { status: 403, says }));
        let mut endless = b"HTTP/1.1 403 No\r\n\r\n".to_vec();
        endless.resize(1 << 19, b'x');
        let (outcome, _, rest) = ask(&endless, None).await;
        assert!(matches!(outcome, Err(ProxyFailure::Status { status: 403, .. })), "{outcome:?}");
        assert_eq!(rest.len() + 19 + MAX_BODY, endless.len());
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_proxy_answers_is_read_or_refused(
            before in "(HTTP/1\\.1 )?[0-9]{0,4}",
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let answer = [before.as_bytes(), &bytes].concat();
            drop(Head::parse(&answer));
            let asked = async {
                let (mut here, mut there) = duplex(1 << 10);
                there.write_all(&answer).await.unwrap();
                drop(there);
                read_head(&mut here).await
            };
            if let Ok(head) = asked.now_or_never().unwrap() {
                assert!(answer.starts_with(&head));
            }
        }
    }
}

//! Cookies of one session. A balancer uses them to send all requests of a session to the same server.

use std::fmt;

use awc::http::header::{self, HeaderMap, HeaderValue};

/// The most cookies, and the most bytes of one. Others are not kept.
const MAX_COOKIES: usize = 32;
const MAX_BYTES: usize = 4 << 10;

/// Names and values as the server sent them. They go only to that server, so their
/// attributes do not matter, except for those that remove a cookie.
#[derive(Default)]
pub(super) struct Cookies {
    pairs: Vec<(String, String)>,
}

/// Shows no cookies.
impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pairs } = self;
        f.debug_struct("Cookies").field("count", &pairs.len()).finish_non_exhaustive()
    }
}

impl Cookies {
    /// Stores the cookies that a response sets. `true` if it sets any.
    pub(super) fn handle_answer(&mut self, headers: &HeaderMap) -> bool {
        let mut has_any = false;
        for cookie in headers.get_all(header::SET_COOKIE) {
            has_any = true;
            if let Ok(cookie) = cookie.to_str()
                && cookie.len() <= MAX_BYTES
            {
                self.set(cookie);
            }
        }
        has_any
    }

    fn set(&mut self, cookie: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let pair = parts.next().and_then(|pair| pair.split_once('='));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else { return };
        let is_taken_back = parts.any(|attribute| {
            attribute.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("max-age")
                    && (value.trim() == "0" || value.trim().starts_with('-'))
            })
        });
        self.pairs.retain(|(other, _)| other != name);
        if !is_taken_back && self.pairs.len() < MAX_COOKIES {
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The `Cookie` header, merged with the application's own. A cookie of the application takes precedence.
    pub(super) fn header(&self, own: Option<&HeaderValue>) -> Option<HeaderValue> {
        let own = own.and_then(|own| own.to_str().ok()).unwrap_or_default();
        let is_own = |name: &str| {
            own.split(';').any(|pair| pair.split('=').next().is_some_and(|own| own.trim() == name))
        };
        let theirs = self.pairs.iter().filter(|(name, _)| !is_own(name));
        let theirs = theirs.map(|(name, value)| format!("{name}={value}"));
        let all: Vec<String> =
            Some(own.to_owned()).filter(|own| !own.is_empty()).into_iter().chain(theirs).collect();
        if all.is_empty() { None } else { HeaderValue::try_from(all.join("; ")).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(cookies: &[&str]) -> Cookies {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::SET_COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let mut jar = Cookies::default();
        jar.handle_answer(&headers);
        jar
    }

    #[test]
    fn the_last_cookie_of_a_name_goes_back_without_its_attributes() {
        for (cookies, own, expected) in [
            (&[][..], None, None),
            (&["io=1; Path=/; HttpOnly"], None, Some("io=1")),
            (&["io=1", "node=a b=c", "io=2; Max-Age=60"], None, Some("node=a b=c; io=2")),
            (&["io=1", "io=; max-age=0"], None, None),
            (&["", "=1", "none", "a="], None, Some("a=")),
            (&["a=1", "b=2"], Some("b=3; c=4"), Some("b=3; c=4; a=1")),
            (&[], Some("b=3"), Some("b=3")),
        ] {
            let own = own.map(|own| HeaderValue::from_str(own).unwrap());
            let header = jar(cookies).header(own.as_ref());
            assert_eq!(header.as_ref().map(|header| header.to_str().unwrap()), expected);
        }
    }

    #[test]
    fn a_flood_of_cookies_is_not_kept_and_none_is_shown() {
        let mut jar = jar(&[&format!("large={}", "x".repeat(MAX_BYTES))]);
        assert_eq!(jar.header(None), None);
        for number in 0..100 {
            jar.set(&format!("name{number}=s3cret"));
        }
        assert_eq!(jar.pairs.len(), MAX_COOKIES);
        assert!(!format!("{jar:?}").contains("s3cret"));
    }
}

//! A server that refuses the websocket: what it says, of which awc hands on the status only.

use std::{
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use actix_service::Service;
use awc::{
    ConnectRequest, ConnectResponse,
    error::SendRequestError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HttpDate},
    },
    middleware::Transform,
};
use futures::future::LocalBoxFuture;

use crate::alarm;

/// The answer of a server that refuses, as an error for awc to pass on.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// How long the server wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, retry_after: _ } = self;
        write!(f, "refused with {status}")
    }
}

impl Error for Refused {}

/// The middleware that makes a [`Refused`] of such an answer.
pub(super) struct ReadRefusals;

pub(super) struct Reading<S> {
    service: S,
}

impl<S> Transform<S, ConnectRequest> for ReadRefusals
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
    S::Future: 'static,
{
    type Transform = Reading<S>;

    fn new_transform(self, service: S) -> Self::Transform {
        Reading { service }
    }
}

impl<S> Service<ConnectRequest> for Reading<S>
where
    S: Service<ConnectRequest, Response = ConnectResponse, Error = SendRequestError>,
    S::Future: 'static,
{
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = LocalBoxFuture<'static, Result<ConnectResponse, SendRequestError>>;

    actix_service::forward_ready!(service);

    fn call(&self, request: ConnectRequest) -> Self::Future {
        let answer = self.service.call(request);
        Box::pin(async move {
            match answer.await? {
                ConnectResponse::Tunnel(head, _)
                    if head.status != StatusCode::SWITCHING_PROTOCOLS =>
                {
                    let retry_after = retry_after(head.headers());
                    let refused = Refused { status: head.status, retry_after };
                    Err(SendRequestError::Custom(Box::new(refused), Box::new(())))
                }
                answer => Ok(answer),
            }
        })
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    parse(value, alarm::wall())
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date: SystemTime = value.parse::<HttpDate>().ok()?.into();
    // It may be over.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_retry_is_a_number_of_seconds_or_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("007", Some(7)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1 s", None),
            ("soon", None),
            ("1994-11-06T08:50:37Z", None),
        ] {
            assert_eq!(parse(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}

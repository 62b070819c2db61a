//! Stands in for TLS without the cargo feature `rustls`.

use std::io;

use crate::proto::tls_failure::TlsFailure;

/// There is none.
#[derive(Debug, Clone)]
pub(crate) enum Session {}

impl Session {
    pub(super) fn explain(&self, _: &io::Error) -> Option<TlsFailure> {
        match *self {}
    }
}

/// There is none.
pub(super) fn alert(_: &io::Error) -> Option<TlsFailure> {
    None
}

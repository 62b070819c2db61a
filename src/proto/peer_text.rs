//! Texts of the server that are kept, and how long each may be.
//!
//! What a server names may stay in memory as long as the client. So a text of the server is kept only
//! as a [`PeerText`], or in a payload, which counts for the window. A `PeerText` has memory of its
//! own. Errors quote the server too, [cut](crate::display) to one line.

use std::ops::Deref;

use bytestring::ByteString;

use super::ProtocolError;

/// The kinds of texts of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The greeting, in JSON. It is read as a tree, which takes many times the memory.
    Handshake,
    /// The answer to a request to join, in JSON. It is read as a tree, too.
    Reply,
    /// The id of a session.
    SessionId,
    /// The private id of a session, for its recovery.
    PrivateId,
    /// The place of an event in a session, for the recovery of the session.
    Offset,
    /// The name of a namespace.
    Namespace,
    /// Why the server refuses, or what has failed there, in JSON.
    Refusal,
}

/// The longest namespace, in bytes.
pub(crate) const MAX_NAMESPACE: usize = 512;

impl Kind {
    /// The longest accepted text, in bytes.
    pub(crate) const fn limit(self) -> usize {
        match self {
            Self::Handshake | Self::Reply => 64 << 10,
            Self::SessionId | Self::PrivateId => 1 << 10,
            // The offsets of the official adapters have up to 24 bytes.
            Self::Offset => 128,
            Self::Namespace => MAX_NAMESPACE,
            Self::Refusal => 256 << 10,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Reply => "reply to a request to join",
            Self::SessionId => "session id",
            Self::PrivateId => "private session id",
            Self::Offset => "offset",
            Self::Namespace => "namespace",
            Self::Refusal => "refusal",
        }
    }

    pub(crate) fn fits(self, text: &str) -> bool {
        text.len() <= self.limit()
    }

    /// An error if the text is too long.
    pub(crate) fn check(self, text: &str) -> Result<(), ProtocolError> {
        if self.fits(text) {
            return Ok(());
        }
        Err(match self {
            Self::Namespace => ProtocolError::Namespace,
            _ => ProtocolError::TooLong { what: self.name(), limit: self.limit() },
        })
    }

    /// A text to be kept; an error if it is too long.
    pub(crate) fn keep(self, text: &str) -> Result<PeerText, ProtocolError> {
        self.check(text)?;
        Ok(PeerText(text.into()))
    }
}

/// A text of the server, within its limit and in memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PeerText(ByteString);

impl PeerText {
    pub(crate) fn into_inner(self) -> ByteString {
        self.0
    }
}

impl Deref for PeerText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
impl From<&str> for PeerText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_its_limit_is_kept_and_a_longer_one_is_refused() {
        for kind in [
            Kind::Handshake,
            Kind::Reply,
            Kind::SessionId,
            Kind::PrivateId,
            Kind::Offset,
            Kind::Namespace,
            Kind::Refusal,
        ] {
            let longest = "x".repeat(kind.limit());
            assert_eq!(&*kind.keep(&longest).unwrap(), longest);
            let error = kind.keep(&format!("{longest}x")).unwrap_err().to_string();
            let expected = format!("a {} of more than {} bytes", kind.name(), kind.limit());
            assert!(error.contains(&expected), "{error}");
        }
    }
}

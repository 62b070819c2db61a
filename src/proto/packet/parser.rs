//! The choice between the forms of packets: text, or msgpack.

#[cfg(feature = "msgpack")]
use super::Parts;
use super::{Packet, text};
#[cfg(feature = "msgpack")]
use crate::proto::msgpack;
use crate::{
    payload::Payload,
    proto::engine::{Message, Protocol},
};

/// How packets are encoded: the server's `parser` option. It must be the same on both ends.
///
/// It is not negotiated. A server with another parser closes the connection over the first packet,
/// which is [`ConnectFailure::Parser`](crate::ConnectFailure::Parser) from the second time on; or
/// (1.x and 2.x) it sends something first that ends the connection with
/// [`Reason::Protocol`](crate::Reason::Protocol). Events and answers are the same with each parser.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Parser {
    /// JSON, with attachments as messages of their own: the servers' default.
    #[default]
    Json,
    /// Msgpack, as in the npm package `socket.io-msgpack-parser` and in socketioxide: each packet
    /// is one binary message, with its attachments inside. With the cargo feature `msgpack`.
    ///
    /// Values that JSON lacks become their JSON counterparts: `undefined`, NaN and infinities
    /// become null; a `Date` becomes the text of `toISOString`; an integer key becomes text. An
    /// unknown extension type becomes `[type, attachment]`. Other kinds of keys, and nesting deeper
    /// than 128, end the connection with [`ProtocolError::Msgpack`](super::ProtocolError::Msgpack).
    ///
    /// The limits are the same as for JSON: at most
    /// [`max_attachments`](crate::ClientBuilder::max_attachments) attachments (the official parser
    /// takes any number), and both the message and its JSON form are at most
    /// [`max_message_size`](crate::ClientBuilder::max_message_size) bytes.
    #[cfg(feature = "msgpack")]
    Msgpack,
}

impl Parser {
    /// Writes the `n`th of the websocket messages that `packet` is sent as, with `head` as a buffer.
    /// `true` if there are more.
    #[inline]
    pub(crate) fn write(
        self,
        packet: &Packet,
        n: usize,
        protocol: Protocol,
        head: &mut String,
        write: impl FnOnce(Message<'_>),
    ) -> bool {
        match self {
            Self::Json => text::write(&packet.parts(), n, protocol, head, write),
            #[cfg(feature = "msgpack")]
            Self::Msgpack => {
                write(Message::binary(protocol, &msgpack::encode(&packet.parts())));
                false
            }
        }
    }

    /// The size of the largest websocket message that an event or an answer is sent as, if that is
    /// beyond `limit`.
    #[inline]
    pub(crate) fn exceeds(
        self,
        protocol: Protocol,
        namespace: &str,
        id: Option<u64>,
        payload: &Payload,
        limit: u64,
    ) -> Option<u64> {
        match self {
            Self::Json => Some(text::largest_message(protocol, namespace, id, payload)),
            #[cfg(feature = "msgpack")]
            Self::Msgpack => {
                let (json, attachments) = (Some(payload.json()), payload.attachments());
                let parts = Parts { namespace, kind: 2, id, json, attachments };
                // Most are far from it, and need not be written to see that.
                (msgpack::at_most(&parts) > limit)
                    .then(|| Message::binary(protocol, &msgpack::encode(&parts)).size())
            }
        }
        .filter(|&size| size > limit)
    }
}

//! The signs that the server has another parser. It announces none, and this client can only infer it.
//!
//! A server that does not understand the request to join closes the connection without an answer. A server
//! with the right parser may do so once, so the second session in a row is the sign. And servers 2.x
//! with msgpack say in JSON that they have joined this client.

use crate::proto::{
    packet::{Parser, ProtocolError, Refused},
    reason::{ConnectFailure, Reason},
};

#[derive(Debug)]
pub(super) struct ParserMismatch {
    parser: Parser,
    /// Whether a namespace has asked to join in this session.
    is_asked: bool,
    /// Whether packets have come in this session.
    is_heard: bool,
    /// Sessions in a row that the server closed without an answer to a request to join.
    mute: u32,
}

impl ParserMismatch {
    pub(super) fn new(parser: Parser) -> Self {
        Self { parser, is_asked: false, is_heard: false, mute: 0 }
    }

    /// A session begins.
    pub(super) fn begin(&mut self) {
        (self.is_asked, self.is_heard) = (false, false);
    }

    /// A request to join was written.
    pub(super) fn note_request(&mut self) {
        self.is_asked = true;
    }

    /// A packet came.
    #[inline]
    pub(super) fn handle_packet(&mut self) {
        (self.is_heard, self.mute) = (true, 0);
    }

    /// The reason for a message that is not a packet.
    pub(super) fn explain_message(&self, refused: Refused) -> Reason {
        match refused {
            Refused::Protocol(ProtocolError::UnknownType(b'{')) if self.parser == Parser::Json => {
                Reason::Connect(ConnectFailure::Parser(Parser::Json))
            }
            refused => refused.into(),
        }
    }

    /// The reason for the end of a session. `is_closing`: the application has ended it.
    pub(super) fn explain_end(&mut self, reason: Reason, is_closing: bool) -> Reason {
        let is_mute = self.is_asked && !self.is_heard && !is_closing;
        if !is_mute || !matches!(reason, Reason::TransportClose(None | Some(1_000 | 1_005))) {
            self.mute = 0;
            return reason;
        }
        self.mute = self.mute.saturating_add(1);
        if self.mute < 2 {
            return reason;
        }
        Reason::Connect(ConnectFailure::Parser(self.parser))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that the server closes with this code.
    fn session(mismatch: &mut ParserMismatch, code: u16, is_heard: bool) -> Reason {
        mismatch.begin();
        mismatch.note_request();
        if is_heard {
            mismatch.handle_packet();
        }
        mismatch.explain_end(Reason::TransportClose(Some(code)), false)
    }

    #[test]
    fn two_sessions_in_a_row_without_an_answer_are_the_sign() {
        let found = Reason::Connect(ConnectFailure::Parser(Parser::Json));
        let mut mismatch = ParserMismatch::new(Parser::Json);
        for (code, is_heard, is_sign) in [
            (1_000, false, false),
            (1_005, false, true),
            (1_000, true, false),
            (1_000, false, false),
            (1_006, false, false),
            (1_000, false, false),
            (1_000, false, true),
        ] {
            let reason = session(&mut mismatch, code, is_heard);
            assert_eq!(reason == found, is_sign, "{code}, heard: {is_heard}");
        }
        mismatch.begin();
        let reason = mismatch.explain_end(Reason::TransportClose(None), false);
        assert_eq!(reason, Reason::TransportClose(None), "nobody has asked");
    }

    #[test]
    fn json_in_the_place_of_a_packet_is_a_sign() {
        let mismatch = ParserMismatch::new(Parser::Json);
        let of = |kind| mismatch.explain_message(ProtocolError::UnknownType(kind).into());
        assert_eq!(of(b'{'), Reason::Connect(ConnectFailure::Parser(Parser::Json)));
        assert_eq!(of(b'['), Reason::Protocol(ProtocolError::UnknownType(b'[')));
    }
}

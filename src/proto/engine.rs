//! Engine.IO, revisions 4 and 3: what one websocket message means, the handshake, the heartbeat.
//!
//! ```text
//! 0{"sid":…}   open, from the server, first          2…  ping      4…  message, a Socket.IO packet
//! 1            close                                 3…  pong      5, 6  only with long-polling
//! binary       message: an attachment, or a packet (revision 3 puts the byte 04 before it)
//! b…           the same in base64 (revision 3: b4…)
//! ```
//!
//! In revision 4 the server pings and the client answers; in revision 3 it is the other way round.

use std::{
    fmt,
    time::{Duration, Instant},
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::Value;

use super::{
    ProtocolError,
    deadline::deadline_after,
    peer_text::{self, PeerText},
};
use crate::{display::brief, payload::text::Text};

/// A revision of Engine.IO and of the Socket.IO protocol on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Engine.IO 3 and Socket.IO protocol 4: servers 1.x and 2.x, and later ones with
    /// `allowEIO3`.
    Eio3,
    /// Engine.IO 4 and Socket.IO protocol 5: servers 3.x and 4.x.
    Eio4,
}

impl Protocol {
    /// The value of the `EIO` query parameter.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Eio3 => "3",
            Self::Eio4 => "4",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eio3 => "Engine.IO 3 (servers 1.x and 2.x)",
            Self::Eio4 => "Engine.IO 4 (servers 3.x and 4.x)",
        })
    }
}

/// Base64 as servers send it: some leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One whole websocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(ByteString),
    Binary(Bytes),
}

/// What comes from the transport.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Frame(Frame),
    /// The server has read everything before the barrier with this number.
    Confirmed(u64),
    /// The server speaks this revision. With polling, the form of the first response shows it.
    Revision(Protocol),
    /// A websocket has taken the place of polling.
    Upgraded,
}

impl Frame {
    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::Text(text) => text.len(),
            Self::Binary(data) => data.len(),
        };
        u64::try_from(size).unwrap_or(u64::MAX)
    }
}

/// An Engine.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EnginePacket {
    /// The server's greeting, a JSON object.
    Open(Text),
    Close,
    Ping,
    Pong,
    /// A Socket.IO packet.
    Message(Text),
    /// An attachment of the Socket.IO packet before it, or a packet of its own.
    Binary(Bytes),
    /// Upgrade and noop, which have a meaning only with long-polling; and in revision 3, binary frames
    /// that are not messages.
    Idle,
}

/// Reads one websocket message.
pub(crate) fn decode(protocol: Protocol, frame: Frame) -> Result<EnginePacket, ProtocolError> {
    let text = match frame {
        Frame::Text(text) => text,
        Frame::Binary(data) => return Ok(binary(protocol, data)),
    };
    let Some(kind) = text.as_bytes().first().copied() else {
        return Err(ProtocolError::Empty);
    };
    if !kind.is_ascii() {
        return Err(ProtocolError::UnknownEngineType(kind));
    }
    let rest = Text::from(text).skip(1);
    Ok(match kind {
        b'0' => EnginePacket::Open(rest),
        b'1' => EnginePacket::Close,
        b'2' => EnginePacket::Ping,
        b'3' => EnginePacket::Pong,
        b'4' => EnginePacket::Message(rest),
        b'5' | b'6' => EnginePacket::Idle,
        b'b' => {
            let digits = match protocol {
                Protocol::Eio4 => &rest,
                Protocol::Eio3 => match rest.strip_prefix('4') {
                    Some(digits) => digits,
                    None => return Ok(EnginePacket::Idle),
                },
            };
            let data = BASE64.decode(digits).map_err(|_| ProtocolError::Base64)?;
            EnginePacket::Binary(data.into())
        }
        other => return Err(ProtocolError::UnknownEngineType(other)),
    })
}

fn binary(protocol: Protocol, mut data: Bytes) -> EnginePacket {
    if protocol == Protocol::Eio3 {
        // Some servers send such frames, which the official client ignores as well.
        if data.first() != Some(&4) {
            return EnginePacket::Idle;
        }
        drop(data.split_to(1));
    }
    EnginePacket::Binary(data)
}

/// One whole websocket message to be written, from two pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message<'a> {
    Text(&'a str, &'a str),
    Binary(&'a [u8], &'a [u8]),
    /// Not a message to the peer: asks the transport to [confirm](Incoming::Confirmed) that the server has
    /// read everything before it. On a websocket, that takes a ping of the websocket layer; with polling, the
    /// answer to a POST.
    Barrier(u64),
}

impl<'a> Message<'a> {
    /// The message that carries binary data.
    pub(crate) fn binary(protocol: Protocol, data: &'a [u8]) -> Self {
        Self::Binary(binary_prefix(protocol), data)
    }

    /// Its length in bytes. Barriers do not count: they do not belong to this layer.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::Text(first, second) => first.len().saturating_add(second.len()),
            Self::Binary(first, second) => first.len().saturating_add(second.len()),
            Self::Barrier(_) => 0,
        };
        u64::try_from(size).unwrap_or(u64::MAX)
    }
}

/// The bytes before binary data.
pub(crate) fn binary_prefix(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Eio4 => &[],
        Protocol::Eio3 => &[4],
    }
}

pub(crate) const PING: Message<'static> = Message::Text("2", "");
pub(crate) const PONG: Message<'static> = Message::Text("3", "");

/// The server's greeting.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// The engine session's id, which is a secret. Empty if the server has sent none.
    pub(crate) sid: PeerText,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    /// The largest message that the server accepts, in bytes, if it announces a limit, as
    /// servers since 4.5 do.
    pub(crate) max_payload: Option<u64>,
    /// With polling: whether the server offers an upgrade to a websocket.
    pub(crate) has_websocket: bool,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sid: _, ping_interval, ping_timeout, max_payload, has_websocket } = self;
        f.debug_struct("Handshake")
            .field("ping_interval", ping_interval)
            .field("ping_timeout", ping_timeout)
            .field("max_payload", max_payload)
            .field("has_websocket", has_websocket)
            .finish_non_exhaustive()
    }
}

impl Handshake {
    /// Intervals are limited to this range: zero must not make the client spin, and infinity must not
    /// overflow a deadline.
    const INTERVALS: (f64, f64) = (10.0, 86_400_000.0);

    /// This also reads what stubs and other servers send. The official clients look only at
    /// the intervals, and accept a number as text. An interval that is missing, or null, has the default
    /// of the official server.
    pub(crate) fn parse(json: &str) -> Result<Self, ProtocolError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Open {
            #[serde(default)]
            sid: Value,
            #[serde(default)]
            ping_interval: Value,
            #[serde(default)]
            ping_timeout: Value,
            #[serde(default)]
            max_payload: Value,
            #[serde(default)]
            upgrades: Value,
        }
        peer_text::Kind::Handshake.check(json)?;
        // An array would be its members without their names.
        let is_object = json.trim_start().starts_with('{');
        let open: Option<Open> = is_object
            .then(|| serde_json::from_str(json))
            .transpose()
            .map_err(|error| ProtocolError::Handshake(brief(&error)))?;
        let Some(Open { sid, ping_interval, ping_timeout, max_payload, upgrades }) = open else {
            return Err(ProtocolError::Handshake("it is not a JSON object".to_owned()));
        };
        let (min, max) = Self::INTERVALS;
        let interval = |millis: &Value, default: f64| {
            let millis = number(millis).unwrap_or(default).clamp(min, max);
            Duration::try_from_secs_f64(millis / 1000.0)
                .map_err(|error| ProtocolError::Handshake(brief(&error)))
        };
        Ok(Self {
            sid: session_id(&sid).transpose()?.unwrap_or_default(),
            ping_interval: interval(&ping_interval, 25_000.0)?,
            ping_timeout: interval(&ping_timeout, 20_000.0)?,
            max_payload: (!max_payload.is_null()).then(|| {
                // A size is a whole number, whatever type JSON has for it.
                let whole = max_payload.as_u64().or_else(|| {
                    let bytes = number(&max_payload).unwrap_or_default();
                    format!("{:.0}", bytes.max(0.0)).parse().ok()
                });
                // Servers with no limit announce zero. That is an announcement, too.
                whole.filter(|&bytes| bytes > 0).unwrap_or(u64::MAX)
            }),
            has_websocket: upgrades
                .as_array()
                .is_some_and(|upgrades| upgrades.iter().any(|upgrade| upgrade == "websocket")),
        })
    }
}

/// A session's id, which is text; some servers send a number.
pub(super) fn session_id(sid: &Value) -> Option<Result<PeerText, ProtocolError>> {
    match sid {
        Value::String(text) => Some(peer_text::Kind::SessionId.keep(text)),
        Value::Number(number) => Some(peer_text::Kind::SessionId.keep(&number.to_string())),
        _ => None,
    }
}

/// A number, as JSON or as text.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite())
}

impl Handshake {
    /// How long the peer can be silent before the connection is given up.
    pub(crate) fn max_silence(&self) -> Duration {
        self.ping_interval.saturating_add(self.ping_timeout)
    }
}

/// Whether the peer is alive: one deadline, whichever side pings.
///
/// If this side looks only after a deadline has passed, because its thread was blocked or the
/// machine slept, the deadline says nothing about the peer: its ping or its goodbye may be waiting
/// to be read. Then this side is [late](Self::note_lateness): until everything that has come is read, it
/// decides nothing, and writes nothing to a connection that may be gone.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    beat: Beat,
    late: Option<Late>,
}

#[derive(Debug, Clone, Copy)]
struct Late {
    /// When everything that has come is assumed to be read.
    judge: Instant,
    /// The decision is made then, however much there is to read: a living peer has pinged by then.
    until: Instant,
}

impl Late {
    /// Something was read, or can be read: more may follow.
    fn catch_up(&mut self, now: Instant) {
        self.judge = deadline_after(now, CATCH_UP).min(self.until);
    }
}

/// Within this time the system reports what has come. A timer that goes off is proof that it was asked.
const ASK_SYSTEM: Duration = Duration::from_millis(1);

/// How long more may follow after a late read: a peer that found the buffers full continues when it learns
/// that there is room again, which takes a round trip.
const CATCH_UP: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Beat {
    /// Revision 4: the server's next ping must have come by then.
    Listen { until: Instant },
    /// Revision 3: our next ping goes out at this time.
    Rest { until: Instant },
    /// Revision 3: our ping is under way, and something must come back by then. The next ping is due
    /// an interval after this one, whatever comes.
    Asked { until: Instant, since: Instant },
    /// The peer has given this side up at this time, whatever can still be read from it.
    Over { since: Instant },
}

/// What to do when a heartbeat's deadline has passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    /// The peer is gone.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(now: Instant, protocol: Protocol, handshake: &Handshake) -> Self {
        let (interval, timeout) = (handshake.ping_interval, handshake.ping_timeout);
        let beat = match protocol {
            Protocol::Eio4 => {
                Beat::Listen { until: deadline_after(deadline_after(now, interval), timeout) }
            }
            Protocol::Eio3 => Beat::Rest { until: deadline_after(now, interval) },
        };
        Self { interval, timeout, beat, late: None }
    }

    /// How long the peer can be silent before the connection is given up.
    pub(crate) fn max_silence(&self) -> Duration {
        self.interval.saturating_add(self.timeout)
    }

    /// How long the side that pings waits for the answer.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The server pinged. In revision 4, nothing else moves the deadline: the official client
    /// counts only pings, too, and so notices a server that talks but does not listen.
    pub(crate) fn handle_ping(&mut self, now: Instant) {
        if let Beat::Listen { until } = &mut self.beat {
            *until = deadline_after(deadline_after(now, self.interval), self.timeout);
            self.late = None;
        }
    }

    /// Something came. In revision 3, anything is as good as a pong. `true` if the deadline has
    /// changed.
    pub(crate) fn handle_any(&mut self, now: Instant) -> bool {
        if let Beat::Asked { since, .. } = self.beat {
            self.beat = Beat::Rest { until: deadline_after(since, self.interval) };
            self.late = None;
            return true;
        }
        let Some(late) = &mut self.late else { return false };
        late.catch_up(now);
        true
    }

    /// This side was away for longer than the peer waits. What has come is read before anything is decided.
    pub(crate) fn handle_absence(&mut self, now: Instant) {
        self.beat = Beat::Over { since: now };
        self.note_lateness(now, false);
    }

    /// Called whenever this side wakes, and with `is_more` when it has not read all that is there.
    pub(crate) fn note_lateness(&mut self, now: Instant, is_more: bool) {
        if !self.is_late() && !self.is_overdue(now) {
            return;
        }
        match &mut self.late {
            Some(late) if is_more => late.catch_up(now),
            Some(_) => {}
            late => {
                let judge = deadline_after(now, ASK_SYSTEM);
                let until = deadline_after(now, self.interval.saturating_add(self.timeout));
                *late = Some(Late { judge, until });
            }
        }
    }

    /// Whether the connection may be gone without this side having noticed.
    pub(crate) fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// Whether one side gives the other up.
    fn is_overdue(&self, now: Instant) -> bool {
        let end = match self.beat {
            Beat::Listen { until } | Beat::Asked { until, .. } => until,
            Beat::Rest { until } => deadline_after(until, self.timeout),
            Beat::Over { since } => since,
        };
        end <= now
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        match (self.late, &self.beat) {
            (Some(late), _) => late.judge,
            (
                None,
                &(Beat::Listen { until }
                | Beat::Rest { until }
                | Beat::Asked { until, .. }
                | Beat::Over { since: until }),
            ) => until,
        }
    }

    /// When this fraction of the time for a ping will have passed. If nothing has been read
    /// by then, reading must go on.
    pub(crate) fn strain(&self, part: f64) -> Instant {
        let spent = self.timeout.mul_f64(part.clamp(0.0, 1.0));
        match self.beat {
            Beat::Listen { until } | Beat::Asked { until, .. } => {
                until.checked_sub(self.timeout.saturating_sub(spent)).unwrap_or(until)
            }
            Beat::Rest { until } => deadline_after(until, spent),
            Beat::Over { since } => since,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Due {
        if now < self.poll_timeout() {
            return Due::Nothing;
        }
        self.late = None;
        match self.beat {
            Beat::Listen { .. } | Beat::Asked { .. } | Beat::Over { .. } => Due::Dead,
            Beat::Rest { .. } => {
                self.beat = Beat::Asked { until: deadline_after(now, self.timeout), since: now };
                Due::Ping
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn text(text: &str) -> Frame {
        Frame::Text(text.into())
    }

    #[test]
    fn packets_of_both_revisions() {
        assert_eq!([Protocol::Eio3, Protocol::Eio4].map(Protocol::number), ["3", "4"]);
        for protocol in [Protocol::Eio3, Protocol::Eio4] {
            let decode = |frame| decode(protocol, frame);
            assert_eq!(decode(text("0{}")), Ok(EnginePacket::Open("{}".into())));
            assert_eq!(decode(text("1")), Ok(EnginePacket::Close));
            assert_eq!(decode(text("2")), Ok(EnginePacket::Ping));
            assert_eq!(decode(text("2hello")), Ok(EnginePacket::Ping));
            assert_eq!(decode(text("3")), Ok(EnginePacket::Pong));
            assert_eq!(decode(text("40/é,")), Ok(EnginePacket::Message("0/é,".into())));
            assert_eq!(decode(text("6")), Ok(EnginePacket::Idle));
            assert_eq!(decode(text("")), Err(ProtocolError::Empty));
            assert_eq!(decode(text("7")), Err(ProtocolError::UnknownEngineType(b'7')));
            assert_eq!(decode(text("é")), Err(ProtocolError::UnknownEngineType(0xC3)));
            assert_eq!(decode(text("b4?")), Err(ProtocolError::Base64));
        }
    }

    #[test]
    fn attachments_differ_between_the_revisions() {
        let data = Bytes::from_static(&[1, 2, 3]);
        let packet = Ok(EnginePacket::Binary(data.clone()));
        for (protocol, frame, base64) in [
            (Protocol::Eio4, &[1_u8, 2, 3][..], "bAQID"),
            (Protocol::Eio3, &[4, 1, 2, 3], "b4AQID"),
        ] {
            let frame = Frame::Binary(Bytes::from_static(frame));
            let Message::Binary(prefix, rest) = Message::binary(protocol, &data) else {
                panic!("it is binary")
            };
            assert_eq!(Frame::Binary([prefix, rest].concat().into()), frame);
            assert_eq!(decode(protocol, frame), packet);
            assert_eq!(decode(protocol, text(base64)), packet);
        }
        let empty = Frame::Binary(Bytes::new());
        assert_eq!(decode(Protocol::Eio4, empty), Ok(EnginePacket::Binary(Bytes::new())));
    }

    #[test]
    fn padding_of_base64_may_be_left_away() {
        for base64 in ["bAQ==", "bAQ"] {
            let packet = EnginePacket::Binary(Bytes::from_static(&[1]));
            assert_eq!(decode(Protocol::Eio4, text(base64)), Ok(packet), "{base64}");
        }
    }

    #[test]
    fn what_is_binary_and_no_message_is_ignored_in_revision_3() {
        for data in [&b""[..], b"\x01\x02", b"42[\"a\"]", b"\xff"] {
            let frame = Frame::Binary(Bytes::from_static(data));
            assert_eq!(decode(Protocol::Eio3, frame), Ok(EnginePacket::Idle), "{data:?}");
        }
        assert_eq!(decode(Protocol::Eio3, text("b2AQ==")), Ok(EnginePacket::Idle));
    }

    #[test]
    fn a_handshake_is_read_and_its_numbers_are_held_in_bounds() {
        let open = Handshake::parse(
            r#"{"sid":"s3cret","upgrades":["x"],"pingTimeout":20000,"pingInterval":25000,"maxPayload":1000000}"#,
        )
        .unwrap();
        assert_eq!(open.ping_interval, 25 * SECOND);
        assert_eq!(open.ping_timeout, 20 * SECOND);
        assert_eq!(open.max_payload, Some(1_000_000));
        assert!(!format!("{open:?}").contains("s3cret"));

        let odd = Handshake::parse(r#"{"sid":"S","pingTimeout":-1,"pingInterval":1e300}"#).unwrap();
        assert_eq!(odd.ping_timeout, Duration::from_millis(10));
        assert_eq!(odd.ping_interval, 86_400 * SECOND);
        assert_eq!(odd.max_payload, None);

        for bad in ["", "{", "[]", "1", "null", r#"{"pingInterval":1e400}"#] {
            assert!(matches!(Handshake::parse(bad), Err(ProtocolError::Handshake(_))), "{bad}");
        }
    }

    #[test]
    fn what_other_servers_put_into_the_handshake_is_understood() {
        let millis = Duration::from_millis;
        let defaults = (25 * SECOND, 20 * SECOND);
        for (open, sid, (interval, timeout), max) in [
            ("{}", "", defaults, None),
            (r#" {"sid":17,"pingTimeout":null,"maxPayload":null}"#, "17", defaults, None),
            (r#"{"sid":null,"pingInterval":[],"pingTimeout":"NaN"}"#, "", defaults, None),
            (
                r#"{"sid":"","pingInterval":"30000","pingTimeout":" 1.5e3 "}"#,
                "",
                (30 * SECOND, millis(1_500)),
                None,
            ),
            (r#"{"pingInterval":0,"pingTimeout":"inf"}"#, "", (millis(10), 20 * SECOND), None),
            (r#"{"maxPayload":"1000"}"#, "", defaults, Some(1_000)),
            (r#"{"maxPayload":1e3}"#, "", defaults, Some(1_000)),
            (r#"{"maxPayload":0}"#, "", defaults, Some(u64::MAX)),
            (r#"{"maxPayload":-1}"#, "", defaults, Some(u64::MAX)),
            (r#"{"maxPayload":"all"}"#, "", defaults, Some(u64::MAX)),
        ] {
            let expected = Handshake {
                sid: sid.into(),
                ping_interval: interval,
                ping_timeout: timeout,
                max_payload: max,
                has_websocket: false,
            };
            assert_eq!(Handshake::parse(open), Ok(expected), "{open}");
        }
    }

    fn handshake() -> Handshake {
        Handshake {
            sid: "S".into(),
            ping_interval: 25 * SECOND,
            ping_timeout: 20 * SECOND,
            max_payload: None,
            has_websocket: false,
        }
    }

    #[test]
    fn revision_4_waits_for_pings_and_counts_nothing_else() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(start, Protocol::Eio4, &handshake());
        assert_eq!(heart.poll_timeout(), start + 45 * SECOND);
        heart.handle_any(start);
        assert_eq!(heart.poll_timeout(), start + 45 * SECOND);
        heart.handle_ping(start + 25 * SECOND);
        assert_eq!(heart.poll_timeout(), start + 70 * SECOND);
        assert_eq!(heart.strain(0.5), start + 60 * SECOND);
        assert_eq!(heart.handle_timeout(start + 69 * SECOND), Due::Nothing);
        assert_eq!(heart.handle_timeout(start + 70 * SECOND), Due::Dead);
    }

    #[test]
    fn who_was_blocked_reads_what_has_come_before_it_judges() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        for protocol in [Protocol::Eio4, Protocol::Eio3] {
            let mut heart = Heartbeat::new(start, protocol, &handshake());
            let woken = start + 100 * SECOND;
            heart.note_lateness(start + 44 * SECOND, true);
            assert!(!heart.is_late());
            heart.note_lateness(woken, false);
            assert!(heart.is_late());
            assert_eq!(heart.handle_timeout(woken), Due::Nothing);
            // It has asked, and nothing has come: asking again changes nothing.
            heart.note_lateness(woken + millis(1) / 2, false);
            assert_eq!(heart.poll_timeout(), woken + millis(1));
            // There is more than can be read at once.
            heart.note_lateness(woken + millis(1), true);
            assert_eq!(heart.handle_timeout(woken + millis(1)), Due::Nothing);
            // All of it is read, but more may be on its way, as long as what comes is not too old.
            assert!(heart.handle_any(woken + 5 * SECOND));
            heart.note_lateness(woken + 5 * SECOND, false);
            assert_eq!(heart.poll_timeout(), woken + 6 * SECOND);
            assert_eq!(heart.handle_timeout(woken + 5 * SECOND + millis(999)), Due::Nothing);
            // But a flood is not a ping.
            heart.note_lateness(woken + 44 * SECOND, true);
            assert_eq!(heart.poll_timeout(), woken + 45 * SECOND);
            let due = if protocol == Protocol::Eio4 { Due::Dead } else { Due::Ping };
            assert_eq!(heart.handle_timeout(woken + 45 * SECOND), due);
            assert!(!heart.is_late());
        }
        let mut heart = Heartbeat::new(start, Protocol::Eio4, &handshake());
        heart.note_lateness(start + 100 * SECOND, false);
        heart.handle_ping(start + 100 * SECOND);
        assert!(!heart.is_late(), "the server's ping was there");
        assert_eq!(heart.poll_timeout(), start + 145 * SECOND);
    }

    #[test]
    fn revision_3_pings_on_schedule_and_takes_anything_for_an_answer() {
        let start = Instant::now();
        let mut heart = Heartbeat::new(start, Protocol::Eio3, &handshake());
        assert_eq!(heart.handle_timeout(start + 24 * SECOND), Due::Nothing);
        assert_eq!(heart.handle_timeout(start + 25 * SECOND), Due::Ping);
        heart.handle_any(start);
        assert_eq!(heart.poll_timeout(), start + 50 * SECOND, "busy or not, the next ping is due");
        assert_eq!(heart.strain(0.5), start + 60 * SECOND);
        assert_eq!(heart.handle_timeout(start + 50 * SECOND), Due::Ping);
        assert_eq!(heart.strain(0.5), start + 60 * SECOND);
        assert_eq!(heart.handle_timeout(start + 70 * SECOND), Due::Dead);
    }
}

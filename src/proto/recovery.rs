//! Continuing a session where it was lost: connection state recovery, of servers since 4.6.
//!
//! ```text
//! reply to CONNECT   {"sid":…,"pid":"P"}           recovery is on; P is the session's private id
//! each event         ["name",…,"O"]                O is its offset, an argument of the server's own
//! next CONNECT       {"pid":"P","offset":"O",…}    what came after O is sent again, then the reply
//! reply              {"sid":…,"pid":"P"}           the same P: recovered
//! ```
//!
//! Events that ask for an ack, and volatile ones, have no offset. Of the latter, one whose own last
//! argument looks like an offset cannot be told from one with an offset.

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use crate::{
    payload::Payload,
    proto::peer_text::{self, PeerText},
};

/// The longest offset.
const MAX_OFFSET: usize = peer_text::Kind::Offset.limit();
/// How many offsets are remembered, to recognise events that are sent again.
const MAX_SEEN: usize = 1_024;

/// A session that can be continued.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    pid: PeerText,
    /// The offset of the last event; empty before the first.
    offset: String,
    /// Hashes of the last offsets.
    seen: VecDeque<u64>,
}

/// Shows nothing: anybody who has the private id can take the session over.
impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").finish_non_exhaustive()
    }
}

impl Recovery {
    pub(crate) fn new(pid: PeerText, offset: String) -> Self {
        let seen = (!offset.is_empty()).then(|| hash(&offset)).into_iter().collect();
        Self { pid, offset, seen }
    }

    pub(crate) fn is_of(&self, pid: &str) -> bool {
        *self.pid == *pid
    }

    /// The session's private id and the last offset; `None` before the first event, when there is
    /// no place from which a server could continue.
    pub(crate) fn point(&self) -> Option<(&str, &str)> {
        (!self.offset.is_empty()).then_some((&*self.pid, &*self.offset))
    }

    /// Whether an event that the server sends during recovery has come before.
    pub(crate) fn has_seen(&self, payload: &Payload) -> bool {
        offset(payload).is_some_and(|offset| self.seen.contains(&hash(offset)))
    }

    /// An event without an ack came. Says whether it has an offset.
    pub(crate) fn note(&mut self, payload: &Payload) -> bool {
        let Some(offset) = offset(payload) else { return false };
        self.offset.clear();
        self.offset.push_str(offset);
        if self.seen.len() == MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(hash(offset));
        true
    }
}

/// An offset as it is remembered: eight bytes, however long it is.
pub(crate) fn hash(offset: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(offset)
}

/// The last argument, if it is a string that can be an offset. Offsets are made of a clock, a counter
/// or the id of a database, so they have no spaces or escapes, and are short.
pub(crate) fn offset(payload: &Payload) -> Option<&str> {
    let text = payload.arguments().strip_suffix("\"]")?;
    let tail = text.len().saturating_sub(MAX_OFFSET.saturating_add(1));
    let quote = text.as_bytes().get(tail..)?.iter().rposition(|&byte| byte == b'"')?;
    let (before, quoted) = text.split_at_checked(tail.saturating_add(quote))?;
    let is_argument = matches!(before.trim_end().as_bytes().last(), None | Some(b','));
    let offset = quoted.get(1..)?;
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    (is_argument && !offset.is_empty() && offset.bytes().all(fits)).then_some(offset)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::encode_event;
    use crate::payload::event_e;

    #[test]
    fn an_offset_is_a_plausible_last_argument() {
        let of = |arguments: serde_json::Value| {
            // An array stands for all arguments.
            let serde_json::Value::Array(arguments) = arguments else { panic!("no arguments") };
            let json = format!(
                "[\"e\"{}]",
                arguments.iter().fold(String::new(), |all, one| all + "," + &one.to_string())
            );
            offset(&event_e(&json, Vec::new())).map(str::to_owned)
        };
        for plausible in
            ["Q84HHan", "Q84HHan.1", "1702000000000-0", "65a1b2c3d4e5f60718293a4b", "7"]
        {
            assert_eq!(of(json!([plausible])).as_deref(), Some(plausible));
            assert_eq!(of(json!([1, {"a": "b"}, plausible])).as_deref(), Some(plausible));
            assert_eq!(of(json!(["x, \"y", plausible])).as_deref(), Some(plausible));
        }
        let long = "x".repeat(MAX_OFFSET + 1);
        for no in [
            json!([]),
            json!([1]),
            json!([["in an array"]]),
            json!([{"a": "b"}]),
            json!(["two words"]),
            json!(["a\"b"]),
            json!(["\",b"]),
            json!(["a\\"]),
            json!([""]),
            json!(["\u{e9}"]),
            json!([long]),
        ] {
            assert_eq!(of(no.clone()), None, "{no}");
        }
        assert_eq!(of(json!([&long[1..]])).map(|offset| offset.len()), Some(MAX_OFFSET));
    }

    #[test]
    fn what_came_is_recognised_as_far_as_it_is_remembered() {
        let event = |offset: usize| encode_event("e", &(1, offset.to_string())).unwrap();
        let mut recovery = Recovery::new("P".into(), String::new());
        assert_eq!(recovery.point(), None);
        for offset in 0..=MAX_SEEN {
            recovery.note(&event(offset));
        }
        assert_eq!(recovery.point(), Some(("P", &*MAX_SEEN.to_string())));
        assert!(!recovery.has_seen(&event(0)));
        assert!(recovery.has_seen(&event(1)) && recovery.has_seen(&event(MAX_SEEN)));
        assert!(!recovery.has_seen(&event(MAX_SEEN + 1)));
        assert!(Recovery::new("P".into(), "7".into()).has_seen(&event(7)), "a ticket's offset");
    }
}

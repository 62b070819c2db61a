//! The body of a record: a line of JSON for each event or mark.
//!
//! ```text
//! {"at":1764365796123,"offset":"Q84HHan","event":["price","tea",3.5,"Q84HHan"]}
//! {"at":1764365796124,"namespace":"/shop","event":["picture",{"_placeholder":true,"num":0}],"attachments":["AQID"]}
//! {"at":1764365796125,"mark":{"holder":"worker-1"}}
//! {"at":1764365796126,"mark":{"gap":"new-session","missed":null}}
//! {"at":1764365796127,"mark":{"left":"worker-1"}}
//! {"at":1764365796128,"offset":"Q84HHam","late":true,"event":["price","milk",1,"Q84HHam"]}
//! {"at":1764365796129,"mark":{"filled":1}}
//! ```
//!
//! `at` is when the line was made, in milliseconds since 1970. `event` is the text of the event as it came. `namespace`
//! is left out for `/`, `offset` and `attachments` where there are none. Readers ignore fields that they do not know, and lines
//! that are neither an event nor a mark that they know.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    message::Event,
    payload::{Payload, check_placeholders},
    proto::{
        packet::{event_name, root},
        recovery,
    },
};

/// A record that was read is not in the format of this crate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line} of a record: {fault}")]
pub struct RecordError {
    line: usize,
    fault: Fault,
}

impl RecordError {
    /// The number of the line in the body of the record, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// What is wrong with a line, without what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    #[error("it is not an object in JSON with fields of the right types")]
    Json,
    #[error("its event is not an array that begins with a name")]
    Event,
    #[error("its answer is not an array")]
    Answer,
    #[error("an attachment is not in base64")]
    Attachment,
    #[error("a placeholder names an attachment that is not there")]
    Placeholder,
}

/// Why events are missing in the log at the place of a mark.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gap {
    /// The server has begun a new session, so that what it emitted between the two is not known: it does not
    /// recover sessions, or not this one any more.
    NewSession,
    /// The log could not keep up, and new events were dropped.
    Dropped,
    /// The log could not keep up, and newer events with the same key took their
    /// place.
    Replaced,
    /// The worker could not keep up with the server.
    Lagged,
    /// Events were larger than a record of this engine can be.
    TooLarge,
    /// Another reason, of another version of this crate.
    Other(String),
}

impl Gap {
    /// The reason as it stands in the log.
    pub fn as_str(&self) -> &str {
        match self {
            Self::NewSession => "new-session",
            Self::Dropped => "dropped",
            Self::Replaced => "replaced",
            Self::Lagged => "lagged",
            Self::TooLarge => "too-large",
            Self::Other(reason) => reason,
        }
    }

    fn read(reason: &str) -> Self {
        [Self::NewSession, Self::Dropped, Self::Replaced, Self::Lagged, Self::TooLarge]
            .into_iter()
            .find(|gap| gap.as_str() == reason)
            .unwrap_or_else(|| Self::Other(reason.to_owned()))
    }
}

/// Something that is worth knowing beside the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// From here on this worker writes.
    Holder { worker: String },
    /// This worker has handed the upstream over: all that came to it is stored.
    Left { worker: String },
    /// All that was missing at the last [new session](Gap::NewSession) has come late: so many events.
    Filled { events: u64 },
    /// Here events are missing; how many, if that is known.
    Gap { gap: Gap, missed: Option<u64> },
}

/// An event that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) namespace: ByteString,
    pub(crate) offset: Option<String>,
    /// It was emitted before events that stand before it.
    pub(crate) is_late: bool,
    pub(crate) payload: Payload,
}

impl StoredEvent {
    /// The event as subscribers get it. Nobody can answer it any more.
    pub(crate) fn into_event(self) -> Event {
        let Self { namespace, offset, is_late: _, payload } = self;
        let is_recoverable = offset.is_some() && recovery::offset(&payload) == offset.as_deref();
        Event { namespace, payload, answer: None, is_recoverable }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Event(StoredEvent),
    Mark(Mark),
}

/// A line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Milliseconds since 1970; 0 if the line does not say.
    pub(crate) at: u64,
    pub(crate) content: Content,
}

/// The line of an event, with its end.
pub(crate) fn event_line(at: u64, event: &Event, is_late: bool) -> String {
    let mut line = format!("{{\"at\":{at}");
    if event.namespace() != "/" {
        line.push_str(",\"namespace\":");
        push_text(&mut line, event.namespace());
    }
    if let Some(offset) = event.offset() {
        line.push_str(",\"offset\":");
        push_text(&mut line, offset);
    }
    if is_late {
        line.push_str(",\"late\":true");
    }
    line.push(',');
    push_payload(&mut line, "event", event.payload());
    line.push_str("}\n");
    line
}

/// The line of a mark, with its end.
pub(crate) fn mark_line(at: u64, mark: &Mark) -> String {
    let mut line = format!("{{\"at\":{at},\"mark\":{{");
    match mark {
        Mark::Holder { worker } => {
            line.push_str("\"holder\":");
            push_text(&mut line, worker);
        }
        Mark::Left { worker } => {
            line.push_str("\"left\":");
            push_text(&mut line, worker);
        }
        Mark::Filled { events } => {
            line.push_str("\"filled\":");
            line.push_str(&events.to_string());
        }
        Mark::Gap { gap, missed } => {
            line.push_str("\"gap\":");
            push_text(&mut line, gap.as_str());
            line.push_str(",\"missed\":");
            line.push_str(&missed.map_or_else(|| "null".to_owned(), |missed| missed.to_string()));
        }
    }
    line.push_str("}}\n");
    line
}

/// The members `"event":[…]` and `"attachments":[…]` of a line; `key` is the name of the first.
pub(crate) fn push_payload(line: &mut String, key: &str, payload: &Payload) {
    push_text(line, key);
    line.push(':');
    push_json(line, payload.json());
    if payload.attachments().is_empty() {
        return;
    }
    line.push_str(",\"attachments\":[");
    for (number, data) in payload.attachments().iter().enumerate() {
        line.push_str(if number == 0 { "\"" } else { ",\"" });
        STANDARD.encode_string(data, line);
        line.push('"');
    }
    line.push(']');
}

/// Adds JSON on one line: the ends of lines between its parts become spaces. Inside of strings they are escaped.
fn push_json(line: &mut String, json: &str) {
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        line.push_str(&json.replace(['\n', '\r'], " "));
    } else {
        line.push_str(json);
    }
}

pub(crate) fn push_text(line: &mut String, text: &str) {
    line.push_str(&serde_json::Value::from(text).to_string());
}

/// The payload of an event, from the members of a line.
pub(crate) fn event_payload(json: &str, attachments: &[Cow<'_, str>]) -> Result<Payload, Fault> {
    let (name, arguments) = event_name(json).map_err(|_| Fault::Event)?;
    let attachments = decoded(json, attachments)?;
    Ok(Payload::event(json.to_owned(), name, arguments, attachments))
}

/// The payload of an answer, from the members of a line; `json` is JSON.
pub(crate) fn answer_payload(json: &str, attachments: &[Cow<'_, str>]) -> Result<Payload, Fault> {
    if !json.starts_with('[') {
        return Err(Fault::Answer);
    }
    let attachments = decoded(json, attachments)?;
    Ok(Payload::answer(json.to_owned(), attachments))
}

fn decoded(json: &str, attachments: &[Cow<'_, str>]) -> Result<Vec<Bytes>, Fault> {
    let decode = |text: &Cow<'_, str>| STANDARD.decode(text.as_bytes()).map(Bytes::from);
    let attachments: Result<Vec<_>, _> = attachments.iter().map(decode).collect();
    let attachments = attachments.map_err(|_| Fault::Attachment)?;
    if !attachments.is_empty() && !check_placeholders(json, attachments.len()) {
        return Err(Fault::Placeholder);
    }
    Ok(attachments)
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    at: u64,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    offset: Option<Cow<'a, str>>,
    #[serde(default)]
    late: bool,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attachments: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    mark: Option<MarkFields<'a>>,
}

#[derive(Deserialize)]
struct MarkFields<'a> {
    #[serde(borrow)]
    holder: Option<Cow<'a, str>>,
    #[serde(borrow)]
    left: Option<Cow<'a, str>>,
    #[serde(borrow)]
    gap: Option<Cow<'a, str>>,
    missed: Option<u64>,
    filled: Option<u64>,
}

impl MarkFields<'_> {
    fn read(self) -> Option<Mark> {
        if let Some(gap) = self.gap {
            return Some(Mark::Gap { gap: Gap::read(&gap), missed: self.missed });
        }
        if let Some(events) = self.filled {
            return Some(Mark::Filled { events });
        }
        if let Some(worker) = self.left {
            return Some(Mark::Left { worker: worker.into_owned() });
        }
        self.holder.map(|worker| Mark::Holder { worker: worker.into_owned() })
    }
}

/// The lines of a record that this version knows.
///
/// # Errors
///
/// A line is not in the format. The engine may be written to by others.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Entry>, RecordError> {
    let mut entries = Vec::new();
    for (line, text) in body.split(|&byte| byte == b'\n').enumerate() {
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let line = line.saturating_add(1);
        entries.extend(read_line(text).map_err(|fault| RecordError { line, fault })?);
    }
    Ok(entries)
}

fn read_line(text: &[u8]) -> Result<Option<Entry>, Fault> {
    let Line { at, namespace, offset, late, event, attachments, mark } =
        serde_json::from_slice(text).map_err(|_| Fault::Json)?;
    let content = match (event, mark) {
        (Some(event), _) => Content::Event(StoredEvent {
            namespace: namespace.map_or_else(root, |name| ByteString::from(name.into_owned())),
            offset: offset.map(Cow::into_owned),
            is_late: late,
            payload: event_payload(event.get(), &attachments)?,
        }),
        (None, Some(mark)) => {
            let Some(mark) = mark.read() else { return Ok(None) };
            Content::Mark(mark)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Entry { at, content }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::payload::encode_event;

    fn event(json: &str, attachments: &[&'static [u8]], is_recoverable: bool) -> Event {
        let (name, arguments) = event_name(json).unwrap();
        let attachments = attachments.iter().map(|data| Bytes::from_static(data)).collect();
        let payload = Payload::event(json.to_owned(), name, arguments, attachments);
        Event { namespace: "/shop".into(), payload, answer: None, is_recoverable }
    }

    fn event_of(entry: &Entry) -> StoredEvent {
        match &entry.content {
            Content::Event(event) => event.clone(),
            Content::Mark(mark) => panic!("{mark:?}"),
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        for (json, attachments, offset) in [
            (r#"["e"]"#, &[][..], None),
            (r#"["e",1,"Q84.1"]"#, &[], Some("Q84.1")),
            (r#"["\u0065\ud800","\ud800",1e999,123456789012345678901]"#, &[], None),
            (r#"[7,{"a":[[]]}]"#, &[], None),
            (
                r#"["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0},"O"]"#,
                &[&b"\0\xff"[..], b""],
                Some("O"),
            ),
        ] {
            let original = event(json, attachments, offset.is_some());
            for is_late in [false, true] {
                let line = event_line(5, &original, is_late);
                let entries = read(line.as_bytes()).unwrap();
                assert_eq!((entries.len(), entries[0].at), (1, 5));
                let stored = event_of(&entries[0]);
                assert_eq!(stored.is_late, is_late);
                let read = stored.into_event();
                assert_eq!(read.payload(), original.payload());
                assert_eq!((read.name(), read.namespace()), (original.name(), "/shop"));
                assert_eq!((read.offset(), read.wants_ack()), (offset, false));
            }
        }
    }

    #[test]
    fn the_lines_are_as_the_documentation_has_them() {
        let mut price = event(r#"["price","tea",3.5,"Q84HHan"]"#, &[], true);
        price.namespace = root();
        assert_eq!(
            event_line(7, &price, false),
            "{\"at\":7,\"offset\":\"Q84HHan\",\"event\":[\"price\",\"tea\",3.5,\"Q84HHan\"]}\n"
        );
        let picture =
            event(r#"["picture",{"_placeholder":true,"num":0}]"#, &[&[1, 2, 3], b"\xff"], false);
        assert_eq!(
            event_line(8, &picture, true),
            "{\"at\":8,\"namespace\":\"/shop\",\"late\":true,\
             \"event\":[\"picture\",{\"_placeholder\":true,\"num\":0}],\"attachments\":[\"AQID\",\"/w==\"]}\n"
        );
        assert_eq!(
            mark_line(9, &Mark::Holder { worker: "worker-1".into() }),
            "{\"at\":9,\"mark\":{\"holder\":\"worker-1\"}}\n"
        );
        assert_eq!(
            mark_line(9, &Mark::Gap { gap: Gap::NewSession, missed: None }),
            "{\"at\":9,\"mark\":{\"gap\":\"new-session\",\"missed\":null}}\n"
        );
    }

    #[test]
    fn an_event_of_several_lines_becomes_one() {
        let original = event("[ \"e\" ,\r\n {\"a\\n\":\n1}\n]", &[], false);
        let line = event_line(0, &original, false);
        assert_eq!(line.matches(['\n', '\r']).count(), 1);
        let read = event_of(&read(line.as_bytes()).unwrap()[0]).into_event();
        assert_eq!(read.args::<serde_json::Value>().unwrap(), serde_json::json!({"a\n": 1}));
    }

    #[test]
    fn marks_are_read_as_they_were_written() {
        let other = Gap::Other("moon\n".into());
        let gaps =
            [Gap::NewSession, Gap::Dropped, Gap::Replaced, Gap::Lagged, Gap::TooLarge, other];
        let gaps = gaps.into_iter().zip([None, Some(0), Some(1), Some(u64::MAX), None, Some(7)]);
        let mut marks: Vec<_> = gaps.map(|(gap, missed)| Mark::Gap { gap, missed }).collect();
        marks.push(Mark::Holder { worker: "w".into() });
        marks.push(Mark::Left { worker: "w".into() });
        marks.push(Mark::Filled { events: 7 });
        let body: String = marks.iter().map(|mark| mark_line(3, mark)).collect();
        let read: Vec<_> = read(body.as_bytes()).unwrap();
        let expected = marks.into_iter().map(|mark| Entry { at: 3, content: Content::Mark(mark) });
        assert_eq!(read, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_ignores_what_it_does_not_know() {
        let body = br#"
            {"at":1,"event":["e",1],"colour":"red","nested":{"a":[1]}}
            {"at":2,"weather":"fine"}
            {"at":3,"mark":{"moon":"full"}}
            {"mark":{"gap":"lagged","missed":2,"since":7}}
            {}"#;
        let entries = read(body).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(event_of(&entries[0]).into_event().args::<u8>().unwrap(), 1);
        let lagged = Content::Mark(Mark::Gap { gap: Gap::Lagged, missed: Some(2) });
        assert_eq!(entries[1], Entry { at: 0, content: lagged });
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn what_is_not_in_the_format_is_an_error() {
        for (text, fault) in [
            (&b"[]"[..], Fault::Json),
            (b"{", Fault::Json),
            (b"\xff", Fault::Json),
            (br#"{"at":-1}"#, Fault::Json),
            (br#"{"event":["e"],"attachments":"AQID"}"#, Fault::Json),
            (br#"{"event":["e"],"offset":7}"#, Fault::Json),
            (br#"{"mark":7}"#, Fault::Json),
            (br#"{"event":{}}"#, Fault::Event),
            (br#"{"event":[]}"#, Fault::Event),
            (br#"{"event":[null]}"#, Fault::Event),
            (br#"{"event":["e"],"attachments":["?"]}"#, Fault::Attachment),
            (
                br#"{"event":["e",{"_placeholder":true,"num":1}],"attachments":["AQID"]}"#,
                Fault::Placeholder,
            ),
        ] {
            assert_eq!(read_line(text), Err(fault), "{}", String::from_utf8_lossy(text));
        }
        let error = read(b"{}\n\n{\"event\":7}").unwrap_err();
        assert_eq!(error.line(), 3);
        assert_eq!(
            error.to_string(),
            "line 3 of a record: its event is not an array that begins with a name"
        );
        // Deep nesting is data.
        let deep = format!("{{\"event\":[\"e\",{}{}]}}", "[".repeat(9_999), "]".repeat(9_999));
        assert_eq!(read(deep.as_bytes()).unwrap().len(), 1);
    }

    #[test]
    fn an_offset_counts_where_the_event_has_it() {
        let entries = read(br#"{"offset":"A","event":["e","B"]}"#).unwrap();
        let stored = event_of(&entries[0]);
        assert_eq!(stored.offset.as_deref(), Some("A"));
        assert_eq!(stored.into_event().offset(), None);
    }

    proptest! {
        #[test]
        fn any_event_survives(name in ".*", text in ".*", data in any::<Vec<u8>>(), at in any::<u64>()) {
            let payload = encode_event(&name, &(&text, Bytes::from(data), 1)).unwrap();
            let original = Event { namespace: root(), payload, answer: None, is_recoverable: false };
            let line = event_line(at, &original, false);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let entries = read(line.as_bytes()).unwrap();
            prop_assert_eq!(entries[0].at, at);
            prop_assert_eq!(event_of(&entries[0]).payload, original.payload);
        }

        #[test]
        fn any_body_is_read_or_refused(body in any::<Vec<u8>>(), text in "[\\[\\]{}\":,a-z0-9\n]*") {
            drop(read(&body));
            drop(read(text.as_bytes()));
        }
    }
}

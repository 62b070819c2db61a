//! Recognises events that come back.
//!
//! A server that broadcasts an event sends it to the bridge as well. By then the event has been decoded
//! and encoded again. So the bridge remembers its meaning, not its text: numbers as JavaScript reads them,
//! strings without escapes, the members of an object in any order.

use std::{
    borrow::Cow,
    collections::VecDeque,
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    payload::{Payload, Token, Tokens, unquoted},
    proto::fast_map::FastMap,
};

/// Down to this depth, the order of an object's members makes no difference. Below it the order counts:
/// comparing in order takes no memory for each level, and a message may have as many levels as bytes.
const DEEPEST: usize = 128;

/// How much is remembered, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) events: usize,
    pub(super) time: Duration,
}

/// The events that recently went one way.
#[derive(Debug)]
pub(super) struct Echoes {
    span: Span,
    /// Random, so that no peer can construct two events with the same hash.
    keys: RandomState,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    order: VecDeque<(Instant, u64)>,
    /// How often each hash is in `order`.
    known: FastMap<u64, u32>,
}

impl Memory {
    fn forget_before(&mut self, now: Instant, span: Span) {
        let over = |&(since, _): &(Instant, u64)| now.saturating_duration_since(since) > span.time;
        while self.order.front().is_some_and(over) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, digest)) = self.order.pop_front()
            && let Some(count) = self.known.get_mut(&digest)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.known.remove(&digest);
            }
        }
    }
}

impl Echoes {
    pub(super) fn new(span: Span) -> Self {
        Self { span, keys: RandomState::new(), memory: Mutex::default() }
    }

    fn memory(&self, now: Instant) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.forget_before(now, self.span);
        memory
    }

    pub(super) fn fingerprint(&self, name: &str, payload: &Payload) -> Fingerprint {
        Fingerprint(self.digest(name, payload).whole)
    }

    /// Remembers that the event with this fingerprint was sent.
    pub(super) fn note(&self, now: Instant, Fingerprint(digest): Fingerprint) {
        let mut memory = self.memory(now);
        if memory.order.len() >= self.span.events {
            memory.forget_oldest();
        }
        memory.order.push_back((now, digest));
        let count = memory.known.entry(digest).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether this is an event that was sent. `is_stamped`: the server may have added a last argument
    /// of its own.
    pub(super) fn has(
        &self,
        now: Instant,
        name: &str,
        payload: &Payload,
        is_stamped: bool,
    ) -> bool {
        if self.memory(now).known.is_empty() {
            return false;
        }
        let digest = self.digest(name, payload);
        let memory = self.memory(now);
        let knows = |digest| memory.known.contains_key(&digest);
        knows(digest.whole) || (is_stamped && digest.unstamped.is_some_and(knows))
    }

    fn digest(&self, name: &str, payload: &Payload) -> Digest {
        let mut arguments = self.keys.build_hasher();
        name.hash(&mut arguments);
        payload.attachments().iter().map(Bytes::as_ref).for_each(|data| data.hash(&mut arguments));
        let mut unstamped = None;
        let mut open = Vec::new();
        // Levels that are open below the deepest one that is compared.
        let mut deeper = 0_usize;
        for token in Tokens::of(payload.arguments()) {
            let value = match token {
                Token::Object | Token::Array if open.len() > DEEPEST => {
                    deeper = deeper.saturating_add(1);
                    Value::Deeper(token == Token::Object)
                }
                Token::Object | Token::Array if open.len() == DEEPEST => {
                    let mut flat = self.keys.build_hasher();
                    (token == Token::Object).hash(&mut flat);
                    open.push(Open::Array(flat));
                    continue;
                }
                Token::End if deeper > 0 => {
                    deeper = deeper.saturating_sub(1);
                    Value::End
                }
                Token::Object => {
                    open.push(Open::Object { sum: 0, member: None });
                    continue;
                }
                Token::Array => {
                    open.push(Open::Array(self.keys.build_hasher()));
                    continue;
                }
                // The last one closes the list of arguments.
                Token::End => match open.pop() {
                    None => break,
                    Some(Open::Object { sum, .. }) => Value::Object(sum),
                    Some(Open::Array(items)) => Value::Array(items.finish()),
                },
                Token::Text(quoted) => Value::Text(unquoted(quoted)),
                Token::Plain(text) => match text.parse::<f64>() {
                    // Minus zero is zero.
                    Ok(number) => Value::Number((number + 0.0).to_bits()),
                    Err(_) => Value::Word(text),
                },
            };
            match open.last_mut() {
                Some(Open::Array(items)) => value.hash(items),
                Some(Open::Object { sum, member }) => match member.take() {
                    None => {
                        let mut key = self.keys.build_hasher();
                        value.hash(&mut key);
                        *member = Some(key);
                    }
                    Some(mut member) => {
                        value.hash(&mut member);
                        *sum = sum.wrapping_add(member.finish());
                    }
                },
                None => {
                    unstamped = matches!(token, Token::Text(_)).then(|| arguments.finish());
                    value.hash(&mut arguments);
                }
            }
        }
        Digest { whole: arguments.finish(), unstamped }
    }
}

/// The same for all events with the same meaning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint(u64);

/// The meaning of an event as a hash.
struct Digest {
    whole: u64,
    /// The hash without the last argument, if that is a string.
    unstamped: Option<u64>,
}

/// A value that has not been read to its end.
enum Open<H> {
    Array(H),
    /// `sum`: of the hashes of its members. `member`: of the one whose value is still to come, its key.
    Object {
        sum: u64,
        member: Option<H>,
    },
}

/// A value as it is hashed. No value is the beginning of another, so that values in a row can be hashed as
/// they are.
#[derive(Hash)]
enum Value<'a> {
    /// The sum of its members' hashes.
    Object(u64),
    /// The hash of its items.
    Array(u64),
    Text(Cow<'a, str>),
    Number(u64),
    Word(&'a str),
    Deeper(bool),
    End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::event_e;

    const SPAN: Span = Span { events: 3, time: Duration::from_secs(10) };

    fn payload(arguments: &str, attachments: &[&'static str]) -> Payload {
        let comma = if arguments.is_empty() { "" } else { "," };
        let attachments = attachments.iter().map(|data| Bytes::from_static(data.as_bytes()));
        event_e(&format!("[\"e\"{comma}{arguments}]"), attachments.collect())
    }

    #[track_caller]
    fn check(passed: &str, back: &str, is_stamped: bool, same: bool) {
        let (echoes, now) = (Echoes::new(SPAN), Instant::now());
        echoes.note(now, echoes.fingerprint("e", &payload(passed, &[])));
        let has = echoes.has(now, "e", &payload(back, &[]), is_stamped);
        assert_eq!(has, same, "{passed:?} and {back:?}");
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for (passed, back) in [
            ("", ""),
            ("1", "1"),
            (r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ] , "a" : 1.0 } "#),
            ("100,1e2,-0,9007199254740993", "1e2,100.0,0,9007199254740992"),
            ("\"é😀\\u2028/\"", "\"\\u00e9\\ud83d\\ude00\u{2028}\\/\""),
            (r#"{"é":{}}"#, r#"{"\u00e9":{}}"#),
            ("[[[]]]", "[ [ [ ] ] ]"),
        ] {
            check(passed, back, false, true);
        }
    }

    #[test]
    fn what_means_something_else_is_not() {
        for (passed, back) in [
            ("", "null"),
            ("1", "2"),
            ("1", "\"1\""),
            ("null", "\"null\""),
            ("1,2", "2,1"),
            ("1,2", "[1,2]"),
            ("[1],2", "[1,2]"),
            ("[]", "{}"),
            ("[[],[]]", "[[[]]]"),
            (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"a":{"b":1}}"#, r#"{"b":{"a":1}}"#),
            (r#"["a",1]"#, r#"{"a":1}"#),
            ("{}", r#"{"a":1,"a":1}"#),
        ] {
            check(passed, back, false, false);
            check(back, passed, false, false);
        }
        let (echoes, now) = (Echoes::new(SPAN), Instant::now());
        echoes.note(now, echoes.fingerprint("e", &payload("0", &["ab", "c"])));
        assert!(echoes.has(now, "e", &payload("0", &["ab", "c"]), false));
        assert!(!echoes.has(now, "e", &payload("0", &["a", "bc"]), false));
        assert!(!echoes.has(now, "f", &payload("0", &["ab", "c"]), false));
    }

    #[test]
    fn the_server_s_own_argument_makes_no_difference_where_there_may_be_one() {
        check("1", r#"1,"offset""#, true, true);
        check("", r#""offset""#, true, true);
        check("1", r#"1,"offset""#, false, false);
        check("1", r#"1,["offset"]"#, true, false);
        check("1", "1,2", true, false);
        check(r#"1,"a""#, r#"1,"a""#, true, true);
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_many_or_time_is_over() {
        let (echoes, start) = (Echoes::new(SPAN), Instant::now());
        let has = |now, number: &str| echoes.has(now, "e", &payload(number, &[]), false);
        let note = |now, number| echoes.note(now, echoes.fingerprint("e", &payload(number, &[])));
        for number in ["1", "1", "2", "3"] {
            note(start, number);
        }
        assert!(has(start, "1") && has(start, "2") && has(start, "3"), "1 came twice");
        note(start + SPAN.time, "4");
        assert!(!has(start, "1"));
        assert!(has(start + SPAN.time, "3"), "for that long, and no longer");
        let later = start + SPAN.time + Duration::from_millis(1);
        assert!(has(later, "4") && !has(later, "3"));
        assert!(!has(later + SPAN.time, "4"));
        assert!(echoes.memory(later).known.is_empty() && echoes.memory(later).order.is_empty());
    }

    #[test]
    fn what_is_nested_deeply_takes_neither_stack_nor_memory() {
        let nested = |open: &str, inside: &str, close: &str| {
            format!("{}{inside}{}", open.repeat(20_000), close.repeat(20_000))
        };
        let echoes = Echoes::new(SPAN);
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = nested(open, "0", close);
            check(&deep, &deep, false, true);
            for other in [
                String::new(),
                nested(open, "1", close),
                nested(open, &format!("{open}0{close}"), close),
                nested(open, "[]", close),
                nested(open, "{}", close),
            ] {
                check(&deep, &other, false, false);
            }
            let deep = payload(&deep, &[]);
            let used = allocation_counter::measure(|| _ = echoes.fingerprint("e", &deep));
            assert!(used.bytes_max < 1 << 16, "{} bytes", used.bytes_max);
        }
    }

    #[test]
    fn what_is_nested_is_told_apart_at_any_depth() {
        let all = [
            "",
            "1",
            "1,2",
            "[]",
            "{}",
            "[],[]",
            "[[]]",
            "[1],2",
            "[1,2]",
            "[{}]",
            "{},[]",
            r#"{"a":[1],"b":[2]}"#,
            r#"{"a":[2],"b":[1]}"#,
        ];
        for depth in DEEPEST - 2..DEEPEST + 3 {
            let nested =
                |inside: &str| format!("{}{inside}{}", "[".repeat(depth), "]".repeat(depth));
            for (index, one) in all.iter().enumerate() {
                let one = nested(one);
                // What stands behind it counts as well.
                check(&format!("{one},2"), &format!("{one},3"), false, false);
                for (other_index, other) in all.iter().enumerate() {
                    let (one, other) = (format!("{one},2"), format!("{},2", nested(other)));
                    check(&one, &other, false, index == other_index);
                }
            }
        }
    }
}

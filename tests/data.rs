//! Data that is easily damaged on the way, there and back through the servers, in every
//! direction and in both parsers: what arrives is what was sent, or what JavaScript makes of it.

// A test fails by panicking.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use actix_socketio::{
    AckError, AnswerError, Args, Bridge, Client, Emit, EmitError, Parser, Payload, Reason, Route,
    Socket,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json, value::RawValue};
use std::{collections::BTreeMap, fmt::Debug};
use support::{
    every::{
        self, Target, between_servers, on_every_server_in_both_parsers,
        on_official_servers_in_both_parsers, within,
    },
    faults::Dice,
    node::Line,
    recorder::Recorder,
};

on_every_server_in_both_parsers!(
    any_data_comes_back_as_it_went,
    a_list_made_at_run_time_comes_back_value_by_value,
    every_kind_of_value_stands_at_any_depth,
    binary_is_what_it_was_wherever_it_stands,
    text_that_grows_on_the_wire_arrives_whole,
    what_only_looks_like_a_placeholder_is_data,
    what_looks_like_a_placeholder_beside_an_attachment_is_not_sent,
);

on_official_servers_in_both_parsers!(
    an_answer_with_the_error_first_is_read_as_a_pair,
    javascript_has_its_own_idea_of_numbers_and_keys,
    half_a_character_is_replaced_for_who_wants_text_and_for_nobody_else,
    what_looks_like_a_placeholder_may_come_beside_an_attachment,
);

between_servers!(any_data_goes_over_a_bridge_as_it_is);

/// What arrived of one value on each of the ways: an event that comes back, the same as an answer,
/// a question of the server, and the answer to it.
async fn there_and_back(
    socket: &Socket,
    recorder: &mut Recorder,
    sent: &impl Serialize,
) -> [(&'static str, Payload); 4] {
    let sent = (sent,);
    socket.emit("echo", sent).unwrap();
    let event = recorder.next_event("echo").await;
    let answer = within(socket.emit_with_ack("echo", sent)).await.unwrap();
    socket.emit("ask", ("question", sent.0)).unwrap();
    let question = recorder.next_event("question").await;
    question.ack(sent).unwrap();
    let answered = recorder.next_event("answered").await;
    [
        ("event", event.payload().clone()),
        ("answer", answer),
        ("question", question.payload().clone()),
        ("answered", answered.payload().clone()),
    ]
}

async fn a_list_made_at_run_time_comes_back_value_by_value(server: &Target) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Post {
        title: String,
        body: actix_socketio::Value,
    }

    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let bytes = |byte: u8| Bytes::from(vec![byte, 0, 255]);
    let mut list: Vec<actix_socketio::Value> = vec![
        "text".into(),
        bytes(1).into(),
        json!({ "a": [1, -2, 0.5, true, null], "b": { "c": "é" } }).into(),
        [bytes(2), bytes(3)].into_iter().collect(),
        ().into(),
        json!({ "_num": 0, "num": 0 }).into(),
        7.into(),
    ];
    while let Some(last) = list.last().cloned() {
        let sent = Args(list.clone());
        socket.emit("echo", &sent).unwrap();
        let event = recorder.next_event("echo").await;
        assert_eq!(event.args::<Args>().unwrap(), sent);
        assert_eq!(event.args::<actix_socketio::Value>().unwrap(), sent.0[0]);
        let answer: Args = within(socket.emit_with_ack("echo", &sent)).await.unwrap();
        assert_eq!(answer, sent);

        // What the server asks is answered in the same way.
        let question = Args([&["question".into()], &list[..]].concat());
        socket.emit("ask", question).unwrap();
        let question = recorder.next_event("question").await;
        question.ack(question.args::<Args>().unwrap()).unwrap();
        assert_eq!(recorder.next_event("answered").await.args::<Args>().unwrap(), sent);

        // One argument, which is a list; and one with a value in it.
        let one: actix_socketio::Value = list.clone().into();
        let answer = within(socket.emit_with_ack("echo", &one)).await;
        assert_eq!(answer, Ok(one));
        let post = Post { title: "it".into(), body: last };
        let answer = within(socket.emit_with_ack("echo", &post)).await;
        assert_eq!(answer, Ok(post));
        list.pop();
    }
    let none: Args = within(socket.emit_with_ack("none", ())).await.unwrap();
    assert_eq!(none, Args(vec![]));
    let several: Args = within(socket.emit_with_ack("several", ())).await.unwrap();
    assert_eq!(several.0, [1.into(), "two".into(), [3].into_iter().collect()]);
}

async fn an_answer_with_the_error_first_is_read_as_a_pair(server: &Target) {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Failure {
        message: String,
        code: u16,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Flight {
        number: u32,
        seats: Vec<u32>,
    }
    type Outcome = (Option<Failure>, Option<Flight>);

    let client = server.connected().await;
    let socket = client.socket();
    let find = |number: u32| within(socket.emit_with_ack::<Outcome>("find", number));
    assert_eq!(find(7).await, Ok((None, Some(Flight { number: 7, seats: vec![1, 2] }))));
    let failure = Failure { message: "no such flight".into(), code: 404 };
    assert_eq!(find(1).await, Ok((Some(failure), None)));
    assert_eq!(find(0).await, Ok((None, None)));
    let none: Outcome = within(socket.emit_with_ack("none", ())).await.unwrap();
    assert_eq!(none, (None, None));

    // JavaScript makes an empty object of an `Error`: that there is one is all that arrives.
    let lost: (Option<Value>, Option<Value>) =
        within(socket.emit_with_ack("fail", ())).await.unwrap();
    assert_eq!(lost, (Some(json!({})), None));
}

/// What arrives of a value, and [`as_it_came`] of what does: JavaScript knows no numbers but `f64`.
///
/// Its JSON has no minus for zero. Its msgpack takes every number without a fraction for an integer
/// of 64 bits, so that of those which are larger only the last 64 arrive.
fn expected(server: &Target, value: &Value) -> Value {
    with_numbers(value, &|number| {
        if server.is_oxide() {
            return number.clone();
        }
        let float = number.as_f64().unwrap();
        let float = match server.parser() {
            Parser::Msgpack if float.fract() == 0.0 => wrapped(float),
            _ => float,
        };
        serde_json::Number::from_f64(float + 0.0).unwrap()
    })
}

/// JavaScript writes `1.0` as `1`, and so it does not matter how a number is written.
fn as_it_came(server: &Target, value: &Value) -> Value {
    with_numbers(value, &|number| {
        if server.is_oxide() {
            return number.clone();
        }
        serde_json::Number::from_f64(number.as_f64().unwrap()).unwrap()
    })
}

/// The last 64 bits of an integer.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]
fn wrapped(integer: f64) -> f64 {
    let rest = (integer % 2_f64.powi(64)) as i128;
    if integer < 0.0 { rest as i64 as f64 } else { rest as u64 as f64 }
}

fn with_numbers(value: &Value, map: &impl Fn(&serde_json::Number) -> serde_json::Number) -> Value {
    match value {
        Value::Number(number) => Value::Number(map(number)),
        Value::Array(values) => values.iter().map(|value| with_numbers(value, map)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), with_numbers(value, map))).collect()
        }
        other => other.clone(),
    }
}

/// JSON of any kind and bytes, at any depth.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Data {
    Json(Value),
    Binary(Bytes),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
    Shape { left: Option<Box<Self>>, right: Option<Box<Self>> },
    Pair(Box<Self>, Box<Self>),
    Nothing,
}

impl Data {
    fn map(&self, json: &impl Fn(&Value) -> Value) -> Self {
        let boxed = |data: &Self| Box::new(data.map(json));
        match self {
            Self::Json(value) => Self::Json(json(value)),
            Self::List(items) => Self::List(items.iter().map(|item| item.map(json)).collect()),
            Self::Map(items) => {
                Self::Map(items.iter().map(|(key, item)| (key.clone(), item.map(json))).collect())
            }
            Self::Shape { left, right } => {
                Self::Shape { left: left.as_deref().map(boxed), right: right.as_deref().map(boxed) }
            }
            Self::Pair(left, right) => Self::Pair(boxed(left), boxed(right)),
            Self::Binary(_) | Self::Nothing => self.clone(),
        }
    }
}

/// What text is made of.
const PARTS: [&str; 18] = [
    "a",
    "\"",
    "\\",
    "\\u",
    "/",
    "\u{0}",
    "\u{1f}",
    "\u{7f}",
    "\r\n\t",
    "é",
    "\u{2028}\u{2029}",
    "\u{d7ff}\u{e000}",
    "\u{feff}",
    "\u{ffff}",
    "😀",
    "\u{10ffff}",
    "{}[],:",
    "_placeholder",
];

/// Numbers at the edges of what holds them: `i64`, `u64`, 32 bits, the integers of `f64`, and `f64`.
fn edges() -> Vec<Value> {
    const SAFE: i64 = 1 << 53;
    vec![
        json!(0),
        json!(-0.0),
        json!(-1),
        json!(i64::MIN),
        json!(i64::MIN + 1),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(u64::MAX - 1024),
        json!(1_u64 << 63),
        json!(i64::from(i32::MIN) - 1),
        json!(u64::from(u32::MAX) + 1),
        json!(SAFE - 1),
        json!(SAFE),
        json!(SAFE + 1),
        json!(-SAFE - 1),
        json!(f64::MAX),
        json!(f64::MIN),
        json!(f64::MIN_POSITIVE),
        json!(f64::MIN_POSITIVE / 2.0),
        json!(5e-324),
        json!(-5e-324),
        json!(f64::EPSILON),
        json!(0.1 + 0.2),
        json!(1e21),
        json!(1e-7),
        json!(123_456_789_012_345_680_000.0),
        json!(2_f64.powi(64)),
    ]
}

/// Makes data, the same in each run.
struct Maker<'a> {
    dice: Dice,
    /// How many attachments there may be yet: servers take ten.
    attachments: u64,
    /// Who is to read it.
    servers: &'a [&'a Target],
}

impl Maker<'_> {
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.dice.below(from.len().try_into().unwrap())).unwrap()].clone()
    }

    fn data(&mut self, depth: u64) -> Data {
        let kinds = if depth == 0 { 3 } else { 8 };
        match self.dice.below(kinds) {
            1 if self.attachments > 0 => {
                self.attachments -= 1;
                Data::Binary(self.binary())
            }
            2 => Data::Nothing,
            3 | 4 => Data::List((0..self.dice.below(4)).map(|_| self.data(depth - 1)).collect()),
            5 => Data::Map(
                (0..self.dice.below(4)).map(|_| (self.key(), self.data(depth - 1))).collect(),
            ),
            6 => {
                let mut side = || (self.dice.below(3) > 0).then(|| Box::new(self.data(depth - 1)));
                Data::Shape { left: side(), right: side() }
            }
            7 => Data::Pair(Box::new(self.data(depth - 1)), Box::new(self.data(depth - 1))),
            _ => Data::Json(self.json(depth)),
        }
    }

    fn json(&mut self, depth: u64) -> Value {
        match self.dice.below(if depth == 0 { 5 } else { 8 }) {
            0 => self.pick(&[json!(null), json!(true), json!(false)]),
            1 | 2 => self.number(),
            5 | 6 => (0..self.dice.below(5)).map(|_| self.json(depth - 1)).collect(),
            7 => (0..self.dice.below(5)).map(|_| (self.key(), self.json(depth - 1))).collect(),
            _ => self.text().into(),
        }
    }

    fn number(&mut self) -> Value {
        match self.dice.below(3) {
            0 => self.pick(&edges()),
            // Any float that there is.
            1 => loop {
                let float = f64::from_bits(self.bits());
                if float.is_finite() {
                    break json!(float);
                }
            },
            _ => {
                let integer = self.bits() >> self.dice.below(64);
                if self.dice.below(2) == 0 {
                    json!(integer)
                } else {
                    json!(0_i64.wrapping_sub_unsigned(integer))
                }
            }
        }
    }

    fn binary(&mut self) -> Bytes {
        let length = self.pick(&[0, 0, 1, 2, 31, 256]);
        (0..length).map(|_| u8::try_from(self.dice.below(256)).unwrap()).collect()
    }

    fn bits(&mut self) -> u64 {
        self.dice.below(u64::MAX)
    }

    fn text(&mut self) -> String {
        let length = self.pick(&[0, 1, 2, 5, 40]);
        (0..length).map(|_| self.pick(&PARTS)).collect()
    }

    fn key(&mut self) -> String {
        let key = match self.dice.below(3) {
            // Numbers, which JavaScript sorts, and what its objects have anyway.
            0 => {
                self.pick(&["1", "0", "-1", "4294967296", "", "num", "$bin", "type", "data"]).into()
            }
            1 => {
                let key = self.pick(&["length", "constructor", "hasOwnProperty", "toJSON", "then"]);
                // Servers 3.x, and 4.x for a while, ask the object itself whether it is its own, and
                // end the connection when that fails.
                let asks = |server: &&Target| {
                    server.official().is_some_and(|server| server.line() == Line::V3_1_2)
                };
                let asks = self.servers.iter().any(asks);
                if asks && key == "hasOwnProperty" { "has" } else { key }.into()
            }
            _ => self.text(),
        };
        // socketioxide cannot read a key with an escape in it.
        let is_plain = |c: char| c >= ' ' && c != '"' && c != '\\';
        let all = !self.servers.iter().any(|server| server.is_oxide());
        key.chars().filter(|&c| all || is_plain(c)).collect()
    }
}

async fn any_data_comes_back_as_it_went(server: &Target) {
    const CASES: u64 = 100;
    let (client, mut recorder) = Recorder::joined(server).await;
    let all = Data::Json(json!([edges(), PARTS, PARTS.concat()]));
    let servers = &[server];
    let made = |seed| Maker { dice: Dice::new(seed), attachments: 10, servers }.data(5);
    for (number, sent) in std::iter::once(all).chain((0..CASES).map(made)).enumerate() {
        let expected = sent.map(&|value| expected(server, value));
        for (way, payload) in there_and_back(client.socket(), &mut recorder, &sent).await {
            let came = payload.decode::<(Data,)>();
            let (came,) = came.unwrap_or_else(|error| panic!("{number}, {way}: {error}: {sent:?}"));
            let came = came.map(&|value| as_it_came(server, value));
            assert!(came == expected, "{number}, {way}: {came:?}\nis not {expected:?}");
        }
    }
}

/// Two servers and their parsers read and write it, and this process passes it on.
async fn any_data_goes_over_a_bridge_as_it_is(first: &Target, second: &Target) {
    const CASES: u64 = 50;
    let (here, mut on_first) = Recorder::joined(first).await;
    let (there, mut on_second) = Recorder::joined(second).await;
    // What a server changes is another event, and would come back.
    let bridge = Bridge::between(here.socket(), there.socket()).back(Route::none());
    let bridge = bridge.start().unwrap();
    let text = Data::Json(json!([PARTS, PARTS.concat(), "", "x".repeat(20_000)]));
    let same = Bytes::from_static(b"\x00\xFF\x1E");
    let binary = [&same, &same, &Bytes::new(), &Bytes::new(), &Bytes::from(vec![7; 20_000])];
    let binary = Data::List([binary; 2].concat().into_iter().cloned().map(Data::Binary).collect());
    let all = [Data::Json(edges().into()), text, binary];
    let servers = &[first, second];
    let made = |seed| Maker { dice: Dice::new(seed), attachments: 10, servers }.data(5);
    let mut asked = 0;
    for (number, sent) in all.into_iter().chain((0..CASES).map(made)).enumerate() {
        let check = |way: &str, payload: &Payload, servers: &[&Target]| {
            let came = payload.decode::<(Data,)>();
            let (came,) = came.unwrap_or_else(|error| panic!("{number}, {way}: {error}: {sent:?}"));
            // There may be a server on the way that knows all numbers, and one that knows floats only.
            let float = |number: &serde_json::Number| {
                serde_json::Number::from_f64(number.as_f64().unwrap() + 0.0).unwrap()
            };
            let came = came.map(&|value| with_numbers(value, &float));
            let expected = sent.map(&|value| {
                let last = servers.iter().fold(value.clone(), |value, one| expected(one, &value));
                with_numbers(&last, &float)
            });
            assert!(came == expected, "{number}, {way}: {came:?}\nis not {expected:?}");
        };
        here.socket().emit("say", ("echo", &sent)).unwrap();
        check("here", on_first.next_event("echo").await.payload(), &[first]);
        check("there", on_second.next_event("echo").await.payload(), &[first, second]);
        here.socket().emit("ask", ("echo", &sent)).unwrap();
        check("asked", on_first.next_event("echo").await.payload(), &[first]);
        let answered = on_first.next_event("answered").await;
        check("answered", answered.payload(), &[first, second, first]);
        asked += 1;
    }
    let forward = bridge.stats().forward;
    assert_eq!((forward.answered, forward.refused), (asked, 0), "{forward:?}");

    // What only a server can say. Half a character is what it is as text.
    if [first, second].iter().all(|server| !server.is_oxide() && server.parser() == Parser::Json) {
        let half = r#"["\ud83d",{"a":["cut \ude00"]}]"#;
        here.socket().emit("parsed", (r#""echo""#, half)).unwrap();
        assert_eq!(on_second.next_event("echo").await.payload().to_json(), half);
        let half = r#"["\ud83d",1]"#;
        here.socket().emit("parsed", (r#""half""#, half)).unwrap();
        on_first.next_event("echo").await;
        assert_eq!(on_first.next_event("half").await.payload().to_json(), half);
    }
    // Beside an attachment, JSON cannot tell what looks like the place of one.
    if first.parser() == Parser::Msgpack && second.parser() == Parser::Json {
        let looks = json!([lookalike(0)]).to_string();
        here.socket().emit("parsed", (r#""echo""#, &looks, &same)).unwrap();
        here.socket().emit("parsed", (r#""echo""#, &looks)).unwrap();
        let event = on_second.next_event("echo").await;
        assert_eq!(event.args::<(Value,)>(), Ok((lookalike(0),)));
        assert_eq!(bridge.stats().forward.refused, 1);
    }
}

/// Lists and maps around something.
#[derive(Serialize)]
#[serde(untagged)]
enum Nest<'a> {
    List([Box<Self>; 1]),
    Map { a: Box<Self> },
    Json(&'a RawValue),
    Binary(&'a Bytes),
}

impl Nest<'_> {
    fn around(self, depth: usize) -> Self {
        (0..depth).fold(self, |inside, depth| {
            let inside = Box::new(inside);
            if depth % 3 == 0 { Self::Map { a: inside } } else { Self::List([inside]) }
        })
    }
}

async fn every_kind_of_value_stands_at_any_depth(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let data = Bytes::from_static(b"deep");
    // Deeper than about 125 nobody who uses serde_json can read it.
    for depth in [0, 1, 2, 3, 60, 120] {
        for json in ["null", "true", "false", "0", "-1", "0.5", "\"\"", "\"a\"", "[]", "{}"] {
            let sent = || Nest::Json(raw(json)).around(depth);
            let expected = serde_json::to_string(&[sent()]).unwrap();
            for (way, came) in there_and_back(client.socket(), &mut recorder, &sent()).await {
                assert_eq!(came.to_json(), expected, "{depth}, {way}");
                came.decode::<Value>().unwrap();
            }
        }
        let place = raw(r#"{"_placeholder":true,"num":0}"#);
        let expected = serde_json::to_string(&[Nest::Json(place).around(depth)]).unwrap();
        let sent = Nest::Binary(&data).around(depth);
        for (way, came) in there_and_back(client.socket(), &mut recorder, &sent).await {
            assert_eq!(came.to_json(), expected, "{depth}, {way}");
            assert_eq!(came.attachments(), [&data], "{depth}, {way}");
        }
    }
}

/// What JavaScript makes of JSON: as text, and from msgpack to msgpack. Besides what is said at
/// [`expected`], the keys of an object come in another order, the integers first, each once.
const IN_JAVASCRIPT: [[&str; 3]; 18] = [
    ["9007199254740993", "9007199254740992", "9007199254740992"],
    ["-9007199254740993", "-9007199254740992", "-9007199254740992"],
    ["9223372036854775807", "9223372036854776000", "9223372036854775808"],
    ["-9223372036854775808", "-9223372036854776000", "-9223372036854775808"],
    ["18446744073709551615", "18446744073709552000", "0"],
    ["1000000000000000000000000000001", "1e+30", "5076964154930102272"],
    ["1e21", "1e+21", "3875820019684212736"],
    ["-1e300", "-1e+300", "0"],
    ["1e400", "null", "null"],
    ["-1e400", "null", "null"],
    ["5e-324", "5e-324", "5e-324"],
    ["1e-400", "0", "0"],
    ["-0.0", "0", "0"],
    ["1.0", "1", "1"],
    [r#""\u2028\/\u0000""#, "\"\u{2028}/\\u0000\"", "\"\u{2028}/\\u0000\""],
    [
        r#"{"b":1,"a":2,"10":3,"9":4}"#,
        r#"{"9":4,"10":3,"b":1,"a":2}"#,
        r#"{"9":4,"10":3,"b":1,"a":2}"#,
    ],
    [r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#, r#"{"a":3,"b":2}"#],
    // The official msgpack decoder sets the prototype of the object to it, or leaves it out.
    [
        r#"{"__proto__":1,"a":{"__proto__":{}}}"#,
        r#"{"__proto__":1,"a":{"__proto__":{}}}"#,
        r#"{"a":{}}"#,
    ],
];

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

async fn javascript_has_its_own_idea_of_numbers_and_keys(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let place = r#"{"_placeholder":true,"num":0}"#;
    for [json, as_text, as_msgpack] in IN_JAVASCRIPT {
        let expected = if server.parser() == Parser::Msgpack { as_msgpack } else { as_text };
        for (way, came) in there_and_back(client.socket(), &mut recorder, &raw(json)).await {
            assert_eq!(came.to_json(), format!("[{expected}]"), "{json}, {way}");
        }
        // So does the official encoder where there is binary in the same event.
        let expected = if json.contains("__proto__") { r#"{"a":{}}"# } else { expected };
        let sent = (raw(json), Bytes::new());
        for (way, came) in there_and_back(client.socket(), &mut recorder, &sent).await {
            assert_eq!(came.to_json(), format!("[[{expected},{place}]]"), "{json}, {way}");
        }
    }
    // What is no integer is not cut to one, however wide.
    let socket = client.socket();
    let ask = |json| ("", json);
    for json in ["[-1.5]", "[1.5]", "[1e21]"] {
        if json == "[1e21]" && server.parser() == Parser::Msgpack {
            continue;
        }
        let signed = within(socket.emit_with_ack::<i128>("parsed", ask(json))).await;
        assert!(matches!(signed, Err(AckError::Decode(_))), "{json}: {signed:?}");
        let unsigned = within(socket.emit_with_ack::<u128>("parsed", ask(json))).await;
        assert!(matches!(unsigned, Err(AckError::Decode(_))), "{json}: {unsigned:?}");
    }
}

async fn binary_is_what_it_was_wherever_it_stands(server: &Target) {
    async fn check<T>(client: &Client, recorder: &mut Recorder, sent: T, attachments: usize)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        for (way, came) in there_and_back(client.socket(), recorder, &sent).await {
            assert_eq!(came.attachments().len(), attachments, "{way}");
            assert_eq!(came.decode::<(T,)>().unwrap().0, sent, "{way}");
        }
    }
    let (client, mut recorder) = Recorder::joined(server).await;
    let (client, recorder) = (&client, &mut recorder);
    let ten: Vec<Bytes> = (0..10_u8).map(|number| Bytes::from(vec![number; 3])).collect();
    check(client, recorder, ten, 10).await;
    check(client, recorder, Bytes::new(), 1).await;
    check(client, recorder, (Bytes::new(), "text".to_owned(), Bytes::from_static(b"x")), 2).await;
    let data = Bytes::from_static(b"the same");
    check(client, recorder, (data.clone(), [data.clone()], json!(1), data), 3).await;
    // What looks like text, or like what the protocol has around it.
    let texts = [&b"\"\""[..], b"451-[\"e\"]", b"b", b"\x04", "é".as_bytes(), b"\xff\xfe\x00"];
    check(client, recorder, texts.map(Bytes::from_static), texts.len()).await;
}

async fn text_that_grows_on_the_wire_arrives_whole(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    // In JSON, each of these becomes six; socketioxide takes 100 kB.
    let length = if server.is_oxide() { 15_000 } else { 150_000 };
    let text = "\u{1}".repeat(length);
    for (way, came) in there_and_back(client.socket(), &mut recorder, &text).await {
        assert!(came.decode::<(String,)>().unwrap().0 == text, "{way}");
    }
}

fn lookalike(number: u8) -> Value {
    json!({ "_placeholder": true, "num": number })
}

async fn what_only_looks_like_a_placeholder_is_data(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    for sent in [lookalike(0), json!([{ "a": lookalike(7) }]), json!({ "_placeholder": true })] {
        for (way, came) in there_and_back(client.socket(), &mut recorder, &sent).await {
            assert_eq!(came.decode::<(Value,)>().unwrap().0, sent, "{way}");
            assert!(came.attachments().is_empty(), "{way}");
            came.decode::<(Bytes,)>().unwrap_err();
        }
    }
    // Nor is it one beside an attachment, as long as it is not quite the same; socketioxide takes its
    // first key for a sign.
    if server.is_oxide() && server.parser() == Parser::Json {
        return;
    }
    let sent = (json!({ "_placeholder": "true", "num": 0 }), Bytes::from_static(b"x"));
    for (way, came) in there_and_back(client.socket(), &mut recorder, &sent).await {
        assert_eq!(came.decode::<((Value, Bytes),)>().unwrap().0, sent, "{way}");
    }
}

/// The servers could not tell it from one.
async fn what_looks_like_a_placeholder_beside_an_attachment_is_not_sent(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let is_named = |error: &str| assert!(error.contains("_placeholder"), "{error}");
    for number in [0, 1, 7] {
        let data = Bytes::from_static(b"x");
        let sent = (json!([{ "a": lookalike(number) }]), &data);
        let Err(EmitError::Encode(error)) = Emit::new("echo", &sent) else { panic!("{number}") };
        is_named(&error);
        let refused = within(socket.emit_with_ack::<Payload>("echo", &sent)).await;
        assert_eq!(refused, Err(AckError::NeverSent(EmitError::Encode(error))));

        socket.emit("ask", "question").unwrap();
        let question = recorder.next_event("question").await;
        let Err(AnswerError::Encode(error)) = question.ack(&sent) else { panic!("{number}") };
        is_named(&error);
        question.ack(&data).unwrap();
        assert_eq!(recorder.next_event("answered").await.args::<Bytes>().unwrap(), data);
    }
}

/// As text, an official client does not mind either, and takes one attachment for the other.
async fn what_looks_like_a_placeholder_may_come_beside_an_attachment(server: &Target) {
    let data = [Bytes::from_static(b"first"), Bytes::from_static(b"second")];
    let (client, mut recorder) = Recorder::joined(server).await;
    let text = json!([lookalike(1)]).to_string();
    client.socket().emit("parsed", (r#""echo""#, &text, &data[0], &data[1])).unwrap();
    let event = recorder.next_event("echo").await;
    let (looks, first, second) = event.args::<(Value, Bytes, Bytes)>().unwrap();
    assert_eq!((looks, [first, second]), (lookalike(1), data.clone()));
    assert_eq!(event.payload().attachments(), data);

    let text = json!([lookalike(2)]).to_string();
    client.socket().emit("parsed", (r#""echo""#, &text, &data[0], &data[1])).unwrap();
    if server.parser() == Parser::Json {
        let reason = recorder.next_disconnected().await;
        assert!(matches!(reason, Reason::Protocol(_)), "{reason:?}");
        return;
    }
    let event = recorder.next_event("echo").await;
    let (looks, first, second) = event.args::<(Value, Bytes, Bytes)>().unwrap();
    assert_eq!((looks, [first, second]), (lookalike(2), data.clone()));

    // With this parser it can go on, and with the other it cannot.
    client.socket().send(event.to_emit()).unwrap();
    assert_eq!(recorder.next_event("echo").await.payload(), event.payload());
    let (other, mut from_other) =
        Recorder::joined(&every::official(server.official().unwrap().line())).await;
    let Err(EmitError::Encode(_)) = other.socket().send(event.to_emit()) else { panic!("it is") };
    other.socket().emit("ask", "question").unwrap();
    let question = from_other.next_event("question").await;
    let Err(AnswerError::Encode(_)) = question.ack_with(event.payload()) else { panic!("it is") };
    question.ack(()).unwrap();
    from_other.next_event("answered").await;
}

/// Half a pair of surrogates, which a string of JavaScript may have in it, for instance when it was
/// cut to a length.
async fn half_a_character_is_replaced_for_who_wants_text_and_for_nobody_else(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let as_text = server.parser() == Parser::Json;
    // In its msgpack, the other half is what comes next, or nothing.
    for (json, as_msgpack) in [
        (r#"["\ud83d"]"#, "[\"\u{1f400}\"]"),
        (r#"["\ude00\ud83d",1]"#, "[\"\u{9003d}\",1]"),
        (r#"[{"a":["cut \ud83d"]},1]"#, "[{\"a\":[\"cut \u{1f400}\"]},1]"),
        (r#"[{"\ud83d":1}]"#, "[{\"\u{1f400}\":1}]"),
    ] {
        let expected = if as_text { json } else { as_msgpack };
        socket.emit("parsed", (r#""echo""#, json)).unwrap();
        let event = recorder.next_event("echo").await;
        let answer = within(socket.emit_with_ack::<Payload>("parsed", ("", json))).await.unwrap();
        let text = within(socket.emit_with_ack::<Value>("parsed", ("", json))).await;
        for payload in [event.payload(), &answer] {
            assert_eq!(payload.to_json(), expected);
            assert_eq!(payload.decode::<Value>().map_err(AckError::Decode), text);
        }
        let replaced =
            |json: &str| json.replace(r"\ud83d", "\u{fffd}").replace(r"\ude00", "\u{fffd}");
        let arguments: Vec<Value> = serde_json::from_str(&replaced(expected)).unwrap();
        assert_eq!(text.as_ref(), Ok(&arguments[0]), "{json}");
        // It goes on as it is, by either way.
        socket.send(event.to_emit()).unwrap();
        assert_eq!(recorder.next_event("echo").await.payload().to_json(), expected);
        socket.emit("ask", "question").unwrap();
        recorder.next_event("question").await.ack_with(&answer).unwrap();
        assert_eq!(recorder.next_event("answered").await.payload().to_json(), expected);
    }
    // There is no other way to have a name than as text.
    socket.emit("parsed", (r#""cut \ud83d""#, "[1]")).unwrap();
    let event = recorder.next_of_any_name().await;
    let replaced = if as_text { "cut \u{fffd}" } else { "cut \u{1f400}" };
    assert_eq!((event.name(), event.args::<u8>().unwrap()), (replaced, 1));

    // In a text of some length, its msgpack has whatever was in the memory behind what it makes of it.
    let text = "é".repeat(20);
    let json = format!(r#"["{text}\ud83d"]"#);
    socket.emit("parsed", (r#""echo""#, &json)).unwrap();
    let event = recorder.next_event("echo").await;
    let expected = if as_text { json } else { format!("[\"{text}\u{fffd}\u{fffd}\"]") };
    assert_eq!(event.payload().to_json(), expected);
    assert!(recorder.rest().is_empty());
}

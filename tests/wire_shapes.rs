//! What servers of many makes send: this client must get the same from it as the official one.
//!
//! `tests/vectors/shapes.json` has the conversations and what the official clients got;
//! `tests/vectors/shapes.mjs` says how to read it, and has run them.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use std::{rc::Rc, time::Duration};

use actix_socketio::{Payload, Protocol, Reason, Socket};
use bytes::Bytes;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use support::{
    PATIENCE, builder,
    recorder::{Fact, Recorder},
    scripted::{Peer, Received, Scripted},
};

/// The event after all others.
const END: &str = "the end of the shape";

/// Conversations in which the official client ends, and this one goes on.
const BETTER: [(&str, &str); 2] = [
    ("string-interval3", "it adds the intervals as texts, which is more than its timers take"),
    ("only-sid3", "without intervals, it waits for no time at all"),
];

#[derive(Deserialize)]
struct Shape {
    name: String,
    line: String,
    #[serde(default = "root")]
    ns: String,
    #[serde(default, rename = "do")]
    emits: Vec<Emit>,
    auto: Vec<Auto>,
    frames: Vec<Step>,
    frames3: Option<Vec<Step>>,
    official: Official,
}

fn root() -> String {
    "/".to_owned()
}

#[derive(Deserialize)]
struct Emit {
    emit: Vec<Value>,
    #[serde(default)]
    ack: bool,
}

/// What the client sends, the answer to that, and the only `EIO` for which it is given.
#[derive(Deserialize)]
#[serde(untagged)]
enum Auto {
    Always(String, String),
    Only(String, String, String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    Text {
        s: String,
    },
    Binary {
        b: String,
        #[serde(default)]
        hex: bool,
    },
    Expect {
        x: String,
    },
    Wait {
        w: u64,
    },
    Close {
        close: u16,
    },
}

/// What the client makes of a conversation.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Official {
    joined: bool,
    events: Vec<Value>,
    #[serde(default)]
    answers: Vec<Value>,
    #[serde(default)]
    errors: Vec<Value>,
    end: Option<String>,
}

#[actix::test]
async fn what_servers_of_many_makes_say_is_understood_as_by_the_official_client() {
    let shapes: Vec<Shape> = serde_json::from_str(include_str!("vectors/shapes.json")).unwrap();
    let shapes: Vec<Rc<Shape>> = shapes.into_iter().map(Rc::new).collect();
    let server = Rc::new(Scripted::start());
    let all = shapes.clone();
    let accepting = actix::spawn({
        let server = Rc::clone(&server);
        async move {
            loop {
                let peer = server.accept().await;
                let name = peer.parameter("shape").unwrap();
                let shape = Rc::clone(all.iter().find(|shape| shape.name == name).unwrap());
                actix::spawn(play(shape, peer));
            }
        }
    });
    let url = server.url();
    let wrong: Vec<String> = join_all(shapes.iter().map(|shape| check(shape, &url)))
        .await
        .into_iter()
        .flatten()
        .collect();
    accepting.abort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with what this client gets.
async fn check(shape: &Shape, url: &str) -> Option<String> {
    let Shape { name, line, official, .. } = shape;
    let Ok(ours) = tokio::time::timeout(PATIENCE, listen(shape, url)).await else {
        return Some(format!("{name}: it does not come to an end"));
    };
    let is_better = BETTER.iter().any(|(better, _)| better == name);
    let expected = Official {
        joined: official.joined,
        events: official.events.clone(),
        answers: official.answers.clone(),
        errors: errors(line, official),
        end: official.end.clone().filter(|_| !is_better),
    };
    (ours != expected).then(|| format!("{name}:\n  {ours:?}\n  instead of\n  {expected:?}"))
}

/// What the server says to a client that is not let in, or whose event it does not take.
fn errors(line: &str, official: &Official) -> Vec<Value> {
    let said = official.errors.iter().cloned();
    // From an old server it is all that came; this client takes the message out of it.
    let message = |said: Value| said.get("message").cloned().unwrap_or(said);
    if line == "2" { said.map(message).collect() } else { said.collect() }
}

async fn listen(shape: &Shape, url: &str) -> Official {
    let client = builder(url).query("shape", &shape.name).join_timeout(Duration::from_secs(6));
    let client = client.start().unwrap();
    let socket = client.of(&shape.ns).unwrap();
    let mut recorder = Recorder::of(&socket);
    let mut official = Official {
        joined: false,
        events: Vec::new(),
        answers: Vec::new(),
        errors: Vec::new(),
        end: None,
    };
    let mut emitting = None;
    loop {
        match recorder.next().await {
            Fact::Ready(_) => {
                official.joined = true;
                if (client.protocol() == Some(Protocol::Eio4)) != (shape.line == "4") {
                    official.errors.push(json!("it is taken for another protocol"));
                }
                let emits: Vec<(Vec<Value>, bool)> =
                    shape.emits.iter().map(|emit| (emit.emit.clone(), emit.ack)).collect();
                emitting = Some(actix::spawn(emit(socket.clone(), emits)));
            }
            Fact::Event(event) if event.name() == END => break,
            Fact::Event(event) => {
                if event.wants_ack() {
                    event.ack(()).unwrap();
                }
                let mut whole = vec![json!(event.name())];
                whole.extend(arguments(event.payload()));
                official.events.push(Value::Array(whole));
            }
            Fact::ConnectError(error) => {
                official.errors.push(match error.reason() {
                    Reason::Refused(refusal) => json!(refusal.message()),
                    _ => Value::Null,
                });
                break;
            }
            Fact::Disconnected(disconnected) => {
                official.end = disconnected.reason().official_name().map(str::to_owned);
                break;
            }
            Fact::ServerError(error) => official.errors.push(json!(error.error().message())),
            other => official.errors.push(json!(format!("{other:?}"))),
        }
    }
    if let Some(emitting) = emitting {
        official.answers = emitting.await.unwrap();
    }
    official
}

/// Emits one after the other, and waits for the answers.
async fn emit(socket: Socket, emits: Vec<(Vec<Value>, bool)>) -> Vec<Value> {
    let mut answers = Vec::new();
    for (mut arguments, ack) in emits {
        let name = arguments.remove(0);
        let name = name.as_str().unwrap();
        // All of them have one.
        let argument = arguments.pop();
        if !ack {
            socket.emit(name, argument).unwrap();
            continue;
        }
        let answer = match argument {
            Some(argument) => socket.emit_with_ack::<Payload>(name, argument),
            None => socket.emit_with_ack::<Payload>(name, ()),
        };
        let answer = answer.timeout(Duration::from_secs(5)).await.ok();
        answers.push(answer.map_or(Value::Null, |answer| arguments_of(&answer)));
    }
    answers
}

fn arguments_of(payload: &Payload) -> Value {
    Value::Array(arguments(payload))
}

/// The arguments, with bytes as the vectors have them.
fn arguments(payload: &Payload) -> Vec<Value> {
    let Ok(mut arguments) = serde_json::from_str::<Vec<Value>>(&payload.to_json()) else {
        // It has half a character, which serde does not take. There is one argument with it.
        let decoded = payload.decode::<Value>();
        return vec![decoded.unwrap_or_else(|error| json!({ "error": error.to_string() }))];
    };
    for argument in &mut arguments {
        fill(argument, payload.attachments());
    }
    arguments
}

fn fill(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Object(fields) if fields.get("_placeholder") == Some(&json!(true)) => {
            let number = usize::try_from(fields["num"].as_u64().unwrap()).unwrap();
            *value = json!({ "$bin": format!("{:x}", attachments[number]) });
        }
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, attachments)),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, attachments)),
        _ => {}
    }
}

/// Says to one client what the shape has to say.
async fn play(shape: Rc<Shape>, peer: Peer) {
    let is_old = peer.parameter("EIO") == Some("3");
    let steps = shape.frames3.as_ref().filter(|_| is_old).unwrap_or(&shape.frames);
    let mut script = Script { shape: &shape, is_old, peer, number: String::new() };
    for step in steps {
        if script.step(step).await.is_none() {
            return;
        }
    }
    let namespace = if shape.ns == "/" { String::new() } else { format!("{},", shape.ns) };
    script.peer.send_text(format!("42{namespace}[\"{END}\"]")).await;
    while script.hear(PATIENCE).await.is_some() {}
}

struct Script<'a> {
    shape: &'a Shape,
    is_old: bool,
    peer: Peer,
    /// What `$1` is.
    number: String,
}

impl Script<'_> {
    /// `None` if that was the last one.
    async fn step(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::Text { s } => {
                self.peer.send_text(s.replace("$1", &self.number)).await;
            }
            Step::Binary { b, hex: false } => {
                self.peer.send_binary(b.clone()).await;
            }
            Step::Binary { b, hex: true } => {
                let digits = b.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
                let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap());
                self.peer.send_binary(bytes.collect::<Bytes>()).await;
            }
            Step::Wait { w } => {
                let until = tokio::time::Instant::now() + Duration::from_millis(*w);
                while let Ok(heard) = tokio::time::timeout_at(until, self.hear(PATIENCE)).await {
                    heard?;
                }
            }
            Step::Expect { x } => loop {
                let text = self.hear(PATIENCE).await?;
                if let Some(number) = matched(x, &text) {
                    self.number = number;
                    break;
                }
            },
            Step::Close { close } => {
                self.peer.close(Some(*close).filter(|&code| code > 0)).await;
                while self.hear(PATIENCE).await.is_some() {}
                return None;
            }
        }
        Some(())
    }

    /// What the client says next, with the answer to that. `None` at its end.
    async fn hear(&mut self, time: Duration) -> Option<String> {
        loop {
            match self.peer.next_within(time).await? {
                Received::Text(text) => {
                    self.answer(&text).await;
                    return Some(text);
                }
                Received::Ping(data) => {
                    self.peer.pong(data).await;
                }
                Received::Close(_) | Received::Gone | Received::Illegal(_) => return None,
                Received::Binary(_) | Received::Pong(_) => {}
            }
        }
    }

    async fn answer(&self, text: &str) {
        for auto in &self.shape.auto {
            let answer = match auto {
                Auto::Always(said, answer) if said == text => answer,
                Auto::Only(said, answer, eio) if said == text && (eio == "3") == self.is_old => {
                    answer
                }
                _ => continue,
            };
            if answer == "CLOSE" {
                self.peer.close(None).await;
            } else {
                self.peer.send_text(answer).await;
            }
        }
    }
}

/// The number in what begins like the pattern, or nothing where that has none.
fn matched(pattern: &str, text: &str) -> Option<String> {
    let Some((before, behind)) = pattern.split_once("$1") else {
        return text.starts_with(pattern).then(String::new);
    };
    let rest = text.strip_prefix(before)?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    rest.strip_prefix(&number)?.starts_with(behind).then_some(number)
}

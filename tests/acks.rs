//! Acknowledgements in both directions: every question gets its own answer, or an error that says why not.

// A test fails by panicking; and a namespace of the servers is called "/foo".
#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_names,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use actix_socketio::{
    AckError, AnswerError, ConnectFailure, Disconnected, EmitError, Event, Ready, Reason, Socket,
};
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use std::{thread, time::Duration};
use support::{
    every::{Target, on_every_server, on_official_servers, unique, within},
    recorder::Recorder,
    reserved::Port,
    scripted,
};
use tokio::sync::oneshot;

on_every_server!(
    answers_come_in_every_shape,
    answers_come_in_every_shape_on_another_namespace,
    an_answer_of_another_type_is_a_decode_error,
    two_hundred_answers_in_another_order_are_not_crossed,
    an_answer_may_lead_to_the_next_question,
    an_actor_may_ask_from_its_handlers,
    what_is_asked_before_ready_is_answered,
    the_server_is_answered_in_every_shape,
    an_event_is_answered_once,
    an_event_that_asks_nothing_cannot_be_answered,
    another_thread_may_answer_later,
    no_answer_is_a_timeout,
    a_late_answer_is_dropped_and_meets_no_other_question,
    a_question_that_timed_out_before_the_join_is_never_sent,
    pending_questions_fail_when_the_server_disconnects_the_client,
    pending_questions_fail_when_the_client_leaves,
    pending_questions_fail_on_shutdown,
    a_question_to_a_namespace_that_refuses_was_never_sent,
    dropping_what_waits_for_an_answer_is_harmless,
    a_question_that_is_not_sent_is_not_asked,
    an_answer_after_the_session_is_closed,
    an_answer_for_an_earlier_visit_of_the_namespace_is_closed,
);

// socketioxide cannot cut a connection.
on_official_servers!(pending_questions_fail_when_the_connection_is_cut);

#[derive(Serialize, Deserialize, Debug, PartialEq, Clone)]
struct Blobs {
    data: Bytes,
    again: Vec<Bytes>,
}

fn blobs() -> Blobs {
    Blobs { data: Bytes::from_static(&[0, 255, 0]), again: vec![Bytes::from_static(&[7])] }
}

/// A question that stays open until the session ends: the server has it when this returns.
async fn silent(socket: &Socket) -> actix_socketio::Ack<u8> {
    let open = socket.emit_with_ack("silent", ()).send();
    assert_eq!(within(socket.emit_with_ack::<u8>("number", ())).await, Ok(7));
    open
}

/// Makes the server ask with `arguments`, and returns its event.
async fn asked(socket: &Socket, recorder: &mut Recorder, argument: &str) -> Event {
    socket.emit("ask", ("question", argument)).unwrap();
    let event = recorder.next_event("question").await;
    assert_eq!(event.args::<String>().unwrap(), argument);
    assert!(event.wants_ack());
    event
}

async fn every_shape(socket: &Socket) {
    assert_eq!(within(socket.emit_with_ack("number", ())).await, Ok(7_u8));
    assert_eq!(
        within(socket.emit_with_ack("several", ())).await,
        Ok((1_u8, "two".to_owned(), vec![3_u8]))
    );
    // A type with fewer arguments gets fewer.
    assert_eq!(within(socket.emit_with_ack("several", ())).await, Ok(1_u8));
    assert_eq!(within(socket.emit_with_ack("several", ())).await, Ok(()));
    assert_eq!(within(socket.emit_with_ack("none", ())).await, Ok(()));
    assert_eq!(within(socket.emit_with_ack("none", ())).await, Ok(None::<u8>));
    assert_eq!(within(socket.emit_with_ack("buffer", ())).await, Ok(blobs()));
    // Binary both ways, which is another kind of packet.
    let sent = (1, blobs(), "after");
    let back = within(socket.emit_with_ack("echo", &sent)).await;
    assert_eq!(back, Ok((1, blobs(), "after".to_owned())));
    assert_eq!(within(socket.emit_with_ack("echo", ())).await, Ok(None::<u8>));
}

async fn answers_come_in_every_shape(server: &Target) {
    every_shape(server.client().socket()).await;
}

async fn answers_come_in_every_shape_on_another_namespace(server: &Target) {
    let client = server.client();
    every_shape(&client.of("/foo").unwrap()).await;
}

async fn an_answer_of_another_type_is_a_decode_error(server: &Target) {
    let client = server.client();
    let socket = client.socket();
    for wrong in [
        within(socket.emit_with_ack::<String>("number", ())).await.map(drop),
        within(socket.emit_with_ack::<u8>("none", ())).await.map(drop),
        within(socket.emit_with_ack::<Blobs>("several", ())).await.map(drop),
        within(socket.emit_with_ack::<(u8, u8)>("number", ())).await.map(drop),
    ] {
        let Err(AckError::Decode(error)) = wrong else { panic!("{wrong:?}") };
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(within(socket.emit_with_ack("number", ())).await, Ok(7_u8));
}

async fn two_hundred_answers_in_another_order_are_not_crossed(server: &Target) {
    let (client, _recorder) = Recorder::joined(server).await;
    let mut pending: FuturesUnordered<_> = (0..200_u64)
        .map(|number| {
            // Spread over 400 ms, and the first question waits the longest.
            let delay = (number + 1) * 7_919 % 400;
            let delay = if number == 0 { 400 } else { delay };
            let answer = client.socket().emit_with_ack::<u64>("later", (delay, number)).send();
            async move { (number, answer.await) }
        })
        .collect();
    let mut order = Vec::new();
    while let Some((number, answer)) = within(pending.next()).await {
        assert_eq!(answer, Ok(number));
        order.push(number);
    }
    assert_eq!(order.len(), 200);
    assert!(!order.is_sorted(), "the answers came in the order of the questions");
}

async fn an_answer_may_lead_to_the_next_question(server: &Target) {
    let client = server.client();
    let socket = client.socket().clone();
    let (done, chain) = oneshot::channel();
    actix::spawn(async move {
        let mut sum = 0;
        for _ in 0..20 {
            let first: u64 = socket.emit_with_ack("number", ()).await.unwrap();
            let second: u64 = socket.emit_with_ack("echo", first).await.unwrap();
            sum += second;
        }
        done.send(sum).unwrap();
    });
    assert_eq!(within(chain).await.unwrap(), 140);
}

/// Asks when it is ready, and again in the continuation, and answers the server in between.
struct Asker {
    socket: Socket,
    done: Option<oneshot::Sender<String>>,
}

impl Actor for Asker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.socket.subscribe(ctx.address());
    }
}

impl Handler<Ready> for Asker {
    type Result = ();

    fn handle(&mut self, _: Ready, ctx: &mut Self::Context) {
        let number = self.socket.emit_with_ack::<u8>("number", ());
        ctx.spawn(number.into_future().into_actor(self).map(|number, asker, ctx| {
            let echo = asker.socket.emit_with_ack::<u8>("echo", number.unwrap());
            ctx.spawn(echo.into_future().into_actor(asker).map(|echo, asker, _| {
                asker.socket.emit("ask", ("question", echo.unwrap())).unwrap();
            }));
        }));
    }
}

impl Handler<Event> for Asker {
    type Result = ();

    fn handle(&mut self, event: Event, ctx: &mut Self::Context) {
        if event.name() == "answered" {
            self.done.take().unwrap().send(event.args().unwrap()).unwrap();
            return;
        }
        let again = self.socket.emit_with_ack::<String>("echo", "answer");
        ctx.spawn(again.into_future().into_actor(self).map(move |answer, _, _| {
            event.ack(answer.unwrap()).unwrap();
        }));
    }
}

impl Handler<Disconnected> for Asker {
    type Result = ();

    fn handle(&mut self, _: Disconnected, _: &mut Self::Context) {}
}

async fn an_actor_may_ask_from_its_handlers(server: &Target) {
    let client = server.client();
    let (done, answered) = oneshot::channel();
    Asker { socket: client.socket().clone(), done: Some(done) }.start();
    assert_eq!(within(answered).await.unwrap(), "answer");
}

async fn what_is_asked_before_ready_is_answered(server: &Target) {
    let client = server.client();
    let answers: Vec<_> =
        (0..20).map(|number| client.socket().emit_with_ack::<u8>("echo", number).send()).collect();
    for (number, answer) in (0..20).zip(answers) {
        assert_eq!(within(answer).await, Ok(number));
    }
}

async fn the_server_is_answered_in_every_shape(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let foo = client.of("foo").unwrap();
    let mut on_foo = Recorder::of(&foo);
    on_foo.next_ready().await;
    for (socket, recorder) in [(client.socket(), &mut recorder), (&foo, &mut on_foo)] {
        asked(socket, recorder, "one value").await.ack("one").unwrap();
        let answer = recorder.next_event("answered").await;
        assert_eq!(answer.payload().to_json(), r#"["one"]"#);

        asked(socket, recorder, "several").await.ack((1, "two", [3, 4], None::<u8>)).unwrap();
        let answer = recorder.next_event("answered").await;
        assert_eq!(answer.payload().to_json(), r#"[1,"two",[3,4],null]"#);

        asked(socket, recorder, "nothing").await.ack(()).unwrap();
        let answer = recorder.next_event("answered").await;
        assert_eq!(answer.payload().to_json(), "[]");

        asked(socket, recorder, "binary").await.ack(("x", blobs(), Bytes::new())).unwrap();
        let answer = recorder.next_event("answered").await;
        let answer = answer.args::<(String, Blobs, Bytes)>().unwrap();
        assert_eq!(answer, ("x".to_owned(), blobs(), Bytes::new()));
    }
}

async fn an_event_is_answered_once(server: &Target) {
    let (client, mut first) = Recorder::joined(server).await;
    let mut second = Recorder::of(client.socket());
    second.next_ready().await;
    let event = asked(client.socket(), &mut first, "who?").await;
    let same = second.next_event("question").await;
    assert!(same.wants_ack());
    event.ack("first").unwrap();
    assert_eq!(event.ack("again"), Err(AnswerError::AlreadyAnswered));
    assert_eq!(event.clone().ack("again"), Err(AnswerError::AlreadyAnswered));
    assert_eq!(same.ack("second"), Err(AnswerError::AlreadyAnswered));
    assert_eq!(first.next_event("answered").await.args::<String>().unwrap(), "first");
    // An answer that was not taken does not count.
    let event = asked(client.socket(), &mut first, "how?").await;
    let list_as_key = std::collections::HashMap::from([(vec![1], 2)]);
    let Err(AnswerError::Encode(_)) = event.ack(list_as_key) else { panic!("no such JSON") };
    event.ack("well").unwrap();
    assert_eq!(first.next_event("answered").await.args::<String>().unwrap(), "well");
}

async fn an_event_that_asks_nothing_cannot_be_answered(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    client.socket().emit("noargs", ()).unwrap();
    let event = recorder.next_event("noargs").await;
    assert!(!event.wants_ack());
    assert_eq!(event.ack(1), Err(AnswerError::NotAsked));
}

async fn another_thread_may_answer_later(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let event = asked(client.socket(), &mut recorder, "later?").await;
    // Meanwhile, other things happen.
    assert_eq!(within(client.socket().emit_with_ack("later", (50, 1))).await, Ok(1_u8));
    thread::spawn(move || event.ack("from a thread")).join().unwrap().unwrap();
    let answer = recorder.next_event("answered").await;
    assert_eq!(answer.args::<String>().unwrap(), "from a thread");
}

async fn no_answer_is_a_timeout(server: &Target) {
    let client = server.builder().ack_timeout(Duration::from_millis(300)).start().unwrap();
    let socket = client.socket();
    within(socket.ready()).await.unwrap();
    assert_eq!(within(socket.emit_with_ack::<u8>("silent", ())).await, Err(AckError::TimedOut));
    let brief = socket.emit_with_ack::<u8>("silent", ()).timeout(Duration::from_millis(50));
    assert_eq!(within(brief).await, Err(AckError::TimedOut));
    let none = socket.emit_with_ack::<u8>("silent", ()).timeout(Duration::ZERO);
    assert_eq!(within(none).await, Err(AckError::TimedOut));
    // The time of a call may also be longer than the default.
    let patient = socket.emit_with_ack::<u8>("later", (600, 5)).timeout(Duration::from_secs(9));
    assert_eq!(within(patient).await, Ok(5));
    // The longest there is does no harm.
    let endless = socket.emit_with_ack::<u8>("number", ()).timeout(Duration::MAX);
    assert_eq!(within(endless).await, Ok(7));
}

async fn a_late_answer_is_dropped_and_meets_no_other_question(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let brief = Duration::from_millis(20);
    let late = socket.emit_with_ack::<String>("later", (300, "late")).timeout(brief);
    assert_eq!(within(late).await, Err(AckError::TimedOut));
    // Asked before the late answer comes, and answered after it.
    let right = socket.emit_with_ack::<String>("later", (600, "right")).send();
    let next = socket.emit_with_ack::<u8>("number", ());
    assert_eq!(within(next).await, Ok(7));
    assert_eq!(within(right).await, Ok("right".to_owned()));
    assert!(recorder.rest().is_empty());
}

async fn a_question_that_timed_out_before_the_join_is_never_sent(server: &Target) {
    let (client, _recorder) = Recorder::joined(server).await;
    // It takes 200 ms to join.
    let late = client.of("/late").unwrap();
    let key = unique("unsent");
    let brief = late.emit_with_ack::<u64>("count", &key).timeout(Duration::from_millis(20));
    assert_eq!(within(brief).await, Err(AckError::NeverSent(EmitError::Expired)));
    assert_eq!(late.unsent(), 0, "its room is free again");
    within(late.ready()).await.unwrap();
    assert_eq!(within(late.emit_with_ack::<u8>("number", ())).await, Ok(7));
    assert_eq!(server.counted(&key), 0);
}

async fn pending_questions_fail_when_the_server_disconnects_the_client(server: &Target) {
    for namespace in ["/", "/foo"] {
        let client = server.client();
        let socket = client.of(namespace).unwrap();
        let mut recorder = Recorder::of(&socket);
        recorder.next_ready().await;
        let open = silent(&socket).await;
        socket.emit("leave", ()).unwrap();
        let reason = Reason::ServerDisconnect;
        assert_eq!(within(open).await, Err(AckError::Disconnected(reason.clone())));
        assert_eq!(recorder.next_disconnected().await, reason);
        let next = within(socket.emit_with_ack::<u8>("number", ())).await;
        assert_eq!(next, Err(AckError::NeverSent(EmitError::Closed(reason))));
    }
}

async fn pending_questions_fail_when_the_client_leaves(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let open = silent(client.socket()).await;
    client.socket().disconnect();
    let reason = Reason::ClientDisconnect;
    assert_eq!(within(open).await, Err(AckError::Disconnected(reason.clone())));
    assert_eq!(recorder.next_disconnected().await, reason);
}

async fn pending_questions_fail_on_shutdown(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let open = silent(client.socket()).await;
    let report = within(client.shutdown(Duration::from_secs(5))).await;
    assert_eq!(report.dropped, 0);
    assert_eq!(within(open).await, Err(AckError::Disconnected(Reason::Shutdown)));
    assert_eq!(recorder.next_disconnected().await, Reason::Shutdown);
}

async fn pending_questions_fail_when_the_connection_is_cut(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let foo = client.of("/foo").unwrap();
    let on_root = silent(client.socket()).await;
    let on_foo = silent(&foo).await;
    client.socket().emit("cut", ()).unwrap();
    let Err(AckError::Disconnected(reason)) = within(on_root).await else { panic!("no answer") };
    assert!(matches!(reason, Reason::TransportClose(_) | Reason::TransportError(_)), "{reason:?}");
    assert_eq!(within(on_foo).await, Err(AckError::Disconnected(reason.clone())));
    assert_eq!(recorder.next_disconnected().await, reason);
}

async fn a_question_to_a_namespace_that_refuses_was_never_sent(server: &Target) {
    let client = server.client();
    let no = client.of("/no").unwrap();
    let answer = within(no.emit_with_ack::<u8>("number", ())).await;
    let Err(AckError::NeverSent(EmitError::Closed(Reason::Refused(_)))) = answer else {
        panic!("{answer:?}");
    };
}

async fn dropping_what_waits_for_an_answer_is_harmless(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let socket = client.socket();
    let key = unique("dropped");
    drop(socket.emit_with_ack::<u64>("count", &key).send());
    drop(socket.emit_with_ack::<u8>("later", (20, 1)).send());
    drop(socket.emit_with_ack::<u8>("silent", ()).timeout(Duration::from_millis(10)).send());
    assert_eq!(within(socket.emit_with_ack::<u8>("later", (60, 2))).await, Ok(2));
    assert_eq!(server.counted(&key), 1, "it was sent all the same");
    assert!(recorder.rest().is_empty());
}

async fn a_question_that_is_not_sent_is_not_asked(server: &Target) {
    let (client, _recorder) = Recorder::joined(server).await;
    let key = unique("unasked");
    drop(client.socket().emit_with_ack::<u64>("count", &key));
    assert_eq!(within(client.socket().emit_with_ack::<u8>("number", ())).await, Ok(7));
    assert_eq!(server.counted(&key), 0);
}

async fn an_answer_after_the_session_is_closed(server: &Target) {
    let (client, mut recorder) = Recorder::joined(server).await;
    let event = asked(client.socket(), &mut recorder, "too late?").await;
    client.socket().emit("leave", ()).unwrap();
    assert_eq!(recorder.next_disconnected().await, Reason::ServerDisconnect);
    assert_eq!(event.ack("late"), Err(AnswerError::Closed));
    // It must be this reason each time.
    assert_eq!(event.ack("later"), Err(AnswerError::Closed));
}

async fn an_answer_for_an_earlier_visit_of_the_namespace_is_closed(server: &Target) {
    // The connection stays the same.
    let (client, _root) = Recorder::joined(server).await;
    let foo = client.of("/foo").unwrap();
    let mut recorder = Recorder::of(&foo);
    recorder.next_ready().await;
    let old = asked(&foo, &mut recorder, "first").await;
    foo.emit("leave", ()).unwrap();
    assert_eq!(recorder.next_disconnected().await, Reason::ServerDisconnect);
    foo.connect();
    recorder.next_ready().await;
    let new = asked(&foo, &mut recorder, "second").await;
    assert_eq!(old.ack("the wrong one"), Err(AnswerError::Closed));
    new.ack("the right one").unwrap();
    // On a server that numbers its questions anew for each visit, the wrong one would come first.
    let answer = recorder.next_event("answered").await;
    assert_eq!(answer.args::<String>().unwrap(), "the right one");
}

#[actix::test]
async fn a_question_to_a_server_that_is_not_there_was_never_sent() {
    let port = Port::reserve();
    let client = support::builder(port.url()).start().unwrap();
    let answer = within(client.socket().emit_with_ack::<u8>("number", ())).await;
    let Err(AckError::NeverSent(EmitError::Closed(Reason::Connect(ConnectFailure::Unreachable(
        _,
    ))))) = answer
    else {
        panic!("{answer:?}");
    };
}

#[actix::test]
async fn a_question_to_a_server_that_says_nothing_expires() {
    let server = scripted::stall();
    let client = support::builder(server.url()).start().unwrap();
    let answer =
        client.socket().emit_with_ack::<u8>("number", ()).timeout(Duration::from_millis(50));
    assert_eq!(within(answer).await, Err(AckError::NeverSent(EmitError::Expired)));
    assert_eq!(client.socket().unsent(), 0, "its room is free again");
}

#[actix::test]
async fn a_question_keeps_the_connection_alive_until_its_answer() {
    let server = support::every::socketioxide();
    let client = server.connected().await;
    let answer = client.socket().emit_with_ack::<u8>("later", (200, 1)).send();
    drop(client);
    assert_eq!(within(answer).await, Ok(1));
}

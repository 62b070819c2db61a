//! A whole client, and a server that sends it real messages, changed at random: each of them ends the connection or
//! is survived, and then the client and the server understand each other again.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]

mod support;

use std::time::{Duration, Instant};

use actix_socketio::{DialLimiter, Filter, Reconnect, Retry, Socket};
use futures::future::{Either, select};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use support::{
    PATIENCE,
    mutate::{self, Message},
    scripted::{Peer, Received, Scripted},
};

/// When the messages come.
#[derive(Clone, Copy, Debug)]
enum When {
    /// In a session.
    Joined,
    /// Instead of the handshake.
    First,
    /// Between the handshake and the answer to the request to join.
    Joining,
    /// In a session, as bytes that are no frames.
    Raw,
}

async fn send(peer: &Peer, messages: &[Message]) {
    for message in messages {
        // It may be over already.
        let _: bool = match message {
            Message::Text(text) => peer.send_text(text).await,
            Message::Binary(data) => peer.send_binary(data.clone()).await,
        };
    }
}

/// A server that behaves, whatever was said before.
async fn behave(server: &Scripted, peer: &mut Peer) {
    loop {
        match peer.next_within(PATIENCE).await {
            Some(Received::Text(text)) if text.starts_with("40") => {
                peer.send_text(r#"40{"sid":"x"}"#).await;
            }
            Some(Received::Text(text)) if text.contains(r#"["probe""#) => {
                let id: String = text.chars().skip(2).take_while(char::is_ascii_digit).collect();
                peer.send_text(format!("43{id}[]")).await;
            }
            Some(Received::Ping(data)) => {
                peer.pong(data).await;
            }
            Some(Received::Text(_) | Received::Binary(_) | Received::Pong(_)) => {}
            Some(Received::Close(_) | Received::Illegal(_) | Received::Gone) | None => {
                peer.cut().await;
                *peer = server.accept().await;
                peer.open().await;
            }
        }
    }
}

async fn probe(socket: &Socket, server: &Scripted, peer: &mut Peer) -> Result<(), String> {
    // It may be under way when the connection ends.
    let ask = socket.emit_with_ack("probe", ()).timeout(PATIENCE).retries(1_000);
    let asked = tokio::time::timeout(PATIENCE, async { ask.await });
    let server = std::pin::pin!(behave(server, peer));
    match select(std::pin::pin!(asked), server).await {
        Either::Left((Ok(Ok(())), _)) => Ok(()),
        Either::Left((outcome, _)) => Err(format!("{outcome:?}")),
        Either::Right(((), _)) => Err("the server has ended".to_owned()),
    }
}

#[actix_web::test]
async fn a_client_survives_whatever_a_server_sends() {
    let server = Scripted::start();
    let soon = Duration::from_millis(1);
    let policy = Reconnect::default()
        .delay(soon, soon)
        .limiter(DialLimiter::unlimited())
        .retry(|_| Retry::Again);
    let client = support::client(server.url()).reconnect(policy).start().unwrap();
    let socket = client.socket();
    // What nobody hears waits for a subscriber.
    socket.listen(Filter::all()).call(drop);
    let mut peer = server.accept().await;
    peer.open().await;
    probe(socket, &server, &mut peer).await.unwrap();

    let seed = mutate::seed();
    println!("client: FUZZ_SEED={seed}");
    let mut runner =
        TestRunner::new_with_rng(proptest::test_runner::Config::default(), mutate::rng(seed));
    let when = prop::sample::select(vec![When::Joined, When::First, When::Joining, When::Raw]);
    let inputs = (when, mutate::messages(mutate::corpus()));
    let end = Instant::now() + mutate::budget();
    let (mut count, mut lost) = (0_u64, 0_u64);
    while Instant::now() < end {
        let (when, messages) = inputs.new_tree(&mut runner).unwrap().current();
        let requests = server.requests();
        match when {
            When::Joined => send(&peer, &messages).await,
            When::Raw => {
                for message in &messages {
                    peer.send_raw(message.bytes().to_vec()).await;
                }
                peer.cut().await;
            }
            When::First | When::Joining => {
                peer.cut().await;
                peer = server.accept().await;
                if matches!(when, When::Joining) {
                    peer.open().await;
                }
                send(&peer, &messages).await;
                // A handshake among them may have asked for any heartbeat, or for none.
                peer.cut().await;
            }
        }
        if let Err(outcome) = probe(socket, &server, &mut peer).await {
            panic!("client: FUZZ_SEED={seed}, input {count}: {outcome}\n{when:?} {messages:?}");
        }
        count += 1;
        lost += u64::from(server.requests() > requests);
    }
    println!("client: {count} inputs, {lost} connections lost");
    let shutdown = std::pin::pin!(client.shutdown(PATIENCE));
    select(shutdown, std::pin::pin!(behave(&server, &mut peer))).await;
}

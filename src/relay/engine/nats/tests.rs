use async_nats::jetstream::{self, stream::Config};

use super::*;
use crate::relay::engine::conformance::servers::{self, Nats as Servers};

#[actix::test]
async fn streams_that_are_there_are_used_if_they_have_the_settings() {
    let Some(server) = Servers::one().await else { return };
    let client = server.client().await;
    for _ in 0..2 {
        Engine::nats(&client, NatsOptions::new()).await.unwrap();
    }
    let other = NatsOptions::new().max_age(Duration::from_secs(60)).max_bytes(2 << 20);
    let error = Engine::nats(&client, other).await.unwrap_err();
    let NatsError::Differs { stream, differences } = &error else { panic!("{error}") };
    assert_eq!(stream, "sio_ev");
    assert_eq!(differences, "max_age is 86400s, not 60s; max_bytes is 1073741824, not 2097152");
    // Nothing has changed.
    Engine::nats(&client, NatsOptions::new()).await.unwrap();
    Engine::nats(&client, NatsOptions::new().prefix("other")).await.unwrap();
}

#[actix::test]
async fn a_stream_of_another_kind_in_the_place_of_the_log_is_told() {
    let Some(server) = Servers::one().await else { return };
    let client = server.client().await;
    let subjects = vec!["orders.*".to_owned()];
    let config = Config { name: "sio_ev".to_owned(), subjects, ..Config::default() };
    jetstream::new(client.clone()).create_stream(config).await.unwrap();
    let error = Engine::nats(&client, NatsOptions::new()).await.unwrap_err();
    assert!(error.to_string().contains(r#"subjects is ["orders.*"], not ["sio.ev.*"]"#), "{error}");
}

#[actix::test]
async fn what_a_server_cannot_do_is_refused() {
    let Some(server) = Servers::one().await else { return };
    let client = server.client().await;
    let error = Engine::nats(&client, NatsOptions::new().replicas(3)).await.unwrap_err();
    assert!(matches!(error, NatsError::Refused(_) | NatsError::TooOld(_)), "{error}");
    let vast = NatsOptions::new().prefix("vast").max_bytes(1 << 50);
    let error = Engine::nats(&client, vast).await.unwrap_err();
    assert!(matches!(error, NatsError::Refused(_)), "{error}");
}

#[actix::test]
async fn a_server_without_jetstream_is_told() {
    let Some(server) = Servers::one_without_jetstream().await else { return };
    let error = Engine::nats(&server.client().await, NatsOptions::new()).await.unwrap_err();
    let told = "no JetStream: it is switched off, or starts";
    assert_eq!(error, NatsError::Away(told.to_owned()));
}

/// A cluster whose leader takes the first node for offline.
async fn cluster_without_first() -> Option<Servers> {
    let mut servers = Servers::cluster().await?;
    servers.restart_without_first().await;
    Some(servers)
}

#[actix::test]
async fn streams_wait_for_a_node_that_is_offline() {
    let Some(mut servers) = cluster_without_first().await else { return };
    let mut asked = servers.client().await.subscribe("$JS.API.STREAM.CREATE.sio_ev").await.unwrap();
    let client = servers.client().await;
    let starts = async {
        // The second request says that the first was refused.
        asked.next().await.unwrap();
        asked.next().await.unwrap();
        servers.restart(0);
    };
    let (engine, ()) = tokio::join!(Engine::nats(&client, NatsOptions::new().replicas(3)), starts);
    engine.unwrap();
}

#[actix::test]
async fn too_few_nodes_for_the_replicas_are_told() {
    let Some(servers) = cluster_without_first().await else { return };
    let client = servers.client().await;
    let options = NatsOptions::new().replicas(3);
    let names = Names::new("sio");
    let set_up = streams::set_up(&client, &names, &options, Duration::from_secs(1)).boxed();
    let error = clock::within(servers::PATIENCE, set_up).await.unwrap().unwrap_err();
    let NatsError::NoPlace { stream, replicas: 3, text } = &error else { panic!("{error}") };
    assert_eq!(stream, "sio_ev");
    assert!(text.contains("no suitable peers"), "{text}");
    // What needs fewer can be made.
    Engine::nats(&client, NatsOptions::new().replicas(1)).await.unwrap();
}

#[actix::test]
async fn a_server_that_is_away_is_told_from_one_that_refuses_and_its_password_is_not() {
    let Some(mut server) = Servers::one().await else { return };
    let url = format!("nats://user:secret@127.0.0.1:{}", server.ports()[0]);
    let client = servers::client(&[url]).await;
    let options = NatsOptions::new().ack_timeout(Duration::from_millis(300));
    let engine = Engine::nats(&client, options).await.unwrap();
    server.kill(0);
    let backend = &engine.0;
    let record = || Record {
        id: "a".to_owned(),
        fence: 1,
        offset: None,
        count: 1,
        body: Bytes::from_static(b"x"),
    };
    let lease = Lease { upstream: "a".to_owned(), worker: "a".to_owned(), fence: 1, revision: 1 };
    let worker = Presence { worker: "worker".to_owned(), upstreams: Vec::new() };
    let failures = [
        backend.acquire("shop", "worker").await.unwrap_err(),
        backend.renew(&lease).await.unwrap_err(),
        backend.release(&lease).await.unwrap_err(),
        backend.holder("shop").await.unwrap_err(),
        backend.announce(&worker).await.unwrap_err(),
        backend.withdraw("worker").await.unwrap_err(),
        backend.workers().await.unwrap_err(),
        backend.head("shop").await.unwrap_err(),
        backend.keep_ticket("shop", 1, "pid").await.unwrap_err(),
        backend.ticket("shop").await.unwrap_err(),
        backend.enqueue("shop", "id", Bytes::new()).await.unwrap_err(),
        backend.result("shop", "id", Duration::ZERO).await.unwrap_err(),
        match backend.append("shop", 0, record()).await.unwrap_err() {
            AppendError::Engine(error) => error,
            error => panic!("{error}"),
        },
    ];
    for failure in failures {
        assert!(matches!(failure, EngineError::Away(_)), "{failure}");
        assert!(!failure.to_string().contains("secret"));
    }
    assert!(!format!("{engine:?}").contains("secret"));
    let outcome = backend.request("shop", Bytes::new(), Duration::from_millis(300)).await;
    assert_eq!(outcome, Err(RequestError::NoAnswer));
}

/// Waits until a call succeeds again.
async fn again<T, E: fmt::Debug>(mut call: impl AsyncFnMut() -> Result<T, E>) -> T {
    for _ in 0..100 {
        if let Ok(outcome) = call().await {
            return outcome;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    call().await.unwrap()
}

#[actix::test]
async fn a_consumer_goes_on_when_the_server_is_back() {
    let Some(mut server) = Servers::one().await else { return };
    let engine = Engine::nats(&server.client().await, NatsOptions::new()).await.unwrap();
    let backend = &engine.0;
    let wanted = |durable: Option<&str>| Subscription {
        durable: durable.map(str::to_owned),
        upstreams: Vec::new(),
        begin: crate::relay::engine::Begin::Start,
        ack_wait: Duration::from_secs(60),
        window: 8,
    };
    let mut consumers = [backend.read(wanted(None)), backend.read(wanted(Some("billing")))];
    for id in 1..=3_u64 {
        let record = || Record {
            id: id.to_string(),
            fence: 1,
            offset: None,
            count: 1,
            body: Bytes::from_static(b"x"),
        };
        let sequence = again(async || match backend.append("shop", id - 1, record()).await {
            Err(AppendError::OutOfDate) => {
                Ok(backend.head("shop").await.ok().flatten().map_or(0, |head| head.sequence))
            }
            outcome => outcome,
        });
        assert_eq!(sequence.await, id);
        for (number, consumer) in consumers.iter_mut().enumerate() {
            loop {
                match consumer.next().await.unwrap() {
                    Ok(delivery) => {
                        (delivery.ack)().await.unwrap();
                        if delivery.record.id == id.to_string() {
                            break;
                        }
                        // A server that is killed forgets the last acks of a durable consumer.
                        assert_eq!(number, 1, "{} comes again", delivery.record.id);
                    }
                    Err(error) => assert!(matches!(error, EngineError::Away(_)), "{error}"),
                }
            }
        }
        server.kill(0);
        server.restart(0);
        server.ready().await;
    }
}

//! Past one machine: a log of events, and workers that take over from each other. (Feature `relay`.)
//!
//! (This module is a page to read; it has no items.)
//!
//! A [relay](crate::relay) joins Socket.IO servers, its *upstreams*, and writes their events to a log. Any number of programs read
//! the log, on other machines and in other languages. Several *workers* share the upstreams: each upstream has one
//! holder at a time, and when the holder goes, another worker takes over at the event where it stopped. Commands go the other way,
//! from any program to the holder, and its server's answer comes back.
//!
//! # When to use it
//!
//! | situation | use |
//! |---|---|
//! | one program that needs the events itself | a [`Client`](crate::Client) |
//! | two servers that pass their events to each other | a [`Bridge`](crate::Bridge) |
//! | browsers that watch a server | an actor for each websocket: [`guide::bridges`](crate::guide::bridges) |
//! | a restart must not lose events, and one process is enough | [`hand_over`](crate::Client::hand_over) and [`resume`](crate::ClientBuilder::resume) |
//! | the machine may fail, or be replaced, and nobody wants to be woken up | a relay, with two workers or more |
//! | readers that come later, read again, or are slow for minutes | a relay |
//! | hundreds of upstreams, more than one process can hold | a relay, with as many workers as it takes |
//!
//! A relay has a price: a cluster to run, some milliseconds for each event, and at-least-once delivery to readers. Do not take it
//! for a single connection that a [`Client`](crate::Client) holds well.
//!
//! What it can carry, on a machine with two cores that has everything on it (the Socket.IO servers, NATS, workers, a reader), events of
//! 64 bytes, from server to reader:
//!
//! | NATS servers | workers | events/s | NATS alone, with records of that size |
//! |--:|--:|--:|--:|
//! | 1 | 1 | 560 000 | 2 060 000 |
//! | 1 | 3 | 620 000 | 2 010 000 |
//! | 3 | 1 | 376 000 | 570 000 |
//! | 3 | 3 | 374 000 | 524 000 |
//!
//! These are rates while the log is behind, with 256 events in each record. With `sync_interval: always`, a disk's time for each record is added. A worker
//! with six upstreams takes about 20 MiB of memory, and more while events wait.
//!
//! # How to run it
//!
//! The workers meet in an [`Engine`](crate::relay::Engine). The one in the process needs nothing, and ends with the process: it is for tests, and
//! for one machine. The other is NATS with its `JetStream`:
//!
//! * **2.10 or later.** Some older versions do not compare sequences reliably in a cluster, and that comparison is what keeps a
//!   former holder out of the log. So an older server is taken with one replica only. (It also refuses `sync_interval`.)
//! * **Three nodes, three replicas,** for anything that matters. One node is for development.
//! * **`sync_interval: always`,** or three power domains. By default a node writes to its disk every two minutes: what
//!   it has acknowledged survives the loss of a process, but not a power cut of all nodes.
//!
//! ```text
//! # nats.conf of the first of three nodes
//! server_name: nats-1
//! listen: 0.0.0.0:4222
//! http: 127.0.0.1:8222
//! jetstream { store_dir: /var/lib/nats, max_file_store: 20GB, max_memory_store: 256MB, sync_interval: always }
//! cluster { name: relay, listen: 0.0.0.0:6222, routes: [ nats://nats-2:6222, nats://nats-3:6222 ] }
//! ```
//!
//! The example `relay` is a daemon with a configuration file, pages for health and metrics, and an orderly end. To see it all on one
//! machine, with nothing installed:
//!
//! ```sh
//! cargo run --example relay -- --demo
//! cargo run --example relay -- --config relay.toml --check    # says all that is wrong in the file
//! cargo run --example relay -- --config relay.toml
//! ```
//!
//! With NATS on one machine, for development: `nats-server -js -sd /tmp/nats`, this `relay.toml`, and the last command twice. Each worker
//! prints where its pages are. End the one that holds the upstream with Ctrl-C, and the other takes over.
//! `cargo run --example relay_log --features relay -- nats://localhost:4222` prints the log.
//!
//! ```toml
//! http = "127.0.0.1:0"                        # any free port, as there are two workers
//!
//! [engine]
//! kind = "nats"
//! servers = ["nats://localhost:4222"]         # and on three nodes: all of them, with replicas = 3
//!
//! [[upstream]]
//! name = "shop"
//! url = "http://localhost:3000"
//! ```
//!
//! Run the same configuration on several machines, each with a `worker` of its own, or without one. They share the upstreams evenly,
//! and move them when a worker comes or goes, one at a time. The workers may also have different upstreams: each is shared by those that have it.
//!
//! # Guarantees when something fails
//!
//! *Recovery* is [connection state recovery](crate::guide::reconnecting) of the Socket.IO server: 4.6 or later, switched on with
//! `connectionStateRecovery`, with the built-in adapter or one that supports it. With it, a server sends a client again what it
//! missed within two minutes. Without it, events that a server emits while no client is joined are lost, and the relay writes a
//! *gap mark* to the log: no gap is silent.
//!
//! | event | without recovery | with recovery |
//! |---|---|---|
//! | a worker ends in order (SIGTERM, a new version) | a gap as long as joining takes, marked | nothing is lost |
//! | a worker is killed, or dies | a gap until its lease is over, marked | nothing is lost: the next holder resumes after the last *stored* event |
//! | the machine of a worker is lost, or its network | a gap, marked | with [`Takeover::Ordered`](crate::relay::Takeover::Ordered), nothing is lost: the next holder waits until the server has noticed (its `pingInterval` and `pingTimeout`, 45 s by default), and then resumes. With [`Takeover::Now`](crate::relay::Takeover::Now), new events come at once, the gap is marked, and what is missing comes late |
//! | a worker stalls for longer than its lease, and wakes up | a gap, marked; the log refuses what it still writes | nothing is lost, nothing comes twice; the log refuses what it still writes |
//! | the connection to the server is lost | a gap until it is joined again, marked | nothing is lost if the server has noticed by the time the client is back, as it mostly has. Otherwise it begins a new session: the gap is marked, and with [`Takeover::Now`](crate::relay::Takeover::Now), what is missing comes late |
//! | the holder cannot reach the server, though other workers can | a gap, marked | after three times the lease time, 45 s by default, another worker takes over. Nothing is lost if that is done within the server's two minutes; otherwise a gap, marked. The first worker leaves the upstream to the others until it reaches the server again, which it tries after 135 s, and then at ever longer intervals of up to an hour |
//! | the server is restarted | a gap, marked | a gap, marked: the new process knows no sessions |
//! | NATS loses a node of three | events wait in the worker for some seconds | the same |
//! | NATS is away | events wait up to the bound, then [`WhenFull`](crate::relay::WhenFull) decides | with [`WhenFull::LetGo`](crate::relay::WhenFull::LetGo), nothing is lost if NATS is back within the server's two minutes |
//! | a reader dies | on its return it gets again what it has not acknowledged | the same |
//! | the holder goes in order while a command is on its way | the caller gets an error: not sent, or no answer and it may have arrived | the same |
//! | the holder dies while a command is on its way | after its timeout, the caller gets an error: no answer, and the command may have arrived | the same |
//!
//! One thing is not marked: events *without an offset* in a recoverable session, which are volatile ones and those that ask for an answer. A server
//! never sends them again. Such events are lost without a mark if they were emitted while nobody was joined, or if their worker dies before it
//! has stored them.
//!
//! So each event is in the log once, in the order of its server. A *reader* gets it at least once: twice, if the reader ended before its
//! acknowledgement was stored. The sequence of the record and the place in it tell you whether you have seen an event before.
//!
//! # The format of the log
//!
//! A record is a message of the stream `sio_ev`, on the subject `sio.ev.<upstream>` (`sio` is the
//! [prefix](crate::relay::NatsOptions::prefix)). Its body is lines of JSON, so any language can read it:
//!
//! ```text
//! $ nats sub 'sio.ev.*' --raw
//! {"at":1764365796120,"mark":{"holder":"worker-1"}}
//! {"at":1764365796123,"offset":"Q84HHan","event":["price","tea",3.5,"Q84HHan"]}
//! {"at":1764365796124,"namespace":"/shop","event":["picture",{"_placeholder":true,"num":0}],"attachments":["AQID"]}
//! {"at":1764365796125,"mark":{"gap":"new-session","missed":null}}
//! ```
//!
//! | key | content |
//! |---|---|
//! | `at` | when the worker received it, in milliseconds since 1970 (UTC) |
//! | `namespace` | of the event; not there for `/` |
//! | `event` | the name, and the arguments as the server sent them. In a recoverable session, the server appends the offset to the arguments |
//! | `attachments` | binary arguments in base64; `{"_placeholder":true,"num":n}` stands for the n-th of them, counted from 0 |
//! | `offset` | the place of the event in a recoverable session; not in each event |
//! | `late` | `true`: the server emitted it before events that are above it. Only with [`Takeover::Now`](crate::relay::Takeover::Now) |
//! | `mark` | a mark instead of an event. `holder`: this worker writes from here on. `left`: this worker has stopped writing, and everything that it received is above. `gap`: events are missing here; `missed` is how many, or `null` if that is unknown. `filled`: this many events came late, which is all that were missing at the last `new-session` |
//!
//! | gap | reason |
//! |---|---|
//! | `new-session` | the server began a new session: it does not recover sessions, or not this one any more |
//! | `dropped` | the log could not keep up, and [`WhenFull::DropNewest`](crate::relay::WhenFull::DropNewest) was set |
//! | `replaced` | the log could not keep up, and with [`WhenFull::Latest`](crate::relay::WhenFull::Latest) later events took the place of earlier ones |
//! | `lagged` | the worker could not keep up with the server |
//! | `too-large` | an event did not fit into a record |
//!
//! Ignore keys that you do not know. The headers `Sio-Fence`, `Sio-Offset` and `Sio-Count` are for workers; skip the records of an
//! upstream whose `Sio-Fence` is lower than that of an earlier record: a former holder wrote them.
//!
//! # Reading it
//!
//! In Rust, a [`Reader`](crate::relay::Reader) does all that. It gives actors the same [`Event`](crate::Event) messages as a socket, or types of
//! your own, or is a stream:
//!
//! ```no_run
//! use actix_socketio::relay::{Begin, Engine, LogEntry, Reader};
//! use futures::StreamExt;
//!
//! # async fn example(engine: Engine) -> Result<(), Box<dyn std::error::Error>> {
//! let reader = Reader::builder(engine).durable("billing").upstreams(["shop"]).begin(Begin::Start);
//! let mut log = reader.stream()?;
//! while let Some(entry) = log.next().await {
//!     match entry {
//!         LogEntry::Event(event) => {
//!             println!("{}: {}", event.upstream(), event.event().name());
//!             event.ack().await?;
//!         }
//!         LogEntry::Mark(mark) => println!("{mark:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The engine remembers what a *durable* reader has acknowledged. Several readers with one name share the records: none of them gets all,
//! nor in order. A reader without a name begins where [`begin`](crate::relay::ReaderBuilder::begin) says, and is forgotten with its process. It has to
//! acknowledge, too: nothing comes again, but no more records come while [`window`](crate::relay::ReaderBuilder::window) of them are not acknowledged.
//!
//! # Commands
//!
//! A [`Caller`](crate::relay::Caller) sends a command to the server of an upstream, through the upstream's holder. It needs no worker in its process, and takes the same
//! [contracts](crate::guide::acknowledgements) as [`Socket::call`](crate::Socket::call):
//!
//! * **Plain**: at most once. If nobody holds the upstream, the error comes at once, and nothing was sent. Otherwise the error
//!   says whether the command was sent: `no`, `maybe`, `yes`.
//! * **Durable**, with an id: at least once. NATS keeps it until the server has answered, even while no worker is running. The same
//!   id asked again gets the same answer. If a holder is lost at the wrong moment, the server gets the command a second time, so the
//!   server should know the id.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_socketio::relay::{Caller, Engine, NatsOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let nats = async_nats::connect("nats://localhost:4222").await?;
//! let caller = Caller::new(Engine::nats(&nats, NatsOptions::default()).await?);
//! let order: u64 =
//!     caller.emit_with_ack("shop", "buy", ("tea", 3)).timeout(Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The options are those of the workers: if their file has `replicas = 3`, it is `NatsOptions::new().replicas(3)` here. Otherwise the
//! error is [`Differs`](crate::relay::NatsError::Differs).
//!
//! In other languages, a plain command is a request on the subject `sio.cmd.<upstream>`. The header `Sio-Timeout` says in
//! milliseconds how long the caller waits; without it, the server has ten seconds.
//!
//! ```text
//! $ nats request sio.cmd.shop '{"event":["buy","tea",3]}'
//! {"answer":[17]}
//! $ nats request sio.cmd.shop '{"event":["hello"],"ack":false}'
//! {"answer":[]}
//! $ nats request sio.cmd.shop '{"event":["hello"],"ack":false}'      # while the server is away
//! {"error":{"kind":"not-sent","text":"the namespace is not joined","sent":"no"}}
//! ```
//!
//! With `"ack":false` the answer comes when the event is written. If nobody holds the upstream, or its name is wrong, NATS says at once that
//! there are no responders. `attachments` is as in the log.
//!
//! # Operating it
//!
//! The daemon answers `/health` with 503 while the engine is away, while an upstream has no holder, and while this worker holds one that is
//! not joined. Use it for readiness, not for liveness: a restart does not bring back a server that is away.
//!
//! | number of `/metrics` | alert when |
//! |---|---|
//! | `actix_socketio_relay_held`, summed over the workers | it is 0 for an upstream for longer than two lease times: nobody holds it |
//! | `actix_socketio_relay_joined`, summed | it is 0 for longer than the server may be away |
//! | `actix_socketio_relay_gaps_total` | it grows: events are missing in the log, and the marks say where |
//! | `actix_socketio_relay_lost_total` | it grows: a worker stalls, or the engine is away for too long |
//! | `actix_socketio_relay_failures_total` | it grows for minutes: the engine is away or refuses |
//! | `actix_socketio_relay_waiting` | it comes near the [`buffer`](crate::relay::Upstream::buffer): the log cannot keep up |
//!
//! * **A new version**: stop a worker with SIGTERM and start the next. It hands over one upstream after the other, and the others
//!   take them within a second.
//! * **Clocks** need not agree: a lease is measured by the holder's own clock, and by that of NATS.
//! * **Secrets**: the bucket `sio_ticket` has the private ids of sessions. Whoever reads one can take over that session at the server. Only
//!   workers should be allowed to, nor may others read the answers to workers; [`NatsOptions`](crate::relay::NatsOptions#permissions) has the
//!   permissions. `async_nats` writes the answers of NATS, with these ids, to the log of the program at the level `debug`, and passwords at
//!   `trace`: keep it at `info` (`RUST_LOG=debug,async_nats=info`), as the daemon does.
//! * **Logging in**: the client of `async_nats` is yours, with its options for tokens, passwords and TLS, and with its cargo feature `nkeys` for keys
//!   and credentials files. The daemon has all of them in its file.
//! * **Disk**: the log keeps records for [`max_age`](crate::relay::NatsOptions::max_age), a day by default, up to
//!   [`max_bytes`](crate::relay::NatsOptions::max_bytes). A log that is full takes no more, and [`WhenFull`](crate::relay::WhenFull)
//!   decides. Plan for the events of that time, times the replicas, and base64 for attachments.
//!
//! # Errors
//!
//! Of the engine, at its start and later:
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`OutOfRange`](crate::relay::NatsError::OutOfRange) | `an option is out of range: …` | the value |
//! | [`Differs`](crate::relay::NatsError::Differs) | `the stream … has other settings: …` | all programs need the same [`NatsOptions`](crate::relay::NatsOptions); to change them, `nats stream edit` first, or another prefix |
//! | [`TooOld`](crate::relay::NatsError::TooOld) | `nats-server … is too old for more than one replica` | nats-server 2.10 or later; or one replica |
//! | [`Away`](crate::relay::NatsError::Away) | `NATS is away: …` | does it run, with `JetStream` (`nats-server -js`)? Or this program is not allowed to ask: [permissions](crate::relay::NatsOptions#permissions). Try again |
//! | [`NoPlace`](crate::relay::NatsError::NoPlace) | `NATS has not found … nodes for the stream …: …` | for 30 s, fewer nodes were online, or had room for `max_bytes`, than there are replicas: start the missing ones (`nats server report jetstream`). Try again |
//! | [`Refused`](crate::relay::NatsError::Refused) | `NATS refused: …` | the text is that of NATS: no room for `max_bytes`, or more than one replica without a cluster |
//! | [`Away`](crate::relay::EngineError::Away) | `the engine is away: …` | does NATS run, and has its stream a leader (`nats stream report`)? The relay tries again |
//! | [`Refused`](crate::relay::EngineError::Refused) | `the engine refused: …` | the text is that of NATS: permissions, a disk or an account that is full |
//!
//! Of a worker, at its start:
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`Name`](crate::relay::RelayError::Name) | `not 1 to 128 ASCII letters, digits, - or _: …` | another name |
//! | [`Doubled`](crate::relay::RelayError::Doubled) | `two upstreams have the name …` | another name for one of them |
//! | [`Option`](crate::relay::RelayError::Option) | `option … takes …` | the value |
//! | [`Client`](crate::relay::RelayError::Client) | `upstream …: …` | the option of its client, [as above](crate::guide::troubleshooting#starting) |
//! | [`NoArbiter`](crate::relay::RelayError::NoArbiter) | `no arbiter runs on this thread` | `#[actix::main]`, or [a system on a thread](crate::guide::plain_tokio) |
//!
//! Of a reader:
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`Name`](crate::relay::ReaderError::Name) | `not 1 to 128 ASCII letters, digits, - or _: …` | another name |
//! | [`OutOfRange`](crate::relay::ReaderError::OutOfRange) | `option … has to be …` | the value |
//! | [`NoActor`](crate::relay::ReaderError::NoActor) | `no actor was given` | give it an actor before [`start`](crate::relay::ReaderBuilder::start), or take the [`stream`](crate::relay::ReaderBuilder::stream) |
//! | [`NoArbiter`](crate::relay::ReaderError::NoArbiter) | `no arbiter runs on this thread` | `#[actix::main]`, or [a system on a thread](crate::guide::plain_tokio) |
//!
//! Of a command; [`sent`](crate::relay::CallError::sent) says whether the server may have got the event:
//!
//! | error | printed | what to do |
//! |---|---|---|
//! | [`Event`](crate::relay::CallError::Event) | `…` | the event itself cannot be sent: its name, or its arguments |
//! | [`Name`](crate::relay::CallError::Name) | `not 1 to 128 ASCII letters, digits, - or _: …` | the name of the upstream, or the id of the command |
//! | [`TooLarge`](crate::relay::CallError::TooLarge) | `a command of … bytes, and the engine takes …` | [pieces](crate::guide::uploads), or `max_payload` of NATS |
//! | [`Nobody`](crate::relay::CallError::Nobody) | `nobody holds the upstream` | a worker takes over: try again in some seconds. If it lasts: does a worker have this upstream in its configuration? |
//! | [`NotSent`](crate::relay::CallError::NotSent) | `not sent: …` | the upstream is not joined, or its buffer is full: the log of the worker says why. Safe to try again |
//! | [`Refused`](crate::relay::CallError::Refused) | `the holder refuses: …` | the text is that of the holder |
//! | [`NoAnswer`](crate::relay::CallError::NoAnswer) | `no answer in time; the server may have got the event` | does the handler of the server call its callback? If the event must not be repeated: [`durable`](crate::relay::CallRequest::durable), with an id that the server knows |
//! | [`Unanswered`](crate::relay::CallError::Unanswered) | `no answer, and the server may have got the event: …` | the same |
//! | [`AnswerLost`](crate::relay::CallError::AnswerLost) | `the answer got lost: …` | smaller answers, or `max_payload` of NATS |
//! | [`Undecodable`](crate::relay::CallError::Undecodable) | `unexpected answer: …` | the type: [which one reads which answer](crate::payload) |
//! | [`NotYet`](crate::relay::CallError::NotYet) | `no answer yet; the command is kept` | ask later with [`result`](crate::relay::Caller::result) |
//! | [`Engine`](crate::relay::CallError::Engine) | `…` | the first table |
//! | [`Format`](crate::relay::CallError::Format) | `the holder has answered in another format` | the same version for callers and workers |

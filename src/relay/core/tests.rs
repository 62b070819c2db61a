//! Several holders of one upstream, an engine and a server, with random delays, losses, repetitions and stalls.
//!
//! At the end of each run the log is read: the fences only grow, each event is there once and in order, and where
//! one is missing, a mark says so. Where the server recovers sessions and the holders wait for it, none is; where they do not, what
//! is missing comes late, or the mark that it has is not there.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    buffer::{Bounds, Line, WhenFull},
    holder::{Holder, Output, Standing, Terms},
    placement::Place,
    question::{Answer, Pid, Question, Resume},
};
use crate::relay::{
    engine::{AppendError, EngineError, Head, Lease, Record},
    record::{Content, Mark, read},
};

const LEASE: u64 = 15_000;
/// After this time without a pong the server gives a client up.
const SILENCE: u64 = 20_000;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What happens at a moment.
#[derive(Debug)]
enum Happening {
    /// The question arrives at the engine.
    Asked {
        worker: usize,
        number: u64,
        question: Question,
        is_repeated: bool,
    },
    Answered {
        worker: usize,
        number: u64,
        answer: Answer,
    },
    /// The server gets a connection.
    Dialled {
        worker: usize,
        dial: u64,
        resume: Option<Resume>,
    },
    /// The server gets a connection for the old session.
    Fetched {
        worker: usize,
        resume: Resume,
    },
    Closed {
        session: u64,
        dial: u64,
    },
    /// Something of the server comes to the worker.
    Came {
        worker: usize,
        dial: u64,
        what: Came,
    },
    Emit,
    Stall,
    Cut,
    Bar,
    HandOver,
    Starve,
}

#[derive(Debug, Clone)]
enum Came {
    Ready {
        recovered: bool,
    },
    Event(u64),
    Gone,
    /// Of the old session.
    OldReady {
        recovered: bool,
    },
    OldEvent(u64),
    /// The client has been closed, and this is the last of it.
    Last,
}

#[derive(Debug, Default)]
struct Session {
    /// The connection that it has.
    dial: Option<(usize, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Client {
    dial: u64,
    session: Option<u64>,
    /// The session that it is to go on with.
    resumes: Option<u64>,
    /// The last event that came.
    last: Option<u64>,
    is_draining: bool,
}

struct Worker {
    holder: Holder,
    client: Option<Client>,
    /// It does nothing until then.
    stalled: u64,
    /// It does not reach the server until then.
    barred: u64,
    inbox: VecDeque<Happening>,
    /// What was sent to it comes in order.
    last_arrival: u64,
}

#[derive(Default)]
struct Engine {
    lease: Option<(Lease, u64)>,
    revision: u64,
    log: Vec<Record>,
    ticket: Option<(u64, Pid)>,
    is_away: u64,
    is_full: u64,
}

struct World {
    random: Random,
    start: Instant,
    now: u64,
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    count: u64,
    workers: Vec<Worker>,
    engine: Engine,
    sessions: HashMap<u64, Session>,
    recovers: bool,
    events: u64,
    dials: u64,
    trouble: bool,
}

impl World {
    fn new(seed: u64, recovers: bool, is_ordered: bool, when_full: WhenFull) -> Self {
        let start = Instant::now();
        let count = 3;
        let worker = |number: usize| {
            let terms = Terms {
                upstream: "shop".into(),
                worker: format!("w{number}"),
                lease_time: Duration::from_millis(LEASE),
                bounds: Bounds {
                    events: if is_ordered { 50 } else { 500 },
                    bytes: 1 << 20,
                    record: 1 << 20,
                },
                when_full,
                is_ordered,
            };
            let mut holder =
                Holder::new(terms, start, 0, seed.wrapping_add(u64::try_from(number).unwrap()));
            holder.set_place(start, Some(Place { rank: number, is_shared: true }));
            Worker {
                holder,
                client: None,
                stalled: 0,
                barred: 0,
                inbox: VecDeque::new(),
                last_arrival: 0,
            }
        };
        Self {
            random: Random(seed),
            start,
            now: 0,
            heap: BinaryHeap::new(),
            happenings: HashMap::new(),
            count: 0,
            workers: (0..count).map(worker).collect(),
            engine: Engine::default(),
            sessions: HashMap::new(),
            recovers,
            events: 0,
            dials: 0,
            trouble: true,
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn later(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.heap.push(Reverse((self.now + delay, self.count)));
        self.happenings.insert(self.count, happening);
    }

    /// A delay of the network: mostly short.
    fn delay(&mut self) -> u64 {
        let most = if self.trouble && self.random.is(5) { 6_000 } else { 20 };
        self.random.below(most)
    }

    /// From the server to a worker, in order.
    fn send(&mut self, worker: usize, dial: u64, what: Came) {
        let at = (self.now + self.random.below(20)).max(self.workers[worker].last_arrival);
        self.workers[worker].last_arrival = at;
        self.later(at - self.now, Happening::Came { worker, dial, what });
    }

    fn run(&mut self) {
        self.later(1, Happening::Emit);
        self.later(20_000, Happening::Stall);
        self.later(30_000, Happening::Cut);
        self.later(50_000, Happening::Bar);
        self.later(70_000, Happening::HandOver);
        self.later(40_000, Happening::Starve);
        let mut steps = 0_u64;
        self.drive_all();
        while !self.is_done() {
            steps += 1;
            assert!(steps < 2_000_000, "nothing comes to an end: {}", self.now);
            let timer = (0..self.workers.len())
                .filter_map(|worker| {
                    let worker = &self.workers[worker];
                    let at = worker.holder.poll_timeout()?;
                    let at =
                        at.saturating_duration_since(self.start).as_nanos().div_ceil(1_000_000);
                    Some(u64::try_from(at).unwrap().max(worker.stalled))
                })
                .min();
            let can_go_on = |worker: &&Worker| {
                let is_answer = |one: &Happening| matches!(one, Happening::Answered { .. });
                let has_room = worker.holder.has_room();
                worker.inbox.iter().any(|one| has_room || is_answer(one))
            };
            let woken = self.workers.iter().filter(can_go_on);
            let woken = woken.map(|worker| worker.stalled).min();
            let next = self.heap.peek().map(|Reverse((at, _))| *at);
            let timer = [timer, woken].into_iter().flatten().min();
            if let Some(at) = next.filter(|at| timer.is_none_or(|timer| *at <= timer)) {
                self.now = self.now.max(at);
                let Reverse((_, number)) = self.heap.pop().unwrap();
                let happening = self.happenings.remove(&number).unwrap();
                self.happen(happening);
            } else {
                self.now = self.now.max(timer.expect("nobody has anything to do"));
            }
            self.drive_all();
        }
    }

    /// All events are emitted, and the last one is in the log or marked as missing.
    fn is_done(&self) -> bool {
        if self.trouble || self.events < 2_000 {
            return false;
        }
        let open = self.workers.iter().find(|w| w.holder.standing() == Standing::Open);
        open.is_some_and(|worker| {
            worker.holder.buffer().is_empty()
                && self.engine.log.last().is_some_and(|last| {
                    last.offset.as_ref().and_then(|offset| offset.parse().ok()) == Some(self.events)
                })
        })
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Asked { worker, number, question, is_repeated } => {
                let answer = self.answer(worker, question);
                let is_lost = is_repeated || (self.trouble && self.random.is(4));
                if !is_lost {
                    let delay = self.delay();
                    self.later(delay, Happening::Answered { worker, number, answer });
                }
            }
            Happening::Answered { worker, .. } | Happening::Came { worker, .. } => {
                self.workers[worker].inbox.push_back(happening);
            }
            Happening::Dialled { worker, .. } | Happening::Fetched { worker, .. }
                if self.workers[worker].stalled > self.now =>
            {
                // Who is stalled does not dial.
                self.later(self.workers[worker].stalled - self.now, happening);
            }
            Happening::Dialled { worker, .. } | Happening::Fetched { worker, .. }
                if self.workers[worker].barred > self.now =>
            {
                // The client tries again.
                self.later(1_000, happening);
            }
            Happening::Dialled { worker, dial, resume } => self.dialled(worker, dial, resume),
            Happening::Fetched { worker, resume } => self.fetched(worker, &resume),
            Happening::Closed { session, dial } => {
                if let Some(known) = self.sessions.get_mut(&session)
                    && known.dial.is_some_and(|(_, current)| current == dial)
                {
                    known.dial = None;
                }
            }
            Happening::Emit => {
                self.events += 1;
                let event = self.events;
                let connected: Vec<_> = self.sessions.values().filter_map(|s| s.dial).collect();
                for (worker, dial) in connected {
                    self.send(worker, dial, Came::Event(event));
                }
                if self.events >= 2_000 {
                    self.trouble = false;
                }
                // The last ones come slowly, so that somebody is there for them.
                if self.events < 2_000 {
                    let delay = 1 + self.random.below(400);
                    self.later(delay, Happening::Emit);
                } else if self.events < 2_100 {
                    self.later(2_000, Happening::Emit);
                }
            }
            Happening::Stall => {
                let worker = usize::try_from(self.random.below(3)).unwrap();
                let time = self.random.below(3 * LEASE);
                self.workers[worker].stalled = self.now + time;
                self.again(60_000, Happening::Stall);
            }
            Happening::Cut => {
                // The connection breaks, and both ends notice it.
                let worker = usize::try_from(self.random.below(3)).unwrap();
                if let Some(client) = self.workers[worker].client
                    && !client.is_draining
                {
                    self.lose_connection(worker, client);
                    self.reconnect(worker);
                }
                self.again(25_000, Happening::Cut);
            }
            Happening::Bar => {
                let worker = usize::try_from(self.random.below(3)).unwrap();
                // The server has noticed before it is reached again.
                self.workers[worker].barred = self.now + SILENCE + self.random.below(6 * LEASE);
                if let Some(client) = self.workers[worker].client
                    && !client.is_draining
                {
                    if self.random.is(50) {
                        self.lose_connection(worker, client);
                    } else if let Some(session) = client.session {
                        // The server takes it for connected until a ping is not answered.
                        self.forget_inbox(worker, client.dial);
                        self.later(SILENCE, Happening::Closed { session, dial: client.dial });
                    }
                    self.reconnect(worker);
                }
                self.again(100_000, Happening::Bar);
            }
            Happening::HandOver => {
                let worker = usize::try_from(self.random.below(3)).unwrap();
                if self.workers[worker].stalled <= self.now {
                    let now = self.instant();
                    self.workers[worker].holder.hand_over(now, Duration::from_secs(5));
                }
                self.again(60_000, Happening::HandOver);
            }
            Happening::Starve => {
                let time = self.random.below(20_000);
                if self.random.is(50) {
                    self.engine.is_away = self.now + time;
                } else {
                    self.engine.is_full = self.now + time;
                }
                self.again(80_000, Happening::Starve);
            }
        }
    }

    fn again(&mut self, most: u64, happening: Happening) {
        if self.trouble {
            let delay = self.random.below(most);
            self.later(delay, happening);
        }
    }

    fn lose_connection(&mut self, worker: usize, client: Client) {
        if let Some(session) = client.session {
            self.happen(Happening::Closed { session, dial: client.dial });
        }
        self.forget_inbox(worker, client.dial);
    }

    fn forget_inbox(&mut self, worker: usize, lost: u64) {
        let is_other = |happening: &Happening| !matches!(happening, Happening::Came { dial, .. } if *dial == lost);
        self.workers[worker].inbox.retain(is_other);
    }

    /// A client that has lost its connection dials again, and goes on behind the last event that came.
    fn reconnect(&mut self, worker: usize) {
        self.dials += 1;
        let dial = self.dials;
        let Some(client) = &mut self.workers[worker].client else { return };
        client.dial = dial;
        let session = client.session.or(client.resumes);
        let resume = session.zip(client.last).map(|(session, last)| Resume {
            pid: Pid(session.to_string()),
            offset: last.to_string(),
        });
        self.send(worker, dial, Came::Gone);
        let delay = self.random.below(1_000);
        self.later(delay, Happening::Dialled { worker, dial, resume });
    }

    fn dialled(&mut self, worker: usize, dial: u64, resume: Option<Resume>) {
        let is_over = |client: Client| client.dial != dial || client.is_draining;
        if self.workers[worker].client.is_none_or(is_over) {
            return;
        }
        let resumed = resume.filter(|_| self.recovers).and_then(|Resume { pid, offset }| {
            let session: u64 = pid.0.parse().unwrap();
            let known = self.sessions.get(&session)?;
            known.dial.is_none().then(|| (session, offset.parse::<u64>().unwrap()))
        });
        let session = resumed.map_or(dial, |(session, _)| session);
        self.sessions.entry(session).or_default().dial = Some((worker, dial));
        if let Some((_, offset)) = resumed {
            for event in offset + 1..=self.events {
                self.send(worker, dial, Came::Event(event));
            }
        }
        self.send(worker, dial, Came::Ready { recovered: resumed.is_some() });
        if let Some(client) = &mut self.workers[worker].client {
            client.session = Some(session);
        }
    }

    /// The events of the old session, if the server has it and nobody else.
    fn fetched(&mut self, worker: usize, resume: &Resume) {
        let session: u64 = resume.pid.0.parse().unwrap();
        let known = self.sessions.get(&session).filter(|_| self.recovers);
        let recovered = known.is_some_and(|known| known.dial.is_none());
        if recovered {
            let offset: u64 = resume.offset.parse().unwrap();
            for event in offset + 1..=self.events {
                self.send(worker, 0, Came::OldEvent(event));
            }
        }
        self.send(worker, 0, Came::OldReady { recovered });
    }

    fn answer(&mut self, worker: usize, question: Question) -> Answer {
        let now = self.now;
        let engine = &mut self.engine;
        if engine.lease.as_ref().is_some_and(|(_, end)| *end <= now) {
            engine.lease = None;
        }
        let away = || EngineError::Away("test".into());
        let is_away = engine.is_away > now;
        engine.revision += 1;
        let revision = engine.revision;
        match question {
            Question::Holder if is_away => Answer::Holder(Err(away())),
            Question::Holder => {
                Answer::Holder(Ok(engine.lease.as_ref().map(|(lease, _)| lease.worker.clone())))
            }
            Question::Acquire if is_away => Answer::Acquire(Err(away())),
            Question::Acquire => Answer::Acquire(Ok(if engine.lease.is_none() {
                let (upstream, worker) = ("shop".to_owned(), format!("w{worker}"));
                let lease = Lease { upstream, worker, fence: revision, revision };
                engine.lease = Some((lease.clone(), now + LEASE));
                Some(lease)
            } else {
                None
            })),
            Question::Renew(_) if is_away => Answer::Renew(Err(away())),
            Question::Renew(lease) => Answer::Renew(Ok(match &mut engine.lease {
                Some((held, end)) if *held == lease => {
                    held.revision = revision;
                    *end = now + LEASE;
                    Some(held.clone())
                }
                _ => None,
            })),
            Question::Release(_) if is_away => Answer::Release(Err(away())),
            Question::Release(lease) => {
                engine.lease.take_if(|(held, _)| *held == lease);
                Answer::Release(Ok(()))
            }
            Question::Head if is_away => Answer::Head(Err(away())),
            Question::Head => Answer::Head(Ok(engine.log.last().map(|record| Head {
                sequence: u64::try_from(engine.log.len()).unwrap(),
                id: record.id.clone(),
                fence: record.fence,
                offset: record.offset.clone(),
            }))),
            Question::Append { .. } if is_away => Answer::Append(Err(away().into())),
            Question::Append { .. } if engine.is_full > now => {
                Answer::Append(Err(AppendError::Full))
            }
            Question::Append { behind, record } => {
                if behind == u64::try_from(engine.log.len()).unwrap() {
                    engine.log.push(record);
                    Answer::Append(Ok(u64::try_from(engine.log.len()).unwrap()))
                } else {
                    Answer::Append(Err(AppendError::OutOfDate))
                }
            }
            Question::Ticket if is_away => Answer::Ticket(Err(away())),
            Question::Ticket => {
                Answer::Ticket(Ok(engine.ticket.as_ref().map(|(_, pid)| pid.clone())))
            }
            Question::KeepTicket { .. } if is_away => Answer::KeepTicket(Err(away())),
            Question::KeepTicket { fence, pid } => {
                if engine.ticket.as_ref().is_none_or(|(known, _)| *known <= fence) {
                    engine.ticket = Some((fence, pid));
                }
                Answer::KeepTicket(Ok(()))
            }
        }
    }

    fn drive_all(&mut self) {
        for worker in 0..self.workers.len() {
            if self.workers[worker].stalled <= self.now {
                // A client of a worker that was stalled for too long has been given up by the server.
                self.drive(worker);
            }
            self.give_up(worker);
        }
    }

    /// The server gives up a client that says nothing.
    fn give_up(&mut self, worker: usize) {
        let stalled = self.workers[worker].stalled;
        if stalled > self.now + SILENCE
            && let Some(client) = self.workers[worker].client
            && let Some(session) = client.session
        {
            // It is noticed at the latest then; the stall is cut short to be noticed here.
            self.workers[worker].stalled = self.now + SILENCE;
            self.later(SILENCE - 1, Happening::Closed { session, dial: client.dial });
        }
    }

    fn drive(&mut self, worker: usize) {
        let now = self.instant();
        // The timers come first or last, as it happens.
        let is_first = self.random.is(50);
        if is_first {
            self.workers[worker].holder.handle_timeout(now);
            self.outputs(worker);
        }
        while self.may_take(worker) {
            let Some(happening) = self.workers[worker].inbox.pop_front() else { break };
            match happening {
                Happening::Answered { number, answer, .. } => {
                    self.workers[worker].holder.handle_answer(now, number, answer);
                }
                Happening::Came { dial, what, .. } => self.came(worker, dial, what),
                _ => unreachable!(),
            }
            self.outputs(worker);
        }
        if self.workers[worker].holder.poll_timeout().is_some_and(|at| at <= now) {
            self.workers[worker].holder.handle_timeout(now);
            self.outputs(worker);
        }
    }

    /// Events wait where they are until there is room; answers do not.
    fn may_take(&mut self, worker: usize) -> bool {
        let worker = &mut self.workers[worker];
        if !worker.holder.has_room()
            && let Some(at) =
                worker.inbox.iter().position(|one| matches!(one, Happening::Answered { .. }))
        {
            let answer = worker.inbox.remove(at).unwrap();
            worker.inbox.push_front(answer);
            return true;
        }
        worker.holder.has_room()
    }

    fn came(&mut self, number: usize, dial: u64, what: Came) {
        let now = self.instant();
        let worker = &mut self.workers[number];
        let line = |event: u64, is_late: &str| {
            let offset = Some(event.to_string());
            Line { text: format!("{{{is_late}\"event\":[\"{event}\"]}}\n"), offset, key: None }
        };
        match what {
            Came::OldReady { recovered } => return worker.holder.handle_old_ready(now, recovered),
            Came::OldEvent(event) => {
                return worker.holder.handle_old_line(line(event, "\"late\":true,"));
            }
            _ => {}
        }
        let Some(client) = worker.client.as_mut().filter(|client| client.dial == dial) else {
            return;
        };
        match what {
            Came::OldReady { .. } | Came::OldEvent(_) => {}
            Came::Ready { recovered } => {
                worker.holder.handle_ready(now, recovered, Duration::from_millis(SILENCE));
            }
            Came::Gone => worker.holder.handle_gone(now),
            Came::Event(event) => {
                client.last = Some(event);
                if let Some(session) = client.session {
                    worker.holder.handle_pid(now, Pid(session.to_string()));
                }
                worker.holder.handle_line(now, line(event, ""));
            }
            Came::Last => {
                worker.client = None;
                worker.holder.handle_closed(now);
            }
        }
    }

    fn outputs(&mut self, number: usize) {
        while let Some(output) = self.workers[number].holder.poll_output() {
            match output {
                Output::Ask { number: ask, question } => self.ask(number, ask, question),
                Output::Dial { resume } => {
                    assert!(self.workers[number].client.is_none(), "one connection at a time");
                    self.dials += 1;
                    let dial = self.dials;
                    let last = resume.as_ref().map(|resume| resume.offset.parse().unwrap());
                    let resumes = resume.as_ref().map(|resume| resume.pid.0.parse().unwrap());
                    let client = Client { dial, session: None, resumes, last, is_draining: false };
                    self.workers[number].client = Some(client);
                    let delay = self.random.below(1_000);
                    self.later(delay, Happening::Dialled { worker: number, dial, resume });
                }
                Output::Close { drain } => {
                    let Some(client) = &mut self.workers[number].client else { continue };
                    let dial = client.dial;
                    client.is_draining = true;
                    if let Some(session) = client.session {
                        self.happen(Happening::Closed { session, dial });
                    }
                    if drain {
                        self.send(number, dial, Came::Last);
                    } else {
                        self.workers[number].client = None;
                    }
                }
                Output::Fetch { resume } => {
                    let delay = self.random.below(1_000);
                    self.later(delay, Happening::Fetched { worker: number, resume });
                }
                Output::Probe => {
                    let is_reached = self.workers[number].barred <= self.now;
                    let now = self.instant();
                    self.workers[number].holder.handle_probed(now, is_reached);
                }
                Output::Serve(_) | Output::StopServing | Output::EndFetch => {}
            }
        }
    }

    fn ask(&mut self, worker: usize, number: u64, question: Question) {
        if self.trouble && self.random.is(3) {
            return;
        }
        if self.trouble && matches!(question, Question::Append { .. }) && self.random.is(10) {
            let (question, delay) = (question.clone(), self.delay());
            self.later(delay, Happening::Asked { worker, number, question, is_repeated: true });
        }
        let delay = self.delay();
        self.later(delay, Happening::Asked { worker, number, question, is_repeated: false });
    }

    /// Reads the log.
    fn check(&self) -> Found {
        let (mut fence, mut last, mut is_marked) = (0, 0, false);
        let mut found = Found::default();
        // All events so far, and those that are missing at the last gap.
        let (mut all, mut missing) = (HashSet::new(), BTreeSet::new());
        for record in &self.engine.log {
            assert!(record.fence >= fence, "a former holder has written");
            fence = record.fence;
            let mut count = 0;
            for entry in read(&record.body).unwrap() {
                match entry.content {
                    Content::Mark(Mark::Gap { .. }) => {
                        is_marked = true;
                        // Nothing can be recovered before the first event is stored.
                        found.gaps += usize::from(last > 0);
                    }
                    Content::Mark(Mark::Filled { .. }) => {
                        assert_eq!(missing, BTreeSet::new(), "it is not filled");
                        found.filled += 1;
                    }
                    Content::Mark(Mark::Holder { .. } | Mark::Left { .. }) => {}
                    Content::Event(event) => {
                        count += 1;
                        let is_late = event.is_late;
                        let event: u64 = event.into_event().name().parse().unwrap();
                        assert!(all.insert(event), "{event} is there twice");
                        if is_late && event <= last {
                            found.late += 1;
                            missing.remove(&event);
                            continue;
                        }
                        // The first holder begins where it comes.
                        let is_next = event == last + 1 || last == 0;
                        assert!(is_next || (is_marked && event > last), "{event} behind {last}");
                        if is_marked && last > 0 {
                            missing = (last + 1..event).collect();
                        }
                        (last, is_marked) = (event, false);
                    }
                }
            }
            assert_eq!(record.count, count);
        }
        assert_eq!(last, self.events);
        found
    }
}

/// What the log has.
#[derive(Default)]
struct Found {
    gaps: usize,
    filled: usize,
    /// Events.
    late: usize,
}

fn takeovers(world: &World) -> u64 {
    world.workers.iter().map(|worker| worker.holder.counts().takeovers).sum()
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_where_sessions_are_recovered() {
    let mut all = 0;
    for seed in 0..150 {
        let mut world = World::new(seed, true, true, WhenFull::Hold);
        world.run();
        assert_eq!(world.check().gaps, 0, "seed {seed}");
        all += takeovers(&world);
    }
    assert!(all > 600, "{all} takeovers");
}

#[test]
fn each_gap_is_marked() {
    let (mut gaps, mut all) = (0, 0);
    for seed in 0..150 {
        let is_ordered = seed % 2 == 0;
        let mut world = World::new(seed, seed % 3 == 0, is_ordered, WhenFull::Hold);
        world.run();
        gaps += world.check().gaps;
        all += takeovers(&world);
        let mut world = World::new(seed, seed % 3 == 0, is_ordered, WhenFull::DropNewest);
        world.run();
        gaps += world.check().gaps;
    }
    assert!(gaps > 600 && all > 600, "{gaps} gaps, {all} takeovers");
}

#[test]
fn what_a_new_session_has_missed_comes_late_and_once() {
    let (mut gaps, mut filled, mut late) = (0, 0, 0);
    for seed in 0..300 {
        let mut world = World::new(seed, true, false, WhenFull::Hold);
        world.run();
        let found = world.check();
        (gaps, filled, late) = (gaps + found.gaps, filled + found.filled, late + found.late);
    }
    assert!(filled > 5 && late > 500, "{gaps} gaps, {filled} filled, {late} late");
}

/// A holder of the first rank, which asks at once.
fn single() -> (Holder, Instant) {
    let now = Instant::now();
    let bounds = Bounds { events: 50, bytes: 1 << 20, record: 1 << 20 };
    let terms = Terms {
        upstream: "shop".into(),
        worker: "w".into(),
        lease_time: Duration::from_millis(LEASE),
        bounds,
        when_full: WhenFull::Hold,
        is_ordered: true,
    };
    let mut holder = Holder::new(terms, now, 0, 1);
    holder.set_place(now, Some(Place { rank: 0, is_shared: false }));
    (holder, now)
}

fn asked(holder: &mut Holder) -> (u64, Question) {
    loop {
        match holder.poll_output() {
            Some(Output::Ask { number, question }) => return (number, question),
            Some(_) => {}
            None => panic!("nothing is asked"),
        }
    }
}

#[test]
fn a_failure_is_over_when_the_same_question_has_an_answer() {
    let (mut holder, mut now) = single();
    let away = |text: &str| EngineError::Away(text.into());
    let (number, question) = asked(&mut holder);
    assert_eq!(question, Question::Acquire);
    holder.handle_answer(now, number, Answer::Acquire(Err(away("acquire"))));
    assert_eq!(holder.last_error(), Some(&away("acquire")));
    now = holder.poll_timeout().unwrap();
    holder.handle_timeout(now);
    let (number, _) = asked(&mut holder);
    let lease = Lease { upstream: "shop".into(), worker: "w".into(), fence: 1, revision: 1 };
    holder.handle_answer(now, number, Answer::Acquire(Ok(Some(lease.clone()))));
    assert_eq!(holder.last_error(), None);

    // The log fails, and the lease does not.
    let (number, _) = asked(&mut holder);
    holder.handle_answer(now, number, Answer::Head(Err(away("head"))));
    let mut is_renewed = false;
    while holder.last_error().is_some() {
        now = holder.poll_timeout().unwrap();
        holder.handle_timeout(now);
        while let Some(Output::Ask { number, question }) = holder.poll_output() {
            let head = || if is_renewed { Ok(None) } else { Err(away("head")) };
            match question {
                Question::Head => holder.handle_answer(now, number, Answer::Head(head())),
                Question::Renew(_) => {
                    holder.handle_answer(now, number, Answer::Renew(Ok(Some(lease.clone()))));
                    assert_eq!(holder.last_error(), Some(&away("head")));
                    is_renewed = true;
                }
                _ => {}
            }
        }
    }
}

/// A holder that has asked the server for the first time, and whose lease is renewed whenever it asks.
fn dialling() -> (Holder, Instant) {
    let (mut holder, now) = single();
    answer_all(&mut holder, now);
    assert_eq!(holder.standing(), Standing::Taking);
    (holder, now)
}

/// Gives the answers of an engine that has everything. The outputs that are no questions.
fn answer_all(holder: &mut Holder, now: Instant) -> Vec<Output> {
    let lease = Lease { upstream: "shop".into(), worker: "w".into(), fence: 1, revision: 1 };
    let mut others = Vec::new();
    while let Some(output) = holder.poll_output() {
        let Output::Ask { number, question } = output else {
            others.push(output);
            continue;
        };
        let answer = match question {
            Question::Holder => Answer::Holder(Ok(Some("other".into()))),
            Question::Acquire => Answer::Acquire(Ok(Some(lease.clone()))),
            Question::Renew(_) => Answer::Renew(Ok(Some(lease.clone()))),
            Question::Release(_) => Answer::Release(Ok(())),
            Question::Head => Answer::Head(Ok(None)),
            Question::Append { behind, .. } => Answer::Append(Ok(behind + 1)),
            Question::Ticket => Answer::Ticket(Ok(None)),
            Question::KeepTicket { .. } => Answer::KeepTicket(Ok(())),
        };
        holder.handle_answer(now, number, answer);
    }
    others
}

/// When the lease is given back, if it is within this time.
fn left_within(holder: &mut Holder, since: Instant, time: Duration) -> Option<Duration> {
    let mut now = since;
    while now <= since + time {
        holder.handle_timeout(now);
        for output in answer_all(holder, now) {
            if let Output::Close { drain: true } = output {
                holder.handle_closed(now);
            }
        }
        answer_all(holder, now);
        if holder.standing() == Standing::Waiting {
            return Some(now - since);
        }
        now = holder.poll_timeout().unwrap();
    }
    None
}

const SHARED: Option<Place> = Some(Place { rank: 0, is_shared: true });
const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn a_server_that_cannot_be_reached_is_left_to_others_if_there_are_any() {
    let patience = Duration::from_millis(3 * LEASE);
    let (mut holder, now) = dialling();
    assert_eq!(left_within(&mut holder, now, HOUR), None, "there is nobody else");
    // It has been out of reach for long when another worker comes.
    let later = now + HOUR;
    holder.set_place(later, SHARED);
    assert_eq!(left_within(&mut holder, later, HOUR), Some(Duration::ZERO));
    assert!(holder.is_aside());
    let mut at = later;
    let mut probes = Vec::new();
    while probes.len() < 3 {
        holder.set_place(at, None);
        at = holder.poll_timeout().unwrap();
        holder.handle_timeout(at);
        if answer_all(&mut holder, at).contains(&Output::Probe) {
            probes.push((at - later).as_secs() / patience.as_secs());
            holder.handle_probed(at, probes.len() == 3);
        }
    }
    assert_eq!((probes, holder.is_aside()), (vec![3, 9, 21], false));

    let (mut holder, now) = dialling();
    holder.set_place(now, SHARED);
    holder.handle_gone(now + patience / 2);
    assert_eq!(left_within(&mut holder, now, HOUR), Some(patience), "from the first failure on");

    let (mut holder, now) = dialling();
    holder.set_place(now, SHARED);
    holder.handle_ready(now, false, Duration::from_millis(SILENCE));
    assert_eq!(left_within(&mut holder, now, HOUR), None, "it is joined");
    holder.handle_gone(now + HOUR);
    let left = left_within(&mut holder, now + HOUR, HOUR);
    assert_eq!(left, Some(patience), "a connection that is lost later");
    assert_eq!(holder.counts().handed_over, 1);
    // Where others have it and this one does not offer it any more, too.
    let (mut holder, now) = dialling();
    holder.set_place(now, None);
    assert_eq!(left_within(&mut holder, now, HOUR), Some(patience));
}

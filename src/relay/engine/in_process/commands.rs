//! Commands on their way to the holder of an upstream, in memory.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    relay::engine::{EngineError, RequestError},
    runtime::task::Teller,
};

/// Requests that wait for the holder of one upstream.
const MAX_WAITING: usize = 4_096;
/// Durable commands that are not done, of all upstreams together, and their bytes.
const MAX_COMMANDS: usize = 65_536;
const MAX_COMMAND_BYTES: usize = 64 << 20;
/// Answers that are kept; then the oldest goes.
const MAX_RESULTS: usize = 65_536;
const MAX_RESULT_BYTES: usize = 64 << 20;

/// A request that nobody has taken yet.
pub(super) struct Waiting {
    pub(super) body: Bytes,
    pub(super) until: Instant,
    pub(super) reply: Teller<Result<Bytes, RequestError>>,
}

/// The holder of an upstream, as it listens to commands.
struct Server {
    key: u64,
    fence: u64,
    queue: VecDeque<Waiting>,
}

/// Requests, which are at most taken once.
#[derive(Default)]
pub(super) struct Requests {
    servers: HashMap<String, Server>,
}

impl Requests {
    /// A holder listens from now on, in the place of a former one.
    pub(super) fn open(&mut self, upstream: &str, key: u64, fence: u64) {
        let queue = match self.servers.get_mut(upstream) {
            Some(server) if server.fence > fence => return,
            Some(server) => std::mem::take(&mut server.queue),
            None => VecDeque::new(),
        };
        self.servers.insert(upstream.to_owned(), Server { key, fence, queue });
    }

    /// The requests that were not taken.
    pub(super) fn close(&mut self, upstream: &str, key: u64) -> VecDeque<Waiting> {
        if self.servers.get(upstream).is_none_or(|server| server.key != key) {
            return VecDeque::new();
        }
        self.servers.remove(upstream).map(|server| server.queue).unwrap_or_default()
    }

    /// Adds a request; or says why not, and has it back.
    pub(super) fn push(&mut self, upstream: &str, waiting: Waiting) -> Result<(), RequestError> {
        let Some(server) = self.servers.get_mut(upstream) else { return Err(RequestError::Nobody) };
        if server.queue.len() >= MAX_WAITING {
            server.queue.retain(|waiting| !waiting.reply.is_canceled());
        }
        if server.queue.len() >= MAX_WAITING {
            let text = format!("{MAX_WAITING} commands wait for the holder");
            return Err(EngineError::Refused(text).into());
        }
        server.queue.push_back(waiting);
        Ok(())
    }

    /// The next request whose caller still waits; and those before it that came too late, which wake their callers when they
    /// are dropped.
    pub(super) fn take(
        &mut self,
        upstream: &str,
        key: u64,
        now: Instant,
    ) -> (Option<Waiting>, Vec<Waiting>) {
        let mut late = Vec::new();
        let Some(server) = self.servers.get_mut(upstream).filter(|server| server.key == key) else {
            return (None, late);
        };
        while let Some(waiting) = server.queue.pop_front() {
            if waiting.until > now && !waiting.reply.is_canceled() {
                return (Some(waiting), late);
            }
            late.push(waiting);
        }
        (None, late)
    }
}

struct Command {
    id: String,
    /// Its place in the order in which they came.
    number: u64,
    body: Bytes,
    tries: u32,
}

/// The durable commands of one upstream.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Command>,
    /// Those that the taker has not done yet.
    taken: HashMap<String, Command>,
    /// Of these, the ones that the taker has dropped, and when they are taken again.
    dropped: VecDeque<(Instant, String)>,
    /// Who takes them: its key and its fence.
    taker: Option<(u64, u64)>,
}

impl Queue {
    /// What the taker has not done is taken again, before all others.
    fn put_back(&mut self) {
        let mut taken: Vec<Command> = self.taken.drain().map(|(_, command)| command).collect();
        taken.sort_by_key(|command| std::cmp::Reverse(command.number));
        for command in taken {
            self.waiting.push_front(command);
        }
        self.dropped.clear();
    }
}

/// What a command and its answer are known by. Names of upstreams have no slash.
pub(super) fn key(upstream: &str, id: &str) -> String {
    format!("{upstream}/{id}")
}

/// A command for its holder.
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) body: Bytes,
    /// How often it was taken, from 1.
    pub(super) tries: u32,
}

struct Outcome {
    key: String,
    at: Instant,
}

/// Commands that are kept until they are done, and their answers.
#[derive(Default)]
pub(super) struct Durable {
    queues: HashMap<String, Queue>,
    /// The keys of all commands that are not done.
    ids: HashSet<String>,
    last_number: u64,
    bytes: usize,
    results: HashMap<String, Bytes>,
    order: VecDeque<Outcome>,
    result_bytes: usize,
    awaiting: HashMap<String, Vec<Teller<Bytes>>>,
}

impl Durable {
    pub(super) fn push(
        &mut self,
        upstream: &str,
        id: &str,
        body: Bytes,
    ) -> Result<(), EngineError> {
        let key = key(upstream, id);
        if self.ids.contains(&key) || self.results.contains_key(&key) {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(body.len());
        if self.ids.len() >= MAX_COMMANDS || bytes > MAX_COMMAND_BYTES {
            return Err(EngineError::Refused("there are too many commands that wait".to_owned()));
        }
        self.bytes = bytes;
        self.last_number = self.last_number.saturating_add(1);
        self.ids.insert(key);
        let command = Command { id: id.to_owned(), number: self.last_number, body, tries: 0 };
        self.queues.entry(upstream.to_owned()).or_default().waiting.push_back(command);
        Ok(())
    }

    /// A holder takes commands from now on, in the place of a former one.
    pub(super) fn open(&mut self, upstream: &str, key: u64, fence: u64) {
        let queue = self.queues.entry(upstream.to_owned()).or_default();
        if queue.taker.is_none_or(|(_, other)| other <= fence) {
            queue.taker = Some((key, fence));
            queue.put_back();
        }
    }

    pub(super) fn close(&mut self, upstream: &str, key: u64) {
        if let Some(queue) = self.queues.get_mut(upstream)
            && queue.taker.is_some_and(|(taker, _)| taker == key)
        {
            queue.taker = None;
            queue.put_back();
            if queue.waiting.is_empty() {
                self.queues.remove(upstream);
            }
        }
    }

    /// The next command, if fewer than `window` are not done. Otherwise, when to look again.
    pub(super) fn take(
        &mut self,
        upstream: &str,
        key: u64,
        window: usize,
        now: Instant,
    ) -> Result<Taken, Option<Instant>> {
        let queue = self.queues.get_mut(upstream).ok_or(None)?;
        if queue.taker.is_none_or(|(taker, _)| taker != key) {
            return Err(None);
        }
        while let Some((due, _)) = queue.dropped.front()
            && *due <= now
            && let Some((_, id)) = queue.dropped.pop_front()
        {
            if let Some(command) = queue.taken.remove(&id) {
                queue.waiting.push_front(command);
            }
        }
        let due = queue.dropped.front().map(|(due, _)| *due);
        if queue.taken.len() >= window {
            return Err(due);
        }
        let mut command = queue.waiting.pop_front().ok_or(due)?;
        command.tries = command.tries.saturating_add(1);
        let (id, body, tries) = (command.id.clone(), command.body.clone(), command.tries);
        queue.taken.insert(command.id.clone(), command);
        Ok(Taken { id, body, tries })
    }

    /// The taker has dropped a command that is not done.
    pub(super) fn abandon(&mut self, upstream: &str, key: u64, id: &str, due: Instant) {
        if let Some(queue) = self.queues.get_mut(upstream)
            && queue.taker.is_some_and(|(taker, _)| taker == key)
            && queue.taken.contains_key(id)
        {
            queue.dropped.push_back((due, id.to_owned()));
        }
    }

    /// Keeps the answer of a command, and says who waits for it.
    pub(super) fn done(
        &mut self,
        upstream: &str,
        id: &str,
        answer: Bytes,
        (now, max_age): (Instant, Duration),
    ) -> Vec<Teller<Bytes>> {
        let key = key(upstream, id);
        if !self.ids.remove(&key) {
            return Vec::new();
        }
        if let Some(queue) = self.queues.get_mut(upstream) {
            // After a change of the holder it may wait again.
            let command = queue.taken.remove(id).or_else(|| {
                let place = queue.waiting.iter().position(|command| command.id == id)?;
                queue.waiting.remove(place)
            });
            let size = command.map_or(0, |command| command.body.len());
            self.bytes = self.bytes.saturating_sub(size);
        }
        self.result_bytes = self.result_bytes.saturating_add(answer.len());
        self.results.insert(key.clone(), answer);
        self.order.push_back(Outcome { key: key.clone(), at: now });
        self.expire(now, max_age);
        self.awaiting.remove(&key).unwrap_or_default()
    }

    fn expire(&mut self, now: Instant, max_age: Duration) {
        while let Some(oldest) = self.order.front()
            && (self.order.len() > MAX_RESULTS
                || self.result_bytes > MAX_RESULT_BYTES
                || now.saturating_duration_since(oldest.at) > max_age)
        {
            let answer = self.results.remove(&oldest.key);
            let size = answer.map_or(0, |answer| answer.len());
            self.result_bytes = self.result_bytes.saturating_sub(size);
            self.order.pop_front();
        }
    }

    pub(super) fn result(&mut self, key: &str, now: Instant, max_age: Duration) -> Option<Bytes> {
        self.expire(now, max_age);
        self.results.get(key).cloned()
    }

    pub(super) fn wait(&mut self, key: &str, teller: Teller<Bytes>) {
        self.awaiting.entry(key.to_owned()).or_default().push(teller);
    }

    /// Forgets those that wait for it no more.
    pub(super) fn waited(&mut self, key: &str) {
        if let Some(tellers) = self.awaiting.get_mut(key) {
            tellers.retain(|teller| !teller.is_canceled());
            if tellers.is_empty() {
                self.awaiting.remove(key);
            }
        }
    }
}

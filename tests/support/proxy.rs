//! A TCP proxy between a client and a server, which fails when and how a test tells it to.
//!
//! It runs on a thread of its own, and its methods may be called from any. What a call asks for has
//! happened when it returns. Choices, such as where to cut, are up to the test.

use super::PATIENCE;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Sleep;

/// How much may be on its way through the proxy, in each direction, before it stops reading.
const CAPACITY: usize = 64 << 10;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// What the proxy has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were accepted and forwarded.
    pub connections: u64,
    /// Forwarded connections that have not ended.
    pub open: u64,
    /// Connections that were accepted and closed at once.
    pub refused: u64,
    /// Bytes that were forwarded.
    pub to_server: u64,
    pub to_client: u64,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    counts: watch::Receiver<Counts>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    counts: watch::Sender<Counts>,
}

/// All state. A change must wake the proxy's one future.
#[derive(Default)]
struct State {
    upstream: u16,
    links: Vec<Link>,
    /// Connections to the server whose clients are gone.
    silent: Vec<TcpStream>,
    stalled: bool,
    refusing: bool,
    delay: Duration,
    /// How many more bytes may pass in this direction before their connection is cut.
    fuse: Option<(Direction, u64)>,
    stopped: bool,
    waker: Option<Waker>,
}

impl Proxy {
    /// A proxy to this port of this machine.
    pub fn start(upstream: u16) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        if super::is_without_polling(upstream) {
            super::has_no_polling(port);
        }
        let (sender, counts) = watch::channel(Counts::default());
        let state = State { upstream, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), counts: sender });
        let running = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                listener.set_nonblocking(true).expect("a listener can be");
                let listener = TcpListener::from_std(listener).expect("a listener");
                let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
                poll_fn(|cx| running.poll(&listener, timer.as_mut(), cx)).await;
            });
        });
        Self { port, shared, counts, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until `check` accepts the counts, and panics naming `what` if that takes too long.
    pub async fn until(&self, what: &str, check: impl Fn(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.clone();
        let reached = tokio::time::timeout(PATIENCE, counts.wait_for(check)).await;
        let reached = reached.ok().and_then(Result::ok).map(|counts| *counts);
        reached.unwrap_or_else(|| panic!("{what}: {:?} after {PATIENCE:?}", self.counts()))
    }

    /// Closes all connections at once, on both sides. Bytes on their way are lost.
    pub fn cut(&self) {
        self.tell(|state| state.links.drain(..).for_each(Link::close));
    }

    /// Cuts until `lost` resolves: with polling, a cut between two requests does not lose the session.
    pub async fn cut_until<T>(&self, lost: impl Future<Output = T>) -> T {
        let mut lost = pin!(lost);
        loop {
            self.cut();
            if let Ok(outcome) = tokio::time::timeout(PATIENCE / 60, &mut lost).await {
                return outcome;
            }
        }
    }

    /// Closes all connections of clients at once. Those of the server stay open, and silent.
    pub fn cut_from_clients(&self) {
        self.tell(|state| state.silent.extend(state.links.drain(..).map(|link| link.server)));
    }

    /// Like [`cut`](Self::cut), but with a reset (RST) to both sides.
    pub fn reset(&self) {
        self.tell(|state| state.links.drain(..).for_each(Link::reset));
    }

    /// Ends the direction to the clients. The other direction stays open.
    pub fn half_close_to_client(&self) {
        self.tell(|state| {
            for link in &mut state.links {
                link.to_client.finish(&mut link.client);
            }
        });
    }

    /// Ends the direction to the server. The other direction stays open.
    pub fn half_close_to_server(&self) {
        self.tell(|state| {
            for link in &mut state.links {
                link.to_server.finish(&mut link.server);
            }
        });
    }

    /// Forwards nothing any more, in either direction; all connections stay open, and new ones are accepted.
    pub fn stall(&self) {
        self.tell(|state| state.stalled = true);
    }

    /// Forwards again, first what has come in the meantime.
    pub fn resume(&self) {
        self.tell(|state| state.stalled = false);
    }

    /// Delays everything that comes from now on by this time.
    pub fn delay(&self, delay: Duration) {
        self.tell(|state| state.delay = delay);
    }

    /// Cuts the connection on which the last of this many bytes passes in this direction, now or later.
    pub fn cut_after(&self, bytes: u64, direction: Direction) {
        self.tell(|state| state.fuse = Some((direction, bytes.max(1))));
    }

    /// Leads new connections to this port.
    pub fn lead_to(&self, upstream: u16) {
        self.tell(|state| state.upstream = upstream);
    }

    /// Whether new connections are closed as soon as they are accepted.
    pub fn refuse(&self, refuse: bool) {
        self.tell(|state| state.refusing = refuse);
    }

    fn tell(&self, what: impl FnOnce(&mut State)) {
        let mut state = self.shared.state();
        what(&mut state);
        self.shared.count_open(&state);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tell(|state| state.stopped = true);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    fn count_open(&self, state: &State) {
        let open = u64::try_from(state.links.len()).expect("few");
        self.counts.send_if_modified(|counts| mem::replace(&mut counts.open, open) != open);
    }

    /// All that the proxy does; ready when it is stopped.
    fn poll(
        &self,
        listener: &TcpListener,
        mut timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut state = self.state();
        if state.stopped {
            state.links.clear();
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        while let Poll::Ready(accepted) = listener.poll_accept(cx) {
            if let Ok((client, _)) = accepted {
                self.accept(&mut state, client);
            }
        }
        if !state.stalled {
            loop {
                self.forward(&mut state, cx);
                let due = state.links.iter().filter_map(Link::due).min();
                let Some(due) = due else { break };
                timer.as_mut().reset(due.into());
                if timer.as_mut().poll(cx).is_pending() {
                    break;
                }
            }
        }
        Poll::Pending
    }

    fn accept(&self, state: &mut State, client: TcpStream) {
        // On the same machine, this succeeds at once or not at all.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, state.upstream));
        let server = if state.refusing {
            Err(io::ErrorKind::ConnectionRefused.into())
        } else {
            std::net::TcpStream::connect_timeout(&address, PATIENCE)
        };
        let server = server.and_then(|server| {
            server.set_nonblocking(true)?;
            TcpStream::from_std(server)
        });
        let Ok(server) = server else {
            return self.count(|counts| counts.refused += 1);
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).ok();
        }
        let (to_server, to_client) = (Flow::default(), Flow::default());
        state.links.push(Link { client, server, to_server, to_client });
        self.count(|counts| counts.connections += 1);
        self.count_open(state);
    }

    fn forward(&self, state: &mut State, cx: &mut Context<'_>) {
        let delay = state.delay;
        let fuse = &mut state.fuse;
        let links = mem::take(&mut state.links).into_iter();
        let kept = links.filter_map(|mut link| {
            let end = link.poll(delay, fuse, cx, |direction, bytes| {
                self.count(|counts| match direction {
                    Direction::ToServer => counts.to_server += bytes,
                    Direction::ToClient => counts.to_client += bytes,
                });
            });
            match end {
                Poll::Pending => return Some(link),
                Poll::Ready(Ok(())) => link.close(),
                Poll::Ready(Err(_)) => link.reset(),
            }
            None
        });
        state.links = kept.collect();
        self.count_open(state);
    }
}

/// One forwarded connection.
struct Link {
    client: TcpStream,
    server: TcpStream,
    to_server: Flow,
    to_client: Flow,
}

impl Link {
    /// Forwards what there is. Ready when there is nothing left to forward, when the last byte that
    /// may pass has passed, or with an error when one of the sides is gone.
    fn poll(
        &mut self,
        delay: Duration,
        fuse: &mut Option<(Direction, u64)>,
        cx: &mut Context<'_>,
        mut count: impl FnMut(Direction, u64),
    ) -> Poll<io::Result<()>> {
        let mut over = true;
        for direction in [Direction::ToServer, Direction::ToClient] {
            let (flow, from, to) = match direction {
                Direction::ToServer => (&mut self.to_server, &self.client, &mut self.server),
                Direction::ToClient => (&mut self.to_client, &self.server, &mut self.client),
            };
            let fused = fuse.is_some_and(|(fused, _)| fused == direction);
            let left = fuse.as_mut().filter(|_| fused).map_or(u64::MAX, |(_, left)| *left);
            let passed = flow.poll(from, to, delay, left, cx);
            let bytes = mem::take(&mut flow.passed);
            count(direction, bytes);
            if let Some((_, left)) = fuse.as_mut().filter(|_| fused) {
                *left -= bytes;
                if *left == 0 {
                    *fuse = None;
                    return Poll::Ready(Ok(()));
                }
            }
            over &= passed?.is_ready();
        }
        if over { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// When the next delayed chunk is to be forwarded.
    fn due(&self) -> Option<Instant> {
        self.to_server.due.into_iter().chain(self.to_client.due).min()
    }

    fn close(self) {
        for stream in [self.client, self.server] {
            let Ok(mut stream) = stream.into_std() else { continue };
            stream.shutdown(Shutdown::Both).ok();
            // With unread data, closing would send a reset to the other side.
            while io::Read::read(&mut stream, &mut [0; 4096]).is_ok_and(|read| read > 0) {}
        }
    }

    fn reset(self) {
        for stream in [&self.client, &self.server] {
            // It is deprecated because a longer time blocks.
            #[allow(deprecated)]
            stream.set_linger(Some(Duration::ZERO)).ok();
        }
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    /// What has been read, and when each chunk must be written.
    chunks: VecDeque<(Instant, Bytes)>,
    /// The time until which the first chunk must wait.
    due: Option<Instant>,
    /// How many bytes were written since this was last read.
    passed: u64,
    /// Whether this direction has been read to its end.
    ended: bool,
    /// Whether the other side has been told that; what is read after that is dropped.
    finished: bool,
}

impl Flow {
    /// Reads and writes as much as there is, but at most `most` bytes. Ready when nothing more
    /// can come.
    fn poll(
        &mut self,
        from: &TcpStream,
        to: &mut TcpStream,
        delay: Duration,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let full = self.read(from, delay, cx)?.is_ready();
        self.due = None;
        while let Some((due, chunk)) = self.chunks.front_mut() {
            if *due > Instant::now() {
                self.due = Some(*due);
                return Poll::Pending;
            }
            let size = usize::try_from(most - self.passed)
                .map_or(chunk.len(), |most| most.min(chunk.len()));
            if size == 0 {
                return Poll::Pending;
            }
            ready!(to.poll_write_ready(cx))?;
            match to.try_write(&chunk[..size]) {
                Ok(written) => {
                    chunk.advance(written);
                    self.passed += u64::try_from(written).expect("not that many");
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        if full {
            // There is room again, but others have their turn first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.ended {
            return Poll::Pending;
        }
        self.finish(to);
        Poll::Ready(Ok(()))
    }

    /// Reads what there is; ready when there is no room for more.
    fn read(
        &mut self,
        from: &TcpStream,
        delay: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut room =
            CAPACITY.saturating_sub(self.chunks.iter().map(|(_, chunk)| chunk.len()).sum());
        let mut buffer = [0; 16 << 10];
        while room > 0 {
            if self.ended {
                return Poll::Pending;
            }
            ready!(from.poll_read_ready(cx))?;
            match from.try_read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    room = room.saturating_sub(read);
                    if !self.finished {
                        let chunk = Bytes::copy_from_slice(&buffer[..read]);
                        self.chunks.push_back((Instant::now() + delay, chunk));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the direction towards the other side.
    fn finish(&mut self, to: &mut TcpStream) {
        if !mem::replace(&mut self.finished, true) {
            self.chunks.clear();
            // This does not wait for anything; and a side that has gone knows already.
            drop(Pin::new(to).poll_shutdown(&mut Context::from_waker(Waker::noop())));
        }
    }
}

//! Does what a holder decides.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};

use futures::{
    FutureExt as _, StreamExt as _,
    channel::{mpsc, oneshot},
    future::{BoxFuture, LocalBoxFuture},
    stream::{BoxStream, FuturesUnordered},
};

use super::{
    Shared, look,
    session::{Incoming, Session},
};
use crate::{
    client::socket::Socket,
    logs::{repeated, say},
    message::Event,
    proto::ticket::SessionTicket,
    relay::{
        command::{self, Durable},
        core::{
            buffer::{Bounds, Line, WhenFull as Full},
            holder::{Holder, Output, Standing, Terms},
            placement::Place,
            question::{Answer, Pid, Question},
        },
        engine::{DurableRequest, Engine, EngineError, Lease, Request},
        options::{Takeover, Upstream, WhenFull},
        record::event_line,
    },
    runtime::clock,
};

/// What a server may need beyond its heartbeat to notice that a client is gone.
const SLACK: Duration = Duration::from_secs(2);
/// How long it may take to leave a session.
const LEAVING: Duration = Duration::from_secs(1);
/// Before another try to join where the client has given up.
const REJOIN: Duration = Duration::from_secs(5);
/// How long it may take to see whether a server can be reached.
const PROBE: Duration = Duration::from_secs(20);
/// Durable commands that are on their way at once.
const WINDOW: usize = 64;
/// How long the server has for a durable command.
const DURABLE: Duration = Duration::from_secs(30);
/// Steps before others get their turn.
const STEPS: usize = 256;

/// What a holder is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    Place(Option<Place>),
    HandOver(Duration),
    Stop(Duration),
}

type Called = BoxFuture<'static, (u64, Answer)>;

/// One upstream in one worker.
pub(crate) struct Driver {
    holder: Holder,
    upstream: Upstream,
    /// For the log.
    name: String,
    engine: Engine,
    controls: mpsc::UnboundedReceiver<Control>,
    calls: FuturesUnordered<Called>,
    session: Option<Session>,
    /// The old session, of which what was missed is fetched.
    old: Option<Session>,
    requests: Option<BoxStream<'static, Result<Request, EngineError>>>,
    /// No more requests are taken when it is dropped.
    serves: Option<oneshot::Sender<()>>,
    durable: Option<BoxStream<'static, Result<DurableRequest, EngineError>>>,
    commands: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// Whether the server can be reached.
    probe: Option<LocalBoxFuture<'static, bool>>,
    /// The private id of the session, when the client knows it.
    ticket: Option<LocalBoxFuture<'static, Option<SessionTicket>>>,
    wants_ticket: bool,
    /// The first event of the session, while its private id is asked for.
    first: Option<Line>,
    joined: bool,
    /// The client has given up.
    rejoin: Option<Instant>,
    /// How long a hand-over may take.
    within: Duration,
    last_event: Option<Instant>,
    timer: clock::Timer,
    standing: Standing,
    view: Shared,
}

fn wall() -> u64 {
    let since = clock::wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The line of an event, without a key.
fn line(event: &Event, is_late: bool) -> Line {
    let offset = event.offset().map(str::to_owned);
    Line { text: event_line(wall(), event, is_late), offset, key: None }
}

impl Driver {
    pub(crate) fn new(
        engine: Engine,
        worker: &str,
        upstream: Upstream,
        controls: mpsc::UnboundedReceiver<Control>,
        view: Shared,
        seed: u64,
    ) -> Self {
        let bounds = Bounds {
            events: upstream.events,
            bytes: upstream.bytes,
            record: engine.0.max_record(),
        };
        let when_full = match upstream.when_full {
            WhenFull::LetGo => Full::Hold,
            WhenFull::DropNewest => Full::DropNewest,
            WhenFull::Latest(_) => Full::Latest,
        };
        let terms = Terms {
            upstream: upstream.name.clone(),
            worker: worker.to_owned(),
            lease_time: engine.0.lease_time(),
            bounds,
            when_full,
            is_ordered: upstream.takeover == Takeover::Ordered,
        };
        Self {
            holder: Holder::new(terms, clock::now(), wall(), seed),
            name: format!("{worker}, upstream {}", upstream.name),
            upstream,
            engine,
            controls,
            calls: FuturesUnordered::new(),
            session: None,
            old: None,
            requests: None,
            serves: None,
            durable: None,
            commands: FuturesUnordered::new(),
            probe: None,
            ticket: None,
            wants_ticket: false,
            first: None,
            joined: false,
            rejoin: None,
            within: Duration::ZERO,
            last_event: None,
            timer: clock::Timer::default(),
            standing: Standing::Waiting,
            view,
        }
    }

    /// Who holds it, which handles see as well.
    fn holder_of(&self) -> BoxFuture<'static, Result<Option<String>, EngineError>> {
        let view = Arc::clone(&self.view);
        let asked = self.engine.0.holder(&self.upstream.name).inspect(move |holder| {
            if let Ok(holder) = holder {
                look(&view).holder.clone_from(holder);
            }
        });
        asked.boxed()
    }

    fn ask(&self, number: u64, question: Question) {
        let (engine, upstream) = (&self.engine.0, self.upstream.name.as_str());
        let call: BoxFuture<'static, Answer> = match question {
            Question::Holder => self.holder_of().map(Answer::Holder).boxed(),
            Question::Acquire => {
                let (holder, acquired) =
                    (self.holder_of(), engine.acquire(upstream, self.holder.worker()));
                let asked = async move {
                    let acquired = acquired.await;
                    if let Ok(None) = acquired {
                        // For those who ask how it fares.
                        drop(holder.await);
                    }
                    acquired
                };
                asked.map(Answer::Acquire).boxed()
            }
            Question::Renew(lease) => engine.renew(&lease).map(Answer::Renew).boxed(),
            Question::Release(lease) => engine.release(&lease).map(Answer::Release).boxed(),
            Question::Head => engine.head(upstream).map(Answer::Head).boxed(),
            Question::Append { behind, record } => {
                engine.append(upstream, behind, record).map(Answer::Append).boxed()
            }
            Question::Ticket => {
                let ticket = engine.ticket(upstream).map(|pid| pid.map(|pid| pid.map(Pid)));
                ticket.map(Answer::Ticket).boxed()
            }
            Question::KeepTicket { fence, pid } => {
                engine.keep_ticket(upstream, fence, &pid.0).map(Answer::KeepTicket).boxed()
            }
        };
        self.calls.push(call.map(move |answer| (number, answer)).boxed());
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Ask { number, question } => self.ask(number, question),
            Output::Dial { resume } => {
                self.forget();
                match Session::dial(&self.upstream, resume) {
                    Ok(session) => self.session = Some(session),
                    // It was checked at the start, so this is for want of a system, which ends.
                    Err(error) => say!(log::Level::Error, self.name, "it cannot connect: {error}"),
                }
            }
            Output::Serve(lease) => self.serve(&lease),
            Output::StopServing => {
                self.serves = None;
                self.durable = None;
            }
            Output::Close { drain: true } => {
                if let Some(session) = &self.session {
                    // It waits for answers of the server. What has come is to be stored afterwards, in order.
                    let (client, within) = (session.client.clone(), self.within.mul_f64(0.5));
                    self.commands
                        .push(async move { drop(client.hand_over(within).await) }.boxed_local());
                }
            }
            Output::Close { drain: false } => self.forget(),
            Output::Fetch { resume } => {
                say!(log::Level::Info, self.name, "fetching what was missed");
                match Session::dial(&self.upstream, Some(resume)) {
                    Ok(session) => self.old = Some(session),
                    Err(error) => say!(log::Level::Error, self.name, "it cannot connect: {error}"),
                }
            }
            Output::Probe => {
                let connecting = self.upstream.client().connect();
                let probe = async move {
                    let Some(Ok(client)) = clock::within(PROBE, connecting).await else {
                        return false;
                    };
                    client.shutdown(LEAVING).await;
                    true
                };
                self.probe = Some(probe.boxed_local());
            }
            Output::EndFetch => {
                if let Some(Session { client, .. }) = self.old.take() {
                    let left = async move {
                        client.shutdown(LEAVING).await;
                    };
                    self.commands.push(left.boxed_local());
                }
            }
        }
    }

    fn serve(&mut self, lease: &Lease) {
        let (serves, stopped) = oneshot::channel::<()>();
        self.serves = Some(serves);
        self.requests = Some(self.engine.0.serve(lease, stopped.map(drop).boxed()));
        self.durable = Some(self.engine.0.take_durable(lease, WINDOW));
    }

    /// Lets go of the connection, without leaving the namespace.
    fn forget(&mut self) {
        (self.ticket, self.wants_ticket, self.joined, self.rejoin) = (None, false, false, None);
        self.first = None;
        if let Some(Session { client, .. }) = self.session.take() {
            let gone = async move { drop(client.hand_over(Duration::ZERO).await) };
            self.commands.push(gone.boxed_local());
        }
    }

    fn incoming(&mut self, incoming: Option<Incoming>) {
        let now = clock::now();
        match incoming {
            Some(Incoming::Ready(ready)) => {
                (self.joined, self.wants_ticket, self.rejoin) = (true, true, None);
                let silence = ready.max_silence.saturating_add(SLACK);
                self.holder.handle_ready(now, ready.recovered(), silence);
            }
            Some(Incoming::Event(event)) => {
                self.last_event = Some(now);
                if self.wants_ticket
                    && event.offset().is_some()
                    && let Some(session) = &self.session
                {
                    self.wants_ticket = false;
                    let socket = session.socket.clone();
                    let ticket = async move { socket.session_ticket().await.unwrap_or_default() };
                    self.ticket = Some(ticket.boxed_local());
                }
                if self.upstream.route.takes(&event, &event.whose()) {
                    let key = match &self.upstream.when_full {
                        WhenFull::Latest(key) => key.of(&event),
                        WhenFull::LetGo | WhenFull::DropNewest => None,
                    };
                    let line = Line { key, ..line(&event, false) };
                    if self.ticket.is_some() {
                        self.first = Some(line);
                    } else {
                        self.holder.handle_line(now, line);
                    }
                }
            }
            Some(Incoming::Lagged(missed)) => self.holder.handle_lagged(now, missed),
            Some(Incoming::Gone) => {
                self.joined = false;
                self.holder.handle_gone(now);
                let ended = self.session.as_ref().map(|session| session.socket.state());
                if ended.is_some_and(|state| state.reason().is_some()) {
                    self.rejoin = now.checked_add(REJOIN);
                }
            }
            None => {
                self.session = None;
                self.joined = false;
                self.holder.handle_closed(now);
            }
        }
    }

    /// What comes of the old session.
    fn old(&mut self, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Event(event)) => {
                if self.upstream.route.takes(&event, &event.whose()) {
                    self.holder.handle_old_line(line(&event, true));
                }
            }
            Some(Incoming::Ready(ready)) => {
                self.holder.handle_old_ready(clock::now(), ready.recovered());
            }
            // The client tries again, until the holder gives it up.
            Some(Incoming::Lagged(_) | Incoming::Gone) => {}
            None => self.old = None,
        }
    }

    /// Where to send a command, and how large the answer may be, if this is the holder.
    fn outlet(&mut self) -> Option<(Socket, usize)> {
        // A former holder hears of it, too, and would send it twice: whether it still holds the upstream is for its own clock to say.
        self.holder.handle_timeout(clock::now());
        let session = self.session.as_ref().filter(|_| self.holder.standing() == Standing::Open)?;
        Some((session.socket.clone(), self.engine.0.max_record()))
    }

    fn request(&mut self, request: Request) {
        let (outlet, name) = (self.outlet(), self.name.clone());
        // One that is on its way out is still the holder, so nobody else sends it. A former holder does not know that, and is silent.
        if outlet.is_none() && self.holder.standing() != Standing::Leaving {
            return;
        }
        let Request { body, deadline, reply } = request;
        let done = async move {
            let answer = match outlet {
                Some((socket, limit)) => {
                    command::execute(&socket, &body, None, deadline, limit).await.body
                }
                None => command::not_sent("the upstream is being handed over"),
            };
            if let Err(error) = reply(answer).await {
                repeated!(log::Level::Warn, name, "an answer got lost: {error}");
            }
        };
        self.commands.push(done.boxed_local());
    }

    fn take(&mut self, request: DurableRequest) {
        let Some((socket, limit)) = self.outlet() else { return };
        let (name, DurableRequest { id, body, tries, done }) = (self.name.clone(), request);
        let doing = async move {
            let durable = Some(Durable { id: &id, tries });
            let executed = command::execute(&socket, &body, durable, DURABLE, limit).await;
            // Otherwise it comes again.
            if executed.is_final
                && let Err(error) = done(executed.body).await
            {
                repeated!(log::Level::Warn, name, "an answer got lost: {error}");
            }
        };
        self.commands.push(doing.boxed_local());
    }

    fn control(&mut self, control: Control) {
        let now = clock::now();
        match control {
            Control::Place(place) => self.holder.set_place(now, place),
            Control::HandOver(within) => {
                self.within = within;
                self.holder.hand_over(now, within);
            }
            Control::Stop(within) => {
                self.within = within;
                self.holder.stop(now, within);
            }
        }
    }

    /// One thing that has happened; `None` if there is nothing to do.
    fn step(&mut self, cx: &mut Context<'_>) -> Option<()> {
        if let Some(output) = self.holder.poll_output() {
            self.output(output);
            return Some(());
        }
        if let Poll::Ready(Some((number, answer))) = self.calls.poll_next_unpin(cx) {
            self.holder.handle_answer(clock::now(), number, answer);
            return Some(());
        }
        if let Poll::Ready(Some(control)) = self.controls.poll_next_unpin(cx) {
            self.control(control);
            return Some(());
        }
        if let Some(probe) = &mut self.probe
            && let Poll::Ready(is_reached) = probe.poll_unpin(cx)
        {
            self.probe = None;
            self.holder.handle_probed(clock::now(), is_reached);
            return Some(());
        }
        if let Some(ticket) = &mut self.ticket
            && let Poll::Ready(ticket) = ticket.poll_unpin(cx)
        {
            self.ticket = None;
            if let Some(ticket) = ticket {
                self.holder.handle_pid(clock::now(), Pid(ticket.pid().to_owned()));
            }
            if let Some(line) = self.first.take() {
                self.holder.handle_line(clock::now(), line);
            }
            return Some(());
        }
        if self.ticket.is_none()
            && self.holder.has_room()
            && let Some(session) = &mut self.session
            && let Poll::Ready(incoming) = session.incoming.poll_next_unpin(cx)
        {
            self.incoming(incoming);
            return Some(());
        }
        if let Some(old) = &mut self.old
            && let Poll::Ready(incoming) = old.incoming.poll_next_unpin(cx)
        {
            self.old(incoming);
            return Some(());
        }
        if let Some(requests) = &mut self.requests
            && let Poll::Ready(request) = requests.poll_next_unpin(cx)
        {
            match request {
                None => self.requests = None,
                Some(Ok(request)) => self.request(request),
                Some(Err(error)) => repeated!(log::Level::Warn, self.name, "no commands: {error}"),
            }
            return Some(());
        }
        // One that is taken and cannot be sent would come again only after the lease time.
        if self.joined
            && self.holder.standing() == Standing::Open
            && let Some(durable) = &mut self.durable
            && let Poll::Ready(Some(request)) = durable.poll_next_unpin(cx)
        {
            match request {
                Ok(request) => self.take(request),
                Err(error) => repeated!(log::Level::Warn, self.name, "no commands: {error}"),
            }
            return Some(());
        }
        if let Poll::Ready(Some(())) = self.commands.poll_next_unpin(cx) {
            return Some(());
        }
        let at = self.holder.poll_timeout().into_iter().chain(self.rejoin).min();
        if let Poll::Ready(now) = self.timer.poll(cx, at) {
            if self.rejoin.take_if(|rejoin| *rejoin <= now).is_some()
                && let Some(session) = &self.session
            {
                session.socket.connect();
            }
            self.holder.handle_timeout(now);
            return Some(());
        }
        None
    }

    /// Tells the handles, and the log.
    fn show(&mut self) {
        let standing = self.holder.standing();
        if standing != std::mem::replace(&mut self.standing, standing) {
            let what = match standing {
                Standing::Waiting => "another worker may take it",
                Standing::Taking => "taken over",
                Standing::Open => "joined, and writing to the log",
                Standing::Leaving => "handing over",
                Standing::Stopped => "done",
            };
            say!(log::Level::Info, self.name, "{what}");
        }
        let counts = self.holder.counts();
        let held = !matches!(standing, Standing::Waiting | Standing::Stopped);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let mut view = look(&self.view);
        view.standing = standing;
        view.joined = self.joined;
        view.last_event = self.last_event;
        view.is_aside = self.holder.is_aside();
        // It is called each time that something happens, and these rarely change.
        if view.error.as_ref() != self.holder.last_error() {
            view.error = self.holder.last_error().cloned();
        }
        if let Some(end) = self.holder.end() {
            view.sequence = Some(end.sequence);
        }
        if view.stats.held_here && !held {
            view.holder = None;
        }
        if held && view.holder.as_deref() != Some(self.holder.worker()) {
            view.holder = Some(self.holder.worker().to_owned());
        }
        let stats = &mut view.stats;
        stats.events = counts.events;
        stats.batches = counts.batches;
        stats.gaps = self.holder.buffer().gaps();
        stats.takeovers = counts.takeovers;
        stats.handed_over = counts.handed_over;
        stats.lost = counts.lost;
        stats.failures = counts.failures;
        stats.waiting = count(self.holder.buffer().len());
        stats.waiting_bytes = count(self.holder.buffer().bytes());
        stats.held_here = held;
        stats.joined = self.joined;
    }
}

/// Ready when it has stopped.
impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..STEPS {
            if self.step(cx).is_none() {
                self.show();
                // Callers are told what became of their commands.
                let is_done = self.standing == Standing::Stopped
                    && self.calls.is_empty()
                    && self.commands.is_empty();
                return if is_done { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        self.show();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

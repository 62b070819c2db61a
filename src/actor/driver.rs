//! The one future of a Connection: dials, reads, writes, flushes, waits.
//!
//! An actor context polls its futures right after its mailbox. So everything that handlers have put into
//! the core goes out in the same turn, with one flush.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{ActorContext, ActorFuture, Context};
use futures::future::LocalBoxFuture;

use crate::{
    actor::connection::{Connection, Inflow},
    logs::{repeated, say},
    proto::{
        connection::Action,
        deadline::deadline_after,
        engine::{Incoming, Message},
        reason::Reason,
    },
    runtime::{
        clock::{self, SuspendWatch, Timer},
        provider::DialContext,
        task::poll_again,
    },
    transport::{self, DialFailure, LinkDialer, Targets},
};

/// The most messages that are read before other tasks get their turn.
const BATCH: usize = 128;

#[derive(Debug)]
pub(crate) struct Driver {
    targets: Targets,
    dialer: LinkDialer,
    /// The place of the server in the order of preference.
    place: usize,
    link: Link,
    farewell: Farewell,
    timer: Timer,
    clock: SuspendWatch,
    watch: Watch,
}

/// Notices that the arbiter is blocked: then the timer goes off late, by most of the time in which
/// a ping must be answered.
#[derive(Debug, Default)]
struct Watch {
    /// The time of the next look.
    at: Option<Instant>,
}

/// The number of checks in that time,
const LOOKS: u32 = 4;
/// and the shortest time between two.
const MIN_LOOK: Duration = Duration::from_millis(50);

impl Watch {
    fn look_every(ping_timeout: Duration) -> Duration {
        ping_timeout.checked_div(LOOKS).unwrap_or(ping_timeout).max(MIN_LOOK)
    }

    /// The time of the next look, if there is a heartbeat to keep.
    fn poll_timeout(&mut self, now: Instant, ping_timeout: Option<Duration>) -> Option<Instant> {
        let Some(ping_timeout) = ping_timeout else {
            self.at = None;
            return None;
        };
        let next = || deadline_after(now, Self::look_every(ping_timeout));
        Some(*self.at.get_or_insert_with(next))
    }

    /// Whether it is time for the next look.
    fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// The least time for which the arbiter has been blocked, if that was too long.
    fn handle_timeout(&mut self, now: Instant, ping_timeout: Option<Duration>) -> Option<Duration> {
        let at = self.at.take_if(|at| *at <= now)?;
        // An arbiter that is blocked for as long as a ping may take misses all looks in that time except one.
        let too_long = Self::look_every(ping_timeout?).saturating_mul(LOOKS.saturating_sub(1));
        Some(now.saturating_duration_since(at)).filter(|late| *late >= too_long)
    }
}

/// The future that tells the server that a connection has been given up.
#[derive(Default)]
struct Farewell(Option<LocalBoxFuture<'static, ()>>);

impl std::fmt::Debug for Farewell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Farewell" } else { "None" })
    }
}

enum Link {
    Down,
    Dialling(LocalBoxFuture<'static, Result<transport::Link, DialFailure>>),
    Up(transport::Link),
    /// It is closed when everything is written. `said`: the close frame is queued.
    Closing {
        transport: transport::Link,
        said: bool,
    },
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Down => "Down",
            Self::Dialling(_) => "Dialling",
            Self::Up(_) => "Up",
            Self::Closing { .. } => "Closing",
        })
    }
}

impl Driver {
    pub(crate) fn new(targets: Targets) -> Self {
        let (timer, clock, watch) = (Timer::default(), SuspendWatch::new(), Watch::default());
        let (place, farewell) = (0, Farewell::default());
        let dialer = LinkDialer::new(Arc::clone(targets.at(place)));
        Self { targets, dialer, place, link: Link::Down, farewell, timer, clock, watch }
    }

    /// Switches to the server that the core has chosen.
    fn turn_to(&mut self, place: usize) {
        if self.place != place {
            self.place = place;
            self.dialer = LinkDialer::new(Arc::clone(self.targets.at(place)));
        }
    }

    fn act(&mut self, action: Action, connection: &mut Connection, cx: &mut TaskContext<'_>) {
        let Connection { core, tap, .. } = connection;
        let link = std::mem::replace(&mut self.link, Link::Down);
        match (action, link) {
            (Action::Close, Link::Up(transport)) => {
                self.link = Link::Closing { transport, said: false };
            }
            (Action::Close, other) => self.link = other,
            (Action::Drop, link) => self.hang_up(link, cx),
            (Action::Dial(protocol), link) => {
                self.hang_up(link, cx);
                self.turn_to(core.endpoint());
                let target = self.dialer.target();
                let authority = target.endpoint.authority();
                say!(log::Level::Debug, target.client, "dialling {authority}");
                if tap.is_on() {
                    tap.dialling(authority, protocol, core.transport());
                }
                let dial = DialContext {
                    endpoint: target.endpoint.url().clone(),
                    attempt: core.attempt(),
                    reason: core.last_reason().cloned(),
                };
                let dialling =
                    self.dialer.dial(protocol, core.transport(), core.is_polling_alone(), dial);
                let farewell = self.farewell.0.take();
                self.link = Link::Dialling(Box::pin(async {
                    // The server continues a session only after it has noticed its end.
                    if let Some(farewell) = farewell {
                        farewell.await;
                    }
                    dialling.await
                }));
            }
        }
    }

    /// Gives a connection up. [`part`](Self::part) finishes telling the server.
    fn hang_up(&mut self, link: Link, cx: &mut TaskContext<'_>) {
        if let Link::Up(transport) | Link::Closing { transport, said: false } = link {
            self.farewell.0 = transport.hang_up(cx);
        }
    }

    /// Continues to tell the server that a connection has been given up.
    fn part(&mut self, cx: &mut TaskContext<'_>) {
        self.farewell.0.take_if(|farewell| farewell.as_mut().poll(cx).is_ready());
    }

    fn dial(&mut self, connection: &mut Connection, now: Instant, cx: &mut TaskContext<'_>) {
        if let Link::Dialling(dialling) = &mut self.link
            && let Poll::Ready(outcome) = dialling.as_mut().poll(cx)
        {
            match outcome {
                Ok(transport) => {
                    connection.handle_dialled(now, transport.subprotocol());
                    if matches!(transport, transport::Link::WebSocket(_)) {
                        self.dialer.rest();
                    }
                    self.link = Link::Up(transport);
                }
                Err(DialFailure { reason, retry_after, says }) => {
                    self.link = Link::Down;
                    connection.journal.said(says);
                    connection.core.handle_dial_failed(now, reason, retry_after);
                }
            }
        }
    }

    /// Writes the messages of the core, and flushes.
    fn write(
        &mut self,
        connection: &mut Connection,
        cx: &mut TaskContext<'_>,
    ) -> Result<(), Reason> {
        let (transport, said) = match &mut self.link {
            Link::Up(transport) => (transport, None),
            Link::Closing { transport, said } => (transport, Some(said)),
            Link::Down | Link::Dialling(_) => return Ok(()),
        };
        let Connection { core, tap, .. } = connection;
        let protocol = if tap.is_on() { core.protocol() } else { None };
        while transport.poll_ready(cx)?.is_ready() {
            let write = |message: Message<'_>| {
                tap.sent(protocol, &message);
                transport.start_send(message);
            };
            if core.poll_transmit(write) {
                continue;
            }
            if let Some(said) = said
                && !*said
            {
                *said = true;
                transport.start_close();
            }
            break;
        }
        match transport.poll_flush(cx) {
            Poll::Ready(Err(reason)) => Err(reason),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Reads one batch, as far as there is room.
    fn read(
        &mut self,
        connection: &mut Connection,
        now: Instant,
        cx: &mut TaskContext<'_>,
    ) -> Result<Inflow, Reason> {
        for _ in 0..BATCH {
            let transport = match &mut self.link {
                Link::Up(transport) if connection.may_read() => transport,
                Link::Closing { transport, .. } => transport,
                Link::Up(_) => return Ok(Inflow::NoRoom),
                Link::Down | Link::Dialling(_) => return Ok(Inflow::Dry),
            };
            match transport.poll_next(cx) {
                Poll::Pending => return Ok(Inflow::Dry),
                Poll::Ready(Err(reason)) => return Err(reason),
                Poll::Ready(Ok(Incoming::Frame(frame))) => {
                    connection.tap.received(|| connection.core.protocol(), &frame);
                    connection.core.handle_frame(now, frame);
                    connection.route();
                }
                Poll::Ready(Ok(Incoming::Confirmed(number))) => {
                    connection.core.handle_pong(now, number);
                }
                Poll::Ready(Ok(Incoming::Revision(protocol))) => {
                    connection.core.handle_revision(now, protocol);
                }
                Poll::Ready(Ok(Incoming::Upgraded)) => {
                    connection.handle_upgraded(transport.subprotocol());
                    self.dialer.rest();
                }
            }
        }
        Ok(Inflow::More)
    }

    /// Does everything that can be done now.
    fn turn(
        &mut self,
        connection: &mut Connection,
        now: Instant,
        cx: &mut TaskContext<'_>,
    ) -> Inflow {
        while let Some(action) = connection.core.poll_action() {
            self.act(action, connection, cx);
        }
        self.dial(connection, now, cx);
        connection.core.note_lateness(now, false);
        let outcome = self.read(connection, now, cx).and_then(|inflow| {
            if connection.core.is_late() {
                // Reading may have taken a while.
                connection.core.note_lateness(clock::now(), inflow != Inflow::Dry);
                return Ok(inflow);
            }
            self.write(connection, cx).map(|()| inflow)
        });
        let inflow = outcome.unwrap_or_else(|reason| {
            // A peer that closes gets a close frame back; to one that is gone it does not matter.
            let link = std::mem::replace(&mut self.link, Link::Down);
            self.hang_up(link, cx);
            connection.core.handle_lost(now, reason);
            Inflow::Dry
        });
        self.part(cx);
        connection.route();
        connection.dispatch();
        connection.account();
        connection.note_inflow(now, inflow);
        inflow
    }
}

impl ActorFuture<Connection> for Driver {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        connection: &mut Connection,
        ctx: &mut Context<Connection>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let mut now = clock::now();
        let gap = self.clock.gap(now);
        if !gap.is_zero() {
            connection.core.handle_suspended(now, gap);
        }
        if self.watch.is_due(now) {
            connection.rest();
        }
        // This comes before the connection is found to be lost because of it.
        if let Some(late) = self.watch.handle_timeout(now, connection.core.ping_timeout()) {
            repeated!(
                log::Level::Warn,
                connection.journal.client(),
                "the arbiter of this client was blocked for {} ms or more: pings go unanswered \
                 then, and the server ends the connection. What takes long is for another arbiter \
                 (actix::Arbiter), or for actix_rt's spawn_blocking",
                late.as_millis()
            );
        }
        loop {
            let inflow = self.turn(connection, now, cx);
            if connection.try_finish() {
                ctx.stop();
                return Poll::Ready(());
            }
            let ping_timeout = connection.core.ping_timeout();
            let look = self.watch.poll_timeout(now, ping_timeout);
            let due = connection.poll_timeout().into_iter().chain(look).min();
            if let Poll::Ready(then) = self.timer.poll(cx, due) {
                now = then;
                connection.handle_timeout(now);
            } else if connection.core.is_settled() {
                if inflow == Inflow::More {
                    poll_again(cx);
                }
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        sync::Arc,
        time::Duration,
    };

    use futures::task::noop_waker_ref;

    use super::*;
    use crate::{
        actor::{shutdown::ShutdownInbox, status::ConnectionStatus},
        backpressure::receive_window::{Load, ReceiveWindow},
        proto::{
            config::Config,
            packet::{Limits, Parser},
            reconnect::Reconnect,
            transports::Allowed,
        },
        transport::{Endpoint, Headers, Query, Subprotocols, Target, Way},
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_arbiter_that_is_blocked_for_the_time_of_a_ping_is_noticed_once() {
        let ping_timeout = Some(20 * SECOND);
        for (blocked, from, expected) in [
            // Blocked from right after a check, and from right before one.
            (20, 0, Some(15)),
            (20, 5, Some(20)),
            (14, 5, None),
            (14, 0, None),
            (0, 0, None),
        ] {
            let start = Instant::now();
            let mut watch = Watch::default();
            assert_eq!(watch.poll_timeout(start, ping_timeout), Some(start + 5 * SECOND));
            let now = start + (from + blocked) * SECOND;
            let noticed = watch.handle_timeout(now, ping_timeout);
            assert_eq!(noticed, expected.map(Duration::from_secs), "{blocked} {from}");
            assert_eq!(watch.handle_timeout(now, ping_timeout), None);
        }
        let mut watch = Watch::default();
        let before = Instant::now();
        assert!(watch.poll_timeout(before, ping_timeout).is_some());
        assert_eq!(watch.poll_timeout(before, None), None, "the connection is gone");
        let after = before + 100 * SECOND;
        assert_eq!(watch.poll_timeout(after, ping_timeout), Some(after + 5 * SECOND));
        let mut watch = Watch::default();
        // For a server that allows no time at all, the checks are still that far apart.
        let now = Instant::now();
        assert_eq!(watch.poll_timeout(now, Some(Duration::ZERO)), Some(now + MIN_LOOK));
    }

    #[actix::test]
    async fn it_notices_at_once_that_the_machine_was_suspended() {
        // It accepts connections and never sends a byte.
        let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let target = Target {
            client: "client".into(),
            endpoint: Endpoint::new(
                false,
                url::Host::Ipv4(Ipv4Addr::LOCALHOST),
                Some(server.local_addr().unwrap().port()),
                "/",
            ),
            way: Way::default(),
            tls: None,
            query: Query::default(),
            headers: Headers::default(),
            subprotocols: Subprotocols::default(),
            max_message: 1_000,
        };
        let targets = Targets::new(target, Vec::new());
        let config = Config {
            name: "client".into(),
            max_payload: None,
            pin: None,
            parser: Parser::default(),
            limits: Limits { attachments: 10, bytes: 1_000 },
            connect_timeout: 1_000 * SECOND,
            join_timeout: SECOND,
            attachment_timeout: SECOND,
            reconnect: Reconnect::never(),
            retry_window: 1,
            transports: Allowed::WebSocket,
            endpoints: Vec::new(),
        };
        let config = Arc::new(config);
        let window = Arc::new(ReceiveWindow::new(Load { items: 10, bytes: 1_000 }));
        let status = Arc::new(ConnectionStatus::default());
        let mut connection = Connection::new(
            config,
            7,
            targets.clone(),
            window,
            status,
            Arc::default(),
            ShutdownInbox(Arc::default()),
        );
        let mut driver = Driver::new(targets);
        let mut ctx = Context::new();
        let mut turn = |driver: &mut Driver, connection: &mut Connection| {
            let mut cx = TaskContext::from_waker(noop_waker_ref());
            Pin::new(driver).poll(connection, &mut ctx, &mut cx)
        };
        connection.core.join(clock::now(), "/");
        assert!(turn(&mut driver, &mut connection).is_pending());
        driver.clock.suspend(900 * SECOND);
        assert!(turn(&mut driver, &mut connection).is_pending());
        assert!(matches!(driver.link, Link::Dialling(_)));
        driver.clock.suspend(1_001 * SECOND);
        assert!(turn(&mut driver, &mut connection).is_pending());
        assert!(matches!(driver.link, Link::Down));
        assert!(connection.core.is_idle());
    }
}

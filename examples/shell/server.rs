//! The server side: checks tokens, and connects clients with shells.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef, TryData},
    handler::ConnectHandler as _,
    socket::DisconnectReason,
};
use tokio::sync::mpsc;

use crate::{
    Failure,
    session::{Order, Session},
    wire::{Hello, INPUT, PIECE, RESIZE, Size},
};

/// The most shells that are open at a time.
const SHELLS: usize = 64;

/// The most orders that wait for a session. A client that exceeds this does not wait for answers.
const WAITING: usize = 64;

/// The server, on a thread of its own. It ends with the process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shells: Arc<Shells>,
}

/// The shells, and the token that opens them.
struct Shells {
    token: String,
    keep: Duration,
    open: Mutex<HashMap<String, mpsc::Sender<Order>>>,
}

impl Server {
    pub(crate) fn start(
        address: SocketAddr,
        token: String,
        keep: Duration,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address)
            .map_err(|error| format!("it cannot listen on {address}: {error}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shells = Arc::new(Shells { token, keep, open: Mutex::default() });
        let (layer, io) = SocketIo::new_layer();
        let doorkeeper = Arc::clone(&shells);
        let check = move |TryData(hello): TryData<Hello>| {
            let shells = Arc::clone(&doorkeeper);
            async move { shells.admit(hello.map_err(|_| REFUSAL)?).map_err(|error| error.to_string()) }
        };
        let host = Arc::clone(&shells);
        let joined = move |socket: SocketRef, Data(hello): Data<Hello>| {
            host.attach(&socket, &hello);
            std::future::ready(())
        };
        io.ns("/", joined.with(check));
        let app = axum::Router::new().layer(layer);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, app).await
            })
        });
        Ok(Self { address, shells })
    }

    /// Ends all shells, and tells their clients.
    pub(crate) async fn stop(&self) {
        let open: Vec<_> = self.shells.open().values().cloned().collect();
        for session in open {
            // It may be ending by itself.
            session.send(Order::End).await.ok();
            session.closed().await;
        }
    }
}

const REFUSAL: &str = "a shell is opened with a token, which is missing or wrong";

impl Shells {
    fn open(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Order>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a shell, unless there is one of this session.
    fn admit(self: &Arc<Self>, hello: Hello) -> Result<(), Failure> {
        if !is_same(&hello.token, &self.token) {
            return Err(REFUSAL.into());
        }
        let mut open = self.open();
        if open.contains_key(&hello.session) {
            return Ok(());
        }
        if !hello.is_new {
            let seconds = self.keep.as_secs();
            return Err(format!(
                "the session is over: it is kept for {seconds} s without a client"
            )
            .into());
        }
        if open.len() >= SHELLS {
            return Err(format!("{SHELLS} shells are open already").into());
        }
        let mut session = Session::open(&hello, self.keep)
            .map_err(|error| format!("no shell could be started: {error}"))?;
        let (orders, mut inbox) = mpsc::channel(WAITING);
        open.insert(hello.session.clone(), orders.clone());
        drop(open);
        let shells = Arc::clone(self);
        tokio::spawn(async move {
            session.run(orders.downgrade(), &mut inbox).await;
            shells.open().remove(&hello.session);
            session.end(inbox).await;
        });
        Ok(())
    }

    /// Gives the session its client.
    fn attach(&self, socket: &SocketRef, hello: &Hello) {
        let Some(orders) = self.open().get(&hello.session).cloned() else {
            socket.clone().disconnect().ok();
            return;
        };
        let attach = Order::Attach { socket: socket.clone(), from: hello.from, size: hello.size };
        pass(&orders, socket, attach);
        let session = orders.clone();
        let input =
            move |socket: SocketRef, Data((from, bytes)): Data<(u64, Bytes)>, ack: AckSender| {
                if bytes.len() > PIECE {
                    socket.disconnect().ok();
                } else {
                    pass(&session, &socket, Order::Input { from, bytes, ack });
                }
                std::future::ready(())
            };
        socket.on(INPUT, input);
        let session = orders.clone();
        socket.on(RESIZE, move |socket: SocketRef, Data(size): Data<Size>| {
            pass(&session, &socket, Order::Resize(size));
            std::future::ready(())
        });
        socket.on_disconnect(move |socket: SocketRef, reason: DisconnectReason| {
            let orders = orders.clone();
            async move {
                // A client that has left does not come back.
                let order = match reason {
                    DisconnectReason::ClientNSDisconnect => Order::End,
                    _ => Order::Detach(socket.id),
                };
                orders.send(order).await.ok();
            }
        });
    }
}

/// Passes an order on. The orders keep the order of the events, which is that of these calls.
fn pass(orders: &mpsc::Sender<Order>, socket: &SocketRef, order: Order) {
    if orders.try_send(order).is_err() {
        socket.clone().disconnect().ok();
    }
}

/// Compares in a time that does not depend on how much of the token is right.
fn is_same(shown: &str, token: &str) -> bool {
    let differences =
        shown.bytes().zip(token.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    shown.len() == token.len() && differences == 0
}

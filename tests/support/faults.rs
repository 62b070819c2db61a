//! Random faults of a connection, by a seed: what goes wrong is the same in each run, and where
//! it hits depends only on the traffic.

use super::proxy::{Direction, Proxy};
use std::pin::pin;
use std::time::Duration;

/// How long to wait for a new connection before assuming that there was too little traffic.
const SILENCE: Duration = Duration::from_secs(1);

/// Draws from a seed (`SplitMix64`, by Steele, Lea and Flood).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn fault(&mut self) -> Fault {
        match self.below(8) {
            0 => Fault::Cut,
            1 => Fault::Reset,
            2 => Fault::HalfClose(Direction::ToClient),
            3 => Fault::HalfClose(Direction::ToServer),
            4 => Fault::Stall,
            // Some end in the handshake, and some in the middle of a frame.
            5 => Fault::CutAfter(1 + self.below(2_000), Direction::ToClient),
            6 => Fault::CutAfter(1 + self.below(2_000), Direction::ToServer),
            _ => Fault::Refuse,
        }
    }
}

/// The faults, each of which ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Cut,
    Reset,
    HalfClose(Direction),
    /// Nothing passes any more, and then the connection is cut.
    Stall,
    /// Cut after this many bytes have passed.
    CutAfter(u64, Direction),
    /// Cut, and the next attempt to connect is refused.
    Refuse,
}

impl Fault {
    /// Ends a connection through the proxy, or all, and waits until there is another. `talk` makes
    /// the server send something, which arrives, in whole, in part or not at all, and perhaps repeatedly.
    pub async fn strike(self, proxy: &Proxy, mut talk: impl FnMut()) {
        let before = proxy.counts();
        match self {
            Self::Stall => proxy.stall(),
            Self::CutAfter(bytes, direction) => proxy.cut_after(bytes, direction),
            _ => {}
        }
        talk();
        match self {
            Self::Cut => proxy.cut(),
            Self::Reset => proxy.reset(),
            Self::HalfClose(Direction::ToClient) => proxy.half_close_to_client(),
            Self::HalfClose(Direction::ToServer) => proxy.half_close_to_server(),
            Self::Stall => {
                proxy.cut();
                proxy.resume();
            }
            Self::CutAfter(..) => {}
            Self::Refuse => {
                proxy.refuse(true);
                proxy.cut();
                proxy.until("a refusal", |counts| counts.refused > before.refused).await;
                proxy.refuse(false);
            }
        }
        let again =
            |now: &super::proxy::Counts| now.connections > before.connections && now.open > 0;
        let what = format!("another connection after {self:?}");
        let mut cut = pin!(proxy.until(&what, again));
        // A server sends nothing to a client that has not reconnected yet, and a cut after some bytes
        // needs these bytes.
        while tokio::time::timeout(SILENCE, cut.as_mut()).await.is_err() {
            talk();
            // A client that polls has several connections, some of which it may not use any more.
            proxy.cut();
        }
    }
}

/// How long the proxy delays what it forwards: mostly not at all.
pub fn delay(dice: &mut Dice) -> Duration {
    match dice.below(8) {
        0 => Duration::from_millis(dice.below(4)),
        _ => Duration::ZERO,
    }
}

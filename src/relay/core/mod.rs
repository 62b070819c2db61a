//! What a worker decides, as state machines on virtual time: time and randomness are arguments, and nothing here waits,
//! reads a clock or talks to anybody.
//!
//! A [`holder`](holder::Holder) is one upstream in one worker: it waits for its turn, takes the [lease](lease::Lifetime), has the
//! [writer](writer::Writer) put a mark into the log that shuts out the holder before, and only then dials.
//! The events that come wait in a [buffer](buffer::Buffer) while the batch before is being stored. What a new session has missed is
//! fetched [`late`]. [`placement`] says whose turn it is; where the server is out of [reach], others are to try.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "times are divided by numbers that are not zero"
)]

pub(crate) mod buffer;
pub(crate) mod holder;
mod late;
pub(crate) mod lease;
pub(crate) mod placement;
pub(crate) mod question;
mod reach;
mod term;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

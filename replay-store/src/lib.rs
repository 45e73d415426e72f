//! The sequence-numbered replay ring of a session, the byte log that it and the downstream backlog are stored in, and
//! the budgets that bound the memory of all sessions together.
//!
//! The crate is pure: no socket, clock, randomness or async. What it must not do: look into a message, or decide when
//! one is acknowledged.

mod budget;
mod log;
mod pins;
mod ring;

pub use budget::{Budget, Reservation};
pub use log::{ByteLog, CHUNK_MAX};
pub use pins::{Pin, PinLimits, Pins, PinsFull};
pub use ring::{Alone, Death, Limits, Replay, Ring, Standing};

//! WebSocket frames, close codes and the session engine of Tideover.
//!
//! This crate is pure: it has no socket, clock, randomness or async. Time comes in as [`time::Instant`], seeds and
//! ids come in as arguments, and what is to be done comes out as values.

pub mod close;
pub mod frame;
pub mod rules;
#[cfg(feature = "sabotage")]
pub mod sabotage;
#[cfg(not(feature = "sabotage"))]
mod sabotage;
pub mod scan;
pub mod session;
pub mod time;

//! The session engine.

mod config;

pub use config::{AckMode, Config, EndCodes, OnAmbiguous, OnFull, Reattach};

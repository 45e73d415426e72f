//! Backends: real servers in processes of their own that can be killed, stopped and started again.

mod kind;
mod log;
mod process;

pub use kind::Kind;
pub(crate) use kind::{node, python};
pub use log::{ConnectionLog, Event, EventLog, What, read_log, read_log_from};
pub use process::{Backend, Kill};

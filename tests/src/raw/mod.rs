//! Both ends by hand: every byte, and every way to end, is the test's. Nothing here is shared with the product, and
//! nothing is done unasked: no pong, no echo of a Close.

mod backend;
mod connection;
mod frame;
mod handshake;
mod stage;

pub use backend::RawBackend;
pub use connection::{Connection, Ended};
pub use frame::{Frame, opcode};
pub use handshake::{Head, SAMPLE_KEY, accept_response, upgrade_request};
pub use stage::{Death, Leg, SESSION_PATH, Stage};

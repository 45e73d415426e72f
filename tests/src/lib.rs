//! The harness of the end-to-end tests: real processes, real sockets, real clients and servers. `tests/README.md` shows
//! how its parts go together. What a test asserts is judged from the backends' own logs and from what the clients saw,
//! never from what the proxy says of itself.

pub mod attack;
pub mod backend;
pub mod client;
pub mod clock;
pub mod conformance;
pub mod deadline;
pub mod dns;
pub mod environment;
pub mod example;
pub mod hook;
pub mod interop;
pub mod judge;
pub mod lock;
pub mod matrix;
pub mod metrics;
pub mod operator;
pub mod ports;
pub mod program;
pub mod proxy;
pub mod questions;
pub mod random;
pub mod raw;
pub mod replaced;
pub mod scratch;
pub mod soak;
pub mod target;
pub mod tls;

pub use backend::{Backend, Kind};
pub use proxy::Proxy;
pub use replaced::Replaced;
pub use scratch::Scratch;
pub use target::Target;

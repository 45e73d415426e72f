//! Clients, and the transcripts they all give.

mod follower;
mod foreign;
mod load;
mod single;
mod transcript;

pub use follower::{Follower, Outcome};
pub use foreign::{ForeignClients, ForeignKind};
pub use load::{Load, run, run_many};
pub use single::Client;
pub(crate) use single::{Received, Socket, connect, received};
pub use transcript::{End, Message, Transcript};

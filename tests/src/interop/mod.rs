//! Software that none of us wrote, server and client, with the proxy between them and the servers killed in each state of a
//! session. Judged from the clients' and the servers' own journals.

mod account;
mod installed;
pub mod journal;
mod report;
mod run;
mod service;
mod signs;
mod software;
mod state;
mod tap;

pub use account::{Counts, Kills};
pub use report::{Report, Row};
pub use run::{Outcome, Plan};
pub use software::{Servers, Software};
pub use state::State;

//! What of a client's handshake may be another one when it is given to a backend again: header fields and keys of the
//! query. Pure: where they come from (a hook, a file, rules), `pool` and `config` know.
//!
//! Must not touch anything else of a request, nor set what the proxy or HTTP itself gives a meaning.

mod query;
mod values;

pub use query::{QueryEdit, has_key};
pub use values::{InvalidValues, Values};

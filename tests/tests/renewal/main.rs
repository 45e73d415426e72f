//! What changes of a client's handshake when it is given to a backend again: fresh credentials from a hook or a file,
//! and nothing else.

mod failures;
mod file;
mod hook;
mod site;

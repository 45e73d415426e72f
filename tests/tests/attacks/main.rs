//! Attacks, and honest sessions beside them that lose nothing, are not closed and go on being served.
//!
//! How long they wait is measured by `cargo run --release -p tideover-tests --bin attacks`; here, on a machine that builds
//! and tests other things, a bound is generous and there to find what stands still.

mod beside;
mod lies;

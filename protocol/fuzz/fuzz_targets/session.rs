//! Any operations on the session engine.
#![no_main]

#[path = "../../tests/fuzz/reference.rs"]
mod reference;
#[path = "../../tests/fuzz/session/mod.rs"]
mod session;

libfuzzer_sys::fuzz_target!(|data: &[u8]| session::check(data));

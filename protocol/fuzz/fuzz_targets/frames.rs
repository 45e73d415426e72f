//! Any bytes through the frame scanner, against the reference.
#![no_main]

#[path = "../../tests/fuzz/frames.rs"]
mod frames;
#[path = "../../tests/fuzz/reference.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|data: &[u8]| frames::check(data));

//! Any bytes as a client's, up to and behind its handshake.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tideover::edge::fuzz::http(data));

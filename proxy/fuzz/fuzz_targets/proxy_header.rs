//! Any bytes as a PROXY header.
#![no_main]

#[path = "../../tests/fuzz/proxy_header.rs"]
mod proxy_header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    proxy_header::check(data);
});

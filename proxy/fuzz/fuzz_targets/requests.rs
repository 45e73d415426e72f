//! A client's bytes through the check before hyper, against a reader made of httparse.
#![no_main]

#[path = "../../tests/fuzz/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    requests::check(data);
});

//! Masking keys of our own frames.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

/// A stream of unpredictable numbers from a seed: SipHash-2-4 of a counter.
#[derive(Debug)]
pub(super) struct Keys {
    seed: [u8; 16],
    counter: u64,
}

impl Keys {
    pub(super) fn new(seed: [u8; 16]) -> Self {
        Self { seed, counter: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.counter += 1;
        let mut hasher = SipHasher24::new_with_key(&self.seed);
        hasher.write_u64(self.counter);
        hasher.finish()
    }

    /// A key for one frame (RFC 6455 5.3).
    pub(super) fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        [a, b, c, d]
    }
}

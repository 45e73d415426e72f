//! One clock for every process of a test.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC: the same for all processes on the machine, and the clock that Python's
/// `time.monotonic_ns()` and Node's `process.hrtime.bigint()` read.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Whole milliseconds as nanoseconds of [`now_ns`].
pub const fn ms(milliseconds: u64) -> u64 {
    milliseconds * 1_000_000
}

//! Waiting for a condition, never for a time.

use std::{
    fmt::Display,
    panic::Location,
    time::{Duration, Instant},
};

const POLL_EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` holds, without blocking the runtime.
///
/// # Panics
/// When it does not hold by `deadline` from now; the text names `what` and the caller's line.
#[track_caller]
pub fn eventually(
    deadline: Duration,
    what: impl Display,
    mut condition: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < deadline, "{caller}: not within {deadline:?}: {what}");
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// The blocking form, for starting processes: `poll` is called until it gives something.
///
/// # Panics
/// As [`eventually`]; `poll` may panic earlier, for example because the process has ended.
#[track_caller]
pub fn wait_for<T>(deadline: Duration, what: impl Display, mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        // A condition is looked at from time to time here; it is not waited for by time.
        #[expect(clippy::disallowed_methods)]
        std::thread::sleep(POLL_EVERY);
    }
}

/// Gives `future` a deadline.
///
/// # Panics
/// When it is not ready by then; the text names `what` and the caller's line.
#[track_caller]
pub fn within<F: Future>(deadline: Duration, what: impl Display, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match tokio::time::timeout(deadline, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: not within {deadline:?}: {what}"),
        }
    }
}

//! Law 10, never worse than no proxy: backends that are healthy, however slow, silent, push-only or short-lived their
//! handlers are, and clients that are slow or silent. Each case runs twice at the same time, on a direct connection and
//! through the proxy, and both ends must tell the same story. Must be shown, 5.
//!
//! Nothing here loads the machine: the tests mostly wait, so they run beside each other and beside other tests.

mod flow;
mod handlers;
mod link;
mod pings;
mod scene;
mod short_lived;

use std::time::Duration;

/// Timeouts that a careless operator might set, far below what the handlers and links here take. The orphan timeout is
/// short for the tests' sake: a handler that does not read learns only then that its client has left.
const SHORT_TIMEOUTS: [&str; 10] = [
    "--ack-timeout",
    "1s",
    "--ping-interval",
    "500ms",
    "--ping-timeout",
    "1s",
    "--connect-timeout",
    "3s",
    "--orphan-timeout",
    "2s",
];

/// For what takes no time by itself, on a machine that is busy.
const SOON: Duration = Duration::from_secs(20);

/// For what takes up to a minute and a half by itself.
const LATE: Duration = Duration::from_secs(300);

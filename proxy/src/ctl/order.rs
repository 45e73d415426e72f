//! What may be ordered on the command line.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

/// How often `top` looks, at most.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(super) enum Order {
    /// How the proxy is
    Status,
    /// A live view of the proxy and its backends; printed once where there is no terminal
    Top {
        /// Time between two looks, 100ms or more
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
        interval: Duration,
        /// Print it once
        #[arg(long)]
        once: bool,
    },
    /// Take no new sessions for now; those that are live go on
    Pause,
    /// Take new sessions again
    Resume,
    /// Take the configuration anew, and say what changed or what is wrong with it
    Reload,
    /// The backends and what is known of them
    Backends {
        /// Only those of this pool
        #[arg(long)]
        pool: Option<String>,
    },
    /// A backend in detail
    Backend(One),
    /// Add a backend: it stays until it is removed, or the proxy is started anew
    Add {
        /// Where it is: ws://host:port or wss://host:port
        url: String,
        /// What to call it [default: host:port of the URL]
        #[arg(long)]
        name: Option<String>,
        /// Its pool
        #[arg(long, default_value = crate::config::DEFAULT_POOL)]
        pool: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change settings of a backend for the sessions to come
    Set {
        #[command(flatten)]
        backend: One,
        #[command(flatten)]
        settings: Settings,
    },
    /// Drain a backend and forget it with its last session
    Remove {
        #[command(flatten)]
        backend: One,
        #[command(flatten)]
        wait: Wait,
    },
    /// Let a backend have sessions again
    Enable(One),
    /// Let a backend have no new sessions; those that it has stay
    Disable(One),
    /// Let a backend have no new sessions, and have those that it has go
    Drain {
        #[command(flatten)]
        backend: One,
        #[command(flatten)]
        wait: Wait,
    },
    /// Forget what is known of a backend's health
    Reset(One),
    /// The live sessions, the oldest first
    Sessions(Filter),
    /// A session in detail
    Session {
        /// The session
        id: Uuid,
    },
    /// Close a session towards both sides
    Close {
        /// The session
        id: Uuid,
        /// The close code: 1000-1003, 1007-1014 or 3000-4999
        #[arg(long, default_value_t = 1001)]
        code: u16,
        /// The reason, at most 123 bytes
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Give backend legs up, as if they had died, and attach their sessions elsewhere: of one session, or all of a backend
    Failover {
        /// The session
        #[arg(required_unless_present = "backend")]
        id: Option<Uuid>,
        /// All sessions of this backend: its id, name, POOL/NAME or URL
        #[arg(long, conflicts_with = "id")]
        backend: Option<String>,
    },
    /// Move a session to another backend without replay, once its own has answered all that it was sent
    Migrate {
        /// The session
        id: Uuid,
        /// To this backend of its pool, by its id, name or URL
        #[arg(long, value_name = "BACKEND")]
        to: Option<String>,
    },
    /// The messages that were set aside because backends died of them, or one of them
    Poisoned {
        /// The session of the one
        #[arg(requires = "seq")]
        session: Option<Uuid>,
        /// Its number in that session
        seq: Option<u64>,
        /// Forget it
        #[arg(long, requires = "seq")]
        forget: bool,
    },
    /// The metrics, as Prometheus reads them
    Metrics,
    /// Whether the proxy is up and should get clients
    Health,
}

/// A backend.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The backend: its id, name, POOL/NAME or URL
    #[arg(value_name = "BACKEND")]
    pub(super) backend: String,
}

/// Settings of a backend.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Its share of the pool's sessions, relative to the others', 0 to 256
    #[arg(long)]
    pub(super) weight: Option<u16>,
    /// How many legs it may have, or `any`
    #[arg(long, value_name = "N|any", value_parser = bound)]
    pub(super) max_sessions: Option<Bound>,
    /// Those of a higher number get sessions when those of all lower ones failed lately or are full
    #[arg(long)]
    pub(super) priority: Option<u16>,
}

/// A bound of sessions; `None`: any number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound(pub(super) Option<usize>);

/// Whether to wait until a backend's sessions are gone.
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Wait until it has no session, at most so long; exit code 1 if it still has some then
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) wait: Option<Duration>,
}

/// Which sessions to show.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only those on this backend, by its id, name or URL
    #[arg(long)]
    pub(super) backend: Option<String>,
    /// Only those of this pool
    #[arg(long)]
    pub(super) pool: Option<String>,
    /// Only those that came by this route, as `session` shows it
    #[arg(long)]
    pub(super) route: Option<String>,
    /// Only those of this client, by its IP address, or address and port
    #[arg(long, value_parser = peer)]
    pub(super) peer: Option<String>,
    /// Only those that have a backend leg, or only those that look for one
    #[arg(long)]
    pub(super) state: Option<Attachment>,
    /// Only those that began at least so long ago
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) min_age: Option<Duration>,
    /// Only those that began at most so long ago
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) max_age: Option<Duration>,
    /// So many at most
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Attachment {
    Attached,
    Detached,
}

fn peer(text: &str) -> Result<String, String> {
    let is_peer = text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok();
    if is_peer { Ok(text.to_owned()) } else { Err("not an IP address, nor one with a port".into()) }
}

fn bound(text: &str) -> Result<Bound, String> {
    match text {
        "any" => Ok(Bound(None)),
        _ => text.parse().map(|most| Bound(Some(most))).map_err(|_| "neither a whole number nor `any`".into()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < SHORTEST_INTERVAL { Err("less than 100ms".into()) } else { Ok(interval) }
}

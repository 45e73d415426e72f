//! `tideover ctl`: the operator's API from the shell.
//!
//! Tables for people, `--json` for scripts. Knows the API by its types only; it reads no state of a proxy.

mod client;
mod show;
mod table;

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::AdminToken;
use client::{Answer, Client, Target};

/// What `tideover ctl` is called with.
#[derive(Debug, Args)]
pub struct Options {
    /// Where the operator's API listens: http://host:port, or unix:PATH
    #[arg(long, value_name = "URL|unix:PATH", env = "TIDEOVER_ADMIN", default_value = "http://127.0.0.1:8081")]
    #[arg(global = true)]
    admin: Target,
    /// The file with the API's token, for TCP
    #[arg(long, value_name = "PATH", env = "TIDEOVER_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Print the API's JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// The backends and what is known of them
    Backends,
    /// The live sessions, the oldest first
    Sessions {
        /// Only those on this backend, by its id or URL
        #[arg(long)]
        backend: Option<String>,
        /// Only those of this client, by its IP address, or address and port
        #[arg(long, value_parser = peer)]
        peer: Option<String>,
        /// So many at most
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
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
    /// Give a session's backend leg up and attach it to another backend
    Failover {
        /// The session
        id: Uuid,
    },
    /// Move a session to another backend without replay, once its own has answered all that it was sent
    Migrate {
        /// The session
        id: Uuid,
        /// To this backend, by its id, name or URL
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

fn peer(text: &str) -> Result<String, String> {
    let is_peer = text.parse::<IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok();
    if is_peer { Ok(text.to_owned()) } else { Err("not an IP address, nor one with a port".into()) }
}

/// Why there is nothing to show.
#[derive(Debug)]
enum Problem {
    /// The API refused, or what was asked for failed.
    Refused(String),
    /// It was called wrongly.
    Usage(String),
    /// There was nobody to ask, or no answer.
    Unreachable(String),
}

impl Problem {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused(_) => ExitCode::from(1),
            Self::Usage(_) => ExitCode::from(2),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) | Self::Usage(text) | Self::Unreachable(text) => f.write_str(text),
        }
    }
}

/// Does one thing. The exit code is 0 if that succeeded, 1 if it was refused or failed, 2 if it was asked wrongly, 3 if
/// the API cannot be reached.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Problem::Refused(format!("no runtime: {error}"))),
    };
    match runtime.block_on(obey(&options)) {
        Ok(text) => {
            // Who reads no further, such as `head`, has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => fail(&problem),
    }
}

fn fail(problem: &Problem) -> ExitCode {
    eprintln!("tideover ctl: {problem}");
    problem.exit_code()
}

async fn obey(options: &Options) -> Result<String, Problem> {
    // An empty path is none, as in `serve`.
    let path = options.token_file.as_deref().filter(|path| !path.as_os_str().is_empty());
    let token = path.map(AdminToken::read).transpose();
    let token = token.map_err(|error| Problem::Usage(format!("the token file {error}")))?;
    let client = Client::new(options.admin.clone(), token);
    let answer = match &options.order {
        Order::Metrics => return Ok(client.get("/metrics").await?.text()),
        Order::Backends => client.get("/v1/backends").await?.json()?,
        Order::Sessions { backend, peer, limit } => {
            sessions(&client, backend.as_deref(), peer.as_deref(), *limit).await?
        }
        Order::Session { id } => client.get(&format!("/v1/sessions/{id}")).await?.json()?,
        Order::Close { id, code, reason } => {
            let closing = json!({ "code": code, "reason": reason });
            client.call(Method::POST, &format!("/v1/sessions/{id}/close"), Some(closing)).await?.json()?
        }
        Order::Failover { id } => {
            client.call(Method::POST, &format!("/v1/sessions/{id}/failover"), None).await?.json()?
        }
        Order::Migrate { id, to } => {
            let migration = json!({ "to": to });
            client.call(Method::POST, &format!("/v1/sessions/{id}/migrate"), Some(migration)).await?.json()?
        }
        Order::Poisoned { session: Some(session), seq: Some(seq), forget } => {
            let method = if *forget { Method::DELETE } else { Method::GET };
            client.call(method, &format!("/v1/poisoned/{session}/{seq}"), None).await?.json()?
        }
        Order::Poisoned { .. } => client.get("/v1/poisoned").await?.json()?,
        Order::Health => {
            client.get("/healthz").await?;
            client.get("/readyz").await?.json()?
        }
    };
    if options.json { Ok(format!("{answer}\n")) } else { show::table(&options.order, answer) }
}

/// All pages together.
async fn sessions(
    client: &Client,
    backend: Option<&str>,
    peer: Option<&str>,
    limit: Option<usize>,
) -> Result<Value, Problem> {
    let mut all: Vec<Value> = Vec::new();
    let mut next = Value::Null;
    loop {
        let left = limit.map_or(usize::MAX, |limit| limit.saturating_sub(all.len()));
        if left == 0 {
            break;
        }
        let mut query = vec![("limit", left.min(1000).to_string())];
        query.extend(backend.map(|backend| ("backend", backend.to_owned())));
        query.extend(peer.map(|peer| ("peer", peer.to_owned())));
        query.extend(next.as_str().map(|after| ("after", after.to_owned())));
        let mut page = client.get(&client::path("/v1/sessions", &query)).await?.json()?;
        next = page["next"].take();
        match page["sessions"].take() {
            Value::Array(sessions) => all.extend(sessions),
            _ => return Err(Answer::unexpected()),
        }
        if next.is_null() {
            break;
        }
    }
    Ok(json!({ "sessions": all, "next": next }))
}

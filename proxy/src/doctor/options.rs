//! What `tideover doctor` is called with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tungstenite::Message;

use super::profile::{self, Profile};
use crate::config::{BackendUrl, Transport};
use crate::fields;
use crate::tls::{Upstream, UpstreamFiles};

/// Texts that may be given at most.
const MOST_TEXTS: usize = 32;

/// Connects to a backend a few times.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Where it is: ws://host:port or wss://host:port; a path behind it stands for --path
    #[arg(long, value_name = "URL")]
    pub backend: String,

    /// What is asked for, with or without a query [default: /, or what the profile has]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,

    /// A text message to send, of which the answers tell most; repeatable: they are sent in turn
    #[arg(long = "send", value_name = "TEXT")]
    pub texts: Vec<String>,

    /// A header field of the handshake, as in `Authorization: Bearer …`; repeatable
    #[arg(long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,

    /// A subprotocol to offer; repeatable
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,

    /// The protocol that is spoken: its subprotocol is offered, it opens each connection, and without --send its own
    /// harmless question is sent
    #[arg(long, value_name = "NAME", value_parser = profile::by_name)]
    pub profile: Option<&'static Profile>,

    /// A text message that opens each connection, such as a login; in place of the profile's
    #[arg(long, value_name = "TEXT")]
    pub opening: Option<String>,

    /// A command for `sh -c` that restarts the backend, to see how it leaves
    #[arg(long, value_name = "COMMAND", conflicts_with = "ask_restart")]
    pub restart_command: Option<String>,

    /// Ask for the backend to be restarted by hand, to see how it leaves
    #[arg(long)]
    pub ask_restart: bool,

    /// How long a pong, an answer or a handshake is waited for
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub wait: Duration,

    /// A file with the only authorities, PEM, that a wss:// backend is trusted by; else the system's
    #[arg(long, value_name = "PATH")]
    pub ca: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is done with the backend if it is to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    /// Nothing.
    No,
    /// This command is run.
    Command(String),
    /// The user is asked.
    Ask,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) url: BackendUrl,
    pub(super) target: Uri,
    pub(super) transport: Transport,
    pub(super) headers: HeaderMap,
    pub(super) subprotocols: Vec<String>,
    pub(super) texts: Vec<String>,
    pub(super) profile: Option<&'static Profile>,
    /// What opens each connection.
    pub(super) opening: Option<Message>,
    pub(super) restart: Restart,
    pub(super) wait: Duration,
}

impl Plan {
    /// The backend as people read it, without a query: it may hold a token.
    pub(super) fn title(&self) -> String {
        format!("{}{}", self.url, self.target.path())
    }
}

impl Options {
    /// Checks it.
    ///
    /// # Errors
    /// What is wrong, in words for the shell.
    pub(super) fn plan(self) -> Result<Plan, String> {
        let (url, behind) = split(&self.backend);
        let url: BackendUrl = url.parse().map_err(|why| format!("--backend {url}: {why}"))?;
        let path = match (self.path.as_deref(), behind) {
            (Some(_), path) if path.len() > 1 => return Err("--path is given, and a path in --backend as well".into()),
            (Some(path), _) => path,
            (None, "" | "/") => self.profile.map_or("/", |profile| profile.path),
            (None, path) => path,
        };
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let target = target.parse().map_err(|_| format!("--path {path:?} is no path of a URL"))?;
        if self.texts.len() > MOST_TEXTS {
            return Err(format!("at most {MOST_TEXTS} times --send"));
        }
        if self.wait.is_zero() {
            return Err("--wait must be more than nothing".into());
        }
        let subprotocols = match (self.subprotocols.is_empty(), self.profile) {
            (true, Some(profile)) => profile.subprotocols.iter().map(|name| (*name).to_owned()).collect(),
            _ => self.subprotocols,
        };
        let upstream = Upstream::new(UpstreamFiles { ca: self.ca, ..UpstreamFiles::default() });
        if url.tls {
            upstream.reload().map_err(|problems| problems.join("; "))?;
        }
        let opening = self.opening.map(Message::text).or_else(|| self.profile.and_then(Profile::opening));
        let restart = match (self.restart_command, self.ask_restart) {
            (Some(command), _) => Restart::Command(command),
            (None, true) => Restart::Ask,
            (None, false) => Restart::No,
        };
        Ok(Plan {
            headers: headers(&self.headers, &url)?,
            url,
            target,
            transport: Transport { tls: Arc::new(upstream), send_proxy: false },
            subprotocols,
            texts: self.texts,
            profile: self.profile,
            opening,
            restart,
            wait: self.wait,
        })
    }
}

/// The server's URL, and the path and query behind it.
fn split(text: &str) -> (&str, &str) {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..].find(['/', '?']).map_or(text.len(), |at| authority + at);
    text.split_at(end)
}

/// The fields of the handshake. The host may be another one; what is the proxy's part of a handshake is none of them.
fn headers(lines: &[String], url: &BackendUrl) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("--header {line:?} is not `Name: value`"))?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| format!("--header {name:?} is no name"))?;
        if name == header::SEC_WEBSOCKET_PROTOCOL {
            return Err("subprotocols are given with --subprotocol".into());
        }
        if name != header::HOST && !fields::is_free(&name) {
            return Err(format!("--header {name} has a meaning of its own in the handshake"));
        }
        let value = HeaderValue::try_from(value.trim()).map_err(|_| format!("--header {name} has no good value"))?;
        headers.append(name, value);
    }
    let host = HeaderValue::try_from(url.authority()).map_err(|_| "the host is none".to_owned())?;
    headers.entry(header::HOST).or_insert(host);
    Ok(headers)
}

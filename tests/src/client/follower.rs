//! Real clients of other languages that are sent elsewhere by a 307.

use std::{process::Stdio, time::Duration};

use serde::Deserialize;

use crate::{
    backend::{node, python},
    deadline::eventually,
};

/// Which client, and whether it is told to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follower {
    /// Node `ws` with `followRedirects: true`.
    NodeFollowing,
    /// Node `ws` as it is.
    Node,
    /// Python `websockets`.
    Websockets,
    /// Python aiohttp.
    Aiohttp,
}

/// What came of a connection.
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    /// The library's version.
    pub version: String,
    /// What came back for `hello`.
    pub echo: Option<String>,
    /// What the library said instead.
    pub error: Option<String>,
}

impl Follower {
    /// Connects to `url`, sends `hello` and waits for its echo.
    ///
    /// # Panics
    /// When the process does not end within 30 seconds, or says nothing.
    pub async fn connect(self, url: &str) -> Outcome {
        let mut command = match self {
            Self::NodeFollowing => node("clients/follow.mjs", &["--follow"]),
            Self::Node => node("clients/follow.mjs", &[]),
            Self::Websockets | Self::Aiohttp => python("clients/follow.py"),
        };
        match self {
            Self::Websockets => drop(command.args(["--library", "websockets"])),
            Self::Aiohttp => drop(command.args(["--library", "aiohttp"])),
            Self::NodeFollowing | Self::Node => {}
        }
        command.args(["--url", url]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        eventually(Duration::from_secs(30), format_args!("{self:?} ends"), || {
            child.try_wait().expect("try_wait").is_some()
        })
        .await;
        let output = child.wait_with_output().expect("its output");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{self:?}: {error}:\n{}", String::from_utf8_lossy(&output.stderr));
        })
    }
}

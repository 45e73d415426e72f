//! Which servers there are and how each is started.

use std::{path::PathBuf, process::Command};

use crate::{environment, program};

/// A server implementation; all do what the path asks for, as `tests/README.md` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tokio-tungstenite: reads and handles in turn; the pong comes after the handler.
    Rust,
    /// Node `ws` with a synchronous handler; the pong comes after the handler.
    NodeSync,
    /// Node `ws` with an asynchronous handler; the pong may come before the handler is done.
    NodeAsync,
    /// Python aiohttp: the pong comes after the handler, and only while the handler reads.
    Aiohttp,
    /// Python Tornado: the pong comes after the handler.
    Tornado,
    /// Python `websockets`: the pong comes before the handler.
    Websockets,
    /// uvicorn with Starlette: the pong comes before the handler. `/eof`, `/reset` and `/close_codeless` echo.
    Uvicorn,
    /// Go gorilla/websocket: the pong comes after the handler. Only `/echo`, `/slow` and `/answer`.
    Gorilla,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Rust,
        Self::NodeSync,
        Self::NodeAsync,
        Self::Aiohttp,
        Self::Tornado,
        Self::Websockets,
        Self::Uvicorn,
        Self::Gorilla,
    ];

    /// A name for log files and panics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::NodeSync => "node-sync",
            Self::NodeAsync => "node-async",
            Self::Aiohttp => "aiohttp",
            Self::Tornado => "tornado",
            Self::Websockets => "websockets",
            Self::Uvicorn => "uvicorn",
            Self::Gorilla => "gorilla",
        }
    }

    /// The name in the guarantee matrix.
    pub fn title(self) -> &'static str {
        match self {
            Self::Rust => "tokio-tungstenite",
            Self::NodeSync => "Node `ws`, sync handler",
            Self::NodeAsync => "Node `ws`, async handler",
            Self::Aiohttp => "aiohttp",
            Self::Tornado => "Tornado",
            Self::Websockets => "Python `websockets`",
            Self::Uvicorn => "uvicorn, Starlette",
            Self::Gorilla => "Go gorilla",
        }
    }

    /// The command without port and log.
    pub(super) fn command(self) -> Command {
        match self {
            Self::Rust => Command::new(program::echo_backend()),
            Self::NodeSync => node("backends/node_ws.mjs", &["--handler", "sync"]),
            Self::NodeAsync => node("backends/node_ws.mjs", &["--handler", "async"]),
            Self::Aiohttp => python("backends/aiohttp_backend.py"),
            Self::Tornado => python("backends/tornado_backend.py"),
            Self::Websockets => python("backends/websockets_backend.py"),
            Self::Uvicorn => python("backends/uvicorn_backend.py"),
            Self::Gorilla => {
                Command::new(environment::gorilla_backend().unwrap_or_else(|reason| panic!("no gorilla: {reason}")))
            }
        }
    }
}

/// Runs a script of this package with the installed Node packages.
pub(crate) fn node(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", environment::node_modules()).arg(script_path(script)).args(arguments);
    command
}

/// Runs a script of this package with the installed Python packages.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(environment::python());
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script_path(script));
    command
}

fn script_path(script: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(script)
}

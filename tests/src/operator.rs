//! `tideover ctl`, as an operator calls it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;

use crate::{
    deadline::wait_for,
    program,
    proxy::{Proxy, field, says},
    scratch::Scratch,
};

/// What the API asks for on TCP.
pub const TOKEN: &str = "correct-horse-battery-staple";

const SOON: Duration = Duration::from_secs(10);

/// Where the operator's API of a proxy is to be, on a unix socket or a TCP port, and how it is called there.
#[derive(Debug)]
pub struct Operator {
    scratch: Scratch,
    tcp: bool,
}

/// What a call of `tideover ctl` came to.
#[derive(Debug)]
pub struct Told {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub text: String,
    /// What it complained of.
    pub complaint: String,
}

impl Operator {
    /// On a unix socket.
    ///
    /// # Panics
    /// When there is no scratch directory to be had.
    #[must_use]
    pub fn on_socket() -> Self {
        Self { scratch: Scratch::new("operator"), tcp: false }
    }

    /// On a free port of loopback, with [`TOKEN`].
    ///
    /// # Panics
    /// As [`Self::on_socket`].
    #[must_use]
    pub fn on_tcp() -> Self {
        let operator = Self { scratch: Scratch::new("operator"), tcp: true };
        std::fs::write(operator.token(), TOKEN).expect("a token file");
        operator
    }

    /// The flags of the proxy for that.
    #[must_use]
    pub fn flags(&self) -> Vec<String> {
        if !self.tcp {
            return vec!["--admin".into(), self.socket()];
        }
        let token = self.token().display().to_string();
        vec!["--admin".into(), "127.0.0.1:0".into(), "--admin-token-file".into(), token]
    }

    /// The port that it was given, as the proxy's log says.
    ///
    /// # Panics
    /// When the log does not say it soon.
    #[must_use]
    pub fn address(&self, proxy: &Proxy) -> SocketAddr {
        wait_for(SOON, "the operator's API is there", || {
            let lines = proxy.log_lines();
            let line = lines.iter().find(|line| says(line, "operator's API"))?;
            field(line, "addr").parse().ok()
        })
    }

    fn socket(&self) -> String {
        format!("unix:{}", self.scratch.path("admin.sock").display())
    }

    fn token(&self) -> PathBuf {
        self.scratch.path("token")
    }

    /// `tideover ctl` on the socket, with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program::tideover());
        command.args(["ctl", "--admin", &self.socket()]).args(arguments);
        command
    }

    /// Calls `tideover ctl` on the socket and waits for its end.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn tell(&self, arguments: &[&str]) -> Told {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("tideover starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Told { code: status.code(), text: text(stdout), complaint: text(stderr) }
    }

    /// As [`Self::tell`], of what must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn order(&self, arguments: &[&str]) -> String {
        let told = self.tell(arguments);
        assert_eq!(told.code, Some(0), "{arguments:?}: {told:?}");
        told.text
    }

    /// As [`Self::order`], in the API's JSON.
    ///
    /// # Panics
    /// When it fails, or prints no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.order(&[&["--json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What is known of a backend.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    #[must_use]
    pub fn backend(&self, name: &str) -> Value {
        self.json(&["backend", name])
    }
}

//! Clients in other languages, many in a process, that give the same transcripts.

use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use serde::Deserialize;

use super::{End, Load, Message, Transcript};
use crate::{
    backend::{node, python},
    deadline::eventually,
    scratch::Scratch,
    tls::{Pair, path_text},
};

/// Which client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignKind {
    /// `ws` on Node.js.
    Node,
    /// `websockets` on Python.
    Python,
}

/// How a client process begins.
enum Program<'a> {
    Library(ForeignKind),
    /// A page in this Chromium, which trusts the certificate in this file.
    Page(&'a str, &'a Path),
}

/// A running process with the load of several clients. Dropping it kills it.
#[derive(Debug)]
pub struct ForeignClients {
    child: Child,
    scratch: Scratch,
    give_up_after: Duration,
}

/// For starting the process and writing the transcripts, beside the load itself.
const MARGIN: Duration = Duration::from_secs(90);

impl ForeignClients {
    /// Starts the clients numbered `clients`, each with `load`.
    ///
    /// # Panics
    /// When the process does not start.
    pub fn start(kind: ForeignKind, url: &str, clients: Range<u32>, load: Load) -> Self {
        Self::start_with(Program::Library(kind), url, clients, load, &[])
    }

    /// The same with compressed messages, which are padded so that compression does something. A client that agreed on
    /// no compression ends as lost.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_compressed(kind: ForeignKind, url: &str, clients: Range<u32>, load: Load) -> Self {
        Self::start_with(Program::Library(kind), url, clients, load, &["--compressed"])
    }

    /// A page in this Chromium, which trusts the server that has this certificate; messages are compressed.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_page(chromium: &str, trusted: &Pair, url: &str, clients: Range<u32>, load: Load) -> Self {
        Self::start_with(Program::Page(chromium, &trusted.certificate), url, clients, load, &["--compressed"])
    }

    fn start_with(program: Program<'_>, url: &str, clients: Range<u32>, load: Load, more: &[&str]) -> Self {
        let mut command = match program {
            Program::Library(ForeignKind::Node) => node("clients/client.mjs", &[]),
            Program::Library(ForeignKind::Python) => python("clients/client.py"),
            Program::Page(chromium, trusted) => {
                node("clients/page.mjs", &["--chromium", chromium, "--trust", path_text(trusted)])
            }
        };
        let scratch = Scratch::new("clients");
        let create = |name| File::create(scratch.path(name)).expect("a log file");
        command
            .args(["--url", url])
            .args(["--first-client", &clients.start.to_string(), "--clients", &clients.len().to_string()])
            .args(["--rate", &load.rate.to_string(), "--messages", &load.messages.to_string()])
            .args(["--settle-ms", &load.settle.as_millis().to_string()])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(create("transcript.jsonl"))
            .stderr(create("stderr.log"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} did not start: {error}"));
        Self { child, scratch, give_up_after: load.give_up_after() + MARGIN }
    }

    /// Waits for the process's end and gives its clients' transcripts, in the order of their numbers.
    ///
    /// # Panics
    /// When the process fails, or does not end within the load's time and 90 seconds.
    pub async fn finish(mut self) -> Vec<Transcript> {
        let mut status = None;
        eventually(self.give_up_after, "the clients end", || {
            status = self.child.try_wait().expect("try_wait");
            status.is_some()
        })
        .await;
        let read = |name| std::fs::read_to_string(self.scratch.path(name)).expect("a log file");
        assert!(status.is_some_and(|status| status.success()), "the clients failed:\n{}", read("stderr.log"));
        transcripts(&read("transcript.jsonl"))
    }
}

impl Drop for ForeignClients {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of the transcript that the scripts write.
#[derive(Deserialize)]
struct Line {
    at: u64,
    client: u32,
    #[serde(flatten)]
    event: Event,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Sent { text: String },
    Got { text: String, binary: bool, len: usize },
    End(End),
}

fn transcripts(text: &str) -> Vec<Transcript> {
    let mut transcripts = BTreeMap::new();
    for line in text.lines() {
        let Line { at, client, event } = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let transcript = transcripts.entry(client).or_insert_with(|| Transcript {
            client,
            sent: Vec::new(),
            got: Vec::new(),
            end: End::Lost { error: "no end in the transcript".to_owned() },
            ended_at: 0,
        });
        match event {
            Event::Sent { text } => transcript.sent.push(Message::new(at, text.as_bytes(), false)),
            Event::Got { text, binary, len } => transcript.got.push(Message { at, len, text, binary }),
            Event::End(end) => (transcript.end, transcript.ended_at) = (end, at),
        }
    }
    transcripts.into_values().collect()
}

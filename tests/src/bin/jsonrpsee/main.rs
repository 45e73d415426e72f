//! JSON-RPC 2.0 with subscriptions whose ids the server chooses, both sides by jsonrpsee:
//! `jsonrpsee server --port PORT --log FILE` and
//! `jsonrpsee client --url URL --log FILE --sessions N --first N --patience-ms MS [--quiet]`, which do what the scripts of
//! `tests/interop` do. The end of standard input is the test's end.

mod client;
mod server;

use std::{collections::HashMap, io, path::Path, sync::Arc};

use tideover_tests::interop::journal::Journal;
use tokio::sync::watch;

/// The flags with a value; `--quiet` has none and is there or not.
pub(crate) struct Flags(HashMap<String, String>);

impl Flags {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut flags = HashMap::new();
        while let Some(flag) = arguments.next() {
            let value = if flag == "--quiet" { String::new() } else { arguments.next().unwrap_or_default() };
            flags.insert(flag, value);
        }
        Self(flags)
    }

    pub(crate) fn text(&self, flag: &str) -> io::Result<&str> {
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, format!("{flag} is missing"));
        self.0.get(flag).map(String::as_str).ok_or_else(missing)
    }

    pub(crate) fn number(&self, flag: &str) -> io::Result<u64> {
        self.text(flag)?
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{flag}: {error}")))
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }
}

fn main() -> io::Result<()> {
    let role = std::env::args().nth(1).unwrap_or_default();
    let flags = Flags::parse(std::env::args().skip(2));
    let journal = Arc::new(Journal::append(Path::new(flags.text("--log")?))?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let finish = follow_the_test();
        match role.as_str() {
            "server" => server::serve(&flags, journal).await,
            "client" => client::run(flags, journal, finish).await,
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: jsonrpsee server|client …")),
        }
    })
}

/// Becomes true when the test says `finish`.
fn follow_the_test() -> watch::Receiver<bool> {
    let (finish, finished) = watch::channel(false);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            finish.send_replace(line == "finish");
        }
        std::process::exit(1);
    });
    finished
}

//! Autobahn's cases, run by PyPI's `kosoku`, on a direct connection and through the proxy. Either side of the proxy is
//! tried: its client leg, with a server behind it, and its backend leg, with a client before it. What is judged is what
//! the suite wrote into its report; its exit code takes a wrong Close code for a pass.

mod client;
mod page;
mod verdict;

use std::{
    fs::File,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

pub use page::page;
pub use verdict::{Comparison, OnPurpose, Verdict, Verdicts};

use crate::{Backend, Kind, Proxy, deadline::wait_for, environment, ports, scratch::Scratch};

/// Which cases are run. Those of compression (12, 13) are run with a peer that compresses: Python `websockets`; the
/// others with tokio-tungstenite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cases {
    /// All 517.
    All,
    /// Those that need not much data: some seconds.
    Quick,
}

/// Who is tried by the suite, and with which cases.
#[derive(Clone, Copy, Debug)]
struct Peer {
    kind: Kind,
    selection: &'static [&'static str],
}

/// Cases that run at once. Most of those that take time wait.
const PARALLEL: usize = 8;

/// For all cases, on a machine that does other things too. Those of compression exchange a thousand messages each.
const RUN_WITHIN: Duration = Duration::from_secs(3600);

/// Any ping counts as a deviation with the suite, so the proxy sends none of its own.
const TO_CLIENTS: [&str; 2] = ["--ping-interval", "off"];

/// Neither barriers nor replay nor probes: the suite takes another connection for another run of the case.
const TO_BACKENDS: [&str; 6] = ["--ping-interval", "off", "--ack", "none", "--reattach", "never"];

const BACKEND_LEG: [OnPurpose; 2] = [
    OnPurpose {
        cases: &["3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"],
        why: "a backend that breaks the protocol is failed at once (RFC 6455 7.1.7); what its client has still to say goes to \
              the next one",
    },
    OnPurpose {
        cases: &["6.4.1", "6.4.2"],
        why: "a client gets whole messages only, so it sees invalid UTF-8 in a fragment when the message is complete",
    },
];

impl Cases {
    fn peers(self) -> [Peer; 2] {
        let (plain, compressed): (&[&str], &[&str]) = match self {
            Self::All => (&["-x", "12.*", "-x", "13.*"], &["-i", "12.*", "-i", "13.*"]),
            Self::Quick => (&["-x", "9.*", "-x", "12.*", "-x", "13.*"], &QUICK_COMPRESSED),
        };
        [Peer { kind: Kind::Rust, selection: plain }, Peer { kind: Kind::Websockets, selection: compressed }]
    }
}

/// Small messages, and one case for each set of parameters that is offered.
const QUICK_COMPRESSED: [&str; 18] = [
    "-i", "12.1.1", "-i", "12.2.1", "-i", "13.1.1", "-i", "13.2.1", "-i", "13.3.1", "-i", "13.4.1", "-i", "13.5.1",
    "-i", "13.6.1", "-i", "13.7.1",
];

/// The suite is the client of an echo server: directly, and with the proxy between them.
///
/// # Panics
/// When something does not start, or the suite writes no report.
pub fn of_the_client_leg(cases: Cases) -> Comparison {
    let mut comparison = Comparison::new(&[]);
    for Peer { kind, selection } in cases.peers() {
        let backend = Backend::start(kind);
        let proxy = Proxy::start([&backend], &TO_CLIENTS);
        let urls = [backend.url("/echo"), proxy.url("/echo")];
        compare(&mut comparison, selection, |selection| urls.each_ref().map(|url| drive_server(url, selection)));
    }
    comparison
}

/// Runs cases directly and through the proxy. Those that differ are run once more, without the others: a case is given so
/// much time, which may be too little beside seven that take all the processor there is.
fn compare(comparison: &mut Comparison, selection: &[&str], run: impl Fn(&[&str]) -> [Verdicts; 2]) {
    comparison.add(run(selection));
    let again = comparison.unexcused();
    let again: Vec<&str> = again.iter().flat_map(|case| ["-i", case]).collect();
    if !again.is_empty() {
        comparison.add(run(&again));
    }
}

fn drive_server(url: &str, selection: &[&str]) -> Verdicts {
    let scratch = Scratch::new("kosoku");
    let mut suite = suite(&scratch, "fuzzingclient", url, selection);
    let output = suite.arg("-p").arg(PARALLEL.to_string()).output().expect("kosoku starts");
    read(&scratch.path("report"), &String::from_utf8_lossy(&output.stderr))
}

/// The suite is the server of an echo client: directly, and with the proxy between them.
///
/// # Panics
/// As [`of_the_client_leg`].
pub fn of_the_backend_leg(cases: Cases) -> Comparison {
    let mut comparison = Comparison::new(&BACKEND_LEG);
    for Peer { kind, selection } in cases.peers() {
        compare(&mut comparison, selection, |selection| {
            [false, true].map(|proxied| drive_client(kind, selection, proxied))
        });
    }
    comparison
}

fn drive_client(kind: Kind, selection: &[&str], proxied: bool) -> Verdicts {
    let scratch = Scratch::new("kosoku");
    let port = ports::reserve();
    let address = format!("127.0.0.1:{}", port.number);
    let log = scratch.path("kosoku.log");
    let mut suite = suite(&scratch, "fuzzingserver", &address, selection);
    suite.stdout(Stdio::null()).stderr(File::create(&log).expect("a log file"));
    let mut suite = suite.spawn().expect("kosoku starts");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_for(Duration::from_secs(30), "kosoku listens", || text().contains("listening").then_some(()));
    let address = address.parse().expect("an address");
    let proxy = proxied.then(|| Proxy::before([address], &TO_BACKENDS));
    let base = proxy.as_ref().map_or_else(|| format!("ws://{address}"), |proxy| proxy.url(""));
    match kind {
        Kind::Rust => client::run_cases(&base, PARALLEL, RUN_WITHIN),
        _ => client::run_compressed_cases(&base, PARALLEL, RUN_WITHIN),
    }
    wait_for(Duration::from_secs(60), "kosoku's report", || suite.try_wait().expect("try_wait"));
    read(&scratch.path("report"), &text())
}

fn suite(scratch: &Scratch, mode: &str, address: &str, selection: &[&str]) -> Command {
    let mut suite = Command::new(environment::kosoku());
    suite.args(["-m", mode, address, "-o"]).arg(scratch.path("report")).args(selection).stdin(Stdio::null());
    suite
}

fn read(report: &Path, log: &str) -> Verdicts {
    verdict::read(report).unwrap_or_else(|error| panic!("no report of kosoku: {error}\n{log}"))
}

//! Mixed load with kills for a while, and whether memory, descriptors and accounts stay as they should.
//!
//! `soak [--for 30m] [--kill-every 5s] [--sessions 120] [--publish]`
//!
//! Prints what was measured, and fails if anything is not as it must be. With `--publish` the tables also go to
//! `docs/soak.md`.

use std::{error::Error, fs, path::Path, process::ExitCode, time::Duration};

use tideover_tests::{
    lock::machine_shared,
    soak::{self, Plan},
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut plan = Plan { time: Duration::from_secs(1800), kill_every: Duration::from_secs(5), sessions: 120 };
    let mut publish = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--for" => plan.time = time(&value()?)?,
            "--kill-every" => plan.kill_every = time(&value()?)?,
            "--sessions" => plan.sessions = value()?.parse()?,
            "--publish" => publish = true,
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let _machine = machine_shared();
    let report = soak::run(plan).await;
    println!("{report}");
    if publish {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/soak.md");
        let page = fs::read_to_string(&docs)?;
        let (words, _) = page.split_once(MARK).ok_or("docs/soak.md has no heading of what was measured")?;
        fs::write(docs, format!("{words}{MARK}\n{}\n", report.to_string().trim_end()))?;
    }
    let breaches = report.breaches();
    breaches.iter().for_each(|breach| eprintln!("{breach}"));
    Ok(if breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Before the tables in `docs/soak.md`.
const MARK: &str = "## Measured\n";

/// `90s`, `30m` or `2h`.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = found.ok_or_else(|| format!("{text}: a number and s, m or h"))?;
    let number: u64 = number.parse().map_err(|error| format!("{text}: {error}"))?;
    Ok(Duration::from_secs(number * seconds))
}

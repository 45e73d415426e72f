//! Mixed load with kills for a while, and whether memory, descriptors and accounts stay as they should.
//!
//! `soak [--for 30m] [--kill-every 5s] [--away 200ms] [--sessions 120] [--publish]`
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
    let (time_all, kill_every, away) = (Duration::from_secs(1800), Duration::from_secs(5), Duration::from_millis(200));
    let mut plan = Plan { time: time_all, kill_every, away, sessions: 120 };
    let mut publish = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--for" => plan.time = time(&value()?)?,
            "--kill-every" => plan.kill_every = time(&value()?)?,
            "--away" => plan.away = time(&value()?)?,
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

/// `200ms`, `90s`, `30m` or `2h`.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
    let found = units.iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)));
    let (number, millis) = found.ok_or_else(|| format!("{text}: a number and ms, s, m or h"))?;
    let number: u64 = number.parse().map_err(|error| format!("{text}: {error}"))?;
    Ok(Duration::from_millis(number * millis))
}

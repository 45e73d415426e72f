//! Measures the protocol profiles on real software and writes the tables of `docs/profiles.md`; the counts also go to
//! `target/profiles.jsonl`, a line a run as it comes.
//!
//! `profiles [--software NAME,…] [--without|--with] [--kills N] [--sessions N]`
//!
//! Without a selection: everything, with the profile and without it, six kills in each state, four clients. With fewer
//! than three kills it is a trial: its files are `profiles-trial` under `target`. It takes some fifteen minutes.
//!
//! Fails if, with the profile, anything was lost or came twice, a library showed its application a fault, or a state was not
//! reached.

use std::{error::Error, path::Path, process::ExitCode, time::Duration};

use tideover_tests::{
    interop::{Plan, Report, Row, Software},
    lock::{machine_alone, machine_shared},
    program,
};

/// Kills in each state from which on it is published.
const PUBLISHED: usize = 3;

struct Options {
    software: Vec<Software>,
    profiles: Vec<bool>,
    kills: usize,
    sessions: usize,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Options { software, profiles, kills, sessions } = Options::from_arguments(std::env::args().skip(1))?;
    let published = kills >= PUBLISHED;
    let _machine = if published { machine_alone() } else { machine_shared() };
    let target = program::target_directory();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut report = if published {
        Report::open(&target.join("profiles.jsonl"), &docs.join("profiles.md"))?
    } else {
        Report::open(&target.join("profiles-trial.jsonl"), &target.join("profiles-trial.md"))?
    };
    let mut complaints = Vec::new();
    for software in software {
        for &profile in &profiles {
            // What has not come without the profile after so long does not come at all.
            let patience = Duration::from_secs(if profile { 60 } else { 5 });
            let outcome = software.run(Plan { profile, kills, later_legs: true, sessions, patience });
            if profile {
                let wrong = outcome.counts.complaints(&software.states(), kills);
                complaints.extend(wrong.into_iter().map(|wrong| format!("{}: {wrong}", software.name())));
            }
            let row = Row::new(software, profile, outcome);
            eprintln!("{}", serde_json::to_string(&row)?);
            report.add(row)?;
        }
    }
    complaints.iter().for_each(|complaint| eprintln!("with the profile, {complaint}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let (mut software, mut profiles) = (Software::ALL.to_vec(), vec![true, false]);
        let (mut kills, mut sessions) = (6, 4);
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--with" => profiles = vec![true],
                "--without" => profiles = vec![false],
                _ => {
                    let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
                    match flag.as_str() {
                        "--software" => software = select(&value)?,
                        "--kills" => kills = value.parse()?,
                        "--sessions" => sessions = value.parse()?,
                        _ => return Err(format!("unknown flag {flag}").into()),
                    }
                }
            }
        }
        Ok(Self { software, profiles, kills, sessions })
    }
}

fn select(list: &str) -> Result<Vec<Software>, String> {
    let named = |wanted| Software::ALL.into_iter().find(|software| software.name() == wanted);
    let known = || Software::ALL.map(Software::name).join(", ");
    list.split(',').map(|wanted| named(wanted).ok_or_else(|| format!("{wanted} is none of {}", known()))).collect()
}

//! The side-by-side benchmark itself, in small: it relays, counts and judges. How fast is not asked here.

use std::process::Command;

use serde_json::Value;
use tideover_tests::lock::machine_shared;
use tideover_tests::program;

const LOADS: [&str; 3] = ["4x4x64", "2x2x70000", "20x10/sx64"];

/// Runs the benchmark in small and returns its results.
fn run() -> Value {
    let json = std::env::temp_dir().join(format!("tideover-smoke-{}.json", std::process::id()));
    let tideover = program::tideover();
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.args(["--rounds", "1", "--seconds", "0.3", "--openings", "32", "--idle", "20", "--failovers", "10"]);
    command.args(["--no-pin", "--peer", "direct", "--peer", "tideover", "--peer", "tideover-early"]);
    command.args(["--peer", "tideover-rules"]).args(LOADS.iter().flat_map(|load| ["--case", load]));
    for name in ["tideover", "tideover-early", "tideover-rules"] {
        command.arg("--program").arg(format!("{name}={}", tideover.display()));
    }
    let output = command.arg("--json").arg(&json).output().expect("the benchmark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read(&json).expect("the benchmark wrote its results");
    std::fs::remove_file(&json).expect("the results can be removed");
    serde_json::from_slice(&text).expect("JSON")
}

fn rows<'a>(results: &'a Value, part: &str, contestant: &str) -> Vec<&'a Value> {
    let all = results[part].as_array().expect("a list of turns");
    all.iter().filter(|row| row["contestant"] == contestant).collect()
}

#[test]
fn every_contestant_answers_every_load_and_tideover_keeps_what_it_relays() {
    let _machine = machine_shared();
    let results = run();
    for contestant in ["direct", "tideover", "tideover-early", "tideover-rules"] {
        let turns = rows(&results, "relaying", contestant);
        assert_eq!(turns.len(), LOADS.len(), "{contestant}");
        for turn in turns {
            assert!(turn["messages"].as_u64() > Some(0), "{turn}");
            assert_eq!(turn["kept"].is_null(), contestant == "direct", "{turn}");
            let keyed = turn["kept"]["keyed"].as_u64() > Some(0);
            assert_eq!(keyed, contestant == "tideover-rules", "{turn}");
        }
    }
    for contestant in ["direct", "tideover", "tideover-early"] {
        assert_eq!(rows(&results, "opening", contestant)[0]["sessions"], 32);
    }
    for contestant in ["tideover", "tideover-early"] {
        assert!(rows(&results, "idle", contestant)[0]["idle"].as_u64() > Some(1 << 20));
        let sessions = rows(&results, "failover", contestant).into_iter().map(|turn| turn["sessions"].as_u64());
        assert_eq!(sessions.sum::<Option<u64>>(), Some(1 + 10), "{contestant}");
    }
}

//! What the program says and returns when it is called wrongly.

use std::process::{Command, Output};

fn tideover(arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tideover"));
    for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEOVER_")) {
        command.env_remove(variable);
    }
    command.args(arguments).envs(env.iter().copied()).output().unwrap()
}

#[test]
fn a_bad_configuration_is_exit_code_2_and_one_line_for_each_problem() {
    let env = [("TIDEOVER_ACK_TIMEOUT", "soon")];
    let output = tideover(&["serve", "--backend", "http://a", "--buffer-bytes", "much", "--log", "a=b=c"], &env);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let lines = String::from_utf8(output.stderr).unwrap();
    for place in ["--backend: ", "--buffer-bytes: ", "--log: ", "TIDEOVER_ACK_TIMEOUT: "] {
        assert_eq!(lines.lines().filter(|line| line.starts_with(place)).count(), 1, "{lines}");
    }
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

#[test]
fn a_missing_backend_and_an_unknown_flag_are_exit_code_2() {
    for arguments in [&["serve"][..], &["serve", "--backends", "ws://a"], &["demo", "--for", "15"], &[]] {
        assert_eq!(tideover(arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_help_is_exit_code_0_and_names_every_flag() {
    let output = tideover(&["serve", "--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for flag in tideover::config::flags() {
        assert!(help.contains(&format!("--{} <", flag.name)), "{}", flag.name);
    }
}

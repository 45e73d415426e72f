//! `tideover ctl`: tables, JSON and exit codes.

mod admin_support;

use admin_support::{Echo, Program, Scratch, chat, closed, nobody_listens, tideover};
use serde_json::Value;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn tables_for_people_and_json_for_scripts() {
    let scratch = Scratch::new("ctl");
    let echo = Echo::new().await;
    let program = Program::with_token(&scratch, &[echo.address], &[]);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(program.client().await);
    }
    chat(clients.first_mut().unwrap(), "hello").await;
    let output = program.ctl(&scratch, &["sessions"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert!(lines[0].starts_with("SESSION ") && lines.len() == 4, "{lines:?}");
    let id = lines[1].split(' ').next().unwrap();

    let output = program.ctl(&scratch, &["--json", "sessions", "--limit", "2"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((json["sessions"].as_array().unwrap().len(), &json["sessions"][0]["id"]), (2, &Value::from(id)));
    let output = program.ctl(&scratch, &["backends"]);
    assert!(text(&output.stdout).lines().nth(1).unwrap().contains(&format!("ws://{}", echo.address)));
    let output = program.ctl(&scratch, &["session", id]);
    assert!(text(&output.stdout).lines().any(|line| line.split_whitespace().eq(["received", "1"])));
    for (order, begins) in [("metrics", "# HELP "), ("health", "up and ready"), ("poisoned", "SESSION")] {
        let output = program.ctl(&scratch, &[order]);
        assert!(output.status.success() && text(&output.stdout).starts_with(begins), "{order}");
    }

    let output = program.ctl(&scratch, &["close", id, "--code", "4001", "--reason", "bye"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(closed(clients.first_mut().unwrap()).await, Some((4001, "bye".to_owned())));
}

#[tokio::test]
async fn exit_codes_say_whose_fault_it_is() {
    let scratch = Scratch::new("codes");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let unknown = "0190b2c4-0000-7000-8000-000000000000";
    for (code, arguments) in [
        (1, &["session", unknown][..]),
        (1, &["failover", unknown]),
        (1, &["close", unknown, "--code", "1005"]),
        (1, &["poisoned", unknown, "1", "--forget"]),
        (1, &["sessions", "--backend", "9"]),
        (2, &["session", "nope"]),
        (2, &["poisoned", unknown]),
        (2, &["sessions", "--peer", "a&b"]),
        (2, &["nonsense"]),
        (2, &[]),
        (2, &["--token-file", "/does/not/exist", "sessions"]),
        (3, &["--admin", "unix:/does/not/exist", "sessions"]),
    ] {
        let output = tideover_ctl(&program.admin, &scratch, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
    let mut without_token = tideover();
    let output = without_token.args(["ctl", "--admin", &program.admin, "sessions"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("401"), "{}", text(&output.stderr));
    let mut nobody = tideover();
    let address = format!("http://{}", nobody_listens().await);
    assert_eq!(nobody.args(["ctl", "--admin", &address, "health"]).output().unwrap().status.code(), Some(3));
}

/// The address and token come from the environment, as `serve` takes them; flags go before.
fn tideover_ctl(admin: &str, scratch: &Scratch, arguments: &[&str]) -> std::process::Output {
    let mut command = tideover();
    command.env("TIDEOVER_ADMIN", admin).env("TIDEOVER_ADMIN_TOKEN_FILE", scratch.token());
    command.arg("ctl").args(arguments).output().unwrap()
}

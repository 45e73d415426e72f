//! The API against its own OpenAPI text.

use std::process::Command;

use tideover_tests::{environment, lock::machine_shared, operator::TOKEN};

use super::*;

/// Calls of each operation that schemathesis thinks of beside those that cover each field's bounds.
const EXAMPLES: &str = "10";
/// What a run may take, in seconds. It takes ten on a machine that does nothing else.
const AT_MOST: &str = "240";
/// The run is repeatable.
const SEED: &str = "4";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_server_error_and_no_undocumented_answer() {
    let program = environment::schemathesis();
    let _machine = machine_shared();
    let all = backends::<3>();
    let (scratch, operator) = (Scratch::new("schema"), Operator::on_tcp());
    let path = scratch.path("tideover.toml");
    let [a, b, c] = all.each_ref().map(url);
    let text = format!(
        "backend = ['{a}', '{b}']\n[[pool]]\nname = 'other'\nbackend = '{c}'\n[[route]]\npath = '/other'\n\
         pool = 'other'\n[[route]]\n"
    );
    std::fs::write(&path, text).expect("written");
    let mut flags = operator.flags();
    flags.extend(["--config".to_owned(), path.display().to_string()]);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut proxy = Proxy::before([], &flags);
    let api = operator.address(&proxy);
    let mut clients = Vec::new();
    for n in 0..6 {
        let mut client = Client::connect(n, proxy.url("/echo")).await.expect("a session");
        chat(&mut client).await;
        clients.push(client);
    }
    std::fs::write(scratch.path("schemathesis.toml"), with_sessions(&sessions(api).await)).expect("written");
    let mut command = Command::new("timeout");
    command.args([AT_MOST, &program.display().to_string(), "--config-file"]).arg(scratch.path("schemathesis.toml"));
    command.args(["run", &format!("http://{api}/openapi.json"), "--header", &format!("Authorization: Bearer {TOKEN}")]);
    command.args(["--max-examples", EXAMPLES, "--seed", SEED, "--checks", "all", "--continue-on-failure"]);
    command.args(["--no-color", "--request-timeout", "40"]).current_dir(scratch.directory());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("Tested: 25"), "all operations are called:\n{report}");
    assert!(proxy.is_running() && !proxy.log_text().contains("panicked"), "{}", proxy.log_text());
    assert!(!proxy.log_text().contains(TOKEN), "the token is in no log");
}

/// The ids of all live sessions.
async fn sessions(api: std::net::SocketAddr) -> Vec<String> {
    let mut call = Connection::dial(api).await.expect("the API accepts");
    let request = format!(
        "GET /v1/sessions HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    call.send_bytes(request.into_bytes()).await.expect("sent");
    let answer = String::from_utf8(call.rest(SOON).await.0).expect("UTF-8");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let page: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let all = page["sessions"].as_array().expect("sessions");
    all.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

/// Without live sessions, nothing but 404 would be seen of what is said of them.
fn with_sessions(ids: &[String]) -> String {
    let operations = ["", "/failover", "/migrate", "/close"];
    let tables = operations.iter().zip(ids).map(|(operation, id)| {
        format!(
            "[[operations]]\ninclude-path = \"/v1/sessions/{{id}}{operation}\"\nparameters = {{ \"path.id\" = \"{id}\" }}\n"
        )
    });
    tables.collect()
}

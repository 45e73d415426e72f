//! Who may call the operator's API.

mod admin_support;

use std::process::Stdio;

use admin_support::{Program, Scratch, TOKEN, mode, nobody_listens, tideover, wait_for};

/// Nothing that ends a test's own sessions or backends: there are no such ones.
const GUARDED: [(&str, &str); 22] = [
    ("GET", "/v1/proxy"),
    ("POST", "/v1/proxy/pause"),
    ("POST", "/v1/proxy/resume"),
    ("POST", "/v1/proxy/reload"),
    ("GET", "/v1/backends"),
    ("POST", "/v1/backends"),
    ("GET", "/v1/backends/9999"),
    ("PATCH", "/v1/backends/9999"),
    ("DELETE", "/v1/backends/9999"),
    ("POST", "/v1/backends/9999/enable"),
    ("POST", "/v1/backends/9999/disable"),
    ("POST", "/v1/backends/9999/drain"),
    ("POST", "/v1/backends/9999/reset"),
    ("POST", "/v1/backends/9999/failover"),
    ("GET", "/v1/sessions"),
    ("GET", "/v1/sessions/0190b2c4-0000-7000-8000-000000000000"),
    ("POST", "/v1/sessions/0190b2c4-0000-7000-8000-000000000000/failover"),
    ("POST", "/v1/sessions/0190b2c4-0000-7000-8000-000000000000/migrate"),
    ("POST", "/v1/sessions/0190b2c4-0000-7000-8000-000000000000/close"),
    ("GET", "/v1/poisoned"),
    ("GET", "/v1/poisoned/0190b2c4-0000-7000-8000-000000000000/1"),
    ("DELETE", "/v1/poisoned/0190b2c4-0000-7000-8000-000000000000/1"),
];
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/openapi.json"];

#[tokio::test]
async fn what_shows_or_changes_something_needs_the_token() {
    let scratch = Scratch::new("token");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    for (method, path) in GUARDED {
        for field in ["", "Authorization: Basic Zm9vOmJhcg==\r\n", "Authorization: Bearer wrong\r\n"] {
            let answer = program.say(method, path, &program.admin, field, "").await;
            assert_eq!(answer.status, 401, "{method} {path} {field}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{answer:?}");
        }
        let twice = format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n");
        assert_eq!(program.say(method, path, &program.admin, &twice, "").await.status, 400);
        let answer = program.call(method, path, None).await;
        assert!(![401, 403].contains(&answer.status), "{method} {path}: {answer:?}");
    }
    for path in OPEN {
        assert_eq!(program.say("GET", path, &program.admin, "", "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn without_a_token_file_tcp_callers_get_health_and_metrics_only() {
    let program = Program::start(&[nobody_listens().await], &["--admin", "127.0.0.1:0"]);
    for (method, path) in GUARDED {
        let answer = program.call(method, path, None).await;
        assert_eq!(answer.status, 403, "{method} {path}");
        assert!(answer.error().contains("--admin-token-file"), "{answer:?}");
    }
    for path in OPEN {
        assert_eq!(program.say("GET", path, &program.admin, "", "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn off_loopback_everything_needs_the_token() {
    let scratch = Scratch::new("wide");
    let token = scratch.token();
    let flags = ["--admin", "0.0.0.0:0", "--admin-token-file", token.to_str().unwrap()];
    let program = Program::start(&[nobody_listens().await], &flags);
    let host = program.admin.replace("0.0.0.0", "127.0.0.1");
    for path in OPEN {
        assert_eq!(program.say("GET", path, &host, "", "").await.status, 401, "{path}");
        let token = format!("authorization: bearer {TOKEN}\r\n");
        assert_eq!(program.say("GET", path, &host, &token, "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_rebound_name_is_not_ours() {
    let scratch = Scratch::new("rebound");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let port = program.admin.rsplit_once(':').unwrap().1;
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let names =
        [format!("evil.example:{port}"), "127.0.0.1".into(), "127.0.0.1:1".into(), format!("127.0.0.1.evil:{port}")];
    for (method, path) in GUARDED.into_iter().chain(OPEN.map(|path| ("GET", path))) {
        for host in &names {
            let answer = program.say(method, path, host, &token, "").await;
            assert_eq!((answer.status, answer.error().contains(port)), (421, true), "{method} {path} {host}");
        }
        let absolute = format!("http://evil.example:{port}{path}");
        assert_eq!(program.say(method, &absolute, &program.admin, &token, "").await.status, 421);
    }
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(program.say("GET", "/v1/sessions", &host, &token, "").await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_do_anything() {
    let scratch = Scratch::new("origin");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let foreign = [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: https://127.0.0.1\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ];
    for (method, path) in GUARDED.into_iter().chain(OPEN.map(|path| ("GET", path))) {
        for field in foreign {
            let answer = program.say(method, path, &program.admin, &format!("{field}{token}"), "").await;
            assert_eq!(answer.status, 403, "{method} {path} {field}");
            assert!(!answer.head.contains("access-control"), "{answer:?}");
        }
    }
    // What a page's preflight would ask.
    let asks = "Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = program.say("OPTIONS", "/v1/sessions", &program.admin, asks, "").await;
    assert_eq!((answer.status, answer.head.contains("access-control")), (403, false));
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n{token}", program.admin);
    assert_eq!(program.say("GET", "/v1/sessions", &program.admin, &own, "").await.status, 200);
}

/// What a browser sends for a page that wants to add a backend: (Host, fields, body). The token is added where a test
/// wants to know that even that does not help.
fn attempts(admin: &str) -> Vec<(String, String, &'static str)> {
    let port = admin.rsplit_once(':').map_or("8081", |(_, port)| port);
    let own = if admin.starts_with("unix:") { format!("localhost:{port}") } else { admin.to_owned() };
    let rebound = format!("evil.example:{port}");
    let simple = |kind: &str| format!("Origin: http://evil.example\r\nContent-Type: {kind}\r\n");
    vec![
        // Without a preflight a page may send these types only (Fetch, CORS-safelisted request-header).
        (own.clone(), simple("text/plain"), BACKEND),
        (own.clone(), simple("application/x-www-form-urlencoded"), "url=ws%3A%2F%2Fevil.example"),
        (own.clone(), simple("multipart/form-data; boundary=x"), "--x\r\n\r\n--x--"),
        // What it would send if a preflight had let it.
        (own.clone(), "Origin: http://evil.example\r\nContent-Type: application/json\r\n".into(), BACKEND),
        (own.clone(), "Origin: null\r\nContent-Type: application/json\r\n".into(), BACKEND),
        (own, "Sec-Fetch-Site: cross-site\r\nContent-Type: application/json\r\n".into(), BACKEND),
        // To its own name, which leads to loopback by now: for the browser that is one origin.
        (rebound.clone(), format!("Origin: http://{rebound}\r\nContent-Type: application/json\r\n"), BACKEND),
        (
            rebound.clone(),
            format!("Origin: http://{rebound}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\n"),
            BACKEND,
        ),
    ]
}

const BACKEND: &str = "{\"url\":\"ws://evil.example\"}";

async fn try_all(program: &Program, token: &str) {
    for (host, fields, body) in attempts(&program.admin) {
        let fields = format!("{fields}Content-Length: {}\r\n{token}", body.len());
        let answer = program.say("POST", "/v1/backends", &host, &fields, body).await;
        assert!([403, 415, 421].contains(&answer.status), "{host} {fields}: {answer:?}");
        assert!(!answer.head.contains("access-control"), "{answer:?}");
    }
    let backends = program.get("/v1/backends").await;
    assert!(!backends.body.contains("evil"), "{backends:?}");
}

#[tokio::test]
async fn a_page_cannot_add_a_backend_by_tcp_not_even_with_the_token() {
    let scratch = Scratch::new("pages");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    try_all(&program, "").await;
    try_all(&program, &format!("Authorization: Bearer {TOKEN}\r\n")).await;
    // The same from one who is no page.
    let answer = program.call("POST", "/v1/backends", Some(BACKEND)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn a_page_cannot_add_a_backend_through_a_port_that_is_forwarded_to_the_socket() {
    let scratch = Scratch::new("forwarded");
    let address = format!("unix:{}", scratch.path("admin.sock").display());
    let program = Program::start(&[nobody_listens().await], &["--admin", &address]);
    try_all(&program, "").await;
    let answer = program.call("POST", "/v1/backends", Some(BACKEND)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn a_body_must_be_json() {
    let scratch = Scratch::new("body");
    let program = Program::with_token(&scratch, &[nobody_listens().await], &[]);
    let path = "/v1/sessions/0190b2c4-0000-7000-8000-000000000000/close";
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let fields = format!("{kind}Content-Length: 13\r\n{token}");
        let answer = program.say("POST", path, &program.admin, &fields, "{\"code\":1000}").await;
        assert_eq!((answer.status, answer.error().contains("application/json")), (415, true), "{kind}");
    }
    let cases = [("{\"code\":1000}", 404), ("{\"code\":1005}", 422), ("{\"code\":", 400), ("{\"kode\":1}", 422)];
    for (body, status) in cases {
        let answer = program.call("POST", path, Some(body)).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.error());
    }
    let long = format!("{{\"code\":1000,\"reason\":\"{}\"}}", "é".repeat(62));
    assert_eq!(program.call("POST", path, Some(&long)).await.status, 422);
    let huge = format!("{{\"code\":1000,\"reason\":\"{}\"}}", "a".repeat(20_000));
    assert_eq!(program.call("POST", path, Some(&huge)).await.status, 413);
}

#[tokio::test]
async fn a_unix_socket_is_its_owners_and_goes_with_the_process() {
    let scratch = Scratch::new("unix");
    let (socket, backend) = (scratch.path("admin.sock"), nobody_listens().await);
    let address = format!("unix:{}", socket.display());
    let flags = ["--admin", address.as_str()];
    let mut program = Program::start(&[backend], &flags);
    assert_eq!((mode(&socket), program.admin.as_str()), (0o600, address.as_str()));
    // Neither a token nor a name of ours.
    assert_eq!(program.say("GET", "/v1/sessions", "anything", "", "").await.status, 200);

    let mut second = tideover();
    second.args(["serve", "--listen", "127.0.0.1:0", "--backend", "ws://127.0.0.1:1"]).args(flags);
    let output = second.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("another process listens there"));
    assert_eq!(program.say("GET", "/healthz", "anything", "", "").await.status, 200, "the first is left alone");

    program.child.kill().unwrap();
    program.child.wait().unwrap();
    assert!(socket.exists(), "a killed process leaves its socket");
    let mut program = Program::start(&[backend], &flags);
    assert_eq!(program.say("GET", "/healthz", "anything", "", "").await.status, 200);
    let pid = rustix::process::Pid::from_raw(program.child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_for("the program's end", async || program.child.try_wait().unwrap()).await;
    assert!(status.success() && !socket.exists());
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let scratch = Scratch::new("file");
    let file = scratch.path("precious");
    std::fs::write(&file, "data").unwrap();
    let mut command = tideover();
    command.args(["serve", "--listen", "127.0.0.1:0", "--backend", "ws://127.0.0.1:1"]);
    let output = command.arg("--admin").arg(format!("unix:{}", file.display())).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");
}

//! Which certificate clients get, when it changes, and what is said of bad ones.

use std::process::{Command, Stdio};

use tideover_tests::{
    Backend, Kind, Proxy,
    client::Client,
    deadline::eventually,
    lock::machine_shared,
    program,
    proxy::says,
    tls::{Authority, Files, Pair, VALID, path_text},
};

use super::{SOON, localhost, openssl};

/// The CN of the certificate that a client gets who asks for `name`; the tests' certificates have their file's name.
fn shown(proxy: &Proxy, name: Option<&str>) -> String {
    let asked = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
    let output = openssl(proxy.address(), &asked);
    let subject = output.lines().find_map(|line| line.trim().strip_prefix("subject=")).unwrap_or_default();
    subject.rsplit("CN").next().unwrap_or_default().trim_start_matches([' ', '=']).to_owned()
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_it_asks_for_and_its_whole_chain() {
    let _machine = machine_shared();
    let (files, authority) = (Files::default(), Authority::shared());
    let first = authority.pair(&files, "first", &["first.test"], VALID);
    let wild = authority.pair(&files, "wild", &["*.wild.test"], VALID);
    let exact = authority.pair(&files, "exact", &["exact.wild.test"], VALID);
    let flags = [first.flags(), wild.flags(), exact.flags()].concat();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &flags);
    for (name, expected) in [
        (Some("first.test"), "first"),
        (Some("a.wild.test"), "wild"),
        (Some("exact.wild.test"), "exact"),
        (Some("a.b.wild.test"), "first"),
        (Some("unknown.test"), "first"),
        (None, "first"),
    ] {
        assert_eq!(shown(&proxy, name), expected, "{name:?}");
    }
    let ca = authority.ca(&files, "ca.pem");
    let check = ["-servername", "exact.wild.test", "-verify_hostname", "exact.wild.test", "-showcerts", "-CAfile"];
    let output = openssl(proxy.address(), &[&check[..], &[path_text(&ca)]].concat());
    assert!(output.contains("Verify return code: 0 (ok)"), "{output}");
    assert_eq!(output.matches("BEGIN CERTIFICATE").count(), 2, "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_a_session_that_lives_on() {
    let _machine = machine_shared();
    let (files, authority) = (Files::default(), Authority::shared());
    let served = localhost(&files);
    let backend = Backend::start(Kind::Rust);
    let proxy = Proxy::start([&backend], &served.flags());
    let url = format!("wss://localhost:{}/echo", proxy.address().port());
    let mut client = Client::connect(1, url.as_str()).await.expect("a session");
    assert_eq!(shown(&proxy, None), "localhost");

    served.replace_with(&authority.pair(&files, "second", &["localhost"], VALID));
    eventually(SOON, "the second certificate is shown", || shown(&proxy, None) == "second").await;

    // A certificate without its key leaves the pair as it was.
    let third = authority.pair(&files, "third", &["localhost"], VALID);
    std::fs::copy(&third.certificate, &served.certificate).expect("half a pair");
    let complains = || proxy.log_lines().iter().any(|line| says(line, "the certificates stay as they were"));
    eventually(SOON, "the log says why", complains).await;
    assert!(proxy.log_text().contains("the key is not that of"), "{}", proxy.log_text());
    assert_eq!(shown(&proxy, None), "second");

    std::fs::copy(&third.key, &served.key).expect("the other half");
    eventually(SOON, "the third certificate is shown", || shown(&proxy, None) == "third").await;

    let text = client.send_numbered().await;
    assert_eq!(client.next(SOON).await.map(|message| message.text), Some(text));
    assert_eq!(client.transcript().got.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_loads_certificates_again() {
    let _machine = machine_shared();
    let files = Files::default();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &localhost(&files).flags());
    let loaded = || proxy.log_lines().iter().filter(|line| says(line, "certificates loaded again")).count();
    proxy.hang_up();
    eventually(SOON, "they are loaded again", || loaded() == 1).await;
}

/// What `tideover serve` says that does not start with these flags.
fn refusal(flags: &[&str]) -> String {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--backend", "ws://127.0.0.1:1"];
    let output = Command::new(program::tideover()).args(serve).args(flags).stdin(Stdio::null()).output();
    let output = output.expect("the proxy runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_bad_certificate_is_refused_at_start_with_its_file_and_its_fault() {
    let _machine = machine_shared();
    let (files, authority) = (Files::default(), Authority::shared());
    let [good, other] = ["good", "other"].map(|name| authority.pair(&files, name, &["a.test"], VALID));
    let old = authority.pair(&files, "old", &["a.test"], (-30, -1));
    let early = authority.pair(&files, "early", &["a.test"], (1, 30));
    let mixed = Pair { certificate: good.certificate.clone(), key: other.key.clone() };
    let swapped = Pair { certificate: good.key.clone(), key: good.certificate.clone() };
    for (pair, file, fault) in [
        (&old, &old.certificate, "the certificate has expired on 2"),
        (&early, &early.certificate, "the certificate is not valid before 2"),
        (&mixed, &other.key, "the key is not that of"),
        (&swapped, &good.key, "are certificate and key exchanged?"),
    ] {
        let said = refusal(&pair.flags());
        assert!(said.contains(path_text(file)) && said.contains(fault), "{fault} is not in: {said}");
    }
    // All at once.
    let said = refusal(&[old.flags(), mixed.flags()].concat());
    assert!(said.contains("has expired") && said.contains("the key is not that of"), "{said}");
    assert!(refusal(&["--tls-cert", "/does/not/exist"]).contains("cannot be read: No such file"));
    assert!(refusal(&["--tls-cert", path_text(&good.certificate)]).contains("each certificate needs its key"));
    assert!(refusal(&["--tls-client-ca", path_text(&good.certificate)]).contains("give tls-cert and tls-key"));
    assert!(refusal(&["--listen", "wss://127.0.0.1:0"]).contains("wss:// needs a certificate"));
    assert!(refusal(&["--backend-cert", path_text(&good.certificate)]).contains("are given together"));
}

//! Handshakes with clients: versions, ALPN, certificates of theirs, and those that fail.

use std::process::Command;
use std::time::Instant;

use tideover_tests::{
    Backend, Kind, Proxy,
    deadline::{eventually, wait_for, within},
    lock::machine_shared,
    proxy::field,
    raw::{Connection, RawBackend},
    tls::{Authority, Files, Pair, VALID, connect, path_text},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{SOON, localhost, openssl, reasons, upgrade};

#[tokio::test]
async fn only_tls_1_2_and_1_3_are_spoken_and_http_1_1_inside() {
    let _machine = machine_shared();
    let files = Files::default();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &localhost(&files).flags());
    // At this level openssl itself would speak them: the alert is the proxy's.
    let weak = ["-cipher", "ALL:@SECLEVEL=0"];
    for old in ["-tls1", "-tls1_1"] {
        let output = openssl(proxy.address(), &[&[old], &weak[..]].concat());
        // Which of the two alerts it is depends on what such an old hello lacks first.
        let refused = ["alert protocol version", "alert handshake failure"].iter().any(|alert| output.contains(alert));
        assert!(refused && !output.contains("New, TLS"), "{old}: {output}");
    }
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let output = openssl(proxy.address(), &[version, "-alpn", "h2,http/1.1"]);
        assert!(output.contains(&format!("New, {name}")), "{version}: {output}");
        assert!(output.contains("ALPN protocol: http/1.1"), "{version}: {output}");
    }
    let forward_secret = openssl(proxy.address(), &["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"]);
    assert!(forward_secret.contains("alert handshake failure"), "{forward_secret}");
}

/// All suites of TLS 1.2 that openssl knows, weak ones too.
fn suites() -> Vec<String> {
    let all = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    let output = Command::new("openssl").args(["ciphers", "-s", "-tls1_2", all]).output();
    let output = output.expect("these tests need the program openssl");
    String::from_utf8_lossy(&output.stdout).trim().split(':').map(str::to_owned).collect()
}

#[tokio::test]
async fn only_suites_with_forward_secrecy_and_authenticated_encryption_are_spoken() {
    let _machine = machine_shared();
    let files = Files::default();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &localhost(&files).flags());
    let (mut spoken, mut refused) = (Vec::new(), 0);
    // Those of TLS 1.3, which openssl lists too, are all good, and not chosen by this option.
    for suite in suites().into_iter().filter(|suite| !suite.starts_with("TLS_")) {
        let output = openssl(proxy.address(), &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]);
        if output.contains("New, TLSv1.2") {
            assert!(output.contains("Compression: NONE"), "{output}");
            spoken.push(suite);
        } else {
            refused += 1;
        }
    }
    let good = |suite: &String| suite.starts_with("ECDHE-") && (suite.contains("GCM") || suite.contains("CHACHA20"));
    assert!(!spoken.is_empty() && spoken.iter().all(good), "{spoken:?}");
    assert!(refused > 20, "openssl knows weak suites: {refused}");
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused_and_one_that_comes_again_resumes() {
    let _machine = machine_shared();
    let files = Files::default();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &localhost(&files).flags());
    let output = openssl(proxy.address(), &["-alpn", "h2"]);
    assert!(output.contains("alert no application protocol"), "{output}");
    let kept = files.path("session.pem");
    // Of TLS 1.2 the ticket is part of the handshake.
    let first = openssl(proxy.address(), &["-tls1_2", "-sess_out", path_text(&kept)]);
    assert!(first.contains("New, TLSv1.2"), "{first}");
    let second = openssl(proxy.address(), &["-tls1_2", "-sess_in", path_text(&kept)]);
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
}

#[tokio::test]
async fn a_listener_may_be_plain_beside_one_with_tls() {
    let _machine = machine_shared();
    let files = Files::default();
    let backend = Backend::start(Kind::Rust);
    let flags = localhost(&files);
    let proxy = Proxy::start([&backend], &[&flags.flags()[..], &["--listen", "ws://127.0.0.1:0"]].concat());
    let address = wait_for(SOON, "the plain listener is there", || {
        let lines = proxy.log_lines();
        let line = lines.iter().find(|line| line["tls"] == false)?;
        field(line, "addr").parse().ok()
    });
    let mut secure = connect(proxy.address(), "localhost", Authority::shared().client(None)).await.expect("TLS");
    assert!(upgrade(&mut secure).await.expect("an answer").starts_with("HTTP/1.1 101 "));
    Connection::client(address, "/echo", &[]).await;
}

#[tokio::test]
async fn a_backend_is_told_that_the_client_came_by_https() {
    let _machine = machine_shared();
    let (files, backend) = (Files::default(), RawBackend::bind().await);
    let proxy = Proxy::before([backend.address()], &localhost(&files).flags());
    let mut client = connect(proxy.address(), "localhost", Authority::shared().client(None)).await.expect("TLS");
    let forged = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                  X-Forwarded-Proto: http\r\n\r\n";
    client.write_all(forged.as_bytes()).await.expect("the request is sent");
    let request = backend.connection(SOON).await.head(SOON).await.expect("a request");
    assert_eq!(request.header("X-Forwarded-Proto"), Some("https"));
    assert_eq!(request.header("Forwarded"), Some("for=127.0.0.1;proto=https;host=localhost"));
}

/// Whether a client that shows this certificate, or none, is served.
async fn is_served(proxy: &Proxy, shown: Option<&Pair>) -> bool {
    let config = Authority::shared().client(shown);
    // With TLS 1.3 a client learns that its certificate was refused when it reads.
    match connect(proxy.address(), "localhost", config).await {
        Ok(mut stream) => upgrade(&mut stream).await.is_ok_and(|head| head.starts_with("HTTP/1.1 101 ")),
        Err(_) => false,
    }
}

#[tokio::test]
async fn clients_must_or_may_show_a_certificate_of_the_given_authority() {
    let _machine = machine_shared();
    let (files, clients, strangers) = (Files::default(), Authority::new("clients"), Authority::new("strangers"));
    let good = clients.pair(&files, "good", &["client.test"], VALID);
    let old = clients.pair(&files, "old", &["client.test"], (-30, -1));
    let strange = strangers.pair(&files, "strange", &["client.test"], VALID);
    let (server, ca) = (localhost(&files), clients.ca(&files, "clients.pem"));
    let backend = Backend::start(Kind::Rust);
    for (auth, without) in [("required", false), ("optional", true)] {
        let flags = [&server.flags()[..], &["--tls-client-ca", path_text(&ca), "--tls-client-auth", auth]].concat();
        let proxy = Proxy::start([&backend], &flags);
        assert!(is_served(&proxy, Some(&good)).await, "{auth}");
        assert_eq!(is_served(&proxy, None).await, without, "{auth}");
        assert!(!is_served(&proxy, Some(&old)).await, "{auth}");
        assert!(!is_served(&proxy, Some(&strange)).await, "{auth}");
        let said = || reasons(&proxy, "connection closed").join("\n");
        let shows_none = "it shows no certificate, and must";
        let refused = (!without).then_some(shows_none);
        for reason in ["has expired on", "an authority that is not trusted here"].into_iter().chain(refused) {
            eventually(SOON, format_args!("the log says {reason}"), || said().contains(reason)).await;
        }
        assert_eq!(said().contains(shows_none), !without, "{}", said());
    }
}

#[tokio::test]
async fn who_speaks_no_tls_is_disconnected_with_a_line_in_the_log() {
    let _machine = machine_shared();
    let files = Files::default();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &localhost(&files).flags());
    let mut client = TcpStream::connect(proxy.address()).await.expect("the port is open");
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the request is sent");
    let read = within(SOON, "the connection ends", client.read_to_end(&mut Vec::new())).await;
    let logged = || reasons(&proxy, "connection closed").iter().any(|reason| reason.contains("does not speak TLS"));
    eventually(SOON, "the log says so", logged).await;
    drop(read);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up_in_time() {
    let _machine = machine_shared();
    let files = Files::default();
    let proxy = Proxy::before([([127, 0, 0, 1], 1).into()], &localhost(&files).flags());
    let began = Instant::now();
    let mut client = TcpStream::connect(proxy.address()).await.expect("the port is open");
    // The beginning of a record, and a byte each second: what moves is no excuse.
    let dribble = async {
        for byte in [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03].into_iter().cycle() {
            if client.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::select! {
                read = client.read_u8() => { assert!(read.is_err()); break }
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            }
        }
    };
    within(std::time::Duration::from_secs(20), "the connection ends", dribble).await;
    assert!(began.elapsed().as_secs() >= 9, "{:?}", began.elapsed());
    let logged = || reasons(&proxy, "connection closed");
    eventually(SOON, "the log says why", || !logged().is_empty()).await;
    assert_eq!(logged(), ["no handshake in time"]);
}

//! TLS on both legs: what clients are shown, whom the proxy trusts, and that sessions live through all of it.

mod backends;
mod certificates;
mod clients;
mod sessions;

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use tideover_tests::{
    Proxy,
    proxy::{field, says},
    raw::upgrade_request,
    tls::{Authority, Files, Pair, VALID},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(20);

/// A certificate for `localhost`, that the tests' clients trust.
fn localhost(files: &Files) -> Pair {
    Authority::shared().pair(files, "localhost", &["localhost"], VALID)
}

/// What `openssl s_client` says of a handshake with the proxy, with these arguments; it sends nothing inside.
fn openssl(address: SocketAddr, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("these tests need the program openssl");
    [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat()
}

/// Does a WebSocket handshake on a connection of any kind, and gives the head of the answer.
async fn upgrade(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<String> {
    stream.write_all(upgrade_request("/echo", "localhost", &[]).as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The reasons in the log's lines with this message.
fn reasons(proxy: &Proxy, message: &str) -> Vec<String> {
    let lines = proxy.log_lines();
    let of = lines.iter().filter(|line| says(line, message));
    of.map(|line| field(line, "reason").to_owned()).collect()
}

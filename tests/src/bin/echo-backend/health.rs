//! `GET /health`, without an upgrade.

use std::{path::Path, time::Duration};

use tideover_tests::backend::EventLog;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const REQUEST: &[u8] = b"GET /health ";

/// Whether the connection begins as a health check does; nothing is taken from it.
pub(crate) async fn is_check(stream: &TcpStream) -> bool {
    let mut begin = [0; REQUEST.len()];
    loop {
        match stream.peek(&mut begin).await {
            Ok(length) if length < REQUEST.len() && length > 0 && begin[..length] == REQUEST[..length] => {
                // The rest is on its way.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(length) => return begin[..length] == *REQUEST,
            Err(_) => return false,
        }
    }
}

/// Answers with the status that the file says; 200 if there is none.
pub(crate) async fn answer(mut stream: TcpStream, file: &Path, log: &EventLog) {
    let status = std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(read) if read > 0 => {}
            _ => return,
        }
    }
    log.check(status);
    let response = format!("HTTP/1.1 {status} Health\r\nContent-Length: 3\r\nConnection: close\r\n\r\nhi\n");
    let _ = stream.write_all(response.as_bytes()).await;
}

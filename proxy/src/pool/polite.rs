//! Leaving a WebSocket that was opened only to ask.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a backend that answered with 101 may take to close.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Closes the leg as a client does, so that no handler logs an error: Close 1000, then read to the end.
pub(super) async fn close(mut stream: TcpStream) {
    let polite = async {
        stream.write_all(&close_1000()).await?;
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever comes of it, who asked has the answer.
    let _ = tokio::time::timeout(CLOSE_TIME, polite).await;
}

/// Close 1000 as a client sends it, masked with a fresh key (RFC 6455 5.3).
fn close_1000() -> [u8; 8] {
    let mut key = [0; 4];
    getrandom::fill(&mut key).expect("the system has random numbers");
    let [high, low] = 1000_u16.to_be_bytes();
    [0x88, 0x82, key[0], key[1], key[2], key[3], high ^ key[0], low ^ key[1]]
}

//! What a proxy says of itself in `/metrics`. A test that judges by it alone would believe the proxy.

use std::{net::SocketAddr, time::Duration};

use crate::{
    deadline::{wait_for, within},
    proxy::{Proxy, field, says},
    raw::Connection,
};

/// The flags that make [`metric`] possible.
pub const METRICS: [&str; 2] = ["--admin", "127.0.0.1:0"];

const SOON: Duration = Duration::from_secs(10);

/// The value of a counter or gauge, by its name without `tideover_` and its labels as they are written.
///
/// # Panics
/// When the proxy does not answer, or has no such series.
pub async fn metric(proxy: &Proxy, series: &str) -> f64 {
    let text = metrics(proxy).await;
    let value = text.lines().find_map(|line| line.strip_prefix("tideover_")?.strip_prefix(series)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no series {series} in {text}"));
    value.parse().expect("a number")
}

/// Waits until a series has a value that is `good`.
///
/// # Panics
/// As [`metric`], or when it has none within ten seconds.
pub async fn metric_becomes(proxy: &Proxy, series: &str, good: impl Fn(f64) -> bool) {
    within(SOON, format_args!("a good value of {series}"), async {
        while !good(metric(proxy, series).await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn metrics(proxy: &Proxy) -> String {
    let address: SocketAddr = wait_for(SOON, "the operator's API is there", || {
        let lines = proxy.log_lines();
        let line = lines.iter().find(|line| says(line, "operator's API"))?;
        field(line, "addr").parse().ok()
    });
    let mut connection = Connection::dial(address).await.expect("connected");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.send_bytes(request).await.expect("sent");
    let (answer, _) = connection.rest(SOON).await;
    String::from_utf8(answer).expect("metrics are text")
}

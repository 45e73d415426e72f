//! The opening handshake of RFC 6455 section 4, as text.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The key of the RFC's example; its answer is `s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`.
pub const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A GET with upgrade for `path`; each of `headers` is a line without its end.
pub fn upgrade_request(path: &str, host: &str, headers: &[&str]) -> String {
    let fixed = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {SAMPLE_KEY}\r\nSec-WebSocket-Version: 13\r\n"
    );
    with_headers(fixed, headers)
}

/// The 101 for a request with this key.
pub fn accept_response(key: &str, headers: &[&str]) -> String {
    let accept = derive_accept_key(key.as_bytes());
    let fixed = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    with_headers(fixed, headers)
}

fn with_headers(mut head: String, headers: &[&str]) -> String {
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

/// A request's or response's head: the first line and the headers as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or status line.
    pub first_line: String,
    /// Names and values in their order; names keep their case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The head in `text`, without the empty line behind it.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.trim_end().split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        };
        Self { first_line, headers: lines.map(header).collect() }
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The status code of a response.
    ///
    /// # Panics
    /// When this is not a response.
    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("not a status line: {:?}", self.first_line))
    }

    /// The path and query of a request.
    ///
    /// # Panics
    /// When this is not a request.
    pub fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_else(|| panic!("not a request line: {:?}", self.first_line))
    }
}

//! Asking backends for reports. Each question is one connection with a deadline and a bounded answer.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::agent::Line;
use super::orca::{Invalid, LoadReport};

/// Bytes that an agent's line may have.
const MAX_LINE: usize = 1024;
/// Bytes that the body of a load report may have.
const MAX_BODY: usize = 16 << 10;
/// Bytes that its head may have.
const MAX_HEAD: usize = 16 << 10;

/// The field of a response in which a backend reports its load.
const LOAD_METRICS: &str = "endpoint-load-metrics";

/// Why there is no report.
#[derive(Debug)]
pub(in super::super) enum PollError {
    /// No answer in time.
    Timeout,
    /// No connection, or it was lost.
    Io(io::Error),
    /// An agent's line has no end, or is longer than 1 KiB.
    Line,
    /// No HTTP answer of at most 16 KiB.
    Http(hyper::Error),
    /// The body is longer than 16 KiB, or was cut off.
    Body,
    /// Another status than 200.
    Status(hyper::StatusCode),
    /// It is no load report.
    Report(Invalid),
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Io(error) => write!(f, "no connection: {error}"),
            Self::Line => f.write_str("no whole line of at most 1 KiB"),
            Self::Http(error) => write!(f, "no HTTP answer: {error}"),
            Self::Body => f.write_str("no whole body of at most 16 KiB"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Report(invalid) => f.write_str(invalid.what()),
        }
    }
}

impl From<io::Error> for PollError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<hyper::Error> for PollError {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

/// Asks the agent at `host:port` for its line; sends `send` first, as it is.
pub(in super::super) async fn agent(address: &str, send: &[u8], within: Duration) -> Result<Line, PollError> {
    timeout(within, ask_agent(address, send)).await.map_err(|_| PollError::Timeout)?
}

async fn ask_agent(address: &str, send: &[u8]) -> Result<Line, PollError> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(send).await?;
    let mut answer = Vec::with_capacity(128);
    let mut most = stream.take(MAX_LINE as u64);
    while most.read_buf(&mut answer).await? > 0 {
        if let Some(line) = Line::parse(&answer) {
            return Ok(line);
        }
    }
    Err(PollError::Line)
}

/// Asks for the load report at `http://host[:port]/path`: the `endpoint-load-metrics` of the answer, else its body.
pub(in super::super) async fn load(url: &Uri, within: Duration) -> Result<LoadReport, PollError> {
    timeout(within, ask_load(url)).await.map_err(|_| PollError::Timeout)?
}

async fn ask_load(url: &Uri) -> Result<LoadReport, PollError> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request(url)).await?;
        read(response).await
    };
    // Driven here, not by a task of its own, so that it ends with the question. When it ends first, the exchange has all
    // that came, or fails.
    let drive = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        report = exchange => report,
        never = drive => never,
    }
}

fn request(url: &Uri) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() =
        url.path_and_query().map_or("/", |target| target.as_str()).parse().expect("a URI's path is one");
    let host = url.authority().map_or("", |authority| authority.as_str());
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(host).expect("an authority is a header value"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tideover/", env!("CARGO_PKG_VERSION"))));
    request
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<LoadReport, PollError> {
    if response.status() != hyper::StatusCode::OK {
        return Err(PollError::Status(response.status()));
    }
    if let Some(report) = from_headers(response.headers()) {
        return report.map_err(PollError::Report);
    }
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(|_| PollError::Body)?.to_bytes();
    let text = std::str::from_utf8(&body).map_err(|_| PollError::Report(Invalid::Form))?;
    LoadReport::parse(text).map_err(PollError::Report)
}

/// The load report in the fields of a response; `None` if it has none. In the text form it may go over several fields.
pub(in super::super) fn from_headers(headers: &HeaderMap) -> Option<Result<LoadReport, Invalid>> {
    let fields: Result<Vec<_>, _> = headers.get_all(LOAD_METRICS).iter().map(HeaderValue::to_str).collect();
    match fields {
        Ok(fields) if fields.is_empty() => None,
        Ok(fields) => Some(LoadReport::parse(&fields.join(","))),
        Err(_) => Some(Err(Invalid::Form)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::net::TcpListener;

    const SOON: Duration = Duration::from_secs(5);

    /// A server that reads until `until` has come, answers, and closes or stays.
    async fn server(until: &'static [u8], answer: Vec<u8>, stay: bool) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(until) {
                stream.read_buf(&mut read).await.unwrap();
            }
            stream.write_all(&answer).await.unwrap();
            if stay {
                std::future::pending::<()>().await;
            }
        });
        address
    }

    async fn ask(answer: &[u8], stay: bool) -> Result<Line, PollError> {
        let address = server(b"who\n", answer.to_vec(), stay).await;
        agent(&address.to_string(), b"who\n", SOON).await
    }

    #[tokio::test]
    async fn an_agent_is_asked_and_its_line_is_read_whether_it_closes_or_not() {
        for stay in [false, true] {
            assert_eq!(ask(b"75% up\n", stay).await.unwrap(), Line::parse(b"75% up\n").unwrap());
        }
    }

    #[tokio::test]
    async fn a_line_that_does_not_end_is_not_waited_for_and_not_kept() {
        assert!(matches!(ask(b"75%", false).await, Err(PollError::Line)));
        assert!(matches!(ask(&[b' '; MAX_LINE + 1], true).await, Err(PollError::Line)));
        let mute = server(b"", Vec::new(), true).await;
        let error = agent(&mute.to_string(), b"", Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, PollError::Timeout));
    }

    async fn ask_http(answer: String) -> Result<LoadReport, PollError> {
        let address = server(b"\r\n\r\n", answer.into_bytes(), true).await;
        load(&format!("http://{address}/load?x=1").parse().unwrap(), SOON).await
    }

    #[tokio::test]
    async fn a_load_report_is_the_header_or_else_the_body() {
        let expected = LoadReport::parse("cpu_utilization=0.3").unwrap();
        let body = r#"{"cpu_utilization": 0.3}"#;
        let plain = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert_eq!(ask_http(plain).await.unwrap(), expected);
        let field = "endpoint-load-metrics: TEXT cpu_utilization=0.3\r\nendpoint-load-metrics: eps=1\r\n";
        let header = format!("HTTP/1.1 200 OK\r\n{field}content-length: 4\r\n\r\nbusy");
        assert_eq!(ask_http(header).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn what_is_no_report_is_told() {
        let status = ask_http("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".into()).await;
        assert!(matches!(status, Err(PollError::Status(status)) if status == 503));
        let large = "x".repeat(MAX_BODY + 1);
        let large = ask_http(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{large}", large.len())).await;
        assert!(matches!(large, Err(PollError::Body)));
        let text = ask_http("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbusy".into()).await;
        assert!(matches!(text, Err(PollError::Report(Invalid::Form))));
        assert!(matches!(ask_http("busy\r\n\r\n".into()).await, Err(PollError::Http(_))));
    }
}

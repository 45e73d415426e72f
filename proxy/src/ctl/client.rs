//! One call of the API, over TCP or a unix socket.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header;
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::problem::Problem;
use super::table::harmless;
use crate::config::AdminToken;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, all of it.
const ANSWER: Duration = Duration::from_secs(30);

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Tcp(Authority),
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    /// `http://host:port`, `host:port` as in `--admin` of `serve`, or `unix:PATH`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err("unix: needs a path".into()) } else { Ok(Self::Unix(path.into())) };
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        match authority.parse::<Authority>() {
            Ok(authority) if !authority.host().is_empty() && !authority.as_str().contains('@') => {
                Ok(Self::Tcp(authority))
            }
            _ => Err("neither http://host:port nor unix:PATH".into()),
        }
    }
}

pub(super) struct Client {
    target: Target,
    token: Option<AdminToken>,
}

/// What the API answered, with a good status.
pub(super) struct Answer {
    body: Bytes,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// An empty body is null.
    pub(super) fn json(&self) -> Result<Value, Problem> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|_| Self::unexpected())
    }

    pub(super) fn unexpected() -> Problem {
        Problem::Refused("this is not the answer of Tideover's operator's API".into())
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Client {
    pub(super) fn new(target: Target, token: Option<AdminToken>) -> Self {
        Self { target, token }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, Problem> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Option<Value>) -> Result<Answer, Problem> {
        self.call(Method::POST, path, body).await
    }

    /// As [`Self::get`], of what may be gone.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Answer>, Problem> {
        match self.ask(Method::GET, path, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => good(status, body).map(Some),
        }
    }

    /// A bad status is a problem, with the API's own words.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer, Problem> {
        let (status, body) = self.ask(method, path, body).await?;
        good(status, body)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Bytes), Problem> {
        let stream = self.connect().await?;
        let request = self.request(method, path, body)?;
        match tokio::time::timeout(ANSWER, exchange(stream, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Problem::Unreachable(format!("no answer: {error}"))),
            Err(_) => Err(Problem::Unreachable("no answer in time".into())),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Io>, Problem> {
        let connect = async {
            match &self.target {
                Target::Tcp(authority) => {
                    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
                    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
                    Ok::<Box<dyn Io>, std::io::Error>(Box::new(stream))
                }
                Target::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as _),
            }
        };
        match tokio::time::timeout(CONNECT, connect).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Problem::Unreachable(format!("cannot connect to {}: {error}", self.name()))),
            Err(_) => Err(Problem::Unreachable(format!("cannot connect to {} in time", self.name()))),
        }
    }

    fn name(&self) -> String {
        match &self.target {
            Target::Tcp(authority) => format!("http://{authority}"),
            Target::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<Request<Full<Bytes>>, Problem> {
        let host = match &self.target {
            Target::Tcp(authority) => authority.as_str(),
            Target::Unix(_) => "localhost",
        };
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        request.body(Full::new(body)).map_err(|error| Problem::Usage(error.to_string()))
    }
}

/// The answer if its status is good; else what the API says is wrong, a problem a line if there are several.
fn good(status: StatusCode, body: Bytes) -> Result<Answer, Problem> {
    if status.is_success() {
        return Ok(Answer { body });
    }
    let failure = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let error = failure["error"].as_str().unwrap_or("no reason given");
    let problems = failure["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Those of a body stand in the text already.
    let problems = problems.filter(|problem| !error.contains(problem)).map(|problem| format!("\n  {problem}"));
    let text = format!("{}: {error}{}", status.as_u16(), problems.collect::<String>());
    Err(Problem::Refused(text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")))
}

async fn exchange(stream: Box<dyn Io>, request: Request<Full<Bytes>>) -> hyper::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok((status, body))
}

/// A path with a query; what may not stand in one is percent-encoded (RFC 3986 2.1).
pub(super) fn path(path: &str, query: &[(&str, String)]) -> String {
    let encode = |value: &str| -> String {
        value
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect()
    };
    if query.is_empty() {
        return path.to_owned();
    }
    let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_port_or_a_socket() {
        for text in ["http://127.0.0.1:8081", "http://127.0.0.1:8081/", "127.0.0.1:8081"] {
            assert_eq!(text.parse(), Ok(Target::Tcp(Authority::from_static("127.0.0.1:8081"))), "{text}");
        }
        assert_eq!("unix:/run/x.sock".parse(), Ok(Target::Unix("/run/x.sock".into())));
        for text in ["", "unix:", "https://a:1", "http://a:1/path", "http://user@a:1"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(path("/p", &[("a", "ws://[::1]:9&b=c".into())]), "/p?a=ws%3A%2F%2F%5B%3A%3A1%5D%3A9%26b%3Dc");
    }
}

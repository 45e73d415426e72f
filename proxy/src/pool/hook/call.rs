//! One call: a POST of JSON on a connection of its own, and its bounded answer.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::super::SessionHeaders;
use super::super::dial;
use super::answer::Answer;
use super::failure::Failure;
use crate::config::{HookConfig, SessionKey, Transport};
use crate::net::Stream;

/// Bytes that the head of an answer may have.
const MAX_HEAD: usize = 16 << 10;
const SIGNATURE: HeaderName = HeaderName::from_static("tideover-signature");

/// What the hook is asked for a session whose client came with `headers`.
pub(super) fn question(
    config: &HookConfig,
    session: &SessionHeaders,
    headers: &HeaderMap,
    key: Option<&SessionKey>,
) -> Request<Full<Bytes>> {
    let told = config.headers.iter().map(|name| {
        let values = headers.get_all(name).iter().map(|value| Value::String(text(value))).collect();
        (name.as_str().to_owned(), Value::Array(values))
    });
    let told: Map<_, _> = told.collect();
    let body = json!({ "session": session.session, "epoch": session.epoch, "headers": told }).to_string();
    let host = config.url.host();
    let mut request = Request::new(Full::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(config.url.target().clone());
    let fields = request.headers_mut();
    let agent = concat!("tideover/", env!("CARGO_PKG_VERSION"));
    fields.insert(header::HOST, HeaderValue::try_from(host).expect("an authority is a header value"));
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    fields.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if let Some(key) = key {
        let signature = signature(key, config.url.target().as_str(), &body);
        fields.insert(SIGNATURE, HeaderValue::try_from(signature).expect("digits and letters are a header value"));
    }
    *request.body_mut() = Full::from(body);
    request
}

/// A byte that is no ASCII is the character of its number (ISO 8859-1), so that no value is lost.
fn text(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

/// `t=TIME, v1=HMAC` over when and what is asked.
fn signature(key: &SessionKey, target: &str, body: &str) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    format!("t={time}, v1={}", key.sign(format!("v1\n{time}\nPOST {target}\n{body}").as_bytes()))
}

/// Asks. Dropping the future closes the connection.
pub(super) async fn call(
    config: &HookConfig,
    transport: &Transport,
    question: Request<Full<Bytes>>,
) -> Result<Answer, Failure> {
    let stream = dial::connect(config.url.server(), transport, None, Instant::now() + config.timeout).await;
    let stream = stream.map_err(Failure::Unreachable)?;
    if !is_allowed(&stream) {
        return Err(Failure::NotLoopback);
    }
    let (mut sender, connection) = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(question).await?;
        read(response, config.max_bytes).await
    };
    // Driven here, not by a task of its own, so that it ends with the call. When it ends first, the exchange has all
    // that came, or fails.
    let drive = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = drive => never,
    }
}

/// Without TLS, the name `localhost` must have led to this machine.
fn is_allowed(stream: &Stream) -> bool {
    match stream {
        Stream::Tls(_) => true,
        Stream::Plain(stream) => stream.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
    }
}

async fn read(response: Response<Incoming>, most: usize) -> Result<Answer, Failure> {
    match response.status() {
        StatusCode::NO_CONTENT => Ok(Answer::nothing()),
        StatusCode::OK => {
            let body = Limited::new(response.into_body(), most).collect().await.map_err(|_| Failure::Body)?;
            Answer::parse(&body.to_bytes()).map_err(Failure::Invalid)
        }
        status => Err(Failure::Status(status)),
    }
}

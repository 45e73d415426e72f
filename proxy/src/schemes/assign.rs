//! `GET /.tideover/assign`: which backend a client should connect to, so that the proxy need not carry it.
//!
//! What stands behind the path is the client's own: `/.tideover/assign/chat?room=1` asks for a handshake with
//! `/chat?room=1`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};
use serde::Serialize;

use super::limiter::{Limiter, Prefixes};
use super::origins::{Origins, preflight};
use crate::config::AssignConfig;

/// Where it is asked.
const PATH: &str = "/.tideover/assign";

/// A v6 client has a network of its own, so its addresses are one client.
const CLIENTS: Prefixes = Prefixes { v4: 32, v6: 64 };
/// When a client may ask again that found no backend, in seconds.
const NO_BACKEND_RETRY: u64 = 1;

/// Who may ask, and how often.
#[derive(Debug)]
pub(super) struct Desk {
    origins: Origins,
    limiter: Limiter,
    ttl: Duration,
}

/// What became of a request, for the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client has a backend.
    Assigned,
    /// A preflight was answered.
    Preflight,
    /// The page's origin is not let in.
    Origin,
    /// It was one too many.
    Rate,
    /// Neither GET nor OPTIONS.
    Method,
    /// Nobody can be connected to.
    NoBackend,
}

#[derive(Serialize)]
struct Assigned {
    url: String,
    expires_in: u64,
}

#[derive(Serialize)]
struct Failure {
    error: &'static str,
}

/// The client's own target, path and query, if `uri` asks for an assignment: `/` if it names none.
pub(crate) fn target(uri: &Uri) -> Option<String> {
    let whole = uri.path_and_query().map_or("/", |target| target.as_str());
    match whole.strip_prefix(PATH)? {
        "" => Some("/".into()),
        own if own.starts_with('/') => Some(own.to_owned()),
        query if query.starts_with('?') => Some(format!("/{query}")),
        _ => None,
    }
}

impl Desk {
    pub(super) fn new(config: &AssignConfig) -> Self {
        let rate = NonZeroU32::new(config.rate).unwrap_or(NonZeroU32::MIN);
        Self { origins: Origins::new(&config.origins), limiter: Limiter::new(rate, CLIENTS), ttl: config.ttl }
    }

    /// Answers a request of `client`. `assign` gives the URL, if there is a backend; it is called once at most, when
    /// the client is let in.
    pub(super) fn answer(
        &self,
        method: &Method,
        headers: &HeaderMap,
        client: IpAddr,
        assign: impl FnOnce() -> Option<String>,
    ) -> (Response<Full<Bytes>>, Outcome) {
        let Ok(cors) = self.origins.admit(headers) else {
            let error = "pages of this origin may not ask; see --assign-origin";
            return (failure(StatusCode::FORBIDDEN, error), Outcome::Origin);
        };
        let (mut response, outcome) = self.admitted(method, client, assign);
        // A preflight has none of its own, and a refusal can be read as well.
        response.headers_mut().extend(cors);
        (response, outcome)
    }

    fn admitted(
        &self,
        method: &Method,
        client: IpAddr,
        assign: impl FnOnce() -> Option<String>,
    ) -> (Response<Full<Bytes>>, Outcome) {
        match *method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return (options(), Outcome::Preflight),
            _ => {
                let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, "the method must be GET");
                set(&mut response, header::ALLOW, "GET, HEAD, OPTIONS");
                return (response, Outcome::Method);
            }
        }
        if let Err(wait) = self.limiter.check(client) {
            return (later(StatusCode::TOO_MANY_REQUESTS, "too many requests", whole_seconds(wait)), Outcome::Rate);
        }
        match assign() {
            Some(url) => (assigned(url, self.ttl), Outcome::Assigned),
            None => {
                let error = "no backend is available";
                (later(StatusCode::SERVICE_UNAVAILABLE, error, NO_BACKEND_RETRY), Outcome::NoBackend)
            }
        }
    }
}

fn assigned(url: String, ttl: Duration) -> Response<Full<Bytes>> {
    json(StatusCode::OK, &Assigned { url, expires_in: ttl.as_secs() })
}

fn failure(status: StatusCode, error: &'static str) -> Response<Full<Bytes>> {
    json(status, &Failure { error })
}

fn later(status: StatusCode, error: &'static str, seconds: u64) -> Response<Full<Bytes>> {
    let mut response = failure(status, error);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn options() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(&mut response, header::ALLOW, "GET, HEAD, OPTIONS");
    preflight(response.headers_mut());
    response
}

/// Each answer is for one client, once.
fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(body).expect("plain texts and numbers can be written");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn set(response: &mut Response<Full<Bytes>>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Rounded up: who waits so long is let in (RFC 9110 10.2.3).
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn desk(rate: u32) -> Desk {
        let origins = vec!["https://app.example.com".parse().unwrap()];
        Desk::new(&AssignConfig { origins, rate, ttl: Duration::from_secs(10) })
    }

    struct Answer {
        status: u16,
        outcome: Outcome,
        headers: HeaderMap,
        body: serde_json::Value,
    }

    impl Answer {
        fn header(&self, name: &str) -> &str {
            self.headers.get(name).map_or("", |value| value.to_str().unwrap())
        }
    }

    async fn ask(desk: &Desk, method: Method, origin: Option<&'static str>, url: Option<&str>) -> Answer {
        let mut headers = HeaderMap::new();
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let client = [192, 0, 2, 1].into();
        let (response, outcome) = desk.answer(&method, &headers, client, || url.map(str::to_owned));
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: head.status.as_u16(), outcome, headers: head.headers, body }
    }

    #[test]
    fn what_stands_behind_the_path_is_the_clients_target() {
        let cases = [
            ("/.tideover/assign", Some("/")),
            ("/.tideover/assign/", Some("/")),
            ("/.tideover/assign?token=1", Some("/?token=1")),
            ("/.tideover/assign/chat?room=1", Some("/chat?room=1")),
            ("/.tideover/assignments", None),
            ("/chat", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(target(&uri.parse().unwrap()).as_deref(), expected, "{uri}");
        }
    }

    #[tokio::test]
    async fn who_is_let_in_gets_a_url_that_nobody_may_keep() {
        let answer = ask(&desk(10), Method::GET, Some("https://app.example.com"), Some("wss://one/")).await;
        assert_eq!((answer.status, answer.outcome), (200, Outcome::Assigned));
        assert_eq!(answer.body, serde_json::json!({ "url": "wss://one/", "expires_in": 10 }));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
    }

    #[tokio::test]
    async fn a_page_of_another_origin_is_refused_before_anything_is_counted() {
        let desk = desk(1);
        for _ in 0..5 {
            let answer = ask(&desk, Method::GET, Some("https://evil.example"), Some("wss://one/")).await;
            assert_eq!((answer.status, answer.outcome), (403, Outcome::Origin));
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        assert_eq!(ask(&desk, Method::GET, None, Some("wss://one/")).await.status, 200);
    }

    #[tokio::test]
    async fn a_preflight_is_answered_without_an_assignment() {
        let answer = ask(&desk(1), Method::OPTIONS, Some("https://app.example.com"), None).await;
        assert_eq!((answer.status, answer.outcome, answer.body.is_null()), (204, Outcome::Preflight, true));
        assert_eq!(answer.header("access-control-allow-methods"), "GET");
        assert_eq!(answer.header("access-control-max-age"), "600");
        assert_eq!(ask(&desk(1), Method::OPTIONS, Some("https://evil.example"), None).await.status, 403);
    }

    #[tokio::test]
    async fn one_too_many_is_told_when_to_come_again() {
        let desk = desk(1);
        assert_eq!(ask(&desk, Method::GET, None, Some("wss://one/")).await.status, 200);
        let answer = ask(&desk, Method::GET, Some("https://app.example.com"), Some("wss://one/")).await;
        assert_eq!((answer.status, answer.outcome), (429, Outcome::Rate));
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com", "the page may read it");
        assert_eq!(answer.header("access-control-expose-headers"), "Retry-After");
    }

    #[tokio::test]
    async fn without_a_backend_it_says_so() {
        let answer = ask(&desk(1), Method::GET, None, None).await;
        assert_eq!((answer.status, answer.outcome), (503, Outcome::NoBackend));
        assert_eq!(answer.header("retry-after"), "1");
    }

    #[tokio::test]
    async fn other_methods_are_told_which() {
        let answer = ask(&desk(1), Method::POST, None, Some("wss://one/")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
    }
}

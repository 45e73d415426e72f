//! Which web pages may ask (`--assign-origin`), and how a browser is told (the CORS protocol of the Fetch standard).

use hyper::header::{self, HeaderMap, HeaderValue};

use crate::config::Origin;

/// How long a browser may go on without asking again whether it may ask, in seconds.
const MAX_AGE: &str = "600";

/// The origins that are let in.
#[derive(Clone, Debug)]
pub(super) enum Origins {
    /// Every page of the web.
    Any,
    /// These. A request without an Origin does not come from a page of another origin, and is let in as well.
    Listed(Vec<Origin>),
}

/// A page's request that is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign;

impl Origins {
    pub(super) fn new(origins: &[Origin]) -> Self {
        if origins.contains(&Origin::Any) { Self::Any } else { Self::Listed(origins.to_vec()) }
    }

    /// The fields by which a browser lets the page read the answer. Also for an answer that is a refusal.
    pub(super) fn admit(&self, request: &HeaderMap) -> Result<HeaderMap, Foreign> {
        let mut answer = HeaderMap::new();
        let mut origins = request.get_all(header::ORIGIN).iter();
        match (self, origins.next(), origins.next()) {
            (Self::Any, ..) => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            (Self::Listed(listed), Some(origin), None) if listed.iter().any(|known| known.is(origin.as_bytes())) => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                answer.insert(header::VARY, HeaderValue::from_static("Origin"));
            }
            (Self::Listed(_), None, _) => {
                answer.insert(header::VARY, HeaderValue::from_static("Origin"));
            }
            (Self::Listed(_), Some(_), _) => return Err(Foreign),
        }
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        Ok(answer)
    }
}

/// What else the answer to a preflight says, the question whether a page may ask.
pub(super) fn preflight(answer: &mut HeaderMap) {
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET"));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(origins: &[&str], said: &[&str]) -> Result<Option<String>, Foreign> {
        let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        let mut request = HeaderMap::new();
        for origin in said {
            request.append(header::ORIGIN, origin.parse().unwrap());
        }
        let answer = Origins::new(&origins).admit(&request)?;
        let allowed = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        let is_general = allowed.is_some_and(|allowed| allowed == "*");
        assert_eq!(answer.contains_key(header::VARY), !is_general, "caches must not mix up answers");
        Ok(allowed.map(|allowed| allowed.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_listed_page_is_let_in_by_name() {
        let listed = ["https://app.example.com", "http://localhost:3000"];
        for origin in listed {
            assert_eq!(admit(&listed, &[origin]), Ok(Some(origin.to_owned())));
        }
        for other in ["https://app.example.com:444", "http://app.example.com", "https://evil.example", "null"] {
            assert_eq!(admit(&listed, &[other]), Err(Foreign), "{other}");
        }
        assert_eq!(admit(&listed, &[listed[0], listed[1]]), Err(Foreign), "two origins are none");
    }

    #[test]
    fn who_is_no_page_is_let_in_and_no_page_can_read_that() {
        assert_eq!(admit(&[], &[]), Ok(None));
        assert_eq!(admit(&[], &["https://app.example.com"]), Err(Foreign));
    }

    #[test]
    fn a_star_lets_every_page_in() {
        assert_eq!(admit(&["*", "https://a.example"], &["https://evil.example"]), Ok(Some("*".into())));
        assert_eq!(admit(&["*"], &["null"]), Ok(Some("*".into())));
    }
}

//! Which handshakes go to which pool, and what their sessions are configured with.

use std::sync::Arc;

use hyper::header::{self, HeaderName};
use hyper::http::request;
use tideover_protocol::session::{self, AckMode};

use super::Pool;
use super::renewals::{Renewals, Shared};
use crate::config::{
    Admission, Ahead, Compression, HeaderPattern, HostPattern, PathPrefix, ReattachOrder, RouteConfig, SessionKey,
};

/// What a session keeps for life: its pool, and its configuration.
#[derive(Debug)]
pub struct Route {
    /// What it takes, as people read it: hosts, paths and header fields as the configuration has them, `*` for all.
    pub title: Box<str>,
    hosts: Vec<HostPattern>,
    paths: Vec<PathPrefix>,
    headers: Vec<HeaderPattern>,
    /// Where its sessions may be attached.
    pub pool: Arc<Pool>,
    /// Which requests it takes.
    pub admission: Admission,
    /// What their engines are configured with.
    pub session: Arc<session::Config>,
    /// What counts as said by clients before their sessions began.
    pub(crate) ahead: Vec<Ahead>,
    /// Which backends are tried first at a re-attach.
    pub reattach_order: ReattachOrder,
    /// A field that says `1` on re-attaches and is never taken from a client.
    pub reattach_header: Option<HeaderName>,
    /// What changes of a handshake on re-attaches.
    pub(super) renewals: Renewals,
    /// Whether compression is relayed.
    pub compression: Compression,
    /// What the session protocol's headers are signed with.
    pub(super) session_key: Option<SessionKey>,
}

/// The host of `host[:port]`; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    let end = authority.find(']').map_or(0, |bracket| bracket + 1);
    authority[end..].find(':').map_or(authority, |colon| &authority[..end + colon])
}

/// The host that a request is for, without a port; that of an absolute target goes before the field (RFC 9112 3.2.2).
fn host(request: &request::Parts) -> &str {
    let field = || request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(without_port);
    request.uri.host().or_else(field).unwrap_or_default()
}

impl Route {
    /// The route that `config` describes, to `pool`.
    #[must_use]
    pub(super) fn new(config: &RouteConfig, pool: Arc<Pool>, shared: &Shared) -> Self {
        Self {
            title: config.title().into(),
            hosts: config.hosts.clone(),
            paths: config.paths.clone(),
            headers: config.headers.clone(),
            pool,
            admission: config.admission.clone(),
            session: Arc::new(config.session.clone()),
            ahead: config.rules.ahead.clone(),
            reattach_order: config.reattach_order,
            reattach_header: config.reattach_header.clone(),
            renewals: Renewals::new(&config.renewal, shared),
            compression: config.compression,
            session_key: config.session_key.clone(),
        }
    }

    /// Whether a handshake is this route's. The host of an absolute target goes before the field (RFC 9112 3.2.2).
    pub(super) fn takes(&self, request: &request::Parts) -> bool {
        let host = host(request);
        (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.takes(host)))
            && (self.paths.is_empty() || self.paths.iter().any(|prefix| prefix.takes(request.uri.path())))
            && self.headers.iter().all(|pattern| pattern.takes(&request.headers))
    }

    /// Whether it lets requests for this host in (`--allow-host`).
    pub(crate) fn allows_host(&self, request: &request::Parts) -> bool {
        let allowed = &self.admission.hosts;
        allowed.is_empty() || allowed.iter().any(|pattern| pattern.takes(host(request)))
    }

    /// Whether it lets the page in, if it is one, that a handshake comes from (`--allow-origin`). A page has one origin.
    pub(crate) fn allows_origin(&self, request: &request::Parts) -> bool {
        let allowed = &self.admission.origins;
        let mut said = request.headers.get_all(header::ORIGIN).iter();
        match (allowed.is_empty(), said.next(), said.next()) {
            (true, ..) | (false, None, _) => true,
            (false, Some(origin), None) => allowed.iter().any(|known| known.is(origin.as_bytes())),
            (false, Some(_), Some(_)) => false,
        }
    }

    /// Whether each backend must opt in to acknowledge explicitly.
    pub(super) fn is_explicit(&self) -> bool {
        self.session.ack == AckMode::Explicit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_a_host() {
        for (authority, host) in [("a", "a"), ("a:80", "a"), ("[::1]", "[::1]"), ("[::1]:80", "[::1]"), ("", "")] {
            assert_eq!(without_port(authority), host);
        }
    }
}

//! Which handshakes go to which pool, and what their sessions are configured with.

use std::sync::Arc;

use hyper::header::HeaderName;
use hyper::http::request;
use tideover_protocol::session::{self, AckMode};

use super::Pool;
use crate::config::{ReattachOrder, RouteConfig, SessionKey};

/// What a session keeps for life: its pool, and its configuration.
#[derive(Debug)]
pub struct Route {
    /// Where its sessions may be attached.
    pub pool: Arc<Pool>,
    /// What their engines are configured with.
    pub session: Arc<session::Config>,
    /// Which backends are tried first at a re-attach.
    pub reattach_order: ReattachOrder,
    /// A field that says `1` on re-attaches and is never taken from a client.
    pub reattach_header: Option<HeaderName>,
    /// What the session protocol's headers are signed with.
    pub(super) session_key: Option<SessionKey>,
}

impl Route {
    /// The route that `config` describes, to `pool`.
    #[must_use]
    pub fn new(config: &RouteConfig, pool: Arc<Pool>) -> Self {
        Self {
            pool,
            session: Arc::new(config.session.clone()),
            reattach_order: config.reattach_order,
            reattach_header: config.reattach_header.clone(),
            session_key: config.session_key.clone(),
        }
    }

    /// Whether a handshake is this route's.
    pub(super) fn takes(&self, _request: &request::Parts) -> bool {
        true
    }

    /// Whether each backend must opt in to acknowledge explicitly.
    pub(super) fn is_explicit(&self) -> bool {
        self.session.ack == AckMode::Explicit
    }
}

//! What each profile makes of real messages, of both sides.

mod eth_subscribe;
mod graphql;
mod json_rpc;
mod mqtt;
mod ocpp;
mod socket_io;

use std::sync::Arc;

use tideover_protocol::rules::{
    BackendVerdict, ClientVerdict, Key, Kind, Message, Pin, Replay, Rules, Unpin, UnpinWhen,
};

use super::{BACKEND, config};
use crate::config::RouteConfig;

/// A route with a profile.
fn route(profile: &str) -> RouteConfig {
    config(&[BACKEND, ("profile", profile)], &[]).unwrap_or_else(|wrong| panic!("{wrong}")).routes.swap_remove(0)
}

/// A profile, asked about texts.
struct Profile(Arc<dyn Rules>);

impl Profile {
    fn new(name: &str) -> Self {
        Self(route(name).session.rules.expect("a profile has rules"))
    }

    fn client(&self, payload: &str) -> ClientVerdict {
        self.0.client(&text(payload))
    }

    fn backend(&self, payload: &str) -> BackendVerdict {
        self.0.backend(&text(payload))
    }

    /// The key that answers of the backend must have.
    fn waits_for(&self, payload: &str) -> Key {
        self.client(payload).acknowledge.unwrap_or_else(|| panic!("{payload} waits for nothing"))
    }

    /// The key of what the backend is done with.
    fn is_done_with(&self, payload: &str) -> Key {
        self.backend(payload).acknowledge.unwrap_or_else(|| panic!("{payload} is done with nothing"))
    }

    fn pin(&self, payload: &str) -> Pin {
        self.client(payload).pin.unwrap_or_else(|| panic!("{payload} is not pinned"))
    }

    /// Whether later backends are never told.
    fn is_leg_local(&self, payload: &str) -> bool {
        self.client(payload) == ClientVerdict { replay: Replay::LegLocal, ..ClientVerdict::default() }
    }

    /// Whether it is treated as without rules.
    fn is_ordinary(&self, payload: &str) -> bool {
        self.client(payload) == ClientVerdict::default()
    }

    /// Whether it is treated as without rules, from a backend.
    fn passes(&self, payload: &str) -> bool {
        self.backend(payload) == BackendVerdict::default()
    }
}

fn text(payload: &str) -> Message<'_> {
    Message { kind: Kind::Text, payload: payload.as_bytes(), nth: 1 }
}

/// The end of a pin at once.
fn now(key: Key) -> Option<Unpin> {
    Some(Unpin { key, when: UnpinWhen::Now })
}

//! Where a client connects: the proxy, or a backend directly to learn what "without the proxy" looks like.

use std::net::SocketAddr;

use crate::{backend::Backend, proxy::Proxy};

/// An address that a client connects to.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Straight to a backend: the yardstick of Law 10.
    Direct(&'a Backend),
    /// Through the proxy.
    Proxied(&'a Proxy),
}

impl Target<'_> {
    /// The address.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Direct(backend) => backend.address(),
            Self::Proxied(proxy) => proxy.address(),
        }
    }

    /// The `ws://` URL with `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address())
    }
}

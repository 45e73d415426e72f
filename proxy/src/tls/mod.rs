//! TLS on both legs: certificates of our own for clients, and trust in those of backends. Both can be read anew.
//!
//! rustls with *ring*: it builds in seconds with a C compiler and nothing else, also for another processor, and the
//! maintainers of rustls keep it. TLS 1.2 and 1.3; rustls knows no older version and no renegotiation, compression or
//! suite without forward secrecy.

mod certificate;
mod error;
mod names;
mod pem;
mod server;
#[cfg(test)]
mod tests;
mod upstream;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};

pub use certificate::Certificate;
pub use error::explain;
pub use server::{ClientAuth, Server, ServerFiles};
pub use upstream::{Upstream, UpstreamFiles};

/// RFC 8996 forbids all that is older.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
/// What is spoken inside (RFC 7301): a WebSocket handshake of RFC 6455 needs HTTP/1.1.
const ALPN: &[u8] = b"http/1.1";

/// The files of a certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate and behind it the chain up to, without, the root.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: PathBuf,
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

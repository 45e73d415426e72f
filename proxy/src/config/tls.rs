//! The settings of TLS and of the PROXY protocol: which files, which listeners, and whether they fit each other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::reader::Reader;
use super::{Flag, PoolConfig, parse};
use crate::tls::{PairFiles, Server, ServerFiles, Upstream, UpstreamFiles};

/// A place where clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where. Port 0 takes a free port.
    pub address: SocketAddr,
    /// Whether they speak TLS there.
    pub tls: bool,
}

/// How connections to the backends of a pool are made, beyond TCP.
#[derive(Clone, Debug)]
pub struct Transport {
    /// TLS, for those whose URL is `wss://`.
    pub tls: Arc<Upstream>,
    /// `--send-proxy v2`: whether a PROXY header says whose connection it is.
    pub send_proxy: bool,
}

impl Default for Transport {
    /// The system's roots, and no PROXY header.
    fn default() -> Self {
        Self { tls: Arc::new(Upstream::new(UpstreamFiles::default())), send_proxy: false }
    }
}

impl PartialEq for Transport {
    /// Whether both are configured the same.
    fn eq(&self, other: &Self) -> bool {
        self.send_proxy == other.send_proxy && self.tls.files() == other.tls.files()
    }
}

/// An item of `--listen`.
#[derive(Clone, Copy)]
pub(super) struct ListenUrl {
    address: SocketAddr,
    /// Whether it asks for TLS; `None` if it does not say.
    tls: Option<bool>,
}

/// Whether clients may come through balancers that speak the PROXY protocol (`--proxy-protocol`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyProtocol {
    Off,
    In,
}

/// Whether backends get a PROXY header (`--send-proxy`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SendProxy {
    Off,
    V2,
}

pub(super) fn listen_url(flag: &Flag, text: &str) -> Result<ListenUrl, String> {
    let (tls, address) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => (Some(false), rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => (Some(true), rest),
        _ => (None, text),
    };
    Ok(ListenUrl { address: parse::address(flag, address)?, tls })
}

/// The path of a file that is there; empty is none.
pub(super) fn path(_: &Flag, text: &str) -> Result<Option<PathBuf>, String> {
    if text.is_empty() { Ok(None) } else { readable(text).map(Some) }
}

/// One of several paths.
fn one_of_paths(_: &Flag, text: &str) -> Result<PathBuf, String> {
    readable(text)
}

/// What is in it is judged later, together with what belongs to it.
fn readable(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

/// A host's name or IP address; empty is none.
fn server_name(flag: &Flag, text: &str) -> Result<Option<ServerName<'static>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    ServerName::try_from(text.to_owned()).map(Some).map_err(|_| format!("is not {}", flag.kind))
}

/// TLS toward clients, with its certificates read; `None` without any.
pub(super) fn server(reader: &mut Reader<'_>) -> Option<Arc<Server>> {
    let certificates = reader.list("tls-cert", one_of_paths);
    let keys = reader.list("tls-key", one_of_paths);
    let client_ca = reader.one("tls-client-ca", path);
    let client_auth = reader.choice("tls-client-auth");
    if certificates.len() != keys.len() {
        let (certificates, keys) = (certificates.len(), keys.len());
        reader.reject(
            &["tls-cert", "tls-key"],
            format!("each certificate needs its key, in the same order: there are {certificates} and {keys}"),
        );
        return None;
    }
    if certificates.is_empty() {
        if client_ca.is_some() {
            reader.reject(
                &["tls-client-ca", "tls-cert"],
                "clients' certificates need TLS: give tls-cert and tls-key".into(),
            );
        }
        return None;
    }
    let pairs = certificates.into_iter().zip(keys).map(|(certificate, key)| PairFiles { certificate, key }).collect();
    match Server::load(ServerFiles { pairs, client_ca, client_auth }) {
        Ok(server) => Some(Arc::new(server)),
        Err(problems) => {
            problems.into_iter().for_each(|problem| reader.reject(&["tls-cert", "tls-key", "tls-client-ca"], problem));
            None
        }
    }
}

/// Where clients connect. A listener that does not say whether it has TLS has it if there is a certificate.
pub(super) fn listen(reader: &mut Reader<'_>, server: Option<&Arc<Server>>) -> Vec<Listen> {
    let urls = reader.list("listen", listen_url);
    if server.is_none() && urls.iter().any(|url| url.tls == Some(true)) {
        reader.reject(&["listen", "tls-cert"], "wss:// needs a certificate: give tls-cert and tls-key".into());
    }
    if server.is_some() && urls.iter().all(|url| url.tls == Some(false)) {
        reader.reject(&["listen", "tls-cert"], "no listener uses the certificate: all are ws://".into());
    }
    let tls = server.is_some();
    urls.iter().map(|url| Listen { address: url.address, tls: url.tls.unwrap_or(tls) }).collect()
}

/// The networks of balancers whose PROXY headers are believed; `None`: there is none.
pub(super) fn proxy_protocol(reader: &mut Reader<'_>) -> Option<Vec<ipnet::IpNet>> {
    let trusted = reader.list("trust-proxies", parse::network);
    let on = reader.choice::<ProxyProtocol>("proxy-protocol") == ProxyProtocol::In;
    if on && trusted.is_empty() {
        reader.reject(
            &["proxy-protocol", "trust-proxies"],
            "who may send a PROXY header must be said: give trust-proxies".into(),
        );
    }
    if !on && !trusted.is_empty() {
        reader.reject(&["trust-proxies", "proxy-protocol"], "trust-proxies is for --proxy-protocol in".into());
    }
    on.then_some(trusted)
}

/// How backends are connected to. What is wrong with given files shows at once.
pub(super) fn transport(reader: &mut Reader<'_>) -> Transport {
    let certificate = reader.one("backend-cert", path);
    let key = reader.one("backend-key", path);
    let files = UpstreamFiles {
        ca: reader.one("backend-ca", path),
        server_name: reader.one("backend-server-name", server_name),
        pair: match (certificate, key) {
            (Some(certificate), Some(key)) => Some(PairFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                reader.reject(&["backend-cert", "backend-key"], "a certificate and its key are given together".into());
                None
            }
        },
    };
    let upstream = Upstream::new(files);
    if upstream.paths().next().is_some() {
        for problem in upstream.reload().err().into_iter().flatten() {
            reader.reject(&["backend-ca", "backend-cert", "backend-key"], problem);
        }
    }
    let send_proxy = reader.choice::<SendProxy>("send-proxy") == SendProxy::V2;
    Transport { tls: Arc::new(upstream), send_proxy }
}

/// Reads the system's roots at once where a backend needs them, so that their lack shows at the start.
pub(super) fn check_roots(reader: &mut Reader<'_>, pools: &[PoolConfig]) {
    for pool in pools {
        let upstream = &pool.settings.transport.tls;
        let has_tls = pool.backends.iter().any(|backend| backend.url.tls);
        if has_tls && upstream.paths().next().is_none() {
            let problems = upstream.reload().err().into_iter().flatten();
            problems.for_each(|problem| reader.reject(&["backend-ca"], problem));
        }
    }
}

//! The proxy as a TLS server, toward clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::ring::Ticketer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::names::ByName;
use super::{ALPN, Certificate, PairFiles, VERSIONS, pem, provider};
use crate::net::Stream;

/// Whether a client must show a certificate (`--tls-client-auth`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It must.
    Required,
    /// It may have none; one that it shows must be good.
    Optional,
}

/// Where the proxy's certificates are, and whom it asks for theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// `--tls-cert`, `--tls-key`: at least one pair. The first is for who asks for no name that is known.
    pub pairs: Vec<PairFiles>,
    /// `--tls-client-ca`: whose certificates clients show. `None`: they are not asked.
    pub client_ca: Option<PathBuf>,
    /// `--tls-client-auth`.
    pub client_auth: ClientAuth,
}

/// TLS toward clients. Its certificates can be loaded anew; connections that are there keep what they have.
#[derive(Debug)]
pub struct Server {
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    files: ServerFiles,
    config: Arc<ServerConfig>,
    certificates: Vec<Certificate>,
}

impl Server {
    /// Reads the files.
    ///
    /// # Errors
    /// All that is wrong with them, each with the file's path.
    pub fn load(files: ServerFiles) -> Result<Self, Vec<String>> {
        Ok(Self { current: ArcSwap::from_pointee(Loaded::read(files)?) })
    }

    /// Reads the files again. Handshakes from now on get what is in them. Nobody resumes a session (RFC 8446 2.2) of
    /// before: what let a client in then may not do so now.
    ///
    /// # Errors
    /// All that is wrong with them, each with the file's path. What was loaded before stays.
    pub fn reload(&self) -> Result<(), Vec<String>> {
        let files = self.current.load().files.clone();
        self.current.store(Arc::new(Loaded::read(files)?));
        Ok(())
    }

    /// Takes the files, and what was read from them, of another one: so a new configuration reaches the listeners.
    pub fn adopt(&self, other: &Self) {
        self.current.store(other.current.load_full());
    }

    /// The files that it reads.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let files = &self.current.load().files;
        let pairs = files.pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        pairs.chain(&files.client_ca).cloned().collect()
    }

    /// A line for each certificate, for the log.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        self.current.load().certificates.iter().map(Certificate::to_string).collect()
    }

    /// When the first of its certificates expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        let current = self.current.load();
        current.certificates.iter().map(Certificate::not_after).min().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Does the handshake on a connection from a client. Takes no time limit of its own.
    ///
    /// # Errors
    /// It failed; [`explain`](super::explain) says why. The client was sent an alert, if it speaks TLS.
    pub async fn accept(&self, stream: TcpStream) -> std::io::Result<Stream> {
        let config = self.current.load().config.clone();
        TlsAcceptor::from(config).accept(stream).await.map(Stream::tls)
    }
}

impl Loaded {
    fn read(files: ServerFiles) -> Result<Self, Vec<String>> {
        let now = SystemTime::now();
        let mut problems = Vec::new();
        let pairs = files.pairs.iter().map(|pair| Certificate::read(pair, now));
        let certificates: Vec<_> = pairs.filter_map(|pair| pair.map_err(|why| problems.push(why)).ok()).collect();
        let verifier = files.client_ca.as_deref().map(|path| verifier(path, files.client_auth)).transpose();
        let verifier = verifier.unwrap_or_else(|why| {
            problems.push(why);
            None
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = server_config(&certificates, verifier).map_err(|error| vec![error.to_string()])?;
        Ok(Self { files, config: Arc::new(config), certificates })
    }
}

fn server_config(
    certificates: &[Certificate],
    verifier: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certificates)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Tickets are kept by the clients: thousands that come back at once resume, and cost no memory meanwhile.
    config.ticketer = Ticketer::new()?;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(config)
}

fn verifier(path: &Path, auth: ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("{}: has a certificate that is no authority's: {error}", path.display()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(verifier)
}

//! The proxy as a TLS client, toward backends.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{ALPN, Certificate, PairFiles, VERSIONS, pem, provider};
use crate::net::Stream;

/// Whom the proxy trusts to be a backend, and what it shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFiles {
    /// `--backend-ca`: the authorities whose certificates are trusted, and no others. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// `--backend-server-name`: the name that is asked for and must be the certificate's. `None`: the URL's host.
    pub server_name: Option<ServerName<'static>>,
    /// `--backend-cert`, `--backend-key`: what the proxy shows a backend that asks. `None`: nothing.
    pub pair: Option<PairFiles>,
}

/// TLS toward backends. What it trusts can be loaded anew; connections that are there keep what they have.
#[derive(Debug)]
pub struct Upstream {
    files: UpstreamFiles,
    /// `None` until it is needed: where all backends are `ws://`, no root is read.
    current: ArcSwapOption<ClientConfig>,
}

impl Upstream {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(files: UpstreamFiles) -> Self {
        Self { files, current: ArcSwapOption::empty() }
    }

    /// What it is configured with.
    #[must_use]
    pub fn files(&self) -> &UpstreamFiles {
        &self.files
    }

    /// Reads the files, or the system's roots, again. Handshakes from now on get what is in them.
    ///
    /// # Errors
    /// All that is wrong with them, each with the file's path. What was loaded before stays.
    pub fn reload(&self) -> Result<(), Vec<String>> {
        self.current.store(Some(Arc::new(client_config(&self.files)?)));
        Ok(())
    }

    /// The files that it reads, besides the system's roots.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let pair = self.files.pair.iter().flat_map(|pair| [pair.certificate.as_path(), &pair.key]);
        pair.chain(self.files.ca.as_deref())
    }

    /// Does the handshake on a connection to a backend at `host`, a name or an IP address. Takes no time limit of its
    /// own.
    ///
    /// # Errors
    /// It failed, or there is nothing to trust; [`explain`](super::explain) says why.
    pub async fn connect(&self, stream: TcpStream, host: &str) -> io::Result<Stream> {
        let name = match &self.files.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        TlsConnector::from(self.config()?).connect(name, stream).await.map(Stream::tls)
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.current.load_full() {
            return Ok(config);
        }
        // Two that come here at once read it twice, which harms nobody.
        self.reload().map_err(|problems| io::Error::other(problems.join("; ")))?;
        self.current.load_full().ok_or_else(|| io::Error::other("nothing is loaded"))
    }
}

fn client_config(files: &UpstreamFiles) -> Result<ClientConfig, Vec<String>> {
    let roots = match &files.ca {
        Some(path) => given_roots(path),
        None => system_roots(),
    };
    let pair = files.pair.as_ref().map(|pair| Certificate::read(pair, SystemTime::now())).transpose();
    let (roots, pair) = match (roots, pair) {
        (Ok(roots), Ok(pair)) => (roots, pair),
        (roots, pair) => return Err(roots.err().into_iter().chain(pair.err()).collect()),
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS);
    let builder = builder.map_err(|error| vec![error.to_string()])?.with_root_certificates(roots);
    let mut config = match pair {
        Some(pair) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair.key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn given_roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| format!("{}: has a certificate that is no authority's: {error}", path.display()))?;
    }
    Ok(roots)
}

/// The system's, from where OpenSSL has them; `SSL_CERT_FILE` and `SSL_CERT_DIR` go before.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // An old root that is not understood is nobody's fault here: others do without it, too.
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good > 0 {
        return Ok(roots);
    }
    let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
    Err(format!("the system has no trusted roots (give backend-ca, or install ca-certificates) {}", why.join("; ")))
}

//! Certificates made by the test, and TLS clients and servers that know them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::scratch::Scratch;

/// A certificate's file, with its chain, and its key's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// PEM.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

impl Pair {
    /// As the proxy's flags.
    pub fn flags(&self) -> [&str; 4] {
        ["--tls-cert", path_text(&self.certificate), "--tls-key", path_text(&self.key)]
    }

    /// Puts the files of another in place of these.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn replace_with(&self, other: &Self) {
        for (from, to) in [(&other.certificate, &self.certificate), (&other.key, &self.key)] {
            std::fs::copy(from, to).expect("a file is replaced");
        }
    }
}

/// A path as text.
///
/// # Panics
/// When it is not UTF-8.
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path of the tests is UTF-8")
}

/// How long a certificate is valid, in days from now.
pub const VALID: (i64, i64) = (-1, 30);

/// Who signs certificates: a root, and below it an authority in between, as on the internet.
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
}

/// A directory for certificates, gone with the value.
#[derive(Debug)]
pub struct Files(Scratch);

impl Default for Files {
    fn default() -> Self {
        Self(Scratch::new("tls"))
    }
}

impl Files {
    /// The place of a file there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}

impl Authority {
    /// A new one, of this name.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(authority(name), new_key()).expect("a root");
        let between = authority(&format!("{name}, in between"));
        let between = CertifiedIssuer::signed_by(between, new_key(), &root).expect("an authority in between");
        Self { root, between }
    }

    /// The one that the tests' clients trust.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("the tests"))
    }

    /// A file of this name with the root's certificate, PEM.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn ca(&self, files: &Files, file: &str) -> PathBuf {
        let path = files.0.path(file);
        std::fs::write(&path, self.root.pem()).expect("the root's file");
        path
    }

    /// A certificate for these names, in files called `file`, with the chain up to the root.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn pair(&self, files: &Files, file: &str, names: &[&str], (from, until): (i64, i64)) -> Pair {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .expect("names of hosts or addresses");
        params.distinguished_name.push(DnType::CommonName, file);
        params.not_before = OffsetDateTime::now_utc() + Duration::days(from);
        params.not_after = OffsetDateTime::now_utc() + Duration::days(until);
        let key = new_key();
        let leaf = params.signed_by(&key, &self.between).expect("a certificate");
        let [certificate, key_file] = ["crt", "key"].map(|kind| files.0.path(&format!("{file}.{kind}")));
        let pair = Pair { certificate, key: key_file };
        std::fs::write(&pair.certificate, leaf.pem() + &self.between.pem()).expect("a certificate's file");
        std::fs::write(&pair.key, key.serialize_pem()).expect("a key's file");
        pair
    }

    /// A client that trusts this root, and shows a certificate if it has one.
    ///
    /// # Panics
    /// When the pair is not good.
    pub fn client(&self, shown: Option<&Pair>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(self.roots());
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = read(pair);
                builder.with_client_auth_cert(chain, key).expect("a good pair")
            }
        })
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a root");
        roots
    }
}

/// A TLS connection to `address`, asking for `name`.
///
/// # Errors
/// The handshake failed.
///
/// # Panics
/// When there is no TCP connection.
pub async fn connect(
    address: std::net::SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.expect("the port is open");
    handshake(stream, name, config).await
}

/// The client's handshake on a connection that is there.
///
/// # Errors
/// It failed.
///
/// # Panics
/// When `name` is none.
pub async fn handshake(
    stream: TcpStream,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(config).connect(name, stream).await
}

/// A server with this certificate; with `clients_of`, clients must show one of that authority.
///
/// # Panics
/// When the pair is not good.
pub fn acceptor(pair: &Pair, clients_of: Option<&Authority>) -> TlsAcceptor {
    let (chain, key) = read(pair);
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider());
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a good pair")))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn read(pair: &Pair) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(&pair.certificate).expect("a certificate's file");
    let key = PrivateKeyDer::from_pem_file(&pair.key).expect("a key's file");
    (chain.collect::<Result<_, _>>().expect("certificates"), key)
}

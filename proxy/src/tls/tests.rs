//! What is said of bad files, and which certificate a name gets.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rustls::SignatureScheme;
use time::OffsetDateTime;

use super::names::ByName;
use super::*;

/// A directory in the system's folder for such, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tideover-tls-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A pair for these names, valid for so many days from and until now.
    fn pair(&self, name: &str, names: &[&str], days: (i64, i64)) -> PairFiles {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = OffsetDateTime::now_utc() + time::Duration::days(days.0);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::days(days.1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        PairFiles {
            certificate: self.write(&format!("{name}.crt"), certificate.pem()),
            key: self.write(&format!("{name}.key"), key.serialize_pem()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_dir_all(&self.0);
    }
}

const VALID: (i64, i64) = (-1, 30);

fn problem(certificate: &Path, key: &Path) -> String {
    let files = PairFiles { certificate: certificate.to_owned(), key: key.to_owned() };
    let why = Certificate::read(&files, SystemTime::now()).expect_err("a bad pair");
    let named = [certificate, key].iter().any(|path| why.starts_with(&format!("{}: ", path.display())));
    assert!(named, "the file is not named: {why}");
    why
}

#[test]
fn a_bad_pair_is_told_what_is_wrong_and_in_which_file() {
    let scratch = Scratch::new("pair");
    let good = scratch.pair("good", &["a.example"], VALID);
    let other = scratch.pair("other", &["a.example"], VALID);
    let old = scratch.pair("old", &["a.example"], (-30, -1));
    let early = scratch.pair("early", &["a.example"], (1, 30));
    let der = scratch.write("der", [0x30, 0x82, 0x01, 0x00]);
    let locked =
        scratch.write("locked", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let torn = scratch.write("torn", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    let empty = scratch.write("empty", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let huge = scratch.write("huge", vec![b'-'; (4 << 20) + 1]);
    let missing = scratch.0.join("missing");
    for (certificate, key, expected) in [
        (&good.certificate, &other.key, "the key is not that of "),
        (&old.certificate, &old.key, "the certificate has expired on 2"),
        (&early.certificate, &early.key, "the certificate is not valid before 2"),
        (&missing, &good.key, "cannot be read: No such file"),
        (&good.certificate, &missing, "cannot be read: No such file"),
        (&good.key, &good.certificate, "are certificate and key exchanged?"),
        (&good.certificate, &good.certificate, "has no private key in PEM; it has a certificate"),
        (&der, &good.key, "has no certificate in PEM; it is DER"),
        (&good.certificate, &locked, "its key is encrypted"),
        (&torn, &good.key, "is not valid PEM"),
        (&empty, &good.key, "the certificate cannot be understood"),
        (&huge, &good.key, "it is some other file"),
    ] {
        let why = problem(certificate, key);
        assert!(why.contains(expected), "{expected} is not in: {why}");
    }
}

#[test]
fn an_expired_link_of_the_chain_is_found() {
    let scratch = Scratch::new("chain");
    let good = scratch.pair("good", &["a.example"], VALID);
    let old = scratch.pair("old", &["authority.example"], (-30, -1));
    let [leaf, link] = [&good, &old].map(|pair| std::fs::read_to_string(&pair.certificate).unwrap());
    let chain = scratch.write("chain", leaf + &link);
    assert!(problem(&chain, &good.key).contains("certificate 2 of the chain has expired"));
}

#[test]
fn a_good_pair_says_its_names_and_its_end() {
    let scratch = Scratch::new("good");
    let pair = scratch.pair("good", &["A.example", "*.B.example", "192.0.2.1"], VALID);
    let certificate = Certificate::read(&pair, SystemTime::now()).unwrap();
    assert_eq!(certificate.names(), ["a.example", "*.b.example"]);
    let left = certificate.not_after().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(29 * 86_400), "{left:?}");
    assert!(Certificate::read(&pair, certificate.not_after() + Duration::from_secs(1)).is_err());
}

#[test]
fn a_name_gets_its_own_certificate_else_its_wildcards_else_the_first() {
    let scratch = Scratch::new("names");
    let names: [&[&str]; 4] = [&["first.example"], &["*.example"], &["a.example"], &["*.b.example", "b.example"]];
    let pairs = names.iter().enumerate().map(|(n, names)| scratch.pair(&n.to_string(), names, VALID));
    let certificates: Vec<_> = pairs.map(|pair| Certificate::read(&pair, SystemTime::now()).unwrap()).collect();
    let by_name = ByName::new(&certificates);
    for (name, expected) in [
        (None, 0),
        (Some("other.test"), 0),
        (Some("example"), 0),
        (Some("first.example"), 0),
        (Some("x.example"), 1),
        (Some("X.EXAMPLE"), 1),
        (Some("a.example"), 2),
        (Some("x.a.example"), 0),
        (Some("b.example"), 3),
        (Some("x.b.example"), 3),
        (Some("x.y.b.example"), 0),
    ] {
        let picked = by_name.pick(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
        assert!(Arc::ptr_eq(picked, &certificates[expected].key), "{name:?}");
    }
}

#[test]
fn of_two_certificates_for_a_name_the_client_gets_one_that_it_can_verify() {
    let scratch = Scratch::new("schemes");
    let ecdsa = scratch.pair("ecdsa", &["a.example"], VALID);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let certificate = CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ed25519 = PairFiles {
        certificate: scratch.write("ed.crt", certificate.pem()),
        key: scratch.write("ed.key", key.serialize_pem()),
    };
    let certificates = [ed25519, ecdsa].map(|pair| Certificate::read(&pair, SystemTime::now()).unwrap());
    let by_name = ByName::new(&certificates);
    for (schemes, expected) in [
        ([SignatureScheme::ED25519], 0),
        ([SignatureScheme::ECDSA_NISTP256_SHA256], 1),
        ([SignatureScheme::RSA_PSS_SHA256], 0),
    ] {
        let picked = by_name.pick(Some("a.example"), &schemes).unwrap();
        assert!(Arc::ptr_eq(picked, &certificates[expected].key), "{schemes:?}");
    }
}

#[test]
fn a_bad_pair_leaves_the_old_one_in_use() {
    let scratch = Scratch::new("reload");
    let pair = scratch.pair("site", &["a.example"], VALID);
    let files = ServerFiles { pairs: vec![pair.clone()], client_ca: None, client_auth: ClientAuth::Required };
    let server = Server::load(files).unwrap();
    let before = server.describe();
    let whole = std::fs::read(&pair.key).unwrap();
    std::fs::write(&pair.key, &whole[..40]).unwrap();
    let problems = server.reload().unwrap_err();
    assert!(problems[0].starts_with(&pair.key.display().to_string()), "{problems:?}");
    assert_eq!(server.describe(), before);
    scratch.pair("site", &["b.example"], VALID);
    server.reload().unwrap();
    assert!(server.describe()[0].contains("b.example"), "{:?}", server.describe());
}

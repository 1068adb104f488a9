//! Chains that are read, refused, kept and told of.

use super::*;
use crate::jose::Algorithm;
use crate::keyring::machine::Rotation;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// A certificate about a P-256 key and that of its issuer, valid until 2126.
const CHAIN: &str = include_str!("../../../tests/publish/chain.pem");
/// From `openssl x509 -pubkey`, in hex.
const POINT: &str = "0494 8e47 0bde fcfd 7e2c 6aeb 3cbf 0e7b 6c21 8e29 e4f6 f50b 2086 bad1 42f2 55e7 3c16 2a81 213b 93e0 \
                     60ef e7a3 e45b f7f6 c627 8203 7322 6ec6 1565 4121 bed1 da25 aa";

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn write(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("chain.pem");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        path
    }
    fn fault(&self, text: &str) -> CertificateError {
        CertificateChain::read(&self.write(text)).unwrap_err()
    }
}

fn blocks() -> (String, String) {
    let at = CHAIN.rfind("-----BEGIN").unwrap();
    (CHAIN[..at].to_owned(), CHAIN[at..].to_owned())
}

fn key() -> PublicKey {
    let digits: Vec<u8> = POINT.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    PublicKey::ec(crate::jose::Curve::P256, &digits.chunks(2).map(byte).collect::<Vec<_>>()).unwrap()
}

fn settings(files: Vec<PathBuf>) -> Settings {
    let zero = Duration::ZERO;
    let rotation = Rotation {
        every: None,
        after: None,
        publish_ahead: zero,
        stop: None,
        notice: zero,
        keep: zero,
        cache: zero,
    };
    Settings {
        backends: Vec::new(),
        algorithm: Algorithm::ES256,
        rsa_bits: 2048,
        rotation,
        longest: zero,
        may_generate: true,
        published: true,
        certificates: files,
    }
}

#[test]
fn a_chain_is_read_with_its_key_first() {
    let files = Files::new();
    let chain = CertificateChain::read(&files.write(CHAIN)).unwrap();
    assert_eq!(chain.key, key());
    assert_eq!(chain.der().len(), 2);
    let spelled: Vec<Vec<u8>> =
        pem::parse_many(CHAIN).unwrap().into_iter().map(pem::Pem::into_contents).collect();
    assert_eq!(chain.der(), spelled);
    // One alone, and words around it, are as good.
    let (own, _) = blocks();
    assert_eq!(
        CertificateChain::read(&files.write(&format!("CN = access\n{own}\n"))).unwrap().der(),
        &spelled[..1]
    );
}

#[test]
fn what_is_no_chain_is_refused_and_the_file_named() {
    use CertificateError::{Cut, Der, Empty, File, Key, Order, Other, Pem};
    let files = Files::new();
    let (own, issuer) = blocks();
    assert!(matches!(files.fault(""), Empty { .. }));
    assert!(matches!(files.fault("no PEM at all"), Empty { .. }));
    assert!(matches!(files.fault(&CHAIN.replace("END CERTIFICATE", "END X")), Pem { .. }));
    assert!(matches!(files.fault(CHAIN.trim_end().strip_suffix("-----").unwrap()), Cut { .. }));
    assert!(matches!(files.fault(CHAIN.strip_suffix(&issuer[100..]).unwrap()), Cut { .. }));
    assert!(matches!(files.fault(&format!("{issuer}{own}")), Order { number: 2, .. }));
    assert!(matches!(files.fault(&format!("{own}{own}")), Order { number: 2, .. }));
    let key = CHAIN.replacen("CERTIFICATE", "PRIVATE KEY", 2);
    assert!(matches!(files.fault(&key), Other { label, .. } if label == "PRIVATE KEY"));
    let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(matches!(files.fault(&format!("{own}{empty}")), Der { number: 2, .. }));
    // secp256k1 in place of P-256 is one byte less, so the curve's last arc is changed instead.
    let mut der = pem::parse(&own).unwrap().into_contents();
    let p256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let at = der.windows(8).position(|window| window == p256).unwrap();
    der[at + 7] = 1;
    assert!(matches!(files.fault(&pem::encode(&pem::Pem::new("CERTIFICATE", der))), Key { .. }));

    let path = files.write(CHAIN);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    assert!(matches!(CertificateChain::read(&path), Err(File(error)) if error.is_permission()));
    fs::remove_file(&path).unwrap();
    let fault = Causes(&CertificateChain::read(&path).unwrap_err()).to_string();
    assert!(fault.contains(path.to_str().unwrap()), "{fault}");
}

#[test]
fn a_chain_belongs_to_the_version_with_its_key_and_is_kept_while_its_file_is_bad() {
    let files = Files::new();
    let path = files.write(CHAIN);
    let settings = settings(vec![path.clone()]);
    let first = Certificates::read(&settings.certificates, &Certificates::default());
    assert!(first.of(&settings, &key()).is_some() && first.problems.is_empty());
    let other = PublicKey::ed25519(&[7; 32]).unwrap();
    assert!(first.of(&settings, &other).is_none());

    files.write("not any more");
    let second = Certificates::read(&settings.certificates, &first);
    assert!(second.of(&settings, &key()).is_some());
    assert_eq!(second.problems.len(), 1);
    // After a restart nothing is known of it.
    let third = Certificates::read(&settings.certificates, &Certificates::default());
    assert!(third.of(&settings, &key()).is_none());
}

#[test]
fn what_is_of_little_use_is_told() {
    let files = Files::new();
    let path = files.write(CHAIN);
    let told = |now, of_somebody| {
        let nothing = Certificates::default();
        let mut read = Certificates::read(std::slice::from_ref(&path), &nothing);
        read.tell(now, |_| of_somebody, &nothing);
        read.problems.into_iter().collect::<Vec<_>>().join("; ")
    };
    assert_eq!(told(4_000_000_000, true), "");
    assert!(told(4_000_000_000, false).contains("certifies no published version"));
    // In 2126.
    assert_eq!(told(4_949_134_263, true), "");
    assert!(told(4_949_134_264, true).contains("has expired"));
}

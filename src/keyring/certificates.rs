//! Certificates that the configuration gives to keys: read from files and shown with the version whose key they certify.
//!
//! They change nothing of what is signed. A file that cannot be read any more is shown as it was read last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use super::Settings;
use crate::jose::{PublicKey, PublicKeyError};
use crate::sys::secure_file::{self, SecureFileError};
use crate::telemetry::Chain as Causes;

/// Largest file, bytes.
const LIMIT: u64 = 64 * 1024;

/// Why a file of certificates is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read, or others could have changed it.
    #[error("the certificates cannot be read")]
    File(#[from] SecureFileError),
    /// Its text is no PEM (RFC 7468).
    #[error("{path} is not PEM", path = .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pem::PemError,
    },
    /// The parser takes what is cut off for no PEM at all.
    #[error("{path} was cut off in the middle: copy it anew", path = .path.display())]
    Cut {
        /// The file.
        path: PathBuf,
    },
    /// It holds something else, which has no place in a file about what is public.
    #[error("{path} holds a {label}: only certificates belong into it, the key's own first", path = .path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it holds, such as `PRIVATE KEY`.
        label: String,
    },
    /// There is nothing in it.
    #[error("{path} holds no certificate: write a PEM chain into it, the key's own certificate first", path = .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not a certificate (RFC 5280).
    #[error("certificate {number} in {path} is not one of X.509", path = .path.display())]
    Der {
        /// The file.
        path: PathBuf,
        /// Which of them, from one.
        number: usize,
        /// What is wrong.
        #[source]
        source: x509_cert::der::Error,
    },
    /// The next certificate is not the issuer's (RFC 7517 section 4.7).
    #[error("certificate {number} in {path} is not that of the issuer of the one before it", path = .path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// Which of them, from one.
        number: usize,
    },
    /// No key of ours can be in it.
    #[error("the first certificate in {path} is about no key that signs here", path = .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: PublicKeyError,
    },
}

/// A certificate of a key and those that certify it.
#[derive(Debug, PartialEq, Eq)]
pub struct CertificateChain {
    key: PublicKey,
    /// Unix seconds.
    until: u64,
    /// The key's own first.
    der: Vec<Vec<u8>>,
}

impl CertificateChain {
    /// Reads a PEM chain, the key's own certificate first. Signatures are the verifier's business.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let text = secure_file::read_config(path, LIMIT)?;
        let begun = text.matches("-----BEGIN ").count();
        let blocks = pem::parse_many(text);
        let blocks = blocks.map_err(|source| CertificateError::Pem { path: path.to_owned(), source })?;
        if blocks.len() != begun {
            return Err(CertificateError::Cut { path: path.to_owned() });
        }
        if let Some(other) = blocks.iter().find(|block| block.tag() != "CERTIFICATE") {
            let label = other.tag().to_owned();
            return Err(CertificateError::Other { path: path.to_owned(), label });
        }
        let der: Vec<Vec<u8>> = blocks.into_iter().map(pem::Pem::into_contents).collect();
        let mut chain = Vec::with_capacity(der.len());
        for (index, der) in der.iter().enumerate() {
            let bad = |source| CertificateError::Der { path: path.to_owned(), number: index + 1, source };
            chain.push(Certificate::from_der(der).map_err(bad)?);
        }
        let Some(own) = chain.first().map(Certificate::tbs_certificate) else {
            return Err(CertificateError::Empty { path: path.to_owned() });
        };
        let pairs = chain.iter().zip(chain.iter().skip(1));
        let astray = |(one, next): (&Certificate, &Certificate)| {
            one.tbs_certificate().issuer() != next.tbs_certificate().subject()
        };
        if let Some(at) = pairs.into_iter().position(astray) {
            return Err(CertificateError::Order { path: path.to_owned(), number: at + 2 });
        }
        let spki = own.subject_public_key_info().to_der();
        let spki =
            spki.map_err(|source| CertificateError::Der { path: path.to_owned(), number: 1, source })?;
        let key = PublicKey::from_spki(&spki)
            .map_err(|source| CertificateError::Key { path: path.to_owned(), source })?;
        let until = own.validity().not_after.to_unix_duration().as_secs();
        Ok(Self { key, until, der })
    }

    /// DER of each, the key's own first.
    pub fn der(&self) -> &[Vec<u8>] {
        &self.der
    }
}

/// All chains of the configuration by file, and what is wrong with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Certificates {
    chains: BTreeMap<PathBuf, Arc<CertificateChain>>,
    problems: BTreeSet<String>,
}

impl Certificates {
    /// Reads every file again; what cannot be read is taken from `previous`. Blocks.
    pub(super) fn read(files: &[PathBuf], previous: &Self) -> Self {
        let mut now = Self::default();
        for path in files {
            let chain = CertificateChain::read(path).map(Arc::new).or_else(|error| {
                now.problems.insert(Causes(&error).to_string());
                previous.chains.get(path).cloned().ok_or(error)
            });
            now.chains.extend(chain.ok().map(|chain| (path.clone(), chain)));
        }
        now
    }

    /// The chain for this public key of a key.
    pub(super) fn of(&self, settings: &Settings, key: &PublicKey) -> Option<&CertificateChain> {
        let mut chains = settings.certificates.iter().filter_map(|path| self.chains.get(path));
        chains.find(|chain| chain.key == *key).map(Arc::as_ref)
    }

    /// Tells what `previous` did not tell: certificates that are `of_nobody`, those that have expired by `now`, Unix
    /// seconds, and those that could not be read.
    pub(super) fn tell(&mut self, now: i64, of_somebody: impl Fn(&PublicKey) -> bool, previous: &Self) {
        for (path, chain) in &self.chains {
            let path = path.display();
            if !of_somebody(&chain.key) {
                self.problems.insert(format!("{path} certifies no published version of its key"));
            }
            if u64::try_from(now).is_ok_and(|now| now > chain.until) {
                self.problems.insert(format!("the certificate of the key in {path} has expired"));
            }
        }
        for problem in self.problems.difference(&previous.problems) {
            tracing::warn!(problem, "Certificate is of little use");
        }
    }
}

#[cfg(test)]
mod tests;

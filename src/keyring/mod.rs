//! Keys and their versions: which version signs, what its signatures are checked against, and the key set that
//! verifiers read (RFC 7517 section 5).
//!
//! A version has one `kid`, one algorithm and one pinned public key. Only [`selftest`] signs here; JWTs are
//! `issuer`'s business.

mod generate;
mod key_set;
mod load;
pub mod selftest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{KeyStore, SigningKey};
use crate::jose::{Algorithm, Kid, Verifier};

pub use generate::{GenerateError, generate};
pub use key_set::KeySet;
pub use load::{LoadError, load};

/// The backends of the configuration by name.
pub type Backends = BTreeMap<String, Arc<dyn KeyStore>>;

/// What `[key.NAME]` says, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of a `[backend]`.
    pub backend: String,
    /// The one algorithm of this key (RFC 8725 section 3.1).
    pub algorithm: Algorithm,
    /// RSA only: size of a generated key, 2048, 3072 or 4096 bits.
    pub rsa_bits: u32,
}

/// One version of a key: what signs, and what its signatures are checked against.
pub struct Version {
    key: String,
    kid: Kid,
    verifier: Verifier,
    signer: Arc<dyn SigningKey>,
    made: Instant,
    /// When a signature last verified, in milliseconds after `made`; [`NEVER`] before the first.
    proven: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Version {
    /// The version `kid` of `key`. The public key inside `verifier` is the pin.
    pub fn new(key: String, verifier: Verifier, signer: Arc<dyn SigningKey>) -> Self {
        let kid = verifier.public().thumbprint();
        Self { key, kid, verifier, signer, made: Instant::now(), proven: AtomicU64::new(NEVER) }
    }

    /// Name of the key that this is a version of.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// RFC 7638 thumbprint of the public key.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The algorithm, fixed for the life of the version.
    pub fn algorithm(&self) -> Algorithm {
        self.verifier.algorithm()
    }

    /// Checks signatures against the pinned public key.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The private key's handle; calling it is reserved to `issuer` and [`selftest`].
    pub fn signer(&self) -> &dyn SigningKey {
        &*self.signer
    }

    /// Notes that a signature of this version has just verified.
    pub fn prove(&self) {
        let age = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.proven.store(age, Ordering::Relaxed);
    }

    /// Whole seconds since a signature of this version last verified; `None` before the first. By the monotonic
    /// clock, so that a step of the wall clock cannot make an old proof look new.
    pub fn unproven_for(&self) -> Option<u64> {
        let proven = self.proven.load(Ordering::Relaxed);
        (proven != NEVER).then(|| self.made.elapsed().saturating_sub(Duration::from_millis(proven)).as_secs())
    }
}

/// The versions in use and their published form.
pub struct Keyring {
    active: BTreeMap<String, Arc<Version>>,
    key_set: KeySet,
}

impl Keyring {
    /// A keyring of the one active version of each key.
    pub fn new(versions: Vec<Version>) -> Self {
        let key_set = KeySet::new(&versions);
        let active = versions.into_iter().map(|version| (version.key.clone(), Arc::new(version))).collect();
        Self { active, key_set }
    }

    /// The version of `key` that signs now.
    pub fn active(&self, key: &str) -> Option<&Arc<Version>> {
        self.active.get(key)
    }

    /// Every version in use, by key name.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.active.values()
    }

    /// What verifiers are given.
    pub fn key_set(&self) -> &KeySet {
        &self.key_set
    }
}

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

use crate::backend::{KeyStore, Member, Replicas};
use crate::jose::{Algorithm, Kid, Verifier};

pub use generate::{GenerateError, adopt, generate};
pub use key_set::KeySet;
pub use load::{LoadError, load};

/// The backends of the configuration by name.
pub type Backends = BTreeMap<String, Arc<dyn KeyStore>>;

/// What `[key.NAME]` says, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Names of `[backend]`s, at least one: new versions are made in the first; the others hold copies of them.
    pub backends: Vec<String>,
    /// The one algorithm of this key (RFC 8725 section 3.1).
    pub algorithm: Algorithm,
    /// RSA only: size of a generated key, 2048, 3072 or 4096 bits.
    pub rsa_bits: u32,
}

/// One version of a key: what signs, and what its signatures are checked against.
pub struct Version {
    key: String,
    kid: Kid,
    replicas: Replicas,
}

impl Version {
    /// The version `kid` of `key`. The public key inside `verifier` is the pin.
    pub fn new(key: String, verifier: Verifier, members: Vec<Member>) -> Self {
        let kid = verifier.public().thumbprint();
        Self { key, kid, replicas: Replicas::new(verifier, members) }
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
        self.verifier().algorithm()
    }

    /// Checks signatures against the pinned public key.
    pub fn verifier(&self) -> &Verifier {
        self.replicas.verifier()
    }

    /// The version in each of its backends; signing with it is reserved to `issuer`.
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Whole seconds since a signature of this version last verified; `None` before the first.
    pub fn unproven_for(&self) -> Option<u64> {
        self.replicas.unproven_for()
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

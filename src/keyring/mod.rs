//! Keys and their versions: which version signs, what its signatures are checked against, when the next one takes
//! over, and the key set that verifiers read (RFC 7517 section 5).
//!
//! A version has one `kid`, one algorithm and one pinned public key. Only [`selftest`] signs here; JWTs are
//! `issuer`'s business. Decides nothing about who may turn keys, and keeps nothing: that is `admin` and `state`.

mod certificates;
pub mod discovery;
mod key_set;
mod load;
pub mod machine;
mod make;
mod publish;
pub mod selftest;
mod version;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::backend::KeyStore;
use crate::jose::{Algorithm, Verifier};
use crate::state::Keys;
use certificates::Certificates;
use machine::{Lives, Rotation};

pub use certificates::{CertificateChain, CertificateError};
pub use key_set::{Document, KeySet, MOST_KEYS};
pub use load::{LoadError, Loader, lives_of, row_of};
pub use make::{Made, MakeError, adopt, finish, generate, intend};
pub use publish::{Publication, Publisher};
pub use version::{Leaving, Shut, Use, Version};

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
    /// When its versions follow each other.
    pub rotation: Rotation,
    /// The longest that a JWT of it may live, over all profiles.
    pub longest: Duration,
    /// Whether new versions may be made in the first of the backends; otherwise they are adopted.
    pub may_generate: bool,
    /// Whether verifiers are shown its versions; not so those of the checkpoint key, which signs no JWT.
    pub published: bool,
    /// PEM files with certificates of its versions, each a chain that begins with the version's own.
    pub certificates: Vec<PathBuf>,
}

/// The versions of a key whose time it may be.
#[derive(Default)]
struct Turn {
    /// The one that signs.
    active: Option<Arc<Version>>,
    /// Those that signed before it, oldest first: the last one may be about to stop, and any may be busy still.
    before: Vec<Arc<Version>>,
}

impl Turn {
    /// The newest one first.
    fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.active.iter().chain(self.before.iter().rev())
    }
}

/// Everything that is known of keys at one moment, and all that follows from it.
pub struct Ring {
    /// What the state says.
    pub keys: Keys,
    signing: BTreeMap<String, Turn>,
    /// Versions that are to sign later.
    prepared: BTreeMap<String, Arc<Version>>,
    /// By `kid`, of each version that JWTs may be checked against, with the name of its key.
    verifiers: BTreeMap<String, (String, Verifier)>,
    key_set: KeySet,
    certificates: Certificates,
}

impl Ring {
    /// One without any key.
    pub fn empty() -> Self {
        Self {
            keys: Keys::default(),
            signing: BTreeMap::new(),
            prepared: BTreeMap::new(),
            verifiers: BTreeMap::new(),
            key_set: KeySet::new(&[]),
            certificates: Certificates::default(),
        }
    }

    /// One with these versions of one key.
    #[cfg(test)]
    pub(crate) fn sample(active: Option<&Arc<Version>>, prepared: Option<&Arc<Version>>) -> Self {
        let own = |version: &Arc<Version>| (version.key().to_owned(), Arc::clone(version));
        let verifiers = active.into_iter().chain(prepared).map(|version| {
            let verifier = Verifier::new(version.algorithm(), version.verifier().public().clone()).unwrap();
            (version.kid().to_string(), (version.key().to_owned(), verifier))
        });
        let turn = |version: &Arc<Version>| Turn { active: Some(Arc::clone(version)), before: Vec::new() };
        Self {
            signing: active.map(|one| (one.key().to_owned(), turn(one))).into_iter().collect(),
            prepared: prepared.map(own).into_iter().collect(),
            verifiers: verifiers.collect(),
            ..Self::empty()
        }
    }

    /// The version of `key` that signs now, or is to at once.
    pub fn active(&self, key: &str) -> Option<&Arc<Version>> {
        self.signing.get(key)?.active.as_ref()
    }

    /// The versions that sign, by key.
    pub fn actives(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.signing.values().filter_map(|turn| turn.active.as_ref())
    }

    /// The versions that sign, and those that have stopped, which may be busy still.
    pub fn signing(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.signing.values().flat_map(Turn::versions)
    }

    /// The versions that sign now or later, by key.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        self.actives().chain(self.prepared.values())
    }

    /// The version of this `kid`, if it signs or is to sign.
    pub fn version(&self, kid: &str) -> Option<&Arc<Version>> {
        self.signing().chain(self.prepared.values()).find(|version| version.kid().as_str() == kid)
    }

    /// What JWTs of this `kid` are checked against, and the name of its key; `None` unless verifiers are shown it, and once it
    /// was revoked, though this ring does not show that yet.
    pub fn verifier(&self, kid: &str) -> Option<(&str, &Verifier)> {
        if self.version(kid).is_some_and(|version| version.is_revoked()) {
            return None;
        }
        self.verifiers.get(kid).map(|(key, verifier)| (key.as_str(), verifier))
    }

    /// The lives of all versions of a key, oldest first.
    pub fn lives(&self, key: &str) -> Lives {
        lives_of(&self.keys, key)
    }

    /// What verifiers are given.
    pub fn key_set(&self) -> &KeySet {
        &self.key_set
    }
}

/// Why a key signs nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoVersion {
    /// It has no version that signs: none was made yet, or the last one was retired or revoked.
    #[error("it has no active version")]
    None,
    /// Its active version does not sign now.
    #[error("its active version does not sign: {0}")]
    Shut(Shut),
}

/// The keys in use. Readers see one [`Ring`] or the next, never half of each.
pub struct Keyring {
    ring: RwLock<Arc<Ring>>,
}

impl Keyring {
    /// The keys in use, to begin with.
    pub fn new(ring: Ring) -> Self {
        Self { ring: RwLock::new(Arc::new(ring)) }
    }

    /// What is known now.
    pub fn ring(&self) -> Arc<Ring> {
        // A panic while it is held is impossible: only a pointer is exchanged.
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known from now on.
    pub fn replace(&self, ring: Arc<Ring>) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }

    /// The right to sign one JWT that is issued `now` and lives for `ttl`, with the version of `key` whose time it is.
    ///
    /// # Errors
    /// None may sign now.
    pub fn enter(&self, key: &str, now: Timestamp, ttl: Duration) -> Result<Use, NoVersion> {
        let iat = now.as_second();
        let exp = iat.saturating_add_unsigned(ttl.as_secs());
        let mut ring = self.ring();
        loop {
            let active = ring.active(key);
            let mut shut = NoVersion::None;
            for version in ring.signing.get(key).into_iter().flat_map(Turn::versions) {
                match version.enter(iat, exp) {
                    Ok(right) => return Ok(right),
                    // That earlier ones sign no more is as it should be.
                    Err(why) if active.is_some_and(|active| Arc::ptr_eq(active, version)) => {
                        shut = NoVersion::Shut(why);
                    }
                    Err(_) => {}
                }
            }
            // Another version may have taken over just now.
            let newer = self.ring();
            if Arc::ptr_eq(&ring, &newer) {
                return Err(shut);
            }
            ring = newer;
        }
    }
}

#[cfg(test)]
mod tests;

//! One opened key as the parent sees it: pinned to its public half, and usable only in a generation that showed the
//! same public half again.

use super::Fault;
use super::client::Dispatcher;
use super::protocol::{MAX_INPUT, Material};
use crate::backend::{Ask, BoxFuture, Class, Scope, Signed, SigningKey};
use crate::jose::{Algorithm, Curve, PublicKey, Signature, hex};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A key that was opened, across generations of the worker.
pub(super) struct Key {
    pub(super) id: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) public: PublicKey,
    state: Mutex<State>,
}

/// What the newest look-up has found.
struct State {
    /// The worker that was asked.
    generation: u64,
    /// The key's index there, or what is wrong with it.
    index: Result<u16, Fault>,
    suspicion: Suspicion,
}

/// Whether a look-up has found what quarantines the key, and whether who does that has heard of it.
enum Suspicion {
    None,
    /// Nobody has: a later look-up that finds the right key again does not change it.
    Untold(Fault),
    /// It is quarantined. Once it is released, the newest look-up decides.
    Told,
}

impl Key {
    pub(super) fn new(
        id: &[u8],
        algorithm: Algorithm,
        public: PublicKey,
        (generation, index): (u64, u16),
    ) -> Self {
        let state = State { generation, index: Ok(index), suspicion: Suspicion::None };
        Self { id: id.to_vec(), algorithm, public, state: Mutex::new(state) }
    }

    /// The index that names it in the present generation.
    pub(super) fn index(&self) -> Result<u16, Fault> {
        let state = self.lock();
        match &state.suspicion {
            Suspicion::Untold(fault) => Err(fault.clone()),
            Suspicion::None | Suspicion::Told => state.index.clone(),
        }
    }

    /// Whoever quarantines the key has heard why: after a release the next look-up decides.
    fn told(&self) {
        let mut state = self.lock();
        state.suspicion = match &mut state.index {
            Ok(_) => Suspicion::None,
            Err(fault) => {
                fault.advice.quarantine = false;
                Suspicion::Told
            }
        };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a look-up has found it.
    pub(super) fn is_found(&self) -> bool {
        self.lock().index.is_ok()
    }

    /// Notes what a look-up in `generation` has found; a late one, from an earlier worker, is worth nothing.
    /// Returns the reason when the key becomes quarantined by it.
    pub(super) fn found(&self, generation: u64, found: Result<(u16, Material), Fault>) -> Option<String> {
        let judged = found.and_then(|(index, material)| {
            let public = public_key(material)?;
            same(&self.id, &public, &self.public)?;
            Ok(index)
        });
        let mut state = self.lock();
        if generation < state.generation {
            return None;
        }
        let was_quarantined = is_quarantine(&state.index);
        match (&judged, &state.suspicion) {
            (Err(fault), Suspicion::None) if quarantines_key(fault) => {
                state.suspicion = Suspicion::Untold(fault.clone());
            }
            (Ok(_), Suspicion::Told) => state.suspicion = Suspicion::None,
            _ => {}
        }
        (state.generation, state.index) = (generation, judged);
        match &state.index {
            Err(fault) if is_quarantine(&state.index) && !was_quarantined => Some(fault.message.clone()),
            _ => None,
        }
    }
}

fn is_quarantine(index: &Result<u16, Fault>) -> bool {
    matches!(index, Err(fault) if fault.class == Class::Untrusted)
}

fn quarantines_key(fault: &Fault) -> bool {
    fault.advice.quarantine && fault.advice.scope == Scope::Key
}

/// Refuses a key that is not the pinned one.
pub(super) fn same(id: &[u8], found: &PublicKey, pinned: &PublicKey) -> Result<(), Fault> {
    if found == pinned {
        return Ok(());
    }
    Err(Fault::new(
        Class::Untrusted,
        format!(
            "key {} is quarantined: the token shows public key {} where {} is pinned; find out who replaced it",
            hex(id),
            found.thumbprint(),
            pinned.thumbprint()
        ),
    ))
}

/// The checked form of what the token gave.
pub(super) fn public_key(material: Material) -> Result<PublicKey, Fault> {
    let key = match material {
        Material::Rsa { n, e } => PublicKey::rsa(&n, &e),
        Material::P256 { point } => PublicKey::ec(Curve::P256, &point),
        Material::P384 { point } => PublicKey::ec(Curve::P384, &point),
        Material::P521 { point } => PublicKey::ec(Curve::P521, &point),
        Material::Ed25519 { x } => PublicKey::ed25519(&x),
        Material::MlDsa { set, key } => PublicKey::ml_dsa(set, &key),
    };
    key.map_err(|error| Fault::misconfigured(format!("the token's public key: {error}")))
}

/// The right to sign with one key, as the rest of the program holds it.
pub(super) struct Signer {
    pub(super) backend: String,
    pub(super) key: Arc<Key>,
    pub(super) dispatcher: Arc<Dispatcher>,
}

impl SigningKey for Signer {
    fn sign<'a>(&'a self, input: &'a [u8], ask: Ask) -> BoxFuture<'a, Signed> {
        Box::pin(async move {
            let signed = self.dispatcher.sign(&self.key, input, ask).await;
            if signed.as_ref().is_err_and(quarantines_key) {
                self.key.told();
            }
            signed
                .and_then(|bytes| {
                    Signature::from_backend(bytes, &self.key.public).map_err(|bad| {
                        self.distrust();
                        Fault::new(Class::Untrusted, bad.to_string())
                    })
                })
                .map_err(|fault| fault.of(&self.backend))
                .into()
        })
    }

    fn max_input(&self) -> usize {
        MAX_INPUT
    }

    fn distrust(&self) {
        self.dispatcher.replace(Fault::new(Class::Untrusted, "it returned a bad signature"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

    fn material() -> Material {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Material::P256 { point: pair.public_key().as_ref().to_vec() }
    }

    fn key() -> (Key, Material) {
        let own = material();
        let public = public_key(own.clone()).unwrap();
        (Key::new(b"k", Algorithm::ES256, public, (1, 0)), own)
    }

    fn quarantines(key: &Key) -> bool {
        key.index().is_err_and(|fault| quarantines_key(&fault))
    }

    #[test]
    fn another_public_key_is_told_even_if_nobody_asked_in_time() {
        let (key, own) = key();
        assert!(key.found(1, Ok((1, material()))).is_some());
        // Asked by somebody who gave up, and found right again in between.
        assert!(quarantines(&key));
        assert_eq!(key.found(2, Ok((2, own.clone()))), None);
        assert!(key.is_found() && quarantines(&key));
        key.told();
        assert_eq!(key.index(), Ok(2), "only a quarantine stands before it now");
        // A second time is as bad as the first.
        key.found(3, Ok((3, material())));
        key.found(4, Ok((4, own)));
        assert!(quarantines(&key));
    }

    #[test]
    fn a_release_before_the_token_is_put_right_does_not_last() {
        let (key, own) = key();
        key.found(1, Ok((1, material())));
        key.told();
        assert!(key.index().is_err() && !quarantines(&key), "until it is looked for again");
        key.found(1, Ok((1, material())));
        assert!(quarantines(&key));
        key.found(1, Ok((2, own)));
        assert_eq!(key.index(), Ok(2), "put right while it was in quarantine");
    }

    #[test]
    fn what_needs_no_operator_ends_by_itself() {
        let (key, own) = key();
        key.found(1, Err(Fault::down("gone")));
        assert!(key.index().is_err() && !quarantines(&key));
        key.found(1, Ok((1, own)));
        assert_eq!(key.index(), Ok(1));
    }
}

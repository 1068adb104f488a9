//! One opened key as the parent sees it: pinned to its public half, and usable only in a generation that showed the
//! same public half again.

use super::Fault;
use super::client::Dispatcher;
use super::protocol::{MAX_INPUT, Material};
use crate::backend::{Ask, BoxFuture, Class, Signed, SigningKey};
use crate::jose::{Algorithm, Curve, PublicKey, Signature, hex};
use std::sync::{Arc, Mutex, PoisonError};

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
}

impl Key {
    pub(super) fn new(
        id: &[u8],
        algorithm: Algorithm,
        public: PublicKey,
        (generation, index): (u64, u16),
    ) -> Self {
        Self { id: id.to_vec(), algorithm, public, state: Mutex::new(State { generation, index: Ok(index) }) }
    }

    /// The index that names it in the present generation. What a look-up found quarantines the key once: after a
    /// release the next look-up decides.
    pub(super) fn index(&self) -> Result<u16, Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let index = state.index.clone();
        if let Err(fault) = &mut state.index {
            fault.advice.quarantine = false;
        }
        index
    }

    /// Whether a look-up has found it.
    pub(super) fn is_found(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).index.is_ok()
    }

    /// Notes what a look-up in `generation` has found; a late one, from an earlier worker, is worth nothing.
    /// Returns the reason when the key becomes quarantined by it.
    pub(super) fn found(&self, generation: u64, found: Result<(u16, Material), Fault>) -> Option<String> {
        let judged = found.and_then(|(index, material)| {
            let public = public_key(material)?;
            same(&self.id, &public, &self.public)?;
            Ok(index)
        });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if generation < state.generation {
            return None;
        }
        let was_quarantined = is_quarantine(&state.index);
        *state = State { generation, index: judged };
        match &state.index {
            Err(fault) if is_quarantine(&state.index) && !was_quarantined => Some(fault.message.clone()),
            _ => None,
        }
    }
}

fn is_quarantine(index: &Result<u16, Fault>) -> bool {
    matches!(index, Err(fault) if fault.class == Class::Untrusted)
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

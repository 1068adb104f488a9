//! A key's first version: made inside its backend, or adopted there, proven, and journaled.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Settings, Version, selftest};
use crate::backend::{self, KeySpec, KeyStore, Member, Opened, Wanted};
use crate::jose::{Kid, PublicKeyError, Verifier};
use crate::state::{self, KeyVersionRow};

/// Why no version was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// One is there already.
    #[error("key {key:?} already has the active version {kid}; nothing was made")]
    Exists {
        /// Name of the key.
        key: String,
        /// Its version.
        kid: String,
    },
    /// The key is a version of another one: no two keys share one (RFC 8725 section 3.1).
    #[error("this is version {kid} of key {other:?} already; make or name another one")]
    Taken {
        /// Name of the other key.
        other: String,
        /// The version.
        kid: String,
    },
    /// No randomness for the key's id.
    #[error("the system's random generator failed")]
    Random,
    /// The backend refused or failed.
    #[error("key {key:?} was not made")]
    Backend {
        /// Name of the key.
        key: String,
        /// The backend's fault.
        #[source]
        source: Box<backend::Error>,
    },
    /// The key does not sign correctly.
    #[error("the key does not work and was not taken into use; it stays in the backend as id {id}")]
    SelfTest {
        /// Its id in the backend.
        id: String,
        /// What went wrong.
        #[source]
        source: Box<backend::Error>,
    },
    /// The backend shows a key that is not what was asked for.
    #[error("the backend shows an unusable key, id {id}")]
    Unusable {
        /// Its id in the backend.
        id: String,
        /// What is wrong with it.
        #[source]
        source: PublicKeyError,
    },
    /// The public key has no JSON form, which is a defect.
    #[error("the public key could not be written as a JWK")]
    Jwk(#[source] serde_json::Error),
    /// The state could not be read or written.
    #[error("the new version could not be journaled")]
    State(#[from] state::Error),
}

/// Generates a key pair in the first of the key's backends, proves that it signs within `limit`, and journals it as
/// the active version of `key`.
///
/// # Errors
/// See [`GenerateError`]; nothing is taken into use then.
pub async fn generate(
    key: &str,
    settings: &Settings,
    store: &state::Store,
    backend: Arc<dyn KeyStore>,
    now: Timestamp,
    limit: Duration,
) -> Result<Kid, GenerateError> {
    refuse_second(key, store)?;
    let mut id = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| GenerateError::Random)?;
    let failed = |source| GenerateError::Backend { key: key.to_owned(), source: Box::new(source) };
    let spec = KeySpec { algorithm: settings.algorithm, rsa_bits: settings.rsa_bits };
    let made = backend.generate(&id, key, spec).await.map_err(failed)?;
    let wanted = Wanted::Id(&made.id);
    let opened = backend.open(wanted, settings.algorithm, Some(&made.public)).await.map_err(failed)?;
    take_into_use(key, settings, store, backend, opened, now, limit).await
}

/// Takes a key that is in the first of the key's backends already, which an operator names.
///
/// # Errors
/// See [`GenerateError`]; nothing is taken into use then.
pub async fn adopt(
    key: &str,
    name: &str,
    settings: &Settings,
    store: &state::Store,
    backend: Arc<dyn KeyStore>,
    now: Timestamp,
    limit: Duration,
) -> Result<Kid, GenerateError> {
    refuse_second(key, store)?;
    let opened = backend
        .open(Wanted::Name(name), settings.algorithm, None)
        .await
        .map_err(|source| GenerateError::Backend { key: key.to_owned(), source: Box::new(source) })?;
    take_into_use(key, settings, store, backend, opened, now, limit).await
}

fn refuse_second(key: &str, store: &state::Store) -> Result<(), GenerateError> {
    let mut rows = store.key_versions()?.into_iter();
    match rows.find(|row| row.key == key && row.state == "active") {
        Some(row) => Err(GenerateError::Exists { key: key.to_owned(), kid: row.kid }),
        None => Ok(()),
    }
}

async fn take_into_use(
    key: &str,
    settings: &Settings,
    store: &state::Store,
    backend: Arc<dyn KeyStore>,
    opened: Opened,
    now: Timestamp,
    limit: Duration,
) -> Result<Kid, GenerateError> {
    let Opened { id, public, signer } = opened;
    let name = || backend::show_id(&id);
    let public_jwk = serde_json::to_string(&public.to_jwk(settings.algorithm)).map_err(GenerateError::Jwk)?;
    let kid = public.thumbprint();
    if let Some(row) = store.key_versions()?.into_iter().find(|row| row.kid == kid.as_str()) {
        return Err(GenerateError::Taken { other: row.key, kid: row.kid });
    }
    let verifier = Verifier::new(settings.algorithm, public)
        .map_err(|source| GenerateError::Unusable { id: name(), source })?;
    let backend_name = backend.health().backend().to_string();
    let member = Member::new(backend, &kid, id.clone(), Some(signer));
    let version = Version::new(key.to_owned(), verifier, vec![member]);
    if let Some(source) = selftest::run(&version, Duration::ZERO, limit).await.pop() {
        return Err(GenerateError::SelfTest { id: name(), source: Box::new(source) });
    }
    store.insert_key_version(&KeyVersionRow {
        key: key.to_owned(),
        kid: kid.to_string(),
        backend: backend_name,
        backend_id: id,
        algorithm: settings.algorithm.name().to_owned(),
        public_jwk,
        state: "active".to_owned(),
        created: now.as_second(),
    })?;
    Ok(kid)
}

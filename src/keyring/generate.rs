//! Making a key's first version inside its backend.

use jiff::Timestamp;

use super::{Settings, Version, selftest};
use crate::backend::{self, KeySpec, KeyStore};
use crate::jose::{Kid, PublicKeyError, Verifier, hex};
use crate::state::{self, KeyVersionRow};
use tokio::time::Instant;

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
        source: backend::Error,
    },
    /// The new key does not sign correctly.
    #[error("the new version does not work and was not taken into use; it stays in the backend as id {id}")]
    SelfTest {
        /// Its id in the backend, hex.
        id: String,
        /// What went wrong.
        #[source]
        source: selftest::SelfTestError,
    },
    /// The backend made a key that is not what was asked for.
    #[error("the backend made an unusable key, id {id}")]
    Unusable {
        /// Its id in the backend, hex.
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

/// Generates a key pair in the backend, proves that it signs, and journals it as the active version of `key`.
///
/// # Errors
/// See [`GenerateError`]; nothing is taken into use then.
pub async fn generate(
    key: &str,
    settings: &Settings,
    store: &state::Store,
    backend: &dyn KeyStore,
    now: Timestamp,
    deadline: Instant,
) -> Result<Kid, GenerateError> {
    if let Some(row) = store.key_versions()?.into_iter().find(|row| row.key == key && row.state == "active") {
        return Err(GenerateError::Exists { key: key.to_owned(), kid: row.kid });
    }
    let mut id = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| GenerateError::Random)?;
    let failed = |source| GenerateError::Backend { key: key.to_owned(), source };

    let spec = KeySpec { algorithm: settings.algorithm, rsa_bits: settings.rsa_bits };
    let public = backend.generate(&id, key, spec).await.map_err(failed)?;
    let opened = backend.open(&id, settings.algorithm, Some(&public)).await.map_err(failed)?;
    let public_jwk = serde_json::to_string(&public.to_jwk(settings.algorithm)).map_err(GenerateError::Jwk)?;
    let hex_id = || hex(&id);
    let verifier = Verifier::new(settings.algorithm, public)
        .map_err(|source| GenerateError::Unusable { id: hex_id(), source })?;
    let version = Version::new(key.to_owned(), verifier, opened.signer);
    selftest::run(&version, deadline)
        .await
        .map_err(|source| GenerateError::SelfTest { id: hex_id(), source })?;

    store.insert_key_version(&KeyVersionRow {
        key: key.to_owned(),
        kid: version.kid().to_string(),
        backend: settings.backend.clone(),
        backend_id: id.to_vec(),
        algorithm: settings.algorithm.name().to_owned(),
        public_jwk,
        state: "active".to_owned(),
        created: now.as_second(),
    })?;
    Ok(version.kid().clone())
}

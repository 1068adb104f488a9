//! A key's next version: made inside its backend, or adopted there, and proven to sign.
//!
//! Writes nothing into the state. An intent is to be on disk before [`generate`] is called, so that a key that was
//! made in the moment of a crash is found again by [`finish`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::load::of_environment;
use super::machine::Stage;
use super::{Settings, Version, selftest};
use crate::backend::{self, KeySpec, KeyStore, Member, Opened, Wanted};
use crate::jose::{PublicKeyError, Verifier};
use crate::state::{IntentRow, KeyVersionRow};

/// Bytes of the id of a key that is made here.
const ID: usize = 16;

/// Why there is no new version.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No randomness for the key's id.
    #[error("the system's random generator failed")]
    Random,
    /// The backend refused or failed.
    #[error("the key was not made, or is not usable")]
    Backend(#[source] Box<backend::Error>),
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
    /// The key was not asked to sign: its backend rests or is in quarantine.
    #[error("the key could not be tried out: its backend is left alone for now; it is there as id {id}")]
    Untried {
        /// Its id in the backend.
        id: String,
    },
    /// The public key has no JSON form, which is a defect.
    #[error("the public key could not be written as a JWK")]
    Jwk(#[source] serde_json::Error),
}

/// A key that signs, as the state is to know it: prepared.
#[derive(Debug)]
pub struct Made {
    /// For the state.
    pub row: KeyVersionRow,
    /// Id of the intent that has led to it.
    pub intent: Option<Vec<u8>>,
    /// Requests that its proof took.
    pub tests: u64,
}

/// What a new version of `key` will be called in the first of its backends.
///
/// # Errors
/// [`MakeError::Random`].
pub fn intend(
    key: &str,
    settings: &Settings,
    environment: &str,
    now: Timestamp,
) -> Result<IntentRow, MakeError> {
    let mut id = [0_u8; ID];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| MakeError::Random)?;
    Ok(IntentRow {
        key: key.to_owned(),
        backend: settings.backends.first().cloned().unwrap_or_default(),
        id: id.to_vec(),
        label: backend::label(environment, key, &id),
        started: now.as_second(),
    })
}

/// Generates the key pair of an intent that is on disk, and has it prove within `limit` that it signs.
///
/// # Errors
/// See [`MakeError`].
pub async fn generate(
    intent: &IntentRow,
    settings: &Settings,
    backend: &Arc<dyn KeyStore>,
    now: Timestamp,
    limit: Duration,
) -> Result<Made, MakeError> {
    let spec = KeySpec { algorithm: settings.algorithm, rsa_bits: settings.rsa_bits };
    let made = backend.generate(&intent.id, &intent.label, spec).await.map_err(failed)?;
    let opened = backend.open(Wanted::Id(&made.id), settings.algorithm, Some(&made.public)).await;
    let made = prove(&intent.key, settings, backend, opened.map_err(failed)?, now, limit).await?;
    Ok(Made { intent: Some(intent.id.clone()), ..made })
}

/// Finds the key that an intent of an earlier run has led to. `None`: it has led to none.
///
/// # Errors
/// See [`MakeError`].
pub async fn finish(
    intent: &IntentRow,
    settings: &Settings,
    backend: &Arc<dyn KeyStore>,
    now: Timestamp,
    limit: Duration,
) -> Result<Option<Made>, MakeError> {
    let Some(id) = backend.find_made(&intent.id, &intent.label).await.map_err(failed)? else {
        return Ok(None);
    };
    let opened = backend.open(Wanted::Id(&id), settings.algorithm, None).await.map_err(failed)?;
    let made = prove(&intent.key, settings, backend, opened, now, limit).await?;
    Ok(Some(Made { intent: Some(intent.id.clone()), ..made }))
}

/// Takes a key that is in the first of the key's backends already, which an operator names.
///
/// # Errors
/// See [`MakeError`].
pub async fn adopt(
    key: &str,
    name: &str,
    settings: &Settings,
    backend: &Arc<dyn KeyStore>,
    environment: &str,
    now: Timestamp,
    limit: Duration,
) -> Result<Made, MakeError> {
    let opened = backend.open(Wanted::Name(name), settings.algorithm, None).await.map_err(failed)?;
    let opened = of_environment(opened, &**backend, environment).map_err(failed)?;
    prove(key, settings, backend, opened, now, limit).await
}

fn failed(source: backend::Error) -> MakeError {
    MakeError::Backend(Box::new(source))
}

async fn prove(
    key: &str,
    settings: &Settings,
    backend: &Arc<dyn KeyStore>,
    opened: Opened,
    now: Timestamp,
    limit: Duration,
) -> Result<Made, MakeError> {
    let Opened { id, public, signer, .. } = opened;
    let public_jwk = serde_json::to_string(&public.to_jwk(settings.algorithm)).map_err(MakeError::Jwk)?;
    let kid = public.thumbprint();
    let shown = backend::show_id(&id);
    let verifier = Verifier::new(settings.algorithm, public)
        .map_err(|source| MakeError::Unusable { id: shown.clone(), source })?;
    let member = Member::new(Arc::clone(backend), &kid, id.clone(), Some(signer));
    let version = Version::new(key.to_owned(), verifier, vec![member]);
    if let Some(source) = selftest::run(&version, Duration::ZERO, limit).await.pop() {
        return Err(MakeError::SelfTest { id: shown, source: Box::new(source) });
    }
    if version.unproven_for().is_none() {
        return Err(MakeError::Untried { id: shown });
    }
    let tests = version.replicas().take_tests().into_iter().map(|(_, count)| count).sum();
    Ok(Made {
        intent: None,
        tests,
        row: KeyVersionRow {
            key: key.to_owned(),
            kid: kid.to_string(),
            backend: backend.health().backend().to_string(),
            backend_id: id,
            algorithm: settings.algorithm.name().to_owned(),
            public_jwk,
            state: Stage::Prepared.name().to_owned(),
            created: now.as_second(),
            ..KeyVersionRow::default()
        },
    })
}

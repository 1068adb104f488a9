//! From configuration, state and backends to the keyring: every key found again and compared with its pin.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Backends, Keyring, Settings, Version};
use futures_util::future::join_all;

use crate::backend::{self, Advice, Class, KeyStore, Member, Wanted};
use crate::jose::{PublicKey, PublicKeyError, Verifier};
use crate::state::{self, KeyVersionRow, QuarantineRow};

/// Why the keyring cannot be built. Each names the key and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No version was ever generated.
    #[error(
        "key {key:?} has no version yet; make one with `jwsd keys generate --config FILE {key}`, \
         or take one that is there with `jwsd keys adopt`"
    )]
    Missing {
        /// Name of the key.
        key: String,
    },
    /// The configuration was edited after the version was made.
    #[error(
        "key {key:?} is configured with {what} {configured:?}, but its active version has {journaled:?}; \
         a version never changes: restore the configuration, or give the new kind of key a new name"
    )]
    Changed {
        /// Name of the key.
        key: String,
        /// `backend` or `algorithm`.
        what: &'static str,
        /// What the configuration says.
        configured: String,
        /// What the state says.
        journaled: String,
    },
    /// The state's public key is not usable, or not the one its `kid` names.
    #[error("the state's public key of key {key:?} is damaged; restore the state from a backup")]
    Damaged {
        /// Name of the key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Option<PublicKeyError>,
    },
    /// No backend has the key, or none in an acceptable form.
    #[error("key {key:?} cannot be used")]
    Backend {
        /// Name of the key.
        key: String,
        /// The backend's fault.
        #[source]
        source: Box<backend::Error>,
    },
    /// The state could not be read.
    #[error("the state's key versions could not be read")]
    State(#[from] state::Error),
}

/// Builds the keyring of all configured keys. A backend that does not show a key yet is asked again by the self-test, as
/// long as another one does or the key is in quarantine.
///
/// # Errors
/// The first key that has no version, differs from the state, or cannot be opened in its backend.
pub async fn load(
    keys: &BTreeMap<String, Settings>,
    store: &state::Store,
    backends: &Backends,
) -> Result<Keyring, LoadError> {
    let rows = store.key_versions()?;
    let quarantines = store.quarantines()?;
    let versions = keys.iter().map(async |(name, settings)| {
        let mut rows = rows.iter();
        let row = rows
            .find(|row| row.key == *name && row.state == "active")
            .ok_or_else(|| LoadError::Missing { key: name.clone() })?;
        open(name, settings, row, backends, &quarantines).await
    });
    Ok(Keyring::new(join_all(versions).await.into_iter().collect::<Result<_, _>>()?))
}

/// One of several backends that is not ready is not waited for: it is looked at again by the self-test.
async fn away(backend: &dyn KeyStore, holders: usize) -> Option<backend::Error> {
    let status = backend.status().await;
    (holders > 1 && !status.ready).then(|| backend::Error {
        backend: backend.health().backend().to_string(),
        class: Class::Down,
        message: status.reason.unwrap_or_else(|| "it is not ready".to_owned()),
        code: "not asked".to_owned(),
        advice: Advice::NEVER,
        retry_after: None,
    })
}

async fn open(
    name: &str,
    settings: &Settings,
    row: &KeyVersionRow,
    backends: &Backends,
    quarantines: &[QuarantineRow],
) -> Result<Version, LoadError> {
    let key = || name.to_owned();
    let unchanged = |what, configured: &str, journaled: &str| {
        if configured == journaled {
            return Ok(());
        }
        Err(LoadError::Changed {
            key: key(),
            what,
            configured: configured.into(),
            journaled: journaled.into(),
        })
    };
    unchanged("algorithm", settings.algorithm.name(), &row.algorithm)?;
    if !settings.backends.contains(&row.backend) {
        unchanged("backend", &settings.backends.join(", "), &row.backend)?;
    }

    let damaged = |source| LoadError::Damaged { key: key(), source };
    let jwk = serde_json::from_str(&row.public_jwk).map_err(|_| damaged(None))?;
    let pinned = PublicKey::from_jwk(&jwk).map_err(|source| damaged(Some(source)))?;
    let kid = pinned.thumbprint();
    if kid.as_str() != row.kid {
        return Err(damaged(None));
    }
    let mut members = Vec::with_capacity(settings.backends.len());
    let (mut found, mut fault) = (false, None);
    for name in &settings.backends {
        let backend = backends.get(name).ok_or_else(|| LoadError::Missing { key: key() })?;
        let wanted = if *name == row.backend {
            Wanted::Id(&row.backend_id)
        } else {
            Wanted::Copy { of: &pinned, id: &row.backend_id }
        };
        let opened = match away(&**backend, settings.backends.len()).await {
            Some(error) => Err(error),
            None => backend.open(wanted, settings.algorithm, Some(&pinned)).await,
        };
        let (signer, error) = match opened {
            Ok(opened) => (Some(opened.signer), None),
            Err(error) => (None, Some(error)),
        };
        found |= signer.is_some();
        let member = Member::new(Arc::clone(backend), &kid, row.backend_id.clone(), signer);
        if let Some(error) = error {
            tracing::error!(%error, %kid, "Key is not usable in this backend");
            member.blame(&error);
            fault = fault.or(Some(error));
        }
        let quarantine =
            quarantines.iter().find(|q| q.backend == *name && q.kid.as_deref() == Some(&row.kid));
        if let Some(quarantine) = quarantine {
            member.health().restore(&quarantine.reason);
        }
        members.push(member);
    }
    let verifier = Verifier::new(settings.algorithm, pinned).map_err(|source| damaged(Some(source)))?;
    let version = Version::new(key(), verifier, members);
    match fault {
        // One in quarantine is there for an operator to release.
        Some(source) if !found && !version.replicas().is_quarantined() => {
            Err(LoadError::Backend { key: key(), source: Box::new(source) })
        }
        _ => Ok(version),
    }
}

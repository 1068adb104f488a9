//! From configuration, state and backends to a ring: every version that signs or is to sign is found again and
//! compared with its pin; those that only verifiers need are shown without asking any backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::certificates::Certificates;
use super::machine::{Life, Lives, Stage};
use super::{Backends, KeySet, MOST_KEYS, Ring, Settings, Turn, Version};
use crate::backend::{self, Advice, Class, KeyStore, Member, Wanted};
use crate::jose::{Algorithm, Jwk, PublicKey, PublicKeyError, Verifier};
use crate::state::{KeyVersionRow, Keys, QuarantineRow};

/// Why a key cannot be used. Each names the key and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration was edited after the version was made.
    #[error(
        "key {key:?} is configured with {what} {configured:?}, but its version {kid} has {journaled:?}; \
         a version never changes: restore the configuration, or give the new kind of key a new name"
    )]
    Changed {
        /// Name of the key.
        key: String,
        /// The version.
        kid: String,
        /// `backend` or `algorithm`.
        what: &'static str,
        /// What the configuration says.
        configured: String,
        /// What the state says.
        journaled: String,
    },
    /// The state's public key is not usable, or not the one its `kid` names.
    #[error("the state's record of key {key:?} is damaged; restore the state from a backup")]
    Damaged {
        /// Name of the key.
        key: String,
        /// What is wrong with its public key.
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
}

/// What a row says of the version's life.
fn life_of(row: &KeyVersionRow) -> Option<Life> {
    Some(Life {
        kid: row.kid.clone(),
        stage: Stage::from_name(&row.state)?,
        created: row.created,
        published: row.published,
        activated: row.activated,
        retired: row.retired,
        ended: row.ended,
        wanted: row.wanted,
        exp_bound: row.exp_bound,
        last_exp: row.last_exp,
        signatures: row.signatures.unsigned_abs(),
    })
}

/// The lives of all versions of `key`, oldest first.
pub fn lives_of(keys: &Keys, key: &str) -> Lives {
    // The tables hold no other stages than those that have a name.
    Lives::restore(keys.versions.iter().filter(|row| row.key == key).filter_map(life_of).collect())
}

/// The row with what its life has come to.
pub fn row_of(row: &KeyVersionRow, life: &Life) -> KeyVersionRow {
    KeyVersionRow {
        state: life.stage.name().to_owned(),
        published: life.published,
        activated: life.activated,
        retired: life.retired,
        ended: life.ended,
        wanted: life.wanted,
        ..row.clone()
    }
}

/// What a ring is built from, beside the state.
pub struct Loader {
    /// The keys of the configuration.
    pub keys: BTreeMap<String, Settings>,
    /// The backends of the configuration.
    pub backends: Backends,
}

/// A version of a key that is not configured any more is shown for so long after its last JWT, seconds: an hour for
/// clocks that are behind, a day for verifiers that keep the key set, which is the most that is allowed.
const FAREWELL: i64 = 25 * 3600;

/// A version, and why no backend shows it if none does, or that it is of another environment.
type Opened = (Arc<Version>, Option<backend::Error>);

impl Loader {
    /// Builds the ring of everything that the state says `now`. Versions that `previous` has are taken from there. A
    /// backend that does not show a key yet is asked again by the self-test. Certificates are read again; what is wrong
    /// with them by `now` is told.
    ///
    /// # Errors
    /// A version that is or was published differs from the configuration, or its row is damaged.
    pub async fn build(
        &self,
        keys: Keys,
        quarantines: &[QuarantineRow],
        previous: &Ring,
        now: Timestamp,
        environment: &str,
    ) -> Result<(Ring, Vec<LoadError>), LoadError> {
        let mut certificates = self.certificates(previous).await;
        let mut faults = Vec::new();
        let mut certified = Vec::new();
        let mut shown: Vec<(&str, &str, Jwk)> = Vec::new();
        let (mut wanted, mut verifiers) = (Vec::new(), BTreeMap::new());
        for row in &keys.versions {
            let damaged = |source| LoadError::Damaged { key: row.key.clone(), source };
            let stage = Stage::from_name(&row.state).ok_or_else(|| damaged(None))?;
            if !stage.is_published() {
                continue;
            }
            let jwk = serde_json::from_str(&row.public_jwk).map_err(|_| damaged(None))?;
            let pinned = PublicKey::from_jwk(&jwk).map_err(|source| damaged(Some(source)))?;
            if pinned.thumbprint().as_str() != row.kid {
                return Err(damaged(None));
            }
            let algorithm = Algorithm::from_name(&row.algorithm).ok_or_else(|| damaged(None))?;
            let mut jwk = pinned.to_jwk(algorithm);
            let Some(settings) = self.keys.get(&row.key) else {
                // Its key was taken out of the configuration, but what it signed is valid still.
                let last = row.exp_bound.map_or(i64::MIN, |bound| bound.saturating_add(FAREWELL));
                // One that has never signed waits for its key to come back.
                let is_shown = last > now.as_second() || stage == Stage::Prepared;
                shown.extend(is_shown.then_some((row.key.as_str(), row.kid.as_str(), jwk)));
                continue;
            };
            unchanged(row, settings)?;
            if let Some(chain) = certificates.of(settings, &pinned) {
                jwk = jwk.with_certificates(chain.der());
                certified.push(pinned.clone());
            }
            if settings.published {
                let verifier =
                    Verifier::new(algorithm, pinned.clone()).map_err(|source| damaged(Some(source)))?;
                verifiers.insert(row.kid.clone(), (row.key.clone(), verifier));
                shown.push((&row.key, &row.kid, jwk));
            }
            let known = previous.version(&row.kid).cloned();
            match stage {
                // Until the moment in which it stops it is needed. One that sealed the log may have to seal once more.
                Stage::Retired
                    if settings.published
                        && known.is_none()
                        && signs_no_more(row, settings, now.as_second()) => {}
                _ => wanted.push((row, stage, known.ok_or((settings, pinned)))),
            }
        }
        let opened = wanted.into_iter().map(async |(row, stage, version)| {
            let (version, fault) = match version {
                Ok(known) => (known, None),
                Err((settings, pinned)) => self.open(row, settings, pinned, quarantines, environment).await?,
            };
            Ok((row, stage, version, fault))
        });
        let (mut signing, mut prepared) = (BTreeMap::<String, Turn>::new(), BTreeMap::new());
        for opened in join_all(opened).await {
            let (row, stage, version, fault) = opened?;
            if let Some(source) = fault.filter(|fault| stage == Stage::Active || is_foreign(fault)) {
                faults.push(LoadError::Backend { key: row.key.clone(), source: Box::new(source) });
            }
            match stage {
                Stage::Prepared => drop(prepared.insert(row.key.clone(), version)),
                Stage::Active => signing.entry(row.key.clone()).or_default().active = Some(version),
                _ => signing.entry(row.key.clone()).or_default().before.push(version),
            }
        }
        shown.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let shown: Vec<Jwk> = shown.into_iter().map(|(_, _, jwk)| jwk).collect();
        if shown.len() > MOST_KEYS && previous.key_set.kids().len() <= MOST_KEYS {
            tracing::error!(
                keys = shown.len(),
                "So many keys are published that verifiers may not read the set"
            );
        }
        certificates.tell(now.as_second(), |key| certified.contains(key), &previous.certificates);
        let key_set = KeySet::new(&shown);
        Ok((Ring { keys, signing, prepared, verifiers, key_set, certificates }, faults))
    }

    /// Every file, read again.
    async fn certificates(&self, previous: &Ring) -> Certificates {
        let files: Vec<_> = self.keys.values().flat_map(|settings| settings.certificates.clone()).collect();
        if files.is_empty() {
            return Certificates::default();
        }
        let known = previous.certificates.clone();
        // A panic in there is logged where it happens.
        spawn_blocking(move || Certificates::read(&files, &known)).await.unwrap_or_default()
    }

    async fn open(
        &self,
        row: &KeyVersionRow,
        settings: &Settings,
        pinned: PublicKey,
        quarantines: &[QuarantineRow],
        environment: &str,
    ) -> Result<Opened, LoadError> {
        let kid = pinned.thumbprint();
        let mut members = Vec::with_capacity(settings.backends.len());
        let (mut found, mut fault) = (false, None);
        for name in &settings.backends {
            // Configuration checks that each of them is there.
            let Some(backend) = self.backends.get(name) else { continue };
            let wanted = if *name == row.backend {
                Wanted::Id(&row.backend_id)
            } else {
                Wanted::Copy { of: &pinned, id: &row.backend_id }
            };
            let opened = match away(&**backend, settings.backends.len()).await {
                Some(error) => Err(error),
                None => backend.open(wanted, settings.algorithm, Some(&pinned)).await,
            };
            let opened = opened.and_then(|opened| of_environment(opened, &**backend, environment));
            let (signer, error) = match opened {
                Ok(opened) => (Some(opened.signer), None),
                Err(error) => (None, Some(error)),
            };
            found |= signer.is_some();
            let member = Member::new(Arc::clone(backend), &kid, row.backend_id.clone(), signer);
            if let Some(error) = error {
                tracing::error!(key = row.key, %error, %kid, "Key is not usable in this backend");
                member.blame(&error);
                if fault.is_none() || is_foreign(&error) {
                    fault = Some(error);
                }
            }
            let quarantine =
                quarantines.iter().find(|q| q.backend == *name && q.kid.as_deref() == Some(&row.kid));
            if let Some(quarantine) = quarantine {
                member.health().restore(&quarantine.reason);
            }
            members.push(member);
        }
        let verifier = Verifier::new(settings.algorithm, pinned)
            .map_err(|source| LoadError::Damaged { key: row.key.clone(), source: Some(source) })?;
        let version = Version::new(row.key.clone(), verifier, members);
        // One in quarantine is there for an operator to release.
        let usable = found || version.replicas().is_quarantined();
        Ok((Arc::new(version), fault.filter(|fault| !usable || is_foreign(fault))))
    }
}

/// The key, unless its label says that it belongs to another environment.
pub(super) fn of_environment(
    opened: backend::Opened,
    store: &dyn KeyStore,
    environment: &str,
) -> Result<backend::Opened, backend::Error> {
    match backend::environment_of(&opened.label) {
        Some(other) if other != environment => Err(backend::Error {
            backend: store.health().backend().to_string(),
            class: Class::Misconfigured,
            message: format!(
                "key {:?} belongs to environment {other:?}, the configuration says {environment:?}: correct `environment`, \
                 or use a key of this one",
                opened.label
            ),
            code: backend::OTHER_ENVIRONMENT.to_owned(),
            advice: Advice::NEVER,
            retry_after: None,
        }),
        _ => Ok(opened),
    }
}

fn is_foreign(error: &backend::Error) -> bool {
    error.code == backend::OTHER_ENVIRONMENT
}

fn signs_no_more(row: &KeyVersionRow, settings: &Settings, now: i64) -> bool {
    life_of(row).and_then(|life| life.window(now, &settings.rotation)).is_none()
}

fn unchanged(row: &KeyVersionRow, settings: &Settings) -> Result<(), LoadError> {
    let changed = |what, configured: &str, journaled: &str| LoadError::Changed {
        key: row.key.clone(),
        kid: row.kid.clone(),
        what,
        configured: configured.to_owned(),
        journaled: journaled.to_owned(),
    };
    if settings.algorithm.name() != row.algorithm {
        return Err(changed("algorithm", settings.algorithm.name(), &row.algorithm));
    }
    if row.state != Stage::Retired.name() && !settings.backends.contains(&row.backend) {
        return Err(changed("backend", &settings.backends.join(", "), &row.backend));
    }
    Ok(())
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

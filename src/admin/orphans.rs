//! Keys that bear our name and that no version and no intent knows: left by a run that was broken off, or by a state
//! that was lost. They are told to people, never touched.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::{Admin, AdminError, By};
use crate::audit::Event;
use crate::backend::{self, Listed};
use crate::state::Keys;
use crate::telemetry::Chain;

/// How long a key that is being made is no orphan, seconds.
const PATIENCE: i64 = 3600;

/// A token that holds keys of another environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token of backend {backend:?} holds key {label:?} of environment {found:?}, the configuration says {wanted:?}: \
     correct `environment`, or give each environment a token of its own"
)]
pub struct Mixed {
    backend: String,
    label: String,
    found: String,
    wanted: String,
}

impl Admin {
    /// Looks through the tokens for keys of another environment: whoever has the PIN of one may use all its keys. A KMS
    /// has rights for each key, so only the keys that are used count there, when they are opened.
    ///
    /// # Errors
    /// The first that there is.
    pub async fn refuse_mixed(&self) -> Result<(), Mixed> {
        for (name, backend) in &self.loader.backends {
            let status = backend.status().await;
            if status.kind != "pkcs11" || !status.ready {
                continue;
            }
            // What cannot be listed is told when orphans are looked for.
            for key in backend.list().await.unwrap_or_default() {
                let found = backend::environment_of(&key.label).filter(|found| *found != self.environment);
                if let Some(found) = found.map(str::to_owned) {
                    let (backend, wanted) = (name.clone(), self.environment.clone());
                    return Err(Mixed { backend, label: key.label, found, wanted });
                }
            }
        }
        Ok(())
    }

    /// Looks through all backends for orphans, and records each once in a run of the daemon.
    pub(super) async fn find_orphans(&self) {
        for (name, backend) in &self.loader.backends {
            let listed = match backend.list().await {
                Ok(listed) => listed,
                // Whoever may use keys need not be allowed to list them.
                Err(error) => {
                    tracing::warn!(backend = name, %error, "Backend not looked through for orphans");
                    continue;
                }
            };
            if let Err(error) = self.tell_orphans(name, &listed).await {
                tracing::error!(backend = name, error = %Chain(&error), "Orphans not recorded");
            }
        }
    }

    async fn tell_orphans(&self, name: &str, listed: &[Listed]) -> Result<(), AdminError> {
        // Read after the list: what was made meanwhile is known by now.
        let keys = self.state.keys().await?;
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for key in orphans(&self.environment, &keys, listed, self.clock.now().as_second()) {
            let place = format!("{name} {}", key.id);
            if told().contains(&place) {
                continue;
            }
            tracing::warn!(
                backend = name,
                id = key.id,
                label = key.label,
                "Key in the backend is an orphan: adopt it, or destroy it with the vendor's tools"
            );
            let mut entry = By::DAEMON.entry(Event::KeyOrphaned);
            entry.object = Some(name.to_owned());
            entry.reason = Some(format!("{} has id {} and is no version of a key", key.label, key.id));
            self.record(vec![entry]).await?;
            told().insert(place);
        }
        Ok(())
    }
}

/// Those of `listed` that were made here and are nobody's `now`, Unix seconds. What was to be made is given an hour.
pub fn orphans<'a>(environment: &str, keys: &Keys, listed: &'a [Listed], now: i64) -> Vec<&'a Listed> {
    let prefix = backend::label_prefix(environment);
    let known: BTreeSet<String> = keys.versions.iter().map(|row| backend::show_id(&row.backend_id)).collect();
    let is_ours = |key: &&Listed| {
        key.label.starts_with(&prefix)
            && !key.pending_deletion
            && !known.contains(&key.id)
            && keys.intents.iter().all(|intent| intent.label != key.label || now - intent.started > PATIENCE)
    };
    listed.iter().filter(is_ours).collect()
}

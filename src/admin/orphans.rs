//! Keys that bear our name and that no version and no intent knows: left by a run that was broken off, or by a state
//! that was lost. They are told to people, never touched.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::{Admin, AdminError, By};
use crate::audit::{Entry, Event, Outcome};
use crate::backend::{self, Listed};
use crate::state::{EpochRow, Keys, Store};
use crate::subject;
use crate::telemetry::Chain;

/// How long a key that is being made is no orphan, seconds.
const PATIENCE: i64 = 3600;
/// The kind of backend whose keys all belong to whoever has its PIN.
const TOKEN: &str = "pkcs11";

/// A token that may hold keys of another environment.
#[derive(Debug, thiserror::Error)]
pub enum Mixed {
    /// It holds one.
    #[error(
        "the token of backend {backend:?} holds key {label:?} of environment {found:?}, the configuration says \
         {wanted:?}: correct `environment`, or give each environment a token of its own"
    )]
    Foreign {
        /// Name of the backend.
        backend: String,
        /// The key's.
        label: String,
        /// Environment of the key.
        found: String,
        /// Environment of the configuration.
        wanted: String,
    },
    /// It could not be looked through.
    #[error(
        "whether the token of backend {backend:?} holds keys of another environment cannot be told: let its keys be listed"
    )]
    Unlisted {
        /// Name of the backend.
        backend: String,
        /// Why not.
        #[source]
        source: Box<backend::Error>,
    },
}

impl Admin {
    /// Looks through the tokens for keys of another environment: whoever has the PIN of one may use all its keys. A KMS
    /// has rights for each key, so only the keys that are used count there, when they are opened. A backend that is away
    /// is looked through with the next look for orphans.
    ///
    /// # Errors
    /// The first that there is.
    pub async fn refuse_mixed(&self) -> Result<(), Mixed> {
        for (name, backend) in &self.loader.backends {
            let status = backend.status().await;
            if status.kind == TOKEN && status.ready {
                unmixed(&self.environment, name, backend.list().await)?;
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
            let mixed = match backend.status().await.kind {
                TOKEN => foreign(&self.environment, name, &listed),
                _ => None,
            };
            let told = match mixed {
                Some(mixed) => self.tell_mixed(name, &mixed).await,
                None => Ok(()),
            };
            if let Err(error) = told.and(self.tell_orphans(name, &listed).await) {
                tracing::error!(backend = name, error = %Chain(&error), "Orphans not recorded");
            }
        }
    }

    /// It was away at the start, or somebody put the key there since: once in a run of the daemon.
    async fn tell_mixed(&self, name: &str, mixed: &Mixed) -> Result<(), AdminError> {
        let place = format!("{name}: {mixed}");
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told().contains(&place) {
            return Ok(());
        }
        tracing::error!(backend = name, error = %mixed, "Token is shared with another environment");
        let mut entry = Entry { outcome: Outcome::Failed, ..By::DAEMON.entry(Event::KeyOrphaned) };
        entry.object = Some(name.to_owned());
        entry.reason = Some(mixed.to_string());
        self.record(vec![entry]).await?;
        told().insert(place);
        Ok(())
    }

    async fn tell_orphans(&self, name: &str, listed: &[Listed]) -> Result<(), AdminError> {
        // Read after the list: what was made meanwhile is known by now.
        let (keys, epochs) = (self.state.keys().await?, self.stored(Store::epochs).await?);
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for key in orphans(&self.environment, (&keys, &epochs), listed, self.clock.now().as_second()) {
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

/// That what a token lists is of this environment alone.
fn unmixed(
    environment: &str,
    backend: &str,
    listed: Result<Vec<Listed>, backend::Error>,
) -> Result<(), Mixed> {
    let unlisted = |source| Mixed::Unlisted { backend: backend.to_owned(), source: Box::new(source) };
    foreign(environment, backend, &listed.map_err(unlisted)?).map_or(Ok(()), Err)
}

/// The first key that another environment made.
fn foreign(environment: &str, backend: &str, listed: &[Listed]) -> Option<Mixed> {
    listed.iter().find_map(|key| {
        let found = backend::environment_of(&key.label).filter(|found| *found != environment)?;
        Some(Mixed::Foreign {
            backend: backend.to_owned(),
            label: key.label.clone(),
            found: found.to_owned(),
            wanted: environment.to_owned(),
        })
    })
}

/// Those of `listed` that were made here and are nobody's `now`, Unix seconds. What was to be made is given an hour.
pub fn orphans<'a>(
    environment: &str,
    (keys, epochs): (&Keys, &[EpochRow]),
    listed: &'a [Listed],
    now: i64,
) -> Vec<&'a Listed> {
    let prefix = backend::label_prefix(environment);
    let ids = keys.versions.iter().map(|row| &row.backend_id).chain(epochs.iter().map(|row| &row.id));
    let known: BTreeSet<String> = ids.map(|id| backend::show_id(id)).collect();
    let is_ours = |key: &&Listed| {
        key.label.starts_with(&prefix)
            && !key.pending_deletion
            && !known.contains(&key.id)
            && epochs.iter().all(|row| subject::label(environment, row) != key.label)
            && keys.intents.iter().all(|intent| intent.label != key.label || now - intent.started > PATIENCE)
    };
    listed.iter().filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Advice, Class};
    use crate::telemetry::Chain;

    fn key(label: &str) -> Listed {
        Listed {
            id: "01".to_owned(),
            label: label.to_owned(),
            kind: "P-256".to_owned(),
            attributes: Vec::new(),
            name: String::new(),
            problems: Vec::new(),
            pending_deletion: false,
        }
    }

    #[test]
    fn what_cannot_be_listed_does_not_pass() {
        let ours = vec![key("jwsd/test/access/01"), key("made by hand")];
        assert!(unmixed("test", "hsm", Ok(ours.clone())).is_ok());
        let mixed = [ours, vec![key("jwsd/other/access/02")]].concat();
        let told = unmixed("test", "hsm", Ok(mixed)).unwrap_err().to_string();
        for part in ["\"hsm\"", "\"jwsd/other/access/02\"", "environment \"other\"", "\"test\""] {
            assert!(told.contains(part), "{told}");
        }
        let error = backend::Error {
            backend: "hsm".to_owned(),
            class: Class::Misconfigured,
            message: "searching is not allowed".to_owned(),
            code: "CKR_FUNCTION_REJECTED".to_owned(),
            advice: Advice::NEVER,
            retry_after: None,
        };
        let told = Chain(&unmixed("test", "hsm", Err(error)).unwrap_err()).to_string();
        assert!(told.contains("\"hsm\"") && told.contains("searching is not allowed"), "{told}");
    }
}

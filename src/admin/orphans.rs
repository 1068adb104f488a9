//! Keys that bear our name and that no version and no intent knows: left by a run that was broken off, or by a state
//! that was lost. They are told to people, never touched.

use std::collections::BTreeSet;

use super::{Admin, AdminError, By};
use crate::audit::Event;
use crate::backend::{self, Listed};
use crate::state::Keys;
use crate::telemetry::Chain;

impl Admin {
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
        for key in orphans(&self.environment, &keys, listed) {
            let place = format!("{name} {}", key.id);
            if !self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(place) {
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
        }
        Ok(())
    }
}

/// Those of `listed` that were made here and are nobody's.
pub fn orphans<'a>(environment: &str, keys: &Keys, listed: &'a [Listed]) -> Vec<&'a Listed> {
    let prefix = backend::label_prefix(environment);
    let known: BTreeSet<String> = keys.versions.iter().map(|row| backend::show_id(&row.backend_id)).collect();
    let is_ours = |key: &&Listed| {
        key.label.starts_with(&prefix)
            && !key.pending_deletion
            && !known.contains(&key.id)
            && keys.intents.iter().all(|intent| intent.label != key.label)
    };
    listed.iter().filter(is_ours).collect()
}

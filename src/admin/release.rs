//! Lifting quarantines.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Admin, AdminError, By};
use crate::audit::{Event, Outcome};
use crate::backend::Health;

impl Admin {
    /// Lifts the quarantine of `backend` and of all its keys, or of `key` in it alone. Says what was in quarantine:
    /// names of keys, and of the backend itself.
    ///
    /// # Errors
    /// See [`AdminError`]. What was lifted before a fault stays lifted, and is recorded. Must run to its end.
    pub async fn release(
        &self,
        by: &By,
        backend: &str,
        key: Option<&str>,
    ) -> Result<Vec<String>, AdminError> {
        let unknown = |what, name: &str| AdminError::Unknown { what, name: name.to_owned() };
        let store = self.loader.backends.get(backend).ok_or_else(|| unknown("backend", backend))?;
        let mut released = Vec::new();
        let mut known = key.is_none();
        if key.is_none() {
            let lifted = self.lift(by, store.health(), None, || store.health().release()).await?;
            released.extend(lifted.then(|| backend.to_owned()));
        }
        let ring = self.keyring.ring();
        for version in ring.versions().filter(|version| key.is_none_or(|key| key == version.key())) {
            let members = version.replicas().members().iter();
            for member in members.filter(|member| &**member.backend() == backend) {
                known = true;
                let kid = Some(version.kid().as_str());
                let lifted = self.lift(by, member.health(), kid, || member.release()).await?;
                released.extend(lifted.then(|| version.key().to_owned()));
            }
        }
        if known { Ok(released) } else { Err(unknown("key", key.unwrap_or_default())) }
    }

    async fn lift(
        &self,
        by: &By,
        health: &Health,
        kid: Option<&str>,
        release: impl FnOnce() -> bool,
    ) -> Result<bool, AdminError> {
        if health.quarantined().is_none() {
            return Ok(false);
        }
        let mut entry = by.entry(Event::QuarantineLifted);
        entry.object = Some(health.backend().to_string());
        entry.kid = kid.map(str::to_owned);
        self.record(vec![entry.clone()]).await?;
        let (store, backend) = (Arc::clone(&self.store), health.backend().to_string());
        let kid = kid.map(str::to_owned);
        let lifted = spawn_blocking(move || store.lift_quarantine(&backend, kid.as_deref())).await;
        match lifted {
            Ok(Ok(())) => Ok(release()),
            failed => {
                entry.outcome = Outcome::Failed;
                self.record(vec![entry]).await?;
                match failed {
                    Ok(Err(error)) => Err(error.into()),
                    // A panic in there is logged where it happens.
                    _ => Err(AdminError::Defect),
                }
            }
        }
    }
}

//! Lifting quarantines.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{Admin, AdminError, By};
use crate::audit::{Event, Outcome};
use crate::state::QuarantineRow;

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
        if key.is_none() && store.health().quarantined().is_some() {
            self.lift(by, backend, None).await?;
            store.health().release();
            released.push(backend.to_owned());
        }
        let wanted = |name: &str| key.is_none_or(|key| key == name);
        let mut known = key.is_none();
        let ring = self.keyring.ring();
        // Those that sign come twice, and are lifted once.
        for version in ring.versions().chain(ring.signing()).filter(|version| wanted(version.key())) {
            let members = version.replicas().members().iter();
            for member in members.filter(|member| &**member.backend() == backend) {
                known = true;
                if member.health().quarantined().is_some() {
                    self.lift(by, backend, Some(version.kid().as_str())).await?;
                    member.release();
                    released.push(version.key().to_owned());
                }
            }
        }
        // A version that signs no more is remembered in the state alone.
        let rows = self.quarantines().await?;
        for version in self.state.keys().await?.versions.iter().filter(|version| wanted(&version.key)) {
            known |= version.backend == backend;
            if rows.iter().any(|row| row.backend == backend && row.kid.as_ref() == Some(&version.kid)) {
                self.lift(by, backend, Some(&version.kid)).await?;
                released.push(version.key.clone());
            }
        }
        if known { Ok(released) } else { Err(unknown("key", key.unwrap_or_default())) }
    }

    /// All that the state remembers.
    pub(super) async fn quarantines(&self) -> Result<Vec<QuarantineRow>, AdminError> {
        let store = Arc::clone(&self.store);
        // A panic in there is logged where it happens.
        Ok(spawn_blocking(move || store.quarantines()).await.map_err(|_| AdminError::Defect)??)
    }

    /// Records it, and has the state forget the quarantine.
    async fn lift(&self, by: &By, backend: &str, kid: Option<&str>) -> Result<(), AdminError> {
        let mut entry = by.entry(Event::QuarantineLifted);
        (entry.object, entry.kid) = (Some(backend.to_owned()), kid.map(str::to_owned));
        self.record(vec![entry.clone()]).await?;
        let (store, backend, kid) = (Arc::clone(&self.store), backend.to_owned(), kid.map(str::to_owned));
        let lifted = spawn_blocking(move || store.lift_quarantine(&backend, kid.as_deref())).await;
        match lifted {
            Ok(Ok(())) => Ok(()),
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

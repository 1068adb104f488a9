//! The operator's acts on a running daemon. Each is recorded, durably, before it takes effect.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::audit::{self, Actor, Entry, Event, Outcome, Unavailable};
use crate::backend::Health;
use crate::keyring::{Backends, Keyring};
use crate::state::{self, Store};

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such backend, or the key is not in it.
    #[error("there is no {what} {name:?} here; see /v1/status for those that are")]
    Unknown {
        /// `backend` or `key`.
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// It could not be recorded, so it was not done.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The state could not be changed.
    #[error("the state could not be changed")]
    State(#[from] state::Error),
    /// A panic.
    #[error("a defect; see the daemon's log")]
    Defect,
}

/// What an operator may do.
pub struct Admin {
    /// Where quarantines are kept.
    pub store: Arc<Store>,
    /// The keys in use.
    pub keyring: Arc<Keyring>,
    /// Every backend.
    pub backends: Backends,
    /// Where acts are recorded.
    pub log: audit::Log,
}

impl Admin {
    /// Lifts the quarantine of `backend` and of all its keys, or of `key` in it alone. Says what was in quarantine:
    /// names of keys, and of the backend itself.
    ///
    /// # Errors
    /// See [`AdminError`]. What was lifted before a fault stays lifted, and is recorded. Must run to its end.
    pub async fn release(
        &self,
        actor: Actor,
        request: &str,
        backend: &str,
        key: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<String>, AdminError> {
        let unknown = |what, name: &str| AdminError::Unknown { what, name: name.to_owned() };
        let store = self.backends.get(backend).ok_or_else(|| unknown("backend", backend))?;
        let mut released = Vec::new();
        let mut known = key.is_none();
        if key.is_none() {
            let lifted = self
                .lift(&actor, request, store.health(), None, || store.health().release(), deadline)
                .await?;
            released.extend(lifted.then(|| backend.to_owned()));
        }
        for version in self.keyring.versions().filter(|version| key.is_none_or(|key| key == version.key())) {
            let members = version.replicas().members().iter();
            for member in members.filter(|member| &**member.backend() == backend) {
                known = true;
                let kid = Some(version.kid().as_str());
                let lifted =
                    self.lift(&actor, request, member.health(), kid, || member.release(), deadline).await?;
                released.extend(lifted.then(|| version.key().to_owned()));
            }
        }
        if known { Ok(released) } else { Err(unknown("key", key.unwrap_or_default())) }
    }

    async fn lift(
        &self,
        actor: &Actor,
        request: &str,
        health: &Health,
        kid: Option<&str>,
        release: impl FnOnce() -> bool,
        deadline: Instant,
    ) -> Result<bool, AdminError> {
        if health.quarantined().is_none() {
            return Ok(false);
        }
        let entry = Entry {
            request: Some(request.to_owned()),
            actor: Some(actor.clone()),
            object: Some(health.backend().to_string()),
            kid: kid.map(str::to_owned),
            ..Entry::new(Event::QuarantineLifted, Outcome::Success)
        };
        self.log.append(vec![entry.clone()])?.durable_by(deadline).await?;
        let (store, backend) = (Arc::clone(&self.store), health.backend().to_string());
        let kid = kid.map(str::to_owned);
        let lifted = spawn_blocking(move || store.lift_quarantine(&backend, kid.as_deref())).await;
        match lifted {
            Ok(Ok(())) => Ok(release()),
            failed => {
                let entry = Entry { outcome: Outcome::Failed, ..entry };
                self.log.append(vec![entry])?.durable_by(deadline).await?;
                match failed {
                    Ok(Err(error)) => Err(error.into()),
                    // A panic in there is logged where it happens.
                    _ => Err(AdminError::Defect),
                }
            }
        }
    }
}

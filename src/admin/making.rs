//! A key's next version: made in its backend or adopted there, one at a time, and taken into the state as prepared.
//!
//! What is to be made is written down first, so that a run that was broken off is taken up again without a second key.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::keys::{Decision, of};
use super::{Admin, AdminError, By};
use crate::audit::{Event, Outcome};
use crate::backend::{Class, KeyStore};
use crate::keyring::machine::{IllegalMove, Stage};
use crate::keyring::{self, MOST_KEYS, Made, MakeError, Settings, lives_of};
use crate::state::{IntentRow, KeyChange, KeyVersionRow, Keys};
use crate::telemetry::Chain;

/// An RSA-4096 key takes a slow HSM this long.
const MAKE_WITHIN: Duration = Duration::from_secs(120);

/// A version is being made, until this is dropped.
struct Making<'a>(&'a Admin, &'a str);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.making.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
    }
}

impl Admin {
    /// Makes the next version of `key` in the first of its backends; it is prepared then. Its first version signs at
    /// once. Gives its `kid`.
    ///
    /// # Errors
    /// One is prepared or being made already, the backend may not or does not make one, or see [`AdminError`].
    pub async fn generate(&self, by: &By, key: &str) -> Result<String, AdminError> {
        let kid = self.make(by, key).await?;
        self.carry_on(key).await?;
        Ok(kid)
    }

    pub(super) async fn make(&self, by: &By, key: &str) -> Result<String, AdminError> {
        let made = async || {
            let (settings, backend) = self.first_backend(key)?;
            if !settings.may_generate {
                let backend = backend.health().backend().to_string();
                return Err(AdminError::MayNotGenerate { backend });
            }
            let _making = self.claim(key)?;
            let made = self.make_or_find(key, settings, backend).await?;
            self.take(by, Event::KeyGenerated, made).await
        };
        let made = made().await;
        let no_good = match &made {
            Err(AdminError::Make(MakeError::Backend(error))) => error.class == Class::Misconfigured,
            Err(AdminError::Make(error)) => {
                matches!(error, MakeError::SelfTest { .. } | MakeError::Unusable { .. })
            }
            _ => false,
        };
        if no_good {
            // The next one gets another name; if this one is there, it is told as an orphan.
            let change = KeyChange { settle: Some(key.to_owned()), ..KeyChange::default() };
            self.decide(|_, _| Ok(Decision { change: change.clone(), entries: Vec::new() })).await?;
            self.find_orphans().await;
        }
        self.tell_failure(by, Event::KeyGenerated, key, made).await
    }

    /// Records that there is no new version.
    async fn tell_failure(
        &self,
        by: &By,
        event: Event,
        key: &str,
        done: Result<String, AdminError>,
    ) -> Result<String, AdminError> {
        if let Err(error) = &done {
            let mut entry = by.entry(event);
            (entry.object, entry.outcome) = (Some(key.to_owned()), Outcome::Failed);
            entry.reason = Some(Chain(error).to_string());
            self.record(vec![entry]).await?;
        }
        done
    }

    fn claim<'a>(&'a self, key: &'a str) -> Result<Making<'a>, AdminError> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if making.insert(key.to_owned()) {
            return Ok(Making(self, key));
        }
        Err(AdminError::Busy { key: key.to_owned() })
    }

    /// Writes down how a new key will be called.
    async fn intend(&self, key: &str, settings: &Settings) -> Result<IntentRow, AdminError> {
        let fresh = keyring::intend(key, settings, &self.environment, self.clock.now())?;
        self.decide(|keys, _| {
            if let Some(life) = lives_of(keys, key).only(Stage::Prepared) {
                return Err(IllegalMove::Prepared { kid: life.kid.clone() }.into());
            }
            room_in(keys)?;
            // What an older intent came to is looked for before; nothing was found, or it shows as an orphan.
            let settle = keys.intents.iter().find(|intent| intent.key == key).map(|known| known.key.clone());
            let change = KeyChange { settle, intend: Some(fresh.clone()), ..KeyChange::default() };
            Ok(Decision { change, entries: Vec::new() })
        })
        .await?;
        Ok(fresh)
    }

    /// The key that an intent has led to before, or a new one.
    async fn make_or_find(
        &self,
        key: &str,
        settings: &Settings,
        backend: &Arc<dyn KeyStore>,
    ) -> Result<keyring::Made, AdminError> {
        let intents = self.state.keys().await?.intents;
        let now = self.clock.now();
        let same = |intent: &&IntentRow| intent.key == key && intent.backend == **backend.health().backend();
        if let Some(intent) = intents.iter().find(same) {
            if let Some(found) = keyring::finish(intent, settings, backend, now, MAKE_WITHIN).await? {
                return Ok(found);
            }
            let settled = intent.started.saturating_add_unsigned(backend.settling().as_secs());
            if now.as_second() < settled {
                return Err(AdminError::Settling { key: key.to_owned() });
            }
        }
        let intent = self.intend(key, settings).await?;
        Ok(keyring::generate(&intent, settings, backend, now, MAKE_WITHIN).await?)
    }

    /// Takes a key that an operator names in the first of the key's backends as its next version. Gives its `kid`.
    ///
    /// # Errors
    /// One is prepared already, the backend does not show it, it is another version already, or see [`AdminError`].
    pub async fn adopt(&self, by: &By, key: &str, name: &str) -> Result<String, AdminError> {
        let taken = async || {
            let (settings, backend) = self.first_backend(key)?;
            let _making = self.claim(key)?;
            let made = keyring::adopt(key, name, settings, backend, self.clock.now(), MAKE_WITHIN).await?;
            self.take(by, Event::KeyAdopted, made).await
        };
        let kid = self.tell_failure(by, Event::KeyAdopted, key, taken().await).await?;
        self.carry_on(key).await?;
        Ok(kid)
    }

    /// Takes a new version, prepared. An intent is done with: what it came to is this one, or shows as an orphan.
    async fn take(&self, by: &By, event: Event, made: Made) -> Result<String, AdminError> {
        let row = made.row;
        let mut entry = of(by, event, &row.key, &row.kid);
        entry.alg = self.settings(&row.key).ok().map(|settings| settings.algorithm.name());
        self.decide(|keys, now| {
            if let Some(known) = keys.versions.iter().find(|known| known.kid == row.kid) {
                return Err(AdminError::Taken { key: known.key.clone(), kid: known.kid.clone() });
            }
            room_in(keys)?;
            lives_of(keys, &row.key).add(&row.kid, now)?;
            let versions = vec![row.clone()];
            let change = KeyChange { versions, settle: Some(row.key.clone()), intend: None };
            Ok(Decision { change, entries: vec![entry.clone()] })
        })
        .await?;
        self.refresh().await?;
        Ok(row.kid)
    }
}

/// Whether the key set has room for one more.
fn room_in(keys: &Keys) -> Result<(), AdminError> {
    let is_published = |row: &&KeyVersionRow| Stage::from_name(&row.state).is_some_and(Stage::is_published);
    let count = keys.versions.iter().filter(is_published).count();
    if count >= MOST_KEYS { Err(AdminError::TooMany { count }) } else { Ok(()) }
}

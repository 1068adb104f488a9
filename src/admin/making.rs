//! A key's next version: made in its backend or adopted there, one at a time, and taken into the state as prepared.
//!
//! What is to be made is written down first, so that a run that was broken off is taken up again without a second key.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::keys::{Decision, of};
use super::rotation::LEASE;
use super::{Admin, AdminError, By};
use crate::audit::{Event, Outcome};
use crate::backend::{Class, KeyStore};
use crate::keyring::machine::{IllegalMove, Stage};
use crate::keyring::{self, MOST_KEYS, Made, MakeError, Settings, lives_of};
use crate::state::{IntentRow, KeyChange, Keys};
use crate::telemetry::Chain;

/// An RSA-4096 key takes a slow HSM this long.
const MAKE_WITHIN: Duration = Duration::from_secs(120);

impl Admin {
    /// Makes the next version of `key` in the first of its backends; it is prepared then. Its first version signs at
    /// once. Gives its `kid`.
    ///
    /// # Errors
    /// One is prepared or being made already, the backend may not or does not make one, or see [`AdminError`].
    pub async fn generate(&self, by: &By, key: &str) -> Result<String, AdminError> {
        let _turn = self.turn(key).await?;
        let kid = self.make(by, key).await?;
        self.carry_on(key).await?;
        Ok(kid)
    }

    /// For whoever has the turn.
    pub(super) async fn make(&self, by: &By, key: &str) -> Result<String, AdminError> {
        let made = async {
            let (settings, backend) = self.first_backend(key)?;
            if !settings.may_generate {
                let backend = backend.health().backend().to_string();
                return Err(AdminError::MayNotGenerate { backend });
            }
            let made = self.make_or_find(key, settings, backend).await?;
            self.take(by, Event::KeyGenerated, made).await
        };
        let made = self.leased(key, made).await;
        // What is no good is proven again by the next try, and told each time; whoever asks for another one, by hand,
        // gets it at the next try under another name.
        if let (Err(AdminError::Make(error)), Some(_)) = (&made, &by.actor)
            && is_no_good(error)
        {
            self.give_up(key).await?;
        }
        self.tell_failure(by, Event::KeyGenerated, key, made).await
    }

    /// Forgets what is being made: it shows as an orphan if it is there.
    async fn give_up(&self, key: &str) -> Result<(), AdminError> {
        self.decide(|keys, _| {
            let change = KeyChange { settle: intent_of(keys, key), ..KeyChange::default() };
            Ok(Decision { change, entries: Vec::new() })
        })
        .await?;
        self.find_orphans().await;
        Ok(())
    }

    /// Works with the right to rotate, for as long as it takes.
    async fn leased<T>(
        &self,
        key: &str,
        work: impl Future<Output = Result<T, AdminError>>,
    ) -> Result<T, AdminError> {
        let mut work = std::pin::pin!(work);
        loop {
            let now = self.clock.now().as_second();
            if !self.state.lease(&self.host, now, LEASE).await? {
                return Err(AdminError::Busy { key: key.to_owned() });
            }
            if let Ok(done) = timeout(LEASE / 3, &mut work).await {
                // Nobody has to wait for it to run out, unless this fails.
                let _ = self.state.lease(&self.host, now, Duration::ZERO).await;
                return done;
            }
        }
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

    /// Writes down how a new key will be called.
    async fn intend(&self, key: &str, settings: &Settings) -> Result<IntentRow, AdminError> {
        let fresh = keyring::intend(key, settings, &self.environment, self.clock.now())?;
        self.decide(|keys, _| {
            if let Some(life) = lives_of(keys, key).only(Stage::Prepared) {
                return Err(IllegalMove::Prepared { kid: life.kid.clone() }.into());
            }
            self.room()?;
            // What an older intent came to is looked for before; nothing was found, or it shows as an orphan.
            let settle = intent_of(keys, key);
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
        let _turn = self.turn(key).await?;
        let taken = async {
            let (settings, backend) = self.first_backend(key)?;
            let (here, now) = (&self.environment, self.clock.now());
            let made = keyring::adopt(key, name, settings, backend, here, now, MAKE_WITHIN).await?;
            self.take(by, Event::KeyAdopted, made).await
        };
        let kid = self.tell_failure(by, Event::KeyAdopted, key, self.leased(key, taken).await).await?;
        self.carry_on(key).await?;
        Ok(kid)
    }

    /// Takes a new version, prepared. With one that was adopted an intent is done with, too: what it came to is this
    /// one, or shows as an orphan.
    async fn take(&self, by: &By, event: Event, made: Made) -> Result<String, AdminError> {
        let row = &made.row;
        let mut entry = of(by, event, &row.key, &row.kid);
        entry.alg = self.settings(&row.key).ok().map(|settings| settings.algorithm.name());
        entry.count = Some(made.tests);
        self.decide(|keys, now| {
            if let Some(known) = keys.versions.iter().find(|known| known.kid == row.kid) {
                return Err(AdminError::Taken { key: known.key.clone(), kid: known.kid.clone() });
            }
            self.room()?;
            lives_of(keys, &row.key).add(&row.kid, now)?;
            let versions = vec![row.clone()];
            let settle = made.intent.clone().or_else(|| intent_of(keys, &row.key));
            let change = KeyChange { versions, settle, intend: None };
            Ok(Decision { change, entries: vec![entry.clone()] })
        })
        .await?;
        self.refresh().await?;
        Ok(made.row.kid)
    }

    /// Whether the key set has room for one more.
    fn room(&self) -> Result<(), AdminError> {
        let count = self.keyring.ring().key_set().kids().len();
        if count >= MOST_KEYS { Err(AdminError::TooMany { count }) } else { Ok(()) }
    }
}

/// Id of what is being made for a key.
fn intent_of(keys: &Keys, key: &str) -> Option<Vec<u8>> {
    keys.intents.iter().find(|intent| intent.key == key).map(|intent| intent.id.clone())
}

/// Whether the key will not work however often it is tried.
fn is_no_good(error: &MakeError) -> bool {
    match error {
        MakeError::Unusable { .. } | MakeError::Jwk(_) => true,
        MakeError::Backend(source) | MakeError::SelfTest { source, .. } => {
            matches!(source.class, Class::Misconfigured | Class::Untrusted)
        }
        MakeError::Random | MakeError::Untried { .. } => false,
    }
}

//! Turning keys: making, adopting, activating, retiring, removing, revoking and destroying versions.
//!
//! Every act is decided on one reading of the state, recorded, and made only if the state is still the same; then
//! the keys in use follow. An act that was broken off anywhere is taken up again by `rotation`.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::{Admin, AdminError, By};
use crate::audit::{Entry, Event, Outcome};
use crate::backend::{KeyStore, Wanted};
use crate::jose::PublicKey;
use crate::keyring::machine::{IllegalMove, Lives, Stage};
use crate::keyring::{self, MakeError, Settings, lives_of, row_of, selftest};
use crate::state::{IntentRow, KeyChange, KeyVersionRow, Keys};

/// An RSA-4096 key takes a slow HSM this long.
const MAKE_WITHIN: Duration = Duration::from_secs(120);
/// Between the decision that the next version takes over and the moment from which it does, seconds: the state and
/// every host have learned of it by then.
pub(super) const SWITCH: i64 = 2;
/// How often an act is decided anew because somebody else was quicker.
const ATTEMPTS: usize = 10;
/// A version takes over only if it has signed so lately, or does within the other time.
const PROOF_AGE: Duration = Duration::from_secs(10);
const PROVE_WITHIN: Duration = Duration::from_secs(5);
/// A key set has at most so many keys.
const MOST_KEYS: usize = 100;
/// JWTs that were signed before a revocation leave within this.
const LEAVE_WITHIN: Duration = Duration::from_secs(60);

/// What an act comes to: what to change, what to say of it.
#[derive(Default)]
pub(super) struct Decision {
    pub(super) change: KeyChange,
    pub(super) entries: Vec<Entry>,
}

/// A version is being made, until this is dropped.
struct Making<'a>(&'a Admin, &'a str);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.making.lock().unwrap_or_else(PoisonError::into_inner).remove(self.1);
    }
}

impl Admin {
    pub(super) fn settings(&self, key: &str) -> Result<&Settings, AdminError> {
        self.loader.keys.get(key).ok_or_else(|| AdminError::Unknown { what: "key", name: key.to_owned() })
    }

    /// The first backend of a key: where its versions are made.
    fn first_backend(&self, key: &str) -> Result<(&Settings, &Arc<dyn KeyStore>), AdminError> {
        let settings = self.settings(key)?;
        let backend = settings.backends.first().and_then(|name| self.loader.backends.get(name));
        backend
            .map(|backend| (settings, backend))
            .ok_or_else(|| AdminError::Unknown { what: "backend", name: settings.backends.join(", ") })
    }

    /// Decides on what the state says, records, changes; decides anew when others were quicker.
    pub(super) async fn decide(
        &self,
        decide: impl Fn(&Keys, i64) -> Result<Decision, AdminError>,
    ) -> Result<(), AdminError> {
        for _ in 0..ATTEMPTS {
            let keys = self.state.keys().await?;
            let Decision { change, entries } = decide(&keys, self.clock.now().as_second())?;
            if change == KeyChange::default() {
                return Ok(());
            }
            if !entries.is_empty() {
                self.record(entries.clone()).await?;
            }
            let outcome = self.state.change(keys.revision, change).await;
            if let Ok(Some(_)) = outcome {
                return Ok(());
            }
            if !entries.is_empty() {
                let undone = |entry| Entry { outcome: Outcome::Failed, ..entry };
                self.record(entries.into_iter().map(undone).collect()).await?;
            }
            outcome?;
        }
        Err(AdminError::Contended)
    }

    /// Moves versions of one key. `moves` says what to record.
    async fn move_key(
        &self,
        key: &str,
        moves: impl Fn(&mut Lives, i64) -> Result<Vec<Entry>, AdminError>,
    ) -> Result<(), AdminError> {
        self.decide(|keys, now| {
            let mut lives = lives_of(keys, key);
            let entries = moves(&mut lives, now)?;
            Ok(Decision { change: changed(keys, key, &lives), entries })
        })
        .await
    }

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
        let (settings, backend) = self.first_backend(key)?;
        if !settings.may_generate {
            let backend = backend.health().backend().to_string();
            return Err(AdminError::MayNotGenerate { backend });
        }
        let _making = self.claim(key)?;
        let made = self.make_or_find(key, settings, backend).await;
        let mut entry = by.entry(Event::KeyGenerated);
        entry.object = Some(key.to_owned());
        entry.alg = Some(settings.algorithm.name());
        match made {
            Ok(made) => self.take(entry, made.row, true).await,
            Err(AdminError::Make(error)) => {
                // The key is there, but no good: the next one gets another name.
                if matches!(error, MakeError::SelfTest { .. } | MakeError::Unusable { .. }) {
                    let change = KeyChange { settle: Some(key.to_owned()), ..KeyChange::default() };
                    self.decide(|_, _| Ok(Decision { change: change.clone(), entries: Vec::new() })).await?;
                }
                entry.outcome = Outcome::Failed;
                entry.reason = Some(crate::telemetry::Chain(&error).to_string());
                self.record(vec![entry]).await?;
                Err(error.into())
            }
            Err(error) => Err(error),
        }
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
            let published = keys.versions.iter().filter(|row| is_published(row)).count();
            if published >= MOST_KEYS {
                return Err(AdminError::TooMany { count: published });
            }
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
        let (settings, backend) = self.first_backend(key)?;
        let _making = self.claim(key)?;
        let mut entry = by.entry(Event::KeyAdopted);
        entry.object = Some(key.to_owned());
        entry.alg = Some(settings.algorithm.name());
        match keyring::adopt(key, name, settings, backend, self.clock.now(), MAKE_WITHIN).await {
            Ok(made) => {
                let kid = self.take(entry, made.row, false).await?;
                self.carry_on(key).await?;
                Ok(kid)
            }
            Err(error) => {
                entry.outcome = Outcome::Failed;
                entry.reason = Some(crate::telemetry::Chain(&error).to_string());
                self.record(vec![entry]).await?;
                Err(error.into())
            }
        }
    }

    /// Takes a new version, prepared.
    async fn take(&self, mut entry: Entry, row: KeyVersionRow, settles: bool) -> Result<String, AdminError> {
        entry.kid = Some(row.kid.clone());
        self.decide(|keys, now| {
            if let Some(known) = keys.versions.iter().find(|known| known.kid == row.kid) {
                return Err(AdminError::Taken { key: known.key.clone(), kid: known.kid.clone() });
            }
            lives_of(keys, &row.key).add(&row.kid, now)?;
            let versions = vec![row.clone()];
            let settle = settles.then(|| row.key.clone());
            let change = KeyChange { versions, settle, intend: None };
            Ok(Decision { change, entries: vec![entry.clone()] })
        })
        .await?;
        self.refresh().await?;
        Ok(row.kid)
    }

    /// The next version is to take over as soon as verifiers know it; made, if none is prepared.
    ///
    /// # Errors
    /// As for [`Self::generate`].
    pub async fn rotate(&self, by: &By, key: &str) -> Result<String, AdminError> {
        self.settings(key)?;
        let prepared = lives_of(&self.state.keys().await?, key).only(Stage::Prepared).cloned();
        let kid = match prepared {
            Some(life) => life.kid,
            None => self.make(by, key).await?,
        };
        self.move_key(key, |lives, _| {
            let mut entry = by.entry(Event::KeyRotated);
            (entry.object, entry.kid) = (Some(key.to_owned()), Some(kid.clone()));
            lives.want(&kid)?;
            Ok(vec![entry])
        })
        .await?;
        self.carry_on(key).await?;
        Ok(kid)
    }

    /// Lets the prepared version sign, `early` even if verifiers may not know it yet. Gives its `kid`.
    ///
    /// # Errors
    /// None is prepared, it does not sign, verifiers may not know it yet, or see [`AdminError`].
    pub async fn activate(&self, by: &By, key: &str, early: bool) -> Result<String, AdminError> {
        self.settings(key)?;
        let lives = lives_of(&self.state.keys().await?, key);
        let Some(prepared) = lives.only(Stage::Prepared) else {
            let hint = "; make one with `jwsd keys generate` or take one with `jwsd keys adopt`";
            return Err(AdminError::NoVersion { key: key.to_owned(), stage: "prepared", hint });
        };
        let kid = prepared.kid.clone();
        if prepared.published.is_none() {
            self.publish(key, &kid).await?;
        }
        self.switch(by, key, &kid, early).await?;
        Ok(kid)
    }

    /// Notes that verifiers are shown the version, which they are once this host has taken it over.
    pub(super) async fn publish(&self, key: &str, kid: &str) -> Result<(), AdminError> {
        if self.keyring.ring().version(kid).is_none() {
            self.refresh().await?;
        }
        self.move_key(key, |lives, now| {
            lives.publish(kid, now)?;
            Ok(vec![of(&By::DAEMON, Event::KeyPublished, key, kid)])
        })
        .await?;
        self.refresh().await.map(drop)
    }

    /// The version takes over from the active one, in a moment.
    pub(super) async fn switch(&self, by: &By, key: &str, kid: &str, early: bool) -> Result<(), AdminError> {
        let settings = self.settings(key)?;
        let ring = self.keyring.ring();
        let unproven = || AdminError::Unproven { kid: kid.to_owned() };
        let version = ring.version(kid).ok_or_else(unproven)?;
        let faults = selftest::run(version, PROOF_AGE, PROVE_WITHIN).await;
        let proven = version.unproven_for().is_some_and(|age| age <= PROOF_AGE.as_secs());
        if !proven || version.replicas().is_quarantined() {
            for error in faults {
                tracing::error!(key, kid, %error, "Next version of the key does not sign");
            }
            return Err(unproven());
        }
        let before = ring.active(key).cloned();
        let switched = {
            // Nobody opens again meanwhile what is closed here.
            let _one = self.refreshing.lock().await;
            self.move_key(key, |lives, now| {
                let at = if lives.only(Stage::Active).is_some() { now + SWITCH } else { now };
                let old = lives.only(Stage::Active).map(|life| life.kid.clone());
                lives.activate(kid, at, &settings.rotation, early)?;
                let mut entry = of(by, Event::KeyActivated, key, kid);
                entry.reason = early.then(|| "before verifiers are sure to know it".to_owned());
                let retired = old.map(|old| of(by, Event::KeyRetired, key, &old));
                if let Some(before) = &before {
                    before.close_at(at);
                }
                Ok(std::iter::once(entry).chain(retired).collect())
            })
            .await
        };
        // Whatever became of it, the state says who signs.
        let refreshed = self.refresh().await.map(drop);
        switched.and(refreshed)
    }

    /// Stops the active version; nothing signs then until another one is activated. Gives its `kid`.
    ///
    /// # Errors
    /// None is active, or see [`AdminError`].
    pub async fn retire(&self, by: &By, key: &str) -> Result<String, AdminError> {
        self.settings(key)?;
        let lives = lives_of(&self.state.keys().await?, key);
        let Some(active) = lives.only(Stage::Active) else {
            return Err(AdminError::NoVersion { key: key.to_owned(), stage: "active", hint: "" });
        };
        let kid = active.kid.clone();
        self.move_key(key, |lives, now| {
            lives.retire(&kid, now)?;
            Ok(vec![of(by, Event::KeyRetired, key, &kid)])
        })
        .await?;
        self.refresh().await?;
        Ok(kid)
    }

    /// Takes a retired version out of the key set.
    pub(super) async fn remove(&self, key: &str, kid: &str) -> Result<(), AdminError> {
        let settings = self.settings(key)?;
        self.move_key(key, |lives, now| {
            lives.remove(kid, now, &settings.rotation)?;
            Ok(vec![of(&By::DAEMON, Event::KeyRemoved, key, kid)])
        })
        .await?;
        self.refresh().await.map(drop)
    }

    /// Takes a version back, the active one unless `kid` names another: when this returns it signs nothing any more,
    /// is not in the key set, and nothing that it signed before is on its way. A prepared version takes over at
    /// once; if there is none, one is made. Gives its `kid`.
    ///
    /// # Errors
    /// There is no such version, it is revoked already, or see [`AdminError`]; then it signs as before.
    pub async fn revoke(
        &self,
        by: &By,
        key: &str,
        kid: Option<&str>,
        reason: Option<&str>,
    ) -> Result<String, AdminError> {
        self.settings(key)?;
        let lives = lives_of(&self.state.keys().await?, key);
        let kid = match kid.or_else(|| lives.only(Stage::Active).map(|life| life.kid.as_str())) {
            Some(kid) => kid.to_owned(),
            None => {
                let hint = "; name the version that is to be revoked";
                return Err(AdminError::NoVersion { key: key.to_owned(), stage: "active", hint });
            }
        };
        if lives.get(&kid).is_none() {
            return Err(AdminError::Unknown { what: "version", name: kid });
        }
        // First of all nothing is signed any more.
        let version = self.keyring.ring().version(&kid).cloned();
        if let Some(version) = &version {
            version.revoke();
        }
        let revoked = self.record_revoked(by, key, &kid, reason).await;
        if let Err(error) = revoked {
            let is_revoked =
                matches!(error, AdminError::Illegal(IllegalMove::Stage { from: Stage::Revoked, .. }));
            if let Some(version) = version.filter(|_| !is_revoked) {
                version.reinstate();
            }
            return Err(error);
        }
        self.refresh().await?;
        if let Some(version) = version
            && timeout(LEAVE_WITHIN, version.drained()).await.is_err()
        {
            tracing::warn!(key, kid, "JWTs of the revoked version were still on their way");
        }
        self.nudge.notify_one();
        Ok(kid)
    }

    async fn record_revoked(
        &self,
        by: &By,
        key: &str,
        kid: &str,
        reason: Option<&str>,
    ) -> Result<(), AdminError> {
        let settings = self.settings(key)?;
        self.decide(|keys, now| {
            let mut lives = lives_of(keys, key);
            let was_active = lives.get(kid).is_some_and(|life| life.stage == Stage::Active);
            lives.revoke(kid, now)?;
            let mut entry = of(by, Event::KeyRevoked, key, kid);
            entry.reason = reason.map(str::to_owned);
            let mut entries = vec![entry];
            let next = lives.only(Stage::Prepared).filter(|_| was_active).map(|life| life.kid.clone());
            if let Some(next) = next {
                lives.publish(&next, now)?;
                lives.activate(&next, now, &settings.rotation, false)?;
                entries.push(of(by, Event::KeyActivated, key, &next));
            }
            let mut change = changed(keys, key, &lives);
            for row in change.versions.iter_mut().filter(|row| row.kid == kid) {
                row.reason = reason.map(str::to_owned);
            }
            Ok(Decision { change, entries })
        })
        .await
    }

    /// Destroys the private half of a removed or revoked version, in every backend that holds it; for good.
    ///
    /// # Errors
    /// It is in service still, or a backend did not do it: what was done stays done, and doing it again is safe.
    pub async fn destroy(&self, by: &By, key: &str, kid: &str) -> Result<(), AdminError> {
        let settings = self.settings(key)?;
        let keys = self.state.keys().await?;
        let row = keys.versions.iter().find(|row| row.key == key && row.kid == kid);
        let row = row.ok_or_else(|| AdminError::Unknown { what: "version", name: kid.to_owned() })?;
        let stage = Stage::from_name(&row.state);
        if !matches!(stage, Some(Stage::Removed | Stage::Revoked)) {
            return Err(AdminError::InService { kid: kid.to_owned(), stage: row.state.clone() });
        }
        let jwk = serde_json::from_str(&row.public_jwk).ok();
        let public = jwk.and_then(|jwk| PublicKey::from_jwk(&jwk).ok()).ok_or(AdminError::Defect)?;
        let entry = of(by, Event::KeyDestroyed, key, kid);
        self.record(vec![entry.clone()]).await?;
        match self.destroy_all(row, settings, &public).await {
            Ok(()) => {
                let destroyed = |keys: &Keys, now| {
                    let rows = keys.versions.iter().filter(|row| row.kid == kid);
                    let rows = rows.map(|row| KeyVersionRow { destroyed: Some(now), ..row.clone() });
                    let change = KeyChange { versions: rows.collect(), ..KeyChange::default() };
                    Ok(Decision { change, entries: Vec::new() })
                };
                self.decide(destroyed).await
            }
            Err(error) => {
                let reason = Some(error.to_string());
                self.record(vec![Entry { outcome: Outcome::Failed, reason, ..entry }]).await?;
                Err(error)
            }
        }
    }

    async fn destroy_all(
        &self,
        row: &KeyVersionRow,
        settings: &Settings,
        public: &PublicKey,
    ) -> Result<(), AdminError> {
        let unknown = |name: &str| AdminError::Unknown { what: "backend", name: name.to_owned() };
        let origin = self.loader.backends.get(&row.backend).ok_or_else(|| unknown(&row.backend))?;
        for name in settings.backends.iter().filter(|name| **name != row.backend) {
            let backend = self.loader.backends.get(name).ok_or_else(|| unknown(name))?;
            let copy = Wanted::Copy { of: public, id: &row.backend_id };
            // A copy that is not shown cannot be destroyed; `keys list` shows what a backend holds.
            if let Ok(copy) = backend.open(copy, settings.algorithm, Some(public)).await {
                backend.destroy(&copy.id, public).await?;
            }
        }
        origin.destroy(&row.backend_id, public).await?;
        Ok(())
    }
}

fn is_published(row: &KeyVersionRow) -> bool {
    Stage::from_name(&row.state).is_some_and(Stage::is_published)
}

/// A record about one version.
pub(super) fn of(by: &By, event: Event, key: &str, kid: &str) -> Entry {
    let mut entry = by.entry(event);
    (entry.object, entry.kid) = (Some(key.to_owned()), Some(kid.to_owned()));
    entry
}

/// The rows of a key whose lives went on.
fn changed(keys: &Keys, key: &str, lives: &Lives) -> KeyChange {
    let before = lives_of(keys, key);
    let moved = lives.all().iter().filter(|life| before.get(&life.kid) != Some(life));
    let rows = moved
        .filter_map(|life| keys.versions.iter().find(|row| row.kid == life.kid).map(|row| row_of(row, life)));
    KeyChange { versions: rows.collect(), ..KeyChange::default() }
}

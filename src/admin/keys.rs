//! Turning keys: which version signs and which is published.
//!
//! Every act is decided on one reading of the state, recorded, and made only if the state is still the same; then
//! the keys in use follow. An act that was broken off anywhere is taken up again by `rotation`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::{Admin, AdminError, By};
use crate::audit::{Entry, Event, Outcome};
use crate::backend::KeyStore;
use crate::keyring::machine::{Life, Lives, Stage};
use crate::keyring::{Settings, lives_of, row_of, selftest};
use crate::state::{KeyChange, Keys};

/// Between the decision that the next version takes over and the moment from which it does, seconds: the state and
/// every host have learned of it by then.
pub(super) const SWITCH: i64 = 2;
/// How often an act is decided anew because somebody else was quicker.
const ATTEMPTS: usize = 10;
/// A version takes over only if it has signed so lately, or does within the other time.
const PROOF_AGE: Duration = Duration::from_secs(10);
const PROVE_WITHIN: Duration = Duration::from_secs(5);
/// Whoever wants to turn a key waits so long for others who do.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// What an act comes to: what to change, what to say of it.
#[derive(Default)]
pub(super) struct Decision {
    pub(super) change: KeyChange,
    pub(super) entries: Vec<Entry>,
}

impl Admin {
    pub(super) fn settings(&self, key: &str) -> Result<&Settings, AdminError> {
        self.loader.keys.get(key).ok_or_else(|| AdminError::Unknown { what: "key", name: key.to_owned() })
    }

    /// The right to turn a key, which one has at a time. Revoking needs none.
    pub(super) async fn turn(&self, key: &str) -> Result<MutexGuard<'_, ()>, AdminError> {
        let unknown = || AdminError::Unknown { what: "key", name: key.to_owned() };
        let turn = self.turns.get(key).ok_or_else(unknown)?;
        timeout(TURN_WITHIN, turn.lock()).await.map_err(|_| AdminError::Busy { key: key.to_owned() })
    }

    /// The first backend of a key: where its versions are made.
    pub(super) fn first_backend(&self, key: &str) -> Result<(&Settings, &Arc<dyn KeyStore>), AdminError> {
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
            let undone = |entry| Entry { outcome: Outcome::Failed, ..entry };
            if !entries.is_empty()
                && let Err(error) = self.record(entries.clone()).await
            {
                // It may reach the disk all the same.
                let _ = self.log.append(entries.into_iter().map(undone).collect());
                return Err(error.into());
            }
            if change == KeyChange::default() {
                return Ok(());
            }
            let outcome = self.state.change(keys.revision, change).await;
            if let Ok(Some(_)) = outcome {
                return Ok(());
            }
            if !entries.is_empty() {
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

    /// The next version is to take over as soon as verifiers know it; made, if none is prepared.
    ///
    /// # Errors
    /// As for [`Self::generate`].
    pub async fn rotate(&self, by: &By, key: &str) -> Result<String, AdminError> {
        let _turn = self.turn(key).await?;
        let prepared = lives_of(&self.state.keys().await?, key).only(Stage::Prepared).cloned();
        let kid = match prepared {
            Some(life) => life.kid,
            None => self.make(by, key).await?,
        };
        self.move_key(key, |lives, _| {
            lives.want(&kid)?;
            Ok(vec![of(by, Event::KeyRotated, key, &kid)])
        })
        .await?;
        self.carry_on(key).await?;
        Ok(kid)
    }

    /// Lets the prepared version sign, `early` even if verifiers may not know it yet. Gives its `kid`.
    ///
    /// # Errors
    /// None is prepared, or another one than `kid`, it does not sign, verifiers may not know it yet, or see
    /// [`AdminError`].
    pub async fn activate(
        &self,
        by: &By,
        key: &str,
        kid: Option<&str>,
        early: bool,
    ) -> Result<String, AdminError> {
        let _turn = self.turn(key).await?;
        let lives = lives_of(&self.state.keys().await?, key);
        let Some(prepared) = lives.only(Stage::Prepared) else {
            let hint = "; make one with `jwsd keys generate` or take one with `jwsd keys adopt`";
            return Err(AdminError::NoVersion { key: key.to_owned(), stage: "prepared", hint });
        };
        let kid = only(prepared, kid)?;
        if prepared.published.is_none() {
            self.publish(key, &kid).await?;
        }
        self.switch(by, key, &kid, early).await?;
        Ok(kid)
    }

    /// Notes that verifiers are shown the version, which they are once this host has taken it over.
    pub(super) async fn publish(&self, key: &str, kid: &str) -> Result<(), AdminError> {
        if self.keyring.ring().version(kid).is_none() || !self.shows(key, kid) {
            self.refresh().await?;
        }
        self.is_shown(key, kid)?;
        self.move_key(key, |lives, now| {
            let is_known = lives.get(kid).is_some_and(|life| life.published.is_some());
            lives.publish(kid, now)?;
            Ok(if is_known { Vec::new() } else { vec![of(&By::DAEMON, Event::KeyPublished, key, kid)] })
        })
        .await?;
        self.refresh().await.map(drop)
    }

    /// Files are read by others' web servers: what they do not show must not sign.
    fn is_shown(&self, key: &str, kid: &str) -> Result<(), AdminError> {
        if self.shows(key, kid) {
            return Ok(());
        }
        let reason = self.publisher.fault().unwrap_or_else(|| "not written yet".to_owned());
        Err(AdminError::Unpublished { kid: kid.to_owned(), reason })
    }

    /// The version takes over from the active one, in a moment.
    pub(super) async fn switch(&self, by: &By, key: &str, kid: &str, early: bool) -> Result<(), AdminError> {
        let settings = self.settings(key)?;
        if !early {
            self.is_shown(key, kid)?;
        }
        let ring = self.keyring.ring();
        let unproven = || AdminError::Unproven { kid: kid.to_owned() };
        let version = ring.version(kid).ok_or_else(unproven)?;
        let faults = selftest::run(version, PROOF_AGE, PROVE_WITHIN).await;
        self.record_tests([version]).await;
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
    /// None is active, or another one than `kid`, or see [`AdminError`].
    pub async fn retire(&self, by: &By, key: &str, kid: Option<&str>) -> Result<String, AdminError> {
        let _turn = self.turn(key).await?;
        let lives = lives_of(&self.state.keys().await?, key);
        let Some(active) = lives.only(Stage::Active) else {
            return Err(AdminError::NoVersion { key: key.to_owned(), stage: "active", hint: "" });
        };
        let kid = only(active, kid)?;
        let version = self.keyring.ring().version(&kid).cloned();
        let retired = {
            // Nobody opens again meanwhile what is closed here.
            let _one = self.refreshing.lock().await;
            self.move_key(key, |lives, now| {
                lives.retire(&kid, now)?;
                if let Some(version) = &version {
                    version.close_at(now);
                }
                Ok(vec![of(by, Event::KeyRetired, key, &kid)])
            })
            .await
        };
        // Whatever became of it, the state says who signs.
        let refreshed = self.refresh().await.map(drop);
        retired.and(refreshed).map(|()| kid)
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
}

/// The `kid` of the one that is meant.
fn only(life: &Life, kid: Option<&str>) -> Result<String, AdminError> {
    match kid.filter(|kid| *kid != life.kid) {
        Some(other) => Err(AdminError::Unknown { what: "version", name: other.to_owned() }),
        None => Ok(life.kid.clone()),
    }
}

/// A record about one version.
pub(super) fn of(by: &By, event: Event, key: &str, kid: &str) -> Entry {
    let mut entry = by.entry(event);
    (entry.object, entry.kid) = (Some(key.to_owned()), Some(kid.to_owned()));
    entry
}

/// The rows of a key whose lives went on.
pub(super) fn changed(keys: &Keys, key: &str, lives: &Lives) -> KeyChange {
    let before = lives_of(keys, key);
    let moved = lives.all().iter().filter(|life| before.get(&life.kid) != Some(life));
    let rows = moved
        .filter_map(|life| keys.versions.iter().find(|row| row.kid == life.kid).map(|row| row_of(row, life)));
    KeyChange { versions: rows.collect(), ..KeyChange::default() }
}

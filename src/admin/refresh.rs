//! From what the state says of keys to what signs and what is published.

use std::sync::Arc;
use std::time::Duration;

use super::{Admin, AdminError};
use crate::audit::{Entry, Event, Outcome};
use crate::keyring::machine::Life;
use crate::keyring::{LoadError, Ring, Settings, Version};
use crate::state::Tally;

/// A JWT of the longest life can be signed for so long after the state was last told, at least.
const SLACK: Duration = Duration::from_secs(60);

impl Admin {
    /// Takes over what the state says: opens new versions, publishes, lets each version sign in its time and no other.
    /// Gives what is wrong with versions that should sign. Files that cannot be written keep nothing from taking effect
    /// here, but a key that they do not show from being used.
    ///
    /// # Errors
    /// Nothing was taken over then.
    pub async fn refresh(&self) -> Result<Vec<LoadError>, AdminError> {
        let mut is_behind = self.refreshing.lock().await;
        *is_behind = true;
        let keys = self.state.keys().await?;
        let quarantines = self.quarantines().await?;
        let previous = self.keyring.ring();
        let now = self.clock.now();
        let (ring, faults) = self.loader.build(keys, &quarantines, &previous, now, &self.environment).await?;
        self.tally_of(&ring, true).await?;
        let key_set = ring.key_set().clone();
        // A new key is in the files before it is in use; whatever else has changed does not wait for a disk.
        let is_new = key_set.kids().iter().any(|kid| !self.publisher.shows(kid.as_str()));
        let files_first = is_new && self.publisher.fault().is_none();
        if files_first {
            self.publisher.write(&key_set).await;
        }
        for (name, settings) in &self.loader.keys {
            for life in ring.lives(name).all() {
                // A version that is not of the new ring any more may still be on its way to a signature.
                if let Some(version) = ring.version(&life.kid).or_else(|| previous.version(&life.kid)) {
                    set(version, life, settings, now.as_second());
                }
            }
        }
        self.keyring.replace(Arc::new(ring));
        if !files_first {
            self.publisher.write(&key_set).await;
        }
        *is_behind = false;
        Ok(faults)
    }

    /// Tells the state what was signed, and how long JWTs may live.
    pub(super) async fn tally(&self) -> Result<(), AdminError> {
        let ring = self.keyring.ring();
        self.tally_of(&ring, false).await
    }

    /// What a version signed that is of no ring any more.
    /// Records requests to backends that no other record speaks of: a backend's own log shows their signatures too.
    pub async fn record_tests(&self, versions: impl IntoIterator<Item = &Arc<Version>>) {
        let (mut entries, mut taken) = (Vec::new(), Vec::new());
        for version in versions {
            for (backend, count) in version.replicas().take_tests() {
                entries.push(Entry {
                    kid: Some(version.kid().to_string()),
                    object: Some(backend.to_string()),
                    count: Some(count),
                    ..Entry::new(Event::KeyTested, Outcome::Success)
                });
                taken.push((version, backend, count));
            }
        }
        if !entries.is_empty()
            && let Err(error) = self.record(entries).await
        {
            tracing::error!(%error, "Self-tests of keys not recorded");
            for (version, backend, count) in taken {
                version.replicas().return_tests(&backend, count);
            }
        }
    }

    pub(super) async fn last_tally(&self, version: &Version) -> Result<(), AdminError> {
        let (signatures, last_exp) = version.take_tally();
        let tally = Tally {
            kid: version.kid().to_string(),
            signatures: i64::try_from(signatures).unwrap_or(i64::MAX),
            last_exp,
            exp_bound: version.bound(),
        };
        Ok(self.state.tally(vec![tally]).await.map(drop)?)
    }

    pub(super) async fn tally_of(&self, ring: &Ring, only_bounds: bool) -> Result<(), AdminError> {
        let now = self.clock.now().as_second();
        let mut tallies = Vec::new();
        let mut told: Vec<(&Arc<Version>, u64)> = Vec::new();
        for version in ring.signing() {
            if !self.loader.keys.contains_key(version.key()) {
                continue;
            }
            let signs = ring.active(version.key()).is_some_and(|active| Arc::ptr_eq(active, version));
            // What no verifier of JWTs meets has no JWT that expires.
            let bounded = signs && self.is_published(version.key());
            let bound =
                if bounded { bound(version, self.longest(version.key()), now) } else { version.bound() };
            let (signatures, last_exp) = if only_bounds { (0, None) } else { version.take_tally() };
            if signatures == 0 && bound == version.bound() {
                continue;
            }
            tallies.push(Tally {
                kid: version.kid().to_string(),
                signatures: i64::try_from(signatures).unwrap_or(i64::MAX),
                last_exp,
                exp_bound: bound,
            });
            told.push((version, signatures));
        }
        if tallies.is_empty() {
            return Ok(());
        }
        let bounds: Vec<i64> = tallies.iter().map(|tally| tally.exp_bound).collect();
        match self.state.tally(tallies).await {
            Ok(stopped) => {
                for ((version, _), bound) in told.into_iter().zip(bounds) {
                    if !stopped.iter().any(|kid| kid == version.kid().as_str()) {
                        version.reserve(bound);
                    }
                }
                Ok(())
            }
            Err(error) => {
                told.into_iter().for_each(|(version, signatures)| version.return_tally(signatures));
                Err(error.into())
            }
        }
    }
}

/// How late JWTs may expire: moved ahead when half of the slack is used up.
fn bound(version: &Version, longest: Duration, now: i64) -> i64 {
    let slack = SLACK.max(longest / 2);
    let least = now.saturating_add_unsigned((longest + slack / 2).as_secs());
    if version.bound() >= least {
        return version.bound();
    }
    now.saturating_add_unsigned((longest + slack).as_secs())
}

/// Lets a version sign in its time, and in no other.
fn set(version: &Version, life: &Life, settings: &Settings, now: i64) {
    match life.window(now, &settings.rotation) {
        Some((from, until)) => {
            version.open(from, until);
            version.reserve(life.exp_bound.unwrap_or(i64::MIN));
        }
        // What it is signing even now must not leave either.
        None if !life.stage.is_published() => version.revoke(),
        None => version.close_at(i64::MIN),
    }
}

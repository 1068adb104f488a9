//! The end of a version: revoked at once, or destroyed for good.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::keys::{Decision, changed, of};
use super::{Admin, AdminError, By};
use crate::audit::{Entry, Event, Outcome};
use crate::backend::{NO_COPY, Wanted};
use crate::jose::PublicKey;
use crate::keyring::lives_of;
use crate::keyring::machine::Stage;
use crate::state::{KeyChange, KeyVersionRow, Keys};

/// JWTs that were signed before a revocation leave within this.
const LEAVE_WITHIN: Duration = Duration::from_secs(60);

impl Admin {
    /// Takes a version back, the active one unless `kid` names another: when this returns it signs nothing any more,
    /// is not in the key set, and nothing that it signed before is on its way. A prepared version takes over at
    /// once; if there is none, one is made. Gives its `kid`.
    ///
    /// # Errors
    /// There is no such version, or it is revoked already. After any other fault the daemon signs nothing with it all
    /// the same until it is started anew: revoke it again.
    pub async fn revoke(
        &self,
        by: &By,
        key: &str,
        kid: Option<&str>,
        reason: Option<&str>,
    ) -> Result<String, AdminError> {
        // A key that was taken out of the configuration is shown still, and can be revoked.
        let lives = lives_of(&self.state.keys().await?, key);
        if lives.all().is_empty() {
            self.settings(key)?;
        }
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
        self.record_revoked(by, key, &kid, reason).await?;
        self.refresh().await?;
        if let Some(version) = version {
            if timeout(LEAVE_WITHIN, version.drained()).await.is_err() {
                tracing::warn!(key, kid, "JWTs of the revoked version were still on their way");
            }
            self.record_tests([&version]).await;
            self.last_tally(&version).await?;
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
        let settings = self.loader.keys.get(key);
        self.decide(|keys, now| {
            let mut lives = lives_of(keys, key);
            let was_active = lives.get(kid).is_some_and(|life| life.stage == Stage::Active);
            lives.revoke(kid, now)?;
            let mut entry = of(by, Event::KeyRevoked, key, kid);
            entry.reason = reason.map(str::to_owned);
            let mut entries = vec![entry];
            let next = lives.only(Stage::Prepared).map(|life| life.kid.clone());
            let next = next.filter(|kid| was_active && self.shows(key, kid));
            if let (Some(next), Some(settings)) = (next, settings) {
                if lives.get(&next).is_some_and(|life| life.published.is_none()) {
                    entries.push(of(&By::DAEMON, Event::KeyPublished, key, &next));
                }
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
        match self.destroy_all(row, &public).await {
            Ok(gone) => {
                let destroyed = |keys: &Keys, now| {
                    let rows = keys.versions.iter().filter(|row| row.kid == kid);
                    let gone = Some(gone.map_or(now, Timestamp::as_second));
                    let rows = rows.map(|row| KeyVersionRow { destroyed: gone, ..row.clone() });
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

    /// Copies first. Gives when the last one will be gone, if not now.
    async fn destroy_all(
        &self,
        row: &KeyVersionRow,
        public: &PublicKey,
    ) -> Result<Option<Timestamp>, AdminError> {
        let unknown = |name: &str| AdminError::Unknown { what: "backend", name: name.to_owned() };
        let origin = self.loader.backends.get(&row.backend).ok_or_else(|| unknown(&row.backend))?;
        let mut gone = None;
        // A key that was taken out of the configuration has no other backends that are known.
        let settings = self.loader.keys.get(&row.key);
        for name in settings.map(|settings| &*settings.backends).unwrap_or_default() {
            let Some(settings) = settings.filter(|_| *name != row.backend) else { continue };
            let backend = self.loader.backends.get(name).ok_or_else(|| unknown(name))?;
            let copy = Wanted::Copy { of: public, id: &row.backend_id };
            match backend.open(copy, settings.algorithm, Some(public)).await {
                Ok(copy) => gone = gone.max(backend.destroy(&copy.id, public).await?.pending_until),
                Err(error) if error.code == NO_COPY => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone.max(origin.destroy(&row.backend_id, public).await?.pending_until))
    }
}

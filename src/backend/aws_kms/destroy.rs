//! Destroying keys: KMS only ever schedules that, and deletes when the window is over.
//!
//! Must never schedule anything for a key whose public half was not read and found equal.

use super::error::Kind;
use super::list::is_pending_deletion;
use super::make::alias;
use super::store::Backend;
use crate::backend::{Destroyed, Error, Wanted};
use crate::clock::{Clock, SystemClock};
use crate::jose::PublicKey;
use aws_sdk_kms::primitives::DateTime;
use aws_sdk_kms::types::KeyMetadata;
use jiff::{SignedDuration, Timestamp};

impl Backend {
    pub(super) async fn schedule_deletion(&self, id: &[u8], public: &PublicKey) -> Result<Destroyed, Error> {
        let arn = self.name_of(Wanted::Id(id)).await?;
        let Some(metadata) = self.describe(&arn).await? else {
            return Ok(Destroyed { pending_until: None });
        };
        let date = if is_pending_deletion(&metadata) {
            metadata.deletion_date
        } else {
            self.prove(&arn, public).await?;
            self.schedule(&arn).await?
        };
        self.take_alias(&arn, metadata.description.as_deref().unwrap_or_default()).await;
        Ok(Destroyed { pending_until: Some(self.until(date)) })
    }

    async fn prove(&self, arn: &str, public: &PublicKey) -> Result<(), Error> {
        let der = self.spki(arn).await?;
        if PublicKey::from_spki(&der).as_ref() == Ok(public) {
            return Ok(());
        }
        let message =
            format!("key {arn} has another public key than the one to be destroyed, and was left alone");
        Err(self.service.error(Kind::Forged, "other key", message))
    }

    async fn schedule(&self, arn: &str) -> Result<Option<DateTime>, Error> {
        let service = &self.service;
        let days = i32::from(service.settings.deletion_days);
        let scheduled = service
            .write(|client| client.schedule_key_deletion().key_id(arn).pending_window_in_days(days).send())
            .await;
        match scheduled {
            Ok(answer) => Ok(answer.deletion_date),
            // The answer may have been lost, or somebody else was quicker.
            Err(error) => match self.describe(arn).await {
                Ok(Some(metadata)) if is_pending_deletion(&metadata) => Ok(metadata.deletion_date),
                _ => Err(error),
            },
        }
    }

    /// `None` when there is no such key.
    async fn describe(&self, arn: &str) -> Result<Option<KeyMetadata>, Error> {
        match self.service.repeat(true, |client| client.describe_key().key_id(arn).send()).await {
            Ok(answer) => {
                let unknown =
                    || self.service.error(Kind::Bug, "no metadata", "KMS does not describe the key");
                answer.key_metadata.map(Some).ok_or_else(unknown)
            }
            Err(error) if error.code.starts_with("NotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the alias that the key was made with, if it still is the key's. KMS does that too, with the key.
    async fn take_alias(&self, arn: &str, description: &str) {
        let Some(alias) = alias(description) else { return };
        let service = &self.service;
        let taken = match self.behind(&alias).await {
            Ok(Some(metadata)) if metadata.arn.as_deref() == Some(arn) => service
                .repeat(false, |client| client.delete_alias().alias_name(&alias).send())
                .await
                .map(drop),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            let backend = &service.settings.name;
            tracing::warn!(backend, arn, alias, %error, "Alias of a destroyed key is still there");
        }
    }

    /// The primary of a multi-Region key has no date before its replicas are gone: not before the window is over.
    fn until(&self, date: Option<DateTime>) -> Timestamp {
        let date = date.and_then(|date| Timestamp::from_second(date.secs()).ok());
        date.unwrap_or_else(|| {
            let window = SignedDuration::from_hours(24 * i64::from(self.service.settings.deletion_days));
            let now = SystemClock.now();
            now.checked_add(window).unwrap_or(now)
        })
    }
}

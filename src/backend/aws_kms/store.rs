//! The backend as the rest of the program sees it: opening, making and listing keys, health.
//!
//! What it needs of IAM: `kms:Sign`, `kms:GetPublicKey` and `kms:DescribeKey` on its keys; `kms:CreateKey`,
//! `kms:TagResource` and `kms:CreateAlias` to make them, `kms:ListResourceTags` to find what a kill left behind;
//! `kms:ScheduleKeyDeletion` and `kms:DeleteAlias` to destroy them; `kms:ListKeys` to show them.

use super::arn::Arn;
use super::credentials::Source;
use super::error::{FRESH, Kind};
use super::key::Key;
use super::service::Service;
use super::{Settings, list, spec};
use crate::backend::{
    BoxFuture, Destroyed, Error, Generated, Health, KeySpec, KeyStore, Listed, NO_COPY, Opened, Status,
    Wanted, show_id,
};
use crate::jose::{Algorithm, KeyType, PublicKey, Verifier};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::OriginType;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One region of AWS KMS under one set of credentials.
pub struct Backend {
    pub(super) service: Arc<Service>,
}

impl Backend {
    /// Finds credentials. Whether the service answers is seen when keys are opened. Must be called on a tokio runtime.
    pub async fn start(settings: Settings, health: Arc<Health>) -> (Arc<dyn KeyStore>, Result<(), Error>) {
        let source = Source::Chain(Box::new(settings.clone()));
        Self::begin(settings, source, health).await
    }

    /// As [`Self::start`], with credentials from somewhere else than the SDK's chain.
    pub async fn start_with(
        settings: Settings,
        credentials: SharedCredentialsProvider,
        health: Arc<Health>,
    ) -> (Arc<dyn KeyStore>, Result<(), Error>) {
        Self::begin(settings, Source::Given(credentials), health).await
    }

    async fn begin(
        settings: Settings,
        source: Source,
        health: Arc<Health>,
    ) -> (Arc<dyn KeyStore>, Result<(), Error>) {
        let service = Arc::new(Service::new(settings, source, health));
        let outcome = service.ready().await;
        (Arc::new(Self { service }), outcome)
    }

    /// The name to ask KMS for.
    pub(super) async fn name_of(&self, wanted: Wanted<'_>) -> Result<String, Error> {
        let region = &self.service.settings.region;
        let unusable = |message: String| self.service.error(Kind::Misconfigured, "not usable", message);
        let id = match wanted {
            Wanted::Name(name) => return Ok(name.to_owned()),
            Wanted::Id(id) | Wanted::Copy { id, .. } => id,
        };
        let arn = std::str::from_utf8(id).ok().and_then(Arn::of_key);
        match (wanted, arn) {
            (Wanted::Copy { of, .. }, arn) => match arn.and_then(|arn| arn.copy_in(region)) {
                Some(copy) => Ok(copy),
                None => self.search(of).await,
            },
            (_, None) => {
                let id = show_id(id);
                Err(unusable(format!("{id} is not the ARN of a KMS key: is it in another backend?")))
            }
            (_, Some(arn)) if arn.region != region => {
                let id = show_id(id);
                Err(unusable(format!("key {id} is in {}, and this backend asks {region}", arn.region)))
            }
            (_, Some(_)) => Ok(show_id(id)),
        }
    }

    /// The key that has this public half, under whatever id.
    async fn search(&self, public: &PublicKey) -> Result<String, Error> {
        let service = &self.service;
        let kind = match public.key_type() {
            KeyType::Rsa => "RSA-",
            KeyType::Ec(curve) => curve.name(),
            KeyType::Ed25519 => "Ed25519",
            KeyType::MlDsa(set) => set.name(),
        };
        for key in list::keys(service).await? {
            if key.problems.is_empty()
                && key.kind.starts_with(kind)
                && self.spki(&key.id).await.is_ok_and(|der| PublicKey::from_spki(&der).as_ref() == Ok(public))
            {
                return Ok(key.id);
            }
        }
        let message = format!(
            "no key in {} has this public half: replicate a multi-Region key (mrk-...) there",
            service.settings.region
        );
        Err(service.error(Kind::Misconfigured, NO_COPY, message))
    }

    async fn open_key(
        &self,
        wanted: Wanted<'_>,
        algorithm: Algorithm,
        pinned: Option<&PublicKey>,
    ) -> Result<Opened, Error> {
        let service = &self.service;
        let name = self.name_of(wanted).await?;
        let pinned = pinned.or(match wanted {
            Wanted::Copy { of, .. } => Some(of),
            Wanted::Id(_) | Wanted::Name(_) => None,
        });
        // A key that was just made may not be known everywhere yet; an operator's typing error costs a moment.
        let described = service.repeat(true, |client| client.describe_key().key_id(&name).send()).await?;
        let unusable = |message: String| {
            service.error(Kind::Misconfigured, "not usable", format!("key {name}: {message}"))
        };
        let metadata = described.key_metadata.ok_or_else(|| unusable("KMS does not describe it".into()))?;
        let arn = metadata.arn.clone().filter(|arn| Arn::of_key(arn).is_some());
        let arn = arn.ok_or_else(|| unusable("KMS does not say its ARN".into()))?;
        if let Some(problem) = list::problems(&metadata).into_iter().next() {
            return Err(unusable(problem));
        }
        if !metadata.signing_algorithms().contains(&spec::signing(algorithm)) {
            let kind = metadata.key_spec.as_ref().map_or("unknown", |kind| kind.as_str());
            return Err(unusable(format!("it is of type {kind}, which does not sign {}", algorithm.name())));
        }
        if metadata.origin.as_ref().is_some_and(|origin| *origin != OriginType::AwsKms) {
            tracing::warn!(
                backend = service.settings.name,
                arn,
                "Key was imported: there is a copy outside of KMS"
            );
        }
        let (public, raw) = self.public_key(&arn, algorithm).await?;
        if pinned.is_some_and(|pinned| *pinned != public) {
            let message = format!("key {arn} has another public key than the one that was recorded for it");
            return Err(service.error(Kind::Forged, "other key", message));
        }
        let label = metadata.description.unwrap_or_default();
        let made = metadata.creation_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
        let id = arn.clone().into_bytes();
        let key = Key::new(Arc::clone(service), arn, algorithm, public.clone(), &raw, made);
        Ok(Opened { id, label, public, signer: Arc::new(key) })
    }

    /// The public key, checked to be of the algorithm's type, and its encoding without the wrapping.
    pub(super) async fn public_key(
        &self,
        arn: &str,
        algorithm: Algorithm,
    ) -> Result<(PublicKey, Vec<u8>), Error> {
        let service = &self.service;
        let der = self.spki(arn).await?;
        let unusable = |why: String| {
            service.error(Kind::Misconfigured, "not usable", format!("public key of {arn}: {why}"))
        };
        let public = PublicKey::from_spki(&der).map_err(|error| unusable(error.to_string()))?;
        Verifier::new(algorithm, public.clone()).map_err(|error| unusable(error.to_string()))?;
        let info =
            spki::SubjectPublicKeyInfoRef::try_from(&*der).map_err(|error| unusable(error.to_string()))?;
        Ok((public, info.subject_public_key.raw_bytes().to_vec()))
    }

    /// The SubjectPublicKeyInfo.
    pub(super) async fn spki(&self, arn: &str) -> Result<Vec<u8>, Error> {
        let answer = self.service.repeat(true, |client| client.get_public_key().key_id(arn).send()).await?;
        Ok(answer.public_key.map(Blob::into_inner).unwrap_or_default())
    }
}

impl KeyStore for Backend {
    fn open<'a>(
        &'a self,
        wanted: Wanted<'a>,
        algorithm: Algorithm,
        pinned: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(self.open_key(wanted, algorithm, pinned))
    }

    fn generate<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
        spec: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Error>> {
        Box::pin(self.make(id, label, spec))
    }

    fn find_made<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        Box::pin(self.look_for_made(id, label))
    }

    fn settling(&self) -> Duration {
        FRESH
    }

    fn destroy<'a>(&'a self, id: &'a [u8], public: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Error>> {
        Box::pin(self.schedule_deletion(id, public))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(list::keys(&self.service))
    }

    fn health(&self) -> &Arc<Health> {
        &self.service.health
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        let reason = self.service.trouble();
        let signs = self.service.signs.load(Ordering::Relaxed);
        let ready = reason.is_none();
        Box::pin(async move { Status { kind: "aws-kms", ready, reason, signs, ..Status::default() } })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.service.gate.close())
    }
}

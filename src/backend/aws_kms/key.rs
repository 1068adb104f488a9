//! One key of KMS: a `Sign` request, or two where the first is slow.
//!
//! Must never repeat a request that failed, nor name a key by its alias.

use super::error::{FRESH, Fault, Kind, is_cured};
use super::message::Form;
use super::service::Service;
use super::spec;
use crate::backend::{Ask, Attempt, BoxFuture, Error, Signed, SigningKey};
use crate::clock::{Clock, SystemClock};
use crate::jose::{Algorithm, PublicKey, Signature};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use jiff::Timestamp;
use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::{Instant, timeout_at};

/// The right to sign with one key.
pub(super) struct Key {
    pub(super) service: Arc<Service>,
    pub(super) arn: String,
    pub(super) public: PublicKey,
    pub(super) form: Form,
    pub(super) algorithm: SigningAlgorithmSpec,
    /// When it was made, if KMS said so.
    pub(super) made: Option<Timestamp>,
}

impl Key {
    /// `raw` is the public key inside its SubjectPublicKeyInfo.
    pub(super) fn new(
        service: Arc<Service>,
        arn: String,
        algorithm: Algorithm,
        public: PublicKey,
        raw: &[u8],
        made: Option<Timestamp>,
    ) -> Self {
        let form = Form::new(algorithm, raw);
        Self { service, arn, public, form, algorithm: spec::signing(algorithm), made }
    }

    async fn sign_once(&self, input: &[u8], ask: Ask) -> Result<Signed, Fault> {
        let Some((kind, message)) = self.form.of(input) else {
            let most = self.form.max_input();
            let message = format!("KMS signs 1 to {most} bytes with this key, not {}", input.len());
            return Err(Fault::new(Kind::Length, "length", message));
        };
        let gate = &self.service.gate;
        let _pass = gate.enter(ask).await?;
        let after = gate.ask();
        let started = Instant::now();
        let end = started + self.service.settings.attempt_timeout;
        let limit = if ask.deadline < end { (ask.deadline, Kind::Late) } else { (end, Kind::Service) };
        let message = Blob::new(message);
        let mut first = pin!(self.request(kind.clone(), message.clone(), limit));
        let slow = match after {
            Some(after) => timeout_at(limit.0.min(started + after), &mut first).await,
            None => Ok((&mut first).await),
        };
        let signed = match slow {
            Ok(answer) => answer.map(Signed::from),
            Err(_) => match gate.enter_twice() {
                None => first.await.map(Signed::from),
                Some(_pass) => self.race(first, self.request(kind, message, limit)).await,
            },
        };
        if signed.is_ok() {
            // Of the first request, also where it lost the race: it took so long at least. Counting the second one in
            // its place would lower the percentile, and so make more of them.
            gate.answered(started.elapsed());
        }
        signed
    }

    /// The first signature of two requests, and what became of the other one.
    async fn race(
        &self,
        first: impl Future<Output = Result<Signature, Fault>>,
        second: impl Future<Output = Result<Signature, Fault>>,
    ) -> Result<Signed, Fault> {
        let (mut first, mut second) = (pin!(first), pin!(second));
        let (early, late) = tokio::select! {
            answer = &mut first => match answer {
                Ok(signature) => (Ok(signature), None),
                // A good one does not make up for that.
                Err(fault) if fault.kind == Kind::Forged => (Err(fault), None),
                Err(fault) => (Err(fault), Some(second.await)),
            },
            answer = &mut second => match answer {
                Ok(signature) => (Ok(signature), None),
                Err(fault) if fault.kind == Kind::Forged => (Err(fault), None),
                Err(fault) => (Err(fault), Some(first.await)),
            },
        };
        let (signature, other) = match (early, late) {
            (Ok(signature), _) => (signature, Cow::Borrowed("hedged, not awaited")),
            (Err(fault), Some(Ok(signature))) => (signature, Cow::Owned(fault.code)),
            (Err(fault), Some(Err(other))) => {
                let code = format!("{}, hedged: {}", fault.code, other.code);
                return Err(Fault { code, ..fault });
            }
            (Err(fault), None) => return Err(fault),
        };
        let others = vec![Attempt { backend: Arc::clone(self.service.health.backend()), outcome: other }];
        Ok(Signed { signature, others })
    }

    async fn request(
        &self,
        kind: MessageType,
        message: Blob,
        (limit, late): (Instant, Kind),
    ) -> Result<Signature, Fault> {
        self.service.signs.fetch_add(1, Ordering::Relaxed);
        let answer = self
            .service
            .call(limit, late, |client| {
                client
                    .sign()
                    .key_id(&self.arn)
                    .message(message)
                    .message_type(kind)
                    .signing_algorithm(self.algorithm.clone())
                    .send()
            })
            .await?;
        let bytes = answer.signature.map(Blob::into_inner).unwrap_or_default();
        Signature::from_x509(bytes, &self.public)
            .map_err(|bad| Fault::new(Kind::Forged, "bad signature", bad.to_string()))
    }

    fn is_fresh(&self) -> bool {
        let age = |made: Timestamp| SystemClock.now().as_second() - made.as_second();
        self.made.is_some_and(|made| u64::try_from(age(made).abs()).is_ok_and(|age| age < FRESH.as_secs()))
    }
}

impl SigningKey for Key {
    fn sign<'a>(&'a self, input: &'a [u8], ask: Ask) -> BoxFuture<'a, Result<Signed, Error>> {
        Box::pin(async move {
            let signed = self.sign_once(input, ask).await;
            signed.map_err(|fault| fault.settle(&self.service.settings.name, self.is_fresh()))
        })
    }

    fn may_repeat(&self, fault: &Error) -> bool {
        is_cured(&fault.advice) || self.service.gate.spend()
    }

    fn max_input(&self) -> usize {
        self.form.max_input()
    }
}

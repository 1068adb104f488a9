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
use futures_util::future::select;
use jiff::Timestamp;
use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::{Instant, timeout_at};

/// Requests for one signature, hedge included, before which none follows any more.
const MOST: usize = 3;

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

    /// `other` is what became of the second request if there was one.
    async fn sign_once(
        &self,
        input: &[u8],
        ask: Ask,
        other: &mut Option<Cow<'static, str>>,
    ) -> Result<Signature, Fault> {
        let Some((kind, message)) = self.form.of(input) else {
            let most = self.form.max_input();
            let message = format!("KMS signs 1 to {most} bytes with this key, not {}", input.len());
            return Err(Fault::new(Kind::Length, "length", message));
        };
        let gate = &self.service.gate;
        let _pass = gate.enter(ask).await?;
        // Later ones are repeats already.
        let after = gate.ask().filter(|_| ask.attempt == 0);
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
            Ok(answer) => answer,
            Err(_) => match gate.enter_twice() {
                None => first.await,
                Some(_pass) => {
                    let (answer, lost) = race(first, self.request(kind, message, limit)).await;
                    *other = Some(lost);
                    answer
                }
            },
        };
        if signed.is_ok() {
            // Of the first request, also where it lost the race: it took so long at least. Counting the second one in
            // its place would lower the percentile, and so make more of them.
            gate.answered(started.elapsed());
        }
        signed
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

/// The first signature of two requests or, if there is none, the worse fault; and what became of the other one.
async fn race(
    first: impl Future<Output = Result<Signature, Fault>>,
    second: impl Future<Output = Result<Signature, Fault>>,
) -> (Result<Signature, Fault>, Cow<'static, str>) {
    let (first, second) = (pin!(first), pin!(second));
    let (early, rest) = select(first, second).await.factor_first();
    match early {
        Err(fault) if fault.kind != Kind::Forged => match rest.await {
            Ok(signature) => (Ok(signature), fault.code.into()),
            Err(forged) if forged.kind == Kind::Forged => (Err(forged), fault.code.into()),
            Err(other) => (Err(fault), other.code.into()),
        },
        // Neither a good one nor another fault makes up for a forged one.
        early => (early, "hedged, not awaited".into()),
    }
}

impl SigningKey for Key {
    fn sign<'a>(&'a self, input: &'a [u8], ask: Ask) -> BoxFuture<'a, Signed> {
        Box::pin(async move {
            let mut other = None;
            let result = self.sign_once(input, ask, &mut other).await;
            let backend = self.service.health.backend();
            let others: Vec<_> =
                other.map(|outcome| Attempt { backend: Arc::clone(backend), outcome }).into_iter().collect();
            let sent = ask.attempt + 1 + others.len();
            let result = result.map_err(|fault| {
                let mut error = fault.settle(backend, self.is_fresh());
                if sent >= MOST {
                    error.advice.retries = 0;
                }
                error
            });
            Signed { result, others }
        })
    }

    fn may_repeat(&self, fault: &Error) -> bool {
        is_cured(&fault.advice) || self.service.gate.spend()
    }

    fn max_input(&self) -> usize {
        self.form.max_input()
    }
}

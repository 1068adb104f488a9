//! One region of KMS: its client, credentials and limits, and every call that is made to it.
//!
//! A call is made once. What it teaches, such as that credentials are too old or a clock is wrong, is put right before
//! its fault is handed on, so that whoever repeats it repeats something else.

use super::credentials::{Keeper, Source};
use super::error::{Fault, Kind};
use super::gate::Gate;
use super::{Settings, client};
use crate::backend::{Error, Health};
use crate::clock::{Clock, SystemClock};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::{DateTime, DateTimeFormat};
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// A call that had less time than this says nothing about the service when it is not answered.
const STALL: Duration = Duration::from_millis(250);
/// Opening, listing and making keys may take so long, call by call.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all keys of a backend share.
pub(super) struct Service {
    pub(super) settings: Settings,
    pub(super) health: Arc<Health>,
    pub(super) gate: Gate,
    /// `Sign` requests sent.
    pub(super) signs: AtomicU64,
    keeper: Keeper,
    /// Or why the endpoint may not be used.
    client: Result<Client, String>,
    /// Why it would not work now, as the last call showed.
    trouble: Mutex<Option<String>>,
}

impl Service {
    pub(super) fn new(settings: Settings, source: Source, health: Arc<Health>) -> Self {
        let keeper = Keeper::new(source, &settings.name);
        let client = client::build(&settings, keeper.clone());
        let trouble = client.as_ref().err().cloned().unwrap_or_else(|| "it was not asked yet".to_owned());
        Self {
            client,
            gate: Gate::new(settings.rate, settings.concurrency, settings.hedge),
            settings,
            health,
            signs: AtomicU64::new(0),
            keeper,
            trouble: Mutex::new(Some(trouble)),
        }
    }

    /// Makes one call, which must end by `limit`.
    pub(super) async fn call<T, E, F>(
        &self,
        limit: Instant,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let client = self.client.clone();
        let client = client.map_err(|refusal| Fault::new(Kind::Misconfigured, "endpoint", refusal))?;
        let started = Instant::now();
        let late = || {
            let given = limit.saturating_duration_since(started);
            let kind = match given {
                _ if given < STALL => Kind::Hurried,
                _ if given < self.settings.attempt_timeout => Kind::Late,
                _ => Kind::Service,
            };
            Fault::new(kind, "timeout", format!("no answer within {} ms", given.as_millis()))
        };
        let ready = timeout_at(limit, self.keeper.ready()).await;
        let ready = ready.unwrap_or_else(|_| Err("nobody handed any out in time".to_owned()));
        let generation = self.keeper.generation();
        let answer = match ready {
            Err(fault) => Err(Fault::new(Kind::Credentials, "no credentials", fault)),
            // Boxed: the SDK's futures are large.
            Ok(()) => match timeout_at(limit, Box::pin(send(client))).await {
                Ok(answer) => answer.map_err(|error| Fault::of(&error)),
                Err(_) => Err(late()),
            },
        };
        let answer = match answer {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(self.learn(fault, generation, limit).await),
        };
        self.remember(answer.as_ref().err());
        answer
    }

    /// Puts right what a fault shows to be wrong on our side.
    async fn learn(&self, fault: Fault, generation: u64, limit: Instant) -> Fault {
        let backend = &self.settings.name;
        self.gate.failed(fault.kind);
        let cured = match fault.kind {
            Kind::Credentials => {
                let renewed = timeout_at(limit, self.keeper.renewed(generation)).await.unwrap_or(false);
                tracing::warn!(backend, code = fault.code, renewed, "Credentials were refused");
                renewed
            }
            // The SDK noted the difference and signs the next request with it.
            Kind::Clock => {
                let behind = fault.date.as_deref().and_then(behind_by);
                tracing::warn!(
                    backend,
                    code = fault.code,
                    behind_seconds = behind,
                    "The clock of this host differs from AWS's: set it right"
                );
                behind.is_some()
            }
            _ => false,
        };
        Fault { cured, ..fault }
    }

    /// Keeps whether the service would work, for people.
    fn remember(&self, fault: Option<&Fault>) {
        let trouble = match fault.map(|fault| (fault.kind, fault)) {
            None => None,
            Some((Kind::Service | Kind::Late | Kind::Credentials | Kind::Clock, fault)) => {
                Some(fault.to_string())
            }
            Some((Kind::Hurried, _)) => return,
            // Other faults are of one key, and prove that it answers.
            Some(_) => None,
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Why a signature would not be tried now.
    pub(super) fn trouble(&self) -> Option<String> {
        if let Some(reason) = self.health.quarantined() {
            return Some(format!("quarantined: {reason}"));
        }
        if self.gate.is_closed() {
            return Some("shut down".to_owned());
        }
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.or_else(|| {
            let open = !self.health.is_good();
            open.then(|| "it failed again and again and is left alone for a moment".to_owned())
        })
    }

    /// Makes a call that changes nothing, again as long as its fault may pass. `fresh`: the key was just made.
    pub(super) async fn read<T, E, F>(&self, fresh: bool, send: impl Fn(Client) -> F) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let mut tries = 1;
        loop {
            let fault = match self.call(Instant::now() + PATIENCE, &send).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let error = fault.clone().settle(&self.settings.name, fresh, || true);
            if !error.advice.here || tries > u32::from(error.advice.retries) {
                return Err(fault.settle(&self.settings.name, false, || false));
            }
            tries += 1;
            sleep(error.advice.pause).await;
        }
    }

    /// Makes a call that changes something, once.
    pub(super) async fn write<T, E, F>(&self, send: impl FnOnce(Client) -> F) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let answer = self.call(Instant::now() + PATIENCE, send).await;
        answer.map_err(|fault| fault.settle(&self.settings.name, false, || false))
    }

    /// An error of our own making.
    pub(super) fn error(&self, kind: Kind, message: impl Into<String>) -> Error {
        let code = match kind {
            Kind::Forged => "other key",
            _ => "key",
        };
        Fault::new(kind, code, message).settle(&self.settings.name, false, || false)
    }
}

/// Seconds that our clock is behind that of an HTTP date; negative when it is ahead.
fn behind_by(date: &str) -> Option<i64> {
    let theirs = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?.secs();
    Some(theirs - SystemClock.now().as_second())
}

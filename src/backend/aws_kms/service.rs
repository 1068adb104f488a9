//! One region of KMS: its client, credentials and limits, and every call that is made to it.
//!
//! A call is made once. What it teaches, such as that credentials are too old or a clock is wrong, is put right before
//! its fault is handed on, so that whoever repeats it repeats something else.

use super::credentials::{Keeper, Source};
use super::error::{Fault, Kind};
use super::gate::Gate;
use super::skew::Skew;
use super::{Settings, client};
use crate::backend::{Error, Health};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// A call that had less time than this says nothing about the service when it is not answered.
const STALL: Duration = Duration::from_millis(250);
/// One request of opening, listing, making and destroying keys may take so long, repeats included.
const PATIENCE: Duration = Duration::from_secs(10);
/// One call of them, at least.
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// What all keys of a backend share.
pub(super) struct Service {
    pub(super) settings: Settings,
    pub(super) health: Arc<Health>,
    pub(super) gate: Gate,
    /// `Sign` requests sent.
    pub(super) signs: AtomicU64,
    keeper: Keeper,
    skew: Skew,
    /// Or why the endpoint may not be used.
    client: Result<Client, &'static str>,
    /// Why it would not work now, as the last call showed.
    trouble: Mutex<Option<String>>,
}

impl Service {
    pub(super) fn new(settings: Settings, source: Source, health: Arc<Health>) -> Self {
        let keeper = Keeper::new(source, &settings.name);
        let skew = Skew::default();
        let client = client::build(&settings, keeper.clone(), skew.clone());
        Self {
            client,
            skew,
            gate: Gate::new(settings.rate, settings.concurrency, settings.hedge),
            settings,
            health,
            signs: AtomicU64::new(0),
            keeper,
            trouble: Mutex::default(),
        }
    }

    fn client(&self) -> Result<Client, Fault> {
        self.client.clone().map_err(|refusal| Fault::new(Kind::Misconfigured, "endpoint", refusal))
    }

    /// Whether there is all that a call needs. Asks the service nothing: who may sign need not be allowed anything
    /// else, and every refusal raises an alarm somewhere.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        let ready = match self.client() {
            Ok(_) => self.keeper.ready().await.map_err(no_credentials),
            Err(fault) => Err(fault),
        };
        self.remember(ready.as_ref().err());
        ready.map_err(|fault| fault.settle(&self.settings.name, false))
    }

    /// Makes one call, which must end by `limit`; `late` is the fault if it does not.
    pub(super) async fn call<T, E, F>(
        &self,
        limit: Instant,
        late: Kind,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, Fault>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        let client = self.client()?;
        let started = Instant::now();
        let no_answer = || {
            let given = limit.saturating_duration_since(started);
            let kind = if given < STALL { Kind::Hurried } else { late };
            Fault::new(kind, "timeout", format!("no answer within {} ms", given.as_millis()))
        };
        let ready = timeout_at(limit, self.keeper.ready()).await;
        let ready = ready.unwrap_or_else(|_| Err("nobody handed any out in time".to_owned()));
        let used = (self.keeper.generation(), self.skew.generation());
        let answer = match ready {
            Err(why) => Err(no_credentials(why)),
            // Boxed: the SDK's futures are large.
            Ok(()) => match timeout_at(limit, Box::pin(send(client))).await {
                Ok(answer) => answer.map_err(|error| Fault::of(&error)),
                Err(_) => Err(no_answer()),
            },
        };
        let answer = match answer {
            Ok(answer) => Ok(answer),
            Err(fault) => Err(self.learn(fault, used, limit).await),
        };
        self.remember(answer.as_ref().err());
        answer
    }

    /// Puts right what a fault shows to be wrong on our side, of what the call used: credentials and clock.
    async fn learn(&self, fault: Fault, (credentials, clock): (u64, u64), limit: Instant) -> Fault {
        let backend = &self.settings.name;
        self.gate.failed(fault.kind);
        let cured = match fault.kind {
            Kind::Credentials => {
                let renewed = timeout_at(limit, self.keeper.renewed(credentials)).await.unwrap_or(false);
                tracing::warn!(backend, code = fault.code, renewed, "Credentials were refused");
                renewed
            }
            Kind::Clock => {
                let behind = fault.date.as_deref().and_then(|date| self.skew.correct(clock, date));
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
            Some((
                Kind::Service | Kind::Unreachable | Kind::Late | Kind::Credentials | Kind::Clock,
                fault,
            )) => Some(fault.to_string()),
            Some((Kind::Hurried, _)) => return,
            Some((_, fault)) if self.client.is_err() => Some(fault.to_string()),
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

    /// Makes a call that does no harm when it is made twice, again as long as its fault may pass. `fresh`: the key may
    /// just have been made.
    pub(super) async fn repeat<T, E, F>(&self, fresh: bool, send: impl Fn(Client) -> F) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        self.open()?;
        let end = Instant::now() + PATIENCE;
        let mut tries = 1;
        loop {
            let limit = Instant::now() + CALL_LIMIT.max(self.settings.attempt_timeout);
            let fault = match self.call(limit.min(end), Kind::Service, &send).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let error = fault.clone().settle(&self.settings.name, fresh);
            let over = Instant::now() + error.advice.pause >= end;
            if over || !error.advice.here || tries > u32::from(error.advice.retries) {
                return Err(fault.settle(&self.settings.name, false));
            }
            tries += 1;
            sleep(error.advice.pause).await;
        }
    }

    /// Makes a call once, because it would do its work twice.
    pub(super) async fn write<T, E, F>(&self, send: impl FnOnce(Client) -> F) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    {
        self.open()?;
        let answer = self.call(Instant::now() + PATIENCE, Kind::Service, send).await;
        answer.map_err(|fault| fault.settle(&self.settings.name, false))
    }

    /// Nothing is asked after the end.
    fn open(&self) -> Result<(), Error> {
        if self.gate.is_closed() { Err(Fault::stopped().settle(&self.settings.name, false)) } else { Ok(()) }
    }

    /// An error of our own making; `code` is for the record.
    pub(super) fn error(&self, kind: Kind, code: &str, message: impl Into<String>) -> Error {
        Fault::new(kind, code, message).settle(&self.settings.name, false)
    }
}

fn no_credentials(why: String) -> Fault {
    Fault::new(Kind::Credentials, "no credentials", why)
}

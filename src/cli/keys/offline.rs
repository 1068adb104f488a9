//! What is done in place of a daemon that is not running, in its log and its state.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::daemon::patiently;
use crate::admin::{ActName, Admin, AdminError, By, KeyReport};
use crate::audit::{Actor, Entry, Event, Log, OpenError, Outcome as Recorded};
use crate::backend::pkcs11::pin;
use crate::backend::{Class, Settings};
use crate::cli::output::{CONFIG, Failure, NO, UNAVAILABLE, line};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::daemon::{self, Foundation, ServeError};
use crate::keyring::MakeError;

/// Makes the next version of `key` and records it. Gives its `kid`, and the key as it is then.
pub(in crate::cli) fn generate(config: &Config, key: &str) -> Result<(String, KeyReport), Failure> {
    by_ourselves(config, key, ActName::Generate, async |admin| admin.generate(&operator(), key).await)
}

/// Takes what `name` names in the backend as the next version of `key`, and records it.
pub(super) fn adopt(config: &Config, key: &str, name: &str) -> Result<(String, KeyReport), Failure> {
    by_ourselves(config, key, ActName::Adopt, async |admin| admin.adopt(&operator(), key, name).await)
}

fn operator() -> By {
    By::operator(Actor::ourselves(), None)
}

/// That the configuration has this key.
pub(super) fn check(config: &Config, key: &str) -> Result<(), Failure> {
    if config.keys.contains_key(key) {
        return Ok(());
    }
    let known: Vec<&str> = config.keys.keys().map(String::as_str).collect();
    let message = format!("the configuration has no [key.{key}]; it has: {}", known.join(", "));
    Err(Failure::new(CONFIG, message))
}

/// Acts in place of the daemon, which is not running.
fn by_ourselves(
    config: &Config,
    key: &str,
    name: ActName,
    act: impl AsyncFnOnce(&Admin) -> Result<String, AdminError>,
) -> Result<(String, KeyReport), Failure> {
    check(config, key)?;
    if config.two_person.acts.contains(&name) {
        let message = "two operators are needed for this (admin.two_person): start the daemon, which starts without \
                       a version too, and ask it";
        return Err(Failure::new(NO, message));
    }
    // Before anything starts a thread.
    daemon::prepare(config)?;
    let runtime = daemon::runtime()?;
    let work = async {
        let running = "a daemon holds the log but does not answer on its admin socket: it is starting or stopping; \
                       try again";
        let log = log_if_free(config)?.ok_or_else(|| Failure::new(UNAVAILABLE, running))?;
        let done = with_backends(config, Some(&log), async |foundation| {
            // What is dated ahead of time does not sign until then.
            let opened = daemon::open_clock(config.clock, Arc::new(SystemClock), &foundation.store);
            let (clock, _events) = opened.map_err(|error| Failure::because(UNAVAILABLE, &error))?;
            if let Some(fault) = clock.fault() {
                let message = format!(
                    "nothing is done while the clock is not trusted: {fault} (`jwsd clock` asks a daemon: start it first, \
                     which works without a version, too)"
                );
                return Err(Failure::new(UNAVAILABLE, message));
            }
            let admin = daemon::admin(config, foundation, &log, &clock.steady());
            // As a daemon would refuse to start.
            admin.refuse_mixed().await.map_err(ServeError::from)?;
            let acted = async { Ok((act(&admin).await?, admin.key(key).await?)) };
            acted.await.map_err(|error| Failure::because(code_of(&error), &error))
        })
        .await;
        log.close().await;
        done
    };
    patiently(name, || runtime.block_on(work))
}

/// Whether the answer is no, or something is not available.
fn code_of(error: &AdminError) -> u8 {
    match error {
        AdminError::Unknown { .. } => CONFIG,
        AdminError::Illegal(_)
        | AdminError::NoVersion { .. }
        | AdminError::Taken { .. }
        | AdminError::TooMany { .. }
        | AdminError::TooManyProposals { .. }
        | AdminError::InService { .. }
        | AdminError::Unproven { .. }
        | AdminError::Unpublished { .. }
        | AdminError::IssuerUnpublished { .. }
        | AdminError::Busy { .. }
        | AdminError::Settling { .. }
        | AdminError::Contended
        | AdminError::MayNotGenerate { .. }
        | AdminError::Make(MakeError::Unusable { .. }) => NO,
        AdminError::Make(MakeError::Backend(source)) if source.class == Class::Misconfigured => NO,
        AdminError::Make(_)
        | AdminError::Backend(_)
        | AdminError::Load(_)
        | AdminError::Unavailable(_)
        | AdminError::State(_)
        | AdminError::Subjects(_)
        | AdminError::Erasing { .. }
        | AdminError::Defect => UNAVAILABLE,
    }
}

/// The log to record in; `None` while the daemon runs, which holds it.
pub(super) fn log_if_free(config: &Config) -> Result<Option<Log>, Failure> {
    match daemon::open_log(config) {
        Ok(log) => Ok(Some(log)),
        Err(ServeError::AuditOpen(OpenError::Locked { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Starts the backends, acts, ends them; what happened to them is recorded if `log` is ours.
pub(super) async fn with_backends<T>(
    config: &Config,
    log: Option<&Log>,
    act: impl AsyncFnOnce(&Foundation) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (notify, mut events) = mpsc::unbounded_channel();
    let store = daemon::open_store(config)?;
    let outcome = match Foundation::open(config, Arc::clone(&store), notify).await {
        Ok(foundation) => {
            let outcome = act(&foundation).await;
            foundation.close().await;
            outcome
        }
        Err(error) => Err(error.into()),
    };
    if let Some(log) = log {
        daemon::record_pending(&mut events, log, &store);
    }
    outcome
}

pub(super) fn clear_pin(config: &Config, backend: &str) -> Result<(), Failure> {
    let settings = config
        .backends
        .get(backend)
        .ok_or_else(|| Failure::new(CONFIG, format_args!("the configuration has no [backend.{backend}]")))?;
    let Settings::Pkcs11(settings) = settings else {
        return Err(Failure::new(CONFIG, format_args!("backend {backend} has no PIN")));
    };
    daemon::prepare(config)?;
    let unreadable = |error| Failure::new(UNAVAILABLE, format_args!("the PIN marker of {backend}: {error}"));
    let state = pin::state(&settings.marker_dir, backend).map_err(unreadable)?;
    if state.allows_login() {
        return line(format_args!("backend {backend}: no login is blocked"));
    }
    // Recorded before it is done; the running daemon records it when it notices.
    let log = log_if_free(config)?;
    if let Some(log) = &log {
        let entry = Entry {
            actor: Some(Actor::ourselves()),
            object: Some(backend.to_owned()),
            ..Entry::new(Event::PinCleared, Recorded::Success)
        };
        daemon::runtime()?.block_on(async {
            let recorded = record(log, entry).await;
            log.close().await;
            recorded
        })?;
    }
    pin::clear(&settings.marker_dir, backend).map_err(unreadable)?;
    let who = if log.is_some() { "the next start" } else { "the running daemon" };
    line(format_args!("backend {backend}: {who} logs in once"))
}

/// Records one act of an operator, durably.
async fn record(log: &Log, entry: Entry) -> Result<(), Failure> {
    let recorded = match log.append(vec![entry]) {
        Ok(mut ticket) => ticket.durable().await,
        Err(error) => Err(error),
    };
    recorded.map_err(|error| Failure::because(UNAVAILABLE, &error))
}

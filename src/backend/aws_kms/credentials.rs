//! The credentials in use: renewed in the background at half of their life, used until they expire.
//!
//! The SDK's own cache renews at the last moment, lets every request wait for that, and fails them all when it does
//! not work. Must never log or store a secret.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Settings;
use super::client;
use crate::clock::{Clock, SystemClock};
use crate::telemetry::Chain;

/// Loading must end within this, however many places are looked at.
const LOAD_LIMIT: Duration = Duration::from_secs(10);
/// Credentials without an end are looked up again so often: a file may have been edited.
const LIFE: Duration = Duration::from_secs(30 * 60);
/// After a failure the next try waits for so long, unless somebody insists.
const BACKOFF: Duration = Duration::from_secs(5);

/// Where credentials come from.
pub(super) enum Source {
    /// The SDK's chain, built anew each time: its parts remember what they once read.
    Chain(Box<Settings>),
    /// Somebody else's.
    Given(SharedCredentialsProvider),
}

#[derive(Default)]
struct State {
    held: Option<Credentials>,
    /// Rises with every other access key.
    generation: u64,
    /// Rises with every attempt that ended.
    tries: u64,
    /// When to renew in the background, since 1970.
    next: Option<Duration>,
    fault: Option<String>,
}

struct Inner {
    source: Source,
    backend: String,
    state: watch::Sender<State>,
    busy: AtomicBool,
}

/// Keeps the credentials.
#[derive(Clone)]
pub(super) struct Keeper(Arc<Inner>);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// Since 1970.
fn now() -> Duration {
    Duration::from_millis(u64::try_from(SystemClock.now().as_millisecond()).unwrap_or(0))
}

impl Keeper {
    pub(super) fn new(source: Source, backend: &str) -> Self {
        Self(Arc::new(Inner {
            source,
            backend: backend.to_owned(),
            state: watch::Sender::default(),
            busy: AtomicBool::new(false),
        }))
    }

    /// Which credentials are in use now; to be noted before a request is made with them.
    pub(super) fn generation(&self) -> u64 {
        self.0.state.borrow().generation
    }

    /// Waits until there are credentials.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn ready(&self) -> Result<(), String> {
        if self.0.state.borrow().held.is_none() {
            self.renewed(0).await;
        }
        let state = self.0.state.borrow();
        match &state.held {
            Some(_) => Ok(()),
            None => Err(state.fault.clone().unwrap_or_default()),
        }
    }

    /// KMS refused those of `generation`: gets others, unless somebody did already. False when there are none.
    pub(super) async fn renewed(&self, generation: u64) -> bool {
        let mut state = self.0.state.subscribe();
        let tries = {
            let state = state.borrow();
            if state.generation != generation {
                return true;
            }
            state.tries
        };
        self.renew();
        // The sender lives as long as `self`.
        let ended = state.wait_for(|state| state.tries != tries).await;
        ended.is_ok_and(|state| state.generation != generation)
    }

    /// Loads in a task of its own, so that nobody's deadline ends it; one at a time.
    fn renew(&self) {
        if self.0.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.0);
        // Bounded by `LOAD_LIMIT`.
        tokio::spawn(async move {
            let loaded = timeout(LOAD_LIMIT, inner.source.load()).await;
            inner.busy.store(false, Ordering::Release);
            let loaded = loaded
                .map_err(|_| format!("no answer within {LOAD_LIMIT:?}"))
                .and_then(|loaded| loaded.map_err(|error| in_one_line(&Chain(&error).to_string())));
            inner.state.send_modify(|state| state.take(loaded, now(), &inner.backend));
        });
    }
}

/// The SDK lists where it looked, a line each.
fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

impl State {
    fn take(&mut self, loaded: Result<Credentials, String>, now: Duration, backend: &str) {
        self.tries += 1;
        match loaded {
            Ok(credentials) => {
                let id = |credentials: &Credentials| credentials.access_key_id().to_owned();
                if self.held.as_ref().map(id) != Some(id(&credentials)) {
                    self.generation += 1;
                    tracing::info!(backend, generation = self.generation, "Credentials are in use");
                }
                let end = credentials.expiry().and_then(|end| end.duration_since(UNIX_EPOCH).ok());
                let left = end.map_or(LIFE * 2, |end| end.saturating_sub(now));
                self.next = Some(now + (left / 2).max(BACKOFF));
                self.held = Some(credentials);
                self.fault = None;
            }
            Err(fault) => {
                self.next = Some(now + BACKOFF);
                if self.held.is_some() {
                    tracing::warn!(
                        backend,
                        fault,
                        "Old credentials stay in use: no newer ones are to be had"
                    );
                }
                self.fault = Some(fault);
            }
        }
    }
}

impl ProvideCredentials for Keeper {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let state = self.0.state.borrow();
        let Some(held) = state.held.clone() else {
            drop(state);
            return future::ProvideCredentials::new(async {
                self.ready().await.map_err(CredentialsError::not_loaded)?;
                let held = self.0.state.borrow().held.clone();
                held.ok_or_else(CredentialsError::not_loaded_no_source)
            });
        };
        let due = state.next.is_some_and(|next| next <= now());
        drop(state);
        if due {
            self.renew();
        }
        // Whether they are too old is for the service to say: our clock may be the wrong one.
        future::ProvideCredentials::ready(Ok(held))
    }
}

impl Source {
    async fn load(&self) -> provider::Result {
        match self {
            Self::Chain(settings) => client::chain(settings).await.provide_credentials().await,
            Self::Given(provider) => provider.provide_credentials().await,
        }
    }
}

#[cfg(test)]
mod tests;

//! Whether a backend, or one key in it, may be asked: its breaker, its quarantine, and how busy it is.
//!
//! A breaker closes by itself; a quarantine is lifted by an operator only, also across restarts: the daemon keeps it
//! in state and hands it back at start.

use super::BackendEvent;
use super::breaker::{Admission, Breaker};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// Why one may not be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The breaker is open; try again after this.
    Open(Duration),
    /// Only an operator can release it. Says what it did.
    Quarantined(String),
}

/// The health of one backend, or of one key version in it.
pub struct Health {
    backend: Arc<str>,
    /// Of which version; `None` is the backend as a whole.
    kid: Option<String>,
    state: Mutex<State>,
    released: Notify,
    in_flight: AtomicUsize,
    events: Option<mpsc::UnboundedSender<BackendEvent>>,
}

#[derive(Default)]
struct State {
    breaker: Breaker,
    quarantine: Option<String>,
}

impl Health {
    /// Of a whole backend; `events` hears what happens to it.
    pub fn of_backend(backend: &str, events: Option<mpsc::UnboundedSender<BackendEvent>>) -> Arc<Self> {
        Arc::new(Self::new(backend, None, events))
    }

    /// Of one key version in the same backend, heard by the same listener.
    pub fn of_key(&self, kid: &str) -> Self {
        Self::new(&self.backend, Some(kid.to_owned()), self.events.clone())
    }

    fn new(backend: &str, kid: Option<String>, events: Option<mpsc::UnboundedSender<BackendEvent>>) -> Self {
        Self {
            backend: backend.into(),
            kid,
            state: Mutex::default(),
            released: Notify::new(),
            in_flight: AtomicUsize::new(0),
            events,
        }
    }

    /// The backend's name.
    pub fn backend(&self) -> &Arc<str> {
        &self.backend
    }

    /// Whether a request may be made now. A trial is granted to one asker at a time.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self) -> Result<(), Refused> {
        let mut state = self.lock();
        if let Some(reason) = &state.quarantine {
            return Err(Refused::Quarantined(reason.clone()));
        }
        match state.breaker.admit(Instant::now()) {
            Admission::Closed | Admission::Trial => Ok(()),
            Admission::Open(wait) => Err(Refused::Open(wait)),
        }
    }

    /// Whether requests are made without restraint.
    pub fn is_good(&self) -> bool {
        let state = self.lock();
        state.quarantine.is_none() && state.breaker.is_closed()
    }

    /// A request to it worked.
    pub fn succeed(&self) {
        if self.lock().breaker.succeed(Instant::now()) {
            tracing::info!(backend = %self.backend, kid = self.kid, "Backend works again");
            let (backend, kid) = (self.backend.to_string(), self.kid.clone());
            self.tell(BackendEvent::BreakerClosed { backend, kid });
        }
    }

    /// It was mended, as far as anybody can tell: an open breaker lets the next request through at once.
    pub fn try_again(&self) {
        self.lock().breaker.hope(Instant::now());
    }

    /// A request failed, and it is to blame.
    pub fn fail(&self, reason: &str) {
        if self.lock().breaker.fail(Instant::now()) {
            tracing::error!(backend = %self.backend, kid = self.kid, reason, "Backend fails again and again");
            self.tell(BackendEvent::BreakerOpened {
                backend: self.backend.to_string(),
                kid: self.kid.clone(),
                reason: reason.to_owned(),
            });
        }
    }

    /// From now on it is not asked any more, until it is released. The first reason stays.
    pub fn quarantine(&self, reason: &str) {
        if !self.restore(reason) {
            return;
        }
        tracing::error!(
            backend = %self.backend,
            kid = self.kid,
            reason,
            "Quarantined: find out why, then run `jwsd keys release`"
        );
        let (backend, reason) = (self.backend.to_string(), reason.to_owned());
        self.tell(match self.kid.clone() {
            Some(kid) => BackendEvent::KeyQuarantined { backend, kid, reason },
            None => BackendEvent::BackendQuarantined { backend, reason },
        });
    }

    /// A quarantine of before the restart, which nobody needs to hear of again. False when it was in one already.
    pub fn restore(&self, reason: &str) -> bool {
        let mut state = self.lock();
        let new = state.quarantine.is_none();
        if new {
            state.quarantine = Some(reason.to_owned());
        }
        new
    }

    /// What it is in quarantine for.
    pub fn quarantined(&self) -> Option<String> {
        self.lock().quarantine.clone()
    }

    /// Lifts the quarantine and forgets its failures; false when there was none.
    pub fn release(&self) -> bool {
        let mut state = self.lock();
        let was = state.quarantine.take().is_some();
        state.breaker = Breaker::default();
        drop(state);
        self.released.notify_waiters();
        was
    }

    /// Waits until it is not in quarantine.
    pub async fn wait_for_release(&self) {
        loop {
            let released = self.released.notified();
            if self.quarantined().is_none() {
                return;
            }
            released.await;
        }
    }

    /// Requests that are being answered by it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one request until the guard is dropped.
    pub fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Hands an event on to whoever listens.
    pub fn tell(&self, event: BackendEvent) {
        if let Some(events) = &self.events
            && let Err(unheard) = events.send(event)
        {
            tracing::error!(event = ?unheard.0, "Backend event came too late to be recorded");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that is being answered.
pub struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! One key version in one backend: whether it may be asked, and finding it again where it was not shown yet.

use super::super::health::Refused;
use super::super::{Advice, Class, Error, Health, KeyStore, Scope, SigningKey, Wanted};
use crate::jose::{Kid, Verifier};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Between looks for a key that a backend does not show: at first, and at most. A look may cost the backend much, and
/// one that is refused raises an alarm there.
const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];

/// After a fault another backend is preferred for so long.
const SHY: Duration = Duration::from_secs(1);

/// The key in one backend.
pub struct Member {
    store: Arc<dyn KeyStore>,
    health: Health,
    /// The id of the key in the backend that made it.
    origin: Vec<u8>,
    /// `None` until the backend has shown it.
    signer: RwLock<Option<Arc<dyn SigningKey>>>,
    /// When the next look for it is due, and the pause after that.
    look: Mutex<(Instant, Duration)>,
    past: Mutex<Past>,
    /// Requests for self-tests that were not told of yet.
    tests: AtomicU64,
}

/// How requests to it went.
#[derive(Default)]
struct Past {
    /// When a signature last verified.
    proven: Option<Instant>,
    /// When a request last failed, if none has worked since.
    stumbled: Option<Instant>,
}

fn first_look() -> (Instant, Duration) {
    let [pause, _] = LOOKS;
    (Instant::now(), pause)
}

impl Member {
    /// The version `kid` in `store`, which may not have shown it yet; `origin` is its id in the backend that made it.
    pub fn new(
        store: Arc<dyn KeyStore>,
        kid: &Kid,
        origin: Vec<u8>,
        signer: Option<Arc<dyn SigningKey>>,
    ) -> Self {
        let health = store.health().of_key(kid.as_str());
        Self {
            store,
            health,
            origin,
            signer: RwLock::new(signer),
            look: Mutex::new(first_look()),
            past: Mutex::default(),
            tests: AtomicU64::new(0),
        }
    }

    pub(super) fn tested(&self, requests: u64) {
        self.tests.fetch_add(requests, Ordering::Relaxed);
    }

    pub(super) fn take_tests(&self) -> u64 {
        self.tests.swap(0, Ordering::Relaxed)
    }

    /// Its breaker and quarantine.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The store that holds it.
    pub fn store(&self) -> &Arc<dyn KeyStore> {
        &self.store
    }

    /// The backend's name.
    pub fn backend(&self) -> &Arc<str> {
        self.health.backend()
    }

    /// Whether an operator must release it, or the whole backend, before it is used.
    pub fn is_quarantined(&self) -> bool {
        self.quarantine().is_some()
    }

    fn quarantine(&self) -> Option<String> {
        self.health.quarantined().or_else(|| self.store.health().quarantined())
    }

    /// Whether the backend has shown the key.
    pub fn is_found(&self) -> bool {
        self.signer().is_some()
    }

    pub(super) fn signer(&self) -> Option<Arc<dyn SigningKey>> {
        self.signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is asked without restraint.
    pub(super) fn is_good(&self) -> bool {
        self.is_found() && self.health.is_good() && self.store.health().is_good()
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a request to it went.
    pub(super) fn went(&self, outcome: Result<(), &Error>) {
        let now = Some(Instant::now());
        match outcome {
            Ok(()) => {
                *self.past() = Past { proven: now, stumbled: None };
                self.health.succeed();
                self.store.health().succeed();
            }
            Err(error) => {
                self.past().stumbled = now;
                self.blame(error);
            }
        }
    }

    /// Whether a request to it has just failed. One that refuses at once is never busy, and would get them all.
    pub(super) fn has_just_failed(&self) -> bool {
        self.past().stumbled.is_some_and(|stumbled| stumbled.elapsed() < SHY)
    }

    /// How long ago a signature of it last verified; `None` before the first. By the monotonic clock, so that a step of
    /// the wall clock cannot make an old proof look new.
    pub fn proven_ago(&self) -> Option<Duration> {
        self.past().proven.map(|proven| proven.elapsed())
    }

    /// Lifts its quarantine; false when there was none. Whatever it stands on is made anew, because what led to the
    /// quarantine may still be in it.
    pub fn release(&self) -> bool {
        if let Some(signer) = self.signer() {
            signer.distrust();
        }
        self.health.release()
    }

    /// The right to sign here now, or why not.
    pub(super) fn admit(&self) -> Result<Arc<dyn SigningKey>, Error> {
        let signer = self
            .signer()
            .ok_or_else(|| self.fault(Class::Misconfigured, "it has not shown this key yet".to_owned()))?;
        for health in [&self.health, &**self.store.health()] {
            health.admit().map_err(|refused| match refused {
                Refused::Quarantined(reason) => self.quarantined(&reason),
                Refused::Open(wait) => Error {
                    retry_after: Some(wait),
                    ..self.fault(
                        Class::Down,
                        "it failed again and again and is left alone for a moment".to_owned(),
                    )
                },
            })?;
        }
        Ok(signer)
    }

    /// Refuses what was signed by one that is in quarantine by now: others have seen meanwhile what it does.
    pub(super) fn still_trusted(&self) -> Result<(), Error> {
        let elsewhere = Advice { retries: 1, ..Advice::NEVER };
        match self.quarantine() {
            Some(reason) => Err(Error { advice: elsewhere, ..self.quarantined(&reason) }),
            None => Ok(()),
        }
    }

    fn quarantined(&self, reason: &str) -> Error {
        let backend = self.backend();
        let message = format!("quarantined: {reason}; find out why, then run `jwsd keys release {backend}`");
        Error { code: "quarantined".to_owned(), ..self.fault(Class::Untrusted, message) }
    }

    fn fault(&self, class: Class, message: String) -> Error {
        Error {
            backend: self.backend().to_string(),
            class,
            code: "not asked".to_owned(),
            message,
            advice: Advice::NEVER,
            retry_after: None,
        }
    }

    /// Looks for the key, within `limit`, if the backend is ready and the last look is long enough ago.
    pub(super) async fn find(&self, verifier: &Verifier, limit: Duration) -> Result<(), Error> {
        if !self.store.status().await.ready {
            // Once it is, there is no reason to wait any longer.
            *self.look.lock().unwrap_or_else(PoisonError::into_inner) = first_look();
            return Ok(());
        }
        if !self.is_look_due() {
            return Ok(());
        }
        let public = verifier.public();
        let wanted = Wanted::Copy { of: public, id: &self.origin };
        let found = timeout(limit, self.store.open(wanted, verifier.algorithm(), Some(public))).await;
        match found {
            Ok(Ok(opened)) => {
                *self.signer.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.signer);
                tracing::info!(backend = %self.backend(), kid = %public.thumbprint(), "Key was found");
                Ok(())
            }
            Ok(Err(error)) => {
                self.blame(&error);
                Err(error)
            }
            Err(_) => Err(self.fault(Class::Deadline, "it does not say whether it has the key".to_owned())),
        }
    }

    fn is_look_due(&self) -> bool {
        let (now, [_, most]) = (Instant::now(), LOOKS);
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, pause) = *look;
        if now < due {
            return false;
        }
        *look = (now + pause, (pause * 2).min(most));
        true
    }

    /// Lets breakers and quarantines know of a fault.
    pub fn blame(&self, error: &Error) {
        let health = match error.advice.scope {
            Scope::Request => return,
            Scope::Key => &self.health,
            Scope::Backend => &**self.store.health(),
        };
        if error.advice.quarantine {
            health.quarantine(&error.message);
        } else {
            health.fail(&error.message);
        }
    }
}

//! One key version in all backends that hold it: which is asked, what follows a fault, and the proof that what comes
//! back is a signature of the pinned key.
//!
//! The only place that repeats a request, within the deadline and the number of attempts that the fault's
//! [`Advice`] allows. Must never hand out a signature that did not verify, nor ask one in quarantine.

use super::health::Refused;
use super::{Advice, Ask, Class, Error, Health, KeyStore, Scope, SigningKey, Wanted};
use crate::jose::{Kid, Verified, Verifier};
use futures_util::future::join_all;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What one request to a backend came to, for the record of a JWT that took more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The backend's name.
    pub backend: Arc<str>,
    /// `ok`, or the vendor's word for the fault.
    pub outcome: Cow<'static, str>,
}

/// What came of signing.
pub struct Signing<'a> {
    /// A signature that verified, or the last fault.
    pub result: Result<Verified<'a>, Error>,
    /// Every request that was made, in order; none when none could be.
    pub attempts: Vec<Attempt>,
}

/// The key in one backend.
pub struct Member {
    store: Arc<dyn KeyStore>,
    health: Health,
    /// The id of the key in the backend that made it.
    origin: Vec<u8>,
    /// `None` until the backend has shown it.
    signer: RwLock<Option<Arc<dyn SigningKey>>>,
    /// When a signature last verified, in milliseconds after `Replicas::made`; [`NEVER`] before the first.
    proven: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Member {
    /// The version `kid` in `store`, which may not have shown it yet; `origin` is its id in the backend that made it.
    pub fn new(
        store: Arc<dyn KeyStore>,
        kid: &Kid,
        origin: Vec<u8>,
        signer: Option<Arc<dyn SigningKey>>,
    ) -> Self {
        let health = store.health().of_key(kid.as_str());
        Self { store, health, origin, signer: RwLock::new(signer), proven: AtomicU64::new(NEVER) }
    }

    /// Its breaker and quarantine.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The backend's name.
    pub fn backend(&self) -> &Arc<str> {
        self.health.backend()
    }

    /// Whether an operator must release it, or the whole backend, before it is used.
    pub fn is_quarantined(&self) -> bool {
        self.health.quarantined().is_some() || self.store.health().quarantined().is_some()
    }

    /// Whether the backend has shown the key.
    pub fn is_found(&self) -> bool {
        self.signer().is_some()
    }

    fn signer(&self) -> Option<Arc<dyn SigningKey>> {
        self.signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_good(&self) -> bool {
        self.health.is_good() && self.store.health().is_good()
    }

    /// The right to sign here now, or why not.
    fn admit(&self) -> Result<Arc<dyn SigningKey>, Error> {
        let backend = self.backend();
        let fault = |class, message: String, retry_after| Error {
            backend: backend.to_string(),
            class,
            code: "not asked".to_owned(),
            message,
            advice: Advice { retries: u8::MAX, ..Advice::NEVER },
            retry_after,
        };
        let refused = |refused| match refused {
            Refused::Open(wait) => fault(
                Class::Down,
                "it failed again and again and is left alone for a moment".into(),
                Some(wait),
            ),
            Refused::Quarantined(reason) => fault(
                Class::Untrusted,
                format!("quarantined: {reason}; find out why, then run `jwsd keys release {backend}`"),
                None,
            ),
        };
        let signer = self
            .signer()
            .ok_or_else(|| fault(Class::Misconfigured, "it has not shown this key yet".into(), None))?;
        self.health.admit().map_err(refused)?;
        self.store.health().admit().map_err(refused)?;
        Ok(signer)
    }

    /// The store that holds it.
    pub fn store(&self) -> &Arc<dyn KeyStore> {
        &self.store
    }

    /// Lets breakers and quarantines know of a fault.
    fn blame(&self, error: &Error) {
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

/// One key version in all its backends.
pub struct Replicas {
    verifier: Verifier,
    members: Vec<Member>,
    /// Where the search begins, so that equals take turns.
    turn: AtomicUsize,
    made: Instant,
}

impl Replicas {
    /// The public key inside `verifier` is the pin.
    pub fn new(verifier: Verifier, members: Vec<Member>) -> Self {
        Self { verifier, members, turn: AtomicUsize::new(0), made: Instant::now() }
    }

    /// Checks signatures against the pinned public key.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The key in each of its backends, in the configured order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Bytes of the longest input that every backend signs; no limit as long as none has shown the key.
    pub fn max_input(&self) -> usize {
        self.members
            .iter()
            .filter_map(Member::signer)
            .map(|signer| signer.max_input())
            .min()
            .unwrap_or(usize::MAX)
    }

    /// Whether any backend is left that is not in quarantine.
    pub fn is_quarantined(&self) -> bool {
        self.members.iter().all(Member::is_quarantined)
    }

    /// Signs `input` with whichever backend is least busy, and with another one, or again, as far as faults and
    /// deadline allow.
    pub async fn sign<'a>(&'a self, input: &'a [u8], ask: Ask) -> Signing<'a> {
        self.sign_with(None, input, ask).await
    }

    /// The same, with `only` this member if it is given.
    async fn sign_with<'a>(&'a self, only: Option<usize>, input: &'a [u8], ask: Ask) -> Signing<'a> {
        let mut attempts = Vec::new();
        let mut tried: Vec<(usize, Error)> = Vec::new();
        let result = loop {
            let (at, signer) = match self.choose(only, &tried) {
                Ok(chosen) => chosen,
                // What was tried tells more than what could not be.
                Err(error) => break Err(tried.pop().map_or(error, |(_, error)| error)),
            };
            if let Some((_, error)) = tried.iter().rev().find(|(other, _)| *other == at) {
                let pause = error.advice.pause;
                if Instant::now() + pause >= ask.deadline {
                    break Err(error.clone());
                }
                sleep(pause).await;
            }
            // Another one gets its chance before the deadline too.
            let now = Instant::now();
            let others = self.members.iter().enumerate().any(|(other, m)| other != at && m.is_good());
            let share = if only.is_none() && others && tried.is_empty() { 2 } else { 1 };
            let deadline = now + ask.deadline.saturating_duration_since(now) / share;
            let error = match self.ask(at, &*signer, input, Ask { deadline, ..ask }, &mut attempts).await {
                Ok(verified) => break Ok(verified),
                Err(error) => error,
            };
            let again = tried.len() < usize::from(error.advice.retries) && Instant::now() < ask.deadline;
            tried.push((at, error.clone()));
            if !again {
                break Err(error);
            }
        };
        Signing { result, attempts }
    }

    /// One request to one member, and what follows for its health.
    async fn ask<'a>(
        &'a self,
        at: usize,
        signer: &dyn SigningKey,
        input: &'a [u8],
        ask: Ask,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Verified<'a>, Error> {
        let Some(member) = self.members.get(at) else {
            return Err(self.nobody());
        };
        let answer = {
            let _busy = member.store.health().enter();
            signer.sign(input, ask).await
        };
        let proven = answer.and_then(|signed| {
            attempts.extend(signed.others);
            self.verifier.prove(input, signed.signature).map_err(|bad| {
                signer.distrust();
                Error {
                    backend: member.backend().to_string(),
                    class: Class::Untrusted,
                    message: format!("it returned a bad signature: {bad}"),
                    code: "bad signature".to_owned(),
                    // Another backend may have the sound half of a broken pair.
                    advice: Advice { retries: 1, scope: Scope::Key, quarantine: true, ..Advice::NEVER },
                    retry_after: None,
                }
            })
        });
        let outcome = proven.as_ref().map_or_else(|error| error.code.clone().into(), |_| Cow::Borrowed("ok"));
        attempts.push(Attempt { backend: Arc::clone(member.backend()), outcome });
        match &proven {
            Ok(_) => self.succeed(member),
            Err(error) => member.blame(error),
        }
        proven
    }

    /// The next one to ask: good ones before those on trial, untried ones before others, least busy first.
    fn choose(
        &self,
        only: Option<usize>,
        tried: &[(usize, Error)],
    ) -> Result<(usize, Arc<dyn SigningKey>), Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let mut order: Vec<(bool, bool, usize, usize, usize)> = Vec::with_capacity(count);
        for (at, member) in self.members.iter().enumerate() {
            let own = tried.iter().rev().find(|(other, _)| *other == at);
            let excluded = only.is_some_and(|only| only != at);
            if excluded || own.is_some_and(|(_, error)| !error.advice.here) {
                continue;
            }
            let place = (at + count - turn % count) % count;
            order.push((own.is_some(), !member.is_good(), member.store.health().in_flight(), place, at));
        }
        order.sort_unstable();
        let mut refusal = None;
        for (.., at) in order {
            match self.members.get(at).map(Member::admit) {
                Some(Ok(signer)) => return Ok((at, signer)),
                Some(Err(error)) => refusal = refusal.or(Some(error)),
                None => {}
            }
        }
        Err(refusal.unwrap_or_else(|| self.nobody()))
    }

    fn nobody(&self) -> Error {
        Error {
            backend: self.members.first().map(|member| member.backend().to_string()).unwrap_or_default(),
            class: Class::Down,
            message: "no backend is left to ask".to_owned(),
            code: "not asked".to_owned(),
            advice: Advice::NEVER,
            retry_after: None,
        }
    }

    fn succeed(&self, member: &Member) {
        let age = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(NEVER);
        member.proven.store(age, Ordering::Relaxed);
        member.health.succeed();
        member.store.health().succeed();
    }

    /// Whole seconds since a signature last verified, from whichever backend; `None` before the first. By the
    /// monotonic clock, so that a step of the wall clock cannot make an old proof look new.
    pub fn unproven_for(&self) -> Option<u64> {
        self.members.iter().filter_map(|member| self.age(member)).min().map(|age| age.as_secs())
    }

    /// How long ago a signature of this member last verified; `None` before the first.
    pub fn age(&self, member: &Member) -> Option<Duration> {
        let proven = member.proven.load(Ordering::Relaxed);
        (proven != NEVER).then(|| self.made.elapsed().saturating_sub(Duration::from_millis(proven)))
    }

    /// Lets every member that has not signed for `idle`, or failed lately, prove with a real signature over `input`
    /// that it can, all at once and each within `limit`, and looks for the key where it was not found yet. Leaves
    /// alone what is in quarantine or was tried a moment ago. Returns the faults.
    pub async fn probe(&self, input: &[u8], idle: Duration, limit: Duration) -> Vec<Error> {
        let spared = |member: &Member| {
            let proven = member.is_good() && self.age(member).is_some_and(|age| age < idle);
            proven || member.is_quarantined()
        };
        let due = self.members.iter().enumerate().filter(|(_, member)| !spared(member));
        let probes = due.map(|(at, member)| self.probe_one(at, member, input, limit));
        join_all(probes).await.into_iter().filter_map(Result::err).collect()
    }

    async fn probe_one(
        &self,
        at: usize,
        member: &Member,
        input: &[u8],
        limit: Duration,
    ) -> Result<(), Error> {
        if !member.is_found() {
            let public = self.verifier.public();
            let wanted = Wanted::Copy { of: public, id: &member.origin };
            let opened = member.store.open(wanted, self.verifier.algorithm(), Some(public)).await?;
            *member.signer.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.signer);
        }
        let ask = Ask::own(Instant::now() + limit);
        let Signing { result, attempts } = self.sign_with(Some(at), input, ask).await;
        // One that may not be asked now is no news.
        if attempts.is_empty() { Ok(()) } else { result.map(drop) }
    }
}

#[cfg(test)]
mod tests;

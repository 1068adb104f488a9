//! One key version in all backends that hold it: which is asked, what follows a fault, and the proof that what comes
//! back is a signature of the pinned key.
//!
//! The only place that repeats a request, within the deadline and the number of attempts that the fault's
//! [`Advice`] allows. Must never hand out a signature that did not verify, nor ask one in quarantine.

mod member;

pub use member::Member;

use super::{Advice, Ask, Class, Error, Scope, Signed, SigningKey};
use crate::jose::{Verified, Verifier};
use futures_util::future::join_all;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

impl fmt::Display for Attempt {
    /// As records have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.backend, self.outcome)
    }
}

/// What came of signing.
pub struct Signing<'a> {
    /// A signature that verified, or the last fault.
    pub result: Result<Verified<'a>, Error>,
    /// Every request that was made, in order; none when none could be.
    pub attempts: Vec<Attempt>,
}

/// One key version in all its backends.
pub struct Replicas {
    verifier: Verifier,
    members: Vec<Member>,
    /// Where the search begins, so that equals take turns.
    turn: AtomicUsize,
}

impl Replicas {
    /// The public key inside `verifier` is the pin.
    pub fn new(verifier: Verifier, members: Vec<Member>) -> Self {
        Self { verifier, members, turn: AtomicUsize::new(0) }
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

    /// Whether every backend is in quarantine.
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
            let (at, member, signer) = match self.choose(only, &tried) {
                Ok(chosen) => chosen,
                // What was tried tells more than what could not be.
                Err(error) => break Err(tried.pop().map_or(error, |(_, error)| error)),
            };
            if let Some((_, error)) = tried.iter().rev().find(|(other, _)| *other == at) {
                let pause = error.advice.pause;
                if Instant::now() + pause >= ask.deadline || !signer.may_repeat(error) {
                    break Err(error.clone());
                }
                sleep(pause).await;
            }
            // Another one gets its chance before the deadline too.
            let now = Instant::now();
            let others = self.members.iter().enumerate().any(|(other, m)| other != at && m.is_good());
            let share = if only.is_none() && others && tried.is_empty() { 2 } else { 1 };
            let deadline = now + ask.deadline.saturating_duration_since(now) / share;
            let ask_now = Ask { deadline, attempt: attempts.len(), ..ask };
            let error = match self.ask(member, &*signer, input, ask_now, &mut attempts).await {
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
        member: &Member,
        signer: &dyn SigningKey,
        input: &'a [u8],
        ask: Ask,
        attempts: &mut Vec<Attempt>,
    ) -> Result<Verified<'a>, Error> {
        let Signed { result, others } = {
            let _busy = member.store().health().enter();
            signer.sign(input, ask).await
        };
        attempts.extend(others);
        let proven = result.and_then(|signature| {
            member.still_trusted()?;
            self.verifier.prove(input, signature).map_err(|bad| {
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
        member.went(proven.as_ref().map(|_| ()));
        proven
    }

    /// The next one to ask: untried ones first, of those the good ones, of those such as have not just failed, of
    /// those the least busy.
    fn choose(
        &self,
        only: Option<usize>,
        tried: &[(usize, Error)],
    ) -> Result<(usize, &Member, Arc<dyn SigningKey>), Error> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.members.len();
        let mut order = Vec::with_capacity(count);
        for (at, member) in self.members.iter().enumerate() {
            let own = tried.iter().rev().find(|(other, _)| *other == at);
            let excluded = only.is_some_and(|only| only != at);
            if excluded || own.is_some_and(|(_, error)| !error.advice.here) {
                continue;
            }
            let place = (at + count - turn % count) % count;
            let last = (own.is_some(), !member.is_good(), member.has_just_failed());
            order.push(((last, member.store().health().in_flight(), place), at, member));
        }
        order.sort_unstable_by_key(|(rank, ..)| *rank);
        let mut refusal = None;
        for (_, at, member) in order {
            match member.admit() {
                Ok(signer) => return Ok((at, member, signer)),
                // One that will be back tells more than one that will not.
                Err(error) if error.retry_after.is_some() => refusal = Some(error),
                Err(error) => refusal = refusal.or(Some(error)),
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

    /// Counts requests that no record of a JWT or a seal speaks of.
    pub fn untold<'a>(&self, requests: impl IntoIterator<Item = &'a Attempt>) {
        for Attempt { backend, .. } in requests {
            self.members.iter().filter(|member| member.backend() == backend).for_each(|m| m.tested(1));
        }
    }

    /// Gives back what [`Self::take_tests`] took and could not be told.
    pub fn return_tests(&self, backend: &str, count: u64) {
        self.members.iter().filter(|member| **member.backend() == *backend).for_each(|m| m.tested(count));
    }

    /// Such requests since this was last asked, self-tests for the most part, by backend, where there were any.
    pub fn take_tests(&self) -> Vec<(Arc<str>, u64)> {
        let tests = self.members.iter().map(|member| (Arc::clone(member.backend()), member.take_tests()));
        tests.filter(|(_, count)| *count > 0).collect()
    }

    /// Whole seconds since a signature last verified, from whichever backend; `None` before the first.
    pub fn unproven_for(&self) -> Option<u64> {
        self.members.iter().filter_map(Member::proven_ago).min().map(|age| age.as_secs())
    }

    /// Lets every member that has not signed for `idle`, or failed lately, prove with a real signature over `input`
    /// that it can, all at once and each within `limit`, and looks for the key where it was not found yet. Leaves
    /// alone what is in quarantine or was tried a moment ago. Returns the faults.
    pub async fn probe(&self, input: &[u8], idle: Duration, limit: Duration) -> Vec<Error> {
        let spared = |member: &Member| {
            let proven = member.is_good() && member.proven_ago().is_some_and(|age| age < idle);
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
            member.find(&self.verifier, limit).await?;
        }
        let ask = Ask::own(Instant::now() + limit);
        let Signing { result, attempts } = self.sign_with(Some(at), input, ask).await;
        self.untold(&attempts);
        // One that may not be asked now is no news.
        if attempts.is_empty() { Ok(()) } else { result.map(drop) }
    }
}

#[cfg(test)]
mod tests;

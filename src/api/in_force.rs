//! What requests are judged by: who may ask, for what, how often, how large, and what is misuse. Replaced as a whole.
//!
//! A request takes it once, at its beginning, and finishes with it: no request is judged by parts of two.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Limits, Rates};
use crate::caller::Callers;
use crate::misuse::Settings;
use crate::policy::Policy;
use crate::transport::FactsWanted;

/// Callers, policy, rates, limits and settings of misuse that belong together. Immutable.
pub struct InForce {
    /// Who may ask.
    pub callers: Arc<Callers>,
    /// What they may have.
    pub policy: Arc<Policy>,
    /// How often.
    pub rates: Arc<Rates>,
    /// How much at once.
    pub limits: Limits,
    /// What is misuse.
    pub misuse: Settings,
    wanted: FactsWanted,
}

impl InForce {
    /// At the daemon's start.
    pub fn new(callers: Callers, policy: Policy, limits: Limits, misuse: Settings) -> Self {
        Self::with(&Rates::default(), callers, policy, limits, misuse)
    }

    /// What comes after this: a caller whose rate stays has as much of it left as before.
    #[must_use]
    pub fn followed_by(&self, callers: Callers, policy: Policy, limits: Limits, misuse: Settings) -> Self {
        Self::with(&self.rates, callers, policy, limits, misuse)
    }

    /// The same with another policy about the same profiles.
    #[must_use]
    pub fn with_policy(&self, policy: Policy) -> Self {
        let Self { callers, rates, limits, misuse, wanted, .. } = self;
        let (callers, rates, limits) = (Arc::clone(callers), Arc::clone(rates), limits.clone());
        Self { callers, policy: Arc::new(policy), rates, limits, misuse: *misuse, wanted: *wanted }
    }

    fn with(before: &Rates, callers: Callers, policy: Policy, limits: Limits, misuse: Settings) -> Self {
        let rates = Arc::new(Rates::new(callers.rates(), before));
        let watched = FactsWanted { exe: misuse.new_exe, ..FactsWanted::default() };
        let wanted = callers.wanted().or(policy.wanted()).or(watched);
        Self { callers: Arc::new(callers), policy: Arc::new(policy), rates, limits, misuse, wanted }
    }

    /// What is looked up of callers when they connect.
    pub fn wanted(&self) -> FactsWanted {
        self.wanted
    }
}

/// What is in force now.
pub struct Current(RwLock<Arc<InForce>>);

impl Current {
    /// To begin with.
    pub fn new(in_force: InForce) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(in_force))))
    }

    /// For one request, from its beginning to its end.
    pub fn get(&self) -> Arc<InForce> {
        // A panic while it is held is impossible: only a pointer is exchanged.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For all requests that begin from now on.
    pub fn replace(&self, in_force: InForce) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Threshold;
    use std::time::Duration;

    #[test]
    fn a_request_keeps_what_it_began_with() {
        let limits = Limits {
            body: 1,
            batch_body: 1,
            batch_items: 1,
            deadline: Duration::ZERO,
            in_flight: 1,
            jwks_max_age: Duration::ZERO,
        };
        let policy = |digest: &str| Policy::new(Vec::new(), digest.to_owned());
        let denials = Threshold { window: Duration::from_secs(1), warn: None, refuse: None };
        let [off, on] = [false, true].map(|new_exe| Settings { denials, new_exe });
        let current = Current::new(InForce::new(Callers::default(), policy("a"), limits.clone(), on));
        let began = current.get();
        current.replace(began.with_policy(policy("b")));
        assert_eq!((began.policy.digest(), current.get().policy.digest()), ("a", "b"));
        assert!(Arc::ptr_eq(&began.callers, &current.get().callers), "the rest stays");
        assert!(current.get().misuse == on && current.get().wanted().exe, "programs are told apart");
        current.replace(began.followed_by(Callers::default(), policy("d"), limits, off));
        assert_eq!(current.get().policy.digest(), "d");
        assert!(!current.get().wanted().exe && began.misuse == on);
    }
}

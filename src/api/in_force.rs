//! What requests are judged by: who may ask, for what, how often, and how large. Replaced as a whole.
//!
//! A request takes it once, at its beginning, and finishes with it: no request is judged by parts of two.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Limits, Rates};
use crate::caller::Callers;
use crate::policy::Policy;
use crate::transport::FactsWanted;

/// Callers, policy, rates and limits that belong together. Immutable.
pub struct InForce {
    /// Who may ask.
    pub callers: Arc<Callers>,
    /// What they may have.
    pub policy: Arc<Policy>,
    /// How often.
    pub rates: Arc<Rates>,
    /// How much at once.
    pub limits: Limits,
}

impl InForce {
    /// At the daemon's start.
    pub fn new(callers: Callers, policy: Policy, limits: Limits) -> Self {
        let rates = Arc::new(Rates::new(callers.rates(), &Rates::default()));
        Self { callers: Arc::new(callers), policy: Arc::new(policy), rates, limits }
    }

    /// What comes after this: a caller whose rate stays has as much of it left as before.
    #[must_use]
    pub fn followed_by(&self, callers: Callers, policy: Policy, limits: Limits) -> Self {
        let rates = Arc::new(Rates::new(callers.rates(), &self.rates));
        Self { callers: Arc::new(callers), policy: Arc::new(policy), rates, limits }
    }

    /// What is looked up of callers when they connect.
    pub fn wanted(&self) -> FactsWanted {
        self.callers.wanted().or(self.policy.wanted())
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

    /// The policy alone, for all requests that begin from now on, unless another than `known` is in force by now.
    pub fn replace_policy(&self, known: &Arc<Policy>, next: Policy) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.policy, known) {
            return false;
        }
        let InForce { callers, rates, limits, .. } = &**current;
        let (callers, rates, limits) = (Arc::clone(callers), Arc::clone(rates), limits.clone());
        *current = Arc::new(InForce { callers, policy: Arc::new(next), rates, limits });
        true
    }

    /// For all requests that begin from now on.
    pub fn replace(&self, in_force: InForce) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(in_force);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_policy_is_replaced_only_if_it_is_still_the_one() {
        let limits = Limits {
            body: 1,
            batch_body: 1,
            batch_items: 1,
            deadline: Duration::ZERO,
            in_flight: 1,
            jwks_max_age: Duration::ZERO,
        };
        let policy = |digest: &str| Policy::new(Vec::new(), digest.to_owned());
        let current = Current::new(InForce::new(Callers::default(), policy("a"), limits.clone()));
        let began = current.get();
        assert!(current.replace_policy(&began.policy, policy("b")));
        assert_eq!(
            (began.policy.digest(), current.get().policy.digest()),
            ("a", "b"),
            "a request keeps its own"
        );
        assert!(Arc::ptr_eq(&began.callers, &current.get().callers), "the rest stays");
        assert!(!current.replace_policy(&began.policy, policy("c")));
        current.replace(began.followed_by(Callers::default(), policy("d"), limits));
        assert_eq!(current.get().policy.digest(), "d");
    }
}

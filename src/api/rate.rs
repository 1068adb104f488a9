//! Rates per caller: a token bucket each, as `[caller.NAME] rate` says.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::problem::Problem;
use crate::caller::Caller;

/// A bucket, and the rate that it was made for.
type Bucket = (NonZeroU32, Arc<DefaultDirectRateLimiter>);

/// One bucket per caller that has a rate. Only a reload changes the set of callers, so that requests cannot make it grow.
#[derive(Default)]
pub struct Rates {
    buckets: BTreeMap<String, Bucket>,
    clock: DefaultClock,
}

impl Rates {
    /// Buckets of one second's worth, for callers by name. Those that `before` has with the same rate go on.
    pub fn new<'a>(rates: impl Iterator<Item = (&'a str, NonZeroU32)>, before: &Self) -> Self {
        let bucket = |(name, rate): (&str, _)| {
            let known = before.buckets.get(name).filter(|(known, _)| *known == rate).cloned();
            let fresh = || (rate, Arc::new(RateLimiter::direct(Quota::per_second(rate))));
            (name.to_owned(), known.unwrap_or_else(fresh))
        };
        Self { buckets: rates.map(bucket).collect(), clock: DefaultClock::default() }
    }

    /// Whether so many JWTs can ever be had at once.
    pub(super) fn fits(&self, caller: &Caller, count: usize) -> Result<(), Problem> {
        let over =
            caller.rate().is_some_and(|rate| u32::try_from(count).is_ok_and(|count| count > rate.get()));
        if over { Err(Problem::rate(None)) } else { Ok(()) }
    }

    /// Takes `count` JWTs' worth out of the caller's bucket, or says how long to wait.
    pub(super) fn take(&self, caller: &Caller, count: usize) -> Result<(), Problem> {
        let Some((_, bucket)) = self.buckets.get(caller.name()) else { return Ok(()) };
        let Some(count) = u32::try_from(count).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match bucket.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_yet)) => Err(Problem::rate(Some(not_yet.wait_time_from(self.clock.now())))),
            Err(_) => Err(Problem::rate(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Callers, Rule};
    use crate::transport::{PeerCredentials, ProcessFacts};
    use std::collections::BTreeSet;

    #[test]
    fn a_bucket_goes_on_until_its_rate_changes() {
        let rate = |number| NonZeroU32::new(number).unwrap();
        let rule = Rule {
            name: "app".into(),
            uid: Some(1),
            gid: None,
            exe: None,
            unit: None,
            profiles: BTreeSet::new(),
            rate: Some(rate(2)),
            introspect: Default::default(),
        };
        let peer = Arc::new(PeerCredentials::assume(1, 1, 1, ProcessFacts::default()));
        let caller = Callers::new(vec![rule]).identify(peer).unwrap();
        let first = Rates::new([("app", rate(2))].into_iter(), &Rates::default());
        assert!(first.take(&caller, 2).is_ok() && first.take(&caller, 1).is_err());
        let same = Rates::new([("app", rate(2)), ("other", rate(1))].into_iter(), &first);
        assert!(same.take(&caller, 2).is_err(), "a reload is no way to get more");
        let changed = Rates::new([("app", rate(3))].into_iter(), &same);
        assert!(changed.take(&caller, 3).is_ok());
    }
}

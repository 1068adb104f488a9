//! Rates per caller: a token bucket each, as `[caller.NAME] rate` says.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::problem::Problem;
use crate::caller::Caller;

/// One bucket per caller that has a rate. The set of callers is fixed, so it cannot grow.
#[derive(Default)]
pub struct Rates {
    buckets: BTreeMap<String, DefaultDirectRateLimiter>,
    clock: DefaultClock,
}

impl Rates {
    /// Buckets of one second's worth, for callers by name.
    pub fn new<'a>(rates: impl Iterator<Item = (&'a str, NonZeroU32)>) -> Self {
        let bucket =
            |(name, rate): (&str, _)| (name.to_owned(), RateLimiter::direct(Quota::per_second(rate)));
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
        let Some(bucket) = self.buckets.get(caller.name()) else { return Ok(()) };
        let Some(count) = u32::try_from(count).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match bucket.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_yet)) => Err(Problem::rate(Some(not_yet.wait_time_from(self.clock.now())))),
            Err(_) => Err(Problem::rate(None)),
        }
    }
}

//! How many requests a second: a token bucket below the account's quota, which shrinks when KMS throttles and grows
//! back (additive increase, multiplicative decrease).
//!
//! Pure: the clock is an argument. All users of an account and Region share its quota, so a throttled request says
//! that there is less left for us than was configured.

use std::time::{Duration, Instant};

/// Seconds of the rate that may be spent at once.
const BURST: f64 = 0.25;
/// What is left of the rate when KMS throttles, at most once a [`PAUSE`].
const SHRINK: f64 = 0.8;
/// The rate never falls below this share of what was configured.
const FLOOR: f64 = 0.1;
/// What it grows by in a second, as a share of what was configured.
const GROWTH: f64 = 0.05;
/// Throttled requests of one burst count once, and growth begins after this.
const PAUSE: Duration = Duration::from_secs(1);
/// For so long after it, requests count as throttled.
const MEMORY: Duration = Duration::from_secs(10);

/// The bucket.
#[derive(Debug)]
pub(super) struct Rate {
    most: f64,
    now: f64,
    /// Less than none: promised to requests that wait for them.
    tokens: f64,
    at: Instant,
    throttled: Option<Instant>,
}

impl Rate {
    /// Full, for at most `most` requests a second.
    pub(super) fn new(most: u32, now: Instant) -> Self {
        let most = f64::from(most.max(1));
        Self { most, now: most, tokens: size(most), at: now, throttled: None }
    }

    /// Takes one token and says how long to wait for it.
    ///
    /// # Errors
    /// The wait, when it is longer than `limit`: nothing is taken.
    pub(super) fn take(&mut self, now: Instant, limit: Duration) -> Result<Duration, Duration> {
        self.pass(now);
        let wait = Duration::from_secs_f64(((1.0 - self.tokens) / self.now).max(0.0));
        if wait > limit {
            return Err(wait);
        }
        self.tokens -= 1.0;
        Ok(wait)
    }

    /// Takes one token if that costs nobody anything: the bucket is more than half full and nothing was throttled
    /// lately.
    pub(super) fn take_spare(&mut self, now: Instant) -> bool {
        self.pass(now);
        let quiet = self.throttled.is_none_or(|at| now.duration_since(at) >= MEMORY);
        let spare = quiet && self.tokens >= 1.0 && self.tokens * 2.0 > size(self.now);
        if spare {
            self.tokens -= 1.0;
        }
        spare
    }

    /// KMS throttled a request.
    pub(super) fn throttle(&mut self, now: Instant) {
        self.pass(now);
        if self.throttled.is_none_or(|at| now.duration_since(at) >= PAUSE) {
            self.now = (self.now * SHRINK).max(self.most * FLOOR);
            self.tokens = self.tokens.min(size(self.now));
            self.throttled = Some(now);
        }
    }

    fn pass(&mut self, now: Instant) {
        let past = now.duration_since(self.at).as_secs_f64();
        if self.throttled.is_none_or(|at| now.duration_since(at) >= PAUSE) {
            self.now = (self.now + self.most * GROWTH * past).min(self.most);
        }
        self.tokens = (self.tokens + self.now * past).min(size(self.now));
        self.at = now;
    }
}

/// Tokens in a full bucket.
fn size(rate: f64) -> f64 {
    (rate * BURST).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Requests let through in `time` by somebody who asks all the time.
    fn through(rate: &mut Rate, from: Instant, time: Duration) -> u32 {
        let (mut now, mut count) = (from, 0);
        while now < from + time {
            if rate.take(now, Duration::ZERO).is_ok() {
                count += 1;
            } else {
                now += Duration::from_millis(1);
            }
        }
        count
    }

    #[test]
    fn never_more_than_the_rate_and_one_burst() {
        let start = Instant::now();
        let mut rate = Rate::new(100, start);
        let count = through(&mut rate, start, Duration::from_secs(10));
        assert!((990..=1026).contains(&count), "{count}");
    }

    #[test]
    fn waits_are_handed_out_in_turn_and_refused_beyond_the_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(10, start);
        let waits: Vec<_> = (0..6).map(|_| rate.take(start, LONG).unwrap().as_millis()).collect();
        assert_eq!(waits[..2], [0, 0], "the burst");
        assert!(waits[2..].windows(2).all(|pair| pair[1].abs_diff(pair[0] + 100) <= 1), "{waits:?}");
        let refused = rate.take(start, Duration::from_millis(100)).unwrap_err();
        assert_eq!(rate.take(start, LONG).unwrap(), refused, "a refusal takes nothing");
    }

    #[test]
    fn throttling_shrinks_it_once_a_second_and_not_below_the_floor() {
        let start = Instant::now();
        let mut rate = Rate::new(1000, start);
        for _ in 0..500 {
            rate.throttle(start);
        }
        assert!((rate.now - 800.0).abs() < 1.0, "one burst is one sign: {}", rate.now);
        let mut now = start;
        for _ in 0..100 {
            now += Duration::from_millis(1000);
            rate.throttle(now);
        }
        assert!(rate.now >= 100.0 && rate.now < 300.0, "{}", rate.now);
        let before = rate.now;
        rate.take(now + Duration::from_secs(3), LONG).unwrap();
        assert!(rate.now > before + 100.0, "it grows by 50 a second: {} after {before}", rate.now);
        rate.take(now + LONG, LONG).unwrap();
        assert!((rate.now - 1000.0).abs() < 1e-6, "and not beyond what was configured: {}", rate.now);
    }

    #[test]
    fn spare_tokens_are_of_a_bucket_half_full_in_quiet_times() {
        let start = Instant::now();
        let mut rate = Rate::new(100, start);
        assert_eq!((0..100).filter(|_| rate.take_spare(start)).count(), 13, "of 25");
        let mut rate = Rate::new(100, start);
        rate.throttle(start);
        assert!(!rate.take_spare(start + Duration::from_secs(9)));
        assert!(rate.take_spare(start + Duration::from_secs(11)));
    }
}

//! When a slow request is asked a second time: after the 95th percentile of the last thousand, and for one request in
//! fifty at most.
//!
//! Pure. `Sign` is safe to ask twice: it changes nothing.

use std::time::Duration;

/// Answers that are remembered.
const KEPT: usize = 1000;
/// Fewer say nothing.
const LEAST: usize = 100;
/// The percentile is computed anew after so many answers.
const EVERY: usize = 50;
/// One request earns one, and a hedge costs this.
const COST: u32 = 50;
/// Hedges that can be saved up.
const SAVED: u32 = 4;

/// Times of the last answers, and how many hedges they allow.
#[derive(Debug, Default)]
pub(super) struct Hedging {
    /// In microseconds, a ring.
    times: Vec<u32>,
    next: usize,
    since: usize,
    after: Option<Duration>,
    earned: u32,
}

impl Hedging {
    /// A request is made; says after how long a second one may be, unless it was answered.
    pub(super) fn ask(&mut self) -> Option<Duration> {
        self.earned = (self.earned + 1).min(SAVED * COST);
        self.after.filter(|_| self.earned >= COST)
    }

    /// Whether a second one may be made now.
    pub(super) fn spend(&mut self) -> bool {
        let Some(rest) = self.earned.checked_sub(COST) else { return false };
        self.earned = rest;
        true
    }

    /// A first request was answered after `time`, or lost against its hedge then. One call in fifty takes some
    /// microseconds.
    pub(super) fn answered(&mut self, time: Duration) {
        let time = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        match self.times.get_mut(self.next) {
            Some(oldest) => *oldest = time,
            None => self.times.push(time),
        }
        self.next = (self.next + 1) % KEPT;
        self.since += 1;
        if self.times.len() >= LEAST && (self.since >= EVERY || self.after.is_none()) {
            self.since = 0;
            let mut sorted = self.times.clone();
            let at = sorted.len() * 95 / 100;
            let (_, percentile, _) = sorted.select_nth_unstable(at);
            self.after = Some(Duration::from_micros(u64::from(*percentile)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn begins_after_a_hundred_answers_with_their_percentile() {
        let mut hedging = Hedging::default();
        for number in 1..100 {
            hedging.answered(milliseconds(number));
            assert_eq!(hedging.ask(), None);
        }
        hedging.answered(milliseconds(100));
        assert_eq!(hedging.ask(), Some(milliseconds(96)));
        for _ in 0..KEPT {
            hedging.answered(milliseconds(7));
        }
        assert_eq!(hedging.ask(), Some(milliseconds(7)), "old ones are forgotten");
    }

    #[test]
    fn one_in_fifty_at_most() {
        let mut hedging = Hedging::default();
        for _ in 0..LEAST {
            hedging.answered(milliseconds(1));
        }
        let mut hedges = 0;
        for _ in 0..10_000 {
            if hedging.ask().is_some() && hedging.spend() {
                hedges += 1;
            }
        }
        assert_eq!(hedges, 200);
        for _ in 0..100_000 {
            hedging.ask();
        }
        assert_eq!((0..100).filter(|_| hedging.spend()).count(), 4, "not saved up without end");
    }
}

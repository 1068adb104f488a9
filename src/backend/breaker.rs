//! A circuit breaker: when asking is of no use, it says so at once, and lets one request through from time to time
//! to find out. Pure: the clock is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many failures in a row open it.
const IN_A_ROW: u32 = 5;
/// So does half of the calls of this time, if there were at least [`LEAST`].
const WINDOW: Duration = Duration::from_secs(10);
/// Calls below which a share says nothing.
const LEAST: u32 = 20;
/// How long it stays open: at first, and at most. What works again is used again within a second.
const PAUSE: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(750),
];

/// What [`Breaker::admit`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Go on.
    Closed,
    /// Go on; everybody else waits for how it ends.
    Trial,
    /// Not now; ask again after this.
    Open(Duration),
}

/// Counts what came of calls.
#[derive(Debug, Default)]
pub struct Breaker {
    in_a_row: u32,
    /// One entry a second: when it began, calls, failures.
    recent: VecDeque<(Instant, u32, u32)>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// When the next trial may begin.
    until: Instant,
    /// How often it was opened or a trial failed since it last was closed.
    trips: usize,
}

impl Breaker {
    /// Whether a call may be made. After [`Admission::Trial`] the next trial is a pause away, however this one ends.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match &mut self.open {
            None => Admission::Closed,
            Some(open) if now >= open.until => {
                open.until = now + pause(open.trips);
                Admission::Trial
            }
            Some(open) => Admission::Open(open.until - now),
        }
    }

    /// Whether calls are made without restraint.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// A call worked. Says whether that closed it.
    pub fn succeed(&mut self, now: Instant) -> bool {
        self.in_a_row = 0;
        self.count(now, 0);
        let was_open = self.open.take().is_some();
        if was_open {
            self.recent.clear();
        }
        was_open
    }

    /// A call failed. Says whether that opened it.
    pub fn fail(&mut self, now: Instant) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.count(now, 1);
        if let Some(open) = &mut self.open {
            open.trips += 1;
            open.until = now + pause(open.trips);
            return false;
        }
        let (calls, failures) =
            self.recent.iter().fold((0, 0), |(calls, failures), (_, c, f)| (calls + c, failures + f));
        if self.in_a_row < IN_A_ROW && (calls < LEAST || failures * 2 < calls) {
            return false;
        }
        self.open = Some(Open { until: now + pause(0), trips: 0 });
        true
    }

    /// There is reason to hope: the next trial may begin now.
    pub fn hope(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.until = now;
        }
    }

    fn count(&mut self, now: Instant, failed: u32) {
        while self.recent.front().is_some_and(|(began, ..)| now.duration_since(*began) >= WINDOW) {
            self.recent.pop_front();
        }
        match self.recent.back_mut() {
            Some((began, calls, failures)) if now.duration_since(*began) < Duration::from_secs(1) => {
                *calls += 1;
                *failures += failed;
            }
            _ => self.recent.push_back((now, 1, failed)),
        }
    }
}

fn pause(trips: usize) -> Duration {
    PAUSE.get(trips).or(PAUSE.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_one_trial_closes_it() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 1..IN_A_ROW {
            assert!(!breaker.fail(start));
            assert_eq!(breaker.admit(start), Admission::Closed);
        }
        assert!(breaker.fail(start), "the last one opens it");
        assert_eq!(breaker.admit(start), Admission::Open(PAUSE[0]));
        let later = start + PAUSE[0];
        assert_eq!(breaker.admit(later), Admission::Trial);
        assert!(matches!(breaker.admit(later), Admission::Open(_)), "one at a time");
        assert!(breaker.succeed(later), "closed, and said so once");
        assert!(!breaker.succeed(later));
        assert_eq!(breaker.admit(later), Admission::Closed);
    }

    #[test]
    fn hope_brings_the_next_trial_forward() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.hope(start);
        assert!(breaker.is_closed());
        for _ in 0..IN_A_ROW {
            breaker.fail(start);
        }
        assert_eq!(breaker.admit(start), Admission::Open(PAUSE[0]));
        breaker.hope(start);
        assert_eq!(breaker.admit(start), Admission::Trial);
        assert_eq!(breaker.admit(start), Admission::Open(PAUSE[0]));
    }

    #[test]
    fn a_success_between_keeps_it_closed_below_half() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..200 {
            assert!(!breaker.fail(start));
            breaker.succeed(start);
            breaker.succeed(start);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn half_of_many_calls_open_it_but_not_those_of_long_ago() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        let half = |breaker: &mut Breaker, at| {
            (0..LEAST).any(|_| {
                breaker.succeed(at);
                breaker.fail(at)
            })
        };
        for _ in 0..4 {
            breaker.fail(start);
        }
        breaker.succeed(start);
        assert!(half(&mut breaker, start));
        let (mut breaker, later) = (Breaker::default(), start + WINDOW);
        for _ in 0..LEAST {
            breaker.fail(start);
            breaker.succeed(start);
            breaker.succeed(start);
        }
        for _ in 0..LEAST / 2 - 1 {
            assert!(!breaker.fail(later));
            breaker.succeed(later);
        }
    }

    #[test]
    fn pauses_grow_and_stay_below_a_second() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..IN_A_ROW {
            breaker.fail(now);
        }
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let Admission::Open(pause) = breaker.admit(now) else { panic!("it is open") };
            pauses.push(pause);
            now += pause;
            assert_eq!(breaker.admit(now), Admission::Trial);
            breaker.fail(now);
        }
        assert!(
            pauses.is_sorted() && pauses[0] < pauses[7] && pauses[7] < Duration::from_secs(1),
            "{pauses:?}"
        );
    }
}

//! How fast a backend answers when it has all the work it can take, and so who would wait in vain. Pure.
//!
//! Must never refuse on a guess: without a fresh measure nobody is refused.

use std::time::{Duration, Instant};

/// Fewer answers, over less time, say nothing: one hiccup of the machine would weigh too much.
const ENOUGH: (u32, Duration) = (16, Duration::from_millis(200));
/// With so many answers over so much time, older ones count half.
const MUCH: (u32, Duration) = (64, Duration::from_secs(1));
/// A measure this old is none: what was slow may be fast again, and nobody would find out.
const FRESH: Duration = Duration::from_secs(5);

/// The measure: answers per time during which work was waiting.
#[derive(Debug, Default)]
pub(super) struct Pace {
    answers: u32,
    busy: Duration,
    /// The last answer, if work was waiting after it.
    since: Option<Instant>,
    measured: Option<Instant>,
}

impl Pace {
    /// Notes that `count` answers came, and whether work still waits after them.
    pub(super) fn answered(&mut self, count: usize, waits: bool, now: Instant) {
        if let Some(since) = self.since {
            self.answers = self.answers.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            self.busy = self.busy.saturating_add(now.saturating_duration_since(since));
            self.measured = Some(now);
            if self.answers >= MUCH.0 && self.busy >= MUCH.1 {
                self.answers /= 2;
                self.busy /= 2;
            }
        }
        self.since = waits.then_some(now);
    }

    /// Time from one answer to the next, if it is known.
    pub(super) fn interval(&self, now: Instant) -> Option<Duration> {
        let fresh = self.measured.is_some_and(|at| now.saturating_duration_since(at) <= FRESH);
        let enough = self.answers >= ENOUGH.0 && self.busy >= ENOUGH.1;
        (fresh && enough).then(|| self.busy / self.answers)
    }

    /// The wait of one that would come `place`th from now, if it is too long for who has `left`.
    ///
    /// What begins in the last fifth of its time is refused too: it would often miss its deadline, after the backend
    /// has worked for it. Nothing is lost by it, since by then the backend has work for four fifths of that time.
    pub(super) fn too_long(&self, place: usize, left: Duration, now: Instant) -> Option<Duration> {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        let wait = self.interval(now)?.saturating_mul(place);
        (wait > left / 5 * 4).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// `count` single answers, `every` apart, with work waiting all the time.
    fn run(pace: &mut Pace, from: Instant, count: u32, every: Duration) -> Instant {
        for turn in 0..count {
            pace.answered(1, true, from + every * turn);
        }
        from + every * (count - 1)
    }

    #[test]
    fn measures_only_while_work_waits() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let end = run(&mut pace, start, 101, 10 * MS);
        assert_eq!(pace.interval(end), Some(10 * MS));
        pace.answered(1, false, end + 10 * MS);
        pace.answered(1, true, end + 2000 * MS);
        pace.answered(2, true, end + 2020 * MS);
        assert_eq!(pace.interval(end + 2020 * MS), Some(10 * MS), "idle time is not work");
    }

    #[test]
    fn guesses_nothing() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.too_long(1_000_000, MS, start), None);
        let end = run(&mut pace, start, 16, 100 * MS);
        assert_eq!(pace.interval(end), None, "fifteen answers");
        let mut quick = Pace::default();
        let end = run(&mut quick, start, 190, MS);
        assert_eq!(quick.interval(end), None, "189 ms");
        let end = run(&mut quick, end + MS, 20, MS);
        assert_eq!(quick.interval(end), Some(MS));
        assert_eq!(quick.interval(end + FRESH + MS), None, "too old");
    }

    #[test]
    fn follows_a_change_and_survives_a_hiccup() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let end = run(&mut pace, start, 1000, 2 * MS);
        pace.answered(1, true, end + 200 * MS);
        let interval = pace.interval(end + 200 * MS).unwrap();
        assert!(interval < 3 * MS, "{interval:?}");
        let end = run(&mut pace, end + 300 * MS, 1000, 20 * MS);
        let interval = pace.interval(end).unwrap();
        assert!(interval > 19 * MS && interval <= 20 * MS, "{interval:?}");
    }

    #[test]
    fn refuses_what_would_be_late() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let end = run(&mut pace, start, 100, 10 * MS);
        assert_eq!(pace.too_long(40, 500 * MS, end), None);
        assert_eq!(pace.too_long(41, 500 * MS, end), Some(410 * MS));
        assert!(pace.too_long(usize::MAX, 500 * MS, end).is_some());
    }
}

//! Counting in a window that slides. Pure: the time is an argument.
//!
//! The window is cut into [`PARTS`]; the part that is not over counts, and so do the last eight that are. What is
//! counted is therefore everything of the last window and at most an eighth of a window more: never too little.

use std::time::Duration;

/// Parts of a window.
const PARTS: usize = 8;
/// With the one that is not over.
const SLOTS: usize = PARTS + 1;

/// A count of what happened lately.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// Milliseconds of one part.
    part: i64,
    /// Number of the newest part since 1970; part N is in slot N modulo [`SLOTS`].
    newest: i64,
    counts: [u32; SLOTS],
}

impl Window {
    pub(super) fn new(length: Duration, now: i64) -> Self {
        let part = part_of(length);
        Self { part, newest: now.div_euclid(part), counts: [0; SLOTS] }
    }
    /// Counts one more at `now`, milliseconds since 1970.
    pub(super) fn add(&mut self, now: i64) {
        self.advance(now);
        let slot = slot(self.newest);
        if let Some(count) = self.counts.get_mut(slot) {
            *count = count.saturating_add(1);
        }
    }
    /// Takes back one that was counted at `then`, unless it is over; with a clock that went back meanwhile one too many
    /// may stay.
    pub(super) fn remove(&mut self, then: i64) {
        let part = then.div_euclid(self.part);
        if (0..SLOTS as i64).contains(&self.newest.saturating_sub(part))
            && let Some(count) = self.counts.get_mut(slot(part))
        {
            *count = count.saturating_sub(1);
        }
    }
    /// How many there were.
    pub(super) fn count(&mut self, now: i64) -> u64 {
        self.advance(now);
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
    /// How long until there are fewer than `most` again, if nothing is added.
    pub(super) fn wait(&mut self, now: i64, most: u32) -> Duration {
        let mut left = self.count(now);
        let mut part = self.newest - PARTS as i64;
        while part <= self.newest {
            left -= self.counts.get(slot(part)).map_or(0, |count| u64::from(*count)).min(left);
            if left < u64::from(most) {
                break;
            }
            part += 1;
        }
        let end = (part + SLOTS as i64).saturating_mul(self.part);
        Duration::from_millis(end.saturating_sub(now).unsigned_abs())
    }

    /// Forgets what is over. A clock that went back a little stands still here; one that went back by more than all
    /// that is remembered leaves nothing to go by.
    fn advance(&mut self, now: i64) {
        let newest = now.div_euclid(self.part);
        let passed = newest.saturating_sub(self.newest);
        if passed.unsigned_abs() >= SLOTS as u64 {
            self.counts = [0; SLOTS];
            self.newest = newest;
            return;
        }
        while self.newest < newest {
            self.newest += 1;
            if let Some(count) = self.counts.get_mut(slot(self.newest)) {
                *count = 0;
            }
        }
    }
}

fn part_of(length: Duration) -> i64 {
    i64::try_from(length.as_millis().div_ceil(PARTS as u128)).unwrap_or(i64::MAX).max(1)
}
fn slot(part: i64) -> usize {
    usize::try_from(part.rem_euclid(SLOTS as i64)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_over_is_forgotten_between_one_window_and_an_eighth_more() {
        let mut window = Window::new(MINUTE, 0);
        for now in [0, 1, 7_499] {
            window.add(now);
        }
        window.add(7_500);
        assert_eq!(window.count(60_000), 4);
        assert_eq!(window.count(67_499), 4);
        assert_eq!(window.count(67_500), 1);
        assert_eq!(window.count(75_000), 0);
    }
    #[test]
    fn waiting_as_long_as_is_told_helps() {
        let mut window = Window::new(MINUTE, 0);
        for now in [0, 0, 10_000, 20_000] {
            window.add(now);
        }
        let wait = |window: &mut Window, now, most| window.wait(now, most).as_millis();
        assert_eq!(wait(&mut window, 20_000, 4), 47_500);
        assert_eq!(wait(&mut window, 20_000, 2), 55_000);
        assert_eq!(wait(&mut window, 20_000, 1), 62_500);
    }
    #[test]
    fn a_clock_that_goes_back_neither_forgets_nor_blocks_for_ever() {
        let mut window = Window::new(MINUTE, 1_000_000);
        window.add(1_000_000);
        window.add(998_000);
        assert_eq!(window.count(940_000), 2);
        assert_eq!(window.count(100_000), 0);
        window.add(100_000);
        assert_eq!(window.count(100_000), 1);
        assert_eq!(window.count(i64::MAX), 0);
        assert_eq!(window.count(i64::MIN), 0);
    }

    proptest! {
        /// Against a list of all times.
        #[test]
        fn never_too_little_and_at_most_an_eighth_of_a_window_more(
            seconds in 1u64..100_000,
            steps in prop::collection::vec((0i64..20_000, any::<bool>()), 1..200),
            most in 1u32..20,
        ) {
            let length = Duration::from_secs(seconds);
            let millis = seconds as i64 * 1000;
            let mut now = 1_700_000_000_000i64;
            let (mut window, mut all) = (Window::new(length, now), Vec::<i64>::new());
            for (step, counts) in steps {
                now += step * millis / 60_000;
                if counts {
                    window.add(now);
                    all.push(now);
                }
                let within = |length: i64| all.iter().filter(|then| now - **then < length).count() as u64;
                let counted = window.count(now);
                prop_assert!(counted >= within(millis));
                prop_assert!(counted <= within(millis + millis / 8 + 16));
                if counted >= u64::from(most) {
                    let wait = window.wait(now, most).as_millis() as i64;
                    prop_assert!(wait > 0 && wait <= millis + millis / 8 + 16);
                    prop_assert!(window.clone().count(now + wait) < u64::from(most));
                    prop_assert!(window.clone().count(now + wait - 1) >= u64::from(most));
                }
            }
        }
    }
}

//! The time that requests are signed with: this host's, corrected by what AWS said when it last refused one for its
//! time.
//!
//! The SDK's own correction is off. It follows every response, so one that was under way when the clock jumped undoes
//! what another one has just put right, and a request could be refused twice.

use crate::clock::{Clock, SystemClock};
use aws_sdk_kms::primitives::{DateTime, DateTimeFormat};
use aws_smithy_async::time::TimeSource;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The difference in use.
#[derive(Debug, Clone, Default)]
pub(super) struct Skew(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Seconds that this host's clock is behind.
    behind: i64,
    /// Rises with every correction.
    generation: u64,
}

impl Skew {
    /// Which correction is in use; to be noted before a request is made with it.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// A request with the correction of `generation` was refused, by a response with this date. Corrects it, unless
    /// somebody did already. Gives the seconds that this host's clock is behind; `None` when the date says nothing.
    pub(super) fn correct(&self, generation: u64, date: &str) -> Option<i64> {
        let theirs = DateTime::from_str(date, DateTimeFormat::HttpDate).ok()?.secs();
        let mut state = self.lock();
        if state.generation == generation {
            state.behind = theirs - SystemClock.now().as_second();
            state.generation += 1;
        }
        Some(state.behind)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeSource for Skew {
    fn now(&self) -> SystemTime {
        let since =
            SystemClock.now().as_millisecond().saturating_add(self.lock().behind.saturating_mul(1000));
        UNIX_EPOCH + Duration::from_millis(u64::try_from(since).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_correction_holds_and_what_was_overtaken_changes_nothing() {
        let skew = Skew::default();
        let off = |skew: &Skew| {
            let ours = skew.now().duration_since(UNIX_EPOCH).unwrap();
            ours.abs_diff(Duration::from_secs(4_000_000_000))
        };
        let before = skew.generation();
        assert_eq!(skew.correct(before, "yesterday"), None);
        assert_eq!(skew.generation(), before);
        let behind = skew.correct(before, "Tue, 02 Oct 2096 07:06:40 GMT").unwrap();
        assert!(behind > 0 && off(&skew) < Duration::from_secs(60), "{behind}");
        // Another request of before, whose response says something else.
        assert_eq!(skew.correct(before, "Fri, 01 Jan 2016 00:00:00 GMT"), Some(behind));
        assert!(off(&skew) < Duration::from_secs(60));
        let ahead = skew.correct(skew.generation(), "Fri, 01 Jan 2016 00:00:00 GMT").unwrap();
        assert!(ahead < 0 && off(&skew) > Duration::from_secs(60), "{ahead}");
    }
}

//! Wall time as a value that is passed in, so that policy and tests decide what "now" is, and the judge of whether it
//! can be trusted.
//!
//! The only module that asks the system for the wall time. Pure modules take a [`Timestamp`]. Never sets the clock.

mod guarded;
mod watch;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

pub use guarded::{Guarded, Jump, Seen, State};
pub use watch::{ClockEvent, Head, Mode, Untrusted};

/// A source of wall time.
pub trait Clock: Send + Sync {
    /// The time now, UTC.
    fn now(&self) -> Timestamp;

    /// A time that no JWT is dated after so far. Not before [`Self::now`].
    fn latest(&self) -> Timestamp {
        self.now()
    }

    /// The time now beside a clock that nobody can set. A clock that has no such neighbour is taken at its word.
    fn read(&self) -> Reading {
        let wall = self.now();
        let boot = Duration::try_from(wall.as_duration()).unwrap_or_default();
        Reading { wall, boot }
    }
}

/// Two clocks, read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since the kernel was started, time asleep included. Nothing sets it, and it runs as fast as the wall clock,
    /// also while NTP slews that one.
    pub boot: Duration,
}

impl Reading {
    /// When the kernel was started, by the wall clock: this moves when the clock is set, and only then.
    pub(crate) fn booted(&self) -> Timestamp {
        self.wall.saturating_sub(self.boot).unwrap_or(Timestamp::MIN)
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn read(&self) -> Reading {
        let wall = self.now();
        // Every kernel that has this program's other system calls has the clock.
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        Reading { wall, boot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Timestamp);
    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    #[test]
    fn a_clock_without_a_neighbour_never_jumps() {
        for second in [0, 1, 1_700_000_000, 4_000_000_000] {
            let reading = Fixed(Timestamp::from_second(second).unwrap()).read();
            assert_eq!(reading.booted(), Timestamp::UNIX_EPOCH);
        }
    }

    #[test]
    fn the_system_has_both_clocks() {
        let (first, second) = (SystemClock.read(), SystemClock.read());
        assert!(first.boot > Duration::ZERO && second.boot >= first.boot);
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        assert!((uptime - second.boot.as_secs_f64()).abs() < 60.0);
    }
}

//! Wall time as a value that is passed in, so that policy and tests decide what "now" is.
//!
//! The only module that asks the system for the wall time. Pure modules take a [`Timestamp`].

use jiff::Timestamp;

/// A source of wall time.
pub trait Clock: Send + Sync {
    /// The time now, UTC.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

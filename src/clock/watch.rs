//! Whether the wall clock can be trusted, judged from what it showed before. Pure: readings are arguments.
//!
//! Two promises, whatever the clock does, restarts included, until an operator accepts it or the mode is `off`: no time
//! that was trusted is more than [`TOLERANCE`] before one that was trusted earlier, and none is more than [`AHEAD`]
//! ahead of the *line*, which is what the clock would show had nobody set it since the kernel last vouched for it.
//! Judging by these and not by single steps is what keeps many small steps from adding up.

use jiff::{SignedDuration, Timestamp, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::Reading;

/// How far the clock may go back, and the largest change of it that is no event: a leap second, a rough adjustment.
pub(super) const TOLERANCE: SignedDuration = SignedDuration::from_secs(2);
/// How far ahead of the line the clock may be while the kernel does not call it synchronised.
pub(super) const AHEAD: SignedDuration = SignedDuration::from_mins(10);
/// The kernel's bound on the error of a clock that is not synchronised.
const UNSYNCHRONISED: Duration = Duration::from_secs(16);
/// The most error that mode `strict` takes.
const STRICT: Duration = Duration::from_secs(1);
/// Times may have been trusted so far beyond the greatest one of a [`Head`] when the daemon did not end in good order.
const UNSAVED: SignedDuration = SignedDuration::from_secs(15);
/// The longest wait that callers are told.
const PATIENCE: Duration = Duration::from_secs(60);

/// What follows from a clock that cannot be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is signed after a jump, nor while the kernel does not bound the clock's error by a second.
    Strict,
    /// Nothing is signed after a jump.
    #[default]
    Warn,
    /// Jumps are recorded, no more.
    Off,
}

/// Why the clock is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It was later before.
    #[error(
        "the clock is {by:#} behind what it showed before; set it right, wait, or run `jwsd clock accept` if it is right now",
        by = whole(by)
    )]
    Behind {
        /// From now to the greatest time seen.
        by: SignedDuration,
    },
    /// It went forward, and nothing says that it should.
    #[error(
        "the clock is {by:#} ahead of what it should show, and the kernel does not call it synchronised; set it right, synchronise it, or run `jwsd clock accept` if it is right now",
        by = whole(by)
    )]
    Ahead {
        /// From the line to now.
        by: SignedDuration,
    },
    /// Mode `strict` wants to know its error.
    #[error(
        "the kernel does not bound the clock's error by a second, as [clock] mode = \"strict\" asks; synchronise the clock"
    )]
    Unsynchronised,
}

impl Untrusted {
    /// When it is worth asking again, if waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Behind { by } => Some(by.unsigned_abs().min(PATIENCE)),
            Self::Ahead { .. } | Self::Unsynchronised => None,
        }
    }

    /// Whether an operator's word can stand in for what is missing.
    pub fn is_acceptable(&self) -> bool {
        !matches!(self, Self::Unsynchronised)
    }
}

/// Whole seconds, for people.
fn whole(by: &SignedDuration) -> SignedDuration {
    by.round(Unit::Second).unwrap_or(*by)
}

/// What happened to the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvent {
    /// It was set.
    Jumped {
        /// How far; forward is positive.
        by: SignedDuration,
        /// Why it is not trusted now, if it is not.
        fault: Option<Untrusted>,
    },
    /// It is not trusted any more, for another reason than a jump just now.
    Untrusted(Untrusted),
    /// It is trusted again.
    Trusted,
}

/// What outlasts a restart. A clock that is not trusted never moves `greatest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Greatest time trusted when this was made.
    pub greatest: Timestamp,
    /// No time beyond this was trusted before the next head was made.
    pub until: Timestamp,
    /// When the kernel was started, by the line, if there is one yet.
    pub line: Option<Timestamp>,
    /// When the kernel was started, by the wall clock.
    pub seen: Timestamp,
    /// Which boot this was.
    pub boot_id: Option<String>,
}

/// The judge. Times of starting the kernel stand for the difference between the two clocks of a [`Reading`].
#[derive(Debug)]
pub(super) struct Watch {
    mode: Mode,
    boot_id: Option<String>,
    greatest: Timestamp,
    /// None before the first trusted look at a clock that nothing is known of.
    line: Option<Timestamp>,
    seen: Timestamp,
    error: Option<Duration>,
    fault: Option<Untrusted>,
}

impl Watch {
    /// Goes on from `head`, if there is one. [`Self::hear`] and [`Self::look`] come next, with the same reading.
    pub(super) fn new(mode: Mode, head: Option<Head>, boot_id: Option<String>, at: Reading) -> Self {
        let booted = at.booted();
        let (greatest, line, seen) = match head {
            None => (at.wall, None, booted),
            // What has not been trusted yet by the unset clock was not trusted before either.
            Some(head) if head.boot_id.is_some() && head.boot_id == boot_id => {
                let unset = head.seen.saturating_add(at.boot).unwrap_or(Timestamp::MAX);
                (head.until.min(unset).max(head.greatest), head.line, head.seen)
            }
            // How long the machine was down nobody knows: only going back is seen.
            Some(head) => {
                let least = Reading { wall: head.until, ..at }.booted();
                (head.until, None, booted.max(least))
            }
        };
        Self { mode, boot_id, greatest, line, seen, error: None, fault: None }
    }

    /// Whether the clock was set since the last look.
    pub(super) fn is_jump(&self, at: Reading) -> bool {
        self.drift(at).abs() > TOLERANCE
    }

    fn drift(&self, at: Reading) -> SignedDuration {
        at.booted().duration_since(self.seen)
    }

    /// The kernel's bound on the clock's error, asked for after `at` was read: the kernel forgets that a clock is
    /// synchronised when somebody sets it, so in this order it vouches for the reading.
    pub(super) fn hear(&mut self, at: Reading, error: Option<Duration>) {
        self.error = error;
        if self.is_synchronised() {
            self.line = Some(at.booted());
        }
    }

    pub(super) fn is_synchronised(&self) -> bool {
        self.error.is_some_and(|error| error < UNSYNCHRONISED)
    }

    pub(super) fn error(&self) -> Option<Duration> {
        self.error
    }

    /// Judges a reading; [`Self::fault`] has the judgement.
    pub(super) fn look(&mut self, at: Reading) -> Vec<ClockEvent> {
        let (by, jumped, before) = (self.drift(at), self.is_jump(at), self.fault);
        self.seen = at.booted();
        if self.mode == Mode::Off {
            self.adopt(at);
        }
        self.fault = self.judge(at);
        if self.fault.is_none() {
            self.greatest = self.greatest.max(at.wall);
            self.line.get_or_insert(at.booted());
        }
        let mut events = Vec::new();
        let kind = |fault: &Untrusted| std::mem::discriminant(fault);
        match self.fault {
            fault if jumped => events.push(ClockEvent::Jumped { by, fault }),
            Some(fault) if before.as_ref().map(kind) != Some(kind(&fault)) => {
                events.push(ClockEvent::Untrusted(fault));
            }
            _ => {}
        }
        if before.is_some() && self.fault.is_none() {
            events.push(ClockEvent::Trusted);
        }
        events
    }

    fn judge(&self, at: Reading) -> Option<Untrusted> {
        let behind = self.greatest.duration_since(at.wall);
        // Once it was behind, all of it must be made up for.
        let may = if matches!(self.fault, Some(Untrusted::Behind { .. })) {
            SignedDuration::ZERO
        } else {
            TOLERANCE
        };
        if behind > may {
            return Some(Untrusted::Behind { by: behind });
        }
        let ahead = self.line.map(|line| at.booted().duration_since(line)).filter(|ahead| *ahead > AHEAD);
        if let Some(by) = ahead {
            return Some(Untrusted::Ahead { by });
        }
        let bounded = self.error.is_some_and(|error| error <= STRICT);
        (self.mode == Mode::Strict && !bounded).then_some(Untrusted::Unsynchronised)
    }

    /// Takes the clock at its word: an operator said so.
    pub(super) fn accept(&mut self, at: Reading) {
        self.adopt(at);
        self.seen = at.booted();
        self.fault = self.judge(at);
    }

    fn adopt(&mut self, at: Reading) {
        (self.greatest, self.line, self.fault) = (at.wall, Some(at.booted()), None);
    }

    pub(super) fn fault(&self) -> Option<Untrusted> {
        self.fault
    }

    /// Greatest time that was trusted.
    pub(super) fn greatest(&self) -> Timestamp {
        self.greatest
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// What to keep. `ended`: no time will be trusted any more before the next start.
    pub(super) fn head(&self, ended: bool) -> Head {
        let unsaved = if ended || self.fault.is_some() { SignedDuration::ZERO } else { UNSAVED };
        Head {
            greatest: self.greatest,
            until: self.greatest.saturating_add(unsaved).unwrap_or(Timestamp::MAX),
            line: self.line,
            seen: self.seen,
            boot_id: self.boot_id.clone(),
        }
    }
}

#[cfg(test)]
mod tests;

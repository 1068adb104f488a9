//! Whether the wall clock can be trusted, judged from what it showed before. Pure: readings are arguments.
//!
//! Two promises, whatever the clock does, restarts included, until an operator accepts it or the mode is `off`: no time
//! that was used is more than [`TOLERANCE`] before one that was used earlier, and none is more than [`AHEAD`] ahead of
//! the *line*, which is what the clock would show had nobody set it since the kernel last vouched for it; the line
//! follows the clock by [`FOLLOW`] an hour at most. Judging by these and not by single steps is what keeps many small
//! steps from adding up. A time that was shown but not used binds nobody: the clock may be set back behind it. After a
//! crash the first promise is weaker by what small steps, which are no events, have moved the clock since the last
//! [`Head`]: [`TOLERANCE`] at most.

use jiff::{RoundMode, SignedDuration, SignedDurationRound, Timestamp, Unit};
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
/// How far the line moves towards a clock ahead of it in each hour of the other clock: no crystal is off by more than
/// the 500 ppm (1.8 s an hour) that NTP can make up for, so small steps that keep a clock right never reach [`AHEAD`].
const FOLLOW: SignedDuration = SignedDuration::from_secs(2);
const HOUR: u64 = 3600;
/// The most error that mode `strict` takes. The kernel adds 500 ppm, 1.024 s in the 2048 s for which systemd-timesyncd
/// waits between two polls, and this is what clocks may differ by anyway.
const STRICT: Duration = Duration::from_secs(2);
/// Times may have been used so far beyond the last look before a [`Head`] when the daemon did not end in good order.
const UNSAVED: SignedDuration = SignedDuration::from_secs(15);
/// The longest wait that callers are told.
const PATIENCE: Duration = Duration::from_secs(60);

/// What follows from a clock that cannot be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is signed after a jump, nor while the kernel does not bound the clock's error by 2 s.
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
    /// It was later when it was last used.
    #[error(
        "the clock is {by:#} behind a time that was used before; set it right, wait, or run `jwsd clock accept` if it is right now",
        by = whole(by)
    )]
    Behind {
        /// From now to the greatest time used.
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
    /// Mode `strict` wants to know its error, and it is too large.
    #[error(
        "the kernel does not bound the clock's error by 2 s, as [clock] mode = \"strict\" asks; synchronise the clock"
    )]
    Unsynchronised,
    /// Mode `strict` wants to know its error, and the kernel does not tell.
    #[error(
        "the kernel does not tell the clock's error (adjtimex is forbidden), which [clock] mode = \"strict\" must know; allow the call or use mode \"warn\""
    )]
    Untold,
    /// What was kept of it cannot be read.
    #[error(
        "what was kept of the clock cannot be read, so nobody knows what it showed before; look at it and run `jwsd clock accept` if it is right"
    )]
    Unknown,
}

impl Untrusted {
    /// When it is worth asking again, if waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Behind { by } => Some(by.unsigned_abs().min(PATIENCE)),
            Self::Ahead { .. } | Self::Unsynchronised | Self::Untold | Self::Unknown => None,
        }
    }

    /// Whether an operator's word can stand in for what is missing.
    pub fn is_acceptable(&self) -> bool {
        !matches!(self, Self::Unsynchronised | Self::Untold)
    }
}

/// Whole seconds, for people; never none.
fn whole(by: &SignedDuration) -> SignedDuration {
    let up = SignedDurationRound::new().smallest(Unit::Second).mode(RoundMode::Expand);
    by.round(up).unwrap_or(*by)
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

/// What outlasts a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Greatest time used when this was made, if any was.
    pub greatest: Option<Timestamp>,
    /// No time beyond this was used before the next head was made.
    pub until: Option<Timestamp>,
    /// When the kernel was started, by the line, if there is one yet.
    pub line: Option<Timestamp>,
    /// When the kernel was started, by the wall clock.
    pub seen: Timestamp,
    /// Which boot this was.
    pub boot_id: Option<String>,
    /// An older one could not be read, and nobody has accepted the clock since.
    #[serde(default)]
    pub lost: bool,
}

impl Head {
    /// In place of one that cannot be read.
    pub fn lost() -> Self {
        let seen = Timestamp::UNIX_EPOCH;
        Self { greatest: None, until: None, line: None, seen, boot_id: None, lost: true }
    }
}

/// The judge. Times of starting the kernel stand for the difference between the two clocks of a [`Reading`].
#[derive(Debug)]
pub(super) struct Watch {
    mode: Mode,
    boot_id: Option<String>,
    /// None before the first use.
    greatest: Option<Timestamp>,
    /// The last time trusted, used or not; the best guess before the first.
    trusted: Timestamp,
    /// None before the first trusted look at a clock that nothing is known of.
    line: Option<Timestamp>,
    /// Until when, by the other clock, the line has followed.
    followed: Duration,
    seen: Timestamp,
    lost: bool,
    error: Option<Duration>,
    fault: Option<Untrusted>,
}

impl Watch {
    /// Goes on from `head`, if there is one. [`Self::hear`] and [`Self::look`] come next, with the same reading.
    pub(super) fn new(mode: Mode, head: Option<Head>, boot_id: Option<String>, at: Reading) -> Self {
        let booted = at.booted();
        let lost = head.as_ref().is_some_and(|head| head.lost);
        let (greatest, line, seen) = match head {
            None => (None, None, booted),
            // What has not been shown yet by the unset clock was not used before either.
            Some(head) if head.boot_id.is_some() && head.boot_id == boot_id => {
                let unset = head.seen.saturating_add(at.boot).unwrap_or(Timestamp::MAX);
                (head.until.map(|until| until.min(unset)).max(head.greatest), head.line, head.seen)
            }
            // How long the machine was down nobody knows: only going back is seen.
            Some(head) => {
                let least = head.until.map(|until| Reading { wall: until, ..at }.booted());
                (head.until, None, least.map_or(booted, |least| booted.max(least)))
            }
        };
        let trusted = greatest.unwrap_or(at.wall);
        let (followed, error, fault) = (at.boot, None, None);
        Self { mode, boot_id, greatest, trusted, line, followed, seen, lost, error, fault }
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
            self.trusted = at.wall;
            self.follow(at);
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

    /// Lets the line follow, by what has gone by since it last did.
    fn follow(&mut self, at: Reading) {
        let line = *self.line.get_or_insert(at.booted());
        let hours = at.boot.saturating_sub(self.followed).as_secs() / HOUR;
        self.followed += Duration::from_secs(hours * HOUR);
        let most = FOLLOW.saturating_mul(i32::try_from(hours).unwrap_or(i32::MAX));
        let by = at.booted().duration_since(line).min(most);
        if by.is_positive() {
            self.line = line.checked_add(by).ok();
        }
    }

    /// The greatest time used, if any was.
    pub(super) fn greatest(&self) -> Option<Timestamp> {
        self.greatest
    }

    /// The time of the last look was given to somebody who will use it.
    pub(super) fn used(&mut self) {
        self.greatest = self.greatest.max(Some(self.trusted));
    }

    fn judge(&self, at: Reading) -> Option<Untrusted> {
        if self.lost {
            return Some(Untrusted::Unknown);
        }
        let behind = self.greatest.map_or(SignedDuration::MIN, |greatest| greatest.duration_since(at.wall));
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
        match self.error {
            _ if self.mode != Mode::Strict => None,
            None => Some(Untrusted::Untold),
            Some(error) => (error > STRICT).then_some(Untrusted::Unsynchronised),
        }
    }

    /// Takes the clock at its word: an operator said so.
    pub(super) fn accept(&mut self, at: Reading) {
        self.adopt(at);
        self.seen = at.booted();
        self.fault = self.judge(at);
    }

    fn adopt(&mut self, at: Reading) {
        // Not none: after a crash it is a guess, and a time that was used may lie before it.
        self.greatest = self.greatest.map(|greatest| greatest.min(at.wall));
        (self.trusted, self.line) = (at.wall, Some(at.booted()));
        (self.lost, self.fault) = (false, None);
    }

    pub(super) fn fault(&self) -> Option<Untrusted> {
        self.fault
    }

    /// The last time that was trusted.
    pub(super) fn trusted(&self) -> Timestamp {
        self.trusted
    }

    /// When the kernel was started, by the wall clock at the last look.
    pub(super) fn seen(&self) -> Timestamp {
        self.seen
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// What to keep. `ended`: no time will be used any more before the next start.
    pub(super) fn head(&self, ended: bool) -> Head {
        let unsaved = self.trusted.saturating_add(UNSAVED).unwrap_or(Timestamp::MAX);
        let is_over = ended || self.fault.is_some();
        Head {
            greatest: self.greatest,
            until: if is_over { self.greatest } else { self.greatest.max(Some(unsaved)) },
            line: self.line,
            seen: self.seen,
            boot_id: self.boot_id.clone(),
            lost: self.lost,
        }
    }
}

#[cfg(test)]
mod tests;

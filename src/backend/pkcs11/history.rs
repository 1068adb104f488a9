//! What a backend has been through, and so when the next worker may start. Pure: the clock is an argument.
//!
//! Must never answer a lost login with more than [`LOGINS`] new ones an hour: each costs trust of the token.

use super::Fault;
use super::recovery::{CRASH, HANG, Quarantine, Remedy};
use crate::backend::Scope;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Waits between the end of a worker and the next start, by failures in a row.
const BACKOFF: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
/// The same while the token is gone. Such starts fail before any login and cost little, and a token that is back
/// should sign within a second.
const POLL: [Duration; 3] =
    [Duration::from_millis(250), Duration::from_millis(375), Duration::from_millis(500)];
/// So many logins may follow lost ones within [`LOGIN_WINDOW`].
const LOGINS: usize = 3;
const LOGIN_WINDOW: Duration = Duration::from_secs(3600);
/// More crashes than this within [`CRASH_WINDOW`] are for people to hear of. No quarantine: the only token must come
/// back by itself, and a worker that crashes harms nobody else, so the breaker alone holds it back.
const CRASHES: usize = 3;
const CRASH_WINDOW: Duration = Duration::from_secs(60);
/// So many workers in a row that logged in and ended by a fault of the module's core without one signature, over at
/// least [`USELESS_FOR`]: another one will not help. The recovery table says "the second time"; but two come within
/// milliseconds, and an HSM that stumbles must come back without an operator.
const USELESS: u32 = 3;
const USELESS_FOR: Duration = Duration::from_secs(5);

/// A reason that workers do not start is said again after this.
const REMINDER: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    failures: usize,
    polls: usize,
    /// Workers in a row that were of no use, and when the first of them ended.
    useless: Option<(u32, Instant)>,
    crashes: VecDeque<Instant>,
    logins: VecDeque<Instant>,
    /// The last reason that was said, and when.
    said: Option<(String, Instant)>,
}

/// What follows the end of a worker, or of an attempt to start one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The next start, after this.
    Start(Duration),
    /// The same, but nobody needs to wait for it: the budget of logins is spent.
    Rest(Duration),
    /// None before an operator releases the backend. Says why.
    Quarantine(String),
}

impl History {
    /// A worker was ready and ended by `fault` after so many signatures; `healthy` if it was of use. Says also
    /// whether the backend is to blame.
    pub(super) fn ended(&mut self, fault: &Fault, signed: u64, healthy: bool, now: Instant) -> (Next, bool) {
        if healthy {
            self.failures = 0;
        }
        self.polls = 0;
        self.said = None;
        let row = fault.row();
        let core =
            row.is_some_and(|row| row.quarantine == Quarantine::WhenUseless && row.scope != Scope::Key);
        let (count, since) = self.useless.map_or((1, now), |(count, since)| (count + 1, since));
        self.useless = (core && signed == 0).then_some((count, since));
        let blame = match row {
            Some(row) if *row == CRASH => self.crashed(now),
            // The requests that were under way have blamed it already.
            Some(row) => *row != HANG,
            None => false,
        };
        if let Some(quarantine) = at_once(fault) {
            return (quarantine, blame);
        }
        if self.useless.is_some() && count >= USELESS && now.saturating_duration_since(since) >= USELESS_FOR {
            self.useless = None;
            let why =
                format!("{count} workers in a row ended without a signature, the last by {}", fault.message);
            return (Next::Quarantine(why), blame);
        }
        (self.go_on(fault, now), blame)
    }

    /// A worker did not become ready.
    pub(super) fn not_started(&mut self, fault: &Fault, now: Instant) -> (Next, bool) {
        let row = fault.row();
        let blame = row.is_some_and(|row| *row == CRASH) && self.crashed(now);
        if let Some(quarantine) = at_once(fault) {
            return (quarantine, blame);
        }
        if row.is_some_and(|row| row.remedy == Remedy::Token) {
            let pause = POLL.get(self.polls).or(POLL.last()).copied().unwrap_or_default();
            self.polls += 1;
            return (Next::Start(pause), blame);
        }
        self.polls = 0;
        (self.go_on(fault, now), blame)
    }

    /// Whether people should hear why a worker did not start: the same reason not twice within [`REMINDER`], as a token
    /// that is gone is looked for twice a second.
    pub(super) fn is_news(&mut self, reason: &str, now: Instant) -> bool {
        let known =
            |(said, at): &(String, Instant)| said == reason && now.saturating_duration_since(*at) < REMINDER;
        let news = !self.said.as_ref().is_some_and(known);
        if news {
            self.said = Some((reason.to_owned(), now));
        }
        news
    }

    /// Whoever cannot do without the first worker gives up now, before a second one is tried.
    pub(super) fn first_failed(&mut self) {
        self.failures = 2;
    }

    /// An operator has put right what was wrong.
    pub(super) fn forget(&mut self) {
        *self = Self { logins: std::mem::take(&mut self.logins), ..Self::default() };
    }

    /// The next start, if the budget of logins allows it.
    fn go_on(&mut self, fault: &Fault, now: Instant) -> Next {
        if fault.row().is_some_and(|row| row.remedy == Remedy::Login)
            && let Some(wait) = self.login_lost(now)
        {
            return Next::Rest(wait);
        }
        let pause = BACKOFF.get(self.failures).or(BACKOFF.last()).copied().unwrap_or_default();
        self.failures += 1;
        Next::Start(pause)
    }

    fn crashed(&mut self, now: Instant) -> bool {
        remember(&mut self.crashes, now, CRASH_WINDOW);
        self.crashes.len() > CRASHES
    }

    /// How long to wait before the login may be made anew, if it may not be now.
    fn login_lost(&mut self, now: Instant) -> Option<Duration> {
        remember(&mut self.logins, now, LOGIN_WINDOW);
        let over = self.logins.len().checked_sub(LOGINS + 1)?;
        let oldest = self.logins.get(over).copied()?;
        // The login is made when the wait is over, and counts from then.
        let wait = (oldest + LOGIN_WINDOW).saturating_duration_since(now);
        if let Some(last) = self.logins.back_mut() {
            *last = now + wait;
        }
        Some(wait)
    }
}

fn at_once(fault: &Fault) -> Option<Next> {
    let quarantined = fault.advice.quarantine && fault.advice.scope == Scope::Backend;
    quarantined.then(|| Next::Quarantine(fault.message.clone()))
}

fn remember(events: &mut VecDeque<Instant>, now: Instant, window: Duration) {
    while events.front().is_some_and(|event| now.saturating_duration_since(*event) >= window) {
        events.pop_front();
    }
    events.push_back(now);
}

#[cfg(test)]
mod tests {
    use super::super::recovery::by_code;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn fault(code: u64) -> Fault {
        by_code(code).fault("why")
    }

    #[test]
    fn a_lost_login_is_made_anew_three_times_an_hour() {
        let (mut history, start) = (History::default(), Instant::now());
        for minute in 0..3 {
            let (next, blame) = history.ended(&fault(0x101), 1, true, start + MINUTE * minute);
            assert_eq!((next, blame), (Next::Start(Duration::ZERO), true));
        }
        let wait = |history: &mut History, at| match history.ended(&fault(0x101), 1, true, at).0 {
            Next::Rest(wait) => at + wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            wait(&mut history, start + MINUTE * 10),
            start + MINUTE * 60,
            "when the first is an hour old"
        );
        assert_eq!(wait(&mut history, start + MINUTE * 60), start + MINUTE * 61);
        let (next, _) = history.ended(&fault(0x101), 1, true, start + MINUTE * 200);
        assert_eq!(next, Next::Start(Duration::ZERO));
    }

    /// A worker may lose its login before it is ready, for instance when it opens its sessions.
    #[test]
    fn a_login_that_is_lost_during_a_start_counts_too() {
        let (mut history, start) = (History::default(), Instant::now());
        for second in 0..3 {
            let now = start + Duration::from_secs(second);
            assert!(matches!(history.not_started(&fault(0x101), now).0, Next::Start(_)));
        }
        let (next, _) = history.not_started(&fault(0x101), start + MINUTE);
        assert_eq!(next, Next::Rest(MINUTE * 59));
    }

    #[test]
    fn a_token_that_is_gone_is_polled_and_anything_else_backed_off() {
        let (mut history, now) = (History::default(), Instant::now());
        assert_eq!(history.ended(&fault(0x32), 1, true, now).0, Next::Start(Duration::ZERO));
        let polls: Vec<_> = (0..6).map(|_| history.not_started(&fault(0xE0), now).0).collect();
        assert_eq!(polls, [250, 375, 500, 500, 500, 500].map(|ms| Next::Start(Duration::from_millis(ms))));
        let mut history = History::default();
        let waits: Vec<_> = (0..7).map(|_| history.not_started(&fault(0x30), now).0).collect();
        assert_eq!(
            waits,
            [0, 50, 200, 1000, 5000, 15000, 15000].map(|ms| Next::Start(Duration::from_millis(ms)))
        );
        assert_eq!(
            history.ended(&fault(0x30), 1, true, now).0,
            Next::Start(Duration::ZERO),
            "it worked meanwhile"
        );
    }

    #[test]
    fn the_same_reason_is_said_once_in_ten_seconds() {
        let (mut history, start) = (History::default(), Instant::now());
        let mut news = |reason, at: u64| history.is_news(reason, start + Duration::from_millis(at));
        assert!(news("gone", 0));
        assert!((1..20).all(|half| !news("gone", half * 500)));
        assert!(news("gone", 10_000) && !news("gone", 10_500));
        assert!(news("odd", 11_000) && news("gone", 11_500), "another one is said at once");
        history.ended(&fault(0x32), 1, true, start + Duration::from_secs(12));
        assert!(history.is_news("gone", start + Duration::from_secs(12)), "there was a worker in between");
    }

    #[test]
    fn three_workers_that_are_of_no_use_for_some_seconds_are_enough() {
        for code in [0x02, 0x05, 0x8000_0384, 0x999] {
            let (mut history, start) = (History::default(), Instant::now());
            let ends = [(0, 0), (1, 0), (2, 0), (9, 1), (10, 0), (14, 0), (14, 0)];
            for (second, signed) in ends {
                let now = start + Duration::from_secs(second);
                let (next, blame) = history.ended(&fault(code), signed, signed > 0, now);
                assert!(matches!(next, Next::Start(_)) && blame, "{next:?}");
            }
            let (next, _) = history.ended(&fault(code), 0, false, start + Duration::from_secs(15));
            assert!(matches!(next, Next::Quarantine(_)), "{code:#x}: {next:?}");
        }
        let (mut history, start) = (History::default(), Instant::now());
        history.ended(&fault(0x05), 0, false, start);
        let (next, _) = history.ended(&fault(0x05), 0, false, start + MINUTE);
        assert!(matches!(next, Next::Start(_)), "two may be chance: {next:?}");
        let (mut history, mut now) = (History::default(), Instant::now());
        for _ in 0..10 {
            now += MINUTE;
            // An HSM that restarts refuses logins for as long as it likes, and no key of ours with it.
            assert!(matches!(history.not_started(&fault(0x05), now).0, Next::Start(_)));
            assert!(matches!(history.ended(&fault(0x63), 0, false, now).0, Next::Start(_)));
        }
    }

    #[test]
    fn a_foreign_token_is_quarantined_at_once() {
        let (mut history, now) = (History::default(), Instant::now());
        for code in [0xE1, 0x208, 0x1B6, 0x121, 0xA0] {
            assert!(matches!(history.not_started(&fault(code), now).0, Next::Quarantine(_)));
            assert!(matches!(history.ended(&fault(code), 5, true, now).0, Next::Quarantine(_)));
        }
    }

    #[test]
    fn crashes_are_blamed_from_the_fourth_in_a_minute() {
        let (mut history, start) = (History::default(), Instant::now());
        let crash = CRASH.fault("signal 11");
        let at = [0, 1, 2, 3, 70, 71].map(|second| start + Duration::from_secs(second));
        let blamed = at.map(|now| history.ended(&crash, 1, true, now).1);
        assert_eq!(blamed, [false, false, false, true, false, false]);
    }
}

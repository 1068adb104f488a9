//! The judge's promises over random histories.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Act {
    /// Milliseconds that the clock is set by.
    Step(i64),
    /// Seconds that go by.
    Wait(i64),
    /// Hours in which the machine sleeps.
    Sleep(i64),
    /// NTP sets the clock right and tells the kernel so.
    Synchronise,
    Accept,
    Restart {
        killed: bool,
        down: i64,
        step: i64,
    },
    Reboot {
        killed: bool,
        down: i64,
        step: i64,
    },
}

fn steps() -> impl Strategy<Value = i64> {
    let day = 86_400_000;
    prop_oneof![-3000..3000_i64, -900_000..900_000_i64, -day..day, Just(day), Just(-day), Just(0)]
}

fn acts() -> impl Strategy<Value = Act> {
    let stop = || (any::<bool>(), 0..40_i64, steps());
    prop_oneof![
        6 => steps().prop_map(Act::Step),
        4 => (0..40_i64).prop_map(Act::Wait),
        1 => (0..40_i64).prop_map(Act::Sleep),
        1 => Just(Act::Synchronise),
        1 => Just(Act::Accept),
        2 => stop().prop_map(|(killed, down, step)| Act::Restart { killed, down, step }),
        1 => stop().prop_map(|(killed, down, step)| Act::Reboot { killed, down, step }),
    ]
}

/// A daemon that is asked for the time now and then, keeps its head as [`Guarded::head`] asks, and is held to the two
/// promises of this module.
struct Daemon {
    machine: Machine,
    watch: Watch,
    kept: Option<Head>,
    kept_at: SignedDuration,
    /// Error of the clock at that time.
    kept_off: SignedDuration,
    /// By what small steps had moved the clock since the last head when the daemon was killed in this boot: no head
    /// tells the next start of that, so that times may go back by as much more.
    owed: SignedDuration,
    last_iat: Option<Timestamp>,
    /// Error of the clock when it was last vouched for: by the kernel, an operator, or the first trusted look in a boot.
    line: Option<SignedDuration>,
    /// When that was.
    vouched: SignedDuration,
    /// Whether the judge may take times for used that were not: after a crash, or because they were accepted.
    guessed: bool,
}

impl Daemon {
    fn new() -> Self {
        let machine = Machine::new();
        let (watch, _) = machine.start(Mode::Warn, None);
        let kept = Some(watch.head(false));
        let (kept_at, vouched) = (machine.now, machine.now);
        Self {
            kept_at,
            kept_off: secs(0),
            owed: secs(0),
            line: Some(secs(0)),
            vouched,
            guessed: false,
            last_iat: None,
            machine,
            watch,
            kept,
        }
    }

    fn look(&mut self, tick: bool) {
        if tick || self.watch.is_jump(self.machine.read()) {
            self.watch.hear(self.machine.read(), self.machine.error);
            if self.watch.is_synchronised() {
                self.vouch();
            }
        }
        let events = self.watch.look(self.machine.read());
        self.judged(&events, !tick);
    }

    fn vouch(&mut self) {
        (self.line, self.vouched) = (Some(self.machine.offset), self.machine.now);
    }

    fn judged(&mut self, events: &[ClockEvent], used: bool) {
        let now = self.machine.read().wall;
        if self.watch.fault().is_none() {
            if self.line.is_none() {
                self.vouch();
            }
            let hours = i32::try_from((self.machine.now - self.vouched).as_hours()).unwrap() + 1;
            let most = self.line.unwrap() + AHEAD + FOLLOW * hours;
            assert!(self.machine.offset <= most, "{:?}", self.machine);
        }
        if used && self.watch.fault().is_none() {
            if let Some(last) = self.last_iat {
                assert!(last.duration_since(now) <= TOLERANCE + self.owed, "{now} after {last}");
                if now > last {
                    self.owed = secs(0);
                }
            }
            self.watch.used();
            self.last_iat = self.last_iat.max(Some(now));
        }
        if !self.guessed && matches!(self.watch.fault(), Some(Untrusted::Behind { .. })) {
            assert!(self.last_iat.is_some_and(|last| last > now), "{now} is behind nothing");
        }
        if !events.is_empty() || self.machine.now - self.kept_at >= secs(10) {
            self.keep(false);
        }
    }

    fn keep(&mut self, ended: bool) {
        (self.kept_at, self.kept_off) = (self.machine.now, self.machine.offset);
        self.kept = Some(self.watch.head(ended));
    }

    fn wait(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.machine.now += secs(1);
            self.look(true);
        }
    }

    fn stop(&mut self, killed: bool) {
        if killed {
            self.guessed = true;
        } else {
            self.keep(true);
        }
    }

    fn start(&mut self) {
        let (watch, events) = self.machine.start(Mode::Warn, self.kept.clone());
        self.watch = watch;
        self.judged(&events, false);
        self.keep(false);
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Step(millis) => self.machine.step(SignedDuration::from_millis(millis)),
            Act::Wait(seconds) => self.wait(seconds),
            Act::Sleep(hours) => self.machine.now += secs(hours * 3600),
            Act::Synchronise => {
                let off = self.machine.offset;
                self.machine.step(-off);
                self.machine.error = Some(Duration::from_millis(20));
                self.wait(10);
            }
            Act::Accept => {
                if let Some(fault) = self.watch.fault() {
                    self.watch.accept(self.machine.read());
                    let now = self.machine.read().wall;
                    self.last_iat = self.last_iat.filter(|last| *last <= now);
                    self.guessed |= matches!(fault, Untrusted::Behind { .. });
                    self.vouch();
                    self.keep(false);
                }
            }
            Act::Restart { killed, down, step } => {
                self.stop(killed);
                self.owed += (self.machine.offset - self.kept_off).clamp(secs(0), TOLERANCE);
                self.machine.now += secs(down);
                self.machine.step(SignedDuration::from_millis(step));
                self.start();
            }
            Act::Reboot { killed, down, step } => {
                self.stop(killed);
                self.machine.reboot(secs(down));
                self.machine.step(SignedDuration::from_millis(step));
                self.line = None;
                self.start();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn no_history_makes_time_go_back(acts in prop::collection::vec((acts(), any::<bool>()), 1..60)) {
        let mut daemon = Daemon::new();
        for (act, asks) in &acts {
            daemon.act(act);
            // Asked or not, it looks at the clock.
            daemon.look(!asks);
        }
        // Back on the line it recovers by itself, as soon as it is as late as it ever was.
        let back = daemon.line.unwrap_or_default() - daemon.machine.offset;
        daemon.machine.step(back);
        let wall = daemon.machine.read().wall;
        let left = daemon.watch.greatest.map_or(secs(0), |greatest| greatest.duration_since(wall));
        daemon.machine.now += left.max(secs(0));
        daemon.look(true);
        prop_assert_eq!(daemon.watch.fault(), None, "{:?}", daemon.watch);
    }
}

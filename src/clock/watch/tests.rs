//! The judge's tables.

mod history;

use super::*;

/// A machine: real time, the error of its wall clock, and what its kernel says of that.
#[derive(Debug, Clone)]
struct Machine {
    now: SignedDuration,
    offset: SignedDuration,
    started: SignedDuration,
    boots: u32,
    error: Option<Duration>,
}

const fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

impl Machine {
    fn new() -> Self {
        Self {
            now: secs(1_800_000_000),
            offset: secs(0),
            started: secs(1_799_990_000),
            boots: 1,
            error: Some(UNSYNCHRONISED),
        }
    }

    fn read(&self) -> Reading {
        Reading {
            wall: Timestamp::from_duration(self.now + self.offset).unwrap(),
            boot: (self.now - self.started).unsigned_abs(),
        }
    }

    fn boot_id(&self) -> Option<String> {
        Some(format!("boot-{}", self.boots))
    }

    /// Sets the clock, upon which the kernel knows nothing of it any more.
    fn step(&mut self, by: SignedDuration) {
        self.offset += by;
        self.error = Some(UNSYNCHRONISED);
    }

    fn start(&self, mode: Mode, head: Option<Head>) -> (Watch, Vec<ClockEvent>) {
        let mut watch = Watch::new(mode, head, self.boot_id(), self.read());
        watch.hear(self.read(), self.error);
        let events = watch.look(self.read());
        (watch, events)
    }

    /// One whose time has been used.
    fn started(&self) -> Watch {
        let (mut watch, events) = self.start(Mode::Warn, None);
        assert_eq!(events, []);
        watch.used();
        watch
    }

    fn reboot(&mut self, down: SignedDuration) {
        self.now += down;
        self.started = self.now - secs(5);
        self.boots += 1;
        self.error = Some(UNSYNCHRONISED);
    }
}

/// What is left of a fault in tables: which, and how far in seconds.
fn fault(watch: &Watch) -> (&'static str, i64) {
    match watch.fault() {
        None => ("trusted", 0),
        Some(Untrusted::Behind { by }) => ("behind", by.as_secs()),
        Some(Untrusted::Ahead { by }) => ("ahead", by.as_secs()),
        Some(Untrusted::Unsynchronised) => ("unsynchronised", 0),
        Some(Untrusted::Untold) => ("untold", 0),
        Some(Untrusted::Unknown) => ("unknown", 0),
    }
}

/// One step of the clock, a second later, in mode `warn`.
#[test]
fn one_step_is_judged() {
    let unknown = Some(UNSYNCHRONISED);
    let good = Some(Duration::from_millis(3));
    for (step, error, expected, jumped) in [
        (0, unknown, ("trusted", 0), false),
        (1, unknown, ("trusted", 0), false),
        (2, unknown, ("trusted", 0), false),
        (3, unknown, ("trusted", 0), true),
        (600, unknown, ("trusted", 0), true),
        (601, unknown, ("ahead", 601), true),
        (601, None, ("ahead", 601), true),
        (601, good, ("trusted", 0), true),
        (86_400, unknown, ("ahead", 86_400), true),
        (86_400, good, ("trusted", 0), true),
        // A second has gone by, so that the clock is back by one less than it was set.
        (-1, unknown, ("trusted", 0), false),
        (-2, unknown, ("trusted", 0), false),
        (-3, unknown, ("trusted", 0), true),
        (-4, unknown, ("behind", 3), true),
        (-4, good, ("behind", 3), true),
        (-86_400, unknown, ("behind", 86_399), true),
        (-86_400, good, ("behind", 86_399), true),
    ] {
        let mut machine = Machine::new();
        let mut watch = machine.started();
        machine.now += secs(1);
        machine.step(secs(step));
        assert_eq!(watch.is_jump(machine.read()), jumped, "{step}");
        watch.hear(machine.read(), error);
        let events = watch.look(machine.read());
        assert_eq!(fault(&watch), expected, "{step} {error:?}");
        let wanted = ClockEvent::Jumped { by: secs(step), fault: watch.fault() };
        assert_eq!(events, if jumped { vec![wanted] } else { vec![] }, "{step}");
    }
}

#[test]
fn what_is_put_back_is_trusted_again() {
    for step in [-86_400, -3600, -5, 601, 3600, 86_400] {
        let mut machine = Machine::new();
        let mut watch = machine.started();
        machine.step(secs(step));
        watch.look(machine.read());
        assert!(watch.fault().is_some(), "{step}");
        assert_eq!(watch.head(false).until, Some(Machine::new().read().wall), "{step}");
        machine.now += secs(30);
        assert_eq!(watch.look(machine.read()).len(), usize::from(step == -5), "{step}");
        machine.step(secs(-step));
        let events = watch.look(machine.read());
        assert_eq!(fault(&watch), ("trusted", 0));
        let jumped = ClockEvent::Jumped { by: secs(-step), fault: None };
        // Five seconds were made up for by the time that went by, which was told then.
        let told = if step == -5 { vec![jumped] } else { vec![jumped, ClockEvent::Trusted] };
        assert_eq!(events, told, "{step}");
    }
}

#[test]
fn a_clock_that_is_behind_catches_up_with_all_of_it() {
    let mut machine = Machine::new();
    let mut watch = machine.started();
    machine.step(secs(-10));
    watch.look(machine.read());
    let mut told = Vec::new();
    for left in [9, 5, 2, 1] {
        machine.now = Machine::new().now + secs(10 - left);
        told.extend(watch.look(machine.read()));
        assert_eq!(fault(&watch), ("behind", left));
        assert_eq!(watch.fault().unwrap().retry_after(), Some(Duration::from_secs(left.unsigned_abs())));
    }
    assert_eq!(told, []);
    machine.now += secs(1);
    assert_eq!(watch.look(machine.read()), [ClockEvent::Trusted]);
}

#[test]
fn small_steps_do_not_add_up() {
    let mut machine = Machine::new();
    let mut back = machine.started();
    let mut forth = machine.start(Mode::Warn, None).0;
    let told: Vec<ClockEvent> = (0..5)
        .flat_map(|_| {
            machine.step(SignedDuration::from_millis(-900));
            back.look(machine.read())
        })
        .collect();
    assert_eq!(told, [ClockEvent::Untrusted(Untrusted::Behind { by: SignedDuration::from_millis(2700) })]);
    assert_eq!(fault(&back), ("behind", 4));

    machine = Machine::new();
    let told: Vec<ClockEvent> = (0..500)
        .flat_map(|_| {
            machine.step(SignedDuration::from_millis(1900));
            forth.look(machine.read())
        })
        .collect();
    assert_eq!(told, [ClockEvent::Untrusted(Untrusted::Ahead { by: SignedDuration::from_millis(600_400) })]);
    machine.offset = secs(599);
    assert_eq!(forth.look(machine.read()).last(), Some(&ClockEvent::Trusted));
}

#[test]
fn the_kernel_vouches_for_a_clock_that_went_forward() {
    let mut machine = Machine::new();
    let mut watch = machine.started();
    machine.step(secs(86_400));
    watch.look(machine.read());
    assert_eq!(fault(&watch), ("ahead", 86_400));
    watch.hear(machine.read(), Some(Duration::from_millis(15_999)));
    assert_eq!(watch.look(machine.read()), [ClockEvent::Trusted]);
    // From here on that is the line.
    machine.step(secs(600));
    watch.hear(machine.read(), machine.error);
    watch.look(machine.read());
    assert_eq!(fault(&watch), ("trusted", 0));
}

#[test]
fn an_operator_may_accept_either() {
    for step in [-86_400, 86_400] {
        let mut machine = Machine::new();
        let mut watch = machine.started();
        machine.step(secs(step));
        watch.look(machine.read());
        assert!(watch.fault().unwrap().is_acceptable());
        watch.accept(machine.read());
        assert_eq!(fault(&watch), ("trusted", 0));
        machine.now += secs(1);
        assert_eq!(watch.look(machine.read()), []);
        let (watch, events) = machine.start(Mode::Warn, Some(watch.head(false)));
        assert_eq!((fault(&watch), events), (("trusted", 0), vec![]));
    }
}

#[test]
fn modes_differ() {
    let millis = |millis| Some(Duration::from_millis(millis));
    for (mode, error, step, expected) in [
        (Mode::Strict, None, 0, ("untold", 0)),
        (Mode::Strict, millis(2001), 0, ("unsynchronised", 0)),
        (Mode::Strict, millis(2000), 0, ("trusted", 0)),
        (Mode::Strict, millis(2000), 86_400, ("trusted", 0)),
        (Mode::Strict, millis(2000), -86_400, ("behind", 86_400)),
        (Mode::Warn, None, 0, ("trusted", 0)),
        (Mode::Off, None, 0, ("trusted", 0)),
        (Mode::Off, None, 86_400, ("trusted", 0)),
        (Mode::Off, None, -86_400, ("trusted", 0)),
    ] {
        let mut machine = Machine::new();
        let (mut watch, _) = machine.start(mode, None);
        watch.used();
        machine.step(secs(step));
        watch.hear(machine.read(), error);
        let events = watch.look(machine.read());
        assert_eq!(fault(&watch), expected, "{mode:?} {error:?} {step}");
        let jumps = events.iter().filter(|event| matches!(event, ClockEvent::Jumped { .. })).count();
        assert_eq!(jumps, usize::from(step != 0), "{mode:?}: {events:?}");
    }
    for fault in [Untrusted::Unsynchronised, Untrusted::Untold] {
        assert!(!fault.is_acceptable() && fault.retry_after().is_none());
    }
}

/// The clock of the hardware is ahead until NTP sets it right, and nothing was signed meanwhile.
#[test]
fn times_that_were_not_used_bind_nobody() {
    let good = Some(Duration::from_millis(3));
    for (mode, ahead, restart) in [
        (Mode::Strict, 86_400, false),
        (Mode::Strict, 86_400, true),
        (Mode::Warn, 7200, false),
        (Mode::Warn, 7200, true),
    ] {
        let mut machine = Machine::new();
        machine.step(secs(ahead));
        let (mut watch, _) = machine.start(mode, None);
        assert_eq!(watch.fault().is_some(), mode == Mode::Strict);
        for _ in 0..60 {
            machine.now += secs(1);
            watch.hear(machine.read(), machine.error);
            watch.look(machine.read());
        }
        if restart {
            let head = watch.head(true);
            assert_eq!((head.greatest, head.until), (None, None));
            watch = machine.start(mode, Some(head)).0;
        }
        machine.step(secs(-ahead));
        watch.hear(machine.read(), good);
        watch.look(machine.read());
        assert_eq!(fault(&watch), ("trusted", 0), "{mode:?} {restart}");
        watch.used();
        assert_eq!(watch.head(true).greatest, Some(machine.read().wall));
    }
}

/// Nobody tells the kernel that the clock is synchronised, but somebody keeps it right.
#[test]
fn the_line_follows_what_a_crystal_can_be_off() {
    let mut machine = Machine::new();
    let mut watch = machine.started();
    for _ in 0..24 * 365 {
        machine.now += secs(3600);
        machine.step(secs(2));
        assert_eq!(watch.look(machine.read()), []);
    }
    assert_eq!(fault(&watch), ("trusted", 0));

    machine = Machine::new();
    let mut watch = machine.started();
    for hour in 0..10_000 {
        machine.now += secs(3600);
        machine.step(SignedDuration::from_millis(2900));
        watch.look(machine.read());
        if watch.fault().is_some() {
            // 0.9 s of each hour are too much.
            assert_eq!((fault(&watch).0, hour), ("ahead", 664));
            return;
        }
    }
    panic!("not noticed");
}

#[test]
fn what_cannot_be_read_must_be_accepted() {
    let machine = Machine::new();
    let (watch, events) = machine.start(Mode::Warn, Some(Head::lost()));
    assert_eq!(events, [ClockEvent::Untrusted(Untrusted::Unknown)]);
    // It is not forgotten by the next start.
    let text = serde_json::to_string(&watch.head(true)).unwrap();
    let (mut watch, _) = machine.start(Mode::Warn, serde_json::from_str(&text).unwrap());
    assert!(watch.fault().unwrap().is_acceptable());
    watch.accept(machine.read());
    assert_eq!((watch.fault(), watch.head(true).lost), (None, false));
    assert_eq!(machine.start(Mode::Off, Some(Head::lost())).0.fault(), None);
}

#[test]
fn a_fraction_of_a_second_is_not_none() {
    let told = Untrusted::Behind { by: SignedDuration::from_millis(120) }.to_string();
    assert!(told.contains("is 1s behind"), "{told}");
}

/// How the daemon ended, what was done meanwhile, and what the next start makes of it.
#[test]
fn starts_are_judged_by_what_was_kept() {
    for (ended, reboot, down, step, expected, jump) in [
        // The same boot: the clock that nobody sets says how much time has gone by.
        (true, false, 60, 0, ("trusted", 0), None),
        (false, false, 60, 0, ("trusted", 0), None),
        (true, false, 60, 600, ("trusted", 0), Some(600)),
        (true, false, 60, 601, ("ahead", 601), Some(601)),
        (true, false, 60, -50, ("trusted", 0), Some(-50)),
        (true, false, 60, -70, ("behind", 10), Some(-70)),
        (true, false, 60, -86_400, ("behind", 86_340), Some(-86_400)),
        // Killed, it may have signed for some seconds more than the head says, and no longer than it ran.
        (false, false, 1, -4, ("behind", 4), Some(-4)),
        (false, false, 60, -70, ("behind", 25), Some(-70)),
        // Another boot: nobody knows for how long the machine was off.
        (true, true, 60, 0, ("trusted", 0), None),
        (true, true, 60, 86_400, ("trusted", 0), None),
        (true, true, 60, -62, ("trusted", 0), None),
        (true, true, 60, -63, ("behind", 3), Some(-3)),
        (true, true, 60, -86_400, ("behind", 86_340), Some(-86_340)),
        (false, true, 60, 0, ("trusted", 0), None),
        (false, true, 60, -47, ("trusted", 0), None),
        (false, true, 60, -48, ("behind", 3), Some(-3)),
    ] {
        let row = (ended, reboot, down, step);
        let mut machine = Machine::new();
        let watch = machine.started();
        let head = Some(watch.head(ended));
        let text = serde_json::to_string(&head).unwrap();
        if reboot {
            machine.reboot(secs(down))
        } else {
            machine.now += secs(down)
        }
        machine.step(secs(step));
        let (watch, events) = machine.start(Mode::Warn, serde_json::from_str(&text).unwrap());
        assert_eq!(fault(&watch), expected, "{row:?}");
        let told: Vec<ClockEvent> =
            jump.map(|by| ClockEvent::Jumped { by: secs(by), fault: watch.fault() }).into_iter().collect();
        assert_eq!(events, told, "{row:?}");
    }
}

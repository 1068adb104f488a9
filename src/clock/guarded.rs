//! The clock that the issuer uses: it answers with a time, or with why there is none that can be trusted.
//!
//! Never answers with a time that the judge did not pass. Cheap: two clocks of the vDSO and one lock that is held for as
//! long as that takes; the kernel's word on the clock is asked for by [`Guarded::tick`] and after a jump only.

use jiff::Timestamp;
use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

use super::watch::{ClockEvent, Head, Mode, TOLERANCE, Untrusted, Watch};
use super::{Clock, Reading};

/// The kernel's bound on the clock's error; `None` when it does not tell.
type AskKernel = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

/// A clock with a judge before it.
pub struct Guarded {
    clock: Arc<dyn Clock>,
    kernel: AskKernel,
    watched: Mutex<Watched>,
    events: UnboundedSender<ClockEvent>,
}

struct Watched {
    watch: Watch,
    last_jump: Option<Jump>,
}

/// A jump, as status shows it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Jump {
    /// What the clock showed after it.
    pub at: Timestamp,
    /// How far; forward is positive.
    pub seconds: f64,
}

/// What an operator looks at before accepting it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Why the clock is not trusted.
    pub fault: Untrusted,
    /// When the kernel was started, by the wall clock.
    booted: Timestamp,
}

/// The clock's state, as status shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    /// `[clock] mode`.
    pub mode: Mode,
    /// Whether its time is used.
    pub trusted: bool,
    /// Why not, and what to do.
    pub reason: Option<String>,
    /// Whether the kernel says that it is.
    pub synchronised: bool,
    /// The kernel's bound on its error.
    pub max_error_seconds: Option<f64>,
    /// Since the daemon started, or while it was stopped.
    pub last_jump: Option<Jump>,
}

impl Guarded {
    /// Goes on from the `head` that was kept, in the boot named `boot_id`. `kernel` gives the kernel's bound on the
    /// clock's error; `events` hears what happens, beginning with the first look, which is now.
    pub fn new(
        mode: Mode,
        clock: Arc<dyn Clock>,
        kernel: impl Fn() -> Option<Duration> + Send + Sync + 'static,
        (head, boot_id): (Option<Head>, Option<String>),
        events: UnboundedSender<ClockEvent>,
    ) -> Self {
        let watch = Watch::new(mode, head, boot_id, clock.read());
        let watched = Mutex::new(Watched { watch, last_jump: None });
        let guarded = Self { clock, kernel: Box::new(kernel), watched, events };
        guarded.tick();
        guarded
    }

    /// The time for a JWT, if it can be trusted: no earlier one is given from then on.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn now(&self) -> Result<Timestamp, Untrusted> {
        let (mut watched, now) = self.ask();
        if now.is_ok() {
            watched.watch.used();
        }
        now
    }

    fn ask(&self) -> (MutexGuard<'_, Watched>, Result<Timestamp, Untrusted>) {
        let mut watched = self.lock();
        let at = self.read(&watched);
        if watched.watch.is_jump(at) {
            watched.watch.hear(at, (self.kernel)());
        }
        self.look(&mut watched, at);
        let now = watched.watch.fault().map_or(Ok(at.wall), Err);
        (watched, now)
    }

    /// For what is done by the clock besides dating JWTs, such as turning keys: it stands still while it is not trusted,
    /// at the last time that was. Who asks it may be told an earlier time later.
    pub fn steady(self: &Arc<Self>) -> Arc<dyn Clock> {
        Arc::new(Steady(Arc::clone(self)))
    }

    /// The time, or while it is not trusted the last one that was: for what comes to no JWT.
    pub fn shown(&self) -> Timestamp {
        let (watched, now) = self.ask();
        now.unwrap_or_else(|_| watched.watch.trusted())
    }

    /// The greatest time that was used or shown: the clock may have gone back a little behind it.
    fn latest(&self) -> Timestamp {
        let shown = self.shown();
        self.lock().watch.greatest().map_or(shown, |greatest| greatest.max(shown))
    }

    /// Looks at the clock and asks the kernel about it. Call it about once a second.
    pub fn tick(&self) {
        let mut watched = self.lock();
        let at = self.read(&watched);
        watched.watch.hear(at, (self.kernel)());
        self.look(&mut watched, at);
    }

    /// Reads while the lock is held: a reading that waited for it would look like a step back.
    fn read(&self, watched: &Watched) -> Reading {
        let at = self.clock.read();
        // A process that is stopped between the readings of the two clocks sees a jump, too: look twice.
        if watched.watch.is_jump(at) { self.clock.read() } else { at }
    }

    fn look(&self, watched: &mut Watched, at: Reading) {
        for event in watched.watch.look(at) {
            if let ClockEvent::Jumped { by, .. } = event {
                watched.last_jump = Some(Jump { at: at.wall, seconds: by.as_secs_f64() });
            }
            // Nobody listens any more when the daemon has stopped.
            let _ = self.events.send(event);
        }
    }

    /// What an operator may accept, if there is anything.
    pub fn acceptable(&self) -> Option<Seen> {
        self.tick();
        let watched = self.lock();
        let fault = watched.watch.fault().filter(Untrusted::is_acceptable)?;
        Some(Seen { fault, booted: watched.watch.seen() })
    }

    /// Takes the clock at its word from now on: an operator says that what was `seen` is right. Record it before.
    /// Whether it still was so: if not, nothing has changed.
    #[must_use]
    pub fn accept(&self, seen: &Seen) -> bool {
        self.tick();
        let mut watched = self.lock();
        let at = self.clock.read();
        let kind = |fault: &Untrusted| std::mem::discriminant(fault);
        let same = watched.watch.fault().as_ref().map(kind) == Some(kind(&seen.fault))
            && at.booted().duration_since(seen.booted).abs() <= TOLERANCE;
        if same {
            watched.watch.accept(at);
        }
        same
    }

    /// Why it is not trusted.
    pub fn fault(&self) -> Option<Untrusted> {
        self.lock().watch.fault()
    }

    /// Whether JWTs are dated although the kernel does not call the clock synchronised: mode `warn` marks their records.
    pub fn is_doubtful(&self) -> bool {
        let watched = self.lock();
        watched.watch.mode() == Mode::Warn && !watched.watch.is_synchronised()
    }

    /// What must be kept for the next start: at once, after every event, and within 10 s of the last. `ended`: no time
    /// will be asked for any more.
    pub fn head(&self, ended: bool) -> Head {
        self.lock().watch.head(ended)
    }

    /// For status.
    pub fn state(&self) -> State {
        let watched = self.lock();
        let fault = watched.watch.fault();
        State {
            mode: watched.watch.mode(),
            trusted: fault.is_none(),
            reason: fault.map(|fault| fault.to_string()),
            synchronised: watched.watch.is_synchronised(),
            max_error_seconds: watched.watch.error().map(|error| error.as_secs_f64()),
            last_jump: watched.last_jump,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Every change under it is complete before anything could panic.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Steady(Arc<Guarded>);

impl Clock for Steady {
    fn now(&self) -> Timestamp {
        self.0.shown()
    }

    fn latest(&self) -> Timestamp {
        self.0.latest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::mpsc;

    /// Gives these readings, seconds of the wall and of the other clock, and the last one again and again.
    struct Script(Mutex<VecDeque<(i64, u64)>>);

    impl Clock for Script {
        fn now(&self) -> Timestamp {
            self.read().wall
        }

        fn read(&self) -> Reading {
            let mut script = self.0.lock().unwrap();
            let (wall, boot) = if script.len() > 1 { script.pop_front().unwrap() } else { script[0] };
            Reading { wall: Timestamp::from_second(wall).unwrap(), boot: Duration::from_secs(boot) }
        }
    }

    type Bed = (Guarded, Arc<AtomicUsize>, mpsc::UnboundedReceiver<ClockEvent>);

    /// The first two readings are for the start.
    fn guarded(script: &[(i64, u64)]) -> Bed {
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, (notify, events)) = (Arc::clone(&asked), mpsc::unbounded_channel());
        let kernel = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            None
        };
        let clock = Arc::new(Script(Mutex::new(script.iter().copied().collect())));
        (Guarded::new(Mode::Warn, clock, kernel, (None, None), notify), asked, events)
    }

    #[test]
    fn the_kernel_is_asked_after_a_jump_only() {
        let (clock, asked, mut events) =
            guarded(&[(1000, 10), (1000, 10), (1001, 11), (1002, 12), (9003, 13), (9003, 13)]);
        assert_eq!(clock.now().unwrap().as_second(), 1001);
        assert_eq!(clock.now().unwrap().as_second(), 1002);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let by = SignedDuration::from_secs(8000);
        assert_eq!(clock.now(), Err(Untrusted::Ahead { by }));
        assert_eq!(clock.now(), Err(Untrusted::Ahead { by }));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert_eq!(events.try_recv(), Ok(ClockEvent::Jumped { by, fault: clock.fault() }));
        assert!(events.try_recv().is_err());
        assert_eq!(clock.head(false).greatest, Timestamp::from_second(1002).ok());
        let state = clock.state();
        assert_eq!((state.trusted, state.last_jump.unwrap().seconds), (false, 8000.0));
        let clock = Arc::new(clock);
        let steady = clock.steady();
        assert_eq!(steady.now().as_second(), 1002);
        assert!(clock.accept(&clock.acceptable().unwrap()));
        assert_eq!(steady.now().as_second(), 9003);
        assert_eq!((clock.now().unwrap().as_second(), clock.fault()), (9003, None));
    }

    #[test]
    fn a_clock_that_went_back_a_little_still_tells_the_latest_time_used() {
        let (clock, ..) = guarded(&[(1000, 10), (1000, 10), (1001, 11), (1000, 12)]);
        let clock = Arc::new(clock);
        let steady = clock.steady();
        assert_eq!(clock.now().unwrap().as_second(), 1001);
        assert_eq!((steady.now().as_second(), steady.latest().as_second()), (1000, 1001));
    }

    #[test]
    fn only_mode_warn_doubts_what_the_kernel_does_not_vouch_for() {
        for (mode, error, doubtful) in [
            (Mode::Warn, None, true),
            (Mode::Warn, Some(16), true),
            (Mode::Warn, Some(15), false),
            (Mode::Strict, None, false),
            (Mode::Off, None, false),
        ] {
            let kernel = move || error.map(Duration::from_secs);
            let clock = Arc::new(Script(Mutex::new([(1000, 10)].into())));
            let clock = Guarded::new(mode, clock, kernel, (None, None), mpsc::unbounded_channel().0);
            assert_eq!(clock.is_doubtful(), doubtful, "{mode:?} {error:?}");
        }
    }

    #[test]
    fn looking_uses_no_time() {
        let (clock, _, _) =
            guarded(&[(9000, 10), (9000, 10), (9001, 11), (9002, 12), (1000, 13), (1000, 13)]);
        let clock = Arc::new(clock);
        assert_eq!(clock.steady().now().as_second(), 9001);
        clock.tick();
        assert_eq!(clock.now().map(Timestamp::as_second), Ok(1000));
    }

    /// It jumped while the record was written.
    #[test]
    fn only_what_was_seen_is_accepted() {
        let start = [(1000, 10), (1000, 10), (1001, 11), (9002, 12), (9002, 12)];
        let (clock, ..) = guarded(&[&start[..], &[(8000, 13), (8000, 13), (8000, 13)]].concat());
        assert_eq!(clock.now().map(Timestamp::as_second), Ok(1001));
        let seen = clock.acceptable().unwrap();
        assert_eq!(seen.fault, Untrusted::Ahead { by: SignedDuration::from_secs(8000) });
        assert!(!clock.accept(&seen));
        assert_eq!(clock.fault(), Some(Untrusted::Ahead { by: SignedDuration::from_secs(6997) }));
        assert!(clock.accept(&clock.acceptable().unwrap()));
        assert_eq!((clock.fault(), clock.acceptable().is_none()), (None, true));
    }

    /// The process was stopped for a minute after it had read the one clock and before it read the other.
    #[test]
    fn a_pause_between_two_clocks_is_no_jump() {
        let (clock, asked, mut events) =
            guarded(&[(1000, 10), (1000, 10), (1001, 71), (1061, 71), (1062, 72)]);
        assert_eq!(clock.now().unwrap().as_second(), 1061);
        assert_eq!(clock.now().unwrap().as_second(), 1062);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(events.try_recv().is_err());
    }
}

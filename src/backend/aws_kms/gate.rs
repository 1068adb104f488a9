//! Who may send a request now: a limit of requests at once, the rate, and the end of the service. Waiting is bounded
//! and counted in the deadline; what cannot be done in time is refused at once.
//!
//! Must never hold its lock across an await.

use super::budget::Budget;
use super::error::{Fault, Kind, RETRY_AFTER};
use super::hedge::Hedging;
use super::rate::Rate;
use crate::backend::Ask;
use crate::backend::fair::{Limiter, Permit, Shed};
use futures_util::FutureExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Requests that may wait, for each that may be under way.
const WAITING: usize = 16;

/// The limits of one backend.
pub(super) struct Gate {
    limiter: Arc<Limiter>,
    limits: Mutex<Limits>,
    passes: TaskTracker,
}

struct Limits {
    rate: Rate,
    budget: Budget,
    hedging: Hedging,
    may_hedge: bool,
}

/// The right to send one request; to be held until it is answered.
pub(super) struct Pass {
    _permit: Permit,
    _token: TaskTrackerToken,
}

impl Gate {
    pub(super) fn new(rate: u32, concurrency: u32, may_hedge: bool) -> Self {
        let concurrency = usize::try_from(concurrency).unwrap_or(usize::MAX).max(1);
        let limits = Limits {
            rate: Rate::new(rate, Instant::now().into_std()),
            budget: Budget::default(),
            hedging: Hedging::default(),
            may_hedge,
        };
        Self {
            limiter: Limiter::new(concurrency, concurrency.saturating_mul(WAITING)),
            limits: Mutex::new(limits),
            passes: TaskTracker::new(),
        }
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// [`Kind::Shed`] when it cannot come in time, [`Kind::Hurried`] when it did not, [`Kind::Stopped`] after
    /// [`Self::close`].
    pub(super) async fn enter(&self, ask: Ask) -> Result<Pass, Fault> {
        let token = self.passes.token();
        let permit = self.limiter.acquire(ask).await.map_err(|shed| match shed {
            Shed::Busy(wait) => refused("queue", shed.to_string(), wait),
            Shed::Late => late(),
        })?;
        if self.is_closed() {
            return Err(Fault::stopped());
        }
        let now = Instant::now();
        let left = ask.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(late());
        }
        let wait = self.limits().rate.take(now.into_std(), left);
        let wait = wait
            .map_err(|wait| refused("rate", "more is asked than the rate allows".to_owned(), Some(wait)))?;
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok(Pass { _permit: permit, _token: token })
    }

    /// A request is sent; says after how long, unanswered, it may be sent a second time.
    pub(super) fn ask(&self) -> Option<Duration> {
        let mut limits = self.limits();
        limits.budget.earn();
        let after = limits.hedging.ask();
        after.filter(|_| limits.may_hedge)
    }

    /// A pass for a second one, if that is in nobody's way.
    pub(super) fn enter_twice(&self) -> Option<Pass> {
        let permit = self.limiter.acquire(Ask::own(Instant::now())).now_or_never()?.ok()?;
        let mut limits = self.limits();
        let spare = limits.rate.take_spare(Instant::now().into_std()) && limits.hedging.spend();
        drop(limits);
        spare.then(|| Pass { _permit: permit, _token: self.passes.token() })
    }

    /// There is a signature, `time` after the first request for it.
    pub(super) fn answered(&self, time: Duration) {
        self.limits().hedging.answered(time);
    }

    /// It was answered with a fault.
    pub(super) fn failed(&self, kind: Kind) {
        if kind == Kind::Throttled {
            self.limits().rate.throttle(Instant::now().into_std());
        }
    }

    /// Whether a repeat may be made; it is paid for then.
    pub(super) fn spend(&self) -> bool {
        self.limits().budget.spend()
    }

    /// Lets nobody in any more, and waits for those inside.
    pub(super) async fn close(&self) {
        self.passes.close();
        self.passes.wait().await;
    }

    /// Whether [`Self::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.passes.is_closed()
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late() -> Fault {
    Fault::new(Kind::Hurried, "late", "the deadline passed before the request was sent")
}

fn refused(code: &str, message: String, wait: Option<Duration>) -> Fault {
    Fault { retry_after: wait.or(Some(RETRY_AFTER)), ..Fault::new(Kind::Shed, code, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Ask {
        Ask::own(Instant::now() + Duration::from_millis(50))
    }

    fn later() -> Ask {
        Ask::own(Instant::now() + Duration::from_secs(60))
    }

    async fn refusal(gate: &Gate, ask: Ask) -> Fault {
        gate.enter(ask).await.err().expect("it must be refused")
    }

    #[tokio::test]
    async fn waits_for_its_turn_and_no_longer_than_the_deadline() {
        let gate = Gate::new(1000, 1, false);
        let pass = gate.enter(later()).await.unwrap();
        assert_eq!(refusal(&gate, soon()).await.kind, Kind::Hurried);
        drop(pass);
        gate.enter(soon()).await.unwrap();
        let past = Ask::own(Instant::now() - Duration::from_millis(1));
        assert_eq!(refusal(&gate, past).await.kind, Kind::Hurried, "even where nobody waits");
    }

    #[tokio::test]
    async fn what_the_rate_does_not_allow_in_time_is_refused_at_once() {
        let gate = Gate::new(1, 8, false);
        drop(gate.enter(later()).await.unwrap());
        let fault = refusal(&gate, soon()).await;
        assert_eq!((fault.kind, fault.code.as_str()), (Kind::Shed, "rate"));
        assert!(fault.retry_after.unwrap() > Duration::from_millis(500));
    }

    #[tokio::test]
    async fn the_queue_is_bounded() {
        let gate = Gate::new(1000, 1, false);
        let _pass = gate.enter(later()).await.unwrap();
        let mut queue: Vec<_> = (0..WAITING).map(|_| Box::pin(gate.enter(later()))).collect();
        for waiting in &mut queue {
            assert!(waiting.now_or_never().is_none());
        }
        assert_eq!(refusal(&gate, later()).await.kind, Kind::Shed);
    }

    #[tokio::test]
    async fn closing_waits_for_those_inside() {
        let gate = Gate::new(1000, 2, false);
        let pass = gate.enter(later()).await.unwrap();
        let close = gate.close();
        tokio::pin!(close);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut close).await.is_err());
        assert_eq!(refusal(&gate, later()).await.kind, Kind::Stopped);
        drop(pass);
        close.await;
    }

    #[tokio::test]
    async fn hedges_need_leave_and_room() {
        let gate = Gate::new(1000, 2, true);
        for _ in 0..200 {
            gate.answered(Duration::from_millis(1));
            gate.ask();
        }
        assert!(gate.ask().is_some());
        let first = gate.enter_twice().unwrap();
        let second = gate.enter_twice().unwrap();
        assert!(gate.enter_twice().is_none(), "none is free");
        drop((first, second));
        gate.failed(Kind::Throttled);
        assert!(gate.enter_twice().is_none(), "KMS throttles");
        let never = Gate::new(1000, 2, false);
        for _ in 0..200 {
            never.answered(Duration::from_millis(1));
        }
        assert!((0..200).all(|_| never.ask().is_none()));
    }
}

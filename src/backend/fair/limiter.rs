//! A limit on what is done at once, with a [`FairQueue`] in front of it: for backends that have no sessions.

use super::FairQueue;
use crate::backend::Ask;
use crate::backend::pace::Pace;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// So many permits, given to flows in turns.
pub struct Limiter(Mutex<State>);

struct State {
    permits: usize,
    held: usize,
    waiting: FairQueue<Waiter>,
    pace: Pace,
    next_id: u64,
}

struct Waiter {
    id: u64,
    grant: oneshot::Sender<Permit>,
}

/// The right to do one thing; given back on drop.
pub struct Permit(Arc<Limiter>);

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shed {
    /// It would come too late, or too many wait already: refused at once. With the time after which another try has a
    /// chance, if that is known.
    #[error("more is asked of it than it can do")]
    Busy(Option<Duration>),
    /// The deadline passed while it waited.
    #[error("no turn came before the deadline")]
    Late,
}

impl Limiter {
    /// At most `permits` at once, and `queue` that wait for one.
    pub fn new(permits: usize, queue: usize) -> Arc<Self> {
        let waiting = FairQueue::new(queue);
        Arc::new(Self(Mutex::new(State { permits, held: 0, waiting, pace: Pace::default(), next_id: 0 })))
    }

    /// Waits for a permit, at most until the deadline; one whose wait would be longer is refused at once.
    ///
    /// # Errors
    /// [`Shed`], also when somebody with less than an equal share needed the place.
    pub async fn acquire(self: &Arc<Self>, ask: Ask) -> Result<Permit, Shed> {
        let (place, answer) = match self.enter(ask)? {
            Entered::Granted(permit) => return Ok(permit),
            Entered::Waits(place, answer) => (place, answer),
        };
        match timeout_at(ask.deadline, answer).await {
            Ok(Ok(permit)) => {
                place.was_left();
                Ok(permit)
            }
            Ok(Err(_)) => {
                place.was_left();
                Err(Shed::Busy(None))
            }
            Err(_) => Err(Shed::Late),
        }
    }

    fn enter(self: &Arc<Self>, ask: Ask) -> Result<Entered<'_>, Shed> {
        let mut state = self.lock();
        if state.held < state.permits && state.waiting.is_empty() {
            state.held += 1;
            return Ok(Entered::Granted(Permit(Arc::clone(self))));
        }
        let (now, ahead) = (Instant::now(), state.waiting.ahead(ask.flow));
        let left = ask.deadline.saturating_duration_since(now);
        if ahead > 0
            && let Some(wait) = state.pace.too_long(ahead + state.held + 1, left, now.into_std())
        {
            return Err(Shed::Busy(Some(wait)));
        }
        state.next_id += 1;
        let id = state.next_id;
        let (grant, answer) = oneshot::channel();
        let pushed = state.waiting.push(ask.flow, Waiter { id, grant });
        drop(state);
        // Whoever is thrown out for it hears so when its sender is dropped, here.
        match pushed {
            Ok(_evicted) => Ok(Entered::Waits(Place { limiter: self, flow: ask.flow, id }, answer)),
            Err(_) => Err(Shed::Busy(None)),
        }
    }

    /// Hands a permit on, or keeps it for who comes next.
    fn release(self: &Arc<Self>) {
        let mut state = self.lock();
        state.held -= 1;
        let next = state.waiting.pop();
        state.held += usize::from(next.is_some());
        let waits = !state.waiting.is_empty();
        state.pace.answered(1, waits, Instant::now().into_std());
        drop(state);
        if let Some(waiter) = next {
            // One who has gone meanwhile gives it back by dropping it.
            let _ = waiter.grant.send(Permit(Arc::clone(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.release();
    }
}

enum Entered<'a> {
    Granted(Permit),
    Waits(Place<'a>, oneshot::Receiver<Permit>),
}

/// A place in the queue; given up on drop, also when the waiting future is dropped.
struct Place<'a> {
    limiter: &'a Limiter,
    flow: u32,
    id: u64,
}

impl Place<'_> {
    /// The queue has let it go by itself.
    fn was_left(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Gone already when its turn came in this moment.
        drop(self.limiter.lock().waiting.remove(self.flow, |waiter| waiter.id == self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(flow: u32) -> Ask {
        Ask { flow, ..Ask::own(Instant::now() + Duration::from_secs(60)) }
    }

    /// Tasks that ask in this order, one after the other, and note their flow when they get a permit.
    async fn line(
        limiter: &Arc<Limiter>,
        flows: &[u32],
    ) -> (Vec<tokio::task::JoinHandle<bool>>, Arc<Mutex<Vec<u32>>>) {
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for flow in flows.iter().copied() {
            let (limiter, served) = (Arc::clone(limiter), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let permit = limiter.acquire(ask(flow)).await;
                served.lock().unwrap().push(flow);
                permit.is_ok()
            }));
            tokio::task::yield_now().await;
        }
        (tasks, served)
    }

    #[tokio::test]
    async fn flows_take_turns_and_permits_come_back() {
        let limiter = Limiter::new(1, 10);
        let held = limiter.acquire(ask(1)).await.unwrap();
        let (tasks, served) = line(&limiter, &[1, 1, 1, 2, 2]).await;
        assert!(served.lock().unwrap().is_empty());
        drop(held);
        for task in tasks {
            assert!(task.await.unwrap());
        }
        assert_eq!(*served.lock().unwrap(), [1, 2, 1, 2, 1]);
        assert_eq!(limiter.lock().held, 0);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_the_greedy_only() {
        let limiter = Limiter::new(1, 2);
        let held = limiter.acquire(ask(1)).await.unwrap();
        let (tasks, served) = line(&limiter, &[1, 1]).await;
        assert_eq!(limiter.acquire(ask(1)).await.err(), Some(Shed::Busy(None)));
        let (others, _) = line(&limiter, &[2]).await;
        tokio::task::yield_now().await;
        assert_eq!(limiter.lock().waiting.held(1), 1, "its newest made room");
        drop(held);
        let mut granted = Vec::new();
        for task in tasks.into_iter().chain(others) {
            granted.push(task.await.unwrap());
        }
        assert_eq!((granted, served.lock().unwrap().len()), (vec![true, false, true], 2));
        assert_eq!(limiter.lock().held, 0);
    }

    #[tokio::test]
    async fn who_leaves_holds_nothing() {
        let limiter = Limiter::new(1, 10);
        let held = limiter.acquire(ask(1)).await.unwrap();
        let soon = Ask { flow: 2, ..Ask::own(Instant::now() + Duration::from_millis(5)) };
        assert_eq!(limiter.acquire(soon).await.err(), Some(Shed::Late));
        let (tasks, _) = line(&limiter, &[3, 4]).await;
        tasks[0].abort();
        tokio::task::yield_now().await;
        assert_eq!(limiter.lock().waiting.len(), 1);
        // Granted to one that is gone before it can look.
        drop(held);
        tasks[1].abort();
        tokio::task::yield_now().await;
        assert_eq!(limiter.lock().held, 0);
        assert!(limiter.acquire(ask(5)).await.is_ok());
    }

    #[tokio::test]
    async fn who_would_be_late_is_refused_at_once() {
        let limiter = Limiter::new(1, 100);
        let held = limiter.acquire(ask(1)).await.unwrap();
        let worker = |limiter: Arc<Limiter>| async move {
            let permit = limiter.acquire(ask(1)).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            drop(permit);
        };
        for _ in 0..60 {
            tokio::spawn(worker(Arc::clone(&limiter)));
        }
        tokio::task::yield_now().await;
        drop(held);
        tokio::time::sleep(Duration::from_millis(610)).await;
        let soon = Ask { flow: 1, ..Ask::own(Instant::now() + Duration::from_millis(200)) };
        let shed = limiter.acquire(soon).await.err();
        assert!(
            matches!(shed, Some(Shed::Busy(Some(wait))) if wait > soon.deadline - Instant::now()),
            "{shed:?}"
        );
        assert!(limiter.acquire(ask(2)).await.is_ok());
        assert!(limiter.lock().waiting.held(1) > 10, "another flow is next but one");
    }
}

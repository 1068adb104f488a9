//! Handing requests to the worker's sessions: a bounded window per session, one bounded queue in front of them all,
//! where users take turns and who would wait in vain is refused at once.
//!
//! The hot path takes one short lock and, when a session has room, writes to its socket from the caller's own task.
//! Answers are matched by id in one reading task per session, which refills its session from the queue with a single
//! write. Must never hold the lock across an await or a system call.

use super::Fault;
use super::key::Key;
use super::lane::{Job, Lane, Reply, WINDOW, Work, window};
use super::pipe::{End, Pipe};
use super::protocol::{self, Answer};
use super::recovery::{CRASH, HANG};
use crate::backend::fair::FairQueue;
use crate::backend::pace::Pace;
use crate::backend::{Ask, Class};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Requests that may wait for a session or for a worker.
const QUEUE: usize = 1024;
/// A session that answered nothing for this long, and for all the time that a request was given, is taken for hung when
/// that request runs into its deadline. Less would not do: where another backend has the key too, a request is given
/// half of its time here, and the other half is no reason to kill a slow HSM.
const STALL: Duration = Duration::from_millis(250);
/// What may pass between a request and its frame in the session.
const SLACK: Duration = Duration::from_millis(50);

/// The present generation.
struct Current {
    generation: u64,
    lanes: Vec<Lane>,
    ends: mpsc::UnboundedSender<End>,
    /// `false` once it is to be replaced: it only finishes what it has.
    accepting: bool,
    answered: u64,
    signed: u64,
    pace: Pace,
    /// Frames that each session may have in flight.
    window: usize,
}

struct State {
    waiting: FairQueue<Job>,
    current: Option<Current>,
    /// Set while nothing but an operator can help: requests fail at once.
    blocked: Option<Fault>,
    next_id: u32,
}

impl Default for State {
    fn default() -> Self {
        Self { waiting: FairQueue::new(QUEUE), current: None, blocked: None, next_id: 0 }
    }
}

/// Connects requests with sessions, across generations of the worker.
#[derive(Default)]
pub(super) struct Dispatcher(Mutex<State>);

impl Dispatcher {
    /// Signs `input` with `key`, before the deadline.
    pub(super) async fn sign(&self, key: &Arc<Key>, input: &[u8], ask: Ask) -> Result<Vec<u8>, Fault> {
        if input.len() > protocol::MAX_INPUT {
            return Err(Fault::bug("the signing input is too large"));
        }
        let deadline = ask.deadline;
        let allowance = deadline.saturating_duration_since(Instant::now());
        if allowance.is_zero() {
            return Err(late());
        }
        let (reply, mut answer) = oneshot::channel();
        let id = self.submit(key, protocol::sign_request(input), reply, ask)?;
        match timeout_at(deadline, &mut answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(CRASH.fault("the worker went away while it was signing")),
            Err(_) => Err(self.expire(id, ask.flow, allowance)),
        }
    }

    fn submit(&self, key: &Arc<Key>, mut frame: Vec<u8>, reply: Reply, ask: Ask) -> Result<u32, Fault> {
        let mut state = self.lock();
        if let Some(fault) = &state.blocked {
            return Err(fault.clone());
        }
        state.next_id = state.next_id.wrapping_add(1);
        let id = state.next_id;
        // A window that has just grown is for those that wait.
        let first = state.waiting.is_empty();
        let lane = state.current.as_mut().filter(|_| first).and_then(Current::free_lane);
        let Some(lane) = lane else {
            let evicted = state.wait(Job { id, key: Arc::clone(key), frame, reply }, ask)?;
            drop(state);
            if let Some(evicted) = evicted {
                // Nobody waits for it any more when its deadline has passed.
                let _ = evicted.reply.send(Err(busy("the queue is full, and others had less of it", None)));
            }
            return Ok(id);
        };
        protocol::address(&mut frame, id, key.index()?);
        lane.push(id, reply);
        let pipe = Arc::clone(&lane.pipe);
        drop(state);
        pipe.send(&frame);
        Ok(id)
    }

    /// What a request that ran into its deadline gets, and whether the worker has to go for it.
    fn expire(&self, id: u32, flow: u32, allowance: Duration) -> Fault {
        let mut state = self.lock();
        let waited = state.waiting.remove(flow, |job| job.id == id).is_some();
        let Some(current) = &mut state.current else {
            return if waited { Fault::down("no worker became ready before the deadline") } else { late() };
        };
        // Who waited in vain did so for all of them.
        let lanes = current.lanes.iter().filter(|lane| waited || lane.holds(id));
        let silence = lanes.map(Lane::silence).max().unwrap_or_default();
        if silence >= STALL.max(allowance.saturating_sub(SLACK)) {
            let reason = format!("no answer for {silence:?}");
            // The supervisor may be about to end this generation anyway.
            let _ = current.ends.send(End::Hung(reason));
            // What comes now waits for the next one.
            current.accepting = false;
            return HANG.fault(late().message);
        }
        late()
    }

    /// Takes a new generation into use, and gives it what has been waiting.
    pub(super) fn publish(&self, generation: u64, pipes: &[Arc<Pipe>], ends: mpsc::UnboundedSender<End>) {
        let mut work = Work::default();
        let mut state = self.lock();
        state.blocked = None;
        let lanes = pipes.iter().map(|pipe| Lane::new(Arc::clone(pipe)));
        let mut current = Current {
            generation,
            lanes: lanes.collect(),
            ends,
            accepting: true,
            answered: 0,
            signed: 0,
            pace: Pace::default(),
            window: WINDOW,
        };
        for lane in &mut current.lanes {
            lane.refill(current.window, &mut state.waiting, &mut work);
        }
        state.current = Some(current);
        drop(state);
        work.perform();
    }

    /// Has the present generation replaced, for a reason that it does not know itself.
    pub(super) fn replace(&self, fault: Fault) {
        if let Some(current) = &mut self.lock().current
            && current.accepting
        {
            current.accepting = false;
            // The supervisor may be about to end this generation anyway.
            let _ = current.ends.send(End::Replace(fault));
        }
    }

    /// Stops giving work to a generation; what comes now waits for the next one.
    pub(super) fn close(&self, generation: u64) {
        if let Some(current) = &mut self.lock().current
            && current.generation == generation
        {
            current.accepting = false;
        }
    }

    /// Forgets the present generation. What it had in flight fails; what waits goes on waiting.
    /// Returns how many requests it answered, and how many of them with a signature.
    pub(super) fn retract(&self) -> (u64, u64) {
        let current = self.lock().current.take();
        current.map_or((0, 0), |current| (current.answered, current.signed))
    }

    /// Requests that the present generation has answered.
    pub(super) fn answered(&self) -> u64 {
        self.lock().current.as_ref().map_or(0, |current| current.answered)
    }

    /// Fails all that wait, and all that comes, until a generation is published.
    pub(super) fn block(&self, fault: &Fault) {
        let mut state = self.lock();
        state.blocked = Some(fault.clone());
        let mut waiting = std::mem::replace(&mut state.waiting, FairQueue::new(QUEUE));
        drop(state);
        while let Some(job) = waiting.pop() {
            let _ = job.reply.send(Err(fault.clone()));
        }
    }

    /// Lets requests wait again.
    pub(super) fn unblock(&self) {
        self.lock().blocked = None;
    }

    /// Requests that the present generation has not answered, and how long its slowest session has been silent.
    pub(super) fn load(&self) -> (usize, Duration) {
        let state = self.lock();
        let lanes = state.current.iter().flat_map(|current| &current.lanes);
        lanes.fold((0, Duration::ZERO), |(count, silent), lane| {
            (count + lane.in_flight.len(), silent.max(lane.silence()))
        })
    }

    /// Delivers answers and refills the session that gave them.
    pub(super) fn settle(&self, generation: u64, lane: usize, answers: &mut Vec<Answer>) -> Result<(), End> {
        let mut work = Work::default();
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(current) = &mut state.current else {
            return Ok(());
        };
        let Some(lane) = current.lanes.get_mut(lane) else {
            return Ok(());
        };
        if current.generation != generation {
            return Ok(());
        }
        let count = answers.len();
        for answer in answers.drain(..) {
            let Some(place) = lane.in_flight.iter().position(|(id, _)| *id == answer.id) else {
                return Err(End::Lost(format!("an answer to no request: {}", answer.id)));
            };
            let (_, reply) = lane.in_flight.swap_remove(place);
            current.answered += 1;
            current.signed += u64::from(answer.result.is_ok());
            if answer.replace
                && let Err(fault) = &answer.result
            {
                let _ = current.ends.send(End::Replace(fault.clone()));
                current.accepting = false;
            }
            work.answers.push((reply, answer.result));
        }
        let now = Instant::now();
        lane.progress = now;
        if current.accepting {
            lane.refill(current.window, &mut state.waiting, &mut work);
            current.measure(count, !state.waiting.is_empty(), now);
        }
        drop(guard);
        work.perform();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts a request into the queue, unless it would wait in vain. Returns whom that has cost the place.
    fn wait(&mut self, job: Job, ask: Ask) -> Result<Option<Job>, Fault> {
        // While a worker is being started, nobody knows how fast it will be.
        if let Some(current) = self.current.as_ref().filter(|current| current.accepting) {
            let (now, ahead) = (Instant::now(), self.waiting.ahead(ask.flow));
            let in_flight: usize = current.lanes.iter().map(|lane| lane.in_flight.len()).sum();
            let left = ask.deadline.saturating_duration_since(now);
            // Who is next is let through, so that the pace goes on being measured.
            if ahead > 0
                && let Some(wait) = current.pace.too_long(ahead + in_flight + 1, left, now.into_std())
            {
                return Err(busy("no turn would come before the deadline", Some(wait)));
            }
        }
        let full = |_| busy("too many requests are waiting already", None);
        self.waiting.push(ask.flow, job).map_err(full)
    }
}

fn busy(message: &str, retry_after: Option<Duration>) -> Fault {
    Fault { retry_after, ..Fault::new(Class::Busy, message) }
}

fn late() -> Fault {
    Fault::new(Class::Deadline, "no signature before the deadline")
}

impl Current {
    /// The session with the fewest frames in flight, when one has room.
    fn free_lane(&mut self) -> Option<&mut Lane> {
        if !self.accepting {
            return None;
        }
        let free = self.lanes.iter_mut();
        let window = self.window;
        free.filter(|lane| lane.in_flight.len() < window).min_by_key(|lane| lane.in_flight.len())
    }

    /// Notes how many answers came, and whether requests still wait.
    fn measure(&mut self, answers: usize, waits: bool, now: Instant) {
        let now = now.into_std();
        self.pace.answered(answers, waits, now);
        if waits {
            self.window = window(self.lanes.len(), self.pace.interval(now));
        }
    }
}

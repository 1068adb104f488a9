//! Handing requests to the worker's sessions: a bounded window per session, one bounded queue in front of them all.
//!
//! The hot path takes one short lock and, when a session has room, writes to its socket from the caller's own task.
//! Answers are matched by id in one reading task per session, which refills its session from the queue with a single
//! write. Must never hold the lock across an await or a system call.

use super::Fault;
use super::key::Key;
use super::pipe::{End, Pipe};
use super::protocol::{self, Answer};
use crate::backend::{Ask, Class, Scope};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Frames in flight per session: enough that its thread never waits for us, few enough that a fault costs little.
const WINDOW: usize = 8;
/// Requests that may wait for a session or for a worker.
const QUEUE: usize = 1024;
/// A session that answered nothing for this long, and for half the time that a request was given, is taken for hung
/// when that request runs into its deadline.
const STALL: Duration = Duration::from_millis(250);

type Reply = oneshot::Sender<Result<Vec<u8>, Fault>>;

/// A request that waits for a session.
struct Job {
    id: u32,
    key: Arc<Key>,
    frame: Vec<u8>,
    reply: Reply,
}

/// One session of the present generation.
struct Lane {
    pipe: Arc<Pipe>,
    in_flight: Vec<(u32, Reply)>,
    /// When it last answered, or when it was last idle.
    progress: Instant,
}

/// The present generation.
struct Current {
    generation: u64,
    lanes: Vec<Lane>,
    ends: mpsc::UnboundedSender<End>,
    /// `false` once it is to be replaced: it only finishes what it has.
    accepting: bool,
    answered: u64,
    signed: u64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    current: Option<Current>,
    /// Set while nothing but an operator can help: requests fail at once.
    blocked: Option<Fault>,
    next_id: u32,
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
        let id = self.submit(key, protocol::sign_request(input), reply)?;
        match timeout_at(deadline, &mut answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Fault::down("the worker went away while it was signing")),
            Err(_) => Err(self.expire(id, allowance)),
        }
    }

    fn submit(&self, key: &Arc<Key>, mut frame: Vec<u8>, reply: Reply) -> Result<u32, Fault> {
        let mut state = self.lock();
        if let Some(fault) = &state.blocked {
            return Err(fault.clone());
        }
        state.next_id = state.next_id.wrapping_add(1);
        let id = state.next_id;
        let lane = state.current.as_mut().and_then(Current::free_lane);
        let Some(lane) = lane else {
            if state.waiting.len() >= QUEUE {
                return Err(Fault::new(Class::Busy, format!("{QUEUE} requests are waiting already")));
            }
            let key = Arc::clone(key);
            state.waiting.push_back(Job { id, key, frame, reply });
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
    fn expire(&self, id: u32, allowance: Duration) -> Fault {
        let mut state = self.lock();
        if let Some(place) = state.waiting.iter().position(|job| job.id == id) {
            state.waiting.remove(place);
            return match state.current {
                Some(_) => late(),
                None => Fault::down("no worker became ready before the deadline"),
            };
        }
        if let Some(current) = &mut state.current
            && let Some(lane) = current.lanes.iter().find(|lane| lane.holds(id))
            && lane.progress.elapsed() >= STALL.max(allowance / 2)
        {
            let reason = format!("no answer for {:?}", lane.progress.elapsed());
            // The supervisor may be about to end this generation anyway.
            let _ = current.ends.send(End::Hung(reason));
            // What comes now waits for the next one.
            current.accepting = false;
            let mut hung = late();
            hung.advice.scope = Scope::Backend;
            return hung;
        }
        late()
    }

    /// Takes a new generation into use, and gives it what has been waiting.
    pub(super) fn publish(&self, generation: u64, pipes: &[Arc<Pipe>], ends: mpsc::UnboundedSender<End>) {
        let mut work = Work::default();
        let mut state = self.lock();
        state.blocked = None;
        let lanes = pipes.iter().map(|pipe| Lane::new(Arc::clone(pipe)));
        let mut current =
            Current { generation, lanes: lanes.collect(), ends, accepting: true, answered: 0, signed: 0 };
        for lane in &mut current.lanes {
            lane.refill(&mut state.waiting, &mut work);
        }
        state.current = Some(current);
        drop(state);
        work.perform();
    }

    /// Has the present generation replaced, for a reason that it does not know itself.
    pub(super) fn replace(&self, reason: &str) {
        if let Some(current) = &mut self.lock().current
            && current.accepting
        {
            current.accepting = false;
            // The supervisor may be about to end this generation anyway.
            let _ = current.ends.send(End::Replace(reason.to_owned()));
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

    /// Fails all that wait, and all that comes, until a generation is published.
    pub(super) fn block(&self, fault: &Fault) {
        let mut state = self.lock();
        state.blocked = Some(fault.clone());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for job in waiting {
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
        let busy = state.current.iter().flat_map(|current| &current.lanes);
        busy.filter(|lane| !lane.in_flight.is_empty()).fold((0, Duration::ZERO), |(count, silent), lane| {
            let count = count + lane.in_flight.len();
            (count, silent.max(lane.progress.elapsed()))
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
        for answer in answers.drain(..) {
            let Some(place) = lane.in_flight.iter().position(|(id, _)| *id == answer.id) else {
                return Err(End::Lost(format!("an answer to no request: {}", answer.id)));
            };
            let (_, reply) = lane.in_flight.swap_remove(place);
            current.answered += 1;
            current.signed += u64::from(answer.result.is_ok());
            if answer.replace {
                let reason = answer.result.as_ref().err().map(|fault| fault.message.clone());
                let _ = current.ends.send(End::Replace(reason.unwrap_or_default()));
                current.accepting = false;
            }
            work.answers.push((reply, answer.result));
        }
        lane.progress = Instant::now();
        if current.accepting {
            lane.refill(&mut state.waiting, &mut work);
        }
        drop(guard);
        work.perform();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        free.filter(|lane| lane.in_flight.len() < WINDOW).min_by_key(|lane| lane.in_flight.len())
    }
}

impl Lane {
    fn new(pipe: Arc<Pipe>) -> Self {
        Self { pipe, in_flight: Vec::with_capacity(WINDOW), progress: Instant::now() }
    }

    fn push(&mut self, id: u32, reply: Reply) {
        if self.in_flight.is_empty() {
            self.progress = Instant::now();
        }
        self.in_flight.push((id, reply));
    }

    fn holds(&self, id: u32) -> bool {
        self.in_flight.iter().any(|(held, _)| *held == id)
    }

    /// Moves waiting requests into the window, for one write of them all.
    fn refill(&mut self, waiting: &mut VecDeque<Job>, work: &mut Work) {
        let mut batch = Vec::new();
        while self.in_flight.len() < WINDOW {
            let Some(mut job) = waiting.pop_front() else {
                break;
            };
            if job.reply.is_closed() {
                continue;
            }
            match job.key.index() {
                Ok(index) => {
                    protocol::address(&mut job.frame, job.id, index);
                    self.push(job.id, job.reply);
                    if batch.is_empty() {
                        batch = job.frame;
                    } else {
                        batch.extend_from_slice(&job.frame);
                    }
                }
                Err(fault) => work.answers.push((job.reply, Err(fault))),
            }
        }
        if !batch.is_empty() {
            work.batches.push((Arc::clone(&self.pipe), batch));
        }
    }
}

/// What is left to do once the lock is free again.
#[derive(Default)]
struct Work {
    batches: Vec<(Arc<Pipe>, Vec<u8>)>,
    answers: Vec<(Reply, Result<Vec<u8>, Fault>)>,
}
impl Work {
    fn perform(self) {
        // The token first: it is what everybody waits for.
        for (pipe, batch) in self.batches {
            pipe.send(&batch);
        }
        for (reply, result) in self.answers {
            // Nobody waits for it any more when its deadline has passed.
            let _ = reply.send(result);
        }
    }
}

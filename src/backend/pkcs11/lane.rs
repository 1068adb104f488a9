//! One session as the parent sees it: its socket, and the bounded window of requests that it has not answered.

use super::Fault;
use super::key::Key;
use super::pipe::Pipe;
use super::protocol;
use crate::backend::fair::FairQueue;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Frames in flight per session, at most: enough that its thread never waits for us, few enough that a fault costs
/// little.
pub(super) const WINDOW: usize = 8;
/// A session whose frames last for so long needs no more of them: what is in flight is served in its order, whoever
/// else comes. Two are needed always, one that is signed and one that is next.
const REACH: Duration = Duration::from_millis(4);

pub(super) type Reply = oneshot::Sender<Result<Vec<u8>, Fault>>;

/// A request that waits for a session.
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) key: Arc<Key>,
    pub(super) frame: Vec<u8>,
    pub(super) reply: Reply,
}

/// One session of the present generation.
pub(super) struct Lane {
    pub(super) pipe: Arc<Pipe>,
    pub(super) in_flight: Vec<(u32, Reply)>,
    /// When it last answered, or when it was last idle.
    pub(super) progress: Instant,
}

/// The window of each of `lanes` sessions that together answer once per `interval`.
pub(super) fn window(lanes: usize, interval: Option<Duration>) -> usize {
    let Some(interval) = interval else { return WINDOW };
    let frames = REACH.as_nanos() / interval.as_nanos().max(1) / (lanes.max(1) as u128);
    usize::try_from(frames).unwrap_or(WINDOW).clamp(2, WINDOW)
}

impl Lane {
    pub(super) fn new(pipe: Arc<Pipe>) -> Self {
        Self { pipe, in_flight: Vec::with_capacity(WINDOW), progress: Instant::now() }
    }

    pub(super) fn push(&mut self, id: u32, reply: Reply) {
        if self.in_flight.is_empty() {
            self.progress = Instant::now();
        }
        self.in_flight.push((id, reply));
    }

    pub(super) fn holds(&self, id: u32) -> bool {
        self.in_flight.iter().any(|(held, _)| *held == id)
    }

    /// How long it has answered nothing that it was asked.
    pub(super) fn silence(&self) -> Duration {
        if self.in_flight.is_empty() { Duration::ZERO } else { self.progress.elapsed() }
    }

    /// Moves waiting requests into the window, for one write of them all.
    pub(super) fn refill(&mut self, window: usize, waiting: &mut FairQueue<Job>, work: &mut Work) {
        let mut batch = Vec::new();
        while self.in_flight.len() < window {
            let Some(mut job) = waiting.pop() else {
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
pub(super) struct Work {
    pub(super) batches: Vec<(Arc<Pipe>, Vec<u8>)>,
    pub(super) answers: Vec<(Reply, Result<Vec<u8>, Fault>)>,
}

impl Work {
    pub(super) fn perform(self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_pace() {
        for (lanes, micros, frames) in
            [(2, 40, 8), (2, 250, 8), (2, 500, 4), (1, 1000, 4), (2, 10_000, 2), (4, 0, 8), (0, 1, 8)]
        {
            assert_eq!(window(lanes, Some(Duration::from_micros(micros))), frames, "{lanes} {micros}");
        }
        assert_eq!(window(1, None), WINDOW);
    }
}

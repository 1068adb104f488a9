//! What sinks have to say in the log itself: failures and losses.
//!
//! A record about a sink is one more record for the sinks, so that none is made without bound: of what a sink refuses
//! again and again there is one record a minute. Never says anything after [`Voice::silence`], so that nothing follows
//! the last seal.

use crate::audit::log::{Log, Ticket, Unavailable};
use crate::audit::{Entry, Event, Outcome};
use futures_util::FutureExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a sink refuses is told this often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Records that a sink did not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    /// Number of the last record before them.
    pub(super) after: u64,
    pub(super) count: u64,
    pub(super) reason: String,
}

pub(super) struct Voice {
    log: Log,
    state: Mutex<State>,
}

struct State {
    silent: bool,
    /// By sink.
    refused: Vec<Refusals>,
}

/// What a sink refused and is not on disk yet, and when something was said last.
#[derive(Default)]
struct Refusals {
    pending: Option<(String, Loss)>,
    /// Said, and perhaps not durable.
    said: Vec<(String, Loss, Ticket)>,
    told: Option<Instant>,
}

impl Refusals {
    fn add(&mut self, name: String, loss: Loss) {
        match &mut self.pending {
            Some((_, known)) => {
                known.after = known.after.min(loss.after);
                known.count = known.count.saturating_add(loss.count);
            }
            None => self.pending = Some((name, loss)),
        }
    }
}

/// Why something was not said.
pub(super) enum Unsaid {
    /// The daemon is about to end.
    Silent,
    /// The log does not take it now.
    Log(Unavailable),
}

impl Voice {
    pub(super) fn new(log: Log, sinks: usize) -> Self {
        let state = State { silent: false, refused: (0..sinks).map(|_| Refusals::default()).collect() };
        Self { log, state: Mutex::new(state) }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn say(&self, entry: Entry) -> Result<Ticket, Unsaid> {
        let state = self.state();
        if state.silent {
            return Err(Unsaid::Silent);
        }
        // While the state is held: whoever silences us comes before this, or after it.
        self.log.append(vec![entry]).map_err(Unsaid::Log)
    }

    /// Says that a sink refused records, now or with what it refuses in the next minute.
    pub(super) fn refused(&self, index: usize, name: &str, loss: Loss) {
        let mut state = self.state();
        if let Some(refusals) = state.refused.get_mut(index) {
            refusals.add(name.to_owned(), loss);
        }
        self.flush(&mut state, index, false);
    }

    /// What a sink refused and no durable record tells of: the number before the first, and how many. Nobody would know of
    /// them after a kill, unless they are sent again.
    pub(super) fn untold(&self, index: usize) -> Option<(u64, u64)> {
        let mut state = self.state();
        let refusals = state.refused.get_mut(index)?;
        for (name, loss, mut ticket) in std::mem::take(&mut refusals.said) {
            match ticket.durable().now_or_never() {
                Some(Ok(())) => {}
                Some(Err(_)) => refusals.add(name, loss),
                None => refusals.said.push((name, loss, ticket)),
            }
        }
        let pending = refusals.pending.iter().map(|(_, loss)| loss);
        let losses = pending.chain(refusals.said.iter().map(|(_, loss, _)| loss));
        losses.map(|loss| (loss.after, loss.count)).reduce(|a, b| (a.0.min(b.0), a.1.saturating_add(b.1)))
    }

    /// Says what is due; when it should be called again.
    pub(super) fn due(&self, index: usize) -> Option<Instant> {
        let mut state = self.state();
        self.flush(&mut state, index, false);
        let Refusals { pending, told, .. } = state.refused.get(index)?;
        pending.as_ref()?;
        Some(told.unwrap_or_else(Instant::now) + TELL_EVERY)
    }

    /// Says what was held back, and nothing any more.
    pub(super) fn silence(&self) {
        let mut state = self.state();
        for index in 0..state.refused.len() {
            self.flush(&mut state, index, true);
        }
        state.silent = true;
    }

    fn flush(&self, state: &mut State, index: usize, at_once: bool) {
        let silent = state.silent;
        let Some(Refusals { pending, said, told }) = state.refused.get_mut(index) else { return };
        let is_due = at_once || told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if silent || !is_due {
            return;
        }
        if let Some((name, loss)) = pending.take() {
            match self.log.append(vec![lost(&name, &loss)]) {
                Ok(ticket) => {
                    said.push((name, loss, ticket));
                    *told = Some(Instant::now());
                }
                Err(error) => {
                    tracing::error!(sink = name, %error, "Loss of a sink not recorded yet");
                    *pending = Some((name, loss));
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The record of a loss.
pub(super) fn lost(name: &str, loss: &Loss) -> Entry {
    Entry {
        object: Some(name.to_owned()),
        after: Some(loss.after),
        count: Some(loss.count),
        reason: Some(loss.reason.clone()),
        ..Entry::new(Event::SinkLost, Outcome::Failed)
    }
}

/// The record of a sink that takes nothing.
pub(super) fn failed(name: &str, problem: &str) -> Entry {
    Entry {
        object: Some(name.to_owned()),
        reason: Some(problem.to_owned()),
        rules: vec!["sink.failed"],
        ..Entry::new(Event::AlertRaised, Outcome::Failed)
    }
}

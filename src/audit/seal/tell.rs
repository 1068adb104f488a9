//! Telling the witnesses of a checkpoint, all at once and within a short time each.
//!
//! One that fails or hangs is told of once, until it works again, and never holds up the next seal.

use super::WitnessReport;
use crate::audit::{Entry, Event, Outcome, Witness};
use futures_util::future::join_all;
use jiff::Timestamp;
use std::io;
use std::time::Duration;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// A witness that takes longer counts as one that fails.
const WITHIN: Duration = Duration::from_secs(2);

pub(super) struct Teller(Vec<One>);

struct One {
    witness: Witness,
    report: WitnessReport,
    /// It has not answered yet.
    busy: Option<JoinHandle<io::Result<()>>>,
}

impl Teller {
    pub(super) fn new(witnesses: &[Witness]) -> Self {
        let one = |witness: &Witness| {
            let report = WitnessReport { name: witness.name(), size: None, problem: None, since: None };
            One { witness: witness.clone(), report, busy: None }
        };
        Self(witnesses.iter().map(one).collect())
    }

    pub(super) fn reports(&self) -> Vec<WitnessReport> {
        self.0.iter().map(|one| one.report.clone()).collect()
    }

    /// Gives records of those that have failed from now on.
    pub(super) async fn tell(&mut self, note: &str, size: u64, now: Timestamp) -> Vec<Entry> {
        let told = join_all(self.0.iter_mut().map(|one| one.tell(note, size, now))).await;
        told.into_iter().flatten().collect()
    }
}

impl One {
    async fn tell(&mut self, note: &str, size: u64, now: Timestamp) -> Option<Entry> {
        let name = self.report.name.clone();
        match self.try_tell(note, now).await {
            Ok(()) => {
                if self.report.problem.is_some() {
                    tracing::info!(witness = name, "Witness takes checkpoints again");
                }
                self.report = WitnessReport { name, size: Some(size), problem: None, since: None };
                None
            }
            Err(problem) => {
                let first = self.report.problem.replace(problem.clone()).is_none();
                self.report.since.get_or_insert(now);
                first.then(|| {
                    tracing::error!(witness = name, problem, "Witness does not take checkpoints");
                    let (object, reason) = (Some(name), Some(problem));
                    let rules = vec!["witness.failed"];
                    Entry { object, reason, rules, ..Entry::new(Event::AlertRaised, Outcome::Failed) }
                })
            }
        }
    }

    async fn try_tell(&mut self, note: &str, now: Timestamp) -> Result<(), String> {
        if self.busy.as_ref().is_some_and(|busy| !busy.is_finished()) {
            return Err("it still has not answered".to_owned());
        }
        let (witness, note) = (self.witness.clone(), note.to_owned());
        let busy = self.busy.insert(spawn_blocking(move || witness.tell(&note, now)));
        let answer = timeout(WITHIN, busy).await.map_err(|_| "it does not answer".to_owned())?;
        self.busy = None;
        // A panic, which is logged where it happens.
        answer.map_err(|_| "a defect".to_owned())?.map_err(|error| error.to_string())
    }
}

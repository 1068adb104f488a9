//! How far a sink is, for people. Decides nothing.

use crate::state::SinkRow;
use jiff::Timestamp;
use serde::Serialize;
use std::time::Instant;

/// How far a sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// Its name.
    pub name: String,
    /// `syslog`, `journald` or `otlp`.
    pub kind: &'static str,
    /// Number of the last record that it was sent or did not ask for.
    pub delivered: u64,
    /// Records after that.
    pub behind: u64,
    /// How old the first of them is, seconds, once it was tried.
    pub seconds_behind: u64,
    /// Records that it did not get and never will.
    pub lost: u64,
    /// Why it gets none now.
    pub problem: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When the oldest that waits was written.
    #[serde(skip)]
    oldest: Option<(Instant, u64)>,
}

impl SinkReport {
    pub(super) fn new(name: &str, kind: &'static str, row: &SinkRow) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            delivered: row.seq,
            behind: 0,
            seconds_behind: 0,
            lost: row.lost,
            problem: None,
            since: None,
            oldest: None,
        }
    }

    /// When records up to this number are durable.
    pub(in crate::audit) fn at(&self, durable: u64, now: Instant) -> Self {
        let behind = durable.saturating_sub(self.delivered);
        let age =
            |(seen, age): (Instant, u64)| age.saturating_add(now.saturating_duration_since(seen).as_secs());
        let seconds_behind = self.oldest.filter(|_| behind > 0).map_or(0, age);
        Self { behind, seconds_behind, ..self.clone() }
    }

    /// Its first record that waits is of this age, in seconds.
    pub(super) fn waits(&mut self, age: u64) {
        self.oldest.get_or_insert((Instant::now(), age));
    }

    /// Everything up to this number was sent.
    pub(super) fn sent(&mut self, delivered: u64) {
        (self.delivered, self.oldest, self.problem, self.since) = (delivered, None, None, None);
    }

    /// It takes nothing now, and what comes after this number has to be sent again.
    pub(super) fn failed(&mut self, delivered: u64, problem: String, now: Timestamp) {
        self.delivered = delivered;
        self.problem = Some(problem);
        self.since.get_or_insert(now);
    }
}

//! Shared help for the sinks' tests: a log with sinks, and servers that fail on command.

mod datagrams;
mod disturbing;
mod encodings;
mod losing;
mod otlp;
mod reading;
mod servers;
mod streams;

use super::run::Pace;
use super::{Form, From, Kind, Settings, Sinks};
use crate::audit::{Entry, Event, Log, MIN_SEGMENT, Outcome, Settings as LogSettings, tail};
use crate::clock::{Clock, SystemClock};
use crate::state::{self, SinkRow, Store};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// So quick that a test need not wait.
const QUICK: Pace =
    Pace { first: Duration::from_millis(5), longest: Duration::from_millis(50), flaps: u32::MAX };

/// A log and a state in a directory of their own.
struct Bed {
    directory: TempDir,
    settings: LogSettings,
    log: Log,
    store: Arc<Store>,
}

impl Bed {
    fn new() -> Self {
        let shared = tempfile::tempdir_in("/dev/shm");
        let directory = shared.unwrap_or_else(|_| tempfile::tempdir().unwrap());
        let settings = LogSettings {
            dir: directory.path().join("audit"),
            environment: "test".to_owned(),
            segment: MIN_SEGMENT,
            checkpoint: None,
            retain: None,
        };
        let log = Log::open(&settings, Arc::new(SystemClock)).unwrap();
        let state = state::Settings { dir: directory.path().join("state") };
        let store = Arc::new(Store::open(&state, "test").unwrap());
        Self { directory, settings, log, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn dir(&self) -> &Path {
        &self.settings.dir
    }

    /// Sends from the first record on.
    fn start(&self, kind: Kind) -> Sinks {
        self.start_all(&[settings("sink", kind)])
    }

    fn start_all(&self, settings: &[Settings]) -> Sinks {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Sinks::start_at(settings, self.dir(), &self.log, (&self.store, &clock), QUICK).unwrap()
    }

    /// Appends so many records and waits for them.
    async fn record(&self, count: usize) {
        for _ in 0..count.div_ceil(100) {
            let entries = (0..count.min(100)).map(|_| denied()).collect();
            self.log.append(entries).unwrap().durable().await.unwrap();
        }
    }

    /// Waits until the first sink has everything.
    async fn delivered(&self) {
        eventually("everything is delivered", || {
            let health = self.log.health();
            health.sinks.iter().all(|sink| sink.behind == 0)
        })
        .await;
    }

    fn lines(&self) -> Vec<String> {
        tail::Tail::open(self.dir(), u64::MAX, None).unwrap().map(Result::unwrap).collect()
    }

    fn records(&self, event: &str) -> Vec<serde_json::Value> {
        let records = self.lines().into_iter().map(|line| serde_json::from_str(&line).unwrap());
        records.filter(|record: &serde_json::Value| record["event"] == event).collect()
    }

    fn row(&self) -> SinkRow {
        self.store.sink("sink").unwrap().unwrap()
    }
}

fn settings(name: &str, kind: Kind) -> Settings {
    let form = Form::Json;
    Settings { name: name.to_owned(), kind, form, events: Vec::new(), from: From::Start, behind: 1_000_000 }
}

fn denied() -> Entry {
    Entry {
        request: Some("0190b5f6-9d3c-7cc4-8a3f-8f1f3f1f3f1f".to_owned()),
        rules: vec!["claims.unknown"],
        ..Entry::new(Event::JwtDenied, Outcome::Denied)
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not in a minute");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ends them as a kill does.
async fn kill(sinks: Sinks) {
    for (_, task) in sinks.tasks {
        task.abort();
        let _ = task.await;
    }
}

/// What arrived is every number up to `last`, whatever came twice; what came on each connection was in order.
#[track_caller]
fn assert_all(connections: &[Vec<u64>], last: u64) {
    for (index, seqs) in connections.iter().enumerate() {
        assert!(seqs.is_sorted_by(|a, b| a + 1 == *b), "connection {index} is out of order: {seqs:?}");
    }
    let seen: BTreeSet<u64> = connections.iter().flatten().copied().collect();
    let missing: Vec<u64> = (1..=last).filter(|seq| !seen.contains(seq)).collect();
    assert!(missing.is_empty(), "missing {missing:?}");
}

/// The number in a stored line.
fn seq(line: &[u8]) -> u64 {
    serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap()
}

/// Numbers that look random; the seed is printed, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).unwrap();
        let seed = u64::from_le_bytes(bytes) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

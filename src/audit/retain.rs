//! How long the log is kept: old segments at its beginning are archived with their proofs, if that is wanted, and removed.
//!
//! Never removes what no seal covers, what is younger than the configuration says, or anything before a record of ours
//! says so under a seal. Each step is durable before the next one, and an end between any two of them leaves a log that
//! verifies; the next run does what is left.

pub mod archive;
mod oldest;
pub(super) mod plan;

use super::base::Base;
use super::history::History;
use super::leaves::Segments;
use super::log::{Log, Unavailable};
use super::open::OpenError;
use super::restore::restore;
use super::segment::{Listed, Store, list_all};
use super::{Entry, Event, Outcome};
use crate::clock::Clock;
use crate::telemetry::Chain;
use archive::Archive;
use jiff::{SignedDuration, Timestamp};
pub(super) use oldest::Oldest;
pub(super) use plan::{Going, plan};
use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How often the log is looked at.
const EVERY: Duration = Duration::from_secs(3600);
/// How often it is asked whether a seal covers a record.
const LOOK: Duration = Duration::from_millis(500);
/// Our record is durable within this, or it is tried again.
const RECORD_WITHIN: Duration = Duration::from_secs(30);

/// What `[audit.retain]` says, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Records are kept so long.
    pub default: Duration,
    /// And those of these profiles so long.
    pub profiles: BTreeMap<String, Duration>,
    /// Where segments go; they are only removed without this.
    pub archive: Option<PathBuf>,
}

impl Settings {
    /// How long a record is kept.
    fn of(&self, profile: Option<&str>) -> SignedDuration {
        let term = profile.and_then(|profile| self.profiles.get(profile)).unwrap_or(&self.default);
        SignedDuration::try_from(*term).unwrap_or(SignedDuration::MAX)
    }
}

/// Why nothing went.
#[derive(Debug, thiserror::Error)]
pub enum NotRetained {
    /// The log could not be read, or contradicts itself.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A segment could not be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment is not what the log wrote.
    #[error("{0} is damaged: run `jwsd audit verify`; nothing is removed until it is restored")]
    Damaged(String),
    /// The seal after a segment does not fit it.
    #[error("no seal fits the records up to {0}: run `jwsd audit verify`; nothing is removed")]
    Unsealed(String),
    /// The log's beginning is not borne out.
    #[error(
        "nothing that is sealed says that the log begins where `base` says: run `jwsd audit verify`; nothing is removed"
    )]
    Unfounded,
    /// A segment could not be archived.
    #[error("cannot archive in {path}: {problem}", path = .path.display())]
    Archive {
        /// The archive, or the file in it.
        path: PathBuf,
        /// Why, and what to do about it.
        problem: String,
    },
    /// It could not be recorded.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It could not be removed.
    #[error("cannot {what}")]
    Remove {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A task ended by a panic, which is logged where it happens.
    #[error("a defect")]
    Defect,
}

/// Removes what is old enough.
pub struct Retainer {
    log: Log,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// Nothing is old enough before.
    due: Option<Timestamp>,
}

impl Retainer {
    /// For a log that is sealed; `None` for another. The clock stands still while it is not trusted.
    pub fn new(settings: Settings, log: Log, clock: Arc<dyn Clock>) -> Option<Self> {
        log.sealing()?;
        Some(Self { log, clock, settings, due: None })
    }

    /// Now and once an hour, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut told = None;
        // The last seal of the run before is covered by the first of this one.
        let begun = self.log.durable();
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.sealed(begun) => {}
        }
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = self.once() => done,
            };
            match done {
                Err(error) => {
                    let text = Chain(&error).to_string();
                    // Once, not at every try.
                    if told.as_ref() != Some(&text) {
                        tracing::error!(error = text, "Old segments of the audit log stay");
                    }
                    told = Some(text);
                }
                Ok(()) => told = None,
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(EVERY) => {}
            }
        }
    }

    /// Waits until a seal covers the record of this number.
    async fn sealed(&self, number: u64) {
        while self.log.report().as_ref().is_none_or(|report| report.after() < number) {
            sleep(LOOK).await;
        }
    }

    /// Removes what an earlier run left, and what is old enough now. May be broken off anywhere.
    pub(super) async fn once(&mut self) -> Result<(), NotRetained> {
        let Some(sealing) = self.log.sealing() else { return Ok(()) };
        let (dir, store) = (sealing.dir.clone(), Arc::clone(&sealing.store));
        blocking(move || finish(&dir, &store)).await?;
        let now = self.clock.now();
        if self.due.is_some_and(|due| now < due) {
            return Ok(());
        }
        let (dir, settings) = (sealing.dir.clone(), self.settings.clone());
        let plan = blocking(move || plan(&dir, &settings, now)).await?;
        self.due = plan.next.map(|(_, due)| due);
        let Some(going) = plan.goes else { return Ok(()) };
        // What does not come to its end is tried again.
        self.due = None;
        let going = Arc::new(going);
        if let Some(archive) = &self.settings.archive {
            let (dir, path, going) = (sealing.dir.clone(), archive.clone(), Arc::clone(&going));
            blocking(move || Archive::open(&path)?.take(&dir, &going)).await?;
        }
        let archived = going.record(self.settings.archive.as_deref());
        self.log.append(vec![archived])?.durable_by(Instant::now() + RECORD_WITHIN).await?;
        // It is one of these.
        let last = self.log.durable();
        self.sealed(last).await;
        let store = Arc::clone(&sealing.store);
        let (first, count) = (going.base.after + 1, going.segments.len());
        blocking(move || going.carry_out(&store)).await?;
        tracing::info!(segments = count, begins = first, "Old segments of the audit log removed");
        Ok(())
    }
}

impl Going {
    /// What the log says of it.
    pub(super) fn record(&self, archive: Option<&Path>) -> Entry {
        let (base, last) = (&self.base, self.segments.last());
        Entry {
            object: archive.map(|archive| archive.display().to_string()),
            segment: last.map(|(listed, _)| listed.name.clone()),
            after: Some(base.after),
            size: Some(base.tree.size()),
            peaks: base.peaks(),
            vkey: Some(base.vkey.clone()),
            count: Some(self.count),
            sha256: Some(self.sha256.clone()),
            ..Entry::new(Event::LogArchived, Outcome::Success)
        }
    }

    /// Once a seal covers that: the log begins later, and what is before goes.
    pub(super) fn carry_out(&self, store: &Store) -> Result<(), NotRetained> {
        let failed = |what| move |source| NotRetained::Remove { what, source };
        store.begin(&self.base).map_err(failed("write where the audit log begins"))?;
        let segments: Vec<Listed> = self.segments.iter().map(|(listed, _)| listed.clone()).collect();
        store.remove(&segments).map_err(failed("remove old segments"))
    }
}

/// Removes what is from before the log's beginning, if something that is sealed says that this is where it is.
pub(super) fn finish(dir: &Path, store: &Store) -> Result<(), NotRetained> {
    let failed = |source| NotRetained::Read { path: dir.to_owned(), source };
    let history = History::of(dir)?;
    let Some(base) = history.base() else { return Ok(()) };
    let mut left = list_all(dir).map_err(failed)?.0;
    left.retain(|segment| segment.first <= base.after);
    if left.is_empty() {
        return Ok(());
    }
    let sealed = restore(&history)?.seal.map_or(0, |seal| seal.after);
    let mut stated = false;
    history.backwards(|bytes, _, gaps| {
        let line = super::parse(bytes).ok().filter(|line| line.event == "log.archived");
        let line = line.filter(|line| line.seq <= sealed && !gaps.has(line.seq));
        stated = line.is_some_and(|line| Base::stated(&line).as_ref() == Ok(base));
        Ok(if stated { Break(()) } else { Continue(()) })
    })?;
    if !stated {
        return Err(NotRetained::Unfounded);
    }
    store.remove(&left).map_err(|source| NotRetained::Remove { what: "remove old segments", source })
}

/// When the oldest record of the log in `dir` was written; `None` if it has none.
///
/// # Errors
/// If it cannot be read.
pub fn begins(dir: &Path) -> io::Result<Option<Timestamp>> {
    Oldest::default().of(dir, Timestamp::MAX)
}

/// What of the log in `dir` would go now, and when the next is old enough; for people.
///
/// # Errors
/// [`NotRetained`].
pub fn outlook(dir: &Path, settings: &Settings, now: Timestamp) -> Result<Outlook, NotRetained> {
    let segments = Segments::open(dir, None)
        .map_err(|(name, source)| NotRetained::Read { path: dir.join(name), source })?;
    let plan = plan(dir, settings, now)?;
    Ok(Outlook {
        segments: segments.listed.len(),
        goes: plan
            .goes
            .iter()
            .flat_map(|going| &going.segments)
            .map(|(listed, _)| listed.name.clone())
            .collect(),
        records: plan.goes.as_ref().map_or(0, |going| going.count),
        next: plan.next,
    })
}

/// What retention comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Segments there are.
    pub segments: usize,
    /// Those that go now.
    pub goes: Vec<String>,
    /// Records in them.
    pub records: u64,
    /// The first that stays for its age, and when it is old enough.
    pub next: Option<(String, Timestamp)>,
}

/// Off the threads that answer requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NotRetained> + Send + 'static,
) -> Result<T, NotRetained> {
    spawn_blocking(work).await.unwrap_or(Err(NotRetained::Defect))
}

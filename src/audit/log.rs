//! The log's handle: appending, waiting for durability, letting values out.
//!
//! Never touches the disk: that is the writer thread's. Never lets a value out whose record is not on disk.

use super::base::BASE;
use super::disk::{Disk, KernelDisk};
use super::open::{Begun, OpenError, begin};
use super::queue::{Gate, Group, Shared};
use super::restore::{Contradiction, Seal};
use super::retain::Oldest;
use super::seal::Report;
use super::segment::Store;
use super::sink::SinkReport;
use super::tree::Tree;
use super::witness::Asked;
use super::{Entry, Settings};
use crate::clock::Clock;
use jiff::Timestamp;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Most bytes that wait for the writer; more are refused, so that a slow disk cannot fill the memory.
const QUEUE: usize = 16 * 1024 * 1024;
/// Of these, what batches leave to single records: few callers with large batches must not silence all others.
const RESERVE: usize = QUEUE / 4;
/// A disk that keeps the writer longer than this is stuck.
const STUCK: Duration = Duration::from_secs(3);

/// The log cannot record now; whatever waited for it must not be released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit log unavailable: {reason}")]
pub struct Unavailable {
    /// Why, and what to do about it.
    pub reason: String,
}

impl Unavailable {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// A handle on the running log. Cheap to clone; the log ends by [`Log::close`], or when the last handle is dropped.
#[derive(Clone)]
pub struct Log(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
    sealing: Option<Sealing>,
    report: Mutex<Option<Report>>,
    sinks: Mutex<Vec<SinkReport>>,
    oldest: Mutex<Oldest>,
}

/// What is known at open of a log that is to be sealed.
pub(super) struct Sealing {
    /// The directory.
    pub(super) dir: PathBuf,
    /// The same, to take old segments away.
    pub(super) store: Arc<Store>,
    /// The log's name.
    pub(super) origin: String,
    /// The last seal of earlier runs.
    pub(super) last: Option<Seal>,
    /// Keys that records after it introduce.
    pub(super) introduced: Vec<String>,
    /// What witnesses answered that are asked over the network.
    pub(super) asked: Vec<Asked>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The tree over all that is durable.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) tree: Tree,
    /// Number of its last record.
    pub(super) last: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Some entries were appended; they are not yet durable. Dropping it without waiting leaves them in the log all the same.
#[must_use]
pub struct Ticket {
    shared: Arc<Shared>,
    number: u64,
    awaited: bool,
    answer: oneshot::Receiver<Result<(), Unavailable>>,
    known: Option<Result<(), Unavailable>>,
}

/// A value whose records are on disk. The only thing the API can send; made only by [`Ticket::release`].
pub struct Recorded<T>(T);

/// For status and readiness.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// Whether a JWT could be recorded now.
    pub healthy: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Last durable sequence number; 0 before the first.
    pub durable: u64,
    /// The segment being written; empty while there is none.
    pub segment: String,
    /// How far it is sealed; absent where it is not.
    pub checkpoint: Option<Report>,
    /// How far each sink is.
    pub sinks: Vec<SinkReport>,
}

impl Log {
    /// Locks the directory, recovers the newest segment, starts a new one and the writer thread. Blocks on the disk.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another daemon has it; the others name the file and what to do.
    pub fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_on(settings, clock, Arc::new(KernelDisk))
    }

    pub(super) fn open_on(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let (directory, recovered, found, contradictions) = Self::look(settings, disk, clock.now())?;
        match contradictions.into_iter().next() {
            Some(Contradiction { error, .. }) => Err(error),
            None => Self::run(begin(settings, clock, directory, recovered, found)?),
        }
    }

    /// Starts the writer's thread.
    pub(super) fn run(Begun { writer, shared, sealing }: Begun) -> Result<Self, OpenError> {
        let dir = writer.dir().to_owned();
        let (sender, ended) = watch::channel(false);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                writer.run();
                sender.send_replace(true);
            })
            .map_err(|source| OpenError::Io { what: "start the writer of", path: dir, source })?;
        Ok(Self::over(shared, sealing, ended))
    }

    /// The handle on a writer.
    pub(super) fn over(shared: Arc<Shared>, sealing: Option<Sealing>, ended: watch::Receiver<bool>) -> Self {
        let (report, sinks, oldest) = Default::default();
        Self(Arc::new(Handle { shared, ended, sealing, report, sinks, oldest }))
    }

    /// The tree over all that is durable, and the number of its last record. Ends an answer later than what is being
    /// written now.
    ///
    /// # Errors
    /// While the log is down, and if it keeps no tree.
    pub(super) async fn head(&self) -> Result<Head, Unavailable> {
        let (answer, head) = oneshot::channel();
        self.0.shared.ask_head(answer);
        head.await.unwrap_or_else(|_| Err(Unavailable::new("its writer has ended")))
    }

    /// Waits until the record of this number is durable. One waits at a time.
    pub(super) async fn until(&self, number: u64) {
        self.0.shared.until(number).await;
    }

    /// Waits until more is durable than up to this number.
    pub(super) async fn beyond(&self, number: u64) {
        self.0.shared.beyond(number).await;
    }

    /// Number of the last record that is on disk.
    pub(super) fn durable(&self) -> u64 {
        self.0.shared.durable.load(Ordering::SeqCst)
    }

    /// Name of the segment that is being written; empty while there is none.
    pub(super) fn segment(&self) -> String {
        self.0.shared.queue().segment.clone()
    }

    /// What is known of a log that is to be sealed.
    pub(super) fn sealing(&self) -> Option<&Sealing> {
        self.0.sealing.as_ref()
    }

    /// When the oldest record that is kept was written, but not later than now; `None` if none before it was removed.
    /// Reads only what it has not read before.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn begins(&self) -> io::Result<Option<Timestamp>> {
        let Some(sealing) = self.sealing().filter(|sealing| sealing.dir.join(BASE).exists()) else {
            return Ok(None);
        };
        let mut oldest = self.0.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        oldest.of(&sealing.dir, sealing.clock.now())
    }

    /// How far the log is sealed, for [`Health`].
    pub(super) fn report(&self) -> MutexGuard<'_, Option<Report>> {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far its sinks are, for [`Health`].
    pub(super) fn sinks(&self) -> MutexGuard<'_, Vec<SinkReport>> {
        self.0.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands entries to the writer, in order, contiguous. Never blocks on the disk.
    ///
    /// # Errors
    /// At once while the log is down or closed, while too much waits for the disk, and, for entries with a
    /// [`super::Event::JwtIssued`], while the disk is full. Nothing is recorded then.
    pub fn append(&self, entries: Vec<Entry>) -> Result<Ticket, Unavailable> {
        let (done, answer) = oneshot::channel();
        let group = Group::new(&entries, done)?;
        let shared = &self.0.shared;
        let mut queue = shared.queue();
        match &queue.gate {
            Gate::Open => {}
            Gate::DenialsOnly(_) if !group.issues() => {}
            Gate::DenialsOnly(reason) | Gate::Down(reason) => {
                return Err(Unavailable::new(&**reason));
            }
        }
        if queue.closing {
            return Err(Unavailable::new("it is closed"));
        }
        let most = if group.is_batch() { QUEUE - RESERVE } else { QUEUE };
        if queue.bytes + group.bytes() > most {
            return Err(Unavailable::new("the disk is too slow: too many records wait for it"));
        }
        let number = queue.push(group);
        let wakes = queue.wakes();
        drop(queue);
        if wakes {
            shared.wake.notify_one();
        }
        Ok(Ticket { shared: Arc::clone(shared), number, awaited: false, answer, known: None })
    }

    /// Whether it works, and where it is.
    pub fn health(&self) -> Health {
        self.health_at(Instant::now())
    }

    pub(super) fn health_at(&self, now: Instant) -> Health {
        let queue = self.0.shared.queue();
        let reason = match &queue.gate {
            Gate::Open if queue.closing => Some("it is closed".to_owned()),
            Gate::Open => queue
                .taken_at
                .map(|taken| now.saturating_duration_since(taken))
                .filter(|busy| *busy > STUCK)
                .map(|busy| format!("the disk has not answered for {} s: look at it", busy.as_secs())),
            Gate::DenialsOnly(reason) | Gate::Down(reason) => Some(reason.to_string()),
        };
        let durable = self.0.shared.durable.load(Ordering::Acquire);
        let segment = queue.segment.clone();
        drop(queue);
        let checkpoint = self.report().as_ref().map(|report| report.at(durable));
        let sinks = self.sinks().iter().map(|report| report.at(durable, now)).collect();
        Health { healthy: reason.is_none(), reason, durable, segment, checkpoint, sinks }
    }

    /// Ends the writer after all that was appended is durable; trims the segment's reserve, unlocks the directory.
    pub async fn close(&self) {
        self.0.shared.end();
        // An error means that the writer is gone, which is the same.
        let _ = self.0.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Ticket {
    /// Waits until the entries are on disk, however long that takes. May be cancelled and called again.
    ///
    /// # Errors
    /// [`Unavailable`] if they are not, or not certainly: what depends on them must not be released.
    pub async fn durable(&mut self) -> Result<(), Unavailable> {
        self.request();
        let known = match self.known.take() {
            Some(known) => known,
            None => {
                (&mut self.answer).await.unwrap_or_else(|_| Err(Unavailable::new("its writer has ended")))
            }
        };
        self.known = Some(known.clone());
        known
    }

    /// Waits until the entries are on disk, or the deadline. May be cancelled and called again.
    ///
    /// # Errors
    /// As [`Ticket::durable`], and at the deadline. The entries may yet reach the disk then.
    pub async fn durable_by(&mut self, deadline: tokio::time::Instant) -> Result<(), Unavailable> {
        tokio::time::timeout_at(deadline, self.durable())
            .await
            .unwrap_or_else(|_| Err(Unavailable::new("the disk did not answer in time")))
    }

    fn request(&mut self) {
        if !std::mem::replace(&mut self.awaited, true) {
            self.shared.await_group(self.number);
        }
    }

    /// Waits until the entries are on disk, then lets `value` out.
    ///
    /// # Errors
    /// As [`Ticket::durable_by`]; the value is dropped.
    pub async fn release<T>(
        mut self,
        value: T,
        deadline: tokio::time::Instant,
    ) -> Result<Recorded<T>, Unavailable> {
        self.durable_by(deadline).await.map(|()| Recorded(value))
    }
}

impl Drop for Ticket {
    /// Entries that nobody waits for are written all the same.
    fn drop(&mut self) {
        self.request();
    }
}

impl<T> Recorded<T> {
    /// The value, to be sent.
    pub fn into_inner(self) -> T {
        self.0
    }
    /// A look at the value.
    pub fn get(&self) -> &T {
        &self.0
    }
}

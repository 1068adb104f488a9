//! Shared help for the log's tests, which are grouped by what can go wrong.

mod faults;
mod large;
mod power;
mod reading;
mod recovery;
mod restoring;
mod retaining;
mod sealing;
mod selecting;
mod telling;
mod witnesses;
mod writing;

pub(super) use restoring::seal;

use super::disk::{Disk, KernelDisk};
use super::{Entry, Event, Log, MIN_SEGMENT, Outcome, Settings, Unavailable};
use crate::clock::SystemClock;
use std::fs::File;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A disk with switches: each says how many of the next calls fail.
#[derive(Default)]
struct FaultyDisk {
    write: AtomicU32,
    short: AtomicU32,
    sync: AtomicU32,
    reserve: AtomicU32,
    sync_all: AtomicU32,
    syncs: AtomicU32,
    /// While set, a sync does not end.
    hang: AtomicBool,
}

fn fails(switch: &AtomicU32) -> bool {
    switch.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

fn error(switch: &AtomicU32, code: i32) -> io::Result<()> {
    if fails(switch) { Err(io::Error::from_raw_os_error(code)) } else { Ok(()) }
}

impl Disk for FaultyDisk {
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        error(&self.reserve, nix::libc::ENOSPC)?;
        KernelDisk.reserve(file, bytes)
    }
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        error(&self.write, nix::libc::EIO)?;
        let part = if fails(&self.short) { bytes.len() - 40 } else { bytes.len() };
        KernelDisk.write(file, &bytes[..part])
    }
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        while self.hang.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        error(&self.sync, nix::libc::EIO)?;
        KernelDisk.sync_data(file)
    }
    fn sync_all(&self, file: &File) -> io::Result<()> {
        error(&self.sync_all, nix::libc::EIO)?;
        KernelDisk.sync_all(file)
    }
}

/// A log in a directory of its own.
pub(super) struct Bench {
    _parent: TempDir,
    pub(super) settings: Settings,
    disk: Arc<FaultyDisk>,
}

impl Bench {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }
    /// In memory where the system has that, for tests that only count on contents.
    fn quick() -> Self {
        let shared = tempfile::tempdir_in("/dev/shm");
        shared.map_or_else(|_| Self::new(), Self::at)
    }
    fn at(parent: TempDir) -> Self {
        let settings = Settings {
            dir: parent.path().join("audit"),
            environment: "test".into(),
            segment: MIN_SEGMENT,
            checkpoint: None,
            retain: None,
        };
        Self { _parent: parent, settings, disk: Arc::default() }
    }
    /// The same, for a log that is sealed.
    pub(super) fn sealed() -> Self {
        let mut bench = Self::quick();
        bench.settings.checkpoint = Some(super::seal::Settings {
            key: "audit".to_owned(),
            cosign: None,
            origin: Some("jwsd/test".to_owned()),
            every: Duration::from_secs(3600),
            records: 1_000_000,
            witnesses: Vec::new(),
        });
        bench
    }
    pub(super) fn dir(&self) -> &Path {
        &self.settings.dir
    }
    pub(super) fn open(&self) -> Log {
        self.try_open().unwrap_or_else(|error| panic!("{error}"))
    }
    pub(super) fn try_open(&self) -> Result<Log, super::OpenError> {
        Log::open_on(&self.settings, Arc::new(SystemClock), Arc::<FaultyDisk>::clone(&self.disk))
    }
    /// Writes `count` records, closes, and returns the bytes of the only segment.
    fn filled(&self, count: usize) -> Vec<u8> {
        let log = self.open();
        for n in 0..count {
            record(&log, issued(n)).unwrap();
        }
        wait(log.close());
        std::fs::read(self.segment(1)).unwrap()
    }
    fn segment(&self, first: u64) -> PathBuf {
        self.dir().join(super::segment::segment_name(first))
    }
    fn segments(&self) -> Vec<u64> {
        let listed = super::segment::list(self.dir()).unwrap().0;
        listed.into_iter().map(|s| s.first).collect()
    }
    pub(super) fn lines(&self) -> Vec<String> {
        lines(self.dir())
    }
    fn verify(&self) -> super::verify::Report {
        super::verify::verify(self.dir(), &mut |_, _| {}).unwrap()
    }
    #[track_caller]
    fn assert_sound(&self) -> super::verify::Report {
        let report = self.verify();
        assert!(report.is_sound(), "{report:#?}");
        report
    }
}

/// All valid records of a log, in order.
fn lines(dir: &Path) -> Vec<String> {
    super::tail::Tail::open(dir, u64::MAX, None).unwrap().filter_map(Result::ok).collect()
}

pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// What `work` gives, and how many bytes this thread has read from files meanwhile.
pub(super) fn bytes_read<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let so_far = || -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    };
    let before = so_far();
    let done = work();
    (done, so_far() - before)
}

/// Appends one entry and waits until it is durable.
pub(super) fn record(log: &Log, entry: Entry) -> Result<(), Unavailable> {
    wait(async { log.append(vec![entry])?.durable().await })
}

pub(super) fn issued(n: usize) -> Entry {
    Entry {
        request: Some(format!("r-{n}")),
        profile: Some("access-token".to_owned()),
        jti: Some(format!("jti-{n}")),
        aud: vec!["https://api.example.com".to_owned()],
        iat: Some(1_780_000_000),
        exp: Some(1_780_000_300),
        ..Entry::new(Event::JwtIssued, Outcome::Success)
    }
}

fn denied(n: usize) -> Entry {
    Entry {
        request: Some(format!("r-{n}")),
        rules: vec!["claims.unknown"],
        ..Entry::new(Event::JwtDenied, Outcome::Denied)
    }
}

/// Tries until the log takes an issued JWT; how long that took.
fn heals(log: &Log) -> Duration {
    let start = Instant::now();
    while record(log, issued(0)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", log.health());
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

pub(super) fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

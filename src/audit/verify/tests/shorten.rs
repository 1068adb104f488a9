//! Makes logs whose beginning went, in memory and as files.

use super::maker::{Maker, Signer, two_hundred};
use super::*;
use crate::audit::disk::Disk;
use crate::audit::retain::plan::Plan;
use crate::audit::retain::{Going, Settings, plan};
use crate::audit::segment::{Directory, Store};
use crate::audit::{MIN_SEGMENT, parse};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(super) const TERM: Duration = Duration::from_secs(86_400);

pub(super) fn terms() -> Settings {
    Settings { default: TERM, profiles: BTreeMap::new(), archive: None }
}

/// A moment at which all segments are old enough that are before this one.
pub(super) fn when(log: &Maker, kept: usize) -> Timestamp {
    let (_, bytes) = &log.segments[kept];
    let first = bytes.split(|&b| b == b'\n').find_map(|line| parse(line).ok()).unwrap();
    let time: Timestamp = first.time.parse().unwrap();
    time + SignedDuration::try_from(TERM).unwrap() - SignedDuration::from_millis(1)
}

/// Files of a log and its archive.
pub(super) struct Place {
    parent: TempDir,
}

impl Place {
    pub(super) fn new(log: &Maker) -> Self {
        let parent = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let place = Self { parent };
        fs::create_dir(place.archive()).unwrap();
        place.write(log);
        place
    }
    pub(super) fn dir(&self) -> PathBuf {
        self.parent.path().join("audit")
    }
    pub(super) fn archive(&self) -> PathBuf {
        self.parent.path().join("archive")
    }
    /// What the maker has, in the place of whatever is there.
    pub(super) fn write(&self, log: &Maker) {
        let _ = fs::remove_dir_all(self.dir());
        log.write(&self.dir());
        if let Some(base) = &log.base {
            put(&self.dir().join("base"), base.text().as_bytes());
        }
    }
    pub(super) fn store(&self, disk: Arc<dyn Disk>) -> Store {
        Directory::open(&self.dir(), MIN_SEGMENT, disk).unwrap().store().unwrap()
    }
    pub(super) fn report(&self, trust: Trust) -> Report {
        verify_with(&self.dir(), &trust, &mut |_, _| {}).unwrap()
    }
    pub(super) fn with_archive(&self, trust: Trust) -> Report {
        self.report(trust.with_archive(Some(self.archive())))
    }
    /// Of the archive and the log together.
    pub(super) fn records(&self) -> BTreeMap<u64, Vec<u8>> {
        let mut records = BTreeMap::new();
        for dir in [self.dir(), self.archive()] {
            for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.extension().is_some_and(|extension| extension == "jsonl") {
                    for line in fs::read(entry).unwrap().split(|&b| b == b'\n') {
                        let Ok(record) = parse(line) else { continue };
                        let before = records.insert(record.seq, line.to_vec());
                        assert!(before.is_none_or(|before| before == line), "{} differs", record.seq);
                    }
                }
            }
        }
        records
    }
}

pub(super) fn put(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

pub(super) fn look(log: &Maker, kept: usize) -> Plan {
    let place = Place::new(log);
    plan(&place.dir(), &terms(), when(log, kept)).unwrap()
}

/// Says that what is before this segment goes, and seals that.
pub(super) fn declare(log: &mut Maker, kept: usize, signer: &Signer) -> Going {
    let going = look(log, kept).goes.unwrap();
    log.record(&going.record(None));
    log.seal(signer);
    going
}

/// And takes it away.
pub(super) fn take(log: &mut Maker, going: &Going) {
    log.gone = log.segments.drain(..going.segments.len()).collect();
    log.base = Some(going.base.clone());
}

/// The two hundred without the first three segments, which end in a gap; `first` is the key in force there.
pub(super) fn retained(first: &Signer, second: &Signer) -> Maker {
    let mut log = two_hundred(second, first);
    let going = declare(&mut log, 3, first);
    take(&mut log, &going);
    log.issue(3);
    log.seal(first);
    log
}

/// The first seal that is kept was signed when the log was shorter than what went.
pub(super) fn late(first: &Signer, _: &Signer) -> Maker {
    let mut log = Maker::new();
    log.introduce(first);
    log.seal(first);
    log.issue(3);
    let head = log.head();
    log.issue(3);
    log.begin();
    log.seal_at(first, &head);
    log.issue(2);
    log.seal(first);
    let going = declare(&mut log, 1, first);
    take(&mut log, &going);
    log
}

/// What went ends in records of unknown durability and part of one.
pub(super) fn torn(first: &Signer, _: &Signer) -> Maker {
    let mut log = Maker::new();
    log.introduce(first);
    log.seal(first);
    log.issue(3);
    log.gap(4, 2, true);
    log.issue(2);
    log.seal(first);
    let going = declare(&mut log, 1, first);
    take(&mut log, &going);
    log
}

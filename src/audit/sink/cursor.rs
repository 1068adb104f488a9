//! Reading the log behind a place in it, whatever happens to its segments meanwhile. Blocks.
//!
//! Yields records in the order of their numbers, each once, and never one that is not durable or whose durability nobody
//! knows. Numbers that are missing are never passed over in silence.

use crate::audit::leaves::{self, Unknown};
use crate::audit::line::{Line, Lines};
use crate::audit::segment::{Listed, list};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Records that are looked at in one go.
const MOST: usize = 20_000;

/// A place between two records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of the record before it.
    pub(super) seq: u64,
    /// When that was written, as it says itself; empty where that is not known.
    pub(super) time: String,
    /// Where it is: the first number of its segment, and bytes in that.
    place: Option<(u64, u64)>,
}

impl Position {
    pub(super) fn new(seq: u64, time: String) -> Self {
        Self { seq, time, place: None }
    }
}

/// Numbers without records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    /// The number before them.
    pub(super) after: u64,
    /// The first number after them.
    pub(super) next: u64,
    /// How many of them nobody was told of yet.
    pub(super) count: u64,
    pub(super) why: Why,
}

/// Why there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Segments were removed before they were read.
    Removed,
    /// There are no whole records.
    Damaged,
    /// They are left out on purpose.
    Behind,
}

/// What reading is bound by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Of the records before the last so many none are read.
    pub(super) behind: u64,
    /// What is missing up to this number is known to be.
    pub(super) told: u64,
    /// Up to this number all are read again, however far behind that is: they were sent, and may have arrived.
    pub(super) sent: u64,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Some records, or none; whether there may be more.
    Records { more: bool },
    /// First of all, that records are missing. [`Reader::skip`] goes on after them.
    Gap(Gap),
}

pub(super) struct Reader {
    dir: PathBuf,
    at: Position,
    current: Option<Current>,
    unknown: Unknown,
    /// First number of the last segment whose first record was looked at.
    declared: u64,
}

struct Current {
    first: u64,
    name: String,
    lines: Lines<BufReader<File>>,
}

impl Current {
    fn open(dir: &Path, segment: &Listed) -> io::Result<Self> {
        let lines = Lines::new(BufReader::new(leaves::open(dir, &segment.name)?));
        Ok(Self { first: segment.first, name: segment.name.clone(), lines })
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.lines.reader.seek(SeekFrom::Start(offset))?;
        self.lines.offset = offset;
        Ok(())
    }
}

impl Reader {
    pub(super) fn new(dir: &Path, at: Position) -> Self {
        Self { dir: dir.to_owned(), at, current: None, unknown: Unknown::default(), declared: 0 }
    }

    pub(super) fn at(&self) -> &Position {
        &self.at
    }

    /// Goes to another place.
    pub(super) fn seek(&mut self, at: Position) {
        self.at = at;
        self.current = None;
    }

    /// Goes on after this number.
    pub(super) fn skip(&mut self, seq: u64) {
        self.seek(Position::new(seq, String::new()));
    }

    /// Whether the log can be the one that the place is of.
    pub(super) fn is_its_own(&self, durable: u64) -> io::Result<bool> {
        if self.at.seq > durable {
            return Ok(false);
        }
        let segments = list(&self.dir)?.0;
        let Some(segment) = segments.iter().rev().find(|segment| segment.first <= self.at.seq) else {
            return Ok(true);
        };
        let mut current = Current::open(&self.dir, segment)?;
        while let Some(raw) = current.lines.next()? {
            match seq_of(raw.bytes) {
                Some(seq) if seq < self.at.seq => {}
                Some(seq) if seq > self.at.seq => break,
                _ => {
                    if let Ok(line) = raw.record() {
                        return Ok(self.at.time.is_empty() || line.time == self.at.time);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Gives records up to number `durable` to `take`, until that has enough. `newest` is the segment that was being written
    /// after that number was known, if one was.
    pub(super) fn read(
        &mut self,
        (durable, newest): (u64, &str),
        Bounds { behind, told, sent }: Bounds,
        mut take: impl FnMut(&Line<'_>, &Position) -> ControlFlow<()>,
    ) -> io::Result<Found> {
        let is_too_far = self.at.seq >= sent && durable.saturating_sub(self.at.seq) > behind;
        // While nothing comes after it, everything in it is as it seems.
        let is_in_newest = self.current.as_ref().is_some_and(|current| current.name == newest);
        let segments = if is_in_newest && !is_too_far { Vec::new() } else { self.look(durable)? };
        if is_too_far {
            // With some room, or the next record would be one too many.
            let next = durable - (behind - behind / 8) + 1;
            return Ok(Found::Gap(self.gap(next, told, Why::Behind)));
        }
        let mut looked = 0;
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => match self.begin(&segments)? {
                    Some(current) => self.current.insert(current),
                    None => return Ok(Found::Records { more: false }),
                },
            };
            let offset = current.lines.offset;
            let raw = current.lines.next()?;
            let Some(raw) = raw.filter(|raw| !raw.is_torn()) else {
                // What follows a segment's torn end is in the next one.
                match segments.iter().find(|segment| segment.first > current.first) {
                    Some(next) => *current = Current::open(&self.dir, next)?,
                    None => {
                        current.seek(offset)?;
                        return Ok(Found::Records { more: false });
                    }
                }
                continue;
            };
            if seq_of(raw.bytes).is_some_and(|seq| seq <= self.at.seq) {
                continue;
            }
            let Ok(line) = raw.record() else { continue };
            if line.seq > durable {
                let first = current.first;
                self.back(first, offset)?;
                return Ok(Found::Records { more: false });
            }
            if self.unknown.has(line.seq) {
                continue;
            }
            let skipped = line.seq - self.at.seq - 1;
            if skipped > self.unknown.count_between(self.at.seq, line.seq) {
                let (first, next) = (current.first, line.seq);
                self.back(first, offset)?;
                if looked > 0 {
                    return Ok(Found::Records { more: true });
                }
                let removed = segments.first().is_some_and(|oldest| oldest.first > self.at.seq + 1);
                let why = if removed { Why::Removed } else { Why::Damaged };
                return Ok(Found::Gap(self.gap(next, told, why)));
            }
            looked += 1;
            self.at.seq = line.seq;
            line.time.clone_into(&mut self.at.time);
            self.at.place = Some((current.first, offset + raw.length));
            if take(&line, &self.at).is_break() || looked == MOST {
                return Ok(Found::Records { more: true });
            }
        }
    }

    /// Lists the segments that have durable records, and takes in what their first ones declare.
    fn look(&mut self, durable: u64) -> io::Result<Vec<Listed>> {
        let mut segments = list(&self.dir)?.0;
        segments.retain(|segment| segment.first <= durable);
        for segment in &segments {
            if segment.first <= self.declared {
                continue;
            }
            let mut current = Current::open(&self.dir, segment)?;
            if let Some(raw) = current.lines.next()?
                && let Ok(line) = raw.record()
            {
                self.unknown.declare(&line);
            }
            self.declared = segment.first;
        }
        Ok(segments)
    }

    /// The segment in which to go on.
    fn begin(&self, segments: &[Listed]) -> io::Result<Option<Current>> {
        if let Some((first, offset)) = self.at.place
            && let Some(segment) = segments.iter().find(|segment| segment.first == first)
        {
            let mut current = Current::open(&self.dir, segment)?;
            current.seek(offset)?;
            return Ok(Some(current));
        }
        let before = segments.iter().rev().find(|segment| segment.first <= self.at.seq + 1);
        before.or(segments.first()).map(|segment| Current::open(&self.dir, segment)).transpose()
    }

    /// The line there is read again.
    fn back(&mut self, first: u64, offset: u64) -> io::Result<()> {
        match &mut self.current {
            Some(current) if current.first == first => current.seek(offset),
            _ => Ok(()),
        }
    }

    fn gap(&self, next: u64, told: u64, why: Why) -> Gap {
        let after = self.at.seq.max(told.min(next - 1));
        let count = (next - after - 1).saturating_sub(self.unknown.count_between(after, next));
        Gap { after, next, count, why }
    }
}

/// The number that a line begins with, if it is one. A hint: whether it is a record, its checksum says.
fn seq_of(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(b"{\"seq\":")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

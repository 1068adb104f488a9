//! When the oldest record of a log was written, asked again and again: what was read once is not read again.
//!
//! Never says later than now. Records are as old as they say, not as old as their place: a clock may have been ahead and
//! gone back. A segment is only taken by its first record where that is not later than what comes after it.

use crate::audit::leaves::open;
use crate::audit::line::Lines;
use crate::audit::segment::{Listed, list};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::Path;

/// What is known of a log's segments, by their first numbers.
#[derive(Debug, Default)]
pub(in crate::audit) struct Oldest(BTreeMap<u64, Part>);

/// What was read of a segment.
#[derive(Debug, Default)]
struct Part {
    /// Of its first record.
    first: Option<Timestamp>,
    /// Of those that were read.
    oldest: Option<Timestamp>,
    /// So many bytes were.
    read: u64,
}

impl Oldest {
    /// Of the log in `dir`; `None` if it has no record.
    pub(in crate::audit) fn of(&mut self, dir: &Path, now: Timestamp) -> io::Result<Option<Timestamp>> {
        let listed = list(dir)?.0;
        let mut parts = BTreeMap::new();
        let (mut oldest, mut next) = (None, now);
        for (index, Listed { first, name, .. }) in listed.iter().enumerate().rev() {
            let part = parts.entry(*first).or_insert_with(|| self.0.remove(first).unwrap_or_default());
            part.read(dir, name, false)?;
            if index == 0 || part.first.is_some_and(|first| first > next) {
                part.read(dir, name, true)?;
            }
            next = part.first.unwrap_or(next);
            oldest = oldest.into_iter().chain(part.oldest).min();
        }
        self.0 = parts;
        Ok(oldest.map(|oldest| oldest.min(now)))
    }
}

impl Part {
    /// Reads on: as far as the first record, or all there is.
    fn read(&mut self, dir: &Path, name: &str, all: bool) -> io::Result<()> {
        if !all && self.first.is_some() {
            return Ok(());
        }
        let mut file = open(dir, name)?;
        let start = file.seek(SeekFrom::Start(self.read))?;
        let mut lines = Lines::new(BufReader::new(file));
        while let Some(raw) = lines.next()? {
            // It is being written.
            if raw.is_torn() {
                break;
            }
            self.read = start + raw.offset + raw.length;
            let Ok(line) = raw.record() else { continue };
            // One that cannot be read may be of any time.
            let time = line.time.parse().unwrap_or(Timestamp::MIN);
            self.first.get_or_insert(time);
            self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
            if !all {
                break;
            }
        }
        Ok(())
    }
}

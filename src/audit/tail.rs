//! Reading records in order: the last few, and then those that come. Plain blocking code for the command line.
//!
//! Yields only records whose checksum holds; anything else is an error item, never shown as a record.

use super::leaves;
use super::line::Lines;
use super::segment::list;
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(200);

/// The last records of a log, oldest first, and on request those that follow.
pub struct Tail {
    dir: PathBuf,
    /// Set to end a tail that follows.
    stop: Option<Arc<AtomicBool>>,
    current: Option<Reading>,
    skip: u64,
    /// A failed read is the last item.
    ended: bool,
}

struct Reading {
    first: u64,
    name: String,
    lines: Lines<BufReader<File>>,
}

/// What one look at the current segment gave.
enum Step {
    Record(io::Result<String>),
    /// A line that need not be shown.
    Skipped,
    /// Nothing more now.
    End,
}

impl Tail {
    /// Starts `count` records before the end. Follows if `stop` is given, until that is set.
    ///
    /// # Errors
    /// If the directory or a segment cannot be read.
    pub fn open(dir: &Path, count: u64, stop: Option<Arc<AtomicBool>>) -> io::Result<Self> {
        let (segments, _) = list(dir)?;
        let mut start = None;
        let mut found = 0;
        for segment in segments.iter().rev() {
            if start.is_some() && found >= count {
                break;
            }
            let mut lines = open(dir, &segment.name)?;
            // Not beyond a torn line: a writer may add its rest meanwhile.
            while lines.next()?.is_some_and(|raw| !raw.is_torn()) {
                found += 1;
            }
            start = Some(segment);
        }
        let mut tail = Self {
            dir: dir.to_owned(),
            stop,
            current: None,
            skip: found.saturating_sub(count),
            ended: false,
        };
        if let Some(segment) = start {
            tail.current = Some(Reading::open(dir, segment.first, &segment.name)?);
        }
        Ok(tail)
    }

    /// The next whole line, if one is there.
    fn step(&mut self) -> io::Result<Step> {
        let Some(reading) = &mut self.current else {
            return Ok(Step::End);
        };
        let Some(raw) = reading.lines.next()? else {
            return Ok(Step::End);
        };
        let (offset, torn) = (raw.offset, raw.is_torn());
        if !torn && self.skip > 0 {
            self.skip -= 1;
            return Ok(Step::Skipped);
        }
        if !torn {
            return Ok(Step::Record(match raw.record() {
                Ok(line) => Ok(String::from_utf8_lossy(line.bytes).into_owned()),
                Err(bad) => Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}, byte {offset}: {bad}", reading.name),
                )),
            }));
        }
        // Being written: read again from its start, where a recovery may also cut.
        reading.lines.offset = offset;
        reading.lines.reader.seek(SeekFrom::Start(offset))?;
        Ok(Step::End)
    }

    /// Goes on to the next segment, if there is one. A segment with a successor is not written any more.
    fn advance(&mut self) -> io::Result<bool> {
        let after = self.current.as_ref().map(|r| r.first);
        let (segments, _) = list(&self.dir)?;
        let Some(next) = segments.into_iter().find(|s| Some(s.first) > after) else {
            return Ok(false);
        };
        self.current = Some(Reading::open(&self.dir, next.first, &next.name)?);
        Ok(true)
    }

    fn poll(&mut self) -> io::Result<Option<io::Result<String>>> {
        loop {
            match self.step()? {
                Step::Record(record) => return Ok(Some(record)),
                Step::Skipped => continue,
                Step::End => {}
            }
            // Listed first, read to the end after: what was written in between is not lost.
            let after = self.current.as_ref().map(|r| r.first);
            let more = list(&self.dir)?.0.iter().any(|s| Some(s.first) > after);
            match self.step()? {
                Step::Record(record) => return Ok(Some(record)),
                Step::Skipped => continue,
                Step::End if more && self.advance()? => continue,
                Step::End => {}
            }
            match &self.stop {
                Some(stop) if !stop.load(Ordering::Relaxed) => std::thread::sleep(POLL),
                _ => return Ok(None),
            }
        }
    }
}

impl Iterator for Tail {
    type Item = io::Result<String>;

    /// The next record without its LF. Blocks while following; `None` at the end or once stopped. A line that is no
    /// record is an error of kind `InvalidData`, after which it goes on; any other error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.poll().unwrap_or_else(|error| {
            self.ended = true;
            Some(Err(error))
        })
    }
}

impl Reading {
    fn open(dir: &Path, first: u64, name: &str) -> io::Result<Self> {
        Ok(Self { first, name: name.to_owned(), lines: open(dir, name)? })
    }
}

fn open(dir: &Path, name: &str) -> io::Result<Lines<BufReader<File>>> {
    Ok(Lines::new(BufReader::new(leaves::open(dir, name)?)))
}

//! Recovery at open: where the log ends, and what a crash left after its last valid record.
//!
//! Drops nothing but bytes after the last valid record, and that only once the log is taken; reads no more than the newest
//! segments' ends need, and goes by what is on the disk, not by what is still in memory of it.

use super::base::{BASE, Base};
use super::line::{Line, Lines, MAX_LINE, parse};
use super::open::OpenError;
use super::segment::{Directory, Listed, list};
use super::writer::BATCH;
use super::{Entry, Event, Outcome};
use crate::jose::hex;
use aws_lc_rs::digest;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// How much of a segment's end is looked at before all of it is read: more than the writer ever writes at once.
const WINDOW: usize = BATCH + 2 * MAX_LINE;

/// Where the log goes on.
pub(super) struct Recovered {
    /// Sequence number of the next record.
    pub(super) next: u64,
    /// What the new segment must say first.
    pub(super) entries: Vec<Entry>,
    /// What that declares to be of unknown durability: numbers after the first of these and before the second.
    pub(super) unknown: Option<(u64, u64)>,
    /// Segments, newest first, and where each ends; those without any record are to go.
    ends: Vec<(String, Option<u64>)>,
}

/// Finds the last valid record, newest segment first. If a power loss spoiled what stood before it in its own write, a
/// `log.resumed` says from where on durability is unknown. Changes nothing: that does [`Recovered::carry_out`].
pub(super) fn recover(directory: &Directory) -> Result<Recovered, OpenError> {
    let fail = |what, name: &str| {
        let path = directory.path().join(name);
        move |source| OpenError::Io { what, path, source }
    };
    let (segments, _) = list(directory.path()).map_err(fail("list", ""))?;
    let base = Base::read(directory.path()).map_err(fail("read", BASE))?;
    let next = base.and_then(Result::ok).map_or(1, |base| base.after.saturating_add(1));
    let mut recovered = Recovered { next, entries: Vec::new(), unknown: None, ends: Vec::new() };
    // The segment that holds the last record, if that record stands behind a spoiled place.
    let mut spoiled = None;
    for Listed { first, name, .. } in segments.into_iter().rev() {
        let mut file = directory.open_segment(&name)?;
        directory.settle(&file).map_err(fail("sync", &name))?;
        let size = file.metadata().map_err(fail("check", &name))?.len();
        let found = find_end(&file, size).map_err(fail("read", &name))?;
        let end = found.as_ref().map_or(0, |found| found.end);
        if end < size {
            let sha256 = sha256_from(&mut file, end).map_err(fail("read", &name))?;
            recovered.entries.insert(
                0,
                Entry {
                    segment: Some(name.clone()),
                    dropped: Some(size - end),
                    sha256: Some(sha256),
                    ..Entry::new(Event::LogRecovered, Outcome::Success)
                },
            );
        }
        recovered.ends.push((name.clone(), found.as_ref().map(|found| found.end)));
        let Some(End { last, before, durable, .. }) = found else { continue };
        let next = last.checked_add(1).filter(|_| last >= first).ok_or_else(|| {
            let problem = format!("its last record is {last}, before the number in its name");
            OpenError::Corrupt { path: directory.path().join(&name), problem }
        })?;
        recovered.next = recovered.next.max(next);
        if !matches!(before, Before::Whole) {
            spoiled.get_or_insert((name, durable));
        }
        match before {
            Before::Whole => recovered.declare(spoiled.take(), last),
            Before::Spoiled(after) => recovered.declare(spoiled.take(), after),
            Before::Begins => continue,
        }
        break;
    }
    recovered.declare(spoiled, 0);
    Ok(recovered)
}

impl Recovered {
    /// Removes the segments without any record, cuts those after the last one, and syncs.
    pub(super) fn carry_out(&self, directory: &Directory) -> Result<(), OpenError> {
        let fail = |what, name: &str| {
            let path = directory.path().join(name);
            move |source| OpenError::Io { what, path, source }
        };
        for Entry { segment, dropped, sha256, .. } in &self.entries {
            if let Some(dropped) = dropped {
                tracing::warn!(segment, dropped, sha256, "Torn end of the audit log dropped");
            }
        }
        for (name, end) in &self.ends {
            match end {
                Some(end) => {
                    let file = directory.open_segment(name)?;
                    directory.cut(&file, *end).map_err(fail("cut the end of", name))?;
                }
                None => directory.remove(name).map_err(fail("remove the empty", name))?,
            }
        }
        directory.sync().map_err(fail("sync", ""))
    }

    /// Nothing after record `after` was acknowledged, and some of it is lost; unless what is left says that more was.
    fn declare(&mut self, spoiled: Option<(String, u64)>, after: u64) {
        let Some((segment, _)) = spoiled.filter(|(_, durable)| *durable <= after) else { return };
        let unknown = self.next - 1 - after;
        self.unknown = Some((after, self.next));
        tracing::warn!(segment, after, unknown, "Power loss spoiled the end of the audit log");
        self.entries.insert(
            0,
            Entry {
                segment: Some(segment),
                rules: vec!["segment-spoiled"],
                after: Some(after),
                unknown: Some(unknown),
                ..Entry::new(Event::LogResumed, Outcome::Success)
            },
        );
    }
}

/// The last valid line of a segment.
struct End {
    /// Where it ends.
    end: u64,
    /// Its number.
    last: u64,
    before: Before,
    /// The highest number that it, or a line written together with it, says was durable before.
    durable: u64,
}

/// What stands before the last valid line in what was written together with it.
enum Before {
    /// Valid lines only.
    Whole,
    /// Spoiled places too; before the first of them is this record.
    Spoiled(u64),
    /// The same, from the start of the segment.
    Begins,
}

/// Lines that were written together: those of one write have one time.
struct Together {
    end: End,
    time: String,
    /// The first that is known.
    first: u64,
    /// The bytes before the first that is known are no record.
    torn: bool,
}

fn find_end(file: &File, size: u64) -> io::Result<Option<End>> {
    let start = size.saturating_sub(WINDOW as u64);
    let mut window = vec![0; usize::try_from(size - start).unwrap_or(WINDOW)];
    file.read_exact_at(&mut window, start)?;
    let mut rest = window.as_slice();
    let mut found: Option<Together> = None;
    while let Some(end) = rest.iter().rposition(|&b| b == b'\n') {
        let (before, _) = rest.split_at(end);
        let begin = before.iter().rposition(|&b| b == b'\n').map(|lf| lf + 1);
        // The window's first line counts only if it is the file's first.
        let Some(begin) = begin.or((start == 0).then_some(0)) else {
            break;
        };
        let line = parse(before.get(begin..).unwrap_or_default()).ok();
        match (&mut found, line) {
            (None, Some(line)) => found = Some(Together::new(&line, start + end as u64 + 1)),
            (Some(found), line) => {
                if !found.precede(line.as_ref()) {
                    break;
                }
            }
            (None, None) => {}
        }
        rest = before;
    }
    match found {
        Some(mut found) => {
            // What is larger than a write is no write's doing.
            if found.torn && start == 0 {
                found.end.before = Before::Begins;
            }
            Ok(Some(found.end))
        }
        None if start == 0 => Ok(None),
        None => last_valid_of_all(file),
    }
}

impl Together {
    fn new(line: &Line, end: u64) -> Self {
        Self {
            end: End { end, last: line.seq, before: Before::Whole, durable: line.after.unwrap_or(0) },
            time: line.time.to_owned(),
            first: line.seq,
            torn: false,
        }
    }

    /// Takes what stands before the first line that is known; false when that was written earlier.
    fn precede(&mut self, line: Option<&Line>) -> bool {
        let Some(line) = line else {
            self.torn = true;
            return true;
        };
        // Otherwise it is damage, which is not to be passed off as a power loss.
        let lost = line.seq.checked_add(1).is_some_and(|next| next < self.first);
        if std::mem::take(&mut self.torn) && lost && self.end.durable <= line.seq {
            self.end.before = Before::Spoiled(line.seq);
        }
        self.first = line.seq;
        self.end.durable = self.end.durable.max(line.after.unwrap_or(0));
        line.time == self.time
    }
}

fn last_valid_of_all(mut file: &File) -> io::Result<Option<End>> {
    file.seek(SeekFrom::Start(0))?;
    let mut lines = Lines::new(BufReader::with_capacity(WINDOW, file));
    let mut found = None;
    while let Some(raw) = lines.next()? {
        if let Ok(line) = raw.record() {
            found =
                Some(End { end: raw.offset + raw.length, last: line.seq, before: Before::Whole, durable: 0 });
        }
    }
    Ok(found)
}

fn sha256_from(file: &mut File, start: u64) -> io::Result<String> {
    file.seek(SeekFrom::Start(start))?;
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; MAX_LINE];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(buffer.get(..n).unwrap_or_default());
    }
    Ok(hex(hash.finish().as_ref()))
}

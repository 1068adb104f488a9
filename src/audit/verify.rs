//! Checking a log: structure, checksums, sequence, and the seals against the tree of its records. Reads only, in bounded
//! memory, also while a daemon writes.
//!
//! Without a key it finds damage, and any change that leaves a checksum, the sequence or a seal wrong. With the key that
//! seals the log it finds every change of a record that a seal covers; with a checkpoint that somebody else kept, also
//! that the end was cut off.

mod cosigns;
mod report;
mod seals;
pub(super) mod statement;
mod trust;
mod vouched;

#[cfg(test)]
mod tests;

pub use cosigns::Cosigned;
pub use report::{
    Accepted, Begins, Checkpoints, Epoch, Error, Gap, Late, OpenTail, Problem, Report, Sealing,
};
pub use trust::Trust;
pub use vouched::Vouched;

use super::base::{BASE, Base};
use super::leaves::{Segments, Unknown, declared};
use super::line::{BadLine, Line, Lines, Raw};
use super::prove::segment::Start;
use super::segment::Listed;
use super::tree::Tree;
use seals::Seals;
use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes between two calls of `progress`.
const STEP: u64 = 4 * 1024 * 1024;
/// Bad lines before a `log.resumed` that are kept to be told.
const LISTED: usize = 1000;

/// Reads all segments that are there now, without any key. `progress` gets bytes done and bytes in all.
///
/// # Errors
/// [`Error`] only if something cannot be read; whatever is wrong with the content is in the report.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, Error> {
    verify_with(dir, &Trust::default(), progress)
}

/// The same, going by these keys and checkpoints. Checkpoints of a log that is being written must have been read before.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(dir: &Path, trust: &Trust, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, Error> {
    let base = || Base::read(dir).ok();
    loop {
        let before = base();
        match read_all(dir, trust, progress) {
            // The daemon took away what it read.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound && base() != before => {}
            done => return done,
        }
    }
}

fn read_all(dir: &Path, trust: &Trust, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, Error> {
    let fail = |name: &str| {
        let path = if name.is_empty() { dir.to_owned() } else { dir.join(name) };
        move |source| Error { path, source }
    };
    let segments =
        Segments::open(dir, trust.archive.as_deref()).map_err(|(name, source)| fail(&name)(source))?;
    let total = segments.listed.iter().map(|s| s.size).sum();
    let mut check = Check::new(trust, &segments.unknown);
    let metadata = dir.metadata().map_err(fail(""))?;
    check.mode("", metadata.mode());
    if let Some(base) = &segments.base {
        check.begin(base, trust.archive.as_ref().map(|_| segments.archived() as u64));
    }
    if let Some(what) = segments.baseless {
        check.file_problem(BASE, what.to_owned());
    }
    for name in &segments.strange {
        check.file_problem(name, "not a segment: no regular file named by twenty digits".to_owned());
    }
    let newest = segments.listed.len().saturating_sub(1);
    for (index, segment) in segments.listed.iter().enumerate() {
        let name = &segment.name;
        let file = segments.file(index).map_err(fail(name))?;
        // An archive is kept wherever and however its keeper likes.
        if index >= segments.archived() {
            check.file(segment, &file).map_err(fail(name))?;
        }
        let reader = segments.read(file, index == newest);
        check
            .segment(reader, segment, index == newest, &mut |done| progress(done, total))
            .map_err(fail(name))?;
    }
    let report = check.finish();
    progress(report.bytes, total);
    Ok(report)
}

/// Reads one segment that is not the last, as far as it can be judged by itself; also the tree over it.
pub(super) fn alone(
    reader: impl BufRead,
    segment: &Listed,
    unknown: &Unknown,
    start: Start,
) -> io::Result<(Report, Tree)> {
    let trust = Trust::default();
    let mut check = Check::new(&trust, unknown);
    check.report.last = start.after;
    check.seals.begin(start.after, start.tree);
    check.segment(reader, segment, false, &mut |_| {})?;
    if unknown.excuses_what_follows(check.report.last) {
        check.doubtful.clear();
        check.doubtful_count = 0;
    }
    let tree = check.seals.clone().whole();
    Ok((check.finish(), tree))
}

/// All that has to be known to judge the next line.
#[derive(Clone)]
struct Check<'a> {
    report: Report,
    /// Bad lines since the last record. A failed disk's doing if the next segment says so.
    doubtful: Vec<Problem>,
    doubtful_count: u64,
    unknown: &'a Unknown,
    /// Numbers of the range at hand that are not in the log.
    missing: u64,
    seals: Seals<'a>,
}

impl<'a> Check<'a> {
    fn new(trust: &'a Trust, unknown: &'a Unknown) -> Self {
        let (report, doubtful) = (Report::default(), Vec::new());
        Self { report, doubtful, doubtful_count: 0, unknown, missing: 0, seals: Seals::new(trust) }
    }

    /// The log begins there; what was before is read too if it is in the archive, which has so many segments.
    fn begin(&mut self, base: &Base, archived: Option<u64>) {
        let (after, size) = (base.after, base.tree.size());
        self.report.begins = Some(Begins { after, size, archived });
        if archived.is_none() {
            self.report.last = after;
            self.seals.begin(after, base.tree.clone());
        }
        self.seals.expect(base);
    }

    /// What a file is, apart from its content.
    fn file(&mut self, segment: &Listed, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        self.mode(&segment.name, metadata.mode());
        if metadata.nlink() > 1 {
            self.file_problem(&segment.name, "has more than one name".to_owned());
        }
        Ok(())
    }

    fn segment(
        &mut self,
        reader: impl BufRead,
        segment: &Listed,
        newest: bool,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        self.report.segments += 1;
        let before = self.report.bytes;
        let mut lines = Lines::new(reader);
        let mut shown = 0;
        while let Some(raw) = lines.next()? {
            self.line(&raw, segment, newest);
            // A writer may add the rest meanwhile, which is no line of its own.
            if raw.is_torn() {
                break;
            }
            let done = raw.offset + raw.length;
            if done - shown >= STEP {
                shown = done;
                progress(before + done);
            }
        }
        if lines.offset == 0 && !newest {
            self.doubt(Problem {
                segment: segment.name.clone(),
                line: 0,
                offset: 0,
                what: "is empty".to_owned(),
            });
        }
        self.report.bytes = before + lines.offset;
        progress(self.report.bytes);
        Ok(())
    }

    fn line(&mut self, raw: &Raw<'_>, segment: &Listed, newest: bool) {
        let at = |what: String| Problem {
            segment: segment.name.clone(),
            line: raw.number,
            offset: raw.offset,
            what,
        };
        match raw.record() {
            Ok(line) => {
                self.record(&line, segment, raw.number == 1, &at);
                if self.unknown.has(line.seq) {
                    self.report.unvouched += 1;
                } else {
                    for what in self.seals.leaf(&line) {
                        self.report.add(at(what));
                    }
                }
            }
            Err(BadLine::Torn) if newest => {
                self.report.open_tail =
                    Some(OpenTail { segment: segment.name.clone(), offset: raw.offset, bytes: raw.length });
            }
            Err(bad) => self.doubt(at(bad.to_string())),
        }
    }

    /// What is left to say once all is read.
    fn finish(mut self) -> Report {
        self.flush();
        let (sealing, checkpoints, problems) = self.seals.clone().finish();
        (self.report.sealing, self.report.checkpoints) = (sealing, checkpoints);
        for what in problems {
            self.file_problem("", what);
        }
        self.report
    }

    fn record(&mut self, line: &Line, segment: &Listed, first: bool, at: &dyn Fn(String) -> Problem) {
        let last = self.report.last;
        // Between the last record and this one durability is unknown: a failed disk's doing, or a power loss's.
        if self.unknown.excuses(last, line.seq) {
            self.doubtful.clear();
            self.doubtful_count = 0;
            self.missing += line.seq.saturating_sub(last + 1);
        } else {
            self.flush();
            if line.seq > last + 1 {
                let (from, to) = (last + 1, line.seq - 1);
                self.report.add(at(format!("records {from} to {to} are missing before this one")));
            }
        }
        if let Some((after, unknown)) = declared(line).filter(|&(after, _)| first && after <= last) {
            self.report.gaps.push(Gap {
                segment: segment.name.clone(),
                after,
                unknown,
                missing: std::mem::take(&mut self.missing),
            });
        }
        if first && line.seq != segment.first {
            self.report
                .add(at(format!("first record is {}, the file's name says {}", line.seq, segment.first)));
        }
        if line.seq <= last {
            self.report.add(at(format!("record {} after {last}: repeated or out of order", line.seq)));
        }
        if self.report.records == 0 {
            self.report.first = line.seq;
        }
        self.report.records += 1;
        self.report.last = last.max(line.seq);
    }

    fn doubt(&mut self, problem: Problem) {
        self.doubtful_count += 1;
        if self.doubtful.len() < LISTED {
            self.doubtful.push(problem);
        }
    }

    /// What was in doubt is wrong.
    fn flush(&mut self) {
        self.report.problem_count += self.doubtful_count - self.doubtful.len() as u64;
        self.doubtful_count = 0;
        for problem in std::mem::take(&mut self.doubtful) {
            self.report.add(problem);
        }
    }

    fn mode(&mut self, name: &str, mode: u32) {
        if mode & 0o077 != 0 {
            let mode = mode & 0o7777;
            self.file_problem(
                name,
                format!("mode {mode:04o} lets others in: take group and other rights away"),
            );
        }
    }

    fn file_problem(&mut self, name: &str, what: String) {
        self.report.add(Problem { segment: name.to_owned(), line: 0, offset: 0, what });
    }
}

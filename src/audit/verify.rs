//! Checking a log: structure, checksums, sequence. Reads only, in bounded memory, also while a daemon writes.
//!
//! Finds damage, and any change that leaves the sequence or a checksum wrong. It cannot find a forger who rewrites
//! everything, or a cut at the very end: that takes a signed checkpoint.

use super::line::{BadLine, Line, Lines};
use super::segment::{Listed, list};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Problems listed in full; the rest is only counted.
const LISTED: usize = 1000;
/// Bytes between two calls of `progress`.
const STEP: u64 = 4 * 1024 * 1024;

/// The log could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}", path = .path.display())]
pub struct Error {
    /// File or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Valid records.
    pub records: u64,
    /// Sequence number of the first; 0 if there is none.
    pub first: u64,
    /// Highest sequence number; 0 if there is none.
    pub last: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Faults of the disk that the log itself declares.
    pub gaps: Vec<Gap>,
    /// The newest segment ends in part of a line: a record being written, or what a crash left.
    pub open_tail: Option<OpenTail>,
    /// What is wrong, the first thousand. Empty: the log is sound.
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub problem_count: u64,
}

/// A `log.resumed`: numbers that were used up by a failing disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The segment that begins with the declaration.
    pub segment: String,
    /// Last record acknowledged before the fault.
    pub after: u64,
    /// Numbers after it whose durability was unknown.
    pub unknown: u64,
    /// How many of those are not in the log.
    pub missing: u64,
}

/// Part of a line at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenTail {
    /// The newest segment.
    pub segment: String,
    /// Where the part begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File name; empty for the directory.
    pub segment: String,
    /// Line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// Byte offset of the line.
    pub offset: u64,
    /// What is wrong, one sentence.
    pub what: String,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problem_count == 0
    }

    fn add(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }
}

/// Reads all segments that are there now. `progress` gets bytes done and bytes in all.
///
/// # Errors
/// [`Error`] only if something cannot be read; whatever is wrong with the content is in the report.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, Error> {
    let fail = |path: PathBuf| move |source| Error { path, source };
    let (segments, strange) = list(dir).map_err(fail(dir.to_owned()))?;
    let total = segments.iter().map(|s| s.size).sum();
    let mut check = Check::default();
    let metadata = dir.metadata().map_err(fail(dir.to_owned()))?;
    check.mode("", metadata.mode());
    for name in strange {
        check.file_problem(&name, "not a segment: no regular file named by twenty digits".to_owned());
    }
    let newest = segments.len().saturating_sub(1);
    for segment in &segments {
        let path = dir.join(&segment.name);
        check.unknown.extend(declared(&path).map_err(fail(path))?);
    }
    for (index, segment) in segments.iter().enumerate() {
        let path = dir.join(&segment.name);
        check
            .segment(&path, segment, index == newest, &mut |done| progress(done, total))
            .map_err(fail(path))?;
    }
    check.flush();
    progress(check.report.bytes, total);
    Ok(check.report)
}

#[derive(Default)]
struct Check {
    report: Report,
    /// Bad lines since the last record. A failed disk's doing if the next segment says so.
    doubtful: Vec<Problem>,
    doubtful_count: u64,
    /// What the `log.resumed` at the start of each segment says: `after`, and its own number.
    unknown: Vec<(u64, u64)>,
    /// Numbers of the range at hand that are not in the log.
    missing: u64,
}

/// The range of numbers of unknown durability that a segment's first record declares.
fn declared(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let mut lines = Lines::new(BufReader::new(open(path)?));
    let Some(raw) = lines.next()? else { return Ok(None) };
    Ok(raw.record().ok().and_then(|line| range(&line)))
}

fn range(line: &Line) -> Option<(u64, u64)> {
    let (after, unknown) = (line.after?, line.unknown?);
    let fits = line.event == "log.resumed" && after.checked_add(unknown) == line.seq.checked_sub(1);
    fits.then_some((after, line.seq))
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)
}

impl Check {
    fn segment(
        &mut self,
        path: &Path,
        segment: &Listed,
        newest: bool,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        self.mode(&segment.name, metadata.mode());
        if metadata.nlink() > 1 {
            self.file_problem(&segment.name, "has more than one name".to_owned());
        }
        self.report.segments += 1;
        let before = self.report.bytes;
        let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, file));
        let mut shown = 0;
        while let Some(raw) = lines.next()? {
            let at = |what: String| Problem {
                segment: segment.name.clone(),
                line: raw.number,
                offset: raw.offset,
                what,
            };
            match raw.record() {
                Ok(line) => self.record(&line, segment, raw.number == 1, &at),
                Err(BadLine::Torn) if newest => {
                    self.report.open_tail = Some(OpenTail {
                        segment: segment.name.clone(),
                        offset: raw.offset,
                        bytes: raw.length,
                    });
                    // A writer may add the rest meanwhile, which is no line of its own.
                    break;
                }
                Err(bad) => self.doubt(at(bad.to_string())),
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

    fn record(&mut self, line: &Line, segment: &Listed, first: bool, at: &dyn Fn(String) -> Problem) {
        let last = self.report.last;
        let gap = range(line).filter(|&(after, _)| first && after <= last);
        // Between the last record and this one durability is unknown.
        let excused = |&(after, seq): &(u64, u64)| after <= last && last < line.seq && line.seq <= seq;
        if self.unknown.iter().any(excused) {
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
        if let Some((after, seq)) = gap {
            self.report.gaps.push(Gap {
                segment: segment.name.clone(),
                after,
                unknown: seq - 1 - after,
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

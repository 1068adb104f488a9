//! Which records are leaves of the tree, and their order. Reads only.
//!
//! Every valid record is a leaf, but for those whose numbers a `log.resumed` declares to be of unknown durability: the
//! writer does not know whether they are on the disk, so nobody seals them.

use super::base::Base;
use super::line::{Line, Lines};
use super::segment::{Listed, list, list_all};
use super::tree::Tree;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How much of a segment is read at once.
const BLOCK: usize = 256 * 1024;

/// Numbers of unknown durability, as `log.resumed` declares them: the last number before them, and the one after them.
/// In order; a later declaration takes in those that lie in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Unknown(Vec<(u64, u64)>);

impl Unknown {
    /// Takes in what the first record of a segment declares.
    pub(super) fn declare(&mut self, first: &Line<'_>) {
        if let Some((after, _)) = declared(first) {
            self.add(after, first.seq);
        }
    }

    /// Numbers after the first of these and before the second, later than all that are known.
    pub(super) fn add(&mut self, after: u64, resumed: u64) {
        while self.0.pop_if(|(before, _)| *before >= after).is_some() {}
        self.0.push((after, resumed));
    }

    /// Whether anything may stand, or be missing, between records of these numbers: nothing else is known to have been
    /// on the disk there.
    pub(super) fn excuses(&self, last: u64, next: u64) -> bool {
        last < next && self.0.iter().any(|&(after, resumed)| after <= last && next <= resumed)
    }

    /// Ranges that have to do with numbers from the first of these on and before the second.
    pub(super) fn between(&self, first: u64, next: u64) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied().filter(move |&(after, resumed)| after + 1 < next && first <= resumed)
    }

    /// Whether what stands after this record, up to the next, may be anything.
    pub(super) fn excuses_what_follows(&self, last: u64) -> bool {
        self.0.iter().any(|&(after, resumed)| after <= last && last < resumed)
    }

    /// How many numbers between these two are of unknown durability.
    pub(super) fn count_between(&self, last: u64, next: u64) -> u64 {
        let within = |&(after, resumed): &(u64, u64)| {
            resumed.min(next).saturating_sub(after.max(last)).saturating_sub(1)
        };
        self.0.iter().map(within).sum()
    }

    /// Whether the record of this number is no leaf.
    pub(super) fn has(&self, seq: u64) -> bool {
        let at = self.0.partition_point(|&(_, resumed)| resumed <= seq);
        self.0.get(at).is_some_and(|&(after, _)| after < seq)
    }
}

/// What a `log.resumed` says, if its numbers fit its own: the last acknowledged number, and how many are unknown.
pub(super) fn declared(line: &Line<'_>) -> Option<(u64, u64)> {
    let (after, unknown) = (line.after?, line.unknown?);
    let fits = line.event == "log.resumed" && after.checked_add(unknown) == line.seq.checked_sub(1);
    fits.then_some((after, unknown))
}

/// A log's segments as they were at one moment, and what their first records declare.
pub(super) struct Segments {
    pub(super) listed: Vec<Listed>,
    /// `.jsonl` files that are no segments.
    pub(super) strange: Vec<String>,
    pub(super) unknown: Unknown,
    /// Where the log begins, if it says so.
    pub(super) base: Option<Base>,
    /// What is wrong with what says so.
    pub(super) baseless: Option<&'static str>,
    dir: PathBuf,
    /// Where what was before is, and how many of the segments are from there.
    archive: Option<(PathBuf, usize)>,
    /// The newest one's bytes, if it had no whole line yet. What it says later would have to be known beforehand.
    beginning: Option<Vec<u8>>,
}

impl Segments {
    /// Reads the first line of every segment. With an archive, also of those that are there and not here.
    pub(super) fn open(dir: &Path, archive: Option<&Path>) -> Result<Self, (String, io::Error)> {
        let failed = |e| (String::new(), e);
        let base = Base::read(dir).map_err(failed)?;
        let (mut listed, strange) = list(dir).map_err(failed)?;
        let archive = match archive {
            Some(archive) => {
                let first = listed.first().map_or(u64::MAX, |segment| segment.first);
                let (mut older, _) = list_all(archive).map_err(failed)?;
                older.retain(|segment| segment.first < first);
                let count = older.len();
                listed.splice(0..0, older);
                Some((archive.to_owned(), count))
            }
            None => None,
        };
        let (base, baseless) = base.map_or((None, None), |base| match base {
            Ok(base) => (Some(base), None),
            Err(what) => (None, Some(what)),
        });
        let (dir, unknown) = (dir.to_owned(), Unknown::default());
        let mut segments = Self { listed, strange, unknown, base, baseless, dir, archive, beginning: None };
        for (index, Listed { name, .. }) in segments.listed.iter().enumerate() {
            let fail = |e| (name.clone(), e);
            let mut lines = Lines::new(BufReader::new(segments.file(index).map_err(fail)?));
            let raw = lines.next().map_err(fail)?;
            segments.beginning = match raw {
                Some(raw) if raw.is_torn() => Some(raw.bytes.to_vec()),
                None => Some(Vec::new()),
                Some(raw) => {
                    if let Ok(line) = raw.record() {
                        segments.unknown.declare(&line);
                    }
                    None
                }
            };
        }
        Ok(segments)
    }

    /// Where reading begins: with what is before the log's beginning, or with its first record.
    pub(super) fn start(&self) -> Option<&Base> {
        self.base.as_ref().filter(|_| self.archive.is_none())
    }

    /// The tree before the first leaf that is read.
    pub(super) fn tree(&self) -> Tree {
        self.start().map(|base| base.tree.clone()).unwrap_or_default()
    }

    /// How many of the segments are in the archive.
    pub(super) fn archived(&self) -> usize {
        self.archive.as_ref().map_or(0, |(_, count)| *count)
    }

    /// Opens one of them.
    pub(super) fn file(&self, index: usize) -> io::Result<File> {
        let Some(Listed { name, .. }) = self.listed.get(index) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        match &self.archive {
            Some((archive, count)) if index < *count => open(archive, name),
            _ => open(&self.dir, name),
        }
    }

    /// A segment's content.
    pub(super) fn read(&self, file: File, newest: bool) -> Box<dyn BufRead + '_> {
        match &self.beginning {
            Some(bytes) if newest => Box::new(Cursor::new(bytes)),
            _ => Box::new(BufReader::with_capacity(BLOCK, file)),
        }
    }

    /// All leaves in order, from a segment on, until `visit` has what it looks for. What is no record is passed over: that is for
    /// [`verify`](super::verify) to tell.
    pub(super) fn leaves(
        &self,
        from: usize,
        mut visit: impl FnMut(&Line<'_>) -> ControlFlow<()>,
    ) -> Result<(), (String, io::Error)> {
        for (index, Listed { name, .. }) in self.listed.iter().enumerate().skip(from) {
            let fail = |e| (name.clone(), e);
            let newest = index + 1 == self.listed.len();
            let mut lines = Lines::new(self.read(self.file(index).map_err(fail)?, newest));
            while let Some(raw) = lines.next().map_err(fail)? {
                if let Ok(line) = raw.record()
                    && !self.unknown.has(line.seq)
                    && visit(&line).is_break()
                {
                    return Ok(());
                }
                // What follows a torn line is its rest, if a writer adds that meanwhile.
                if raw.is_torn() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Opens a segment, never through a link and never waiting.
pub(super) fn open(dir: &Path, name: &str) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    File::options().read(true).custom_flags(flags).open(dir.join(name))
}

/// A file of at most this many bytes.
///
/// # Errors
/// If it cannot be read, is larger or is not UTF-8.
pub fn read_limited(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if read as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")));
    }
    Ok(text)
}

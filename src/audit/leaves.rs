//! Which records are leaves of the tree, and their order. Reads only.
//!
//! Every valid record is a leaf, but for those whose numbers a `log.resumed` declares to be of unknown durability: the
//! writer does not know whether they are on the disk, so nobody seals them.

use super::line::{Line, Lines};
use super::segment::{Listed, list};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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

    /// How many numbers between these two are of unknown durability.
    pub(super) fn between(&self, last: u64, next: u64) -> u64 {
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
    /// The newest one's bytes, if it had no whole line yet. What it says later would have to be known beforehand.
    beginning: Option<Vec<u8>>,
}

impl Segments {
    /// Reads the first line of every segment.
    pub(super) fn open(dir: &Path) -> Result<Self, (String, io::Error)> {
        let (listed, strange) = list(dir).map_err(|e| (String::new(), e))?;
        let mut segments = Self { listed, strange, unknown: Unknown::default(), beginning: None };
        for Listed { name, .. } in &segments.listed {
            let fail = |e| (name.clone(), e);
            let mut lines = Lines::new(BufReader::new(open(dir, name).map_err(fail)?));
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

    /// A segment's content.
    pub(super) fn read(&self, file: File, newest: bool) -> Box<dyn BufRead + '_> {
        match &self.beginning {
            Some(bytes) if newest => Box::new(Cursor::new(bytes)),
            _ => Box::new(BufReader::with_capacity(BLOCK, file)),
        }
    }

    /// All leaves in order, until `visit` has what it looks for. What is no record is passed over: that is for
    /// [`verify`](super::verify) to tell.
    pub(super) fn leaves(
        &self,
        dir: &Path,
        mut visit: impl FnMut(&Line<'_>) -> ControlFlow<()>,
    ) -> Result<(), (String, io::Error)> {
        for (index, Listed { name, .. }) in self.listed.iter().enumerate() {
            let fail = |e| (name.clone(), e);
            let newest = index + 1 == self.listed.len();
            let mut lines = Lines::new(self.read(open(dir, name).map_err(fail)?, newest));
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

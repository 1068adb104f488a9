//! Records that are on disk already, from the end backwards or from a place on: only as many as are needed are read.
//!
//! Never writes, and holds one line and one block at a time, whatever the files hold.

use super::base::{BASE, Base};
use super::leaves::{self, Unknown};
use super::line::{Line, Lines, MAX_LINE};
use super::open::OpenError;
use super::segment::{Listed, list};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::ops::ControlFlow::{self, Break};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at once.
const BLOCK: usize = 256 * 1024;

/// Opens a segment by its name.
type Open<'a> = dyn Fn(&str) -> Result<File, OpenError> + 'a;

/// A log's segments as they are now.
pub(super) struct History<'a> {
    dir: &'a Path,
    open: Box<Open<'a>>,
    segments: Vec<Listed>,
    /// Numbers whose records are no leaves.
    unknown: Unknown,
    /// Where the log begins.
    base: Option<Base>,
}

/// Where a line ends and the next one begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    segment: usize,
    offset: u64,
}

impl<'a> History<'a> {
    /// What is in `dir` now; `open` opens one of its segments.
    pub(super) fn new(
        dir: &'a Path,
        open: impl Fn(&str) -> Result<File, OpenError> + 'a,
    ) -> Result<Self, OpenError> {
        let base = Base::read(dir).map_err(failed("read", dir.join(BASE)))?.transpose();
        let corrupt = |what: &str| OpenError::Corrupt { path: dir.join(BASE), problem: what.to_owned() };
        let base = base.map_err(corrupt)?;
        let segments = list(dir).map_err(failed("list", dir.to_owned()))?.0;
        let mut unknown = Unknown::default();
        for Listed { name, .. } in &segments {
            let mut lines = Lines::new(BufReader::with_capacity(MAX_LINE, open(name)?));
            let first = lines.next().map_err(failed("read", dir.join(name)))?;
            first.and_then(|raw| raw.record().ok()).into_iter().for_each(|line| unknown.declare(&line));
        }
        Ok(Self { dir, open: Box::new(open), segments, unknown, base })
    }

    /// For a log that somebody may be writing.
    pub(super) fn of(dir: &'a Path) -> Result<Self, OpenError> {
        Self::new(dir, |name| leaves::open(dir, name).map_err(failed("open", dir.join(name))))
    }

    /// The same, but for what is about to be declared, if it is: numbers after the first of these and before the second.
    pub(super) fn without(mut self, unknown: Option<(u64, u64)>) -> Self {
        unknown.into_iter().for_each(|(after, next)| self.unknown.add(after, next));
        self
    }

    /// Where the log begins, if not with its first record.
    pub(super) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// It says that it begins later, and nothing in it bears that out.
    pub(super) fn unfounded(&self) -> OpenError {
        let problem = "it says where the log begins, and the log has no seal".to_owned();
        OpenError::Corrupt { path: self.dir.join(BASE), problem }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// What contradicts what, in the segment of this place.
    pub(super) fn corrupt(&self, place: Place, problem: String) -> OpenError {
        let name = self.segments.get(place.segment).map_or("", |segment| segment.name.as_str());
        OpenError::Corrupt { path: self.dir.join(name), problem }
    }

    /// Every line, newest first, valid or not, until `visit` has what it looks for.
    pub(super) fn backwards(
        &self,
        mut visit: impl FnMut(&[u8], Place, &Unknown) -> Result<ControlFlow<()>, OpenError>,
    ) -> Result<(), OpenError> {
        for (segment, Listed { name, .. }) in self.segments.iter().enumerate().rev() {
            let read = || failed("read", self.dir.join(name));
            let file = (self.open)(name)?;
            let mut lines = Backwards::new(&file).map_err(read())?;
            while let Some((bytes, end)) = lines.next().map_err(read())? {
                if let Break(()) = visit(bytes, Place { segment, offset: end }, &self.unknown)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether it has its beginning.
    pub(super) fn is_whole(&self) -> bool {
        self.segments.first().is_none_or(|segment| segment.first == 1)
    }

    /// Every leaf from a place on, or from the beginning, until `visit` has what it looks for.
    pub(super) fn leaves(
        &self,
        from: Option<Place>,
        mut visit: impl FnMut(&Line<'_>) -> ControlFlow<()>,
    ) -> Result<(), OpenError> {
        let from = from.unwrap_or(Place { segment: 0, offset: 0 });
        for (segment, Listed { name, .. }) in self.segments.iter().enumerate().skip(from.segment) {
            let read = || failed("read", self.dir.join(name));
            let mut file = (self.open)(name)?;
            if segment == from.segment {
                file.seek(SeekFrom::Start(from.offset)).map_err(read())?;
            }
            let mut lines = Lines::new(BufReader::with_capacity(BLOCK, file));
            while let Some(raw) = lines.next().map_err(read())? {
                if let Ok(line) = raw.record()
                    && !self.unknown.has(line.seq)
                    && visit(&line).is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn failed(what: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { what, path, source }
}

/// A file's lines, last one first.
struct Backwards<'a> {
    file: &'a File,
    /// What was read and not given, up to where the line that was given last begins.
    buffer: Vec<u8>,
    /// Where `buffer` begins in the file.
    start: u64,
    /// The end of the line that is looked for, if that is longer than any record.
    long: Option<u64>,
    /// The line that was given last.
    line: Vec<u8>,
}

impl<'a> Backwards<'a> {
    /// What stands after the last LF is no line.
    fn new(file: &'a File) -> io::Result<Self> {
        let start = file.metadata()?.len();
        let mut lines = Self { file, buffer: Vec::new(), start, long: None, line: Vec::new() };
        while lines.buffer.last() != Some(&b'\n') && (lines.start > 0 || !lines.buffer.is_empty()) {
            let end = lines.buffer.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            lines.buffer.truncate(end);
            if end == 0 && !lines.refill()? {
                break;
            }
        }
        Ok(lines)
    }

    /// The line before, without its LF, and where the next one begins. One that is longer than any record is shown as
    /// empty.
    fn next(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        loop {
            let end = self.long.unwrap_or(self.start + self.buffer.len() as u64);
            // A line that is being looked for has lost its LF already if it is long.
            let searched = self.buffer.len().saturating_sub(usize::from(self.long.is_none()));
            let before = self.buffer.iter().take(searched).rposition(|&b| b == b'\n');
            let Some(begin) = before.map(|at| at + 1).or((self.start == 0).then_some(0)) else {
                if self.buffer.len() > MAX_LINE {
                    self.long = Some(end);
                    self.buffer.clear();
                }
                self.refill()?;
                continue;
            };
            if end == 0 {
                return Ok(None);
            }
            let is_long = self.long.take().is_some();
            self.line = self.buffer.split_off(begin);
            let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            return Ok(Some((if is_long { b"" } else { bytes }, end)));
        }
    }

    /// Reads the block before what was read; whether there was one.
    fn refill(&mut self) -> io::Result<bool> {
        let size = self.start.min(BLOCK as u64);
        let mut block = vec![0; usize::try_from(size).unwrap_or(BLOCK)];
        self.file.read_exact_at(&mut block, self.start - size)?;
        self.start -= size;
        block.append(&mut self.buffer);
        self.buffer = block;
        Ok(size > 0)
    }
}

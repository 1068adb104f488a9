//! Recovery at open: where the log ends, and what a crash left after its last valid record.
//!
//! Drops nothing but bytes after the last valid record, and reads no more than the newest segments' ends need.

use super::line::{Lines, MAX_LINE, parse};
use super::open::OpenError;
use super::segment::{Directory, Listed, list};
use super::{Entry, Event, Outcome};
use crate::jose::hex;
use aws_lc_rs::digest;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// How much of a segment's end is tried before all of it is read.
const WINDOW: usize = 4 * MAX_LINE;

/// Where the log goes on.
pub(super) struct Recovered {
    /// Sequence number of the next record.
    pub(super) next: u64,
    /// What the new segment must say first.
    pub(super) entries: Vec<Entry>,
}

/// Finds the last valid record, newest segment first. Segments without any record are removed, the one that holds the
/// last is cut after it and synced.
pub(super) fn recover(directory: &Directory) -> Result<Recovered, OpenError> {
    let fail = |what, name: &str| {
        let path = directory.path().join(name);
        move |source| OpenError::Io { what, path, source }
    };
    let (segments, _) = list(directory.path()).map_err(fail("list", ""))?;
    let mut recovered = Recovered { next: 1, entries: Vec::new() };
    for Listed { first, name, .. } in segments.into_iter().rev() {
        let mut file = directory.open_segment(&name)?;
        let size = file.metadata().map_err(fail("check", &name))?.len();
        let (end, last) = last_valid(&file, size).map_err(fail("read", &name))?;
        if end < size {
            let sha256 = sha256_from(&mut file, end).map_err(fail("read", &name))?;
            tracing::warn!(segment = name, dropped = size - end, sha256, "Torn end of the audit log dropped");
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
        if last.is_some() {
            // Also gives back the reserve that a crash left.
            file.set_len(end).and_then(|()| file.sync_all()).map_err(fail("cut the end of", &name))?;
        } else {
            directory.remove(&name).map_err(fail("remove the empty", &name))?;
        }
        if let Some(last) = last {
            recovered.next = last.checked_add(1).filter(|_| last >= first).ok_or_else(|| {
                let problem = format!("its last record is {last}, before the number in its name");
                OpenError::Corrupt { path: directory.path().join(&name), problem }
            })?;
            break;
        }
    }
    directory.sync().map_err(fail("sync", ""))?;
    Ok(recovered)
}

/// End of the last valid line and its number, or `(0, None)`.
fn last_valid(file: &File, size: u64) -> io::Result<(u64, Option<u64>)> {
    let start = size.saturating_sub(WINDOW as u64);
    let mut window = vec![0; usize::try_from(size - start).unwrap_or(WINDOW)];
    file.read_exact_at(&mut window, start)?;
    let mut rest = window.as_slice();
    while let Some(end) = rest.iter().rposition(|&b| b == b'\n') {
        let (before, _) = rest.split_at(end);
        let begin = before.iter().rposition(|&b| b == b'\n').map(|lf| lf + 1);
        // The window's first line counts only if it is the file's first.
        let Some(begin) = begin.or((start == 0).then_some(0)) else {
            break;
        };
        if let Ok(line) = parse(before.get(begin..).unwrap_or_default()) {
            return Ok((start + end as u64 + 1, Some(line.seq)));
        }
        rest = before;
    }
    if start == 0 {
        return Ok((0, None));
    }
    last_valid_of_all(file)
}

fn last_valid_of_all(mut file: &File) -> io::Result<(u64, Option<u64>)> {
    file.seek(SeekFrom::Start(0))?;
    let mut lines = Lines::new(BufReader::with_capacity(WINDOW, file));
    let mut found = (0, None);
    while let Some(raw) = lines.next()? {
        if let Ok(line) = raw.record() {
            found = (raw.offset + raw.length, Some(line.seq));
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

//! Whether a file may have changed, without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What changes when a file is written, replaced or given other rights: device, inode, size, times of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp(u64, u64, u64, [i64; 4]);

/// What a path leads to now; `None` when it leads nowhere.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Some(Stamp(found.dev(), found.ino(), found.size(), times))
}

//! What one durable record costs on this disk without anything around it.

use crate::Fault;
use crate::report::Percentiles;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const RECORD: [u8; 300] = [b'x'; 300];
const SPACE: i64 = 16 << 20;
const FOR: Duration = Duration::from_millis(500);

/// One `fdatasync` per record of 300 bytes.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Sync {
    /// The file grows with each record.
    pub(crate) growing: Percentiles,
    /// Its space was reserved before.
    pub(crate) reserved: Percentiles,
}

/// Measures in `dir`, which must be on the disk of the audit log.
pub(crate) fn measure(dir: &Path) -> Result<Sync, Fault> {
    let path = dir.join("fdatasync-probe");
    let growing = sync_loop(&open(&path)?)?;
    let file = open(&path)?;
    fallocate(&file, FallocateFlags::empty(), 0, SPACE)?;
    file.sync_all()?;
    let reserved = sync_loop(&file)?;
    std::fs::remove_file(&path)?;
    Ok(Sync { growing, reserved })
}

fn open(path: &Path) -> Result<File, Fault> {
    Ok(OpenOptions::new().write(true).create(true).truncate(true).open(path)?)
}

fn sync_loop(mut file: &File) -> Result<Percentiles, Fault> {
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < FOR {
        let before = Instant::now();
        file.write_all(&RECORD)?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    Ok(Percentiles::of(&mut times))
}

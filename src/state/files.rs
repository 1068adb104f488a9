//! The store's directory and file: made private, or checked to be so, before SQLite opens them.

use super::Error;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes (0700) or checks the directory: a real one, ours, for nobody else.
pub(super) fn prepare_dir(dir: &Path) -> Result<(), Error> {
    let io = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { operation, path, source }
    };
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io("make", dir)(e)),
    }
    let metadata = dir.symlink_metadata().map_err(io("check", dir))?;
    if !metadata.is_dir() {
        return Err(Error::Insecure {
            path: dir.to_owned(),
            problem: "it is not a directory: name the real one".to_owned(),
        });
    }
    check_private(dir, &metadata)
}

/// Makes the file before SQLite does, so that it never has a wider mode; its `-wal` and `-shm` take the same.
pub(super) fn prepare_file(path: &Path) -> Result<(), Error> {
    let io = |operation| move |source| Error::Io { operation, path: path.to_owned(), source };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(io("open"))?;
    let metadata = file.metadata().map_err(io("check"))?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(Error::Insecure {
            path: path.to_owned(),
            problem: "it is not a regular file with one name".to_owned(),
        });
    }
    check_private(path, &metadata)?;
    let parent = path.parent().unwrap_or(path);
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(io("sync the directory of"))
}

fn check_private(path: &Path, metadata: &std::fs::Metadata) -> Result<(), Error> {
    let us = nix::unistd::geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    let problem = if metadata.uid() != us {
        format!("it belongs to uid {}, not to {us}: start as its owner", metadata.uid())
    } else if mode & 0o077 != 0 {
        format!("mode {mode:04o} lets others in: take group and other rights away")
    } else {
        return Ok(());
    };
    Err(Error::Insecure { path: path.to_owned(), problem })
}

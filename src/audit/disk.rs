//! Everything that changes the disk or waits for it, as a trait, and what a failure of it is called.
//!
//! Each method is one system call, never retried.

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, RenameFlags};
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The writer's storage. What a method does not say otherwise is what the kernel does; a model of a disk says otherwise.
pub(super) trait Disk: Send + Sync {
    /// Makes a directory (0700).
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }
    /// Opens or makes (0600) a file of the directory.
    fn open(&self, directory: &File, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::openat(directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)?)
    }
    /// Gives a file of the directory a name that nothing has yet.
    fn rename(&self, directory: &File, from: &str, to: &str) -> io::Result<()> {
        Ok(nix::fcntl::renameat2(directory, from, directory, to, RenameFlags::RENAME_NOREPLACE)?)
    }
    /// Gives a file of the directory a name, whatever has it yet.
    fn replace(&self, directory: &File, from: &str, to: &str) -> io::Result<()> {
        Ok(nix::fcntl::renameat(directory, from, directory, to)?)
    }
    /// Takes a file out of the directory.
    fn remove(&self, directory: &File, name: &str) -> io::Result<()> {
        Ok(nix::unistd::unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?)
    }
    /// Reserves `bytes` for an empty file without changing its size.
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        let bytes = i64::try_from(bytes).map_err(|_| Errno::EFBIG)?;
        Ok(nix::fcntl::fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes)?)
    }
    /// One `write(2)`; how much was written.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }
    /// Sets the size; gives back what is reserved beyond it.
    fn truncate(&self, file: &File, size: u64) -> io::Result<()> {
        file.set_len(size)
    }
    /// `fdatasync(2)` of a segment.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
    /// `fsync(2)` of a file or of a directory.
    fn sync_all(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }
    /// Has what is read next come from the disk. After a sync that failed the kernel may show what never got there, and
    /// call the next sync a success.
    fn forget(&self, file: &File) -> io::Result<()> {
        Ok(nix::fcntl::posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }
}

/// The disk that the kernel offers.
pub(super) struct KernelDisk;

impl Disk for KernelDisk {}

/// Why a segment or the directory cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("cannot write {0}")]
    Write(String, #[source] io::Error),
    #[error("{0} was written only in part")]
    Short(String),
    #[error("cannot sync {0}")]
    Sync(String, #[source] io::Error),
    #[error("{0} was removed while in use")]
    Unlinked(String),
    #[error("{0} was moved or replaced while in use")]
    Replaced(String),
    #[error("{0} was changed by someone else")]
    Foreign(String),
    #[error("cannot check {0}")]
    Check(String, #[source] io::Error),
    #[error("{path} is no longer the directory that was locked: put it back, or restart", path = .0.display())]
    Directory(PathBuf),
    #[error("disk full: free space in {path}", path = .0.display())]
    Full(PathBuf, #[source] io::Error),
    #[error("the file system of {path} cannot reserve space (fallocate): use ext4, xfs, btrfs or tmpfs", path = .0.display())]
    NoReserve(PathBuf, #[source] io::Error),
    #[error("cannot make a new segment in {path}", path = .0.display())]
    Create(PathBuf, #[source] io::Error),
}

impl Fault {
    /// What kept a segment from being made in `directory`.
    pub(super) fn of_creating(directory: &Path, error: io::Error) -> Self {
        let path = directory.to_owned();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => Self::Full(path, error),
            Some(Errno::EOPNOTSUPP) => Self::NoReserve(path, error),
            _ => Self::Create(path, error),
        }
    }

    /// Stable code for `log.resumed`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Write(..) => "segment-write",
            Self::Short(..) => "segment-short-write",
            Self::Sync(..) => "segment-sync",
            Self::Unlinked(..) => "segment-unlinked",
            Self::Replaced(..) => "segment-replaced",
            Self::Foreign(..) => "segment-changed",
            Self::Check(..) => "segment-check",
            Self::Directory(..) => "directory-replaced",
            Self::Full(..) => "disk-full",
            Self::NoReserve(..) => "no-reserve",
            Self::Create(..) => "segment-create",
        }
    }

    /// The fault with its source, for people.
    pub(super) fn reason(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

//! Opening sensitive files: open first, then check owner and mode on the descriptor, and the way to it.
//!
//! Never checks by path what it then opens by path, never follows a symbolic link in the last component, never
//! blocks on a FIFO. A directory that others may write to is trusted only when it is sticky.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

mod public;
mod stamp;
pub use public::{public_dir, write_public};
pub use stamp::{Stamp, stamp};

/// Longest secret file, bytes.
const SECRET_LIMIT: usize = 4096;

/// Why a file was not used.
#[derive(Debug, thiserror::Error)]
pub enum SecureFileError {
    /// The operating system refused.
    #[error("cannot {action} {path}", path = .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: `open`, `read`, `write`.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Somebody else could have written, or could read, what must be ours.
    #[error("{path} {problem}", path = .path.display())]
    Insecure {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong and what to do about it.
        problem: String,
    },
    /// It is not the kind of file, or does not hold the kind of text, that is needed.
    #[error("{path} {problem}", path = .path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong and what to do about it.
        problem: String,
    },
}
impl SecureFileError {
    /// Whether rights are at fault (exit code 77), not the content.
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Self::Insecure { .. } => true,
            Self::Unusable { .. } => false,
        }
    }
}

/// Reads a configuration file: a regular file, owned by root or us, not writable by group or others, at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, others could have changed it, it is too large, or it is not UTF-8.
pub fn read_config(path: &Path, limit: u64) -> Result<String, SecureFileError> {
    let file = open_regular(path, |stat| {
        let writable = stat.st_mode & 0o022 != 0;
        writable.then(|| "is writable by group or others: run chmod go-w on it".to_owned())
    })?;
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let read = read.map_err(|source| io_error(path, "read", source))?;
    if read as u64 > limit {
        let problem = format!("is larger than {limit} bytes");
        return Err(unusable(path, problem));
    }
    String::from_utf8(bytes).map_err(|_| unusable(path, "is not UTF-8 text"))
}

/// Reads a secret (PIN): as [`read_config`], and not readable by group or others. One trailing newline is dropped.
///
/// A file that belongs to root and root's group may have mode 0440: so systemd hands out credentials, with the
/// service named in an access control list whose mask shows as the group's bits.
///
/// # Errors
/// As for [`read_config`]; also when it is empty or longer than 4096 bytes.
pub fn read_secret(path: &Path) -> Result<SecretString, SecureFileError> {
    let mut file = open_regular(path, |stat| {
        let credential = stat.st_uid == 0 && stat.st_gid == 0;
        let allowed = if credential { 0o640 } else { 0o600 };
        let excess = stat.st_mode & 0o777 & !allowed != 0;
        excess.then(|| "holds a secret and is open to others: run chmod 0600 on it".to_owned())
    })?;
    // Full size from the start: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0_u8; SECRET_LIMIT + 1]);
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(io_error(path, "read", source)),
        }
    }
    if length > SECRET_LIMIT {
        let problem = format!("is larger than {SECRET_LIMIT} bytes, too long for a secret");
        return Err(unusable(path, problem));
    }
    let text = std::str::from_utf8(bytes.get(..length).unwrap_or_default())
        .map_err(|_| unusable(path, "is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(unusable(path, "is empty: write the secret into it"));
    }
    Ok(SecretString::from(text))
}

/// Creates (0700) or checks a directory of ours: owner us, not writable by others, no symlink.
///
/// # Errors
/// It cannot be made, belongs to somebody else, or others may write to it or swap it.
pub fn private_dir(path: &Path) -> Result<(), SecureFileError> {
    owned_dir(path, Mode::S_IRWXU, Writers::Others)
}

/// Creates a directory with this mode, whatever the umask, or checks that it is ours alone to write to. Nobody of
/// `writers` may be able to put another one in its place.
fn owned_dir(path: &Path, mode: Mode, writers: Writers) -> Result<(), SecureFileError> {
    let (parent, name) = open_parent_without(path, OFlag::O_PATH, writers)?;
    let made = match mkdirat(&parent, name, mode) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(errno) => return Err(io_error(path, "create", errno.into())),
    };
    let access = if made { OFlag::O_RDONLY } else { OFlag::O_PATH };
    let flags = access | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = openat(&parent, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::ENOTDIR | Errno::ELOOP => {
            insecure(path, "is a symbolic link or a file: a directory is needed")
        }
        other => io_error(path, "open", other.into()),
    })?;
    let stat = stat_of(path, &directory)?;
    if stat.st_uid != geteuid().as_raw() {
        let (owner, us) = (stat.st_uid, geteuid());
        let problem = format!("belongs to uid {owner}: give it to uid {us} with chown");
        return Err(insecure(path, problem));
    }
    if stat.st_mode & 0o022 != 0 {
        let problem = "is writable by group or others: run chmod go-w on it";
        return Err(insecure(path, problem));
    }
    if made {
        // What was opened and is ours, not what has the name by now.
        fchmod(&directory, mode).map_err(|errno| io_error(path, "set the mode of", errno.into()))?;
    }
    Ok(())
}

/// Replaces a file atomically and durably: temporary file, sync, rename, sync of the directory. Mode 0600.
///
/// # Errors
/// Any step failed; the old content is then still in place.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), SecureFileError> {
    replace(path, bytes, Mode::S_IRUSR | Mode::S_IWUSR)
}
fn replace(path: &Path, bytes: &[u8], mode: Mode) -> Result<(), SecureFileError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let (parent, name) = open_parent(path, OFlag::O_RDONLY)?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let suffix = format!(".{}.{number}.tmp", std::process::id());
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(suffix);
    // Only a process of our pid that died here can have left one.
    let _ = unlinkat(&parent, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
    let written = fill(&parent, &temporary, bytes, mode).and_then(|()| {
        renameat(&parent, temporary.as_os_str(), &parent, name)?;
        Ok(())
    });
    if let Err(source) = written {
        let _ = unlinkat(&parent, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        return Err(io_error(path, "write", source));
    }
    let synced = File::from(parent).sync_all();
    synced.map_err(|source| io_error(path, "sync the directory of", source))
}
fn fill(parent: &OwnedFd, name: &OsStr, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    fchmod(&file, mode)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Checks that nobody but root and us could have put a library or program there: every part of the path as the
/// kernel resolves it belongs to root or us, and none is writable by group or others (but for sticky directories).
///
/// # Errors
/// The first part that fails, or the path cannot be resolved.
pub fn check_trusted_path(path: &Path) -> Result<(), SecureFileError> {
    let real = path.canonicalize();
    let real = real.map_err(|source| io_error(path, "find", source))?;
    for part in real.ancestors() {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = open(part, flags, Mode::empty());
        let found = found.map_err(|errno| io_error(part, "open", errno.into()))?;
        let stat = stat_of(part, &found)?;
        check_owner(part, &stat)?;
        let sticky = is_directory(&stat) && stat.st_mode & 0o1000 != 0;
        if stat.st_mode & 0o022 != 0 && !sticky {
            let problem = "is writable by group or others: run chmod go-w on it";
            return Err(insecure(part, problem));
        }
    }
    Ok(())
}

/// Opens a regular file of root's or ours for reading; `refuse` says what is wrong with its mode.
fn open_regular(
    path: &Path,
    refuse: impl FnOnce(&FileStat) -> Option<String>,
) -> Result<File, SecureFileError> {
    let (parent, name) = open_parent(path, OFlag::O_PATH)?;
    // O_NONBLOCK: opening a FIFO must not wait for its other end.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = openat(&parent, name, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::ELOOP => insecure(path, "is a symbolic link: name the file itself"),
        other => io_error(path, "open", other.into()),
    })?;
    let stat = stat_of(path, &file)?;
    if stat.st_mode & nix::libc::S_IFMT != nix::libc::S_IFREG {
        return Err(unusable(path, "is not a regular file"));
    }
    check_owner(path, &stat)?;
    match refuse(&stat) {
        Some(problem) => Err(insecure(path, problem)),
        None => Ok(File::from(file)),
    }
}

/// Who must not be able to write to a directory that is not sticky.
#[derive(Clone, Copy)]
enum Writers {
    Others,
    GroupAndOthers,
}

/// Opens the directory that holds `path` and checks that nobody else can swap what is in it.
fn open_parent(path: &Path, access: OFlag) -> Result<(OwnedFd, &OsStr), SecureFileError> {
    open_parent_without(path, access, Writers::Others)
}

fn open_parent_without(
    path: &Path,
    access: OFlag,
    writers: Writers,
) -> Result<(OwnedFd, &OsStr), SecureFileError> {
    let Some(Component::Normal(name)) = path.components().next_back() else {
        return Err(unusable(path, "does not end in a file name"));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = access | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(parent, flags, Mode::empty());
    let directory = directory.map_err(|errno| io_error(parent, "open", errno.into()))?;
    let stat = stat_of(parent, &directory)?;
    check_owner(parent, &stat)?;
    let (bits, problem) = match writers {
        Writers::Others => (0o002, "is a directory that others may write to: run chmod o-w on it"),
        Writers::GroupAndOthers => {
            (0o022, "is a directory that group or others may write to: run chmod go-w on it")
        }
    };
    if stat.st_mode & bits != 0 && stat.st_mode & 0o1000 == 0 {
        return Err(insecure(parent, problem));
    }
    Ok((directory, name))
}

fn check_owner(path: &Path, stat: &FileStat) -> Result<(), SecureFileError> {
    if stat.st_uid == 0 || stat.st_uid == geteuid().as_raw() {
        return Ok(());
    }
    let (owner, us) = (stat.st_uid, geteuid());
    let problem = format!("belongs to uid {owner}: give it to root or to uid {us} with chown");
    Err(insecure(path, problem))
}
fn is_directory(stat: &FileStat) -> bool {
    stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
}
fn stat_of(path: &Path, descriptor: impl AsFd) -> Result<FileStat, SecureFileError> {
    fstat(descriptor).map_err(|errno| io_error(path, "examine", errno.into()))
}
fn io_error(path: &Path, action: &'static str, source: io::Error) -> SecureFileError {
    let path = path.to_owned();
    SecureFileError::Io { path, action, source }
}
fn insecure(path: &Path, problem: impl Into<String>) -> SecureFileError {
    let (path, problem) = (path.to_owned(), problem.into());
    SecureFileError::Insecure { path, problem }
}
fn unusable(path: &Path, problem: impl Into<String>) -> SecureFileError {
    let (path, problem) = (path.to_owned(), problem.into());
    SecureFileError::Unusable { path, problem }
}

#[cfg(test)]
mod tests;

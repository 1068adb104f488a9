//! The PIN marker: a wrong PIN is tried once, ever, until an operator clears it (promise 7 of the README).
//!
//! One line in `DIR/NAME.pin`, replaced durably before and after each login:
//!
//! | line | means | before the next login it becomes |
//! | --- | --- | --- |
//! | none | never tried | `trying` |
//! | `good` | the token took this PIN | `again 1` |
//! | `again N` | it did once, but the outcome of the last N logins is unknown | `again N+1`; after 3, or when the token counted a wrong PIN, there is none |
//! | `trying` | the first login ended unknown | there is none |
//! | `refused` | the token refused it, or counted a wrong one when the marker said `again N` | there is none |
//!
//! The worker writes the outcome itself, before it answers, so a killed parent loses nothing. Processes that share a
//! marker take turns by a lock on `DIR/NAME.pin.lock`. Must never hold the PIN or anything made from it.

use super::Fault;
use crate::sys::secure_file::{SecureFileError, write_atomic};
use crate::telemetry::Chain;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Logins in a row that may end unknown, with a PIN that was good before.
const UNKNOWN_LIMIT: u8 = 3;

/// What is known of the PIN of one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never tried.
    Absent,
    /// A first login began and its outcome is not known: the PIN may be wrong.
    Trying,
    /// The token accepted it.
    Good,
    /// The token accepted it once; since then this many logins (1 to 3) ended with no known outcome.
    Again(u8),
    /// The token refused it, or counted a wrong PIN since logins ended with no known outcome; or the marker is not
    /// readable as one of ours.
    Refused,
}
impl State {
    /// Whether a login may be tried.
    pub fn allows_login(self) -> bool {
        self.during_login().is_some()
    }

    /// What must be on disk before the next login; `None` when there must not be one.
    fn during_login(self) -> Option<Self> {
        match self {
            Self::Absent => Some(Self::Trying),
            Self::Good => Some(Self::Again(1)),
            Self::Again(count) if count < UNKNOWN_LIMIT => Some(Self::Again(count + 1)),
            Self::Trying | Self::Again(_) | Self::Refused => None,
        }
    }
}

/// Why the marker could not be read or replaced. No login happens then.
#[derive(Debug, thiserror::Error)]
pub enum PinMarkerError {
    /// The name is not usable as a file name.
    #[error("backend name {0:?} cannot name a PIN marker: use letters, digits, '-', '_' and '.'")]
    Name(String),
    /// Reading, removing or syncing failed.
    #[error("PIN marker {path}", path = .path.display())]
    Io {
        /// The marker.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Locking failed.
    #[error("no login while the PIN marker cannot be locked: the directory of {path} must be writable", path = .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Writing failed.
    #[error("no login while the PIN marker cannot be written: its directory must be writable")]
    Write(#[source] SecureFileError),
}

impl From<PinMarkerError> for Fault {
    fn from(error: PinMarkerError) -> Self {
        let text = Chain(&error).to_string();
        match error {
            PinMarkerError::Name(_) => Self::misconfigured(text),
            // A full disk or a missing mount: the next start may find it mended.
            PinMarkerError::Io { .. } | PinMarkerError::Lock { .. } | PinMarkerError::Write(_) => {
                Self::down(text)
            }
        }
    }
}

/// What the marker of backend `name` in `dir` says.
///
/// # Errors
/// When it cannot be read; treat that as "no login".
pub fn state(dir: &Path, name: &str) -> Result<State, PinMarkerError> {
    let path = path(dir, name)?;
    match std::fs::read(&path) {
        Ok(line) => Ok(match line.trim_ascii() {
            b"good" => State::Good,
            b"trying" => State::Trying,
            [b'a', b'g', b'a', b'i', b'n', b' ', count @ b'1'..=b'3'] => State::Again(count - b'0'),
            _ => State::Refused,
        }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(State::Absent),
        Err(source) => Err(PinMarkerError::Io { path, source }),
    }
}

/// Removes the marker, durably: the operator says that the PIN was put right. `false` when there was none.
///
/// # Errors
/// When it cannot be removed.
pub fn clear(dir: &Path, name: &str) -> Result<bool, PinMarkerError> {
    let path = path(dir, name)?;
    let io = |source| PinMarkerError::Io { path: path.clone(), source };
    match std::fs::remove_file(&path) {
        Ok(()) => {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
            Ok(true)
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io(source)),
    }
}

/// Whether somebody cleared the marker after the PIN was refused.
///
/// A marker that still allows a login, because the refusal could not be written, is replaced by `refused` first. During
/// a login it never says `good` nor is absent, so either of these is news.
pub(super) fn cleared(dir: &Path, name: &str) -> Result<bool, PinMarkerError> {
    let Some(marker) = Marker::try_lock(dir, name)? else {
        // Another process logs in at this moment; its outcome is what counts.
        return Ok(false);
    };
    match state(dir, name)? {
        State::Absent | State::Good => Ok(true),
        left => {
            if left.allows_login() {
                marker.write(State::Refused)?;
            }
            Ok(false)
        }
    }
}

/// How a login ended, as far as the marker is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Good,
    Refused,
    /// The PIN surely did not reach the token: as if the login had not been tried.
    NotTried,
    /// Nobody can say whether the PIN was counted as wrong.
    Unknown,
}

/// The marker, locked against other processes until this is dropped.
pub(super) struct Marker<'a> {
    dir: &'a Path,
    name: &'a str,
    lock: File,
}

impl<'a> Marker<'a> {
    /// Waits until no other process logs in with this marker.
    pub(super) fn lock(dir: &'a Path, name: &'a str) -> Result<Self, PinMarkerError> {
        let marker = Self::open(dir, name)?;
        marker.lock.lock().map_err(|source| PinMarkerError::Lock { path: lock_path(dir, name), source })?;
        Ok(marker)
    }

    fn try_lock(dir: &'a Path, name: &'a str) -> Result<Option<Self>, PinMarkerError> {
        let marker = Self::open(dir, name)?;
        match marker.lock.try_lock() {
            Ok(()) => Ok(Some(marker)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => {
                Err(PinMarkerError::Lock { path: lock_path(dir, name), source })
            }
        }
    }

    fn open(dir: &'a Path, name: &'a str) -> Result<Self, PinMarkerError> {
        path(dir, name)?;
        let path = lock_path(dir, name);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(|source| PinMarkerError::Lock { path, source })?;
        Ok(Self { dir, name, lock })
    }

    /// Says durably that a login begins, if there may be one. Returns what the marker said before; where the token
    /// counted a `wrong_pin` since the last good login, one of unknown outcome was refused.
    pub(super) fn begin(&self, wrong_pin: bool) -> Result<State, PinMarkerError> {
        let before = state(self.dir, self.name)?;
        if wrong_pin && matches!(before, State::Again(_)) {
            self.write(State::Refused)?;
            return Ok(State::Refused);
        }
        if let Some(during) = before.during_login() {
            self.write(during)?;
        }
        Ok(before)
    }

    /// Writes down how the login that [`Self::begin`] announced has ended.
    pub(super) fn end(&self, before: State, outcome: Outcome) -> Result<(), PinMarkerError> {
        match outcome {
            Outcome::Good => self.write(State::Good),
            Outcome::Refused => self.write(State::Refused),
            Outcome::NotTried => self.write(before),
            Outcome::Unknown => Ok(()),
        }
    }

    fn write(&self, state: State) -> Result<(), PinMarkerError> {
        let line = match state {
            State::Absent => return clear(self.dir, self.name).map(drop),
            State::Trying => "trying\n".to_owned(),
            State::Good => "good\n".to_owned(),
            State::Again(count) => format!("again {count}\n"),
            State::Refused => "refused\n".to_owned(),
        };
        write_atomic(&path(self.dir, self.name)?, line.as_bytes()).map_err(PinMarkerError::Write)
    }
}

fn path(dir: &Path, name: &str) -> Result<PathBuf, PinMarkerError> {
    let fits = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !fits {
        return Err(PinMarkerError::Name(name.to_owned()));
    }
    Ok(dir.join(format!("{name}.pin")))
}

fn lock_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pin.lock"))
}

#[cfg(test)]
mod tests;

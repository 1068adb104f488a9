//! Where copies of checkpoints go: a file, preferably another user's, the system's log, and witnesses over HTTP, which
//! cosign them ([`http`]). All but those block.
//!
//! Only ever appends to a file that is there already, and never follows a link to it.

mod ask;
pub(super) mod http;

pub(super) use ask::{Asked, ask};
pub use http::Remote;

use super::checkpoint::Note;
use super::open::OpenError;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::sys::process;
use jiff::Timestamp;

/// So much of a file's end is looked at for its last checkpoint.
const END: u64 = 256 * 1024;
/// Facility `authpriv`, severity `notice` (RFC 5424 section 6.2.1).
const PRIORITY: u8 = 10 * 8 + 5;

/// Where the system's log takes messages.
pub const SYSLOG: &str = "/dev/log";

/// One `[[audit.witness]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Witness {
    /// A file that is there already.
    File(PathBuf),
    /// The system's log, at this socket.
    Syslog(PathBuf),
    /// Over HTTP.
    Http(Remote),
}

impl Witness {
    /// For people.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Syslog(_) => "syslog".to_owned(),
            Self::Http(remote) => remote.key.name().to_owned(),
        }
    }

    /// One that is asked over the network.
    pub(super) fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Http(remote) => Some(remote),
            Self::File(_) | Self::Syslog(_) => None,
        }
    }

    /// Has a file or the system's log keep a checkpoint.
    pub(super) fn tell(&self, note: &str, time: Timestamp) -> io::Result<()> {
        match self {
            Self::File(path) => append(path, note),
            Self::Syslog(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                socket.send_to(message(note, time)?.as_bytes(), path).map(drop)
            }
            Self::Http(_) => Err(io::Error::other("it is told over HTTP: this is a defect")),
        }
    }
}

/// One message of RFC 5424; the note is JSON in it, so that it stays one line and can be had back.
fn message(note: &str, time: Timestamp) -> io::Result<String> {
    #[derive(Serialize)]
    struct Content<'a> {
        note: &'a str,
    }
    let (host, pid, content) =
        (process::host_name(), std::process::id(), serde_json::to_string(&Content { note })?);
    Ok(format!("<{PRIORITY}>1 {time:.6} {host} jwsd {pid} checkpoint - {content}"))
}

/// The file itself, for reading and appending.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Each note is followed by a blank line, also one that was cut short.
fn append(path: &Path, note: &str) -> io::Result<()> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    let mut end = [0; 2];
    if let Some(at) = size.checked_sub(2) {
        file.read_exact_at(&mut end, at)?;
    }
    let gap = if size == 0 || end == *b"\n\n" { "" } else { "\n\n" };
    file.write_all(format!("{gap}{note}\n").as_bytes())?;
    file.sync_all()
}

/// The last whole note of a file; `None` as long as it has none.
///
/// # Errors
/// [`OpenError::Witness`] if it cannot be read, or holds something else.
pub(super) fn last_note(path: &Path, origin: &str) -> Result<Option<String>, OpenError> {
    let wrong = |problem: String| OpenError::Witness { witness: path.display().to_string(), problem };
    let end = read_end(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => ": make it (empty), and let this user append to it",
            _ => "",
        };
        wrong(format!("it cannot be used ({error}){hint}"))
    })?;
    let text = String::from_utf8_lossy(&end);
    let found = text.rmatch_indices("\n\n").map(|(at, _)| at).find_map(|at| {
        // The blank line after its signatures: the one before stands after its text, and one more before that.
        let (before, _) = text.split_at(at);
        let signed = before.rfind("\n\n")?;
        let begin = before.get(..signed)?.rfind("\n\n").map_or(0, |at| at + 2);
        let note = format!("{}\n", before.get(begin..)?);
        let seen = Note::parse(&note).and_then(|note| note.unverified()).ok()?;
        Some(own(&note, &seen.origin))
    });
    // Of a first one that was cut short there is a beginning of its name at least.
    let is_cut = text.len() < 8192 && (text.starts_with(origin) || origin.starts_with(&*text));
    if found.is_none() && !is_cut {
        return Err(wrong("it holds something else than checkpoints: name another file".to_owned()));
    }
    Ok(found)
}

/// The note with the log's own signatures alone: witnesses may have put theirs below, and a record has no room for all.
fn own(note: &str, origin: &str) -> String {
    let Some((text, signatures)) = note.rsplit_once("\n\n") else { return note.to_owned() };
    let is_own = |line: &&str| {
        line.strip_prefix("\u{2014} ").is_some_and(|line| line.starts_with(&format!("{origin} ")))
    };
    let own: Vec<&str> = signatures.lines().filter(is_own).collect();
    format!("{text}\n\n{}\n", own.join("\n"))
}

fn read_end(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    let start = size.saturating_sub(END);
    let mut end = vec![0; usize::try_from(size - start).unwrap_or_default()];
    file.read_exact_at(&mut end, start)?;
    Ok(end)
}

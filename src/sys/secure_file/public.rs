//! Files that everyone may read and only we write, for a web server to serve.
//!
//! Never writes into a directory that others may write to, and never through a symbolic link.

use super::{SecureFileError, Writers, open_regular, owned_dir, replace};
use nix::sys::stat::Mode;
use std::io::Read;
use std::path::Path;

/// What everyone may do with a directory, and with a file.
const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);
const FILE: Mode = Mode::from_bits_truncate(0o644);

/// Creates (0755, whatever the umask) or checks a directory of ours: owner us, not writable by others, no symlink.
/// Whether others may read one that is there already is its maker's choice.
///
/// # Errors
/// It cannot be made, belongs to somebody else, or group or others may write to it or swap it.
pub fn public_dir(path: &Path) -> Result<(), SecureFileError> {
    owned_dir(path, DIRECTORY, Writers::GroupAndOthers)
}

/// Replaces a file atomically and durably, as [`super::write_atomic`] does, with mode 0644 whatever the umask. One
/// that is so already is left alone.
///
/// # Errors
/// Any step failed; the old content is then still in place.
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), SecureFileError> {
    if is_so(path, bytes) { Ok(()) } else { replace(path, bytes, FILE) }
}

fn is_so(path: &Path, bytes: &[u8]) -> bool {
    let file =
        open_regular(path, |stat| (Mode::from_bits_truncate(stat.st_mode & 0o777) != FILE).then(String::new));
    let mut found = Vec::new();
    let limit = bytes.len() as u64 + 1;
    file.is_ok_and(|file| file.take(limit).read_to_end(&mut found).is_ok() && found == bytes)
}

//! The archive: a directory that takes segments as they are, each with what proves that it is a part of the log.
//!
//! Never writes over what is there and not of this log, and calls nothing archived that it has not read back.

use super::{Going, NotRetained};
use crate::audit::disk::{Disk, KernelDisk};
use crate::audit::leaves::Segments;
use crate::audit::prove::segment::proof_of;
use crate::audit::segment::put;
use crate::audit::verify::alone;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a proof's name ends in, in the place of `.jsonl`.
const PROOF: &str = ".proof";
/// What is not whole is called this.
const UNFINISHED: &str = "unfinished";

/// A directory that is there already.
pub(in crate::audit) struct Archive {
    path: PathBuf,
    handle: File,
    disk: Arc<dyn Disk>,
}

impl Archive {
    /// Opens it: a directory, and none that anybody may write to.
    pub(in crate::audit) fn open(path: &Path) -> Result<Self, NotRetained> {
        Self::on(path, Arc::new(KernelDisk))
    }

    pub(in crate::audit) fn on(path: &Path, disk: Arc<dyn Disk>) -> Result<Self, NotRetained> {
        let fail = |problem: String| NotRetained::Archive { path: path.to_owned(), problem };
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = nix::fcntl::open(path, flags, Mode::empty());
        let handle =
            handle.map_err(|e| fail(format!("{e}: make that directory, for the daemon to write to")))?;
        let stat = fstat(&handle).map_err(|e| fail(e.to_string()))?;
        if stat.st_mode & 0o002 != 0 {
            return Err(fail("anybody may write to it: run chmod o-w on it".to_owned()));
        }
        let us = nix::unistd::geteuid().as_raw();
        if stat.st_uid != us && stat.st_mode & 0o020 == 0 {
            let owner = stat.st_uid;
            return Err(fail(format!(
                "it belongs to uid {owner}: give it to uid {us}, or a group of its own"
            )));
        }
        Ok(Self { path: path.to_owned(), handle: handle.into(), disk })
    }

    /// Takes segments of the log in `dir`.
    pub(in crate::audit) fn take(&self, dir: &Path, going: &Going) -> Result<(), NotRetained> {
        let unread = |(name, source): (String, _)| NotRetained::Read { path: dir.join(name), source };
        let segments = Segments::open(dir, None).map_err(unread)?;
        for (index, (listed, start)) in going.segments.iter().enumerate() {
            let after = going.segments.get(index + 1).map_or(&going.base.tree, |(_, next)| &next.tree);
            let proof = proof_of(&segments, index, start, after).map_err(unread)?;
            let proof = proof.ok_or_else(|| NotRetained::Unsealed(listed.name.clone()))?;
            // What no seal covers may be another after a power loss, and its leaves are the same.
            let is_ours = |found| {
                let (report, tree) = alone(BufReader::new(found), listed, &segments.unknown, start.clone())?;
                Ok(report.is_sound() && tree == *after)
            };
            let was_there = self.keep(&listed.name, || segments.file(index), is_ours)?;
            let name = listed.name.replace(".jsonl", PROOF);
            self.keep(&name, || Ok(Cursor::new(proof.as_bytes())), |_| Ok(was_there))?;
        }
        let synced = self.disk.sync_all(&self.handle);
        synced.map_err(|e| NotRetained::Archive { path: self.path.clone(), problem: e.to_string() })
    }

    /// Keeps a file. One that is there already must be the same, or one that may be replaced. Whether one was there.
    fn keep<R: Read>(
        &self,
        name: &str,
        content: impl Fn() -> io::Result<R>,
        may_replace: impl Fn(File) -> io::Result<bool>,
    ) -> Result<bool, NotRetained> {
        let fail =
            |problem: &str| NotRetained::Archive { path: self.path.join(name), problem: problem.to_owned() };
        let failed = |error: io::Error| fail(&error.to_string());
        let there = || self.disk.open(&self.handle, name, OFlag::O_RDONLY | OFlag::O_NONBLOCK);
        let was_there = match there() {
            Ok(found) if is_same(&found, content().map_err(failed)?).map_err(failed)? => {
                // Whoever wrote it may not have lived to do this.
                self.disk.sync_all(&found).map_err(failed)?;
                return Ok(true);
            }
            Ok(_) if !there().and_then(may_replace).map_err(failed)? => {
                return Err(fail("another file has this name, of another log or changed: move it away"));
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        put(&*self.disk, &self.handle, (UNFINISHED, name), content().map_err(failed)?).map_err(failed)?;
        let made = there().map_err(failed)?;
        // From the disk, as far as the system can do that; not every file system for archives can.
        let _ = self.disk.forget(&made);
        if is_same(&made, content().map_err(failed)?).map_err(failed)? {
            return Ok(was_there);
        }
        Err(fail("what was written cannot be read back: look at the disk"))
    }
}

/// Whether two files hold the same.
fn is_same(one: impl Read, other: impl Read) -> io::Result<bool> {
    let mut files = (BufReader::new(one).bytes(), BufReader::new(other).bytes());
    loop {
        match (files.0.next().transpose()?, files.1.next().transpose()?) {
            (None, None) => return Ok(true),
            (one, other) if one != other => return Ok(false),
            _ => {}
        }
    }
}

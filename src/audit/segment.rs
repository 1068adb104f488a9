//! The directory and its segments: every system call that makes evidence durable.
//!
//! Never opens a file by path once the directory is held, never truncates a record, never retries a file that failed.

use super::base::{BASE, Base};
use super::disk::{Disk, Fault};
use super::open::OpenError;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK: &str = "lock";
const SPARE: &str = "spare";
const ENVIRONMENT: &str = "environment";
/// What `environment` is called until it is whole.
const UNNAMED: &str = "environment.new";
/// What `base` is called until it is whole.
const UNBASED: &str = "base.new";
const EXTENSION: &str = ".jsonl";
const DIGITS: usize = 20;

/// The locked directory, and the spare segment if there is one.
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
    _lock: File,
    disk: Arc<dyn Disk>,
    size: u64,
    spare: Option<File>,
}

impl Directory {
    /// Makes (0700) or checks the directory and locks it.
    pub(super) fn open(path: &Path, size: u64, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        let fail = |what| move |source| OpenError::Io { what, path: path.to_owned(), source };
        let made = match disk.make_directory(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
            made => made.map(|()| true).map_err(fail("make"))?,
        };
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = nix::fcntl::open(path, flags, Mode::empty())
            .map(File::from)
            .map_err(|e| fail("open")(e.into()))?;
        check_private(&handle, path)?;
        let lock =
            disk.open(&handle, LOCK, OFlag::O_RDWR | OFlag::O_CREAT).map_err(fail("open the lock of"))?;
        check_private(&lock, &path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { path: path.to_owned() });
            }
            Err(TryLockError::Error(e)) => return Err(fail("lock")(e)),
        }
        // Also if it was there: whoever made it may not have lived to do this. Then it may be none of our business.
        match path.canonicalize().and_then(|p| disk.sync_all(&File::open(p.parent().unwrap_or(&p))?)) {
            Err(e) if made || !is_foreign(&e) => return Err(fail("sync the parent of")(e)),
            _ => {}
        }
        let directory = Self { path: path.to_owned(), handle, _lock: lock, disk, size, spare: None };
        // A spare of an earlier run: its reserve is of unknown size.
        for left in [SPARE, UNNAMED] {
            directory.remove_any(left).map_err(fail("remove the spare of"))?;
        }
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
    pub(super) fn has_spare(&self) -> bool {
        self.spare.is_some()
    }

    /// Whether the path still leads to the directory that was locked.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let same = nix::sys::stat::stat(&self.path)
            .and_then(|named| Ok(identity(&named) == identity(&nix::sys::stat::fstat(&self.handle)?)));
        if same.unwrap_or(false) { Ok(()) } else { Err(Fault::Directory(self.path.clone())) }
    }

    /// Notes whose log this is on first use, compares it ever after.
    pub(super) fn bind(&self, environment: &str) -> Result<(), OpenError> {
        let path = self.path.join(ENVIRONMENT);
        let fail = |what| {
            let path = path.clone();
            move |source| OpenError::Io { what, path, source }
        };
        let mut text = String::new();
        match self.disk.open(&self.handle, ENVIRONMENT, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Ok(file) => {
                check_private(&file, &path)?;
                file.take(256).read_to_string(&mut text).map_err(fail("read"))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail("open")(e)),
        }
        // An editor that was broken off leaves a beginning at most.
        if text.len() < environment.len() && environment.starts_with(&text) {
            return self.write_environment(environment).map_err(fail("write"));
        }
        match text.trim() {
            found if found == environment => Ok(()),
            found => Err(OpenError::Environment {
                path: self.path.clone(),
                found: found.to_owned(),
                wanted: environment.to_owned(),
            }),
        }
    }

    /// Under another name first: a crash leaves all of it or nothing.
    fn write_environment(&self, environment: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = self.disk.open(&self.handle, UNNAMED, flags)?;
        let text = format!("{environment}\n");
        if self.disk.write(&file, text.as_bytes())? != text.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.disk.sync_all(&file)?;
        // What a start that was broken off left under this name must not get the next one.
        self.sync()?;
        self.remove_any(ENVIRONMENT)?;
        self.disk.rename(&self.handle, UNNAMED, ENVIRONMENT)?;
        self.sync()
    }

    /// Opens an old segment to read it, whatever rights others have: what it holds is judged, not where it is.
    pub(super) fn read_segment(&self, name: &str) -> Result<File, OpenError> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        nix::fcntl::openat(&self.handle, name, flags, Mode::empty())
            .map(File::from)
            .map_err(|error| OpenError::Io { what: "open", path: self.path.join(name), source: error.into() })
    }

    /// Opens an old segment for recovery.
    pub(super) fn open_segment(&self, name: &str) -> Result<File, OpenError> {
        let path = self.path.join(name);
        let opened = self.disk.open(&self.handle, name, OFlag::O_RDWR | OFlag::O_NONBLOCK);
        let file = opened.map_err(|source| OpenError::Io { what: "open", path: path.clone(), source })?;
        check_private(&file, &path)?;
        Ok(file)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.handle, name)
    }
    fn remove_any(&self, name: &str) -> io::Result<()> {
        remove_any(&*self.disk, &self.handle, name)
    }
    /// The same directory, to take away what is no longer kept.
    pub(super) fn store(&self) -> io::Result<Store> {
        Ok(Store { handle: self.handle.try_clone()?, disk: Arc::clone(&self.disk) })
    }
    /// Syncs what an earlier run left of an old segment, and has it read from the disk.
    pub(super) fn settle(&self, segment: &File) -> io::Result<()> {
        self.disk.sync_all(segment)?;
        self.disk.forget(segment)
    }
    /// Cuts an old segment at `end` and syncs it. Also gives back the reserve that a crash left.
    pub(super) fn cut(&self, segment: &File, end: u64) -> io::Result<()> {
        self.disk.truncate(segment, end)?;
        self.disk.sync_all(segment)
    }
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync_all(&self.handle)
    }

    /// Reserves the next segment's space, unless that is done already.
    pub(super) fn reserve(&mut self) -> Result<(), Fault> {
        if self.spare.is_some() {
            return Ok(());
        }
        let made = self.make_spare();
        if made.is_err() {
            // Best effort: a file without its reserve is of no use, and the next try needs the name.
            let _ = self.remove(SPARE);
        }
        self.spare = Some(made.map_err(|e| self.create_fault(e))?);
        Ok(())
    }

    fn make_spare(&self) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL;
        let file = self.disk.open(&self.handle, SPARE, flags)?;
        self.disk.reserve(&file, self.size)?;
        self.disk.sync_all(&file)?;
        Ok(file)
    }

    /// Turns the spare into the segment whose first record will be `first`: renamed, then the directory synced.
    pub(super) fn begin(&mut self, first: u64) -> Result<Segment, Fault> {
        self.reserve()?;
        let name = segment_name(first);
        let no_spare = || io::Error::from(io::ErrorKind::NotFound);
        let file = self.spare.take().ok_or_else(no_spare).map_err(|e| self.create_fault(e))?;
        if let Err(e) = self.disk.rename(&self.handle, SPARE, &name) {
            let _ = self.remove(SPARE);
            return Err(self.create_fault(e));
        }
        let segment = Segment { name, file, disk: Arc::clone(&self.disk), length: 0, size: self.size };
        if let Err(e) = self.sync() {
            self.discard(segment);
            return Err(self.create_fault(e));
        }
        Ok(segment)
    }

    fn create_fault(&self, error: io::Error) -> Fault {
        Fault::of_creating(&self.path, error)
    }

    /// Writes whole lines to the segment with one write and syncs them.
    pub(super) fn commit(&self, segment: &mut Segment, lines: &[u8]) -> Result<(), Fault> {
        self.check()?;
        self.check_segment(segment)?;
        let name = || segment.name.clone();
        let written = self.disk.write(&segment.file, lines);
        if written.map_err(|e| Fault::Write(name(), e))? != lines.len() {
            return Err(Fault::Short(name()));
        }
        let synced = self.disk.sync_data(&segment.file);
        synced.map_err(|e| Fault::Sync(name(), e))?;
        segment.length += lines.len() as u64;
        Ok(())
    }

    /// Whether the name still leads to the open file and nobody else wrote to it.
    fn check_segment(&self, segment: &Segment) -> Result<(), Fault> {
        let name = || segment.name.clone();
        let open = nix::sys::stat::fstat(&segment.file).map_err(|e| Fault::Check(name(), e.into()))?;
        if open.st_nlink == 0 {
            return Err(Fault::Unlinked(name()));
        }
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        match nix::sys::stat::fstatat(&self.handle, segment.name.as_str(), flags) {
            Ok(named) if identity(&named) == identity(&open) => {}
            Ok(_) | Err(Errno::ENOENT) => return Err(Fault::Replaced(name())),
            Err(e) => return Err(Fault::Check(name(), e.into())),
        }
        if u64::try_from(open.st_size) != Ok(segment.length) {
            return Err(Fault::Foreign(name()));
        }
        Ok(())
    }

    /// Removes a segment of which no record was acknowledged, if the name is still its own.
    pub(super) fn discard(&self, segment: Segment) {
        let ours = matches!(self.check_segment(&segment), Ok(()) | Err(Fault::Foreign(_)));
        if segment.length == 0 && ours {
            let _ = self.remove(&segment.name);
        }
    }

    /// Gives up the spare's space.
    pub(super) fn close(&mut self) {
        if self.spare.take().is_some() {
            let _ = self.remove(SPARE);
        }
    }
}

/// The locked directory once more, for its beginning; the writer has its end.
pub(super) struct Store {
    handle: File,
    disk: Arc<dyn Disk>,
}

impl Store {
    /// Says where the log begins from now on: all of it or nothing, and durable.
    pub(super) fn begin(&self, base: &Base) -> io::Result<()> {
        put(&*self.disk, &self.handle, (UNBASED, BASE), base.text().as_bytes())
    }

    /// Takes segments away, the oldest first.
    pub(super) fn remove(&self, segments: &[Listed]) -> io::Result<()> {
        for Listed { name, .. } in segments {
            remove_any(&*self.disk, &self.handle, name)?;
        }
        self.disk.sync_all(&self.handle)
    }
}

/// Writes a file under a first name, and gives it its own, in the place of one that has that.
pub(super) fn put(
    disk: &dyn Disk,
    directory: &File,
    (first, name): (&str, &str),
    mut content: impl Read,
) -> io::Result<()> {
    remove_any(disk, directory, first)?;
    let file = disk.open(directory, first, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?;
    let mut block = vec![0; 256 * 1024];
    loop {
        let read = content.read(&mut block)?;
        let bytes = block.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        if disk.write(&file, bytes)? != bytes.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    disk.sync_all(&file)?;
    disk.replace(directory, first, name)?;
    disk.sync_all(directory)
}

fn remove_any(disk: &dyn Disk, directory: &File, name: &str) -> io::Result<()> {
    match disk.remove(directory, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The segment being written.
pub(super) struct Segment {
    name: String,
    file: File,
    disk: Arc<dyn Disk>,
    length: u64,
    size: u64,
}

impl Segment {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
    /// Bytes of its reserve that are left.
    pub(super) fn room(&self) -> u64 {
        self.size.saturating_sub(self.length)
    }
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// Bytes that only denials and failures may use while there is no spare.
    pub(super) fn kept_back(&self) -> u64 {
        self.size / 8
    }

    /// Gives the rest of the reserve back: sets the size it has, so that no byte of a record can be lost, failed segment or not.
    pub(super) fn trim(self) {
        let trimmed = self.file.metadata().and_then(|m| self.disk.truncate(&self.file, m.len()));
        if let Err(error) = trimmed {
            tracing::warn!(segment = self.name, %error, "Segment keeps its unused reserve");
        }
    }
}

/// A segment as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) first: u64,
    pub(super) name: String,
    pub(super) size: u64,
}

/// The segments of the log in a directory, in order, and the names of `.jsonl` files that are none. What is from before
/// the log's beginning is not of it any more, though it may be there still.
pub(super) fn list(dir: &Path) -> io::Result<(Vec<Listed>, Vec<String>)> {
    let (mut segments, strange) = list_all(dir)?;
    if let Some(Ok(base)) = Base::read(dir)? {
        segments.retain(|segment| segment.first > base.after);
    }
    Ok((segments, strange))
}

/// The same, with what is from before the beginning.
pub(super) fn list_all(dir: &Path) -> io::Result<(Vec<Listed>, Vec<String>)> {
    let mut segments = Vec::new();
    let mut strange = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(EXTENSION) {
            continue;
        }
        let size = match entry.metadata() {
            Ok(m) if m.is_file() => m.len(),
            Ok(_) => {
                strange.push(name);
                continue;
            }
            // Removed since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        match first_of(&name) {
            Some(first) => segments.push(Listed { first, name, size }),
            None => strange.push(name),
        }
    }
    segments.sort_by_key(|s| s.first);
    strange.sort();
    Ok((segments, strange))
}

pub(super) fn segment_name(first: u64) -> String {
    format!("{first:0DIGITS$}{EXTENSION}")
}

pub(super) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let canonical = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    canonical.then(|| digits.parse().ok()).flatten()
}

fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// What a parent directory says that belongs to others, or to a file system that is not written.
fn is_foreign(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem)
}

/// Ours, for nobody else, and with one name if it is a file.
fn check_private(file: &File, path: &Path) -> Result<(), OpenError> {
    let insecure = |problem: String| OpenError::Insecure { path: path.to_owned(), problem };
    let stat = nix::sys::stat::fstat(file).map_err(|e| OpenError::Io {
        what: "check",
        path: path.to_owned(),
        source: e.into(),
    })?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let us = nix::unistd::geteuid().as_raw();
    if stat.st_uid != us {
        return Err(insecure(format!("it belongs to uid {}, not to {us}", stat.st_uid)));
    }
    if stat.st_mode & 0o077 != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(insecure(format!("mode {mode:04o} lets others in: take group and other rights away")));
    }
    if kind != SFlag::S_IFDIR && (kind != SFlag::S_IFREG || stat.st_nlink != 1) {
        return Err(insecure("it is not a regular file with one name".to_owned()));
    }
    Ok(())
}

//! A disk that keeps only what was synced. The files are real ones in memory, so that the writer reads, checks and lists
//! them as always; beside them stands what is on the disk for certain, and what is merely on its way there.
//!
//! A power loss keeps any part of what is on its way: of the directory's changes any subset, of a file's new sectors any
//! subset, one of them torn at a byte with anything behind it, and any size between the old and the new. Data, size and
//! names are independent of each other. Only what was synced stays, whatever else is written beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{Dice, Disk, KernelDisk};

const SECTOR: usize = 512;

/// Which call is a lie: it says that it is done, and nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    Data,
    File,
    Directory,
    Parent,
    Cache,
}

pub(super) struct Model(Mutex<State>);

pub(super) struct State {
    pub(super) dice: Dice,
    /// Calls until the process is no more; nothing is done after that.
    pub(super) fuse: u64,
    /// One in so many calls fails; 0: none.
    pub(super) faults: u64,
    pub(super) lie: Lie,
    /// Nothing can be reserved.
    pub(super) full: bool,
    /// How many calls failed on purpose.
    pub(super) failed: u64,
    root: PathBuf,
    /// Whether the parent knows of the directory for certain.
    known: bool,
    files: BTreeMap<u64, Inode>,
    /// Names that are on the disk for certain.
    names: BTreeMap<String, u64>,
    changes: Vec<Change>,
}

/// What is on the disk of a file, and the file as processes see it.
struct Inode {
    synced: Vec<u8>,
    dirty: bool,
    /// What a failed sync left on the disk from here on, while processes still see what was written.
    failed: Option<(usize, Vec<u8>)>,
    seen: File,
}

#[derive(Clone)]
enum Change {
    Made(String, u64),
    Renamed(String, String),
    Removed(String),
}

impl Inode {
    fn seen(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.seen.metadata().unwrap().len() as usize];
        self.seen.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// What gets to the disk if all is synced.
    fn coming(&self) -> Vec<u8> {
        let mut bytes = self.seen();
        if let Some((start, left)) = &self.failed {
            let end = (start + left.len()).min(bytes.len());
            if let Some(part) = bytes.get_mut(*start..end) {
                part.copy_from_slice(&left[..end - start]);
            }
        }
        bytes
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.synced = self.coming();
        }
    }

    /// The kernel tried to write, failed, and calls what it has clean: no later sync writes it.
    fn fail(&mut self, dice: &mut Dice) {
        let (start, mut left) = (self.synced.len(), self.lose(dice));
        left.resize(self.seen().len().max(start), 0);
        self.failed = Some((start, left.split_off(start)));
    }

    /// What a power loss leaves.
    fn lose(&self, dice: &mut Dice) -> Vec<u8> {
        if !self.dirty {
            return self.synced.clone();
        }
        let seen = self.coming();
        let (low, high) = (self.synced.len().min(seen.len()), self.synced.len().max(seen.len()));
        let size = match dice.below(4) {
            0 => self.synced.len(),
            1 => seen.len(),
            _ => low + dice.below((high - low) as u64 + 1) as usize,
        };
        // What was reserved and never written reads as zeros.
        let mut left = self.synced.clone();
        left.resize(high, 0);
        let chances = [1, 2, 8, u64::MAX][dice.below(4) as usize];
        for start in (0..seen.len()).step_by(SECTOR) {
            let end = (start + SECTOR).min(seen.len());
            if left[start..end] == seen[start..end] || chances == u64::MAX || !dice.one_in(chances) {
                continue;
            }
            let torn = start + dice.below((end - start) as u64 + 1) as usize;
            let whole = !dice.one_in(8);
            left[start..if whole { end } else { torn }]
                .copy_from_slice(&seen[start..if whole { end } else { torn }]);
            if !whole && dice.one_in(2) {
                // What is synced is the same before and after, so that no tear can change it.
                for byte in &mut left[torn.max(self.synced.len()).min(end)..end] {
                    *byte = dice.next() as u8;
                }
            }
        }
        left.truncate(size);
        left
    }
}

impl State {
    /// Whether the call is to be made, and with what end.
    fn call(&mut self, error: Errno) -> io::Result<()> {
        if self.fuse == 0 {
            return Err(Errno::EIO.into());
        }
        self.fuse -= 1;
        if self.faults > 0 && self.dice.one_in(self.faults) {
            self.failed += 1;
            return Err(error.into());
        }
        Ok(())
    }

    fn of(&mut self, file: &File) -> Option<&mut Inode> {
        self.files.get_mut(&file.metadata().unwrap().ino())
    }

    fn sync(&mut self, file: &File, lie: Lie) {
        let told = self.lie;
        if let Some(inode) = self.of(file) {
            if told != lie {
                inode.sync();
            }
            return;
        }
        let root = fs::metadata(&self.root).map(|m| m.ino()).unwrap_or(0);
        if file.metadata().unwrap().ino() != root {
            self.known |= told != Lie::Parent;
        } else if told != Lie::Directory {
            self.names = self.names();
            self.changes.clear();
        }
    }

    /// The names as processes see them.
    fn names(&self) -> BTreeMap<String, u64> {
        let mut names = self.names.clone();
        self.changes.iter().for_each(|change| change.apply(&mut names));
        names
    }

    /// Changes of the directory that a power loss leaves.
    fn kept(&mut self) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.changes);
        match self.dice.below(4) {
            0 => {}
            1 => changes.clear(),
            2 => changes.truncate(self.dice.below(changes.len() as u64 + 1) as usize),
            _ => changes.retain(|_| self.dice.one_in(2)),
        }
        changes
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Made(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Removed(name) => {
                names.remove(name);
            }
        }
    }
}

impl Model {
    pub(super) fn new(root: PathBuf, dice: Dice) -> Self {
        Self(Mutex::new(State {
            dice,
            fuse: u64::MAX,
            faults: 0,
            lie: Lie::None,
            full: false,
            failed: 0,
            root,
            known: false,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            changes: Vec::new(),
        }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn sync(&self, file: &File, lie: Lie) -> io::Result<()> {
        let mut state = self.state();
        let dead = state.fuse == 0;
        let called = state.call(Errno::EIO);
        if called.is_ok() {
            state.sync(file, lie);
        } else if !dead && state.dice.one_in(2) {
            let mut dice = Dice(state.dice.next());
            if let Some(inode) = state.of(file) {
                inode.fail(&mut dice);
            }
            // Often nobody lives to say so.
            if dice.one_in(2) {
                state.fuse = state.fuse.min(dice.below(4));
            }
        }
        called
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().fuse == 0
    }

    /// The power goes and comes back: the files are what the disk kept.
    pub(super) fn lose_power(&self) {
        let mut state = self.state();
        let _ = fs::remove_dir_all(&state.root);
        let gone = state.dice.one_in(2) && !state.known;
        let mut names = std::mem::take(&mut state.names);
        for change in state.kept() {
            change.apply(&mut names);
        }
        let files = std::mem::take(&mut state.files);
        if gone {
            return;
        }
        state.known = true;
        fs::DirBuilder::new().mode(0o700).create(&state.root).unwrap();
        for (name, inode) in names {
            let left = files[&inode].lose(&mut state.dice);
            let path = state.root.join(&name);
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path).unwrap();
            file.write_all(&left).unwrap();
            let inode = file.metadata().unwrap().ino();
            let seen = File::open(path).unwrap();
            state.files.insert(inode, Inode { synced: left, dirty: false, failed: None, seen });
            state.names.insert(name, inode);
        }
    }
}

impl Disk for Model {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.state().call(Errno::EIO)?;
        KernelDisk.make_directory(path)
    }

    fn open(&self, directory: &File, name: &str, flags: OFlag) -> io::Result<File> {
        let mut state = self.state();
        state.call(Errno::EMFILE)?;
        let file = KernelDisk.open(directory, name, flags)?;
        let inode = file.metadata()?.ino();
        // Nothing is ever in the lock.
        if name != "lock" && !state.files.contains_key(&inode) {
            let seen = KernelDisk.open(directory, name, OFlag::O_RDONLY)?;
            state.files.insert(inode, Inode { synced: Vec::new(), dirty: true, failed: None, seen });
            state.changes.push(Change::Made(name.to_owned(), inode));
        }
        Ok(file)
    }

    fn rename(&self, directory: &File, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Errno::EIO)?;
        KernelDisk.rename(directory, from, to)?;
        state.changes.push(Change::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn replace(&self, directory: &File, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Errno::EIO)?;
        KernelDisk.replace(directory, from, to)?;
        state.changes.push(Change::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, directory: &File, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.call(Errno::EIO)?;
        KernelDisk.remove(directory, name)?;
        state.changes.push(Change::Removed(name.to_owned()));
        Ok(())
    }

    fn reserve(&self, _: &File, _: u64) -> io::Result<()> {
        let mut state = self.state();
        let full = state.full;
        state.call(Errno::ENOSPC).and_then(|()| if full { Err(Errno::ENOSPC.into()) } else { Ok(()) })
    }

    /// A write that fails or falls short may have left a part.
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.fuse == 0 {
            return Err(Errno::EIO.into());
        }
        let called = state.call(Errno::EIO);
        let part = state.dice.below(bytes.len() as u64) as usize;
        state.of(file).unwrap().dirty = true;
        let written = if called.is_err() || state.call(Errno::EIO).is_err() {
            KernelDisk.write(file, &bytes[..part])?
        } else {
            KernelDisk.write(file, bytes)?
        };
        called.map(|()| written)
    }

    fn truncate(&self, file: &File, size: u64) -> io::Result<()> {
        let mut state = self.state();
        state.call(Errno::EIO)?;
        state.of(file).unwrap().dirty = true;
        KernelDisk.truncate(file, size)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.sync(file, Lie::Data)
    }

    fn sync_all(&self, file: &File) -> io::Result<()> {
        self.sync(file, Lie::File)
    }

    fn forget(&self, file: &File) -> io::Result<()> {
        let mut state = self.state();
        state.call(Errno::EIO)?;
        if state.lie == Lie::Cache {
            return Ok(());
        }
        if let Some((start, left)) = state.of(file).and_then(|inode| inode.failed.take()) {
            file.write_all_at(&left, start as u64)?;
        }
        Ok(())
    }
}

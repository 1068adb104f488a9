//! The tree at open: from the last seal and the records after it, or from the whole log as long as it has none; and
//! whether checkpoints that were seen elsewhere are of this log.
//!
//! Reads only. Believes a seal no more than its own peaks and place bear out: whose it is, `verify` finds out.

use super::checkpoint::{Checkpoint, Note, SealKey};
use super::cosignature::Cosigner;
use super::history::{History, Place};
use super::line::{may_be, parse};
use super::open::OpenError;
use super::tree::{Tree, leaf};
use crate::jose::Kid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;

pub(super) const SEALED: &str = "log.sealed";
const KEY: &str = "log.key";
const ACCEPTED: &str = "log.accepted";

/// The tree over all that is on disk.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) tree: Tree,
    /// Number of its last record; 0 if it has none.
    pub(super) last: u64,
    /// The last seal.
    pub(super) seal: Option<Seal>,
    /// Keys that records after it introduce.
    pub(super) introduced: Vec<String>,
}

/// A `log.sealed` whose parts fit together.
#[derive(Debug, Clone)]
pub(super) struct Seal {
    pub(super) time: Timestamp,
    /// The key version that signed it.
    pub(super) kid: String,
    /// Number of the last record that it covers.
    pub(super) after: u64,
    pub(super) checkpoint: Checkpoint,
    pub(super) note: String,
    pub(super) tree: Tree,
}

#[derive(Deserialize)]
struct Sealed {
    time: Timestamp,
    kid: String,
    after: u64,
    peaks: Vec<String>,
    note: String,
}

#[derive(Deserialize)]
struct Other {
    #[serde(default)]
    kid: String,
    #[serde(default)]
    vkey: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    object: String,
    size: Option<u64>,
}

impl Seal {
    pub(super) fn read(record: &[u8]) -> Result<Self, String> {
        let sealed: Sealed = serde_json::from_slice(record).map_err(|e| format!("it is incomplete ({e})"))?;
        let checkpoint = Note::parse(&sealed.note).and_then(|note| note.unverified());
        let checkpoint = checkpoint.map_err(|bad| format!("its note is damaged: {bad}"))?;
        let peaks = sealed.peaks.iter().map(|peak| BASE64.decode(peak).ok()?.try_into().ok());
        let tree = peaks.collect::<Option<_>>().and_then(|peaks| Tree::from_peaks(checkpoint.size, peaks));
        let tree = tree.filter(|tree| tree.size() > 0 && tree.root() == checkpoint.root);
        let tree = tree.ok_or("its peaks do not give the root of its note")?;
        let Sealed { time, kid, after, note, .. } = sealed;
        Ok(Self { time, kid, after, checkpoint, note, tree })
    }
}

/// Builds the tree again.
pub(super) fn restore(history: &History<'_>) -> Result<Restored, OpenError> {
    let found = last_seal(history)?;
    if found.is_none() && history.base().is_some() {
        return Err(history.unfounded());
    }
    if found.is_none() && !history.is_empty() {
        tracing::info!("Audit log has no seal yet: all of it is read, once");
    }
    let (seal, place) = found.map_or((None, None), |(seal, place)| (Some(seal), Some(place)));
    let mut restored = Restored {
        tree: seal.as_ref().map(|seal| seal.tree.clone()).unwrap_or_default(),
        last: seal.as_ref().map_or(0, |seal| seal.after),
        seal,
        introduced: Vec::new(),
    };
    history.leaves(place, |line| {
        restored.tree.push(leaf(line.bytes));
        restored.last = line.seq;
        if line.event == KEY {
            let key: Option<Other> = serde_json::from_slice(line.bytes).ok();
            // A key that cannot be read seals nothing.
            restored.introduced.extend(key.and_then(|key| kid(&key.vkey)).map(|kid| kid.to_string()));
        }
        Continue(())
    })?;
    Ok(restored)
}

/// Of a key that seals or cosigns.
fn kid(vkey: &str) -> Option<Kid> {
    let seals = SealKey::from_vkey(vkey).ok().map(|key| key.kid());
    seals.or_else(|| Some(Cosigner::from_vkey(vkey).ok()?.kid()))
}

/// The last seal, and where the last record ends that it covers.
fn last_seal(history: &History<'_>) -> Result<Option<(Seal, Place)>, OpenError> {
    let (mut found, mut covered): (Option<(Seal, Place)>, _) = (None, None);
    history.backwards(|bytes, place, gaps| {
        if found.is_none() && !may_be(bytes, SEALED) {
            return Ok(Continue(()));
        }
        let Some(line) = parse(bytes).ok().filter(|line| !gaps.has(line.seq)) else {
            return Ok(Continue(()));
        };
        let Some((seal, _)) = &found else {
            let read = Seal::read(bytes);
            let wrong =
                |what| history.corrupt(place, format!("seal {} contradicts itself: {what}", line.seq));
            found = Some((read.map_err(wrong)?, place));
            return Ok(Continue(()));
        };
        if line.seq > seal.after {
            return Ok(Continue(()));
        }
        covered = (line.seq == seal.after).then_some(place);
        Ok(Break(()))
    })?;
    let Some((seal, place)) = found else {
        return Ok(None);
    };
    let missing = || format!("its last seal covers records up to {}, which is not in the log", seal.after);
    let covered = covered.ok_or_else(|| history.corrupt(place, missing()))?;
    Ok(Some((seal, covered)))
}

/// Whether the key `kid` was introduced by a record that the last seal covers, which ends at number `covered`. Seals of
/// its own spend that: another key took over since.
pub(super) fn is_introduced(history: &History<'_>, kid: &str, covered: u64) -> Result<bool, OpenError> {
    let mut found = false;
    history.backwards(|bytes, _, gaps| {
        let seals = may_be(bytes, SEALED);
        if !seals && !may_be(bytes, KEY) {
            return Ok(Continue(()));
        }
        let line = parse(bytes).ok().filter(|line| (seals || line.seq <= covered) && !gaps.has(line.seq));
        let other: Option<Other> = line.and_then(|line| serde_json::from_slice(line.bytes).ok());
        let is_about = other.is_some_and(|key| key.kid == kid);
        found = is_about && !seals;
        Ok(if is_about { Break(()) } else { Continue(()) })
    })?;
    Ok(found)
}

/// A checkpoint that was seen elsewhere and is not of this log.
#[derive(Debug)]
pub(super) struct Contradiction {
    pub(super) witness: String,
    pub(super) seen: Seen,
    pub(super) error: OpenError,
}

/// What a witness has shown of it.
#[derive(Debug)]
pub(super) enum Seen {
    /// All of it.
    Note(String),
    /// How many records it is of.
    Size(u64),
}

/// Compares the log with a checkpoint that a witness has.
pub(super) fn compare(
    (dir, history, restored): (&Path, &History<'_>, &Restored),
    witness: &Path,
    note: String,
) -> Result<Option<Contradiction>, OpenError> {
    let read = Note::parse(&note).and_then(|note| note.unverified());
    let seen = read.map_err(|bad| OpenError::Witness {
        witness: witness.display().to_string(),
        problem: format!("its last checkpoint is damaged: {bad}"),
    })?;
    let last = restored.seal.as_ref().map(|seal| &seal.checkpoint);
    if last == Some(&seen) || has(history, &seen, &note)? {
        return Ok(None);
    }
    let (path, witness) = (dir.to_owned(), witness.display().to_string());
    let here = last.map_or(0, |checkpoint| checkpoint.size);
    let there = seen.size;
    let error = if last.is_some_and(|last| last.origin != seen.origin) {
        OpenError::Different {
            path,
            witness: witness.clone(),
            there,
            problem: format!("of log {:?}", seen.origin),
        }
    } else if history.base().is_some_and(|base| there < base.tree.size()) {
        let problem = "and this log begins later: nothing can be compared".to_owned();
        OpenError::Different { path, witness: witness.clone(), there, problem }
    } else if there > here {
        OpenError::Truncated { path, witness: witness.clone(), there, here }
    } else {
        let problem = "and this log has none like it".to_owned();
        OpenError::Different { path, witness: witness.clone(), there, problem }
    };
    Ok(Some(Contradiction { witness, seen: Seen::Note(note), error }))
}

/// Whether an operator took the log as it is, though this witness has a checkpoint of so many records.
pub(super) fn is_accepted(history: &History<'_>, witness: &str, size: u64) -> Result<bool, OpenError> {
    let mut found = false;
    history.backwards(|bytes, _, gaps| {
        if !may_be(bytes, ACCEPTED) || parse(bytes).ok().is_none_or(|line| gaps.has(line.seq)) {
            return Ok(Continue(()));
        }
        found = serde_json::from_slice::<Other>(bytes)
            .is_ok_and(|other| other.object == witness && other.size == Some(size));
        Ok(if found { Break(()) } else { Continue(()) })
    })?;
    Ok(found)
}

/// Whether the log has this checkpoint, or an operator took it as it is in spite of it.
fn has(history: &History<'_>, seen: &Checkpoint, note: &str) -> Result<bool, OpenError> {
    // Of seals: found, or known to be missing.
    let (mut found, mut passed) = (false, false);
    history.backwards(|bytes, _, gaps| {
        let seals = !passed && may_be(bytes, SEALED);
        if !seals && !may_be(bytes, ACCEPTED) {
            return Ok(Continue(()));
        }
        if parse(bytes).ok().is_none_or(|line| gaps.has(line.seq)) {
            return Ok(Continue(()));
        }
        if seals {
            let checkpoint = Seal::read(bytes).ok().map(|seal| seal.checkpoint);
            found = checkpoint.as_ref() == Some(seen);
            passed = checkpoint.is_some_and(|checkpoint| checkpoint.size < seen.size);
        } else {
            found = serde_json::from_slice::<Other>(bytes).is_ok_and(|other| other.note == note);
        }
        Ok(if found { Break(()) } else { Continue(()) })
    })?;
    Ok(found)
}

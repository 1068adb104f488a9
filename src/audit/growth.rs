//! Proofs that the log grew from one of its seals to another: found from the end backwards, and only what came after
//! the older one is read.
//!
//! Reads only, no longer than it is told, and never proves what the records do not bear out.

use super::checkpoint::Checkpoint;
use super::history::{History, Place};
use super::line::{may_be, parse};
use super::open::OpenError;
use super::restore::{SEALED, Seal};
use super::tree::{Growth, Hash, is_consistent, leaf};
use std::ops::ControlFlow::{Break, Continue};
use std::time::Instant;

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotGrown {
    /// No seal is of this size.
    #[error("this log has no seal of {0} records")]
    Foreign(u64),
    /// It may have been among those that are not here any more.
    #[error("a seal of {0} records, if there was one, is not in this directory any more")]
    Gone(u64),
    /// That much cannot be read so fast.
    #[error("so much was recorded since its last checkpoint, of {0} records, that it cannot be read in time")]
    Late(u64),
    #[error(transparent)]
    Read(#[from] OpenError),
}

/// The proof that the seal of `old` records is the beginning of `new`, which is later.
pub(super) fn grown(
    history: &History<'_>,
    old: u64,
    new: &Checkpoint,
    until: Instant,
) -> Result<Vec<Hash>, NotGrown> {
    let (seal, covered) = find(history, old, until)?;
    let late = || NotGrown::Late(old);
    let mut growth = Growth::new(&seal.tree, new.size).ok_or_else(late)?;
    let mut lines = 0u32;
    history.leaves(Some(covered), |line| {
        lines += 1;
        if growth.is_done() || is_late(lines, until) {
            return Break(());
        }
        growth.push(leaf(line.bytes));
        Continue(())
    })?;
    let proof = growth.finish().ok_or_else(late)?;
    let before = (old, seal.checkpoint.root);
    if !is_consistent(before, (new.size, new.root), &proof) {
        let problem = format!("the records since the seal of {old} do not fit that of {}", new.size);
        return Err(history.corrupt(covered, problem).into());
    }
    Ok(proof)
}

/// The seal of this size, and where the last record ends that it covers.
fn find(history: &History<'_>, size: u64, until: Instant) -> Result<(Seal, Place), NotGrown> {
    let (mut found, mut covered): (Option<Seal>, _) = (None, None);
    let (mut passed, mut late, mut lines) = (false, false, 0u32);
    history.backwards(|bytes, place, gaps| {
        lines += 1;
        late = is_late(lines, until);
        if late {
            return Ok(Break(()));
        }
        if found.is_none() && !may_be(bytes, SEALED) {
            return Ok(Continue(()));
        }
        let Some(line) = parse(bytes).ok().filter(|line| !gaps.has(line.seq)) else {
            return Ok(Continue(()));
        };
        if let Some(seal) = &found {
            covered = (line.seq == seal.after).then_some(place);
            return Ok(if line.seq > seal.after { Continue(()) } else { Break(()) });
        }
        let seal = Seal::read(bytes).ok();
        passed = seal.as_ref().is_some_and(|seal| seal.checkpoint.size < size);
        found = seal.filter(|seal| seal.checkpoint.size == size);
        Ok(if passed { Break(()) } else { Continue(()) })
    })?;
    match found.zip(covered) {
        Some(found) => Ok(found),
        None if late => Err(NotGrown::Late(size)),
        None if passed || history.is_whole() => Err(NotGrown::Foreign(size)),
        None => Err(NotGrown::Gone(size)),
    }
}

/// The clock is looked at now and then.
fn is_late(lines: u32, until: Instant) -> bool {
    lines.is_multiple_of(1024) && Instant::now() > until
}

//! A segment by itself, with what proves that it is a part of the log: the tree before it, and how the log goes on from
//! there to a seal.
//!
//! A proof says where the segment begins; nothing of it is believed but what comes out at the seal's root.

use std::io::{self, BufRead};
use std::ops::ControlFlow::{Break, Continue};

use super::check::{BadProof, hashes, open};
use super::{Seal, lines};
use crate::audit::checkpoint::{Checkpoint, SealKey};
use crate::audit::leaves::{Segments, Unknown};
use crate::audit::segment::{Listed, first_of};
use crate::audit::tree::{Hash, Roots, Tree, consistency, is_consistent, leaf};
use crate::audit::verify::alone;

/// First line of a segment's proof.
const PROOF: &str = "jwsd-segment-proof@v1";

/// What is before a segment.
#[derive(Debug, Clone, Default)]
pub(in crate::audit) struct Start {
    /// Number of the last leaf.
    pub(in crate::audit) after: u64,
    /// Over all leaves.
    pub(in crate::audit) tree: Tree,
}

/// A segment that is a part of a log.
#[derive(Debug, PartialEq, Eq)]
pub struct Proven {
    /// Its file's name.
    pub segment: String,
    /// Its records.
    pub records: u64,
    /// How many of them lie in a gap: no seal covers those.
    pub unvouched: u64,
    /// The log, as far as it was sealed then.
    pub checkpoint: Checkpoint,
}

/// How a log goes on to a seal: the hashes that show it, and the seal's note.
pub(in crate::audit) struct Onward {
    hashes: Vec<Hash>,
    note: String,
}

/// From the tree before a segment on to the first seal that covers all of it; `None` if there is none that fits.
pub(in crate::audit) fn first_seal(
    segments: &Segments,
    from: usize,
    tree: &Tree,
) -> Result<Option<Onward>, (String, io::Error)> {
    let mut seal = None;
    segments.leaves(from, |line| {
        seal = Seal::of(line).filter(|seal| seal.checkpoint.size >= tree.size());
        if seal.is_some() { Break(()) } else { Continue(()) }
    })?;
    let Some(Seal { checkpoint, note }) = seal else { return Ok(None) };
    let path = consistency(tree.size(), checkpoint.size);
    let Some(mut roots) = path.and_then(|path| Roots::new(path, tree)) else { return Ok(None) };
    let mut left = checkpoint.size - tree.size();
    segments.leaves(from, |line| {
        if left == 0 {
            return Break(());
        }
        left -= 1;
        roots.push(leaf(line.bytes));
        Continue(())
    })?;
    let fits = |hashes: &Vec<Hash>| {
        is_consistent((tree.size(), tree.root()), (checkpoint.size, checkpoint.root), hashes)
    };
    Ok(roots.finish().filter(fits).map(|hashes| Onward { hashes, note }))
}

/// The proof of a segment, which is not the last one; `after` is the tree over it and all before it. `None` if no seal
/// bears it out.
pub(in crate::audit) fn proof_of(
    segments: &Segments,
    index: usize,
    start: &Start,
    after: &Tree,
) -> Result<Option<String>, (String, io::Error)> {
    let Some([segment, next, ..]) = segments.listed.get(index..) else { return Ok(None) };
    let Some(Onward { hashes, note }) = first_seal(segments, index + 1, after)? else { return Ok(None) };
    let gaps = segments.unknown.between(segment.first, next.first);
    let gaps: String = gaps.map(|(after, next)| format!("gap {after} {next}\n")).collect();
    let (name, size, peaks) = (&segment.name, start.tree.size(), lines(start.tree.peaks()));
    let begin = format!("{PROOF}\nsegment {name}\nafter {}\nsize {size}\n{gaps}", start.after);
    Ok(Some(format!("{begin}\n{peaks}\n{}\n{note}", lines(&hashes))))
}

/// Checks a segment against its proof, with a key that sealed the log then.
///
/// # Errors
/// The outer one if the segment cannot be read, [`BadProof`] if it is not proven.
pub fn check(text: &str, segment: impl BufRead, keys: &[SealKey]) -> io::Result<Result<Proven, BadProof>> {
    let claim = match Claim::read(text, keys) {
        Ok(claim) => claim,
        Err(bad) => return Ok(Err(bad)),
    };
    let Claim { listed, start, unknown, hashes, checkpoint } = claim;
    let (report, tree) = alone(segment, &listed, &unknown, start)?;
    if let Some(problem) = report.problems.into_iter().next() {
        return Ok(Err(BadProof::Segment(problem.to_string())));
    }
    let (old, new) = ((tree.size(), tree.root()), (checkpoint.size, checkpoint.root));
    if !is_consistent(old, new, &hashes) {
        return Ok(Err(BadProof::Hashes));
    }
    let unvouched = report.unvouched;
    Ok(Ok(Proven { segment: listed.name, records: report.records, unvouched, checkpoint }))
}

/// What a proof says.
struct Claim {
    listed: Listed,
    start: Start,
    unknown: Unknown,
    hashes: Vec<Hash>,
    checkpoint: Checkpoint,
}

impl Claim {
    fn read(text: &str, keys: &[SealKey]) -> Result<Self, BadProof> {
        const EARLY: BadProof = BadProof::Form("it ends early");
        const NUMBER: BadProof = BadProof::Form("a number in it is none, or not written plainly");
        let number = |text: &str| text.parse().ok().filter(|n: &u64| n.to_string() == text).ok_or(NUMBER);
        let (head, rest) = text.split_once("\n\n").ok_or(EARLY)?;
        let mut head = head.split('\n');
        let mut member = |name| {
            let member = head.next().and_then(|line| line.strip_prefix(name));
            member.ok_or(BadProof::Form("it has not segment, after and size, in this order"))
        };
        member(PROOF)?;
        let name = member("segment ")?.to_owned();
        let first = first_of(&name).ok_or(BadProof::Form("it names no segment"))?;
        let (after, size) = (number(member("after ")?)?, number(member("size ")?)?);
        let mut unknown = Unknown::default();
        for line in head {
            let gap = line.strip_prefix("gap ").and_then(|gap| gap.split_once(' '));
            let (after, next) = gap.ok_or(BadProof::Form("a line after its size is no gap"))?;
            unknown.add(number(after)?, number(next)?);
        }
        // A tree of no leaves has no peaks: then their blank line stands alone.
        let (peaks, rest) = hashes(rest)?;
        let tree = Tree::from_peaks(size, peaks).ok_or(BadProof::Form("it has not the peaks of its size"))?;
        let (onward, note) = hashes(rest)?;
        let checkpoint = open(note, keys)?;
        Ok(Self {
            listed: Listed { first, name, size: 0 },
            start: Start { after, tree },
            unknown,
            hashes: onward,
            checkpoint,
        })
    }
}

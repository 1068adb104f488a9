//! Seals against the tree of the records: leaf by leaf, with the leaves since the last seal kept at hand. Pure.
//!
//! A seal counts only if its own parts, its key and the records before it agree.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::cosigns::{Cosigns, Holds};
use super::report::{Accepted, Checkpoints, Epoch, Late, Sealing};
use super::statement::{Introduced, Sealed, accepted, introduced};
use super::trust::{Seen, Trust};
use super::vouched::Vouching;
use crate::audit::base::Base;
use crate::audit::checkpoint::{Checkpoint, Note, SealKey};
use crate::audit::line::Line;
use crate::audit::tree::{Hash, Tree, leaf};

/// So many leaves may lie between a seal and the last record that it covers; the format says so.
const FARTHEST: usize = 1 << 20;
/// How many intervals between seals are remembered.
const INTERVALS: usize = 5;
/// Seals so much farther apart than usual are told.
const LATE: i64 = 3;

/// Whether a good seal has a checkpoint that was seen elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Missing,
    /// With another signature, which is to be checked.
    Same,
    /// The same note.
    Verbatim,
}

/// A seal that its key signed and whose parts agree, before it is compared with the records.
struct Claim {
    sealed: Sealed,
    checkpoint: Checkpoint,
    /// Absent where keys are not checked.
    key: Option<Arc<SealKey>>,
    /// Of its peaks.
    tree: Tree,
    cosigned: Holds,
}

/// A `log.accepted`.
#[derive(Clone)]
struct Acceptance {
    /// Place of its leaf.
    at: u64,
    /// Absent where a witness did not show it.
    note: Option<(String, Checkpoint)>,
    told: Accepted,
}

/// All that has to be known to judge the next record.
#[derive(Clone)]
pub(super) struct Seals<'a> {
    trust: &'a Trust,
    /// [`FARTHEST`].
    pub(super) farthest: usize,
    /// Over the leaves that a seal covers, and those that were too many to keep.
    tree: Tree,
    /// Number of its last leaf.
    settled: u64,
    /// Number and hash of the leaves after them.
    pending: VecDeque<(u64, Hash)>,
    report: Option<Sealing>,
    /// The key of the epoch.
    key: Option<Arc<SealKey>>,
    /// It, and those before it.
    keys: Vec<Arc<SealKey>>,
    /// Keys that may take over, each with the place of the leaf that introduced it.
    introduced: Vec<(u64, Arc<SealKey>)>,
    /// Acceptances, in the order of the log.
    accepted: Vec<Acceptance>,
    cosigns: Cosigns,
    /// What witnesses say in the log itself.
    vouching: Vouching<'a>,
    /// Of the checkpoints that were seen elsewhere, those that the log has.
    found: Vec<Found>,
    /// Where the log begins, as it says.
    base: Option<Base>,
    /// How many leaves were not read, and the number of the last of them.
    unread: (u64, u64),
    /// Place of the first leaf that says so.
    stated: Option<u64>,
    last_time: String,
    /// Seconds between the last seals.
    intervals: VecDeque<i64>,
}

impl<'a> Seals<'a> {
    pub(super) fn new(trust: &'a Trust) -> Self {
        Self {
            trust,
            farthest: FARTHEST,
            tree: Tree::default(),
            settled: 0,
            pending: VecDeque::new(),
            report: None,
            key: None,
            keys: Vec::new(),
            introduced: Vec::new(),
            accepted: Vec::new(),
            cosigns: Cosigns::new(&trust.cosigners),
            vouching: Vouching::new(&trust.witnesses),
            found: vec![Found::Missing; trust.seen.len()],
            base: None,
            unread: (0, 0),
            stated: None,
            last_time: String::new(),
            intervals: VecDeque::new(),
        }
    }

    /// The log says that it begins there, and something in it must bear that out.
    pub(super) fn expect(&mut self, base: &Base) {
        self.base = Some(base.clone());
    }

    /// What comes is read from there on: after this number, with this tree before it.
    pub(super) fn begin(&mut self, after: u64, tree: Tree) {
        self.unread = (tree.size(), after);
        (self.tree, self.settled) = (tree, after);
    }

    /// The tree over all leaves.
    pub(super) fn whole(mut self) -> Tree {
        while !self.pending.is_empty() {
            self.settle();
        }
        self.tree
    }

    /// Takes the next leaf. What is wrong with it, sentences.
    pub(super) fn leaf(&mut self, line: &Line<'_>) -> Vec<String> {
        let index = self.tree.size() + self.pending.len() as u64;
        let mut problems = Vec::new();
        match line.event {
            "log.sealed" => self.seal(line, index, &mut problems),
            "log.key" => match introduced(line) {
                Ok(Introduced::Seals(key)) => self.introduced.push((index, key)),
                Ok(Introduced::Cosigns(key)) => self.cosigns.introduce(index, key),
                Err(bad) => problems.push(bad),
            },
            "log.accepted" => match accepted(line) {
                Ok(accepted) => {
                    let (seq, time) = (line.seq, line.time.to_owned());
                    let told = Accepted { seq, time, size: accepted.size, witness: accepted.witness };
                    self.accepted.push(Acceptance { at: index, note: accepted.note, told });
                }
                Err(bad) => problems.push(bad),
            },
            "log.archived" => match Base::stated(line) {
                Ok(stated) => {
                    let says_so = self.base.as_ref() == Some(&stated);
                    self.stated = self.stated.or(says_so.then_some(index));
                }
                Err(bad) => problems.push(bad),
            },
            "log.cosigned" => problems.extend(self.vouching.cosigned(line, self.unread.0).err()),
            _ => {}
        }
        self.last_time.clear();
        self.last_time.push_str(line.time);
        self.pending.push_back((line.seq, leaf(line.bytes)));
        if self.pending.len() > self.farthest {
            self.settle();
        }
        problems
    }

    /// Moves the oldest pending leaf into the tree.
    fn settle(&mut self) {
        if let Some((seq, leaf)) = self.pending.pop_front() {
            self.tree.push(leaf);
            self.settled = seq;
        }
    }

    fn seal(&mut self, line: &Line<'_>, index: u64, problems: &mut Vec<String>) {
        match self.claim(line, index) {
            Ok(claim) => {
                self.vouching.sealed(&claim.checkpoint);
                self.compare(&claim, problems);
                if problems.is_empty() {
                    self.covered(line, claim);
                }
            }
            Err(bad) => problems.push(bad),
        }
    }

    /// What a seal claims, if its key may seal here and its parts agree.
    fn claim(&self, line: &Line<'_>, index: u64) -> Result<Claim, String> {
        let sealed = Sealed::read(line)?;
        let note = Note::parse(&sealed.note).map_err(|bad| format!("the seal's note: {bad}"))?;
        let key = self.key_of(&sealed.kid)?;
        let checkpoint = key.as_ref().map_or_else(|| note.unverified(), |key| note.open(key));
        let checkpoint = checkpoint.map_err(|bad| format!("the seal's note: {bad}"))?;
        if let Some(before) = &self.report {
            if checkpoint.origin != before.origin {
                return Err(format!("the seal is of another log, {:?}", checkpoint.origin));
            }
            if checkpoint.size <= before.size {
                let (size, before) = (checkpoint.size, before.size);
                return Err(format!(
                    "the seal covers {size} records, and the one before it {before}: an old one"
                ));
            }
        }
        if checkpoint.size > index {
            let size = checkpoint.size;
            return Err(format!("the seal covers {size} records, but there are {index} before it"));
        }
        let tree = sealed.tree(checkpoint.size).filter(|tree| tree.root() == checkpoint.root);
        let tree = tree.ok_or("the seal's peaks do not give the root of its note")?;
        let cosigned = self.cosigns.check(&note, &checkpoint)?;
        Ok(Claim { sealed, checkpoint, key, tree, cosigned })
    }

    /// The key of this thumbprint, if it may seal now; `None` if keys are not checked.
    fn key_of(&self, kid: &str) -> Result<Option<Arc<SealKey>>, String> {
        if self.trust.keys.is_empty() {
            return Ok(None);
        }
        let is = |key: &&Arc<SealKey>| key.kid().to_string() == kid;
        let Some(current) = &self.key else {
            let found = self.trust.keys.iter().find(is).cloned();
            let kept = if self.base.is_some() {
                " (what came before was archived: give the key in force here, or --archive)"
            } else {
                ""
            };
            return found.map(Some).ok_or_else(|| {
                format!("the first seal is by the key {kid}, which is none of those that were given{kept}")
            });
        };
        let covered = self.report.as_ref().map_or(0, |report| report.size);
        let newcomers = self.introduced.iter().filter(|(at, _)| *at < covered).map(|(_, key)| key);
        let found = std::iter::once(current).chain(newcomers).find(is).cloned();
        found.map(Some).ok_or_else(|| {
            format!("sealed by the key {kid}, which no record introduced that a seal before this one covers")
        })
    }

    /// Compares the records with what the seal says of them.
    fn compare(&mut self, Claim { sealed, checkpoint, tree, .. }: &Claim, problems: &mut Vec<String>) {
        let (size, after) = (checkpoint.size, sealed.after);
        // It was signed before the log's beginning and recorded after it: later seals cover what it is of.
        if size < self.unread.0 {
            return;
        }
        if size < self.tree.size() {
            problems.push(format!("the seal is more than {} records behind its place", self.farthest));
            return;
        }
        let before = self.report.as_ref().map_or(0, |report| report.after).max(self.unread.1);
        // It covers no more than there are.
        while self.tree.size() < size {
            self.settle();
        }
        if self.tree.root() != checkpoint.root {
            problems.push(format!(
                "the seal does not fit the records: between {} and {after} one was changed, removed, moved or put in",
                before + 1
            ));
        } else if self.settled != after {
            problems.push(format!(
                "the seal says that it covers records up to {after}, but it covers those up to {}",
                self.settled
            ));
        }
        if !problems.is_empty() {
            // What comes after it is compared with what was sealed here, so that one change is one problem.
            (self.tree, self.settled) = (tree.clone(), after);
            self.pending.retain(|(seq, _)| *seq > after);
            let report = self.report.get_or_insert_default();
            (report.size, report.after) = (size, after);
            report.origin.clone_from(&checkpoint.origin);
        }
    }

    /// Takes note of a good seal.
    fn covered(&mut self, line: &Line<'_>, Claim { sealed, checkpoint, key, cosigned, .. }: Claim) {
        self.cosigns.covered(cosigned, checkpoint.size);
        let report = self.report.get_or_insert_default();
        if let Some(seconds) = seconds(&report.time, line.time) {
            self.intervals.push_back(seconds);
            if self.intervals.len() > INTERVALS {
                self.intervals.pop_front();
            }
        }
        report.checked = key.is_some();
        report.seals += 1;
        report.time = line.time.to_owned();
        if report.epochs.last().is_none_or(|epoch| epoch.kid != sealed.kid) {
            let vkey = key.as_ref().map(|key| key.to_vkey());
            report.epochs.push(Epoch { kid: sealed.kid.clone(), from: checkpoint.size, vkey });
            // Whatever introduced the key before it is spent.
            let old = self.key.as_ref().map(|key| key.kid());
            self.introduced.retain(|(_, key)| Some(key.kid()) != old);
            self.keys.extend(key.clone());
        }
        self.key = key;
        (report.size, report.after, report.origin) = (checkpoint.size, sealed.after, checkpoint.origin);
        for &at in self.trust.by_size.get(&checkpoint.size).into_iter().flatten() {
            let Some((seen, found)) = self.trust.seen.get(at).zip(self.found.get_mut(at)) else { continue };
            if seen.note == sealed.note {
                *found = Found::Verbatim;
            } else if seen.checkpoint.root == checkpoint.root && seen.checkpoint.origin == report.origin {
                *found = Found::Same;
            }
        }
    }

    /// What is to be said at the end of the log.
    pub(super) fn finish(mut self) -> (Option<Sealing>, Checkpoints, Vec<String>) {
        let mut problems = Vec::new();
        let vouched = self.vouching.clone().finish(&mut problems);
        let cosigned = self.cosigns.clone().finish(&mut problems);
        let leaves = self.tree.size() + self.pending.len() as u64;
        if let Some(report) = &mut self.report {
            report.uncovered = leaves.saturating_sub(report.size + 1);
            let behind = seconds(&report.time, &self.last_time).unwrap_or_default();
            let mut intervals: Vec<i64> = self.intervals.iter().copied().collect();
            intervals.sort_unstable();
            let every = intervals.get(intervals.len() / 2).copied().filter(|_| intervals.len() > 1);
            report.late =
                every.map(|every| Late { behind, every }).filter(|late| behind > LATE * late.every.max(1));
        } else if !self.trust.keys.is_empty() {
            problems.push("the log has no seal that holds: nothing in it is vouched for".to_owned());
        }
        let covered = self.report.as_ref().map_or(0, |report| report.size);
        if self.base.is_some() && self.stated.is_none_or(|at| at >= covered) {
            problems.push(
                "base: no log.archived that a seal covers says that the log begins there: its beginning was taken away"
                    .to_owned(),
            );
        }
        let checkpoints = self.seen(leaves, &mut problems);
        let covered: Vec<_> = self.covered_acceptances().map(|accepted| accepted.told.clone()).collect();
        if let Some(report) = &mut self.report {
            (report.accepted, report.vouched, report.cosigned) = (covered, vouched, cosigned);
        }
        (self.report, checkpoints, problems)
    }

    /// Those that a seal covers: others anybody may have written.
    fn covered_acceptances(&self) -> impl Iterator<Item = &Acceptance> {
        let covered = self.report.as_ref().map_or(0, |report| report.size);
        self.accepted.iter().filter(move |accepted| accepted.at < covered)
    }

    /// Which of the seen checkpoints an operator accepted as lost: such a one, and those that its file had before it.
    /// Whatever was told later is none of its business, though somebody add the old one once more.
    fn excused(&self, accepted: &[&Checkpoint]) -> Vec<bool> {
        let (mut known, mut through) = (Vec::new(), HashMap::new());
        for (at, seen) in self.trust.seen.iter().enumerate() {
            let first = (seen.file, &seen.checkpoint);
            if accepted.contains(&first.1) && !known.contains(&first) {
                known.push(first);
                through.insert(seen.file, at);
            }
        }
        let is = |(at, seen): (usize, &Seen)| {
            accepted.contains(&&seen.checkpoint)
                || through.get(&seen.file).is_some_and(|through| at < *through)
        };
        self.trust.seen.iter().enumerate().map(is).collect()
    }

    /// Compares with what witnesses kept.
    fn seen(&self, leaves: u64, problems: &mut Vec<String>) -> Checkpoints {
        let mut told = Checkpoints { torn: self.trust.torn, ..Checkpoints::default() };
        let covered = self.report.as_ref().map_or(0, |report| report.size);
        let newcomers = self.introduced.iter().filter(|(at, _)| *at < covered).map(|(_, key)| key);
        let known: Vec<_> = self.trust.keys.iter().chain(&self.keys).chain(newcomers).collect();
        let opens = |text: &str| {
            let note = Note::parse(text);
            known.iter().any(|key| note.as_ref().is_ok_and(|note| note.open(key).is_ok()))
        };
        let mut accepted = Vec::new();
        for Acceptance { note, told, .. } in self.covered_acceptances() {
            let Some((note, checkpoint)) = note else { continue };
            if self.trust.keys.is_empty() || opens(note) {
                accepted.push(checkpoint);
            } else {
                let seq = told.seq;
                problems.push(format!("record {seq} accepts a checkpoint that no key of this log signed"));
            }
        }
        let excused = self.excused(&accepted);
        let begins = self.unread.0;
        let lasts: HashMap<_, _> = self.trust.seen.iter().enumerate().map(|(at, s)| (s.file, at)).collect();
        for (at, ((seen, found), excused)) in self.trust.seen.iter().zip(&self.found).zip(excused).enumerate()
        {
            let (place, size) = (&seen.place, seen.checkpoint.size);
            // But not the newest, or a witness could be got rid of by a beginning that is late enough.
            if *found == Found::Missing && !excused && size < begins && lasts.get(&seen.file) != Some(&at) {
                told.earlier += 1;
                continue;
            }
            let checked = self.trust.keys.is_empty() || *found == Found::Verbatim;
            if !checked && !opens(&seen.note) {
                problems.push(format!("{place}, of {size} records, is not signed by a key of this log"));
            } else if *found != Found::Missing {
                told.found += 1;
            } else if excused {
                told.accepted += 1;
            } else if size < begins {
                problems.push(format!(
                    "{place}, of {size} records, is the last one there, and the log begins later: nothing can be compared \
                     (give --archive)"
                ));
            } else if size > leaves {
                problems.push(format!(
                    "{place} is of {size} records, and the log has {leaves}: its end was cut off"
                ));
            } else {
                problems.push(format!(
                    "{place}, of {size} records, is in none of the log's seals: the log was replaced, or seals taken out"
                ));
            }
        }
        told
    }
}

/// Seconds from one moment to another.
fn seconds(from: &str, to: &str) -> Option<i64> {
    let moment = |text: &str| text.parse::<Timestamp>().ok();
    Some(moment(to)?.as_second() - moment(from)?.as_second())
}

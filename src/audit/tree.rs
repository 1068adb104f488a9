//! The Merkle tree over records (RFC 6962 section 2.1), SHA-256. Pure.
//!
//! Holds no records: a tree is its size and the roots of the complete subtrees that make it up, so that it stays small
//! however long the log is. Proofs are made from leaves that stream by once.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};

/// A hash of the tree.
pub type Hash = [u8; 32];

/// The hash of one record's stored bytes, without its LF.
pub fn leaf(record: &[u8]) -> Hash {
    sha256(&[&[0], record])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    // SHA-256 has 32 bytes, so that nothing is left at zero.
    let mut hash = [0; 32];
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// Where RFC 6962 splits a tree of `size` leaves, which are two at least: the largest power of two below it.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// A tree that grows: the roots of its complete subtrees, largest first, one for each bit of its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// The tree of this size with these peaks; `None` if they are too few or too many.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its complete subtrees, largest first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            // One peak for each bit, so there is one for each bit that is carried.
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The tree over those of its leaves that lie in this range, if they are complete subtrees of it.
    fn part(&self, range: &Range<u64>) -> Option<Self> {
        let end = range.end.min(self.size);
        let (mut start, mut part) = (0, Vec::new());
        let bits = (0..u64::BITS).rev().map(|bit| 1 << bit).filter(|length| self.size & length != 0);
        for (length, peak) in bits.zip(&self.peaks) {
            if range.start <= start && start + length <= end {
                part.push(*peak);
            }
            start += length;
        }
        Self::from_peaks(end.checked_sub(range.start)?, part)
    }

    /// The root; of an empty tree, the hash of nothing.
    pub fn root(&self) -> Hash {
        let folded = self.peaks.iter().rev().copied().reduce(|right, left| node(&left, &right));
        folded.unwrap_or_else(|| sha256(&[]))
    }
}

/// The subtrees whose roots prove that leaf `index` is in a tree of `size` leaves, in the proof's order (RFC 6962
/// section 2.1.1); `None` if it cannot be in there.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    if index >= size {
        return None;
    }
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The subtrees whose roots prove that a tree of `old` leaves is the beginning of one of `new` leaves, in the proof's
/// order (RFC 6962 section 2.1.2); `None` if it cannot be.
pub fn consistency(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old > new {
        return None;
    }
    let (mut start, mut end) = (0, new);
    let mut path = Vec::new();
    // There is nothing to prove of an empty tree.
    while old != end && old > 0 {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    // The old tree itself is known to whoever checks.
    if start > 0 {
        path.push(start..end);
    }
    path.reverse();
    Some(path)
}

/// Makes the roots of some subtrees out of all leaves, or those after a tree that is known, which stream by in order.
pub struct Roots {
    wanted: Vec<(Range<u64>, Tree)>,
    /// Places in `wanted` by the range's start, and how many of them are done.
    order: Vec<usize>,
    done: usize,
    next: u64,
}

impl Roots {
    /// For ranges that do not overlap, as [`inclusion`] and [`consistency`] give them.
    /// `before` is the tree over the leaves that do not come; `None` if they would have to.
    pub fn new(ranges: Vec<Range<u64>>, before: &Tree) -> Option<Self> {
        let begun = |range: Range<u64>| {
            let is_ahead = range.start >= before.size;
            let tree = if is_ahead { Some(Tree::default()) } else { before.part(&range) };
            tree.map(|tree| (range, tree))
        };
        let wanted: Vec<_> = ranges.into_iter().map(begun).collect::<Option<_>>()?;
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|&at| wanted.get(at).map(|(range, _)| range.start));
        let done = wanted.iter().filter(|(range, _)| range.end <= before.size).count();
        Some(Self { wanted, order, done, next: before.size })
    }

    /// Takes the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let index = self.next;
        self.next += 1;
        let Some((range, tree)) = self.order.get(self.done).and_then(|&at| self.wanted.get_mut(at)) else {
            return;
        };
        if range.contains(&index) {
            tree.push(leaf);
            self.done += usize::from(self.next == range.end);
        }
    }

    /// The roots in the order of the ranges; `None` as long as leaves are missing.
    pub fn finish(self) -> Option<Vec<Hash>> {
        let whole = self.done == self.order.len();
        whole.then(|| self.wanted.iter().map(|(_, tree)| tree.root()).collect())
    }
}

/// Proves that a tree is the beginning of a later one, from its peaks and the leaves that came after it: nothing before
/// them is needed again.
pub struct Growth {
    path: Vec<Range<u64>>,
    /// Those that the old tree has already.
    peaks: Vec<(Range<u64>, Hash)>,
    roots: Roots,
}

impl Growth {
    /// From `old` to `new` leaves; `None` if those are fewer.
    pub fn new(old: &Tree, new: u64) -> Option<Self> {
        let path = consistency(old.size, new)?;
        let (mut peaks, mut start) = (Vec::new(), 0);
        let bits = (0..u64::BITS).rev().filter(|bit| old.size >> bit & 1 == 1);
        for (bit, &peak) in bits.zip(&old.peaks) {
            let end = start + (1 << bit);
            peaks.push((start..end, peak));
            start = end;
        }
        let later = path.iter().filter(|range| range.start >= old.size).cloned().collect();
        let roots = Roots::new(later, old)?;
        Some(Self { path, peaks, roots })
    }

    /// Takes the next leaf after the old tree.
    pub fn push(&mut self, leaf: Hash) {
        self.roots.push(leaf);
    }

    /// Whether more leaves are needed.
    pub fn is_done(&self) -> bool {
        self.roots.done == self.roots.order.len()
    }

    /// The proof, in the order of [`consistency`]; `None` as long as leaves are missing.
    pub fn finish(self) -> Option<Vec<Hash>> {
        let later = self.path.iter().filter(|range| self.peaks.iter().all(|(peak, _)| peak != *range));
        let mut known = self.peaks.clone();
        known.extend(later.cloned().zip(self.roots.finish()?));
        let root = |range| known.iter().find(|(known, _)| known == range).map(|(_, hash)| *hash);
        self.path.iter().map(root).collect()
    }
}

/// The root of the tree of `size` leaves in which `proof` shows `leaf` at `index`; `None` if it is no such proof.
pub fn root_with(leaf: Hash, index: u64, size: u64, proof: &[Hash]) -> Option<Hash> {
    let path = inclusion(index, size).filter(|path| path.len() == proof.len())?;
    let climbed = path.iter().zip(proof).fold(leaf, |hash, (range, sibling)| {
        if range.start > index { node(&hash, sibling) } else { node(sibling, &hash) }
    });
    Some(climbed)
}

/// Whether `proof` shows that the tree of `old` leaves and root is the beginning of the tree of `new` leaves and root.
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), proof: &[Hash]) -> bool {
    let Some(path) = consistency(old.0, new.0).filter(|path| path.len() == proof.len()) else {
        return false;
    };
    if old.0 == 0 {
        return old.1 == Tree::default().root();
    }
    let mut steps = path.iter().zip(proof).peekable();
    // Without a subtree that ends where the old tree does, the old tree is one itself.
    let first = steps.next_if(|(range, _)| range.end == old.0);
    let (mut before, mut after) = first.map_or((old.1, old.1), |(_, hash)| (*hash, *hash));
    for (range, hash) in steps {
        if range.start < old.0 {
            (before, after) = (node(hash, &before), node(hash, &after));
        } else {
            after = node(&after, hash);
        }
    }
    (before, after) == (old.1, new.1)
}

#[cfg(test)]
mod tests;

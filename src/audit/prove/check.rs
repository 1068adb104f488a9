//! Checking proofs with a key, without the log. Pure.
//!
//! Believes nothing of a proof but what its hashes and the key's signature bear out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Facts, PROOF};
use crate::audit::checkpoint::{BadNote, Checkpoint, Note, SealKey};
use crate::audit::line::parse;
use crate::audit::tree::{Hash, is_consistent, leaf, root_with};

/// Longest proof that is read, bytes.
pub const LONGEST: u64 = 1 << 20;

/// Why a proof proves nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It cannot be read as one.
    #[error("it is not a proof: {0}")]
    Form(&'static str),
    /// A checkpoint does not open.
    #[error("its checkpoint: {0}")]
    Note(BadNote),
    /// The hashes do not lead to the checkpoint's root.
    #[error("its hashes do not lead from the record to the checkpoint")]
    Hashes,
    /// The older checkpoint's log is not the beginning of the newer one's.
    #[error("its hashes do not show that the log only grew")]
    Grown,
    /// The segment is none by itself.
    #[error("the segment: {0}")]
    Segment(String),
    /// The record is not of an issued JWT.
    #[error("its record is not that of an issued JWT")]
    Record,
    /// The record is of another JWT.
    #[error("its record is of another JWT: jti, kid, alg, iat, exp or aud differ")]
    Other,
}

/// What a proof shows.
#[derive(Debug, PartialEq, Eq)]
pub enum Proven {
    /// A record is in the log.
    Inclusion {
        /// What the record says.
        facts: Facts,
        /// Its number.
        seq: u64,
        /// When it was recorded.
        time: String,
        /// The log, as far as it is sealed.
        checkpoint: Checkpoint,
    },
    /// The log of the first checkpoint is the beginning of that of the second.
    Consistency(Checkpoint, Checkpoint),
}

/// Checks a proof of either kind. With a JWT, whether it is the one that is proven; a proof of consistency is of none.
///
/// # Errors
/// [`BadProof`].
pub fn check(text: &str, keys: &[SealKey], jwt: Option<&Facts>) -> Result<Proven, BadProof> {
    match text.strip_prefix(PROOF).and_then(|rest| rest.strip_prefix('\n')) {
        Some(rest) => inclusion(rest, keys, jwt),
        None if jwt.is_some() => Err(BadProof::Form("it does not begin with c2sp.org/tlog-proof@v1")),
        None => consistency(text, keys),
    }
}

fn inclusion(text: &str, keys: &[SealKey], jwt: Option<&Facts>) -> Result<Proven, BadProof> {
    let rest = text.strip_prefix("extra ").ok_or(BadProof::Form("it has no extra, which is the record"))?;
    let (extra, rest) = rest.split_once('\n').ok_or(BadProof::Form("it ends early"))?;
    let record = BASE64.decode(extra).map_err(|_| BadProof::Form("its extra is not base64"))?;
    let rest = rest.strip_prefix("index ").ok_or(BadProof::Form("it has no index"))?;
    let (digits, rest) = rest.split_once('\n').ok_or(BadProof::Form("it ends early"))?;
    let index: u64 = digits.parse().map_err(|_| BadProof::Form("its index is no number"))?;
    if index.to_string() != digits {
        return Err(BadProof::Form("its index is not written plainly"));
    }
    let (hashes, note) = hashes(rest)?;
    let checkpoint = open(note, keys)?;
    if root_with(leaf(&record), index, checkpoint.size, &hashes) != Some(checkpoint.root) {
        return Err(BadProof::Hashes);
    }
    let line = parse(&record).map_err(|_| BadProof::Record)?;
    let facts = Facts::of(&line).ok_or(BadProof::Record)?;
    if jwt.is_some_and(|jwt| *jwt != facts) {
        return Err(BadProof::Other);
    }
    Ok(Proven::Inclusion { facts, seq: line.seq, time: line.time.to_owned(), checkpoint })
}

fn consistency(text: &str, keys: &[SealKey]) -> Result<Proven, BadProof> {
    let (hashes, notes) = hashes(text)?;
    // Two notes: each has one blank line, after its text, and the first is followed by another.
    let end = notes.match_indices("\n\n").nth(1).map(|(at, _)| at + 1);
    let (old, new) = end
        .and_then(|end| notes.split_at_checked(end))
        .ok_or(BadProof::Form("it has not two checkpoints"))?;
    let new = new.strip_prefix('\n').unwrap_or(new);
    let (old, new) = (open(old, keys)?, open(new, keys)?);
    if old.origin != new.origin {
        return Err(BadProof::Note(BadNote::Origin));
    }
    if !is_consistent((old.size, old.root), (new.size, new.root), &hashes) {
        return Err(BadProof::Grown);
    }
    Ok(Proven::Consistency(old, new))
}

/// The hashes up to a blank line, and what comes after it.
pub(super) fn hashes(text: &str) -> Result<(Vec<Hash>, &str), BadProof> {
    let mut rest = text;
    let mut hashes = Vec::new();
    loop {
        let (line, after) =
            rest.split_once('\n').ok_or(BadProof::Form("no blank line follows its hashes"))?;
        if line.is_empty() {
            return Ok((hashes, after));
        }
        let hash = BASE64.decode(line).ok().and_then(|bytes| bytes.try_into().ok());
        hashes.push(hash.ok_or(BadProof::Form("a line is not a hash in base64"))?);
        rest = after;
    }
}

/// By whichever of the keys it is signed.
pub(super) fn open(note: &str, keys: &[SealKey]) -> Result<Checkpoint, BadProof> {
    let read = Note::parse(note).map_err(BadProof::Note)?;
    let mut fault = BadNote::Unsigned;
    for key in keys {
        match read.open(key) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(bad) if bad != BadNote::Unsigned => fault = bad,
            Err(_) => {}
        }
    }
    Err(BadProof::Note(fault))
}

//! Proofs of a sealed log, as text that can be checked without the log: that a record is in it, and that it only grew.
//!
//! Never proves what a seal does not bear out, and never holds a JWT.

pub mod check;
pub mod segment;

use std::io;
use std::ops::ControlFlow::{Break, Continue};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::checkpoint::{Checkpoint, Note, SealKey};
use super::leaves::Segments;
use super::line::Line;
use super::tree::{Hash, Roots, consistency, inclusion, is_consistent, leaf, root_with};
use super::verify::statement::{Introduced, Sealed, introduced};

/// First line of a proof of inclusion, C2SP's `tlog-proof`.
const PROOF: &str = "c2sp.org/tlog-proof@v1";

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// A file could not be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No record is of this JWT.
    #[error("the log has no record that this JWT was issued: {0}")]
    Absent(&'static str),
    /// Its record is too new.
    #[error("no seal covers its record yet: try again after the next one")]
    Unsealed,
    /// There is no seal of this size.
    #[error(
        "the log has no seal of {0} records: `jwsd audit verify --json` names the last, witnesses all of them"
    )]
    Size(u64),
    /// The older one is from before the log's beginning.
    #[error("records before {0} are no longer kept here: where they were archived, give --archive")]
    Gone(u64),
    /// Sizes in the wrong order.
    #[error("the older size must be the smaller one")]
    Order,
    /// Records do not fit their seal.
    #[error("the records do not fit the seal: run `jwsd audit verify`")]
    Contradiction,
}

/// What a record says of the JWT that it is about, and what a JWT says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// Its id.
    pub jti: String,
    /// Key version.
    pub kid: String,
    /// JOSE algorithm.
    pub alg: String,
    /// Unix seconds.
    pub iat: i64,
    /// Unix seconds.
    pub exp: i64,
    /// Whom it is for, in its order; empty if it does not say.
    #[serde(default)]
    pub aud: Vec<String>,
}

impl Facts {
    /// What a record says; `None` for one that is not of an issued JWT.
    fn of(line: &Line<'_>) -> Option<Self> {
        (line.event == "jwt.issued").then(|| serde_json::from_slice(line.bytes).ok()).flatten()
    }
}

/// A seal as its record has it.
struct Seal {
    checkpoint: Checkpoint,
    note: String,
}

impl Seal {
    fn of(line: &Line<'_>) -> Option<Self> {
        let sealed = Some(line).filter(|line| line.event == "log.sealed").map(Sealed::read)?.ok()?;
        let checkpoint = Note::parse(&sealed.note).and_then(|note| note.unverified()).ok()?;
        Some(Self { checkpoint, note: sealed.note })
    }
}

/// Proves that the record of this JWT is in the log, in C2SP's form with the newest seal's checkpoint. The record's
/// stored bytes are its `extra`.
///
/// # Errors
/// [`NoProof`].
pub fn inclusion_of(dir: &Path, archive: Option<&Path>, jwt: &Facts) -> Result<String, NoProof> {
    let segments = Segments::open(dir, archive).map_err(unread(dir))?;
    let (mut index, mut record, mut other, mut newest) = (segments.tree().size(), None, false, None);
    segments
        .leaves(0, |line| {
            newest = Seal::of(line).or(newest.take());
            if let Some(facts) = Facts::of(line).filter(|facts| facts.jti == jwt.jti) {
                if facts == *jwt {
                    record = record.take().or(Some((index, line.bytes.to_vec())));
                } else {
                    other = true;
                }
            }
            index += 1;
            Continue(())
        })
        .map_err(unread(dir))?;
    let absent = match segments.start() {
        _ if other => "one has its jti, but another kid, alg, iat, exp or aud",
        Some(_) => "none that is kept has its jti; where older ones were archived, give --archive",
        None => "none has its jti",
    };
    let (index, record) = record.ok_or(NoProof::Absent(absent))?;
    let seal = newest.filter(|seal: &Seal| seal.checkpoint.size > index).ok_or(NoProof::Unsealed)?;
    let Checkpoint { size, root, .. } = seal.checkpoint;
    let path = inclusion(index, size).ok_or(NoProof::Unsealed)?;
    let hashes = roots(&segments, dir, path, size)?.ok_or(NoProof::Contradiction)?;
    if root_with(leaf(&record), index, size, &hashes) != Some(root) {
        return Err(NoProof::Contradiction);
    }
    let extra = BASE64.encode(&record);
    Ok(format!("{PROOF}\nextra {extra}\nindex {index}\n{}\n{}", lines(&hashes), seal.note))
}

/// Proves that the log of the older seal is the beginning of that of the newer one (or of the newest): the hashes, and
/// both checkpoints.
///
/// # Errors
/// [`NoProof`].
pub fn consistency_of(
    dir: &Path,
    archive: Option<&Path>,
    old: u64,
    new: Option<u64>,
) -> Result<String, NoProof> {
    let segments = Segments::open(dir, archive).map_err(unread(dir))?;
    let (mut before, mut after) = (None, None);
    segments
        .leaves(0, |line| {
            if let Some(seal) = Seal::of(line) {
                if seal.checkpoint.size == old {
                    before = Some(Seal { checkpoint: seal.checkpoint.clone(), note: seal.note.clone() });
                }
                if new.is_none_or(|new| seal.checkpoint.size == new) {
                    after = Some(seal);
                }
            }
            Continue(())
        })
        .map_err(unread(dir))?;
    let before = before.ok_or(NoProof::Size(old))?;
    let after = after.ok_or(NoProof::Size(new.unwrap_or(old)))?;
    let (first, second) = (&before.checkpoint, &after.checkpoint);
    let path = consistency(first.size, second.size).ok_or(NoProof::Order)?;
    let hashes = roots(&segments, dir, path, second.size)?.ok_or(NoProof::Gone(first.size))?;
    if !is_consistent((first.size, first.root), (second.size, second.root), &hashes) {
        return Err(NoProof::Contradiction);
    }
    Ok(format!("{}\n{}\n{}", lines(&hashes), before.note, after.note))
}

/// The keys of a log as it has them itself.
#[derive(Debug, Default)]
pub struct Keys {
    /// Those that seal, each with the size of its first seal and its text, if the log says that.
    pub seals: Vec<(u64, String, Option<String>)>,
    /// Those that cosign seals, the same.
    pub cosigns: Vec<(u64, String, String)>,
}

/// The keys of the log's seals: to be handed to auditors once, by somebody who knows that this log is the right one.
///
/// # Errors
/// [`NoProof::Read`].
pub fn keys(dir: &Path) -> Result<Keys, NoProof> {
    let segments = Segments::open(dir, None).map_err(unread(dir))?;
    let first = segments.start().and_then(|base| SealKey::from_vkey(&base.vkey).ok());
    let mut known: Vec<(String, String)> =
        first.iter().map(|key| (key.kid().to_string(), key.to_vkey())).collect();
    let (mut cosigners, mut keys) = (Vec::new(), Keys::default());
    segments
        .leaves(0, |line| {
            if line.event == "log.key" {
                match introduced(line) {
                    Ok(Introduced::Seals(key)) => known.push((key.kid().to_string(), key.to_vkey())),
                    Ok(Introduced::Cosigns(key)) => {
                        let is_told = keys.cosigns.iter().any(|(_, kid, _)| kid == key.kid().as_str());
                        if !is_told && !cosigners.contains(&key) {
                            cosigners.push(key);
                        }
                    }
                    Err(_) => {}
                }
            }
            let sealed = (line.event == "log.sealed").then(|| Sealed::read(line).ok().zip(Seal::of(line)));
            let Some((sealed, seal)) = sealed.flatten() else { return Continue(()) };
            let size = seal.checkpoint.size;
            if keys.seals.last().is_none_or(|(_, kid, _)| *kid != sealed.kid) {
                let vkey = known.iter().find(|(kid, _)| *kid == sealed.kid).map(|(_, vkey)| vkey.clone());
                keys.seals.push((size, sealed.kid, vkey));
            }
            if let Ok(note) = Note::parse(&seal.note) {
                // One that was seen once need not be looked for again.
                cosigners.retain(|key| {
                    let is_used = key.open(&note).is_ok();
                    if is_used {
                        keys.cosigns.push((size, key.kid().to_string(), key.to_vkey()));
                    }
                    !is_used && !keys.cosigns.iter().any(|(_, kid, _)| *kid == key.kid().to_string())
                });
            }
            Continue(())
        })
        .map_err(unread(dir))?;
    Ok(keys)
}

/// The roots of these subtrees of the first `size` leaves; `None` if that takes leaves that are no longer kept.
fn roots(
    segments: &Segments,
    dir: &Path,
    path: Vec<std::ops::Range<u64>>,
    size: u64,
) -> Result<Option<Vec<Hash>>, NoProof> {
    let before = segments.tree();
    let Some(mut roots) = Roots::new(path, &before) else { return Ok(None) };
    let mut left = size.saturating_sub(before.size());
    segments
        .leaves(0, |line| {
            if left == 0 {
                return Break(());
            }
            left -= 1;
            roots.push(leaf(line.bytes));
            Continue(())
        })
        .map_err(unread(dir))?;
    roots.finish().map(Some).ok_or(NoProof::Contradiction)
}

fn lines(hashes: &[Hash]) -> String {
    hashes.iter().map(|hash| format!("{}\n", BASE64.encode(hash))).collect()
}

fn unread(dir: &Path) -> impl FnOnce((String, io::Error)) -> NoProof {
    move |(name, source)| {
        let path = if name.is_empty() { dir.to_owned() } else { dir.join(name) };
        NoProof::Read { path, source }
    }
}

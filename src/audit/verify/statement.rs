//! What a log says of its own seals: `log.sealed`, `log.key` and `log.accepted`, read. Pure.
//!
//! Reads only what the writer could have written: a seal has no member that nothing vouches for, but its time.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::audit::checkpoint::{Checkpoint, Note, SealKey};
use crate::audit::cosignature::Cosigner;
use crate::audit::line::{Line, encode};
use crate::audit::queue::serialize_body;
use crate::audit::tree::{Hash, Tree};
use crate::audit::{Entry, Event, Outcome};

/// A `log.sealed`.
#[derive(Debug, Deserialize)]
pub(in crate::audit) struct Sealed {
    pub(in crate::audit) kid: String,
    pub(in crate::audit) after: u64,
    peaks: Vec<String>,
    pub(in crate::audit) note: String,
}

impl Sealed {
    /// # Errors
    /// What is wrong with it, a sentence.
    pub(in crate::audit) fn read(line: &Line<'_>) -> Result<Self, String> {
        let sealed: Self =
            serde_json::from_slice(line.bytes).map_err(|_| "the seal lacks kid, after, peaks or note")?;
        let entry = Entry {
            kid: Some(sealed.kid.clone()),
            after: Some(sealed.after),
            peaks: sealed.peaks.clone(),
            note: Some(sealed.note.clone()),
            ..Entry::new(Event::LogSealed, Outcome::Success)
        };
        let (mut body, mut bytes) = (Vec::new(), Vec::new());
        if serialize_body(&entry, &mut body).is_ok() {
            encode(&mut bytes, line.seq, line.time, &body);
        }
        if bytes.strip_suffix(b"\n") != Some(line.bytes) {
            return Err("the seal is not written as the log writes one: it was changed".to_owned());
        }
        Ok(sealed)
    }

    /// The tree of this size that its peaks make up.
    pub(super) fn tree(&self, size: u64) -> Option<Tree> {
        let peak = |text: &String| -> Option<Hash> { BASE64.decode(text).ok()?.try_into().ok() };
        Tree::from_peaks(size, self.peaks.iter().map(peak).collect::<Option<_>>()?)
    }
}

/// The key that a `log.key` introduces.
pub(in crate::audit) enum Introduced {
    /// One that seals.
    Seals(Arc<SealKey>),
    /// One that cosigns seals.
    Cosigns(Arc<Cosigner>),
}

/// Reads a `log.key`.
///
/// # Errors
/// What is wrong with it, a sentence.
pub(in crate::audit) fn introduced(line: &Line<'_>) -> Result<Introduced, String> {
    #[derive(Deserialize)]
    struct Key {
        kid: String,
        vkey: String,
    }
    let read: Key = serde_json::from_slice(line.bytes).map_err(|_| "log.key lacks kid or vkey")?;
    let cosigner = Cosigner::from_vkey(&read.vkey).ok().filter(Cosigner::is_post_quantum);
    let (kid, key) = match cosigner {
        Some(key) => (key.kid(), Introduced::Cosigns(Arc::new(key))),
        None => {
            let key = SealKey::from_vkey(&read.vkey).map_err(|bad| format!("log.key: its vkey is {bad}"))?;
            (key.kid(), Introduced::Seals(Arc::new(key)))
        }
    };
    if kid.to_string() != read.kid {
        return Err("log.key: kid and vkey are of different keys".to_owned());
    }
    Ok(key)
}

/// What a `log.accepted` takes the log in spite of, which nobody vouches for yet.
pub(in crate::audit) struct Accepted {
    /// The checkpoint, and the note that it is in; absent where a witness did not show that.
    pub(in crate::audit) note: Option<(String, Checkpoint)>,
    /// How many records it is of.
    pub(in crate::audit) size: u64,
    /// Which witness has it, if that did not show the note.
    pub(in crate::audit) witness: Option<String>,
}

/// Reads a `log.accepted`.
///
/// # Errors
/// What is wrong with it, a sentence.
pub(in crate::audit) fn accepted(line: &Line<'_>) -> Result<Accepted, String> {
    #[derive(Deserialize)]
    struct Read {
        note: Option<String>,
        object: Option<String>,
        size: Option<u64>,
    }
    const LACKS: &str = "log.accepted has neither a note nor object and size";
    let Read { note, object, size } = serde_json::from_slice(line.bytes).map_err(|_| LACKS)?;
    if let Some(note) = note {
        let read = Note::parse(&note).and_then(|note| note.unverified());
        let checkpoint = read.map_err(|bad| format!("log.accepted: {bad}"))?;
        return Ok(Accepted { size: checkpoint.size, note: Some((note, checkpoint)), witness: None });
    }
    let (witness, size) = object.zip(size).ok_or(LACKS)?;
    Ok(Accepted { note: None, size, witness: Some(witness) })
}

/// Who cosigned, and the note that they signed, as a `log.cosigned` has it.
///
/// # Errors
/// What is wrong with it, a sentence.
pub(super) fn cosigned(line: &Line<'_>) -> Result<(String, String), String> {
    #[derive(Deserialize)]
    struct Read {
        object: String,
        note: String,
    }
    let Read { object, note } =
        serde_json::from_slice(line.bytes).map_err(|_| "log.cosigned lacks object or note")?;
    Ok((object, note))
}

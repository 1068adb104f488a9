//! Cosignatures of checkpoints, as C2SP's `tlog-cosignature` has them: whoever cosigns has seen that the log only grew
//! up to there, at that time. Pure.
//!
//! A cosignature that does not verify says nothing.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{BadNote, Checkpoint, DASH, Note, is_name};
use crate::jose::{Algorithm, PublicKey, Signature, Verifier, hex};

/// The public half of a key that cosigns, under its owner's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Cosigner {
    name: String,
    kind: Kind,
    public: PublicKey,
    id: [u8; 4],
}

/// What `signed-note` calls the signature type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519 = 4,
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({}+{})", self.name, self.id())
    }
}

impl Cosigner {
    /// From its text, `name+id+key`.
    ///
    /// # Errors
    /// [`BadNote::Key`].
    pub fn from_vkey(text: &str) -> Result<Self, BadNote> {
        const FORM: BadNote = BadNote::Key("it is not of the form name+id+key");
        let (name, rest) = text.split_once('+').ok_or(FORM)?;
        let (id, key) = rest.split_once('+').ok_or(FORM)?;
        if !is_name(name) {
            return Err(FORM);
        }
        let bytes = BASE64.decode(key).map_err(|_| FORM)?;
        let (kind, public) = match bytes.split_first().ok_or(FORM)? {
            (4, bytes) => (Kind::Ed25519, PublicKey::ed25519(bytes)),
            (1 | 2, _) => return Err(BadNote::Key("it is the key of a log, which does not cosign")),
            _ => return Err(BadNote::Key("it is no key for cosignatures by Ed25519 (type 0x04)")),
        };
        let public = public.map_err(|_| BadNote::Key("it is damaged"))?;
        let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &bytes].concat());
        let made = Self {
            name: name.to_owned(),
            kind,
            public,
            id: hash.as_ref().first_chunk().copied().unwrap_or_default(),
        };
        if made.id() == id { Ok(made) } else { Err(BadNote::Key("its id is of another key or name")) }
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id within notes, hex.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// The checkpoint in a note that it has cosigned and when (Unix seconds), once every signature of it has verified.
    ///
    /// # Errors
    /// All but [`BadNote::Form`], [`BadNote::Origin`] and [`BadNote::Key`].
    pub fn open(&self, note: &Note<'_>) -> Result<(Checkpoint, i64), BadNote> {
        let checkpoint = note.unverified()?;
        let mut latest = None;
        for signature in note.signatures(&self.name, &self.id) {
            let (time, signature) = signature.split_first_chunk().ok_or(BadNote::Signature)?;
            let time = i64::try_from(u64::from_be_bytes(*time)).map_err(|_| BadNote::Signature)?;
            self.verify(&self.message(&checkpoint, time), signature)?;
            latest = latest.max(Some(time));
        }
        Ok((checkpoint, latest.ok_or(BadNote::Unsigned)?))
    }

    /// Of what it answered when it was asked to cosign a checkpoint: the note that it alone signed, and when.
    ///
    /// # Errors
    /// As [`Self::open`], and [`BadNote::Form`].
    pub fn note(&self, checkpoint: &Checkpoint, lines: &str) -> Result<(String, i64), BadNote> {
        if !lines.starts_with(DASH) {
            return Err(BadNote::Form("a signature line is damaged"));
        }
        let all = format!("{checkpoint}\n{lines}");
        let all = Note::parse(&all)?;
        let signature = all.signatures(&self.name, &self.id).last().ok_or(BadNote::Unsigned)?;
        let line = BASE64.encode([&self.id[..], signature].concat());
        let note = format!("{checkpoint}\n{DASH}{} {line}\n", self.name);
        let (_, time) = self.open(&Note::parse(&note)?)?;
        Ok((note, time))
    }

    /// What is signed.
    fn message(&self, checkpoint: &Checkpoint, time: i64) -> Vec<u8> {
        match self.kind {
            Kind::Ed25519 => format!("cosignature/v1\ntime {time}\n{checkpoint}").into_bytes(),
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadNote> {
        let algorithm = match self.kind {
            Kind::Ed25519 => Algorithm::Ed25519,
        };
        let signature =
            Signature::from_backend(signature.to_vec(), &self.public).map_err(|_| BadNote::Signature)?;
        let verifier = Verifier::new(algorithm, self.public.clone()).map_err(|_| BadNote::Signature)?;
        verifier.verify(message, &signature).map_err(|_| BadNote::Signature)
    }
}

#[cfg(test)]
pub(in crate::audit) mod tests;

//! Cosignatures of checkpoints, as C2SP's `tlog-cosignature` has them: whoever cosigns has seen that the log only grew
//! up to there, at that time. Pure.
//!
//! A cosignature that does not verify says nothing.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::checkpoint::{BadNote, Checkpoint, DASH, Note, is_name};
use crate::jose::{Algorithm, Kid, MlDsa, PublicKey, Signature, Verified, Verifier, hex};

/// The public half of a key that cosigns, under its owner's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Cosigner {
    name: String,
    kind: Kind,
    public: PublicKey,
    /// As notes encode it, with its type.
    encoded: Vec<u8>,
    id: [u8; 4],
}

/// What `signed-note` calls the signature type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519 = 4,
    MlDsa44 = 6,
}

impl Kind {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Ed25519 => Algorithm::Ed25519,
            Self::MlDsa44 => Algorithm::MlDsa44,
        }
    }
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
        let (algorithm, public) = match bytes.split_first().ok_or(FORM)? {
            (4, bytes) => (Algorithm::Ed25519, PublicKey::ed25519(bytes)),
            (6, bytes) => (Algorithm::MlDsa44, PublicKey::ml_dsa(MlDsa::MlDsa44, bytes)),
            (1 | 2, _) => return Err(BadNote::Key("it is the key of a log, which does not cosign")),
            _ => return Err(BadNote::Key("it is no key for cosignatures (type 0x04 or 0x06)")),
        };
        let public = public.map_err(|_| BadNote::Key("it is damaged"))?;
        let made = Self::new(name, algorithm, public)?;
        if made.id() == id { Ok(made) } else { Err(BadNote::Key("its id is of another key or name")) }
    }

    /// The key of whoever has this name.
    ///
    /// # Errors
    /// [`BadNote::Key`] for names that [`is_name`] refuses, and for keys other than Ed25519 and ML-DSA-44.
    pub fn new(name: &str, algorithm: Algorithm, public: PublicKey) -> Result<Self, BadNote> {
        const UNFIT: BadNote = BadNote::Key("it does not fit its algorithm");
        if !is_name(name) {
            return Err(BadNote::Key("its name is none"));
        }
        let kind = match algorithm {
            Algorithm::Ed25519 | Algorithm::EdDSA => Kind::Ed25519,
            Algorithm::MlDsa44 => Kind::MlDsa44,
            _ => return Err(BadNote::Key("it takes Ed25519 or ML-DSA-44")),
        };
        Verifier::new(kind.algorithm(), public.clone()).map_err(|_| UNFIT)?;
        let raw = public.raw().ok_or(UNFIT)?;
        let encoded = [&[kind as u8], raw].concat();
        let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &encoded].concat());
        let id = hash.as_ref().first_chunk().copied().unwrap_or_default();
        Ok(Self { name: name.to_owned(), kind, public, encoded, id })
    }

    /// Its text, `name+id+key`.
    pub fn to_vkey(&self) -> String {
        format!("{}+{}+{}", self.name, self.id(), BASE64.encode(&self.encoded))
    }

    /// RFC 7638 thumbprint.
    pub fn kid(&self) -> Kid {
        self.public.thumbprint()
    }

    /// Whether this is a key of the kind with which a log cosigns itself.
    pub fn is_post_quantum(&self) -> bool {
        self.kind == Kind::MlDsa44
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

    /// The signature line; `None` if it is not a signature of [`Self::message`].
    pub fn line(&self, checkpoint: &Checkpoint, time: i64, signature: Verified<'_>) -> Option<String> {
        let verifier = Verifier::new(self.kind.algorithm(), self.public.clone()).ok()?;
        let signature = signature.of(&verifier, &self.message(checkpoint, time)).ok()?;
        let bytes = [&self.id[..], &time.to_be_bytes(), signature.as_bytes()].concat();
        Some(format!("{DASH}{} {}\n", self.name, BASE64.encode(bytes)))
    }

    /// What is signed of a checkpoint at this time (Unix seconds).
    pub fn message(&self, checkpoint: &Checkpoint, time: i64) -> Vec<u8> {
        let Checkpoint { origin, size, root } = checkpoint;
        match self.kind {
            Kind::Ed25519 => format!("cosignature/v1\ntime {time}\n{checkpoint}").into_bytes(),
            Kind::MlDsa44 => {
                // Names are shorter than 256 bytes; what is not is of length 0, which nothing else is.
                let length = |name: &str| [u8::try_from(name.len()).unwrap_or_default()];
                let mut message = b"subtree/v1\n\0".to_vec();
                message.extend(length(&self.name));
                message.extend(self.name.as_bytes());
                message.extend(time.to_be_bytes());
                message.extend(length(origin));
                message.extend(origin.as_bytes());
                // From the first leaf on.
                message.extend(0u64.to_be_bytes());
                message.extend(size.to_be_bytes());
                message.extend(root);
                message
            }
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadNote> {
        let signature =
            Signature::from_backend(signature.to_vec(), &self.public).map_err(|_| BadNote::Signature)?;
        let verifier = Verifier::new(self.kind.algorithm(), self.public.clone());
        verifier.map_err(|_| BadNote::Signature)?.verify(message, &signature).map_err(|_| BadNote::Signature)
    }
}

#[cfg(test)]
pub(in crate::audit) mod tests;

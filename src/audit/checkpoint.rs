//! Checkpoints of the log: signed statements of its size and root hash, as C2SP's `tlog-checkpoint` and `signed-note`
//! have it. Pure.
//!
//! A note that does not open says nothing: there is no way to the checkpoint in it but [`Note::open`].

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::tree::Hash;
use crate::jose::{Algorithm, Kid, PublicKey, Signature, Verified, Verifier, hex};

/// Longest name of a log, bytes; it stands in every checkpoint three times.
pub const LONGEST_NAME: usize = 128;
/// Longest note that is read, bytes: with room for the signatures of many witnesses.
const LONGEST_NOTE: usize = 64 * 1024;
/// Most signatures of a note.
const MOST_SIGNATURES: usize = 32;
/// What a signature line begins with.
pub(super) const DASH: &str = "\u{2014} ";

/// What is wrong with a note, a checkpoint or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not of the form that `signed-note` prescribes.
    #[error("it is not a signed note: {0}")]
    Form(&'static str),
    /// The signed text is no checkpoint.
    #[error("what it signs is not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// No signature is by the key that was asked for.
    #[error("it is not signed by this key")]
    Unsigned,
    /// The key's signature does not verify.
    #[error("its signature does not verify")]
    Signature,
    /// The checkpoint is of another log.
    #[error("it is of another log")]
    Origin,
    /// Not a verifier key (`name+id+key`) of Ed25519 or ECDSA on P-256.
    #[error("not a key of this kind: {0}")]
    Key(&'static str),
}

/// Whether it can name a log, and its key.
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(fits)
}

/// The public half of the key that seals a log, under the log's name.
pub struct SealKey {
    name: String,
    verifier: Verifier,
    kind: Kind,
    id: [u8; 4],
}

/// What `signed-note` calls the signature type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519 = 1,
    Ecdsa = 2,
}

impl SealKey {
    /// The key of the log of this name.
    ///
    /// # Errors
    /// [`BadNote::Key`] for names that [`is_name`] refuses, and for keys other than Ed25519 and ES256.
    pub fn new(name: &str, algorithm: Algorithm, public: PublicKey) -> Result<Self, BadNote> {
        if !is_name(name) {
            return Err(BadNote::Key(
                "its name is empty or long, or has a space, a control character or `+`",
            ));
        }
        let kind = match algorithm {
            Algorithm::Ed25519 | Algorithm::EdDSA => Kind::Ed25519,
            Algorithm::ES256 => Kind::Ecdsa,
            _ => return Err(BadNote::Key("it takes Ed25519 or ES256")),
        };
        let verifier =
            Verifier::new(algorithm, public).map_err(|_| BadNote::Key("it does not fit its algorithm"))?;
        let encoded = encoded(kind, &verifier)?;
        let hash = match kind {
            Kind::Ed25519 => digest(&SHA256, &[name.as_bytes(), &[b'\n', kind as u8], &encoded].concat()),
            Kind::Ecdsa => digest(&SHA256, &encoded),
        };
        let id = hash.as_ref().first_chunk().copied().unwrap_or_default();
        Ok(Self { name: name.to_owned(), verifier, kind, id })
    }

    /// From its text, `name+id+key`.
    ///
    /// # Errors
    /// [`BadNote::Key`].
    pub fn from_vkey(text: &str) -> Result<Self, BadNote> {
        const FORM: BadNote = BadNote::Key("it is not of the form name+id+key");
        let (name, rest) = text.split_once('+').ok_or(FORM)?;
        let (id, key) = rest.split_once('+').ok_or(FORM)?;
        let bytes = BASE64.decode(key).map_err(|_| FORM)?;
        let (kind, bytes) = bytes.split_first().ok_or(FORM)?;
        let (algorithm, public) = match kind {
            1 => (Algorithm::Ed25519, PublicKey::ed25519(bytes)),
            2 => (Algorithm::ES256, PublicKey::from_spki(bytes)),
            _ => return Err(BadNote::Key("it is neither of Ed25519 nor of ECDSA")),
        };
        let public = public.map_err(|_| BadNote::Key("it is damaged"))?;
        let made = Self::new(name, algorithm, public)?;
        if made.id() == id { Ok(made) } else { Err(BadNote::Key("its id is of another key or name")) }
    }

    /// Its text, `name+id+key`: what auditors keep.
    pub fn to_vkey(&self) -> String {
        // It was encoded when it was made.
        let encoded = encoded(self.kind, &self.verifier).unwrap_or_default();
        let key = BASE64.encode([&[self.kind as u8], &encoded[..]].concat());
        format!("{}+{}+{key}", self.name, self.id())
    }

    /// The name of the log that it seals.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id within notes, hex.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// RFC 7638 thumbprint.
    pub fn kid(&self) -> Kid {
        self.verifier.public().thumbprint()
    }

    /// The note that carries this signature of the checkpoint's text; `None` if it is not a signature of that.
    pub fn note(&self, checkpoint: &Checkpoint, signature: Verified<'_>) -> Option<String> {
        let text = checkpoint.to_string();
        let signature = signature.of(&self.verifier, text.as_bytes()).ok()?;
        let bytes = signature.to_x509(self.verifier.public());
        let line = BASE64.encode([&self.id[..], &bytes].concat());
        Some(format!("{text}\n{DASH}{} {line}\n", self.name))
    }

    fn verify(&self, text: &str, signature: &[u8]) -> Result<(), BadNote> {
        let public = self.verifier.public();
        let signature = Signature::from_x509(signature.to_vec(), public).map_err(|_| BadNote::Signature)?;
        self.verifier.verify(text.as_bytes(), &signature).map_err(|_| BadNote::Signature)
    }
}

/// The public key as notes encode it, without its type.
fn encoded(kind: Kind, verifier: &Verifier) -> Result<Vec<u8>, BadNote> {
    let spki = verifier.public().to_spki().ok_or(BadNote::Key("it takes Ed25519 or ES256"))?;
    match kind {
        // The last 32 bytes of its SPKI are the key itself (RFC 8410 section 4).
        Kind::Ed25519 => Ok(spki.last_chunk::<32>().map(|x| x.to_vec()).unwrap_or_default()),
        Kind::Ecdsa => Ok(spki),
    }
}

/// How many records a log has, and the root of the tree over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many records.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl fmt::Display for Checkpoint {
    /// The text that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(self.root))
    }
}

impl Checkpoint {
    /// Reads the signed text. Extension lines are refused: no log of ours has any.
    fn parse(text: &str) -> Result<Self, BadNote> {
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(BadNote::Checkpoint("it has not three lines"));
        };
        let number: u64 = size.parse().map_err(|_| BadNote::Checkpoint("its size is no number"))?;
        let root: Hash = BASE64
            .decode(root)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(BadNote::Checkpoint("its root is not 32 bytes in base64"))?;
        let checkpoint = Self { origin: origin.to_owned(), size: number, root };
        // One form only: no sign, no zeros before the size.
        if checkpoint.to_string() != text {
            return Err(BadNote::Checkpoint("its size is not written as a plain number"));
        }
        Ok(checkpoint)
    }
}

/// A signed note that was read and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Reads a note, one that ends where it should.
    ///
    /// # Errors
    /// [`BadNote::Form`].
    pub fn parse(note: &'a str) -> Result<Self, BadNote> {
        if note.len() > LONGEST_NOTE {
            return Err(BadNote::Form("it is too long"));
        }
        if note.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(BadNote::Form("it has control characters"));
        }
        let at = note.rfind("\n\n").ok_or(BadNote::Form("it has no signature"))?;
        let (text, rest) = note.split_at(at + 1);
        let lines = rest.strip_prefix('\n').and_then(|rest| rest.strip_suffix('\n'));
        let lines = lines.ok_or(BadNote::Form("its last line has no end"))?;
        let signatures: Option<Vec<_>> = lines.split('\n').map(signature_line).collect();
        let signatures = signatures.ok_or(BadNote::Form("a signature line is damaged"))?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(BadNote::Form("it has too many signatures"));
        }
        Ok(Self { text, signatures })
    }

    /// The checkpoint in it, once every signature of this key in it has verified.
    ///
    /// # Errors
    /// All but [`BadNote::Form`] and [`BadNote::Key`].
    pub fn open(&self, key: &SealKey) -> Result<Checkpoint, BadNote> {
        let checkpoint = self.unverified()?;
        if checkpoint.origin != key.name {
            return Err(BadNote::Origin);
        }
        let mut signed = Err(BadNote::Unsigned);
        for signature in self.signatures(&key.name, &key.id) {
            key.verify(self.text, signature)?;
            signed = Ok(checkpoint.clone());
        }
        signed
    }

    /// What signed it under this name and id.
    pub(super) fn signatures<'n>(&'n self, name: &'n str, id: &'n [u8; 4]) -> impl Iterator<Item = &'n [u8]> {
        let of =
            move |(signer, bytes): &'n (&str, Vec<u8>)| bytes.strip_prefix(id).filter(|_| *signer == name);
        self.signatures.iter().filter_map(of)
    }

    /// What it claims, on nobody's word: to compare with what is known already, never to believe.
    ///
    /// # Errors
    /// [`BadNote::Checkpoint`].
    pub fn unverified(&self) -> Result<Checkpoint, BadNote> {
        Checkpoint::parse(self.text)
    }
}

/// Name, and id with signature.
fn signature_line(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = BASE64.decode(signature).ok()?;
    (is_name(name) && bytes.len() > 4).then_some((name, bytes))
}

#[cfg(test)]
mod tests;

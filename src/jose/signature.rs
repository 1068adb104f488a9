//! Signatures in JOSE form (RFC 7518 section 3.4: raw `r || s` for ECDSA), whatever the backend returned.

use super::PublicKey;

/// A signature in JOSE form. Its length fits its key; whether it verifies is [`super::Verifier`]'s to say.
///
/// No `Debug`: with its signing input it makes a JWT.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);
impl Signature {
    /// Takes what a backend returned for `key`.
    ///
    /// # Errors
    /// [`BadSignature::Length`] for any length but the exact one, so DER and padded forms are never passed on.
    pub fn from_backend(bytes: Vec<u8>, key: &PublicKey) -> Result<Self, BadSignature> {
        let (found, expected) = (bytes.len(), key.signature_len());
        if found == expected { Ok(Self(bytes)) } else { Err(BadSignature::Length { found, expected }) }
    }
    /// The bytes that the compact form carries.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
/// A signature that must never be released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// The backend returned another number of bytes than the key makes.
    #[error("signature of {found} bytes where {expected} are due")]
    Length {
        /// Bytes that were returned.
        found: usize,
        /// Bytes that the key's signatures have.
        expected: usize,
    },
    /// The signature is not one of this key over these bytes.
    #[error("signature does not verify with the pinned public key")]
    Mismatch,
}

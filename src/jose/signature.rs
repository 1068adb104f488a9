//! Signatures in JOSE form (RFC 7518 section 3.4: raw `r || s` for ECDSA), whatever the backend returned.

use super::{KeyType, PublicKey};
use der::{Decode as _, Encode as _, Sequence, asn1::UintRef};

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
    /// Takes what a backend that speaks X.509 returned for `key`: ECDSA signatures in DER (RFC 3279 section 2.2.3),
    /// all others as they are.
    ///
    /// # Errors
    /// [`BadSignature::Der`] for what is not exactly one `SEQUENCE { r, s }` that fits the curve, else as
    /// [`Self::from_backend`].
    pub fn from_x509(bytes: Vec<u8>, key: &PublicKey) -> Result<Self, BadSignature> {
        let KeyType::Ec(curve) = key.key_type() else {
            return Self::from_backend(bytes, key);
        };
        let pair = EcdsaPair::from_der(&bytes).map_err(|_| BadSignature::Der)?;
        let mut joined = Vec::with_capacity(2 * curve.field_len());
        for number in [pair.r, pair.s] {
            let digits = number.as_bytes();
            let zeros = curve.field_len().checked_sub(digits.len()).ok_or(BadSignature::Der)?;
            joined.resize(joined.len() + zeros, 0);
            joined.extend_from_slice(digits);
        }
        Ok(Self(joined))
    }
    /// The form that X.509 gives it: ECDSA signatures in DER (RFC 3279 section 2.2.3), all others as they are.
    pub fn to_x509(&self, key: &PublicKey) -> Vec<u8> {
        let KeyType::Ec(curve) = key.key_type() else {
            return self.0.clone();
        };
        let (r, s) = self.0.split_at(curve.field_len().min(self.0.len()));
        let pair = UintRef::new(r).and_then(|r| EcdsaPair { r, s: UintRef::new(s)? }.to_der());
        // Two numbers of a curve's length always have a DER form.
        pair.unwrap_or_default()
    }
    /// The bytes that the compact form carries.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
/// RFC 3279 section 2.2.3.
#[derive(Sequence)]
struct EcdsaPair<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
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
    /// The backend returned something else than an ECDSA signature of this curve in DER.
    #[error("not an ECDSA signature of the key's curve in DER")]
    Der,
    /// The signature is not one of this key over these bytes.
    #[error("signature does not verify with the pinned public key")]
    Mismatch,
}

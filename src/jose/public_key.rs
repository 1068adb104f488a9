//! Public keys, checked when made: RSA strength, points on their curve, exact encodings. Holds no private half, ever.

use super::jwk::{self, Jwk, Kid};
use super::spki;
use super::{Algorithm, Curve, KeyType, MlDsa};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
};

/// A validated public key. Two are equal when they are the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(pub(super) Material);
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// Big endian, no leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// The uncompressed point, `04 x y`.
    Ec { curve: Curve, point: Vec<u8> },
    /// RFC 8032 section 5.1.2.
    Ed25519 { x: [u8; 32] },
    /// FIPS 204 algorithm 22.
    MlDsa { set: MlDsa, key: Vec<u8> },
}
/// Why key material was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// RFC 7518 section 3.3 sets the lower bound, the crypto library the upper.
    #[error("RSA modulus of {bits} bits: at least 2048 and at most 8192 are needed (RFC 7518 section 3.3)")]
    RsaSize {
        /// Size of the modulus.
        bits: usize,
    },
    /// FIPS 186-5 section 5.1 sets the lower bound, the crypto library the upper.
    #[error("RSA exponent is not an odd number from 65537 to 4294967295")]
    RsaExponent,
    /// Even, or made by the generator of CVE-2017-15361 (ROCA), whose keys can be factored.
    #[error("RSA modulus is of a weak kind (even, or CVE-2017-15361): make a new key")]
    RsaModulus,
    /// Not on the curve, at infinity, of small order, or of another length or form.
    #[error("the point is not on the curve, or its encoding is wrong")]
    Point,
    /// One key type per algorithm (RFC 8725 section 3.1).
    #[error("a {found} key cannot be used with {algorithm}", algorithm = .algorithm.name())]
    WrongType {
        /// What the key is, such as `P-256`.
        found: &'static str,
        /// What was to be done with it.
        algorithm: Algorithm,
    },
    /// Not a public key in the form that X.509 gives it (RFC 5280 section 4.1.2.7).
    #[error("not a usable SubjectPublicKeyInfo: {0}")]
    Spki(&'static str),
    /// The JWK itself is at fault.
    #[error("not a usable JWK: {0}")]
    Jwk(&'static str),
}

impl PublicKey {
    /// From modulus and exponent, big endian; leading zeros are dropped.
    ///
    /// # Errors
    /// Moduli outside 2048 to 8192 bits, even or of CVE-2017-15361; exponents that are even or outside 65537..2^32.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, PublicKeyError> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        let bits = match n.first() {
            Some(first) => n.len() * 8 - first.leading_zeros() as usize,
            None => 0,
        };
        if !(2048..=8192).contains(&bits) {
            return Err(PublicKeyError::RsaSize { bits });
        }
        let exponent = match e.len() {
            0..=4 => e.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)),
            _ => 0,
        };
        if exponent < 65537 || exponent % 2 == 0 {
            return Err(PublicKeyError::RsaExponent);
        }
        if remainder(n, 2) == 0 || is_roca(n) {
            return Err(PublicKeyError::RsaModulus);
        }
        Ok(Self(Material::Rsa { n: n.to_vec(), e: e.to_vec() }))
    }
    /// From an uncompressed point (`04 x y`), checked to be on the curve.
    ///
    /// # Errors
    /// [`PublicKeyError::Point`] for anything else, compressed points included.
    pub fn ec(curve: Curve, point: &[u8]) -> Result<Self, PublicKeyError> {
        // Length and first byte are checked here because the parser would also take DER and compressed points.
        if point.len() != 1 + 2 * curve.field_len() || point.first() != Some(&4) {
            return Err(PublicKeyError::Point);
        }
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &ECDSA_P521_SHA512_FIXED,
        };
        ParsedPublicKey::new(algorithm, point).map_err(|_| PublicKeyError::Point)?;
        Ok(Self(Material::Ec { curve, point: point.to_vec() }))
    }
    /// From the 32 bytes of RFC 8032.
    ///
    /// # Errors
    /// Other lengths, coordinates of 2^255-19 and more, and the points of small order, under which signatures can be
    /// made without a private key. A value that is on no curve point is not found here: nothing verifies with it.
    pub fn ed25519(x: &[u8]) -> Result<Self, PublicKeyError> {
        let x: [u8; 32] = x.try_into().map_err(|_| PublicKeyError::Point)?;
        let mut y = x;
        y[31] &= 0x7f; // the sign of the other coordinate
        y.reverse();
        // 2^255-19, big endian like `y` is now.
        let mut prime = [0xff; 32];
        (prime[0], prime[31]) = (0x7f, 0xed);
        if y >= prime || SMALL_ORDER.contains(&y) {
            return Err(PublicKeyError::Point);
        }
        Ok(Self(Material::Ed25519 { x }))
    }
    /// From the encoding of FIPS 204.
    ///
    /// # Errors
    /// [`PublicKeyError::Point`] for another length; every string of the right length is a key.
    pub fn ml_dsa(set: MlDsa, key: &[u8]) -> Result<Self, PublicKeyError> {
        if key.len() != set.public_len() {
            return Err(PublicKeyError::Point);
        }
        Ok(Self(Material::MlDsa { set, key: key.to_vec() }))
    }
    /// What [`Self::ed25519`] or [`Self::ml_dsa`] was given; `None` for other types.
    pub fn raw(&self) -> Option<&[u8]> {
        match &self.0 {
            Material::Ed25519 { x } => Some(x),
            Material::MlDsa { key, .. } => Some(key),
            Material::Rsa { .. } | Material::Ec { .. } => None,
        }
    }
    /// From the DER of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7; RFC 8410, RFC 9881).
    ///
    /// # Errors
    /// Algorithms other than ours, trailing bytes, and whatever [`Self::rsa`], [`Self::ec`], [`Self::ed25519`] and
    /// [`Self::ml_dsa`] refuse.
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        spki::read(der)
    }
    /// The DER of its SubjectPublicKeyInfo; `None` but for EC and Ed25519.
    pub fn to_spki(&self) -> Option<Vec<u8>> {
        spki::write(self)
    }
    /// Reads a public JWK (RFC 7517, RFC 7518 section 6, RFC 8037, RFC 9964).
    ///
    /// # Errors
    /// Private or symmetric members, a `use` other than `sig`, unknown `kty` or `crv`, encodings that are not the
    /// canonical ones, and whatever [`Self::rsa`], [`Self::ec`] and [`Self::ed25519`] refuse.
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<Self, PublicKeyError> {
        jwk::read(jwk)
    }
    /// RFC 7638 thumbprint, SHA-256.
    pub fn thumbprint(&self) -> Kid {
        jwk::thumbprint(self)
    }
    /// The JWK to publish: `kty`, `use: sig`, `alg`, `kid`, then the parameters; nothing else.
    pub fn to_jwk(&self, algorithm: Algorithm) -> Jwk {
        jwk::publish(self, algorithm)
    }
    /// Length of a signature in JOSE form, bytes.
    pub fn signature_len(&self) -> usize {
        match &self.0 {
            Material::Rsa { n, .. } => n.len(),
            Material::Ec { curve, .. } => 2 * curve.field_len(),
            Material::Ed25519 { .. } => 64,
            Material::MlDsa { set, .. } => set.signature_len(),
        }
    }
    /// What kind of key it is.
    pub fn key_type(&self) -> KeyType {
        match &self.0 {
            Material::Rsa { .. } => KeyType::Rsa,
            Material::Ec { curve, .. } => KeyType::Ec(*curve),
            Material::Ed25519 { .. } => KeyType::Ed25519,
            Material::MlDsa { set, .. } => KeyType::MlDsa(*set),
        }
    }
}

/// `y` of the points of order 1, 2, 4 and 8, big endian.
const SMALL_ORDER: [[u8; 32]; 5] = {
    let (zero, mut one, mut minus_one) = ([0; 32], [0; 32], [0xff; 32]);
    one[31] = 1;
    (minus_one[0], minus_one[31]) = (0x7f, 0xec);
    let eighth = [
        0x05, 0xfc, 0x53, 0x6d, 0x88, 0x02, 0x38, 0xb1, 0x39, 0x33, 0xc6, 0xd3, 0x05, 0xac, 0xdf, 0xd5, 0xf0,
        0x98, 0xef, 0xf2, 0x89, 0xf4, 0xc3, 0x45, 0xb0, 0x27, 0xb2, 0xc2, 0x8f, 0x95, 0xe8, 0x26,
    ];
    let other_eighth = [
        0x7a, 0x03, 0xac, 0x92, 0x77, 0xfd, 0xc7, 0x4e, 0xc6, 0xcc, 0x39, 0x2c, 0xfa, 0x53, 0x20, 0x2a, 0x0f,
        0x67, 0x10, 0x0d, 0x76, 0x0b, 0x3c, 0xba, 0x4f, 0xd8, 0x4d, 0x3d, 0x70, 0x6a, 0x17, 0xc7,
    ];
    [zero, one, minus_one, eighth, other_eighth]
};

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
/// `number` modulo a small `divisor`.
fn remainder(number: &[u8], divisor: u32) -> u32 {
    number.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor)
}
/// The fingerprint of CVE-2017-15361: modulo each of these primes, the modulus is a power of 65537. A sound key
/// passes all of them with a chance below 2^-27.
fn is_roca(n: &[u8]) -> bool {
    [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157].into_iter().all(|prime| {
        let rest = remainder(n, prime);
        std::iter::successors(Some(1), |power| Some(power * 65537 % prime))
            .take(prime as usize)
            .any(|power| power == rest)
    })
}

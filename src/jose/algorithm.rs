//! The signature algorithms that may be configured (RFC 7518 section 3, RFC 8037, RFC 9864, RFC 9964).
//!
//! Asymmetric only: `none` and the HMAC family do not exist here, so no input can select them (RFC 8725 section 3.2).

use aws_lc_rs::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A JWS algorithm. One key version has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, 32 bytes of salt.
    PS256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, 48 bytes of salt.
    PS384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512, 64 bytes of salt.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// Ed25519 under its fully specified name (RFC 9864).
    Ed25519,
    /// Ed25519 under the older name, for verifiers that do not know RFC 9864 yet.
    EdDSA,
    /// ML-DSA-44 of FIPS 204, pure and with an empty context (RFC 9964).
    #[serde(rename = "ML-DSA-44")]
    MlDsa44,
    /// ML-DSA-65.
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
    /// ML-DSA-87.
    #[serde(rename = "ML-DSA-87")]
    MlDsa87,
}
/// The hash that an algorithm applies to the signing input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}
/// What kind of key an algorithm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, 2048 to 8192 bits.
    Rsa,
    /// A NIST curve.
    Ec(Curve),
    /// Edwards curve 25519.
    Ed25519,
    /// ML-DSA with one parameter set.
    MlDsa(MlDsa),
}
/// A parameter set of ML-DSA (FIPS 204 section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MlDsa {
    /// ML-DSA-44, category 2.
    MlDsa44,
    /// ML-DSA-65, category 3.
    MlDsa65,
    /// ML-DSA-87, category 5.
    MlDsa87,
}
/// A NIST curve of RFC 7518 section 6.2.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Algorithm {
    /// Every algorithm, in the order in which they are shown to people.
    pub const ALL: [Algorithm; 14] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::Ed25519,
        Self::EdDSA,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];
    /// The `alg` header value.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::Ed25519 => "Ed25519",
            Self::EdDSA => "EdDSA",
            Self::MlDsa44 => MlDsa::MlDsa44.name(),
            Self::MlDsa65 => MlDsa::MlDsa65.name(),
            Self::MlDsa87 => MlDsa::MlDsa87.name(),
        }
    }
    /// The algorithm of an `alg` header value, compared exactly: `es256` and `noNE` are nothing.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }
    /// The one kind of key that it works with.
    pub fn key_type(self) -> KeyType {
        match self {
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => KeyType::Rsa,
            Self::ES256 => KeyType::Ec(Curve::P256),
            Self::ES384 => KeyType::Ec(Curve::P384),
            Self::ES512 => KeyType::Ec(Curve::P521),
            Self::Ed25519 | Self::EdDSA => KeyType::Ed25519,
            Self::MlDsa44 => KeyType::MlDsa(MlDsa::MlDsa44),
            Self::MlDsa65 => KeyType::MlDsa(MlDsa::MlDsa65),
            Self::MlDsa87 => KeyType::MlDsa(MlDsa::MlDsa87),
        }
    }
    /// The hash over the signing input; `None` for Ed25519 and ML-DSA, which hash inside.
    pub fn digest(self) -> Option<Digest> {
        match self {
            Self::RS256 | Self::PS256 | Self::ES256 => Some(Digest::Sha256),
            Self::RS384 | Self::PS384 | Self::ES384 => Some(Digest::Sha384),
            Self::RS512 | Self::PS512 | Self::ES512 => Some(Digest::Sha512),
            Self::Ed25519 | Self::EdDSA | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        }
    }
}
impl MlDsa {
    /// Every parameter set.
    pub const ALL: [MlDsa; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];
    /// The name that FIPS 204 and JOSE give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }
    /// Bytes of a public key (FIPS 204 table 2).
    pub fn public_len(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }
    /// Bytes of a signature (FIPS 204 table 2).
    pub fn signature_len(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }
}
impl Digest {
    /// The hash of `data`.
    pub fn hash(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }
}
impl Curve {
    /// The `crv` value (RFC 7518 section 6.2.1.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }
    /// Bytes of one coordinate, and of `r` and `s` in a signature.
    pub fn field_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_agree_with_serde() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.name());
        }
        for other in
            ["none", "noNE", "None", "", "HS256", "es256", "ES256 ", "ES256K", "RS1", "eddsa", "Ed448"]
        {
            assert_eq!(Algorithm::from_name(other), None, "{other:?}");
        }
    }

    #[test]
    fn hashes_have_their_length() {
        for (digest, len, first) in
            [(Digest::Sha256, 32, 0xba), (Digest::Sha384, 48, 0xcb), (Digest::Sha512, 64, 0xdd)]
        {
            let hash = digest.hash(b"abc");
            assert_eq!((hash.len(), hash[0]), (len, first), "{digest:?}");
        }
        assert_eq!(Algorithm::Ed25519.digest(), None);
        assert_eq!(Algorithm::ES512.digest(), Some(Digest::Sha512));
    }
}

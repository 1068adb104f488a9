//! KMS's names of algorithms and key types beside ours.
//!
//! Pure. What has no counterpart here can be neither opened nor made.

use crate::backend::KeySpec;
use crate::jose::{Algorithm, Curve, KeyType, MlDsa};
use aws_sdk_kms::types::{KeySpec as Kind, SigningAlgorithmSpec};

/// What `Sign` calls the algorithm.
pub(super) fn signing(algorithm: Algorithm) -> SigningAlgorithmSpec {
    match algorithm {
        Algorithm::RS256 => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
        Algorithm::RS384 => SigningAlgorithmSpec::RsassaPkcs1V15Sha384,
        Algorithm::RS512 => SigningAlgorithmSpec::RsassaPkcs1V15Sha512,
        Algorithm::PS256 => SigningAlgorithmSpec::RsassaPssSha256,
        Algorithm::PS384 => SigningAlgorithmSpec::RsassaPssSha384,
        Algorithm::PS512 => SigningAlgorithmSpec::RsassaPssSha512,
        Algorithm::ES256 => SigningAlgorithmSpec::EcdsaSha256,
        Algorithm::ES384 => SigningAlgorithmSpec::EcdsaSha384,
        Algorithm::ES512 => SigningAlgorithmSpec::EcdsaSha512,
        Algorithm::Ed25519 | Algorithm::EdDSA => SigningAlgorithmSpec::Ed25519Sha512,
        Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => SigningAlgorithmSpec::MlDsaShake256,
    }
}

/// The type of key to make; `None` for a size of RSA that KMS does not make.
pub(super) fn kind(spec: KeySpec) -> Option<Kind> {
    Some(match (spec.algorithm.key_type(), spec.rsa_bits) {
        (KeyType::Rsa, 2048) => Kind::Rsa2048,
        (KeyType::Rsa, 3072) => Kind::Rsa3072,
        (KeyType::Rsa, 4096) => Kind::Rsa4096,
        (KeyType::Rsa, _) => return None,
        (KeyType::Ec(Curve::P256), _) => Kind::EccNistP256,
        (KeyType::Ec(Curve::P384), _) => Kind::EccNistP384,
        (KeyType::Ec(Curve::P521), _) => Kind::EccNistP521,
        (KeyType::Ed25519, _) => Kind::EccNistEdwards25519,
        (KeyType::MlDsa(MlDsa::MlDsa44), _) => Kind::MlDsa44,
        (KeyType::MlDsa(MlDsa::MlDsa65), _) => Kind::MlDsa65,
        (KeyType::MlDsa(MlDsa::MlDsa87), _) => Kind::MlDsa87,
    })
}

/// A type of key that we could use, as we call it; `None` for every other.
pub(super) fn name(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Rsa2048 => "RSA-2048",
        Kind::Rsa3072 => "RSA-3072",
        Kind::Rsa4096 => "RSA-4096",
        Kind::EccNistP256 => "P-256",
        Kind::EccNistP384 => "P-384",
        Kind::EccNistP521 => "P-521",
        Kind::EccNistEdwards25519 => "Ed25519",
        Kind::MlDsa44 => "ML-DSA-44",
        Kind::MlDsa65 => "ML-DSA-65",
        Kind::MlDsa87 => "ML-DSA-87",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_made_has_a_name() {
        for algorithm in Algorithm::ALL {
            for rsa_bits in [2048, 3072, 4096] {
                assert!(name(&kind(KeySpec { algorithm, rsa_bits }).unwrap()).is_some());
            }
        }
        assert_eq!(kind(KeySpec { algorithm: Algorithm::PS256, rsa_bits: 1024 }), None);
        assert_eq!(name(&Kind::EccSecgP256K1), None);
    }
}

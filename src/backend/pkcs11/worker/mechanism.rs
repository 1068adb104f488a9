//! Which mechanism signs an algorithm on this token, and what is left for us to do before.
//!
//! Must never hand a digest of the wrong length to the token: tokens do not check (SoftHSM truncates).

use crate::jose::{Algorithm, Digest};
use cryptoki::error::Error;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use std::borrow::Cow;

/// The chosen way to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    algorithm: Algorithm,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The token hashes (or there is no hash of its own, as with Ed25519 and ML-DSA).
    Whole,
    /// We hash; the token signs the digest.
    Digest(Digest),
    /// We hash and wrap the digest as PKCS #1 wants it.
    DigestInfo(Digest),
}

impl Plan {
    /// The first way that `offers` allows: the combined mechanism, else one over our own digest.
    pub(super) fn choose(algorithm: Algorithm, offers: impl Fn(MechanismType) -> bool) -> Option<Self> {
        let plan = |form| Self { algorithm, form };
        let whole = plan(Form::Whole);
        let outside = algorithm.digest().map(|digest| {
            plan(match algorithm {
                Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Form::DigestInfo(digest),
                _ => Form::Digest(digest),
            })
        });
        [Some(whole), outside].into_iter().flatten().find(|plan| offers(plan.mechanism().mechanism_type()))
    }

    /// `C_SignInit` and `C_Sign` over `input`.
    pub(super) fn sign(self, session: &Session, key: ObjectHandle, input: &[u8]) -> Result<Vec<u8>, Error> {
        session.sign(&self.mechanism(), key, &self.prepare(input))
    }

    fn prepare(self, input: &[u8]) -> Cow<'_, [u8]> {
        match self.form {
            Form::Whole => Cow::Borrowed(input),
            Form::Digest(digest) => Cow::Owned(digest.hash(input)),
            Form::DigestInfo(digest) => {
                Cow::Owned([digest_info(digest), digest.hash(input).as_slice()].concat())
            }
        }
    }

    fn mechanism(self) -> Mechanism<'static> {
        let combined = self.form == Form::Whole;
        match self.algorithm {
            Algorithm::RS256 if combined => Mechanism::Sha256RsaPkcs,
            Algorithm::RS384 if combined => Mechanism::Sha384RsaPkcs,
            Algorithm::RS512 if combined => Mechanism::Sha512RsaPkcs,
            Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => Mechanism::RsaPkcs,
            Algorithm::PS256 if combined => Mechanism::Sha256RsaPkcsPss(pss(Digest::Sha256)),
            Algorithm::PS384 if combined => Mechanism::Sha384RsaPkcsPss(pss(Digest::Sha384)),
            Algorithm::PS512 if combined => Mechanism::Sha512RsaPkcsPss(pss(Digest::Sha512)),
            Algorithm::PS256 => Mechanism::RsaPkcsPss(pss(Digest::Sha256)),
            Algorithm::PS384 => Mechanism::RsaPkcsPss(pss(Digest::Sha384)),
            Algorithm::PS512 => Mechanism::RsaPkcsPss(pss(Digest::Sha512)),
            Algorithm::ES256 if combined => Mechanism::EcdsaSha256,
            Algorithm::ES384 if combined => Mechanism::EcdsaSha384,
            Algorithm::ES512 if combined => Mechanism::EcdsaSha512,
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 => Mechanism::Ecdsa,
            // No parameters: with them, tokens disagree.
            Algorithm::Ed25519 | Algorithm::EdDSA => {
                Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure))
            }
            // The empty context of RFC 9964, and hedged if the token can: the defaults, so no parameters either.
            Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87 => {
                Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None))
            }
        }
    }
}

/// PSS with MGF1 over the same hash and a salt as long as the hash (RFC 7518 section 3.5).
fn pss(digest: Digest) -> PkcsPssParams {
    let (hash_alg, mgf, salt) = match digest {
        Digest::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32),
        Digest::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
        Digest::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
    };
    PkcsPssParams { hash_alg, mgf, s_len: salt.into() }
}

/// The DER that precedes the digest (RFC 8017 section 9.2, note 1).
fn digest_info(digest: Digest) -> &'static [u8] {
    match digest {
        Digest::Sha256 => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        Digest::Sha384 => b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
        Digest::Sha512 => b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_first_then_our_own_hash_then_nothing() {
        let all = |_| true;
        let bare = |m| {
            [
                MechanismType::RSA_PKCS,
                MechanismType::RSA_PKCS_PSS,
                MechanismType::ECDSA,
                MechanismType::EDDSA,
                MechanismType::ML_DSA,
            ]
            .contains(&m)
        };
        for algorithm in Algorithm::ALL {
            assert_eq!(Plan::choose(algorithm, all).unwrap().form, Form::Whole);
            let form = Plan::choose(algorithm, bare).unwrap().form;
            match (algorithm.name().get(..2), algorithm.digest()) {
                (_, None) => assert_eq!(form, Form::Whole),
                (Some("RS"), Some(digest)) => assert_eq!(form, Form::DigestInfo(digest)),
                (_, Some(digest)) => assert_eq!(form, Form::Digest(digest)),
            }
            assert_eq!(Plan::choose(algorithm, |_| false), None);
        }
    }

    #[test]
    fn digest_info_is_der_of_the_right_length() {
        for digest in [Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            let prefix = digest_info(digest);
            let length = digest.hash(b"x").len();
            assert_eq!(usize::from(*prefix.last().unwrap()), length);
            assert_eq!(usize::from(prefix[1]), prefix.len() - 2 + length);
        }
    }
}

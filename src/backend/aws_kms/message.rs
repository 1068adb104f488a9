//! What is sent to be signed: a digest of ours, the input itself, or `mu` of ML-DSA.
//!
//! Pure. KMS takes at most 4096 bytes, so whatever can be hashed here is hashed here.

use super::mu;
use crate::jose::{Algorithm, KeyType};
use aws_sdk_kms::types::MessageType;
use std::borrow::Cow;

/// Bytes of the longest message that KMS takes as it is; it takes no empty one.
pub(super) const MAX_RAW: usize = 4096;
/// Bytes of the longest input that is hashed here: more than any JWT has.
const MAX_HASHED: usize = 1 << 20;

/// How inputs of one key are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// RSA and ECDSA: the digest, always.
    Digest(Algorithm),
    /// Ed25519: the input, which must be short. Its pre-hashed variant is no algorithm of JOSE.
    Raw,
    /// ML-DSA: the input while it is short, else its `mu`, which needs the hash of the public key.
    Mu([u8; mu::LENGTH]),
}

impl Form {
    /// For `algorithm` and the encoded public key.
    pub(super) fn new(algorithm: Algorithm, public: &[u8]) -> Self {
        match algorithm.key_type() {
            KeyType::Rsa | KeyType::Ec(_) => Self::Digest(algorithm),
            KeyType::Ed25519 => Self::Raw,
            KeyType::MlDsa(_) => Self::Mu(mu::of_key(public)),
        }
    }

    /// Bytes of the longest input.
    pub(super) fn max_input(&self) -> usize {
        match self {
            Self::Digest(_) | Self::Mu(_) => MAX_HASHED,
            Self::Raw => MAX_RAW,
        }
    }

    /// What to send for `input`; `None` when KMS would not sign it, because it is too long or empty.
    pub(super) fn of<'a>(&self, input: &'a [u8]) -> Option<(MessageType, Cow<'a, [u8]>)> {
        let fits = (1..=MAX_RAW).contains(&input.len());
        match self {
            _ if input.len() > self.max_input() => None,
            Self::Digest(algorithm) => Some((MessageType::Digest, algorithm.digest()?.hash(input).into())),
            Self::Raw | Self::Mu(_) if fits => Some((MessageType::Raw, input.into())),
            Self::Raw => None,
            Self::Mu(tr) => Some((MessageType::ExternalMu, mu::of(tr, input).to_vec().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Digest;

    #[test]
    fn rsa_and_ecdsa_send_their_own_digest() {
        for algorithm in Algorithm::ALL {
            let Some(digest) = algorithm.digest() else { continue };
            let form = Form::new(algorithm, &[]);
            let input = vec![7; 100_000];
            let (kind, sent) = form.of(&input).unwrap();
            assert_eq!((kind, &*sent), (MessageType::Digest, &*digest.hash(&input)), "{algorithm:?}");
        }
        assert_eq!(
            Digest::Sha384.hash(b"").len(),
            Form::new(Algorithm::ES384, &[]).of(b"x").unwrap().1.len()
        );
    }

    #[test]
    fn ed25519_sends_what_is_short_and_nothing_else() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EdDSA] {
            let form = Form::new(algorithm, &[1; 32]);
            assert_eq!(form.of(&[5; MAX_RAW]), Some((MessageType::Raw, vec![5; MAX_RAW].into())));
            assert_eq!(form.of(&[5; MAX_RAW + 1]), None);
            assert_eq!(form.of(&[]), None);
            assert_eq!(form.max_input(), MAX_RAW);
        }
    }

    #[test]
    fn ml_dsa_sends_mu_of_what_is_long_or_empty() {
        let form = Form::new(Algorithm::MlDsa65, &[1; 1952]);
        assert_eq!(form.of(&[5; MAX_RAW]), Some((MessageType::Raw, vec![5; MAX_RAW].into())));
        for input in [&[5; MAX_RAW + 1][..], &[5; MAX_HASHED], &[]] {
            let (kind, sent) = form.of(input).unwrap();
            assert_eq!(kind, MessageType::ExternalMu);
            assert_eq!(&*sent, mu::of(&mu::of_key(&[1; 1952]), input));
        }
        assert_eq!(form.of(&[5; MAX_HASHED + 1]), None);
    }
}

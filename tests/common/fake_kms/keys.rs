//! Key pairs as KMS holds them, and what it does with messages, digests and `mu`.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING,
    PqdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use ml_dsa::ExpandedSigningKey;
use std::sync::{Arc, OnceLock};

/// An exception and its text.
pub type Exception = (&'static str, String);

pub enum Pair {
    Rsa(Arc<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    /// The seed makes the same key for the library that signs `mu`.
    MlDsa(PqdsaKeyPair, [u8; 32]),
}

impl Pair {
    /// A new pair of a `KeySpec`; RSA keys of one size are one key, because making them takes long.
    pub fn generate(spec: &str) -> Self {
        static RSA: [OnceLock<Arc<RsaKeyPair>>; 3] = [const { OnceLock::new() }; 3];
        let rsa = |at: usize, size| {
            Self::Rsa(Arc::clone(RSA[at].get_or_init(|| Arc::new(RsaKeyPair::generate(size).unwrap()))))
        };
        let ml_dsa = |set| {
            let mut seed = [0; 32];
            aws_lc_rs::rand::fill(&mut seed).unwrap();
            Self::MlDsa(PqdsaKeyPair::from_seed(set, &seed).unwrap(), seed)
        };
        match spec {
            "RSA_2048" => rsa(0, KeySize::Rsa2048),
            "RSA_3072" => rsa(1, KeySize::Rsa3072),
            "RSA_4096" => rsa(2, KeySize::Rsa4096),
            "ECC_NIST_P256" => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
            "ECC_NIST_P384" => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap()),
            "ECC_NIST_P521" => Self::Ec(EcdsaKeyPair::generate(&ECDSA_P521_SHA512_ASN1_SIGNING).unwrap()),
            "ECC_NIST_EDWARDS25519" => Self::Ed25519(Ed25519KeyPair::generate().unwrap()),
            "ML_DSA_44" => ml_dsa(&ML_DSA_44_SIGNING),
            "ML_DSA_65" => ml_dsa(&ML_DSA_65_SIGNING),
            "ML_DSA_87" => ml_dsa(&ML_DSA_87_SIGNING),
            other => panic!("no key of type {other}"),
        }
    }

    /// The SubjectPublicKeyInfo.
    pub fn public(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ec(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::MlDsa(pair, _) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    /// `Sign`, with KMS's limits.
    pub fn sign(
        &self,
        spec: &str,
        algorithm: &str,
        form: &str,
        message: &[u8],
    ) -> Result<Vec<u8>, Exception> {
        let invalid = |text: &str| ("ValidationException", text.to_owned());
        if message.is_empty() || message.len() > 4096 {
            return Err(invalid("Value at 'message' failed to satisfy constraint: length 1 to 4096"));
        }
        if !algorithms(spec).contains(&algorithm) {
            return Err((
                "InvalidKeyUsageException",
                format!("Algorithm {algorithm} is incompatible with {spec}"),
            ));
        }
        let hash = match algorithm.rsplit('_').next() {
            Some("256") => &digest::SHA256,
            Some("384") => &digest::SHA384,
            _ => &digest::SHA512,
        };
        let hashed = || match form {
            "RAW" => Ok(digest::digest(hash, message)),
            "DIGEST" if message.len() != hash.output_len => Err(invalid("Digest is invalid length")),
            "DIGEST" => Ok(Digest::import_less_safe(message, hash).unwrap()),
            _ => Err(invalid("MessageType is not for this key")),
        };
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding(algorithm), &hashed()?, &mut signature).unwrap();
                Ok(signature)
            }
            Self::Ec(pair) => Ok(pair.sign_digest(&hashed()?).unwrap().as_ref().to_vec()),
            Self::Ed25519(pair) if form == "RAW" => Ok(pair.sign(message).as_ref().to_vec()),
            Self::MlDsa(pair, _) if form == "RAW" => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                pair.sign(message, &mut signature).unwrap();
                Ok(signature)
            }
            Self::MlDsa(_, seed) if form == "EXTERNAL_MU" => match <&[u8; 64]>::try_from(message) {
                Ok(mu) => Ok(sign_mu(spec, seed, mu)),
                Err(_) => Err(invalid("mu must be of 64 bytes")),
            },
            Self::Ed25519(_) | Self::MlDsa(..) => Err(invalid("MessageType is not for this key")),
        }
    }
}

fn sign_mu(spec: &str, seed: &[u8; 32], mu: &[u8; 64]) -> Vec<u8> {
    fn with<P: ml_dsa::MlDsaParams>(seed: &[u8; 32], mu: &[u8; 64]) -> Vec<u8> {
        let key = ExpandedSigningKey::<P>::from_seed(&(*seed).into());
        key.sign_mu_deterministic(&(*mu).into()).encode().as_slice().to_vec()
    }
    match spec {
        "ML_DSA_44" => with::<ml_dsa::MlDsa44>(seed, mu),
        "ML_DSA_65" => with::<ml_dsa::MlDsa65>(seed, mu),
        _ => with::<ml_dsa::MlDsa87>(seed, mu),
    }
}

fn padding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RSASSA_PKCS1_V1_5_SHA_256" => &RSA_PKCS1_SHA256,
        "RSASSA_PKCS1_V1_5_SHA_384" => &RSA_PKCS1_SHA384,
        "RSASSA_PKCS1_V1_5_SHA_512" => &RSA_PKCS1_SHA512,
        "RSASSA_PSS_SHA_256" => &RSA_PSS_SHA256,
        "RSASSA_PSS_SHA_384" => &RSA_PSS_SHA384,
        _ => &RSA_PSS_SHA512,
    }
}

/// The algorithms that KMS lists for a `KeySpec`.
pub fn algorithms(spec: &str) -> &'static [&'static str] {
    match spec {
        "ECC_NIST_P256" => &["ECDSA_SHA_256"],
        "ECC_NIST_P384" => &["ECDSA_SHA_384"],
        "ECC_NIST_P521" => &["ECDSA_SHA_512"],
        "ECC_NIST_EDWARDS25519" => &["ED25519_SHA_512", "ED25519_PH_SHA_512"],
        "ML_DSA_44" | "ML_DSA_65" | "ML_DSA_87" => &["ML_DSA_SHAKE_256"],
        _ => &[
            "RSASSA_PKCS1_V1_5_SHA_256",
            "RSASSA_PKCS1_V1_5_SHA_384",
            "RSASSA_PKCS1_V1_5_SHA_512",
            "RSASSA_PSS_SHA_256",
            "RSASSA_PSS_SHA_384",
            "RSASSA_PSS_SHA_512",
        ],
    }
}

//! Verification with a key that was parsed once. On the signing path: no allocation, no choice left to input.

use super::public_key::Material;
use super::{Algorithm, BadSignature, Curve, KeyType, MlDsa, PublicKey, PublicKeyError, Signature};
use aws_lc_rs::signature::{self as lc, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};

/// A public key parsed once for one algorithm, ready to verify many signatures. Cheap to share behind an `Arc`.
pub struct Verifier {
    algorithm: Algorithm,
    public: PublicKey,
    parsed: ParsedPublicKey,
}
impl Verifier {
    /// Binds a key to its one algorithm.
    ///
    /// # Errors
    /// [`PublicKeyError::WrongType`] when the key cannot be used with the algorithm.
    pub fn new(algorithm: Algorithm, public: PublicKey) -> Result<Self, PublicKeyError> {
        let parsed = parse(algorithm, &public)?;
        Ok(Self { algorithm, public, parsed })
    }
    /// The one algorithm that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    /// The key that it verifies with.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
    /// Verifies `signature` over `input`.
    ///
    /// # Errors
    /// [`BadSignature::Mismatch`] unless it is that key's signature by that algorithm. PSS salts must be as long as
    /// the hash (RFC 7518 section 3.5).
    pub fn verify(&self, input: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        self.parsed.verify_sig(input, signature.as_bytes()).map_err(|_| BadSignature::Mismatch)
    }
    /// Verifies `signature` over `input` and keeps the three together.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn prove<'a>(&'a self, input: &'a [u8], signature: Signature) -> Result<Verified<'a>, BadSignature> {
        self.verify(input, &signature)?;
        Ok(Verified { verifier: self, input, signature })
    }
}

/// A signature together with the input and the key that it verified with. Only [`Verifier::prove`] makes one.
pub struct Verified<'a> {
    verifier: &'a Verifier,
    input: &'a [u8],
    signature: Signature,
}
impl Verified<'_> {
    /// The signature, if it is of this very key over these very bytes.
    ///
    /// # Errors
    /// [`BadSignature::Mismatch`] for another key or input.
    pub fn of(self, verifier: &Verifier, input: &[u8]) -> Result<Signature, BadSignature> {
        let same = self.verifier.public == verifier.public && self.verifier.algorithm == verifier.algorithm;
        if same && self.input == input { Ok(self.signature) } else { Err(BadSignature::Mismatch) }
    }
}

/// The one table that pairs our algorithms and keys with the library's.
fn parse(algorithm: Algorithm, public: &PublicKey) -> Result<ParsedPublicKey, PublicKeyError> {
    let rsa = |parameters: &'static RsaParameters| match &public.0 {
        Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| PublicKeyError::RsaModulus),
        _ => Err(wrong_type(algorithm, public)),
    };
    let ec = |curve: Curve, parameters: &'static lc::EcdsaVerificationAlgorithm| match &public.0 {
        Material::Ec { curve: own, point } if *own == curve => {
            ParsedPublicKey::new(parameters, point).map_err(|_| PublicKeyError::Point)
        }
        _ => Err(wrong_type(algorithm, public)),
    };
    let ml_dsa = |set: MlDsa, parameters: &'static dyn lc::VerificationAlgorithm| match &public.0 {
        Material::MlDsa { set: own, key } if *own == set => {
            ParsedPublicKey::new(parameters, key).map_err(|_| PublicKeyError::Point)
        }
        _ => Err(wrong_type(algorithm, public)),
    };
    match algorithm {
        Algorithm::RS256 => rsa(&lc::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => rsa(&lc::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => rsa(&lc::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => rsa(&lc::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => rsa(&lc::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => rsa(&lc::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => ec(Curve::P256, &lc::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => ec(Curve::P384, &lc::ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => ec(Curve::P521, &lc::ECDSA_P521_SHA512_FIXED),
        Algorithm::Ed25519 | Algorithm::EdDSA => match &public.0 {
            Material::Ed25519 { x } => {
                ParsedPublicKey::new(&lc::ED25519, x).map_err(|_| PublicKeyError::Point)
            }
            _ => Err(wrong_type(algorithm, public)),
        },
        Algorithm::MlDsa44 => ml_dsa(MlDsa::MlDsa44, &lc::ML_DSA_44),
        Algorithm::MlDsa65 => ml_dsa(MlDsa::MlDsa65, &lc::ML_DSA_65),
        Algorithm::MlDsa87 => ml_dsa(MlDsa::MlDsa87, &lc::ML_DSA_87),
    }
}

fn wrong_type(algorithm: Algorithm, public: &PublicKey) -> PublicKeyError {
    let found = match public.key_type() {
        KeyType::Rsa => "RSA",
        KeyType::Ec(curve) => curve.name(),
        KeyType::Ed25519 => "Ed25519",
        KeyType::MlDsa(set) => set.name(),
    };
    PublicKeyError::WrongType { found, algorithm }
}

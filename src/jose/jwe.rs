//! Encryption of a signed JWT to whoever it is for: compact JWE (RFC 7516), nested as RFC 7519 section 5.2 says.
//!
//! Encrypts only: no private key and no way to decrypt is here, so none of the attacks on those applies. Never
//! compresses (RFC 8725bis section 3.6). Every message has a new content key and, where keys are agreed, a new
//! ephemeral key.

mod recipient;
#[cfg(test)]
pub(crate) mod tests;

pub use recipient::{Recipient, RecipientError};

use super::base64url::{self, encode_into, encoded_len};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::agreement::{
    self, ECDH_P256, ECDH_P384, ECDH_P521, EphemeralPrivateKey, ParsedPublicKey, X25519, agree_ephemeral,
};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::kdf::{SskdfDigestAlgorithmId, get_sskdf_digest_algorithm, sskdf_digest};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey};
use schemars::JsonSchema;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

/// How the content key reaches the recipient (RFC 7518 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum KeyManagement {
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256.
    #[serde(rename = "RSA-OAEP-256")]
    RsaOaep256,
    /// The content key is agreed on, with an ephemeral key.
    #[serde(rename = "ECDH-ES")]
    EcdhEs,
    /// The content key is wrapped with an agreed key.
    #[serde(rename = "ECDH-ES+A256KW")]
    EcdhEsA256Kw,
}
impl KeyManagement {
    /// The `alg` value.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::EcdhEs => "ECDH-ES",
            Self::EcdhEsA256Kw => "ECDH-ES+A256KW",
        }
    }
}
/// How the content is encrypted (RFC 7518 section 5.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ContentEncryption {
    /// AES-GCM with a key of 256 bits.
    #[default]
    A256GCM,
    /// AES-GCM with a key of 128 bits.
    A128GCM,
}
impl ContentEncryption {
    /// The `enc` value.
    pub fn name(self) -> &'static str {
        match self {
            Self::A256GCM => "A256GCM",
            Self::A128GCM => "A128GCM",
        }
    }
    fn key_len(self) -> usize {
        match self {
            Self::A256GCM => 32,
            Self::A128GCM => 16,
        }
    }
}

/// Encryption did not come to an end; nothing may be released in place of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("encryption to the recipient's key failed")]
pub struct NotEncrypted;
impl From<Unspecified> for NotEncrypted {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// A key that is wiped when it is dropped.
type Secret = Zeroizing<Vec<u8>>;

/// The recipient's half, parsed once.
enum Key {
    Rsa(OaepPublicEncryptingKey),
    Agreement(ParsedPublicKey),
}

/// All that a header of ours ever has.
#[derive(Serialize)]
struct Header<'a> {
    alg: KeyManagement,
    enc: ContentEncryption,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    cty: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epk: Option<Ephemeral>,
}
/// An ephemeral public key (RFC 7518 section 4.6.1.1).
#[derive(Serialize)]
struct Ephemeral {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

impl Recipient {
    /// Encrypts a JWS in compact form, and gives the JWE in compact form.
    ///
    /// # Errors
    /// [`NotEncrypted`] when the library fails, as without random numbers.
    pub fn encrypt(&self, jws: &str) -> Result<String, NotEncrypted> {
        let (content_key, wrapped, epk) = match &self.key {
            Key::Rsa(key) => {
                let content_key = self.content_key()?;
                let mut wrapped = vec![0; key.ciphertext_size()];
                key.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut wrapped, None)?;
                (content_key, wrapped, None)
            }
            Key::Agreement(peer) => self.agree(peer)?,
        };
        let kid = self.kid.as_deref();
        let header = Header { alg: self.alg, enc: self.enc, kid, cty: "JWT", epk };
        let header = serde_json::to_vec(&header).map_err(|_| NotEncrypted)?;
        let mut jwe = String::with_capacity(
            encoded_len(header.len()) + encoded_len(wrapped.len()) + encoded_len(jws.len()) + 42,
        );
        encode_into(&header, &mut jwe);

        let algorithm = match self.enc {
            ContentEncryption::A256GCM => &AES_256_GCM,
            ContentEncryption::A128GCM => &AES_128_GCM,
        };
        let mut content = jws.as_bytes().to_vec();
        let key = RandomizedNonceKey::new(algorithm, &content_key)?;
        // What is authenticated besides the content: the header as it is sent (RFC 7516 section 5.1, step 14).
        let (nonce, tag) = key.seal_in_place_separate_tag(Aad::from(jwe.as_bytes()), &mut content)?;
        for part in [&wrapped[..], nonce.as_ref(), &content, tag.as_ref()] {
            jwe.push('.');
            encode_into(part, &mut jwe);
        }
        Ok(jwe)
    }

    fn content_key(&self) -> Result<Secret, Unspecified> {
        let mut key = Zeroizing::new(vec![0; self.enc.key_len()]);
        rand::fill(&mut key)?;
        Ok(key)
    }

    /// RFC 7518 section 4.6: the content key, how it is sent, and the ephemeral key.
    fn agree(&self, peer: &ParsedPublicKey) -> Result<(Secret, Vec<u8>, Option<Ephemeral>), NotEncrypted> {
        let ours = EphemeralPrivateKey::generate(peer.alg(), &SystemRandom::new())?;
        let epk = Some(ephemeral(peer.alg(), ours.compute_public_key()?.as_ref())?);
        let agreed = |name: &str, len| {
            let derive = |secret: &[u8]| derive(secret, name, [b"", b""], len);
            agree_ephemeral(ours, peer.clone(), Unspecified, derive)
        };
        if self.alg != KeyManagement::EcdhEsA256Kw {
            return Ok((agreed(self.enc.name(), self.enc.key_len())?, Vec::new(), epk));
        }
        let content_key = self.content_key()?;
        let mut wrapped = vec![0; content_key.len() + 8];
        AesKek::new(&AES_256, &agreed(self.alg.name(), 32)?)?.wrap(&content_key, &mut wrapped)?;
        Ok((content_key, wrapped, epk))
    }
}

fn ephemeral(algorithm: &agreement::Algorithm, public: &[u8]) -> Result<Ephemeral, NotEncrypted> {
    if *algorithm == X25519 {
        return Ok(Ephemeral { kty: "OKP", crv: "X25519", x: base64url::encode(public), y: None });
    }
    let known = [(&ECDH_P256, "P-256"), (&ECDH_P384, "P-384"), (&ECDH_P521, "P-521")];
    let crv = known.into_iter().find(|(known, _)| *known == algorithm);
    let (_, crv) = crv.ok_or(NotEncrypted)?;
    // `04 x y`.
    let (x, y) = public.get(1..).ok_or(NotEncrypted)?.split_at(public.len() / 2);
    Ok(Ephemeral { kty: "EC", crv, x: base64url::encode(x), y: Some(base64url::encode(y)) })
}

/// The Concat KDF with SHA-256 (RFC 7518 section 4.6.2) for a key of `len` bytes; `parties` are `apu` and `apv`.
fn derive(secret: &[u8], algorithm: &str, parties: [&[u8]; 2], len: usize) -> Result<Secret, Unspecified> {
    let length = |len: usize| u32::try_from(len).map(u32::to_be_bytes).map_err(|_| Unspecified);
    let mut info = Vec::with_capacity(32);
    for part in [algorithm.as_bytes()].into_iter().chain(parties) {
        info.extend(length(part.len())?);
        info.extend(part);
    }
    info.extend(length(len * 8)?);
    let hash = get_sskdf_digest_algorithm(SskdfDigestAlgorithmId::Sha256).ok_or(Unspecified)?;
    let mut key = Zeroizing::new(vec![0; len]);
    sskdf_digest(hash, secret, &info, &mut key)?;
    Ok(key)
}

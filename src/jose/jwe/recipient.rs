//! Which key of a JWK Set a JWT is encrypted to, and that it is one that may be.
//!
//! Never holds a private or symmetric key: a set that has one is refused as a whole, since it was meant for nobody
//! but its owner.

use super::{ContentEncryption, Key, KeyManagement, NotEncrypted};
use crate::jose::public_key::{Material, PublicKeyError};
use crate::jose::{Curve, Digest, PublicKey, base64url, jwk};
use aws_lc_rs::agreement::{ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey, X25519};
use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::RsaPublicKeyComponents;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most keys in one set.
const MAX_KEYS: usize = 100;
/// Longest `kid`, bytes.
const MAX_KID: usize = 200;

/// A key that JWTs are encrypted to, and how. Two are equal when they make the same of a JWT.
pub struct Recipient {
    pub(super) alg: KeyManagement,
    pub(super) enc: ContentEncryption,
    /// As the recipient calls it.
    pub(super) kid: Option<String>,
    pub(super) key: Key,
    thumbprint: String,
}

/// Why a JWK Set gives no key to encrypt to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// RFC 7517 section 5.
    #[error("it is not a JWK Set: an object with an array of objects as \"keys\"")]
    Form,
    /// More than anybody needs, and each would be looked at.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// Whoever shared that must make a new key.
    #[error(
        "key {index} in it is private or symmetric: treat that key as lost, and ask its owner for a new, public one"
    )]
    Private {
        /// Which, counted from 0.
        index: usize,
    },
    /// Nobody could say which is meant.
    #[error("two keys in it have the same \"kid\"")]
    DuplicateKid,
    /// With what is wrong with the first of them.
    #[error("no key in it can be encrypted to{}", .0.as_deref().map(|why| format!(" ({why})")).unwrap_or_default())]
    Unusable(Option<String>),
}

impl Recipient {
    /// Takes the first key of a JWK Set that fits: RSA of 2048 to 8192 bits, or a point on P-256, P-384, P-521 or
    /// X25519; `use` is `enc` or absent; `key_ops` and `alg`, where present, allow it. `alg` of the key, or the one asked
    /// for, decides; `RSA-OAEP-256` and `ECDH-ES` where neither is there.
    ///
    /// # Errors
    /// No key fits, a key is private or symmetric, two have one `kid`, or there are over 100 of them.
    pub fn choose(
        set: &Value,
        enc: ContentEncryption,
        alg: Option<KeyManagement>,
    ) -> Result<Self, RecipientError> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(RecipientError::Form)?;
        if keys.len() > MAX_KEYS {
            return Err(RecipientError::TooMany);
        }
        let keys: Option<Vec<&Map<String, Value>>> = keys.iter().map(Value::as_object).collect();
        let keys = keys.ok_or(RecipientError::Form)?;
        if let Some(index) = keys.iter().position(|key| jwk::is_private(key)) {
            return Err(RecipientError::Private { index });
        }
        let mut kids = BTreeSet::new();
        if !keys.iter().filter_map(|key| key.get("kid")?.as_str()).all(|kid| kids.insert(kid)) {
            return Err(RecipientError::DuplicateKid);
        }
        let mut first = None;
        for (index, key) in keys.into_iter().enumerate() {
            match Self::new(key, enc, alg) {
                Ok(recipient) => return Ok(recipient),
                Err(why) => first = first.or_else(|| Some(format!("key {index}: {why}"))),
            }
        }
        Err(RecipientError::Unusable(first))
    }

    fn new(
        jwk: &Map<String, Value>,
        enc: ContentEncryption,
        asked: Option<KeyManagement>,
    ) -> Result<Self, String> {
        if jwk.get("use").is_some_and(|usage| usage != "enc") {
            return Err("its \"use\" is not \"enc\"".to_owned());
        }
        let (key, thumbprint, usual, operations) = parse(jwk).map_err(|error| error.to_string())?;
        let allows = |allowed: &Value| match allowed.as_array().map(Vec::as_slice) {
            // So Web Crypto exports the public half of an agreement, which has no use of its own there.
            Some([]) => matches!(key, Key::Agreement(_)),
            Some(allowed) => operations.iter().any(|operation| allowed.iter().any(|name| name == operation)),
            None => false,
        };
        if !jwk.get("key_ops").is_none_or(allows) {
            return Err(format!("its \"key_ops\" has neither of {}", operations.join(" and ")));
        }
        let own = jwk.get("alg").map(|alg| {
            serde_json::from_value::<KeyManagement>(alg.clone())
                .map_err(|_| "its \"alg\" is none of RSA-OAEP-256, ECDH-ES and ECDH-ES+A256KW".to_owned())
        });
        let own = own.transpose()?;
        if own.is_some() && asked.is_some() && own != asked {
            return Err("its \"alg\" is not the one asked for".to_owned());
        }
        let alg = own.or(asked).unwrap_or(usual);
        if matches!(key, Key::Rsa(_)) != (alg == KeyManagement::RsaOaep256) {
            return Err(format!("it is no key for {}", alg.name()));
        }
        let kid = jwk.get("kid").map(|kid| {
            let text = kid.as_str().filter(|kid| (1..=MAX_KID).contains(&kid.len()));
            text.filter(|kid| kid.bytes().all(|byte| (b' '..=b'~').contains(&byte)))
                .map(str::to_owned)
                .ok_or_else(|| format!("its \"kid\" is not 1 to {MAX_KID} printable ASCII characters"))
        });
        let recipient = Self { alg, enc, kid: kid.transpose()?, key, thumbprint };
        // X25519 takes any 32 bytes; those that agree on nothing are found out here, not by a caller.
        recipient.encrypt("").map_err(|NotEncrypted| "the library cannot encrypt to it".to_owned())?;
        Ok(recipient)
    }

    /// How the content key is sent.
    pub fn alg(&self) -> KeyManagement {
        self.alg
    }
    /// How the content is encrypted.
    pub fn enc(&self) -> ContentEncryption {
        self.enc
    }
    /// What the recipient calls the key; its thumbprint where it has no name. At most 200 characters.
    pub fn kid(&self) -> &str {
        self.kid.as_deref().unwrap_or(&self.thumbprint)
    }
    /// RFC 7638 thumbprint of the key, SHA-256.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}
impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        (self.alg, self.enc, &self.kid, &self.thumbprint)
            == (other.alg, other.enc, &other.kid, &other.thumbprint)
    }
}
impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recipient({} {} {})", self.alg.name(), self.enc.name(), self.kid())
    }
}

/// The key, its thumbprint, the algorithm where nobody says which, and what `key_ops` calls its use.
type Parsed = (Key, String, KeyManagement, [&'static str; 2]);

fn parse(jwk: &Map<String, Value>) -> Result<Parsed, PublicKeyError> {
    const AGREES: [&str; 2] = ["deriveKey", "deriveBits"];
    let text = |name| jwk.get(name).and_then(Value::as_str);
    if (text("kty"), text("crv")) == (Some("OKP"), Some("X25519")) {
        let x = text("x").and_then(base64url::decode).ok_or(PublicKeyError::Point)?;
        let canonical = format!(r#"{{"crv":"X25519","kty":"OKP","x":"{}"}}"#, base64url::encode(&x));
        let thumbprint = base64url::encode(&Digest::Sha256.hash(canonical.as_bytes()));
        let key = UnparsedPublicKey::new(&X25519, x).try_into().map_err(|_| PublicKeyError::Point)?;
        return Ok((Key::Agreement(key), thumbprint, KeyManagement::EcdhEs, AGREES));
    }
    let public: PublicKey = jwk::material(jwk)?;
    let (key, usual, operations) = match &public.0 {
        Material::Rsa { n, e } => {
            let key: Result<PublicEncryptingKey, _> = RsaPublicKeyComponents { n, e }.try_into();
            let key = key.and_then(OaepPublicEncryptingKey::new).map_err(|_| PublicKeyError::RsaModulus)?;
            (Key::Rsa(key), KeyManagement::RsaOaep256, ["wrapKey", "encrypt"])
        }
        Material::Ec { curve, point } => {
            let algorithm = match curve {
                Curve::P256 => &ECDH_P256,
                Curve::P384 => &ECDH_P384,
                Curve::P521 => &ECDH_P521,
            };
            let key = UnparsedPublicKey::new(algorithm, point).try_into();
            let key = key.map_err(|_| PublicKeyError::Point)?;
            (Key::Agreement(key), KeyManagement::EcdhEs, AGREES)
        }
        Material::Ed25519 { .. } | Material::MlDsa { .. } => {
            return Err(PublicKeyError::Jwk("it can only verify signatures"));
        }
    };
    Ok((key, public.thumbprint().as_str().to_owned(), usual, operations))
}

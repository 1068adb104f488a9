//! Public keys as JSON: the JWK to publish (RFC 7517), its thumbprint (RFC 7638), and reading one back.
//!
//! Only the members listed here are ever written, so nothing private can be published.

use super::public_key::{Material, PublicKey, PublicKeyError};
use super::{Algorithm, Curve, Digest, KeyType, MlDsa, base64url};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A key id: the RFC 7638 SHA-256 thumbprint of the public key, base64url.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kid(String);
impl Kid {
    /// The text, 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl std::fmt::Display for Kid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A public JWK as it is published (RFC 7517 section 4). Members in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    kid: Kid,
    #[serde(flatten)]
    parameters: Parameters,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    x5c: Vec<String>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    x5t_s256: Option<String>,
}
impl Jwk {
    /// Its `kid` member.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }
    /// The same with `x5c` and `x5t#S256` (RFC 7517 sections 4.7 and 4.9) of certificates as DER, that of this key
    /// first, each certified by the next one.
    pub fn with_certificates(self, chain: &[Vec<u8>]) -> Self {
        Self {
            x5c: chain.iter().map(|der| STANDARD.encode(der)).collect(),
            x5t_s256: chain.first().map(|der| base64url::encode(&Digest::Sha256.hash(der))),
            ..self
        }
    }
}

/// The members that RFC 7638 section 3.2 hashes, besides `kty` (and `alg` for AKP, RFC 9964 section 6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Parameters {
    Rsa {
        n: String,
        e: String,
    },
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    Okp {
        crv: &'static str,
        x: String,
    },
    Akp {
        #[serde(rename = "pub")]
        key: String,
    },
}

fn parameters(key: &PublicKey) -> Parameters {
    match &key.0 {
        Material::Rsa { n, e } => Parameters::Rsa { n: base64url::encode(n), e: base64url::encode(e) },
        Material::Ec { curve, point } => {
            // `PublicKey::ec` checked the length: one byte, then two coordinates.
            let (x, y) = point.split_at(point.len().div_ceil(2));
            Parameters::Ec {
                crv: curve.name(),
                x: base64url::encode(x.get(1..).unwrap_or_default()),
                y: base64url::encode(y),
            }
        }
        Material::Ed25519 { x } => Parameters::Okp { crv: "Ed25519", x: base64url::encode(x) },
        Material::MlDsa { key, .. } => Parameters::Akp { key: base64url::encode(key) },
    }
}

pub(super) fn thumbprint(key: &PublicKey) -> Kid {
    // Required members only, in lexicographic order, no white space (RFC 7638 section 3).
    let set = match key.key_type() {
        KeyType::MlDsa(set) => set.name(),
        KeyType::Rsa | KeyType::Ec(_) | KeyType::Ed25519 => "",
    };
    let canonical = match parameters(key) {
        Parameters::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        Parameters::Ec { crv, x, y } => {
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        Parameters::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
        Parameters::Akp { key } => format!(r#"{{"alg":"{set}","kty":"AKP","pub":"{key}"}}"#),
    };
    Kid(base64url::encode(&Digest::Sha256.hash(canonical.as_bytes())))
}

pub(super) fn publish(key: &PublicKey, algorithm: Algorithm) -> Jwk {
    let parameters = parameters(key);
    Jwk {
        kty: match parameters {
            Parameters::Rsa { .. } => "RSA",
            Parameters::Ec { .. } => "EC",
            Parameters::Okp { .. } => "OKP",
            Parameters::Akp { .. } => "AKP",
        },
        usage: "sig",
        alg: algorithm.name(),
        kid: thumbprint(key),
        parameters,
        x5c: Vec::new(),
        x5t_s256: None,
    }
}

/// Private members of RFC 7518 sections 6.2.2 and 6.3.2 and RFC 8037, `k` of symmetric keys, `priv` of RFC 9964.
pub const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

pub(super) fn read(jwk: &Value) -> Result<PublicKey, PublicKeyError> {
    use PublicKeyError::Jwk;
    let members = jwk.as_object().ok_or(Jwk("it is not a JSON object"))?;
    if is_private(members) {
        return Err(Jwk("it holds private or symmetric key material; treat that key as lost"));
    }
    if members.get("use").is_some_and(|usage| usage != "sig") {
        return Err(Jwk("its \"use\" is not \"sig\""));
    }
    material(members)
}

/// Whether it holds more than a public key.
pub fn is_private(jwk: &Map<String, Value>) -> bool {
    PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name))
}

/// The public key itself, whatever it is for.
pub(super) fn material(members: &Map<String, Value>) -> Result<PublicKey, PublicKeyError> {
    use PublicKeyError::Jwk;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let bytes = |name: &str| {
        text(name)
            .and_then(base64url::decode)
            .ok_or(Jwk("a key parameter is missing or not canonical base64url"))
    };
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            if n.first() == Some(&0) || e.first() == Some(&0) {
                return Err(Jwk("\"n\" or \"e\" has leading zeros (RFC 7518 section 6.3.1)"));
            }
            PublicKey::rsa(&n, &e)
        }
        (Some("EC"), Some(crv)) => {
            let curve = [Curve::P256, Curve::P384, Curve::P521]
                .into_iter()
                .find(|curve| curve.name() == crv)
                .ok_or(Jwk("unknown \"crv\"; known are P-256, P-384 and P-521"))?;
            let (x, y) = (bytes("x")?, bytes("y")?);
            // Both must be padded to the length of the field (RFC 7518 section 6.2.1.2): `ec` sees only their sum.
            if x.len() != curve.field_len() {
                return Err(PublicKeyError::Point);
            }
            PublicKey::ec(curve, &[&[4], &x[..], &y[..]].concat())
        }
        (Some("OKP"), Some("Ed25519")) => PublicKey::ed25519(&bytes("x")?),
        (Some("AKP"), _) => {
            let set = MlDsa::ALL
                .into_iter()
                .find(|set| text("alg") == Some(set.name()))
                .ok_or(Jwk("unknown \"alg\" of an AKP key; known are ML-DSA-44, ML-DSA-65 and ML-DSA-87"))?;
            PublicKey::ml_dsa(set, &bytes("pub")?)
        }
        _ => Err(Jwk("unknown \"kty\" or \"crv\"; known are RSA, EC, AKP, and OKP with Ed25519")),
    }
}

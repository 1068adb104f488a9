//! Parts of an SD-JWT (RFC 9901): disclosures, digests, and claims put together again. SHA-256 only; claims of the
//! top level only.
//!
//! Never signs and never verifies a signature.

use super::{Digest, base64url, json};
use aws_lc_rs::rand;
use serde_json::{Map, Value};

/// The `_sd_alg` value.
pub const ALGORITHM: &str = "sha-256";
/// Names that an SD-JWT gives a meaning of its own (RFC 9901 section 4.1), at any depth.
pub const NAMES: [&str; 3] = ["_sd", "_sd_alg", "..."];
/// Bytes of a salt (RFC 9901 section 9.3).
const SALT: usize = 16;
/// Bounds on one disclosure that is read.
const LIMITS: json::Limits = json::Limits { bytes: 64 << 10, depth: 16, nodes: 4096 };

/// No random numbers could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no random numbers could be had for a salt")]
pub struct NoSalt;

/// A claim and its salt, as the holder shows them (RFC 9901 section 4.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure(String);
impl Disclosure {
    /// With a new salt.
    ///
    /// # Errors
    /// [`NoSalt`].
    pub fn new(name: &str, value: &Value) -> Result<Self, NoSalt> {
        // A tree that was parsed can be written.
        let text = serde_json::to_vec(&(random::<SALT>()?, name, value)).map_err(|_| NoSalt)?;
        Ok(Self(base64url::encode(&text)))
    }
    /// What is shown: base64url.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// What stands for it among the claims (RFC 9901 section 4.2.3).
    pub fn digest(&self) -> String {
        digest(&self.0)
    }
}
/// A digest of nothing that anybody knows (RFC 9901 section 4.2.5).
///
/// # Errors
/// [`NoSalt`].
pub fn decoy() -> Result<String, NoSalt> {
    Ok(digest(&random::<32>()?))
}

fn digest(text: &str) -> String {
    base64url::encode(&Digest::Sha256.hash(text.as_bytes()))
}
fn random<const LEN: usize>() -> Result<String, NoSalt> {
    let mut bytes = [0; LEN];
    rand::fill(&mut bytes).map_err(|_| NoSalt)?;
    Ok(base64url::encode(&bytes))
}

/// The parts of an SD-JWT in compact form (RFC 9901 section 4).
pub struct Parts<'a> {
    /// What the issuer signed.
    pub jws: &'a str,
    /// What the holder shows.
    pub disclosures: Vec<&'a str>,
    /// The holder's own JWT.
    pub key_binding: Option<&'a str>,
}
/// `None` for what has no tilde, and so is a plain JWT.
pub fn split(text: &str) -> Option<Parts<'_>> {
    let (jws, rest) = text.split_once('~')?;
    let (disclosures, key_binding) = match rest.rsplit_once('~') {
        Some((disclosures, last)) => (disclosures.split('~').collect(), last),
        None => (Vec::new(), rest),
    };
    Some(Parts { jws, disclosures, key_binding: (!key_binding.is_empty()).then_some(key_binding) })
}

/// Puts the claims that are shown in the place of their digests (RFC 9901 section 7.1).
///
/// # Errors
/// A sentence: another algorithm, or a disclosure that is malformed, has no digest there, or is no claim's.
pub fn reveal(
    mut claims: Map<String, Value>,
    disclosures: &[&str],
) -> Result<Map<String, Value>, &'static str> {
    match claims.shift_remove("_sd_alg") {
        None => {}
        Some(algorithm) if algorithm == ALGORITHM => {}
        Some(_) => return Err("_sd_alg is not sha-256, the only one known here"),
    }
    let mut digests = match claims.shift_remove("_sd") {
        None => Vec::new(),
        Some(Value::Array(digests)) => digests,
        Some(_) => return Err("_sd is not an array"),
    };
    for shown in disclosures {
        let read = base64url::decode(shown).and_then(|text| json::parse(&text, LIMITS).ok());
        let read = read.and_then(|triple| serde_json::from_value::<(String, String, Value)>(triple).ok());
        let (_, name, value) = read.ok_or("a disclosure is not base64url of [salt, name, value]")?;
        let digest = digest(shown);
        let place = digests.iter().position(|known| *known == digest);
        // Taken out, so that none counts twice.
        digests.swap_remove(place.ok_or("a disclosure belongs to no digest in the JWT, or is there twice")?);
        if NAMES.contains(&name.as_str()) || claims.contains_key(&name) {
            return Err("a disclosure has the name of a claim that is there, or that no claim may have");
        }
        claims.insert(name, value);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// RFC 9901 section 4.2.3 and 5.1.
    #[test]
    fn digests_are_those_of_the_standard() {
        for (shown, digested) in [
            (
                "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0",
                "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0",
            ),
            (
                "WyIyR0xDNDJzS1F2ZUNmR2ZyeU5STjl3IiwgImdpdmVuX25hbWUiLCAiSm9obiJd",
                "jsu9yVulwQQlhFlM_3JlzMaSFzglhQG0DpfayQwLUK4",
            ),
        ] {
            assert_eq!(digest(shown), digested);
        }
    }

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let value = json!({"street": "é \"1\"", "n": [1, null, 2.5]});
        let (one, two) =
            (Disclosure::new("address", &value).unwrap(), Disclosure::new("x", &json!(1)).unwrap());
        assert_ne!(one, Disclosure::new("address", &value).unwrap(), "salts are new each time");
        let text = String::from_utf8(base64url::decode(one.as_str()).unwrap()).unwrap();
        let salt = &text[2..24];
        assert_eq!(base64url::decode(salt).unwrap().len(), 16);
        assert_eq!(text, format!(r#"["{salt}","address",{value}]"#));
        let claims = object(
            json!({"iss": "a", "_sd": [decoy().unwrap(), two.digest(), one.digest()], "_sd_alg": "sha-256"}),
        );
        let revealed = |shown: &[&str]| reveal(claims.clone(), shown).map(Value::Object);
        assert_eq!(revealed(&[]), Ok(json!({"iss": "a"})));
        assert_eq!(revealed(&[one.as_str()]), Ok(json!({"iss": "a", "address": value})));
        assert_eq!(
            revealed(&[two.as_str(), one.as_str()]),
            Ok(json!({"iss": "a", "x": 1, "address": value}))
        );
        for bad in [
            &[one.as_str(), one.as_str()][..],
            &[Disclosure::new("x", &json!(1)).unwrap().as_str()],
            &["e30"],
            &["W10"],
            &[""],
            &["WyJhIiwiYiJd"],
            &["=="],
        ] {
            assert!(revealed(bad).is_err(), "{bad:?}");
        }
        for name in ["iss", "_sd", "..."] {
            let taken = Disclosure::new(name, &json!(1)).unwrap();
            let claims = object(json!({"iss": "a", "_sd": [taken.digest()]}));
            assert!(reveal(claims, &[taken.as_str()]).is_err(), "{name}");
        }
        assert!(reveal(object(json!({"_sd_alg": "md5"})), &[]).is_err());
        assert!(reveal(object(json!({"_sd": {}})), &[]).is_err());
        assert_ne!(decoy().unwrap(), decoy().unwrap());
        assert_eq!(decoy().unwrap().len(), one.digest().len());
    }

    #[test]
    fn the_compact_form_is_split_at_its_tildes() {
        let parts =
            |text| split(text).map(|parts: Parts<'_>| (parts.jws, parts.disclosures, parts.key_binding));
        assert_eq!(parts("a.b.c"), None);
        assert_eq!(parts("a.b.c~"), Some(("a.b.c", vec![], None)));
        assert_eq!(parts("a.b.c~d~"), Some(("a.b.c", vec!["d"], None)));
        assert_eq!(parts("a.b.c~d~e~f.g.h"), Some(("a.b.c", vec!["d", "e"], Some("f.g.h"))));
        assert_eq!(parts("a.b.c~f.g.h"), Some(("a.b.c", vec![], Some("f.g.h"))));
        assert_eq!(parts("a~~"), Some(("a", vec![""], None)));
    }
}

//! What the claims of a kind look like. Exact: what a lenient reader could take for something else is refused.

use crate::jose::{Algorithm, Digest};
use crate::profile::ClaimType;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// The one event of a logout token.
pub(crate) const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a claim looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A string that is not empty.
    Text,
    /// An array of such strings.
    Texts,
    /// A NumericDate.
    Date,
    /// Words with one space between (RFC 6749 section 3.3).
    Scope,
    /// The left half of a hash, by the hash of the JWT's own algorithm (OpenID Connect Core 1.0 section 3.1.3.6).
    HalfHash,
    /// An object with this member alone, a SHA-256 thumbprint (RFC 9449 section 6.1, RFC 8705 section 3.1).
    Thumbprint(&'static str),
    /// Events by URI, and no logout among them (RFC 8417 section 2.2).
    Events,
    /// The logout event alone (OpenID Connect Back-Channel Logout 1.0 section 2.4).
    Logout,
    /// A subject identifier (RFC 9493 section 3).
    SubjectId,
    /// A SHA-256 digest as in `Content-Digest` (RFC 9530 section 2).
    ContentDigest,
}
impl Form {
    /// Whether `value` looks like that in a JWT that `algorithm` signs.
    pub fn admits(self, value: &Value, algorithm: Algorithm) -> bool {
        let text = || value.as_str().filter(|text| !text.is_empty());
        match self {
            Self::Text => text().is_some(),
            Self::Texts => value.as_array().is_some_and(|texts| texts.iter().all(is_text)),
            Self::Date => ClaimType::Date.admits(value),
            Self::Scope => value.as_str().is_some_and(is_scope),
            Self::HalfHash => text().is_some_and(|text| is_base64(&URL_SAFE_NO_PAD, text, half(algorithm))),
            Self::Thumbprint(member) => alone(value).is_some_and(|(name, value)| {
                name == member && value.as_str().is_some_and(|text| is_base64(&URL_SAFE_NO_PAD, text, 32))
            }),
            Self::Events => value.as_object().is_some_and(are_events),
            Self::Logout => alone(value).is_some_and(|(name, value)| {
                name == LOGOUT_EVENT && value.as_object().is_some_and(Map::is_empty)
            }),
            Self::SubjectId => value.as_object().is_some_and(is_subject_id),
            Self::ContentDigest => text()
                .and_then(|text| text.strip_prefix("sha-256=:")?.strip_suffix(':'))
                .is_some_and(|digest| is_base64(&STANDARD, digest, 32)),
        }
    }
    /// What to call it in a sentence.
    pub fn described(self) -> &'static str {
        match self {
            Self::Text => "a string that is not empty",
            Self::Texts => "an array of strings that are not empty",
            Self::Date => ClaimType::Date.described(),
            Self::Scope => "a string of words with one space between (RFC 6749 section 3.3)",
            Self::HalfHash => "base64url of the left half of the hash that the key's algorithm uses",
            Self::Thumbprint("jkt") => "an object with the member jkt alone, 43 characters of base64url",
            Self::Thumbprint(_) => "an object with the member x5t#S256 alone, 43 characters of base64url",
            Self::Events => {
                "an object that maps event URIs, at least one and not that of a logout, to objects"
            }
            Self::Logout => "exactly {\"http://schemas.openid.net/event/backchannel-logout\": {}}",
            Self::SubjectId => "an object with format and the members that this has (RFC 9493)",
            Self::ContentDigest => "sha-256=:...: around the base64 of 32 bytes",
        }
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}
/// The one member of an object.
fn alone(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.iter().next().map(|(name, value)| (name.as_str(), value))
}
/// `scope-token *( SP scope-token )`.
fn is_scope(text: &str) -> bool {
    text.split(' ').all(|word| {
        !word.is_empty() && word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    })
}
/// Bytes of the left half of a hash. Those that hash inside are taken for SHA-512, as Ed25519 does.
fn half(algorithm: Algorithm) -> usize {
    match algorithm.digest() {
        Some(Digest::Sha256) => 16,
        Some(Digest::Sha384) => 24,
        Some(Digest::Sha512) | None => 32,
    }
}
/// Whether `text` is the one way to write so many bytes, at most 32.
fn is_base64(engine: &GeneralPurpose, text: &str, bytes: usize) -> bool {
    let mut room = [0; 64];
    text.len() <= 64 && engine.decode_slice(text, &mut room) == Ok(bytes)
}
fn are_events(events: &Map<String, Value>) -> bool {
    !events.is_empty()
        && events.iter().all(|(name, value)| is_uri(name) && name != LOGOUT_EVENT && value.is_object())
}
/// A format that is registered has exactly its members (RFC 9493 section 3); any other one has some.
fn is_subject_id(id: &Map<String, Value>) -> bool {
    let Some(format) = id.get("format").and_then(Value::as_str) else { return false };
    let members: &[&str] = match format {
        "account" | "uri" => &["uri"],
        "email" => &["email"],
        "iss_sub" => &["iss", "sub"],
        "opaque" => &["id"],
        "phone_number" => &["phone_number"],
        "did" => &["url"],
        "aliases" => {
            let identifiers = id.get("identifiers").and_then(Value::as_array);
            let is_alias = |alias: &Map<String, Value>| {
                alias.get("format").is_none_or(|format| format != "aliases") && is_subject_id(alias)
            };
            return id.len() == 2
                && identifiers.is_some_and(|all| {
                    !all.is_empty() && all.iter().all(|alias| alias.as_object().is_some_and(is_alias))
                });
        }
        other => return !other.is_empty() && id.len() > 1,
    };
    id.len() == members.len() + 1 && members.iter().all(|name| id.get(*name).is_some_and(is_text))
}
/// RFC 3986: a scheme and something after it, of the characters that a URI has.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut scheme = scheme.bytes();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    scheme.next().is_some_and(|first| first.is_ascii_alphabetic())
        && scheme.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && rest.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn forms_are_exact() {
        let standard = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for (form, good, bad) in [
            (Form::Text, vec![json!("x")], vec![json!(""), json!(1), json!(null), json!(["x"])]),
            (Form::Texts, vec![json!([]), json!(["x", "y"])], vec![json!("x"), json!([""]), json!(["x", 1])]),
            (Form::Date, vec![json!(0)], vec![json!("0"), json!(1.0), json!(-1)]),
            (Form::Scope, vec![json!("x y")], vec![json!("x  y"), json!(""), json!(["x"])]),
            (
                Form::Thumbprint("jkt"),
                vec![json!({"jkt": ZEROS})],
                vec![
                    json!({"jkt": &ZEROS[1..]}),
                    json!({"jkt": format!("{}B", &ZEROS[1..])}),
                    json!({"jkt": format!("{ZEROS}=")}),
                    json!({"jkt": ZEROS.replacen('A', "+", 1)}),
                    json!({"jkt": 1}),
                    json!({"x5t#S256": ZEROS}),
                    json!({"jkt": ZEROS, "x5t#S256": ZEROS}),
                    json!({}),
                    json!(ZEROS),
                ],
            ),
            (Form::Thumbprint("x5t#S256"), vec![json!({"x5t#S256": ZEROS})], vec![json!({"jkt": ZEROS})]),
            (
                Form::Events,
                vec![json!({"https://schemas.example.com/a": {}, "urn:x:b%20": {"c": 1}})],
                vec![
                    json!({}),
                    json!([]),
                    json!({"a": {}}),
                    json!({"a b:c": {}}),
                    json!({":c": {}}),
                    json!({"1a:c": {}}),
                    json!({"a:": {}}),
                    json!({"a:é": {}}),
                    json!({"urn:a": 1}),
                    json!({"urn:a": null}),
                    json!({LOGOUT_EVENT: {}}),
                    json!({"urn:a": {}, LOGOUT_EVENT: {}}),
                ],
            ),
            (
                Form::Logout,
                vec![json!({LOGOUT_EVENT: {}})],
                vec![
                    json!({}),
                    json!({LOGOUT_EVENT: {"a": 1}}),
                    json!({LOGOUT_EVENT: []}),
                    json!({LOGOUT_EVENT: {}, "urn:a": {}}),
                ],
            ),
            (
                Form::SubjectId,
                vec![
                    json!({"format": "opaque", "id": "1"}),
                    json!({"format": "iss_sub", "iss": "https://a", "sub": "1"}),
                    json!({"format": "aliases", "identifiers": [{"format": "did", "url": "did:a:b"}]}),
                    json!({"format": "ours", "number": 1}),
                ],
                vec![
                    json!({"id": "1"}),
                    json!({"format": ""}),
                    json!({"format": "", "id": "1"}),
                    json!({"format": 1}),
                    json!("opaque"),
                    json!({"format": "ours"}),
                    json!({"format": "opaque"}),
                    json!({"format": "opaque", "id": 1}),
                    json!({"format": "opaque", "id": "1", "sub": "1"}),
                    json!({"format": "iss_sub", "sub": "1"}),
                    json!({"format": "email", "uri": "a:b"}),
                    json!({"format": "aliases", "identifiers": []}),
                    json!({"format": "aliases", "identifiers": [{"format": "did"}]}),
                    json!({"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [
                        {"format": "did", "url": "did:a:b"}
                    ]}]}),
                ],
            ),
            (
                Form::ContentDigest,
                vec![json!(format!("sha-256=:{standard}:"))],
                vec![
                    json!(standard),
                    json!(format!("sha-256={standard}")),
                    json!(format!("sha-512=:{standard}:")),
                    json!(format!("sha-256=:{}:", standard.trim_end_matches('='))),
                    json!(format!("sha-256=:{}:", standard.replace('+', "-").replace('/', "_"))),
                    json!(format!("sha-256=:{standard}:, sha-256=:{standard}:")),
                    json!("sha-256=:AAAA:"),
                    json!("sha-256=::"),
                ],
            ),
        ] {
            for value in good {
                assert!(form.admits(&value, Algorithm::ES256), "{form:?} {value}");
            }
            for value in bad {
                assert!(!form.admits(&value, Algorithm::ES256), "{form:?} {value}");
            }
        }
    }

    #[test]
    fn half_hashes_have_the_length_of_the_algorithm() {
        for (algorithm, length) in [
            (Algorithm::ES256, 22),
            (Algorithm::PS384, 32),
            (Algorithm::RS512, 43),
            (Algorithm::Ed25519, 43),
            (Algorithm::MlDsa44, 43),
        ] {
            for other in [21, 22, 32, 43, 44] {
                let admits = Form::HalfHash.admits(&json!("A".repeat(other)), algorithm);
                assert_eq!(admits, other == length, "{algorithm:?} {other}");
            }
        }
    }
}

//! Profiles: the kinds of JWT that may be issued. Pure data with the parsing of its parts; rules are judged by `policy`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

macro_rules! name {
    ($(#[$m:meta])* $t:ident) => {
        $(#[$m])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $t(Arc<str>);
        impl $t {
            /// `[a-z0-9]([a-z0-9._-]{0,62})`: safe in logs, file names and metrics labels.
            ///
            /// # Errors
            /// [`BadName`] for anything else.
            pub fn new(text: &str) -> Result<Self, BadName> {
                is_name(text).then(|| Self(text.into())).ok_or(BadName)
            }
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $t {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name!(
    /// The name of a profile.
    ProfileName
);
name!(
    /// The name of a key; its versions each have a `kid`.
    KeyName
);
fn is_name(text: &str) -> bool {
    let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 63
        && text.as_bytes().first().is_some_and(lower)
        && text.bytes().all(|byte| lower(&byte) || b"._-".contains(&byte))
}
/// A name that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("names are 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit")]
pub struct BadName;

/// Claims that the daemon alone writes. `aud` is the daemon's too, but a caller may say which one it wants.
pub const RESERVED_CLAIMS: [&str; 5] = ["iss", "iat", "nbf", "exp", "jti"];

/// Whether a profile may have a rule for a claim of this name: printable ASCII without spaces, 1 to 64 characters,
/// and neither `aud` nor [reserved](RESERVED_CLAIMS). Any other name could never be asked for.
pub fn is_claim_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && text != "aud"
        && !RESERVED_CLAIMS.contains(&text)
}

/// A kind of JWT. Built by `config` only; immutable afterwards.
#[derive(Debug)]
pub struct Profile {
    /// What callers ask for.
    pub name: ProfileName,
    /// The key that signs.
    pub key: KeyName,
    /// The `typ` header, such as `at+jwt` (RFC 8725 section 3.11).
    pub typ: String,
    /// The `iss` claim.
    pub issuer: String,
    /// Audiences that may be asked for; never empty (RFC 8725 section 3.9).
    pub audiences: Vec<String>,
    /// How `aud` is written.
    pub audience_form: AudienceForm,
    /// How long a JWT lives.
    pub lifetime: Lifetime,
    /// Write `nbf` (equal to `iat`) into the JWT.
    pub nbf: bool,
    /// Claims a caller may set, by name. Anything else is refused.
    pub claims: BTreeMap<String, ClaimRule>,
    /// A JSON Schema over the caller's claims as a whole.
    pub schema: Option<jsonschema::Validator>,
}
/// How `aud` is written. One form per profile, so that verifiers meet no surprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AudienceForm {
    /// One audience, as a string.
    #[default]
    String,
    /// One to eight, always as an array.
    Array,
}
/// Lifetimes, whole seconds, `1s <= default <= max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When the caller asks for none.
    pub default: Duration,
    /// What a caller may ask for at most.
    pub max: Duration,
}

/// What one claim must look like. All given parts must hold.
#[derive(Debug, Default)]
pub struct ClaimRule {
    /// It must be there, and not be null.
    pub required: bool,
    /// Its JSON type.
    pub kind: Option<ClaimType>,
    /// The only value it may have.
    pub constant: Option<serde_json::Value>,
    /// The values it may have.
    pub one_of: Option<Vec<serde_json::Value>>,
    /// For strings, and no other type fits. Anchored at both ends; linear-time.
    pub pattern: Option<regex::Regex>,
    /// Characters of a string, elements of an array, members of an object.
    pub max_length: Option<usize>,
    /// A JSON Schema over its value.
    pub schema: Option<jsonschema::Validator>,
}
impl Profile {
    /// Whether it makes access tokens of RFC 9068, whose rules then hold besides its own.
    pub fn is_rfc9068(&self) -> bool {
        ["at+jwt", "application/at+jwt"].iter().any(|typ| self.typ.eq_ignore_ascii_case(typ))
    }
}
/// JSON types, with `Date` for a NumericDate (RFC 7519 section 2): an integer in 0..=253402300799.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClaimType {
    /// A string.
    String,
    /// A number written without fraction or exponent.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Seconds since 1970, as an integer, up to the year 9999.
    Date,
    /// An array.
    Array,
    /// An object.
    Object,
}
impl ClaimType {
    /// Whether `value` is of this type.
    pub fn admits(self, value: &serde_json::Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Date => value.as_u64().is_some_and(|date| date <= LAST_DATE),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }
    /// What to call it in a sentence, such as "a string".
    pub fn described(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Date => "an integer of seconds from 0 to 253402300799",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}
/// 9999-12-31T23:59:59Z.
pub const LAST_DATE: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names() {
        for good in ["a", "0", "access-token", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(ProfileName::new(good).unwrap().as_str(), good);
            assert_eq!(KeyName::new(good).unwrap().to_string(), good);
        }
        for bad in ["", "-a", ".a", "_a", "A", "aB", "a b", "a/b", "a\n", "é", "../a", &"x".repeat(64)] {
            assert_eq!(ProfileName::new(bad), Err(BadName), "{bad:?}");
        }
    }

    #[test]
    fn claim_names() {
        for good in ["sub", "https://example.com/roles", "x5t#S256", &"x".repeat(64)] {
            assert!(is_claim_name(good), "{good:?}");
        }
        for bad in ["", "aud", "exp", "iss", "a b", " a", "é", "\u{ff45}xp", "a\0", &"x".repeat(65)] {
            assert!(!is_claim_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn types_are_exact() {
        use ClaimType::*;
        for (value, kinds) in [
            (json!("x"), &[String][..]),
            (json!(""), &[String]),
            (json!("1700000000"), &[String]),
            (json!(1), &[Integer, Number, Date]),
            (json!(0), &[Integer, Number, Date]),
            (json!(LAST_DATE), &[Integer, Number, Date]),
            (json!(LAST_DATE + 1), &[Integer, Number]),
            (json!(-1), &[Integer, Number]),
            (json!(1.0), &[Number]),
            (json!(1.7e9), &[Number]),
            (json!(true), &[Boolean]),
            (json!([]), &[Array]),
            (json!({}), &[Object]),
            (json!(null), &[]),
        ] {
            for kind in [String, Integer, Number, Boolean, Date, Array, Object] {
                assert_eq!(kind.admits(&value), kinds.contains(&kind), "{value} {kind:?}");
            }
        }
    }
}

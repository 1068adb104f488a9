//! Claims: their names, types, and what one must look like. Data only; `policy` judges.

use super::DetectorSet;

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
    /// The least number that it may be.
    pub min: Option<serde_json::Number>,
    /// The greatest.
    pub max: Option<serde_json::Number>,
    /// It says something about a person.
    pub personal: bool,
    /// A JWT with it leaves encrypted only.
    pub sensitive: bool,
    /// Detectors that it may set off; that it did is recorded.
    pub may_hold: DetectorSet,
    /// The holder of the SD-JWT may keep it back.
    pub disclosable: bool,
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
/// Types that the standards give, whatever a profile says (RFC 7519 section 4.1.2, RFC 8693 section 4.3, OpenID Connect
/// Core section 2). Wrong types are refused because some verifiers take them for absent.
pub fn usual_type(name: &str) -> Option<ClaimType> {
    match name {
        "sub" | "client_id" => Some(ClaimType::String),
        "auth_time" => Some(ClaimType::Date),
        _ => None,
    }
}
/// 9999-12-31T23:59:59Z.
pub const LAST_DATE: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

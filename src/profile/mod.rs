//! Profiles: the kinds of JWT that may be issued. Pure data with the parsing of its parts; rules are judged by `policy`.

mod claim;
mod condition;
mod hours;
mod name;
mod rate;

pub use claim::{ClaimRule, ClaimType, LAST_DATE, RESERVED_CLAIMS, is_claim_name};
#[cfg(test)]
pub(crate) use condition::tests::words as condition_words;
pub use condition::{CallerFact, Condition, ConditionFault, Input, PATTERN_TYPE, Pattern};
pub use hours::{Action, Hours, days, minute};
pub use name::{BadName, KeyName, ProfileName};
pub use rate::{Per, Rate, Threshold};

use std::collections::BTreeMap;
use std::time::Duration;

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
    /// What else a request must fulfil.
    pub condition: Option<Condition>,
    /// How often it may be used.
    pub rates: Vec<Rate>,
    /// When it may be used.
    pub hours: Option<Hours>,
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

impl Profile {
    /// Whether it makes access tokens of RFC 9068, whose rules then hold besides its own.
    pub fn is_rfc9068(&self) -> bool {
        ["at+jwt", "application/at+jwt"].iter().any(|typ| self.typ.eq_ignore_ascii_case(typ))
    }
}

#[cfg(test)]
impl Profile {
    /// A profile for tests: one audience, five minutes by default and fifteen at most, no claims.
    pub(crate) fn sample(name: &str, key: &str, typ: &str) -> Self {
        Self {
            name: ProfileName::new(name).unwrap(),
            key: KeyName::new(key).unwrap(),
            typ: typ.into(),
            issuer: "https://login.example.com".into(),
            audiences: vec!["https://api.example.com".into()],
            audience_form: AudienceForm::String,
            lifetime: Lifetime { default: Duration::from_secs(300), max: Duration::from_secs(900) },
            nbf: false,
            claims: BTreeMap::new(),
            schema: None,
            condition: None,
            rates: Vec::new(),
            hours: None,
        }
    }
}

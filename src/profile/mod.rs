//! Profiles: the kinds of JWT that may be issued. Pure data with the parsing of its parts; rules are judged by `policy`.

mod claim;
mod condition;
mod consent;
mod detector;
mod disclosure;
mod encryption;
mod fixed;
mod hours;
mod kind;
mod lifetime;
mod name;
mod rate;

pub use claim::{ClaimRule, ClaimType, LAST_DATE, RESERVED_CLAIMS, is_claim_name, usual_type};
#[cfg(test)]
pub(crate) use condition::tests::words as condition_words;
pub use condition::{CallerFact, Condition, ConditionFault, Input, PATTERN_TYPE, Pattern};
pub use consent::{Consent, ConsentWhen, LegalBasis};
pub use detector::{Detector, DetectorSet, Detectors, MAX_OWN, OwnDetector, OwnDetectors};
pub use disclosure::{KeyBinding, NEVER_DISCLOSABLE, SD_NAMES, SdJwt};
pub use encryption::{Encrypt, Recipient};
pub use fixed::{BadTemplate, Fixed, NoText, Template, is_var_name};
pub use hours::{Action, Hours, days, minute};
pub use kind::{Forbidden, Form, Kind, Own, Spec, Subject};
pub use lifetime::{Aal, LONGEST, Lifetime, SessionRule};
pub use name::{BadName, KeyName, ProfileName};
pub use rate::{Per, Rate, Threshold};

use crate::jose::Algorithm;
use std::collections::BTreeMap;
use std::time::Duration;

/// A kind of JWT. Built by `config` only; immutable afterwards.
#[derive(Debug)]
pub struct Profile {
    /// What callers ask for.
    pub name: ProfileName,
    /// The key that signs.
    pub key: KeyName,
    /// What that key signs with.
    pub algorithm: Algorithm,
    /// What it is based on: the rules of that kind hold besides its own.
    pub kind: Option<Kind>,
    /// The `typ` header, such as `at+jwt` (RFC 8725 section 3.11).
    pub typ: String,
    /// The `iss` claim, where it is not fixed by who the caller is.
    pub issuer: String,
    /// By name of the caller, what is fixed by who that is. Either empty or for every caller that may use the profile.
    pub fixed: BTreeMap<String, Fixed>,
    /// Audiences that may be asked for; empty only where the kind has none (RFC 8725 section 3.9).
    pub audiences: Vec<String>,
    /// How `aud` is written.
    pub audience_form: AudienceForm,
    /// How long a JWT lives.
    pub lifetime: Lifetime,
    /// What is asked of the person's login session.
    pub session: SessionRule,
    /// Write `nbf` into the JWT.
    pub nbf: bool,
    /// How long `nbf` is before `iat`, for verifiers whose clocks are behind. Whole seconds.
    pub skew: Duration,
    /// `iat` is rounded down to a multiple of this, so that it says less of who asked when. Whole seconds, at least one.
    pub round_iat: Duration,
    /// Claims a caller may set, by name. Anything else is refused.
    pub claims: BTreeMap<String, ClaimRule>,
    /// A JSON Schema over the caller's claims as a whole.
    pub schema: Option<jsonschema::Validator>,
    /// What its claims are searched for.
    pub detectors: Detectors,
    /// The person's consent that a JWT needs.
    pub consent: Option<Consent>,
    /// Why personal data may be in a JWT without consent.
    pub legal_basis: Option<LegalBasis>,
    /// When its JWTs are encrypted; never if none. Excludes `sd_jwt`.
    pub encrypt: Option<Encrypt>,
    /// How it makes SD-JWTs; it makes plain ones if none.
    pub sd_jwt: Option<SdJwt>,
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

impl Profile {
    /// What it allows beyond the limits that hold otherwise: an operator answers for each, and says why.
    pub fn overrides(&self) -> Vec<String> {
        let long = self.lifetime.over_ceiling.as_ref().map(|reason| {
            let ceiling = Kind::ceiling(self.kind).as_secs();
            format!("over the ceiling of {ceiling} s ({reason})")
        });
        let off: Vec<&str> = self.detectors.names_off().collect();
        let blind = (!off.is_empty()).then(|| format!("without the detectors {}", off.join(", ")));
        long.into_iter().chain(blind).collect()
    }
    /// What the specification of its kind says, if it has one.
    pub fn spec(&self) -> Option<&'static Spec> {
        self.kind.map(Kind::spec)
    }
    /// Every issuer that its JWTs may have.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        let own = self.fixed.is_empty().then_some(&*self.issuer);
        own.into_iter().chain(self.fixed.values().map(|fixed| &*fixed.issuer))
    }
    /// How long before now `iat` may be, rounding included: what lives no longer has expired when it is issued.
    pub fn set_back(&self) -> Duration {
        let rounded = self.round_iat.saturating_sub(Duration::from_secs(1));
        rounded + self.spec().map_or(Duration::ZERO, |spec| spec.backdate)
    }
}

#[cfg(test)]
impl Profile {
    /// A profile for tests: one audience, five minutes by default and fifteen at most, no claims.
    pub(crate) fn sample(name: &str, key: &str, typ: &str) -> Self {
        Self {
            name: ProfileName::new(name).unwrap(),
            key: KeyName::new(key).unwrap(),
            algorithm: Algorithm::ES256,
            kind: Kind::of_typ(typ),
            typ: typ.into(),
            issuer: "https://login.example.com".into(),
            fixed: BTreeMap::new(),
            audiences: vec!["https://api.example.com".into()],
            audience_form: AudienceForm::String,
            lifetime: Lifetime {
                default: Duration::from_mins(5),
                max: Duration::from_mins(15),
                over_ceiling: None,
            },
            session: SessionRule::default(),
            nbf: false,
            skew: Duration::ZERO,
            round_iat: Duration::from_secs(1),
            claims: BTreeMap::new(),
            schema: None,
            detectors: Detectors::default(),
            consent: None,
            legal_basis: None,
            encrypt: None,
            sd_jwt: None,
            condition: None,
            rates: Vec::new(),
            hours: None,
        }
    }
}

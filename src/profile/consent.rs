//! A person's consent: what a profile asks of it (GDPR articles 6 and 7). Data only; `policy` judges.

use std::time::Duration;

/// Consent that a profile's JWTs need.
#[derive(Debug, Clone)]
pub struct Consent {
    /// What the JWT is for. The person must have consented to each; never empty.
    pub purposes: Vec<String>,
    /// How long it is good for after it was given; whole seconds.
    pub max_age: Duration,
    /// Which requests need it.
    pub when: ConsentWhen,
    /// The claim that carries its id; none does by default.
    pub claim: Option<String>,
}
/// Which requests need consent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ConsentWhen {
    /// Every one.
    #[default]
    Always,
    /// Those with a personal claim.
    Personal,
}
/// Why personal data may be processed without consent (GDPR article 6(1)(b) to (f)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LegalBasis {
    /// A contract with the person needs it.
    Contract,
    /// The law demands it.
    LegalObligation,
    /// Someone's life depends on it.
    VitalInterests,
    /// A task in the public interest needs it.
    PublicTask,
    /// Interests that weigh more than the person's.
    LegitimateInterests,
}

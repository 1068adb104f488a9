//! `[detector.NAME]`, and what profiles say of detectors and of consent.

use super::DurationText;
use crate::profile::ConsentWhen;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

optional_table! {
    /// Something that no claim may hold, besides what the built-in detectors find: a pattern, names or both.
    Detector {
        /// Regular expression that is searched for in strings and numbers.
        #[serde(skip_serializing_if = "Option::is_none")]
        pattern: Option<String> = None,
        /// Names of members that tell of it, such as "ward_number"; "wardNumber" and "patient-ward-number" are meant too.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        names: Vec<String> = Vec::new(),
    }
}
optional_table! {
    /// What the claims of a profile are searched for.
    Detectors {
        /// Detectors that are not used in this profile.
        off: Vec<String> = Vec::new(),
    }
}
impl Detectors {
    pub(super) fn is_default(&self) -> bool {
        self.off.is_empty()
    }
}
table! {
    /// The person's consent that a JWT needs.
    Consent {
        /// What the JWT is for, such as "support": the person must have consented to each.
        purposes: Vec<String>,
        /// How long consent is good for after it was given, 1m to 3650d.
        max_age: DurationText,
        /// "always", or "personal": only where a personal claim is sent.
        #[serde(default)]
        when: ConsentWhen,
        /// The claim that carries the consent's id; none when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<String>,
    }
}

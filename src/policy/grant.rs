//! Permission for one JWT, and the terms that it consists of.

use crate::jose::jwe::Recipient;
use crate::profile::Profile;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Permission for one JWT, with its limits. Made only by [`super::Policy::authorize`]; spent by `jwt::Draft`.
#[must_use = "a grant that is not spent means a JWT that is not issued"]
#[derive(Debug)]
pub struct Grant {
    terms: Terms,
    caller: String,
}

/// What a grant consists of.
#[derive(Debug)]
pub struct Terms {
    /// The profile that was judged by: the one of this very policy, whatever is reloaded meanwhile.
    pub profile: Arc<Profile>,
    /// The `iss` claim.
    pub issuer: String,
    /// Configured audiences, 1 to 8; none where the profile's kind has none.
    pub audience: Vec<String>,
    /// From `iat` to `exp`: whole seconds, 1 s up to the profile's maximum.
    pub ttl: Duration,
    /// How long before now `iat` is, whole seconds.
    pub iat_back: Duration,
    /// The session's id, as the caller told it. For the keyed tag of a record only.
    pub session: Option<String>,
    /// The claims that were judged, in the caller's order, without `aud`; last those that are fixed and were not sent,
    /// and the consent's id if the profile says so.
    pub claims: Map<String, Value>,
    /// Id of the consent that was relied on. Personal: for the keyed tag of a record only.
    pub consent: Option<String>,
    /// What claims were allowed to hold and do, as `DETECTOR:CLAIM`.
    pub exceptions: Vec<String>,
    /// Whom the JWT is encrypted to; not at all if none.
    pub recipient: Option<Arc<Recipient>>,
}

impl Grant {
    /// Called when nothing was violated.
    pub(super) fn new(terms: Terms, caller: &str) -> Self {
        Self { terms, caller: caller.to_owned() }
    }
    /// What was granted.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
    /// The name of the caller that it was given to.
    pub fn caller(&self) -> &str {
        &self.caller
    }
    /// Takes the permission apart; only `jwt` has a use for that.
    pub fn into_terms(self) -> Terms {
        self.terms
    }
}

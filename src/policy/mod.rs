//! Policy: what a caller may have. Judges one parsed request against one profile and answers with a [`Grant`] that
//! carries its limits, or a [`Denial`] that lists every violated rule at once.
//!
//! Pure: no tokio, no files; touches no key. Messages name rules and pointers, never a value.

mod claims;
mod findings;
mod judge;
mod request;
mod rules;
#[cfg(test)]
mod tests;

pub use findings::{Denial, Verdict, Violation};
pub use rules::RULES;

use crate::caller::Caller;
use crate::jose::json::Pointer;
use crate::profile::Profile;
use findings::Findings;
use judge::{Case, Terms};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a caller asks for, as parsed. `claims` is the very tree that will be serialized.
#[derive(Debug)]
pub struct Request {
    /// Name of the profile, as the caller wrote it.
    pub profile: String,
    /// What goes into the JWT, and `aud` as a wish.
    pub claims: Map<String, Value>,
    /// Wanted lifetime; the profile's default if none.
    pub ttl: Option<Duration>,
    /// What is wrong with its form, although it could be read; [`Policy`] lists it with what it finds itself.
    pub faults: Vec<Violation>,
}

/// Permission for one JWT, with its limits. Made only by [`Policy::authorize`]; spent by `jwt::Draft`.
#[must_use = "a grant that is not spent means a JWT that is not issued"]
#[derive(Debug)]
pub struct Grant {
    profile: Arc<Profile>,
    caller: String,
    audience: Vec<String>,
    ttl: Duration,
    claims: Map<String, Value>,
}
impl Grant {
    /// The profile that was judged by: the one of this very policy, whatever is reloaded meanwhile.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }
    /// The name of the caller that it was given to.
    pub fn caller(&self) -> &str {
        &self.caller
    }
    /// Configured audiences, 1 to 8.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }
    /// Whole seconds, 1 s up to the profile's maximum.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
    /// The claims that were judged, in the caller's order, without `aud`.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
    /// Takes the permission apart; only `jwt` has a use for that.
    pub fn into_parts(self) -> (Arc<Profile>, Vec<String>, Duration, Map<String, Value>) {
        (self.profile, self.audience, self.ttl, self.claims)
    }
}

/// All profiles under one policy, with a digest that names this version of it in every record.
#[derive(Debug)]
pub struct Policy {
    profiles: BTreeMap<String, Arc<Profile>>,
    digest: String,
}
impl Policy {
    /// `digest`: first 16 hex digits of the SHA-256 over the resolved policy text.
    pub fn new(profiles: Vec<Profile>, digest: String) -> Self {
        let named = |profile: Profile| (profile.name.to_string(), Arc::new(profile));
        Self { profiles: profiles.into_iter().map(named).collect(), digest }
    }
    /// Names this version of the policy.
    pub fn digest(&self) -> &str {
        &self.digest
    }
    /// All profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }
    /// Decides.
    ///
    /// # Errors
    /// Every violated rule. A profile that does not exist and one that the caller may not use look alike, and then
    /// nothing else is judged.
    pub fn authorize(&self, caller: &Caller, request: Request) -> Result<Grant, Denial> {
        let mut findings = Findings::violations_only();
        let judged = self.judge(caller, request, &mut findings);
        let violations = findings.into_violations();
        match judged {
            Some((profile, terms, claims)) if violations.is_empty() => Ok(Grant {
                profile: profile.clone(),
                caller: caller.name().to_owned(),
                audience: terms.audience,
                ttl: terms.ttl,
                claims,
            }),
            judged => {
                Err(Denial { profile: judged.map(|(profile, ..)| profile.name.to_string()), violations })
            }
        }
    }
    /// The dry run: every rule looked at and whether it holds.
    pub fn explain(&self, caller: &Caller, request: Request) -> Vec<Verdict> {
        let mut findings = Findings::everything();
        self.judge(caller, request, &mut findings);
        findings.into_verdicts()
    }

    /// Judges every rule. `None` if there is no profile to judge by; else what a grant would consist of, which counts
    /// only when `findings` then holds no violation.
    fn judge(
        &self,
        caller: &Caller,
        request: Request,
        findings: &mut Findings,
    ) -> Option<(&Arc<Profile>, Terms, Map<String, Value>)> {
        let Request { profile, mut claims, ttl, faults } = request;
        faults.into_iter().for_each(|fault| findings.add(fault));
        let profile = self.profiles.get(&profile).filter(|_| caller.may_use(&profile));
        let at = || Pointer::default().name("profile");
        findings.check("caller.profile", profile.is_some(), at, || {
            format!(
                "no profile of this name is open to caller \"{0}\"; use another or ask for it to be added to profiles under [caller.{0}]",
                caller.name()
            )
        });
        let profile = profile?;
        let audience = claims.shift_remove("aud");
        // Wrapped because a JSON Schema judges a value, and unwrapped again: the tree itself is never copied.
        let tree = Value::Object(claims);
        let case = Case { profile, ttl, audience: audience.as_ref(), claims: &tree };
        let terms = judge::judge(&case, findings);
        match tree {
            Value::Object(claims) => Some((profile, terms, claims)),
            _ => None,
        }
    }
}

//! Policy: what a caller may have. Judges one parsed request against one profile and answers with a [`Grant`] that
//! carries its limits, or a [`Denial`] that lists every violated rule at once.
//!
//! Pure: no tokio, no files; touches no key. Messages name rules and pointers, never a value.

mod claims;
mod explain;
mod findings;
mod grant;
mod judge;
mod request;
mod rules;
#[cfg(test)]
mod tests;

pub use explain::{CONTROLS, Sentence, open_to, sentences};
pub use findings::{Denial, Verdict, Violation};
pub use grant::{Grant, Terms};
pub use rules::RULES;

use crate::caller::Caller;
use crate::jose::json::Pointer;
use crate::profile::Profile;
use findings::Findings;
use jiff::Timestamp;
use judge::Case;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a caller asks for, as parsed. `claims` is the very tree that will be serialized.
#[derive(Debug, Default)]
pub struct Request {
    /// Name of the profile, as the caller wrote it.
    pub profile: String,
    /// What goes into the JWT, and `aud` as a wish.
    pub claims: Map<String, Value>,
    /// Wanted lifetime; the profile's default if none.
    pub ttl: Option<Duration>,
    /// The person's consent, as the caller wrote it.
    pub consent: Option<Value>,
    /// The application's login session, as the caller wrote it.
    pub session: Option<Value>,
    /// What is wrong with its form, although it could be read; [`Policy`] lists it with what it finds itself.
    pub faults: Vec<Violation>,
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
    /// Decides at `now`, which becomes the time of the JWT.
    ///
    /// # Errors
    /// Every violated rule. A profile that does not exist and one that the caller may not use look alike, and then
    /// nothing else is judged.
    pub fn authorize(&self, caller: &Caller, request: Request, now: Timestamp) -> Result<Grant, Denial> {
        let mut findings = Findings::violations_only();
        let judged = self.judge(caller, request, now, &mut findings);
        let violations = findings.into_violations();
        match judged {
            Some(terms) if violations.is_empty() => Ok(Grant::new(terms, caller.name())),
            judged => Err(Denial { profile: judged.map(|terms| terms.profile.name.to_string()), violations }),
        }
    }
    /// The dry run: every rule looked at and whether it holds.
    pub fn explain(&self, caller: &Caller, request: Request, now: Timestamp) -> Vec<Verdict> {
        let mut findings = Findings::everything();
        self.judge(caller, request, now, &mut findings);
        findings.into_verdicts()
    }

    /// Judges every rule. `None` if there is no profile to judge by; else what a grant would consist of, which counts
    /// only when `findings` then holds no violation.
    fn judge(
        &self,
        caller: &Caller,
        request: Request,
        now: Timestamp,
        findings: &mut Findings,
    ) -> Option<Terms> {
        let Request { profile, mut claims, ttl, consent, session, faults } = request;
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
        let case = Case {
            caller,
            profile,
            now,
            ttl,
            audience: audience.as_ref(),
            claims: &tree,
            consent: consent.as_ref(),
            session: session.as_ref(),
        };
        let judged = judge::judge(&case, findings);
        let Value::Object(claims) = tree else { return None };
        Some(Terms {
            profile: Arc::clone(profile),
            issuer: profile.issuer.clone(),
            audience: judged.audience,
            ttl: judged.ttl,
            claims,
        })
    }
}

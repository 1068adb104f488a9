//! Policy: what a caller may have. Judges one parsed request against one profile and answers with a [`Grant`] that
//! carries its limits, or a [`Denial`] that lists every violated rule at once.
//!
//! Pure: no tokio, no files; touches no key. Messages name rules and pointers, never a value.

mod claims;
mod condition;
mod consent;
mod disclosure;
mod encryption;
mod explain;
mod findings;
mod grant;
mod hours;
mod judge;
mod kind;
mod lifetime;
mod request;
mod rules;
mod secrets;
#[cfg(test)]
mod tests;

pub use explain::{CONTROLS, Sentence, belongs_to, open_to, sentences};
pub use findings::{Denial, Verdict, Violation};
pub use grant::{Grant, Terms};
pub use rules::RULES;

use crate::caller::Caller;
use crate::jose::json::Pointer;
use crate::jose::{Digest, hex};
use crate::profile::{CallerFact, Detectors, OwnDetectors, Profile, Recipient};
use crate::transport::FactsWanted;
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

/// Whether a name that a caller made up can be told back: no built-in detector finds anything in it.
pub fn may_be_told(name: &str) -> bool {
    secrets::is_harmless(&Detectors::default(), name)
}

/// All profiles under one policy, with a digest that names this version of it in every record.
#[derive(Debug)]
pub struct Policy {
    profiles: BTreeMap<String, Arc<Profile>>,
    /// Own detectors, the same for all profiles.
    own: Arc<OwnDetectors>,
    /// By audience.
    recipients: BTreeMap<String, Recipient>,
    /// Of all but the recipients' keys.
    text_digest: String,
    digest: String,
}
impl Policy {
    /// `digest`: first 16 hex digits of the SHA-256 over the resolved policy text.
    pub fn new(profiles: Vec<Profile>, digest: String) -> Self {
        secrets::prepare();
        let named = |profile: Profile| (profile.name.to_string(), Arc::new(profile));
        let own = profiles.iter().map(|profile| &profile.detectors.own).find(|own| !own.is_empty()).cloned();
        let (own, profiles) = (own.unwrap_or_default(), profiles.into_iter().map(named).collect());
        Self { profiles, own, recipients: BTreeMap::new(), text_digest: digest.clone(), digest }
    }
    /// The same profiles with these keys to encrypt to, by audience, and a digest that says so.
    pub fn with_recipients(&self, recipients: BTreeMap<String, Recipient>) -> Self {
        let mut text = self.text_digest.clone();
        for (audience, recipient) in &recipients {
            let key = &recipient.key;
            for part in [audience, key.alg().name(), key.enc().name(), key.kid(), key.thumbprint()] {
                text.push('\n');
                text.push_str(part);
            }
        }
        let digest = match recipients.is_empty() {
            true => self.text_digest.clone(),
            false => hex(Digest::Sha256.hash(text.as_bytes()).get(..8).unwrap_or_default()),
        };
        let (profiles, text_digest) = (self.profiles.clone(), self.text_digest.clone());
        Self { profiles, own: Arc::clone(&self.own), recipients, text_digest, digest }
    }
    /// Whom JWTs are encrypted to, by audience.
    pub fn recipients(&self) -> &BTreeMap<String, Recipient> {
        &self.recipients
    }
    /// Names this version of the policy.
    pub fn digest(&self) -> &str {
        &self.digest
    }
    /// All profiles, by name.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }
    /// Facts beyond uid and gid that some condition looks at.
    pub fn wanted(&self) -> FactsWanted {
        let wants = |fact| {
            let mut conditions = self.profiles.values().filter_map(|profile| profile.condition.as_ref());
            conditions.any(|condition| condition.wants(fact))
        };
        FactsWanted { groups: false, exe: wants(CallerFact::Exe), unit: wants(CallerFact::Unit) }
    }
    /// Reads a request; nothing is told back in which an own detector finds something.
    ///
    /// # Errors
    /// As [`Request::from_json`].
    pub fn read(&self, value: Value) -> Result<Request, Denial> {
        Request::from_json(value).map_err(|denial| {
            let mut findings = Findings::violations_only();
            findings.hide(&self.own);
            denial.violations.into_iter().for_each(|violation| findings.add(violation));
            Denial { violations: findings.into_violations(), ..denial }
        })
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
        findings.hide(&self.own);
        faults.into_iter().for_each(|fault| findings.add(fault));
        let profile = self.profiles.get(&profile).filter(|_| caller.may_use(&profile));
        // Where anything is fixed by who the caller is, it is so for every caller that may use the profile.
        let profile =
            profile.filter(|profile| profile.fixed.is_empty() || profile.fixed.contains_key(caller.name()));
        let at = || Pointer::default().name("profile");
        findings.check("caller.profile", profile.is_some(), at, || {
            format!(
                "no profile of this name is open to caller \"{0}\"; use another or ask for it to be added to profiles under [caller.{0}]",
                caller.name()
            )
        });
        let profile = profile?;
        let fixed = profile.fixed.get(caller.name());
        let audience = claims.shift_remove("aud");
        for (name, value) in fixed.into_iter().flat_map(|fixed| &fixed.claims) {
            claims.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        // Wrapped because a JSON Schema judges a value, and unwrapped again: the tree itself is never copied.
        let tree = Value::Object(claims);
        let case = Case {
            caller,
            profile,
            fixed,
            now,
            ttl,
            audience: audience.as_ref(),
            claims: &tree,
            consent: consent.as_ref(),
            session: session.as_ref(),
            recipients: &self.recipients,
        };
        let judged = judge::judge(&case, findings);
        let Value::Object(mut claims) = tree else { return None };
        if let (Some(id), Some(name)) =
            (&judged.consent, profile.consent.as_ref().and_then(|rule| rule.claim.clone()))
        {
            claims.insert(name, Value::from(id.as_str()));
        }
        Some(Terms {
            profile: Arc::clone(profile),
            issuer: fixed.map_or(&profile.issuer, |fixed| &fixed.issuer).clone(),
            audience: judged.audience,
            ttl: judged.times.ttl,
            iat_back: judged.times.iat_back,
            session: judged.session,
            claims,
            consent: judged.consent,
            exceptions: judged.exceptions,
            recipient: judged.recipient,
        })
    }
}

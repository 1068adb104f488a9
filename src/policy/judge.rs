//! One request against one profile: lifetime, audience, then the claims. Every rule is judged, whatever the others say.

use super::findings::{Findings, at_claim};
use super::{claims, condition, consent, disclosure, encryption, hours, kind, lifetime, secrets};
use crate::caller::Caller;
use crate::jose::json::Pointer;
use crate::jose::jwe;
use crate::profile::{AudienceForm, Fixed, Profile, Recipient};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most audiences in one JWT.
const MAX_AUDIENCES: usize = 8;

/// What is judged: the request taken apart, `aud` out of the claims, since the daemon writes it.
pub(super) struct Case<'a> {
    pub(super) caller: &'a Caller,
    pub(super) profile: &'a Profile,
    /// What is fixed by who the caller is, if the profile fixes anything.
    pub(super) fixed: Option<&'a Fixed>,
    /// What time it is for every rule.
    pub(super) now: Timestamp,
    pub(super) ttl: Option<Duration>,
    pub(super) audience: Option<&'a Value>,
    /// An object: the claims that will be serialized.
    pub(super) claims: &'a Value,
    pub(super) consent: Option<&'a Value>,
    pub(super) session: Option<&'a Value>,
    /// Whom JWTs are encrypted to, by audience.
    pub(super) recipients: &'a BTreeMap<String, Recipient>,
}
/// What the request is granted if nothing was violated.
pub(super) struct Judged {
    pub(super) audience: Vec<String>,
    pub(super) times: lifetime::Times,
    pub(super) session: Option<String>,
    /// Id of the consent that was relied on.
    pub(super) consent: Option<String>,
    pub(super) exceptions: Vec<String>,
    pub(super) recipient: Option<Arc<jwe::Recipient>>,
}
/// Something that ends, and that no JWT outlives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// `exp` at most, seconds since 1970.
    pub(super) until: i64,
    /// Broken when an explicit ttl goes beyond.
    pub(super) rule: &'static str,
    /// For the sentence, such as "the session's end".
    pub(super) what: &'static str,
    /// Where the request says so.
    pub(super) at: fn() -> Pointer,
}

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) -> Judged {
    hours::judge(case, findings);
    let session = lifetime::session(case, findings);
    let (consent, of_consent) = consent::judge(case, findings);
    let limits = session.limits.into_iter().flatten().chain(of_consent);
    let times = lifetime::judge(case, limits, findings);
    let audience = audience(case, findings);
    claims::judge(case, findings);
    kind::judge(case, findings);
    let exceptions = secrets::judge(case, findings);
    disclosure::judge(case, findings);
    let recipient = encryption::judge(case, &audience, findings);
    condition::judge(case, &audience, times.ttl, findings);
    let session = session.id.map(str::to_owned);
    Judged { audience, times, session, consent, exceptions, recipient }
}

fn audience(case: &Case<'_>, findings: &mut Findings) -> Vec<String> {
    let profile = case.profile;
    let at = || at_claim("aud");
    if let Some(kind) = profile.kind.filter(|kind| !kind.spec().audience) {
        findings.check("kind.forbidden", case.audience.is_none(), at, || super::kind::forbidden(kind, "aud"));
        return Vec::new();
    }
    let asked: Vec<&Value> = match (case.audience, profile.audiences.as_slice()) {
        (None, [only]) => {
            findings.check("aud.required", true, at, String::new);
            return vec![only.clone()];
        }
        (None, _) => {
            findings.violated("aud.required", at, || {
                format!("claim \"aud\" is missing; name one of the audiences of profile \"{}\"", profile.name)
            });
            return Vec::new();
        }
        (Some(Value::Array(elements)), _) => elements.iter().collect(),
        (Some(one), _) => vec![one],
    };
    let named: Vec<&str> = asked.iter().filter_map(|value| value.as_str()).collect();
    findings.check("aud.form", named.len() == asked.len(), at, || {
        "claim \"aud\" is neither a string nor an array of strings; send one of these".into()
    });
    let most = match profile.audience_form {
        AudienceForm::String => 1,
        AudienceForm::Array => MAX_AUDIENCES,
    };
    findings.check("aud.count", (1..=most).contains(&asked.len()), at, || {
        format!("claim \"aud\" has {} audiences; profile \"{}\" takes 1 to {most}", asked.len(), profile.name)
    });
    // Past the cap nothing more is worth saying, and the answer stays short.
    let named = named.get(..MAX_AUDIENCES).unwrap_or(&named);
    let mut seen = named.iter().enumerate();
    let twice = seen.any(|(index, name)| named.iter().take(index).any(|other| other == name));
    findings.check("aud.duplicate", !twice, at, || {
        "claim \"aud\" names an audience twice; name each once".into()
    });
    for (index, name) in named.iter().enumerate() {
        let place = || match case.audience {
            Some(Value::Array(_)) => at().index(index),
            _ => at(),
        };
        let allowed = profile.audiences.iter().any(|known| known == name);
        findings.check("aud.allowed", allowed, place, || {
            format!(
                "this audience is not one of profile \"{0}\"; use another or ask for it to be added to audiences under [profile.{0}]",
                profile.name
            )
        });
    }
    named.iter().map(|name| (*name).to_owned()).collect()
}

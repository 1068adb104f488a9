//! The person's consent, as the caller says it was given: its form, its purposes and how long it is good for.
//!
//! Whether it was withdrawn is not known here: withdrawal revokes what was issued. Its id is personal: it is told to
//! nobody, and only its keyed tag is recorded.

use super::findings::Findings;
use super::judge::{Case, Limit};
use super::lifetime::date;
use super::secrets;
use crate::jose::json::Pointer;
use crate::profile::{Consent, ConsentWhen, ProfileName};
use serde_json::Value;

/// How far the clock of who recorded the consent may be ahead of ours, seconds.
const FAST: i64 = 60;
/// Longest id, bytes.
const ID: usize = 128;
/// Most purposes.
const PURPOSES: usize = 32;
const MEMBERS: [&str; 4] = ["id", "purposes", "granted_at", "expires_at"];

/// Consent whose form is right.
struct Given<'a> {
    id: &'a str,
    purposes: Vec<&'a str>,
    granted_at: i64,
    expires_at: Option<i64>,
}

/// Gives the id of the consent that was relied on, and how long it is good for.
pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) -> (Option<String>, Vec<Limit>) {
    let profile = case.profile;
    let Some(rule) = &profile.consent else {
        if case.consent.is_some() {
            findings.violated("consent.unexpected", at, || {
                format!("profile \"{}\" asks for no consent; leave \"consent\" out", profile.name)
            });
        }
        return Default::default();
    };
    let is_there = case.consent.is_some() || !is_needed(case, rule);
    findings.check("consent.required", is_there, at, || {
        format!(
            "profile \"{}\" needs the person's consent; send \"consent\" with id, purposes and granted_at",
            profile.name
        )
    });
    let Some(given) = case.consent.and_then(|consent| read(consent, findings)) else {
        return Default::default();
    };
    let lacks = rule.purposes.iter().find(|purpose| !given.purposes.contains(&purpose.as_str()));
    findings.check("consent.purposes", lacks.is_none(), || at().name("purposes"), || {
        format!(
            "this consent is not for every purpose of profile \"{}\"; ask the person to consent to {:?} too",
            profile.name,
            lacks.map_or("", String::as_str)
        )
    });
    let now = case.now.as_second();
    findings.check(
        "consent.future",
        given.granted_at <= now.saturating_add(FAST),
        || at().name("granted_at"),
        || "\"granted_at\" is in the future; send the time when the person consented, in seconds".into(),
    );
    let mut limits = Vec::new();
    let age = i64::try_from(rule.max_age.as_secs()).unwrap_or(i64::MAX);
    let until = given.granted_at.min(now).saturating_add(age);
    if findings.check(
        "consent.age",
        now < until,
        || at().name("granted_at"),
        || format!("this consent is older than profile \"{}\" accepts; ask the person again", profile.name),
    ) {
        let what = "the time for which this consent is good";
        limits.push(Limit { until, rule: "consent.age", what, at: || at().name("granted_at") });
    }
    if let Some(until) = given.expires_at
        && findings.check(
            "consent.expired",
            now < until,
            || at().name("expires_at"),
            || "this consent has expired; ask the person again".into(),
        )
    {
        let what = "the end of this consent";
        limits.push(Limit { until, rule: "consent.expired", what, at: || at().name("expires_at") });
    }
    if rule.claim.is_some() {
        secrets::judge_consent_id(profile, given.id, || at().name("id"), findings);
    }
    (Some(given.id.to_owned()), limits)
}

fn at() -> Pointer {
    Pointer::default().name("consent")
}
fn is_needed(case: &Case<'_>, rule: &Consent) -> bool {
    let personal = |name: &String| case.profile.claims.get(name).is_some_and(|claim| claim.personal);
    match rule.when {
        ConsentWhen::Always => true,
        ConsentWhen::Personal => {
            let mut claims = case.claims.as_object().into_iter().flatten();
            claims.any(|(name, value)| personal(name) && !value.is_null())
        }
    }
}

/// Takes the caller's JSON apart. `None` only after a violation.
fn read<'a>(consent: &'a Value, findings: &mut Findings) -> Option<Given<'a>> {
    let mut holds = |place: &str, holds: bool, what: &str| {
        let place = || if place.is_empty() { at() } else { at().name(place) };
        findings.check("consent.form", holds, place, || what.to_owned())
    };
    let Value::Object(members) = consent else {
        holds(
            "",
            false,
            "\"consent\" is no object; send {\"id\": ..., \"purposes\": [...], \"granted_at\": ...}",
        );
        return None;
    };
    let known = members.keys().all(|name| MEMBERS.contains(&name.as_str()));
    let known = holds(
        "",
        known,
        "\"consent\" has a member besides id, purposes, granted_at and expires_at; remove it",
    );
    let id = members.get("id").and_then(Value::as_str).filter(|id| is_id(id));
    let id_holds =
        holds("id", id.is_some(), "\"id\" is not 1 to 128 printable ASCII characters; send such a text");
    let purposes = members.get("purposes").and_then(read_purposes);
    let purposes_hold = holds(
        "purposes",
        purposes.is_some(),
        "\"purposes\" is not a list of 1 to 32 different names of a-z, 0-9, '.', '_' and '-'; send one",
    );
    let granted_at = members.get("granted_at").and_then(date);
    let expires_at = members.get("expires_at").map(date);
    let granted_holds = holds(
        "granted_at",
        granted_at.is_some(),
        "\"granted_at\" is not a time in whole seconds since 1970; send one",
    );
    let expires_holds = holds(
        "expires_at",
        expires_at.is_none_or(|end| end.is_some_and(|end| granted_at.is_none_or(|start| start < end))),
        "\"expires_at\" is not a time in whole seconds since 1970 after \"granted_at\"; send one, or leave it out",
    );
    if !(known && id_holds && purposes_hold && granted_holds && expires_holds) {
        return None;
    }
    Some(Given { id: id?, purposes: purposes?, granted_at: granted_at?, expires_at: expires_at.flatten() })
}
fn is_id(text: &str) -> bool {
    (1..=ID).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
fn read_purposes(value: &Value) -> Option<Vec<&str>> {
    let purposes = value.as_array().filter(|purposes| (1..=PURPOSES).contains(&purposes.len()))?;
    let mut names = Vec::with_capacity(purposes.len());
    for purpose in purposes {
        // The form of every configured name.
        let name = purpose.as_str().filter(|name| ProfileName::new(name).is_ok() && !names.contains(name))?;
        names.push(name);
    }
    Some(names)
}

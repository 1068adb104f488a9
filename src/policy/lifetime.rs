//! How long the JWT lives and how it is dated: the profile's own limits, those of the login session, and whatever else
//! ends sooner. `exp` is never past any of them.

use super::findings::{Findings, at_claim};
use super::judge::{Case, Limit};
use super::request;
use crate::jose::json::Pointer;
use crate::profile::ClaimType;
use serde_json::{Map, Value};
use std::time::Duration;

/// How far ahead another host's clock may have put `auth_time`, seconds. It never lengthens anything.
const AHEAD: i64 = 60;
/// Longest id of a session, characters.
const MAX_ID: usize = 256;

/// When the JWT is issued and how long it lives.
pub(super) struct Times {
    pub(super) ttl: Duration,
    pub(super) iat_back: Duration,
}

/// What the caller says of the login session.
pub(super) struct Session<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) limits: [Option<Limit>; 3],
}

/// Judges the session, and the login that it goes back to.
pub(super) fn session<'a>(case: &Case<'a>, findings: &mut Findings) -> Session<'a> {
    let rule = case.profile.session;
    let session = case.session.and_then(|session| members(session, findings));
    let of = |name| session.and_then(|session| session.get(name));
    let expires_at = of("expires_at").and_then(date);
    if expires_at.is_some() && case.profile.spec().is_some_and(|spec| !spec.expires) {
        findings.violated("session.form", || at("expires_at"), || {
            "JWTs of this profile have no exp, so that they outlive every session; leave \"expires_at\" out".into()
        });
    }
    if rule.required {
        findings.check("session.required", expires_at.is_some(), || at("expires_at"), || {
            "\"session\" does not say when it ends, and the profile requires that; send {\"expires_at\": SECONDS}".into()
        });
    }
    let auth_time = auth_time(case, of("auth_time").and_then(date), findings);
    let after_login = |limit: Duration| {
        let login = auth_time?.min(case.now.as_second());
        Some(login.saturating_add_unsigned(limit.as_secs()))
    };
    let login_at = login_at(case);
    let aal = rule.aal.and_then(|aal| {
        let until = after_login(aal.limit())?;
        Some(Limit { until, rule: "life.aal", what: aal.described(), at: login_at })
    });
    let max_age = rule.max_age.and_then(|age| {
        let until = after_login(age)?;
        Some(Limit {
            until,
            rule: "life.max_age",
            what: "the end of the time after auth_time that the profile's max_age allows",
            at: login_at,
        })
    });
    let end = expires_at.map(|until| Limit {
        until,
        rule: "life.session",
        what: "the session's end",
        at: || at("expires_at"),
    });
    Session { id: of("id").and_then(Value::as_str), limits: [end, aal, max_age] }
}

/// `{id?, auth_time?, expires_at?}`; members that are at fault are said to be, and count as absent.
fn members<'a>(session: &'a Value, findings: &mut Findings) -> Option<&'a Map<String, Value>> {
    let map = session.as_object();
    findings.check("session.form", map.is_some(), || Pointer::default().name("session"), || {
        "\"session\" is not an object; send {\"id\": ..., \"auth_time\": ..., \"expires_at\": ...} or leave it out".into()
    });
    for (name, value) in map.into_iter().flatten() {
        let fits = match name.as_str() {
            "id" => value.as_str().is_some_and(|id| (1..=MAX_ID).contains(&id.chars().count())),
            "auth_time" | "expires_at" => date(value).is_some(),
            _ => false,
        };
        findings.check("session.form", fits, || at(name), || {
            "\"session\" has the members id (1 to 256 characters), auth_time and expires_at (integers of seconds since 1970), all optional; send no others".into()
        });
    }
    map
}

/// When the person logged in: what the JWT itself says of it, else what the session says.
fn auth_time(case: &Case<'_>, told: Option<i64>, findings: &mut Findings) -> Option<i64> {
    let rule = case.profile.session;
    let claimed = case.claims.get("auth_time").and_then(date);
    if let (Some(claimed), Some(told)) = (claimed, told) {
        findings.check("session.auth_time", claimed == told, || at("auth_time"), || {
            "\"session\" and claim \"auth_time\" give different times for one login; send the same, or only one".into()
        });
    }
    let auth_time = claimed.or(told);
    if rule.aal.is_some() || rule.max_age.is_some() || auth_time.is_some() {
        let past = |time| time <= case.now.as_second().saturating_add(AHEAD);
        findings.check("life.auth_time", auth_time.is_some_and(past), login_at(case), || match auth_time {
            Some(_) => "auth_time is more than a minute ahead of this host's clock; send when the person logged in".into(),
            None => "auth_time is missing, and the profile limits lifetimes by it; send it in \"session\", or as a claim if the profile has it".into(),
        });
    }
    auth_time
}

/// Where the request tells of the login, as [`auth_time`] reads it.
fn login_at(case: &Case<'_>) -> fn() -> Pointer {
    match case.claims.get("auth_time").and_then(date) {
        Some(_) => || at_claim("auth_time"),
        None => || at("auth_time"),
    }
}

/// Dates the JWT so that it outlives none of `limits`. Without a wish, it lives as long as they let it.
pub(super) fn judge(case: &Case<'_>, limits: impl Iterator<Item = Limit>, findings: &mut Findings) -> Times {
    let profile = case.profile;
    let at = || Pointer::default().name("ttl");
    let now = case.now.as_second();
    let iat = issued_at(case);
    let mut ttl = profile.lifetime.default.as_secs();
    if let Some(asked) = case.ttl {
        ttl = asked.as_secs();
        // Part seconds would be lost in `exp`, so that 0.9 s would be none.
        findings.check("ttl.positive", ttl > 0, at, request::not_positive);
        let back = profile.set_back();
        if !back.is_zero() {
            findings.check("ttl.min", asked > back, at, || {
                format!(
                    "\"ttl\" counts from iat, which profile \"{}\" sets back by up to {1} seconds; ask for more than {1}",
                    profile.name,
                    back.as_secs()
                )
            });
        }
        findings.check("ttl.max", asked <= profile.lifetime.max, at, || {
            format!(
                "\"ttl\" is over the maximum of profile \"{}\"; ask for at most {} seconds",
                profile.name,
                profile.lifetime.max.as_secs()
            )
        });
    }
    for Limit { until, rule, what, at: source } in limits {
        let left = until.saturating_sub(iat).unsigned_abs();
        let over = until <= now;
        let fits = case.ttl.is_none() || ttl <= left;
        let place = || if over || case.ttl.is_none() { source() } else { at() };
        findings.check(rule, !over && fits, place, || match over {
            true => format!("{what} has come; nothing can be issued any more without a new one"),
            false => format!("\"ttl\" goes beyond {what}; ask for at most {left} seconds, or leave it out"),
        });
        ttl = ttl.min(left);
    }
    Times { ttl: Duration::from_secs(ttl), iat_back: Duration::from_secs(now.abs_diff(iat)) }
}

/// Now, set back and rounded down as the profile says.
fn issued_at(case: &Case<'_>) -> i64 {
    let back = case.profile.spec().map_or(0, |spec| spec.backdate.as_secs());
    let iat = case.now.as_second().saturating_sub_unsigned(back);
    let round = i64::try_from(case.profile.round_iat.as_secs()).unwrap_or(i64::MAX).max(1);
    iat.saturating_sub(iat.rem_euclid(round))
}

/// A NumericDate.
pub(super) fn date(value: &Value) -> Option<i64> {
    value.as_i64().filter(|_| ClaimType::Date.admits(value))
}
fn at(member: &str) -> Pointer {
    Pointer::default().name("session").name(member)
}

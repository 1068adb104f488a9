//! From the parsed tree to a [`Request`]. Says what a request may consist of; knows nothing of profiles.

use super::findings::Findings;
use super::{Denial, Request};
use crate::jose::json::{Pointer, is_showable};
use jiff::SignedDuration;
use serde_json::Value;
use std::time::Duration;

/// Members of a JOSE header (RFC 7515 section 4.1 and its registry), and names under which people try to send one.
const HEADER: [&str; 18] = [
    "alg",
    "kid",
    "typ",
    "cty",
    "crit",
    "b64",
    "zip",
    "enc",
    "jku",
    "jwk",
    "x5u",
    "x5c",
    "x5t",
    "x5t#S256",
    "url",
    "nonce",
    "header",
    "protected",
];
/// Claims that people put beside `claims` instead of inside.
const CLAIMS: [&str; 3] = ["aud", "sub", "scope"];

impl Request {
    /// Reads `{profile, claims, ttl?, consent?, session?}` out of a strictly parsed tree. `ttl` is whole seconds or text such as "5m".
    ///
    /// # Errors
    /// There is nothing to judge: no object, no profile or no claims. Whatever else is wrong (header, alg, kid, payload...)
    /// is listed with it, or, where there is something to judge, in [`Request::faults`].
    pub fn from_json(value: Value) -> Result<Self, Denial> {
        let mut findings = Findings::violations_only();
        let (mut profile, mut claims) = (None, None);
        let mut rest = Self::default();
        if let Value::Object(members) = value {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("profile", Value::String(name)) => profile = Some(name),
                    ("claims", Value::Object(map)) => claims = Some(map),
                    ("ttl", value) => rest.ttl = read_ttl(&value, &mut findings),
                    ("consent", value) => rest.consent = Some(value),
                    ("session", value) => rest.session = Some(value),
                    ("profile" | "claims", _) => {} // reported below
                    (name, _) => findings.violated(
                        "request.member",
                        || Pointer::default().name(name),
                        || stranger(name),
                    ),
                }
            }
            let at = |name| move || Pointer::default().name(name);
            findings.check("request.profile", profile.is_some(), at("profile"), || {
                "\"profile\" is missing or not a string; name the profile to use".into()
            });
            findings.check("request.claims", claims.is_some(), at("claims"), || {
                "\"claims\" is missing or not an object; send {} for none".into()
            });
        } else {
            findings.violated("request.object", Pointer::default, || {
                "the request is not a JSON object; send {\"profile\": ..., \"claims\": {...}}".into()
            });
        }
        match (profile, claims, findings.into_violations()) {
            (Some(profile), Some(claims), faults) => Ok(Self { profile, claims, faults, ..rest }),
            (_, _, violations) => Err(Denial { profile: None, violations }),
        }
    }
}

/// Why a member has no place in a request.
fn stranger(name: &str) -> String {
    if HEADER.contains(&name) {
        format!("{name:?} belongs to the header, which the daemon builds itself; remove it")
    } else if CLAIMS.contains(&name) {
        format!("{name:?} is a claim; move it into \"claims\"")
    } else if is_showable(name) {
        format!(
            "{name:?} is not a member of a request; remove it (members are profile, claims, ttl, consent and session)"
        )
    } else {
        "a member is not one of profile, claims, ttl, consent and session; remove it".into()
    }
}

fn read_ttl(value: &Value, findings: &mut Findings) -> Option<Duration> {
    let read = match value {
        Value::Number(number) => number.as_i64().map(SignedDuration::from_secs),
        // Longer texts than this one say nothing that a shorter one could not.
        Value::String(text) if text.len() <= 32 => text.parse().ok(),
        _ => None,
    };
    let whole = read.filter(|ttl| ttl.subsec_nanos() == 0);
    let at = || Pointer::default().name("ttl");
    let Some(ttl) = whole else {
        findings.violated("ttl.form", at, || {
            "\"ttl\" is not a number of whole seconds or a text such as \"5m\"; leave it out for the default".into()
        });
        return None;
    };
    findings.check("ttl.positive", ttl.is_positive(), at, not_positive);
    Duration::try_from(ttl).ok().filter(|ttl| !ttl.is_zero())
}
/// What to say of a lifetime below one second.
pub(super) fn not_positive() -> String {
    "\"ttl\" is less than one second; ask for more, or leave it out for the default".into()
}

//! A profile as sentences that people can review who do not write configuration, each with the controls that it
//! serves and the rules that enforce it.
//!
//! Says only what the profile makes so, never what it might have said. One function per station of the policy, in
//! the order in which they are judged.

mod claims;
mod data;
mod kind;
mod person;
mod time;
mod usage;

use crate::profile::{AudienceForm, Profile};
use jiff::SignedDuration;
use std::time::Duration;

/// What one part of a profile comes to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sentence {
    /// In words.
    pub text: String,
    /// What it is there for, such as `life.max`: see `docs/policy.md`.
    pub controls: &'static [&'static str],
    /// Rules that refuse what is otherwise; none where the daemon writes it so by itself.
    pub rules: Vec<&'static str>,
}

/// Topics that auditors ask about, by id, with what is asked. Sentences name them; ids are never renamed.
pub const CONTROLS: &[(&str, &str)] = &[
    ("acc.env", "what belongs to one environment never passes in another"),
    ("acc.issue", "who may have which JWTs issued is restricted, by least privilege"),
    ("data.consent", "personal data only after consent, for a purpose, while it is not withdrawn"),
    ("data.encrypt", "sensitive claims travel encrypted"),
    ("data.min", "only the claims that are needed"),
    ("data.secret", "no passwords, card numbers or other secrets in a payload"),
    ("key.alg", "one strong algorithm per key"),
    ("life.claims", "the registered claims are always there, and true"),
    ("life.max", "lifetimes are bounded, per kind of JWT"),
    ("life.session", "no JWT outlives the session that it belongs to"),
    ("mon.reissue", "too many reissues and unusual patterns are noticed"),
    ("time.sync", "clocks are synchronised, and skew is considered"),
];

/// The stations.
const STATIONS: [fn(&Profile, &mut Vec<Sentence>); 17] = [
    identity,
    kind::kind,
    requests,
    usage::hours,
    usage::rates,
    time::lifetime,
    time::dates,
    time::session,
    person::consent,
    audience,
    claims::claims,
    person::personal,
    data::detectors,
    data::selective,
    data::encryption,
    usage::condition,
    claims::whole,
];

/// What `profile` comes to.
pub fn sentences(profile: &Profile) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    STATIONS.iter().for_each(|station| station(profile, &mut sentences));
    sentences
}
/// Who may ask for a JWT of a profile, which is not for the profile to say: names of callers.
pub fn open_to(callers: &[&str]) -> Sentence {
    let text = match callers {
        [] => "No caller may ask for it.".to_owned(),
        [one] => format!("Only caller {one:?} may ask for it."),
        several => format!("Only callers {} may ask for it.", quoted(several)),
    };
    Sentence { text, controls: &["acc.issue"], rules: vec!["caller.profile"] }
}

/// Where a JWT of any profile comes from, which is not for the profile to say either: name of the environment.
pub fn belongs_to(environment: &str) -> Sentence {
    Sentence {
        text: format!(
            "It is issued in environment {environment:?} alone: no daemon starts with the state, audit log, token or \
             keys of another."
        ),
        controls: &["acc.env"],
        rules: Vec::new(),
    }
}

fn identity(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let Profile { typ, key, issuer, .. } = profile;
    let own: Vec<String> = (profile.fixed.iter())
        .filter(|(_, fixed)| fixed.issuer != *issuer)
        .map(|(caller, fixed)| format!("{:?} for caller {caller:?}", fixed.issuer))
        .collect();
    let issuer = match own.as_slice() {
        [] => format!("{issuer:?}"),
        own => own.join(", as "),
    };
    sentences.push(Sentence {
        text: format!(
            "It is issued as {issuer}, signed by key {:?} with its one algorithm, and marked as {typ:?}; \
             callers have no say in its header.",
            key.as_str()
        ),
        controls: &["key.alg", "life.claims"],
        rules: vec!["request.member", "claim.reserved"],
    });
}

fn requests(_: &Profile, sentences: &mut Vec<Sentence>) {
    sentences.push(Sentence {
        text: "A request has a profile, claims, and at most a lifetime, a consent and a session; anything else in \
               it is refused."
            .into(),
        controls: &["data.min"],
        rules: vec!["request.object", "request.member", "request.profile", "request.claims"],
    });
}

fn audience(profile: &Profile, sentences: &mut Vec<Sentence>) {
    if profile.spec().is_some_and(|spec| !spec.audience) {
        return sentences.push(Sentence {
            text: "It is for nobody in particular: it has no audience, and none may be asked for.".into(),
            controls: &["life.claims"],
            rules: vec!["kind.forbidden"],
        });
    }
    let names: Vec<&str> = profile.audiences.iter().map(String::as_str).collect();
    let text = match (names.as_slice(), profile.audience_form) {
        ([one], _) => format!("It is for {one:?} and nobody else."),
        (several, AudienceForm::String) => format!("It is for exactly one of {}.", quoted(several)),
        (several, AudienceForm::Array) => {
            format!("It is for one or more of {}, at most eight.", quoted(several))
        }
    };
    sentences.push(Sentence {
        text,
        controls: &["acc.issue", "life.claims"],
        rules: vec!["aud.required", "aud.form", "aud.count", "aud.duplicate", "aud.allowed"],
    });
}

/// `"a", "b" and "c"`.
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    listed(&quoted, "and")
}
/// `a, b WORD c`.
fn listed(names: &[String], word: &str) -> String {
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
        None => String::new(),
    }
}
/// `5m`, `1h 30m`, `180 days`.
fn readable(duration: Duration) -> String {
    const DAY: u64 = 86_400;
    let seconds = duration.as_secs();
    if seconds > DAY && duration == Duration::from_secs(seconds / DAY * DAY) {
        return format!("{} days", seconds / DAY);
    }
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

//! A profile as sentences that people can review who do not write configuration, each with the controls that it
//! serves and the rules that enforce it.
//!
//! Says only what the profile makes so, never what it might have said. One function per station of the policy, in
//! the order in which they are judged.

use super::claims::usual_type;
use crate::profile::{AudienceForm, ClaimRule, ClaimType, Profile};
use jiff::SignedDuration;
use serde_json::Value;
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
const STATIONS: [fn(&Profile, &mut Vec<Sentence>); 5] = [kind, requests, lifetime, audience, claims];

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

fn kind(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let Profile { typ, key, issuer, .. } = profile;
    sentences.push(Sentence {
        text: format!(
            "It is issued as {issuer:?}, signed by key {:?} with its one algorithm, and marked as {typ:?}; \
             callers have no say in its header.",
            key.as_str()
        ),
        controls: &["key.alg", "life.claims"],
        rules: vec!["request.member", "claim.reserved"],
    });
    if profile.kind.is_some_and(|kind| kind.spec().typ == "at+jwt") {
        sentences.push(Sentence {
            text: "It is an access token: it names its subject and its client, and its scope is a list of words \
                   (RFC 9068)."
                .into(),
            controls: &["life.claims"],
            rules: vec!["at.sub", "at.client_id", "at.scope"],
        });
    }
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

fn lifetime(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let (default, max) = (readable(profile.lifetime.default), readable(profile.lifetime.max));
    sentences.push(Sentence {
        text: match default == max {
            true => format!("It lives for {max}, or for less if the caller asks for less."),
            false => {
                format!("It lives for {default} unless the caller asks otherwise, and for {max} at most.")
            }
        },
        controls: &["life.max"],
        rules: vec!["ttl.form", "ttl.positive", "ttl.max"],
    });
    let nbf = if profile.nbf { ", nbf" } else { "" };
    sentences.push(Sentence {
        text: format!("The daemon alone writes iss, iat{nbf}, exp and jti; a caller cannot."),
        controls: &["life.claims"],
        rules: vec!["claim.reserved"],
    });
}

fn audience(profile: &Profile, sentences: &mut Vec<Sentence>) {
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

fn claims(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let names = |required: bool| -> Vec<&str> {
        let rules = profile.claims.iter().filter(|(_, rule)| rule.required == required);
        rules.map(|(name, _)| name.as_str()).collect()
    };
    let (required, optional) = (names(true), names(false));
    let text = match (required.as_slice(), optional.as_slice()) {
        ([], []) => "It has no claims of the caller's: all are refused.".to_owned(),
        ([], optional) => format!("It may have the claims {}, and no others.", quoted(optional)),
        (required, []) => format!("It has the claims {}, and no others.", quoted(required)),
        (required, optional) => format!(
            "It has the claims {}, may have {}, and has no others.",
            quoted(required),
            quoted(optional)
        ),
    };
    let mut rules = vec!["claim.unknown", "claim.lookalike"];
    if !required.is_empty() {
        rules.push("claim.required");
    }
    sentences.push(Sentence { text, controls: &["data.min"], rules });
    sentences.push(Sentence {
        text: "No text in it has control, zero-width or text-direction characters.".into(),
        controls: &["data.secret"],
        rules: vec!["claim.control"],
    });
    for (name, rule) in &profile.claims {
        values(name, rule, sentences);
    }
    if profile.schema.is_some() {
        sentences.push(Sentence {
            text: "Its claims as a whole keep to the JSON Schema of the profile.".into(),
            controls: &["data.min"],
            rules: vec!["profile.schema"],
        });
    }
}
/// What the value of one claim must be.
fn values(name: &str, rule: &ClaimRule, sentences: &mut Vec<Sentence>) {
    let (mut parts, mut rules) = (Vec::new(), Vec::new());
    let mut say = |what: String, id| {
        parts.push(what);
        rules.push(id);
    };
    let kind = rule.kind.or_else(|| usual_type(name));
    if let Some(kind) = kind {
        say(format!("is {}", kind.described()), "claim.type");
    }
    if let Some(value) = &rule.constant {
        say(format!("is always {value}"), "claim.const");
    }
    if let Some(values) = &rule.one_of {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        say(format!("is one of {}", values.join(", ")), "claim.enum");
    }
    if let Some(pattern) = &rule.pattern {
        // As it was written, without the anchors that make it match as a whole.
        let written = pattern.as_str().strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$"));
        say(format!("matches {} as a whole", written.unwrap_or(pattern.as_str())), "claim.pattern");
    }
    if let Some(most) = rule.max_length {
        let of = match kind {
            Some(ClaimType::String) => "characters",
            Some(ClaimType::Array) => "elements",
            Some(ClaimType::Object) => "members",
            _ => "characters, elements or members",
        };
        say(format!("has at most {most} {of}"), "claim.length");
    }
    if rule.schema.is_some() {
        say("keeps to its JSON Schema".to_owned(), "claim.schema");
    }
    if !parts.is_empty() {
        let text = format!("Claim {name:?} {}.", parts.join(", "));
        sentences.push(Sentence { text, controls: &["data.min"], rules });
    }
}

/// `"a", "b" and "c"`.
fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
/// `5m`, `1h 30m`.
fn readable(duration: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
}

//! Claims that a caller may set: which, and what they look like.

use super::{Sentence, listed, quoted};
use crate::profile::{ClaimRule, ClaimType, Profile, usual_type};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn claims(profile: &Profile, sentences: &mut Vec<Sentence>) {
    let spec = profile.spec();
    let needed =
        || spec.into_iter().flat_map(|spec| spec.claims).filter(|own| own.needed).map(|own| own.name);
    let either = || spec.into_iter().flat_map(|spec| spec.either).copied();
    let listed = |required: bool| {
        let rules = profile.claims.iter().filter(move |(_, rule)| rule.required == required);
        rules.map(|(name, _)| name.as_str())
    };
    let required: BTreeSet<&str> = listed(true).chain(needed()).collect();
    let optional: BTreeSet<&str> =
        listed(false).chain(either()).filter(|name| !required.contains(name)).collect();
    let (required, optional): (Vec<&str>, Vec<&str>) =
        (required.into_iter().collect(), optional.into_iter().collect());
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
    if listed(true).next().is_some() {
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
    for (name, values) in fixed(profile) {
        sentences.push(Sentence {
            text: format!(
                "Claim {name:?} is fixed by who the caller is, and filled in when left out: {values}."
            ),
            controls: &["acc.issue", "life.claims"],
            rules: vec!["claim.from_caller"],
        });
    }
}
/// The last that is judged, because it looks at everything.
pub(super) fn whole(profile: &Profile, sentences: &mut Vec<Sentence>) {
    if profile.schema.is_some() {
        sentences.push(Sentence {
            text: "Its claims as a whole keep to the JSON Schema of the profile.".into(),
            controls: &["data.min"],
            rules: vec!["profile.schema"],
        });
    }
}
/// Claims that are fixed by who the caller is, each with its value for every caller.
fn fixed(profile: &Profile) -> BTreeMap<&str, String> {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (caller, fixed) in &profile.fixed {
        for (name, value) in &fixed.claims {
            values.entry(name).or_default().push(format!("{value} for caller {caller:?}"));
        }
    }
    values.into_iter().map(|(name, values)| (name, values.join(", "))).collect()
}
/// What the value of one claim must be.
fn values(name: &str, rule: &ClaimRule, sentences: &mut Vec<Sentence>) {
    let (mut parts, mut rules) = (Vec::new(), Vec::new());
    let mut say = |what: String, id| {
        parts.push(what);
        rules.push(id);
    };
    let kind = usual_type(name).or(rule.kind);
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
    if let Some(least) = &rule.min {
        say(format!("is at least {least}"), "claim.min");
    }
    if let Some(most) = &rule.max {
        say(format!("is at most {most}"), "claim.max");
    }
    if rule.schema.is_some() {
        say("keeps to its JSON Schema".to_owned(), "claim.schema");
    }
    if !parts.is_empty() {
        let text = format!("Claim {name:?} {}.", listed(&parts, "and"));
        sentences.push(Sentence { text, controls: &["data.min"], rules });
    }
}

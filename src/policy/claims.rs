//! The caller's claims against the profile's rules for them: names first, then values, then the whole.

use super::findings::{Findings, at_claim, claim, holds, locate};
use super::judge::Case;
use super::kind;
use crate::jose::json::Pointer;
use crate::profile::{ClaimRule, Profile, RESERVED_CLAIMS, usual_type};
use serde_json::Value;
use std::cmp::Ordering;

/// Most violations that one JSON Schema may add to an answer.
const MAX_SCHEMA_FAULTS: usize = 16;

pub(super) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let (profile, tree) = (case.profile, case.claims);
    for (name, value) in tree.as_object().into_iter().flatten() {
        let rule = profile.claims.get(name);
        if name_may_be_set(profile, name, rule, findings) {
            judge_value(name, value, rule, findings);
        }
        if let Some(fixed) = case.fixed.and_then(|fixed| fixed.claims.get(name)) {
            findings.check("claim.from_caller", value == fixed, || at_claim(name), || {
                format!(
                    "{} has another value than the one that caller \"{}\" has; leave it out, and it is filled in",
                    claim(name),
                    case.caller.name()
                )
            });
        }
        findings.check(
            "claim.control",
            !has_hidden(value),
            || locate(value, has_hidden, at_claim(name)),
            || {
                format!(
                    "{} has a control, zero-width or text-direction character in it; remove that",
                    claim(name)
                )
            },
        );
    }
    let required = profile.claims.iter().filter(|(_, rule)| rule.required);
    for (name, _) in required {
        let there = tree.get(name).is_some_and(|value| !value.is_null());
        findings.check(
            "claim.required",
            there,
            || at_claim(name),
            || {
                format!(
                    "{} is missing or null, and profile \"{}\" requires it; send it",
                    claim(name),
                    profile.name
                )
            },
        );
    }
    if let Some(schema) = &profile.schema {
        let at = || Pointer::default().name("claims");
        let whose = || format!("profile \"{}\"", profile.name);
        judge_schema("profile.schema", schema, tree, at, whose, findings);
    }
}

fn name_may_be_set(profile: &Profile, name: &str, rule: Option<&ClaimRule>, findings: &mut Findings) -> bool {
    let at = || at_claim(name);
    let free = !RESERVED_CLAIMS.contains(&name);
    let known = rule.is_some() || profile.kind.is_some_and(|kind| kind.brings(name));
    findings.check("claim.reserved", free, at, || {
        format!("{} is set by the daemon alone; remove it", claim(name))
    }) && kind::may_have(profile.kind, name, findings)
        && findings.check(
        "claim.lookalike",
        known || !is_lookalike(profile, name),
        at,
        || {
            format!(
                "{} looks like another name but is not it; write the name exactly as it is known",
                claim(name)
            )
        },
    ) && findings.check("claim.unknown", known, at, || {
        format!(
            "{} is not allowed by profile \"{1}\"; remove it or ask for it to be added under [profile.{1}.claims]",
            claim(name),
            profile.name
        )
    })
}

/// Whether people or lenient readers could take `name`, which is not known, for one that is.
fn is_lookalike(profile: &Profile, name: &str) -> bool {
    let folded = name.trim();
    let own = profile.kind.map_or(&[][..], |kind| kind.spec().claims);
    let own = own.iter().map(|own| own.name);
    let listed = profile.claims.keys().map(String::as_str);
    let mut known = RESERVED_CLAIMS.into_iter().chain(["aud"]).chain(own).chain(listed);
    !name.is_ascii()
        || name.chars().any(char::is_control)
        || known.any(|known| known.eq_ignore_ascii_case(folded))
}

fn judge_value(name: &str, value: &Value, rule: Option<&ClaimRule>, findings: &mut Findings) {
    let at = || at_claim(name);
    if let Some(kind) = usual_type(name).or(rule.and_then(|rule| rule.kind)) {
        findings.check("claim.type", kind.admits(value), at, || {
            format!("{} is not {1}; send {1}", claim(name), kind.described())
        });
    }
    let Some(rule) = rule else { return };
    if let Some(constant) = &rule.constant {
        findings.check("claim.const", value == constant, at, || {
            format!("{} has another value than the only one allowed; send that", claim(name))
        });
    }
    if let Some(values) = &rule.one_of {
        findings.check("claim.enum", values.contains(value), at, || {
            format!("{} has none of the allowed values; send one of these", claim(name))
        });
    }
    if let Some(pattern) = &rule.pattern {
        let matches = value.as_str().is_some_and(|text| pattern.is_match(text));
        findings.check("claim.pattern", matches, at, || {
            format!("{} is not a string that matches the profile's pattern; send one that does", claim(name))
        });
    }
    if let Some(most) = rule.max_length {
        let length = match value {
            Value::String(text) => text.chars().count(),
            Value::Array(elements) => elements.len(),
            Value::Object(members) => members.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        };
        findings.check("claim.length", length <= most, at, || {
            format!("{} is too long; send at most {most} characters, elements or members", claim(name))
        });
    }
    let bounds = [("claim.min", &rule.min, Ordering::Less), ("claim.max", &rule.max, Ordering::Greater)];
    for (id, bound, broken) in bounds {
        let Some(bound) = bound else { continue };
        // Exact: the parser takes no integer that has no exact double.
        let order = value.as_f64().and_then(|number| number.partial_cmp(&bound.as_f64()?));
        findings.check(id, order.is_some_and(|order| order != broken), at, || {
            let side = if broken == Ordering::Less { "least" } else { "most" };
            format!("{} is not a number of at {side} {bound}; send one that is", claim(name))
        });
    }
    if let Some(schema) = &rule.schema {
        judge_schema("claim.schema", schema, value, at, || claim(name), findings);
    }
}

/// Only keywords and places are taken from the validator: its messages repeat what the caller sent.
fn judge_schema(
    rule: &'static str,
    schema: &jsonschema::Validator,
    value: &Value,
    at: impl Fn() -> Pointer,
    whose: impl Fn() -> String,
    findings: &mut Findings,
) {
    if schema.is_valid(value) {
        findings.check(rule, true, at, String::new);
        return;
    }
    let mut faults = schema.iter_errors(value).take(MAX_SCHEMA_FAULTS).peekable();
    if faults.peek().is_none() {
        findings.violated(rule, &at, || {
            format!("the JSON Schema of {} does not hold; send what it asks for", whose())
        });
    }
    for fault in faults {
        let place = || at().follow(fault.instance_path().as_str());
        findings.violated(rule, place, || {
            format!(
                "the keyword {:?} in the JSON Schema of {} does not hold; send what it asks for",
                fault.kind().keyword(),
                whose()
            )
        });
    }
}

/// Characters that people do not see, or that change how they see others, and line ends, which forge log lines.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}
/// Whether any string in `value` has such a character, member names included.
fn has_hidden(value: &Value) -> bool {
    // Nearly all text has only bytes that anybody sees, and a look at bytes is quicker.
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let hidden = |text: &str| !plain(text) && text.chars().any(is_hidden);
    holds(value, &hidden, &hidden)
}

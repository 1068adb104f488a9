//! What was found while a request was judged: the violations, and for a dry run also what holds.

use super::{RULES, secrets};
use crate::jose::json::{Pointer, end_before, is_showable};
use crate::profile::{Detectors, OwnDetectors};
use serde_json::Value;
use std::sync::Arc;

/// One violated (or, in a dry run, satisfied) rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Stable id, such as `claim.required`; listed in `docs/policy.md`.
    pub rule: &'static str,
    /// JSON pointer into the request.
    pub pointer: String,
    /// What is wrong and what to do. Never the value.
    pub message: String,
}
/// A refusal with all its reasons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request breaks {} rule(s)", .violations.len())]
pub struct Denial {
    /// Set when the profile exists and the caller may use it.
    pub profile: Option<String>,
    /// In the order of the request; never empty.
    pub violations: Vec<Violation>,
}
/// A rule and whether it holds, for dry runs (`POST /v1/check`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// Stable id, as in [`Violation::rule`].
    pub rule: &'static str,
    /// JSON pointer to what it was applied to.
    pub pointer: String,
    /// Whether it holds.
    pub holds: bool,
    /// What is wrong and what to do; `None` when it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
impl From<Violation> for Verdict {
    fn from(violation: Violation) -> Self {
        Self {
            rule: violation.rule,
            pointer: violation.pointer,
            holds: false,
            message: Some(violation.message),
        }
    }
}

impl Verdict {
    /// Ends the pointer before the first name in which something is found, and says no more than the rule where the
    /// message has such a name. Names in messages are those in pointers; everything else in them the operator wrote.
    fn hide(&mut self, detectors: &Detectors) {
        if !end_before(&mut self.pointer, |name| !secrets::is_harmless(detectors, name)) {
            return;
        }
        if let Some(message) = self.message.as_mut().filter(|text| !secrets::is_harmless(detectors, text)) {
            let sentence = RULES.iter().find(|(id, _)| *id == self.rule).map_or("", |(_, sentence)| sentence);
            *message = format!("a name in the request is a secret or personal itself; remove it. {sentence}");
        }
    }
}

/// Collects as the rules are judged. Texts are made only when they are kept.
pub(super) struct Findings {
    verdicts: Vec<Verdict>,
    with_held: bool,
    /// The names that a caller makes up are told back, and may be a secret themselves.
    detectors: Detectors,
}
impl Findings {
    /// For a decision.
    pub(super) fn violations_only() -> Self {
        Self { verdicts: Vec::new(), with_held: false, detectors: Detectors::default() }
    }
    /// For a dry run.
    pub(super) fn everything() -> Self {
        Self { with_held: true, ..Self::violations_only() }
    }
    /// Notes whether a rule holds, and returns it.
    pub(super) fn check(
        &mut self,
        rule: &'static str,
        holds: bool,
        at: impl FnOnce() -> Pointer,
        message: impl FnOnce() -> String,
    ) -> bool {
        debug_assert!(RULES.iter().any(|(id, _)| *id == rule), "{rule}");
        if !holds || self.with_held {
            self.verdicts.push(Verdict {
                rule,
                pointer: at().into(),
                holds,
                message: (!holds).then(message),
            });
        }
        holds
    }
    /// Notes a violation.
    pub(super) fn violated(
        &mut self,
        rule: &'static str,
        at: impl FnOnce() -> Pointer,
        message: impl FnOnce() -> String,
    ) {
        self.check(rule, false, at, message);
    }
    /// Whether a rule is broken by now.
    pub(super) fn has_violation(&self) -> bool {
        self.verdicts.iter().any(|verdict| !verdict.holds)
    }
    /// A violation that was found before.
    pub(super) fn add(&mut self, violation: Violation) {
        self.verdicts.push(violation.into());
    }
    /// Looks for what these find in what is told back, besides what the built-in ones do.
    pub(super) fn hide(&mut self, own: &Arc<OwnDetectors>) {
        self.detectors.own = Arc::clone(own);
    }

    /// Everything that was kept.
    pub(super) fn into_verdicts(mut self) -> Vec<Verdict> {
        for verdict in &mut self.verdicts {
            verdict.hide(&self.detectors);
        }
        self.verdicts
    }
    /// The violations.
    pub(super) fn into_violations(self) -> Vec<Violation> {
        let broken = self.into_verdicts().into_iter().filter(|verdict| !verdict.holds);
        broken
            .map(|verdict| Violation {
                rule: verdict.rule,
                pointer: verdict.pointer,
                message: verdict.message.unwrap_or_default(),
            })
            .collect()
    }
}

/// The place of a claim in the request.
pub(super) fn at_claim(name: &str) -> Pointer {
    Pointer::default().name("claims").name(name)
}
/// `claim "role"`, or words that stand for a name that must not be repeated.
pub(super) fn claim(name: &str) -> String {
    if is_showable(name) {
        format!("claim {name:?}")
    } else {
        "a claim whose name is empty, longer than 64 characters, not printable ASCII or a secret itself"
            .into()
    }
}

/// Whether a member's name or a string is such a one, anywhere in `value`. As deep as the parser allowed.
pub(super) fn holds(value: &Value, name: &impl Fn(&str) -> bool, text: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(string) => text(string),
        Value::Array(elements) => elements.iter().any(|value| holds(value, name, text)),
        Value::Object(members) => members.iter().any(|(key, value)| name(key) || holds(value, name, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
/// The innermost place of the first thing in `value` for which it is `bad`: of a string, or of the object that has the
/// name.
pub(super) fn locate(value: &Value, bad: fn(&Value) -> bool, at: Pointer) -> Pointer {
    let inner = match value {
        Value::Array(elements) => (elements.iter().enumerate())
            .find(|(_, element)| bad(element))
            .map(|(index, element)| (element, at.clone().index(index))),
        Value::Object(members) => (members.iter())
            .find(|(_, member)| bad(member))
            .map(|(name, member)| (member, at.clone().name(name))),
        _ => None,
    };
    inner.map_or(at, |(value, at)| locate(value, bad, at))
}

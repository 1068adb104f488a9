//! `[profile.NAME.claims]`: what each claim must look like.

use super::{Path, Resolver};
use crate::config::file::{Claim, Named};
use crate::profile::{
    ClaimRule, ClaimType, OwnDetectors, RESERVED_CLAIMS, SD_NAMES, is_claim_name, usual_type,
};
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use std::collections::BTreeMap;

/// Compiled size of one pattern, bytes.
const PATTERN_LIMIT: usize = 1 << 20;

impl Resolver<'_> {
    pub(super) fn claims(
        &mut self,
        path: &Path,
        claims: &Named<Claim>,
        own: &OwnDetectors,
    ) -> BTreeMap<String, ClaimRule> {
        let mut rules = BTreeMap::new();
        for (name, claim) in claims {
            let path = path.key(name);
            self.claim_name(&path, name);
            if let (Some(usual), Some(kind)) = (usual_type(name), claim.kind)
                && usual != kind
            {
                let message = format!("this claim is always {}: write that type, or none", usual.described());
                self.fault(&path.key("type"), message);
            }
            let may_hold = self.detector_set(&path.key("may_hold"), own, &claim.may_hold);
            rules.insert(name.clone(), ClaimRule { may_hold, ..self.claim(&path, claim) });
        }
        rules
    }
    fn claim_name(&mut self, path: &Path, name: &str) {
        let is_ours = |name: &str| name == "aud" || RESERVED_CLAIMS.contains(&name);
        let lower = name.to_ascii_lowercase();
        if is_ours(name) {
            self.fault(path, "this claim is the daemon's to write: remove it");
        } else if is_ours(&lower) {
            // Attack J7: verifiers that ignore case would take it for the real one.
            self.fault(path, format!("looks like the daemon's own claim {lower:?}: write another name"));
        } else if SD_NAMES.contains(&name) {
            self.fault(path, "means digests in an SD-JWT (RFC 9901): write another name");
        } else if !is_claim_name(name) {
            self.fault(path, "a claim's name is 1 to 64 printable ASCII characters without spaces");
        }
    }
    fn claim(&mut self, path: &Path, written: &Claim) -> ClaimRule {
        use ClaimType::{Array, Object, String};
        if written.constant.is_some() && written.one_of.is_some() {
            self.fault(&path.key("enum"), "`const` and `enum` exclude each other: remove one");
        }
        if let Some(value) = &written.constant {
            self.value(&path.key("const"), value, written.kind);
        }
        if written.one_of.as_ref().is_some_and(Vec::is_empty) {
            self.fault(&path.key("enum"), "no value would be allowed: write some");
        }
        for (index, value) in written.one_of.iter().flatten().enumerate() {
            self.value(&path.key("enum").index(index), value, written.kind);
        }
        if written.pattern.is_some() && written.kind.is_some_and(|kind| kind != String) {
            self.fault(
                &path.key("pattern"),
                "only strings have patterns: remove it, or write type = \"string\"",
            );
        }
        if written.max_length.is_some()
            && written.kind.is_some_and(|kind| ![String, Array, Object].contains(&kind))
        {
            self.fault(&path.key("max_length"), "only strings, arrays and objects have a length: remove it");
        }
        if written.max_length == Some(0) {
            self.fault(&path.key("max_length"), "nothing would be allowed: write at least 1");
        }
        self.range(path, written);
        if written.from_caller.is_some() {
            let lists = written.constant.is_some() || written.one_of.is_some();
            let bounds = written.min.is_some() || written.max.is_some();
            if lists || bounds || written.kind.is_some_and(|kind| kind != String) {
                let message = "the value is a string and fixed already: remove `const`, `enum`, `min`, `max` and other types";
                self.fault(&path.key("from_caller"), message);
            }
        }
        let schema = written.schema.as_ref().map(|schema| Value::Object(schema.clone()));
        ClaimRule {
            required: written.required,
            kind: written.kind,
            constant: written.constant.clone(),
            one_of: written.one_of.clone(),
            pattern: written.pattern.as_ref().and_then(|pattern| self.pattern(&path.key("pattern"), pattern)),
            max_length: written.max_length.and_then(|most| usize::try_from(most).ok()),
            schema: schema.and_then(|schema| self.compile(&path.key("schema"), &schema)),
            min: written.min.clone(),
            max: written.max.clone(),
            personal: written.personal,
            sensitive: written.sensitive,
            disclosable: written.disclosable,
            ..ClaimRule::default()
        }
    }
    fn range(&mut self, path: &Path, written: &Claim) {
        use ClaimType::{Date, Integer, Number};
        for (key, bound) in [("min", &written.min), ("max", &written.max)] {
            if bound.is_some() && written.kind.is_some_and(|kind| ![Integer, Number, Date].contains(&kind)) {
                self.fault(&path.key(key), "only numbers and dates have bounds: remove it");
            }
        }
        if let (Some(min), Some(max)) = (&written.min, &written.max)
            && min.as_f64() > max.as_f64()
        {
            self.fault(&path.key("max"), "no value would be allowed: write at least `min`");
        }
    }
    fn value(&mut self, path: &Path, value: &Value, kind: Option<ClaimType>) {
        if kind.is_some_and(|kind| !kind.admits(value)) {
            self.fault(path, "not of the claim's `type`: write a value of that type, or change the type");
        }
    }
    pub(super) fn pattern(&mut self, path: &Path, pattern: &str) -> Option<Regex> {
        // First alone: parentheses that close too early could undo the anchors.
        let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_LIMIT).build();
        match build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))) {
            Ok(regex) => Some(regex),
            Err(regex::Error::CompiledTooBig(_)) => {
                self.fault(path, "the pattern is too large when compiled: make its repetitions smaller");
                None
            }
            Err(error) => {
                let reason = error.to_string();
                let reason =
                    reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                self.fault(path, format!("not a regular expression: {reason}"));
                None
            }
        }
    }
}

/// Compiles a JSON Schema: no reference leaves it, and its patterns take linear time (attack D3).
pub(super) fn compile(schema: &Value) -> Result<jsonschema::Validator, String> {
    if !schema.is_object() {
        return Err("it is not an object".to_owned());
    }
    let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_LIMIT);
    let options = jsonschema::options().with_pattern_options(patterns);
    options.build(schema).map_err(|error| error.to_string())
}

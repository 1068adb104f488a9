//! A configuration as it was written, to compare the next one with: what a reload changes, and what it may not change.

use super::document::Path;
use super::file::{Caller, File, Profile};
use crate::api::Changes;
use crate::caller::Rule;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Sections that a reload changes; all others need a restart.
const RELOADED: [&str; 6] = ["caller", "detector", "issuers", "misuse", "profile", "recipient"];
/// The same, for keys of `[limits]`.
const RELOADED_LIMITS: [&str; 3] = ["batch_body", "batch_items", "body"];

/// What was written, with every default.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// By section.
    sections: Map<String, Value>,
    /// By name: what is written, and the content of files and the numbers of users and groups that belong to it.
    profiles: BTreeMap<String, Value>,
    callers: BTreeMap<String, Value>,
}

impl Written {
    pub(super) fn new(file: &File, schemas: &BTreeMap<String, Value>, callers: &[Rule]) -> Self {
        let profile = |(name, profile): (&String, &Profile)| {
            let profile = Profile { schema: None, ..profile.clone() };
            (name.clone(), json!([profile, schemas.get(name)]))
        };
        let caller = |(name, caller): (&String, &Caller)| {
            let rule = callers.iter().find(|rule| rule.name == *name);
            (name.clone(), json!([caller, rule.map(|rule| (rule.uid, rule.gid))]))
        };
        Self {
            sections: table(file),
            profiles: file.profile.iter().map(profile).collect(),
            callers: file.caller.iter().map(caller).collect(),
        }
    }

    /// What requests are judged by, for the digest.
    pub(super) fn judged(&self) -> Value {
        let sections = ["detector", "misuse"].map(|name| self.sections.get(name));
        json!([self.profiles, self.callers, sections])
    }

    /// Where the other one differs and only a restart changes that.
    pub(super) fn needs_restart(&self, next: &Self) -> Vec<Path> {
        let mut paths = Vec::new();
        for name in differing(&self.sections, &next.sections) {
            let path = Path::default().key(&name);
            match (self.sections.get(&name), next.sections.get(&name)) {
                (ours, theirs) if name == "profile" => terms(ours, theirs, &path, &mut paths),
                _ if RELOADED.contains(&name.as_str()) => {}
                (ours, theirs) => narrow(ours, theirs, path, &mut paths),
            }
        }
        let fixed =
            |path: &Path| !RELOADED_LIMITS.iter().any(|key| *path == Path::default().key("limits").key(*key));
        paths.retain(fixed);
        paths
    }

    /// Which profiles the other one changes.
    pub fn profiles(&self, next: &Self) -> Changes {
        changes(&self.profiles, &next.profiles)
    }

    /// Which callers the other one changes.
    pub fn callers(&self, next: &Self) -> Changes {
        changes(&self.callers, &next.callers)
    }

    /// Which other sections the other one changes.
    pub fn settings(&self, next: &Self) -> Vec<String> {
        let mut names = differing(&self.sections, &next.sections);
        names.retain(|name| name != "profile" && name != "caller");
        names
    }
}

/// A table always serializes to one.
fn table(file: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(file) {
        Ok(Value::Object(table)) => table,
        _ => Map::new(),
    }
}

/// Profiles of which the terms differ for which records are kept.
fn terms(ours: Option<&Value>, theirs: Option<&Value>, path: &Path, paths: &mut Vec<Path>) {
    let term = |profiles: Option<&Value>, name: &str| {
        profiles.and_then(|profiles| profiles.get(name)?.get("retain").cloned())
    };
    let names = [ours, theirs].into_iter().flatten().filter_map(Value::as_object).flat_map(Map::keys);
    let names: BTreeSet<_> = names.filter(|name| term(ours, name) != term(theirs, name)).collect();
    paths.extend(names.into_iter().map(|name| path.key(name).key("retain")));
}

/// The deepest keys that differ in tables that both have.
fn narrow(ours: Option<&Value>, theirs: Option<&Value>, path: Path, paths: &mut Vec<Path>) {
    let (Some(Value::Object(ours)), Some(Value::Object(theirs))) = (ours, theirs) else {
        return paths.push(path);
    };
    for key in differing(ours, theirs) {
        narrow(ours.get(&key), theirs.get(&key), path.key(&key), paths);
    }
}

/// Keys whose values are not the same, or that only one has.
fn differing(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Vec<String> {
    let all = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
    all.filter(|key| ours.get(*key) != theirs.get(*key)).cloned().collect()
}

fn changes(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Changes {
    let changed = |(name, value): (&String, &Value)| {
        after.get(name).is_some_and(|after| after != value).then(|| name.clone())
    };
    Changes {
        added: after.keys().filter(|name| !before.contains_key(*name)).cloned().collect(),
        removed: before.keys().filter(|name| !after.contains_key(*name)).cloned().collect(),
        changed: before.iter().filter_map(changed).collect(),
    }
}

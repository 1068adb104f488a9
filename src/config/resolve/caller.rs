//! `[caller.NAME]`.

use super::{Path, Resolver};
use crate::caller::Rule;
use crate::config::file::{self, File};
use std::collections::BTreeSet;

impl Resolver<'_> {
    pub(super) fn callers(&mut self, path: &Path, file: &File) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for (name, caller) in &file.caller {
            let path = path.key(name);
            self.name(&path, name);
            let rule = self.caller(&path, name, caller, file);
            let same = |other: &&Rule| {
                (other.uid, other.gid, &other.exe, &other.unit) == (rule.uid, rule.gid, &rule.exe, &rule.unit)
            };
            // With neither, there is a fault already.
            let identified = rule.uid.is_some() || rule.gid.is_some();
            if let Some(other) = rules.iter().find(same).filter(|_| identified) {
                let message = format!(
                    "the same processes as caller {:?}: neither would be known, so make them one",
                    other.name
                );
                self.fault(&path, message);
            }
            rules.push(rule);
        }
        rules
    }

    fn caller(&mut self, path: &Path, name: &str, caller: &file::Caller, file: &File) -> Rule {
        if caller.user.is_none() && caller.group.is_none() {
            self.fault(path, "say who it is: write `user`, `group` or both");
        }
        if caller.profiles.is_empty() && caller.introspect.is_empty() {
            self.fault(&path.key("profiles"), "write the names of the profiles it may use");
        }
        let profiles = self.profile_names(&path.key("profiles"), &caller.profiles, file);
        let introspect = self.profile_names(&path.key("introspect"), &caller.introspect, file);
        if let Some(unit) = &caller.unit {
            self.unit(&path.key("unit"), unit);
        }
        self.vars(&path.key("vars"), &caller.vars);
        Rule {
            name: name.to_owned(),
            uid: caller.user.as_ref().and_then(|user| self.uid(&path.key("user"), user)),
            gid: caller.group.as_ref().and_then(|group| self.gid(&path.key("group"), group)),
            exe: caller.exe.as_ref().map(|exe| self.absolute(&path.key("exe"), exe)),
            unit: caller.unit.clone(),
            profiles,
            introspect,
            rate: caller.rate.as_ref().map(|rate| self.rate(&path.key("rate"), rate)),
        }
    }
    fn profile_names(&mut self, path: &Path, names: &[String], file: &File) -> BTreeSet<String> {
        let mut profiles = BTreeSet::new();
        for (index, profile) in names.iter().enumerate() {
            let path = path.index(index);
            self.reference(&path, "profile", profile, &file.profile);
            if !profiles.insert(profile.clone()) {
                self.fault(&path, format!("{profile:?} stands here twice: remove one"));
            }
        }
        profiles
    }
    /// The names that systemd gives to what holds processes (systemd.unit(5)).
    fn unit(&mut self, path: &Path, unit: &str) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
        let stem = unit.strip_suffix(".service").or_else(|| unit.strip_suffix(".scope"));
        if stem.is_none_or(str::is_empty) || unit.len() > 255 || !unit.bytes().all(fits) {
            self.fault(path, "write the full name of a unit, such as \"billing.service\"");
        }
    }
}

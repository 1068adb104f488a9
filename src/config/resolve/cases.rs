//! `[[case]]` of a file of test cases.

use super::{HOUR, Path, Resolver, SECOND};
use crate::api::ONE_REQUEST;
use crate::config::cases::{Bounds, Case, Expect, SCHEMA, UNKNOWN_CALLER, file};
use crate::config::document::Document;
use crate::config::fault::Fault;
use crate::config::structure::{self, Shape, nearest};
use crate::config::{Config, Loader};
use crate::jose::json;
use crate::policy::RULES;
use crate::transport::{PeerCredentials, ProcessFacts};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Reads a whole file of cases for the policy of `config`.
///
/// # Errors
/// All faults.
pub(in crate::config) fn cases(
    text: &str,
    config: &Config,
    loader: &Loader<'_>,
) -> Result<Vec<Case>, Vec<Fault>> {
    let document = Document::parse(text)?;
    let Shape { file, faults, replaced } = structure::read(&document, &SCHEMA);
    let Some(cases): Option<file::Cases> = file else { return Err(faults) };
    let mut resolver = Resolver { document: &document, loader, replaced, faults };
    match resolver.cases(&Path::default().key("case"), cases, config) {
        Some(cases) if resolver.faults.is_empty() => Ok(cases),
        _ => Err(resolver.faults),
    }
}

impl Resolver<'_> {
    /// `None` only after a fault.
    fn cases(&mut self, path: &Path, written: file::Cases, config: &Config) -> Option<Vec<Case>> {
        if written.case.is_empty() {
            self.fault(path, "write at least one case, under [[case]]");
        }
        let mut names = BTreeSet::new();
        let mut cases = Vec::new();
        for (index, case) in written.case.into_iter().enumerate() {
            let path = path.index(index);
            if case.name.trim().is_empty() {
                self.fault(&path.key("name"), "say in a few words what the case shows");
            } else if !names.insert(case.name.clone()) {
                self.fault(&path.key("name"), "another case has this name: write another one");
            }
            cases.push(self.case(&path, case, config));
        }
        cases.into_iter().collect()
    }
    fn case(&mut self, path: &Path, written: file::Case, config: &Config) -> Option<Case> {
        let line = self.document.locate(path).map_or(0, |place| place.line);
        let process = self.asking(path, &written, config);
        let now = written.now.parse().map_err(|_| {
            self.fault(&path.key("now"), "write a time such as \"2026-01-01T00:00:00Z\" (RFC 3339)");
        });
        let request = self.request(&path.key("request"), written.request, config);
        let expect = self.expected(&path.key("expect"), written.expect);
        Some(Case {
            name: written.name,
            line,
            process: Arc::new(process?),
            now: now.ok()?,
            request: request?,
            expect: expect?,
        })
    }
    fn asking(&mut self, path: &Path, written: &file::Case, config: &Config) -> Option<PeerCredentials> {
        match (&written.caller, &written.process) {
            (Some(name), None) => {
                let process = config.callers.example(name);
                if process.is_none() {
                    let hint = match nearest(name, config.callers.names()) {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => "write the name of one of the configuration".to_owned(),
                    };
                    self.fault(&path.key("caller"), format!("there is no caller {name:?}: {hint}"));
                }
                process
            }
            (None, Some(process)) => Some(self.process(&path.key("process"), process, config)),
            (Some(_), Some(_)) => {
                self.fault(&path.key("process"), "`caller` and `process` exclude each other: remove one");
                None
            }
            (None, None) => {
                self.fault(path, "say who asks: write `caller` or `process`");
                None
            }
        }
    }
    /// Parts that are not written are such as no `[caller]` asks for.
    fn process(&mut self, path: &Path, written: &file::Process, config: &Config) -> PeerCredentials {
        let (uid, gid) = config.callers.nobody();
        let groups = written.groups.iter().enumerate().filter_map(|(index, group)| {
            let path = path.key("groups").index(index);
            self.gid(&path, group)
        });
        let facts = ProcessFacts {
            groups: Some(groups.collect()),
            exe: written.exe.as_ref().map(Into::into),
            unit: written.unit.clone(),
        };
        let uid = written.user.as_ref().map_or(Some(uid), |user| self.uid(&path.key("user"), user));
        let gid = written.group.as_ref().map_or(Some(gid), |group| self.gid(&path.key("group"), group));
        PeerCredentials::assume(uid.unwrap_or_default(), gid.unwrap_or_default(), 0, facts)
    }
    /// Through the parser of the daemon, with its limits.
    fn request(&mut self, path: &Path, written: file::Request, config: &Config) -> Option<Value> {
        let text = match written {
            file::Request::Text(text) => text,
            file::Request::Table(table) => Value::Object(table).to_string(),
        };
        let limits = json::Limits { bytes: config.limits.body, ..ONE_REQUEST };
        json::parse(text.as_bytes(), limits)
            .map_err(|error| self.fault(path, format!("no daemon would read it: {error}")))
            .ok()
    }
    fn expected(&mut self, path: &Path, written: file::Expect) -> Option<Expect> {
        let grant = written.grant.map(|bounds| self.bounds(&path.key("grant"), bounds));
        let denied = written.denied.map(|rules| self.rules(&path.key("denied"), rules));
        match (grant, denied) {
            (Some(bounds), None) => Some(Expect::Grant(bounds)),
            (None, Some(rules)) => Some(Expect::Denied(rules)),
            _ => {
                self.fault(path, "say what must come of it: write either `grant` or `denied`");
                None
            }
        }
    }
    fn rules(&mut self, path: &Path, rules: Vec<String>) -> BTreeSet<String> {
        if rules.is_empty() {
            self.fault(path, "write the ids of the rules that it breaks");
        }
        for (index, rule) in rules.iter().enumerate() {
            self.rule(&path.index(index), rule);
        }
        rules.into_iter().collect()
    }
    fn rule(&mut self, path: &Path, rule: &str) {
        let mut known = RULES.iter().map(|(id, _)| *id).chain([UNKNOWN_CALLER]);
        if !known.clone().any(|id| id == rule) {
            let hint = match nearest(rule, &mut known) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "`jwsd policy rules` lists all".to_owned(),
            };
            self.fault(path, format!("there is no rule {rule:?}: {hint}"));
        }
    }
    fn bounds(&mut self, path: &Path, written: file::Bounds) -> Bounds {
        let mut seconds = |key: &str, text: Option<_>| {
            let path = path.key(key);
            text.map(|text| self.quantity(&path, &text, SECOND..=HOUR * 24 * 365))
        };
        let (ttl, ttl_max) = (seconds("ttl", written.ttl), seconds("ttl_max", written.ttl_max));
        if let Some(name) = written.absent.iter().find(|name| written.claims.contains_key(*name)) {
            self.fault(&path.key("absent"), format!("{name:?} is in `claims` too: remove one"));
        }
        let file::Bounds { audience, issuer, claims, absent, .. } = written;
        Bounds { ttl, ttl_max, audience, issuer, claims, absent }
    }
}

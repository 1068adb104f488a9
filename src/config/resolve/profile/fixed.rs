//! What is fixed by who the caller is: `issuer` and `from_caller`, expanded for every caller that may use the profile.

use super::{Path, Resolver, is_string_or_uri};
use crate::config::file::{self, Caller, Named};
use crate::profile::{ClaimRule, Fixed, Kind, NoText, Template, is_var_name};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Longest text that is filled in, characters.
const MAX_TEXT: usize = 512;

/// What is fixed, by caller, and every issuer that comes of it.
pub(super) type Expanded = (BTreeMap<String, Fixed>, BTreeSet<String>);

impl Resolver<'_> {
    pub(super) fn fixed(
        &mut self,
        path: &Path,
        (name, kind): (&str, Option<Kind>),
        written: &file::Profile,
        rules: &BTreeMap<String, ClaimRule>,
        callers: &Named<Caller>,
    ) -> Expanded {
        let issuer = self.template(&path.key("issuer"), &written.issuer);
        let mut claims = Vec::new();
        for (claim, written) in &written.claims {
            if let (Some(text), Some(rule)) = (&written.from_caller, rules.get(claim)) {
                let path = path.key("claims").key(claim).key("from_caller");
                let template = self.template(&path, text);
                claims.push((claim, path, template, rule));
            }
        }
        let (mut fixed, mut issuers) = (BTreeMap::new(), BTreeSet::new());
        if issuer.is_plain() {
            self.issuer(&path.key("issuer"), kind, &written.issuer, "");
            issuers.insert(written.issuer.clone());
        }
        if issuer.is_plain() && claims.is_empty() {
            return (fixed, issuers);
        }
        let uses = |caller: &Caller| caller.profiles.iter().any(|used| used == name);
        for (caller, written) in callers.iter().filter(|(_, written)| uses(written)) {
            let suffix = format!(", for caller {caller:?}");
            let mut expand = |template: &Template, of: &Path| match template.expand(caller, &written.vars) {
                Ok(text) => Some(text),
                Err(NoText(var)) => {
                    let path = Path::default().key("caller").key(caller).key("vars").key(&var);
                    self.fault(&path, format!("missing: `{of}` takes it in"));
                    None
                }
            };
            let own = expand(&issuer, &path.key("issuer"));
            let texts: Vec<_> = claims.iter().map(|(_, path, template, _)| expand(template, path)).collect();
            if let Some(own) = own.as_ref().filter(|_| !issuer.is_plain()) {
                self.issuer(&path.key("issuer"), kind, own, &suffix);
                issuers.insert(own.clone());
            }
            let mut values = BTreeMap::new();
            for ((claim, path, _, rule), text) in claims.iter().zip(texts) {
                let Some(text) = text else { continue };
                let short = rule.max_length.is_none_or(|most| text.chars().count() <= most);
                let fits = rule.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&text));
                let value = Value::String(text);
                let is_valid = rule.schema.as_ref().is_none_or(|schema| schema.is_valid(&value));
                if !short || !fits || !is_valid || value == "" {
                    let message = format!(
                        "breaks the claim's own `pattern`, `max_length` or `schema`, or is empty{suffix}"
                    );
                    self.fault(path, message);
                }
                values.insert((*claim).clone(), value);
            }
            fixed.insert(caller.clone(), Fixed { issuer: own.unwrap_or_default(), claims: values });
        }
        (fixed, issuers)
    }

    fn template(&mut self, path: &Path, text: &str) -> Template {
        Template::parse(text).unwrap_or_else(|error| {
            self.fault(path, error.to_string());
            Template::default()
        })
    }

    /// RFC 7519 section 4.1.1; where verifiers look the issuer up, it is the identifier of RFC 8414 section 2.
    fn issuer(&mut self, path: &Path, kind: Option<Kind>, issuer: &str, suffix: &str) {
        let spec = kind.map(Kind::spec).filter(|spec| spec.issuer_is_url);
        if !is_string_or_uri(issuer) || issuer.contains(['?', '#']) {
            self.fault(path, format!("write an absolute URI without query and fragment, such as \"https://login.example.com\", or a plain name without ':' and spaces{suffix}"));
        } else if let Some(spec) = spec
            && !issuer.starts_with("https://")
            && !issuer.starts_with("http://")
        {
            let message = format!(
                "the issuer of a JWT of kind {:?} is a URL ({}): write one that begins with https://{suffix}",
                spec.name, spec.source
            );
            self.fault(path, message);
        }
    }

    /// `[caller.NAME.vars]`.
    pub(in crate::config::resolve) fn vars(&mut self, path: &Path, vars: &Named<String>) {
        for (name, text) in vars {
            let path = path.key(name);
            if !is_var_name(name) || name == "name" {
                self.fault(&path, "the name of a text is 1 to 32 of a-z, 0-9 and '_', begins with a letter, and is not \"name\", which is the caller's");
            } else if !(1..=MAX_TEXT).contains(&text.chars().count()) || text.chars().any(char::is_control) {
                self.fault(&path, "write 1 to 512 characters without control characters");
            }
        }
    }
}

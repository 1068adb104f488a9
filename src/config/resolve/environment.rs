//! What belongs to one environment alone: `issuers`, and `environment` of profiles, keys and backends.

use super::profile::{Issuers, is_string_or_uri};
use super::{Path, Resolver};
use crate::config::file::{Backend, File};
use crate::config::structure::nearest;
use crate::keyring::discovery::Place;
use std::collections::BTreeMap;

impl Resolver<'_> {
    pub(super) fn environments(&mut self, root: &Path, file: &File, issuers: &Issuers) {
        self.listed_issuers(&root.key("issuers"), file);
        for (name, profile) in &file.profile {
            let path = root.key("profile").key(name);
            self.own_environment(&path, profile.environment.as_deref(), file);
            for issuer in issuers.get(name).into_iter().flatten() {
                self.own_issuer(&path.key("issuer"), issuer, file);
            }
        }
        for (name, key) in &file.key {
            self.own_environment(&root.key("key").key(name), key.environment.as_deref(), file);
        }
        for (name, backend) in &file.backend {
            let environment = match backend {
                Backend::Pkcs11(written) => &written.environment,
                Backend::AwsKms(written) => &written.environment,
            };
            self.own_environment(&root.key("backend").key(name), environment.as_deref(), file);
        }
    }

    /// No two environments share an issuer: verifiers could not tell their JWTs apart.
    fn listed_issuers(&mut self, path: &Path, file: &File) {
        let here = &file.environment;
        if !file.issuers.is_empty() && !here.is_empty() && !file.issuers.contains_key(here) {
            let message = match nearest(here, file.issuers.keys().map(String::as_str)) {
                Some(near) => format!("environment {here:?} is not listed: did you mean it by {near:?}?"),
                None => format!("environment {here:?} is not listed: add its issuers, or remove all"),
            };
            self.fault(path, message);
        }
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (environment, issuers) in &file.issuers {
            let path = path.key(environment);
            self.name(&path, environment);
            if issuers.is_empty() {
                self.fault(&path, "write the issuers of this environment, or leave it out");
            }
            for (index, issuer) in issuers.iter().enumerate() {
                let path = path.index(index);
                if !is_string_or_uri(issuer) || issuer.contains(['?', '#']) {
                    self.fault(&path, "write an issuer as profiles have it: an absolute URI without query and fragment, or a plain name");
                } else if let Some((_, other)) = seen.iter().find(|(known, _)| is_same(known, issuer)) {
                    let message = match *other == environment {
                        true => "stands here twice: remove one".to_owned(),
                        false => {
                            format!("environment {other:?} has it too: no two environments share an issuer")
                        }
                    };
                    self.fault(&path, message);
                }
                seen.insert(issuer, environment);
            }
        }
    }

    /// An issuer that a profile writes, against those that environments have.
    fn own_issuer(&mut self, path: &Path, issuer: &str, file: &File) {
        let here = &file.environment;
        let has = |issuers: &Vec<String>| issuers.iter().any(|listed| is_same(listed, issuer));
        let foreign = file.issuers.iter().find(|(other, issuers)| *other != here && has(issuers));
        if let Some((other, _)) = foreign {
            let message =
                format!("it is an issuer of environment {other:?} (`issuers`), and this is {here:?}");
            self.fault(path, message);
        } else if file.issuers.get(here).is_some_and(|own| !own.iter().any(|listed| listed == issuer)) {
            let message =
                format!("`issuers` does not list it for environment {here:?}: correct it, or add it there");
            self.fault(path, message);
        }
    }

    fn own_environment(&mut self, path: &Path, written: Option<&str>, file: &File) {
        if let Some(other) = written.filter(|other| *other != file.environment) {
            let message = format!(
                "it is of environment {other:?}, and this is {:?}: take it out, or correct one of them",
                file.environment
            );
            self.fault(&path.key("environment"), message);
        }
    }
}

/// Whether verifiers would find the documents of both at one place, or both are the same text.
fn is_same(one: &str, other: &str) -> bool {
    one == other || Place::of(one).is_some_and(|place| Place::of(other) == Some(place))
}

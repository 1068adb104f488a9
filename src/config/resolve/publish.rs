//! `[publish]`, and where the documents of each issuer are.

use super::profile::{Issuers, is_string_or_uri};
use super::{Path, Resolver};
use crate::config::file::File;
use crate::keyring::discovery::{Discovery, Place};
use crate::keyring::{self, Publication};
use std::collections::BTreeMap;
use std::path::PathBuf;

impl Resolver<'_> {
    /// `closed` are directories that no web server can read.
    pub(super) fn publication(
        &mut self,
        root: &Path,
        file: &File,
        keys: &BTreeMap<String, keyring::Settings>,
        issuers: &Issuers,
        closed: [&PathBuf; 2],
    ) -> Publication {
        let path = root.key("publish");
        let dir = file.publish.dir.as_ref().map(|dir| self.absolute(&path.key("dir"), dir));
        if dir.as_ref().is_some_and(|dir| closed.iter().any(|closed| dir.starts_with(closed))) {
            let message = "no web server can read the directories of state and audit log: write another one";
            self.fault(&path.key("dir"), message);
        }
        if let Some(uri) = &file.publish.jwks_uri
            && !(is_url(uri) && is_string_or_uri(uri) && !uri.contains('#'))
        {
            self.fault(&path.key("jwks_uri"), "write a URL that begins with https://");
        }
        let mut places: BTreeMap<PathBuf, &str> = BTreeMap::new();
        let each =
            || issuers.iter().flat_map(|(name, own)| own.iter().map(move |issuer| (name, issuer.as_str())));
        for (name, issuer) in each().filter(|(_, issuer)| is_url(issuer)) {
            let path = root.key("profile").key(name).key("issuer");
            match Place::of(issuer) {
                // The issuer itself may be at fault, which is told elsewhere.
                None if dir.is_some() && is_string_or_uri(issuer) => {
                    let message = "no directory can be named after it for [publish]: use letters, digits and ._~- alone, \
                                   and no part that is empty or begins with a dot";
                    self.fault(&path, message);
                }
                None => {}
                Some(place) => {
                    let other = *places.entry(place.directory()).or_insert(issuer);
                    if other != issuer {
                        let message = format!(
                            "its documents are at the same place as those of issuer {other:?}, but verifiers compare \
                             every character: write both the same way"
                        );
                        self.fault(&path, message);
                    }
                }
            }
        }
        let signed = each().filter_map(|(name, issuer)| {
            let key = keys.get(&file.profile.get(name)?.key)?;
            Some((issuer, key.algorithm))
        });
        Publication { dir, discovery: Discovery::new(signed, file.publish.jwks_uri.as_deref()) }
    }
}

fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("https" | "http"))
}

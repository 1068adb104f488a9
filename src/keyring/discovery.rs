//! Where the verifiers of an issuer find its keys: OpenID Connect Discovery 1.0 sections 3 and 4, as Kubernetes
//! describes the issuer of its service accounts. Pure, and made of configuration alone: says only what is true of us.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::Document;
use crate::jose::Algorithm;

/// The key set's file name.
pub const KEY_SET: &str = "jwks.json";
/// The discovery document's file name.
pub const CONFIGURATION: &str = "openid-configuration";
/// What both are under.
pub const WELL_KNOWN: &str = ".well-known";

/// Where an issuer's documents are: its host, and its path without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    host: String,
    path: String,
}

impl Place {
    /// The place of an issuer that is an http or https URL. `None` for any other, and for one whose host or path has
    /// more in it than letters, digits and `._~-`, or parts that are empty or begin with a dot: nothing is named after it.
    pub fn of(issuer: &str) -> Option<Self> {
        let (scheme, rest) = issuer.split_once("://")?;
        let default = match scheme.to_ascii_lowercase().as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let authority = authority.to_ascii_lowercase();
        let host = authority.strip_suffix(default).unwrap_or(&authority);
        // Any terminating slash is removed (OpenID Connect Discovery 1.0 section 4.1).
        let path = path.strip_suffix('/').unwrap_or(path);
        let plain = path.split('/').skip(1).all(is_plain) && is_host(host) && path.len() <= 512;
        plain.then(|| Self { host: host.to_owned(), path: path.to_owned() })
    }

    /// `HOST[PATH]`, with `_` for what separates the port.
    pub fn directory(&self) -> PathBuf {
        let host = self.host.replace([':', '[', ']'], "_");
        PathBuf::from(host + &self.path)
    }
}

fn is_plain(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=255).contains(&part.len()) && !part.starts_with('.') && part.bytes().all(fits)
}

/// A name or address, with or without a port.
fn is_host(text: &str) -> bool {
    let is_port =
        |port: &str| port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            return is_address && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
        }
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    // The key set of all issuers has that name.
    name != KEY_SET && text.len() <= 255 && is_plain(name) && port.is_none_or(is_port)
}

/// OpenID Connect Discovery 1.0 section 3.
#[derive(Serialize)]
struct Content<'a> {
    issuer: &'a str,
    jwks_uri: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: BTreeSet<&'static str>,
}

/// One issuer's document.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Where it is.
    pub place: Place,
    /// `application/json`.
    pub document: Document,
}

/// The documents of all issuers.
#[derive(Debug, Clone, Default)]
pub struct Discovery(Vec<Issuer>);

impl Discovery {
    /// Of issuers and the algorithms they sign with, in any order; those without a [`Place`] have no document. Their
    /// keys are at `jwks_uri`, or else at the issuer's own place.
    pub fn new<'a>(issuers: impl IntoIterator<Item = (&'a str, Algorithm)>, jwks_uri: Option<&str>) -> Self {
        let mut algorithms: BTreeMap<&str, BTreeSet<&'static str>> = BTreeMap::new();
        for (issuer, algorithm) in issuers {
            algorithms.entry(issuer).or_default().insert(algorithm.name());
        }
        let document = |(issuer, algorithms): (&str, _)| {
            let own = || format!("{}/{WELL_KNOWN}/{KEY_SET}", issuer.strip_suffix('/').unwrap_or(issuer));
            let content = Content {
                issuer,
                jwks_uri: jwks_uri.map_or_else(own, str::to_owned),
                response_types_supported: ["id_token"],
                subject_types_supported: ["public"],
                id_token_signing_alg_values_supported: algorithms,
            };
            Place::of(issuer).map(|place| Issuer { place, document: Document::new(&content) })
        };
        Self(algorithms.into_iter().filter_map(document).collect())
    }

    /// All of them.
    pub fn issuers(&self) -> &[Issuer] {
        &self.0
    }

    /// Whether all documents of `other` are here, as they are there.
    pub fn has_all(&self, other: &Self) -> bool {
        let same = |a: &Issuer, b: &Issuer| a.place == b.place && a.document.etag() == b.document.etag();
        other.0.iter().all(|issuer| self.0.iter().any(|known| same(known, issuer)))
    }

    /// These, and those of `before` whose issuers are not here.
    #[must_use]
    pub fn and(&self, before: &Self) -> Self {
        let is_gone = |old: &&Issuer| self.0.iter().all(|issuer| issuer.place != old.place);
        Self(self.0.iter().chain(before.0.iter().filter(is_gone)).cloned().collect())
    }

    /// Whether an issuer has this path.
    pub fn has_path(&self, path: &str) -> bool {
        self.0.iter().any(|issuer| issuer.place.path == path)
    }

    /// The document of the issuer with this path; if several have it, of the one with this host.
    pub fn find(&self, path: &str, host: Option<&str>) -> Option<&Document> {
        let here: Vec<&Issuer> = self.0.iter().filter(|issuer| issuer.place.path == path).collect();
        let found = match here.as_slice() {
            [one] => Some(*one),
            _ => here
                .iter()
                .copied()
                .find(|issuer| host.is_some_and(|host| issuer.place.host.eq_ignore_ascii_case(host))),
        };
        found.map(|issuer| &issuer.document)
    }
}

#[cfg(test)]
mod tests;

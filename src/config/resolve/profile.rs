//! `[profile.NAME]`, and the digest that names a version of the policy in every record.

use super::{HOUR, Path, Resolver, SECOND};
use crate::config::Written;
use crate::config::file::{self, Caller, File, Named};
use crate::jose::{Algorithm, hex};
use crate::profile::{AudienceForm, Detectors, KeyName, Kind, OwnDetectors, Profile, ProfileName};
use crate::sys::secure_file;
use crate::telemetry::Chain;
use regex::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

mod claim;
mod condition;
mod confidential;
mod data;
mod fixed;
mod kind;
mod lifetime;
use claim::compile;

/// Largest JSON Schema file, bytes.
const SCHEMA_LIMIT: u64 = 256 * 1024;
/// JSON Schemas of profiles, by profile.
pub(super) type Schemas = BTreeMap<String, Value>;

/// Every issuer that a profile's JWTs may have, by profile.
pub(super) type Issuers = BTreeMap<String, BTreeSet<String>>;

impl Resolver<'_> {
    /// `None` only after a fault.
    pub(super) fn profiles(
        &mut self,
        path: &Path,
        file: &mut File,
    ) -> (Option<Vec<Profile>>, Issuers, Schemas) {
        let (mut profiles, mut issuers, mut schemas) = (Vec::new(), Issuers::new(), Schemas::new());
        let own = self.own_detectors(&Path::default().key("detector"), &file.detector);
        let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
        for (name, profile) in &mut file.profile {
            let path = path.key(name);
            self.name(&path, name);
            self.reference(&path.key("key"), "key", &profile.key, &file.key);
            let kind = self.kind(&path, profile);
            // Media types are compared without regard to case (RFC 2045 section 5.1).
            let typ = profile.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
            let other = seen.insert((profile.key.clone(), typ.clone()), name.clone());
            if let Some(other) = other.filter(|_| !typ.is_empty()) {
                let message = format!(
                    "profile {other:?} has the same key and typ: give this one another typ or key (RFC 8725 section 3.12)"
                );
                self.fault(&path.key("typ"), message);
            }
            let algorithm = file.key.get(&profile.key).map(|key| key.algorithm);
            self.encryption(&path, profile, &file.recipient);
            let (resolved, of_it, schema) =
                self.profile(&path, name, profile, (kind, algorithm), &file.caller, &own);
            profiles.push(resolved);
            issuers.insert(name.clone(), of_it);
            schemas.extend(schema.map(|schema| (name.clone(), schema)));
        }
        (profiles.into_iter().collect(), issuers, schemas)
    }

    fn profile(
        &mut self,
        path: &Path,
        name: &str,
        written: &mut file::Profile,
        (kind, algorithm): (Option<Kind>, Option<Algorithm>),
        callers: &Named<Caller>,
        own: &Arc<OwnDetectors>,
    ) -> (Option<Profile>, BTreeSet<String>, Option<Value>) {
        if let Some(kind) = kind {
            self.keeps_to(path, kind, written, algorithm);
        }
        if kind.is_none_or(|kind| kind.spec().audience) {
            self.audiences(&path.key("audiences"), &written.audiences);
        }
        let lifetime = self.lifetime(&path.key("lifetime"), kind, &written.lifetime);
        let (skew, round_iat) = self.dating(path, kind, written, lifetime.default);
        let session = self.session(path, written);
        let detectors = Detectors {
            off: self.detector_set(&path.key("detectors").key("off"), own, &written.detectors.off),
            own: Arc::clone(own),
        };
        let claims = self.claims(&path.key("claims"), &written.claims, own);
        self.claims_of_secrets(&path.key("claims"), &detectors, &claims);
        let consent = self.consent(path, (written, kind), &claims, &detectors);
        let sd_jwt = self.sd_jwt(path, written);
        let (fixed, issuers) = self.fixed(path, (name, kind), written, &claims, callers);
        let source = written.schema.as_mut().and_then(|schema| self.schema_file(&path.key("schema"), schema));
        let schema = source.as_ref().and_then(|source| self.compile(&path.key("schema"), source));
        let condition = self.condition(path, written, &claims);
        let rates = self.rates(&path.key("rates"), written);
        let hours = written.hours.as_ref().and_then(|hours| self.hours(&path.key("hours"), hours));
        let names = ProfileName::new(name).ok().zip(KeyName::new(&written.key).ok());
        let profile = names.zip(algorithm).zip(written.typ.clone());
        let profile = profile.map(|(((name, key), algorithm), typ)| Profile {
            name,
            key,
            algorithm,
            kind,
            typ,
            issuer: written.issuer.clone(),
            fixed,
            audiences: written.audiences.clone(),
            audience_form: match written.audience_form {
                file::AudienceForm::String => AudienceForm::String,
                file::AudienceForm::Array => AudienceForm::Array,
            },
            lifetime,
            session,
            nbf: written.nbf,
            skew,
            round_iat,
            claims,
            schema,
            detectors,
            consent,
            legal_basis: written.legal_basis,
            encrypt: written.encrypt,
            sd_jwt,
            condition,
            rates,
            hours,
        });
        (profile, issuers, source)
    }

    fn audiences(&mut self, path: &Path, audiences: &[String]) {
        if audiences.is_empty() || audiences.len() > 64 {
            self.fault(path, "write 1 to 64 audiences (RFC 8725 section 3.9)");
        }
        let mut seen = BTreeSet::new();
        for (index, audience) in audiences.iter().enumerate() {
            if !is_string_or_uri(audience) {
                let message =
                    "write an absolute URI, or a plain name without ':' and spaces (RFC 7519 section 2)";
                self.fault(&path.index(index), message);
            } else if !seen.insert(audience) {
                self.fault(&path.index(index), format!("{audience:?} stands here twice: remove one"));
            }
        }
    }

    /// Reads a JSON Schema file; `written` becomes absolute.
    fn schema_file(&mut self, path: &Path, written: &mut String) -> Option<Value> {
        let file = self.beside(path, written, "JSON Schema file")?;
        let text = match secure_file::read_config(&file, SCHEMA_LIMIT) {
            Ok(text) => text,
            Err(error) => {
                self.fault(path, Chain(&error).to_string());
                return None;
            }
        };
        match serde_json::from_str(&text) {
            Ok(schema) => Some(schema),
            Err(error) => {
                self.fault(path, format!("{} is not JSON: {error}", file.display()));
                None
            }
        }
    }
    fn compile(&mut self, path: &Path, schema: &Value) -> Option<jsonschema::Validator> {
        let compiled = compile(schema);
        let problem = compiled.as_ref().err().cloned();
        if let Some(problem) = problem {
            self.fault(path, format!("not a usable JSON Schema: {problem}"));
        }
        compiled.ok()
    }
}

/// StringOrURI of RFC 7519 section 2: text with a colon is a URI (RFC 3986). Neither has spaces here.
pub(super) fn is_string_or_uri(text: &str) -> bool {
    static URI: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let general = r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=#-]|%[0-9A-Fa-f]{2})+";
        Regex::new(&format!("^(?:{general})$")).ok()
    });
    let matches = |uri: &LazyLock<Option<Regex>>| uri.as_ref().is_some_and(|uri| uri.is_match(text));
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("https:").or_else(|| lower.strip_prefix("http:")) {
        // A host, and no user or password before it.
        Some(rest) => {
            let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next());
            matches(&URI)
                && authority
                    .is_some_and(|host| !host.is_empty() && !host.starts_with(':') && !host.contains('@'))
        }
        None if text.contains(':') => text.len() <= 512 && matches(&URI),
        None => (1..=512).contains(&text.len()) && !text.chars().any(|c| c.is_whitespace() || c.is_control()),
    }
}

/// First 16 hex digits of the SHA-256 over profiles, callers, detectors and misuse as resolved: the content of schema files
/// in place of their paths, numbers beside the names of users and groups. The recipients' keys are mixed in where they are
/// put in; limits and issuers are not in it.
pub(super) fn digest(written: &Written) -> String {
    let text = written.judged().to_string();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hex(hash.as_ref().get(..8).unwrap_or_default())
}

//! `[profile.NAME]`, and the digest that names a version of the policy in every record.

use super::{HOUR, Path, Resolver, SECOND};
use crate::caller::Rule;
use crate::config::file::{self, File, Named};
use crate::config::units::Quantity;
use crate::jose::hex;
use crate::profile::{AudienceForm, KeyName, Lifetime, Profile, ProfileName};
use crate::sys::secure_file;
use crate::telemetry::Chain;
use regex::Regex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

mod claim;
mod condition;
use claim::compile;

/// Largest JSON Schema file, bytes.
const SCHEMA_LIMIT: u64 = 256 * 1024;
/// The longest any JWT may live in this version.
const LONGEST: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// JSON Schemas of profiles, by profile.
pub(super) type Schemas = BTreeMap<String, Value>;

impl Resolver<'_> {
    /// `None` only after a fault.
    pub(super) fn profiles(&mut self, path: &Path, file: &mut File) -> (Option<Vec<Profile>>, Schemas) {
        let (mut profiles, mut schemas) = (Vec::new(), Schemas::new());
        let mut kinds: BTreeMap<(String, String), String> = BTreeMap::new();
        for (name, profile) in &mut file.profile {
            let path = path.key(name);
            self.name(&path, name);
            self.reference(&path.key("key"), "key", &profile.key, &file.key);
            // Media types are compared without regard to case (RFC 2045 section 5.1).
            let kind = (profile.key.clone(), profile.typ.to_ascii_lowercase());
            if let Some(other) = kinds.insert(kind, name.clone()) {
                let message = format!(
                    "profile {other:?} has the same key and typ: give this one another typ or key (RFC 8725 section 3.12)"
                );
                self.fault(&path.key("typ"), message);
            }
            let (resolved, schema) = self.profile(&path, name, profile);
            profiles.push(resolved);
            schemas.extend(schema.map(|schema| (name.clone(), schema)));
        }
        (profiles.into_iter().collect(), schemas)
    }

    fn profile(
        &mut self,
        path: &Path,
        name: &str,
        written: &mut file::Profile,
    ) -> (Option<Profile>, Option<Value>) {
        self.typ(&path.key("typ"), &written.typ);
        self.issuer(&path.key("issuer"), written);
        self.audiences(&path.key("audiences"), &written.audiences);
        let lifetime = self.lifetime(&path.key("lifetime"), &written.lifetime);
        let claims = self.claims(&path.key("claims"), &written.claims);
        if is_access_token(&written.typ) {
            for claim in ["sub", "client_id"] {
                if !written.claims.contains_key(claim) {
                    let message =
                        format!("an at+jwt has the claim {claim:?} (RFC 9068 section 2.2): add it here");
                    self.fault(&path.key("claims"), message);
                }
            }
        }
        let source = written.schema.as_mut().and_then(|schema| self.schema_file(&path.key("schema"), schema));
        let schema = source.as_ref().and_then(|source| self.compile(&path.key("schema"), source));
        let condition = self.condition(path, written, &claims);
        let rates = self.rates(&path.key("rates"), written);
        let hours = written.hours.as_ref().and_then(|hours| self.hours(&path.key("hours"), hours));
        let names = ProfileName::new(name).ok().zip(KeyName::new(&written.key).ok());
        let profile = names.map(|(name, key)| Profile {
            name,
            key,
            typ: written.typ.clone(),
            issuer: written.issuer.clone(),
            audiences: written.audiences.clone(),
            audience_form: match written.audience_form {
                file::AudienceForm::String => AudienceForm::String,
                file::AudienceForm::Array => AudienceForm::Array,
            },
            lifetime,
            nbf: written.nbf,
            claims,
            schema,
            condition,
            rates,
            hours,
        });
        (profile, source)
    }

    /// RFC 8725 section 3.11; RFC 7515 section 4.1.9 says to leave `application/` out.
    fn typ(&mut self, path: &Path, typ: &str) {
        // RFC 6838 section 4.2.
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        if typ.to_ascii_lowercase().starts_with("application/") {
            self.fault(path, "write it without \"application/\" (RFC 7515 section 4.1.9)");
        } else if typ.is_empty() || typ.len() > 64 || !typ.bytes().all(fits) {
            self.fault(
                path,
                "write a media subtype such as \"at+jwt\": 1 to 64 of letters, digits and !#$&-^_.+",
            );
        }
    }
    /// RFC 7519 section 4.1.1; an access token's issuer is the identifier of RFC 8414 section 2.
    fn issuer(&mut self, path: &Path, written: &file::Profile) {
        let issuer = written.issuer.as_str();
        if !is_string_or_uri(issuer) || issuer.contains(['?', '#']) {
            self.fault(path, "write an absolute URI without query and fragment, such as \"https://login.example.com\", or a plain name without ':' and spaces");
        } else if is_access_token(&written.typ)
            && !issuer.starts_with("https://")
            && !issuer.starts_with("http://")
        {
            self.fault(path, "the issuer of an at+jwt is a URL (RFC 9068 section 2.2): write one that begins with https://");
        }
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
    fn lifetime(&mut self, path: &Path, written: &file::Lifetime) -> Lifetime {
        let mut read = |key: &str, text| {
            let path = path.key(key);
            let value = self.quantity(&path, text, SECOND..=HOUR * 24 * 365);
            self.whole_seconds(&path, value);
            value
        };
        let (default, max) = (read("default", &written.default), read("max", &written.max));
        if max > LONGEST {
            let message =
                "this version issues nothing that lives longer than 24 hours: write at most \"24h\"";
            self.fault(&path.key("max"), message);
        } else if default > max && written.max.value().is_ok() {
            self.fault(&path.key("default"), "longer than `max`: write at most that");
        }
        Lifetime { default, max }
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

fn is_access_token(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt")
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

/// First 16 hex digits of the SHA-256 over profiles and callers as resolved: the content of schema files in place
/// of their paths, numbers beside the names of users and groups.
pub(super) fn digest(file: &File, schemas: &Schemas, callers: &[Rule]) -> String {
    let mut profiles: Named<file::Profile> = file.profile.clone();
    for profile in profiles.values_mut() {
        profile.schema = None;
    }
    let numbers: Vec<_> = callers.iter().map(|rule| (&rule.name, rule.uid, rule.gid)).collect();
    let text = json!([profiles, schemas, file.caller, numbers, file.misuse]).to_string();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hex(hash.as_ref().get(..8).unwrap_or_default())
}

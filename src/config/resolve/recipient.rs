//! `[recipient."AUDIENCE"]`: whom JWTs are encrypted to, with the key that the file holds now.

use super::profile::is_string_or_uri;
use super::{Path, Resolver, nearest};
use crate::config::file::{self, File};
use crate::jose::json;
use crate::jose::jwe::{self, ContentEncryption, KeyManagement};
use crate::profile::Recipient;
use crate::sys::secure_file;
use crate::telemetry::Chain;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bounds on a JWK Set: 100 keys, some with certificates.
const LIMITS: json::Limits = json::Limits { bytes: 256 << 10, depth: 6, nodes: 4096 };

/// Reads a recipient's key out of a JWK Set in a file, which nobody else may write to.
///
/// # Errors
/// A sentence: the file cannot be read or others could have changed it, or it has no key that may be used.
pub fn read_recipient(
    file: &std::path::Path,
    enc: ContentEncryption,
    alg: Option<KeyManagement>,
) -> Result<jwe::Recipient, String> {
    let text = secure_file::read_config(file, LIMITS.bytes as u64);
    let text = text.map_err(|error| Chain(&error).to_string())?;
    let unusable = |why: String| format!("{} is not usable: {why}", file.display());
    let set = json::parse(text.as_bytes(), LIMITS).map_err(|error| unusable(error.to_string()))?;
    jwe::Recipient::choose(&set, enc, alg).map_err(|error| unusable(error.to_string()))
}

impl Resolver<'_> {
    pub(super) fn recipients(&mut self, path: &Path, file: &mut File) -> BTreeMap<String, Recipient> {
        let known: BTreeSet<String> =
            file.profile.values().flat_map(|profile| profile.audiences.iter().cloned()).collect();
        let mut recipients = BTreeMap::new();
        for (audience, written) in &mut file.recipient {
            let path = path.key(audience);
            if !known.contains(audience) {
                let hint = match nearest(audience, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => "write one of a profile's audiences, in quotes".to_owned(),
                };
                self.fault(&path, format!("no profile has this audience: {hint}"));
            } else if is_string_or_uri(audience) {
                let read = self.recipient(&path, written);
                recipients.extend(read.map(|recipient| (audience.clone(), recipient)));
            }
        }
        recipients
    }
    /// `None` only after a fault.
    fn recipient(&mut self, path: &Path, written: &mut file::Recipient) -> Option<Recipient> {
        let known = !self.replaced.contains(&path.key("alg"));
        let path = path.key("jwks");
        let jwks = self.beside(&path, &mut written.jwks, "JWK Set file").filter(|_| known)?;
        match read_recipient(&jwks, written.enc, written.alg) {
            Ok(key) => Some(Recipient { jwks, alg: written.alg, key: Arc::new(key) }),
            Err(why) => {
                self.fault(&path, why);
                None
            }
        }
    }
}

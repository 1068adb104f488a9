//! `[backend.NAME]` and `[key.NAME]`.

use super::{Path, Resolver, SECOND};
use crate::backend::Settings;
use crate::backend::pkcs11::{self, TokenSelector};
use crate::config::file::{self, Backend, File, Key, Named};
use crate::config::units::{DurationText, Readable};
use crate::jose::KeyType;
use crate::keyring::machine::Rotation;
use crate::keyring::{self, CertificateChain};
use crate::telemetry::Chain;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

impl Resolver<'_> {
    pub(super) fn backends(
        &mut self,
        path: &Path,
        backends: &mut Named<Backend>,
        state: &std::path::Path,
    ) -> BTreeMap<String, Settings> {
        let mut resolved: BTreeMap<String, Settings> = BTreeMap::new();
        for (name, backend) in backends {
            let path = path.key(name);
            self.name(&path, name);
            let settings = match backend {
                Backend::AwsKms(written) => Settings::AwsKms(self.aws_kms(&path, name, written)),
                Backend::Pkcs11(written) => {
                    let settings = self.pkcs11(&path, name, written, state);
                    // Two workers on one device would each try a wrong PIN once.
                    let same = |other: &&pkcs11::Settings| {
                        (&other.module, &other.env) == (&settings.module, &settings.env)
                            && may_be_one(&other.token, &settings.token)
                    };
                    let mut others = resolved.values().filter_map(|other| match other {
                        Settings::Pkcs11(other) => Some(other),
                        Settings::AwsKms(_) => None,
                    });
                    if let Some(other) = others.find(same) {
                        let message = format!(
                            "this may be the token of backend {:?}: use that one, or say the serial of both",
                            other.name
                        );
                        let key = if written.token.is_some() { "token" } else { "uri" };
                        self.fault(&path.key(key), message);
                    }
                    Settings::Pkcs11(settings)
                }
            };
            resolved.insert(name.clone(), settings);
        }
        resolved
    }

    /// `cache` is how long verifiers keep the key set.
    pub(super) fn keys(
        &mut self,
        path: &Path,
        file: &mut File,
        cache: Duration,
    ) -> BTreeMap<String, keyring::Settings> {
        let mut keys = BTreeMap::new();
        for (name, key) in &mut file.key {
            let path = path.key(name);
            self.name(&path, name);
            let backends = self.backends_of(&path, key, &file.backend);
            keys.insert(name.clone(), self.key(&path, key, backends, cache));
        }
        keys
    }
    fn backends_of(&mut self, path: &Path, key: &Key, known: &Named<Backend>) -> Vec<String> {
        match (&key.backend, &key.backends) {
            (Some(backend), None) => {
                self.reference(&path.key("backend"), "backend", backend, known);
                vec![backend.clone()]
            }
            (None, Some(backends)) => {
                let path = path.key("backends");
                if backends.is_empty() {
                    self.fault(&path, "write the names of the backends that hold the key");
                }
                let mut seen = BTreeSet::new();
                for (index, backend) in backends.iter().enumerate() {
                    self.reference(&path.index(index), "backend", backend, known);
                    if !seen.insert(backend) {
                        self.fault(&path.index(index), format!("{backend:?} stands here twice: remove one"));
                    }
                }
                backends.clone()
            }
            (Some(_), Some(_)) => {
                self.fault(&path.key("backends"), "write either `backend` or `backends`");
                Vec::new()
            }
            (None, None) => {
                let message = "missing: name the backend that holds it, or several as `backends`";
                self.fault(&path.key("backend"), message);
                Vec::new()
            }
        }
    }
    fn key(
        &mut self,
        path: &Path,
        key: &mut Key,
        backends: Vec<String>,
        cache: Duration,
    ) -> keyring::Settings {
        let rsa = key.algorithm.key_type() == KeyType::Rsa;
        match key.rsa_bits {
            Some(_) if !rsa => {
                let message = format!("{:?} is not an RSA algorithm: remove it", key.algorithm);
                self.fault(&path.key("rsa_bits"), message);
            }
            Some(2048 | 3072 | 4096) => {}
            Some(_) => self.fault(&path.key("rsa_bits"), "write 2048, 3072 or 4096"),
            None if rsa => key.rsa_bits = Some(2048),
            None => {}
        }
        let mut certificates = Vec::new();
        for (index, written) in key.certificates.iter_mut().enumerate() {
            certificates.extend(self.certificates(&path.key("certificates").index(index), written));
        }
        keyring::Settings {
            backends,
            certificates,
            algorithm: key.algorithm,
            rsa_bits: key.rsa_bits.unwrap_or(2048),
            rotation: self.rotation(&path.key("rotation"), &key.rotation, cache),
            // Known when the profiles and the backends are.
            longest: Duration::ZERO,
            may_generate: false,
            published: true,
        }
    }

    fn certificates(&mut self, path: &Path, written: &mut String) -> Option<PathBuf> {
        let file = self.beside(path, written, "PEM file with certificates")?;
        if let Err(error) = CertificateChain::read(&file) {
            self.fault(path, Chain(&error).to_string());
        }
        Some(file)
    }

    fn rotation(&mut self, path: &Path, written: &file::Rotation, cache: Duration) -> Rotation {
        let mut time = |name: &str, text: &DurationText, least| {
            let path = path.key(name);
            let duration = self.quantity(&path, text, least..=YEARS);
            self.whole_seconds(&path, duration);
            duration
        };
        let every = written.every.as_ref().map(|text| time("every", text, SECOND));
        let publish_ahead = time("publish_ahead", &written.publish_ahead, SECOND);
        let stop = written.stop.as_ref().map(|text| time("stop", text, SECOND));
        let notice = time("notice", &written.notice, Duration::ZERO);
        let keep = time("keep", &written.keep, Duration::ZERO);
        if publish_ahead < cache {
            let message = format!(
                "verifiers keep the key set for {} (limits.jwks_max_age) and would not know the new version: \
                 write at least that",
                cache.readable()
            );
            self.fault(&path.key("publish_ahead"), message);
        }
        if every.is_some_and(|every| every < publish_ahead) {
            let message = "a version would not be published for `publish_ahead` before it signs: write more";
            self.fault(&path.key("every"), message);
        }
        if stop.zip(every).is_some_and(|(stop, every)| stop < every) {
            self.fault(&path.key("stop"), "a version would stop before the next one follows: write more");
        }
        if written.after.is_some_and(|after| after == 0 || i64::try_from(after).is_err()) {
            self.fault(&path.key("after"), "write a number of signatures, at least 1");
        }
        Rotation { every, after: written.after, publish_ahead, stop, notice, keep, cache }
    }
}

/// The longest time that has to do with keys: ten years.
const YEARS: Duration = Duration::from_secs(3650 * 86_400);

/// Whether one token can fit both: nothing that both say is different. One without a name is a fault of its own.
fn may_be_one(one: &TokenSelector, other: &TokenSelector) -> bool {
    let named = |token: &TokenSelector| token.label.is_some() || token.serial.is_some();
    let fields: [fn(&TokenSelector) -> Option<&str>; 4] = [
        |token| token.label.as_deref(),
        |token| token.serial.as_deref(),
        |token| token.manufacturer.as_deref(),
        |token| token.model.as_deref(),
    ];
    let differ = |of: fn(&TokenSelector) -> Option<&str>| {
        of(one).is_some_and(|one| of(other).is_some_and(|other| one != other))
    };
    named(one) && named(other) && !fields.into_iter().any(differ)
}

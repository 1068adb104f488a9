//! `[backend.NAME]` and `[key.NAME]`.

use super::{HOUR, Path, Resolver, SECOND};
use crate::backend::Settings;
use crate::backend::pkcs11::{self, PinSource, TokenSelector};
use crate::config::file::{Backend, File, Key, Named, Pin, Pkcs11, Token};
use crate::jose::KeyType;
use crate::keyring;
use std::collections::BTreeMap;
use std::path::PathBuf;

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
            let Backend::Pkcs11(written) = backend;
            let settings = self.pkcs11(&path, name, written, state);
            // Two workers on one device would each try a wrong PIN once.
            let same = |other: &&pkcs11::Settings| {
                (&other.module, &other.token, &other.env)
                    == (&settings.module, &settings.token, &settings.env)
            };
            let mut others = resolved.values().filter_map(|other| match other {
                Settings::Pkcs11(other) => Some(other),
                Settings::AwsKms(_) => None,
            });
            if let Some(other) = others.find(same) {
                let message = format!("this is the token of backend {:?}: use that one", other.name);
                self.fault(&path.key("token"), message);
            }
            resolved.insert(name.clone(), Settings::Pkcs11(settings));
        }
        resolved
    }

    fn pkcs11(
        &mut self,
        path: &Path,
        name: &str,
        written: &mut Pkcs11,
        state: &std::path::Path,
    ) -> pkcs11::Settings {
        for (variable, value) in &written.env {
            self.variable(&path.key("env").key(variable), variable, value);
        }
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get().min(256));
        let sessions = *written.sessions.get_or_insert_with(|| u16::try_from(cores()).unwrap_or(1));
        let sessions = self.in_range(&path.key("sessions"), u32::from(sessions), 1..=256);
        pkcs11::Settings {
            name: name.to_owned(),
            // This very program, even after the file on disk was replaced by an upgrade.
            program: "/proc/self/exe".into(),
            module: self.absolute(&path.key("module"), &written.module),
            token: self.token(&path.key("token"), &written.token),
            pin: self.pin(&path.key("pin"), &written.pin),
            sessions: u16::try_from(sessions).unwrap_or(1),
            env: written.env.clone(),
            start_timeout: {
                let key = path.key("start_timeout");
                self.quantity(&key, &written.start_timeout, SECOND..=HOUR / 12)
            },
            marker_dir: state.join("pin"),
        }
    }
    fn token(&mut self, path: &Path, written: &Token) -> TokenSelector {
        if written.label.is_none() && written.serial.is_none() {
            self.fault(path, "say which token: write `label`, `serial` or both");
        }
        // The fixed fields of CK_TOKEN_INFO.
        for (key, text, most) in [("label", &written.label, 32), ("serial", &written.serial, 16)] {
            let length = text.as_ref().map_or(1, String::len);
            if length == 0 || length > most {
                self.fault(&path.key(key), format!("write 1 to {most} bytes"));
            }
        }
        TokenSelector { label: written.label.clone(), serial: written.serial.clone() }
    }
    fn pin(&mut self, path: &Path, written: &Pin) -> PinSource {
        match (&written.credential, &written.file) {
            (Some(credential), None) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                if credential.is_empty() || credential.starts_with('.') || !credential.bytes().all(fits) {
                    let message = "write the name of a systemd credential: letters, digits, '.', '_', '-'";
                    self.fault(&path.key("credential"), message);
                }
                PinSource::Credential(credential.clone())
            }
            (None, Some(file)) => PinSource::File(self.absolute(&path.key("file"), file)),
            _ => {
                self.fault(path, "write either `credential` or `file`");
                PinSource::File(PathBuf::new())
            }
        }
    }
    /// The worker loads code of a vendor: its environment must neither choose other code nor carry a secret (K5).
    fn variable(&mut self, path: &Path, name: &str, value: &str) {
        let loader = ["LD_", "DYLD_", "GLIBC_", "GCONV_", "MALLOC_"];
        let secret = ["PIN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET"];
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty()
            || !name.bytes().all(allowed)
            || name.as_bytes().first().is_some_and(u8::is_ascii_digit)
        {
            self.fault(path, "write a variable name of A-Z, 0-9 and '_'");
        } else if loader.iter().any(|prefix| name.starts_with(prefix)) {
            self.fault(path, "this variable makes the worker load other code: remove it");
        } else if name.split('_').any(|word| secret.contains(&word)) {
            self.fault(path, "the environment is no place for secrets: use `pin`");
        }
        if value.contains('\0') {
            self.fault(path, "a variable cannot hold U+0000: remove it");
        }
    }

    pub(super) fn keys(&mut self, path: &Path, file: &mut File) -> BTreeMap<String, keyring::Settings> {
        let mut keys = BTreeMap::new();
        for (name, key) in &mut file.key {
            let path = path.key(name);
            self.name(&path, name);
            self.reference(&path.key("backend"), "backend", &key.backend, &file.backend);
            keys.insert(name.clone(), self.key(&path, key));
        }
        keys
    }
    fn key(&mut self, path: &Path, key: &mut Key) -> keyring::Settings {
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
        keyring::Settings {
            backends: vec![key.backend.clone()],
            algorithm: key.algorithm,
            rsa_bits: key.rsa_bits.unwrap_or(2048),
        }
    }
}

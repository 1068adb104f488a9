//! `[backend.NAME]` with `kind = "pkcs11"`: module, token and PIN, each from its own key or from the PKCS#11 URI.

use super::{HOUR, Path, Resolver, SECOND};
use crate::backend::pkcs11::uri::{Attribute, Uri};
use crate::backend::pkcs11::{self, PinSource, TokenSelector};
use crate::config::file::{Pin, Pkcs11, Token};
use std::path::PathBuf;

impl Resolver<'_> {
    pub(super) fn pkcs11(
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
        // `None` after a fault in it, when nothing more can be said of what it lacks.
        let uri = written.uri.as_ref().map_or(Some(Uri::default()), |uri| self.uri(&path.key("uri"), uri));
        pkcs11::Settings {
            name: name.to_owned(),
            // This very program, even after the file on disk was replaced by an upgrade.
            program: "/proc/self/exe".into(),
            module: self.module(path, written.module.as_deref(), uri.as_ref()),
            token: self.token(path, written.token.as_ref(), uri.as_ref()),
            pin: self.pin(path, written.pin.as_ref(), uri.as_ref()),
            sessions: u16::try_from(sessions).unwrap_or(1),
            env: written.env.clone(),
            start_timeout: {
                let key = path.key("start_timeout");
                self.quantity(&key, &written.start_timeout, SECOND..=HOUR / 12)
            },
            marker_dir: state.join("pin"),
            generate: written.generate,
        }
    }

    fn uri(&mut self, path: &Path, text: &str) -> Option<Uri> {
        let accepted = ["token", "manufacturer", "serial", "model", "module-path", "pin-source"];
        let problem = match text.parse::<Uri>() {
            Ok(uri) => match uri.beyond(&accepted) {
                None => return Some(uri),
                Some("module-name") => {
                    "write module-path in place of module-name: which file a name stands for is not looked up"
                        .to_owned()
                }
                Some(name @ ("object" | "type" | "id")) => {
                    format!("remove {name}: it is about a key, and this is a token")
                }
                Some(name) => {
                    format!("remove {name}: a token is known by token, serial, manufacturer and model")
                }
            },
            Err(error) => error.to_string(),
        };
        self.fault(path, problem);
        None
    }
    /// Which of the two places says it; neither and both are faults.
    fn once<T>(
        &mut self,
        path: &Path,
        key: &str,
        attribute: &str,
        own: Option<T>,
        of_uri: Option<Option<T>>,
    ) -> Option<(Path, T)> {
        match (own, of_uri) {
            (Some(own), Some(None) | None) => Some((path.key(key), own)),
            (None, Some(Some(value))) => Some((path.key("uri"), value)),
            (Some(_), Some(Some(_))) => {
                self.fault(&path.key(key), format!("`uri` says it too ({attribute}): write it once"));
                None
            }
            (None, Some(None)) => {
                self.fault(&path.key(key), format!("missing: write it, or {attribute} in `uri`"));
                None
            }
            (None, None) => None,
        }
    }
    fn module(&mut self, path: &Path, own: Option<&str>, uri: Option<&Uri>) -> PathBuf {
        let of_uri = uri.map(|uri| uri.get(Attribute::ModulePath));
        let module = self.once(path, "module", "module-path", own, of_uri);
        module.map(|(path, file)| self.absolute(&path, file)).unwrap_or_default()
    }
    fn token(&mut self, path: &Path, own: Option<&Token>, uri: Option<&Uri>) -> TokenSelector {
        let own = own.map(|token| TokenSelector {
            label: token.label.clone(),
            serial: token.serial.clone(),
            ..TokenSelector::default()
        });
        let of_uri = uri.map(|uri| {
            let text = |attribute| uri.get(attribute).map(str::to_owned);
            let selector = TokenSelector {
                label: text(Attribute::Token),
                serial: text(Attribute::Serial),
                manufacturer: text(Attribute::Manufacturer),
                model: text(Attribute::Model),
            };
            Some(selector).filter(|selector| *selector != TokenSelector::default())
        });
        let Some((at, selector)) = self.once(path, "token", "token or serial", own, of_uri) else {
            return TokenSelector::default();
        };
        let in_uri = at == path.key("uri");
        if selector.label.is_none() && selector.serial.is_none() {
            let names = if in_uri { "token, serial" } else { "`label`, `serial`" };
            self.fault(&at, format!("say which token: write {names} or both"));
        }
        // The fixed fields of CK_TOKEN_INFO.
        let fields = [
            ("label", "token", &selector.label, 32),
            ("serial", "serial", &selector.serial, 16),
            ("manufacturer", "manufacturer", &selector.manufacturer, 32),
            ("model", "model", &selector.model, 16),
        ];
        for (key, attribute, text, most) in fields {
            let length = text.as_ref().map_or(1, String::len);
            if length == 0 || length > most {
                match in_uri {
                    true => self.fault(&at, format!("write 1 to {most} bytes for {attribute}")),
                    false => self.fault(&at.key(key), format!("write 1 to {most} bytes")),
                }
            }
        }
        selector
    }
    fn pin(&mut self, path: &Path, own: Option<&Pin>, uri: Option<&Uri>) -> PinSource {
        let of_uri = uri.map(|uri| {
            uri.get(Attribute::PinSource)
                .map(|source| Pin { credential: None, file: Some(pin_file(source).to_owned()) })
        });
        let pin = self.once(path, "pin", "pin-source", own.cloned(), of_uri);
        match pin {
            Some((path, Pin { credential: Some(credential), file: None })) => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                if credential.is_empty() || credential.starts_with('.') || !credential.bytes().all(fits) {
                    let message = "write the name of a systemd credential: letters, digits, '.', '_', '-'";
                    self.fault(&path.key("credential"), message);
                }
                PinSource::Credential(credential)
            }
            Some((at, Pin { credential: None, file: Some(file) })) if at == path.key("uri") => {
                if !file.starts_with('/') {
                    let message =
                        "write pin-source=file:/PATH: a PIN is read from a file, and nothing is run for it";
                    self.fault(&at, message);
                    return PinSource::File(PathBuf::new());
                }
                PinSource::File(self.absolute(&at, &file))
            }
            Some((at, Pin { credential: None, file: Some(file) })) => {
                PinSource::File(self.absolute(&at.key("file"), &file))
            }
            Some((at, _)) => {
                self.fault(&at, "write either `credential` or `file`");
                PinSource::File(PathBuf::new())
            }
            None => PinSource::File(PathBuf::new()),
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
}

/// The path in `file:/path` and `file:///path` (RFC 8089); anything else as it is.
fn pin_file(source: &str) -> &str {
    let path = source.strip_prefix("file:").unwrap_or(source);
    path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path)
}

//! Configuration: the TOML file as written, and as each module's settings. All faults at once, with line and path.
//!
//! `text -> document (TOML) -> structure (shape, by JSON Schema) -> file (as written) -> resolve (settings)`.
//! Never holds a secret, only where one is read from; never yields settings from a file that has a fault.

mod cases;
mod document;
mod fault;
mod file;
mod resolve;
mod schema;
mod structure;
#[cfg(test)]
mod tests;
mod units;
mod written;

use crate::sys::{secure_file, users};
use crate::telemetry::Chain;
use crate::{admin, api, audit, backend, caller, clock, keyring, misuse, policy, state, subject, transport};
pub use cases::{Bounds, Case, Expect, UNKNOWN_CALLER};
pub use fault::{Fault, FaultKind, Faults};
pub use resolve::read_recipient;
use std::collections::BTreeMap;
use std::path::Path;
pub use written::Written;

/// Largest configuration file, bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// The configuration in force: every module's settings, complete and consistent.
#[derive(Debug)]
pub struct Config {
    /// Name of the environment; state of another one is refused.
    pub environment: String,
    /// Whether the daemon may run as root.
    pub allow_root: bool,
    /// The socket for callers.
    pub signing: transport::SocketSettings,
    /// The socket for operators.
    pub admin: transport::SocketSettings,
    /// The socket for everyone.
    pub public: transport::SocketSettings,
    /// What two operators must ask for.
    pub two_person: admin::TwoPerson,
    /// Limits on connections.
    pub transport: transport::Limits,
    /// Limits on requests.
    pub limits: api::Limits,
    /// The audit log.
    pub audit: audit::Settings,
    /// Where records go besides.
    pub sinks: Vec<audit::sink::Settings>,
    /// The state store.
    pub state: state::Settings,
    /// What keeps the keys of people.
    pub subjects: subject::Settings,
    /// What follows from a clock that cannot be trusted.
    pub clock: clock::Mode,
    /// What is unusual whatever the profile.
    pub misuse: misuse::Settings,
    /// The operators' log.
    pub log: LogSettings,
    /// Backends by name.
    pub backends: BTreeMap<String, backend::Settings>,
    /// Keys by name; each one's backends are in `backends`.
    pub keys: BTreeMap<String, keyring::Settings>,
    /// What verifiers are given.
    pub publication: keyring::Publication,
    /// The profiles; each one's key is in `keys`.
    pub policy: policy::Policy,
    /// Who may ask; each one's profiles are in `policy`.
    pub callers: caller::Callers,
    /// What all this was made from.
    pub written: Written,
}
/// What `[log]` says.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Lines of JSON in place of text.
    pub json: bool,
}
/// What reading a configuration depends on besides its text.
pub struct Loader<'a> {
    /// Where names of users and groups are looked up.
    pub users: &'a dyn users::Users,
    /// Absolute directory that relative paths of JSON Schemas start from; without it they are faults.
    pub directory: Option<&'a Path>,
    /// What the running daemon has: it is a fault to change what only a restart changes.
    pub running: Option<&'a Written>,
}
impl Loader<'_> {
    /// Parses and resolves text; `name` is shown in faults.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse(&self, text: &str, name: &str) -> Result<Config, Faults> {
        Ok(self.resolve(text, name)?.0)
    }
    /// The resolved form, with every default, as TOML that reads back to the same configuration.
    ///
    /// # Errors
    /// All faults at once.
    pub fn describe(&self, text: &str, name: &str) -> Result<String, Faults> {
        let (_, file) = self.resolve(text, name)?;
        toml::to_string(&file).map_err(|error| {
            let message = format!("cannot be written as TOML: {error}");
            Faults::of_file(FaultKind::Configuration, message, name)
        })
    }
    /// Test cases for the policy of `config`; `name` is shown in faults.
    ///
    /// # Errors
    /// All faults at once.
    pub fn cases(&self, text: &str, name: &str, config: &Config) -> Result<Vec<Case>, Faults> {
        resolve::cases(text, config, self).map_err(|faults| Faults::of_text(faults, name, text))
    }
    fn resolve(&self, text: &str, name: &str) -> Result<(Config, file::File), Faults> {
        resolve::resolve(text, self).map_err(|faults| Faults::of_text(faults, name, text))
    }
}
const SYSTEM: Loader<'static> = Loader { users: &users::System, directory: None, running: None };

/// Reads, parses and resolves a file. Every fault is reported at once.
///
/// # Errors
/// The file cannot be read or others could have changed it ([`FaultKind::Permission`]), or its content has faults.
pub fn load(path: &Path) -> Result<Config, Faults> {
    load_for(path, &users::System)
}
/// As [`load`], for a machine with these users and groups.
///
/// # Errors
/// As for [`load`].
pub fn load_for(path: &Path, users: &dyn users::Users) -> Result<Config, Faults> {
    with_file(path, users, |loader, text, name| loader.parse(text, name))
}
/// Test cases for the policy of `config`, which was loaded for the same users and groups.
///
/// # Errors
/// As for [`load`].
pub fn load_cases(path: &Path, users: &dyn users::Users, config: &Config) -> Result<Vec<Case>, Faults> {
    with_file(path, users, |loader, text, name| loader.cases(text, name, config))
}
/// Reads the file again that a running daemon has read; it is a fault to change what only a restart changes.
///
/// # Errors
/// As for [`load`].
pub fn reload(path: &Path, running: &Written) -> Result<Config, Faults> {
    with_file(path, &users::System, |loader, text, name| {
        Loader { running: Some(running), ..*loader }.parse(text, name)
    })
}
/// The resolved form of a file, as [`describe`] gives it.
///
/// # Errors
/// As for [`load`].
pub fn describe_file(path: &Path) -> Result<String, Faults> {
    with_file(path, &users::System, |loader, text, name| loader.describe(text, name))
}
fn with_file<T>(
    path: &Path,
    users: &dyn users::Users,
    read: impl FnOnce(&Loader<'_>, &str, &str) -> Result<T, Faults>,
) -> Result<T, Faults> {
    let name = path.display().to_string();
    let text = secure_file::read_config(path, FILE_LIMIT).map_err(|error| {
        let kind = match error.is_permission() {
            true => FaultKind::Permission,
            false => FaultKind::Configuration,
        };
        Faults::of_file(kind, Chain(&error).to_string(), &name)
    })?;
    let absolute = std::path::absolute(path).ok();
    let directory = absolute.as_deref().and_then(Path::parent);
    let loader = Loader { users, directory, ..SYSTEM };
    read(&loader, &text, &name)
}
/// Parses and resolves text; `name` is shown in faults. JSON Schemas need absolute paths here.
///
/// # Errors
/// All faults at once.
pub fn parse(text: &str, name: &str) -> Result<Config, Faults> {
    SYSTEM.parse(text, name)
}
/// The JSON Schema of the file.
pub fn json_schema() -> serde_json::Value {
    schema::SCHEMA.text.clone()
}
/// The JSON Schema of a file of test cases.
pub fn cases_schema() -> serde_json::Value {
    cases::SCHEMA.text.clone()
}
/// The resolved form, with every default, as TOML. `jwsd check` prints it.
///
/// # Errors
/// All faults at once.
pub fn describe(text: &str, name: &str) -> Result<String, Faults> {
    SYSTEM.describe(text, name)
}

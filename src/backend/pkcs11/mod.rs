//! PKCS#11 through a worker process. This process never loads a vendor module.
//!
//! [`Backend`] is the parent's side: it spawns `jwsd pkcs11-worker`, hands it requests over one socket per session,
//! kills and replaces it when it hangs or dies, and never lets a wrong PIN be tried twice ([`pin`]). [`worker`] is
//! the child's side, the only place where the vendor's code runs.

mod client;
mod control;
mod history;
mod init_token;
mod key;
mod lane;
mod launch;
pub mod pin;
mod pipe;
mod protocol;
mod recovery;
mod shared;
mod store;
mod supervisor;
pub mod uri;
pub mod worker;

pub use init_token::{InitTokenError, init_token};
pub use store::Backend;

use super::{Advice, Class, Error, Scope};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Reads the PIN; called each time a worker starts, only when the marker allows a login. The text says why the PIN
/// cannot be had, or why the module must not get it.
pub type ReadPin = Box<dyn Fn() -> Result<secrecy::SecretString, String> + Send + Sync>;

/// What `[backend.NAME]` with `kind = "pkcs11"` says, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The backend's name; also the name of its PIN marker.
    pub name: String,
    /// The program that is started with the one argument `pkcs11-worker`. Default: `/proc/self/exe`, which is
    /// the running program even after an upgrade replaced the file, so parent and worker always match.
    pub program: PathBuf,
    /// Absolute path of the module.
    pub module: PathBuf,
    /// Which token.
    pub token: TokenSelector,
    /// Where the caller of [`Backend::start`] reads the PIN from.
    pub pin: PinSource,
    /// Sessions = signing threads of the worker; default: number of cores.
    pub sessions: u16,
    /// Environment of the worker; nothing else is inherited.
    pub env: BTreeMap<String, String>,
    /// Load, login and key look-up must end within this.
    pub start_timeout: Duration,
    /// Directory (under the state directory) for the PIN marker.
    pub marker_dir: PathBuf,
    /// Whether keys may be made there.
    pub generate: bool,
}

/// Which token: all that is given must match. Never by slot number, which modules renumber.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TokenSelector {
    /// `CK_TOKEN_INFO.label` without its padding.
    pub label: Option<String>,
    /// `CK_TOKEN_INFO.serialNumber` without its padding.
    pub serial: Option<String>,
    /// `CK_TOKEN_INFO.manufacturerID` without its padding.
    pub manufacturer: Option<String>,
    /// `CK_TOKEN_INFO.model` without its padding.
    pub model: Option<String>,
}

/// Where the PIN is read from, each time a worker starts. Never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// `$CREDENTIALS_DIRECTORY/NAME` (systemd).
    Credential(String),
    /// A file of ours, mode 0600 or 0400.
    File(PathBuf),
}

/// A fault on its way through this backend; becomes a [`super::Error`] with the backend's name at the edge.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Fault {
    class: Class,
    message: String,
    code: String,
    advice: Advice,
    retry_after: Option<Duration>,
}
impl Fault {
    /// A fault that is not in the recovery table; what may follow depends on its class alone.
    fn new(class: Class, message: impl Into<String>) -> Self {
        let elsewhere = |scope| Advice { retries: 1, scope, ..Advice::NEVER };
        let advice = match class {
            Class::Down => Advice { here: true, ..elsewhere(Scope::Backend) },
            Class::Busy | Class::Deadline => elsewhere(Scope::Request),
            Class::Misconfigured => elsewhere(Scope::Key),
            Class::Untrusted => Advice { quarantine: true, ..elsewhere(Scope::Key) },
            Class::Bug => Advice::NEVER,
        };
        let code = class.code().to_owned();
        Self { class, message: message.into(), code, advice, retry_after: None }
    }
    fn down(message: impl Into<String>) -> Self {
        Self::new(Class::Down, message)
    }
    fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Class::Misconfigured, message)
    }
    fn bug(message: impl Into<String>) -> Self {
        Self::new(Class::Bug, message)
    }
    /// Its row in the recovery table, if the module is to blame.
    fn row(&self) -> Option<&'static recovery::Row> {
        recovery::by_name(&self.code)
    }
    /// The fault as a backend's error.
    fn of(self, backend: &str) -> Error {
        let Self { class, message, code, advice, retry_after } = self;
        Error { backend: backend.to_owned(), class, message, code, advice, retry_after }
    }
}

/// Why no login is tried with a marker in this state.
fn pin_refused(name: &str, state: pin::State) -> Fault {
    let why = match state {
        pin::State::Trying => "nobody knows how the first login with this PIN ended, so it may be wrong",
        pin::State::Again(_) => "nobody knows how the last logins ended, so the PIN may be wrong by now",
        pin::State::Absent | pin::State::Good | pin::State::Refused => {
            "the token refused the PIN, or counted a wrong one"
        }
    };
    Fault::misconfigured(format!(
        "{why}; it is not tried again: put the PIN right, then run `jwsd keys clear-pin --config FILE {name}`"
    ))
}

//! Backends: where private keys live. A narrow trait per right: who may sign cannot create or look for keys.
//!
//! Never holds a private key. Vendor codes stay inside each backend; the rest of the program sees [`Error`] and its class.

pub mod pkcs11;

use crate::jose::{Algorithm, PublicKey, Signature};
use std::future::Future;
use std::pin::Pin;
use tokio::time::Instant;

/// A boxed future, so that the traits here are usable behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One private key that can sign, and nothing else.
pub trait SigningKey: Send + Sync {
    /// Signs `input` (not hashed; the backend hashes) before `deadline`. The signature has the right length; the
    /// caller must still verify it with the pinned public key.
    fn sign<'a>(&'a self, input: &'a [u8], deadline: Instant) -> BoxFuture<'a, Result<Signature, Error>>;
}

/// Where keys are found and made.
pub trait KeyStore: Send + Sync {
    /// Looks the key up and checks exactly one match, its attributes and type, and equality with `pinned` if given.
    fn open<'a>(
        &'a self,
        id: &'a [u8],
        algorithm: Algorithm,
        pinned: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>>;
    /// Makes a key pair that never leaves the backend, with `id` and `label`.
    fn generate<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
        spec: KeySpec,
    ) -> BoxFuture<'a, Result<PublicKey, Error>>;
    /// All private signing keys that the backend shows, for people.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>>;
    /// Health and counters.
    fn status(&self) -> BoxFuture<'_, Status>;
    /// Ends the backend's processes.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// A key that passed every check.
pub struct Opened {
    /// Its public half, as read from the backend.
    pub public: PublicKey,
    /// The right to sign with it.
    pub signer: std::sync::Arc<dyn SigningKey>,
}

/// What to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// The algorithm that the key is for; decides its type and curve.
    pub algorithm: Algorithm,
    /// RSA only: 2048, 3072 or 4096.
    pub rsa_bits: u32,
}

/// One key as a backend shows it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Listed {
    /// Hex.
    pub id: String,
    /// As the backend stores it; not unique.
    pub label: String,
    /// `RSA-2048`, `P-256`, `Ed25519`, ...
    pub kind: String,
    /// What makes it unusable here, one sentence each; empty is good.
    pub problems: Vec<String>,
}

/// Health of one backend, for `/v1/status`.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Status {
    /// `pkcs11` or `aws-kms`.
    pub kind: &'static str,
    /// A signature asked for now would be tried at once.
    pub ready: bool,
    /// Why not ready, for people.
    pub reason: Option<String>,
    /// The process that holds the sessions, for PKCS#11.
    pub worker_pid: Option<u32>,
    /// Workers started since the daemon started.
    pub generation: u64,
    /// `C_Sign` calls that the present worker's module has been asked for, plus those of its predecessors as last reported.
    pub signs: u64,
    /// Label and serial of the PKCS#11 token.
    pub token: Option<String>,
}

/// What the rest of the program needs to know of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The queue is full or the token is out of sessions: try again soon.
    Busy,
    /// The backend is not reachable now; it recovers by itself or is being replaced.
    Down,
    /// The deadline passed.
    Deadline,
    /// An operator must act: PIN, missing key, wrong attributes.
    Misconfigured,
    /// The backend returned something that must never be used.
    Untrusted,
    /// A defect of ours.
    Bug,
}

impl Class {
    /// The stable code, for problem details and records.
    pub fn code(self) -> &'static str {
        match self {
            Self::Busy => "backend.busy",
            Self::Down => "backend.down",
            Self::Deadline => "backend.deadline",
            Self::Misconfigured => "backend.misconfigured",
            Self::Untrusted => "backend.untrusted",
            Self::Bug => "backend.bug",
        }
    }
}

/// A backend's fault. `Display` is for operators; callers see only what `class` becomes in `api::problem`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("backend {backend}: {message}")]
pub struct Error {
    /// The backend's name in the configuration.
    pub backend: String,
    /// What kind of fault it is.
    pub class: Class,
    /// What happened and what to do about it.
    pub message: String,
}

/// What happened to a backend that deserves evidence. The daemon turns these into audit records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendEvent {
    /// A worker logged in, found every key again and signs.
    WorkerUp {
        /// The backend's name.
        backend: String,
        /// Number of the worker since the daemon started.
        generation: u64,
        /// Its process id.
        pid: u32,
    },
    /// A worker ended or was ended.
    WorkerDown {
        /// The backend's name.
        backend: String,
        /// Number of the worker since the daemon started.
        generation: u64,
        /// Why, for people.
        reason: String,
    },
    /// The token refused the PIN; it is not tried again before an operator clears the marker.
    PinRefused {
        /// The backend's name.
        backend: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// An operator cleared the marker while the backend waited for it: a login is tried again.
    PinCleared {
        /// The backend's name.
        backend: String,
    },
    /// The public key of `id` (hex) is not the pinned one: nothing is signed with it.
    KeyQuarantined {
        /// The backend's name.
        backend: String,
        /// The key's id in the backend, hex.
        id: String,
        /// What differs.
        reason: String,
    },
}

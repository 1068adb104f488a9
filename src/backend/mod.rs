//! Backends: where private keys live. A narrow trait per right: who may sign cannot create or look for keys.
//!
//! Never holds a private key. Vendor codes stay inside each backend; the rest of the program sees [`Error`], its
//! class, and its advice on what may be tried next.

pub mod aws_kms;
pub mod breaker;
mod event;
pub mod fair;
mod health;
mod label;
mod pace;
pub mod pkcs11;
mod replicas;

pub use event::BackendEvent;
pub use health::{Health, Refused};
pub use label::{PREFIX, environment_of, label, label_prefix};
pub use replicas::{Attempt, Member, Replicas, Signing};

use crate::jose::{Algorithm, PublicKey, Signature, hex};
use jiff::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A boxed future, so that the traits here are usable behind `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What `[backend.NAME]` says, resolved.
#[derive(Debug, Clone)]
pub enum Settings {
    /// `kind = "pkcs11"`.
    Pkcs11(pkcs11::Settings),
    /// `kind = "aws-kms"`.
    AwsKms(aws_kms::Settings),
}

impl Settings {
    /// Whether keys may be made there; where not, an operator makes them and jwsd adopts them.
    pub fn may_generate(&self) -> bool {
        match self {
            Self::Pkcs11(settings) => settings.generate,
            Self::AwsKms(settings) => settings.generate,
        }
    }
}

/// For whom and until when a signature is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// When the answer is worth nothing any more; waiting for a free session counts.
    pub deadline: Instant,
    /// Requests of one flow share what one flow gets when the backend has more work than it can do. The user id of
    /// the caller; [`Ask::OWN`] for our own self-tests.
    pub flow: u32,
    /// Requests that were made before for the same signature, to whichever backend; hedges count.
    pub attempt: usize,
}

impl Ask {
    /// The flow of self-tests: no real user has this id (it is `-1`, which `chown` takes for "unchanged").
    pub const OWN: u32 = u32::MAX;

    /// A self-test.
    pub fn own(deadline: Instant) -> Self {
        Self { deadline, flow: Self::OWN, attempt: 0 }
    }
}

/// What came of asking for a signature, and what else was asked for meanwhile.
pub struct Signed {
    /// In JOSE form, of the right length; whether it verifies is the caller's to find out.
    pub result: Result<Signature, Error>,
    /// Requests besides the one that gave this result: hedges.
    pub others: Vec<Attempt>,
}

impl From<Result<Signature, Error>> for Signed {
    fn from(result: Result<Signature, Error>) -> Self {
        Self { result, others: Vec::new() }
    }
}

/// One private key in one backend: it can sign, and nothing else.
pub trait SigningKey: Send + Sync {
    /// Signs `input` (not hashed; the backend hashes) once, without repeating it on a fault: what may be tried next
    /// is the error's [`Advice`].
    fn sign<'a>(&'a self, input: &'a [u8], ask: Ask) -> BoxFuture<'a, Signed>;

    /// Whether the request that ended with `fault` may be made here again now, as its advice allows. Asked once for
    /// each repeat, so that a backend can keep a budget of them.
    fn may_repeat(&self, _fault: &Error) -> bool {
        true
    }

    /// Bytes of the longest input that it signs.
    fn max_input(&self) -> usize;

    /// It did what must not happen: whatever made it is started anew before it is used again.
    fn distrust(&self) {}
}

/// Which key is meant.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The one with this id of the backend: `CKA_ID`, or the ARN of a KMS key.
    Id(&'a [u8]),
    /// The one that an operator names: a PKCS#11 URI (RFC 7512), a `CKA_ID` in hex, or a KMS key id, ARN or alias.
    Name(&'a str),
    /// Another backend's copy of a key: whichever has this public half. `id` is the key's id over there, a hint.
    Copy {
        /// The public half.
        of: &'a PublicKey,
        /// The id that the original has.
        id: &'a [u8],
    },
}

/// Why no key is made in a backend that says so.
const NOT_ALLOWED: &str =
    "making keys is not allowed here (`generate = false`): make it with the vendor's tools, then adopt it";

/// Where keys are found, made and destroyed.
pub trait KeyStore: Send + Sync {
    /// Looks the key up and checks exactly one match, its attributes and type, and equality with `pinned` if given.
    fn open<'a>(
        &'a self,
        wanted: Wanted<'a>,
        algorithm: Algorithm,
        pinned: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>>;
    /// Makes a key pair that never leaves the backend, with `label`, and `id` where ids can be chosen. Refused where
    /// [`Settings::may_generate`] says no. An error does not mean that nothing was made: [`KeyStore::find_made`]
    /// tells.
    fn generate<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
        spec: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Error>>;
    /// The backend's id of the key that an earlier `generate(id, label, ..)` made, whose answer was perhaps never
    /// seen. `None` means none, once that call is [`KeyStore::settling`] ago. Whoever makes another key then gives it
    /// another id, so that one which shows up all the same is an orphan in [`KeyStore::list`] and nothing worse.
    ///
    /// Looks at more than a name that anybody can write, but proves nothing: open the key, and have it sign.
    ///
    /// # Errors
    /// When it cannot be asked, and when what it shows is half a pair, or more than one: an operator has to look.
    fn find_made<'a>(&'a self, id: &'a [u8], label: &'a str)
    -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>>;
    /// For how long a key that was just made may stay hidden from [`KeyStore::find_made`] and [`KeyStore::list`].
    fn settling(&self) -> Duration {
        Duration::ZERO
    }
    /// Destroys both halves of the key `id`, for good. It is done as well when it is not there any more.
    ///
    /// # Errors
    /// When its public half is not `public`, or cannot be read, nothing is destroyed. After any other fault it may be
    /// gone or not: ask again.
    fn destroy<'a>(&'a self, id: &'a [u8], public: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Error>>;
    /// All private signing keys that the backend shows, for people.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>>;
    /// Its breaker and quarantine, shared by all its keys.
    fn health(&self) -> &Arc<Health>;
    /// Health and counters, for people.
    fn status(&self) -> BoxFuture<'_, Status>;
    /// Ends the backend's processes.
    fn shutdown(&self) -> BoxFuture<'_, ()>;
}

/// A key that passed every check.
pub struct Opened {
    /// Its id in the backend, to be opened by [`Wanted::Id`] ever after.
    pub id: Vec<u8>,
    /// What it is called there; see [`label()`].
    pub label: String,
    /// Its public half, as read from the backend.
    pub public: PublicKey,
    /// The right to sign with it.
    pub signer: Arc<dyn SigningKey>,
}

/// A key that was made.
pub struct Generated {
    /// Its id in the backend.
    pub id: Vec<u8>,
    /// Its public half.
    pub public: PublicKey,
}

/// A key that was destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destroyed {
    /// Until when an operator can still have it back, with the backend's own tools; `None` when it is gone.
    pub pending_until: Option<Timestamp>,
}

/// A backend's id of a key for people: as it is if it is text, such as an ARN, else in hex.
pub fn show_id(id: &[u8]) -> String {
    match std::str::from_utf8(id) {
        Ok(text) if text.starts_with("arn:") => text.to_owned(),
        _ => hex(id),
    }
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
    /// Hex of `CKA_ID`, or the ARN.
    pub id: String,
    /// As the backend stores it, or the description in KMS; not unique. See [`label()`].
    pub label: String,
    /// `RSA-2048`, `P-256`, `Ed25519`, ...
    pub kind: String,
    /// Where it is and what it may do, in the backend's own words: slot, attributes, key state.
    pub attributes: Vec<String>,
    /// How the operator names it: a PKCS#11 URI (RFC 7512) or an ARN.
    pub name: String,
    /// What makes it unusable here, one sentence each; empty is good.
    pub problems: Vec<String>,
    /// It was destroyed, and the backend keeps it for some days yet.
    pub pending_deletion: bool,
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
    /// Signatures asked of the HSM or KMS since the daemon started: `C_Sign` calls that the present worker's module
    /// was asked for plus those of its predecessors as last reported, or `Sign` requests sent.
    pub signs: u64,
    /// Label and serial of the PKCS#11 token.
    pub token: Option<String>,
}

/// What the rest of the program needs to know of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// There is more work than the backend can do, or it is out of sessions: try again soon.
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

/// Who is to blame for a fault, and so what a breaker or a quarantine stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Scope {
    /// This request alone: no breaker counts it.
    Request,
    /// This key in this backend.
    Key,
    /// The backend as a whole.
    Backend,
}

/// What may follow a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Advice {
    /// How many attempts this request may have made in all for one more to follow: 0 is never, 1 is "one retry",
    /// 2 is "two".
    pub retries: u8,
    /// Whether the same backend may be asked again; otherwise only another that has the key.
    pub here: bool,
    /// Least pause before the same backend is asked again.
    pub pause: Duration,
    /// Who is to blame.
    pub scope: Scope,
    /// The one to blame is not used again before an operator releases it.
    pub quarantine: bool,
}

impl Advice {
    /// The request fails and nothing changes.
    pub const NEVER: Self =
        Self { retries: 0, here: false, pause: Duration::ZERO, scope: Scope::Request, quarantine: false };
}

/// [`Error::code`] of a key whose label names another environment.
pub const OTHER_ENVIRONMENT: &str = "other environment";

/// [`Error::code`] of [`KeyStore::open`] where no key has the public half that is wanted.
pub const NO_COPY: &str = "no copy";

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
    /// The vendor's own word for it, short, for the record: `CKR_DEVICE_ERROR`, `ThrottlingException`.
    pub code: String,
    /// What may be tried next.
    pub advice: Advice,
    /// When a request would have a chance again, if that is known.
    pub retry_after: Option<Duration>,
}

//! Subjects in records: each person has a random key of their own, and what stands for them in a record is a tag under
//! that key. Without the key nobody can tell whose record it is, nor which records are of the same person; so whoever
//! destroys the key erases the person from the log and changes no byte of it.
//!
//! The keys are in the state, in buckets, sealed by the bucket's key; bucket keys are sealed by the key of an epoch, which is in
//! a file or a backend. To erase is to delete the row, to give its bucket another key, and to seal all buckets under a
//! new epoch, whose predecessor is destroyed: then copies of the state that were made before open nothing any more. Never writes what
//! a subject is called, nor a key, anywhere in plain.

mod epoch;
mod error;
mod keeper;
mod seal;
mod table;
#[cfg(test)]
mod tests;

pub use epoch::{Epochs, label};
pub use error::Error;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use hashlink::LruCache;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::jose::Algorithm;
use crate::state::{self, Store};
use table::{Ask, Table};

/// Name of the state's secret that makes people out of names.
const INDEX: &str = "subject-index";
/// Keys that are kept in memory, 12 MiB.
const KNOWN: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// Requests that wait for the state, at most.
const WAITING: usize = 4096;
/// Bytes of a tag.
const TAG: usize = 16;
/// How exactly it is known when a subject was last seen, seconds.
const PERIOD: i64 = 30 * 86_400;

/// What `[subjects]` says, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where files of epochs are: the directory of the state.
    pub dir: PathBuf,
    /// The backend that has the epochs' keys instead.
    pub backend: Option<String>,
    /// Their algorithm there, one whose signatures are always the same.
    pub algorithm: Algorithm,
}

/// What stands for somebody in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The subject of a JWT.
    Subject,
    /// A session of theirs.
    Session,
    /// Their consent.
    Consent,
}

impl Kind {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Session => "session",
            Self::Consent => "consent",
        }
    }

    /// As it goes into tags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::Session => "session",
            Self::Consent => "consent",
        }
    }
}

/// Stands for a person at an issuer, in memory only: it is not written anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person([u8; 32]);

impl Person {
    /// For counting.
    pub fn short(&self) -> [u8; 16] {
        self.0.first_chunk().copied().unwrap_or_default()
    }
}

/// The key of one person.
pub struct SubjectKey {
    bytes: Zeroizing<[u8; 32]>,
    mac: hmac::Key,
}

impl SubjectKey {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, &*bytes);
        Self { bytes, mac }
    }

    /// As [`Self::to_text`] gives it; `None` if it is something else.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64URL.decode(text).ok()?);
        Some(Self::new(Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).ok()?)))
    }

    /// For whoever may search the log for this person: base64url. A secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64URL.encode(*self.bytes))
    }

    /// What stands for the person, or for something else of theirs that is called `text`, in a record with this
    /// `nonce`: its `jti`, or the id of its request if it has none. base64url of the first 16 bytes of
    /// HMAC-SHA-256(key, kind, NUL, text, NUL, nonce), where `text` is empty for the person.
    pub fn tag(&self, kind: Kind, text: &str, nonce: &str) -> String {
        // No text of a request has U+0000.
        let tag = hmac::sign(&self.mac, [kind.name(), "\0", text, "\0", nonce].concat().as_bytes());
        BASE64URL.encode(tag.as_ref().get(..TAG).unwrap_or_default())
    }
}

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey")
    }
}

/// What an erasure came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// Keys that were deleted.
    pub count: u64,
    /// Why the key of the epoch before is not destroyed yet, which is tried again.
    pub pending: Option<String>,
}

/// Keys in memory, and in which period each was last seen.
type Known = Arc<Mutex<LruCache<Person, (Arc<SubjectKey>, i64)>>>;

/// The subjects' keys.
#[derive(Clone)]
pub struct Subjects {
    index: hmac::Key,
    known: Known,
    asks: mpsc::Sender<Ask>,
    store: Arc<Store>,
    epochs: Arc<Epochs>,
    /// One erasure at a time, and one look at what is left of them.
    acts: Arc<tokio::sync::Mutex<()>>,
}

impl Subjects {
    /// Opens what `store` has. Work begins at once and ends when the last of these is dropped.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn open(store: Arc<Store>, epochs: Epochs) -> Result<Self, state::Error> {
        let index = hmac::Key::new(hmac::HMAC_SHA256, store.secret(INDEX)?.expose_secret());
        let known: Known = Arc::new(Mutex::new(LruCache::new(KNOWN.get())));
        let (asks, asked) = mpsc::channel(WAITING);
        let epochs = Arc::new(epochs);
        let table = Table::new(Arc::clone(&store), Arc::clone(&epochs), Arc::clone(&known));
        tokio::spawn(table.run(asked));
        Ok(Self { index, known, asks, store, epochs, acts: Arc::default() })
    }

    /// Whoever is called `text` at `issuer`. Where there is no subject, its session or consent is one.
    pub fn person(&self, issuer: &str, kind: Kind, text: &str) -> Person {
        let called = [kind.name(), "\0", issuer, "\0", text].concat();
        let mut person = [0; 32];
        person.copy_from_slice(hmac::sign(&self.index, called.as_bytes()).as_ref());
        Person(person)
    }

    /// Their keys, in this order, made for those who have none; each is on disk.
    ///
    /// # Errors
    /// None was given then.
    pub async fn keys(&self, people: &[Person], now: Timestamp) -> Result<Vec<Arc<SubjectKey>>, Arc<Error>> {
        let period = period(now);
        if let Some(keys) = self.known(people, period) {
            return Ok(keys);
        }
        self.ask(|reply| Ask::Keys { people: people.to_vec(), period, reply }).await?
    }

    /// Their keys, of those who have one. With `now`, a record is about to tell of them.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn find(
        &self,
        people: &[Person],
        now: Option<Timestamp>,
    ) -> Result<Vec<Option<Arc<SubjectKey>>>, Arc<Error>> {
        let seen = now.map(period);
        self.ask(|reply| Ask::Find { people: people.to_vec(), seen, reply }).await?
    }

    /// Drops the keys of people who have no record since `oldest`. How many there were.
    ///
    /// # Errors
    /// The state cannot be changed.
    pub async fn forget(&self, oldest: Timestamp) -> Result<usize, Arc<Error>> {
        self.ask(|reply| Ask::Forget { period: period(oldest), reply }).await?
    }

    fn known(&self, people: &[Person], period: i64) -> Option<Vec<Arc<SubjectKey>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key =
            |person| known.get(person).and_then(|(key, seen)| (*seen >= period).then(|| Arc::clone(key)));
        people.iter().map(&mut key).collect()
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Arc<Error>> {
        let (reply, answer) = oneshot::channel();
        // A defect ended the task, and is logged where it happened.
        let ended = || Arc::new(Error::Ended);
        self.asks.send(make(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}

fn period(time: Timestamp) -> i64 {
    time.as_second().div_euclid(PERIOD)
}

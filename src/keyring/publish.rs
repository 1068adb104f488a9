//! What verifiers are given, as files for a web server: written before what is in them counts as published.
//!
//! Files are replaced one by one, each as a whole, and only inside one directory that nobody else may write to. Never
//! decides what is published, and never holds up a revocation for longer than [`WRITE_WITHIN`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::KeySet;
use super::discovery::{CONFIGURATION, Discovery, KEY_SET, WELL_KNOWN};
use crate::jose::Kid;
use crate::sys::secure_file::{SecureFileError, public_dir, write_public};
use crate::telemetry::Chain;

/// A disk that takes longer counts as one that fails.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How often files and certificates are looked at though no key has changed, and a lasting fault is told again.
const AGAIN: Duration = Duration::from_secs(60);
/// Directories below the published one that are looked through for files of issuers that are gone.
const LOOKED_THROUGH: usize = 10_000;

/// What `[publish]` says, resolved.
#[derive(Debug, Clone, Default)]
pub struct Publication {
    /// Where the files are; none are written without it.
    pub dir: Option<PathBuf>,
    /// The documents of all issuers.
    pub discovery: Discovery,
}

/// Why the files are not what they should be.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    /// One of them could not be written.
    #[error("a file could not be written")]
    File(#[from] SecureFileError),
    /// They have not been written yet.
    #[error("writing them took longer than {seconds} s", seconds = WRITE_WITHIN.as_secs())]
    Slow,
    /// A panic, which is logged where it happened.
    #[error("a defect; see the log")]
    Defect,
}

#[derive(Default)]
struct Shown {
    /// In every file, as last written.
    kids: Vec<Kid>,
    /// Why the files are behind.
    fault: Option<String>,
    /// When that was last told.
    told: Option<Instant>,
    /// When the files were last looked at.
    looked: Option<Instant>,
    /// Whether files of other issuers were looked for.
    searched: bool,
}

/// Writes the files and knows what is in them.
#[derive(Default)]
pub struct Publisher {
    publication: RwLock<Arc<Publication>>,
    /// Whether certificates are to be looked at again, too.
    certificates: bool,
    shown: Mutex<Shown>,
    /// One writes at a time: an old set never replaces a newer one.
    writing: Arc<tokio::sync::Mutex<()>>,
}

impl Publisher {
    /// Has written nothing yet. `certificates`: there are some that may change.
    pub fn new(publication: Publication, certificates: bool) -> Self {
        Self { publication: RwLock::new(Arc::new(publication)), certificates, ..Self::default() }
    }

    /// What is published.
    pub fn publication(&self) -> Arc<Publication> {
        // A panic while it is held is impossible: only a pointer is exchanged.
        Arc::clone(&self.publication.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is published from the next [`Self::write`] on, and over the socket at once.
    pub fn replace(&self, publication: Publication) {
        let all_stay = publication.discovery.has_all(&self.publication().discovery);
        *self.publication.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(publication);
        // Files of those that went are told.
        self.lock().searched &= all_stay;
    }

    /// Publishes the issuers of `next` besides those there are; whether [`Self::write`] has something to write.
    pub fn add(&self, next: &Publication) -> bool {
        let now = self.publication();
        if now.discovery.has_all(&next.discovery) {
            return false;
        }
        self.replace(Publication { discovery: next.discovery.and(&now.discovery), ..next.clone() });
        true
    }

    /// Why the files are behind what is published over the socket, for operators.
    pub fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// Whether every file shows this key, as far as is known; so they do where there are none.
    pub fn shows(&self, kid: &str) -> bool {
        self.publication().dir.is_none() || self.lock().kids.iter().any(|known| known.as_str() == kid)
    }

    /// Whether [`Self::write`] has something to do though no key has changed.
    pub fn is_due(&self) -> bool {
        let shown = self.lock();
        let watches = self.certificates || self.publication().dir.is_some();
        let old = shown.looked.is_none_or(|looked| looked.elapsed() >= AGAIN);
        shown.fault.is_some() || (watches && old)
    }

    /// Brings all files up to date. A fault is told and remembered; the files that it left alone stay as they were.
    pub async fn write(&self, set: &KeySet) {
        let written = if self.publication().dir.is_some() { self.try_write(set).await } else { Ok(()) };
        let mut shown = self.lock();
        shown.looked = Some(Instant::now());
        match written {
            Ok(()) => {
                if shown.fault.take().is_some() {
                    tracing::info!("Published files are up to date again");
                }
                (shown.kids, shown.told) = (set.kids().to_vec(), None);
            }
            Err(error) => {
                // Some may have the new set already: what counts is in both.
                shown.kids.retain(|kid| set.has(kid.as_str()));
                let fault = Chain(&error).to_string();
                let old = shown.told.is_none_or(|told| told.elapsed() >= AGAIN);
                if old || shown.fault.as_ref() != Some(&fault) {
                    shown.told = Some(Instant::now());
                    tracing::error!(%error, reason = fault, "Published files are behind: no new key signs, and a revoked one may still be in them");
                }
                shown.fault = Some(fault);
            }
        }
    }

    async fn try_write(&self, set: &KeySet) -> Result<(), PublishError> {
        let write = async {
            let one = Arc::clone(&self.writing).lock_owned().await;
            let (publication, set) = (self.publication(), set.clone());
            let search = !std::mem::replace(&mut self.lock().searched, true);
            let written = spawn_blocking(move || {
                // Kept until this is through, even if nobody waits for it any more.
                let _one = one;
                let Some(dir) = &publication.dir else { return Ok(()) };
                let written = write_all(dir, &publication.discovery, &set);
                if search {
                    tell_strangers(dir, &publication.discovery);
                }
                written
            });
            Ok(written.await.map_err(|_| PublishError::Defect)??)
        };
        timeout(WRITE_WITHIN, write).await.unwrap_or(Err(PublishError::Slow))
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything is tried; the first fault counts.
fn write_all(dir: &Path, discovery: &Discovery, set: &KeySet) -> Result<(), SecureFileError> {
    public_dir(dir)?;
    let keys = set.document().body();
    let mut outcome = write_public(&dir.join(KEY_SET), &keys);
    for issuer in discovery.issuers() {
        let write = || {
            let mut place = dir.to_owned();
            for part in issuer.place.directory().join(WELL_KNOWN).components() {
                place.push(part);
                public_dir(&place)?;
            }
            // First what the other one refers to.
            write_public(&place.join(KEY_SET), &keys)?;
            write_public(&place.join(CONFIGURATION), &issuer.document.body())
        };
        outcome = outcome.and(write());
    }
    outcome
}

/// Files of issuers that are gone are somebody's still, and old for ever: people are to decide about them.
fn tell_strangers(dir: &Path, discovery: &Discovery) {
    let known: BTreeSet<PathBuf> =
        discovery.issuers().iter().map(|issuer| dir.join(issuer.place.directory())).collect();
    for stranger in strangers(dir, &known) {
        let path = stranger.display();
        tracing::warn!(%path, "Published files of an issuer that is not configured stay as they are: remove them if nobody needs them");
    }
}

/// The directories below `dir` that have published files in them and are not `known`.
fn strangers(dir: &Path, known: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![dir.to_owned()]);
    for _ in 0..LOOKED_THROUGH {
        let Some(place) = waiting.pop() else { break };
        // One that cannot be read has nothing of ours.
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && entry.file_name() == WELL_KNOWN => {
                    found.extend((place != dir && !known.contains(&place)).then(|| place.clone()));
                }
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests;

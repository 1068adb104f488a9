//! Which version of the checkpoint key seals: the one that sealed last, until a seal of it covers the record that
//! introduces the next one.
//!
//! Never lets a version seal that no earlier seal vouches for; only the first of a log needs none.

use crate::audit::history::History;
use crate::audit::restore::{Seal, is_introduced};
use crate::keyring::{Ring, Shut, Version};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// A log that could not be searched is searched again after this.
const AGAIN: Duration = Duration::from_secs(300);

/// Why no version may seal.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoTurn {
    #[error("the checkpoint key {0:?} has no active version: run `jwsd keys generate` or `adopt`")]
    None(String),
    #[error(
        "the log was last sealed by version {last} of its checkpoint key, which is gone and had not introduced {next}: \
         bring that version back, or begin a new log: another [audit] dir, and another file for each witness"
    )]
    Broken { last: String, next: String },
}

pub(super) struct Turn {
    key: String,
    dir: PathBuf,
    /// The version that sealed last.
    last: Option<String>,
    /// The same, if it can still be used.
    held: Option<Arc<Version>>,
    /// Number of the last record that earlier runs sealed.
    covered: u64,
    /// Versions whose introduction is recorded, and those of them that a seal covers.
    introduced: BTreeSet<String>,
    vouched: BTreeSet<String>,
    /// Whose introduction was looked for in vain, and until when that is not done again.
    missed: Option<(String, Option<Instant>)>,
}

impl Turn {
    /// Goes on after `last` in the log in `dir`.
    pub(super) fn new(key: &str, dir: &Path, last: Option<&Seal>, ring: &Ring) -> Self {
        let kid = last.map(|seal| seal.kid.clone());
        Self {
            key: key.to_owned(),
            dir: dir.to_owned(),
            held: kid.as_ref().and_then(|kid| ring.version(kid)).cloned(),
            last: kid,
            covered: last.map_or(0, |seal| seal.after),
            introduced: BTreeSet::new(),
            vouched: BTreeSet::new(),
            missed: None,
        }
    }

    /// Versions of the key that are to be introduced: those that seal or will, but not the one that does so already.
    pub(super) fn newcomers(&self, ring: &Ring) -> Vec<Arc<Version>> {
        let is_new = |version: &&Arc<Version>| {
            let kid = version.kid().as_str();
            version.key() == self.key && self.last.as_deref() != Some(kid) && !self.introduced.contains(kid)
        };
        ring.versions().filter(is_new).cloned().collect()
    }

    /// The introduction of a version is on disk.
    pub(super) fn introduced(&mut self, version: &Version) {
        self.introduced.insert(version.kid().to_string());
    }

    /// The version that seals now, and whether it does so only until another one may.
    pub(super) async fn choose(&mut self, ring: &Ring, now: i64) -> Result<(Arc<Version>, bool), NoTurn> {
        let active = ring.active(&self.key).filter(|active| !active.is_revoked());
        let active = Arc::clone(active.ok_or_else(|| NoTurn::None(self.key.clone()))?);
        let kid = active.kid().to_string();
        let Some(last) = self.last.clone().filter(|last| *last != kid && !self.vouched.contains(&kid)) else {
            // It may be about to take over, in a moment.
            let early = matches!(active.enter_checkpoint(Some(now)), Err(Shut::Early { .. }));
            let held = self.held.as_ref().filter(|held| early && !held.is_revoked());
            return Ok(held.map_or((active, false), |held| (Arc::clone(held), true)));
        };
        if let Some(held) = self.held.as_ref().filter(|held| !held.is_revoked()) {
            return Ok((Arc::clone(held), true));
        }
        // Its introduction may be of an earlier run.
        let was_missed = self.missed.as_ref().is_some_and(|(missed, until)| {
            *missed == kid && until.is_none_or(|until| Instant::now() < until)
        });
        if !was_missed {
            let (dir, wanted, covered) = (self.dir.clone(), kid.clone(), self.covered);
            let look = spawn_blocking(move || is_introduced(&History::of(&dir)?, &wanted, covered));
            match look.await {
                Ok(Ok(true)) => {
                    self.vouched.insert(kid);
                    return Ok((active, false));
                }
                Ok(Ok(false)) => self.missed = Some((kid.clone(), None)),
                Ok(Err(error)) => {
                    tracing::error!(%error, "Audit log could not be searched");
                    // It may be long.
                    self.missed = Some((kid.clone(), Some(Instant::now() + AGAIN)));
                }
                // A panic, which is logged where it happens.
                Err(_) => {}
            }
        }
        Err(NoTurn::Broken { last, next: kid })
    }

    /// A seal of this version is on disk, and covers every introduction that was recorded before.
    pub(super) fn sealed(&mut self, version: &Arc<Version>) {
        self.vouched.extend(self.introduced.iter().cloned());
        self.last = Some(version.kid().to_string());
        self.held = Some(Arc::clone(version));
    }
}

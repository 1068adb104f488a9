//! The second key of a log, which cosigns its seals by ML-DSA-44. Pure.
//!
//! A seal may lack its cosignature, and that is told; one that does not verify is a problem.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::audit::checkpoint::{BadNote, Checkpoint, Note};
use crate::audit::cosignature::Cosigner;

/// How far the second key vouches for a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cosigned {
    /// The key's thumbprint.
    pub kid: String,
    /// How many seals are cosigned.
    pub seals: u64,
    /// How many records the last of them covers, and it vouches for.
    pub size: u64,
    /// When it was cosigned, as it says.
    pub time: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Cosigns {
    /// Keys that were given, and those that such ones vouch for.
    known: Vec<Arc<Cosigner>>,
    /// Keys that the log introduces, each with the place of the leaf that does.
    introduced: Vec<(u64, Arc<Cosigner>)>,
    told: Option<Cosigned>,
}

/// By which key, and when (Unix seconds).
pub(super) type Holds = Option<(String, i64)>;

impl Cosigns {
    pub(super) fn new(given: &[Arc<Cosigner>]) -> Self {
        Self { known: given.to_vec(), introduced: Vec::new(), told: None }
    }

    pub(super) fn introduce(&mut self, at: u64, key: Arc<Cosigner>) {
        // The first introduction counts: what covers a later one covers it too.
        let mut all = self.known.iter().chain(self.introduced.iter().map(|(_, key)| key));
        if !all.any(|known| known == &key) {
            self.introduced.push((at, key));
        }
    }

    /// Whether a seal's note is cosigned by a key that is known.
    ///
    /// # Errors
    /// A cosignature does not verify.
    pub(super) fn check(&self, note: &Note<'_>, checkpoint: &Checkpoint) -> Result<Holds, String> {
        let mut holds = None;
        for key in self.known.iter().filter(|key| key.name() == checkpoint.origin) {
            match key.open(note) {
                Ok((_, time)) => holds = Some((key.kid().to_string(), time)),
                Err(BadNote::Unsigned) => {}
                Err(bad) => return Err(format!("the seal's cosignature: {bad}")),
            }
        }
        Ok(holds)
    }

    /// Takes note of a good seal of so many records.
    pub(super) fn covered(&mut self, holds: Holds, size: u64) {
        let Some((kid, time)) = holds else { return };
        let seals = self.told.as_ref().map_or(0, |told| told.seals) + 1;
        self.told = Some(Cosigned { kid, seals, size, time: Timestamp::from_second(time).ok() });
        let vouched = self.introduced.extract_if(.., |(at, _)| *at < size);
        self.known.extend(vouched.map(|(_, key)| key));
    }

    /// What is to be said at the end of the log.
    pub(super) fn finish(self, problems: &mut Vec<String>) -> Option<Cosigned> {
        if self.told.is_none() && !self.known.is_empty() {
            problems.push("no seal of the log is cosigned by the key that was given for that".to_owned());
        }
        self.told
    }
}

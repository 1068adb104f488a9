//! What witnesses say within the log: `log.cosigned`, against the seals before it and the witnesses' keys. Pure.
//!
//! A cosignature without a key to check it with vouches for nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::statement::cosigned;
use crate::audit::checkpoint::{Checkpoint, Note};
use crate::audit::cosignature::Cosigner;
use crate::audit::line::Line;

/// A cosignature is of one of so many seals before it; the format says so.
const RECENT: usize = 100;
/// Names of witnesses that nobody asked about; the rest is left out.
const NAMES: usize = 100;

/// What one witness vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vouched {
    /// Its name.
    pub witness: String,
    /// Whether its key was given, so that its cosignatures were checked.
    pub checked: bool,
    /// How many of its cosignatures are in the log.
    pub count: u64,
    /// How many records the last of them is about.
    pub size: u64,
    /// When it made that, as it says; absent where it was not checked.
    pub time: Option<Timestamp>,
}

#[derive(Clone)]
pub(super) struct Vouching<'a> {
    keys: &'a [Arc<Cosigner>],
    /// Of these keys, those by which something is.
    used: Vec<bool>,
    /// Of the last seals, oldest first.
    recent: VecDeque<Checkpoint>,
    told: Vec<Vouched>,
}

impl<'a> Vouching<'a> {
    pub(super) fn new(keys: &'a [Arc<Cosigner>]) -> Self {
        Self { keys, used: vec![false; keys.len()], recent: VecDeque::new(), told: Vec::new() }
    }

    /// A seal that its key signed.
    pub(super) fn sealed(&mut self, checkpoint: &Checkpoint) {
        self.recent.push_back(checkpoint.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Takes a `log.cosigned`; of one about fewer leaves than those `unread` before the log's beginning nothing is known.
    ///
    /// # Errors
    /// What is wrong with it, a sentence.
    pub(super) fn cosigned(&mut self, line: &Line<'_>, unread: u64) -> Result<(), String> {
        let (witness, text) = cosigned(line)?;
        let note = Note::parse(&text).map_err(|bad| format!("log.cosigned: {bad}"))?;
        let checkpoint = note.unverified().map_err(|bad| format!("log.cosigned: {bad}"))?;
        let size = checkpoint.size;
        if !self.recent.contains(&checkpoint) {
            if size < unread {
                return Ok(());
            }
            return Err(format!(
                "{witness} cosigned {size} records of something else than the seals before this record"
            ));
        }
        let mut time = None;
        let own = self.keys.iter().zip(&mut self.used).filter(|(key, _)| key.name() == witness);
        let mut bad = None;
        for (key, used) in own {
            match key.open(&note) {
                Ok((_, moment)) => (time, *used) = (Timestamp::from_second(moment).ok(), true),
                Err(error) => bad = Some(error),
            }
        }
        if let Some(bad) = bad.filter(|_| time.is_none()) {
            return Err(format!("the cosignature of {witness} does not hold: {bad}"));
        }
        let checked = time.is_some();
        if let Some(told) = self.told.iter_mut().find(|told| told.witness == witness) {
            *told = Vouched { checked, count: told.count + 1, size, time, witness };
        } else if checked || self.told.len() < NAMES {
            self.told.push(Vouched { witness, checked, count: 1, size, time });
        }
        Ok(())
    }

    /// What is to be said at the end of the log.
    pub(super) fn finish(self, problems: &mut Vec<String>) -> Vec<Vouched> {
        let silent = self.keys.iter().zip(self.used).filter(|(_, used)| !used);
        problems.extend(silent.map(|(key, _)| {
            format!("the log has no cosignature of {} with the key {} that holds", key.name(), key.id())
        }));
        self.told
    }
}

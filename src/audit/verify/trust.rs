//! What an auditor brings along: keys, and checkpoints that witnesses kept. Pure.
//!
//! Believes no checkpoint: what is read here is only compared.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::checkpoint::{Checkpoint, Note, SealKey};
use crate::audit::cosignature::Cosigner;

/// What a verification goes by. Without keys, signatures are not checked.
#[derive(Default)]
pub struct Trust {
    pub(super) keys: Vec<Arc<SealKey>>,
    pub(super) cosigners: Vec<Arc<Cosigner>>,
    pub(super) witnesses: Vec<Arc<Cosigner>>,
    pub(super) seen: Vec<Seen>,
    /// Places in `seen` by size.
    pub(super) by_size: HashMap<u64, Vec<usize>>,
    pub(super) torn: u64,
    pub(super) archive: Option<PathBuf>,
    /// How many files of witnesses there were.
    files: usize,
}

/// A checkpoint as a witness kept it.
pub(super) struct Seen {
    /// Which file, whose notes are in the order in which they were made.
    pub(super) file: usize,
    /// Where it is, for people.
    pub(super) place: String,
    pub(super) note: String,
    pub(super) checkpoint: Checkpoint,
}

impl Trust {
    /// The first seal must be by one of these keys.
    pub fn new(keys: Vec<SealKey>) -> Self {
        Self { keys: keys.into_iter().map(Arc::new).collect(), ..Self::default() }
    }

    /// Also reads segments that are in this directory and no longer in the log's.
    pub fn with_archive(self, archive: Option<PathBuf>) -> Self {
        Self { archive, ..self }
    }

    /// One of these keys, or more, must cosign seals, as the log's own second key.
    pub fn with_cosigners(mut self, keys: Vec<Cosigner>) -> Self {
        self.cosigners = keys.into_iter().map(Arc::new).collect();
        self
    }

    /// The log must have a cosignature of each of these keys, and all by witnesses of their names must hold.
    pub fn with_witnesses(mut self, keys: Vec<Cosigner>) -> Self {
        self.witnesses = keys.into_iter().map(Arc::new).collect();
        self
    }

    /// Adds what a witness kept: notes, each followed by a blank line. Parts of notes are counted and passed over. How
    /// many notes there were.
    pub fn add_checkpoints(&mut self, file: &str, text: &str) -> usize {
        let (before, file_number) = (self.seen.len(), self.files);
        self.files += 1;
        let mut blocks = text.split("\n\n").peekable();
        while let Some(block) = blocks.next() {
            let block = block.trim_start_matches('\n');
            if block.is_empty() {
                continue;
            }
            let signed = blocks.next_if(|next| next.starts_with('\u{2014}'));
            let note = signed.map(|lines| format!("{block}\n\n{lines}")).map(|mut note| {
                // Only what ends in a blank line, or where the file does, has lost its LF here.
                if !note.ends_with('\n') && (blocks.peek().is_some()) {
                    note.push('\n');
                }
                note
            });
            let seen = note.and_then(|note| {
                let checkpoint = Note::parse(&note).and_then(|note| note.unverified()).ok()?;
                let place = format!("checkpoint {} of {file}", self.seen.len() - before + 1);
                Some(Seen { file: file_number, place, note, checkpoint })
            });
            match seen {
                Some(seen) => {
                    self.by_size.entry(seen.checkpoint.size).or_default().push(self.seen.len());
                    self.seen.push(seen);
                }
                None => self.torn += 1,
            }
        }
        self.seen.len() - before
    }
}

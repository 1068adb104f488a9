//! Opening a log: whether it may be used, and what is known of it before anything is written.
//!
//! Refuses a log that contradicts itself, or a checkpoint that a witness has; only an operator may take it all the same.

use super::checkpoint::LONGEST_NAME;
use super::disk::{Disk, KernelDisk};
use super::history::History;
use super::log::{Head, Log, Sealing, Unavailable};
use super::queue::Shared;
use super::recover::{Recovered, recover};
use super::restore::{Contradiction, Restored, Seen, compare, restore};
use super::segment::Directory;
use super::witness::{Asked, Witness, ask, last_note};
use super::writer::Writer;
use super::{Actor, Entry, Event, MIN_SEGMENT, Outcome, Settings};
use crate::clock::Clock;
use crate::sys::process;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error("audit log {path} is in use by another daemon: stop that one, or give this one its own [audit] dir", path = .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Others could read or change it.
    #[error("{path}: {problem}", path = .path.display())]
    Insecure {
        /// File or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It belongs to another environment.
    #[error(
        "{path} belongs to environment {found:?}, the configuration says {wanted:?}: correct `environment` or give this \
         one its own [audit] dir",
        path = .path.display()
    )]
    Environment {
        /// The directory.
        path: PathBuf,
        /// What it was made for.
        found: String,
        /// What the configuration says.
        wanted: String,
    },
    /// A system call failed.
    #[error("cannot {what} {path}", path = .path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The newest records contradict their segment.
    #[error("{path}: {problem}: run `jwsd audit verify` and restore the file", path = .path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// What contradicts what.
        problem: String,
    },
    /// A witness has seen more of it than there is.
    #[error(
        "{witness} has a checkpoint of {there} records of the audit log {path}, whose last one is of {here}: its end was \
         removed, or an older copy was put back; restore it, or take it as it is with `jwsd audit accept-truncation`",
        path = .path.display()
    )]
    Truncated {
        /// The directory.
        path: PathBuf,
        /// Who says so.
        witness: String,
        /// Records of the checkpoint there.
        there: u64,
        /// Records of the last checkpoint here.
        here: u64,
    },
    /// A witness has seen another log.
    #[error(
        "{witness} has a checkpoint of {there} records, {problem}: the audit log {path} was changed or replaced; restore \
         it, or take it as it is with `jwsd audit accept-truncation`",
        path = .path.display()
    )]
    Different {
        /// The directory.
        path: PathBuf,
        /// Who says so.
        witness: String,
        /// Records of the checkpoint there.
        there: u64,
        /// How it differs.
        problem: String,
    },
    /// A witness cannot be asked.
    #[error("witness {witness}: {problem}")]
    Witness {
        /// Its file or name.
        witness: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It is sealed under another name.
    #[error(
        "{path} is sealed as {found:?}, and a log's name never changes: write that as `origin` in [audit.checkpoint], \
         or leave it out",
        path = .path.display()
    )]
    Origin {
        /// The directory.
        path: PathBuf,
        /// The name in its seals.
        found: String,
    },
    /// No first segment could be made or written.
    #[error("cannot begin a segment: {reason}")]
    Begin {
        /// Why, and what to do about it.
        reason: String,
    },
}

/// The directory as it was found, where the log goes on, what is known of one that is to be sealed, and what is wrong
/// with it.
pub(super) type Opened = (Directory, Recovered, Option<Found>, Vec<Contradiction>);

/// What is known of a log that is to be sealed.
pub(super) struct Found {
    /// The log's name.
    origin: String,
    restored: Restored,
    /// What witnesses answered that are asked over the network.
    asked: Vec<Asked>,
}

impl Log {
    /// Records that an operator takes the log as it is, though checkpoints of witnesses contradict it; which witnesses.
    /// The log must not be in use.
    ///
    /// # Errors
    /// As [`Log::open`], and [`OpenError::Begin`] if it could not be recorded.
    pub async fn accept(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        actor: Actor,
        reason: &str,
    ) -> Result<Vec<String>, OpenError> {
        let (directory, recovered, found, contradictions) =
            Self::look(settings, Arc::new(KernelDisk), clock.now())?;
        if contradictions.is_empty() {
            return Ok(Vec::new());
        }
        let accepted = |contradiction: &Contradiction| {
            let (object, note, size) = match &contradiction.seen {
                Seen::Note(note) => (None, Some(note.clone()), None),
                Seen::Size(size) => (Some(contradiction.witness.clone()), None, Some(*size)),
            };
            let (actor, reason) = (Some(actor.clone()), Some(reason.to_owned()));
            Entry { actor, reason, object, note, size, ..Entry::new(Event::LogAccepted, Outcome::Success) }
        };
        let entries = contradictions.iter().map(accepted).collect();
        let log = Self::run(begin(settings, clock, directory, recovered, found)?)?;
        let recorded = match log.append(entries) {
            Ok(mut ticket) => ticket.durable().await,
            Err(unavailable) => Err(unavailable),
        };
        log.close().await;
        recorded.map_err(|Unavailable { reason }| OpenError::Begin { reason })?;
        Ok(contradictions.into_iter().map(|contradiction| contradiction.witness).collect())
    }

    /// Locks the directory and looks at what is in it, without changing that. Witnesses are shown no seal but what is on
    /// the disk and stays.
    pub(super) fn look(
        settings: &Settings,
        disk: Arc<dyn Disk>,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        let directory = Directory::open(&settings.dir, settings.segment.max(MIN_SEGMENT), disk)?;
        directory.bind(&settings.environment)?;
        let recovered = recover(&directory)?;
        let Some(checkpoint) = &settings.checkpoint else {
            return Ok((directory, recovered, None, Vec::new()));
        };
        let mut contradictions = Vec::new();
        let found = {
            let history = History::new(directory.path(), |name| directory.read_segment(name))?;
            // What is about to be declared lost is none of the log's any more.
            let history = history.without(recovered.unknown);
            let restored = restore(&history)?;
            let sealed = restored.seal.as_ref().map(|seal| seal.checkpoint.origin.clone());
            let origin = match (sealed, &checkpoint.origin) {
                (Some(found), Some(wanted)) if found != *wanted => {
                    return Err(OpenError::Origin { path: settings.dir.clone(), found });
                }
                (Some(origin), _) => origin,
                (None, Some(wanted)) => wanted.clone(),
                (None, None) => own_name(&settings.environment),
            };
            for witness in &checkpoint.witnesses {
                let Witness::File(witness) = witness else { continue };
                if let Some(note) = last_note(witness, &origin)? {
                    let log: (&Path, _, _) = (&settings.dir, &history, &restored);
                    contradictions.extend(compare(log, witness, note)?);
                }
            }
            let log: (&Path, _, _) = (&settings.dir, &history, &restored);
            let (asked, more) = ask(log, &checkpoint.witnesses, now)?;
            contradictions.extend(more);
            Found { origin, restored, asked }
        };
        Ok((directory, recovered, Some(found), contradictions))
    }
}

/// A log whose writer does not run yet.
pub(super) struct Begun {
    pub(super) writer: Writer,
    pub(super) shared: Arc<Shared>,
    pub(super) sealing: Option<Sealing>,
}

/// Takes the log as it was found, and begins a segment.
pub(super) fn begin(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    directory: Directory,
    recovered: Recovered,
    found: Option<Found>,
) -> Result<Begun, OpenError> {
    recovered.carry_out(&directory)?;
    let shared = Arc::new(Shared::default());
    let fail = |source| OpenError::Io { what: "open", path: settings.dir.clone(), source };
    let store = Arc::new(directory.store().map_err(fail)?);
    let (sealing, head) = found.map_or((None, None), |Found { origin, restored, asked }| {
        let Restored { seal: last, introduced, .. } = restored;
        let (dir, clock) = (settings.dir.clone(), Arc::clone(&clock));
        let sealing = Sealing { dir, store, origin, last, introduced, asked, clock };
        (Some(sealing), Some(Head { tree: restored.tree, last: restored.last }))
    });
    let begun = Writer::begin(directory, Arc::clone(&shared), clock, recovered, head);
    let writer = begun.map_err(|fault| OpenError::Begin { reason: fault.reason() })?;
    Ok(Begun { writer, shared, sealing })
}

/// The name of a log that nobody named.
fn own_name(environment: &str) -> String {
    let mut name = format!("jwsd/{environment}/{}", process::host_name());
    name.retain(|c| !c.is_whitespace() && !c.is_control() && c != '+');
    name.truncate(name.floor_char_boundary(LONGEST_NAME));
    name
}

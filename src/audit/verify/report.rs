//! What a verification found, for people and programs.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::cosigns::Cosigned;
use super::vouched::Vouched;

/// Problems listed in full; the rest is only counted.
const LISTED: usize = 1000;

/// The log could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}", path = .path.display())]
pub struct Error {
    /// File or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Valid records.
    pub records: u64,
    /// Sequence number of the first; 0 if there is none.
    pub first: u64,
    /// Highest sequence number; 0 if there is none.
    pub last: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The log begins later, as it says itself: what was before is not kept, or in the archive.
    pub begins: Option<Begins>,
    /// Faults of the disk that the log itself declares.
    pub gaps: Vec<Gap>,
    /// How many records lie in those: no seal covers them.
    pub unvouched: u64,
    /// The newest segment ends in part of a line: a record being written, or what a crash left.
    pub open_tail: Option<OpenTail>,
    /// How far the log is sealed; absent if it is not.
    pub sealing: Option<Sealing>,
    /// Checkpoints that were seen elsewhere.
    pub checkpoints: Checkpoints,
    /// What is wrong, the first thousand. Empty: the log is sound.
    pub problems: Vec<Problem>,
    /// How many problems there are in all.
    pub problem_count: u64,
}

/// Where the log begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begins {
    /// Number of the last record that is not kept.
    pub after: u64,
    /// How many sealed records are not kept.
    pub size: u64,
    /// Segments that were read from an archive; absent where none was given.
    pub archived: Option<u64>,
}

/// What the log's seals say.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Sealing {
    /// Whether a key was given, so that signatures were checked.
    pub checked: bool,
    /// The log's name.
    pub origin: String,
    /// How many seals.
    pub seals: u64,
    /// How many records the last one covers.
    pub size: u64,
    /// Number of the last record that it covers.
    pub after: u64,
    /// When it was recorded.
    pub time: String,
    /// How many records come after those, not counting the seal itself: nothing but their checksums vouches for them.
    pub uncovered: u64,
    /// Which key sealed from where on.
    pub epochs: Vec<Epoch>,
    /// The last seal is old.
    pub late: Option<Late>,
    /// Checkpoints that an operator accepted, though the log contradicts them.
    pub accepted: Vec<Accepted>,
    /// How far the log's second key vouches for it, where one was given.
    pub cosigned: Option<Cosigned>,
    /// What witnesses say of it in the log itself.
    pub vouched: Vec<Vouched>,
}

/// From its first seal to that of the next key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Epoch {
    /// The key's thumbprint.
    pub kid: String,
    /// Size of its first seal.
    pub from: u64,
    /// The key as auditors keep it; absent where no key was given.
    pub vkey: Option<String>,
}

/// Records went on for longer than seals are apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Late {
    /// Seconds from the last seal to the last record.
    pub behind: i64,
    /// Seconds between seals before.
    pub every: i64,
}

/// A `log.accepted` that a seal covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: String,
    /// How many records the log had once.
    pub size: u64,
    /// The witness that said so without showing the checkpoint.
    pub witness: Option<String>,
}

/// Notes that witnesses kept.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoints {
    /// Those that the log has.
    pub found: u64,
    /// Those that it has not, as an operator accepted.
    pub accepted: u64,
    /// Those from before the log's beginning, with which nothing can be compared any more.
    pub earlier: u64,
    /// Parts of notes, as a crash leaves them: passed over.
    pub torn: u64,
}

/// A `log.resumed`: numbers that were used up by a failing disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The segment that begins with the declaration.
    pub segment: String,
    /// Last record acknowledged before the fault.
    pub after: u64,
    /// Numbers after it whose durability was unknown.
    pub unknown: u64,
    /// How many of those are not in the log.
    pub missing: u64,
}

/// Part of a line at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenTail {
    /// The newest segment.
    pub segment: String,
    /// Where the part begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File name; empty for the directory.
    pub segment: String,
    /// Line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// Byte offset of the line.
    pub offset: u64,
    /// What is wrong, one sentence.
    pub what: String,
}

impl fmt::Display for Problem {
    /// With its place. Names in notes are whatever somebody wrote there: nothing in them steers a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, line, offset, what } = self;
        let what = what.replace(char::is_control, "\u{fffd}");
        let segment = segment.replace(char::is_control, "\u{fffd}");
        match (segment.as_str(), line) {
            ("", _) => write!(f, "{what}"),
            (segment, 0) => write!(f, "{segment}: {what}"),
            (segment, _) => write!(f, "{segment} line {line} at byte {offset}: {what}"),
        }
    }
}

impl fmt::Display for Begins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, size, archived } = self;
        write!(f, "begins: records up to {after}, {size} of them sealed, are no longer kept; ")?;
        match archived {
            Some(count) => write!(f, "{count} segments of them were read from the archive"),
            None => write!(f, "what is kept follows on them, as seals bear out (--archive reads them too)"),
        }
    }
}

impl Report {
    /// Nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problem_count == 0
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.problem_count += 1;
        if self.problems.len() < LISTED {
            self.problems.push(problem);
        }
    }
}

//! The audit log: append-only segments of JSON lines, one writer with group commit, failing closed.
//!
//! Nothing here ever holds a JWT, a raw claim or a secret: see [`Entry`] for all that can be recorded.
//!
//! # Format
//! A log is a directory (0700) of segments (0600), each named by the sequence number of its first record, twenty
//! digits, `00000000000000000001.jsonl`. A segment is records, one JSON object per line, each ended by LF:
//!
//! ```text
//! {"seq":7,"time":"2026-11-24T08:00:00.123456Z","event":"jwt.issued",...,"crc":"1c291ca3"}
//! ```
//!
//! `seq` (from 1) and `time` (UTC, microseconds, when the writer took the record) come first, then `event` and the other
//! members of [`Entry`] in their order, `crc` last: CRC-32 (IEEE), eight lower-case hex digits, of all bytes of the line
//! before `,"crc"`. It finds damage, not forgery. The stored bytes of a line, without its LF, are a leaf
//! of the Merkle tree that seals are about, so a line is never rewritten.
//!
//! Sequence numbers are contiguous across segments. The one exception is declared in the log itself: when a write or
//! sync fails, the numbers of that batch are used up, and the next segment begins with `log.resumed`, which names the
//! last acknowledged record (`after`), the count of numbers after it whose durability is unknown (`unknown`) and the
//! failed `segment`, whose end may then be torn. A start does the same with rule `segment-spoiled` when a power loss kept
//! the end of the last write and spoiled what stood before it in the same write: lines with one `time`, none of which was
//! acknowledged. In the numbers of such a range anything may be spoiled, also in the middle. What was spoiled elsewhere is
//! damage, and is never declared.
//!
//! Beside the segments are `lock` (held by the one daemon that writes here), `environment` (the name of the one
//! environment whose log this is; `environment.new` until it is whole) and `spare` (empty, its space reserved: the next
//! segment). A start always begins a new segment; what a crash left after the last valid record is cut off and declared by
//! `log.recovered` (`segment`, `dropped` bytes, their `sha256`).
//!
//! # Seals
//! A log with a checkpoint key has `log.sealed` records: the signed size and root of the tree over all records before some
//! place ([`seal`]). Every valid record is a leaf, but those whose numbers a `log.resumed` declares to be of unknown
//! durability. The tree is restored at open from the last seal and what follows it. See `docs/audit-format.md`.
//!
//! # Beginning
//! A log that is not kept for ever ([`retain`]) has the file `base` (`base.new` until it is whole): the number of the last
//! record that went, and the tree over all of them. Segments from before it are no longer of the log.
//!
//! # Space
//! Every segment's space is reserved before its first record, so that a full disk shows when a segment is made, not in
//! the middle of a record. While no spare can be reserved, JWTs are issued up to seven eighths of the current segment;
//! the rest is kept for denials and failures. A file system that cannot reserve (`fallocate`) is refused.
//!
//! # When records go to the disk
//! While at most four tickets are held by someone who is still busy, signing for the most part, a record goes to the disk
//! at once and its sync overlaps the signing. With more of them, records wait in memory until the first has signed, so
//! that one sync serves all. Either way nothing is released before its own sync. But with many at work a crash can lose
//! the record of a signature that was made and that nobody received.
//!
//! # Faults
//! Before each write the segment and the directory are checked to be still the ones at their paths. If not, or if a
//! write or sync fails, everything that waits is refused, the file is never written again, and a new segment is tried at
//! once and then every 200 ms. If the directory itself was moved or replaced the log stays down until it is back: the
//! writer never goes on in a directory it did not lock.

mod base;
pub mod checkpoint;
pub mod cosignature;
mod disk;
pub mod export;
mod growth;
mod history;
mod leaves;
mod line;
mod log;
mod open;
pub mod prove;
mod queue;
pub mod reconcile;
mod record;
mod recover;
pub mod report;
mod restore;
pub mod retain;
pub mod seal;
mod segment;
pub mod select;
pub mod sink;
pub mod tail;
pub mod tree;
pub mod verify;
mod witness;
mod writer;

#[cfg(test)]
mod tests;

pub use leaves::read_limited;
pub use line::{BadLine, Line, MAX_LINE, parse};
pub use log::{Health, Log, Recorded, Ticket, Unavailable};
pub use open::OpenError;
pub use record::{Actor, Entry, Event, Outcome};
pub use witness::{Remote, SYSLOG, Witness};

use std::path::PathBuf;

/// Smallest segment, bytes: the longest line fits with room to spare.
pub const MIN_SEGMENT: u64 = 64 * 1024;

/// What `[audit]` says, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the segments are. Made (0700) if missing; its parent must exist.
    pub dir: PathBuf,
    /// Name of the environment; the log of another one is refused.
    pub environment: String,
    /// Bytes reserved per segment; [`MIN_SEGMENT`] at least (less is taken as that).
    pub segment: u64,
    /// How it is sealed; without this it is not, and no tree is kept.
    pub checkpoint: Option<seal::Settings>,
    /// How long it is kept; without this, for ever.
    pub retain: Option<retain::Settings>,
}

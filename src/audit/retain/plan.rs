//! Which segments go now: those at the beginning of the log of which every record is old enough, as far as seals cover
//! them and the log still verifies without them. Reads only.
//!
//! Never takes what is damaged for old, and never a key's introduction from the seals that need it, nor that of a key
//! that cosigns before it is repeated.

use super::{NotRetained, Settings};
use crate::audit::base::Base;
use crate::audit::checkpoint::{Note, SealKey};
use crate::audit::cosignature::Cosigner;
use crate::audit::history::History;
use crate::audit::leaves::Segments;
use crate::audit::line::{Line, Lines};
use crate::audit::prove::segment::{Start, first_seal};
use crate::audit::restore::restore;
use crate::audit::segment::Listed;
use crate::audit::tree::{Tree, leaf};
use crate::audit::verify::statement::{Introduced, Sealed, accepted, introduced};
use crate::jose::hex;
use aws_lc_rs::digest::{Context, SHA256};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;
use std::sync::Arc;

/// What a look at the log came to.
#[derive(Debug, Default)]
pub(in crate::audit) struct Plan {
    /// What goes now.
    pub(in crate::audit) goes: Option<Going>,
    /// The first segment that stays for its age, and when it is old enough.
    pub(in crate::audit) next: Option<(String, Timestamp)>,
}

/// Segments that go together.
#[derive(Debug)]
pub(in crate::audit) struct Going {
    /// In order, each with what is before it.
    pub(in crate::audit) segments: Vec<(Listed, Start)>,
    /// Where the log begins then.
    pub(in crate::audit) base: Base,
    /// Records in them.
    pub(in crate::audit) count: u64,
    /// Of all their bytes.
    pub(in crate::audit) sha256: String,
}

/// All that is known after some segments.
#[derive(Clone)]
struct Reading {
    tree: Tree,
    /// Number of the last leaf, and of the last record.
    after: u64,
    last: u64,
    count: u64,
    hash: Context,
    /// The key that sealed last.
    kid: Option<String>,
    /// Keys that were introduced and have not sealed.
    waiting: BTreeSet<String>,
    /// Keys that cosign.
    seconds: Seconds,
    /// As they were introduced.
    vkeys: HashMap<String, String>,
    /// Size of the largest checkpoint that was accepted as lost.
    lost: u64,
}

/// Keys that were introduced to cosign, and whether they have.
type Seconds = BTreeMap<String, (Arc<Cosigner>, bool)>;

/// What is read of a record.
#[derive(Deserialize)]
struct Said<'a> {
    time: Timestamp,
    #[serde(borrow)]
    profile: Option<Cow<'a, str>>,
}

/// Looks at the log in `dir` as it is `now`.
pub(in crate::audit) fn plan(dir: &Path, settings: &Settings, now: Timestamp) -> Result<Plan, NotRetained> {
    let failed = |(name, source)| NotRetained::Read { path: dir.join::<String>(name), source };
    let history = History::of(dir)?;
    let sealed = restore(&history)?.seal.map_or(0, |seal| seal.after);
    let segments = Segments::open(dir, None).map_err(failed)?;
    let mut reading = Reading::new(segments.start());
    let (mut plan, mut passed, mut places) = (Plan::default(), Vec::new(), Vec::new());
    // The last one is being written.
    for (index, listed) in segments.listed.iter().enumerate().take(segments.listed.len().saturating_sub(1)) {
        passed.push((listed.clone(), Start { after: reading.after, tree: reading.tree.clone() }));
        let due = reading.segment(&segments, index, settings)?;
        if due > now {
            plan.next = Some((listed.name.clone(), due));
            break;
        }
        if reading.last > sealed {
            break;
        }
        places.push((passed.len(), reading.clone()));
    }
    while let Some((count, reading)) = places.pop() {
        let Some(base) = reading.base() else { continue };
        if !is_free_of(&segments, count, reading.waiting.clone(), reading.seconds.clone()).map_err(failed)? {
            continue;
        }
        if first_seal(&segments, count, &reading.tree).map_err(failed)?.is_none() {
            return Err(NotRetained::Unsealed(
                passed.last().map(|(listed, _)| listed.name.clone()).unwrap_or_default(),
            ));
        }
        passed.truncate(count);
        let sha256 = hex(reading.hash.finish().as_ref());
        plan.goes = Some(Going { segments: passed, base, count: reading.count, sha256 });
        break;
    }
    Ok(plan)
}

impl Reading {
    fn new(base: Option<&Base>) -> Self {
        let key = base.and_then(|base| SealKey::from_vkey(&base.vkey).ok());
        let kid = key.as_ref().map(|key| key.kid().to_string());
        let after = base.map_or(0, |base| base.after);
        Self {
            tree: base.map(|base| base.tree.clone()).unwrap_or_default(),
            after,
            last: after,
            count: 0,
            hash: Context::new(&SHA256),
            vkeys: kid.iter().cloned().zip(key.iter().map(SealKey::to_vkey)).collect(),
            kid,
            waiting: BTreeSet::new(),
            seconds: Seconds::new(),
            lost: 0,
        }
    }

    /// Where the log would begin. Not before the first seal, nor as long as what witnesses were told and the log lost
    /// could be taken for a part of what is kept.
    fn base(&self) -> Option<Base> {
        if self.tree.size() <= self.lost {
            return None;
        }
        let vkey = self.vkeys.get(self.kid.as_ref()?)?.clone();
        Some(Base { after: self.after, tree: self.tree.clone(), vkey })
    }

    /// Takes the next segment; when all of it is old enough.
    fn segment(
        &mut self,
        segments: &Segments,
        index: usize,
        settings: &Settings,
    ) -> Result<Timestamp, NotRetained> {
        let (name, next) = match segments.listed.get(index..) {
            Some([listed, next, ..]) => (listed.name.clone(), next.first),
            _ => return Err(NotRetained::Damaged(String::new())),
        };
        let failed = |source| NotRetained::Read { path: name.clone().into(), source };
        let damaged = || NotRetained::Damaged(name.clone());
        let file = Hashing(segments.file(index).map_err(failed)?, &mut self.hash);
        let mut lines = Lines::new(BufReader::with_capacity(256 * 1024, file));
        let (mut due, mut doubtful) = (Timestamp::MIN, false);
        let mut last = self.last;
        while let Some(raw) = lines.next().map_err(failed)? {
            let Ok(line) = raw.record() else {
                doubtful = true;
                continue;
            };
            let is_next = !doubtful && last.checked_add(1) == Some(line.seq);
            if !is_next && !segments.unknown.excuses(last, line.seq) {
                return Err(damaged());
            }
            (doubtful, last) = (false, line.seq);
            let said: Said<'_> = serde_json::from_slice(line.bytes).map_err(|_| damaged())?;
            due = due.max(old_at(said.time, settings.of(said.profile.as_deref())));
            self.count += 1;
            if !segments.unknown.has(line.seq) {
                self.tree.push(leaf(line.bytes));
                self.after = line.seq;
                match line.event {
                    "log.key" => match introduced(&line).map_err(|_| damaged())? {
                        Introduced::Seals(key) => {
                            let kid = key.kid().to_string();
                            if self.kid.as_ref() != Some(&kid) {
                                self.waiting.insert(kid.clone());
                            }
                            self.vkeys.insert(kid, key.to_vkey());
                        }
                        Introduced::Cosigns(key) => {
                            self.seconds.entry(key.kid().to_string()).or_insert((key, false));
                        }
                    },
                    "log.sealed" => {
                        let seal = Sealed::read(&line).map_err(|_| damaged())?;
                        for (key, cosigns) in self.seconds.values_mut().filter(|(_, cosigns)| !cosigns) {
                            *cosigns = is_cosigned(&seal, key);
                        }
                        self.waiting.remove(&seal.kid);
                        self.kid = Some(seal.kid);
                    }
                    "log.accepted" => {
                        let lost = accepted(&line).map_err(|_| damaged())?.size;
                        self.lost = self.lost.max(lost);
                    }
                    _ => {}
                }
            }
        }
        if doubtful && !segments.unknown.excuses(last, next) {
            return Err(damaged());
        }
        self.last = last;
        Ok(due)
    }
}

/// When a record of that time has been kept for so long.
fn old_at(time: Timestamp, term: SignedDuration) -> Timestamp {
    time.checked_add(term).unwrap_or(Timestamp::MAX)
}

/// Whether the log from a segment on holds without the introductions of these keys before it: none of them takes over
/// before it is introduced again. Each start of the daemon does that for all that may still take over, and for all that
/// cosign, which it repeats.
fn is_free_of(
    segments: &Segments,
    from: usize,
    mut waiting: BTreeSet<String>,
    mut seconds: Seconds,
) -> Result<bool, (String, io::Error)> {
    let (mut taken, mut started) = (false, false);
    segments.leaves(from, |line: &Line<'_>| {
        match line.event {
            "log.key" => match introduced(line) {
                Ok(Introduced::Seals(key)) => drop(waiting.remove(key.kid().as_str())),
                Ok(Introduced::Cosigns(key)) => drop(seconds.remove(key.kid().as_str())),
                Err(_) => {}
            },
            "log.sealed" => {
                taken |= Sealed::read(line).is_ok_and(|seal| {
                    let takes = |(key, cosigns): &(Arc<Cosigner>, bool)| !cosigns && is_cosigned(&seal, key);
                    waiting.contains(&seal.kid) || seconds.values().any(takes)
                });
            }
            "daemon.started" => started = true,
            _ => {}
        }
        let is_free = waiting.is_empty() && seconds.is_empty();
        if taken || is_free { Break(()) } else { Continue(()) }
    })?;
    Ok(!taken && (started || waiting.is_empty() && seconds.is_empty()))
}

/// Whether this key cosigned a seal.
fn is_cosigned(seal: &Sealed, key: &Cosigner) -> bool {
    Note::parse(&seal.note).is_ok_and(|note| key.open(&note).is_ok())
}

/// Reads a file, and hashes what it reads.
struct Hashing<'a>(File, &'a mut Context);

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

//! Logs that somebody changed, and a verifier that goes on from what it knew before the change.

use super::maker::{Head, Maker, Signer};
use super::*;
use crate::audit::tree::{Tree, leaf};

/// What is put in the place of some bytes of a segment.
#[derive(Clone)]
pub(super) struct Splice {
    pub(super) segment: usize,
    pub(super) begin: usize,
    pub(super) length: usize,
    pub(super) bytes: Vec<u8>,
}

/// A log that somebody changed.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) what: String,
    /// All of it; empty for one that is told by its splice.
    pub(super) segments: Vec<(u64, Vec<u8>)>,
    pub(super) splice: Option<Splice>,
    /// How many segments are left.
    pub(super) kept: Option<usize>,
    /// Another file that says where it begins, or none.
    pub(super) base: Option<Option<Vec<u8>>>,
    /// Segments that are read from an archive.
    pub(super) archive: Option<Vec<(u64, Vec<u8>)>>,
    /// Other keys to verify it with.
    pub(super) keys: Option<Vec<String>>,
    /// The first line that differs.
    pub(super) from: usize,
}

impl Case {
    pub(super) fn whole(what: String, segments: Vec<(u64, Vec<u8>)>) -> Self {
        Self { what, segments, splice: None, kept: None, base: None, archive: None, keys: None, from: 0 }
    }
    pub(super) fn spliced(what: String, splice: Splice) -> Self {
        Self { splice: Some(splice), ..Self::whole(what, Vec::new()) }
    }
    /// The segments as they are after the change.
    pub(super) fn apply(&self, base: &[(u64, Vec<u8>)]) -> Vec<(u64, Vec<u8>)> {
        let Some(Splice { segment, begin, length, bytes }) = &self.splice else {
            return self.segments.clone();
        };
        let mut segments = base[..self.kept.unwrap_or(base.len())].to_vec();
        segments[*segment].1.splice(begin..&(begin + length), bytes.iter().copied());
        segments
    }
}

/// A sound log, and all that the verifier knows before each of its lines.
pub(super) struct Bench {
    pub(super) log: Maker,
    pub(super) first: Signer,
    pub(super) second: Signer,
    pub(super) lines: Vec<(usize, usize, usize)>,
    snapshots: Vec<Check<'static>>,
    pub(super) trust: &'static Trust,
}

impl Bench {
    pub(super) fn new(make: fn(&Signer, &Signer) -> Maker) -> Self {
        let (first, second) = (Signer::ed25519(), Signer::es256());
        let log = make(&first, &second);
        // Lives as long as the test.
        let trust: &'static Trust = Box::leak(Box::new(trust(&[&first], &log.witness())));
        let (listed, unknown) = listed(&log.segments);
        let unknown: &'static Unknown = Box::leak(Box::new(unknown));
        let mut check = Check::new(trust, unknown);
        log.base.iter().for_each(|base| check.begin(base, None));
        let mut snapshots = Vec::new();
        for (index, (segment, (_, bytes))) in listed.iter().zip(&log.segments).enumerate() {
            let mut lines = Lines::new(&bytes[..]);
            while let Some(raw) = lines.next().unwrap() {
                snapshots.push(check.clone());
                check.line(&raw, segment, index + 1 == log.segments.len());
            }
        }
        assert!(check.finish().is_sound());
        Self { lines: log.lines(), log, first, second, snapshots, trust }
    }

    /// Segment and bytes of each line, without its LF.
    pub(super) fn owned_lines(&self) -> Vec<(usize, Vec<u8>)> {
        let line = |&(segment, begin, end): &(usize, usize, usize)| {
            (segment, self.log.segments[segment].1[begin..end - 1].to_vec())
        };
        self.lines.iter().map(line).collect()
    }

    pub(super) fn is_sound(&self, case: &Case) -> bool {
        let segments = case.apply(&self.log.segments);
        let Some(keys) = &case.keys else {
            return self.verify(&segments).is_sound();
        };
        let mut trust = Trust::new(keys.iter().map(|key| SealKey::from_vkey(key).unwrap()).collect());
        trust.add_checkpoints("witness", &self.log.witness());
        verify_from(self.log.base.as_ref(), &segments, &trust).is_sound()
    }

    pub(super) fn verify(&self, segments: &[(u64, Vec<u8>)]) -> Report {
        verify_from(self.log.base.as_ref(), segments, self.trust)
    }

    /// The same, beginning with the first line that differs, up to the first problem. For logs without records of
    /// unknown durability, on which what a later segment declares has no effect.
    pub(super) fn is_sound_from(&self, line: usize, case: &Case) -> bool {
        let segments = case.apply(&self.log.segments);
        let (listed, unknown) = listed(&segments);
        let (at, begin, _) = self.lines[line];
        let mut check = self.snapshots[line].clone();
        check.unknown = &unknown;
        for (index, (segment, (_, bytes))) in listed.iter().zip(&segments).enumerate().skip(at) {
            let newest = index + 1 == segments.len();
            let begin = if index == at { begin } else { 0 };
            let mut lines = Lines::new(&bytes[begin..]);
            lines.offset = begin as u64;
            let before = self.lines.iter().take(line).filter(|(segment, ..)| *segment == at).count();
            lines.number = if index == at { before as u64 } else { 0 };
            while let Some(raw) = lines.next().unwrap() {
                check.line(&raw, segment, newest);
                if !check.report.is_sound() {
                    return false;
                }
            }
            if bytes.is_empty() && !newest {
                return self.verify(&segments).is_sound();
            }
        }
        check.finish().is_sound()
    }
}

/// What a forger makes of a log up to a line: perhaps another `jti` in one record, and all seals anew with this key.
pub(super) fn forged(
    log: &Maker,
    signer: &Signer,
    changed: Option<usize>,
    until: usize,
) -> Vec<(u64, Vec<u8>)> {
    let mut segments: Vec<(u64, Vec<u8>)> =
        log.segments.iter().map(|(first, _)| (*first, Vec::new())).collect();
    let mut forged = Maker::new();
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    for (at, (segment, begin, end)) in log.lines().into_iter().enumerate() {
        let mut line = log.segments[segment].1[begin..end - 1].to_vec();
        let text = std::str::from_utf8(&line).unwrap().to_owned();
        if changed == Some(at) {
            line = super::tamper::with_crc(text.replacen("jti-", "JTI-", 1).as_bytes());
        }
        if at < until && text.contains("log.sealed") {
            let record: serde_json::Value = serde_json::from_str(&text).unwrap();
            let note = record["note"].as_str().unwrap();
            let size: usize = note.lines().nth(1).unwrap().parse().unwrap();
            let mut tree = Tree::default();
            leaves[..size].iter().for_each(|line| tree.push(leaf(line)));
            forged.next = record["seq"].as_u64().unwrap();
            forged.second = record["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
            let mut own = forged.clone();
            own.segments = vec![(1, Vec::new())];
            own.seal_at(signer, &Head { tree, after: record["after"].as_u64().unwrap() });
            line = own.segments.remove(0).1;
            line.pop();
        }
        segments[segment].1.extend(&line);
        segments[segment].1.push(b'\n');
        leaves.push(line);
    }
    segments
}

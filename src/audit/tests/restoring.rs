//! The tree at open is the tree over what is on disk, whatever happened before, and a seal that cannot be is refused.

use super::recovery::set_private;
use super::*;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::line::{encode, parse};
use crate::audit::tree::{Tree, leaf};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The tree over a log's leaves and the number of the last, made the long way.
fn expected(dir: &Path) -> (Tree, u64) {
    let segments = super::super::segment::list(dir).unwrap().0;
    let read = |name: &String| std::fs::read(dir.join(name)).unwrap();
    let content: Vec<Vec<u8>> = segments.iter().map(|segment| read(&segment.name)).collect();
    let whole = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let end = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        bytes[..end].split(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
    };
    let mut unknown = Vec::new();
    for lines in content.iter().map(|bytes| whole(bytes)) {
        if let Some(line) =
            lines.first().and_then(|line| parse(line).ok()).filter(|l| l.event == "log.resumed")
        {
            unknown.push(line.after.unwrap() + 1..line.seq);
        }
    }
    let (mut tree, mut last) = (Tree::default(), 0);
    for line in content.iter().flat_map(|bytes| whole(bytes)) {
        let Ok(line) = parse(&line) else { continue };
        if !unknown.iter().any(|range| range.contains(&line.seq)) {
            tree.push(leaf(line.bytes));
            last = line.seq;
        }
    }
    (tree, last)
}

/// Compares the tree that the writer has with the one over the disk.
#[track_caller]
fn assert_tree(bench: &Bench, log: &Log) -> Tree {
    let head = wait(log.head()).unwrap();
    assert_eq!((head.tree.clone(), head.last), expected(bench.dir()));
    head.tree
}

/// Seals with a signature that nobody looks at.
pub(in crate::audit) fn seal(log: &Log) -> String {
    let head = wait(log.head()).unwrap();
    let note = note("jwsd/test", &head.tree);
    record(log, sealed(&head.tree, head.last, &note)).unwrap();
    note
}

pub(super) fn note(origin: &str, tree: &Tree) -> String {
    let checkpoint = Checkpoint { origin: origin.to_owned(), size: tree.size(), root: tree.root() };
    format!("{checkpoint}\n\u{2014} {origin} {}\n", BASE64.encode([7; 68]))
}

pub(super) fn sealed(tree: &Tree, after: u64, note: &str) -> Entry {
    Entry {
        kid: Some("k".to_owned()),
        after: Some(after),
        peaks: tree.peaks().iter().map(|peak| BASE64.encode(peak)).collect(),
        note: Some(note.to_owned()),
        ..Entry::new(Event::LogSealed, Outcome::Success)
    }
}

#[test]
fn the_tree_outlasts_starts_and_grows() {
    let bench = Bench::sealed();
    let mut sizes = Vec::new();
    for round in 0..5 {
        let log = bench.open();
        sizes.push(assert_tree(&bench, &log).size());
        for n in 0..round * 7 {
            record(&log, issued(n)).unwrap();
            if n == 3 {
                seal(&log);
            }
        }
        assert_tree(&bench, &log);
        wait(log.close());
    }
    assert_eq!(sizes, [0, 0, 8, 23, 45]);
}

#[test]
fn records_of_unknown_durability_are_no_leaves() {
    let faults: [fn(&FaultyDisk); 4] = [
        |disk| disk.sync.store(1, Ordering::SeqCst),
        |disk| disk.write.store(1, Ordering::SeqCst),
        |disk| disk.short.store(1, Ordering::SeqCst),
        // The declaration fails as well, and is declared by the next.
        |disk| disk.sync.store(2, Ordering::SeqCst),
    ];
    let bench = Bench::sealed();
    let mut log = bench.open();
    for (round, fault) in faults.iter().cycle().take(12).enumerate() {
        record(&log, issued(round)).unwrap();
        if round % 3 == 1 {
            seal(&log);
        }
        fault(&bench.disk);
        // What fails may be a seal, too: then it is none.
        let head = wait(log.head()).unwrap();
        let lost = sealed(&head.tree, head.last, &note("jwsd/test", &head.tree));
        assert!(record(&log, if round % 2 == 0 { lost } else { issued(1) }).is_err());
        heals(&log);
        assert_tree(&bench, &log);
        if round % 4 == 2 {
            wait(log.close());
            log = bench.open();
            assert_tree(&bench, &log);
        }
    }
    wait(log.close());
    bench.assert_sound();
    let log = bench.open();
    assert_tree(&bench, &log);
}

#[test]
fn a_log_that_is_down_has_no_head_to_sign() {
    let bench = Bench::sealed();
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    let before = assert_tree(&bench, &log);
    bench.disk.sync.store(1, Ordering::SeqCst);
    bench.disk.sync_all.store(u32::MAX, Ordering::SeqCst);
    assert!(record(&log, issued(2)).is_err());
    let error = wait(log.head()).err().unwrap();
    assert!(!error.reason.is_empty());
    bench.disk.sync_all.store(0, Ordering::SeqCst);
    heals(&log);
    assert!(assert_tree(&bench, &log).size() > before.size());
    wait(log.close());
    assert!(wait(log.head()).is_err(), "nor has one that is closed");
    let unsealed = Bench::quick();
    assert!(wait(unsealed.open().head()).is_err(), "nor one that is not sealed");
}

#[test]
fn every_cut_leaves_a_tree_over_what_is_left() {
    let bench = Bench::sealed();
    let log = bench.open();
    for n in 0..4 {
        record(&log, issued(n)).unwrap();
        seal(&log);
    }
    record(&log, issued(5)).unwrap();
    wait(log.close());
    let whole = std::fs::read(bench.segment(1)).unwrap();
    for cut in (0..=whole.len()).rev().step_by(7) {
        for first in bench.segments() {
            std::fs::remove_file(bench.segment(first)).unwrap();
        }
        std::fs::write(bench.segment(1), &whole[..cut]).unwrap();
        set_private(&bench.segment(1));
        let log = bench.open();
        assert_tree(&bench, &log);
        wait(log.close());
    }
}

#[test]
fn a_log_that_was_never_sealed_is_read_as_a_whole() {
    let bench = Bench::sealed();
    let mut unsealed = Bench::quick();
    unsealed.filled(30);
    unsealed.filled(30);
    unsealed.settings.checkpoint.clone_from(&bench.settings.checkpoint);
    let log = unsealed.open();
    assert_eq!(assert_tree(&unsealed, &log).size(), 60);
}

/// Puts another record in place of the one with this number, with a checksum that fits.
fn replace(bench: &Bench, seq: u64, change: impl Fn(&str) -> String) {
    let path = bench.segment(1);
    let mut bytes = Vec::new();
    for line in std::fs::read(&path).unwrap().split_inclusive(|&b| b == b'\n') {
        let record = parse(&line[..line.len() - 1]).unwrap();
        if record.seq != seq {
            bytes.extend_from_slice(line);
            continue;
        }
        let text = std::str::from_utf8(line).unwrap();
        let body = text.split_once("Z\",").unwrap().1.rsplit_once(",\"crc\"").unwrap().0;
        encode(&mut bytes, record.seq, record.time, change(body).as_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
}

/// Of the body of a seal; it is given a hash that fits nowhere.
type Change = fn(&str, &str) -> String;

#[test]
fn a_seal_that_contradicts_itself_is_refused() {
    let other = BASE64.encode([1; 32]);
    let changes: [(&str, Change); 5] = [
        ("peaks", |body, other| {
            let (before, after) = body.split_once("\"peaks\":[\"").unwrap();
            format!("{before}\"peaks\":[\"{other}{}", &after[44..])
        }),
        ("covers records up to", |body, _| body.replace("\"after\":5", "\"after\":4000000000")),
        ("peaks", |body, _| body.replace("\\n5\\n", "\\n4\\n")),
        ("note", |body, _| body.replace("\u{2014}", "-")),
        ("incomplete", |body, _| body.replace("\"kid\":\"k\",", "")),
    ];
    for (word, change) in changes {
        let bench = Bench::sealed();
        bench.filled(5);
        let log = bench.open();
        seal(&log);
        wait(log.close());
        // In one segment, for the sake of `replace`.
        let second = std::fs::read(bench.segment(6)).unwrap();
        let first = std::fs::read(bench.segment(1)).unwrap();
        std::fs::write(bench.segment(1), [first, second].concat()).unwrap();
        std::fs::remove_file(bench.segment(6)).unwrap();
        wait(bench.open().close());
        replace(&bench, 6, |body| change(body, &other));
        let error = bench.try_open().err().unwrap_or_else(|| panic!("{word}"));
        assert!(matches!(error, super::super::OpenError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn only_the_end_of_a_large_log_is_read() {
    let bench = Bench::sealed();
    wait(bench.open().close());
    let (mut bytes, mut body) = (Vec::new(), Vec::new());
    super::super::queue::serialize_body(&issued(1), &mut body).unwrap();
    let (mut tree, mut seq) = (Tree::default(), 0);
    while bytes.len() < 32 * 1024 * 1024 {
        seq += 1;
        let start = bytes.len();
        encode(&mut bytes, seq, "2026-11-24T08:00:00.000000Z", &body);
        tree.push(leaf(&bytes[start..bytes.len() - 1]));
    }
    let mut body = Vec::new();
    let entry = sealed(&tree, seq, &note("jwsd/test", &tree));
    super::super::queue::serialize_body(&entry, &mut body).unwrap();
    encode(&mut bytes, seq + 1, "2026-11-24T08:00:00.000000Z", &body);
    std::fs::write(bench.segment(1), &bytes).unwrap();
    set_private(&bench.segment(1));
    let (log, read) = bytes_read(|| bench.open());
    assert_eq!(wait(log.head()).unwrap().tree.size(), seq + 1);
    let size = bytes.len() as u64;
    assert!(0 < read && read < size / 8, "{read} of {size} bytes");
}

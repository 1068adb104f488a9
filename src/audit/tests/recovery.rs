//! What a crash leaves, and what the next start makes of it.

use super::*;
use crate::audit::OpenError;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

#[test]
fn a_start_goes_on_in_a_new_segment() {
    let bench = Bench::new();
    bench.filled(5);
    let log = bench.open();
    assert_eq!(log.health().durable, 5);
    record(&log, issued(6)).unwrap();
    wait(log.close());
    assert_eq!(bench.segments(), [1, 6]);
    assert_eq!(bench.assert_sound().last, 6);
}

#[test]
fn every_cut_within_the_last_two_lines_is_recovered() {
    let bench = Bench::quick();
    let whole = bench.filled(4);
    let ends: Vec<usize> = (0..whole.len()).filter(|&i| whole[i] == b'\n').map(|i| i + 1).collect();
    for cut in ends[1]..=whole.len() {
        for first in bench.segments() {
            std::fs::remove_file(bench.segment(first)).unwrap();
        }
        std::fs::write(bench.segment(1), &whole[..cut]).unwrap();
        set_private(&bench.segment(1));
        let kept = *ends.iter().rev().find(|&&end| end <= cut).unwrap();
        let log = bench.open();
        record(&log, issued(9)).unwrap();
        wait(log.close());
        assert_eq!(std::fs::read(bench.segment(1)).unwrap(), &whole[..kept], "only the torn line went");
        bench.assert_sound();
        let lines = bench.lines();
        let recovered: Vec<_> =
            lines.iter().map(|l| json(l)).filter(|l| l["event"] == "log.recovered").collect();
        if kept == cut {
            assert!(recovered.is_empty());
            continue;
        }
        assert_eq!(recovered.len(), 1);
        assert_eq!(recovered[0]["dropped"], cut - kept);
        assert_eq!(recovered[0]["segment"], "00000000000000000001.jsonl");
        assert_eq!(recovered[0]["sha256"], sha256(&whole[kept..cut]));
    }
}

#[test]
fn long_garbage_at_the_end_goes_but_nothing_before_a_valid_record() {
    let bench = Bench::new();
    let whole = bench.filled(60);
    let mut damaged = whole.clone();
    damaged[30] ^= 1;
    let zeros = vec![0; 500_000];
    std::fs::write(bench.segment(1), [&damaged[..], &zeros[..]].concat()).unwrap();
    let log = bench.open();
    assert_eq!(log.health().durable, 61, "60 and the record of the recovery");
    wait(log.close());
    assert_eq!(std::fs::read(bench.segment(1)).unwrap(), damaged, "damage in the middle is evidence");
    let recovered = json(bench.lines().last().unwrap());
    assert_eq!(recovered["dropped"], 500_000);
    assert_eq!(recovered["sha256"], sha256(&zeros));
    let report = bench.verify();
    assert_eq!(report.problem_count, 2, "{report:#?}");
    assert!(report.problems[0].what.contains("crc") && report.problems[0].line == 1);
}

#[test]
fn empty_and_wholly_torn_segments_are_passed_over() {
    let bench = Bench::new();
    bench.filled(3);
    for (first, content) in [(4, "{\"seq\":4,\"ti"), (5, "")] {
        std::fs::write(bench.segment(first), content).unwrap();
        set_private(&bench.segment(first));
    }
    std::fs::write(bench.dir().join("spare"), "").unwrap();
    set_private(&bench.dir().join("spare"));
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    wait(log.close());
    assert_eq!(bench.segments(), [1, 4]);
    assert_eq!(bench.assert_sound().last, 5);
    assert_eq!(json(&bench.lines()[3])["event"], "log.recovered");
}

/// Three records one by one, six with one write. Gives the bytes and where each line ends.
fn written_together(bench: &Bench, last: Entry) -> (Vec<u8>, Vec<usize>) {
    let log = bench.open();
    (1..4).for_each(|n| record(&log, issued(n)).unwrap());
    let entries = (4..9).map(issued).chain([last]).collect();
    wait(async { log.append(entries).unwrap().durable().await }).unwrap();
    wait(log.close());
    let bytes = std::fs::read(bench.segment(1)).unwrap();
    let ends = (0..bytes.len()).filter(|&i| bytes[i] == b'\n').map(|i| i + 1).collect();
    (bytes, ends)
}

#[test]
fn what_a_power_loss_spoils_before_the_last_record_is_declared() {
    // Lines of the last write, from 0, and the last record before them.
    for (spoiled, after) in [(3..4, 3), (3..6, 3), (5..6, 5), (7..8, 7), (0..8, 0)] {
        let bench = Bench::quick();
        let (mut bytes, ends) = written_together(&bench, issued(9));
        let start = if spoiled.start == 0 { 0 } else { ends[spoiled.start - 1] };
        bytes[start..ends[spoiled.end - 1] - 1].fill(0);
        std::fs::write(bench.segment(1), &bytes).unwrap();
        wait(bench.open().close());
        assert_eq!(std::fs::read(bench.segment(1)).unwrap(), bytes, "nothing is dropped");
        let resumed = json(bench.lines().last().unwrap());
        assert_eq!(
            (&resumed["event"], &resumed["rules"][0]),
            (&"log.resumed".into(), &"segment-spoiled".into())
        );
        assert_eq!((&resumed["after"], &resumed["unknown"]), (&after.into(), &(9 - after).into()));
        let gaps = bench.assert_sound().gaps;
        assert_eq!(
            (gaps[0].after, gaps[0].unknown, gaps[0].missing),
            (after, 9 - after, spoiled.len() as u64)
        );
        wait(bench.open().close());
        assert_eq!(bench.assert_sound().gaps.len(), 1, "declared once");
    }
}

#[test]
fn damage_is_not_passed_off_as_a_power_loss() {
    let sealed = |after| Entry { after: Some(after), ..Entry::new(Event::LogSealed, Outcome::Success) };
    type Damage = fn(&mut Vec<u8>, &[usize]);
    let flip: Damage = |bytes, ends| bytes[ends[4] + 20] ^= 1;
    for (last, damage) in [
        // In an earlier write.
        (issued(9), (|bytes, _| bytes[20] ^= 1) as Damage),
        // A line that is gone leaves no bytes, one that was put in no missing number.
        (issued(9), |bytes, ends| drop(bytes.drain(ends[4]..ends[5]))),
        (issued(9), |bytes, ends| drop(bytes.splice(ends[4]..ends[4], *b"{}\n"))),
        // A later record says that it was durable.
        (sealed(8), flip),
    ] {
        let bench = Bench::quick();
        let (mut bytes, ends) = written_together(&bench, last);
        damage(&mut bytes, &ends);
        std::fs::write(bench.segment(1), &bytes).unwrap();
        wait(bench.open().close());
        assert!(!bench.verify().is_sound(), "{:#?}", bench.verify());
    }
    let bench = Bench::quick();
    let (mut bytes, ends) = written_together(&bench, sealed(5));
    flip(&mut bytes, &ends);
    std::fs::write(bench.segment(1), &bytes).unwrap();
    wait(bench.open().close());
    assert_eq!(bench.assert_sound().gaps[0].after, 5, "it says nothing of this one");
}

#[test]
fn a_crash_copy_opens_again_and_gives_the_reserve_back() {
    let bench = Bench::new();
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    let copy = Bench::new();
    wait(copy.open().close());
    // As a kill leaves it: reserve beyond the end, a spare.
    let file = File::create(copy.segment(1)).unwrap();
    KernelDisk.reserve(&file, MIN_SEGMENT).unwrap();
    (&file).write_all(&std::fs::read(bench.segment(1)).unwrap()).unwrap();
    set_private(&copy.segment(1));
    wait(copy.open().close());
    assert!(copy.segment(1).metadata().unwrap().blocks() * 512 < MIN_SEGMENT);
    assert_eq!(copy.assert_sound().records, 1);
}

#[test]
fn contradictions_and_foreign_files_stop_the_start() {
    let bench = Bench::new();
    bench.filled(3);
    std::fs::rename(bench.segment(1), bench.segment(100)).unwrap();
    let open = || Log::open(&bench.settings, Arc::new(SystemClock)).err().unwrap();
    let error = open();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    std::fs::remove_file(bench.segment(100)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", bench.segment(2)).unwrap();
    wait(bench.open().close());
    assert_eq!(bench.verify().problem_count, 1, "a link is no segment");
}

#[test]
fn a_large_segment_is_read_once_at_most() {
    let bench = Bench::new();
    wait(bench.open().close());
    let mut bytes = Vec::new();
    let mut body = Vec::new();
    super::super::queue::serialize_body(&issued(1), &mut body).unwrap();
    let mut seq = 0;
    while bytes.len() < 64 * 1024 * 1024 {
        seq += 1;
        super::super::line::encode(&mut bytes, seq, "2026-11-24T08:00:00.000000Z", &body);
    }
    bytes.extend_from_slice(b"{\"seq\":");
    std::fs::write(bench.segment(1), &bytes).unwrap();
    set_private(&bench.segment(1));
    let (log, read) = bytes_read(|| bench.open());
    assert_eq!(log.health().durable, seq + 1);
    let size = bytes.len() as u64;
    assert!(0 < read && read < size + size / 8, "{read} of {size} bytes");
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

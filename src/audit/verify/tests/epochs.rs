//! Which key may seal from where on, and what a seal must say.

use super::maker::{issued, two_hundred};
use super::*;
use crate::audit::{Entry, Event, Outcome};

#[test]
fn a_sound_log_is_sound_with_and_without_its_key() {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let log = two_hundred(&first, &second);
    let report = verify_segments(&log.segments, &trust(&[&first], &log.witness()));
    assert_sound(&report);
    assert_eq!((report.records, report.segments, report.gaps.len()), (200, 5, 1));
    let sealing = report.sealing.unwrap();
    assert!(sealing.checked);
    assert_eq!((sealing.size, sealing.after, sealing.uncovered), (199, log.last - 1, 0));
    assert_eq!((sealing.seals, report.checkpoints.found), (11, 11));
    let epochs: Vec<_> = sealing.epochs.iter().map(|e| (e.kid.clone(), e.from)).collect();
    assert_eq!(epochs, [(first.kid(), 1), (second.kid(), 77)]);
    assert_eq!(sealing.late, None);

    let report = verify_segments(&log.segments, &trust(&[], &log.witness()));
    assert_sound(&report);
    let sealing = report.sealing.unwrap();
    assert!(!sealing.checked && sealing.epochs.len() == 2);
}

#[test]
fn a_log_that_goes_on_is_sound_and_its_old_seal_is_told() {
    let signer = Signer::es256();
    let mut log = Maker::new();
    log.seal_at(&signer, &log.head());
    // A seal over nothing says nothing.
    assert!(!verify_segments(&log.segments, &trust(&[&signer], "")).is_sound());
    let mut log = Maker::new();
    for _ in 0..4 {
        log.issue(10);
        log.seal(&signer);
    }
    log.issue(20);
    let sealing = verify_segments(&log.segments, &trust(&[&signer], "")).sealing.unwrap();
    assert_eq!((sealing.uncovered, sealing.late), (20, None));
    log.issue(20);
    log.segments[0].1.extend(b"{\"seq\":");
    let report = verify_segments(&log.segments, &trust(&[&signer], ""));
    assert_sound(&report);
    assert!(report.open_tail.is_some());
    assert_eq!(report.sealing.unwrap().late, Some(Late { behind: 40, every: 11 }));
}

#[test]
fn an_unsealed_log_and_a_wrong_key_are_refused() {
    let (signer, other) = (Signer::ed25519(), Signer::ed25519());
    let mut log = Maker::new();
    log.issue(3);
    assert_sound(&verify_segments(&log.segments, &trust(&[], "")));
    assert_finds(&verify_segments(&log.segments, &trust(&[&signer], "")), "has no seal");
    log.seal(&signer);
    assert_sound(&verify_segments(&log.segments, &trust(&[&other, &signer], "")));
    assert_finds(&verify_segments(&log.segments, &trust(&[&other], "")), "none of those that were given");
    // It claims to be by the right key, and is not.
    let mut forged = Maker::new();
    forged.issue(3);
    forged.seal(&other);
    let forged = resealed(&forged, |line| line.replace(&other.kid(), &signer.kid()));
    assert_finds(&verify_segments(&forged, &trust(&[&signer], "")), "not signed by this key");
}

#[test]
fn another_key_seals_only_once_a_seal_covers_its_introduction() {
    let (first, second, third) = (Signer::ed25519(), Signer::es256(), Signer::ed25519());
    let given = trust(&[&first], "");
    let mut log = Maker::new();
    log.issue(2);
    log.seal(&first);
    let mut stranger = log.clone();
    stranger.seal(&second);
    assert_finds(&verify_segments(&stranger.segments, &given), "no record introduced");
    // To have been given is to be where trust begins, not to take over.
    assert_finds(
        &verify_segments(&stranger.segments, &trust(&[&first, &second], "")),
        "no record introduced",
    );
    log.introduce(&second);
    log.introduce(&third);
    let mut hasty = log.clone();
    hasty.seal(&second);
    assert_finds(&verify_segments(&hasty.segments, &given), "no record introduced");
    log.seal(&first);
    log.seal(&second);
    log.seal(&second);
    assert_sound(&verify_segments(&log.segments, &given));
    let mut back = log.clone();
    back.seal(&first);
    assert_finds(&verify_segments(&back.segments, &given), "no record introduced");
    // Unless the key that seals now introduces it again.
    let mut again = log.clone();
    again.introduce(&first);
    again.seal(&second);
    again.seal(&first);
    assert_sound(&verify_segments(&again.segments, &given));
    log.seal(&third);
    assert_sound(&verify_segments(&log.segments, &given));
    log.seal(&second);
    assert_finds(&verify_segments(&log.segments, &given), "no record introduced");
}

#[test]
fn a_seal_says_nothing_but_what_is_so() {
    let signer = Signer::ed25519();
    let given = trust(&[&signer], "");
    let mut log = Maker::new();
    log.issue(5);
    let old = log.head();
    log.seal(&signer);
    log.issue(3);
    log.seal(&signer);
    assert_sound(&verify_segments(&log.segments, &given));
    let mut repeated = log.clone();
    repeated.seal_at(&signer, &old);
    assert_finds(&verify_segments(&repeated.segments, &given), "an old one");
    for (from, to, what) in [
        ("\"after\":9", "\"after\":8", "covers records up to 8, but"),
        ("\"outcome\":\"success\"", "\"outcome\":\"failed\"", "not written as"),
        ("\"after\":9", "\"object\":\"x\",\"after\":9", "not written as"),
        ("\"kid\":", "\"Kid\":", "lacks"),
        ("\"peaks\":[\"", "\"peaks\":[\"AAAA", "peaks"),
        ("jti-7", "jti-6", "does not fit the records: between 6 and 9"),
        ("log.sealed", "log.seaIed", "not written"),
    ] {
        let changed = resealed(&log, |line| line.replacen(from, to, 1));
        let report = verify_segments(&changed, &given);
        if to == "log.seaIed" {
            // Of a log without the last of its seals only a witness can tell.
            assert_finds(
                &verify_segments(&changed, &trust(&[&signer], &log.witness())),
                "none of the log's seals",
            );
        } else {
            assert_finds(&report, what);
        }
    }
    let mut ahead = log.clone();
    let mut longer = log.clone();
    longer.issue(4);
    ahead.seal_at(&signer, &longer.head());
    assert_finds(&verify_segments(&ahead.segments, &given), "but there are 10 before it");
    let mut bad_key = log.clone();
    bad_key.record(&Entry {
        kid: Some("another".to_owned()),
        vkey: Some(signer.key.to_vkey()),
        ..Entry::new(Event::LogKey, Outcome::Success)
    });
    assert_finds(&verify_segments(&bad_key.segments, &given), "different keys");
}

#[test]
fn records_of_unknown_durability_are_no_leaves() {
    let signer = Signer::ed25519();
    for (left, torn) in [(0, false), (0, true), (2, false), (2, true), (4, false)] {
        let mut log = Maker::new();
        log.issue(5);
        log.seal(&signer);
        log.issue(2);
        log.gap(4, left, torn);
        // And again, before anything was acknowledged.
        log.last = 8;
        log.tree = tree_of(&log, 8);
        log.gap(9, 2, torn);
        log.issue(2);
        log.seal(&signer);
        let report = verify_segments(&log.segments, &trust(&[&signer], &log.witness()));
        assert_sound(&report);
        assert_eq!(report.gaps.len(), 2);
        let mut counted = log.clone();
        counted.tree.push([1; 32]);
        counted.seal(&signer);
        assert!(!verify_segments(&counted.segments, &trust(&[&signer], "")).is_sound());
    }
}

/// The tree over the records up to this number.
fn tree_of(log: &Maker, last: u64) -> crate::audit::tree::Tree {
    let mut tree = crate::audit::tree::Tree::default();
    for line in log.segments[0].1.split(|&b| b == b'\n') {
        if let Ok(line) = crate::audit::parse(line)
            && line.seq <= last
        {
            tree.push(crate::audit::tree::leaf(line.bytes));
        }
    }
    tree
}

#[test]
fn a_seal_may_lag_only_so_far() {
    let signer = Signer::ed25519();
    let mut log = Maker::new();
    log.record(&issued(1));
    let head = log.head();
    let given = trust(&[&signer], "");
    for (behind, sound) in [(9, true), (10, true), (11, false)] {
        let mut late = log.clone();
        late.issue(behind);
        late.seal_at(&signer, &head);
        late.issue(100);
        late.seal(&signer);
        let unknown = Unknown::default();
        let mut check = Check::new(&given, &unknown);
        check.seals.farthest = 10;
        check.segment(&late.segments[0].1[..], &listed(&late.segments).0[0], true, &mut |_| {}).unwrap();
        let report = check.finish();
        assert_eq!(report.is_sound(), sound, "{behind} {:#?}", report.problems);
        assert_eq!(
            report.sealing.unwrap().size,
            102 + behind as u64,
            "what was too far to keep counts as well"
        );
    }
}

/// Each line changed, with its checksum made right again.
fn resealed(log: &Maker, change: impl Fn(&str) -> String) -> Vec<(u64, Vec<u8>)> {
    let of = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).unwrap();
        let lines = text.lines().map(|line| tamper::with_crc(change(line).as_bytes()));
        lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
    };
    log.segments.iter().map(|(first, bytes)| (*first, of(bytes))).collect()
}

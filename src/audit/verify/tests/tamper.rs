//! Every change of a sealed log is found, by whoever knows its first key and has what a witness kept.

use super::changed::{Bench, Case, Splice, forged};
use super::maker::two_hundred;
use super::shorten::retained;
use super::*;
use std::collections::BTreeMap;

/// How many of each kind of change are tried: some in a test, all of them in the campaign.
fn most(few: usize) -> usize {
    std::env::var("JWSD_TORTURE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// The line with the checksum that it should have.
pub(super) fn with_crc(line: &[u8]) -> Vec<u8> {
    let covered = &line[..line.len() - 18];
    [covered, format!(",\"crc\":\"{:08x}\"}}", crc32fast::hash(covered)).as_bytes()].concat()
}

/// Every so many of them, so that there are `most` at most, from another one on each day.
fn some<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let step = all.len().div_ceil(most.max(1)).max(1);
    let from = usize::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap() % step;
    all.into_iter().skip(from).step_by(step).collect()
}

/// Lines without their LF, each with its segment.
type OwnLines = Vec<(usize, Vec<u8>)>;

/// Lines by number, changed into others: a case that begins with the first that differs.
fn lines_case(bench: &Bench, what: String, change: impl Fn(&mut OwnLines)) -> Case {
    let mut lines = bench.owned_lines();
    change(&mut lines);
    let mut segments: Vec<(u64, Vec<u8>)> =
        bench.log.segments.iter().map(|(first, _)| (*first, Vec::new())).collect();
    for (segment, line) in lines {
        segments[segment].1.extend(line);
        segments[segment].1.push(b'\n');
    }
    Case::whole(what, segments)
}

/// Numbered anew, with checksums made right: what an attacker does who knows the format.
fn repair(bench: &Bench, lines: &mut [(usize, Vec<u8>)]) {
    let mut next = bench.log.base.as_ref().map_or(1, |base| base.after + 1);
    for (_, line) in lines {
        let parsed = crate::audit::parse(line).unwrap();
        // What a gap left out stays left out.
        next = if parsed.event == "log.resumed" { parsed.seq } else { next };
        let text = std::str::from_utf8(line).unwrap();
        let rest = text.split_once(',').unwrap().1;
        *line = with_crc(format!("{{\"seq\":{next},{rest}").as_bytes());
        next += 1;
    }
}

/// Lines deleted, swapped, repeated, and seals taken out or put in the place of others; as they are, and repaired.
fn line_cases(bench: &Bench) -> Vec<Case> {
    let lines = bench.owned_lines();
    let is_seal = |at: usize| lines[at].1.windows(10).any(|w| w == b"log.sealed");
    let mut cases = Vec::new();
    for repaired in [false, true] {
        let how = if repaired { " and repaired" } else { "" };
        let mut add = |what: String, change: &dyn Fn(&mut OwnLines)| {
            cases.push(lines_case(bench, format!("{what}{how}"), |lines| {
                change(lines);
                if repaired {
                    repair(bench, lines);
                }
            }));
        };
        for at in 0..lines.len() {
            add(format!("record {at} deleted"), &|lines| drop(lines.remove(at)));
            add(format!("record {at} repeated"), &|lines| lines.insert(at, lines[at].clone()));
            if at > 0 {
                add(format!("record {at} swapped with the one before"), &|lines| {
                    let (a, b) = (lines[at - 1].1.clone(), lines[at].1.clone());
                    (lines[at - 1].1, lines[at].1) = (b, a);
                });
            }
            if is_seal(at) && at + 1 < lines.len() {
                add(format!("an older head (seal {at}) in place of the last one"), &|lines| {
                    let old = lines[at].1.clone();
                    lines.last_mut().unwrap().1 = old;
                });
                add(format!("nothing after the older head (seal {at})"), &|lines| lines.truncate(at + 1));
            }
        }
        add("no seals".to_owned(), &|lines| {
            lines.retain(|(_, line)| !line.windows(10).any(|w| w == b"log.sealed"))
        });
    }
    for case in &mut cases {
        // A segment of which nothing is left is not written.
        let kept = case.segments.iter().rposition(|(_, bytes)| !bytes.is_empty()).map_or(0, |at| at + 1);
        case.segments.truncate(kept);
    }
    cases
}

/// Forgers who seal again: with a key of their own, or a later one, on all of the log or its older part.
fn seal_cases(bench: &Bench) -> Vec<Case> {
    let stranger = Signer::ed25519();
    let mut cases = Vec::new();
    for (who, signer) in [("a stranger", &stranger), ("a later key", &bench.second)] {
        for changed in [None, Some(10), Some(60)] {
            for until in [40, 80, usize::MAX] {
                // What the later key seals by right is no forgery.
                let segments = forged(&bench.log, signer, changed, until);
                if segments != bench.log.segments {
                    cases.push(Case::whole(
                        format!("sealed by {who} up to {until}, {changed:?} changed"),
                        segments,
                    ));
                }
            }
        }
    }
    let mut unsealed = Maker::new();
    unsealed.issue(200);
    cases.push(Case::whole("never sealed".to_owned(), unsealed.segments));
    for (what, key) in [("a stranger's key", &stranger), ("the later key alone", &bench.second)] {
        let mut case = Case::whole(format!("asked with {what}"), bench.log.segments.clone());
        case.keys = Some(vec![key.key.to_vkey()]);
        cases.push(case);
    }
    cases
}

/// One bit of one byte, alone or with the checksum of its line made right after it.
fn flips(bench: &Bench, repaired: bool) -> Vec<(usize, usize, u8)> {
    let mut flips = Vec::new();
    for (at, (_, begin, end)) in bench.lines.iter().enumerate() {
        // Changes of a checksum are undone by the repair.
        let end = if repaired { end - 19 } else { *end };
        flips.extend((*begin..end).flat_map(|byte| (0..8).map(move |bit| (at, byte, bit))));
    }
    flips
}

fn flip_splice(bench: &Bench, (at, byte, bit): (usize, usize, u8), repaired: bool) -> Splice {
    let (segment, begin, end) = bench.lines[at];
    let mut line = bench.log.segments[segment].1[begin..end].to_vec();
    line[byte - begin] ^= 1 << bit;
    if repaired {
        line.pop();
        line = with_crc(&line);
        line.push(b'\n');
    }
    Splice { segment, begin, length: end - begin, bytes: line }
}

/// Whether it is a moment in the record of the last seal, for which nothing vouches until the next one.
fn is_last_time(bench: &Bench, case: &str, at: usize, byte: usize) -> bool {
    let (segment, begin, end) = bench.lines[at];
    let line = &bench.log.segments[segment].1[begin..end];
    let time = line.windows(8).position(|w| w == b"\"time\":\"").unwrap() + 8;
    case.contains("repaired") && at + 1 == bench.lines.len() && (time..time + 27).contains(&(byte - begin))
}

#[test]
fn tamper_bits() {
    for make in [two_hundred, retained] {
        flip_bits(&Bench::new(make));
    }
}

fn flip_bits(bench: &Bench) {
    for (repaired, few) in [(false, 8_000), (true, 2_000)] {
        let (mut tried, mut excused) = (0, 0);
        for flip in some(flips(bench, repaired), most(few)) {
            let case = Case::spliced(
                format!("flipped {flip:?}{}", if repaired { " and repaired" } else { "" }),
                flip_splice(bench, flip, repaired),
            );
            tried += 1;
            if bench.is_sound_from(flip.0, &case) {
                assert!(is_last_time(bench, &case.what, flip.0, flip.1), "not found: {}", case.what);
                excused += 1;
            }
        }
        assert!(tried > 1_000 && excused < 100);
        println!(
            "tamper: {tried} bits flipped (repaired: {repaired}), all found but {excused} in the last seal's own time"
        );
    }
}

#[test]
fn tamper_cuts() {
    let bench = Bench::new(two_hundred);
    let cuts: Vec<(usize, usize)> = bench
        .lines
        .iter()
        .enumerate()
        .flat_map(|(at, (_, begin, end))| (*begin..*end).map(move |b| (at, b)))
        .collect();
    let total = cuts.len();
    let cuts = some(cuts, most(2_000));
    for &(at, byte) in &cuts {
        for whole in [true, false] {
            assert!(
                !bench.is_sound_from(at, &cut(&bench, at, byte, whole)),
                "cut at byte {byte} of line {at}, {whole}"
            );
        }
    }
    println!("tamper: {} of {total} cuts, with and without what follows, all found", cuts.len());
}

/// Cut at a byte: with all that follows, or the one segment alone.
fn cut(bench: &Bench, at: usize, byte: usize, whole: bool) -> Case {
    let (segment, ..) = bench.lines[at];
    let length = bench.log.segments[segment].1.len() - byte;
    let mut case = Case::spliced(
        format!("cut at byte {byte} of segment {segment}, {whole}"),
        Splice { segment, begin: byte, length, bytes: Vec::new() },
    );
    // A segment that nothing is left of stays, as an empty file; the one before is another cut.
    case.kept = whole.then_some(segment + 1);
    case
}

#[test]
fn tamper_lines_and_seals() {
    let bench = Bench::new(two_hundred);
    let cases = [line_cases(&bench), seal_cases(&bench)].concat();
    assert_eq!(told_of(&bench, &cases), 2);
}

#[test]
fn tamper_lines_of_a_log_that_begins_later() {
    let bench = Bench::new(retained);
    assert_eq!(told_of(&bench, &line_cases(&bench)), 1);
}

/// How many of these are told and no problem; all others must be found.
fn told_of(bench: &Bench, cases: &[Case]) -> usize {
    assert!(bench.is_sound(&Case::whole("nothing changed".to_owned(), bench.log.segments.clone())));
    let mut told = 0;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases {
        if bench.is_sound(case) {
            // Nobody vouches for numbers that a gap declares to be unknown, nor for what the last seal does not cover:
            // what is put in there is told, and no more.
            let report = bench.verify(&case.segments);
            assert!(case.what.ends_with("repeated and repaired"), "not found: {}", case.what);
            let (gap, uncovered) = (&report.gaps[0], report.sealing.unwrap().uncovered);
            assert_eq!((gap.unknown - gap.missing) + uncovered, 1, "not found: {}", case.what);
            told += 1;
            continue;
        }
        *kinds.entry(case.what.replace(|c: char| c.is_ascii_digit(), "")).or_default() += 1;
    }
    println!(
        "tamper: {} changes of lines and seals, all found but {told} put in where nobody vouches: {kinds:#?}",
        cases.len()
    );
    told
}

/// Every kind of change, for the second implementation.
pub(super) fn all_cases(bench: &Bench, few: usize) -> Vec<Case> {
    let mut cases = line_cases(bench);
    if bench.log.base.is_none() {
        cases.extend(seal_cases(bench));
    }
    cases = some(cases, most(few).max(100));
    for repaired in [false, true] {
        let how = if repaired { " and repaired" } else { "" };
        cases.extend(some(flips(bench, repaired), most(few)).into_iter().map(|flip| {
            let mut case =
                Case::spliced(format!("flipped {flip:?}{how}"), flip_splice(bench, flip, repaired));
            case.from = flip.0;
            case
        }));
    }
    for (at, (_, begin, end)) in some(bench.lines.iter().enumerate().collect(), most(few)) {
        for whole in [true, false] {
            let mut case = cut(bench, at, (begin + end) / 2, whole);
            case.from = at;
            cases.push(case);
        }
    }
    cases
}

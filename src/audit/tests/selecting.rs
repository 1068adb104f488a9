//! Filters find what says it, all of it, and nothing else.

use super::*;
use crate::audit::Actor;
use crate::audit::select::Filter;

fn asked(filter: &Filter, dir: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    let mut seen = (0, 0);
    filter
        .each(dir, &mut |done, total| seen = (done, total), &mut |line| {
            found.push(line.seq);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen.0, seen.1, "all of it was read");
    found
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn records_are_found_by_what_they_say() {
    let bench = Bench::quick();
    let log = bench.open();
    let by = |name: &str, entry: Entry| Entry {
        actor: Some(Actor { name: some(name), ..Actor::default() }),
        ..entry
    };
    for entry in [
        by("billing", issued(1)),
        by("shop", denied(2)),
        by("shop", Entry { rules: vec!["aud.unknown", "lifetime.max"], ..denied(3) }),
        Entry { kid: some("k-1"), object: some("access"), ..Entry::new(Event::KeyRotated, Outcome::Success) },
        Entry { kid: some("k-1"), ..Entry::new(Event::KeyActivated, Outcome::Failed) },
    ] {
        record(&log, entry).unwrap();
    }
    wait(log.close());
    // Records of a second run are in a second segment.
    let log = bench.open();
    record(&log, by("billing", issued(6))).unwrap();
    wait(log.close());
    assert_eq!(bench.segments(), [1, 6]);

    let events = |events: &[&str]| Filter {
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        ..Filter::default()
    };
    for (filter, numbers) in [
        (Filter::default(), &[1, 2, 3, 4, 5, 6][..]),
        (events(&["jwt.issued"]), &[1, 6]),
        (events(&["key.*", "jwt.denied"]), &[2, 3, 4, 5]),
        (events(&["jwt"]), &[]),
        (Filter { caller: some("shop"), ..Filter::default() }, &[2, 3]),
        (Filter { caller: some("shop"), rule: some("lifetime.max"), ..Filter::default() }, &[3]),
        (Filter { outcome: some("failed"), kid: some("k-1"), ..Filter::default() }, &[5]),
        (Filter { object: some("access"), ..Filter::default() }, &[4]),
        (Filter { jti: some("jti-6"), profile: some("access-token"), ..Filter::default() }, &[6]),
        (Filter { jti: some("jti-6"), caller: some("shop"), ..Filter::default() }, &[]),
        (Filter { request: some("r-2"), ..Filter::default() }, &[2]),
    ] {
        assert_eq!(asked(&filter, bench.dir()), numbers, "{filter:?}");
    }
}

#[test]
fn times_bound_what_is_found() {
    let bench = Bench::quick();
    bench.filled(3);
    let times: Vec<jiff::Timestamp> =
        bench.lines().iter().map(|line| json(line)["time"].as_str().unwrap().parse().unwrap()).collect();
    let between = |from, until| asked(&Filter { from, until, ..Filter::default() }, bench.dir());
    assert_eq!(between(Some(times[1]), None).first(), Some(&2));
    assert_eq!(between(None, Some(times[2])).last(), Some(&2));
    assert!(between(Some(times[0]), Some(times[0])).is_empty());
}

#[test]
fn damage_and_a_torn_end_are_passed_over() {
    let bench = Bench::quick();
    let mut bytes = bench.filled(3);
    let at = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 20;
    bytes[at] ^= 1;
    bytes.extend_from_slice(b"{\"seq\":4,");
    std::fs::write(bench.segment(1), bytes).unwrap();
    assert_eq!(asked(&Filter::default(), bench.dir()), [1, 3]);
}

//! Verification and tailing.

use super::recovery::set_private;
use super::*;
use crate::audit::line::{encode, time_text};
use crate::audit::queue::serialize_body;
use crate::audit::{Actor, BadLine, MAX_LINE, parse, tail::Tail, verify};
use proptest::prelude::*;
use std::io::Write;

/// A closed log of three segments with 30 records, and its lines.
fn three_segments() -> (Bench, Vec<Vec<u8>>) {
    let bench = Bench::quick();
    for part in 0..3 {
        let log = bench.open();
        for n in 0..10 {
            record(&log, issued(part * 10 + n)).unwrap();
        }
        wait(log.close());
    }
    assert_eq!(bench.segments(), [1, 11, 21]);
    let second = std::fs::read(bench.segment(11)).unwrap();
    let lines = second.split_inclusive(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    (bench, lines)
}

#[track_caller]
fn assert_found(bench: &Bench, lines: &[Vec<u8>], what: &str) {
    std::fs::write(bench.segment(11), lines.concat()).unwrap();
    let report = bench.verify();
    assert!(report.problems.iter().any(|p| p.what.contains(what)), "{what}: {report:#?}");
}

#[test]
fn deleted_swapped_repeated_and_edited_lines_are_found() {
    let (bench, lines) = three_segments();
    let clean = bench.assert_sound();
    assert_eq!((clean.records, clean.first, clean.last, clean.segments), (30, 1, 30, 3));
    for i in 0..lines.len() {
        let mut deleted = lines.clone();
        deleted.remove(i);
        assert_found(&bench, &deleted, "missing");
        let mut repeated = lines.clone();
        repeated.insert(i, lines[i].clone());
        assert_found(&bench, &repeated, "repeated");
        let mut edited = lines.clone();
        edited[i][40] ^= 4;
        assert_found(&bench, &edited, "crc");
        if i > 0 {
            let mut swapped = lines.clone();
            swapped.swap(i - 1, i);
            assert_found(&bench, &swapped, "out of order");
        }
    }
    let mut torn = lines.clone();
    torn[9].pop();
    assert_found(&bench, &torn, "no end");
    assert_found(&bench, &[], "is empty");
    std::fs::write(bench.segment(11), lines.concat()).unwrap();
    bench.assert_sound();
}

#[test]
fn every_flipped_bit_is_found() {
    let bench = Bench::quick();
    let whole = bench.filled(3);
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(bench.segment(1), flipped).unwrap();
        let report = bench.verify();
        // The last LF: what remains looks like a line being written.
        let open = report.open_tail.is_some() && report.records == 2;
        assert!(!report.is_sound() || open, "bit {bit}");
    }
}

#[test]
fn missing_renamed_and_open_segments_are_found() {
    let (bench, _) = three_segments();
    let aside = bench.dir().join("aside");
    for (first, what) in [(1, "records 1 to 10"), (11, "records 11 to 20")] {
        std::fs::rename(bench.segment(first), &aside).unwrap();
        let report = bench.verify();
        assert_eq!(report.problem_count, 1, "{report:#?}");
        assert!(report.problems[0].what.contains(what), "{report:#?}");
        std::fs::rename(&aside, bench.segment(first)).unwrap();
    }
    std::fs::rename(bench.segment(11), bench.segment(12)).unwrap();
    assert!(bench.verify().problems[0].what.contains("name says 12"));
    std::fs::rename(bench.segment(12), bench.segment(11)).unwrap();
    std::fs::write(bench.dir().join("7.jsonl"), "").unwrap();
    assert!(bench.verify().problems[0].what.contains("not a segment"));
    std::fs::remove_file(bench.dir().join("7.jsonl")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(bench.segment(1), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(bench.verify().problems[0].what.contains("0644"));
    set_private(&bench.segment(1));
    std::fs::hard_link(bench.segment(1), bench.dir().join("second-name")).unwrap();
    assert!(bench.verify().problems[0].what.contains("more than one name"));
}

/// A line as the writer would make it, for forged logs.
fn line(seq: u64, entry: &Entry) -> Vec<u8> {
    let mut body = Vec::new();
    serialize_body(entry, &mut body).unwrap();
    let mut out = Vec::new();
    encode(&mut out, seq, "2026-11-24T08:00:00.000000Z", &body);
    out
}

#[test]
fn a_gap_counts_only_as_far_as_it_is_declared() {
    let declared = |after, unknown| Entry {
        after: Some(after),
        unknown: Some(unknown),
        ..Entry::new(Event::LogResumed, Outcome::Success)
    };
    // Records 1..=3 are there; the next segment begins with `seq`.
    for (seq, entry, sound) in [
        (6, declared(3, 2), true),
        (6, declared(2, 3), true),
        (6, declared(4, 1), false),
        (6, declared(3, 1), false),
        (6, issued(6), false),
        (6, declared(3, u64::MAX), false),
        (4, declared(3, 0), true),
        (3, declared(2, 0), false),
    ] {
        let bench = Bench::new();
        bench.filled(3);
        std::fs::write(bench.segment(seq), line(seq, &entry)).unwrap();
        set_private(&bench.segment(seq));
        let report = bench.verify();
        assert_eq!(report.is_sound(), sound, "{seq} {entry:?} {report:#?}");
    }
    // Not the first of its segment: no declaration.
    let bench = Bench::new();
    let mut whole = bench.filled(3);
    whole.extend(line(6, &declared(3, 2)));
    std::fs::write(bench.segment(1), whole).unwrap();
    assert!(bench.verify().problems[0].what.contains("records 4 to 5 are missing"));
}

#[test]
fn hostile_content_is_reported_in_bounded_memory() {
    let bench = Bench::new();
    bench.filled(1);
    let endless = vec![b'x'; 3 * MAX_LINE];
    let many = b"\n".repeat(5000);
    std::fs::write(bench.segment(1), [&endless[..], &many[..], &endless[..]].concat()).unwrap();
    let report = bench.verify();
    assert_eq!((report.problems.len(), report.problem_count), (1000, 5001));
    assert_eq!(report.bytes, 6 * MAX_LINE as u64 + 5000);
    assert_eq!(report.problems[0].what, BadLine::Long.to_string());
}

#[test]
fn a_live_log_verifies() {
    let bench = Bench::new();
    let log = bench.open();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                wait(log.append(vec![issued(n); 50]).unwrap().durable()).unwrap();
                n += 1;
            }
        });
        for _ in 0..30 {
            bench.assert_sound();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut steps = Vec::new();
    let report = verify::verify(bench.dir(), &mut |done, total| steps.push((done, total))).unwrap();
    assert_eq!(steps.last(), Some(&(report.bytes, report.bytes)));
    assert!(steps.is_sorted());
}

#[test]
fn the_rest_of_a_torn_line_is_not_read_as_a_line() {
    let bench = Bench::quick();
    bench.filled(1);
    let long = Entry { aud: vec!["x".repeat(256); 100], ..issued(0) };
    // Up to just below the size at which progress is told, so that it is told first at the torn line.
    let mut whole = Vec::new();
    let mut lines = (1..).map(|seq| line(seq, &long));
    let torn = loop {
        let next = lines.next().unwrap();
        if whole.len() + next.len() > 4 * 1024 * 1024 + 20 {
            break next;
        }
        whole.extend(next);
    };
    let (begin, end) = torn.split_at(torn.len() - 10);
    std::fs::write(bench.segment(1), [&whole[..], begin].concat()).unwrap();
    let mut rest = Some(end);
    let report = verify::verify(bench.dir(), &mut |_, _| {
        if let Some(rest) = rest.take() {
            File::options().append(true).open(bench.segment(1)).unwrap().write_all(rest).unwrap();
        }
    })
    .unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.open_tail.map(|tail| tail.bytes), Some(begin.len() as u64));
    assert!(bench.assert_sound().open_tail.is_none());
}

#[test]
fn an_open_tail_is_told_but_is_no_problem() {
    let bench = Bench::new();
    let mut whole = bench.filled(2);
    let length = whole.len() as u64;
    whole.extend(b"{\"seq\":3,");
    std::fs::write(bench.segment(1), whole).unwrap();
    let tail = bench.assert_sound().open_tail.unwrap();
    assert_eq!((tail.offset, tail.bytes), (length, 9));
    assert!(verify::verify(Path::new("/nonexistent"), &mut |_, _| {}).is_err());
}

#[test]
fn tail_gives_the_last_records_across_segments() {
    let (bench, _) = three_segments();
    for count in [0, 1, 10, 15, 30, 99] {
        let seqs: Vec<_> = Tail::open(bench.dir(), count, None)
            .unwrap()
            .map(|line| json(&line.unwrap())["seq"].as_u64().unwrap())
            .collect();
        let from = 31 - count.min(30);
        assert_eq!(seqs, (from..=30).collect::<Vec<_>>(), "last {count}");
    }
    let mut edited = std::fs::read(bench.segment(21)).unwrap();
    edited[40] ^= 1;
    std::fs::write(bench.segment(21), edited).unwrap();
    let items: Vec<_> = Tail::open(bench.dir(), 10, None).unwrap().collect();
    assert_eq!(items[0].as_ref().unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(items[1..].iter().all(Result::is_ok) && items.len() == 10);
}

#[test]
fn tail_follows_rotation_restarts_and_torn_lines() {
    let bench = Bench::new();
    wait(bench.open().close());
    let stop = Arc::new(AtomicBool::new(false));
    let mut tail = Tail::open(bench.dir(), 5, Some(Arc::clone(&stop))).unwrap();
    let (sender, seqs) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in tail.by_ref() {
            sender.send(json(&line.unwrap())["seq"].as_u64().unwrap()).unwrap();
        }
        tail.next().is_none()
    });
    let expect = |range: std::ops::RangeInclusive<u64>| {
        for seq in range {
            assert_eq!(seqs.recv_timeout(Duration::from_secs(10)), Ok(seq));
        }
    };
    let log = bench.open();
    wait(log.append((0..300).map(issued).collect()).unwrap().durable()).unwrap();
    wait(log.close());
    let newest = bench.segment(*bench.segments().last().unwrap());
    let mut torn = std::fs::read(&newest).unwrap();
    torn.extend(b"{\"seq\":301,\"time\":");
    std::fs::write(&newest, torn).unwrap();
    expect(1..=300);
    std::thread::sleep(Duration::from_millis(300));
    let log = bench.open();
    record(&log, issued(302)).unwrap();
    expect(301..=302);
    stop.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap(), "it ends when stopped");
}

#[test]
fn lines_of_another_shape_are_refused() {
    let good = line(1, &issued(1));
    let good = std::str::from_utf8(&good).unwrap().trim_end();
    assert!(parse(good.as_bytes()).is_ok());
    let resealed = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        let covered = &changed[..changed.len() - 18];
        format!("{covered},\"crc\":\"{:08x}\"}}", crc32fast::hash(covered.as_bytes()))
    };
    for (from, to, bad) in [
        ("{\"seq\":1,", "{\"seq\":01,", BadLine::Json),
        ("{\"seq\":1,", "{\"seq\": 1,", BadLine::Order),
        ("{\"seq\":1,", "{\"seq\":99999999999999999999,", BadLine::Json),
        ("{\"seq\":1,", "{", BadLine::Order),
        ("2026-11-24T08:00:00.000000Z", "2026-11-24T08:00:00Z", BadLine::Order),
        ("2026-11-24", "2026-13-24", BadLine::Time),
        ("2026-11-24T08", "2026-11-24t08", BadLine::Time),
        ("2026-11-24T08", "2026-11-24 08", BadLine::Time),
        ("T08:00:00", "T08:00:60", BadLine::Time),
        ("\"event\"", "\"Event\"", BadLine::Order),
        ("\"outcome\":\"success\",", "", BadLine::Json),
        ("\"request\"", "\"seq\":2,\"request\"", BadLine::Json),
        ("\"request\"", "\"crc\":\"00000000\",\"request\"", BadLine::Json),
        ("\"iat\":1", "\"iat\":01", BadLine::Json),
        ("r-1", "r-\u{1}", BadLine::Json),
    ] {
        assert_eq!(parse(resealed(from, to).as_bytes()).err(), Some(bad), "{to}");
    }
    assert_eq!(parse(&good.as_bytes()[..good.len() - 1]).err(), Some(BadLine::Order));
    assert_eq!(parse(format!("{good} ").as_bytes()).err(), Some(BadLine::Order));
    assert_eq!(parse(good.to_uppercase().as_bytes()).err(), Some(BadLine::Order));
}

proptest! {
    #[test]
    fn parse_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(parse(&bytes).is_err());
    }

    #[test]
    fn what_is_written_is_read(
        seq in 1..=u64::MAX,
        seconds in 0..253_402_300_799_i64,
        texts in proptest::collection::vec(".{0,400}", 8),
        number in any::<Option<i64>>(),
    ) {
        let mut texts = texts.into_iter();
        let mut text = || texts.next();
        let entry = Entry {
            request: text(),
            actor: Some(Actor { exe: text(), unit: text(), ..Actor::default() }),
            kid: text(),
            aud: text().into_iter().collect(),
            subject: text(),
            object: text(),
            segment: text(),
            iat: number,
            ..Entry::new(Event::JwtDenied, Outcome::Denied)
        };
        let mut body = Vec::new();
        serialize_body(&entry, &mut body).unwrap();
        let time = time_text(jiff::Timestamp::from_second(seconds).unwrap());
        let mut out = Vec::new();
        encode(&mut out, seq, &time, &body);
        prop_assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
        let line = parse(&out[..out.len() - 1]).unwrap();
        prop_assert_eq!((line.seq, line.event, line.time), (seq, "jwt.denied", time.as_str()));
        let value: serde_json::Value = serde_json::from_slice(line.bytes).unwrap();
        prop_assert_eq!(value["iat"].as_i64(), number);
    }
}

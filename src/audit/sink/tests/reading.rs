//! The cursor: every durable record once and in order, and every gap told.

use super::super::cursor::{Bounds, Found, Gap, Position, Reader, Why};
use super::*;
use crate::audit::segment::segment_name;
use std::ops::ControlFlow;

const ALL: Bounds = Bounds { behind: u64::MAX, told: 0, sent: 0 };

/// Reads until there is nothing more, or a gap.
fn read(reader: &mut Reader, durable: u64, bounds: Bounds) -> (Vec<u64>, Option<Gap>) {
    let mut seqs = Vec::new();
    loop {
        let found = reader.read((durable, ""), bounds, |line, after| {
            assert_eq!((after.seq, after.time.as_str()), (line.seq, line.time));
            seqs.push(line.seq);
            ControlFlow::Continue(())
        });
        match found.unwrap() {
            Found::Records { more: true } => {}
            Found::Records { more: false } => return (seqs, None),
            Found::Gap(gap) => return (seqs, Some(gap)),
        }
    }
}

fn reader(bed: &Bed) -> Reader {
    Reader::new(bed.dir(), Position::default())
}

fn numbers(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}

#[tokio::test]
async fn goes_on_over_segments_and_never_beyond_what_is_durable() {
    let bed = Bed::new();
    bed.record(1500).await;
    assert!(std::fs::read_dir(bed.dir()).unwrap().count() > 5);
    let mut reader = reader(&bed);
    for durable in [0, 1, 2, 700, 700, 1499, 1500] {
        let before = reader.at().seq;
        assert_eq!(read(&mut reader, durable, ALL), (numbers(before + 1, durable), None));
    }
    // From any place, also without knowing where in the segment it is.
    for seq in [0, 1, 699, 1499, 1500] {
        reader.seek(Position::new(seq, String::new()));
        assert_eq!(read(&mut reader, 1500, ALL), (numbers(seq + 1, 1500), None));
    }
    // One at a time, and back.
    reader.seek(Position::default());
    let mut places = Vec::new();
    while reader.at().seq < 1500 {
        let one = reader.read((1500, ""), ALL, |_, after| {
            places.push(after.clone());
            ControlFlow::Break(())
        });
        assert_eq!(one.unwrap(), Found::Records { more: true });
    }
    for place in places.into_iter().step_by(97) {
        let seq = place.seq;
        reader.seek(place);
        assert_eq!(read(&mut reader, 1500, ALL), (numbers(seq + 1, 1500), None));
    }
}

#[tokio::test]
async fn what_is_missing_is_told_once() {
    let bed = Bed::new();
    bed.record(900).await;
    let path = bed.dir().join(segment_name(1));
    let text = std::fs::read_to_string(&path).unwrap();
    // Two lines that are no records any more, and one that is gone.
    let damaged: String = text
        .lines()
        .enumerate()
        .filter(|(index, _)| *index != 19)
        .map(|(index, line)| if [7, 8].contains(&index) { format!("x{line}\n") } else { format!("{line}\n") })
        .collect();
    std::fs::write(&path, damaged).unwrap();
    let mut reader = reader(&bed);
    let gap = |after, next, count, why| Some(Gap { after, next, count, why });
    assert_eq!(read(&mut reader, 900, ALL), (numbers(1, 7), gap(7, 10, 2, Why::Damaged)));
    // Until it is skipped it stays.
    assert_eq!(read(&mut reader, 900, ALL), (Vec::new(), gap(7, 10, 2, Why::Damaged)));
    reader.skip(9);
    assert_eq!(read(&mut reader, 900, ALL), (numbers(10, 19), gap(19, 21, 1, Why::Damaged)));
    reader.skip(20);
    assert_eq!(read(&mut reader, 900, ALL), (numbers(21, 900), None));
    // Who was told of the first is not told again.
    reader.skip(0);
    assert_eq!(
        read(&mut reader, 900, Bounds { told: 9, ..ALL }),
        (numbers(1, 7), gap(9, 10, 0, Why::Damaged))
    );
    // Segments that are gone.
    let segments = crate::audit::segment::list(bed.dir()).unwrap().0;
    for segment in &segments[..2] {
        std::fs::remove_file(bed.dir().join(&segment.name)).unwrap();
    }
    reader.skip(5);
    let first = segments[2].first;
    assert_eq!(read(&mut reader, 900, ALL), (Vec::new(), gap(5, first, first - 6, Why::Removed)));
}

#[tokio::test]
async fn who_is_too_far_behind_skips_an_eighth_more_than_needed() {
    let bed = Bed::new();
    bed.record(900).await;
    let mut reader = reader(&bed);
    let gap = |after, next, count| Some(Gap { after, next, count, why: Why::Behind });
    let bounds = Bounds { behind: 800, ..ALL };
    assert_eq!(read(&mut reader, 900, Bounds { behind: 900, ..ALL }), (numbers(1, 900), None));
    reader.skip(0);
    assert_eq!(read(&mut reader, 900, bounds), (Vec::new(), gap(0, 201, 200)));
    assert_eq!(read(&mut reader, 900, Bounds { told: 150, ..bounds }), (Vec::new(), gap(150, 201, 50)));
    reader.skip(200);
    assert_eq!(read(&mut reader, 900, bounds), (numbers(201, 900), None));
    // What was sent already is sent again, and counts as nothing lost.
    reader.skip(0);
    assert_eq!(read(&mut reader, 900, Bounds { sent: 1, ..bounds }), (numbers(1, 900), None));
    reader.skip(1);
    assert_eq!(read(&mut reader, 900, Bounds { sent: 1, ..bounds }), (Vec::new(), gap(1, 201, 199)));
}

#[test]
fn what_nobody_knows_to_be_durable_is_not_sent_nor_missed() {
    let directory = tempfile::tempdir().unwrap();
    let write = |first: u64, records: &[(u64, &str)]| {
        let lines = records.iter().map(|(seq, rest)| {
            let covered = format!(r#"{{"seq":{seq},"time":"2026-11-24T08:00:00.123456Z",{rest}"#);
            format!("{covered},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(covered.as_bytes()))
        });
        std::fs::write(directory.path().join(segment_name(first)), lines.collect::<String>()).unwrap();
    };
    let plain = r#""event":"jwt.denied","outcome":"denied""#;
    // Numbers 3 to 6 are of unknown durability; 3 and 4 are there all the same.
    write(1, &[(1, plain), (2, plain), (3, plain), (4, plain)]);
    let mut reader = Reader::new(directory.path(), Position::default());
    assert_eq!(read(&mut reader, 2, ALL), (vec![1, 2], None));
    write(7, &[(7, r#""event":"log.resumed","outcome":"success","after":2,"unknown":4"#), (8, plain)]);
    assert_eq!(read(&mut reader, 8, ALL), (vec![7, 8], None));
    // One is missing besides.
    write(1, &[(1, plain), (3, plain)]);
    reader.skip(0);
    let (seqs, gap) = read(&mut reader, 8, ALL);
    assert_eq!((seqs, gap.unwrap()), (vec![1], Gap { after: 1, next: 7, count: 1, why: Why::Damaged }));
}

#[tokio::test]
async fn another_log_is_recognized() {
    let bed = Bed::new();
    bed.record(100).await;
    let lines = bed.lines();
    let time = |seq: usize| {
        serde_json::from_str::<serde_json::Value>(&lines[seq - 1]).unwrap()["time"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let own = |seq, time| Reader::new(bed.dir(), Position::new(seq, time)).is_its_own(100).unwrap();
    assert!(own(0, String::new()) && own(57, time(57)) && own(57, String::new()) && own(100, time(100)));
    assert!(!own(57, "2026-11-24T08:00:00.123456Z".to_owned()) && !own(101, String::new()));
}

//! Appending, group commit, rotation, closing.

use super::*;
use crate::audit::record::{PATH, TEXT};
use crate::audit::{Actor, OpenError, parse};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn a_record_has_the_documented_form() {
    let bench = Bench::new();
    let log = bench.open();
    record(&log, issued(7)).unwrap();
    wait(log.close());
    let text = std::fs::read_to_string(bench.segment(1)).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    let (covered, crc) = line.split_once(",\"crc\":\"").unwrap();
    assert_eq!(crc, format!("{:08x}\"}}", crc32fast::hash(covered.as_bytes())));
    assert!(covered.starts_with("{\"seq\":1,\"time\":\"20"));
    assert_eq!(json(line)["time"].as_str().unwrap().len(), 27);
    let members: Vec<_> = json(line).as_object().unwrap().keys().cloned().collect();
    let expected = "seq time event outcome request profile jti aud iat exp crc";
    assert_eq!(members.join(" "), expected);
}

#[test]
fn eight_threads_share_syncs_and_keep_their_order() {
    const EACH: usize = 400;
    let bench = Bench::new();
    let log = bench.open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = &log;
            scope.spawn(move || {
                let mut tickets = Vec::new();
                for n in 0..EACH / 2 {
                    let entries = vec![denied(thread * EACH + 2 * n), denied(thread * EACH + 2 * n + 1)];
                    tickets.push(log.append(entries).unwrap());
                }
                for mut ticket in tickets {
                    wait(ticket.durable()).unwrap();
                }
            });
        }
    });
    assert_eq!(log.health().durable, 8 * EACH as u64);
    wait(log.close());
    let report = bench.assert_sound();
    assert_eq!((report.records, report.first, report.last), (3200, 1, 3200));
    assert!(report.segments > 1, "it rotated");
    assert!(bench.disk.syncs.load(Ordering::SeqCst) < 1600, "syncs are shared");
    let mut last = [None; 8];
    let mut previous = 0;
    for line in bench.lines() {
        let n: usize = json(&line)["request"].as_str().unwrap()[2..].parse().unwrap();
        assert!(last[n / EACH] < Some(n), "a thread's records are in its order");
        last[n / EACH] = Some(n);
        if n % 2 == 1 {
            assert_eq!(previous, n - 1, "the records of one append are neighbours");
        }
        previous = n;
    }
}

#[test]
fn release_waits_for_the_sync() {
    let bench = Bench::new();
    let log = bench.open();
    let before = bench.disk.syncs.load(Ordering::SeqCst);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let recorded = wait(log.append(vec![issued(1)]).unwrap().release("jwt", deadline)).unwrap();
    assert!(bench.disk.syncs.load(Ordering::SeqCst) > before);
    assert_eq!(*recorded.get(), "jwt");
    assert_eq!(bench.lines().len(), 1);
    assert_eq!(recorded.into_inner(), "jwt");
}

#[test]
fn a_dropped_ticket_leaves_its_record() {
    let bench = Bench::new();
    let log = bench.open();
    drop(log.append(vec![denied(1)]).unwrap());
    wait(log.close());
    assert_eq!(bench.assert_sound().records, 1);
}

#[test]
fn nothing_and_too_much_are_refused() {
    let bench = Bench::new();
    let log = bench.open();
    assert!(log.append(Vec::new()).is_err(), "a release without a record");
    let long = Entry { aud: vec!["\u{1}".repeat(1000); 40], ..issued(1) };
    assert!(log.append(vec![issued(0), long]).is_err());
    record(&log, issued(2)).unwrap();
    assert_eq!(bench.assert_sound().records, 1);
}

#[test]
fn rotates_trims_and_keeps_modes() {
    let bench = Bench::new();
    let log = bench.open();
    // One group larger than a segment is split across two.
    wait(log.append((0..400).map(issued).collect()).unwrap().durable()).unwrap();
    let open = *bench.segments().last().unwrap();
    assert_eq!(log.health().segment, bench.segment(open).file_name().unwrap().to_str().unwrap());
    let blocks = |path: PathBuf| path.metadata().unwrap().blocks() * 512;
    assert!(blocks(bench.segment(open)) >= MIN_SEGMENT, "space is reserved");
    assert!(bench.segment(open).metadata().unwrap().len() < MIN_SEGMENT, "but not part of the file");
    wait(log.close());
    assert!(bench.segments().len() > 1);
    for first in bench.segments() {
        let metadata = bench.segment(first).metadata().unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert!(metadata.blocks() * 512 <= metadata.len().next_multiple_of(4096), "trimmed");
    }
    assert!(!bench.dir().join("spare").exists());
    assert_eq!(bench.dir().metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(bench.assert_sound().records, 400);
}

#[test]
fn close_is_final_and_idempotent() {
    let bench = Bench::new();
    let log = bench.open();
    let tickets: Vec<_> = (0..50).map(|n| log.append(vec![issued(n)]).unwrap()).collect();
    wait(async { tokio::join!(log.close(), log.close()) });
    for mut ticket in tickets {
        wait(ticket.durable()).unwrap();
    }
    assert!(log.append(vec![issued(51)]).is_err());
    assert!(!log.health().healthy);
    assert_eq!(bench.assert_sound().records, 50);
    // A log without a record leaves no segment behind.
    wait(bench.open().close());
    assert_eq!(bench.segments(), [1]);
}

#[test]
fn a_second_daemon_is_refused_until_the_first_ends() {
    let bench = Bench::new();
    let log = bench.open();
    let second = Log::open(&bench.settings, Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("in use by another daemon"));
    record(&log, issued(1)).unwrap();
    wait(log.close());
    wait(bench.open().close());
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let bench = Bench::new();
    wait(bench.open().close());
    std::fs::set_permissions(bench.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = Log::open(&bench.settings, Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(error, OpenError::Insecure { .. }), "{error}");
    std::fs::remove_dir_all(bench.dir()).unwrap();
    std::os::unix::fs::symlink("/tmp", bench.dir()).unwrap();
    let error = Log::open(&bench.settings, Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn a_rule_broken_often_is_recorded_once() {
    let bench = Bench::new();
    let rules = [vec!["b"], vec!["a"; 5000], vec!["b", "c"]].concat();
    record(&bench.open(), Entry { rules, ..denied(1) }).unwrap();
    assert_eq!(json(&bench.lines()[0])["rules"], serde_json::json!(["b", "a", "c"]));
}

#[test]
fn no_jwt_fits_into_a_record() {
    let jwt = format!("eyJ{}.eyJ{}.{}", "a".repeat(107), "b".repeat(120), "c".repeat(86));
    assert!(jwt.len() > TEXT);
    let some = || Some(jwt.clone());
    let entry = Entry {
        request: some(),
        actor: Some(Actor {
            name: some(),
            unit: some(),
            exe: Some("x".repeat(PATH + 1)),
            ..Actor::default()
        }),
        profile: some(),
        policy: some(),
        kid: some(),
        jti: some(),
        aud: vec![jwt.clone()],
        subject: some(),
        object: some(),
        segment: some(),
        sha256: some(),
        ..Entry::new(Event::JwtIssued, Outcome::Success)
    };
    let bench = Bench::new();
    let log = bench.open();
    record(&log, entry).unwrap();
    let line = bench.lines().remove(0);
    assert!(parse(line.as_bytes()).is_ok());
    assert_eq!(line.matches("eyJaaa").count(), 12, "each field is there");
    assert!(!line.contains(&jwt) && !line.contains(&"c".repeat(30)) && line.contains('…'));
    assert!(!line.contains(&"x".repeat(PATH + 1)));
}

/// An editor may leave the newline out, and whoever was broken off the end; neither makes it another environment's.
#[test]
fn a_marker_without_its_newline_is_compared_not_rewritten() {
    for (marker, passes, then) in [
        ("", true, "test\n"),
        ("te", true, "test\n"),
        ("test", true, "test"),
        ("test\r\n", true, "test\r\n"),
        ("other", false, "other"),
        ("testing", false, "testing"),
        ("te\n", false, "te\n"),
    ] {
        let bench = Bench::quick();
        bench.filled(1);
        let path = bench.dir().join("environment");
        std::fs::write(&path, marker).unwrap();
        match Log::open_on(&bench.settings, Arc::new(SystemClock), Arc::<FaultyDisk>::clone(&bench.disk)) {
            Ok(log) => {
                assert!(passes, "{marker:?}");
                wait(log.close());
            }
            Err(OpenError::Environment { found, .. }) => {
                assert!(!passes && marker.contains(&found), "{marker:?}")
            }
            Err(error) => panic!("{marker:?}: {error}"),
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), then);
    }
}

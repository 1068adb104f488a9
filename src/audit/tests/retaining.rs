//! The task that shortens a log, beside the one that seals it.

use super::restoring::note;
use super::sealing::{Bed, EVER, Soft};
use super::*;
use crate::audit::checkpoint::SealKey;
use crate::audit::line::encode;
use crate::audit::retain::{Oldest, Retainer, Settings as Terms, begins, outlook};
use crate::audit::tree::Tree;
use crate::audit::verify::{Trust, verify_with};
use crate::clock::Clock;
use crate::keyring::Ring;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

const DAY: Duration = Duration::from_secs(86_400);

/// So far behind.
struct Late(SignedDuration);

impl Clock for Late {
    fn now(&self) -> Timestamp {
        SystemClock.now() - self.0
    }
}

fn verified(bed: &Bed, key: &Soft, archive: Option<PathBuf>) -> super::super::verify::Report {
    let keys = vec![SealKey::from_vkey(&key.key().to_vkey()).unwrap()];
    let trust = Trust::new(keys).with_archive(archive);
    verify_with(bed.bench.dir(), &trust, &mut |_, _| {}).unwrap()
}

#[tokio::test]
async fn old_segments_go_once_a_seal_covers_the_record_of_it() {
    let key = Soft::new(1);
    let bed = Bed::new(Ring::sample(Some(&key.version(0, EVER)), None));
    let days = SignedDuration::from_hours(24 * 3);
    for round in 0..3 {
        let log = Log::open(&bed.bench.settings, Arc::new(Late(days))).unwrap();
        let mut sealer = bed.sealer(&log);
        for n in 0..20 {
            log.append(vec![issued(round * 100 + n)]).unwrap().durable().await.unwrap();
        }
        assert!(sealer.seal(true).await);
        log.close().await;
    }
    let archive = bed.bench.dir().with_file_name("archive");
    std::fs::create_dir(&archive).unwrap();
    let before = bed.bench.segments();
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    // The last seal of the runs before is covered by this one.
    assert!(sealer.seal(true).await);
    let terms = |days, archive: Option<&PathBuf>| Terms {
        default: DAY * days,
        profiles: BTreeMap::new(),
        archive: archive.cloned(),
    };
    // Too young.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut young = Retainer::new(terms(4, None), log.clone(), Arc::clone(&clock)).unwrap();
    young.once().await.unwrap();
    let look = outlook(bed.bench.dir(), &terms(4, None), SystemClock.now()).unwrap();
    assert_eq!((look.goes.len(), look.next.unwrap().0), (0, super::super::segment::segment_name(1)));
    let look = outlook(bed.bench.dir(), &terms(2, None), SystemClock.now()).unwrap();
    assert_eq!((look.goes.len(), look.segments), (3, 4));

    let mut retainer = Retainer::new(terms(2, Some(&archive)), log.clone(), clock).unwrap();
    let mut done = Box::pin(retainer.once());
    // Nothing goes as long as no seal covers the record that says so.
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut done).await.is_err());
    assert_eq!(bed.bench.segments(), before.iter().copied().chain([before[2] + 21]).collect::<Vec<_>>());
    assert!(sealer.seal(true).await);
    (&mut done).await.unwrap();
    drop(done);
    assert_eq!(bed.bench.segments().len(), 1);
    let begins = log.begins().unwrap().unwrap();
    assert!(SystemClock.now().duration_since(begins) < SignedDuration::from_mins(1), "{begins}");
    assert!(sealer.seal(true).await);
    retainer.once().await.unwrap();
    log.close().await;

    let said: Vec<_> = bed.bench.lines().iter().map(|line| json(line)).collect();
    let said: Vec<_> = said.iter().filter(|record| record["event"] == "log.archived").collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!((said[0]["count"].as_u64(), said[0]["after"].as_u64()), (Some(64), Some(64)));
    assert_eq!(said[0]["object"], archive.display().to_string());
    let report = verified(&bed, &key, None);
    assert!(report.is_sound() && report.first == 65, "{report:#?}");
    let report = verified(&bed, &key, Some(archive));
    assert!(report.is_sound() && report.first == 1, "{report:#?}");
    // It opens again and goes on; a witness that has seen nothing since it begins cannot be compared.
    let witness = bed.bench.dir().with_file_name("witness");
    let said: Vec<_> = bed.bench.lines().iter().map(|line| json(line)).collect();
    let last = said.iter().filter_map(|record| record["note"].as_str()).next_back().unwrap();
    std::fs::write(&witness, format!("{last}\n")).unwrap();
    let mut watched = bed.bench.settings.clone();
    watched.checkpoint.as_mut().unwrap().witnesses = vec![super::super::Witness::File(witness.clone())];
    let open = || Log::open(&watched, Arc::new(SystemClock));
    open().unwrap().close().await;
    let early = note("jwsd/test", &Tree::from_peaks(2, vec![[1; 32]]).unwrap());
    std::fs::write(&witness, format!("{early}\n")).unwrap();
    let error = open().err().unwrap().to_string();
    assert!(error.contains("this log begins later") && error.contains("accept-truncation"), "{error}");
    let log = bed.bench.open();
    log.append(vec![issued(2000)]).unwrap().durable().await.unwrap();
    assert!(bed.sealer(&log).seal(true).await);
    log.close().await;
    assert!(verified(&bed, &key, None).is_sound());
}

#[test]
fn the_oldest_record_is_not_always_the_first() {
    let bench = Bench::quick();
    wait(bench.open().close());
    let write = |first: u64, times: &[&str]| {
        let mut bytes = Vec::new();
        for (seq, time) in (first..).zip(times) {
            encode(
                &mut bytes,
                seq,
                &format!("2026-{time}T00:00:00.000000Z"),
                br#""event":"x","outcome":"success""#,
            );
        }
        std::fs::write(bench.segment(first), bytes).unwrap();
    };
    let day = |text: &str| -> Timestamp { format!("2026-{text}T00:00:00Z").parse().unwrap() };
    let mut oldest = Oldest::default();
    let mut at = |now: &str| oldest.of(bench.dir(), day(now)).unwrap();
    std::fs::remove_file(bench.segment(1)).unwrap_or_default();
    assert_eq!(at("01-09"), None);
    // Begun while the clock was ahead.
    write(1, &["03-01", "03-02", "01-05", "01-06"]);
    assert_eq!(at("01-09"), Some(day("01-05")));
    assert_eq!(begins(bench.dir()).unwrap(), Some(day("01-05")));
    write(5, &["01-07", "01-08", "04-01"]);
    // The clock is ahead, and goes back in the midst of what follows.
    write(8, &["04-02", "01-02"]);
    write(10, &["01-09"]);
    assert_eq!(at("01-09"), Some(day("01-02")));
    // What is being written is read on.
    std::fs::remove_file(bench.segment(8)).unwrap();
    write(10, &["04-03"]);
    let mut oldest = Oldest::default();
    let mut at = |now: &str| oldest.of(bench.dir(), day(now)).unwrap();
    assert_eq!(at("01-09"), Some(day("01-05")));
    write(10, &["04-03", "01-03"]);
    assert_eq!(at("01-09"), Some(day("01-03")));
    // Never later than now.
    write(1, &["03-01"]);
    std::fs::remove_file(bench.segment(5)).unwrap();
    write(10, &["04-03"]);
    assert_eq!(Oldest::default().of(bench.dir(), day("01-09")).unwrap(), Some(day("01-09")));
}

#[test]
fn the_oldest_record_is_looked_for_once() {
    let bench = Bench::quick();
    bench.filled(2000);
    bench.filled(3);
    let mut oldest = Oldest::default();
    let mut at = || bytes_read(|| oldest.of(bench.dir(), SystemClock.now()).unwrap().unwrap());
    let size = std::fs::metadata(bench.segment(1)).unwrap().len();
    let (first, read) = at();
    assert!(read >= size, "{read} of {size} bytes");
    let (again, read) = at();
    assert!(again == first && read < size / 50, "{read} of {size} bytes");
}

#[test]
fn a_beginning_that_nothing_bears_out_is_refused_at_open() {
    let good = format!(
        "{{\"after\":2,\"size\":2,\"peaks\":[\"{}=\"],\"vkey\":\"{}\"}}\n",
        "A".repeat(43),
        Soft::new(1).key().to_vkey()
    );
    for (base, what) in [
        (good.clone(), "the log has no seal"),
        (good.replace(":2,", ":3,"), "it was changed"),
        (good.replace("\"after\":2", "\"after\":1"), "it was changed"),
        (good.replace(",", ", "), "it was changed"),
        (good.replace("jwsd/test", "jwsd test"), "it was changed"),
        (good.trim_end().to_owned(), "it was changed"),
        (String::new(), "it was changed"),
    ] {
        let bench = Bench::sealed();
        bench.filled(5);
        std::fs::write(bench.dir().join("base"), &base).unwrap();
        let error = bench.try_open().err().unwrap().to_string();
        assert!(error.contains("/base: ") && error.contains(what), "{base}: {error}");
        assert!(!bench.verify().is_sound());
    }
}

#[tokio::test]
async fn an_archive_that_cannot_be_written_keeps_everything() {
    let key = Soft::new(1);
    let bed = Bed::new(Ring::sample(Some(&key.version(0, EVER)), None));
    let log = Log::open(&bed.bench.settings, Arc::new(Late(SignedDuration::from_hours(72)))).unwrap();
    log.append(vec![issued(1)]).unwrap().durable().await.unwrap();
    assert!(bed.sealer(&log).seal(true).await);
    log.close().await;
    let log = bed.bench.open();
    assert!(bed.sealer(&log).seal(true).await);
    let terms = Terms {
        default: DAY,
        profiles: BTreeMap::new(),
        archive: Some(bed.bench.dir().with_file_name("nowhere")),
    };
    let mut retainer = Retainer::new(terms, log.clone(), Arc::new(SystemClock)).unwrap();
    let error = retainer.once().await.unwrap_err().to_string();
    assert!(error.contains("nowhere: ") && error.contains("make that directory"), "{error}");
    log.close().await;
    assert!(bed.bench.lines().iter().all(|line| json(line)["event"] != "log.archived"));
    assert!(
        Retainer::new(
            Terms { default: DAY, profiles: BTreeMap::new(), archive: None },
            Bench::quick().open(),
            Arc::new(SystemClock)
        )
        .is_none()
    );
}

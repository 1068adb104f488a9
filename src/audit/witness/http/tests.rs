//! A log and a witness over HTTP: what the witness is shown, what it may answer, and what that comes to.

use super::*;
use crate::audit::restore::restore;
use crate::audit::tests::{Bench, issued, record, seal, wait};
use crate::audit::witness::{Witness, ask};
use crate::audit::{Actor, Log, OpenError};
use crate::clock::SystemClock;
use std::sync::Arc;

#[path = "../../../../tests/common/fake_witness.rs"]
pub(in crate::audit) mod fake_witness;
use fake_witness::{FakeWitness, Fault};

const LIMITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

struct Bed {
    bench: Bench,
    fake: FakeWitness,
}

impl Bed {
    /// A log with a seal of each of these sizes, and a witness that knows nothing yet.
    fn with(sizes: &[u64]) -> Self {
        let bench = Bench::sealed();
        let log = bench.open();
        for &size in sizes {
            while wait(log.head()).unwrap().tree.size() < size {
                record(&log, issued(0)).unwrap();
            }
            seal(&log);
        }
        wait(log.close());
        let mut bed = Self { bench, fake: FakeWitness::start("witness.example/w") };
        let remote = bed.remote();
        bed.bench.settings.checkpoint.as_mut().unwrap().witnesses = vec![Witness::Http(remote)];
        bed
    }
    fn remote(&self) -> Remote {
        let key = Cosigner::from_vkey(&self.fake.vkey).unwrap();
        Remote { url: self.fake.url.parse().unwrap(), key, ca: None }
    }
    /// The log's seals, oldest first.
    fn notes(&self) -> Vec<String> {
        let records = self.bench.lines().into_iter().map(|line| crate::audit::tests::json(&line));
        let sealed = records.filter(|record| record["event"] == "log.sealed");
        sealed.map(|record| record["note"].as_str().unwrap().to_owned()).collect()
    }
    /// Shows it a seal.
    fn show(&self, note: &str, known: u64) -> Result<Cosigned, Refused> {
        let told = Told::new(self.bench.dir(), note).unwrap();
        let client = HttpClient::new(None).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.remote().add(&client, &told, known, LIMITS, Timestamp::now()))
    }
    fn open(&self) -> Result<(), OpenError> {
        self.bench.try_open().map(|log| wait(log.close()))
    }
    fn asked(&self) -> Vec<(u64, u64, u16)> {
        self.fake.asked()
    }
}

#[test]
fn each_checkpoint_is_cosigned_with_a_proof_from_the_one_before() {
    let bed = Bed::with(&[3, 8, 20, 33, 64, 500]);
    let notes = bed.notes();
    let mut known = 0;
    for note in &notes {
        let cosigned = bed.show(note, known).unwrap();
        assert_eq!(bed.fake.has().unwrap().0, cosigned.size);
        let read = Note::parse(&cosigned.note).unwrap();
        let (checkpoint, time) = bed.remote().key.open(&read).unwrap();
        assert_eq!(checkpoint, Note::parse(note).unwrap().unverified().unwrap());
        assert_eq!(time, cosigned.time.as_second());
        assert_eq!(cosigned.note.lines().count(), 5);
        known = cosigned.size;
    }
    assert_eq!(bed.asked().len(), notes.len(), "one request each");
    // From any seal to the last: it says which one it has.
    let last = notes.last().unwrap();
    for note in &notes {
        bed.fake.forget();
        let Checkpoint { origin, size, root } = Note::parse(note).unwrap().unverified().unwrap();
        bed.fake.remember(&origin, size, &root);
        assert_eq!(bed.show(last, 0).unwrap().size, 500);
        assert_eq!(bed.show(last, 500).unwrap().size, 500, "and once more");
    }
}

#[test]
fn what_is_no_cosignature_is_none() {
    let bed = Bed::with(&[3, 8, 20]);
    let last = bed.notes().pop().unwrap();
    let failed = |fault| {
        bed.fake.fault(fault);
        match bed.show(&last, 0) {
            Err(Refused::Failed(problem)) => problem,
            other => panic!("{fault:?}: {other:?}"),
        }
    };
    for (fault, word) in [
        (Fault::Down, "nobody answers"),
        (Fault::Hang, "no answer in time"),
        (Fault::Garbage, "not good"),
        (Fault::WrongKey, "another key"),
        (Fault::Huge, "is too long"),
        (Fault::Redirect, "write the address itself"),
        (Fault::Status(403), "does not know the key"),
        (Fault::Status(404), "add \"jwsd/test\""),
        (Fault::Status(422), "first checkpoint"),
        (Fault::Status(400), "status 400"),
        (Fault::Status(500), "status 500"),
        (Fault::Status(204), "status 204"),
        (Fault::Clock(4000), "set the clocks right"),
        (Fault::Clock(-4000), "set the clocks right"),
        (Fault::Sizeless, "no `tlog-witness`"),
    ] {
        let problem = failed(fault);
        assert!(problem.contains(word), "{fault:?}: {problem}");
    }
    bed.fake.fault(Fault::None);
    bed.fake.forget();
    assert_eq!(bed.show(&last, 0).unwrap().size, 20);
}

/// At the start little time is left for that, so it need not begin anew.
#[test]
fn a_proof_that_is_not_read_in_time_is_late() {
    let bed = Bed::with(&[3, 3000]);
    let told = Told::new(bed.bench.dir(), bed.notes().last().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let late = runtime.block_on(prove(&told, 3, Duration::ZERO));
    assert!(matches!(&late, Err(Refused::Late(text)) if !text.contains("anew")), "{late:?}");
}

#[test]
fn a_witness_that_changes_its_mind_is_asked_twice_and_no_more() {
    let bed = Bed::with(&[1, 2, 20]);
    let last = bed.notes().pop().unwrap();
    let seals: Vec<u64> =
        bed.notes().iter().map(|note| Note::parse(note).unwrap().unverified().unwrap().size).collect();
    assert_eq!(seals.len(), 3);
    bed.fake.fault(Fault::Fickle);
    assert!(bed.show(&last, seals[1] + 1).is_err());
    assert!(bed.asked().len() <= 2, "{:?}", bed.asked());
    bed.fake.fault(Fault::Stubborn);
    let refused = bed.show(&last, 0).unwrap_err();
    assert!(
        matches!(&refused, Refused::Failed(problem) if problem.contains("no `tlog-witness`")),
        "{refused:?}"
    );
}

/// A log that lost its end, was replaced, or had a record changed with all that follows.
#[test]
fn a_log_that_a_witness_contradicts_is_refused_until_it_is_accepted() {
    let bed = Bed::with(&[3, 8, 20]);
    let origin = "jwsd/test";
    let root_of = |note: &str| Note::parse(note).unwrap().unverified().unwrap().root;
    let notes = bed.notes();
    for (size, root, is_longer) in [
        (500, [7; 32], true),
        (20, [7; 32], false),
        (8, [7; 32], false),
        // No seal is of this size.
        (9, root_of(&notes[1]), false),
    ] {
        bed.fake.remember(origin, size, &root);
        let before = std::fs::read_dir(bed.bench.dir()).unwrap().count();
        let error = bed.open().unwrap_err();
        assert_eq!(std::fs::read_dir(bed.bench.dir()).unwrap().count(), before, "nothing was made");
        let text = error.to_string();
        assert!(text.contains("witness.example/w") && text.contains("accept-truncation"), "{text}");
        assert!(text.contains(&format!("of {size} records")), "{text}");
        assert_eq!(matches!(error, OpenError::Truncated { here: 20, .. }), is_longer, "{error}");
        assert_eq!(matches!(error, OpenError::Different { .. }), !is_longer, "{error}");
    }
    bed.fake.remember(origin, 500, &[7; 32]);
    let accept = || {
        let (settings, clock) = (&bed.bench.settings, Arc::new(SystemClock));
        wait(Log::accept(settings, clock, Actor::default(), "a test")).unwrap()
    };
    assert_eq!(accept(), ["witness.example/w"]);
    assert_eq!(accept(), Vec::<String>::new(), "once is enough");
    bed.open().unwrap();
    // The log at hand says so, and no time is too long for that.
    let history = History::of(bed.bench.dir()).unwrap();
    let restored = restore(&history).unwrap();
    let witnesses = [Witness::Http(bed.remote())];
    let nowhere = (Path::new("/nowhere"), &history, &restored);
    let (asked, contradictions) = ask(nowhere, &witnesses, Timestamp::now()).unwrap();
    assert!(asked.is_empty() && contradictions.is_empty(), "{contradictions:?}");
    let last = notes.last().unwrap();
    assert_eq!(bed.show(last, 0), Err(Refused::Accepted { there: 500 }), "it never cosigns again");
    // It stands for that size and for no other.
    bed.fake.remember(origin, 501, &[7; 32]);
    assert!(matches!(bed.open(), Err(OpenError::Truncated { there: 501, here: 20, .. })));
    let records = bed.bench.lines().into_iter().map(|line| crate::audit::tests::json(&line));
    let accepted = records.filter(|record| record["event"] == "log.accepted").collect::<Vec<_>>();
    assert_eq!(accepted.len(), 1);
    assert_eq!((&accepted[0]["object"], &accepted[0]["size"]), (&"witness.example/w".into(), &500.into()));
    assert!(accepted[0]["note"].is_null());
}

#[test]
fn a_witness_that_says_nothing_keeps_no_log_shut() {
    let bed = Bed::with(&[3, 8, 20]);
    for fault in [Fault::Down, Fault::Hang, Fault::Status(503), Fault::Garbage, Fault::Status(404)] {
        bed.fake.fault(fault);
        let log = bed.bench.open();
        let asked = &log.sealing().unwrap().asked;
        assert!(asked.len() == 1 && asked[0].answer.is_err(), "{fault:?}: {asked:?}");
        wait(log.close());
    }
    bed.fake.fault(Fault::None);
    let log = bed.bench.open();
    assert_eq!(log.sealing().unwrap().asked[0].answer, Ok(20));
    wait(log.close());
    assert_eq!(bed.fake.has().unwrap().0, 20);
    // A file of certificate authorities that is none does.
    let mut bed = bed;
    let ca = Some(bed.bench.dir().with_file_name("missing.pem"));
    let remote = Remote { ca, ..bed.remote() };
    bed.bench.settings.checkpoint.as_mut().unwrap().witnesses = vec![Witness::Http(remote)];
    assert!(matches!(bed.open(), Err(OpenError::Witness { .. })));
}

#[test]
fn a_log_without_a_seal_has_nothing_to_show() {
    let bed = Bed::with(&[]);
    bed.fake.remember("jwsd/test", 4, &[7; 32]);
    bed.open().unwrap();
    assert!(bed.asked().is_empty());
}

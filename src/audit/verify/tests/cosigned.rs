//! What witnesses say in the log itself, and what an operator took in spite of one; the second implementation agrees.

use super::changed::Case;
use super::python::{judge_as, segments};
use super::*;
use crate::audit::checkpoint::Note;
use crate::audit::cosignature::tests::Soft;
use crate::audit::{Entry, Event, Outcome};
use serde_json::json;

const NAME: &str = "witness.example/w";

/// What a witness made of a seal's note.
fn cosigned(witness: &Soft, note: &str, time: u64) -> String {
    let checkpoint = Note::parse(note).unwrap().unverified().unwrap();
    witness.key().note(&checkpoint, &witness.line(&checkpoint, time)).unwrap().0
}

fn entry(name: &str, note: &str) -> Entry {
    let (object, note) = (Some(name.to_owned()), Some(note.to_owned()));
    Entry { object, note, ..Entry::new(Event::LogCosigned, Outcome::Success) }
}

/// A log of two seals.
fn sealed(signer: &Signer) -> Maker {
    let mut log = Maker::new();
    for _ in 0..2 {
        log.issue(4);
        log.seal(signer);
    }
    log
}

/// A report for each, and that of the other implementation where that is there.
fn both(signer: &Signer, cosigners: &[&Soft], logs: &[(&str, Maker)]) -> Vec<Report> {
    let given = || {
        let keys = cosigners.iter().map(|witness| witness.key()).collect();
        trust(&[signer], "").with_witnesses(keys)
    };
    let cases: Vec<_> =
        logs.iter().map(|(what, log)| Case::whole((*what).to_owned(), log.segments.clone())).collect();
    let base = json!({
        "segments": segments(&logs[0].1.segments),
        "keys": [signer.key.to_vkey()],
        "witness": "",
        "cosigners": cosigners.iter().map(|witness| &witness.vkey).collect::<Vec<_>>(),
    });
    let reports: Vec<_> = cases.iter().map(|case| verify_segments(&case.segments, &given())).collect();
    for ((case, said), report) in
        cases.iter().zip(judge_as(&base, &cases).into_iter().flatten()).zip(&reports)
    {
        assert_eq!(said == "sound", report.is_sound(), "{}: {said} {:#?}", case.what, report.problems);
    }
    reports
}

#[test]
fn a_cosignature_vouches_for_a_seal_before_it() {
    let (signer, witness, other) = (Signer::ed25519(), Soft::new(NAME), Soft::new("witness.example/v"));
    let mut log = sealed(&signer);
    for (nth, time) in [(0, 1_780_000_100), (1, 1_780_000_200)] {
        log.record(&entry(NAME, &cosigned(&witness, &log.notes[nth].clone(), time)));
    }
    log.record(&entry("witness.example/v", &cosigned(&other, &log.notes[0].clone(), 7)));
    log.seal(&signer);
    let [report] = &both(&signer, &[&witness], &[("all is well", log.clone())])[..] else { panic!() };
    assert_sound(report);
    let vouched = &report.sealing.as_ref().unwrap().vouched;
    let told: Vec<_> = vouched.iter().map(|v| (&*v.witness, v.checked, v.count, v.size)).collect();
    assert_eq!(told, [(NAME, true, 2, 9), ("witness.example/v", false, 1, 4)]);
    assert_eq!(vouched[0].time.unwrap().as_second(), 1_780_000_200);
    assert_eq!(vouched[1].time, None);
    // Nobody asked.
    assert_sound(&both(&signer, &[], &[("nobody asked", log.clone())])[0]);
    // The key was changed, and both were given; and a third, which is not in the log.
    let newer = Soft::new(NAME);
    log.record(&entry(NAME, &cosigned(&newer, &log.notes[1].clone(), 1_780_000_300)));
    assert_sound(&both(&signer, &[&witness, &newer], &[("two keys", log.clone())])[0]);
    let missing = Soft::new("witness.example/m");
    let report = both(&signer, &[&witness, &newer, &missing], &[("a third", log)]).remove(0);
    assert_finds(&report, "no cosignature of witness.example/m");
    assert_eq!(report.problem_count, 1);
}

#[test]
fn whatever_else_it_says_is_a_problem() {
    let (signer, witness) = (Signer::es256(), Soft::new(NAME));
    let base = sealed(&signer);
    let good = cosigned(&witness, &base.notes[0], 1_780_000_100);
    let with = |note: &str| {
        let mut log = base.clone();
        log.record(&entry(NAME, &good));
        log.record(&entry(NAME, note));
        log
    };
    let mut elsewhere = base.clone();
    elsewhere.issue(1);
    let foreign = cosigned(&witness, &signer.note(&elsewhere.tree), 1_780_000_100);
    let impostor = cosigned(&Soft::new(NAME), &base.notes[0], 1_780_000_100);
    let moved = good.replace("jwsd/test/host", "jwsd/test/other");
    let line = good.lines().last().unwrap();
    let raw = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    let forged = good.replace(&raw(line), &raw(impostor.lines().last().unwrap()));
    let mut early = Maker::new();
    early.issue(4);
    let note = signer.note(&early.tree);
    early.record(&entry(NAME, &cosigned(&witness, &note, 1_780_000_100)));
    early.seal_at(&signer, &maker::Head { tree: early.tree.clone(), after: early.last });
    let mut bare = base.clone();
    bare.record(&entry(NAME, &good));
    bare.record(&Entry { note: None, ..entry(NAME, "") });
    let mut nameless = base.clone();
    nameless.record(&entry(NAME, &good));
    nameless.record(&Entry { object: None, ..entry(NAME, &good) });
    let logs = [
        ("a size that was never sealed", with(&foreign), "something else than the seals"),
        ("another log", with(&moved), "something else than the seals"),
        ("another key", with(&impostor), "does not hold"),
        ("another signature", with(&forged), "does not hold"),
        ("no note", with("hello"), "log.cosigned"),
        ("before its seal", early, "something else than the seals"),
        ("without a note", bare, "lacks object or note"),
        ("without a name", nameless, "lacks object or note"),
    ];
    let made = logs.each_ref().map(|(what, log, _)| (*what, log.clone()));
    for (report, (_, _, what)) in both(&signer, &[&witness], &made).iter().zip(&logs) {
        assert_finds(report, what);
    }
}

#[test]
fn only_one_of_the_last_hundred_seals_can_be_vouched_for() {
    let (signer, witness) = (Signer::ed25519(), Soft::new(NAME));
    let mut log = Maker::new();
    log.issue(1);
    for _ in 0..100 {
        log.seal(&signer);
    }
    let first = cosigned(&witness, &log.notes[0], 5);
    let mut late = log.clone();
    late.seal(&signer);
    log.record(&entry(NAME, &first));
    late.record(&entry(NAME, &first));
    let reports = both(&signer, &[&witness], &[("the hundredth", log), ("one more", late)]);
    assert_sound(&reports[0]);
    assert_finds(&reports[1], "something else than the seals");
}

#[test]
fn an_acceptance_may_name_a_witness_instead_of_a_note() {
    let signer = Signer::ed25519();
    let accepts = |object: Option<&str>, size| {
        let mut log = sealed(&signer);
        let (object, reason) = (object.map(str::to_owned), Some("a test".to_owned()));
        log.record(&Entry { object, reason, size, ..Entry::new(Event::LogAccepted, Outcome::Success) });
        log.seal(&signer);
        log
    };
    let logs = [
        ("named", accepts(Some(NAME), Some(500))),
        ("without a size", accepts(Some(NAME), None)),
        ("without a name", accepts(None, Some(500))),
    ];
    let reports = both(&signer, &[], &logs);
    assert_sound(&reports[0]);
    let accepted = &reports[0].sealing.as_ref().unwrap().accepted;
    assert_eq!((accepted[0].size, accepted[0].witness.as_deref()), (500, Some(NAME)));
    for report in &reports[1..] {
        assert_finds(report, "neither a note nor object and size");
    }
    // It excuses no checkpoint that somebody kept.
    let (_, mut log) = logs.into_iter().next().unwrap();
    log.issue(3);
    let kept = format!("{}\n", signer.note(&log.tree));
    log.cut(4);
    assert!(!verify_segments(&log.segments, &trust(&[&signer], &kept)).is_sound());
}

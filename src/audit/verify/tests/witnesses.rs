//! Checkpoints that somebody else kept.

use super::*;

/// A log of three seals, its key, and its three checkpoints.
fn sealed() -> (Maker, Signer, Vec<String>) {
    let signer = Signer::es256();
    let mut log = Maker::new();
    for _ in 0..3 {
        log.issue(4);
        log.seal(&signer);
    }
    let notes = log.notes.clone();
    (log, signer, notes)
}

#[test]
fn a_cut_end_and_an_older_head_are_found() {
    let (log, signer, _) = sealed();
    let given = trust(&[&signer], &log.witness());
    let lines = log.lines();
    let (_, begin, _) = lines[lines.len() - 1];
    let mut cut = log.segments.clone();
    cut[0].1.truncate(begin);
    assert_finds(&verify_segments(&cut, &given), "none of the log's seals");
    cut[0].1.truncate(lines[9].2);
    let report = verify_segments(&cut, &given);
    assert_finds(
        &report,
        "checkpoint 3 of witness is of 14 records, and the log has 10: its end was cut off",
    );
    assert_eq!((report.problem_count, report.checkpoints.found), (1, 2));
    assert_sound(&verify_segments(&cut, &trust(&[&signer], "")));
    // Another log by the same key.
    let mut other = Maker::new();
    for _ in 0..3 {
        other.issue(4);
        other.record(&crate::audit::Entry::new(
            crate::audit::Event::DaemonStopped,
            crate::audit::Outcome::Success,
        ));
        other.seal(&signer);
    }
    assert_eq!(verify_segments(&other.segments, &given).problem_count, 3);
}

#[test]
fn what_a_crash_left_of_a_note_is_passed_over() {
    let (log, signer, notes) = sealed();
    let text = &log.witness();
    for cut in 0..text.len() {
        let Some(part) = text.get(..cut) else { continue };
        let given = trust(&[&signer], part);
        let whole = notes
            .iter()
            .scan(0, |end, note| {
                *end += note.len() + 1;
                Some(*end)
            })
            .filter(|end| *end <= cut)
            .count();
        let report = verify_segments(&log.segments, &given);
        // A signature that was cut where its base64 can be is a whole one to whoever reads it, or a damaged one.
        let told = report.checkpoints.found + report.checkpoints.torn + report.problem_count;
        assert!(
            report.checkpoints.found as usize >= whole && told as usize <= whole + 1,
            "cut at {cut} {part:?}: {report:#?}"
        );
    }
    // The witness begins anew after a blank line.
    let given = trust(&[&signer], &format!("{}\n{}\n\n{}\n", notes[0], &notes[1][..30], notes[2]));
    let report = verify_segments(&log.segments, &given);
    assert_sound(&report);
    assert_eq!((report.checkpoints.found, report.checkpoints.torn), (2, 1));
    // Alone in a file, without a blank line after it.
    let given = trust(&[&signer], &notes[2]);
    assert_eq!(verify_segments(&log.segments, &given).checkpoints.found, 1);
}

#[test]
fn a_note_by_another_key_is_no_checkpoint_of_this_log() {
    let (log, signer, _) = sealed();
    let stranger = Signer::ed25519();
    let note = stranger.note(&log.tree);
    assert_finds(
        &verify_segments(&log.segments, &trust(&[&signer], &note)),
        "not signed by a key of this log",
    );
}

#[test]
fn an_accepted_truncation_excuses_what_was_cut_off_once_it_is_sealed() {
    let (log, signer, notes) = sealed();
    let given = trust(&[&signer], &log.witness());
    let mut cut = log.clone();
    cut.cut(7);
    assert_eq!(verify_segments(&cut.segments, &given).problem_count, 2);
    cut.accept(&notes[2]);
    assert_eq!(verify_segments(&cut.segments, &given).problem_count, 2, "anybody could have written it");
    cut.seal(&signer);
    let report = verify_segments(&cut.segments, &given);
    assert_sound(&report);
    assert_eq!((report.checkpoints.found, report.checkpoints.accepted), (1, 2));
    assert_eq!(report.sealing.unwrap().accepted.len(), 1);
    // What is newer than what was accepted is not excused.
    let mut longer = log.clone();
    longer.issue(4);
    longer.seal(&signer);
    let given = trust(&[&signer], &longer.witness());
    assert_finds(&verify_segments(&cut.segments, &given), "its end was cut off");
}

/// 15 records, cut to 7, which is accepted; then told up to 22.
fn restored() -> (Maker, Signer) {
    let (mut log, signer, notes) = sealed();
    log.cut(7);
    log.accept(&notes[2]);
    for _ in 0..3 {
        log.seal(&signer);
        log.issue(4);
    }
    log.seal(&signer);
    (log, signer)
}

#[test]
fn an_acceptance_excuses_nothing_that_was_told_after_it() {
    let (log, signer) = restored();
    let given = trust(&[&signer], &log.witness());
    let report = verify_segments(&log.segments, &given);
    assert_sound(&report);
    assert_eq!((report.checkpoints.found, report.checkpoints.accepted), (5, 2));
    // One of these notes has fewer records than what was accepted, and yet it is newer.
    let mut again = log.clone();
    again.cut(9);
    let report = verify_segments(&again.segments, &given);
    assert_eq!((report.problem_count, report.checkpoints.accepted), (3, 2), "{:#?}", report.problems);
    assert_finds(&report, "checkpoint 5 of witness is of 13 records, and the log has 9: its end was cut off");
    // Whoever may append to the witness adds the accepted note once more.
    let repeated = trust(&[&signer], &format!("{}{}\n", log.witness(), log.notes[2]));
    let report = verify_segments(&again.segments, &repeated);
    assert_eq!((report.problem_count, report.checkpoints.accepted), (3, 3), "{:#?}", report.problems);
    again.issue(12);
    again.seal(&signer);
    assert_eq!(verify_segments(&again.segments, &given).problem_count, 3, "and it is not outgrown");
    // Said once more, of the newest, it is known.
    again.accept(log.notes.last().unwrap());
    again.seal(&signer);
    let report = verify_segments(&again.segments, &given);
    assert_sound(&report);
    assert_eq!((report.checkpoints.accepted, report.sealing.unwrap().accepted.len()), (5, 2));
}

#[test]
fn an_acceptance_counts_for_files_that_have_its_note_only() {
    let (log, signer) = restored();
    let mut given = trust(&[&signer], &log.witness());
    given.add_checkpoints("another", &format!("{}\n", log.notes[1]));
    let report = verify_segments(&log.segments, &given);
    assert_eq!(report.problem_count, 1, "{:#?}", report.problems);
    assert_finds(&report, "checkpoint 1 of another, of 9 records");
}

#[test]
fn an_acceptance_of_what_no_key_of_the_log_signed_is_a_problem() {
    let (mut log, signer, notes) = sealed();
    let forged = Signer::es256().note(&log.tree);
    log.cut(7);
    log.accept(&forged);
    log.seal(&signer);
    let report = verify_segments(&log.segments, &trust(&[&signer], &format!("{}\n", notes[0])));
    assert_eq!(report.problem_count, 1, "{:#?}", report.problems);
    assert_finds(&report, "record 8 accepts a checkpoint that no key of this log signed");
    let report = verify_segments(&log.segments, &trust(&[&signer], &format!("{}\n{forged}\n", notes[1])));
    assert_finds(&report, "checkpoint 1 of witness, of 9 records");
    assert_sound(&verify_segments(&log.segments, &Trust::default()));
}

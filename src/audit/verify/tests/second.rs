//! Seals that a second key cosigns by ML-DSA-44; the second implementation agrees.

use super::changed::Case;
use super::maker::ORIGIN;
use super::python::{judge_as, segments};
use super::*;
use crate::audit::checkpoint::{Checkpoint, Note};
use crate::audit::cosignature::Cosigner;
use crate::audit::{Entry, Event, Outcome, prove};
use crate::jose::{Algorithm, MlDsa, PublicKey, Signature, Verifier};
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44_SIGNING, PqdsaKeyPair};
use serde_json::json;

struct Second {
    pair: PqdsaKeyPair,
    key: Cosigner,
    verifier: Verifier,
}

impl Second {
    fn new(name: &str) -> Self {
        let pair = PqdsaKeyPair::generate(&ML_DSA_44_SIGNING).unwrap();
        let public = PublicKey::ml_dsa(MlDsa::MlDsa44, pair.public_key().as_ref()).unwrap();
        let key = Cosigner::new(name, Algorithm::MlDsa44, public.clone()).unwrap();
        Self { pair, key, verifier: Verifier::new(Algorithm::MlDsa44, public).unwrap() }
    }
    fn line(&self, checkpoint: &Checkpoint, time: i64) -> String {
        let message = self.key.message(checkpoint, time);
        let mut bytes = vec![0; 2420];
        self.pair.sign(&message, &mut bytes).unwrap();
        let signature = Signature::from_backend(bytes, self.verifier.public()).unwrap();
        self.key.line(checkpoint, time, self.verifier.prove(&message, signature).unwrap()).unwrap()
    }
    fn of(&self, note: &str, time: i64) -> String {
        self.line(&Note::parse(note).unwrap().unverified().unwrap(), time)
    }
    fn introduction(&self) -> Entry {
        let (kid, vkey) = (Some(self.key.kid().to_string()), Some(self.key.to_vkey()));
        Entry { kid, vkey, ..Entry::new(Event::LogKey, Outcome::Success) }
    }
}

/// Four records and a seal with these lines below its note.
fn seal(log: &mut Maker, signer: &Signer, lines: &dyn Fn(&str) -> String) {
    log.issue(4);
    let (head, note) = (log.head(), signer.note(&log.tree));
    let lines = lines(&note);
    log.seal_as(signer, &head, note + &lines);
}

fn report(log: &Maker, signer: &Signer, keys: &[&Second]) -> Report {
    let own = keys.iter().map(|second| Cosigner::from_vkey(&second.key.to_vkey()).unwrap()).collect();
    let report = verify_segments(&log.segments, &trust(&[signer], "").with_cosigners(own));
    let mut vkeys = vec![signer.key.to_vkey()];
    vkeys.extend(keys.iter().map(|second| second.key.to_vkey()));
    let base = json!({ "segments": segments(&log.segments), "keys": vkeys, "witness": "" });
    for said in judge_as(&base, &[Case::whole(String::new(), log.segments.clone())]).into_iter().flatten() {
        assert_eq!(said == "sound", report.is_sound(), "{said}: {:#?}", report.problems);
    }
    report
}

#[test]
fn the_second_key_vouches_for_what_it_has_cosigned() {
    let (signer, first, next) = (Signer::ed25519(), Second::new(ORIGIN), Second::new(ORIGIN));
    let mut log = Maker::new();
    log.record(&first.introduction());
    seal(&mut log, &signer, &|note| first.of(note, 1_780_000_000));
    // It failed.
    seal(&mut log, &signer, &|_| String::new());
    log.record(&next.introduction());
    seal(&mut log, &signer, &|note| first.of(note, 1_780_000_100));
    let told = |report: &Report| {
        let cosigned = report.sealing.as_ref().unwrap().cosigned.clone();
        cosigned.map(|told| (told.kid, told.seals, told.size, told.time.unwrap().as_second()))
    };
    let two = report(&log, &signer, &[&first]);
    assert_sound(&two);
    assert_eq!(told(&two), Some((first.key.kid().to_string(), 2, 16, 1_780_000_100)));
    // Once more, which makes no difference.
    log.record(&next.introduction());
    seal(&mut log, &signer, &|note| next.of(note, 1_780_000_200));
    log.record(&next.introduction());
    seal(&mut log, &signer, &|_| String::new());
    let three = report(&log, &signer, &[&first]);
    assert_sound(&three);
    assert_eq!(told(&three), Some((next.key.kid().to_string(), 3, 22, 1_780_000_200)), "it was introduced");
    // Nobody asked; and another key than the log's.
    let none = report(&log, &signer, &[]);
    assert_sound(&none);
    assert_eq!(told(&none), None);
    assert_finds(&report(&log, &signer, &[&Second::new(ORIGIN)]), "no seal of the log is cosigned");
    // The line stays whole in its record.
    let dir = tempfile::tempdir().unwrap();
    log.write(&dir.path().join("audit"));
    let keys = prove::keys(&dir.path().join("audit")).unwrap();
    let expected = [(5, &first), (22, &next)]
        .map(|(at, second)| (at, second.key.kid().to_string(), second.key.to_vkey()));
    assert_eq!(keys.cosigns, expected);
}

#[test]
fn what_it_did_not_sign_is_a_problem() {
    let (signer, first, stranger) = (Signer::es256(), Second::new(ORIGIN), Second::new(ORIGIN));
    let with = |lines: &dyn Fn(&str) -> String| {
        let mut log = Maker::new();
        log.record(&first.introduction());
        seal(&mut log, &signer, &|note| first.of(note, 1_780_000_000));
        seal(&mut log, &signer, lines);
        report(&log, &signer, &[&first])
    };
    // Of an unknown key it is passed over.
    assert_sound(&with(&|note| stranger.of(note, 5)));
    let other = Checkpoint { origin: ORIGIN.to_owned(), size: 3, root: [7; 32] };
    assert_finds(&with(&|_| first.line(&other, 5)), "the seal's cosignature");
    // A key that somebody introduced after the last seal that was cosigned is not believed.
    let mut log = Maker::new();
    log.record(&first.introduction());
    seal(&mut log, &signer, &|note| first.of(note, 1_780_000_000));
    log.record(&stranger.introduction());
    seal(&mut log, &signer, &|note| stranger.of(note, 1_780_000_100));
    let report = report(&log, &signer, &[&first]);
    assert_sound(&report);
    assert_eq!(report.sealing.unwrap().cosigned.unwrap().size, 5);
    let bad = Entry { kid: Some("other".to_owned()), ..first.introduction() };
    log.record(&bad);
    assert_finds(&verify_segments(&log.segments, &trust(&[&signer], "")), "of different keys");
}

#[test]
fn what_introduces_it_stays_until_it_is_introduced_again() {
    let (signer, first, next) = (Signer::ed25519(), Second::new(ORIGIN), Second::new(ORIGIN));
    let mut log = Maker::new();
    log.introduce(&signer);
    log.record(&first.introduction());
    seal(&mut log, &signer, &|note| first.of(note, 1_780_000_000));
    log.record(&next.introduction());
    log.begin();
    seal(&mut log, &signer, &|note| first.of(note, 1_780_000_100));
    let goes = |log: &Maker| {
        let place = shorten::Place::new(log);
        let terms = shorten::terms();
        let plan = crate::audit::retain::plan(&place.dir(), &terms, shorten::when(log, 1)).unwrap();
        plan.goes.map_or(0, |going| going.segments.len())
    };
    assert_eq!(goes(&log), 0, "no record but these has their keys");
    let mut early = log.clone();
    log.record(&first.introduction());
    assert_eq!(goes(&log), 0);
    log.record(&next.introduction());
    assert_eq!(goes(&log), 1);
    // The next start does that.
    let mut started = early.clone();
    started.record(&Entry::new(Event::DaemonStarted, Outcome::Success));
    assert_eq!(goes(&started), 1);
    // It took over by the introduction that would go.
    seal(&mut early, &signer, &|note| next.of(note, 1_780_000_200));
    early.record(&first.introduction());
    early.record(&next.introduction());
    assert_eq!(goes(&early), 0);
}

/// The message as the specification lays it out, byte by byte.
#[test]
fn the_message_is_that_of_the_specification() {
    let second = Second::new("a.example");
    let seen = Checkpoint { origin: "log".to_owned(), size: 0x0102, root: [9; 32] };
    let mut expected = b"subtree/v1\n\0\x09a.example".to_vec();
    expected.extend([0, 0, 0, 0, 0x6a, 0x18, 0x86, 0]);
    expected.extend(b"\x03log");
    expected.extend([0; 8]);
    expected.extend([0, 0, 0, 0, 0, 0, 1, 2]);
    expected.extend([9; 32]);
    assert_eq!(second.key.message(&seen, 0x6a18_8600), expected);
    let vkey = second.key.to_vkey();
    assert_eq!(Cosigner::from_vkey(&vkey).unwrap(), second.key);
    assert!(Cosigner::from_vkey(&vkey.replacen("a.", "b.", 1)).is_err());
    let key = Note::parse(&format!("{seen}\n{}", second.line(&seen, 5))).map(|note| second.key.open(&note));
    assert_eq!(key, Ok(Ok((seen, 5))));
}

//! Logs that agree, and each way in which they do not.

use super::*;
use crate::audit::{Entry, Event, Log, MIN_SEGMENT, Outcome, Settings};
use crate::clock::SystemClock;
use std::sync::Arc;

const KID: &str = "kid-1";
const WINDOW: Window = Window { skew: SignedDuration::from_secs(2), late: SignedDuration::from_secs(5) };

/// A log with these records.
fn log(entries: Vec<Entry>) -> tempfile::TempDir {
    let parent = tempfile::tempdir().unwrap();
    let settings = Settings {
        dir: parent.path().join("audit"),
        environment: "test".to_owned(),
        segment: MIN_SEGMENT,
        checkpoint: None,
        retain: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let log = Log::open(&settings, Arc::new(SystemClock)).unwrap();
        log.append(entries).unwrap().durable().await.unwrap();
        log.close().await;
    });
    parent
}

fn entry(event: Event, jti: &str) -> Entry {
    Entry { kid: Some(KID.to_owned()), jti: Some(jti.to_owned()), ..Entry::new(event, Outcome::Success) }
}

/// Signatures so many milliseconds from now.
fn made(offsets: &[i64]) -> Vec<Signature> {
    let now = Timestamp::now();
    let signature = |(at, offset): (usize, &i64)| Signature {
        at: now + SignedDuration::from_millis(*offset),
        id: format!("e-{at}"),
        by: "somebody".to_owned(),
    };
    offsets.iter().enumerate().map(signature).collect()
}

fn compared(entries: Vec<Entry>, backend: Option<&str>, signatures: Vec<Signature>) -> Reconciled {
    let parent = log(entries);
    reconcile(&parent.path().join("audit"), KID, backend, signatures, (WINDOW, Period::default())).unwrap()
}

fn issued(count: usize) -> Vec<Entry> {
    (0..count).map(|n| entry(Event::JwtIssued, &format!("j-{n}"))).collect()
}

#[test]
fn one_signature_too_many_is_found_among_a_hundred() {
    let mut offsets: Vec<i64> = (0..100).map(|n| n * 10).collect();
    assert!(compared(issued(100), None, made(&offsets)).agrees());
    for extra in [0, 505, 990] {
        offsets.push(extra);
        let found = compared(issued(100), None, made(&offsets));
        assert_eq!((found.signatures, found.answered, found.unanswered.len()), (101, 100, 1));
        offsets.pop();
    }
    // Far from all records, it is named itself.
    offsets.push(3_600_000);
    let found = compared(issued(100), None, made(&offsets));
    assert_eq!(found.unanswered.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["e-100"]);
}

#[test]
fn a_record_of_another_key_answers_for_nothing() {
    let mut entries = issued(2);
    entries[1].kid = Some("kid-2".to_owned());
    assert_eq!(compared(entries, None, made(&[0, 0])).unanswered.len(), 1);
}

#[test]
fn retries_failures_tests_and_seals_are_accounted_for() {
    let attempts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let retried =
        || Entry { attempts: attempts(&["a timeout", "b ok", "b ok"]), ..entry(Event::JwtRetried, "j-0") };
    // Older ones do not name the key.
    let failed = || Entry { attempts: attempts(&["a timeout"]), kid: None, ..entry(Event::JwtFailed, "j-1") };
    let mut entries = issued(2);
    entries.extend([retried(), failed()]);
    assert!(compared(entries.clone(), None, made(&[0, 0, 0, 0])).agrees());
    assert_eq!(compared(entries.clone(), None, made(&[0, 0, 0, 0, 0])).unanswered.len(), 1);
    assert!(compared(entries.clone(), Some("b"), made(&[0, 0])).agrees());
    assert_eq!(compared(entries, Some("b"), made(&[0, 0, 0])).unanswered.len(), 1);

    let tested = |backend: &str, count| Entry {
        object: Some(backend.to_owned()),
        count: Some(count),
        jti: None,
        ..entry(Event::KeyTested, "")
    };
    let entries = vec![tested("a", 6), tested("b", 1)];
    let ago: Vec<i64> = (0..6).map(|n| n * -10_000).collect();
    assert!(compared(entries.clone(), Some("a"), made(&ago)).agrees());
    assert_eq!(compared(entries.clone(), Some("b"), made(&ago)).unanswered.len(), 5);
    assert_eq!(compared(entries, None, made(&[-600_000])).unanswered.len(), 1, "before any test");
    assert!(compared(vec![entry(Event::LogSealed, "")], None, made(&[-500])).agrees());
}

#[test]
fn a_retry_that_signed_once_takes_no_signature_of_another_jwt() {
    let attempts = vec!["a timeout".to_owned(), "a ok".to_owned()];
    let retried = Entry { attempts, ..entry(Event::JwtRetried, "j-0") };
    let mut entries = issued(2);
    entries.push(retried);
    assert!(compared(entries, None, made(&[-60_000, 0, 0, 60_000])).unsigned.is_empty());
}

#[test]
fn a_jwt_without_its_signature_is_found() {
    // Records are now; what lies between the first and the last signature must be there.
    let around = [-60_000, 60_000];
    let tested = Entry { count: Some(9), ..entry(Event::KeyTested, "") };
    let mut entries = issued(3);
    entries.push(tested);
    let found = compared(entries, None, made(&[-60_000, 60_000, 0]));
    assert_eq!(found.unsigned.len(), 2, "{found:?}");
    assert_eq!(found.unanswered.len(), 1, "nobody tests a minute later");
    // Of what is outside nothing can be said.
    assert_eq!(compared(issued(3), None, made(&[around[0]])).unsigned, []);
    assert_eq!(compared(issued(3), None, Vec::new()), Reconciled::default());
    // Unless somebody says that it covers that.
    let parent = log(issued(3));
    let dir = parent.path().join("audit");
    let (now, minute) = (Timestamp::now(), SignedDuration::from_secs(60));
    let period = Period { from: Some(now - minute), until: Some(now + minute) };
    let found = reconcile(&dir, KID, None, Vec::new(), (WINDOW, period)).unwrap();
    assert_eq!(found.unsigned.len(), 3);
    let before = Period { from: Some(now - minute - minute), until: Some(now - minute) };
    let found = reconcile(&dir, KID, None, made(&[0]), (WINDOW, before)).unwrap();
    assert_eq!(found, Reconciled::default(), "what is outside of the period is nobody's business");
}

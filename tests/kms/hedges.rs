//! Slow requests, which are asked a second time: what that costs, and what it must not hide.

use super::*;
use fake_kms::Fault;
use jwsd::backend::Signing;

/// After how long a request is asked a second time, once [`hedging`] is done.
const SLOW: Duration = Duration::from_millis(500);

/// A key whose 95th percentile is [`SLOW`] after 140 answers, and which may ask twice two times.
async fn hedging(attempt_timeout: Duration) -> (FakeKms, Replicas) {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let settings = Settings { hedge: true, attempt_timeout, ..kms::settings("cloud", REGION, &fake.url()) };
    let replicas = replicas(&[open_store(settings).await], &arn, Algorithm::ES256).await;
    fake.script().fail(8, &Fault::Late(SLOW));
    for outcome in futures_util::future::join_all((0..8).map(|_| sign(&replicas, LONG))).await {
        outcome.assert_ok();
    }
    calm(&replicas, 132).await;
    assert_eq!(fake.signs(), 140, "none was asked twice");
    (fake, replicas)
}

async fn calm(replicas: &Replicas, count: usize) {
    for _ in 0..count {
        sign(replicas, LONG).await.assert_ok();
    }
}

/// What the record says of one request, and its fault.
async fn told(replicas: &Replicas) -> (Vec<String>, Option<Class>) {
    let Signing { result, attempts } =
        replicas.sign(b"header.payload", Ask::own(Instant::now() + LONG)).await;
    let first = |outcome: &str| outcome.split(' ').next().unwrap().to_owned();
    (attempts.iter().map(|a| first(&a.outcome)).collect(), result.err().map(|fault| fault.class))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_is_asked_a_second_time_but_rarely() {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let settings = Settings { hedge: true, ..kms::settings("cloud", REGION, &fake.url()) };
    let replicas = replicas(&[open_store(settings).await], &arn, Algorithm::ES256).await;
    for _ in 0..300 {
        sign(&replicas, LONG).await.assert_ok();
    }
    assert!(fake.signs() <= 300 + 6, "two in a hundred at most, by chance: {}", fake.signs());
    let (fake, replicas) = hedging(Duration::from_secs(5)).await;
    let before = fake.signs();
    // Both requests are known of, whichever wins.
    fake.script().next = [Some(Fault::Late(Duration::from_secs(30))), None].into();
    let started = Instant::now();
    let ask = Ask::own(Instant::now() + LONG);
    let signing = replicas.sign(b"header.payload", ask).await;
    assert!(signing.result.is_ok());
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "before its attempt timed out: {:?}",
        started.elapsed()
    );
    let outcomes: Vec<_> = signing.attempts.iter().map(|attempt| attempt.outcome.as_ref()).collect();
    assert_eq!(outcomes, ["hedged, not awaited", "ok"]);
    assert_eq!(fake.signs(), before + 2);
    // While KMS throttles, nothing is asked twice.
    fake.script().next = [Some(Fault::Exception("ThrottlingException", 400)), None].into();
    sign(&replicas, LONG).await.assert_ok();
    for _ in 0..100 {
        sign(&replicas, LONG).await.assert_ok();
    }
    let before = fake.signs();
    fake.script().next = [Some(Fault::Late(2 * SLOW)), None].into();
    sign(&replicas, LONG).await.assert_ok();
    assert_eq!(fake.signs(), before + 1);
}

/// Whichever of the two comes first, what is no signature of the key is not overlooked.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_does_not_hide_what_must_never_be_used() {
    let passing = Fault::Exception("KMSInternalException", 500);
    for (faults, expected) in [
        ([passing.clone(), Fault::Truncated], ["KMSInternalException", "bad"]),
        ([Fault::Truncated, passing], ["hedged,", "bad"]),
    ] {
        let (fake, replicas) = hedging(Duration::from_secs(5)).await;
        fake.script().latency = 2 * SLOW;
        fake.script().next = faults.map(Some).into();
        let (attempts, class) = told(&replicas).await;
        assert_eq!(class, Some(Class::Untrusted), "{attempts:?}");
        assert_eq!(attempts, expected);
        assert!(replicas.members()[0].health().quarantined().is_some());
        assert_eq!(fake.script().asked["Sign"], 140 + 2, "nor asked again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_costs_three_requests_at_most_and_all_are_told() {
    let passing = Fault::Exception("KMSInternalException", 500);
    for (faults, class) in [(2, None), (3, Some(Class::Down))] {
        let (fake, replicas) = hedging(Duration::from_secs(5)).await;
        fake.script().latency = 2 * SLOW;
        fake.script().fail(faults, &passing);
        let (attempts, fault) = told(&replicas).await;
        assert_eq!(fault, class);
        assert_eq!(attempts.len(), 3, "{attempts:?}");
        assert_eq!(attempts.iter().filter(|outcome| *outcome == "KMSInternalException").count(), faults);
        assert_eq!(fake.signs(), 140 + 3);
    }
    let (fake, replicas) = hedging(2 * SLOW).await;
    fake.script().black_hole = true;
    let (attempts, fault) = told(&replicas).await;
    assert_eq!((attempts, fault), (vec!["timeout".to_owned(); 3], Some(Class::Down)));
    assert_eq!(fake.signs(), 140 + 3);
}

/// Else hedges that win make the percentile smaller, which makes more hedges.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_lost_against_its_hedge_counts_as_slow() {
    let (fake, replicas) = hedging(Duration::from_secs(5)).await;
    calm(&replicas, 20).await;
    for _ in 0..2 {
        fake.script().next = [Some(Fault::Late(Duration::from_secs(30))), None].into();
        assert_eq!(told(&replicas).await, (vec!["hedged,".to_owned(), "ok".to_owned()], None));
    }
    // With the 200th answer, ten were slow.
    calm(&replicas, 38).await;
    fake.script().next = [Some(Fault::Late(SLOW / 2))].into();
    assert_eq!(told(&replicas).await, (vec!["ok".to_owned()], None));
}

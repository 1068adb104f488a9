//! Every fault of the table, by script: what is repeated, what is not, and what is never released.

use super::*;
use fake_kms::Fault;

/// Requests between two faults: repeats stay below what is allowed of them.
const CALM: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_repeated_and_passes() {
    let faults = [
        Fault::Exception("ThrottlingException", 400),
        Fault::Exception("LimitExceededException", 400),
        Fault::Exception("KMSInternalException", 500),
        Fault::Exception("DependencyTimeoutException", 503),
        Fault::Exception("KeyUnavailableException", 500),
        Fault::Exception("ServiceUnavailableException", 503),
        Fault::Exception("NeverHeardOfException", 500),
        Fault::Html(502),
        Fault::Html(429),
        Fault::Garbage,
        Fault::Close,
    ];
    for fault in faults {
        let (fake, replicas) = one_key().await;
        let rounds = rounds(10);
        for _ in 0..rounds {
            fake.script().next = [Some(fault.clone()), None].into();
            let outcome = sign(&replicas, LONG).await;
            assert!(outcome.fault.is_none(), "{fault:?}: {:?}", outcome.fault);
            assert_eq!(outcome.attempts, 2, "{fault:?}");
            for _ in 0..CALM {
                let outcome = sign(&replicas, LONG).await;
                outcome.assert_ok();
                assert_eq!(outcome.attempts, 1, "{fault:?}");
            }
        }
        let asked = rounds * (1 + CALM as u64);
        assert_eq!(fake.signs(), asked + rounds, "{fault:?}");
        assert_eq!(fake.outcome("ok"), asked, "{fault:?}");
        assert!(fake.signs() * 10 <= asked * 13, "{fault:?}: amplification above 1.3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_made_three_times_at_most() {
    let (fake, replicas) = one_key().await;
    for code in ["ThrottlingException", "KMSInternalException", "KeyUnavailableException"] {
        fake.script().fail(2, &Fault::Exception(code, 500));
        let outcome = sign(&replicas, LONG).await;
        outcome.assert_ok();
        assert_eq!(outcome.attempts, 3, "{code}");
        fake.script().fail(3, &Fault::Exception(code, 500));
        let outcome = sign(&replicas, LONG).await;
        assert!(outcome.fault.unwrap().code.starts_with(code));
        assert_eq!((outcome.attempts, fake.script().next.len()), (3, 0), "{code}");
        for _ in 0..4 * CALM {
            sign(&replicas, LONG).await.assert_ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_never_repeated_and_a_bad_key_is_not_asked_again() {
    let quarantining = [
        ("KMSInvalidStateException", Class::Misconfigured),
        ("DisabledException", Class::Misconfigured),
        ("NotFoundException", Class::Misconfigured),
        ("AccessDeniedException", Class::Misconfigured),
    ];
    let harmless = [
        ("InvalidKeyUsageException", Class::Misconfigured),
        ("ValidationException", Class::Bug),
        ("InvalidGrantTokenException", Class::Bug),
        ("NeverHeardOfException", Class::Misconfigured),
    ];
    let (fake, replicas) = one_key().await;
    let health = || replicas.members()[0].health();
    for _ in 0..rounds(3) {
        for (code, class) in quarantining.into_iter().chain(harmless) {
            let before = fake.signs();
            fake.script().fail(1, &Fault::Exception(code, 400));
            let outcome = sign(&replicas, LONG).await;
            assert_eq!((outcome.class(), outcome.attempts), (Some(class), 1), "{code}");
            let fault = outcome.fault.unwrap();
            let id = fault.code.strip_prefix(code).unwrap();
            assert_eq!(id.len(), 9, "the exception and a short id: {}", fault.code);
            let quarantined = quarantining.iter().any(|(other, _)| *other == code);
            assert_eq!(health().quarantined().is_some(), quarantined, "{code}");
            if quarantined {
                assert_eq!(sign(&replicas, LONG).await.class(), Some(Class::Untrusted), "{code}");
                assert!(health().release());
            }
            assert_eq!(fake.signs(), before + 1, "{code}");
            sign(&replicas, LONG).await.assert_ok();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_just_made_may_be_unknown_for_a_moment() {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    fake.script().keys.get_mut(&arn).unwrap().age = 5;
    let replicas = replicas(&[store(&fake).await], &arn, Algorithm::ES256).await;
    for (code, passes) in [
        ("NotFoundException", 2),
        ("KMSInvalidStateException", 2),
        ("DisabledException", 2),
        ("AccessDeniedException", 1),
    ] {
        fake.script().fail(passes, &Fault::Exception(code, 400));
        let outcome = sign(&replicas, LONG).await;
        outcome.assert_ok();
        assert_eq!(outcome.attempts, passes + 1, "{code}");
        assert_eq!(replicas.members()[0].health().quarantined(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_signature_is_never_released() {
    for fault in [Fault::BadSignature, Fault::Truncated] {
        let (fake, replicas) = one_key().await;
        for _ in 0..rounds(5) {
            fake.script().fail(1, &fault);
            let outcome = sign(&replicas, LONG).await;
            assert_eq!(outcome.class(), Some(Class::Untrusted), "{fault:?}");
            let health = replicas.members()[0].health();
            assert!(health.quarantined().is_some(), "{fault:?}");
            let before = fake.signs();
            assert_eq!(sign(&replicas, LONG).await.class(), Some(Class::Untrusted));
            assert_eq!(fake.signs(), before, "it is not asked in quarantine");
            assert!(health.release());
        }
        sign(&replicas, LONG).await.assert_ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_hangs_ends_and_is_made_again_on_a_new_connection() {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let mut settings = kms::settings("cloud", REGION, &fake.url());
    settings.attempt_timeout = Duration::from_millis(500);
    let replicas = replicas(&[open_store(settings).await], &arn, Algorithm::ES256).await;
    for _ in 0..rounds(2) {
        fake.script().fail(1, &Fault::Hang);
        let outcome = sign(&replicas, LONG).await;
        outcome.assert_ok();
        assert_eq!(outcome.attempts, 2);
        for _ in 0..CALM {
            sign(&replicas, LONG).await.assert_ok();
        }
    }
    fake.script().fail(3, &Fault::Hang);
    assert_eq!(sign(&replicas, LONG).await.class(), Some(Class::Down));
    // The caller's deadline ends it too.
    fake.script().fail(1, &Fault::Hang);
    let started = Instant::now();
    let outcome = sign(&replicas, Duration::from_millis(300)).await;
    assert_eq!(outcome.class(), Some(Class::Deadline));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    sign(&replicas, LONG).await.assert_ok();
}

/// What one caller after the other sees while everything is lost on the way, and afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_costs_only_its_own_time() {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let mut settings = kms::settings("cloud", REGION, &fake.url());
    settings.attempt_timeout = Duration::from_secs(1);
    let replicas = Arc::new(replicas(&[open_store(settings).await], &arn, Algorithm::ES256).await);
    sign(&replicas, LONG).await.assert_ok();
    fake.script().black_hole = true;
    let hole = Instant::now() + Duration::from_secs(5);
    let callers = (0..8).map(|_| {
        let replicas = Arc::clone(&replicas);
        tokio::spawn(async move {
            let (mut lost, mut attempts) = (0_u64, 0);
            while Instant::now() < hole {
                let outcome = sign(&replicas, Duration::from_secs(2)).await;
                assert!(
                    matches!(outcome.class(), Some(Class::Down | Class::Deadline)),
                    "{:?}",
                    outcome.fault
                );
                attempts = attempts.max(outcome.attempts);
                lost += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (lost, attempts)
        })
    });
    let mut asked = 0;
    for caller in callers.collect::<Vec<_>>() {
        let (lost, attempts) = caller.await.unwrap();
        assert!(attempts <= 3);
        asked += lost;
    }
    let sent = fake.outcome("black hole");
    assert!(sent * 10 <= asked * 13, "{sent} requests for {asked}");
    fake.script().black_hole = false;
    let over = Instant::now();
    while sign(&replicas, Duration::from_secs(2)).await.fault.is_some() {
        assert!(over.elapsed() < Duration::from_secs(15), "it does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

//! One multi-Region key in two Regions: whichever works signs, and who is well again is asked again.

use super::*;
use fake_kms::Fault;

const OTHER: &str = "eu-west-1";

pub async fn two_regions() -> (FakeKms, FakeKms, Replicas) {
    let (near, far) = (FakeKms::start(REGION).await, FakeKms::start(OTHER).await);
    let arn = near.add("ECC_NIST_P256");
    far.replicate(&near, &arn);
    let mut stores = Vec::new();
    for (name, fake) in [("near", &near), ("far", &far)] {
        let mut settings = kms::settings(name, &fake.region, &fake.url());
        settings.attempt_timeout = Duration::from_millis(500);
        stores.push(open_store(settings).await);
    }
    let replicas = replicas(&stores, &arn, Algorithm::ES256).await;
    (near, far, replicas)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_fails_costs_nobody_a_signature() {
    for what in ["internal", "disabled", "throttled", "denied", "black hole"] {
        let (near, far, replicas) = two_regions().await;
        let arn = near.script().keys.keys().next().unwrap().clone();
        match what {
            "internal" => near.script().share = Some((Fault::Exception("KMSInternalException", 500), 100)),
            "throttled" => near.script().share = Some((Fault::Exception("ThrottlingException", 400), 100)),
            "denied" => near.script().share = Some((Fault::Exception("AccessDeniedException", 400), 100)),
            "disabled" => near.script().keys.get_mut(&arn).unwrap().state = "Disabled".to_owned(),
            _ => near.script().black_hole = true,
        }
        for _ in 0..50 {
            let outcome = sign(&replicas, Duration::from_secs(20)).await;
            assert!(outcome.fault.is_none(), "{what}: {:?}", outcome.fault);
            assert!(outcome.attempts <= 3, "{what}");
        }
        assert_eq!(far.outcome("ok"), 50, "{what}");
        assert_eq!(near.outcome("ok"), 0, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_well_again_is_asked_again() {
    let (near, far, replicas) = two_regions().await;
    near.script().share = Some((Fault::Html(503), 100));
    for _ in 0..20 {
        sign(&replicas, LONG).await.assert_ok();
    }
    fail_until_it_rests(&replicas, |replicas| replicas.members()[0].store().health().is_good()).await;
    near.script().share = None;
    let over = Instant::now();
    while near.outcome("ok") == 0 {
        for fault in replicas.probe(b"self-test", Duration::ZERO, LONG).await {
            println!("{fault}");
        }
        sign(&replicas, LONG).await.assert_ok();
        assert!(over.elapsed() < Duration::from_secs(30), "it is not asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    far.script().black_hole = true;
    for _ in 0..10 {
        sign(&replicas, LONG).await.assert_ok();
    }
}

/// Callers go elsewhere after one fault; the self-test goes on until the breaker opens.
async fn fail_until_it_rests(replicas: &Replicas, is_good: impl Fn(&Replicas) -> bool) {
    let began = Instant::now();
    while is_good(replicas) {
        replicas.probe(b"self-test", Duration::ZERO, LONG).await;
        assert!(began.elapsed() < Duration::from_secs(30), "its breaker stays closed");
    }
}

/// A proxy that refuses, for one: it fails at once, so it is never busy, and would be asked first for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_refuses_what_nothing_helps_against_is_left_alone() {
    let (near, far, replicas) = two_regions().await;
    near.script().share = Some((Fault::Html(403), 100));
    let mut lost = 0;
    for _ in 0..60 {
        let outcome = sign(&replicas, LONG).await;
        assert!(matches!(outcome.class(), None | Some(Class::Misconfigured)), "{:?}", outcome.fault);
        assert_eq!(outcome.attempts, 1, "it is not repeated");
        lost += u64::from(outcome.fault.is_some());
    }
    assert!(lost <= 5 && near.signs() == lost, "{lost} of 60 were lost");
    assert_eq!(far.outcome("ok"), 60 - lost);
    fail_until_it_rests(&replicas, |replicas| replicas.members()[0].health().is_good()).await;
    assert!(replicas.members()[0].store().health().is_good(), "other keys may do better");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_region_has_no_copy_in_another() {
    let (near, far) = (FakeKms::start(REGION).await, FakeKms::start(OTHER).await);
    let pair = Arc::new(fake_kms::keys::Pair::generate("ECC_NIST_P256"));
    let arn = near.put("1234abcd-12ab-34cd-56ef-1234567890ab", "ECC_NIST_P256", Arc::clone(&pair));
    let (home, away) = (store(&near).await, store(&far).await);
    let opened = home.open(Wanted::Id(arn.as_bytes()), Algorithm::ES256, None).await.unwrap();
    for (wanted, said) in [
        (Wanted::Copy { of: &opened.public, id: arn.as_bytes() }, "multi-Region"),
        (Wanted::Id(arn.as_bytes()), "this backend asks eu-west-1"),
        (Wanted::Id(&[1, 2, 3]), "not the ARN"),
    ] {
        let error = away.open(wanted, Algorithm::ES256, Some(&opened.public)).await.err().unwrap();
        assert!(error.class == Class::Misconfigured && error.message.contains(said), "{error}");
    }
    assert_eq!(far.script().asked.get("DescribeKey"), None, "no request was needed");
    // Unless somebody imported it there, under another id.
    for _ in 0..30 {
        far.add("ECC_NIST_P256");
    }
    let imported = far.put("imported", "ECC_NIST_P256", pair);
    let copy = Wanted::Copy { of: &opened.public, id: arn.as_bytes() };
    let found = away.open(copy, Algorithm::ES256, None).await.unwrap();
    assert_eq!((found.id, found.public), (imported.into_bytes(), opened.public));
}

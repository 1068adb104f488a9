//! More work than KMS takes: throttling, a queue, the end.

use super::*;
use fake_kms::Fault;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn throttling_of_a_third_loses_nothing_and_is_not_answered_with_more() {
    let seconds = if rounds(0) > 0 { 30 } else { 3 };
    let (fake, replicas) = one_key().await;
    let replicas = Arc::new(replicas);
    fake.script().share = Some((Fault::Exception("ThrottlingException", 400), 30));
    let until = Instant::now() + Duration::from_secs(seconds);
    let (good, busy) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers = (0..16).map(|_| {
        let (replicas, good, busy) = (Arc::clone(&replicas), Arc::clone(&good), Arc::clone(&busy));
        tokio::spawn(async move {
            while Instant::now() < until {
                let outcome = sign(&replicas, Duration::from_secs(5)).await;
                assert!(outcome.attempts <= 3);
                match outcome.fault {
                    None => good.fetch_add(1, Ordering::Relaxed),
                    Some(fault) => {
                        assert_eq!(fault.class, Class::Busy, "{fault}");
                        assert!(fault.retry_after.is_some(), "{fault}");
                        busy.fetch_add(1, Ordering::Relaxed)
                    }
                };
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let (good, busy) = (good.load(Ordering::Relaxed), busy.load(Ordering::Relaxed));
    println!("{good} signed, {busy} told to come back, {} requests", fake.signs());
    assert_eq!(fake.outcome("ok"), good, "no signature was lost");
    assert!(good > busy, "{good} signed, {busy} told to come back");
    assert!(fake.signs() * 10 <= (good + busy) * 13, "{} for {}", fake.signs(), good + busy);
    assert!(replicas.members()[0].health().is_good(), "nobody is to blame for a spent quota");
    fake.script().share = None;
    for _ in 0..20 {
        sign(&replicas, LONG).await.assert_ok();
    }
}

/// What is not repeated here, because it was the last attempt or because another region has its turn, costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_paid_for_when_it_is_made() {
    let throttled = Fault::Exception("ThrottlingException", 400);
    let (fake, only) = one_key().await;
    for round in 0..5 {
        fake.script().fail(3, &throttled);
        assert_eq!(sign(&only, LONG).await.attempts, 3, "round {round}");
    }
    let (near, _far, replicas) = regions::two_regions().await;
    for _ in 0..40 {
        near.script().next = [Some(throttled.clone())].into();
        sign(&replicas, LONG).await.assert_ok();
    }
    replicas.members()[1].health().quarantine("by script");
    near.script().next = [Some(throttled)].into();
    let outcome = sign(&replicas, LONG).await;
    outcome.assert_ok();
    assert_eq!(outcome.attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_at_once_than_allowed_and_those_who_wait_are_served() {
    let fake = FakeKms::start(REGION).await;
    let arn = fake.add("ECC_NIST_P256");
    let settings = Settings { concurrency: 4, ..kms::settings("cloud", REGION, &fake.url()) };
    let replicas = Arc::new(replicas(&[open_store(settings).await], &arn, Algorithm::ES256).await);
    fake.script().latency = Duration::from_millis(50);
    let started = Instant::now();
    let requests = (0..40).map(|_| {
        let replicas = Arc::clone(&replicas);
        tokio::spawn(async move { sign(&replicas, LONG).await })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap().assert_ok();
    }
    assert!(started.elapsed() >= Duration::from_millis(500), "40 requests, 4 at once, 50 ms each");
    // The queue is bounded: what does not fit is told so without having been sent.
    let requests = (0..200).map(|_| {
        let replicas = Arc::clone(&replicas);
        tokio::spawn(async move { sign(&replicas, LONG).await })
    });
    let before = fake.signs();
    let (mut served, mut refused) = (0, 0);
    for request in requests.collect::<Vec<_>>() {
        match request.await.unwrap().fault {
            None => served += 1,
            Some(fault) => {
                assert!(fault.class == Class::Busy && fault.retry_after.is_some(), "{fault}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && served >= 64, "{served} served, {refused} refused");
    assert_eq!(fake.signs() - before, served);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_waits_for_requests_and_takes_no_more() {
    let (fake, replicas) = one_key().await;
    let replicas = Arc::new(replicas);
    fake.script().latency = Duration::from_millis(300);
    let running = tokio::spawn({
        let replicas = Arc::clone(&replicas);
        async move { sign(&replicas, LONG).await }
    });
    let started = Instant::now();
    while !fake.script().asked.contains_key("Sign") {
        assert!(started.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    replicas.members()[0].store().shutdown().await;
    assert_eq!(fake.outcome("ok"), 1, "it waited for the answer");
    running.await.unwrap().assert_ok();
    let fault = sign(&replicas, LONG).await.fault.unwrap();
    assert_eq!((fault.class, fault.code.as_str()), (Class::Down, "shut down"));
    let fault = replicas.members()[0].store().list().await.unwrap_err();
    assert_eq!((fault.class, fault.code.as_str()), (Class::Down, "shut down"));
    assert_eq!(fake.signs(), 1);
    let status = replicas.members()[0].store().status().await;
    assert_eq!((status.kind, status.signs), ("aws-kms", 1));
}

/// How much of `concurrency / latency` comes through; printed, and only a wide miss is a failure.
#[tokio::test(flavor = "multi_thread")]
async fn most_of_the_possible_throughput_comes_through() {
    let (fake, replicas) = one_key().await;
    let replicas = Arc::new(replicas);
    fake.script().latency = Duration::from_millis(20);
    let count = 500 * (1 + rounds(0).min(9));
    let started = Instant::now();
    let requests = (0..500).map(|_| {
        let replicas = Arc::clone(&replicas);
        tokio::spawn(async move {
            for _ in 0..count / 500 {
                sign(&replicas, LONG).await.assert_ok();
            }
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} a second of the {} that 64 at once and 20 ms allow", 64 * 50);
    assert!(rate > 64.0 * 50.0 / 100.0, "{rate:.0} a second");
}

//! Faults that come again: what has a limit, and what follows when it is reached.

use super::bed::{Bed, until};
use futures_util::future::join_all;
use jwsd::backend::{Class, KeyStore as _};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn three_failed_functions_in_ten_seconds_cost_the_worker() {
    let bed = Bed::new().await;
    for worker in [1, 1, 2] {
        bed.token.script("C_Sign rv 6 total 1");
        let signing = bed.sign(LIMIT).await;
        assert!(signing.result.is_ok() && signing.attempts.len() == 2);
        assert_eq!(bed.generation().await, worker);
    }
}

/// A token whose policy says no does so at once, and must not look idle for it: the key rests there, and nothing else.
#[tokio::test]
async fn a_token_that_refuses_at_once_is_not_preferred() {
    let bed = Bed::new().await;
    let key = || bed.replicas.members()[0].health();
    bed.token.script("C_Sign rv 0x200");
    until("the key rests", async || {
        let signing = bed.sign(LIMIT).await;
        assert!(signing.result.is_err() && signing.attempts.len() <= 1, "never tried again");
        !key().is_good()
    })
    .await;
    assert!(bed.backend.health().is_good());
    bed.token.script("");
    bed.signs_again("a refusal").await;
    assert!(key().is_good());
    assert_eq!(bed.generation().await, 1);
}

/// Workers that cannot sign are replaced, but not for ever: an operator has to look. A module that only stumbles comes
/// back before that.
#[tokio::test]
async fn workers_that_are_of_no_use_end_in_quarantine() {
    let useless = async |code: &str| {
        let bed = Bed::new().await;
        bed.token.script(&format!("C_Sign rv {code}"));
        until("three workers", async || {
            assert!(bed.sign(Duration::from_millis(500)).await.result.is_err());
            bed.generation().await > 3
        })
        .await;
        assert_eq!(bed.quarantined(), (false, false));
        bed.token.script("");
        bed.signs_again(code).await;

        bed.token.script(&format!("C_Sign rv {code}"));
        let since = std::time::Instant::now();
        while !bed.quarantined().0 {
            assert!(since.elapsed() < Duration::from_secs(60), "{code}: still no quarantine");
            assert!(bed.sign(Duration::from_millis(500)).await.result.is_err());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bed.token.script("");
        let error = bed.sign(LIMIT).await.result.err().unwrap();
        assert_eq!(error.class, Class::Untrusted, "{error}");
        until("no worker", async || !bed.backend.status().await.ready).await;
        let workers = bed.generation().await;
        bed.release();
        bed.signs_again(code).await;
        assert_eq!(bed.generation().await, workers + 1);
    };
    tokio::join!(useless("2"), useless("5"), useless("0x80000384"));
}

/// The HSM restarts and answers everything with an error for a while: nobody has to release anything.
#[tokio::test]
async fn a_long_start_is_no_quarantine() {
    let bed = Bed::new().await;
    bed.token.script("C_OpenSession rv 5");
    bed.restart();
    until("several starts", async || bed.generation().await > 4).await;
    bed.token.script("");
    assert_eq!(bed.quarantined(), (false, false));
    bed.signs_again("a long start").await;
}

#[tokio::test]
async fn a_login_is_made_anew_three_times_and_no_more() {
    let bed = Bed::new().await;
    bed.token.script("C_Sign rv 0x101");
    until("the budget is spent", async || {
        let error = bed.sign(LIMIT).await.result.err().unwrap();
        error.message.contains("lost too often") && error.class == Class::Down && error.retry_after.is_some()
    })
    .await;
    assert_eq!((bed.generation().await, bed.logins()), (4, 4));
    let status = bed.backend.status().await;
    assert!(!status.ready && status.reason.unwrap().contains("lost too often"));
    until("it is not preferred for failing at once", async || {
        assert!(bed.sign(LIMIT).await.result.is_err());
        !bed.backend.health().is_good()
    })
    .await;
    bed.token.script("");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!((bed.generation().await, bed.logins()), (4, 4));
}

/// The same budget holds where the login does not live to see the worker ready.
#[tokio::test]
async fn a_login_that_is_lost_during_the_start_is_made_anew_three_times_and_no_more() {
    for script in ["C_OpenSession rv 0x101 nth 2", "C_Login rv 0x100"] {
        let bed = Bed::new().await;
        bed.token.script(script);
        bed.restart();
        until("the budget is spent", async || {
            let reason = bed.backend.status().await.reason;
            reason.is_some_and(|reason| reason.contains("lost too often"))
        })
        .await;
        let (generation, logins) = (bed.generation().await, bed.logins());
        assert!(generation == 5 && logins <= 5, "{script}: {generation} workers, {logins} logins");
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!((bed.generation().await, bed.logins()), (generation, logins), "{script}");
    }
}

/// Idle sessions die, and the login with them.
#[tokio::test]
async fn idle_sessions_are_replaced_and_the_login_too() {
    let bed = Bed::new().await;
    bed.token.script("idle 100");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let signing = bed.sign(LIMIT).await;
    assert!(signing.result.is_ok());
    assert_eq!(signing.attempts.len(), 2);
    assert_eq!((bed.generation().await, bed.logins()), (2, 2));
}

/// A token that gives one session less than there were: everything is signed, by fewer sessions and the same worker.
#[tokio::test]
async fn the_pool_shrinks_and_grows_again() {
    let bed = Bed::new().await;
    // The third is the worker's own.
    bed.token.script("sessions 2\nC_Sign rv 0x30 total 1");
    let all = async || join_all((0..6).map(|_| bed.sign(LIMIT))).await;
    for _ in 0..5 {
        let refused = all().await.into_iter().filter(|signing| signing.result.is_err()).count();
        assert_eq!(refused, 0);
    }
    bed.token.script("C_Sign delay 400");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // Two at a time again: 1.2 seconds, where one at a time takes 2.4.
    let since = std::time::Instant::now();
    assert!(all().await.iter().all(|signing| signing.result.is_ok()));
    let took = since.elapsed();
    assert!(took < Duration::from_millis(2200), "{took:?} for six signatures of 400 ms on two sessions");
    assert_eq!(bed.generation().await, 1);
}

#[tokio::test]
async fn without_any_session_the_worker_goes() {
    let bed = Bed::new().await;
    bed.token.script("sessions 0\nC_Sign rv 0x30 total 2");
    let results = join_all((0..2).map(|_| bed.sign(Duration::from_millis(500)))).await;
    assert!(results.iter().any(|signing| signing.result.is_err()));
    bed.token.script("");
    bed.signs_again("no sessions").await;
    assert!(bed.generation().await > 1);
}

/// A module that leaks is replaced before it takes the machine down, between two requests.
#[tokio::test]
async fn a_leak_costs_no_request() {
    let bed = Bed::new().await;
    bed.token.script("leak 65536");
    until("a new worker", async || {
        if bed.generation().await == 1 {
            assert!(bed.sign(LIMIT).await.result.is_ok());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bed.generation().await > 1
    })
    .await;
    bed.token.script("");
    assert!(bed.sign(LIMIT).await.result.is_ok());
}

/// A module that is large from the start does not grow, and a new worker would be as large.
#[tokio::test]
async fn a_large_module_is_no_leak() {
    let bed = Bed::new().await;
    bed.token.script("weight 614400");
    bed.restart();
    bed.signs_again("a restart").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(bed.sign(LIMIT).await.result.is_ok());
    assert_eq!(bed.generation().await, 2);
}

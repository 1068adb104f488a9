//! Calls that never return, and modules that take the process with them.

use super::bed::{Bed, until};
use super::common::{percentile, rounds};
use jwsd::backend::KeyStore as _;
use std::time::{Duration, Instant};

/// One request while `script` is in force, which must be answered in time; then all is well again.
async fn hang(bed: &Bed, script: &str, limit: Duration, restart: bool) -> (Duration, Duration) {
    bed.token.script(script);
    if restart {
        bed.restart();
    }
    let asked = Instant::now();
    let result = bed.sign(limit).await.result;
    let late = asked.elapsed().saturating_sub(limit);
    assert!(result.is_err(), "{script}");
    // Generous, for a machine that has other things to do.
    assert!(late < Duration::from_millis(500), "{script}: answered {late:?} after the deadline");
    (late, bed.signs_again(script).await)
}

#[tokio::test]
async fn hang_start() {
    let timeout = Duration::from_millis(500);
    let bed = Bed::with(|settings| settings.start_timeout = timeout).await;
    let (mut late, mut healed) = (Vec::new(), Vec::new());
    let rounds = rounds(2);
    for _ in 0..rounds {
        for (call, restart) in
            [("C_Sign", false), ("C_OpenSession", true), ("C_Login", true), ("C_Initialize", true)]
        {
            let limit = Duration::from_millis(if restart { 250 } else { 600 });
            let generation = bed.generation().await;
            let (was_late, took) = hang(&bed, &format!("{call} hang total 1"), limit, restart).await;
            late.push(was_late);
            healed.push(took);
            assert!(bed.generation().await > generation, "{call}: the worker was replaced");
        }
    }
    println!(
        "hang-start: {rounds} rounds of 4, answered at most {:?} after the deadline, signing again after p95 {:?}",
        percentile(&mut late, 100),
        percentile(&mut healed, 95)
    );
    assert!(bed.logins() <= bed.generation().await);
}

/// A session that cannot be opened again hangs like any other call: it is noticed by its silence.
#[tokio::test]
async fn a_session_that_hangs_while_it_is_opened_again() {
    let bed = Bed::new().await;
    let script = "C_Sign rv 0x90 total 1\nC_OpenSession hang total 1";
    let (_, healed) = hang(&bed, script, Duration::from_millis(600), false).await;
    assert!(healed < Duration::from_secs(5), "{healed:?}");
    assert_eq!(bed.generation().await, 2);
}

/// A crash costs the requests that were under way one retry, and the next signature does not wait long.
#[tokio::test]
async fn crash() {
    let bed = Bed::new().await;
    let mut next = Vec::new();
    let rounds = rounds(10);
    for round in 0..rounds {
        let how = ["abort", "segv", "exit"][round as usize % 3];
        let generation = bed.generation().await;
        bed.token.script(&format!("C_Sign {how} total 1"));
        let since = Instant::now();
        let signing = bed.sign(Duration::from_secs(5)).await;
        match signing.result {
            Ok(_) => {
                let outcomes: Vec<_> = signing.attempts.iter().map(|attempt| &*attempt.outcome).collect();
                assert_eq!(outcomes, ["worker lost", "ok"]);
            }
            // From the fourth in a minute on the breaker may be open for a moment.
            Err(error) => {
                assert!(round >= 3, "{error}");
                bed.signs_again(how).await;
            }
        }
        next.push(since.elapsed());
        assert_eq!(bed.generation().await, generation + 1);
    }
    println!(
        "crash: {rounds} crashes, next signature p50 {:?}, p95 {:?}, p100 {:?}",
        percentile(&mut next, 50),
        percentile(&mut next, 95),
        percentile(&mut next, 100)
    );
}

/// A module that crashes whenever it is used is left alone, and comes back by itself.
#[tokio::test]
async fn a_module_that_always_crashes_is_left_alone() {
    let bed = Bed::new().await;
    bed.token.script("C_Sign abort");
    until("the breaker is open", async || {
        bed.sign(Duration::from_millis(500)).await.result.err().unwrap();
        !bed.backend.health().is_good()
    })
    .await;
    assert_eq!(bed.quarantined(), (false, false));
    bed.token.script("");
    bed.signs_again("crashes").await;
    assert!(bed.backend.health().is_good());
}

//! The token is taken out and put in again, under load, with other slots and other handles.

use super::bed::Bed;
use super::common::{Dice, rounds};
use jwsd::backend::KeyStore as _;
use jwsd::jose::Algorithm;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long after the token is back there may be errors: a second, and some more where the machine is busy.
const GRACE: Duration = Duration::from_millis(1500);
const LIMIT: Duration = Duration::from_millis(300);

/// Errors while it is gone and one second after, none at any other time, and whatever is signed is signed by the key.
#[tokio::test]
async fn reinsert() {
    let bed = Bed::new().await;
    // Something that a stale handle could be mistaken for.
    bed.token.generate(&bed.backend, b"decoy", Algorithm::ES256).await;
    let mut dice = Dice::new("reinsert");
    let rounds = rounds(4);
    let done = Cell::new(false);
    // When requests that failed were asked, and signatures so far.
    let (failed, signed) = (RefCell::new(Vec::new()), Cell::new(0_u64));
    let load = async || {
        while !done.get() {
            let asked = Instant::now();
            match bed.sign(LIMIT).await.result {
                Ok(_) => signed.set(signed.get() + 1),
                Err(error) => failed.borrow_mut().push((asked, error)),
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let trouble = async {
        let mut slowest = Duration::ZERO;
        for round in 1..=rounds {
            sleep(Duration::from_millis(200 + dice.below(200))).await;
            let out = Instant::now();
            // Every fourth time it is back before anybody looked.
            if round % 4 != 0 {
                bed.token.script("removed");
                sleep(Duration::from_millis(300 + dice.below(1500))).await;
            }
            let back = Instant::now();
            bed.token
                .script(&format!("inserted {round}\nrenumber-slots {}\npermute-handles {round}", round * 7));
            let before = signed.get();
            while signed.get() == before {
                assert!(back.elapsed() < Duration::from_secs(20), "round {round}: it never signed again");
                sleep(Duration::from_millis(1)).await;
            }
            slowest = slowest.max(back.elapsed());
            // Until the errors of this round are all in.
            sleep((GRACE + LIMIT).saturating_sub(back.elapsed())).await;
            for (asked, error) in failed.borrow_mut().drain(..) {
                let after = asked.checked_duration_since(back).unwrap_or_default();
                assert!(
                    asked + LIMIT >= out && after < GRACE,
                    "round {round}: {after:?} after it was back: {error}"
                );
            }
        }
        done.set(true);
        slowest
    };
    let (slowest, ..) = tokio::join!(trouble, load(), load(), load(), load());
    println!(
        "reinsert: {rounds} rounds, {} signatures, signing at most {slowest:?} after it was back, {} workers, {} logins",
        signed.get(),
        bed.generation().await,
        bed.logins()
    );
    assert!(bed.logins() <= bed.generation().await);
    assert!(bed.backend.status().await.ready);
}

/// Other handles alone cost a retry, and no worker.
#[tokio::test]
async fn stale_handles_are_renewed() {
    let bed = Bed::new().await;
    for epoch in 1..=5 {
        bed.token.script(&format!("permute-handles {epoch}"));
        let signing = bed.sign(Duration::from_secs(5)).await;
        assert!(signing.result.is_ok());
        let outcomes: Vec<_> = signing.attempts.iter().map(|attempt| attempt.outcome.as_ref()).collect();
        assert_eq!(outcomes, ["CKR_KEY_HANDLE_INVALID", "ok"]);
        assert_eq!(bed.sign(Duration::from_secs(5)).await.attempts.len(), 1);
    }
    assert_eq!(bed.generation().await, 1);
}

/// Slots have other numbers in every process, as some modules have it.
#[tokio::test]
async fn slots_are_never_remembered() {
    let bed = Bed::new().await;
    bed.token.script("renumber-slots 0");
    for _ in 0..3 {
        bed.restart();
        assert!(bed.sign(Duration::from_secs(10)).await.result.is_ok());
    }
}

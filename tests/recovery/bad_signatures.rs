//! Signatures that no verifier would take never leave, and who made them is not asked again.

use super::bed::{Bed, until};
use super::common::rounds;
use jwsd::backend::{BackendEvent, Class};
use jwsd::jose::Algorithm;
use std::time::Duration;

const KINDS: [&str; 5] =
    ["C_Sign corrupt", "C_Sign short", "C_Sign zero", "C_Sign der", "C_SignInit other-key"];

#[tokio::test]
async fn bad_signatures() {
    let mut bed = Bed::new().await;
    bed.token.generate(&bed.backend, b"other", Algorithm::ES256).await;
    let (rounds, limit) = (rounds(2), Duration::from_secs(5));
    let mut refused = 0;
    for _ in 0..rounds {
        for kind in KINDS {
            assert!(bed.sign(limit).await.result.is_ok());
            let generation = bed.generation().await;
            bed.token.script(kind);
            let signing = bed.sign(limit).await;
            let error = signing.result.err().expect("a bad signature was released");
            assert_eq!(error.class, Class::Untrusted, "{kind}: {error}");
            assert_eq!(signing.attempts.len(), 1, "{kind}: once is enough");
            assert_eq!(bed.quarantined(), (false, true), "{kind}: the key and nothing else");
            refused += 1;
            // It is not asked again, even when it would do right now.
            bed.token.script("");
            for _ in 0..3 {
                let signing = bed.sign(limit).await;
                assert_eq!(signing.result.err().expect("it is in quarantine").class, Class::Untrusted);
                assert!(signing.attempts.is_empty());
            }
            until("whoever made it is replaced", async || bed.generation().await > generation).await;
            until("it is told", async || {
                matches!(bed.events.try_recv(), Ok(BackendEvent::KeyQuarantined { .. }))
            })
            .await;
            bed.release();
            bed.signs_again(kind).await;
        }
    }
    println!("bad-signatures: {refused} of {} kinds, 0 released, key quarantined after each", KINDS.len());
}

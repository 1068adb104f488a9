//! The PKCS#11 backend end to end: real workers, real SoftHSM tokens in temporary directories, injected faults.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "pkcs11_worker/faults.rs"]
mod faults;
#[path = "pkcs11_worker/fixture.rs"]
mod fixture;
#[path = "pkcs11_worker/lifecycle.rs"]
mod lifecycle;
#[path = "pkcs11_worker/objects.rs"]
mod objects;
#[path = "pkcs11_worker/pin.rs"]
mod pin;

use fixture::{Sign as _, Token, soon, verifies};
use jwsd::backend::{Class, KeySpec, KeyStore as _, Wanted};
use jwsd::jose::Algorithm;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One key per key type; the six RSA algorithms share one, which only the layers above forbid.
const KEYS: [(&[u8], Algorithm, &str); 5] = [
    (b"rsa", Algorithm::RS256, "RSA-2048"),
    (b"p256", Algorithm::ES256, "P-256"),
    (b"p384", Algorithm::ES384, "P-384"),
    (b"p521", Algorithm::ES512, "P-521"),
    (b"ed", Algorithm::Ed25519, "Ed25519"),
];

fn key_for(algorithm: Algorithm) -> &'static [u8] {
    let place = match algorithm {
        Algorithm::ES256 => 1,
        Algorithm::ES384 => 2,
        Algorithm::ES512 => 3,
        Algorithm::Ed25519 | Algorithm::EdDSA => 4,
        _ => 0,
    };
    KEYS[place].0
}

#[tokio::test]
async fn every_algorithm_signs_what_verifies() {
    let token = Token::new();
    let backend = token.start().await;
    for (id, algorithm, _) in KEYS {
        let spec = KeySpec { algorithm, rsa_bits: 2048 };
        let public = backend.generate(id, "a label", spec).await.unwrap().public;
        let opened = backend.open(Wanted::Id(id), algorithm, Some(&public)).await.unwrap();
        assert_eq!(opened.public, public);
        let again = backend.generate(id, "again", spec).await.err().unwrap();
        assert_eq!(again.class, Class::Misconfigured, "{again}");
    }
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.name().starts_with("ML-DSA")) {
        let opened = backend.open(Wanted::Id(key_for(algorithm)), algorithm, None).await;
        let opened = opened.unwrap();
        for input in [b"header.payload".as_slice(), &[b'x'; 70_000]] {
            let signature = opened.sign(input, soon()).await.unwrap();
            assert!(verifies(algorithm, &opened.public, input, &signature), "{algorithm:?}");
        }
    }
    assert_eq!(backend.status().await.signs, 22);

    let mut listed = backend.list().await.unwrap();
    listed.sort_by(|a, b| a.kind.cmp(&b.kind));
    let shown: Vec<_> = listed.iter().map(|key| key.kind.as_str()).collect();
    assert_eq!(shown, ["Ed25519", "P-256", "P-384", "P-521", "RSA-2048"]);
    for key in listed {
        assert_eq!((key.label.as_str(), &key.problems[..]), ("a label", &[][..]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_all_get_their_own_signature() {
    let token = Token::new();
    let backend = token.start().await;
    let opened = Arc::new(token.generate(&backend, b"k", Algorithm::ES256).await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500 {
        let opened = Arc::clone(&opened);
        tasks.spawn(async move {
            let input = format!("input {number}").repeat(1 + number % 50);
            let signature = opened.sign(input.as_bytes(), soon()).await.unwrap();
            verifies(Algorithm::ES256, &opened.public, input.as_bytes(), &signature)
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|verified| verified));
    assert_eq!(backend.status().await.signs, 500);
}

#[tokio::test]
async fn a_queue_that_is_full_says_busy_and_recovers() {
    let token = Token::faulty("C_Sign delay 1000 first 2");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    let opened = Arc::new(opened);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1100 {
        let opened = Arc::clone(&opened);
        tasks.spawn(async move { opened.sign(b"x", soon()).await });
    }
    let results = tasks.join_all().await;
    let signed = results.iter().filter(|result| result.is_ok()).count();
    let busy =
        results.iter().filter(|result| matches!(result, Err(error) if error.class == Class::Busy)).count();
    assert_eq!((busy, signed), (1100 - 1024 - 16, 1024 + 16));
}

#[tokio::test]
async fn a_key_that_is_missing_or_of_the_wrong_type_is_refused() {
    let token = Token::new();
    let backend = token.start().await;
    token.generate(&backend, b"k", Algorithm::ES256).await;
    let missing = backend.open(Wanted::Id(b"none"), Algorithm::ES256, None).await;
    let wrong = backend.open(Wanted::Id(b"k"), Algorithm::RS256, None).await;
    for (result, word) in [(missing, "no private key"), (wrong, "cannot be used with RS256")] {
        let error = result.err().unwrap();
        assert_eq!(error.class, Class::Misconfigured);
        assert!(error.message.contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_killed_worker_is_replaced_at_once() {
    let token = Token::new();
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    for round in 1..=10 {
        let input = format!("round {round}");
        let signature = opened.sign(input.as_bytes(), soon()).await.unwrap();
        assert!(verifies(Algorithm::ES256, &opened.public, input.as_bytes(), &signature));
        let before = backend.status().await;
        fixture::kill(before.worker_pid.unwrap());
        let killed = Instant::now();
        // A request that was under way with the worker may fail; the next one must not.
        let signature = match opened.sign(b"after", soon()).await {
            Ok(signature) => signature,
            Err(error) => {
                assert_eq!(error.class, Class::Down, "{error}");
                opened.sign(b"after", soon()).await.unwrap()
            }
        };
        let took = killed.elapsed();
        assert!(verifies(Algorithm::ES256, &opened.public, b"after", &signature));
        assert!(took < Duration::from_secs(1), "round {round}: {took:?}");
        println!("round {round}: {took:?}");
        let after = backend.status().await;
        assert_eq!(after.generation, before.generation + 1);
        assert_ne!(after.worker_pid, before.worker_pid);
        assert!(after.signs > before.signs, "counters go on across workers");
    }
}

#[tokio::test]
async fn shutting_down_ends_the_worker_and_answers_everybody() {
    let token = Token::new();
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    let pid = backend.status().await.worker_pid.unwrap();
    assert!(fixture::is_alive(pid));
    backend.shutdown().await;
    assert!(!fixture::is_alive(pid));
    let error = opened.sign(b"x", soon()).await.err().unwrap();
    assert_eq!(error.class, Class::Down);
    assert!(!backend.status().await.ready);
}

#[tokio::test]
async fn a_token_that_is_not_there_is_named() {
    let token = Token::new();
    let mut settings = token.settings();
    settings.token.label = Some("other".into());
    let error = token.try_start(settings).await.err().unwrap();
    assert_eq!(error.class, Class::Down);
    assert!(error.message.contains("\"other\""), "{error}");
    assert!(error.message.contains("\"jwsd\""), "{error}");
}

#[tokio::test]
async fn nothing_secret_shows_from_outside() {
    let token = Token::new();
    let backend = token.start().await;
    let pid = backend.status().await.worker_pid.unwrap();
    for file in ["cmdline", "environ"] {
        // Not readable at all is better still.
        let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(fixture::PIN), "{file}");
        assert!(!text.contains("CARGO"), "{file}: the environment is inherited");
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Umask:\t0077\n"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).all(|limit| limit == "0"), "{core}");
}

#[tokio::test]
async fn a_signal_to_the_whole_group_is_the_parents_to_handle() {
    use nix::sys::signal::{Signal, kill};
    let token = Token::new();
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    let pid = backend.status().await.worker_pid.unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(nix::unistd::Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }
    opened.sign(b"x", soon()).await.unwrap();
    assert_eq!(backend.status().await.worker_pid, Some(pid));
}

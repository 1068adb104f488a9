//! A wrong PIN is tried once, however often workers and backends are started.

use super::common::rounds;
use super::fixture::{PIN, Sign as _, Token, started, within};
use jwsd::backend::pkcs11::{Backend, pin};
use jwsd::backend::{Class, Health, KeyStore as _, Scope};
use jwsd::jose::Algorithm;
use secrecy::SecretString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test]
async fn wrong_pin_of_workers() {
    let token = Token::faulty("C_Login count-wrong 3");
    let wrong = Arc::new(AtomicBool::new(false));
    let start = async || {
        let wrong = Arc::clone(&wrong);
        let read = move || Ok(SecretString::from(if wrong.load(Ordering::Relaxed) { "wrong" } else { PIN }));
        started(Backend::start(token.settings(), Box::new(read), Health::of_backend("hsm", None)).await).await
    };
    let rounds = rounds(5);
    let backend = start().await.unwrap();
    let key = token.generate(&backend, b"k", Algorithm::ES256).await;
    for _ in 0..rounds {
        key.signer.distrust();
        key.sign(b"x", within(10_000)).await.unwrap();
    }
    wrong.store(true, Ordering::Relaxed);
    for _ in 0..rounds {
        key.signer.distrust();
        let error = key.sign(b"x", within(10_000)).await.err().unwrap();
        assert_eq!((error.class, error.advice.scope), (Class::Misconfigured, Scope::Backend), "{error}");
    }
    let counts = || std::fs::read_to_string(token.path("logins")).unwrap();
    assert!(counts().contains("wrong 1 "), "{}", counts());
    backend.shutdown().await;
    for _ in 0..rounds {
        assert_eq!(start().await.err().unwrap().class, Class::Misconfigured);
    }
    println!(
        "wrong-pin-worker: {rounds} workers and {rounds} backends with a wrong PIN: {}",
        counts().trim()
    );
    assert!(counts().contains("wrong 1 "), "{}", counts());

    wrong.store(false, Ordering::Relaxed);
    assert!(pin::clear(&token.settings().marker_dir, "hsm").unwrap());
    start().await.unwrap().shutdown().await;
    assert!(counts().contains("wrong 1 strikes 0"), "{}", counts());
}

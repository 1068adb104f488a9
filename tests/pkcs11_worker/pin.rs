//! A wrong PIN is tried once, ever, until an operator clears it.

use super::fixture::{self, PIN, Sign as _, Token, soon};
use jwsd::backend::pkcs11::Backend;
use jwsd::backend::pkcs11::pin::{self, State};
use jwsd::backend::{BackendEvent, Class, Health, KeyStore as _};
use jwsd::jose::Algorithm;
use secrecy::SecretString;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn logins(token: &Token) -> String {
    std::fs::read_to_string(token.path("logins")).unwrap_or_default()
}

fn state(token: &Token) -> State {
    pin::state(&token.settings().marker_dir, "hsm").unwrap()
}

fn clear(token: &Token) {
    assert!(pin::clear(&token.settings().marker_dir, "hsm").unwrap());
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_over_many_restarts() {
    let token = Token::faulty("C_Login count-wrong 3");
    token.set_pin("wrong");
    for _ in 0..20 {
        let error = token.try_start(token.settings()).await.err().unwrap();
        assert_eq!(error.class, Class::Misconfigured, "{error}");
        assert!(error.message.contains("jwsd keys clear-pin --config FILE hsm"), "{error}");
    }
    assert_eq!(logins(&token), "logins 1 wrong 1 strikes 1\n");
    assert_eq!(state(&token), State::Refused);

    token.set_pin(PIN);
    assert!(token.try_start(token.settings()).await.is_err());
    clear(&token);
    token.start().await;
    assert_eq!(logins(&token), "logins 2 wrong 1 strikes 0\n");
    assert_eq!(state(&token), State::Good);
}

#[tokio::test]
async fn a_last_try_is_never_taken() {
    let token = Token::faulty("C_Login count-wrong 3");
    std::fs::write(token.path("logins"), "logins 2 wrong 2 strikes 2\n").unwrap();
    let error = token.try_start(token.settings()).await.err().unwrap();
    assert_eq!(error.class, Class::Misconfigured);
    assert!(error.message.contains("would lock"), "{error}");
    assert_eq!(logins(&token), "logins 2 wrong 2 strikes 2\n");
    assert_eq!(state(&token), State::Absent);
}

#[tokio::test]
async fn a_login_that_never_ended_is_not_repeated() {
    let token = Token::faulty("C_Login hang");
    let mut settings = token.settings();
    settings.start_timeout = Duration::from_millis(800);
    let error = token.try_start(settings).await.err().unwrap();
    assert_eq!(error.class, Class::Down, "{error}");
    assert_eq!(state(&token), State::Trying);
    token.script("");
    let error = token.try_start(token.settings()).await.err().unwrap();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    assert_eq!(logins(&token), "");
}

#[tokio::test]
async fn a_fault_that_is_not_the_pin_costs_no_attempt() {
    let token = Token::faulty("C_Login rv 0xe0 first 1");
    let error = token.try_start(token.settings()).await.err().unwrap();
    assert_eq!(error.class, Class::Down, "{error}");
    assert_eq!(state(&token), State::Absent);
    token.script("");
    token.start().await;
}

#[tokio::test]
async fn a_pin_changed_under_way_blocks_until_it_is_cleared() {
    let token = Token::faulty("C_Login count-wrong 3");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    token.script("C_Login rv 0xa0");
    fixture::kill(backend.status().await.worker_pid.unwrap());

    let error = opened.sign(b"x", soon()).await.err().unwrap();
    let error =
        if error.class == Class::Down { opened.sign(b"x", soon()).await.err().unwrap() } else { error };
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    assert_eq!(state(&token), State::Refused);
    let generation = backend.status().await.generation;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(backend.status().await.generation, generation, "no restart");

    token.script("");
    clear(&token);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    opened.sign(b"x", soon()).await.unwrap();
    assert_eq!(state(&token), State::Good);
}

#[tokio::test]
async fn a_marker_that_forbids_keeps_the_pin_unread() {
    let token = Token::new();
    std::fs::write(token.path("hsm.pin"), "refused").unwrap();
    let read = Box::new(|| -> Result<secrecy::SecretString, String> { panic!("the PIN must not be read") });
    let started = fixture::started(
        jwsd::backend::pkcs11::Backend::start(token.settings(), read, Health::of_backend("hsm", None)).await,
    )
    .await;
    assert_eq!(started.err().unwrap().class, Class::Misconfigured);
}

#[tokio::test]
async fn logins_that_end_unknown_are_counted() {
    for fault in ["rv 0x30", "rv 0x80000001", "abort"] {
        let token = Token::faulty("");
        drop(token.start().await);
        token.script(&format!("C_Login {fault}"));
        for count in 1..=3 {
            let error = token.try_start(token.settings()).await.err().unwrap();
            assert_eq!((error.class, state(&token)), (Class::Down, State::Again(count)), "{error}");
        }
        let before = logins(&token);
        token.script("");
        let error = token.try_start(token.settings()).await.err().unwrap();
        assert_eq!((error.class, state(&token)), (Class::Misconfigured, State::Again(3)), "{error}");
        assert!(error.message.contains("jwsd keys clear-pin --config FILE hsm"), "{error}");
        assert_eq!(logins(&token), before);
        clear(&token);
        token.start().await;
    }
}

/// The PIN becomes wrong and no login says so: the module answers something else, dies, or takes too long. The token
/// knows.
#[tokio::test]
async fn a_wrong_pin_of_unknown_outcome_is_tried_once() {
    let token = Token::faulty("");
    drop(token.start().await);
    token.set_pin("wrong");
    token.script("C_Login count-wrong 9\nC_Login then 0x05");
    let error = token.try_start(token.settings()).await.err().unwrap();
    assert_eq!((error.class, state(&token)), (Class::Down, State::Again(1)), "{error}");
    for _ in 0..3 {
        let error = token.try_start(token.settings()).await.err().unwrap();
        assert_eq!((error.class, state(&token)), (Class::Misconfigured, State::Refused), "{error}");
        assert!(error.message.contains("jwsd keys clear-pin --config FILE hsm"), "{error}");
    }
    assert_eq!(logins(&token), "logins 2 wrong 1 strikes 1\n");

    token.set_pin(PIN);
    token.script("C_Login count-wrong 9");
    clear(&token);
    token.start().await;
    assert_eq!((logins(&token).as_str(), state(&token)), ("logins 3 wrong 1 strikes 0\n", State::Good));
}

#[tokio::test]
async fn a_good_login_ends_the_count() {
    // The second answers that it is logged in already.
    for script in ["", "C_Login then 0x100"] {
        let token = Token::faulty(script);
        fs::write(token.path("hsm.pin"), "again 2\n").unwrap();
        token.start().await;
        assert_eq!(state(&token), State::Good, "{script}");
    }
}

#[tokio::test]
async fn two_processes_try_a_wrong_pin_once() {
    let token = Token::faulty("C_Login count-wrong 5\nC_Login delay 300");
    fs::write(token.path("hsm.pin"), "good\n").unwrap();
    token.set_pin("wrong");
    let (one, other) = tokio::join!(token.try_start(token.settings()), token.try_start(token.settings()));
    for error in [one.err().unwrap(), other.err().unwrap()] {
        assert_eq!(error.class, Class::Misconfigured, "{error}");
    }
    assert_eq!(logins(&token), "logins 1 wrong 1 strikes 1\n");
}

#[tokio::test]
async fn a_marker_that_cannot_be_written_costs_no_attempt() {
    let token = Token::faulty("C_Login count-wrong 3");
    let mut settings = token.settings();
    settings.marker_dir = token.path("missing");
    let error = token.try_start(settings).await.err().unwrap();
    assert_eq!(error.class, Class::Down, "{error}");
    assert!(error.message.contains("must be writable"), "{error}");
    assert_eq!(logins(&token), "");
}

/// The disk fails between the refusal and its record: the running daemon remembers it and writes it down later.
#[tokio::test]
async fn a_refusal_that_cannot_be_written_is_remembered() {
    let token = Token::faulty("C_Login count-wrong 5");
    let wrong = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&wrong);
    let read = move || {
        let pin = if asked.load(Ordering::Relaxed) { "wrong" } else { PIN };
        Ok(SecretString::from(pin))
    };
    let (events, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let backend = fixture::started(
        Backend::start(token.settings(), Box::new(read), Health::of_backend("hsm", Some(events))).await,
    )
    .await
    .unwrap();
    wrong.store(true, Ordering::Relaxed);
    token.script("C_Login count-wrong 5\nC_Login delay 1000");
    fixture::kill(backend.status().await.worker_pid.unwrap());
    while state(&token) != State::Again(1) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // A directory in its place can be neither read nor replaced.
    let marker = token.path("hsm.pin");
    fs::remove_file(&marker).unwrap();
    fs::create_dir(&marker).unwrap();
    loop {
        if let BackendEvent::PinRefused { .. } = heard.recv().await.unwrap() {
            break;
        }
    }
    assert_eq!(logins(&token), "logins 2 wrong 1 strikes 1\n");
    fs::remove_dir(&marker).unwrap();
    // What was there before is no clearance, though it alone would allow a login.
    fs::write(&marker, "again 1\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(state(&token), State::Refused);
    assert_eq!(logins(&token), "logins 2 wrong 1 strikes 1\n");
    assert!(heard.try_recv().is_err(), "nothing was cleared");

    wrong.store(false, Ordering::Relaxed);
    token.script("C_Login count-wrong 5");
    clear(&token);
    assert_eq!(heard.recv().await.unwrap(), BackendEvent::PinCleared { backend: "hsm".into() });
    assert!(matches!(heard.recv().await.unwrap(), BackendEvent::WorkerUp { .. }));
    assert_eq!(logins(&token), "logins 3 wrong 1 strikes 0\n");
    assert_eq!(state(&token), State::Good);
}

/// A module that claims a login which nobody made costs no attempt, and is not believed.
#[tokio::test]
async fn a_login_that_is_only_claimed_is_none() {
    let token = Token::faulty("C_Login rv 0x100");
    for _ in 0..5 {
        let error = token.try_start(token.settings()).await.err().unwrap();
        assert_eq!(error.class, Class::Down, "{error}");
    }
    assert_eq!(state(&token), State::Absent);
    token.script("");
    token.start().await;
}

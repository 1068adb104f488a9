//! What a module that misbehaves costs: one request, at most one worker, never the backend.

use super::fixture::{self, Sign as _, Token, soon, verifies, within};
use jwsd::backend::{Class, KeyStore as _};
use jwsd::jose::Algorithm;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_hang_is_answered_at_the_deadline_and_the_worker_replaced() {
    let token = Token::faulty("");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    opened.sign(b"before", soon()).await.unwrap();
    let pid = backend.status().await.worker_pid.unwrap();

    token.script("C_Sign hang");
    let asked = Instant::now();
    let error = opened.sign(b"x", within(400)).await.err().unwrap();
    let took = asked.elapsed();
    assert_eq!(error.class, Class::Deadline, "{error}");
    assert!((400..600).contains(&took.as_millis()), "{took:?}");

    token.script("");
    let signature = opened.sign(b"after", soon()).await.unwrap();
    assert!(verifies(Algorithm::ES256, &opened.public, b"after", &signature));
    assert!(!fixture::is_alive(pid), "the hung worker is gone");
    assert_eq!(backend.status().await.generation, 2);
}

#[tokio::test]
async fn a_late_answer_of_a_slow_token_kills_nobody() {
    let token = Token::faulty("C_Sign delay 150");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    let error = opened.sign(b"x", within(50)).await.err().unwrap();
    assert_eq!(error.class, Class::Deadline);
    opened.sign(b"x", soon()).await.unwrap();
    assert_eq!(backend.status().await.generation, 1);
}

/// A queue before a token that takes its time: some requests are late, and that is all.
#[tokio::test]
async fn a_slow_token_with_a_queue_is_not_hung() {
    let token = Token::faulty("");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    token.script("C_Sign delay 350");
    let requests = (0..12).map(|_| opened.sign(b"x", within(1000)));
    let results = futures_util::future::join_all(requests).await;
    let late = results.iter().filter(|result| matches!(result, Err(e) if e.class == Class::Deadline)).count();
    let signed = results.iter().filter(|result| result.is_ok()).count();
    assert!(late >= 1 && signed >= 2 && late + signed == 12, "{late} late, {signed} signed");
    token.script("");
    opened.sign(b"x", soon()).await.unwrap();
    assert_eq!(backend.status().await.generation, 1);
}

/// Whoever waits in vain behind a hang notices it too, even if nobody in the session's hands was given so long.
#[tokio::test]
async fn a_hang_before_a_queue_is_noticed() {
    let token = Token::faulty("");
    let mut settings = token.settings();
    settings.sessions = 1;
    let backend = token.try_start(settings).await.unwrap();
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    token.script("C_Sign hang");
    // The session's window, with little time each, and the queue.
    let first = (0..8).map(|_| opened.sign(b"x", within(100)));
    let next = (0..8).map(|_| opened.sign(b"x", within(600)));
    let (first, next) =
        tokio::join!(futures_util::future::join_all(first), futures_util::future::join_all(next));
    assert!(first.iter().chain(&next).all(Result::is_err));
    token.script("");
    opened.sign(b"x", within(5000)).await.unwrap();
    assert_eq!(backend.status().await.generation, 2);
}

/// One signature takes more than half of what a request is given, which is half of what the caller allows where another
/// backend has the key too.
#[tokio::test]
async fn a_token_that_needs_most_of_the_time_is_not_hung() {
    let token = Token::faulty("");
    let mut settings = token.settings();
    settings.sessions = 1;
    let backend = token.try_start(settings).await.unwrap();
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    token.script("C_Sign delay 600");
    let third = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        opened.sign(b"x", within(1000)).await
    };
    let results = tokio::join!(opened.sign(b"x", within(1000)), opened.sign(b"x", soon()), third);
    // Its deadline passes while the second one is being signed.
    assert_eq!(results.2.err().unwrap().class, Class::Deadline);
    assert!(results.1.is_ok());
    token.script("");
    opened.sign(b"x", soon()).await.unwrap();
    assert_eq!(backend.status().await.generation, 1);
}

#[tokio::test]
async fn a_fault_of_the_session_costs_one_request() {
    for code in ["0x30", "0xb3", "0x06", "0x90"] {
        let token = Token::faulty(&format!("C_Sign rv {code} nth 2"));
        let backend = token.start().await;
        let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
        let mut failed = 0;
        for _ in 0..6 {
            failed += usize::from(opened.sign(b"x", soon()).await.is_err());
        }
        assert_eq!((failed, backend.status().await.generation), (1, 1), "{code}");
    }
}

#[tokio::test]
async fn a_fault_of_the_module_costs_one_request_and_one_worker() {
    for code in ["0x03", "0x05", "0x101", "0x190"] {
        let token = Token::faulty(&format!("C_Sign rv {code}"));
        let backend = token.start().await;
        let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
        let error = opened.sign(b"x", soon()).await.err().unwrap();
        assert_eq!(error.class, Class::Down, "{error}");
        token.script("");
        opened.sign(b"x", soon()).await.unwrap();
        assert_eq!(backend.status().await.generation, 2, "{code}");
    }
}

#[tokio::test]
async fn a_crash_costs_one_request() {
    for crash in ["abort", "exit"] {
        let token = Token::faulty("");
        let backend = token.start().await;
        let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
        token.script(&format!("C_Sign {crash}"));
        let error = opened.sign(b"x", soon()).await.err().unwrap();
        assert_eq!(error.class, Class::Down, "{error}");
        token.script("");
        opened.sign(b"x", soon()).await.unwrap();
    }
}

#[tokio::test]
async fn a_bad_signature_is_caught() {
    let token = Token::faulty("C_Sign corrupt total 1\nC_Sign short total 1");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    let signature = opened.sign(b"x", soon()).await.unwrap();
    assert!(!verifies(Algorithm::ES256, &opened.public, b"x", &signature));
    let error = opened.sign(b"x", soon()).await.err().unwrap();
    assert_eq!(error.class, Class::Untrusted, "{error}");
    let signature = opened.sign(b"x", soon()).await.unwrap();
    assert!(verifies(Algorithm::ES256, &opened.public, b"x", &signature));
}

#[tokio::test]
async fn odd_tokens_are_lived_with() {
    for (oddity, script) in [
        ("cannot lock", "C_Initialize rv 0x0a first 1"),
        ("no read-only sessions", "C_OpenSession rv 0xb5 nth 2"),
        ("one session only", "C_OpenSession rv 0xb1 nth 3"),
    ] {
        let token = Token::faulty(script);
        let backend = token.start().await;
        let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
        for _ in 0..20 {
            let results = tokio::join!(opened.sign(b"x", soon()), opened.sign(b"x", soon()));
            assert!(results.0.is_ok() && results.1.is_ok(), "{oddity}");
        }
        assert_eq!(backend.status().await.generation, 1, "{oddity}");
    }
}

#[tokio::test]
async fn requests_wait_for_the_next_worker_and_no_longer() {
    let token = Token::faulty("");
    let backend = token.start().await;
    let opened = token.generate(&backend, b"k", Algorithm::ES256).await;
    token.script("C_GetSlotList rv 0x30");
    fixture::kill(backend.status().await.worker_pid.unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let asked = Instant::now();
    let error = opened.sign(b"x", within(300)).await.err().unwrap();
    assert_eq!(error.class, Class::Down, "{error}");
    assert!(asked.elapsed() < Duration::from_millis(500));
    let status = backend.status().await;
    assert!(!status.ready && status.reason.is_some(), "{status:?}");
    token.script("");
    opened.sign(b"x", soon()).await.unwrap();
}

/// A worker whose parent dies ends at once, even when the module never returns.
#[test]
fn an_orphan_ends_itself() {
    let token = Token::faulty("C_Initialize hang");
    let settings = token.settings();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut worker = Command::new(&settings.program)
        .arg("pkcs11-worker")
        .env_clear()
        .envs(&settings.env)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let init = serde_json::json!({
        "name": "hsm", "module": settings.module, "token": settings.token, "sessions": 1,
        "marker_dir": settings.marker_dir,
    });
    for frame in [init.to_string(), fixture::PIN.to_owned()] {
        let length = u32::try_from(frame.len()).unwrap();
        ours.write_all(&length.to_le_bytes()).unwrap();
        ours.write_all(frame.as_bytes()).unwrap();
    }
    ours.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(ours.read(&mut [0]).is_err(), "it hangs");
    assert!(fixture::is_alive(worker.id()));
    drop(ours);
    let closed = Instant::now();
    let status = worker.wait().unwrap();
    assert!(closed.elapsed() < Duration::from_secs(1));
    assert_eq!(status.signal(), Some(9));
}

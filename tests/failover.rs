//! One key in two tokens, in a real daemon: whichever works is asked, the other one comes back by itself.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Daemon, JWSD, Site, eventually, good, rounds};
use serde_json::Value;

/// What a request may take, as configured below.
const DEADLINE: Duration = Duration::from_secs(2);

/// The module that forwards to SoftHSM and misbehaves by script.
fn faulty_module() -> PathBuf {
    let module = Path::new(JWSD).with_file_name("examples").join("libfaulty_pkcs11.so");
    assert!(module.exists(), "{} is missing; run `cargo build --examples`", module.display());
    module
}

fn site() -> Site {
    let mut site = Site::with_two_tokens(&[("access", "ES256")], &faulty_module());
    site.limits = format!("deadline = \"{}s\"", DEADLINE.as_secs());
    site.write_config();
    site
}

/// Replaces one token's script in one step.
fn script(site: &Site, half: &str, text: &str) {
    fs::write(site.path("script.new"), text).unwrap();
    fs::rename(site.path("script.new"), site.path(&format!("script-{half}"))).unwrap();
}

fn release(site: &Site, daemon: &Daemon, what: &[&str]) {
    let socket = daemon.socket("admin.sock").display().to_string();
    let released = site.jwsd(&[&["keys", "release", "--socket", &socket], what].concat());
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));
}

/// One token's part of the status.
fn backend(daemon: &Daemon, half: &str) -> Value {
    daemon.status()["backends"][format!("hsm-{half}")].clone()
}

fn signs(daemon: &Daemon, half: &str) -> u64 {
    backend(daemon, half)["signs"].as_u64().unwrap()
}

/// Whether both tokens sign, as the status has it.
fn whole(daemon: &Daemon) -> bool {
    ["a", "b"].iter().all(|half| {
        let backend = backend(daemon, half);
        backend["ready"] == true && backend["resting"] == false && backend["quarantine"].is_null()
    })
}

/// The backends that answered so many requests, by what the counters say.
fn used(daemon: &Daemon, requests: usize) -> HashSet<&'static str> {
    let before = ["a", "b"].map(|half| signs(daemon, half));
    for _ in 0..requests {
        let answer = daemon.sign("access");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let halves = ["a", "b"].into_iter().zip(before);
    halves.filter(|(half, before)| signs(daemon, half) > *before).map(|(half, _)| half).collect()
}

/// One that has failed is not asked first for a second.
fn both_are_used(daemon: &Daemon) {
    eventually("both are used", || used(daemon, 20) == HashSet::from(["a", "b"]));
}

#[test]
fn both_tokens_are_used_and_one_key_is_published() {
    let site = site();
    let daemon = site.start();
    both_are_used(&daemon);
    assert_eq!(daemon.key_set()["keys"].as_array().unwrap().len(), 1);
    assert!(daemon.records().iter().all(|record| record["event"] != "jwt.retried"));
}

/// Whatever one token does, callers get their JWTs from the other one, and it comes back when it is well.
#[test]
fn a_token_that_misbehaves_is_stood_in_for() {
    let site = site();
    let daemon = site.start();
    let pid = daemon.status()["pid"].clone();
    for round in 0..rounds(1) {
        for fault in ["C_Sign hang", "C_Sign abort", "C_Sign rv 0x30", "C_SignInit rv 0x06", "C_Sign exit"] {
            let half = if round % 2 == 0 { "a" } else { "b" };
            script(&site, half, fault);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1500) {
                let asked = Instant::now();
                let answer = daemon.sign("access");
                assert_eq!(answer.status, 200, "{fault}: {answer:?}");
                assert!(asked.elapsed() < DEADLINE, "{fault}");
            }
            script(&site, half, "");
            eventually("both sign again", || whole(&daemon));
            both_are_used(&daemon);
        }
    }
    assert_eq!(daemon.status()["pid"], pid);
    let retried = daemon.records().into_iter().filter(|record| record["event"] == "jwt.retried");
    let attempts: Vec<Value> = retried.map(|record| record["attempts"].clone()).collect();
    assert!(!attempts.is_empty());
    for attempts in attempts {
        let attempts = attempts.as_array().unwrap();
        assert!(attempts.len() == 2 && attempts[1].as_str().unwrap().ends_with(" ok"), "{attempts:?}");
    }
}

#[test]
fn a_token_that_is_away_at_the_start_is_taken_in_later() {
    let site = site();
    script(&site, "b", "C_GetSlotList rv 0x30");
    let began = Instant::now();
    let daemon = site.start();
    assert!(began.elapsed() < Duration::from_secs(8), "nobody waits for it: {:?}", began.elapsed());
    assert_eq!(used(&daemon, 10), HashSet::from(["a"]));
    assert_eq!(backend(&daemon, "b")["ready"], false);
    script(&site, "b", "");
    eventually("the second one signs too", || {
        whole(&daemon) && daemon.status()["keys"]["access"]["backends"]["hsm-b"]["found"] == true
    });
    both_are_used(&daemon);
}

/// A module that answers nothing but a general error is no use: the backend is out, the other one serves.
#[test]
fn a_token_that_cannot_be_helped_is_out_until_it_is_released() {
    let site = site();
    let daemon = site.start();
    script(&site, "b", "C_Sign rv 0x05");
    eventually("it is put in quarantine", || {
        assert_eq!(daemon.sign("access").status, 200);
        backend(&daemon, "b")["quarantine"].is_string()
    });
    script(&site, "b", "");
    assert_eq!(used(&daemon, 10), HashSet::from(["a"]));
    release(&site, &daemon, &["hsm-b"]);
    eventually("both sign again", || whole(&daemon));
    both_are_used(&daemon);
}

/// A bad signature costs the caller nothing, and the token that made it its part in the key.
#[test]
fn a_token_that_signs_wrongly_is_out_until_it_is_released() {
    let site = site();
    let daemon = site.start();
    script(&site, "b", "C_Sign corrupt");
    both_are_used(&daemon);
    script(&site, "b", "");
    assert_eq!(used(&daemon, 10), HashSet::from(["a"]));
    release(&site, &daemon, &["hsm-b", "--key", "access"]);
    both_are_used(&daemon);
}

#[test]
fn with_both_away_callers_hear_it_at_once_and_service_returns() {
    let site = site();
    let daemon = site.start();
    for half in ["a", "b"] {
        script(&site, half, "C_Sign rv 0x30");
    }
    let mut quick = 0;
    for _ in 0..20 {
        let asked = Instant::now();
        let answer = daemon.post("/v1/sign", &good("access"));
        assert_eq!((answer.status, answer.code().as_str()), (503, "backend.down"), "{answer:?}");
        assert!(answer.header("retry-after").is_some());
        quick += usize::from(asked.elapsed() < Duration::from_millis(100));
    }
    assert!(quick >= 10, "only {quick} of 20 were answered at once");
    for half in ["a", "b"] {
        script(&site, half, "");
    }
    let back = Instant::now();
    eventually("signing goes on", || daemon.sign("access").status == 200);
    println!("failover: service returned {:?} after the tokens did", back.elapsed());
    eventually("both sign again", || whole(&daemon));
}

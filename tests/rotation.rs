//! Keys that turn under load: no request fails, and whoever keeps the key set for as long as it may never meets an
//! unknown `kid`.

#![allow(unreachable_pub, reason = "modules of one test program")]

mod common;
#[path = "rotation/emergency.rs"]
mod emergency;
#[path = "rotation/fleet.rs"]
mod fleet;
#[path = "rotation/host.rs"]
mod host;
#[path = "rotation/kill.rs"]
mod kill;
#[path = "rotation/kms.rs"]
mod kms;
#[path = "common/kms.rs"]
mod kms_service;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Connection, Daemon, Site, good, rounds};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

/// Requests per second, over all clients.
const LOAD: u32 = 200;
const CLIENTS: u32 = 4;

/// A verifier that fetches the key set when what it has is older than `max-age`, and for no other reason.
struct Verifier<'a> {
    daemon: &'a Daemon,
    fetched: Option<(Instant, Duration, JwkSet)>,
}

impl Verifier<'_> {
    fn verify(&mut self, jwt: &str) -> Result<String, String> {
        if self.fetched.as_ref().is_none_or(|(at, age, _)| at.elapsed() >= *age) {
            let at = Instant::now();
            let answer = self.daemon.get("public.sock", "/.well-known/jwks.json").unwrap();
            let control = answer.header("cache-control").unwrap();
            let age = control.split("max-age=").nth(1).unwrap().parse().unwrap();
            let set = serde_json::from_slice(&answer.body).unwrap();
            self.fetched = Some((at, Duration::from_secs(age), set));
        }
        let (_, _, set) = self.fetched.as_ref().unwrap();
        let header = decode_header(jwt).unwrap();
        let kid = header.kid.unwrap();
        let key = set.find(&kid).ok_or_else(|| format!("unknown kid {kid}"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&["https://api.test"]);
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        decode::<Value>(jwt, &key, &validation).map_err(|error| format!("{kid}: {error}"))?;
        Ok(kid)
    }
}

/// Signs at [`LOAD`] until `stop`; each JWT is verified at once, by a verifier of each client's own.
fn load(daemon: &Daemon, stop: &AtomicBool, done: &(Mutex<BTreeMap<String, usize>>, AtomicUsize)) {
    let body = good("access").to_string();
    let mut connection = daemon.connect();
    let mut verifier = Verifier { daemon, fetched: None };
    let pause = Duration::from_secs(1) * CLIENTS / LOAD;
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next = (next + pause).max(Instant::now());
        let answer = connection.post("/v1/sign", &body).unwrap();
        let outcome = match answer.status {
            200 => verifier.verify(&answer.jwt()),
            _ => Err(String::from_utf8_lossy(&answer.body).into_owned()),
        };
        match outcome {
            Ok(kid) => *done.0.lock().unwrap().entry(kid).or_default() += 1,
            Err(fault) => {
                eprintln!("rotation: {fault}");
                done.1.fetch_add(1, Ordering::Relaxed);
            }
        }
        if connection_is_spent(&answer) {
            connection = Connection::open(&daemon.socket("sign.sock")).unwrap();
        }
    }
}

fn connection_is_spent(answer: &common::Response) -> bool {
    answer.header("connection") == Some("close")
}

/// Keys turn every few seconds, and JWTs live so shortly that no key set is full.
fn site() -> Site {
    let mut site = Site::new();
    site.limits = "jwks_max_age = \"1s\"".into();
    site.extra = "[key.access.rotation]\nevery = \"2s\"\npublish_ahead = \"1s\"\nkeep = \"0s\"\n".into();
    site.write_config();
    let text = fs::read_to_string(site.config_path()).unwrap();
    let short = text.replace(r#"default = "5m", max = "15m""#, r#"default = "5s", max = "10s""#);
    assert_ne!(short, text);
    fs::write(site.config_path(), short).unwrap();
    site
}

#[test]
fn rotation() {
    let turns = rounds(4);
    let site = site();
    let daemon = site.start();
    let (stop, done) = (AtomicBool::new(false), (Mutex::default(), AtomicUsize::new(0)));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| load(&daemon, &stop, &done));
        }
        let seen = || done.0.lock().unwrap().len() as u64;
        while seen() <= turns && began.elapsed() < Duration::from_secs(30 + 10 * turns) {
            thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (verified, failed) = (done.0.into_inner().unwrap(), done.1.into_inner());
    let count: usize = verified.values().sum();
    println!(
        "rotation: {} rotations, {count} JWTs at {:.0}/s, {failed} failed or not verified",
        verified.len() - 1,
        count as f64 / began.elapsed().as_secs_f64(),
    );
    assert_eq!(failed, 0);
    assert!(verified.len() as u64 > turns, "{} versions signed", verified.len());
}

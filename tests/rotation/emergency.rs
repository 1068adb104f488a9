//! A version that is revoked under load: nothing is signed with it from the answer on, the key set lacks it, and the
//! next version signs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jsonwebtoken::decode_header;
use serde_json::json;

use crate::common::{Connection, Daemon, Site, eventually, good, percentile, rounds};

/// A JWT that came: when it was asked for, and by which version it is signed.
type Received = (Instant, String);

fn kid_of(jwt: &str) -> String {
    decode_header(jwt).unwrap().kid.unwrap()
}

/// Signs without a pause; refusals are expected while nothing signs.
fn load(daemon: &Daemon, stop: &AtomicBool, received: &Mutex<Vec<Received>>) {
    let body = good("access").to_string();
    let mut connection = daemon.connect();
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let answer = connection.post("/v1/sign", &body).unwrap();
        match answer.status {
            200 => received.lock().unwrap().push((asked, kid_of(&answer.jwt()))),
            503 => thread::sleep(Duration::from_millis(1)),
            _ => panic!("{answer:?}"),
        }
    }
}

#[test]
fn emergency() {
    let mut site = Site::new();
    site.limits = "jwks_max_age = \"1s\"".into();
    site.extra = "[key.access.rotation]\npublish_ahead = \"1s\"\n".into();
    site.write_config();
    let daemon = site.start();
    let received = Mutex::default();
    let stop = AtomicBool::new(false);
    let (mut effects, mut gaps) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| load(&daemon, &stop, &received));
        }
        for round in 0..rounds(5) {
            let kid = kid_of(&daemon.sign("access").jwt());
            // Every other time the next version is there already.
            if round % 2 == 1 {
                let made = admin(&daemon, "/v1/keys/access/generate", &json!({}));
                assert_eq!(made.status, 200, "{made:?}");
            }
            let asked = Instant::now();
            let body = json!({ "kid": kid, "reason": "a test" });
            let answer = admin(&daemon, "/v1/keys/access/revoke", &body);
            let answered = Instant::now();
            assert_eq!(answer.status, 200, "{answer:?}");
            effects.push(answered - asked);
            assert!(!daemon.key_set().to_string().contains(&kid), "it is still published");
            eventually("the next version signs", || daemon.sign("access").status == 200);
            gaps.push(asked.elapsed());
            let received = received.lock().unwrap();
            let late = received.iter().filter(|(asked, by)| *asked >= answered && *by == kid).count();
            assert_eq!(late, 0, "JWTs were signed by {kid} after the answer");
            let before = received.iter().filter(|(_, by)| *by == kid).count();
            assert!(before > 0, "nothing was signed by {kid} before");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let revoked = daemon.records().iter().filter(|record| record["event"] == "key.revoked").count();
    assert_eq!(revoked as u64, rounds(5));
    println!(
        "emergency: {} revocations, {} JWTs, from command to effect p50 {:?} p95 {:?}, to the next version p95 {:?}",
        effects.len(),
        received.into_inner().unwrap().len(),
        percentile(&mut effects, 50),
        percentile(&mut effects, 95),
        percentile(&mut gaps, 95),
    );
}

pub fn admin(daemon: &Daemon, path: &str, body: &serde_json::Value) -> crate::common::Response {
    let mut connection = Connection::open(&daemon.socket("admin.sock")).unwrap();
    connection.post(path, &body.to_string()).unwrap()
}

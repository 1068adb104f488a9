//! kill -9 of the daemon and of its worker: nothing received is unrecorded, and nothing needs a restart by hand.

mod common;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Connection, Dice, Site, eventually, good, percentile, records, rounds};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The daemon dies at a random moment under load; every JWT that anyone received has a durable record, and the log
/// opens every time.
#[test]
fn kill_daemon() {
    let rounds = rounds(6);
    let mut dice = Dice::new("kill-daemon");
    let site = Site::new();
    let body = good("access").to_string();
    let mut received = Vec::new();
    let mut starts = Vec::new();
    for round in 0..rounds {
        let began = Instant::now();
        let daemon = site.start();
        starts.push(began.elapsed());
        let socket = daemon.socket("sign.sock");
        let stop = AtomicBool::new(false);
        let pause = Duration::from_millis(5 + dice.below(150));
        thread::scope(|scope| {
            let load = || {
                let mut jtis = Vec::new();
                let Ok(mut connection) = Connection::open(&socket) else { return jtis };
                while !stop.load(Ordering::Relaxed) {
                    match connection.post("/v1/sign", &body) {
                        Ok(response) if response.status == 200 => {
                            jtis.push(response.json()["jti"].as_str().unwrap().to_owned());
                        }
                        // The daemon was killed in the middle of an answer.
                        _ => break,
                    }
                }
                jtis
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            thread::sleep(pause);
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                received.extend(client.join().unwrap());
            }
        });
        if round % 50 == 49 {
            println!("kill-daemon: {} kills, {} JWTs received", round + 1, received.len());
        }
    }
    let verified = site.jwsd(&["audit", "verify", site.audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let recorded: HashSet<String> = records(&site.audit)
        .iter()
        .filter(|record| record["event"] == "jwt.issued")
        .map(|record| record["jti"].as_str().unwrap().to_owned())
        .collect();
    let lost: Vec<_> = received.iter().filter(|jti| !recorded.contains(*jti)).collect();
    println!(
        "kill-daemon: {rounds} kills, {} JWTs received, {} lost, start to ready p95 {:?}",
        received.len(),
        lost.len(),
        percentile(&mut starts, 95)
    );
    assert!(lost.is_empty(), "released without a durable record: {lost:?}");
    assert!(received.len() as u64 >= rounds, "the load never got a JWT");
}

/// The worker dies, idle or under load; the daemon stays and signs again by itself.
#[test]
fn kill_worker() {
    let rounds = rounds(10);
    let mut dice = Dice::new("kill-worker");
    let site = Site::new();
    let daemon = site.start();
    let pid = daemon.status()["pid"].clone();
    let mut recoveries = Vec::new();
    let mut connection = daemon.connect();
    let body = good("access").to_string();
    for round in 0..rounds {
        thread::sleep(Duration::from_millis(dice.below(40)));
        let worker = daemon.worker_pid();
        let under_load = (round % 2 == 1).then(|| {
            let (mut other, body) = (daemon.connect(), body.clone());
            thread::spawn(move || {
                (0..20)
                    .filter_map(|_| other.post("/v1/sign", &body).ok())
                    .map(|answer| answer.status)
                    .collect::<Vec<_>>()
            })
        });
        kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
        let killed = Instant::now();
        while connection.post("/v1/sign", &body).unwrap().status != 200 {
            assert!(killed.elapsed() < Duration::from_secs(60), "no signature within a minute of the kill");
        }
        recoveries.push(killed.elapsed());
        for status in under_load.map(|load| load.join().unwrap()).into_iter().flatten() {
            assert!(matches!(status, 200 | 503 | 504), "status {status}");
        }
        eventually("another worker", || {
            daemon.status()["backends"]["hsm"]["worker_pid"]
                .as_i64()
                .is_some_and(|pid| pid != i64::from(worker))
        });
    }
    assert_eq!(daemon.status()["pid"], pid, "the daemon was not restarted");
    println!(
        "kill-worker: {rounds} kills, next signature p50 {:?} p95 {:?}",
        percentile(&mut recoveries, 50),
        percentile(&mut recoveries, 95)
    );
    let records = daemon.records();
    let has = |event, outcome| {
        records.iter().any(|record| record["event"] == event && record["outcome"] == outcome)
    };
    assert!(has("backend.down", "failed") && has("backend.up", "success"));
}

/// SIGTERM under load: what is in flight is answered, and the exit is clean.
#[test]
fn drain() {
    let rounds = rounds(3);
    let site = Site::new();
    let mut received = Vec::new();
    let body = good("access").to_string();
    for _ in 0..rounds {
        let daemon = site.start();
        let socket = daemon.socket("sign.sock");
        let load = {
            let body = body.clone();
            thread::spawn(move || {
                let mut jtis = Vec::new();
                let mut connection = Connection::open(&socket).unwrap();
                while let Ok(response) = connection.post("/v1/sign", &body) {
                    match response.status {
                        200 => jtis.push(response.json()["jti"].as_str().unwrap().to_owned()),
                        status => assert_eq!(status, 503, "{response:?}"),
                    }
                }
                jtis
            })
        };
        thread::sleep(Duration::from_millis(150));
        let (code, log) = daemon.stop();
        assert_eq!(code, Some(0), "{log}");
        received.extend(load.join().unwrap());
    }
    let records = records(&site.audit);
    for jti in &received {
        assert!(records.iter().any(|record| record["jti"] == jti.as_str()), "{jti} has no record");
    }
    let ended = |event, outcome| {
        let same = |record: &&serde_json::Value| record["event"] == event && record["outcome"] == outcome;
        records.iter().filter(same).count() as u64
    };
    assert_eq!(ended("daemon.stopped", "success"), rounds);
    // Only the command that made the key tells of its worker's end: of the daemon nothing follows its own.
    assert_eq!((ended("backend.down", "success"), ended("backend.down", "failed")), (1, 0));
    assert!(received.len() as u64 >= rounds);
}

/// A caller that hangs up in the middle: the JWT is recorded, and so is that it was not delivered.
#[test]
fn hang_up() {
    let mut site = Site::new();
    site.sessions = 1;
    site.write_config();
    let daemon = site.start();
    // One session, and a batch in front of it: what is asked next has to wait, which is long enough to hang up.
    let batch = serde_json::json!({ "requests": vec![good("access"); 256] });
    for _ in 0..20 {
        let (mut busy, mut gone) = (daemon.connect(), daemon.connect());
        let json = [("Content-Type", "application/json")];
        let request = |path: &str, body: &serde_json::Value| {
            common::http::format_request("POST", path, &json, body.to_string().as_bytes())
        };
        busy.send(&request("/v1/sign/batch", &batch)).unwrap();
        gone.send(&request("/v1/sign", &good("access"))).unwrap();
        thread::sleep(Duration::from_millis(3));
        drop(gone);
        assert_eq!(busy.receive().unwrap().status, 200);
        if daemon.records().iter().any(|record| record["event"] == "jwt.undelivered") {
            break;
        }
    }
    let records = daemon.records();
    let undelivered = records.iter().find(|record| record["event"] == "jwt.undelivered");
    let jti = &undelivered.expect("no hang-up was noticed in twenty tries")["jti"];
    assert!(records.iter().any(|record| record["event"] == "jwt.issued" && record["jti"] == *jti));
    assert!(!daemon.log().contains("not recorded"), "{}", daemon.log());
}

//! Sinks of a real daemon, all kinds at once: everything arrives, over kills, and nothing that hangs holds it up.

mod common;
#[path = "sinks/servers.rs"]
mod servers;

use common::{Daemon, Dice, Site, eventually, good, segments};
use serde_json::Value;
use servers::{Seen, collector, journal, syslog_tcp, syslog_tls, syslog_unix};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Stored lines, by number.
fn stored(site: &Site) -> BTreeMap<u64, String> {
    let text: String =
        segments(&site.audit).into_iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let seq = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    text.lines().map(|line| (seq(line), line.to_owned())).collect()
}

/// All numbers that a server saw are those of the log, and within each connection they only ever begin anew.
fn assert_all(name: &str, connections: &[Vec<u64>], last: u64, anew: usize) {
    let mut seen: Vec<u64> = connections.iter().flatten().copied().collect();
    let total = seen.len();
    for seqs in connections {
        let breaks = seqs.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!(breaks <= anew, "{name}: {seqs:?}");
    }
    seen.sort_unstable();
    seen.dedup();
    println!("{name}: {total} for {last} records, {} connections", connections.len());
    assert_eq!(seen, (1..=last).collect::<Vec<_>>(), "{name}");
}

fn seqs(seen: &Seen) -> Vec<Vec<u64>> {
    let seq = |record: &Value| record["seq"].as_u64().unwrap();
    seen.connections().iter().map(|records| records.iter().map(seq).collect()).collect()
}

struct Siem {
    syslog: Seen,
    tcp: Seen,
    tls: Seen,
    journal: Seen,
    otlp: Arc<Mutex<Vec<String>>>,
}

/// A site with a sink of each kind, from the first record on.
fn watched() -> (Site, Siem) {
    let mut site = Site::new();
    let (dev_log, run_journal) = (site.path("dev-log"), site.path("run-journal"));
    let (syslog, journal) = (syslog_unix(&dev_log), journal(&run_journal));
    let (tcp_port, tcp) = syslog_tcp();
    let (ca, tls_port, tls) = syslog_tls(&site.path(""));
    let (otlp_port, otlp) = collector();
    fs::write(site.path("token"), "Bearer canary-token-7261").unwrap();
    fs::set_permissions(site.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let token = site.path("token");
    site.extra = format!(
        "[[audit.sink]]\nsyslog = {dev_log:?}\nfrom = \"start\"\n\
         [[audit.sink]]\nname = \"tcp\"\nsyslog = \"tcp://127.0.0.1:{tcp_port}\"\nfrom = \"start\"\n\
         [[audit.sink]]\nname = \"tls\"\nsyslog = \"tls://localhost:{tls_port}\"\nca = {ca:?}\nfrom = \"start\"\n\
         [[audit.sink]]\njournald = true\nsocket = {run_journal:?}\nfrom = \"start\"\n\
         [[audit.sink]]\notlp = \"http://127.0.0.1:{otlp_port}/v1/logs\"\nfrom = \"start\"\n\
         headers = {{ authorization = {{ file = {token:?} }} }}\n"
    );
    site.write_config();
    (site, Siem { syslog, tcp, tls, journal, otlp })
}

fn behind(daemon: &Daemon) -> u64 {
    let sinks = daemon.status()["audit"]["sinks"].clone();
    sinks.as_array().unwrap().iter().map(|sink| sink["behind"].as_u64().unwrap()).sum()
}

#[test]
fn everything_arrives_everywhere_over_kills() {
    let (site, siem) = watched();
    let mut dice = Dice::new("sinks");
    for _ in 0..common::rounds(8) {
        let daemon = site.start();
        for _ in 0..dice.below(40) {
            assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
        }
        std::thread::sleep(Duration::from_millis(dice.below(1500)));
        daemon.kill();
    }
    let daemon = site.start();
    for _ in 0..50 {
        assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
    }
    eventually("everything is delivered", || behind(&daemon) == 0);
    let status = daemon.status()["audit"]["sinks"].clone();
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    for (index, name) in ["syslog", "tcp", "tls", "journald", "otlp"].iter().enumerate() {
        let sink = &status[index];
        assert_eq!((sink["name"].as_str(), sink["lost"].as_u64()), (Some(*name), Some(0)), "{sink}");
        assert_eq!((&sink["problem"], &sink["seconds_behind"]), (&Value::Null, &Value::from(0)), "{sink}");
    }
    let lines = stored(&site);
    let last = *lines.keys().last().unwrap();
    assert_eq!(lines.len() as u64, last, "nothing was lost of the log itself");
    assert!(lines[&last].contains("daemon.stopped"));
    // A kill may lead each of them back once.
    let kills = usize::try_from(common::rounds(8)).unwrap() + 1;
    assert_all("syslog", &seqs(&siem.syslog), last, kills);
    assert_all("journald", &seqs(&siem.journal), last, kills);
    assert_all("tcp", &seqs(&siem.tcp), last, 0);
    assert_all("tls", &seqs(&siem.tls), last, 0);
    for record in siem.tls.connections().iter().flatten() {
        let line: Value = serde_json::from_str(&lines[&record["seq"].as_u64().unwrap()]).unwrap();
        assert_eq!(*record, line);
    }
    let bodies = siem.otlp.lock().unwrap().clone();
    otlp(&bodies, &lines);
    assert!(!log.contains("canary-token") && lines.values().all(|line| !line.contains("canary-token")));
    assert!(!lines.values().any(|line| line.contains("sink.lost") || line.contains("sink.failed")));
}

/// OpenTelemetry's own messages read them, and they are what is stored.
fn otlp(bodies: &[String], lines: &BTreeMap<u64, String>) {
    let python = Path::new(common::JWSD).ancestors().nth(2).unwrap().join("venv/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}", python.display());
        println!("SKIPPED {}: run scripts/test, which installs it", python.display());
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/otlp.py");
    let mut child = Command::new(python)
        .arg("-B")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = bodies.join("\n");
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for record in &records {
        let line = &lines[&record["seq"].as_u64().unwrap()];
        assert_eq!(record["body"].as_str(), Some(line.as_str()));
        let stored: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&record["event"], record["service"].as_str()), (&stored["event"], Some("jwsd")));
        let time: jiff::Timestamp = stored["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(record["time"].as_i64().map(i128::from), Some(time.as_nanosecond()));
    }
    let seqs: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_all("otlp", &[seqs], *lines.keys().last().unwrap(), bodies.len());
}

#[test]
fn sinks_that_hang_hold_up_neither_jwts_nor_the_stop() {
    let mut site = Site::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let full = site.path("full");
    let _unread = UnixDatagram::bind(&full).unwrap();
    site.extra = format!(
        "[[audit.sink]]\nsyslog = {full:?}\n[[audit.sink]]\nname = \"tcp\"\nsyslog = \"tcp://127.0.0.1:{port}\"\n\
         [[audit.sink]]\notlp = \"http://127.0.0.1:{port}/v1/logs\"\n\
         [[audit.sink]]\njournald = true\nsocket = \"/nonexistent/socket\"\n"
    );
    let sign = |daemon: &Daemon| {
        let signature = |_| {
            let start = Instant::now();
            assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
            start.elapsed()
        };
        let mut took: Vec<Duration> = (0..500).map(signature).collect();
        (common::percentile(&mut took, 50), common::percentile(&mut took, 99))
    };
    let daemon = site.start();
    let (before, slowest) = sign(&daemon);
    println!("without sinks: half of the signatures within {before:?}, 99 % within {slowest:?}");
    assert_eq!(daemon.stop().0, Some(0));
    site.write_config();
    let daemon = site.start();
    let (during, slowest) = sign(&daemon);
    println!("with sinks that hang: half of the signatures within {during:?}, 99 % within {slowest:?}");
    assert!(during < before * 2 + Duration::from_millis(10), "{before:?} {during:?}");
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    eventually("the one that is not there is told", || {
        daemon.records().iter().any(|r| r["event"] == "alert.raised" && r["object"] == "journald")
    });
    let sinks = daemon.status()["audit"]["sinks"].clone();
    assert!(sinks[3]["problem"].as_str().unwrap().contains("/nonexistent/socket"), "{sinks}");
    assert!(sinks[3]["since"].is_string() && sinks[2]["behind"].as_u64().unwrap() > 500, "{sinks}");
    let start = Instant::now();
    let (code, log) = daemon.stop();
    let took = start.elapsed();
    println!("stopped within {took:?}");
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let lines = stored(&site);
    assert!(lines.values().next_back().unwrap().contains("daemon.stopped"), "nothing follows it");
}

#[test]
fn a_sink_that_cannot_be_used_is_refused_at_the_start() {
    let mut site = Site::new();
    let ca = site.path("ca.pem");
    fs::write(&ca, "no certificate").unwrap();
    site.extra = format!("[[audit.sink]]\nsyslog = \"tls://localhost:6514\"\nca = {ca:?}\n");
    site.write_config();
    let log = site.start_with(Command::new(common::JWSD)).err().expect("it is refused");
    for word in ["syslog", ca.to_str().unwrap(), "it has no certificate"] {
        assert!(log.contains(word), "{word}: {log}");
    }
}

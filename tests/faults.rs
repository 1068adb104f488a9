//! Faults of the HSM's module and of the disk, injected into a real daemon.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, JWSD, Site, eventually, good, rounds};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The module that forwards to SoftHSM and misbehaves by script.
fn faulty_module() -> PathBuf {
    Path::new(JWSD).with_file_name("examples").join("libfaulty_pkcs11.so")
}

/// A site whose worker loads the faulty module; the script is empty.
fn faulty_site() -> Site {
    let mut site = Site::new();
    let module = faulty_module();
    assert!(module.exists(), "{} is missing; run `cargo build --examples`", module.display());
    // A module that others could replace is refused, and a checkout may be writable by a group.
    site.module = site.path("libfaulty_pkcs11.so");
    fs::copy(module, &site.module).unwrap();
    for (name, file) in [("FAULTY_PKCS11_SCRIPT", "script"), ("FAULTY_PKCS11_STATE", "counts")] {
        site.env.insert(name.to_owned(), site.path(file).display().to_string());
    }
    site.env.insert("FAULTY_PKCS11_MODULE".to_owned(), common::SOFTHSM.to_owned());
    script(&site, "");
    site
}

/// Replaces the script in one step.
fn script(site: &Site, text: &str) {
    fs::write(site.path("script.new"), text).unwrap();
    fs::rename(site.path("script.new"), site.path("script")).unwrap();
}

/// `C_Sign` never returns: callers are answered by their deadline, the worker is replaced, signing goes on.
#[test]
fn hang() {
    let mut site = faulty_site();
    site.limits = "deadline = \"500ms\"".to_owned();
    site.write_config();
    let daemon = site.start();
    let pid = daemon.status()["pid"].clone();
    let mut late = Duration::ZERO;
    for _ in 0..rounds(2) {
        assert_eq!(daemon.sign("access").status, 200);
        let worker = daemon.worker_pid();
        script(&site, "C_Sign hang\n");
        let asked = Instant::now();
        let answer = daemon.sign("access");
        late = late.max(asked.elapsed().saturating_sub(Duration::from_millis(500)));
        assert_eq!(answer.status, 504, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.code(), "backend.deadline");
        script(&site, "");
        eventually("signing goes on", || daemon.sign("access").status == 200);
        assert_ne!(daemon.worker_pid(), worker);
        eventually("the hung worker is gone", || kill(Pid::from_raw(worker), None).is_err());
    }
    println!("hang: answered at most {late:?} after the deadline");
    assert_eq!(daemon.status()["pid"], pid);
    let records = daemon.records();
    let failed = records.iter().find(|record| record["event"] == "jwt.failed").unwrap();
    assert_eq!(failed["rules"], serde_json::json!(["backend.deadline"]));
    assert!(records.iter().any(|record| record["event"] == "jwt.issued" && record["jti"] == failed["jti"]));
}

/// A crash and an error code on every call fail requests; as soon as they stop, so do the failures.
#[test]
fn misbehaviour_fails_requests_and_no_more() {
    let site = faulty_site();
    site.write_config();
    let daemon = site.start();
    let pid = daemon.status()["pid"].clone();
    for fault in ["C_Sign abort\n", "C_Sign rv 0x30\n", "C_Sign exit\n"] {
        script(&site, fault);
        let answer = daemon.sign("access");
        assert_eq!((answer.status, answer.code().as_str()), (503, "backend.down"), "{fault}{answer:?}");
        script(&site, "");
        eventually("signing goes on", || daemon.sign("access").status == 200);
    }
    assert_eq!(daemon.status()["pid"], pid);
}

/// A backend that fails uses up nobody's JWTs.
#[test]
fn what_no_key_signed_is_not_counted() {
    let site = faulty_site();
    let rates = "rates = [{ per = \"caller\", window = \"1h\", refuse = 1 }]\nlifetime =";
    site.rewrite(&site.config_text().replacen("lifetime =", rates, 1));
    let daemon = site.start();
    script(&site, "C_Sign rv 0x30\n");
    for _ in 0..2 {
        assert_eq!(daemon.sign("access").code(), "backend.down");
    }
    script(&site, "");
    eventually("signing goes on", || daemon.sign("access").status == 200);
    assert_eq!(daemon.sign("access").code(), "rate.refused");
}

/// One fault costs the caller nothing: the request is repeated, and the record says so.
#[test]
fn one_fault_is_repeated_and_recorded() {
    let site = faulty_site();
    site.write_config();
    let daemon = site.start();
    for (fault, word) in [
        ("C_Sign rv 0x30 total 1\n", "hsm CKR_DEVICE_ERROR"),
        ("C_Sign rv 0x101 total 1\n", "hsm CKR_USER_NOT_LOGGED_IN"),
    ] {
        script(&site, fault);
        let answer = daemon.sign("access");
        assert_eq!(answer.status, 200, "{answer:?}");
        let jti = answer.json()["jti"].clone();
        let records = daemon.records();
        let retried = records.iter().find(|record| record["event"] == "jwt.retried" && record["jti"] == jti);
        assert_eq!(retried.unwrap()["attempts"], serde_json::json!([word, "hsm ok"]), "{fault}");
        script(&site, "");
    }
}

/// A key that signed wrongly is not used again, restarts included, until an operator releases it.
#[test]
fn a_bad_signature_is_dropped_and_its_key_quarantined() {
    let site = faulty_site();
    site.write_config();
    let daemon = site.start();
    script(&site, "C_Sign corrupt\n");
    let bad = daemon.sign("access");
    assert_eq!((bad.status, bad.code().as_str()), (503, "backend.untrusted"), "{bad:?}");
    script(&site, "");
    let refused = |daemon: &Daemon| {
        for _ in 0..5 {
            let answer = daemon.sign("access");
            assert_eq!((answer.status, answer.code().as_str()), (503, "backend.untrusted"), "{answer:?}");
        }
        let status = daemon.status();
        let reason = status["keys"]["access"]["backends"]["hsm"]["quarantine"].as_str().unwrap().to_owned();
        assert!(reason.contains("bad signature"), "{reason}");
    };
    refused(&daemon);
    let count = |daemon: &Daemon, event: &str| {
        let records = daemon.records();
        records.iter().filter(|record| record["event"] == event).count()
    };
    eventually("it is recorded", || count(&daemon, "key.quarantined") == 1);
    assert!(daemon.log().contains("jwsd keys release"), "the way back is shown:\n{}", daemon.log());
    daemon.stop();

    let daemon = site.start();
    refused(&daemon);
    assert_eq!(daemon.get("public.sock", "/readyz").unwrap().status, 503);
    let socket = daemon.socket("admin.sock").display().to_string();
    let release = |rest: &[&str]| {
        let output = site.jwsd(&[&["keys", "release", "--socket", &socket], rest].concat());
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for (rest, word) in [(&["nope"][..], "no backend"), (&["hsm", "--key", "nope"], "no key")] {
        let (code, said) = release(rest);
        assert!(code == Some(78) && said.contains(word), "{code:?} {said}");
    }
    assert_eq!(release(&["hsm"]), (Some(0), "backend hsm: released access\n".to_owned()));
    assert_eq!(release(&["hsm"]), (Some(0), "backend hsm: nothing was in quarantine\n".to_owned()));
    assert_eq!(daemon.sign("access").status, 200);
    let records = daemon.records();
    let lifted = records.iter().find(|record| record["event"] == "quarantine.lifted").unwrap();
    assert_eq!(lifted["actor"]["uid"], nix::unistd::geteuid().as_raw());
    daemon.stop();
    assert_eq!(site.start().sign("access").status, 200, "it stays lifted");
}

/// A wrong PIN, a token that locks after three: one wrong `C_Login` in all, whatever the number of starts.
#[test]
fn wrong_pin() {
    let rounds = rounds(8);
    let site = faulty_site();
    site.write_config();
    script(&site, "C_Login count-wrong 3\n");
    site.write_pin("not-the-pin-0");
    for _ in 0..rounds {
        let log =
            site.start_with(Command::new(JWSD)).err().expect("a daemon with a wrong PIN does not start");
        assert!(log.contains("69"), "exit code 69 is due: {log}");
        assert!(log.contains("keys clear-pin"), "the way out is named: {log}");
    }
    let counts = fs::read_to_string(site.path("counts")).unwrap();
    println!("wrong-pin: {rounds} starts: {counts}");
    assert!(counts.contains("wrong 1"), "{counts}");
    let records = common::records(&site.audit);
    let count = |event: &str| records.iter().filter(|record| record["event"] == event).count() as u64;
    assert_eq!(
        (count("pin.refused"), count("daemon.stopped")),
        (rounds, rounds),
        "each start left its records"
    );

    site.write_pin(common::PIN);
    assert!(site.start_with(Command::new(JWSD)).is_err(), "the right PIN alone does not lift the block");
    let cleared = site.jwsd(&["keys", "clear-pin", "--config", site.config_path().to_str().unwrap(), "hsm"]);
    assert!(cleared.status.success(), "{}", String::from_utf8_lossy(&cleared.stderr));
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    assert!(daemon.records().iter().any(|record| record["event"] == "pin.cleared"));
}

/// A small file system that is unmounted at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazy, so that a daemon that still runs does not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Every `jti` that has a record.
fn issued(daemon: &Daemon) -> HashSet<String> {
    let records = daemon.records().into_iter().filter(|record| record["event"] == "jwt.issued");
    records.map(|record| record["jti"].as_str().unwrap().to_owned()).collect()
}

/// The disk fills: 503 and nothing released; it heals by itself when there is space again.
#[test]
fn disk_full() {
    let mut site = Site::new();
    site.audit = site.path("small");
    site.segment = "128KiB".to_owned();
    site.write_config();
    let Some(_disk) = Tmpfs::mount(&site.audit, "1m") else {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount a tmpfs");
        println!("SKIPPED disk_full: mounting a tmpfs needs root");
        return;
    };
    let daemon = site.start();
    let filler = site.audit.join("filler");
    for round in 0..rounds(3) {
        assert_eq!(daemon.sign("access").status, 200);
        // Takes all that is left; the write ends short.
        let _ = fs::write(&filler, vec![0_u8; 2 << 20]);
        let mut released = Vec::new();
        let refused = loop {
            let answer = daemon.sign("access");
            if answer.status != 200 {
                break answer;
            }
            released.push(answer.json()["jti"].as_str().unwrap().to_owned());
            assert!(released.len() < 20_000, "the disk never filled");
        };
        assert_eq!((refused.status, refused.code().as_str()), (503, "audit.unavailable"));
        for _ in 0..5 {
            assert_eq!(daemon.sign("access").status, 503);
        }
        let recorded: HashSet<_> = issued(&daemon);
        assert!(released.iter().all(|jti| recorded.contains(jti)), "released without a record");
        fs::remove_file(&filler).unwrap();
        let freed = Instant::now();
        eventually("signing goes on", || daemon.sign("access").status == 200);
        println!(
            "disk-full: round {round}: {} JWTs from the reserve, healed {:?} after space came",
            released.len(),
            freed.elapsed()
        );
        // Make room for the next round: old segments may be moved away by an operator.
        let segments = common::segments(&site.audit);
        for old in segments.iter().rev().skip(2) {
            fs::remove_file(old).unwrap();
        }
    }
}

/// fdatasync fails with EIO: nothing of that batch is released, a new segment says so, signing goes on.
#[test]
fn fdatasync_error() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "CI must have strace");
        println!("SKIPPED fdatasync_error: strace is not installed");
        return;
    }
    let site = Site::new();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]);
    strace.args(["-e", "inject=fdatasync:error=EIO:when=20+25", JWSD]);
    let daemon = site.start_with(strace).unwrap();
    let real = Pid::from_raw(i32::try_from(daemon.status()["pid"].as_i64().unwrap()).unwrap());
    let (mut released, mut refused) = (Vec::new(), 0);
    for _ in 0..100 {
        let answer = daemon.sign("access");
        match answer.status {
            200 => released.push(answer.json()["jti"].as_str().unwrap().to_owned()),
            _ => {
                assert_eq!((answer.status, answer.code().as_str()), (503, "audit.unavailable"));
                refused += 1;
                thread::sleep(Duration::from_millis(300));
            }
        }
    }
    println!("fdatasync-error: {} released, {refused} refused", released.len());
    assert!(refused >= 1, "the fault never came");
    assert!(released.len() > 50, "signing did not go on");
    let recorded = issued(&daemon);
    assert!(released.iter().all(|jti| recorded.contains(jti)), "released without a record");
    assert!(daemon.records().iter().any(|record| record["event"] == "log.resumed"));
    kill(real, Signal::SIGTERM).unwrap();
    eventually("the daemon stops", || kill(real, None).is_err());
    let verified = site.jwsd(&["audit", "verify", site.audit.to_str().unwrap()]);
    let report = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{report}");
    println!("{report}");
}

/// The log's file or its directory goes away under the daemon: 503, then a new segment that says so.
#[test]
fn log_unlinked_or_swapped() {
    let site = Site::new();
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    let newest = || {
        let mut segments = common::segments(&site.audit);
        segments.pop().unwrap()
    };
    type Attack = fn(&Path);
    let unlink: Attack = |path| fs::remove_file(path).unwrap();
    let swap: Attack = |path| {
        fs::copy(path, path.with_extension("copy")).unwrap();
        fs::rename(path.with_extension("copy"), path).unwrap();
    };
    for attack in [unlink, swap] {
        attack(&newest());
        let answer = daemon.post("/v1/sign", &good("access"));
        assert_eq!((answer.status, answer.code().as_str()), (503, "audit.unavailable"));
        eventually("signing goes on", || daemon.sign("access").status == 200);
    }
    assert!(daemon.records().iter().any(|record| record["event"] == "log.resumed"));
}

//! A real daemon and witnesses over HTTP: they get every seal, over restarts, and a daemon whose log they have seen more
//! of does not start.

mod common;
#[path = "common/fake_witness.rs"]
mod fake_witness;

use common::{Daemon, Site, eventually, good, segments};
use fake_witness::{FakeWitness, Fault};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const NAME: &str = "witness.example/w";

/// A site whose log is sealed every second, with this witness.
fn site(url: &str, vkey: &str) -> Site {
    let mut site = Site::new();
    site.extra = format!(
        "[key.audit]\nbackend = \"hsm\"\nalgorithm = \"Ed25519\"\n[audit.checkpoint]\nkey = \"audit\"\nevery = \"1s\"\n\
         [[audit.witness]]\nurl = {url:?}\nvkey = {vkey:?}\n"
    );
    site.write_config();
    let config = site.config_path().display().to_string();
    let made = site.jwsd(&["keys", "generate", "--config", &config, "audit"]);
    assert!(made.status.success(), "{}", text(&made));
    site
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn witness(daemon: &Daemon) -> Value {
    daemon.status()["audit"]["checkpoint"]["witnesses"][0].clone()
}

fn count(site: &Site, event: &str) -> usize {
    common::records(&site.audit).iter().filter(|record| record["event"] == event).count()
}

/// The key that seals the log, as its log says.
fn key(site: &Site) -> String {
    let records = common::records(&site.audit);
    let introduced = records.iter().find(|record| record["event"] == "log.key").unwrap();
    introduced["vkey"].as_str().unwrap().to_owned()
}

/// What both verifiers say, with the keys of log and witness.
fn verify(site: &Site, vkey: &str) -> (Option<i32>, String) {
    let (log, key) = (site.audit.display().to_string(), key(site));
    let arguments = [log.as_str(), "--key", &key, "--witness", vkey];
    let ours = site.jwsd(&[&["audit", "verify"], &arguments[..]].concat());
    let python = target().join("venv/bin/python");
    if python.exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/audit_verify.py");
        let theirs = Command::new(python).arg("-B").arg(script).args(arguments).output().unwrap();
        assert_eq!(theirs.status.code(), ours.status.code(), "{}\n{}", text(&ours), text(&theirs));
    } else {
        println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
    }
    (ours.status.code(), text(&ours))
}

fn target() -> PathBuf {
    std::path::Path::new(common::JWSD).ancestors().nth(2).unwrap().to_owned()
}

#[test]
fn it_cosigns_every_seal_and_a_restart_goes_on() {
    let fake = FakeWitness::start(NAME);
    let site = site(&fake.url, &fake.vkey);
    for round in 1..=3 {
        let daemon = site.start();
        for _ in 0..10 {
            assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
        }
        eventually("a cosignature", || witness(&daemon)["size"].is_u64());
        let told = witness(&daemon);
        assert_eq!(
            (&told["name"], &told["problem"], &told["contradicts"]),
            (&NAME.into(), &Value::Null, &false.into())
        );
        assert!(told["cosigned"].is_string());
        assert_eq!(daemon.get("public.sock", "/readyz").unwrap().status, 200);
        if round == 2 {
            // It does not know that its last seal arrived.
            daemon.kill();
        } else {
            let (code, log) = daemon.stop();
            assert_eq!(code, Some(0), "{log}");
            let records = common::records(&site.audit);
            assert_eq!(records.last().unwrap()["event"], "log.sealed");
            assert_eq!(fake.has().unwrap().0, records.len() as u64 - 1, "it has the last seal");
        }
        assert!(count(&site, "log.cosigned") >= round);
    }
    assert!(fake.asked().iter().all(|(_, _, status)| [200, 409].contains(status)), "{:?}", fake.asked());
    let (code, said) = verify(&site, &fake.vkey);
    assert!(code == Some(0) && said.contains("witness witness.example/w vouches for"), "{said}");
    let (code, said) = verify(&site, &FakeWitness::start(NAME).vkey);
    assert!(code == Some(1) && said.contains("does not hold"), "{said}");
}

#[test]
fn a_log_that_lost_its_end_is_refused_until_an_operator_takes_it() {
    let fake = FakeWitness::start(NAME);
    let site = site(&fake.url, &fake.vkey);
    assert_eq!(site.start().stop().0, Some(0));
    let older = segments(&site.audit).len();
    let daemon = site.start();
    daemon.post("/v1/sign", &good("access"));
    assert_eq!(daemon.stop().0, Some(0));
    // As if an older copy were put back: whole, sealed, and not all there was.
    segments(&site.audit).split_off(older).iter().for_each(|path| fs::remove_file(path).unwrap());
    let seen = fake.has().unwrap().0;
    let refused = || site.start_with(Command::new(common::JWSD)).err().unwrap();
    let log = refused();
    for word in [NAME, &format!("a checkpoint of {seen} records"), "accept-truncation"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    assert_eq!(segments(&site.audit).len(), older, "no segment was begun");
    let config = site.config_path().display().to_string();
    let accept =
        ["audit", "accept-truncation", "--config", &config, "--reason", "restored from Monday's copy"];
    // It must be asked for that.
    fake.fault(Fault::Down);
    assert_eq!(site.jwsd(&accept).status.code(), Some(1));
    fake.fault(Fault::None);
    refused();
    let accepted = site.jwsd(&accept);
    assert!(accepted.status.success() && text(&accepted).contains(NAME), "{}", text(&accepted));
    let daemon = site.start();
    eventually("its refusal", || {
        witness(&daemon)["problem"].as_str().is_some_and(|problem| problem.contains("accepted as lost"))
    });
    assert_eq!(daemon.get("public.sock", "/readyz").unwrap().status, 200);
    assert_eq!(daemon.stop().0, Some(0));
    let records = common::records(&site.audit);
    let accepted = records.iter().find(|record| record["event"] == "log.accepted").unwrap();
    assert_eq!((&accepted["object"], &accepted["size"]), (&NAME.into(), &seen.into()));
    assert_eq!(fake.has().unwrap().0, seen, "it never takes that log again");
    let log = site.audit.display().to_string();
    let verified = site.jwsd(&["audit", "verify", &log, "--key", &key(&site)]);
    assert!(
        verified.status.success() && text(&verified).contains("as witness.example/w said"),
        "{}",
        text(&verified)
    );
}

#[test]
fn one_that_is_down_is_told_of_once_and_comes_back() {
    let fake = FakeWitness::start(NAME);
    let site = site(&fake.url, &fake.vkey);
    assert_eq!(site.start().stop().0, Some(0));
    fake.fault(Fault::Down);
    let daemon = site.start();
    let size = || daemon.status()["audit"]["checkpoint"]["size"].as_u64().unwrap();
    let before = size();
    eventually("seals all the same", || size() > before + 3);
    assert!(witness(&daemon)["problem"].as_str().unwrap().contains("nobody answers"));
    assert_eq!(daemon.get("public.sock", "/readyz").unwrap().status, 200);
    fake.fault(Fault::None);
    eventually("its return", || witness(&daemon)["problem"].is_null() && witness(&daemon)["size"].is_u64());
    let (code, log) = daemon.stop();
    assert_eq!((code, count(&site, "alert.raised")), (Some(0), 1), "{log}");
    assert!(log.contains("Witness cannot be asked"), "{log}");
    assert!(log.contains("Witness takes checkpoints again"), "{log}");
}

/// The log was taken away altogether: what there is has no seal that could be shown at the start.
#[test]
fn one_that_knows_more_is_found_out_with_the_first_seal() {
    let fake = FakeWitness::start(NAME);
    let site = site(&fake.url, &fake.vkey);
    let daemon = site.start();
    (0..40).for_each(|_| assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200));
    assert_eq!(daemon.stop().0, Some(0));
    fs::rename(&site.audit, site.path("taken")).unwrap();
    let daemon = site.start();
    eventually("the contradiction", || witness(&daemon)["contradicts"] == true);
    let ready = daemon.get("public.sock", "/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert!(ready.json()["reasons"].to_string().contains("a witness has seen more"), "{}", ready.json());
    assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200, "JWTs go on");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    let alerts: Vec<_> =
        common::records(&site.audit).into_iter().filter(|record| record["event"] == "alert.raised").collect();
    assert_eq!((alerts.len(), &alerts[0]["rules"][0]), (1, &"witness.contradicts".into()));
    assert!(site.start_with(Command::new(common::JWSD)).err().unwrap().contains("accept-truncation"));
}

/// A process that ends with the test.
struct Ends(Child);
impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Another implementation of `tlog-witness`, in Go: litewitness of torchwood, whose key an agent of OpenSSH holds.
#[test]
fn litewitness_cosigns_what_the_daemon_seals() {
    let (program, python) = (target().join("litewitness/bin/litewitness"), target().join("venv/bin/python"));
    if !program.exists() || !python.exists() {
        println!(
            "SKIPPED: {} or {} is not there; scripts/test makes both",
            program.display(),
            python.display()
        );
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let ran = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let _agent = Ends(
        Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(path("agent"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    eventually("the agent", || path("agent").exists());
    ran(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path("key")));
    ran(Command::new("ssh-add").arg("-q").arg(path("key")).env("SSH_AUTH_SOCK", path("agent")));
    let printed = ran(Command::new("ssh-keygen").arg("-lf").arg(path("key")));
    let fingerprint = printed.split_whitespace().nth(1).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = fs::File::options().create(true).append(true).open(path("log")).unwrap();
    let mut command = Command::new(program);
    command.args(["-name", NAME, "-key", fingerprint, "-listen", &format!("127.0.0.1:{port}")]);
    command.arg("-db").arg(path("db")).arg("-ssh-agent").arg(path("agent")).stderr(log);
    let _witness = Ends(command.stdout(Stdio::null()).spawn().unwrap());
    let said = || fs::read_to_string(path("log")).unwrap();
    eventually("its key", || said().contains("vkey="));
    let vkey =
        said().split("vkey=").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches('"').to_owned();
    let site = site(&format!("http://127.0.0.1:{port}"), &vkey);
    let daemon = site.start();
    // It does not know the log yet.
    eventually("a refusal", || {
        witness(&daemon)["problem"].as_str().is_some_and(|problem| problem.contains("does not know"))
    });
    let status = daemon.status()["audit"]["checkpoint"].clone();
    let insert = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=10); o, k = sys.argv[2:]; \
                  empty = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; \
                  db.execute('INSERT INTO log VALUES (?, 0, ?)', (o, empty)); db.execute('INSERT INTO key VALUES (?, ?)', (o, k)); db.commit()";
    let (origin, key) = (status["origin"].as_str().unwrap(), status["vkey"].as_str().unwrap());
    ran(Command::new(&python).args(["-c", insert]).arg(path("db")).args([origin, key]));
    eventually("a cosignature", || witness(&daemon)["size"].is_u64());
    (0..20).for_each(|_| assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200));
    let first = witness(&daemon)["size"].as_u64().unwrap();
    eventually("later ones", || witness(&daemon)["size"].as_u64().unwrap() > first + 20);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    let older = segments(&site.audit).len();
    let daemon = site.start();
    eventually("another one", || witness(&daemon)["size"].is_u64());
    assert_eq!(daemon.stop().0, Some(0));
    let (code, said) = verify(&site, &vkey);
    assert!(code == Some(0) && said.contains("vouches for"), "{said}");
    segments(&site.audit).split_off(older).iter().for_each(|path| fs::remove_file(path).unwrap());
    let refused = site.start_with(Command::new(common::JWSD)).err().unwrap();
    assert!(refused.contains(NAME) && refused.contains("accept-truncation"), "{refused}");
}

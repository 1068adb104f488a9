//! The sealed log of a real daemon: what a stop leaves, what a kill leaves, and what becomes of a log whose end was
//! taken away behind the daemon's back.

mod common;

use common::{Daemon, Site, eventually, good, segments};
use jwsd::audit::checkpoint::{Checkpoint, Note, SealKey};
use jwsd::audit::tree::{Tree, leaf};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Every line of a log without faults, in order.
fn lines(site: &Site) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = segments(&site.audit).into_iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let whole = bytes.split(|&b| b == b'\n').filter(|line| serde_json::from_slice::<Value>(line).is_ok());
    whole.map(<[u8]>::to_vec).collect()
}

fn json(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

fn of<'a>(lines: &'a [Vec<u8>], event: &'a str) -> impl Iterator<Item = (usize, Value)> + 'a {
    let all = lines.iter().enumerate().map(|(index, line)| (index, json(line)));
    all.filter(move |(_, record)| record["event"] == event)
}

/// Every seal of the log, opened with `key` and compared with the tree over the lines.
fn seals(lines: &[Vec<u8>], key: &SealKey) -> Vec<Checkpoint> {
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    for (index, record) in of(lines, "log.sealed") {
        let checkpoint = Note::parse(record["note"].as_str().unwrap()).unwrap().open(key).unwrap();
        let size = usize::try_from(checkpoint.size).unwrap();
        assert!(size <= index, "seal {index} covers {size}");
        let mut tree = Tree::default();
        lines[..size].iter().for_each(|line| tree.push(leaf(line)));
        assert_eq!(tree.root(), checkpoint.root, "seal {index} of {size}");
        assert_eq!(record["after"], json(&lines[size - 1])["seq"]);
        assert_eq!(record["kid"], key.kid().as_str());
        assert_eq!(record["peaks"].as_array().unwrap().len(), tree.peaks().len());
        assert!(checkpoints.last().is_none_or(|last| last.size < checkpoint.size), "sizes increase");
        checkpoints.push(checkpoint);
    }
    checkpoints
}

fn witness(site: &Site) -> PathBuf {
    site.path("checkpoints")
}

/// A site whose log is sealed every second by a key of its own, with a witness.
fn sealed(algorithm: &str) -> Site {
    let mut site = Site::new();
    fs::write(witness(&site), "").unwrap();
    site.extra = format!(
        "[key.audit]\nbackend = \"hsm\"\nalgorithm = \"{algorithm}\"\n[audit.checkpoint]\nkey = \"audit\"\nevery = \"1s\"\n\
         [[audit.witness]]\nfile = {:?}\n",
        witness(&site)
    );
    site.write_config();
    let config = site.config_path().display().to_string();
    let made = site.jwsd(&["keys", "generate", "--config", &config, "audit"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site
}

fn key(site: &Site) -> SealKey {
    let lines = lines(site);
    let (_, record) = of(&lines, "log.key").next().unwrap();
    SealKey::from_vkey(record["vkey"].as_str().unwrap()).unwrap()
}

fn checkpoint(daemon: &Daemon) -> Value {
    daemon.status()["audit"]["checkpoint"].clone()
}

fn is_sealed(daemon: &Daemon) {
    eventually("a seal", || checkpoint(daemon)["vkey"].is_string());
}

#[test]
fn a_stop_leaves_a_log_whose_last_seal_covers_everything() {
    for algorithm in ["Ed25519", "ES256"] {
        let site = sealed(algorithm);
        let daemon = site.start();
        for _ in 0..50 {
            assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
        }
        is_sealed(&daemon);
        let status = checkpoint(&daemon);
        assert_eq!(daemon.key_set()["keys"].as_array().unwrap().len(), 1, "verifiers are not shown it");
        assert_eq!((&status["problem"], &status["witnesses"][0]["problem"]), (&Value::Null, &Value::Null));
        let (code, log) = daemon.stop();
        assert_eq!(code, Some(0), "{log}");
        let lines = lines(&site);
        let key = key(&site);
        assert_eq!(Some(key.to_vkey().as_str()), status["vkey"].as_str());
        let seals = seals(&lines, &key);
        let last = seals.last().unwrap();
        assert_eq!(json(lines.last().unwrap())["event"], "log.sealed");
        assert_eq!(last.size, lines.len() as u64 - 1, "everything before the last seal is sealed");
        assert_eq!(json(&lines[lines.len() - 2])["event"], "daemon.stopped");
        assert_eq!(of(&lines, "jwt.issued").count(), 50);
        // The witness has every one of them, each followed by a blank line.
        let seen = fs::read_to_string(witness(&site)).unwrap();
        let notes: String =
            of(&lines, "log.sealed").map(|(_, r)| format!("{}\n", r["note"].as_str().unwrap())).collect();
        assert_eq!(seen, notes);
    }
}

#[test]
fn a_kill_loses_no_size_and_the_next_start_goes_on() {
    let site = sealed("Ed25519");
    for round in 1..4 {
        let daemon = site.start();
        is_sealed(&daemon);
        for _ in 0..10 {
            assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
        }
        daemon.kill();
        assert!(seals(&lines(&site), &key(&site)).len() >= round);
    }
    let (code, log) = site.start().stop();
    assert_eq!(code, Some(0), "{log}");
    let lines = lines(&site);
    let seals = seals(&lines, &key(&site));
    assert_eq!(seals.last().unwrap().size, lines.len() as u64 - 1);
    assert_eq!(of(&lines, "jwt.issued").count(), 30);
}

#[test]
fn a_log_that_lost_its_end_is_refused_until_an_operator_takes_it() {
    let site = sealed("Ed25519");
    assert_eq!(site.start().stop().0, Some(0));
    let older: Vec<_> =
        segments(&site.audit).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let daemon = site.start();
    daemon.post("/v1/sign", &good("access"));
    assert_eq!(daemon.stop().0, Some(0));
    // As if an older copy were put back: whole, sealed, and not all there was.
    let newer: Vec<_> = segments(&site.audit).split_off(older.len());
    newer.iter().for_each(|path| fs::remove_file(path).unwrap());

    let refused = || site.start_with(std::process::Command::new(common::JWSD)).err().unwrap();
    let log = refused();
    for word in [witness(&site).to_str().unwrap(), site.audit.to_str().unwrap(), "accept-truncation"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    for (bytes, path) in &older {
        assert_eq!(&fs::read(path).unwrap(), bytes, "nothing was written");
    }
    assert_eq!(segments(&site.audit).len(), older.len(), "and no segment was begun");
    let config = site.config_path().display().to_string();
    let accept = |reason| site.jwsd(&["audit", "accept-truncation", "--config", &config, "--reason", reason]);
    assert_eq!(accept(" ").status.code(), Some(64), "a reason is due");
    refused();
    let accepted = accept("restored from the backup of Monday");
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    assert_eq!(accept("again").status.code(), Some(1), "there is nothing to accept any more");

    let (code, log) = site.start().stop();
    assert_eq!(code, Some(0), "{log}");
    let lines = lines(&site);
    let (_, record) = of(&lines, "log.accepted").next().unwrap();
    assert_eq!(record["reason"], "restored from the backup of Monday");
    assert_eq!(record["actor"]["uid"], nix::unistd::geteuid().as_raw());
    assert!(seals(&lines, &key(&site)).len() >= 3);
    assert_eq!(site.start().stop().0, Some(0), "and the witness has the new one");
}

#[test]
fn a_witness_that_fails_is_told_of_once_and_holds_nothing_up() {
    let site = sealed("Ed25519");
    let daemon = site.start();
    is_sealed(&daemon);
    fs::remove_file(witness(&site)).unwrap();
    eventually("its failure", || checkpoint(&daemon)["witnesses"][0]["problem"].is_string());
    let size = checkpoint(&daemon)["size"].as_u64().unwrap();
    eventually("more seals", || checkpoint(&daemon)["size"].as_u64().unwrap() > size + 2);
    let alerts = || of(&lines(&site), "alert.raised").count();
    assert_eq!(alerts(), 1);
    fs::write(witness(&site), "").unwrap();
    eventually("its return", || checkpoint(&daemon)["witnesses"][0]["problem"].is_null());
    let (code, log) = daemon.stop();
    assert_eq!((code, alerts()), (Some(0), 1), "{log}");
    assert_eq!(log.matches("Witness does not take checkpoints").count(), 1, "{log}");
    fs::remove_file(witness(&site)).unwrap();
    let log = site.start_with(std::process::Command::new(common::JWSD)).err().unwrap();
    assert!(log.contains(witness(&site).to_str().unwrap()) && log.contains("make it"), "{log}");
}

/// Rotates by itself every few seconds, which nobody but those who check the log has to know.
#[test]
fn keys_follow_each_other_and_each_is_vouched_for_by_the_one_before() {
    let mut site = sealed("Ed25519");
    site.limits = "jwks_max_age = \"1s\"".to_owned();
    site.extra += "[key.audit.rotation]\nevery = \"3s\"\npublish_ahead = \"1s\"\nkeep = \"0s\"\n";
    site.write_config();
    let daemon = site.start();
    eventually("the third key", || {
        let lines = lines(&site);
        let mut kids: Vec<String> = of(&lines, "log.sealed").map(|(_, r)| r["kid"].to_string()).collect();
        kids.dedup();
        kids.len() >= 3
    });
    assert_eq!(daemon.key_set()["keys"].as_array().unwrap().len(), 1, "verifiers are shown none of them");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    let (lines, mut introduced) = (lines(&site), Vec::new());
    for (index, record) in of(&lines, "log.key") {
        introduced.push((index as u64, SealKey::from_vkey(record["vkey"].as_str().unwrap()).unwrap()));
    }
    let (mut sealing, mut before) = (introduced[0].1.kid(), 0);
    for (_, record) in of(&lines, "log.sealed") {
        let named = |(_, key): &&(u64, SealKey)| record["kid"] == key.kid().as_str();
        let (at, key) = introduced.iter().find(named).unwrap();
        let checkpoint = Note::parse(record["note"].as_str().unwrap()).unwrap().open(key).unwrap();
        if key.kid() != sealing {
            assert!(*at < before, "a seal by the key before covers its introduction");
            sealing = key.kid();
        }
        assert!(checkpoint.size > before);
        before = checkpoint.size;
    }
    assert_eq!(before, lines.len() as u64 - 1);
}

/// What an auditor does with a real log: both verifiers, with the key and what the witness kept, and the proof of a JWT.
#[test]
fn both_verifiers_accept_a_real_log_and_find_what_was_done_to_it() {
    let site = sealed("ES256");
    let daemon = site.start();
    let jwt = daemon.post("/v1/sign", &good("access")).jwt();
    is_sealed(&daemon);
    // Also while it is written.
    let log = site.audit.display().to_string();
    let key = String::from_utf8(site.jwsd(&["audit", "key", &log]).stdout).unwrap();
    let vkey = key.split_whitespace().find(|word| word.matches('+').count() >= 2).unwrap().to_owned();
    let kept = witness(&site).display().to_string();
    let python = std::path::Path::new(common::JWSD).ancestors().nth(2).unwrap().join("venv/bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/audit_verify.py");
    let verdicts = || {
        let arguments = [log.as_str(), "--key", &vkey, "--checkpoint", &kept];
        let ours = site.jwsd(&[&["audit", "verify"], &arguments[..]].concat());
        let said = String::from_utf8_lossy(&ours.stdout).into_owned();
        if !python.exists() {
            println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
            return (ours.status.code(), said);
        }
        let theirs =
            std::process::Command::new(&python).arg("-B").arg(script).args(arguments).output().unwrap();
        assert_eq!(
            theirs.status.code(),
            ours.status.code(),
            "{said}\n{}",
            String::from_utf8_lossy(&theirs.stdout)
        );
        (ours.status.code(), said)
    };
    let (code, said) = verdicts();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(daemon.stop().0, Some(0));
    let (code, said) = verdicts();
    assert_eq!(code, Some(0), "{said}");

    let (token, proof) = (site.path("token.jwt"), site.path("token.tlog-proof"));
    fs::write(&token, &jwt).unwrap();
    let token = token.display().to_string();
    let proven = site.jwsd(&["audit", "prove", &log, "--jwt", &token]);
    assert!(proven.status.success(), "{}", String::from_utf8_lossy(&proven.stderr));
    assert!(proven.stdout.starts_with(b"c2sp.org/tlog-proof@v1\n"));
    fs::write(&proof, &proven.stdout).unwrap();
    let check = ["audit", "check-proof", &proof.display().to_string(), "--key", &vkey, "--jwt", &token];
    let checked = site.jwsd(&check);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // A forger who knows about checksums: one caller instead of another.
    let segment = segments(&site.audit)
        .into_iter()
        .find(|path| fs::read_to_string(path).unwrap().contains("jwt.issued"));
    let segment = segment.unwrap();
    let text = fs::read_to_string(&segment).unwrap();
    let line = text.lines().find(|line| line.contains("jwt.issued")).unwrap();
    let (covered, _) = line.rsplit_once(",\"crc\"").unwrap();
    let changed = covered.replacen("jwt.issued", "jwt.denied", 1);
    let forged = format!("{changed},\"crc\":\"{:08x}\"}}", crc32fast::hash(changed.as_bytes()));
    fs::write(&segment, text.replacen(line, &forged, 1)).unwrap();
    let (code, said) = verdicts();
    assert_eq!(code, Some(1), "{said}");
    // Whoever cuts off the end finds that the witness has seen more.
    let cut: String = text.split_inclusive('\n').take(3).collect();
    fs::write(&segment, cut).unwrap();
    for later in segments(&site.audit).into_iter().filter(|path| *path > segment) {
        fs::remove_file(later).unwrap();
    }
    let (code, said) = verdicts();
    assert_eq!(code, Some(1), "{said}");
}

/// The version that sealed last was retired, and the daemon started anew: it still hands over to the next one.
#[test]
fn a_retired_version_hands_over_after_a_restart() {
    let site = sealed("Ed25519");
    let config = site.config_path().display().to_string();
    let daemon = site.start();
    is_sealed(&daemon);
    let retired = site.jwsd(&["keys", "retire", "--config", &config, "--yes", "audit"]);
    assert!(retired.status.success(), "{}", String::from_utf8_lossy(&retired.stderr));
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = site.start();
    assert!(
        checkpoint(&daemon)["problem"].as_str().is_some_and(|problem| problem.contains("no active version"))
    );
    assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200, "JWTs go on");
    let made = site.jwsd(&["keys", "generate", "--config", &config, "audit"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let kids = || -> Vec<String> {
        let lines = lines(&site);
        let mut kids: Vec<_> = of(&lines, "log.sealed").map(|(_, r)| r["kid"].to_string()).collect();
        kids.dedup();
        kids
    };
    let activated = site.jwsd(&["keys", "activate", "--config", &config, "--early", "--yes", "audit"]);
    assert!(activated.status.success(), "{}", String::from_utf8_lossy(&activated.stderr));
    eventually("a seal by the next version", || kids().len() == 2);
    assert_eq!(daemon.stop().0, Some(0));
    let log = site.audit.display().to_string();
    let vkey = key(&site).to_vkey();
    let verified = site.jwsd(&["audit", "verify", &log, "--key", &vkey]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Somebody introduces a key of their own while no daemon runs: it is not sealed over.
#[test]
fn a_foreign_key_is_not_sealed_over() {
    let site = sealed("Ed25519");
    let daemon = site.start();
    is_sealed(&daemon);
    assert_eq!(daemon.stop().0, Some(0));
    let before = lines(&site);
    let last = json(before.last().unwrap());
    let seq = last["seq"].as_u64().unwrap() + 1;
    let ours = of(&before, "log.key").next().unwrap().1;
    // Any other key will do: that of another log.
    let other = sealed("Ed25519");
    let daemon = other.start();
    is_sealed(&daemon);
    drop(daemon);
    let theirs = key(&other);
    let vkey = SealKey::from_vkey(ours["vkey"].as_str().unwrap()).unwrap();
    assert_eq!(vkey.name(), theirs.name(), "one host, one environment");
    let covered = format!(
        "{{\"seq\":{seq},\"time\":{},\"event\":\"log.key\",\"outcome\":\"success\",\"kid\":\"{}\",\"vkey\":\"{}\"",
        last["time"],
        theirs.kid().as_str(),
        theirs.to_vkey()
    );
    let line = format!("{covered},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(covered.as_bytes()));
    let segment = segments(&site.audit).pop().unwrap();
    let text = fs::read_to_string(&segment).unwrap() + &line;
    fs::write(&segment, text).unwrap();
    let daemon = site.start();
    eventually("a refusal", || {
        checkpoint(&daemon)["problem"].as_str().is_some_and(|problem| problem.contains("none of ours"))
    });
    assert_eq!(of(&lines(&site), "log.sealed").count(), of(&before, "log.sealed").count());
}

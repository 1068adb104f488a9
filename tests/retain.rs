//! A real daemon that keeps its log for a day, two days later: what goes, where, and what is left verifies.

mod common;

use common::{Daemon, Site, eventually, good, segments};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A site whose log is sealed every second and kept for a day.
fn site() -> Site {
    let mut site = Site::new();
    let archive = site.path("archive");
    fs::create_dir(&archive).unwrap();
    fs::write(site.path("checkpoints"), "").unwrap();
    site.extra = format!(
        "[clock]\nmode = \"off\"\n[key.audit]\nbackend = \"hsm\"\nalgorithm = \"Ed25519\"\n[audit.checkpoint]\nkey = \"audit\"\n\
         every = \"1s\"\n[audit.retain]\ndefault = \"1d\"\narchive = {archive:?}\n[[audit.witness]]\nfile = {:?}\n",
        site.path("checkpoints")
    );
    site.write_config();
    let config = site.config_path().display().to_string();
    let made = site.jwsd(&["keys", "generate", "--config", &config, "audit"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site
}

/// From now on processes are two days ahead.
fn two_days_later(site: &mut Site) {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library =
        directories.map(|directory| directory.join("faketime/libfaketime.so.1")).find(|path| path.exists());
    let library =
        library.expect("libfaketime is missing; scripts/test installs it (apt-get install libfaketime)");
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", "+2d".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ];
    site.process_env = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
}

fn records(paths: Vec<PathBuf>) -> Vec<Value> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let text: String = paths.into_iter().map(read).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_sealed(daemon: &Daemon) {
    eventually("a seal", || daemon.status()["audit"]["checkpoint"]["vkey"].is_string());
}

/// Both verifiers; what the first one says.
fn verify(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let audit = site.audit.display().to_string();
    let output = site.jwsd(&[&["audit", "verify", &audit], arguments].concat());
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = Path::new(common::JWSD).ancestors().nth(2).unwrap().join("venv/bin/python");
    if python.exists() {
        let script = root.join("scripts/audit_verify.py");
        let other = Command::new(python).arg("-B").arg(script).arg(&audit).args(arguments).output().unwrap();
        assert_eq!(
            other.status.code(),
            output.status.code(),
            "{said}{}",
            String::from_utf8_lossy(&other.stdout)
        );
    } else {
        println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
    }
    (output.status.code(), said)
}

#[test]
fn what_is_older_than_its_term_goes_to_the_archive_and_the_rest_verifies() {
    let mut site = site();
    let mut jwts = Vec::new();
    for _ in 0..2 {
        let daemon = site.start();
        for _ in 0..20 {
            let answer = daemon.post("/v1/sign", &good("access"));
            assert_eq!(answer.status, 200);
            jwts.push(answer.json()["token"].as_str().unwrap().to_owned());
        }
        is_sealed(&daemon);
        let (code, log) = daemon.stop();
        assert_eq!(code, Some(0), "{log}");
    }
    let (before, count) = (records(segments(&site.audit)), segments(&site.audit).len());
    let vkey = before.iter().find(|record| record["event"] == "log.key").unwrap()["vkey"].clone();
    let vkey = vkey.as_str().unwrap().to_owned();
    let config = site.config_path().display().to_string();
    let look = site.jwsd(&["audit", "retain", "--config", &config]);
    let said = String::from_utf8_lossy(&look.stdout).into_owned();
    assert!(look.status.success() && said.contains(&format!("none of {count} segments goes now")), "{said}");

    two_days_later(&mut site);
    let daemon = site.start();
    let base = site.audit.join("base");
    eventually("the log begins later", || base.exists() && segments(&site.audit).len() == 1);
    for _ in 0..5 {
        assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
    }
    let witness = site.path("checkpoints").display().to_string();
    let archive = site.path("archive").display().to_string();
    let alone = ["--key", &vkey, "--checkpoint", &witness];
    let (code, said) = verify(&site, &alone);
    assert!(code == Some(0) && said.contains("are no longer kept; what is kept follows"), "{said}");
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("Old segments of the audit log removed"), "{log}");

    let kept = records(segments(&site.audit));
    let archived = records(segments(Path::new(&archive)));
    assert_eq!(archived, before, "all of it is in the archive, as it was");
    assert_eq!(kept[0]["seq"].as_u64().unwrap(), before.len() as u64 + 1);
    let said: Vec<_> = kept.iter().filter(|record| record["event"] == "log.archived").collect();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0]["count"].as_u64(), &said[0]["vkey"]),
        (Some(before.len() as u64), &Value::from(vkey.as_str()))
    );
    let (code, said) = verify(&site, &[&alone[..], &["--archive", &archive]].concat());
    assert!(
        code == Some(0) && said.contains(&format!("{count} segments of them were read from the archive")),
        "{said}"
    );
    // Each by itself, and each JWT of then.
    for segment in segments(Path::new(&archive)) {
        let proof = segment.with_extension("proof").display().to_string();
        let segment = segment.display().to_string();
        let checked = site.jwsd(&["audit", "check-proof", &proof, "--key", &vkey, "--segment", &segment]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
    let (jwt, audit) = (site.path("jwt"), site.audit.display().to_string());
    fs::write(&jwt, &jwts[3]).unwrap();
    let jwt = jwt.display().to_string();
    let prove = |more: &[&str]| site.jwsd(&[&["audit", "prove", "--jwt", &jwt, &audit], more].concat());
    let gone = prove(&[]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("give --archive"));
    let proof = prove(&["--archive", &archive]);
    fs::write(site.path("proof"), &proof.stdout).unwrap();
    let proof = site.path("proof").display().to_string();
    let checked = site.jwsd(&["audit", "check-proof", &proof, "--key", &vkey, "--jwt", &jwt]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    // Whoever asks for that time is told.
    let found = site.jwsd(&["audit", "search", &audit, "--event", "daemon.started"]);
    assert_eq!(found.stdout.iter().filter(|&&b| b == b'\n').count(), 1);
    assert!(String::from_utf8_lossy(&found.stderr).contains("are no longer kept there"));
    let report = site.jwsd(&["audit", "report", &audit, "--from", "2026-01-01", "--format", "json"]);
    assert!(String::from_utf8_lossy(&report.stdout).contains("Gap: the log begins at"));
    let keys = site.jwsd(&["audit", "key", &audit]);
    assert!(String::from_utf8_lossy(&keys.stdout).contains(&vkey));

    // What was not declared is found.
    fs::remove_file(&base).unwrap();
    let (code, said) = verify(&site, &alone);
    assert!(
        code == Some(1) && said.contains(&format!("records 1 to {} are missing", before.len())),
        "{said}"
    );
}

//! Seals that a second key cosigns by ML-DSA-44, on a token that has it.

mod common;

use common::{Daemon, Site, eventually, good};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn target() -> PathBuf {
    Path::new(common::JWSD).ancestors().nth(2).unwrap().to_owned()
}

/// `None` where there is no such token.
fn site() -> Option<Site> {
    let module = std::env::var_os("JWSD_TEST_KRYOPTIC")
        .map_or_else(|| target().join("kryoptic/libkryoptic_pkcs11.so"), PathBuf::from);
    if !module.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}", module.display());
        println!("SKIPPED: {} is missing: run scripts/test, which builds it", module.display());
        return None;
    }
    let mut site = Site::with_kryoptic(&[("access", "ES256")], &module);
    let key = |name: &str, algorithm: &str| {
        format!("[key.{name}]\nbackend = \"hsm\"\nalgorithm = \"{algorithm}\"\n")
    };
    site.extra = key("audit", "Ed25519")
        + &key("audit-pq", "ML-DSA-44")
        + "[audit.checkpoint]\nkey = \"audit\"\ncosign = \"audit-pq\"\nevery = \"1s\"\n";
    site.write_config();
    act(&site, &["generate", "audit"]);
    act(&site, &["generate", "audit-pq"]);
    Some(site)
}

fn act(site: &Site, words: &[&str]) {
    let config = site.config_path().display().to_string();
    let done = site.jwsd(&[&["keys", words[0], "--config", &config], &words[1..]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn cosign(daemon: &Daemon) -> Value {
    daemon.status()["audit"]["checkpoint"]["cosign"].clone()
}

#[test]
fn each_seal_is_cosigned_and_sealed_all_the_same_when_that_fails() {
    let Some(site) = site() else { return };
    let daemon = site.start();
    eventually("a cosignature", || cosign(&daemon)["size"].is_u64());
    let first = cosign(&daemon);
    assert_eq!((&first["key"], &first["problem"]), (&"audit-pq".into(), &Value::Null));
    assert_eq!(daemon.key_set()["keys"].as_array().unwrap().len(), 1, "verifiers of JWTs are shown neither");
    assert_eq!(daemon.post("/v1/sign", &good("access")).status, 200);
    assert_eq!(daemon.stop().0, Some(0));
    // The next start introduces what cosigns anew: the log may begin after this one.
    let daemon = site.start();
    eventually("another one", || cosign(&daemon)["size"].is_u64());
    let keys = || common::records(&site.audit).into_iter().filter(|record| record["event"] == "log.key");
    assert_eq!(keys().count(), 3);
    act(&site, &["retire", "--yes", "audit-pq"]);
    eventually("its failure", || {
        cosign(&daemon)["problem"].as_str().is_some_and(|problem| problem.contains("no active version"))
    });
    let size = || daemon.status()["audit"]["checkpoint"]["size"].as_u64().unwrap();
    let before = size();
    eventually("seals all the same", || size() > before + 2);
    assert_eq!(daemon.status()["audit"]["checkpoint"]["problem"], Value::Null);
    let alerts: Vec<_> =
        common::records(&site.audit).into_iter().filter(|record| record["event"] == "alert.raised").collect();
    assert_eq!((alerts.len(), &alerts[0]["rules"][0]), (1, &"cosign.failed".into()));
    act(&site, &["generate", "audit-pq"]);
    act(&site, &["activate", "--early", "--yes", "audit-pq"]);
    eventually("its successor", || cosign(&daemon)["problem"].is_null());
    let next = cosign(&daemon);
    assert_ne!(next["kid"], first["kid"]);
    assert_eq!(daemon.stop().0, Some(0));

    // Whoever has the first keys alone.
    let log = site.audit.display().to_string();
    let printed = String::from_utf8(site.jwsd(&["audit", "key", &log]).stdout).unwrap();
    let vkeys: Vec<&str> = printed.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(vkeys.len(), 3, "{printed}");
    assert_eq!((vkeys[1], vkeys[2]), (first["vkey"].as_str().unwrap(), next["vkey"].as_str().unwrap()));
    let verified = |second: &str| {
        let arguments = [log.as_str(), "--key", vkeys[0], "--key", second];
        let ours = site.jwsd(&[&["audit", "verify"], &arguments[..]].concat());
        let said = String::from_utf8(ours.stdout).unwrap();
        assert_eq!(ours.status.code(), Some(0), "{said}");
        let told = said.lines().find(|line| line.starts_with("cosigned: ")).unwrap().to_owned();
        let python = target().join("venv/bin/python");
        if python.exists() {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/audit_verify.py");
            let theirs = Command::new(python).arg("-B").arg(script).args(arguments).output().unwrap();
            let said = String::from_utf8(theirs.stdout).unwrap();
            assert_eq!(theirs.status.code(), Some(0), "{said}");
            let seals = told.split(' ').nth(1).unwrap();
            assert!(said.contains(&format!("cosigned: {seals} seals by ML-DSA-44")), "{said}\n{told}");
        } else {
            println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
        }
        told
    };
    let told = verified(vkeys[2]);
    let last = common::records(&site.audit).len() - 1;
    assert!(told.contains(&format!("covers {last} records")), "{told}");
    // The successor was introduced when nothing was cosigned any more: the first key vouches for no later seal.
    let told = verified(vkeys[1]);
    assert!(told.contains(first["kid"].as_str().unwrap()), "{told}");
    // Every signature of it is accounted for.
    let seals: u64 = told.split(' ').nth(1).unwrap().parse().unwrap();
    let tested = common::records(&site.audit)
        .into_iter()
        .filter(|record| record["event"] == "key.tested" && record["kid"] == first["kid"])
        .map(|record| record["count"].as_u64().unwrap())
        .sum::<u64>();
    assert!(tested >= seals, "{tested} requests, {seals} cosigned seals");
}

//! Every algorithm of every backend, verified by libraries that are not ours: PyJWT and joserfc, and jose of npm.

mod common;
#[path = "interop/confidential.rs"]
mod confidential;
#[path = "common/fake_kms.rs"]
mod fake_kms;
#[path = "common/kms.rs"]
mod kms;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{JWSD, Site, good};
use fake_kms::FakeKms;
use kms::Emulator;
use serde_json::{Value, json};

const REGION: &str = "eu-central-1";

const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"];

const ML_DSA: [&str; 3] = ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"];

/// `target/`, where `scripts/test` puts what it installs.
fn target() -> PathBuf {
    Path::new(JWSD).ancestors().nth(2).unwrap().to_owned()
}

/// Keys of these algorithms, named after them.
fn keys<'a>(algorithms: &[&'a str]) -> Vec<(String, &'a str)> {
    algorithms.iter().map(|name| (name.to_lowercase(), *name)).collect()
}

/// A site with these keys, however it keeps them.
fn site(keys: &[(String, &str)], with: impl FnOnce(&[(&str, &str)]) -> Site) -> Site {
    with(&keys.iter().map(|(key, name)| (key.as_str(), *name)).collect::<Vec<_>>())
}

/// Signs with every key of the site's daemon and lets everybody verify: `jwsd verify`, Python, Node.js.
fn verified_by_all(site: &Site, keys: &[(String, &str)]) {
    let wants: Vec<_> = keys.iter().map(|(key, algorithm)| (good(key), *algorithm)).collect();
    all_verified_by_all(site, &wants);
}

/// The same for requests, each with the algorithm of its key.
fn all_verified_by_all(site: &Site, wants: &[(Value, &str)]) {
    let daemon = site.start();
    let jwts: Vec<_> = wants
        .iter()
        .map(|(want, algorithm)| {
            let jwt = daemon.post("/v1/sign", want).jwt();
            json!({ "alg": algorithm, "token": jwt, "issuer": "https://issuer.test", "audience": "https://api.test", "typ": "at+jwt" })
        })
        .collect();
    let document = json!({ "jwks": daemon.key_set(), "jwts": jwts }).to_string();

    for jwt in &jwts {
        let socket = daemon.socket("public.sock");
        let token = jwt["token"].as_str().unwrap();
        let ours = site.jwsd(&[
            "verify",
            "--socket",
            socket.to_str().unwrap(),
            "--audience",
            "https://api.test",
            "--typ",
            "at+jwt",
            token,
        ]);
        assert!(ours.status.success(), "{}: {}", jwt["alg"], String::from_utf8_lossy(&ours.stderr));
    }
    judged_by_all("verify", &[], &document);
}

/// Lets `NAME.py` with these arguments and `NAME.mjs` judge the document. Says loudly which is not there.
fn judged_by_all(name: &str, arguments: &[&str], document: &str) {
    let judges = [
        (python(), Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/interop/{name}.py")), arguments),
        (PathBuf::from("node"), target().join(format!("node/{name}.mjs")), &[][..]),
    ];
    for (program, script, arguments) in judges {
        if !is_there(&program, &script) {
            continue;
        }
        let mut child = Command::new(program)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        assert!(output.status.success(), "{text}");
    }
}

fn python() -> PathBuf {
    target().join("venv/bin/python")
}

fn is_there(program: &Path, script: &Path) -> bool {
    let there = script.exists() && (program.is_relative() || program.exists());
    if !there {
        let (program, script) = (program.display(), script.display());
        assert!(std::env::var_os("CI").is_none(), "CI must have {program} and {script}");
        println!("SKIPPED {script}: run scripts/test, which installs it");
    }
    there
}

/// What `NAME.py keys` makes; `None` where Python is not installed.
fn keys_of(name: &str) -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/interop/{name}.py"));
    if !is_there(&python(), &script) {
        return None;
    }
    let made = Command::new(python()).arg(script).arg("keys").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(serde_json::from_slice(&made.stdout).unwrap())
}

#[test]
fn every_algorithm_of_softhsm() {
    let keys = keys(&ALGORITHMS);
    verified_by_all(&site(&keys, Site::with_keys), &keys);
}

/// A second token, of another make, with ML-DSA.
#[test]
fn every_algorithm_of_kryoptic() {
    let module = std::env::var_os("JWSD_TEST_KRYOPTIC")
        .map_or_else(|| target().join("kryoptic/libkryoptic_pkcs11.so"), PathBuf::from);
    if !module.exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {}", module.display());
        println!("SKIPPED: {} is missing: run scripts/test, which builds it", module.display());
        return;
    }
    let keys = keys(&[&ALGORITHMS[..], &ML_DSA].concat());
    verified_by_all(&site(&keys, |names| Site::with_kryoptic(names, &module)), &keys);
}

/// All that KMS has except ML-DSA, which the emulator lacks.
#[test]
fn every_algorithm_of_the_kms_emulator() {
    let Some(emulator) = Emulator::start() else { return };
    let keys = keys(&ALGORITHMS);
    verified_by_all(&site(&keys, |names| Site::with_kms(names, REGION, &emulator.url())), &keys);
}

/// Inputs that KMS takes as they are, and such as are too long for that: of those it signs `mu` (EXTERNAL_MU).
#[test]
fn ml_dsa_of_kms_short_and_long() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fake = runtime.block_on(FakeKms::start(REGION));
    // A verifier that knows no ML-DSA yet has something to do too.
    let keys = keys(&[&["ES256"][..], &ML_DSA].concat());
    let site = site(&keys, |names| Site::with_kms(names, REGION, &fake.url()));
    let mut wants = Vec::new();
    for (key, algorithm) in &keys {
        let (short, mut long) = (good(key), good(key));
        long["claims"]["client_id"] = "long".repeat(1200).into();
        wants.extend([(short, *algorithm), (long, *algorithm)]);
    }
    fake.script().forms.clear();
    all_verified_by_all(&site, &wants);
    let forms = fake.script().forms.clone();
    // Each key signed a self-test besides.
    let expected = [("DIGEST", 2 + 1), ("EXTERNAL_MU", 3), ("RAW", 3 + 3)];
    assert_eq!(forms, expected.map(|(form, count)| (form.to_owned(), count)).into());
}

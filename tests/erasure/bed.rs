//! A daemon that signs for people, and what its operator asks of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jwsd::backend::pkcs11::{Backend, Settings as Pkcs11};
use jwsd::backend::{self, Ask, Health, KeyStore as _, Wanted};
use jwsd::jose::Algorithm;
use jwsd::state::{EpochRow, EpochStage};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::common::{Connection, Daemon, JWSD, PIN, Response, Site, good};
use crate::disk::Secret;

/// In every subject's name, and nowhere else.
pub const CANARY: &str = "canary-person";
/// What every profile of a [`Site`] has.
pub const ISSUER: &str = "https://issuer.test";
/// What an epoch's key signs, as the documentation of `[subjects]` has it.
const INPUT: &[u8] = b"jwsd epoch of subjects, not a JWT\n";

/// Where epochs' keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    File,
    Backend,
}

pub fn name(number: usize) -> String {
    format!("{CANARY}-{number}")
}

/// A site whose log is sealed.
pub fn site(form: Form) -> Site {
    let mut site = Site::new();
    site.extra =
        "[key.audit]\nbackend = \"hsm\"\nalgorithm = \"Ed25519\"\n[audit.checkpoint]\nkey = \"audit\"\n"
            .to_owned();
    if form == Form::Backend {
        site.extra += "[subjects]\nbackend = \"hsm\"\n";
    }
    site.write_config();
    let config = site.config_path().display().to_string();
    let made = site.jwsd(&["keys", "generate", "--config", &config, "audit"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    site
}

/// One JWT for each of these, in this order. Their `jti`s.
pub fn issue(daemon: &Daemon, names: &[String]) -> Vec<String> {
    let mut jtis = Vec::new();
    let mut connection = daemon.connect();
    for names in names.chunks(256) {
        let request = |name: &String| {
            let mut request = good("access");
            request["claims"]["sub"] = name.as_str().into();
            request
        };
        let requests: Vec<Value> = names.iter().map(request).collect();
        let answer = connection.post("/v1/sign/batch", &json!({ "requests": requests }).to_string()).unwrap();
        let answer = answer.json();
        let results = answer["results"].as_array().unwrap();
        jtis.extend(results.iter().map(|result| match result["jti"].as_str() {
            Some(jti) => jti.to_owned(),
            None => panic!("not signed: {result}"),
        }));
    }
    jtis
}

pub fn admin(daemon: &Daemon, path: &str, body: &Value) -> std::io::Result<Response> {
    Connection::open(&daemon.socket("admin.sock"))?.post(path, &body.to_string())
}

pub fn erase(daemon: &Daemon, name: &str) -> std::io::Result<Response> {
    admin(daemon, "/v1/subjects/erase", &json!({ "subject": name, "reason": "a test" }))
}

/// The key of somebody, if they have one.
pub fn search_key(daemon: &Daemon, name: &str) -> Option<Secret> {
    let answer = admin(daemon, "/v1/subjects/search", &json!({ "subject": name })).unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer = answer.json();
    answer["key"].as_str().map(|text| BASE64URL.decode(text).unwrap().try_into().unwrap())
}

/// The tag of whoever has this key in the record of this JWT, as the documentation has it.
pub fn tag(key: &Secret, jti: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, format!("sub\0\0{jti}").as_bytes());
    BASE64URL.encode(&tag.as_ref()[..16])
}

/// `jti` and subject's tag of every JWT's record.
pub fn issued(records: &[Value]) -> Vec<(String, String)> {
    let text = |record: &Value, member: &str| record[member].as_str().unwrap().to_owned();
    let issued = records.iter().filter(|record| record["event"] == "jwt.issued");
    issued.map(|record| (text(record, "jti"), text(record, "subject"))).collect()
}

/// Every file below these directories.
pub fn files(directories: &[&Path]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories: Vec<PathBuf> = directories.iter().map(|path| path.to_path_buf()).collect();
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// No subject's name is in the log, the state, the token or what operators are told.
pub fn assert_nameless(site: &Site, told: &str) {
    assert!(!told.contains(CANARY), "{told}");
    for file in files(&[&site.audit, &site.path("state"), &site.path("tokens")]) {
        let bytes = fs::read(&file).unwrap();
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{} holds a name", file.display());
    }
}

/// Both verifiers call the log sound.
pub fn assert_sound(site: &Site) {
    let verified = site.jwsd(&["audit", "verify", site.audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is not there", python.display());
        println!("SKIPPED the second verifier: bash -c '. scripts/lib.sh; ensure_venv'");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/audit_verify.py");
    let keys = site.jwsd(&["audit", "key", site.audit.to_str().unwrap()]);
    let key = String::from_utf8(keys.stdout).unwrap();
    let key = key.split_whitespace().find(|word| word.contains('+')).unwrap().to_owned();
    let second = Command::new(python).arg(script).arg(&site.audit).args(["--key", &key]).output().unwrap();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
}

/// All epochs that the state knows.
pub fn epochs(site: &Site) -> Vec<EpochRow> {
    let config = jwsd::config::load(&site.config_path()).unwrap();
    jwsd::daemon::open_store(&config).unwrap().epochs().unwrap()
}

pub fn current(site: &Site) -> EpochRow {
    epochs(site).into_iter().find(|row| row.stage == EpochStage::Current).unwrap()
}

/// The secret of an epoch as whoever has the file, or the token and its PIN, has it. `None` when it is gone.
pub fn epoch_secret(site: &Site, row: &EpochRow) -> Option<Secret> {
    if row.backend.is_none() {
        let text = fs::read_to_string(site.path("state").join(format!("epoch-{}.key", row.number))).ok()?;
        return Some(BASE64URL.decode(text).unwrap().try_into().unwrap());
    }
    in_token(site, async |backend| {
        let opened = backend.open(Wanted::Id(&row.id), Algorithm::Ed25519, None).await;
        let listed = backend.list().await.unwrap();
        assert_eq!(listed.iter().any(|key| key.id == backend::show_id(&row.id)), opened.is_ok());
        let ask = Ask::own(Instant::now() + Duration::from_secs(10));
        let signature = opened.ok()?.signer.sign(INPUT, ask).await.result.unwrap();
        Some(digest::digest(&digest::SHA256, signature.as_bytes()).as_ref().try_into().unwrap())
    })
}

/// How many keys of epochs the token shows.
pub fn epoch_keys(site: &Site) -> usize {
    in_token(site, async |backend| {
        let listed = backend.list().await.unwrap();
        listed.iter().filter(|key| key.label.contains("+epoch")).count()
    })
}

/// Does something in the site's token, with its PIN.
fn in_token<T>(site: &Site, work: impl AsyncFnOnce(&Backend) -> T) -> T {
    let config = jwsd::config::load(&site.config_path()).unwrap();
    let backend::Settings::Pkcs11(settings) = config.backends["hsm"].clone() else { panic!("a token") };
    let settings = Pkcs11 { program: JWSD.into(), ..settings };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let pin = Box::new(|| Ok(SecretString::from(PIN)));
        let (backend, started) = Backend::start(settings, pin, Health::of_backend("hsm", None)).await;
        started.unwrap();
        let done = work(&backend).await;
        backend.shutdown().await;
        done
    })
}

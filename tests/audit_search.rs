//! `jwsd audit search` and `export` on the log of a daemon that has signed and refused.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::{JWSD, Site};
use serde_json::Value;

fn audit(arguments: &[&str]) -> Output {
    Command::new(JWSD).arg("audit").args(arguments).output().unwrap()
}

fn records(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_was_signed_and_refused_is_found_and_exported() {
    let site = Site::new();
    let daemon = site.start();
    let jti = daemon.sign("access").json()["jti"].as_str().unwrap().to_owned();
    assert_eq!(daemon.sign("nonsense").status, 403);
    drop(daemon);
    let log = site.audit.to_str().unwrap();

    let found = records(&audit(&["search", log, "--jti", &jti]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["event"], "jwt.issued");
    let all = records(&audit(&["search", log]));
    let denied = records(&audit(&["search", log, "--event", "jwt.denied", "--outcome", "denied"]));
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(records(&audit(&["search", log, "--from", "1h"])).len(), all.len());
    let none = audit(&["search", log, "--until", "2026-01-01"]);
    assert_eq!((none.status.code(), none.stdout.len()), (Some(1), 0));
    let wrong = audit(&["search", log, "--from", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("how long ago"));

    let file = site.path("records.csv");
    let file = file.to_str().unwrap();
    let exported = audit(&["export", log, "--format", "csv", "--output", file]);
    assert!(exported.status.success());
    let mut reader = csv::Reader::from_path(file).unwrap();
    assert_eq!(reader.records().map(Result::unwrap).count(), all.len());
    // Nothing is overwritten.
    let again = audit(&["export", log, "--format", "csv", "--output", file]);
    assert_eq!(again.status.code(), Some(69));
    let events = records(&audit(&["export", log, "--format", "ocsf", "--event", "jwt.*"]));
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event["class_uid"] == 6003));

    // What does not verify is shown only to those who ask for it.
    for file in fs::read_dir(&site.audit).unwrap().map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("jwt.denied", "jwt.issued", 1)).unwrap();
    }
    let refused = audit(&["search", log]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("audit verify"));
    let none = site.path("none.csv");
    let refused = audit(&["export", log, "--format", "csv", "--output", none.to_str().unwrap()]);
    assert_eq!((refused.status.code(), none.exists()), (Some(1), false), "a refused export leaves no file");
    assert_eq!(records(&audit(&["search", log, "--unsound"])).len(), all.len() - 1);
}

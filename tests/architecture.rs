//! The layout and the floors that `src/lib.rs` draws, checked on the source text itself.
//!
//! Every guard is also shown a snippet that it must catch: a check that cannot fail is none.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "architecture/guards.rs"]
mod guards;
#[path = "architecture/lexer.rs"]
mod lexer;
#[path = "architecture/paths.rs"]
mod paths;

use guards::Source;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under `dir`, sorted by name.
fn sources(dir: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(dir), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no Rust files under {dir}");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        Source::new(name, &std::fs::read_to_string(&path).unwrap())
    };
    files.into_iter().map(read).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn assert_clean(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn check(dir: &str, guard: fn(&Source) -> Vec<String>) {
    assert_clean(sources(dir).iter().flat_map(guard).collect());
}

/// The guard finds exactly one fault in `bad` and none in `good`, under the same name.
fn catches(guard: fn(&Source) -> Vec<String>, name: &str, bad: &str, good: &str) {
    let faults = guard(&Source::new(name, bad));
    assert_eq!(faults.len(), 1, "in {name}, of `{bad}`: {faults:?}");
    assert_eq!(guard(&Source::new(name, good)), Vec::<String>::new(), "in {name}, of `{good}`");
}

#[test]
fn imports_go_down_only() {
    check("src", guards::floors);
}

#[test]
fn imports_up_or_sideways_are_caught() {
    let jose = "use crate::jose::Kid;";
    catches(guards::floors, "src/jwt/mod.rs", "use crate::issuer::issue;", jose);
    catches(
        guards::floors,
        "src/jwt/draft.rs",
        "use crate::audit::Log;",
        "use super::signed::X; use crate::jwt::Y;",
    );
    catches(
        guards::floors,
        "src/jwt/draft.rs",
        "use super::super::api;",
        "use crate::{jose, policy::Grant};",
    );
    catches(
        guards::floors,
        "src/policy/mod.rs",
        "fn f() -> crate::keyring::Key { g() }",
        "fn f() -> crate::caller::Caller { g() }",
    );
    catches(
        guards::floors,
        "src/clock/mod.rs",
        "use crate::{clock::Clock, sys};",
        "// use crate::sys;\nconst A: &str = \"crate::sys::x\";",
    );
    catches(
        guards::floors,
        "src/state/mod.rs",
        "mod tests { use super::*; use crate::keyring; }",
        "mod tests { use super::*; }",
    );
    catches(guards::floors, "src/state/db.rs", "use crate::*;", jose);
    catches(guards::floors, "src/state/db.rs", "use crate as all;", jose);
    catches(guards::floors, "src/state/db.rs", "use crate::helpers::x;", jose);
    catches(
        guards::floors,
        "src/daemon.rs",
        "use crate::cli::Command;",
        "use crate::api; use crate::config::Config;",
    );
    catches(guards::floors, "src/daemon.rs", "fn f() { jwsd::cli::run() }", "fn f() { jwsd::api::run() }");
    assert_eq!(guards::floors(&Source::new("src/newcomer/mod.rs", "")).len(), 1);
}

#[test]
fn pure_modules_are_pure() {
    check("src", guards::purity);
}

#[test]
fn impurity_is_caught() {
    let good = "use std::time::{Duration, Instant}; use std::io::Read; fn f(now: Timestamp) {}";
    for (name, bad) in [
        ("src/policy/rule.rs", "use tokio::sync::watch;"),
        ("src/profile.rs", "use std::{fmt, fs::File};"),
        ("src/jwt/draft.rs", "fn f() { jiff::Timestamp::now() }"),
        ("src/jose/mod.rs", "use std::net;"),
        ("src/caller.rs", "fn f() { std::env::var(\"x\") }"),
        ("src/caller.rs", "fn f() { let t = std::time::SystemTime::now(); }"),
        ("src/keyring/machine.rs", "fn f() { Instant::now() }"),
        ("src/jwt/mod.rs", "use rusqlite::Connection;"),
        ("src/jwt/mod.rs", "fn f(r: hyper::Request<()>) {}"),
    ] {
        catches(guards::purity, name, bad, good);
    }
    let elsewhere = Source::new("src/keyring/mod.rs", "use tokio::time::Instant;");
    assert_eq!(guards::purity(&elsewhere), Vec::<String>::new());
}

#[test]
fn keys_are_used_in_few_places() {
    check("src", guards::signing);
}

#[test]
fn a_stray_signature_is_caught() {
    catches(
        guards::signing,
        "src/api/sign.rs",
        "key.signer\n.sign(input, deadline)",
        "let sign = 1; // x.sign(",
    );
    catches(
        guards::signing,
        "src/admin.rs",
        "SigningKey::sign(&key, input)",
        "sign::sign(request); key.signer()",
    );
    let call = "key.sign(input)";
    for allowed in [
        "src/issuer.rs",
        "src/keyring/selftest.rs",
        "src/audit/seal.rs",
        "src/backend/guard.rs",
        "src/jwt/tests.rs",
    ] {
        assert_eq!(guards::signing(&Source::new(allowed, call)), Vec::<String>::new());
    }
}

#[test]
fn unsafe_stays_in_one_file() {
    check("src", guards::no_unsafe);
    catches(guards::no_unsafe, "src/sys/mod.rs", "unsafe { x() }", "#![deny(unsafe_code)] // unsafe");
}

#[test]
fn nothing_is_half_done() {
    check("src", guards::finished);
    catches(guards::finished, "src/a.rs", "fn f() { todo!() }", "// todo!()\nlet todo = \"todo!\";");
    catches(guards::finished, "src/a.rs", "unimplemented!()", "");
    catches(guards::finished, "src/a.rs", "dbg!(x)", "");
}

#[test]
fn names_tell() {
    check("src", guards::telling_names);
    catches(guards::telling_names, "src/a.rs", "mod utils;", "mod segment; use x::types;");
    assert_eq!(guards::telling_names(&Source::new("src/jwt/helpers.rs", "")).len(), 1);
    assert_eq!(guards::telling_names(&Source::new("src/common/mod.rs", "")).len(), 1);
}

#[test]
fn every_file_opens_with_its_purpose() {
    check("src", guards::opens_with_docs);
    check("tests", guards::opens_with_docs);
    catches(guards::opens_with_docs, "src/a.rs", "use std::io;\n//! late", "//! For x.\n");
}

#[test]
fn files_are_short() {
    check("src", guards::short);
    check("tests", guards::short);
    catches(guards::short, "src/a.rs", &"x\n".repeat(501), &"x\n".repeat(500));
}

#[test]
fn the_top_level_is_bare() {
    let entry = |e: std::io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
    let entries: Vec<String> = std::fs::read_dir(root()).unwrap().map(entry).collect();
    assert_clean(guards::top_level(&entries));
    let stray = ["src", ".git", "benches", "target"].map(String::from);
    assert_eq!(guards::top_level(&stray).len(), 1);
}

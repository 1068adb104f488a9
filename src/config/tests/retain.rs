//! `[audit.retain]` and `retain` of profiles: what they come to, and every fault at once.

use super::{GOOD, LOADER};
use std::time::Duration;

const KEY: &str =
    "\n[key.audit]\nbackend = \"hsm\"\nalgorithm = \"Ed25519\"\n[audit.checkpoint]\nkey = \"audit\"\n";
const DAY: Duration = Duration::from_secs(86_400);

/// With this in `[profile.access-token]`, and this at the end.
fn with(profile: &str, text: &str) -> String {
    let good = GOOD.replacen("[profile.access-token]\n", &format!("[profile.access-token]\n{profile}"), 1);
    assert!(profile.is_empty() || good != GOOD);
    format!("{good}{KEY}{text}")
}

#[test]
fn terms_are_those_of_the_profile_or_the_default() {
    assert!(LOADER.parse(&with("", ""), "x").unwrap().audit.retain.is_none());
    let terms =
        LOADER.parse(&with("", "[audit.retain]\ndefault = \"400d\"\n"), "x").unwrap().audit.retain.unwrap();
    assert_eq!((terms.default, terms.profiles.len(), terms.archive), (DAY * 400, 0, None));
    let text = with("retain = \"3650d\"\n", "[audit.retain]\ndefault = \"1d\"\narchive = \"/var/lib//a/\"\n");
    let terms = LOADER.parse(&text, "x").unwrap().audit.retain.unwrap();
    assert_eq!((terms.default, terms.profiles["access-token"]), (DAY, DAY * 3650));
    assert_eq!(terms.archive.as_deref(), Some(std::path::Path::new("/var/lib/a")));
}

#[test]
fn each_fault_is_told() {
    let retain = |rest: &str| with("", &format!("[audit.retain]\n{rest}"));
    let archive = |path: &str| retain(&format!("default = \"9d\"\narchive = {path:?}\n"));
    let term = |text: &str| with(&format!("retain = {text:?}\n"), "[audit.retain]\ndefault = \"9d\"\n");
    let unsealed = format!("{GOOD}\n[audit.retain]\ndefault = \"9d\"\n");
    for (text, path, what) in [
        (retain(""), "audit.retain.default", "missing"),
        (retain("default = \"23h\"\n"), "audit.retain.default", "write 1d to 3650d"),
        (retain("default = \"3651d\"\n"), "audit.retain.default", "write 1d to 3650d"),
        (retain("default = \"1d 100ms\"\n"), "audit.retain.default", "whole seconds"),
        (retain("default = \"9\"\n"), "audit.retain.default", "not a duration"),
        (retain("default = \"9d\"\nkeep = 1\n"), "audit.retain.keep", "the keys here are"),
        (archive("archive"), "audit.retain.archive", "absolute"),
        (archive("/var/log/jwsd"), "audit.retain.archive", "its own directory"),
        (archive("/var/log/jwsd/old"), "audit.retain.archive", "its own directory"),
        (archive("/var/log"), "audit.retain.archive", "its own directory"),
        (term("1h"), "profile.access-token.retain", "write 1d to 3650d"),
        (term("11y"), "profile.access-token.retain", "not a duration"),
        (with("retain = \"30d\"\n", ""), "profile.access-token.retain", "add [audit.retain]"),
        (unsealed, "audit.retain", "add [audit.checkpoint]"),
    ] {
        let faults = LOADER.parse(&text, "x").map(drop).expect_err(&text).faults;
        let told = faults.iter().any(|fault| fault.path == path && fault.message.contains(what));
        assert!(told, "{text}: {faults:#?}");
    }
}

#[test]
fn only_a_restart_changes_how_long_it_is_kept() {
    let terms = "[audit.retain]\ndefault = \"400d\"\n";
    let running = LOADER.parse(&with("", terms), "x").unwrap().written;
    let loader = super::super::Loader { running: Some(&running), ..LOADER };
    let paths = |text: &str| match loader.parse(text, "x") {
        Ok(_) => Vec::new(),
        Err(faults) => faults.faults.iter().map(|fault| fault.path.clone()).collect::<Vec<_>>(),
    };
    assert!(paths(&with("", terms)).is_empty());
    assert!(paths(&with("max_age = \"1h\"\n", terms)).is_empty(), "the rest of a profile can be reloaded");
    assert_eq!(paths(&with("retain = \"30d\"\n", terms)), ["profile.access-token.retain"]);
    assert_eq!(paths(&with("", "[audit.retain]\ndefault = \"300d\"\n")), ["audit.retain.default"]);
    assert_eq!(paths(&with("", "")), ["audit.retain"]);
}

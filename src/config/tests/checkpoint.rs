//! `[audit.checkpoint]` and `[[audit.witness]]`: what they come to, and every fault at once.

use super::{GOOD, LOADER};
use crate::audit::Witness;
use std::time::Duration;

/// Of a witness, of the bytes 0 to 31 as its public key.
const VKEY: &str = "witness.example/w+5154e33f+BAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const KEY: &str = "\n[key.audit]\nbackend = \"hsm\"\nalgorithm = \"Ed25519\"\n";

fn with(text: &str) -> String {
    format!("{GOOD}{KEY}{text}")
}

#[test]
fn a_log_is_sealed_as_it_is_written() {
    let config = LOADER.parse(&with("[audit.checkpoint]\nkey = \"audit\"\n"), "x").unwrap();
    let checkpoint = config.audit.checkpoint.unwrap();
    assert_eq!((checkpoint.key.as_str(), checkpoint.origin), ("audit", None));
    assert_eq!((checkpoint.every, checkpoint.records), (Duration::from_secs(60), 10_000));
    assert!(checkpoint.witnesses.is_empty());
    let shown = |key: &str| config.keys[key].published;
    assert!(shown("access") && !shown("audit"), "verifiers of JWTs are not shown it");

    let text = with(
        "[audit.checkpoint]\nkey = \"audit\"\norigin = \"jwsd/production/a\"\nevery = \"5s\"\nrecords = 500\n\
         [[audit.witness]]\nfile = \"/var/lib/other//seen\"\n[[audit.witness]]\nsyslog = true\n",
    );
    let checkpoint = LOADER.parse(&text, "x").unwrap().audit.checkpoint.unwrap();
    assert_eq!(checkpoint.origin.as_deref(), Some("jwsd/production/a"));
    assert_eq!((checkpoint.every, checkpoint.records), (Duration::from_secs(5), 500));
    let witnesses = [Witness::File("/var/lib/other/seen".into()), Witness::Syslog("/dev/log".into())];
    assert_eq!(checkpoint.witnesses, witnesses);
    let text = format!(
        "{text}[[audit.witness]]\nurl = \"https://witness.example/a/\"\nvkey = {VKEY:?}\nca = \"/etc/ca.pem\"\n\
         [[audit.witness]]\nurl = \"http://127.0.0.1:80\"\nvkey = {:?}\n",
        VKEY.replace("example/w+5154e33f", "example/v+c79968d1")
    );
    let witnesses = LOADER.parse(&text, "x").unwrap().audit.checkpoint.unwrap().witnesses;
    let [.., Witness::Http(first), Witness::Http(second)] = &witnesses[..] else { panic!("{witnesses:?}") };
    assert_eq!(
        (first.url.to_string().as_str(), first.key.name()),
        ("https://witness.example/a/", "witness.example/w")
    );
    assert_eq!((first.ca.as_deref(), second.ca.as_deref()), (Some("/etc/ca.pem".as_ref()), None));
    // What `jwsd check` prints reads back to the same.
    let described = LOADER.describe(&text, "x").unwrap();
    assert_eq!(LOADER.describe(&described, "x").unwrap(), described);

    let second = "[key.audit-pq]\nbackend = \"hsm\"\nalgorithm = \"ML-DSA-44\"\n";
    let config = LOADER
        .parse(&with(&format!("{second}[audit.checkpoint]\nkey = \"audit\"\ncosign = \"audit-pq\"\n")), "x")
        .unwrap();
    assert_eq!(config.audit.checkpoint.unwrap().cosign.as_deref(), Some("audit-pq"));
    assert!(!config.keys["audit-pq"].published, "nor the one that cosigns");

    assert!(LOADER.parse(GOOD, "x").unwrap().audit.checkpoint.is_none());
}

#[test]
fn each_fault_is_told() {
    let checkpoint = |rest: &str| format!("[audit.checkpoint]\nkey = \"audit\"\n{rest}");
    let witness = |rest: &str| checkpoint(&format!("[[audit.witness]]\n{rest}"));
    let remote = |url: &str, vkey: &str| witness(&format!("url = {url:?}\nvkey = {vkey:?}\n"));
    let long = format!("origin = {:?}\n", "x".repeat(129));
    for (text, path, what) in [
        ("[audit.checkpoint]\n".to_owned(), "audit.checkpoint.key", "missing"),
        ("[audit.checkpoint]\nkey = \"audi\"\n".to_owned(), "audit.checkpoint.key", "did you mean \"audit\""),
        ("[audit.checkpoint]\nkey = \"access\"\n".to_owned(), "audit.checkpoint.key", "signs JWTs with it"),
        (
            "[key.slow]\nbackend = \"hsm\"\nalgorithm = \"RS256\"\n[audit.checkpoint]\nkey = \"slow\"\n"
                .to_owned(),
            "audit.checkpoint.key",
            "Ed25519 or ES256",
        ),
        (checkpoint("cosign = \"audi\"\n"), "audit.checkpoint.cosign", "did you mean \"audit\""),
        (checkpoint("cosign = \"audit\"\n"), "audit.checkpoint.cosign", "ML-DSA-44"),
        (checkpoint("cosign = \"access\"\n"), "audit.checkpoint.cosign", "signs JWTs with it"),
        (checkpoint("every = \"2h\"\n"), "audit.checkpoint.every", "write 1s to 1h"),
        (checkpoint("every = \"100ms\"\n"), "audit.checkpoint.every", "write 1s to 1h"),
        (checkpoint("records = 99\n"), "audit.checkpoint.records", "write 100 to 1000000"),
        (checkpoint("records = 1000001\n"), "audit.checkpoint.records", "write 100 to 1000000"),
        (checkpoint("origin = \"a log\"\n"), "audit.checkpoint.origin", "without spaces"),
        (checkpoint("origin = \"a+b\"\n"), "audit.checkpoint.origin", "`+`"),
        (checkpoint("origin = \"\"\n"), "audit.checkpoint.origin", "1 to 128"),
        (checkpoint(&long), "audit.checkpoint.origin", "1 to 128"),
        (witness(""), "audit.witness[0]", "one of `file`, `syslog"),
        (witness("file = \"/a\"\nsyslog = true\n"), "audit.witness[0]", "one of `file`, `syslog"),
        (witness("file = \"a\"\n"), "audit.witness[0].file", "absolute"),
        (witness("file = \"/var/log/jwsd/seen\"\n"), "audit.witness[0].file", "removes it too"),
        (witness("http = \"x\"\n"), "audit.witness[0].http", "the keys here are file, syslog, url"),
        (witness("file = \"/a\"\nurl = \"https://a.example\"\n"), "audit.witness[0]", "one of `file`"),
        (witness("file = \"/a\"\nvkey = \"a\"\n"), "audit.witness[0].vkey", "remove it"),
        (witness("syslog = true\nca = \"/a\"\n"), "audit.witness[0].ca", "remove it"),
        (remote("http://a.example", VKEY), "audit.witness[0].url", "write https"),
        (remote("https://a.example?b", VKEY), "audit.witness[0].url", "write an address"),
        (remote("https://a.example", "a+b+c"), "audit.witness[0].vkey", "as its operator gives it"),
        (witness("url = \"https://a.example\"\n"), "audit.witness[0].vkey", "missing"),
        (remote("https://a.example", VKEY) + "ca = \"a\"\n", "audit.witness[0].ca", "absolute"),
        (
            remote("https://a.example", VKEY)
                + "[[audit.witness]]\nurl = \"https://b.example\"\nvkey = "
                + &format!("{VKEY:?}\n"),
            "audit.witness[1].vkey",
            "needs a name of its own",
        ),
        (
            witness("file = \"/a\"\n[[audit.witness]]\nfile = \"//a\"\n"),
            "audit.witness[1]",
            "stands here twice",
        ),
        ("[[audit.witness]]\nsyslog = true\n".to_owned(), "audit.witness", "add [audit.checkpoint]"),
    ] {
        let faults = LOADER.parse(&with(&text), "x").map(drop).expect_err(&text).faults;
        let told = faults.iter().any(|fault| fault.path == path && fault.message.contains(what));
        assert!(told, "{text}: {faults:#?}");
    }
}

#[test]
fn only_a_restart_changes_how_it_is_sealed() {
    let running = LOADER.parse(&with("[audit.checkpoint]\nkey = \"audit\"\n"), "x").unwrap().written;
    let loader = super::super::Loader { running: Some(&running), ..LOADER };
    let text = with("[audit.checkpoint]\nkey = \"audit\"\nevery = \"5s\"\n");
    let faults = loader.parse(&text, "x").map(drop).unwrap_err().faults;
    assert_eq!(
        faults.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(),
        ["audit.checkpoint.every"]
    );
    let text = with(&format!(
        "[audit.checkpoint]\nkey = \"audit\"\n[[audit.witness]]\nurl = \"https://a.example\"\nvkey = {VKEY:?}\n"
    ));
    let faults = loader.parse(&text, "x").map(drop).unwrap_err().faults;
    assert!(
        faults.iter().all(|fault| fault.path.starts_with("audit.witness")) && !faults.is_empty(),
        "{faults:?}"
    );
}

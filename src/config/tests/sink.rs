//! `[[audit.sink]]`: what they come to, and every fault at once.

use super::{GOOD, LOADER};
use crate::audit::sink::{Form, From, Kind, Secret};

fn sink(text: &str) -> String {
    format!("[[audit.sink]]\n{text}")
}

#[test]
fn sinks_are_what_is_written() {
    assert!(LOADER.parse(GOOD, "x").unwrap().sinks.is_empty());
    let text = format!(
        "{GOOD}{}{}{}{}{}",
        sink("syslog = \"/dev/log\"\n"),
        sink("syslog = \"tls://logs.example.com:6514\"\nca = \"/etc/jwsd//logs.pem\"\nname = \"siem\"\n"),
        sink("syslog = \"tcp://[::1]:601\"\nname = \"relay\"\nformat = \"ocsf\"\nfrom = \"start\"\n"),
        sink("journald = true\nevents = [\"jwt.*\", \"key.revoked\"]\nbehind = 5000\n"),
        sink(
            "otlp = \"https://collector:4318/v1/logs\"\n\
             headers = { Authorization = { credential = \"otlp\" }, api-key = { file = \"/etc/jwsd/key\" } }\n"
        ),
    );
    let sinks = LOADER.parse(&text, "x").unwrap().sinks;
    let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(names, ["syslog", "siem", "relay", "journald", "otlp"]);
    assert_eq!(sinks[0].kind, Kind::SyslogUnix("/dev/log".into()));
    assert_eq!((sinks[0].form, sinks[0].from, sinks[0].behind), (Form::Json, From::End, 1_000_000));
    let ca = Some("/etc/jwsd/logs.pem".into());
    assert_eq!(sinks[1].kind, Kind::SyslogTls { host: "logs.example.com".to_owned(), port: 6514, ca });
    assert_eq!(sinks[2].kind, Kind::SyslogTcp { host: "::1".to_owned(), port: 601 });
    assert_eq!((sinks[2].form, sinks[2].from), (Form::Ocsf, From::Start));
    assert_eq!(sinks[3].kind, Kind::Journald("/run/systemd/journal/socket".into()));
    assert_eq!((sinks[3].events.len(), sinks[3].behind), (2, 5000));
    let Kind::Otlp { url, ca: None, headers } = &sinks[4].kind else { panic!("{:?}", sinks[4]) };
    assert_eq!(url.to_string(), "https://collector:4318/v1/logs");
    let headers: Vec<_> = headers.iter().map(|(name, secret)| (name.as_str(), secret.clone())).collect();
    let expected = [
        ("authorization", Secret::Credential("otlp".to_owned())),
        ("api-key", Secret::File("/etc/jwsd/key".into())),
    ];
    assert_eq!(headers, expected);
    // What `jwsd check` prints reads back to the same.
    let described = LOADER.describe(&text, "x").unwrap();
    assert_eq!(LOADER.describe(&described, "x").unwrap(), described);
}

#[test]
fn each_fault_is_told() {
    let otlp = "otlp = \"https://a/v1/logs\"\n";
    let at = |key: &str| format!("audit.sink[0]{key}");
    for (text, path, what) in [
        (String::new(), "", "write one of"),
        ("journald = true\nsyslog = \"/dev/log\"\n".to_owned(), "", "write one of"),
        ("syslog = \"log\"\n".to_owned(), ".syslog", "absolute"),
        ("syslog = \"udp://a:514\"\n".to_owned(), ".syslog", "tls://HOST:PORT"),
        ("syslog = \"tls://a\"\n".to_owned(), ".syslog", "write HOST:PORT"),
        ("syslog = \"tls://a:0\"\n".to_owned(), ".syslog", "write HOST:PORT"),
        ("syslog = \"tls://a b:1\"\n".to_owned(), ".syslog", "write HOST:PORT"),
        ("syslog = \"tcp://logs.example.com:601\"\n".to_owned(), ".syslog", "write tls://"),
        ("syslog = \"tcp://10.0.0.1:601\"\n".to_owned(), ".syslog", "write tls://"),
        ("syslog = \"tcp://127.0.0.1:601\"\nca = \"/a\"\n".to_owned(), ".ca", "there is no TLS"),
        ("syslog = \"/dev/log\"\nca = \"/a\"\n".to_owned(), ".ca", "there is no TLS"),
        ("syslog = \"tls://a:1\"\nca = \"a\"\n".to_owned(), ".ca", "absolute"),
        ("syslog = \"/dev/log\"\nsocket = \"/a\"\n".to_owned(), ".socket", "journald"),
        ("journald = true\nsocket = \"a\"\n".to_owned(), ".socket", "absolute"),
        ("journald = true\n[audit.sink.headers]\na = { file = \"/a\" }\n".to_owned(), ".headers", "`otlp`"),
        ("otlp = \"http://collector:4318/v1/logs\"\n".to_owned(), ".otlp", "write https:"),
        ("otlp = \"ftp://a/v1/logs\"\n".to_owned(), ".otlp", "write an address"),
        ("otlp = \"collector\"\n".to_owned(), ".otlp", "write an address"),
        ("otlp = \"https://a\"\n".to_owned(), ".otlp", "/v1/logs"),
        ("otlp = \"https://u:p@a/v1/logs\"\n".to_owned(), ".otlp", "without a user"),
        ("otlp = \"https://a/v1/logs?token=s3cr3t\"\n".to_owned(), ".otlp", "belongs into `headers`"),
        ("otlp = \"https://a/v1/logs#s3cr3t\"\n".to_owned(), ".otlp", "belongs into `headers`"),
        ("otlp = \"http://127.0.0.1:1/v1/logs\"\nca = \"/a\"\n".to_owned(), ".ca", "there is no TLS"),
        (
            format!("{otlp}headers = {{ \"a b\" = {{ file = \"/a\" }} }}\n"),
            ".headers.\"a b\"",
            "no name of a header",
        ),
        (format!("{otlp}headers = {{ Host = {{ file = \"/a\" }} }}\n"), ".headers.Host", "set already"),
        (
            format!("{otlp}headers = {{ a = {{ file = \"/a\" }}, A = {{ file = \"/a\" }} }}\n"),
            ".headers.a",
            "twice",
        ),
        (format!("{otlp}headers = {{ a = {{ }} }}\n"), ".headers.a", "either `credential` or `file`"),
        (format!("{otlp}headers = {{ a = {{ file = \"a\" }} }}\n"), ".headers.a.file", "absolute"),
        (
            format!("{otlp}headers = {{ a = {{ credential = \".a\" }} }}\n"),
            ".headers.a.credential",
            "systemd",
        ),
        (format!("{otlp}headers = {{ a = \"secret\" }}\n"), ".headers.a", ""),
        (format!("{otlp}events = [\"jwt\"]\n"), ".events", "is no event"),
        (format!("{otlp}events = [\"*\"]\n"), ".events", "is no event"),
        (format!("{otlp}events = [\"jwt.isued\"]\n"), ".events", "did you mean \"jwt.issued\"?"),
        (format!("{otlp}events = [\"kye.*\"]\n"), ".events", "did you mean \"key.*\"?"),
        (format!("{otlp}events = [\"jwt.\"]\n"), ".events", "is no event"),
        (format!("{otlp}behind = 999\n"), ".behind", "write 1000 to 1000000000"),
        (format!("{otlp}format = \"cef\"\n"), ".format", "ocsf"),
        (format!("{otlp}from = \"now\"\n"), ".from", "start"),
        (format!("{otlp}name = \"A b\"\n"), ".name", ""),
        (format!("{otlp}url = \"x\"\n"), ".url", "the keys here are"),
    ] {
        let faults = LOADER.parse(&format!("{GOOD}{}", sink(&text)), "x").map(drop).expect_err(&text).faults;
        let told = faults.iter().any(|fault| fault.path == at(path) && fault.message.contains(what));
        assert!(told, "{text}: {faults:#?}");
        assert!(!faults.iter().any(|fault| fault.message.contains("s3cr3t")), "{text}: {faults:#?}");
    }
    // All at once.
    let text = format!("{GOOD}{}{}", sink("otlp = \"x\"\nbehind = 1\n"), sink("syslog = \"tcp://a:1\"\n"));
    let faults = LOADER.parse(&text, "x").map(drop).unwrap_err().faults;
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["audit.sink[0].otlp", "audit.sink[0].behind", "audit.sink[1].syslog"]);
    let twice = format!("{GOOD}{}", sink("journald = true\n").repeat(2));
    let faults = LOADER.parse(&twice, "x").map(drop).unwrap_err().faults;
    assert_eq!((faults.len(), faults[0].path.as_str()), (1, "audit.sink[1]"));
    assert!(faults[0].message.contains("write a `name` of its own"), "{faults:#?}");
}

#[test]
fn only_a_restart_changes_them() {
    let running = LOADER.parse(&format!("{GOOD}{}", sink("journald = true\n")), "x").unwrap().written;
    let loader = super::super::Loader { running: Some(&running), ..LOADER };
    let changed = format!("{GOOD}{}", sink("journald = true\nformat = \"ocsf\"\n"));
    let faults = loader.parse(&changed, "x").map(drop).unwrap_err().faults;
    assert_eq!((faults.len(), faults[0].path.as_str()), (1, "audit.sink"));
    assert!(faults[0].message.contains("restart the daemon"), "{faults:#?}");
}

//! Each form as its own specification has it, read by a parser that shares nothing with the writer.

use super::super::batch::Writer;
use super::super::otlp::judged;
use super::*;
use crate::audit::{Line, parse};
use regex::bytes::Regex;
use serde_json::{Value, json};

const DENIED: &str = r#""event":"jwt.denied","outcome":"denied","request":"r-1","actor":{"name":"billing","uid":1000,"gid":1001,"pid":4711,"exe":"/usr/bin/bill, \"ing\""},"profile":"access-token","rules":["claims.unknown","lifetime.max"],"aud":["a\nb","é"],"reason":"100 % ] \\ =1+1""#;

fn stored(members: &str) -> Vec<u8> {
    let covered = format!(r#"{{"seq":7,"time":"2026-11-24T08:00:00.123456Z",{members}"#);
    format!(r#"{covered},"crc":"{:08x}"}}"#, crc32fast::hash(covered.as_bytes())).into_bytes()
}

fn encoded(kind: Kind, form: Form, line: &Line<'_>) -> Vec<u8> {
    Writer::new(&Settings { form, ..settings("sink", kind) }).encode(line)
}

/// RFC 5424's grammar, section 6, as one expression: priority, time, host, application, process, kind, data, message.
fn syslog(message: &[u8]) -> Vec<String> {
    let name = r"[!-~]";
    let param = r#" [!-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*""#;
    let time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)";
    let grammar = format!(
        r#"(?s-u)^<(\d{{1,3}})>1 ({time}|-) ({name}{{1,255}}) ({name}{{1,48}}) ({name}{{1,128}}) ({name}{{1,32}}) (-|(?:\[[!-~&&[^=\]"]]{{1,32}}(?:{param})*\])+)(?: (.*))?$"#
    );
    let found = Regex::new(&grammar).unwrap().captures(message);
    let found =
        found.unwrap_or_else(|| panic!("no message of RFC 5424: {}", String::from_utf8_lossy(message)));
    (1..=8).map(|at| String::from_utf8(found.get(at).unwrap().as_bytes().to_vec()).unwrap()).collect()
}

#[test]
fn syslog_is_rfc_5424() {
    let line = stored(DENIED);
    let line = parse(&line).unwrap();
    let message = encoded(Kind::SyslogUnix("/dev/log".into()), Form::Json, &line);
    let parts = syslog(&message);
    assert_eq!(parts[0], "85", "authpriv, notice");
    assert_eq!((parts[1].as_str(), parts[3].as_str(), parts[5].as_str()), (line.time, "jwsd", "jwt.denied"));
    assert_eq!(parts[4], std::process::id().to_string());
    assert_eq!(parts[6], "[meta sequenceId=\"7\"]");
    assert_eq!(parts[7].as_bytes(), line.bytes, "the stored bytes");
    // On a stream its length in octets stands before it.
    let framed = encoded(Kind::SyslogTcp { host: String::new(), port: 1 }, Form::Json, &line);
    assert_eq!(framed, [format!("{} ", message.len()).as_bytes(), &message[..]].concat());
    for (event, outcome, priority) in
        [("jwt.issued", "success", 86), ("jwt.failed", "failed", 84), ("alert.raised", "failed", 82)]
    {
        let line = stored(&format!(r#""event":"{event}","outcome":"{outcome}""#));
        let parts = syslog(&encoded(Kind::SyslogUnix("/".into()), Form::Ocsf, &parse(&line).unwrap()));
        assert_eq!(parts[0], priority.to_string());
        let event: Value = serde_json::from_str(&parts[7]).unwrap();
        assert_eq!((&event["class_uid"], &event["metadata"]["sequence"]), (&json!(6003), &json!(7)));
    }
}

/// The journal's native protocol: fields in order.
fn journal(mut entry: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    while !entry.is_empty() {
        let at = entry.iter().position(|&byte| byte == b'=' || byte == b'\n').unwrap();
        let name = String::from_utf8(entry[..at].to_vec()).unwrap();
        let (value, rest) = if entry[at] == b'=' {
            let end = at + 1 + entry[at + 1..].iter().position(|&byte| byte == b'\n').unwrap();
            (&entry[at + 1..end], &entry[end + 1..])
        } else {
            let length = u64::from_le_bytes(entry[at + 1..at + 9].try_into().unwrap());
            let end = at + 9 + usize::try_from(length).unwrap();
            assert_eq!(entry[end], b'\n');
            (&entry[at + 9..end], &entry[end + 1..])
        };
        // What journald takes as the name of a field.
        assert!(name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_uppercase()), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        fields.push((name, value.to_vec()));
        entry = rest;
    }
    fields
}

#[test]
fn the_journal_gets_fields() {
    let line = stored(&DENIED.replace("billing", r"bil\nling"));
    let line = parse(&line).unwrap();
    let fields = journal(&encoded(Kind::Journald("/".into()), Form::Json, &line));
    let of = |name: &str| {
        let own = fields.iter().filter(|(field, _)| field == name);
        own.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("MESSAGE")[0].as_bytes(), line.bytes);
    for (name, values) in [
        ("PRIORITY", &["5"][..]),
        ("SYSLOG_IDENTIFIER", &["jwsd"]),
        ("JWSD_SEQ", &["7"]),
        ("JWSD_TIME", &[line.time]),
        ("JWSD_EVENT", &["jwt.denied"]),
        ("JWSD_OUTCOME", &["denied"]),
        ("JWSD_CALLER", &["bil\nling"]),
        ("JWSD_PROFILE", &["access-token"]),
        ("JWSD_REQUEST", &["r-1"]),
        ("JWSD_RULE", &["claims.unknown", "lifetime.max"]),
        ("JWSD_KID", &[]),
    ] {
        assert_eq!(of(name), values, "{name}");
    }
}

#[test]
fn otlp_has_one_record_each() {
    let line = stored(DENIED);
    let line = parse(&line).unwrap();
    let url = "https://localhost/v1/logs".parse().unwrap();
    let record = encoded(Kind::Otlp { url, ca: None, headers: Vec::new() }, Form::Json, &line);
    let record: Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["timeUnixNano"], "1795507200123456000");
    assert_eq!((&record["severityNumber"], &record["eventName"]), (&json!(13), &json!("jwt.denied")));
    assert_eq!(record["body"]["stringValue"].as_str().unwrap().as_bytes(), line.bytes);
    let attributes = record["attributes"].as_array().unwrap();
    let of = |key: &str| &attributes.iter().find(|attribute| attribute["key"] == key).unwrap()["value"];
    assert_eq!(of("jwsd.seq"), &json!({ "intValue": "7" }));
    assert_eq!(of("jwsd.caller"), &json!({ "stringValue": "billing" }));
    assert_eq!(of("jwsd.rules")["arrayValue"]["values"][1], json!({ "stringValue": "lifetime.max" }));
}

#[test]
fn answers_are_understood() {
    let far = "Tue, 24 Nov 2026 08:01:40 GMT";
    for (status, retry, body, expected) in [
        (200, None, "", "taken"),
        (200, None, "{}", "taken"),
        (200, None, r#"{"partialSuccess":{}}"#, "taken"),
        (200, None, r#"{"partialSuccess":{"errorMessage":"a warning"}}"#, "taken"),
        (
            200,
            None,
            r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"old"}}"#,
            "taken but 3: the collector refused them: old",
        ),
        (
            202,
            None,
            r#"{"partialSuccess":{"rejectedLogRecords":4}}"#,
            "taken but 4: the collector refused them",
        ),
        (400, None, r#"{"code":3,"message":"bad"}"#, "refused: the collector answers 400 Bad Request: bad"),
        (413, None, "", "refused: the collector answers 413 Payload Too Large"),
        (401, None, "", "later: the collector answers 401 Unauthorized"),
        (404, None, "<html>", "later: the collector answers 404 Not Found"),
        (307, None, "", "later: the collector answers 307 Temporary Redirect"),
        (429, Some("7"), "", "later, 7s: the collector answers 429 Too Many Requests"),
        (503, Some(far), "", "later, 100s: the collector answers 503 Service Unavailable"),
        (
            503,
            Some("Mon, 23 Nov 2026 08:01:40 GMT"),
            "",
            "later, 0ns: the collector answers 503 Service Unavailable",
        ),
        (503, Some("soon"), "", "later: the collector answers 503 Service Unavailable"),
    ] {
        let now = "2026-11-24T08:00:00Z".parse().unwrap();
        assert_eq!(judged(status, retry, (body, false), now), expected);
        // It may say what it was sent to log in.
        let without = judged(
            status,
            retry,
            (
                r#"{"message":"hunter2","partialSuccess":{"rejectedLogRecords":2,"errorMessage":"hunter2"}}"#,
                true,
            ),
            now,
        );
        assert!(!without.contains("hunter2"), "{without}");
    }
}

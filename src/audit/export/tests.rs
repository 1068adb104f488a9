//! What each form says of records, and that it says nothing else.

use super::*;
use crate::audit::parse;

/// Records as lines with their checksum.
fn line(members: &str) -> Vec<u8> {
    let covered = format!(r#"{{"seq":7,"time":"2026-11-24T08:00:00.123456Z",{members}"#);
    format!(r#"{covered},"crc":"{:08x}"}}"#, crc32fast::hash(covered.as_bytes())).into_bytes()
}

const DENIED: &str = r#""event":"jwt.denied","outcome":"denied","request":"r-1","actor":{"name":"billing","uid":1000,"gid":1001,"pid":4711,"exe":"/usr/bin/bill, \"ing\""},"profile":"access-token","rules":["claims.unknown","lifetime.max"],"policy":"d1","aud":["a","b"],"reason":"=1+1""#;

fn exported(format: Format, lines: &[&str]) -> String {
    let mut out = Vec::new();
    let mut export = Export::new(format, &mut out).unwrap();
    for members in lines {
        export.add(&parse(&line(members)).unwrap()).unwrap();
    }
    export.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_lines_are_the_stored_bytes() {
    assert_eq!(exported(Format::JsonLines, &[DENIED]).into_bytes(), [&line(DENIED)[..], b"\n"].concat());
}

#[test]
fn csv_quotes_and_defuses() {
    let text = exported(Format::Csv, &[DENIED, r#""event":"daemon.started","outcome":"success""#]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<std::collections::HashMap<String, String>> =
        reader.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    for (column, value) in [
        ("seq", "7"),
        ("actor.name", "billing"),
        ("actor.exe", r#"/usr/bin/bill, "ing""#),
        ("rules", "claims.unknown lifetime.max"),
        ("aud", "a b"),
        ("reason", "'=1+1"),
        ("kid", ""),
    ] {
        assert_eq!(rows[0][column], value, "{column}");
    }
    assert_eq!((rows[1]["event"].as_str(), rows[1]["actor.uid"].as_str()), ("daemon.started", ""));
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn ocsf_keeps_every_member() {
    let event: Value = serde_json::from_str(&exported(Format::Ocsf, &[DENIED])).unwrap();
    for (pointer, value) in [
        ("/class_uid", json!(6003)),
        ("/type_uid", json!(600_301)),
        ("/time", json!(1_795_507_200_123_i64)),
        ("/status_id", json!(2)),
        ("/status_code", json!("claims.unknown")),
        ("/severity", json!("Low")),
        ("/metadata/sequence", json!(7)),
        ("/metadata/correlation_uid", json!("r-1")),
        ("/actor/app_name", json!("billing")),
        ("/actor/user/uid", json!("1000")),
        ("/actor/process/pid", json!(4711)),
        ("/api/operation", json!("jwt.denied")),
        ("/resources/0/name", json!("access-token")),
        ("/unmapped/rules/1", json!("lifetime.max")),
        ("/unmapped/policy", json!("d1")),
    ] {
        assert_eq!(event.pointer(pointer), Some(&value), "{pointer}");
    }
    // The daemon's own acts have an actor too, which the class demands.
    let started = exported(Format::Ocsf, &[r#""event":"daemon.started","outcome":"success""#]);
    let event: Value = serde_json::from_str(&started).unwrap();
    assert_eq!(event["actor"], json!({ "app_name": "jwsd" }));
    assert_eq!((&event["activity_id"], &event["activity_name"]), (&json!(99), &json!("daemon.started")));
    assert_eq!(event.get("unmapped"), None);
}

//! What is shown, and of which rows.

use super::*;
use crate::admin::{NextStep, VersionReport};
use crate::cli::keys::print::WIDTH;

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn version() -> VersionReport {
    VersionReport {
        kid: "k".repeat(43),
        state: "active".into(),
        backend: "hsm".into(),
        id: "01".into(),
        created: at(NOW - 40 * 86_400),
        published: None,
        ready: None,
        wanted: false,
        activated: Some(at(NOW - 86_400)),
        stops: None,
        retired: None,
        ended: None,
        destroyed: None,
        reason: None,
        signatures: i64::MAX,
        last_exp: Some(at(NOW + 900)),
        exp_bound: None,
        proven_seconds_ago: None,
    }
}

#[test]
fn the_list_fits_into_its_width_and_shows_every_problem() {
    let long = |letter: &str| letter.repeat(300);
    let step = "activate".into();
    let row = Row {
        key: long("k"),
        state: "prepared".into(),
        kid: long("i"),
        algorithm: "ML-DSA-87".into(),
        backend: long("b"),
        label: long("\u{e4}"),
        id: format!("arn:aws:kms:eu-central-1:111122223333:key/{}", long("0")),
        kind: "unreadable".into(),
        attributes: ["CKA_NEVER_EXTRACTABLE"; 9].map(str::to_owned).into(),
        version: Some(version()),
        next: Some(NextStep { step, kid: None, at: at(NOW - 999 * 86_400) }),
        problems: vec!["one thing ".repeat(20), "another".into()],
        ..Row::default()
    };
    let lines = brief(&[row, Row::default()], at(NOW));
    assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
    assert!(lines[1].starts_with("kkkkkkkkkkkkkkk…  prepared  iiiiiiiiiii…  ML-DSA-87"), "{lines:#?}");
    assert!(lines[1].ends_with("40d  9223P   in 15m    activate 999d la…  2"), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("    ! ")).count(), 2, "{lines:#?}");
    assert!(lines.iter().filter(|line| line.contains("CKA_")).count() >= 2, "{lines:#?}");
    assert!(lines.last().unwrap().ends_with("none"), "{lines:#?}");
    for (signed, shown) in [
        (0, "0"),
        (9_999_999, "9999999"),
        (10_000_000, "10M"),
        (25_000_000_000, "25G"),
        (12_345_678_901, "12G"),
    ] {
        assert_eq!(count(signed), shown);
    }
}

#[test]
fn everything_is_shown_in_full() {
    let row = Row {
        key: "access".into(),
        kid: "k".repeat(43),
        name: "pkcs11:id=%01".into(),
        attributes: vec!["slot 1".into(), "CKA_SIGN".into()],
        version: Some(version()),
        ..Row::default()
    };
    let lines = full(&[row, Row { key: "other".into(), ..Row::default() }]);
    let kid = format!("kid         {}", "k".repeat(43));
    let first = ["key         access", &kid, "name        pkcs11:id=%01", "created     2026-12-06T08:00:00Z"];
    assert_eq!(lines[..4], first);
    for line in
        ["activated   2027-01-14T08:00:00Z", "last exp    2027-01-15T08:15:00Z", "            CKA_SIGN"]
    {
        assert!(lines.iter().any(|shown| shown == line), "{line}: {lines:#?}");
    }
    assert_eq!(lines[lines.len() - 4..], ["problems    none", "", "key         other", "problems    none"]);
}

#[test]
fn a_name_or_the_beginning_of_one_version_is_meant() {
    let row = |key: &str, kid: &str, id: &str| Row {
        key: key.into(),
        kid: kid.into(),
        id: id.into(),
        label: "x".into(),
        ..Row::default()
    };
    let all = [
        row("access", "abcd1111", "01aa"),
        row("access", "abcd2222", "01ab"),
        // A copy of the first in another backend.
        row("access", "abcd1111", "01aa"),
        row("service", "efgh3333", "arn:aws:kms:r:1:key/0123-4567"),
    ];
    let found = |name: &str| meant(all.to_vec(), name).map(|rows| rows.len()).ok();
    for (name, rows) in [
        ("access", Some(3)),
        ("service", Some(1)),
        ("abcd1111", Some(2)),
        ("abcd1", Some(2)),
        ("abcd", None),
        ("efg", None),
        ("efgh", Some(1)),
        ("01ab", Some(1)),
        ("0123", Some(1)),
        ("x", Some(4)),
        ("none", None),
    ] {
        assert_eq!(found(name), rows, "{name}");
    }
}

//! Records about a person, read for their page.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::audit::report::markup::moment;

/// One JWT.
pub(super) struct Issued<'a> {
    pub(super) seq: u64,
    pub(super) when: String,
    pub(super) jti: &'a str,
    pub(super) application: &'a str,
    pub(super) purpose: &'a str,
    pub(super) recipients: Vec<&'a str>,
    /// Seconds.
    pub(super) lasts: Option<i64>,
    pub(super) until: String,
    pub(super) is_valid: bool,
    /// It was not made after all.
    pub(super) failed: bool,
    pub(super) remarks: Vec<String>,
}

impl<'a> Issued<'a> {
    /// All of these records, as things are at `now`.
    pub(super) fn all(records: &'a [Value], now: Timestamp) -> Vec<Self> {
        let of = |event: &'static str| records.iter().filter(move |record| text(record, "event") == event);
        let failed: BTreeSet<&str> = of("jwt.failed").map(|record| text(record, "jti")).collect();
        of("jwt.issued").map(|record| Self::of(record, now, &failed)).collect()
    }

    fn of(record: &'a Value, now: Timestamp, failed: &BTreeSet<&str>) -> Self {
        let seconds = |member: &str| record.get(member).and_then(Value::as_i64);
        let (iat, exp) = (seconds("iat"), seconds("exp"));
        let until = exp.and_then(|exp| Timestamp::from_second(exp).ok());
        let failed = failed.contains(text(record, "jti"));
        Self {
            seq: seq(record),
            when: when(record),
            jti: text(record, "jti"),
            application: caller(record),
            purpose: text(record, "profile"),
            recipients: texts(record, "aud").collect(),
            lasts: iat.zip(exp).map(|(iat, exp)| exp.saturating_sub(iat)),
            until: until.map(|until| moment(&until.to_string())).unwrap_or_default(),
            is_valid: !failed && until.is_some_and(|until| now < until),
            failed,
            remarks: remarks(record),
        }
    }
}

fn remarks(record: &Value) -> Vec<String> {
    let has = |member: &str| record.get(member).is_some();
    let mut remarks = Vec::new();
    for (member, remark) in [
        ("session", "in a login session of yours"),
        ("consent", "on the ground of a consent of yours"),
        ("enc", "encrypted: only those it is meant for can read it"),
    ] {
        remarks.extend(has(member).then(|| remark.to_owned()));
    }
    for exception in texts(record, "exceptions") {
        let (what, claim) = exception.split_once(':').unwrap_or((exception, ""));
        remarks.push(format!("{claim} held what looks like {}, as is allowed there", what.replace('_', " ")));
    }
    remarks
}

/// A text of a record; nothing when it has none.
pub(super) fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'a>(record: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    record.get(member).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

pub(super) fn seq(record: &Value) -> u64 {
    record.get("seq").and_then(Value::as_u64).unwrap_or_default()
}

/// When it was written.
pub(super) fn when(record: &Value) -> String {
    moment(text(record, "time"))
}

/// The application that asked.
pub(super) fn caller(record: &Value) -> &str {
    match record.get("actor").map(|actor| text(actor, "name")) {
        None | Some("") => "unknown",
        Some(name) => name,
    }
}

/// The operator who asked.
pub(super) fn operator(record: &Value) -> String {
    let actor = record.get("actor");
    let uid = actor.and_then(|actor| actor.get("uid")).map(ToString::to_string).unwrap_or_default();
    match actor.map(|actor| text(actor, "unit")).unwrap_or_default() {
        "" => format!("number {uid}"),
        unit => format!("number {uid}, {unit}"),
    }
}

/// Seconds in words.
pub(super) fn duration(seconds: i64) -> String {
    let mut rest = seconds.max(0);
    let mut words = Vec::new();
    for (unit, length) in [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)] {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            words.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if words.is_empty() { "no time".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_words() {
        for (seconds, words) in [
            (0, "no time"),
            (-5, "no time"),
            (1, "1 second"),
            (300, "5 minutes"),
            (5400, "1 hour 30 minutes"),
            (90_061, "1 day 1 hour 1 minute 1 second"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn a_record_is_read_whatever_it_lacks() {
        let full = json!({
            "seq": 7, "time": "2026-11-24T08:00:00.123456Z", "event": "jwt.issued", "jti": "a", "profile": "access",
            "actor": { "name": "billing", "uid": 5, "unit": "b.service" }, "aud": ["x", "y"], "iat": 100, "exp": 400,
            "session": "t", "consent": "t", "enc": "A256GCM", "exceptions": ["national_id:sub"],
        });
        let failed = json!({ "event": "jwt.failed", "jti": "b" });
        let bare = json!({ "event": "jwt.issued", "jti": "b" });
        let records = [full.clone(), failed, bare];
        let now = Timestamp::from_second(399).unwrap();
        let [first, second] = &Issued::all(&records, now)[..] else { panic!("two") };
        assert_eq!((first.when.as_str(), first.application), ("2026-11-24 08:00:00", "billing"));
        assert_eq!((first.recipients.join(" "), first.lasts), ("x y".to_owned(), Some(300)));
        assert!(first.is_valid && !first.failed && first.until == "1970-01-01 00:06:40");
        assert_eq!(first.remarks.len(), 4);
        assert!(first.remarks[3].starts_with("sub held what looks like national id"));
        assert!(second.failed && !second.is_valid && second.application == "unknown");
        assert!(!Issued::all(&records, Timestamp::from_second(400).unwrap())[0].is_valid);
        assert_eq!(operator(&full), "number 5, b.service");
    }
}

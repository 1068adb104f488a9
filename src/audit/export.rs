//! Records in the forms that other programs read: as they are stored, CSV (RFC 4180), and the API Activity events of
//! the Open Cybersecurity Schema Framework. Pure but for the writer that it is given.
//!
//! Says nothing that the record does not say.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Line;

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The stored bytes, one record a line.
    JsonLines,
    /// RFC 4180, with a header. A cell that a spreadsheet would take for a formula has an apostrophe before it.
    Csv,
    /// One OCSF event a line, class 6003.
    Ocsf,
}

/// Version of the Open Cybersecurity Schema Framework.
const OCSF: &str = "1.4.0";

/// Columns of CSV: members of the record, those of the actor with their path.
const COLUMNS: [&str; 25] = [
    "seq",
    "time",
    "event",
    "outcome",
    "actor.name",
    "actor.uid",
    "actor.gid",
    "actor.pid",
    "actor.exe",
    "actor.unit",
    "profile",
    "rules",
    "kid",
    "alg",
    "jti",
    "aud",
    "iat",
    "exp",
    "request",
    "policy",
    "object",
    "reason",
    "attempts",
    "subject",
    "count",
];

/// Writes records in one form.
pub struct Export<W: Write> {
    form: Form<W>,
}

enum Form<W: Write> {
    JsonLines(W),
    Csv(Box<csv::Writer<W>>),
    Ocsf(W),
}

impl<W: Write> Export<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(format: Format, out: W) -> io::Result<Self> {
        let form = match format {
            Format::JsonLines => Form::JsonLines(out),
            Format::Ocsf => Form::Ocsf(out),
            Format::Csv => {
                let mut out = csv::Writer::from_writer(out);
                out.write_record(COLUMNS)?;
                Form::Csv(Box::new(out))
            }
        };
        Ok(Self { form })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Of the writer.
    pub fn add(&mut self, line: &Line<'_>) -> io::Result<()> {
        match &mut self.form {
            Form::JsonLines(out) => {
                out.write_all(line.bytes)?;
                out.write_all(b"\n")
            }
            Form::Csv(out) => {
                let record: Value = serde_json::from_slice(line.bytes)?;
                Ok(out.write_record(COLUMNS.iter().map(|column| cell(&record, column)))?)
            }
            Form::Ocsf(out) => {
                serde_json::to_writer(&mut *out, &ocsf(serde_json::from_slice(line.bytes)?))?;
                out.write_all(b"\n")
            }
        }
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    /// Of the writer.
    pub fn finish(self) -> io::Result<()> {
        match self.form {
            Form::JsonLines(mut out) | Form::Ocsf(mut out) => out.flush(),
            Form::Csv(mut out) => out.flush(),
        }
    }
}

fn cell(record: &Value, column: &str) -> String {
    let member = column.split('.').try_fold(record, |value, name| value.get(name));
    match member {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => harmless(text),
        Some(Value::Array(texts)) => {
            let texts: Vec<_> = texts.iter().map(|text| text.as_str().unwrap_or_default()).collect();
            harmless(&texts.join(" "))
        }
        Some(other) => other.to_string(),
    }
}

/// No spreadsheet takes it for a formula.
fn harmless(text: &str) -> String {
    let risky = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if risky { format!("'{text}") } else { text.to_owned() }
}

/// The record as an API Activity event; what has no place of its own there is under `unmapped`.
pub fn ocsf(mut record: Map<String, Value>) -> Value {
    let mut take = |name: &str| record.remove(name);
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (seq, event, outcome) = (take("seq"), text(take("event")), text(take("outcome")));
    let time = text(take("time"));
    let milliseconds = time.parse::<Timestamp>().map_or(0, Timestamp::as_millisecond);
    let request = take("request");
    let rules = take("rules");
    let actor = match take("actor") {
        Some(Value::Object(actor)) => actor_of(actor),
        _ => json!({ "app_name": "jwsd" }),
    };
    let mut resources = Vec::new();
    for (member, kind) in [("jti", "jwt"), ("kid", "key version"), ("object", "object")] {
        resources.extend(take(member).map(|uid| json!({ "type": kind, "uid": uid })));
    }
    resources.extend(take("profile").map(|name| json!({ "type": "profile", "name": name })));
    take("crc");
    let (activity, activity_name) = activity(&event);
    let (severity, severity_name) = severity(&event, &outcome);
    let done = outcome == "success";
    let mut mapped = json!({
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": 600_300 + activity,
        "severity_id": severity,
        "severity": severity_name,
        "status_id": if done { 1 } else { 2 },
        "status": if done { "Success" } else { "Failure" },
        "status_detail": outcome,
        "time": milliseconds,
        "metadata": {
            "version": OCSF,
            "product": { "name": "jwsd", "vendor_name": "jwsd", "version": env!("CARGO_PKG_VERSION") },
            "log_name": "audit",
            "event_code": event,
            "original_time": time,
            "sequence": seq,
        },
        "actor": actor,
        "api": { "operation": event, "service": { "name": "jwsd" } },
        "src_endpoint": { "name": "local process" },
    });
    let mut set = |pointer: &str, value: Value| {
        if let Some((parent, name)) = pointer.rsplit_once('/')
            && let Some(Value::Object(parent)) = mapped.pointer_mut(parent)
        {
            parent.insert(name.to_owned(), value);
        }
    };
    if let Some(request) = request {
        set("/metadata/correlation_uid", request.clone());
        set("/api/request", json!({ "uid": request }));
    }
    if let Some(rules) = rules {
        set("/status_code", rules.get(0).cloned().unwrap_or_default());
        record.insert("rules".to_owned(), rules);
    }
    if !resources.is_empty() {
        set("/resources", Value::Array(resources));
    }
    if !record.is_empty() {
        set("/unmapped", Value::Object(record));
    }
    mapped
}

fn actor_of(mut actor: Map<String, Value>) -> Value {
    let name = actor.remove("name").unwrap_or_else(|| json!("unknown"));
    let number = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    let user =
        json!({ "uid": number(actor.remove("uid")), "groups": [{ "uid": number(actor.remove("gid")) }] });
    let mut process = Map::new();
    process.extend(actor.remove("pid").map(|pid| ("pid".to_owned(), pid)));
    process.extend(actor.remove("exe").map(|path| {
        let name = path.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
        ("file".to_owned(), json!({ "name": name, "path": path, "type_id": 1 }))
    }));
    process.extend(actor.remove("unit").map(|unit| ("name".to_owned(), unit)));
    json!({ "app_name": name, "user": user, "process": process })
}

/// OCSF's number and name of what an event does.
fn activity(event: &str) -> (u32, &str) {
    match event {
        "jwt.issued" | "jwt.failed" | "jwt.denied" | "jwt.retried" | "jwt.undelivered" | "key.generated"
        | "key.adopted" => (1, "Create"),
        "policy.checked" => (2, "Read"),
        "key.removed" | "key.destroyed" => (4, "Delete"),
        _ if event.starts_with("key.") || event.starts_with("policy.") => (3, "Update"),
        _ => (99, event),
    }
}

/// OCSF's number and name of how grave it is.
pub(super) fn severity(event: &str, outcome: &str) -> (u32, &'static str) {
    match (event, outcome) {
        (
            "alert.raised"
            | "key.quarantined"
            | "backend.quarantined"
            | "key.revoked"
            | "log.resumed"
            | "sink.lost",
            _,
        ) => (4, "High"),
        (_, "failed") => (3, "Medium"),
        (_, "denied") => (2, "Low"),
        _ => (1, "Informational"),
    }
}

#[cfg(test)]
mod tests;

//! An `ExportLogsServiceRequest` in the JSON form of protocol buffers. Pure.

use crate::audit::sink::batch::{Message, Told};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What follows the records.
const TAIL: &[u8] = b"]}]}]}";

/// What precedes the records: where they come from.
pub(in crate::audit::sink) fn head(host: &str) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = json!({ "attributes": [
        attribute("service.name", "jwsd"),
        attribute("service.version", version),
        attribute("host.name", host),
    ] });
    let scope = json!({ "name": "jwsd.audit", "version": version });
    format!(r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"scope":{scope},"logRecords":["#)
        .into_bytes()
}

/// One `LogRecord`.
pub(in crate::audit::sink) fn record(told: &Told<'_>) -> Vec<u8> {
    let line = told.line;
    let (severity, name) = told.severity;
    let time = line.time.parse::<Timestamp>().map_or(0, Timestamp::as_nanosecond).to_string();
    let number = match severity {
        4.. => 19,
        3 => 17,
        2 => 13,
        _ => 9,
    };
    let mut attributes = vec![json!({ "key": "jwsd.seq", "value": { "intValue": line.seq.to_string() } })];
    attributes.push(attribute("jwsd.event", line.event));
    attributes.extend(told.said.texts().map(|(name, text)| attribute(&format!("jwsd.{name}"), text)));
    let rules: Vec<Value> = told.said.rules().map(|rule| json!({ "stringValue": rule })).collect();
    if !rules.is_empty() {
        attributes.push(json!({ "key": "jwsd.rules", "value": { "arrayValue": { "values": rules } } }));
    }
    let record = json!({
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": number,
        "severityText": name,
        "eventName": line.event,
        "body": { "stringValue": told.text },
        "attributes": attributes,
    });
    record.to_string().into_bytes()
}

/// All of a request.
pub(super) fn body(head: &[u8], messages: &[Message]) -> Vec<u8> {
    let bytes: usize = messages.iter().map(|message| message.bytes.len() + 1).sum();
    let mut body = Vec::with_capacity(head.len() + bytes + TAIL.len());
    body.extend_from_slice(head);
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&message.bytes);
    }
    body.extend_from_slice(TAIL);
    body
}

fn attribute(key: &str, text: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": text } })
}

//! A record as an entry of systemd's journal, in its native protocol. Pure.

use super::batch::Told;
use super::syslog::level;

/// Facility `authpriv`.
const FACILITY: &str = "10";

/// One entry; `MESSAGE` is all of the record, the other fields are what people look for.
pub(super) fn entry(told: &Told<'_>) -> Vec<u8> {
    let mut entry = Vec::with_capacity(told.text.len() + 512);
    let line = told.line;
    field(&mut entry, "MESSAGE", &told.text);
    field(&mut entry, "PRIORITY", &level(told.severity.0).to_string());
    field(&mut entry, "SYSLOG_IDENTIFIER", "jwsd");
    field(&mut entry, "SYSLOG_FACILITY", FACILITY);
    field(&mut entry, "JWSD_SEQ", &line.seq.to_string());
    field(&mut entry, "JWSD_TIME", line.time);
    field(&mut entry, "JWSD_EVENT", line.event);
    for (name, text) in told.said.texts() {
        field(&mut entry, &format!("JWSD_{}", name.to_ascii_uppercase()), text);
    }
    for rule in told.said.rules() {
        field(&mut entry, "JWSD_RULE", rule);
    }
    entry
}

fn field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        // The long form: its length stands before it.
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

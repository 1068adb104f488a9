//! A record as a message of syslog (RFC 5424), and the frame that it has on a stream (RFC 6587, RFC 5425). Pure.

use super::batch::Told;
use std::io::Write;

/// Facility `authpriv` (RFC 5424, section 6.2.1).
const FACILITY: u32 = 10;
/// Longest host name and longest name of a kind of message.
const HOST: usize = 255;
const KIND: usize = 32;
/// Greatest `sequenceId` (RFC 5424, section 7.3.1).
const SEQUENCE: u64 = 2_147_483_647;

/// What all messages have in common.
#[derive(Debug, Clone)]
pub(super) struct Header {
    host: String,
    pid: u32,
}

impl Header {
    pub(super) fn new(host: &str, pid: u32) -> Self {
        Self { host: name(host, HOST), pid }
    }

    /// One message. Its `MSG` has no byte order mark: receivers that want JSON would stumble over it.
    pub(super) fn message(&self, told: &Told<'_>) -> Vec<u8> {
        let (severity, line) = (level(told.severity.0), told.line);
        let priority = FACILITY * 8 + severity;
        let sequence = line.seq.saturating_sub(1) % SEQUENCE + 1;
        let (time, kind, Self { host, pid }) = (line.time, name(line.event, KIND), self);
        let head = format!("<{priority}>1 {time} {host} jwsd {pid} {kind} [meta sequenceId=\"{sequence}\"] ");
        [head.as_bytes(), told.text.as_bytes()].concat()
    }
}

/// Syslog's severity, which journald has too.
pub(super) fn level(severity: u32) -> u32 {
    match severity {
        4.. => 2,
        3 => 4,
        2 => 5,
        _ => 6,
    }
}

/// Printable ASCII without spaces, or the sign for nothing.
fn name(text: &str, most: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}

/// The message after its length.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 8);
    // Writing to a Vec cannot fail.
    let _ = write!(frame, "{} ", message.len());
    frame.extend_from_slice(message);
    frame
}

//! What a collector's answer means for the records of the request. Pure.

use crate::audit::sink::target::Failure;
use crate::clock::{Clock, SystemClock};
use crate::transport::Answer;
use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::Value;
use std::time::Duration;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has them, except for so many that it refuses for good.
    Taken(Option<(u64, String)>),
    /// It refuses the request for what is in it: fewer records at once may do.
    Refused(String),
    /// The same again, later.
    Later(Failure),
}

/// Its own words are left out where the request had secrets: they may repeat them, in whatever spelling.
pub(super) fn judge(answer: &Answer, has_secrets: bool) -> Verdict {
    judge_at(answer, has_secrets, SystemClock.now())
}

pub(super) fn judge_at(answer: &Answer, has_secrets: bool, now: Timestamp) -> Verdict {
    let status = answer.status;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if status.is_success() {
        let partial = body.get("partialSuccess").unwrap_or(&Value::Null);
        let rejected = match partial.get("rejectedLogRecords") {
            Some(Value::String(text)) => text.parse().unwrap_or(0),
            Some(number) => number.as_u64().unwrap_or(0),
            None => 0,
        };
        let said = partial.get("errorMessage").and_then(Value::as_str);
        let said = said.filter(|_| !has_secrets).unwrap_or_default();
        return Verdict::Taken((rejected > 0).then(|| (rejected, told("the collector refused them", said))));
    }
    let said = body.get("message").and_then(Value::as_str).filter(|_| !has_secrets).unwrap_or_default();
    let reason = told(&format!("the collector answers {status}"), said);
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Verdict::Refused(reason)
        }
        _ => {
            let header = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let after = header.and_then(|text| pause(text, now));
            Verdict::Later(Failure { after, ..Failure::new(reason) })
        }
    }
}

/// Seconds, or a date (RFC 9110, section 10.2.3).
fn pause(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(then.duration_since(now).try_into().unwrap_or_default())
}

/// With the first words of what it says itself, if it says anything.
fn told(what: &str, said: &str) -> String {
    let said: String = said.chars().filter(|c| !c.is_control()).take(120).collect();
    if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") }
}

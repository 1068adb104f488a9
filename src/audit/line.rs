//! The line: one record as stored bytes, written and read. Pure.
//!
//! What is written here must always be readable here, or recovery would take a good record for a torn one.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::io::{self, BufRead, Read, Write};

/// Longest line in bytes, LF included. Longer entries are refused when appended.
pub const MAX_LINE: usize = 48 * 1024;
/// Bytes of a line beyond its body: `seq`, `time` and `crc` with their longest values, and the LF.
pub(super) const OVERHEAD: usize = 96;
/// Length of `,"crc":"xxxxxxxx"}`.
const CRC_MEMBER: usize = 18;
/// Length of `2026-11-24T08:00:00.123456Z`.
const TIME: usize = 27;

/// Appends one line to `out`. `body` is the entry's members without the braces.
pub(super) fn encode(out: &mut Vec<u8>, seq: u64, time: &str, body: &[u8]) {
    let start = out.len();
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{{\"seq\":{seq},\"time\":\"{time}\",");
    out.extend_from_slice(body);
    let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
    let _ = writeln!(out, ",\"crc\":\"{crc:08x}\"}}");
}

/// A moment as lines show it.
pub(super) fn time_text(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// A record that is whole: its structure and its CRC hold.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// Sequence number, from 1.
    pub seq: u64,
    /// When the writer took it, RFC 3339, UTC, microseconds.
    pub time: &'a str,
    /// Such as `jwt.issued`.
    pub event: &'a str,
    /// The whole line without its LF.
    pub bytes: &'a [u8],
    /// `log.resumed`: last acknowledged record before the fault.
    pub after: Option<u64>,
    /// `log.resumed`: numbers after `after` whose durability is unknown.
    pub unknown: Option<u64>,
    /// `log.resumed`, `log.recovered`: the segment it speaks of.
    pub segment: Option<Cow<'a, str>>,
}

/// Why a line is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Longer than [`MAX_LINE`].
    #[error("line is longer than {MAX_LINE} bytes")]
    Long,
    /// No LF at the end.
    #[error("line has no end")]
    Torn,
    /// `seq`, `time`, `event` first and `crc` last, written as the writer does.
    #[error("line does not begin with seq, time and event, or does not end with crc")]
    Order,
    /// The checksum is of other bytes.
    #[error("crc does not match: the line was changed or damaged")]
    Crc,
    /// Not one JSON object with these members once each.
    #[error("line is not a JSON object with the members of a record, each once")]
    Json,
    /// Not a UTC time with microseconds.
    #[error("time is not of the form 2026-11-24T08:00:00.123456Z")]
    Time,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "named so that serde refuses them twice or missing")]
struct Members<'a> {
    seq: u64,
    time: &'a str,
    event: &'a str,
    outcome: &'a str,
    crc: IgnoredAny,
    #[serde(borrow)]
    segment: Option<Cow<'a, str>>,
    after: Option<u64>,
    unknown: Option<u64>,
}

/// Whether a line begins as a record of this event does. Cheap, and no more than a hint: whether it is a record, [`parse`]
/// says.
pub(super) fn may_be(bytes: &[u8], event: &str) -> bool {
    let Some(rest) = bytes.strip_prefix(b"{\"seq\":") else {
        return false;
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let named = rest.get(digits + 9 + TIME..).and_then(|rest| rest.strip_prefix(b"\",\"event\":\""));
    named.and_then(|rest| rest.strip_prefix(event.as_bytes())).is_some_and(|rest| rest.starts_with(b"\""))
}

/// Reads one line (without its LF).
///
/// # Errors
/// [`BadLine`] says what is wrong; the CRC is checked before the JSON is read.
pub fn parse(bytes: &[u8]) -> Result<Line<'_>, BadLine> {
    if bytes.len() >= MAX_LINE {
        return Err(BadLine::Long);
    }
    let (covered, tail) = bytes
        .len()
        .checked_sub(CRC_MEMBER)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(BadLine::Order)?;
    let crc = tail.strip_prefix(b",\"crc\":\"").and_then(|t| t.strip_suffix(b"\"}")).ok_or(BadLine::Order)?;
    if parse_crc(crc) != Some(crc32fast::hash(covered)) {
        return Err(BadLine::Crc);
    }
    let rest = covered.strip_prefix(b"{\"seq\":").ok_or(BadLine::Order)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    rest.get(digits..)
        .and_then(|r| r.strip_prefix(b",\"time\":\""))
        .and_then(|r| r.get(TIME..))
        .filter(|r| r.starts_with(b"\",\"event\":\""))
        .ok_or(BadLine::Order)?;
    let text = std::str::from_utf8(bytes).map_err(|_| BadLine::Json)?;
    let members: Members = serde_json::from_str(text).map_err(|_| BadLine::Json)?;
    if !is_time(members.time) {
        return Err(BadLine::Time);
    }
    Ok(Line {
        seq: members.seq,
        time: members.time,
        event: members.event,
        bytes,
        after: members.after,
        unknown: members.unknown,
        segment: members.segment,
    })
}

/// Eight lower-case hex digits.
fn parse_crc(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |crc: u32, digit| match digit {
        b'0'..=b'9' => Some(crc << 4 | u32::from(digit - b'0')),
        b'a'..=b'f' => Some(crc << 4 | u32::from(digit - b'a' + 10)),
        _ => None,
    })
}

/// One form only: the library also reads others, and seconds that a minute does not have.
fn is_time(text: &str) -> bool {
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    text.len() == TIME
        && text.bytes().zip(b"0000-00-00T00:00:00.000000Z").all(fits)
        && !text.contains(":60.")
        && text.parse::<Timestamp>().is_ok()
}

/// Reads lines in bounded memory, whatever the file holds.
pub(super) struct Lines<R> {
    pub(super) reader: R,
    buffer: Vec<u8>,
    /// Where the next line begins.
    pub(super) offset: u64,
    pub(super) number: u64,
}

/// One line as found.
pub(super) struct Raw<'a> {
    /// Line number in its file, from 1.
    pub(super) number: u64,
    pub(super) offset: u64,
    /// Bytes it takes in the file, LF included.
    pub(super) length: u64,
    /// Without the LF; cut short when too long.
    pub(super) bytes: &'a [u8],
    fault: Option<BadLine>,
}

impl<'a> Raw<'a> {
    /// The record it holds.
    pub(super) fn record(&self) -> Result<Line<'a>, BadLine> {
        self.fault.map_or_else(|| parse(self.bytes), Err)
    }
    pub(super) fn is_torn(&self) -> bool {
        self.fault == Some(BadLine::Torn)
    }
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), offset: 0, number: 0 }
    }

    /// The next line, or `None` at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Option<Raw<'_>>> {
        self.buffer.clear();
        let limit = MAX_LINE as u64;
        let mut length = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer)? as u64;
        if length == 0 {
            return Ok(None);
        }
        let mut fault = None;
        if self.buffer.last() != Some(&b'\n') {
            fault = Some(BadLine::Torn);
            if length == limit {
                fault = Some(BadLine::Long);
                length += self.skip_line()?;
            }
        }
        let offset = self.offset;
        self.offset += length;
        self.number += 1;
        Ok(Some(Raw {
            number: self.number,
            offset,
            length,
            bytes: self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer),
            fault,
        }))
    }

    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        let mut rest = Vec::new();
        loop {
            rest.clear();
            let n = self.reader.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut rest)?;
            skipped += n as u64;
            if n == 0 || rest.last() == Some(&b'\n') {
                return Ok(skipped);
            }
        }
    }
}

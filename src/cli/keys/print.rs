//! Lines for people and JSON for programs.

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::{BUG, Failure, line, wrap};

/// Columns of a terminal that everything fits into.
pub(super) const WIDTH: usize = 120;

pub(in crate::cli) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string_pretty(value).map_err(|error| Failure::new(BUG, error))?)
}

/// Labels are whatever somebody wrote into the token, reasons whatever somebody typed: nothing in them steers the
/// terminal.
pub(in crate::cli) fn lines(lines: &[String]) -> Result<(), Failure> {
    let printable = |text: &String| text.replace(char::is_control, "\u{fffd}");
    lines.iter().map(printable).try_for_each(line)
}

/// A text in lines that are moved in by `indent`, the first of them after `mark`.
pub(super) fn indented(indent: usize, mark: &str, text: &str) -> Vec<String> {
    let lines = wrap(text, WIDTH - indent - mark.len()).into_iter().enumerate();
    let mark = |at| if at == 0 { mark.to_owned() } else { " ".repeat(mark.len()) };
    lines.map(|(at, line)| format!("{:indent$}{}{line}", "", mark(at))).collect()
}

pub(super) fn short(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// How long it is from one moment to another, in one unit: `45s`, `12m`, `30h`, `12d`.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds / 60),
        6_000..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// When something is due, as people say it.
pub(super) fn due(at: Timestamp, now: Timestamp) -> String {
    match at.as_second() - now.as_second() {
        0.. if at == Timestamp::MAX => "never".to_owned(),
        wait @ 1.. => format!("in {}", span(wait)),
        late if late > -60 => "now".to_owned(),
        late => format!("{} late", span(late)),
    }
}

//! What the command line says and how it ends: exit codes of sysexits(3), output that survives a closed pipe.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{FaultKind, Faults};
use crate::telemetry::Chain;

/// The question was understood and the answer is no (a JWT does not verify, a log has problems).
pub(super) const NO: u8 = 1;
/// Wrong usage (EX_USAGE).
pub(super) const USAGE: u8 = 64;
/// A backend, the daemon or a file it needs is not available (EX_UNAVAILABLE).
pub(super) const UNAVAILABLE: u8 = 69;
/// A defect of jwsd (EX_SOFTWARE).
pub(super) const BUG: u8 = 70;
/// Not done yet: a second operator must ask for it too (EX_TEMPFAIL).
pub(super) const WAITING: u8 = 75;
/// Permission denied, or a file is not secure (EX_NOPERM).
pub(super) const PERMISSION: u8 = 77;
/// A fault in the configuration (EX_CONFIG).
pub(super) const CONFIG: u8 = 78;

/// Why a command ended without success, and with which code.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// An error with all its causes.
    pub(super) fn because(code: u8, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::new(code, Chain(error))
    }

    /// Prints the message and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        if self.code != 0 {
            // Nothing can be said when stderr is gone; the code still tells.
            let _ = writeln!(io::stderr(), "jwsd: {}", self.message);
        }
        self.code.into()
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let code = match faults.kind() {
            FaultKind::Configuration => CONFIG,
            FaultKind::Permission => PERMISSION,
        };
        Self::new(code, faults)
    }
}

impl From<io::Error> for Failure {
    /// A reader that has seen enough (`| head`) is not a failure of ours.
    fn from(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { UNAVAILABLE };
        Self::new(code, format_args!("output: {error}"))
    }
}

/// How a command ends.
pub(super) type Outcome = Result<ExitCode, Failure>;

/// Prints a line to stdout.
pub(super) fn line(text: impl Display) -> Result<(), Failure> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Lines of columns, each as wide as its widest cell: the header, then one line per row.
pub(super) fn columns(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let header: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| {
        let cells = all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let render = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.into_iter().map(render).collect()
}

/// Words in lines of at most `width` characters, longer words on lines of their own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

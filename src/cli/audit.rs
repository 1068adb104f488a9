//! `jwsd audit`: check, follow and search the audit log. Works without the daemon.

mod reconcile;
mod report;
mod search;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, line};
use crate::audit::tail::Tail;
use crate::audit::verify::{self, Gap, Problem, Report};
use crate::config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check structure, checksums and sequence of every segment; exit code 1 when there are problems
    Verify {
        #[command(flatten)]
        log: LogDirectory,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print the newest records
    Tail {
        #[command(flatten)]
        log: LogDirectory,
        /// How many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
        lines: u64,
        /// Go on with new ones as they come
        #[arg(long, short)]
        follow: bool,
    },
    /// Print the records that say all this; the log must verify. Exit code 1 when there are none
    Search {
        #[command(flatten)]
        which: search::Which,
    },
    /// Write records for other programs; the log must verify
    Export {
        #[command(flatten)]
        which: search::Which,
        /// In which form
        #[arg(long, value_enum, default_value = "jsonl")]
        format: search::Form,
        /// Into this new file instead of stdout
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    Reconcile(reconcile::Arguments),
    Report(report::Arguments),
}

/// Which log to read: a directory, or the one that a configuration names.
#[derive(Debug, clap::Args)]
pub(super) struct LogDirectory {
    /// The log's directory
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Take the directory from this configuration
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "/etc/jwsd/jwsd.toml",
        conflicts_with = "directory"
    )]
    config: PathBuf,
}

impl LogDirectory {
    fn resolve(&self) -> Result<PathBuf, Failure> {
        match &self.directory {
            Some(directory) => Ok(directory.clone()),
            None => Ok(config::load(&self.config)?.audit.dir),
        }
    }
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Verify { log, json } => verify_log(&log.resolve()?, *json),
        Command::Tail { log, lines, follow } => tail_log(&log.resolve()?, *lines, *follow),
        Command::Reconcile(arguments) => reconcile::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Search { which } => search::search(which),
        Command::Export { which, format, output } => search::export(which, *format, output.as_deref()),
    }
}

/// Views show what is in a log that verifies. With `unsound` they go on all the same, and say so.
fn checked(directory: &Path, unsound: bool) -> Result<(), Failure> {
    let report = verified(directory, false)?;
    if report.is_sound() {
        return Ok(());
    }
    let (directory, count) = (directory.display(), report.problem_count);
    if !unsound {
        let message = format!(
            "{directory} has {count} problems (see `jwsd audit verify`), so that what it says cannot be relied on"
        );
        return Err(Failure::new(NO, message));
    }
    Ok(writeln!(
        io::stderr(),
        "jwsd: {directory} has {count} problems: what follows may be forged or incomplete"
    )?)
}

/// Over the bytes of the log, on a terminal.
fn progress_bar(hidden: bool) -> ProgressBar {
    let hidden = hidden || !io::stderr().is_terminal();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// With a bar that shows how far it is, on a terminal, unless `hidden`.
fn verified(directory: &Path, hidden: bool) -> Result<Report, Failure> {
    let bar = progress_bar(hidden);
    let report = verify::verify(directory, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    report.map_err(|error| Failure::because(UNAVAILABLE, &error))
}

fn verify_log(directory: &Path, json: bool) -> Outcome {
    let report = verified(directory, json)?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::new(BUG, error))?;
        line(text)?;
    } else {
        print(&report)?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { NO.into() })
}

fn print(report: &Report) -> Result<(), Failure> {
    let Report { records, first, last, segments, bytes, .. } = report;
    line(format_args!("{records} records, {first} to {last}, in {segments} segments of {bytes} bytes"))?;
    for gap in &report.gaps {
        let (from, to) = (gap.after + 1, gap.after + gap.unknown);
        let Gap { segment, missing, .. } = gap;
        line(format_args!(
            "declared: the disk failed before {segment}; of records {from} to {to}, {missing} are missing"
        ))?;
    }
    if let Some(tail) = &report.open_tail {
        line(format_args!(
            "open: {} ends in {} bytes of a record that was being written",
            tail.segment, tail.bytes
        ))?;
    }
    for problem in &report.problems {
        let Problem { segment, line: number, offset, what } = problem;
        line(format_args!("PROBLEM {segment} line {number} at byte {offset}: {what}"))?;
    }
    match report.problem_count {
        0 => line(
            "the log is sound: structure, checksums and sequence hold (a checksum finds damage, not a forger)",
        ),
        count => line(format_args!("problems: {count}; this log was changed, damaged or is incomplete")),
    }
}

fn tail_log(directory: &Path, lines: u64, follow: bool) -> Outcome {
    let failed = |error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", directory.display()));
    // Nothing sets it: a tail that follows ends with the process.
    let stop = follow.then(Arc::default);
    let mut out = io::stdout().lock();
    let mut whole = true;
    for record in Tail::open(directory, lines, stop).map_err(failed)? {
        match record {
            Ok(record) => writeln!(out, "{record}").and_then(|()| out.flush())?,
            // A damaged line is told and passed over: what comes after it may matter more.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                whole = false;
                writeln!(io::stderr(), "jwsd: {error}")?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { NO.into() })
}

//! `jwsd audit`: check, follow and search the audit log, prove what is in it. Works without the daemon.

mod accept;
mod keys;
mod person;
mod prove;
mod reconcile;
mod report;
mod retain;
mod search;
mod verify;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;

use super::output::{Failure, NO, Outcome, UNAVAILABLE};
use crate::audit::retain as retained;
use crate::audit::tail::Tail;
use crate::audit::verify::Report;
use crate::config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Verify(verify::Arguments),
    Key(keys::Arguments),
    Prove(prove::Arguments),
    CheckProof(prove::Check),
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
    ///
    /// What a person asks to be told (Article 15 of the GDPR): `--format page` for them, `--format json` for programs, with
    /// --subject, --session or --consent. It is recorded who looked.
    Search {
        #[command(flatten)]
        which: search::Which,
        /// In which form
        #[arg(long, value_enum, default_value = "jsonl")]
        format: person::Form,
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
    /// Take the log as it is though a witness has seen more of it, or another one; the daemon must be stopped
    AcceptTruncation(accept::Arguments),
    Report(report::Arguments),
    Retain(retain::Arguments),
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
        Command::Verify(arguments) => verify::run(arguments),
        Command::Key(arguments) => keys::run(arguments),
        Command::Prove(arguments) => prove::run(arguments),
        Command::CheckProof(arguments) => prove::check(arguments),
        Command::Tail { log, lines, follow } => tail_log(&log.resolve()?, *lines, *follow),
        Command::Reconcile(arguments) => reconcile::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Retain(arguments) => retain::run(arguments),
        Command::Search { which, format: person::Form::Jsonl } => search::search(which),
        Command::Search { which, format } => person::account(which, *format),
        Command::Export { which, format, output } => search::export(which, *format, output.as_deref()),
        Command::AcceptTruncation(arguments) => accept::run(arguments),
    }
}

/// Records from before the log's beginning are not kept: says so to whoever asks for that time, or for all of it.
fn tell_beginning(directory: &Path, report: &Report, from: Option<Timestamp>) -> Result<(), Failure> {
    let failed = |error| Failure::new(UNAVAILABLE, format_args!("{}: {error}", directory.display()));
    let Some(begins) = &report.begins else { return Ok(()) };
    let oldest = retained::begins(directory).map_err(failed)?;
    if from.is_none_or(|from| oldest.is_none_or(|oldest| from < oldest)) {
        let (after, since) = (begins.after, oldest.map_or("later".to_owned(), |oldest| oldest.to_string()));
        writeln!(
            io::stderr(),
            "jwsd: {} begins at {since}: records up to {after} are no longer kept there",
            directory.display()
        )?;
    }
    Ok(())
}

/// Views show what is in a log that verifies. With `unsound` they go on all the same, and say so.
fn checked(
    directory: &Path,
    trusted: &verify::Trusted,
    from: Option<Timestamp>,
    unsound: bool,
) -> Result<Report, Failure> {
    let report = verify::verified(directory, &trusted.read()?, false)?;
    tell_beginning(directory, &report, from)?;
    if report.is_sound() {
        return Ok(report);
    }
    let (directory, count) = (directory.display(), report.problem_count);
    if !unsound {
        let message = format!(
            "{directory} has {count} problems (see `jwsd audit verify`), so that what it says cannot be relied on"
        );
        return Err(Failure::new(NO, message));
    }
    writeln!(
        io::stderr(),
        "jwsd: {directory} has {count} problems: what follows may be forged or incomplete"
    )?;
    Ok(report)
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

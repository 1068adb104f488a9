//! `jwsd audit accept-truncation`: an operator takes a log as it is that contradicts what its witnesses have seen.

use std::process::ExitCode;
use std::sync::Arc;

use super::super::ConfigFile;
use super::super::output::{BUG, CONFIG, Failure, NO, Outcome, UNAVAILABLE, USAGE, line};
use crate::audit::{Actor, Log};
use crate::clock::SystemClock;
use crate::config;
use crate::daemon;

/// Take the log as it is though a witness has seen more of it, or another one; the daemon must be stopped
///
/// The start refuses an audit log that lacks what a witness has seen: somebody removed its end, put back an older copy, or
/// began another one. Find out what happened first. This records who took it all the same, and why, beside the
/// checkpoint of each witness that contradicts it; whoever checks the log is shown that for ever.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// What happened to the log, for whoever checks it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let reason = arguments.reason.trim();
    if reason.is_empty() {
        return Err(Failure::new(USAGE, "say what happened to the log: --reason TEXT"));
    }
    let config = config::load(&arguments.file.config)?;
    if config.audit.checkpoint.is_none() {
        let what =
            "the configuration has no [audit.checkpoint]: the log is not sealed, and nothing is refused";
        return Err(Failure::new(CONFIG, what));
    }
    daemon::prepare(&config)?;
    let runtime = daemon::runtime().map_err(|error| Failure::because(BUG, &error))?;
    let accepting = Log::accept(&config.audit, Arc::new(SystemClock), Actor::ourselves(), reason);
    let witnesses = runtime.block_on(accepting).map_err(|error| Failure::because(UNAVAILABLE, &error))?;
    if witnesses.is_empty() {
        line("nothing to accept: no witness contradicts the log")?;
        return Ok(NO.into());
    }
    for witness in witnesses {
        line(format_args!("accepted and recorded: the log as it is, against {witness}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

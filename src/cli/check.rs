//! `jwsd check`: is this configuration good, and what does it come to?

use std::path::PathBuf;
use std::process::ExitCode;

use super::output::{Outcome, line};
use crate::config;

/// Check a configuration file: print every fault, or the resolved form with all defaults
///
/// Exits 0 and prints the resolved form, or exits 78 and prints every fault with its line and its place.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = "/etc/jwsd/jwsd.toml")]
    file: PathBuf,
    /// Print nothing when the file is good
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let resolved = config::describe_file(&arguments.file)?;
    if !arguments.quiet {
        line(resolved.trim_end())?;
        if config::load(&arguments.file)?.audit.checkpoint.is_none() {
            line(
                "\n# The audit log is not sealed: add [audit.checkpoint], so that changes to it are found.",
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

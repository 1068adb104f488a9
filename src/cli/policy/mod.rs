//! `jwsd policy`: what a configuration's policy says and does, without a daemon, a backend or a key.

mod explain;
mod rules;
mod test;

use std::process::ExitCode;

use super::output::{Outcome, line};
use crate::config;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Test(test::Arguments),
    Explain(explain::Arguments),
    /// Print every rule that a request can break, as a table in Markdown
    Rules,
    /// Print the JSON Schema of files of test cases, for editors
    Schema,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Test(arguments) => test::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Rules => rules::run(),
        Command::Schema => {
            line(format_args!("{:#}", config::cases_schema()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

//! `jwsd policy test`: does the policy answer as its cases say?
//!
//! Callers are identified and requests judged by the very code of the daemon.

mod answer;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::ConfigFile;
use super::super::output::{CONFIG, Failure, NO, Outcome, PERMISSION};
use crate::config::{self, FaultKind};
use crate::sys::users::Assumed;
use answer::Answer;
use report::{Ran, Report};

/// Try a policy on test cases: requests, each with what must come of it
///
/// Needs no daemon, no backend and no key, and touches none: it can run where a change of the policy is reviewed.
/// Users and groups that this machine does not have are taken to exist. Exits 0 when every case comes out as it
/// says, 1 when one does not, 78 when a file has faults.
///
/// Example: jwsd policy test --config jwsd.toml --coverage billing.cases.toml
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Files of cases (TOML); docs/policy.md says what is in them
    #[arg(value_name = "CASES", required = true)]
    cases: Vec<PathBuf>,
    /// Also list the rules that no case shows to refuse, and the profiles that none shows to grant
    #[arg(long)]
    coverage: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let users = Assumed::default();
    let config = arguments.file.load(&users)?;
    let mut ran = Vec::new();
    let mut faults = Vec::new();
    for path in &arguments.cases {
        match config::load_cases(path, &users, &config) {
            Ok(cases) => ran.extend(cases.into_iter().map(|case| {
                let answer = Answer::to(&case, &config);
                Ran { file: path.display().to_string(), case, answer }
            })),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        let denied = faults.iter().any(|faults| faults.kind() == FaultKind::Permission);
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return Err(Failure::new(if denied { PERMISSION } else { CONFIG }, texts.join("\n\n")));
    }
    let report = Report::new(&ran, arguments.coverage.then_some(&config));
    if arguments.json {
        report.print_json()?
    } else {
        report.print()?
    }
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { NO.into() })
}

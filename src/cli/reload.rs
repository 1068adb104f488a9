//! `jwsd reload`: has the running daemon read its configuration again.

use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::client;
use super::keys::daemon::{Daemon, body_of};
use super::keys::print;
use super::output::{BUG, CONFIG, Failure, Outcome, PERMISSION, line};
use crate::api::Reloaded;

/// Have the running daemon read its configuration file again: all of it is taken over, or nothing
///
/// Profiles, callers, recipients, detectors, misuse, issuers and the sizes of requests change for requests that begin from
/// then on. With a fault, or a change that needs a restart, nothing changes: every fault is printed as `jwsd check` prints
/// it, and the exit code is 78, or 77 if others could have changed the file. The act is recorded with your uid.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    daemon: Daemon,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let (status, body) = client::call(&arguments.daemon.socket()?, "/v1/reload", Some(&json!({})))?;
    if status == StatusCode::CONFLICT
        && let Ok(problem) = serde_json::from_slice::<Value>(&body)
        && let Some(report) = problem.get("report").and_then(Value::as_str)
    {
        if arguments.json {
            print::json(&problem)?;
        }
        let insecure = problem.get("code").is_some_and(|code| code == "reload.insecure");
        return Err(Failure::new(if insecure { PERMISSION } else { CONFIG }, report));
    }
    let answer = body_of(status, &body)?;
    if arguments.json {
        print::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let reloaded: Reloaded = serde_json::from_value(answer).map_err(|error| {
        Failure::new(BUG, format_args!("the daemon's answer is not what is due: {error}"))
    })?;
    if reloaded.changed {
        line(format_args!("policy {} in place of {}: {reloaded}", reloaded.policy, reloaded.previous))?;
    } else {
        line(format_args!("unchanged: policy {}", reloaded.policy))?;
    }
    Ok(ExitCode::SUCCESS)
}

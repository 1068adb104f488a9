//! `jwsd clock`: how a running daemon sees its clock, and an operator's word that it is right.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::client;
use super::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, line};

/// Show whether the running daemon trusts its clock, or accept the clock as it is
///
/// A daemon signs nothing while the clock is behind what it showed before, or more than ten minutes ahead while the
/// kernel does not call it synchronised. Exits with 1 while the clock is not trusted.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Option<Act>,
    /// The daemon's admin socket
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/jwsd/admin.sock")]
    socket: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Act {
    /// Show it (this is what happens without a subcommand, too)
    Show,
    /// Trust the clock as it is now; look at it first
    ///
    /// JWTs may then have times before those of earlier ones. The act is recorded with your uid.
    Accept,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { act, socket } = arguments;
    let (path, body) = match act {
        None | Some(Act::Show) => ("/v1/status", None),
        Some(Act::Accept) => ("/v1/clock/accept", Some(json!({}))),
    };
    let (status, answer) = client::call(socket, path, body.as_ref())?;
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|error| Failure::new(BUG, format_args!("the daemon's answer is not JSON: {error}")))?;
    if status != StatusCode::OK {
        let detail = answer.get("detail").and_then(Value::as_str).unwrap_or("no detail");
        return Err(Failure::new(UNAVAILABLE, format_args!("{status}: {detail}")));
    }
    if let Some(accepted) = answer.get("accepted").and_then(Value::as_bool) {
        line(if accepted { "the clock is accepted as it is" } else { "there was nothing to accept" })?;
    }
    show(answer.get("clock").unwrap_or(&Value::Null))
}

fn show(clock: &Value) -> Outcome {
    let text = |name: &str| clock.get(name).and_then(Value::as_str);
    let is = |name: &str| clock.get(name).and_then(Value::as_bool).unwrap_or_default();
    match text("reason") {
        None => line(format_args!("trusted: yes (mode {})", text("mode").unwrap_or("unknown")))?,
        Some(reason) => line(format_args!("trusted: no: {reason}"))?,
    }
    let bound = clock.get("max_error_seconds").and_then(Value::as_f64);
    let bound = bound.map_or("unknown".to_owned(), |seconds| format!("{seconds} s"));
    let synchronised = if is("synchronised") { "yes" } else { "no" };
    line(format_args!("synchronised: {synchronised} (the kernel's bound on its error: {bound})"))?;
    if let Some(jump) = clock.get("last_jump").filter(|jump| !jump.is_null()) {
        let seconds = jump.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        let at = jump.get("at").and_then(Value::as_str).unwrap_or_default();
        line(format_args!("last jump: by {seconds:+.3} s, to {at}"))?;
    }
    Ok(if is("trusted") { ExitCode::SUCCESS } else { NO.into() })
}

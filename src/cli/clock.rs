//! `jwsd clock`: how a running daemon sees its clock, and an operator's word that it is right.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::client;
use super::keys::daemon::{Daemon, body_of};
use super::keys::print;
use super::output::{NO, Outcome, line};

/// Show whether the running daemon trusts its clock, or accept the clock as it is
///
/// A daemon signs nothing while the clock is behind what it showed before, or more than ten minutes ahead while the
/// kernel does not call it synchronised. Exits with 1 while the clock is not trusted.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    act: Option<Act>,
    #[command(flatten)]
    daemon: Daemon,
    /// For programs
    #[arg(long, global = true)]
    json: bool,
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
    let Arguments { act, daemon, json: for_programs } = arguments;
    let (path, body) = match act {
        None | Some(Act::Show) => ("/v1/status", None),
        Some(Act::Accept) => ("/v1/clock/accept", Some(json!({}))),
    };
    let (status, answer) = client::call(&daemon.socket()?, path, body.as_ref())?;
    let answer = body_of(status, &answer)?;
    let clock = answer.get("clock").unwrap_or(&Value::Null);
    if *for_programs {
        print::json(if body.is_some() { &answer } else { clock })?;
        return Ok(code(clock));
    }
    if let Some(accepted) = answer.get("accepted").and_then(Value::as_bool) {
        line(if accepted { "the clock is accepted as it is" } else { "there was nothing to accept" })?;
    }
    show(clock)
}

fn show(clock: &Value) -> Outcome {
    let text = |name: &str| clock.get(name).and_then(Value::as_str);
    let is = |name: &str| clock.get(name).and_then(Value::as_bool).unwrap_or_default();
    match text("reason") {
        None => line(format_args!("trusted: yes (mode {})", text("mode").unwrap_or("unknown")))?,
        Some(reason) => line(format_args!("trusted: no: {reason}"))?,
    }
    let bound = clock.get("max_error_seconds").and_then(Value::as_f64);
    let synchronised = if is("synchronised") { "yes" } else { "no" };
    match bound {
        Some(bound) => {
            line(format_args!("synchronised: {synchronised} (the kernel's bound on its error: {bound} s)"))?;
        }
        None => line("synchronised: unknown (the kernel may not tell: adjtimex is forbidden to the daemon)")?,
    }
    if let Some(jump) = clock.get("last_jump").filter(|jump| !jump.is_null()) {
        let seconds = jump.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        let at = jump.get("at").and_then(Value::as_str).unwrap_or_default();
        line(format_args!("last jump: by {seconds:+.3} s, to {at}"))?;
    }
    Ok(code(clock))
}

/// Whether it is trusted.
fn code(clock: &Value) -> ExitCode {
    if clock.get("trusted").and_then(Value::as_bool) == Some(true) { ExitCode::SUCCESS } else { NO.into() }
}

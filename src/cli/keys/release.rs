//! `jwsd keys release`: lift a quarantine in a running daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{daemon, print, tell};
use crate::cli::client;
use crate::cli::output::{Failure, Outcome, USAGE, WAITING, line};

/// Use a backend or key again that the running daemon has put in quarantine
///
/// A key is put in quarantine when it returned a bad signature or showed another public half than the pinned one, a
/// backend when it may hold foreign keys or failed its self-test. Find out why first: `jwsd keys list` and
/// GET /v1/status on the admin socket say what is wrong.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The daemon's admin socket
    #[arg(long, value_name = "PATH", default_value = "/run/jwsd/admin.sock")]
    socket: PathBuf,
    /// Name of the backend, as in `[backend.NAME]`
    backend: String,
    /// Only this key in it, as in `[key.NAME]`
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { socket, backend, key } = arguments;
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if backend.is_empty() || !backend.bytes().all(name) {
        return Err(Failure::new(USAGE, format_args!("{backend:?} is no name of a backend")));
    }
    let body = key.as_ref().map_or_else(|| json!({}), |key| json!({ "key": key }));
    let (status, answer) = client::call(socket, &format!("/v1/backends/{backend}/release"), Some(&body))?;
    let answer = daemon::body_of(status, &answer)?;
    if status == StatusCode::ACCEPTED {
        line("nothing is released yet: a second operator, with another uid, must ask for the very same")?;
        print::lines(&tell::proposal(answer.get("proposal").unwrap_or(&Value::Null)))?;
        return Ok(WAITING.into());
    }
    let released: Vec<&str> = answer
        .get("released")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if released.is_empty() {
        line(format_args!("backend {backend}: nothing was in quarantine"))?;
    } else {
        line(format_args!("backend {backend}: released {}", released.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

//! The running daemon as operators reach it: its admin socket, and what its answers mean for the exit code.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::{Method, StatusCode};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::{ActName, KeyReport};
use crate::cli::client;
use crate::cli::output::{BUG, CONFIG, Failure, NO, UNAVAILABLE, USAGE};
use crate::config;

/// Where the admin socket is unless somebody says otherwise.
const SOCKET: &str = "/run/jwsd/admin.sock";

/// Which daemon.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Daemon {
    /// The daemon's admin socket [default: /run/jwsd/admin.sock]
    #[arg(long, global = true, value_name = "PATH", conflicts_with = "config")]
    pub(in crate::cli) socket: Option<PathBuf>,
    /// Take the socket's path from this configuration
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(in crate::cli) config: Option<PathBuf>,
}

impl Daemon {
    /// Its admin socket.
    pub(in crate::cli) fn socket(&self) -> Result<PathBuf, Failure> {
        match (&self.socket, &self.config) {
            (Some(socket), _) => Ok(socket.clone()),
            (None, Some(file)) => Ok(config::load(file)?.admin.path),
            (None, None) => Ok(SOCKET.into()),
        }
    }
}

/// An answer to an act.
pub(super) enum Answer {
    /// It was done: the whole answer, the version, and the key as it is now.
    Done(Value, Box<Acted>),
    /// A second operator must ask for it too.
    Waits(Value),
}

#[derive(Debug, Deserialize)]
pub(super) struct Acted {
    pub(super) kid: String,
    #[serde(flatten)]
    pub(super) report: KeyReport,
}

/// One key, as the daemon reports it.
pub(super) fn report(socket: &Path, key: &str) -> Result<KeyReport, Failure> {
    let (status, body) = client::call(socket, &format!("/v1/keys/{}", named(key)?), None)?;
    read(body_of(status, &body)?)
}

/// Any answer that is no problem, to a request without a body.
pub(super) fn ask(method: Method, socket: &Path, path: &str) -> Result<Value, Failure> {
    let (status, body) = client::request(method, socket, path, None)?;
    body_of(status, &body)
}

/// Asks for an act, and shows on a terminal that it takes its time.
pub(super) fn act(socket: &Path, key: &str, act: ActName, body: &Value) -> Result<Answer, Failure> {
    let path = format!("/v1/keys/{}/{act}", named(key)?);
    let (status, body) = patiently(act, || client::call(socket, &path, Some(body)))?;
    let whole = body_of(status, &body)?;
    if status == StatusCode::ACCEPTED {
        return Ok(Answer::Waits(whole));
    }
    Ok(Answer::Done(whole.clone(), Box::new(read(whole)?)))
}

/// A spinner while `work` goes on, where somebody can see it.
pub(in crate::cli) fn patiently<T>(act: ActName, work: impl FnOnce() -> T) -> T {
    let seen = io::stderr().is_terminal();
    let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let spinner = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
        spinner.set_style(style);
    }
    spinner.set_message(match act {
        ActName::Generate | ActName::Rotate => {
            "the backend makes a key; RSA-4096 takes some HSMs two minutes"
        }
        _ => "waiting for the daemon and the backend",
    });
    spinner.enable_steady_tick(Duration::from_millis(120));
    let done = work();
    spinner.finish_and_clear();
    done
}

fn read<T: DeserializeOwned>(whole: Value) -> Result<T, Failure> {
    serde_json::from_value(whole)
        .map_err(|error| Failure::new(BUG, format_args!("the daemon's answer is not what is due: {error}")))
}

/// A name that can stand in a path; others are no key's.
pub(super) fn named(key: &str) -> Result<&str, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !key.is_empty() && key.bytes().all(fits) {
        return Ok(key);
    }
    Err(Failure::new(CONFIG, format_args!("{key:?} is no name of a key")))
}

/// The answer, unless it is a problem: that is told with the exit code that it means.
pub(in crate::cli) fn body_of(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Problem {
        code: String,
        detail: String,
        request_id: String,
    }
    let whole: Value = serde_json::from_slice(body)
        .map_err(|error| Failure::new(BUG, format_args!("the daemon's answer is not JSON: {error}")))?;
    if status.is_success() {
        return Ok(whole);
    }
    let Problem { code, detail, request_id } = serde_json::from_value(whole).unwrap_or_default();
    let exit = match (status, code.as_str()) {
        (_, "object.unknown") => CONFIG,
        (StatusCode::CONFLICT, _) | (_, "key.generate") => NO,
        (StatusCode::BAD_REQUEST, _) => USAGE,
        (StatusCode::INTERNAL_SERVER_ERROR, _) => BUG,
        _ => UNAVAILABLE,
    };
    let why = if detail.is_empty() { status.canonical_reason().unwrap_or_default() } else { &detail };
    Err(Failure::new(exit, format_args!("{why} ({code})\n  request id {request_id}")))
}

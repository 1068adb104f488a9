//! `jwsd introspect`: ask a running daemon whether a JWT is active.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Map, Value};

use super::client;
use super::keys::daemon::body_of;
use super::output::{NO, Outcome, line};
use super::verify::read_jwt;

/// Ask a running daemon whether a JWT is active
///
/// Prints its claims, or exits with 1: it is none of this daemon's, has expired, was revoked, or with --once used up, or the caller that runs this may
/// not ask about its profile (`introspect` in the configuration). The audit log says which.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The JWT, or `-` to read it from standard input
    #[arg(default_value = "-")]
    jwt: String,
    /// The daemon's signing socket
    #[arg(long, value_name = "PATH", default_value = "/run/jwsd/sign.sock")]
    socket: PathBuf,
    /// It must be for this audience
    #[arg(long, value_name = "URI")]
    audience: Option<String>,
    /// Use it up: it is active for nobody who asks so after this; whoever asks without --once is told that it is active still
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { jwt, socket, audience, once } = arguments;
    let mut body = Map::new();
    body.insert("token".to_owned(), read_jwt(jwt)?.into());
    body.extend(audience.as_deref().map(|audience| ("audience".to_owned(), audience.into())));
    body.extend(once.then(|| ("replay".to_owned(), "once".into())));
    let (status, answer) = client::call(socket, "/v1/introspect", Some(&body.into()))?;
    let answer = body_of(status, &answer)?;
    line(format_args!("{answer:#}"))?;
    let is_active = answer.get("active") == Some(&Value::Bool(true));
    Ok(if is_active { ExitCode::SUCCESS } else { NO.into() })
}

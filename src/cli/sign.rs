//! `jwsd sign`: ask a running daemon for a JWT.

use std::path::PathBuf;
use std::process::ExitCode;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client;
use super::output::{BUG, Failure, NO, Outcome, UNAVAILABLE, USAGE, line};

/// Ask a running daemon for a JWT
///
/// Prints the JWT, or every rule that the request breaks (exit code 1).
///
/// Example: jwsd sign --socket jwsd-dev/run/sign.sock --profile access-token --claim sub=alice --claim client_id=web
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The daemon's signing socket
    #[arg(long, value_name = "PATH", default_value = "/run/jwsd/sign.sock")]
    socket: PathBuf,
    /// The kind of JWT
    #[arg(long, short, value_name = "NAME")]
    profile: String,
    /// A claim with a text value; may be given more than once
    #[arg(long = "claim", value_name = "NAME=TEXT", value_parser = text_claim)]
    text: Vec<(String, Value)>,
    /// A claim with a JSON value, such as roles='["admin"]'; may be given more than once
    #[arg(long = "claim-json", value_name = "NAME=JSON", value_parser = json_claim)]
    json_claims: Vec<(String, Value)>,
    /// An audience; may be given more than once
    #[arg(long = "aud", value_name = "URI")]
    audiences: Vec<String>,
    /// Another lifetime than the profile's default, at most its max, such as 90s or 5m
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// The login session, which the JWT does not outlive, such as '{"id": "s1", "expires_at": 1800000000}'
    #[arg(long, value_name = "JSON", value_parser = json)]
    session: Option<Value>,
    /// The person's consent, such as '{"id": "c1", "purposes": ["billing"], "granted_at": 1700000000}'
    #[arg(long, value_name = "JSON", value_parser = json)]
    consent: Option<Value>,
    /// Only say which rules hold and which do not; no JWT is made
    #[arg(long)]
    check: bool,
    /// Print the daemon's whole answer
    #[arg(long = "print-json")]
    print_json: bool,
}

fn split(argument: &str) -> Result<(&str, &str), String> {
    argument
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "write it as NAME=VALUE".to_owned())
}

fn text_claim(argument: &str) -> Result<(String, Value), String> {
    split(argument).map(|(name, value)| (name.to_owned(), value.into()))
}

fn json_claim(argument: &str) -> Result<(String, Value), String> {
    let (name, value) = split(argument)?;
    Ok((name.to_owned(), json(value)?))
}

fn json(argument: &str) -> Result<Value, String> {
    serde_json::from_str(argument).map_err(|error| format!("the value is not JSON: {error}"))
}

impl Arguments {
    fn request(&self) -> Result<Value, Failure> {
        let mut claims = Map::new();
        for (name, value) in self.text.iter().chain(&self.json_claims) {
            if claims.insert(name.clone(), value.clone()).is_some() {
                return Err(Failure::new(USAGE, format_args!("claim {name:?} is given twice")));
            }
        }
        match self.audiences.as_slice() {
            [] => {}
            [one] => drop(claims.insert("aud".to_owned(), one.as_str().into())),
            several => drop(claims.insert("aud".to_owned(), several.into())),
        }
        let mut request = Map::new();
        request.insert("profile".to_owned(), self.profile.as_str().into());
        request.insert("claims".to_owned(), claims.into());
        if let Some(ttl) = &self.ttl {
            request.insert("ttl".to_owned(), ttl.as_str().into());
        }
        for (name, value) in [("session", &self.session), ("consent", &self.consent)] {
            if let Some(value) = value {
                request.insert(name.to_owned(), value.clone());
            }
        }
        Ok(request.into())
    }
}

/// A daemon's answer, good or bad, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    token: Option<String>,
    allowed: Option<bool>,
    rules: Vec<Rule>,
    code: String,
    detail: String,
    request_id: String,
    violations: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rule {
    rule: String,
    pointer: String,
    holds: bool,
    message: String,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let path = if arguments.check { "/v1/check" } else { "/v1/sign" };
    let (status, body) = client::call(&arguments.socket, path, Some(&arguments.request()?))?;
    let not_json = |error| Failure::new(BUG, format_args!("the daemon's answer is not what is due: {error}"));
    let answer: Answer = serde_json::from_slice(&body).map_err(not_json)?;
    if status != StatusCode::OK {
        return Err(refusal(status, &answer));
    }
    if arguments.print_json {
        let whole: Value = serde_json::from_slice(&body).map_err(not_json)?;
        line(format_args!("{whole:#}"))?;
    } else if let Some(jwt) = &answer.token {
        line(jwt)?;
    } else {
        verdicts(&answer)?;
    }
    Ok(if answer.allowed.unwrap_or(true) { ExitCode::SUCCESS } else { NO.into() })
}

fn verdicts(answer: &Answer) -> Result<(), Failure> {
    answer.rules.iter().try_for_each(|Rule { rule, pointer, holds, message }| match holds {
        true => line(format_args!("holds   {rule} {pointer}")),
        false => line(format_args!("BROKEN  {rule} {pointer}: {message}")),
    })
}

fn refusal(status: StatusCode, problem: &Answer) -> Failure {
    let Answer { code, detail, request_id, violations, .. } = problem;
    let why = if detail.is_empty() { status.canonical_reason().unwrap_or_default() } else { detail };
    let rules: String = violations
        .iter()
        .map(|Rule { rule, pointer, message, .. }| format!("\n  {rule} at {pointer:?}: {message}"))
        .collect();
    let exit = if status.is_server_error() { UNAVAILABLE } else { NO };
    Failure::new(exit, format_args!("{why} ({code}){rules}\n  request id {request_id}"))
}

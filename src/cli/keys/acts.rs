//! Acts on keys: what is asked of the operator before, what the daemon is asked for, what is said after.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use hyper::Method;
use serde_json::{Value, json};

use super::confirm::{PREFIX, confirm};
use super::daemon::{self, Answer, Daemon, act, ask, report};
use super::{offline, print, tell};
use crate::admin::{ActName, KeyReport, VersionReport};
use crate::cli::client;
use crate::cli::output::{CONFIG, Failure, NO, Outcome, USAGE, WAITING, line};
use crate::clock::{Clock, SystemClock};
use crate::config;

/// Which key, and how it is answered.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    #[command(flatten)]
    daemon: Daemon,
    /// Name of the key, as in `[key.NAME]`
    key: String,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Generate {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Adopt {
    #[command(flatten)]
    target: Target,
    /// The key there: a PKCS#11 URI such as 'pkcs11:object=LABEL', a CKA_ID in hex, or a KMS key ARN, id or alias
    name: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rotate {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Activate {
    #[command(flatten)]
    target: Target,
    /// Even if verifiers may not know it yet: those that keep the key set refuse its JWTs until their copy is stale
    #[arg(long)]
    early: bool,
    /// The prepared version: its kid, or the first 8 characters or more of it
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    kid: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Retire {
    #[command(flatten)]
    target: Target,
    /// The active version: its kid, or the first 8 characters or more of it
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    kid: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    target: Target,
    /// The version: its kid, or the first 8 characters or more of it [default: the active one]
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    kid: Option<String>,
    /// Why, for the record; at most 200 bytes
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Destroy {
    #[command(flatten)]
    target: Target,
    /// The version: its kid, or the first 8 characters or more of it
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    kid: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Proposals {
    #[command(flatten)]
    daemon: Daemon,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Withdraw {
    #[command(flatten)]
    daemon: Daemon,
    /// Its id, as `jwsd keys proposals` shows it
    id: String,
}

pub(super) fn generate(arguments: &Generate) -> Outcome {
    let Generate { target } = arguments;
    match socket_or_config(target)? {
        Place::Running(socket) => go(&socket, target, ActName::Generate, &json!({})),
        Place::Stopped(config) => {
            let (kid, report) = offline::generate(&config, &target.key)?;
            told(target, ActName::Generate, &kid, &report)
        }
    }
}

pub(super) fn adopt(arguments: &Adopt) -> Outcome {
    let Adopt { target, name } = arguments;
    match socket_or_config(target)? {
        Place::Running(socket) => go(&socket, target, ActName::Adopt, &json!({ "name": name })),
        Place::Stopped(config) => {
            let (kid, report) = offline::adopt(&config, &target.key, name)?;
            told(target, ActName::Adopt, &kid, &report)
        }
    }
}

pub(super) fn rotate(arguments: &Rotate) -> Outcome {
    go(&arguments.target.daemon.socket()?, &arguments.target, ActName::Rotate, &json!({}))
}

pub(super) fn activate(arguments: &Activate) -> Outcome {
    let Activate { target, early, kid, yes } = arguments;
    let socket = target.daemon.socket()?;
    let mut body = json!({});
    if *early || kid.is_some() {
        let report = report(&socket, &target.key)?;
        let version = one_of(&report, kid.as_deref(), "prepared")?;
        if *early {
            confirm(&tell::before_early(&report, version), "the key's name", &target.key, *yes)?;
        }
        body = json!({ "kid": version.kid, "early": early });
    }
    go(&socket, target, ActName::Activate, &body)
}

pub(super) fn retire(arguments: &Retire) -> Outcome {
    let Retire { target, kid, yes } = arguments;
    let socket = target.daemon.socket()?;
    let report = report(&socket, &target.key)?;
    let version = one_of(&report, kid.as_deref(), "active")?;
    confirm(&tell::before_retire(&report, version), "the key's name", &target.key, *yes)?;
    go(&socket, target, ActName::Retire, &json!({ "kid": version.kid }))
}

pub(super) fn revoke(arguments: &Revoke) -> Outcome {
    let Revoke { target, kid, reason, yes } = arguments;
    let socket = target.daemon.socket()?;
    let report = report(&socket, &target.key)?;
    let version = one_of(&report, kid.as_deref(), "active")?;
    confirm(&tell::before_revoke(&report, version), "the key's name", &target.key, *yes)?;
    let mut body = json!({ "kid": version.kid });
    if let (Some(reason), Some(members)) = (reason, body.as_object_mut()) {
        members.insert("reason".to_owned(), reason.as_str().into());
    }
    go(&socket, target, ActName::Revoke, &body)
}

pub(super) fn destroy(arguments: &Destroy) -> Outcome {
    let Destroy { target, kid, yes } = arguments;
    let socket = target.daemon.socket()?;
    let report = report(&socket, &target.key)?;
    let version = one_of(&report, Some(kid), "")?;
    // Of several old versions only the right one may go.
    let word: String = version.kid.chars().take(PREFIX).collect();
    confirm(&tell::before_destroy(&report, version), "the first 8 characters of the version", &word, *yes)?;
    go(&socket, target, ActName::Destroy, &json!({ "kid": version.kid, "confirm": version.kid }))
}

pub(super) fn proposals(arguments: &Proposals) -> Outcome {
    let whole = ask(Method::GET, &arguments.daemon.socket()?, "/v1/proposals")?;
    if arguments.json {
        print::json(&whole)?;
        return Ok(ExitCode::SUCCESS);
    }
    let waiting = whole.get("proposals").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if waiting.is_empty() {
        line("no act waits for a second operator")?;
    }
    waiting.iter().try_for_each(|proposal| print::lines(&tell::proposal(proposal)))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn withdraw(arguments: &Withdraw) -> Outcome {
    let path = format!("/v1/proposals/{}", daemon::named(&arguments.id)?);
    ask(Method::DELETE, &arguments.daemon.socket()?, &path)?;
    line("called off; nothing was done")?;
    Ok(ExitCode::SUCCESS)
}

/// Who does what a stopped daemon can have done in its place.
enum Place {
    Running(PathBuf),
    Stopped(Box<config::Config>),
}

/// A daemon that runs is asked. Without `--socket` and without a daemon, the configuration says where to act.
fn socket_or_config(target: &Target) -> Result<Place, Failure> {
    let Daemon { socket, config: file } = &target.daemon;
    if let Some(socket) = socket {
        return Ok(Place::Running(socket.clone()));
    }
    if file.is_none() {
        let socket = target.daemon.socket()?;
        if client::listens(&socket)? {
            return Ok(Place::Running(socket));
        }
    }
    let file = file.as_deref().unwrap_or(Path::new("/etc/jwsd/jwsd.toml"));
    let config = config::load(file)?;
    if client::listens(&config.admin.path)? {
        return Ok(Place::Running(config.admin.path));
    }
    Ok(Place::Stopped(Box::new(config)))
}

/// Has the daemon do it, and says what came of it.
fn go(socket: &Path, target: &Target, name: ActName, body: &Value) -> Outcome {
    let began = Instant::now();
    let answer = act(socket, &target.key, name, body)?;
    let took = began.elapsed();
    match answer {
        Answer::Done(whole, _) if target.json => {
            print::json(&whole)?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Done(_, acted) => {
            if name == ActName::Revoke {
                line(format_args!("{:.3} s from command to effect", took.as_secs_f64()))?;
            }
            told(target, name, &acted.kid, &acted.report)
        }
        Answer::Waits(whole) if target.json => {
            print::json(&whole)?;
            Ok(WAITING.into())
        }
        Answer::Waits(whole) => {
            line("nothing is done yet: a second operator, with another uid, must ask for the very same")?;
            print::lines(&tell::proposal(whole.get("proposal").unwrap_or(&Value::Null)))?;
            Ok(WAITING.into())
        }
    }
}

fn told(target: &Target, name: ActName, kid: &str, report: &KeyReport) -> Outcome {
    if target.json {
        let mut whole = serde_json::to_value(report).unwrap_or_default();
        if let Some(members) = whole.as_object_mut() {
            members.insert("kid".to_owned(), kid.into());
        }
        print::json(&whole)?;
    } else {
        print::lines(&tell::after(name, kid, report, SystemClock.now()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The version that a prefix names, or the one in this state.
fn one_of<'a>(
    report: &'a KeyReport,
    prefix: Option<&str>,
    state: &str,
) -> Result<&'a VersionReport, Failure> {
    let key = &report.key;
    let Some(prefix) = prefix else {
        let none = || Failure::new(NO, format_args!("key {key} has no {state} version; name one with --kid"));
        return report.versions.iter().find(|version| version.state == state).ok_or_else(none);
    };
    if prefix.chars().count() < PREFIX {
        return Err(Failure::new(USAGE, format_args!("write at least {PREFIX} characters of the version")));
    }
    let fits: Vec<&VersionReport> =
        report.versions.iter().filter(|version| version.kid.starts_with(prefix)).collect();
    match fits[..] {
        [version] => Ok(version),
        [] => {
            let known: Vec<&str> = report.versions.iter().map(|version| version.kid.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("key {key} has no version {prefix}; it has: {known}");
            Err(Failure::new(CONFIG, message))
        }
        _ => Err(Failure::new(USAGE, format_args!("several versions of key {key} begin with {prefix}"))),
    }
}

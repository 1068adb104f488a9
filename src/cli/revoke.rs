//! `jwsd revoke`: take JWTs back from a running daemon.

use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;

use super::client;
use super::keys::confirm::confirm;
use super::keys::daemon::{Daemon, body_of};
use super::output::{Failure, Outcome, USAGE, line};
use super::person::Person;
use super::verify::read_jwt;
use crate::revocation::Reason;

/// Take JWTs back: from then on introspection says that they are not active
///
/// One JWT, or all that were issued until now of a subject, a session, a consent or a profile, or all there are. Verifiers that do
/// not ask the daemon accept them until they expire. To stop a key and all its JWTs, use `jwsd keys revoke`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  jwsd revoke --subject alice --reason account-disabled\n  jwsd revoke --jti 01a20cdc-27ff-70fc-955a-529cb476754b"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    what: What,
    /// Whose names these are, of --subject, --session and --consent: the `iss`; goes without saying where there is one
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Why
    #[arg(long, value_enum, default_value = "unspecified")]
    reason: Reason,
    /// Not now but then, and what is issued until then: a time to come
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    daemon: Daemon,
    /// Do not ask before --profile and --everything
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// This JWT, or `-` to read it from standard input
    #[arg(long, value_name = "JWT")]
    token: Option<String>,
    /// The JWT with this id
    #[arg(long)]
    jti: Option<String>,
    /// All of the subject with this name: their `sub`
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// All of the session with this id: their `sid`
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// All that rely on the consent with this id, where the profile writes it into a claim
    #[arg(long, value_name = "ID")]
    consent: Option<String>,
    /// All of this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// All there are
    #[arg(long)]
    everything: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { what, issuer, reason, at, daemon, yes } = arguments;
    let person = Person {
        subject: what.subject.clone(),
        session: what.session.clone(),
        consent: what.consent.clone(),
        issuer: issuer.clone(),
    };
    if issuer.is_some() && person.named().is_none() {
        return Err(Failure::new(USAGE, "--issuer says whose --subject, --session or --consent is meant"));
    }
    let mut body = person.body(Some(reason.name()));
    let mut put = |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
    put("token", what.token.as_deref().map(read_jwt).transpose()?.map(Value::from));
    put("jti", what.jti.clone().map(Value::from));
    put("profile", what.profile.clone().map(Value::from));
    put("everything", what.everything.then_some(true.into()));
    put("at", at.map(|at| at.to_string().into()));
    let socket = daemon.socket()?;
    if let Some(profile) = &what.profile {
        let warning =
            format!("all JWTs of profile {profile} that were issued until then will not be active any more");
        confirm(&warning, "the profile's name", profile, *yes)?;
    } else if what.everything {
        let warning = "all JWTs that were issued until then will not be active any more";
        confirm(warning, "the word", "everything", *yes)?;
    }
    let (status, answer) = client::call(&socket, "/v1/revoke", Some(&body.into()))?;
    body_of(status, &answer)?;
    match at {
        None => line("revoked")?,
        Some(at) => line(format_args!("will be revoked at {at}"))?,
    }
    Ok(ExitCode::SUCCESS)
}

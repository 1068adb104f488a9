//! `jwsd erase`: erase a person from the records of a running daemon.

use std::process::ExitCode;

use hyper::StatusCode;
use serde_json::Value;

use super::client;
use super::keys::confirm::confirm;
use super::keys::daemon::{Daemon, body_of, patiently};
use super::keys::{print, tell};
use super::output::{Failure, NO, Outcome, USAGE, WAITING, line};
use super::person::Person;
use crate::admin::ActName;

/// Erase a person: nothing tells any more which records are theirs
///
/// The key under which records tell of the person is destroyed, in the state and in every copy of it. The records stay as they are, so
/// the log still verifies; nobody can find theirs among them, nor tell that two are of the same person. It cannot be taken back, and
/// after it `jwsd audit search` finds nothing of them. It is recorded without the name; leave names out of the reason, too.
///
/// First all their JWTs are revoked, also where no record is of them; with --everyone, all JWTs there are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  jwsd erase --subject alice --reason 'request 4711'")]
pub(super) struct Arguments {
    #[command(flatten)]
    person: Person,
    /// Everyone there is: when the key of the present epoch is lost, or to begin anew
    #[arg(long, conflicts_with_all = ["subject", "session", "consent", "issuer"])]
    everyone: bool,
    /// Why, for the record: at most 200 bytes, no names
    #[arg(long, value_name = "WHY")]
    reason: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Arguments { person, everyone, reason, daemon, yes, json: for_programs } = arguments;
    let mut body = person.body(reason.as_deref());
    let (whom, word) = match (person.named(), everyone) {
        (Some((_, name)), _) if person.more().is_empty() => (format!("{name:?}"), name.to_owned()),
        (None, true) => ("everyone".to_owned(), "everyone".to_owned()),
        _ => {
            let message = "say whom: one of --subject, --session, --consent, or --everyone";
            return Err(Failure::new(USAGE, message));
        }
    };
    if *everyone {
        body.insert("everyone".to_owned(), true.into());
    }
    let socket = daemon.socket()?;
    let jwts = if *everyone { "all JWTs that there are" } else { "all their JWTs" };
    let warning = format!(
        "nobody will be able to tell which records are of {whom}, and {jwts} are revoked; this cannot be taken back"
    );
    confirm(&warning, "the name", &word, *yes)?;
    let call = || client::call(&socket, "/v1/subjects/erase", Some(&body.into()));
    let (status, answer) = patiently(ActName::Erase, call)?;
    let answer = body_of(status, &answer)?;
    if *for_programs {
        print::json(&answer)?;
    }
    if status == StatusCode::ACCEPTED {
        if !for_programs {
            line("nothing is erased yet: a second operator, with another uid, must ask for the very same")?;
            print::lines(&tell::proposal(answer.get("proposal").unwrap_or(&Value::Null)))?;
        }
        return Ok(WAITING.into());
    }
    let count = answer.get("erased").and_then(Value::as_u64).unwrap_or_default();
    if !for_programs {
        match (count, everyone) {
            (0, false) => line(format_args!(
                "no record is of {whom}: nothing was to be erased; their JWTs are revoked"
            ))?,
            (_, false) => {
                line(format_args!("{whom} is erased: nothing tells any more which records are theirs"))?
            }
            (count, true) => line(format_args!("everyone is erased: {count} keys were destroyed"))?,
        }
    }
    Ok(if count > 0 || *everyone { ExitCode::SUCCESS } else { NO.into() })
}

/// The key that finds a person's records; `None` if there are none.
pub(super) fn search_key(
    daemon: &Daemon,
    person: &Person,
    reason: Option<&str>,
) -> Result<Option<String>, Failure> {
    let body = Value::Object(person.body(reason));
    let (status, answer) = client::call(&daemon.socket()?, "/v1/subjects/search", Some(&body))?;
    let answer = body_of(status, &answer)?;
    Ok(answer.get("key").and_then(Value::as_str).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Kind;
    use serde_json::json;

    #[test]
    fn one_person_is_meant_and_the_rest_narrows() {
        let mut person = Person { session: Some("s".into()), consent: Some("c".into()), ..Person::default() };
        assert_eq!(person.named(), Some((Kind::Session, "s")));
        assert_eq!(person.more(), [(Kind::Consent, "c")]);
        assert_eq!(Value::Object(person.body(Some("why"))), json!({ "session": "s", "reason": "why" }));
        (person.subject, person.issuer) = (Some("alice".into()), Some("https://i".into()));
        assert_eq!(person.named(), Some((Kind::Subject, "alice")));
        assert_eq!(person.more(), [(Kind::Session, "s"), (Kind::Consent, "c")]);
        assert_eq!(Value::Object(person.body(None)), json!({ "subject": "alice", "issuer": "https://i" }));
        assert_eq!(Person::default().named(), None);
    }
}

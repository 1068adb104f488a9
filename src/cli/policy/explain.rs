//! `jwsd policy explain`: what each profile comes to, in sentences that a security officer can sign off.

use std::process::ExitCode;

use serde::Serialize;

use super::super::ConfigFile;
use super::super::output::{Failure, Outcome, USAGE, line, wrap};
use crate::policy::{Sentence, belongs_to, open_to, sentences};
use crate::sys::users::Assumed;

/// Say what profiles come to, in sentences
///
/// Each sentence ends with the topics of control that it serves and the rules that enforce it. Users and groups that
/// this machine does not have are taken to exist.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Names of profiles; all when none is given
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Explained<'a> {
    profile: &'a str,
    sentences: Vec<Sentence>,
}
#[derive(Serialize)]
struct Explanation<'a> {
    environment: &'a str,
    policy: &'a str,
    profiles: Vec<Explained<'a>>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = arguments.file.load(&Assumed::default())?;
    let known = |name: &&String| config.policy.profiles().any(|profile| profile.name.as_str() == *name);
    if let Some(stranger) = arguments.profiles.iter().find(|name| !known(name)) {
        let names: Vec<&str> = config.policy.profiles().map(|profile| profile.name.as_str()).collect();
        let message = format_args!("there is no profile {stranger:?}: the profiles are {}", names.join(", "));
        return Err(Failure::new(USAGE, message));
    }
    let wanted = |name: &str| arguments.profiles.is_empty() || arguments.profiles.iter().any(|n| n == name);
    let profiles = config.policy.profiles().filter(|profile| wanted(profile.name.as_str()));
    let explanation = Explanation {
        environment: &config.environment,
        policy: config.policy.digest(),
        profiles: profiles
            .map(|profile| {
                let callers: Vec<&str> = config.callers.of_profile(profile.name.as_str()).collect();
                let sentences = [open_to(&callers), belongs_to(&config.environment)]
                    .into_iter()
                    .chain(sentences(profile));
                Explained { profile: profile.name.as_str(), sentences: sentences.collect() }
            })
            .collect(),
    };
    if arguments.json {
        line(serde_json::to_string_pretty(&explanation).unwrap_or_default())?;
    } else {
        print(&explanation)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Widest line.
const WIDTH: usize = 100;

fn print(explanation: &Explanation<'_>) -> Result<(), Failure> {
    let Explanation { environment, policy, profiles } = explanation;
    line(format_args!("Policy {policy} of environment {environment:?}"))?;
    for Explained { profile, sentences } in profiles {
        line(format_args!("\nProfile {profile:?}"))?;
        for Sentence { text, controls, rules } in sentences {
            for (index, text) in wrap(text, WIDTH - 4).iter().enumerate() {
                line(format_args!("{} {text}", if index == 0 { "  -" } else { "   " }))?;
            }
            for text in wrap(&format!("[{}] {}", controls.join(", "), rules.join(", ")), WIDTH - 6) {
                line(format_args!("      {text}"))?;
            }
        }
    }
    Ok(())
}

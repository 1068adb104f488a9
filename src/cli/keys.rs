//! `jwsd keys`: what there is to know of keys, and the acts that make, turn, revoke and destroy their versions.

mod acts;
pub(super) mod confirm;
pub(super) mod daemon;
mod list;
mod offline;
pub(super) mod print;
mod release;
pub(super) mod tell;

use std::process::ExitCode;

use super::ConfigFile;
use super::output::Outcome;

use crate::config;

pub(super) use offline::generate;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make the next version of a key inside its backend; the first one signs at once
    ///
    /// Asks the running daemon. Where none runs, does it in its place: run it as the daemon's user then.
    Generate(acts::Generate),
    /// Take a key that is inside the backend already as the next version of a key
    ///
    /// Asks the running daemon. Where none runs, does it in its place: run it as the daemon's user then.
    Adopt(acts::Adopt),
    /// Let the next version take over as soon as verifiers know it; it is made if none is prepared
    Rotate(acts::Rotate),
    /// Let the prepared version sign now
    Activate(acts::Activate),
    /// Stop the active version; nothing signs then until another one is activated
    Retire(acts::Retire),
    /// Take a version and all its JWTs back, at once: for a key that is or may be compromised
    Revoke(acts::Revoke),
    /// Destroy the private half of a removed or revoked version, for good
    Destroy(acts::Destroy),
    /// List acts that wait for a second operator
    Proposals(acts::Proposals),
    /// Call an act off that waits for a second operator
    Withdraw(acts::Withdraw),
    List(list::List),
    Show(list::Show),
    /// After a wrong PIN was corrected: allow one more login to the backend
    ClearPin {
        #[command(flatten)]
        file: ConfigFile,
        /// Name of the backend, as in `[backend.NAME]`
        backend: String,
    },
    Release(release::Arguments),
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Generate(act) => acts::generate(act),
        Command::Adopt(act) => acts::adopt(act),
        Command::Rotate(act) => acts::rotate(act),
        Command::Activate(act) => acts::activate(act),
        Command::Retire(act) => acts::retire(act),
        Command::Revoke(act) => acts::revoke(act),
        Command::Destroy(act) => acts::destroy(act),
        Command::Proposals(arguments) => acts::proposals(arguments),
        Command::Withdraw(arguments) => acts::withdraw(arguments),
        Command::List(arguments) => list::list(arguments),
        Command::Show(arguments) => list::show(arguments),
        Command::Release(arguments) => release::run(arguments),
        Command::ClearPin { file, backend } => {
            offline::clear_pin(&config::load(&file.config)?, backend)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

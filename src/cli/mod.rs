//! The command line: one file per subcommand. Turns arguments into calls and outcomes into exit codes.

mod audit;
mod check;
mod client;
mod clock;
mod dev;
mod erase;
mod introspect;
mod keys;
mod manual;
mod output;
mod person;
mod policy;
mod reload;
mod revoke;
mod serve;
mod sign;
mod softhsm;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};
use crate::sys::users::Users;
use output::Failure;

/// Policy-checked JSON Web Tokens, signed in an HSM, each one recorded.
///
/// Applications on this host ask the daemon for JWTs over a Unix socket. Start with `jwsd dev`, which needs
/// nothing but SoftHSM and shows three curl lines; go on with `jwsd check` and `jwsd serve`.
#[derive(Debug, Parser)]
#[command(name = "jwsd", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success, 1 the answer is no, 64 wrong usage, 69 a backend or the daemon is \
unavailable, 70 a defect of jwsd, 75 a second operator must ask for it too, 77 permission denied or a file is not secure, 78 a fault in the configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Reload(reload::Arguments),
    Dev(dev::Arguments),
    Check(check::Arguments),
    Sign(sign::Arguments),
    Verify(verify::Arguments),
    Introspect(introspect::Arguments),
    Revoke(revoke::Arguments),
    /// Make, adopt, list and turn keys, lift quarantines, and allow a login after a wrong PIN
    #[command(subcommand)]
    Keys(keys::Command),
    Clock(clock::Arguments),
    Erase(erase::Arguments),
    /// Try a policy on test cases, say what it comes to, list its rules
    #[command(subcommand)]
    Policy(policy::Command),
    /// Check, follow, search and export the audit log
    #[command(subcommand)]
    Audit(Box<audit::Command>),
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a directory
    Man {
        /// An existing directory
        directory: PathBuf,
    },
    /// Load a vendor module and sign for the parent process; started by the daemon, never by hand
    #[command(hide = true)]
    Pkcs11Worker,
    /// Make a token for `jwsd dev`, which starts this in a process of its own
    #[command(hide = true, name = "pkcs11-init-token")]
    InitToken {
        /// Label of the token
        label: String,
        /// The PKCS#11 module
        module: PathBuf,
    },
}

/// Parses the process's arguments and runs what they ask for.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            // The help or the fault could not be printed: nothing more can be said.
            let _ = error.print();
            return if wrong { output::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match arguments.command {
        Command::Pkcs11Worker => return crate::backend::pkcs11::worker::run(),
        Command::InitToken { label, module } => dev::init_token(&label, &module),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Introspect(arguments) => introspect::run(&arguments),
        Command::Revoke(arguments) => revoke::run(&arguments),
        Command::Keys(command) => keys::run(&command),
        Command::Clock(arguments) => clock::run(&arguments),
        Command::Erase(arguments) => erase::run(&arguments),
        Command::Policy(command) => policy::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Schema => manual::schema(),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { directory } => manual::man_pages(&directory),
    };
    outcome.unwrap_or_else(Failure::report)
}

/// Which configuration file to use.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "/etc/jwsd/jwsd.toml")]
    config: PathBuf,
}

impl ConfigFile {
    /// What it says, for a machine with these users and groups. Says how to name another file where it is not there.
    fn load(&self, users: &dyn Users) -> Result<Config, Failure> {
        config::load_for(&self.config, users).map_err(|faults| match self.config.try_exists() {
            Ok(false) => {
                Failure::new(output::CONFIG, format_args!("{faults}\nname another file with --config"))
            }
            _ => faults.into(),
        })
    }
}

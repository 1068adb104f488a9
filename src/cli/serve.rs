//! `jwsd serve`: the daemon in the foreground.

use std::process::ExitCode;

use super::ConfigFile;
use super::output::{BUG, Failure, Outcome, PERMISSION, UNAVAILABLE};
use crate::config;
use crate::daemon::{self, ServeError};

/// Run the daemon in the foreground
///
/// Serves until SIGTERM or SIGINT, then answers what is in flight and stops. Reads its configuration again at SIGHUP
/// (`jwsd reload`). Tells systemd when it is ready.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let config = config::load(&arguments.file.config)?;
    daemon::serve(config, &arguments.file.config, || ())?;
    Ok(ExitCode::SUCCESS)
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let code = match &error {
            ServeError::Root | ServeError::Harden(_) => PERMISSION,
            ServeError::File(error) if error.is_permission() => PERMISSION,
            ServeError::Telemetry(_) => BUG,
            ServeError::File(_)
            | ServeError::Runtime(_)
            | ServeError::State(_)
            | ServeError::AuditOpen(_)
            | ServeError::Audit(_)
            | ServeError::Backend(_)
            | ServeError::Keyring(_)
            | ServeError::Admin(_)
            | ServeError::Mixed(_)
            | ServeError::SelfTest { .. }
            | ServeError::Sink(_)
            | ServeError::Bind(_) => UNAVAILABLE,
        };
        Self::because(code, &error)
    }
}

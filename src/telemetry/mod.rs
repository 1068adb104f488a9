//! Logs for operators. Evidence is `audit`'s business; the two are never derived from each other.
//!
//! Lines go to standard error, where a service manager picks them up. Messages are constant sentences, values are fields.
//! Must never show a JWT, a claim, a header or a secret,
//! nor what a panic says, which may hold any of them.

mod chain;

pub use chain::Chain;

use std::panic;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is not one of those named.
    #[error("log level {0:?} is not known; use off, error, warn, info, debug or trace")]
    Level(String),
    /// It was set up before.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Starts logging to standard error: our own lines from `level` on, those of libraries from `warn` on and never below `level`.
///
/// `level` is the configuration's and nothing else's: `RUST_LOG` is not read. The environment of a daemon is set by whoever
/// starts it and is not reviewed as configuration is; and the debug lines of libraries show headers and handles.
///
/// Lines of libraries that use the `log` crate (cryptoki) come out the same way.
///
/// # Errors
/// An unknown level, or a second call.
pub fn init(level: &str, json: bool) -> Result<(), TelemetryError> {
    let targets = targets(level)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .try_init()
        .map_err(TelemetryError::Twice)?;
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(tracing::field::display);
        tracing::error!(location, "Panicked");
    }));
    Ok(())
}

fn targets(level: &str) -> Result<Targets, TelemetryError> {
    let own = match level {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        other => return Err(TelemetryError::Level(other.to_owned())),
    };
    let targets = Targets::new().with_default(own.min(LevelFilter::WARN));
    // It would show whole answers of whoever hands out credentials; what they mean is in our own lines.
    let targets = targets.with_target("aws_config", LevelFilter::OFF);
    Ok(targets.with_target(env!("CARGO_CRATE_NAME"), own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn libraries_stay_at_warn() {
        let debug = targets("debug").unwrap();
        assert!(debug.would_enable("jwsd::transport", &Level::DEBUG));
        assert!(!debug.would_enable("jwsd::transport", &Level::TRACE));
        assert!(debug.would_enable("cryptoki::session", &Level::WARN));
        assert!(!debug.would_enable("cryptoki::session", &Level::INFO));
        assert!(!debug.would_enable("hyper::proto", &Level::INFO));
        assert!(!debug.would_enable("aws_config::meta::credentials::chain", &Level::ERROR));
        let error = targets("error").unwrap();
        assert!(!error.would_enable("hyper", &Level::WARN));
        let off = targets("off").unwrap();
        assert!(!off.would_enable("jwsd", &Level::ERROR));
    }

    #[test]
    fn an_unknown_level_is_refused() {
        for level in ["", "1", "verbose", "INFO", "jwsd=debug"] {
            assert!(matches!(init(level, false), Err(TelemetryError::Level(_))), "{level}");
        }
    }
}

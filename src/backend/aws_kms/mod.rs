//! AWS KMS, in this process: the SDK is Rust, asynchronous and has deadlines.

use super::{Error, Health, KeyStore};
use std::sync::Arc;
use std::time::Duration;

/// What `[backend.NAME]` with `kind = "aws-kms"` says, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The backend's name.
    pub name: String,
    /// `eu-central-1`.
    pub region: String,
    /// Another address of the service than the region's own: a VPC endpoint or an emulator.
    pub endpoint: Option<String>,
    /// Profile of the shared AWS configuration files; the SDK's default chain of credentials when absent.
    pub profile: Option<String>,
    /// ARN of a role to assume with those credentials.
    pub role: Option<String>,
    /// Most `Sign` requests a second: below the account's quota, which all its users share.
    pub rate: u32,
    /// Most `Sign` requests at once.
    pub concurrency: u32,
    /// Connecting, TLS included, must end within this.
    pub connect_timeout: Duration,
    /// One request must end within this.
    pub attempt_timeout: Duration,
    /// Whether a slow `Sign` request is asked a second time in parallel.
    pub hedge: bool,
}

/// One region of AWS KMS under one set of credentials.
pub struct Backend;

impl Backend {
    /// Finds credentials and asks the service once.
    pub async fn start(_settings: Settings, _health: Arc<Health>) -> (Arc<dyn KeyStore>, Result<(), Error>) {
        todo!()
    }
}

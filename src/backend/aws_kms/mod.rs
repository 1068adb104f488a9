//! AWS KMS, in this process: the SDK is Rust, asynchronous and has deadlines.
//!
//! A request passes the `gate`, is sent once by the `service` with credentials from their keeper, and comes back
//! as a signature in JOSE form or as a fault out of the one table in `error`. Repeating it, here or in another
//! region, is left to [`super::Replicas`].
//!
//! Keys are named by ARN once they are open. A key in several regions is a multi-Region key: it is made with AWS's own
//! tools (which also decide who may replicate it) and taken over by name; its replicas are found by their ARN.

mod arn;
mod budget;
mod client;
mod credentials;
mod destroy;
mod error;
mod gate;
mod hedge;
mod key;
mod list;
mod make;
mod message;
mod mu;
mod rate;
mod service;
mod skew;
mod spec;
mod store;

pub use client::check_endpoint;
pub use store::Backend;

use std::time::Duration;

/// What `[backend.NAME]` with `kind = "aws-kms"` says, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The backend's name.
    pub name: String,
    /// `eu-central-1`.
    pub region: String,
    /// Another address of the service than the region's own: a VPC endpoint or an emulator. See [`check_endpoint`];
    /// `AWS_ENDPOINT_URL` of the environment is not looked at.
    pub endpoint: Option<String>,
    /// Profile of the shared AWS configuration files; the SDK's default chain of credentials when absent:
    /// environment, default profile, web identity, container, instance. Of the profiles, neither those with single
    /// sign-on nor those with `credential_process` work: a daemon has no browser, and starts no programs.
    pub profile: Option<String>,
    /// ARN of a role to assume with those credentials.
    pub role: Option<String>,
    /// Most `Sign` requests a second: below the account's quota, which all its users share. AWS documents 300 to 1000
    /// a second and kind of key, so 240 is safe everywhere; whoever has more may say so.
    pub rate: u32,
    /// Most `Sign` requests at once.
    pub concurrency: u32,
    /// Connecting, TLS included, must end within this.
    pub connect_timeout: Duration,
    /// One request must end within this.
    pub attempt_timeout: Duration,
    /// Whether a slow `Sign` request is asked a second time in parallel.
    pub hedge: bool,
    /// Whether keys may be made there.
    pub generate: bool,
    /// Days, 7 to 30, for which a key that was destroyed can still be had back.
    pub deletion_days: u8,
}

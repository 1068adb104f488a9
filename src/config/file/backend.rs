//! `[backend.NAME]`.

use super::{DurationText, Named, RateText};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where private keys live.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(in crate::config) enum Backend {
    /// A PKCS#11 token, through a worker process.
    Pkcs11(Pkcs11),
    /// AWS KMS, one region of it.
    AwsKms(AwsKms),
}
table! {
    /// A PKCS#11 token, through a worker process.
    Pkcs11 {
        /// Module, token and place of the PIN as a PKCS#11 URI (RFC 7512), or some of the three. Never the PIN itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uri: Option<String>,
        /// The vendor's PKCS#11 library, absolute path; module-path in `uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module: Option<String>,
        /// Which token, by label, serial number or both; token, serial, manufacturer and model in `uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
        /// Where the PIN is read from, never the PIN itself; pin-source in `uri`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pin: Option<Pin>,
        /// Sessions, which is also signing threads, 1 to 256. As many as there are cores when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sessions: Option<u16>,
        /// Environment of the worker, such as SOFTHSM2_CONF; it inherits nothing else. No secrets.
        #[serde(default)]
        env: Named<String>,
        /// Loading the module, logging in and finding the keys must end within this.
        #[serde(default = "start_timeout")]
        start_timeout: DurationText,
        /// Whether jwsd may make keys there; where not, an operator makes them and it adopts them.
        #[serde(default = "generate")]
        generate: bool,
    }
}
fn generate() -> bool {
    true
}
fn start_timeout() -> DurationText {
    "10s".into()
}
optional_table! {
    /// A PKCS#11 token. Slot numbers are not offered: modules renumber slots.
    Token {
        /// The token's label.
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String> = None,
        /// The token's serial number.
        #[serde(skip_serializing_if = "Option::is_none")]
        serial: Option<String> = None,
    }
}
optional_table! {
    /// Where a PIN is read from: exactly one of the two.
    Pin {
        /// Name of a systemd credential (LoadCredential=, LoadCredentialEncrypted=).
        #[serde(skip_serializing_if = "Option::is_none")]
        credential: Option<String> = None,
        /// Absolute path of a file with mode 0600 or 0400.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String> = None,
    }
}
table! {
    /// AWS KMS, one region of it. Credentials come from where the AWS SDK looks for them, never from this file.
    AwsKms {
        /// The region, such as "eu-central-1".
        region: String,
        /// Another address of the service than the region's own, such as that of a VPC endpoint: https, or http on this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// Profile of the shared AWS configuration files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<String>,
        /// ARN of an IAM role to assume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// Most signatures asked for per second: less than the account's quota, which all its users share.
        #[serde(default = "rate")]
        rate: RateText,
        /// Most requests at once, 1 to 1024.
        #[serde(default = "concurrency")]
        concurrency: u32,
        /// Connecting, TLS included, must end within this.
        #[serde(default = "connect_timeout")]
        connect_timeout: DurationText,
        /// One request must end within this.
        #[serde(default = "attempt_timeout")]
        attempt_timeout: DurationText,
        /// Ask a second time when an answer is slow in coming.
        #[serde(default = "hedge")]
        hedge: bool,
        /// Whether jwsd may make keys there; where not, an operator makes them and it adopts them.
        #[serde(default = "generate")]
        generate: bool,
        /// How long a destroyed key can still be had back from AWS, 7d to 30d in whole days.
        #[serde(default = "deletion_window")]
        deletion_window: DurationText,
    }
}
fn deletion_window() -> DurationText {
    "30d".into()
}
/// 80 % of 300 a second, the least that AWS grants for a kind of key.
fn rate() -> RateText {
    "240/s".into()
}
fn concurrency() -> u32 {
    64
}
fn connect_timeout() -> DurationText {
    "300ms".into()
}
fn attempt_timeout() -> DurationText {
    "1s".into()
}
fn hedge() -> bool {
    true
}

//! `[audit]`: the audit log, how it is sealed, and who keeps copies of its checkpoints.

use super::Retain;
use super::Sink;
use crate::config::units::{DurationText, SizeText};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

optional_table! {
    /// The audit log.
    Audit {
        /// Directory of the segments, absolute.
        dir: String = "/var/log/jwsd",
        /// Bytes reserved per segment.
        segment: SizeText = "64MiB",
        /// How the log is sealed, so that anyone can check it with a public key. It is not when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        checkpoint: Option<Checkpoint> = None,
        /// How long it is kept. For ever when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        retain: Option<Retain> = None,
        /// Where copies of checkpoints go: a log that has lost what they saw is found out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        witness: Vec<Witness> = Vec::new(),
        /// Where every record goes besides: syslog, systemd's journal, an OpenTelemetry collector.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sink: Vec<Sink> = Vec::new(),
    }
}
table! {
    /// How the audit log is sealed.
    Checkpoint {
        /// Name of the checkpoint key, Ed25519 or ES256, which no profile uses.
        key: String,
        /// Name of a second key, ML-DSA-44, which no profile uses: it cosigns each checkpoint, against quantum computers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cosign: Option<String>,
        /// The log's name in its checkpoints, fixed by the first: "jwsd/ENVIRONMENT/HOSTNAME" when left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<String>,
        /// A checkpoint is signed this often, 1s to 1h, also when nothing was recorded.
        #[serde(default = "every")]
        every: DurationText,
        /// And after so many records.
        #[serde(default = "records")]
        records: u32,
    }
}
fn every() -> DurationText {
    "1m".into()
}
fn records() -> u32 {
    10_000
}
optional_table! {
    /// Who keeps copies of checkpoints: a file, the system's log, or a witness over HTTP, which cosigns them.
    Witness {
        /// A file that is there already, preferably another user's, to which the daemon may append; absolute.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String> = None,
        /// The system's log (/dev/log), one message for each checkpoint.
        syslog: bool = false,
        /// Address of a C2SP tlog-witness, what `/add-checkpoint` is put after; https, or http to this host.
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<String> = None,
        /// The key that it cosigns with, `name+id+key` of type 0x04 (Ed25519) or 0x06 (ML-DSA-44).
        #[serde(skip_serializing_if = "Option::is_none")]
        vkey: Option<String> = None,
        /// File (PEM, absolute) with the certificate authorities that alone are trusted; the system's when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        ca: Option<String> = None,
    }
}

//! `[[audit.sink]]`.

use super::Named;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

optional_table! {
    /// Where every record goes besides: exactly one of syslog, journald and otlp.
    Sink {
        /// Tells it from other sinks, and keeps its place in the log over a restart. "syslog", "journald" or "otlp" when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String> = None,
        /// Syslog, RFC 5424: a Unix datagram socket ("/dev/log"), "tls://HOST:PORT", or "tcp://HOST:PORT" on this host alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        syslog: Option<String> = None,
        /// The journal of systemd, in its native protocol.
        journald: bool = false,
        /// The journal's socket, absolute, if it is not the host's own: "/run/systemd/journal.NAMESPACE/socket".
        #[serde(skip_serializing_if = "Option::is_none")]
        socket: Option<String> = None,
        /// An OpenTelemetry collector, OTLP over HTTP in JSON: "https://HOST:4318/v1/logs"; http:// on this host alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        otlp: Option<String> = None,
        /// The file of certificate authorities (PEM) that alone are trusted, absolute. Those of the system when left out.
        #[serde(skip_serializing_if = "Option::is_none")]
        ca: Option<String> = None,
        /// Header fields of requests to the collector, by name: where each value is read from, never the value itself.
        #[serde(skip_serializing_if = "Named::is_empty")]
        headers: Named<SinkSecret> = Named::new(),
        /// How a record is written: "json", as it is stored, or "ocsf", an API Activity event.
        format: SinkForm = SinkForm::Json,
        /// Events that it gets, or families of them: "jwt.issued", "key.*". All when left out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        events: Vec<String> = Vec::new(),
        /// Where it begins the first time: "end", with the records of this start, or "start", with the first one of the log.
        from: SinkFrom = SinkFrom::End,
        /// When it is further behind than so many records, 1000 to 1000000000, the oldest are left out, which is recorded.
        behind: u32 = 1_000_000_u32,
    }
}
/// How a record is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SinkForm {
    #[default]
    Json,
    Ocsf,
}
/// Where a new sink begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SinkFrom {
    #[default]
    End,
    Start,
}
optional_table! {
    /// Where a secret is read from: a systemd credential or a file.
    SinkSecret {
        /// Name of a systemd credential (LoadCredential=).
        #[serde(skip_serializing_if = "Option::is_none")]
        credential: Option<String> = None,
        /// File that only the daemon's user may read, absolute path.
        #[serde(skip_serializing_if = "Option::is_none")]
        file: Option<String> = None,
    }
}

//! What `[[audit.sink]]` says, resolved.

use hyper::Uri;
use hyper::header::HeaderName;
use std::path::PathBuf;

/// Where journald takes entries.
pub const JOURNAL: &str = "/run/systemd/journal/socket";

/// One sink.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tells it from others, and keeps its place over a restart.
    pub name: String,
    /// Where records go.
    pub kind: Kind,
    /// How they are written there.
    pub form: Form,
    /// Only these events, or families of them; all if there are none.
    pub events: Vec<String>,
    /// Where it begins the first time.
    pub from: From,
    /// When it is further behind than so many records, the oldest are left out.
    pub behind: u64,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Syslog over a Unix datagram socket.
    SyslogUnix(PathBuf),
    /// Syslog over TCP, with octet counting.
    SyslogTcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The same over TLS.
    SyslogTls {
        /// Name or address, which the certificate is to be for.
        host: String,
        /// Port.
        port: u16,
        /// Authorities that alone are trusted; without it those of the system.
        ca: Option<PathBuf>,
    },
    /// The native protocol of systemd's journal.
    Journald(PathBuf),
    /// OTLP over HTTP, JSON.
    Otlp {
        /// All of it, as a rule with path `/v1/logs`.
        url: Uri,
        /// Authorities that alone are trusted; without it those of the system.
        ca: Option<PathBuf>,
        /// Header fields of each request.
        headers: Vec<(HeaderName, Secret)>,
    },
}

impl Kind {
    /// For people.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::SyslogUnix(_) | Self::SyslogTcp { .. } | Self::SyslogTls { .. } => "syslog",
            Self::Journald(_) => "journald",
            Self::Otlp { .. } => "otlp",
        }
    }
}

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is stored.
    Json,
    /// As an API Activity event of the Open Cybersecurity Schema Framework.
    Ocsf,
}

/// Where a new sink begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the records of this start.
    End,
    /// With the first record that the log has.
    Start,
}

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A systemd credential of this name.
    Credential(String),
    /// A file that is ours alone.
    File(PathBuf),
}

//! The other end of a sink, whatever its kind, and what is known of what it has.

use super::batch::Batch;
use super::cursor::Position;
use super::datagram::Datagrams;
use super::otlp::Collector;
use super::stream::Stream;
use super::{Kind, Settings};
use crate::transport::TlsError;
use std::time::Duration;

/// Why it takes nothing now.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) problem: String,
    /// It asked not to be tried before.
    pub(super) after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into(), after: None }
    }
}

/// Records that it refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Number of the last record before them.
    pub(super) after: u64,
    pub(super) count: u64,
    pub(super) reason: String,
}

/// What is known of what the other end has.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Everything before this place arrived, or needs not to: where to go on when anything fails.
    pub(super) safe: Position,
    /// Number of the last record that was sent: from `safe` up to it some have arrived, and nobody knows which.
    pub(super) sent: u64,
    /// What it refused since this was looked at.
    pub(super) refused: Vec<Refused>,
}

pub(super) enum Target {
    Datagrams(Datagrams),
    Stream(Box<Stream>),
    Otlp(Box<Collector>),
}

impl Target {
    pub(super) fn new(settings: &Settings) -> Result<Self, TlsError> {
        Ok(match &settings.kind {
            Kind::SyslogUnix(path) | Kind::Journald(path) => Self::Datagrams(Datagrams::new(path)),
            Kind::SyslogTcp { host, port } => Self::Stream(Box::new(Stream::new(host, *port, None))),
            Kind::SyslogTls { host, port, ca } => {
                let tls = crate::transport::tls(ca.as_deref())?;
                Self::Stream(Box::new(Stream::new(host, *port, Some(tls))))
            }
            Kind::Otlp { url, ca, headers } => {
                Self::Otlp(Box::new(Collector::new(url, ca.as_deref(), headers)?))
            }
        })
    }

    /// Sends a batch, which ends at `end`. After a failure, what came after `progress.safe` has to be sent again. May be
    /// given up at any moment, which is a failure too: then [`Target::reset`] it.
    pub(super) async fn send(
        &mut self,
        batch: &Batch,
        end: &Position,
        progress: &mut Progress,
    ) -> Result<(), Failure> {
        match self {
            Self::Datagrams(datagrams) => datagrams.send(&batch.messages, end, progress).await,
            Self::Stream(stream) => stream.send(&batch.messages, end, progress).await,
            Self::Otlp(collector) => {
                collector.send(&batch.messages, progress).await?;
                progress.safe = end.clone();
                Ok(())
            }
        }
    }

    /// Whether everything that was sent is known to have arrived.
    pub(super) fn is_sure(&self) -> bool {
        match self {
            Self::Datagrams(datagrams) => datagrams.is_sure(),
            Self::Stream(stream) => stream.is_sure(),
            Self::Otlp(_) => true,
        }
    }

    /// Whatever stands between is given up.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Datagrams(datagrams) => datagrams.reset(),
            Self::Stream(stream) => stream.reset(),
            Self::Otlp(_) => {}
        }
    }

    /// Nothing more will be sent: finds out what arrived.
    pub(super) async fn finish(&mut self, progress: &mut Progress) {
        if let Self::Stream(stream) = self {
            stream.finish(progress).await;
        }
    }
}

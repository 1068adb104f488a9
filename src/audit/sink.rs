//! Sinks: every durable record goes to the systems that people watch, each over a task of its own.
//!
//! The log itself is the queue: a sink is a cursor into it, kept in the state, so that nothing is lost over an outage or
//! a restart, and a record may arrive twice but none is left out untold. Never holds up the writer, another sink, or the
//! daemon's stop; never sends what is not durable.

mod batch;
mod cursor;
mod datagram;
mod events;
mod journal;
mod otlp;
mod report;
mod run;
mod settings;
mod stream;
mod syslog;
mod target;
mod voice;

#[cfg(test)]
mod tests;

pub use events::selectors;
pub use report::SinkReport;
pub use settings::{Form, From, JOURNAL, Kind, Secret, Settings};

use super::log::Log;
use crate::clock::Clock;
use crate::state::{self, SinkRow, Store};
use crate::transport::TlsError;
use futures_util::future::join_all;
use run::{Pace, Sink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use target::Target;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use voice::Voice;

/// At a stop, what is still to be sent gets so long.
const LAST_WITHIN: Duration = Duration::from_secs(3);
/// And then this, to keep how far it came.
const KEEP_WITHIN: Duration = Duration::from_secs(2);

/// Why sinks could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One cannot speak TLS.
    #[error("sink {name:?} cannot be used")]
    Tls {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: TlsError,
    },
    /// It is not known how far they are.
    #[error(transparent)]
    State(#[from] state::Error),
}

/// The sinks of one log, at work.
pub struct Sinks {
    voice: Arc<Voice>,
    ending: Ending,
    tasks: Vec<(String, JoinHandle<()>)>,
}

/// How the end is told to sinks.
#[derive(Debug, Clone, Default)]
struct Ending {
    /// Send what there is, and end.
    stop: CancellationToken,
    /// End.
    over: CancellationToken,
}

impl Sinks {
    /// Begins to send. Sinks that the state does not know begin at the end of the log, or at its first record if they are
    /// to. Blocks on the state.
    ///
    /// # Errors
    /// [`StartError`]; nothing is sent then.
    pub fn start(
        settings: &[Settings],
        dir: &Path,
        log: &Log,
        store: &Arc<Store>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        Self::start_at(settings, dir, log, (store, clock), Pace::default())
    }

    fn start_at(
        settings: &[Settings],
        dir: &Path,
        log: &Log,
        (store, clock): (&Arc<Store>, &Arc<dyn Clock>),
        pace: Pace,
    ) -> Result<Self, StartError> {
        let (voice, ending) = (Arc::new(Voice::new(log.clone(), settings.len())), Ending::default());
        let mut sinks = Vec::new();
        let mut reports = Vec::new();
        for (index, settings) in settings.iter().enumerate() {
            let name = settings.name.clone();
            let target =
                Target::new(settings).map_err(|source| StartError::Tls { name: name.clone(), source })?;
            let row = match store.sink(&name)? {
                Some(row) => row,
                None => {
                    let seq = if settings.from == From::Start { 0 } else { log.durable() };
                    let row = SinkRow { seq, told: seq, ..SinkRow::default() };
                    // Whatever comes from here on is its own, also if we do not live long.
                    store.keep_sink(&name, &row)?;
                    row
                }
            };
            reports.push(SinkReport::new(&name, settings.kind.word(), &row));
            let parts = (settings.clone(), target, row, pace);
            let around = (dir, Arc::clone(store), Arc::clone(clock), ending.clone());
            sinks.push((name, Sink::new(index, parts, around, Arc::clone(&voice))));
        }
        *log.sinks() = reports;
        let spawn = |(name, sink): (String, Sink)| (name, tokio::spawn(sink.run()));
        Ok(Self { voice, ending, tasks: sinks.into_iter().map(spawn).collect() })
    }

    /// From now on they record nothing; what is to be said by then is.
    pub fn silence(&self) {
        self.voice.silence();
    }

    /// Sends what there is, if that can be done in a moment, and ends.
    pub async fn end(self) {
        self.silence();
        let Ending { stop, over } = self.ending;
        stop.cancel();
        let last = Instant::now() + LAST_WITHIN;
        let end = last + KEEP_WITHIN;
        let ends = self.tasks.into_iter().map(async |(name, mut task)| {
            if timeout_at(last, &mut task).await.is_err() {
                over.cancel();
            } else {
                return;
            }
            if timeout_at(end, &mut task).await.is_err() {
                task.abort();
                tracing::error!(sink = name, "Sink did not end in time: it may send some records again");
            }
        });
        join_all(ends).await;
    }
}

//! Keeps time: looks at the clock though nobody asks for it, records what happens to it, keeps what the next start needs.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Unit};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::audit::{Entry, Event, Log, Outcome, Unavailable};
use crate::clock::{Clock, ClockEvent, Guarded, Mode};
use crate::state::{self, Store};
use crate::sys::kernel;
use crate::telemetry::Chain;

/// How often the clock is looked at, and the kernel asked about it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the head is kept while nothing happens.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Events that wait for an audit log that does not record; more are only logged.
const WAITING: usize = 1024;

/// A clock, and what happens to it.
pub type Watched = (Arc<Guarded>, UnboundedReceiver<ClockEvent>);

/// The clock for whoever signs or turns keys, as the last daemon left it.
///
/// # Errors
/// When the state cannot be read.
pub fn open(mode: Mode, clock: Arc<dyn Clock>, store: &Store) -> Result<Watched, state::Error> {
    let (notify, events) = mpsc::unbounded_channel();
    let known = (store.clock()?, kernel::boot_id());
    Ok((Arc::new(Guarded::new(mode, clock, kernel::clock_error, known, notify)), events))
}

/// Runs until `ended`, which says whether it is sure that nobody asks for the time any more.
pub(super) async fn keep(
    clock: Arc<Guarded>,
    mut events: UnboundedReceiver<ClockEvent>,
    store: Arc<Store>,
    log: Log,
    mut ended: oneshot::Receiver<bool>,
) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut unrecorded, mut kept) = (Vec::new(), None::<Instant>);
    loop {
        let (event, last) = tokio::select! {
            _ = ticks.tick() => { clock.tick(); (None, None) }
            event = events.recv() => (event, None),
            idle = &mut ended => (None, Some(idle.unwrap_or(false))),
        };
        let first = unrecorded.len();
        unrecorded.extend(event);
        unrecorded.extend(std::iter::from_fn(|| events.try_recv().ok()));
        unrecorded.iter().skip(first).for_each(tell);
        let happened = unrecorded.len() > first;
        unrecorded.truncate(WAITING);
        // In order, each once.
        let done = unrecorded.iter().take_while(|event| record(&log, event).is_ok()).count();
        unrecorded.drain(..done);
        let is_due = kept.is_none_or(|kept| kept.elapsed() >= KEEP_EVERY);
        if happened || is_due || last.is_some() {
            let (clock, store, idle) = (Arc::clone(&clock), Arc::clone(&store), last == Some(true));
            let now = Instant::now();
            // What was not kept is due again at the next look. A panic in there is logged where it happens.
            kept = match spawn_blocking(move || store.keep_clock(|| clock.head(idle))).await {
                Ok(Ok(())) => Some(now),
                Ok(Err(error)) => {
                    tracing::error!(error = %Chain(&error), "Clock's head not kept");
                    None
                }
                Err(_) => None,
            };
        }
        if last.is_some() {
            return;
        }
    }
}

/// Whole seconds, for people.
fn length(by: SignedDuration) -> SignedDuration {
    by.abs().round(Unit::Second).unwrap_or(by)
}

fn direction(by: SignedDuration) -> &'static str {
    if by.is_negative() { "back" } else { "forward" }
}

/// For operators.
fn tell(event: &ClockEvent) {
    match *event {
        ClockEvent::Jumped { by, fault: None } => {
            tracing::warn!(direction = direction(by), by = %format_args!("{:#}", length(by)), "Clock jumped");
        }
        ClockEvent::Jumped { by, fault: Some(reason) } => {
            let by = (direction(by), length(by));
            tracing::error!(direction = by.0, by = %format_args!("{:#}", by.1), %reason, "Clock jumped, nothing is signed");
        }
        ClockEvent::Untrusted(reason) => tracing::error!(%reason, "Clock not trusted, nothing is signed"),
        ClockEvent::Trusted => tracing::info!("Clock trusted again"),
    }
}

fn record(log: &Log, event: &ClockEvent) -> Result<(), Unavailable> {
    let (kind, outcome, reason) = match event {
        ClockEvent::Jumped { by, fault } => {
            let (outcome, trusted) = if fault.is_none() {
                (Outcome::Success, "trusted")
            } else {
                (Outcome::Failed, "not trusted")
            };
            let reason = format!("{} by {:#}, {trusted}", direction(*by), length(*by));
            (Event::ClockJumped, outcome, Some(reason))
        }
        ClockEvent::Untrusted(fault) => (Event::ClockUntrusted, Outcome::Failed, Some(fault.to_string())),
        ClockEvent::Trusted => (Event::ClockTrusted, Outcome::Success, None),
    };
    log.append(vec![Entry { reason, ..Entry::new(kind, outcome) }]).map(drop)
}

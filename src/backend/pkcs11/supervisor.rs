//! Keeping a worker alive: start, watch, kill, replace with backoff, find every key again.
//!
//! One task owns the worker's process. Must never start a worker while the PIN marker forbids a login, and never let
//! a request reach a key whose public half was not compared in the present generation.

use super::control::Control;
use super::launch::{Launched, NotLaunched, launch, reap};
use super::pipe::{End, read};
use super::shared::{Inner, Live, Phase};
use super::{Fault, pin, pin_refused};
use crate::backend::BackendEvent;
use crate::telemetry::Chain;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// Waits between the death of a worker and the next start, by failures in a row.
const BACKOFF: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
/// Least time from one start to the next: a worker that signs once and dies does not become a busy loop.
const SPACING: Duration = Duration::from_millis(50);
/// A worker that was ready for this long was healthy, even if it was never asked to sign.
const HEALTHY: Duration = Duration::from_secs(10);
/// Between looks at counters, silent sessions and the PIN marker.
const TICK: Duration = Duration::from_secs(1);
/// A session that is silent for this long with work in hand hangs, whoever waits for it.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a worker that is to be replaced may finish what it has.
const DRAIN: Duration = Duration::from_secs(1);

impl Inner {
    /// Runs the backend until it is stopped. `first` hears how the first start went.
    pub(super) async fn supervise(self: Arc<Self>, first: oneshot::Sender<Result<(), Fault>>) {
        let mut first = Some(first);
        let mut generation = 0;
        let mut failures = 0;
        while !self.stop.is_cancelled() {
            generation += 1;
            let started = Instant::now();
            let launched = tokio::select! {
                launched = self.start_worker() => launched,
                () = self.stop.cancelled() => break,
            };
            let (healthy, reason) = match launched {
                Ok(launched) => {
                    let live = self.live(launched, generation, &mut first).await;
                    if self.stop.is_cancelled() {
                        break;
                    }
                    live
                }
                Err(refused) => {
                    if let Some(first) = first.take() {
                        // Nobody waits when the start was given up.
                        let _ = first.send(Err(refused.fault.clone()));
                        // Whoever cannot do without it shuts it down now, before a second login is tried.
                        failures = 2;
                    }
                    if refused.pin_refused {
                        self.report_refusal(&refused);
                        self.wait_for_operator(generation, refused.fault).await;
                        failures = 0;
                        continue;
                    }
                    tracing::warn!(
                        backend = self.settings.name,
                        reason = refused.fault.message,
                        "Worker did not start"
                    );
                    (false, refused.fault.message)
                }
            };
            if healthy {
                failures = 0;
            }
            self.phase.send_replace(Phase::Starting { generation, reason });
            let pause = BACKOFF.get(failures).or(BACKOFF.last()).copied();
            let next = Instant::now() + pause.unwrap_or_default();
            failures += 1;
            tokio::select! {
                () = sleep_until(next.max(started + SPACING)) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.phase.send_replace(Phase::Stopped { generation });
        self.dispatcher.block(&Fault::down("the backend is shut down"));
    }

    /// Starts one worker, if the marker allows a login at all.
    async fn start_worker(&self) -> Result<Launched, NotLaunched> {
        let settings = &self.settings;
        let state = pin::state(&settings.marker_dir, &settings.name).map_err(Fault::from)?;
        if !state.allows_login() {
            return Err(NotLaunched { fault: pin_refused(&settings.name, state), pin_refused: true });
        }
        let pin = (self.read_pin)()
            .map_err(|error| Fault::misconfigured(format!("the PIN cannot be read: {error}")))?;
        launch(settings, pin).await
    }

    /// One generation, from a worker that is logged in to its end. Says whether it was of use, and why it ended.
    async fn live(
        self: &Arc<Self>,
        launched: Launched,
        generation: u64,
        first: &mut Option<oneshot::Sender<Result<(), Fault>>>,
    ) -> (bool, String) {
        let Launched { mut child, pid, control, pipes, token } = launched;
        let (ends, mut end) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let (control, serving) = Control::new(control, self.settings.start_timeout);
        let control_ends = ends.clone();
        tasks.spawn(async move { drop(control_ends.send(serving.await)) });
        let (pipes, sockets): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        for (lane, (pipe, socket)) in pipes.iter().zip(sockets).enumerate() {
            let pump = Arc::clone(pipe);
            let (dispatcher, ends) = (Arc::clone(&self.dispatcher), ends.clone());
            tasks.spawn(async move { drop(pump.pump().await) });
            tasks.spawn(async move {
                let end = read(socket, &dispatcher, generation, lane).await;
                dispatcher.close(generation);
                drop(ends.send(end));
            });
        }
        self.find_keys(generation, &control, false).await;
        self.signs_now.store(0, Ordering::Release);
        let live = Live { generation, pid, token: token.clone(), control };
        self.phase.send_replace(Phase::Ready(live.clone()));
        self.dispatcher.publish(generation, &pipes, ends);
        self.tell(BackendEvent::WorkerUp { backend: self.settings.name.clone(), generation, pid });
        tracing::info!(
            backend = self.settings.name,
            generation,
            pid,
            token,
            sessions = pipes.len(),
            "Worker is ready"
        );
        if let Some(first) = first.take() {
            // Nobody waits when the start was given up; dropping the backend stops it.
            let _ = first.send(Ok(()));
        }

        let ready = Instant::now();
        let reason = self.watch(&mut child, &live, &mut end).await;
        let (answered, signed) = self.dispatcher.retract();
        self.phase.send_replace(Phase::Starting { generation, reason: reason.clone() });
        tasks.abort_all();
        // Already dead is as good.
        let _ = child.start_kill();
        let status = reap(&mut child).await;
        let signs = self.signs_now.swap(0, Ordering::AcqRel).max(answered);
        self.signs_before.fetch_add(signs, Ordering::AcqRel);
        if !self.stop.is_cancelled() {
            tracing::warn!(backend = self.settings.name, generation, pid, reason, status, "Worker ended");
        }
        self.tell(BackendEvent::WorkerDown {
            backend: self.settings.name.clone(),
            generation,
            reason: reason.clone(),
        });
        (signed > 0 || ready.elapsed() >= HEALTHY, reason)
    }

    /// Waits for a reason to end this generation.
    async fn watch(
        self: &Arc<Self>,
        child: &mut Child,
        live: &Live,
        ends: &mut mpsc::UnboundedReceiver<End>,
    ) -> String {
        let mut care = JoinSet::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = tokio::select! {
                end = ends.recv() => end.unwrap_or_else(|| End::Lost("all sessions ended".into())),
                status = child.wait() => End::Lost(match status {
                    Ok(status) => format!("the worker ended: {status}"),
                    Err(error) => format!("the worker cannot be waited for: {error}"),
                }),
                () = self.stop.cancelled() => End::Lost("shut down".into()),
                _ = ticks.tick() => {
                    let (_, silent) = self.dispatcher.load();
                    if silent < SILENCE {
                        while care.try_join_next().is_some() {}
                        if care.is_empty() {
                            care.spawn(Arc::clone(self).look_after(live.clone()));
                        }
                        continue;
                    }
                    End::Hung(format!("a session is silent for {silent:?}"))
                }
            };
            match end {
                End::Lost(reason) | End::Hung(reason) => return reason,
                End::Replace(reason) => {
                    self.dispatcher.close(live.generation);
                    let until = Instant::now() + DRAIN;
                    while self.dispatcher.load().0 > 0 && Instant::now() < until {
                        sleep(Duration::from_millis(5)).await;
                    }
                    return reason;
                }
            }
        }
    }

    /// Reads the counters, and looks again for keys that could not be used. Takes long while the control socket is busy.
    async fn look_after(self: Arc<Self>, live: Live) {
        self.count(&live).await;
        self.find_keys(live.generation, &live.control, true).await;
    }

    /// Fails all requests until somebody clears the marker. Sees to it that the refusal is on disk first.
    async fn wait_for_operator(&self, generation: u64, fault: Fault) {
        self.dispatcher.block(&fault);
        self.phase.send_replace(Phase::Blocked { generation, fault });
        let settings = &self.settings;
        let mut told = false;
        loop {
            match pin::cleared(&settings.marker_dir, &settings.name) {
                Ok(true) => break,
                Err(error) if !told => {
                    told = true;
                    tracing::error!(backend = settings.name, error = %Chain(&error), "PIN marker is out of reach");
                }
                Ok(false) | Err(_) => {}
            }
            tokio::select! {
                () = sleep(TICK) => {}
                () = self.stop.cancelled() => return,
            }
        }
        tracing::info!(backend = settings.name, "PIN marker was cleared");
        self.tell(BackendEvent::PinCleared { backend: settings.name.clone() });
        self.phase.send_replace(Phase::Starting { generation, reason: "the PIN marker was cleared".into() });
        self.dispatcher.unblock();
    }

    fn report_refusal(&self, refused: &NotLaunched) {
        if refused.pin_refused {
            tracing::error!(
                backend = self.settings.name,
                reason = refused.fault.message,
                "No login with this PIN"
            );
            self.tell(BackendEvent::PinRefused {
                backend: self.settings.name.clone(),
                reason: refused.fault.message.clone(),
            });
        }
    }
}

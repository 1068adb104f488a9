//! Keeping a worker alive: start, watch, kill, replace with backoff, find every key again.
//!
//! One task owns the worker's process. Must never start a worker while the PIN marker forbids a login, and never let
//! a request reach a key whose public half was not compared in the present generation.

use super::control::Control;
use super::history::{History, Next};
use super::launch::{Launched, NotLaunched, launch, reap};
use super::pipe::{End, read};
use super::recovery::{CRASH, HANG};
use super::shared::{Inner, Live, Phase};
use super::{Fault, pin, pin_refused};
use crate::backend::{Advice, BackendEvent, Class, Scope};
use crate::telemetry::Chain;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

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
/// A worker that has grown by this since it was ready leaks: sessions and keys take some tens of MiB, and what is left
/// of the memory is other people's. What a module needs to begin with is its own affair, as no new worker would help.
const GROWTH_LIMIT: u64 = 512 << 20;

impl Inner {
    /// Runs the backend until it is stopped. `first` hears how the first start went.
    pub(super) async fn supervise(self: Arc<Self>, first: oneshot::Sender<Result<(), Fault>>) {
        let mut first = Some(first);
        let mut generation = 0;
        let mut history = History::default();
        while !self.stop.is_cancelled() {
            if let Some(reason) = self.health.quarantined() {
                let fault = quarantined(&self.settings.name, &reason);
                if let Some(first) = first.take() {
                    // Nobody waits when the start was given up.
                    let _ = first.send(Err(fault.clone()));
                }
                self.rest(generation, fault, self.health.wait_for_release()).await;
                history.forget();
                continue;
            }
            generation += 1;
            let started = Instant::now();
            let launched = tokio::select! {
                launched = self.start_worker() => launched,
                () = self.stop.cancelled() => break,
            };
            let (fault, (next, blame)) = match launched {
                Ok(launched) => {
                    let Ended { fault, signed, healthy } = self.live(launched, generation, &mut first).await;
                    if self.stop.is_cancelled() {
                        break;
                    }
                    let next = history.ended(&fault, signed, healthy, std::time::Instant::now());
                    (fault, next)
                }
                Err(NotLaunched { fault, pin_refused }) => {
                    if let Some(first) = first.take() {
                        // Nobody waits when the start was given up.
                        let _ = first.send(Err(fault.clone()));
                        history.first_failed();
                    }
                    if pin_refused {
                        self.report_refusal(&fault);
                        self.wait_for_operator(generation, fault).await;
                        history.forget();
                        continue;
                    }
                    let (reason, now) = (&fault.message, std::time::Instant::now());
                    if history.is_news(reason, now) {
                        tracing::warn!(backend = self.settings.name, reason, "Worker did not start");
                    }
                    let next = history.not_started(&fault, now);
                    (fault, next)
                }
            };
            if blame {
                self.health.fail(&fault.message);
            }
            let pause = match next {
                Next::Start(pause) => pause,
                Next::Rest(pause) => {
                    self.rest(generation, budget_spent(&fault, pause), sleep(pause)).await;
                    Duration::ZERO
                }
                Next::Quarantine(reason) => {
                    self.health.quarantine(&reason);
                    continue;
                }
            };
            self.phase.send_replace(Phase::Starting { generation, reason: fault.message });
            tokio::select! {
                () = sleep_until((Instant::now() + pause).max(started + SPACING)) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.phase.send_replace(Phase::Stopped { generation });
        self.dispatcher.block(&Fault::down("the backend is shut down"));
    }

    /// Fails all requests until `over`, and starts no worker.
    async fn rest(&self, generation: u64, fault: Fault, over: impl Future<Output = ()>) {
        tracing::error!(backend = self.settings.name, reason = fault.message, "No worker is started");
        self.dispatcher.block(&fault);
        self.phase.send_replace(Phase::Blocked { generation, fault });
        tokio::select! {
            () = over => {}
            () = self.stop.cancelled() => return,
        }
        self.phase.send_replace(Phase::Starting { generation, reason: "the next worker is started".into() });
        self.dispatcher.unblock();
    }

    /// Starts one worker, if the marker allows a login at all.
    async fn start_worker(&self) -> Result<Launched, NotLaunched> {
        let settings = &self.settings;
        let state = pin::state(&settings.marker_dir, &settings.name).map_err(Fault::from)?;
        if !state.allows_login() {
            return Err(NotLaunched { fault: pin_refused(&settings.name, state), pin_refused: true });
        }
        let pin = (self.read_pin)().map_err(Fault::misconfigured)?;
        launch(settings, pin).await
    }

    /// One generation, from a worker that is logged in to its end.
    async fn live(
        self: &Arc<Self>,
        launched: Launched,
        generation: u64,
        first: &mut Option<oneshot::Sender<Result<(), Fault>>>,
    ) -> Ended {
        let Launched { mut child, pid, control, pipes, token } = launched;
        let (ends, mut heard) = mpsc::unbounded_channel();
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
        if let Some(fault) = self.find_keys(generation, &control, false).await {
            end(&mut child, tasks).await;
            let reason = &fault.message;
            tracing::warn!(
                backend = self.settings.name,
                generation,
                pid,
                reason,
                "Worker does not find its keys"
            );
            return Ended { fault, signed: 0, healthy: false };
        }
        self.signs_now.store(0, Ordering::Release);
        let live = Live { generation, pid, token: token.clone(), control };
        self.phase.send_replace(Phase::Ready(live.clone()));
        self.dispatcher.publish(generation, &pipes, ends);
        // Whatever made it fail before, this is another worker.
        self.health.try_again();
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
        let fault = self.watch(&mut child, &live, &mut heard).await;
        let reason = fault.message.clone();
        let (answered, signed) = self.dispatcher.retract();
        self.phase.send_replace(Phase::Starting { generation, reason: reason.clone() });
        let signs = self.signs_now.swap(0, Ordering::AcqRel).max(answered);
        self.signs_before.fetch_add(signs, Ordering::AcqRel);
        let status = end(&mut child, tasks).await;
        let stopping = self.stop.is_cancelled();
        if !stopping {
            tracing::warn!(backend = self.settings.name, generation, pid, reason, status, "Worker ended");
        }
        let backend = self.settings.name.clone();
        self.tell(BackendEvent::WorkerDown { backend, generation, stopping, reason });
        Ended { fault, signed, healthy: signed > 0 || ready.elapsed() >= HEALTHY }
    }

    /// Waits for a reason to end this generation.
    async fn watch(
        self: &Arc<Self>,
        child: &mut Child,
        live: &Live,
        ends: &mut mpsc::UnboundedReceiver<End>,
    ) -> Fault {
        let fresh = resident(live.pid).unwrap_or(0);
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
                    let grown = resident(live.pid).unwrap_or(0).saturating_sub(fresh);
                    if silent >= SILENCE {
                        End::Hung(format!("a session is silent for {silent:?}"))
                    } else if grown > GROWTH_LIMIT {
                        End::Replace(Fault::down(format!("the worker has grown by {} MiB", grown >> 20)))
                    } else {
                        while care.try_join_next().is_some() {}
                        if care.is_empty() {
                            care.spawn(Arc::clone(self).look_after(live.clone()));
                        }
                        continue;
                    }
                }
            };
            match end {
                End::Lost(reason) => return CRASH.fault(reason),
                End::Hung(reason) => return HANG.fault(reason),
                End::Replace(fault) => {
                    self.dispatcher.close(live.generation);
                    let until = Instant::now() + DRAIN;
                    while self.dispatcher.load().0 > 0 && Instant::now() < until {
                        sleep(Duration::from_millis(5)).await;
                    }
                    return fault;
                }
            }
        }
    }

    /// Reads the counters, and looks again for keys that could not be used. Takes long while the control socket is busy.
    async fn look_after(self: Arc<Self>, live: Live) {
        self.count(&live).await;
        if let Some(fault) = self.find_keys(live.generation, &live.control, true).await
            && self.is_live(live.generation)
        {
            self.dispatcher.replace(fault);
        }
    }

    /// Fails all requests until somebody clears the marker. Sees to it that the refusal is on disk first.
    async fn wait_for_operator(&self, generation: u64, fault: Fault) {
        let fault = Fault { advice: ELSEWHERE, ..fault };
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

    fn report_refusal(&self, refused: &Fault) {
        tracing::error!(backend = self.settings.name, reason = refused.message, "No login with this PIN");
        self.tell(BackendEvent::PinRefused {
            backend: self.settings.name.clone(),
            reason: refused.message.clone(),
        });
    }
}

/// How one generation ended.
struct Ended {
    fault: Fault,
    signed: u64,
    /// It was of use.
    healthy: bool,
}

/// Ends a worker and what listens to it. Says how it ended.
async fn end(child: &mut Child, mut tasks: JoinSet<()>) -> String {
    tasks.abort_all();
    // Already dead is as good.
    let _ = child.start_kill();
    reap(child).await
}

fn quarantined(name: &str, reason: &str) -> Fault {
    let message = format!("quarantined: {reason}; find out why, then run `jwsd keys release {name}`");
    Fault { advice: ELSEWHERE, ..Fault::new(Class::Untrusted, message) }
}

fn budget_spent(lost: &Fault, wait: Duration) -> Fault {
    let message = format!(
        "the login was lost too often within an hour ({}): find out what ends it; the next one is tried in {} s",
        lost.message,
        wait.as_secs()
    );
    Fault { advice: ELSEWHERE, retry_after: Some(wait), ..Fault::down(message) }
}

/// Until somebody or time mends it: the breaker must see these, or a backend that fails at once looks like the least
/// busy one.
const ELSEWHERE: Advice = Advice { retries: 1, scope: Scope::Backend, ..Advice::NEVER };

/// Bytes of memory that a process has; `None` when the system does not say.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_memory_of_a_process_is_known() {
        let own = super::resident(std::process::id()).unwrap();
        assert!((1 << 20..64 << 30).contains(&own), "{own}");
    }
}

//! What the store's calls and the supervising task share: where the worker stands, and which keys were opened.

use super::client::Dispatcher;
use super::control::Control;
use super::key::Key;
use super::protocol::{Material, Reply, Request, Which};
use super::recovery::Row;
use super::{Fault, ReadPin, Settings};
use crate::backend::{BackendEvent, Class, Health};
use crate::jose::hex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// One backend, seen from inside.
pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) read_pin: ReadPin,
    pub(super) health: Arc<Health>,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) keys: Mutex<Vec<Weak<Key>>>,
    /// `C_Sign` calls of the workers that are gone.
    pub(super) signs_before: AtomicU64,
    /// `C_Sign` calls of the present worker, as last reported.
    pub(super) signs_now: AtomicU64,
    pub(super) stop: CancellationToken,
}

/// Where the supervisor stands.
#[derive(Clone)]
pub(super) enum Phase {
    /// No worker is ready; the next one will be tried. Says why.
    Starting {
        generation: u64,
        reason: String,
    },
    /// No worker is started for the time being: an operator has to act, or the budget of logins is spent.
    Blocked {
        generation: u64,
        fault: Fault,
    },
    Ready(Live),
    Stopped {
        generation: u64,
    },
}

/// The worker that is ready.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) pid: u32,
    pub(super) token: String,
    pub(super) control: Control,
}

impl Phase {
    /// Workers tried so far.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Starting { generation, .. }
            | Self::Blocked { generation, .. }
            | Self::Stopped { generation } => *generation,
            Self::Ready(live) => live.generation,
        }
    }
}

impl Inner {
    /// The worker that is ready, or that becomes so within the start timeout.
    pub(super) async fn ready(&self) -> Result<Live, Fault> {
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Starting { .. }));
        match timeout(self.settings.start_timeout, settled).await {
            Ok(Ok(phase)) => match &*phase {
                Phase::Ready(live) => Ok(live.clone()),
                Phase::Blocked { fault, .. } => Err(fault.clone()),
                Phase::Starting { .. } | Phase::Stopped { .. } => {
                    Err(Fault::down("the backend is shut down"))
                }
            },
            Ok(Err(_)) => Err(Fault::down("the backend is shut down")),
            Err(_) => Err(match &*self.phase.borrow() {
                Phase::Starting { reason, .. } => Fault::down(reason.clone()),
                Phase::Ready(_) | Phase::Blocked { .. } | Phase::Stopped { .. } => {
                    Fault::down("no worker is ready")
                }
            }),
        }
    }

    /// Whether `generation` is the one that is ready.
    pub(super) fn is_live(&self, generation: u64) -> bool {
        matches!(&*self.phase.borrow(), Phase::Ready(live) if live.generation == generation)
    }

    /// Asks the worker for its counters.
    pub(super) async fn count(&self, live: &Live) {
        if let Ok(Reply::Stats { signs }) = live.control.call(Request::Stats).await
            && self.is_live(live.generation)
        {
            self.signs_now.fetch_max(signs, Ordering::AcqRel);
        }
    }

    /// Finds every opened key again (or those with a fault only) and compares its public half with the pinned one.
    /// Stops at a fault for which the worker has to go, and returns it.
    pub(super) async fn find_keys(
        &self,
        generation: u64,
        control: &Control,
        faulty_only: bool,
    ) -> Option<Fault> {
        let keys: Vec<Arc<Key>> = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.retain(|key| key.strong_count() > 0);
            keys.iter().filter_map(Weak::upgrade).collect()
        };
        for key in keys {
            if faulty_only && key.is_found() {
                continue;
            }
            let request = Request::Open { key: Which::Id(key.id.clone()), algorithm: key.algorithm };
            let found =
                control.call(request).await.and_then(opened).map(|(_, _, index, public)| (index, public));
            let broken = found.as_ref().err().filter(|fault| fault.row().is_some_and(Row::replaces)).cloned();
            if let Some(reason) = key.found(generation, found) {
                let id = hex(&key.id);
                tracing::error!(backend = self.settings.name, id, reason, "Key is not the pinned one");
            }
            if broken.is_some() {
                return broken;
            }
        }
        None
    }

    /// Asks the worker that is ready, and the next one if this one has to go for it. Says which has answered.
    pub(super) async fn ask(&self, request: Request) -> Result<(u64, Reply), Fault> {
        let live = self.ready().await?;
        let fault = match live.control.call(request.clone()).await {
            Ok(reply) => return Ok((live.generation, reply)),
            Err(fault) => fault,
        };
        let row = fault.row().filter(|row| row.replaces());
        if row.is_some() && self.is_live(live.generation) {
            self.dispatcher.replace(fault.clone());
        }
        // A key that was made before the fault would be there twice.
        if !row.is_some_and(|row| row.here) || matches!(request, Request::Generate { .. }) {
            return Err(fault);
        }
        let mut phase = self.phase.subscribe();
        let ended =
            phase.wait_for(|now| !matches!(now, Phase::Ready(now) if now.generation == live.generation));
        // What becomes of it is for `ready` to say.
        let _ = timeout(self.settings.start_timeout, ended).await;
        let live = self.ready().await?;
        Ok((live.generation, live.control.call(request).await?))
    }

    /// From now on the key is found again in every generation.
    pub(super) fn register(&self, key: &Arc<Key>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(Arc::downgrade(key));
    }

    /// Hands an event on.
    pub(super) fn tell(&self, event: BackendEvent) {
        self.health.tell(event);
    }
}

/// What an opening has found.
pub(super) fn opened(reply: Reply) -> Result<(Vec<u8>, String, u16, Material), Fault> {
    match reply {
        Reply::Opened { id, label, index, public } => Ok((id, label, index, public)),
        other => Err(unexpected(&other)),
    }
}

/// An answer to another question.
pub(super) fn unexpected(reply: &Reply) -> Fault {
    Fault::new(Class::Bug, format!("the worker answered out of turn: {reply:?}"))
}

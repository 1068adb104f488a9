//! The backend as the rest of the program sees it: opening, making and listing keys, health.

use super::key::{Key, Signer, public_key, same};
use super::protocol::{Reply, Request, Which};
use super::shared::{Inner, Phase, opened, unexpected};
use super::{Fault, ReadPin, Settings};
use crate::backend::{
    BoxFuture, Destroyed, Error, Generated, Health, KeySpec, KeyStore, Listed, NOT_ALLOWED, Opened, Status,
    Wanted,
};
use crate::jose::{Algorithm, PublicKey};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long a status request waits for a busy control socket before it takes the last known counters.
const STATS_LIMIT: Duration = Duration::from_millis(500);

/// The parent's side of one PKCS#11 token.
pub struct Backend {
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Backend {
    /// Starts the first worker and waits until it is ready, or says why it is not; then the backend goes on trying
    /// until it is shut down or dropped. Must be called on a tokio runtime.
    pub async fn start(
        settings: Settings,
        read_pin: ReadPin,
        health: Arc<Health>,
    ) -> (Arc<Self>, Result<(), Error>) {
        let name = settings.name.clone();
        let starting = Phase::Starting { generation: 0, reason: "the first worker is being started".into() };
        let inner = Arc::new(Inner {
            settings,
            read_pin,
            health,
            dispatcher: Arc::default(),
            phase: watch::Sender::new(starting),
            keys: Mutex::default(),
            signs_before: AtomicU64::new(0),
            signs_now: AtomicU64::new(0),
            stop: CancellationToken::new(),
        });
        let (first, outcome) = oneshot::channel();
        let task = tokio::spawn(Arc::clone(&inner).supervise(first));
        let backend = Arc::new(Self { inner, task: Mutex::new(Some(task)) });
        let outcome =
            outcome.await.unwrap_or_else(|_| Err(Fault::bug("the supervisor ended before it began")));
        (backend, outcome.map_err(|fault| fault.of(&name)))
    }

    async fn open_key(
        &self,
        wanted: Wanted<'_>,
        algorithm: Algorithm,
        pinned: Option<&PublicKey>,
    ) -> Result<Opened, Fault> {
        let inner = &self.inner;
        loop {
            let which = match wanted {
                Wanted::Id(id) => Which::Id(id.to_vec()),
                Wanted::Name(name) => Which::Name(name.to_owned()),
                Wanted::Copy { of, .. } => Which::Public(
                    serde_json::to_value(of.to_jwk(algorithm))
                        .map_err(|error| Fault::bug(error.to_string()))?,
                ),
            };
            let request = Request::Open { key: which, algorithm };
            let (generation, reply) = inner.ask(request).await?;
            let (id, label, index, public) = opened(reply)?;
            let public = public_key(public)?;
            if let Some(pinned) = pinned {
                same(&id, &public, pinned)?;
            }
            let key = Arc::new(Key::new(&id, algorithm, public.clone(), (generation, index)));
            inner.register(&key);
            // From here on a new generation finds it again by itself; if one began meanwhile, the index is stale.
            if inner.is_live(generation) {
                let backend = inner.settings.name.clone();
                let dispatcher = Arc::clone(&inner.dispatcher);
                return Ok(Opened {
                    id,
                    label,
                    public,
                    signer: Arc::new(Signer { backend, key, dispatcher }),
                });
            }
        }
    }

    async fn ask(&self, request: Request) -> Result<Reply, Fault> {
        self.inner.ask(request).await.map(|(_, reply)| reply)
    }

    fn fault(&self, fault: Fault) -> Error {
        fault.of(&self.inner.settings.name)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

impl KeyStore for Backend {
    fn open<'a>(
        &'a self,
        wanted: Wanted<'a>,
        algorithm: Algorithm,
        pinned: Option<&'a PublicKey>,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(async move {
            let opened = self.open_key(wanted, algorithm, pinned).await;
            opened.map_err(|fault| self.fault(fault))
        })
    }

    fn generate<'a>(
        &'a self,
        id: &'a [u8],
        label: &'a str,
        spec: KeySpec,
    ) -> BoxFuture<'a, Result<Generated, Error>> {
        let request = Request::Generate {
            id: id.to_vec(),
            label: label.to_owned(),
            algorithm: spec.algorithm,
            rsa_bits: spec.rsa_bits,
        };
        Box::pin(async move {
            if !self.inner.settings.generate {
                return Err(self.fault(Fault::misconfigured(NOT_ALLOWED)));
            }
            let made = match self.ask(request).await {
                Ok(Reply::Generated { public }) => {
                    public_key(public).map(|public| Generated { id: id.to_vec(), public })
                }
                Ok(other) => Err(unexpected(&other)),
                Err(fault) => Err(fault),
            };
            made.map_err(|fault| self.fault(fault))
        })
    }

    fn find_made<'a>(&'a self, id: &'a [u8], _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        Box::pin(async move {
            match self.ask(Request::FindMade { id: id.to_vec() }).await {
                Ok(Reply::FoundMade { made }) => Ok(made.then(|| id.to_vec())),
                Ok(other) => Err(self.fault(unexpected(&other))),
                Err(fault) => Err(self.fault(fault)),
            }
        })
    }

    fn destroy<'a>(&'a self, id: &'a [u8], public: &'a PublicKey) -> BoxFuture<'a, Result<Destroyed, Error>> {
        let request = Request::Destroy { id: id.to_vec(), thumbprint: public.thumbprint().to_string() };
        Box::pin(async move {
            match self.ask(request).await {
                Ok(Reply::Destroyed) => Ok(Destroyed { pending_until: None }),
                Ok(other) => Err(self.fault(unexpected(&other))),
                Err(fault) => Err(self.fault(fault)),
            }
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(async move {
            let listed = match self.ask(Request::List).await {
                Ok(Reply::Listed { keys }) => Ok(keys),
                Ok(other) => Err(unexpected(&other)),
                Err(fault) => Err(fault),
            };
            listed.map_err(|fault| self.fault(fault))
        })
    }

    fn health(&self) -> &Arc<Health> {
        &self.inner.health
    }

    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async move {
            let phase = self.inner.phase.borrow().clone();
            if let Phase::Ready(live) = &phase {
                // Late is as good as busy: the last known counters are shown.
                let _ = timeout(STATS_LIMIT, self.inner.count(live)).await;
            }
            // A worker that is on its way out does not tell any more.
            let present = self.inner.signs_now.load(Ordering::Acquire).max(self.inner.dispatcher.answered());
            let signs = self.inner.signs_before.load(Ordering::Acquire) + present;
            let mut status =
                Status { kind: "pkcs11", generation: phase.generation(), signs, ..Status::default() };
            match phase {
                Phase::Starting { reason, .. } => status.reason = Some(reason),
                Phase::Blocked { fault, .. } => status.reason = Some(fault.message),
                Phase::Stopped { .. } => status.reason = Some("shut down".into()),
                Phase::Ready(live) => {
                    status.ready = true;
                    status.worker_pid = Some(live.pid);
                    status.token = Some(live.token);
                }
            }
            status
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.inner.stop.cancel();
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(task) = task {
                // A panic there was reported by the runtime already.
                let _ = task.await;
            }
        })
    }
}

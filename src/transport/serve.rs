//! The accept loop of one socket: permits, per-uid caps, backoff, drain.
//!
//! A permit is taken before a connection is accepted, so what is beyond the limits waits in the kernel and costs us nothing.
//! Must never end before it is told to: a failing accept, a failing connection and a panicking handler are each survived.

use super::caps::Caps;
use super::connection::{self, Shared};
use super::{FactsWanted, Listener, PeerCredentials, ProcessFacts, Rejection};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Limits of one socket. Sizes in bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once, of all users. Stay well below `RLIMIT_NOFILE`.
    pub connections: usize,
    /// Connections at once of one user.
    pub connections_per_uid: usize,
    /// Header fields of a request, at most 100.
    pub headers: usize,
    /// Bytes of a request's head, its first line included.
    pub header_bytes: usize,
    /// From connecting to the first byte.
    pub first_byte: Duration,
    /// From the first byte of a request to the last of its body.
    pub request: Duration,
    /// From an answer to the next request.
    pub idle: Duration,
    /// How long writing may make no progress.
    pub write: Duration,
    /// A connection is closed after this many requests.
    pub requests_per_connection: u32,
    /// A connection is closed behind the first answer after this: who the peer is was looked up when it connected.
    pub age: Duration,
    /// In-flight requests get this long after shutdown begins.
    pub drain: Duration,
}

/// What a socket does with requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request that passed the gate. Dropped if the peer hangs up meanwhile: what must end runs on a task of its own.
    fn handle(
        &self,
        peer: Arc<PeerCredentials>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;

    /// Builds the answer to a request that the gate refused, and records the refusal. The connection closes behind it.
    fn refuse(&self, peer: &PeerCredentials, why: Rejection) -> Response<Full<Bytes>>;

    /// Told of what got no answer but hyper's own: malformed, too large, too slow, one connection too many.
    fn rejected(&self, peer: &PeerCredentials, why: Rejection);
}

/// Gauges for status.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections now.
    pub open: AtomicUsize,
    /// Connections ever taken.
    pub accepted: AtomicU64,
    /// Connections and requests refused here, for any [`Rejection`].
    pub refused: AtomicU64,
}

/// Serves until `shutdown`, then drains: idle connections close at once, in-flight requests end, at most `limits.drain`.
/// When more facts are `wanted` of peers than were looked up, connections close likewise; new ones tell.
pub async fn serve<H: Handler>(
    listener: Listener,
    limits: Limits,
    wanted: watch::Receiver<FactsWanted>,
    handler: Arc<H>,
    counters: Arc<Counters>,
    shutdown: CancellationToken,
) {
    let (socket, place) = match listener.into_parts() {
        Ok(parts) => parts,
        Err(error) => {
            tracing::error!(error = %error, "Socket cannot be served");
            return;
        }
    };
    let permits = Arc::new(Semaphore::new(limits.connections));
    let caps = Caps::new(limits.connections_per_uid);
    let drain = limits.drain;
    let shared = Arc::new(Shared::new(handler, limits, counters));
    let mut backoff = Backoff::default();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next() => reaped(ended),
            (stream, permit) = next(&socket, &permits, &mut backoff) => {
                if let Some(seated) = admit(&shared, &caps, stream, permit) {
                    tasks.spawn(seated.run(Arc::clone(&shared), wanted.clone(), shutdown.child_token()));
                }
            }
        }
    }
    // New connections fail from here on, rather than wait for nobody.
    drop((socket, place));
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            reaped(ended);
        }
    };
    if tokio::time::timeout(drain, all).await.is_err() {
        tracing::warn!(connections = tasks.len(), "Drain time is over, connections are cut");
    }
}

/// A connection that is within every cap.
struct Seated {
    stream: UnixStream,
    /// Given back when the connection ends, however it ends.
    held: (OwnedSemaphorePermit, super::caps::Seat, Open),
}

/// Takes a connection in, or closes it unanswered if its user has too many.
fn admit<H: Handler>(
    shared: &Shared<H>,
    caps: &Arc<Caps>,
    stream: UnixStream,
    permit: OwnedSemaphorePermit,
) -> Option<Seated> {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(error = %error, "Peer without credentials, connection closed");
            return None;
        }
    };
    match caps.seat(peer.uid()) {
        Ok(seat) => Some(Seated { stream, held: (permit, seat, Open::count(&shared.counters)) }),
        Err(full) => {
            if full.tell {
                let pid = peer.pid().unwrap_or_default();
                let peer = PeerCredentials::assume(peer.uid(), peer.gid(), pid, ProcessFacts::default());
                shared.reject(&peer, Rejection::TooManyConnections);
            } else {
                shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            }
            None
        }
    }
}

impl Seated {
    async fn run<H: Handler>(
        self,
        shared: Arc<Shared<H>>,
        wanted: watch::Receiver<FactsWanted>,
        shutdown: CancellationToken,
    ) {
        let _held = self.held;
        let asked = *wanted.borrow();
        match PeerCredentials::of(&self.stream, asked) {
            Ok(peer) => connection::run(shared, self.stream, peer, wanted, shutdown).await,
            Err(error) => {
                tracing::warn!(error = %error, "Peer without credentials, connection closed");
            }
        }
    }
}

/// Keeps [`Counters::open`] true.
struct Open(Arc<Counters>);

impl Open {
    fn count(counters: &Arc<Counters>) -> Self {
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The next connection, with its permit. May be dropped and called again at any time.
async fn next(
    socket: &UnixListener,
    permits: &Arc<Semaphore>,
    backoff: &mut Backoff,
) -> (UnixStream, OwnedSemaphorePermit) {
    loop {
        tokio::time::sleep_until(backoff.until).await;
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // Nobody closes the semaphore; if someone did, nothing would be accepted any more.
            return std::future::pending().await;
        };
        match socket.accept().await {
            Ok((stream, _)) => {
                backoff.over();
                return (stream, permit);
            }
            Err(error) => backoff.failed(&error),
        }
    }
}

/// How long to leave accept alone after it failed: out of descriptors (EMFILE, ENFILE) it fails at once, again and again.
struct Backoff {
    until: Instant,
    pause: Duration,
    logged: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { until: Instant::now(), pause: Self::FIRST, logged: None }
    }
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const LAST: Duration = Duration::from_secs(1);

    fn failed(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.until = now + self.pause;
        self.pause = (self.pause * 2).min(Self::LAST);
        if self.logged.is_none_or(|at| now - at >= Self::LAST) {
            self.logged = Some(now);
            tracing::error!(error = %error, "Connections cannot be accepted, trying again");
        }
    }

    fn over(&mut self) {
        self.pause = Self::FIRST;
    }
}

/// A panic ends its own connection only. What it said may hold a caller's data and is not repeated.
fn reaped(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        tracing::error!("Handler panicked, its connection is closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_a_second_and_is_reset() {
        let mut backoff = Backoff::default();
        let error = io::Error::from_raw_os_error(24);
        let pauses: Vec<_> = (0..7)
            .map(|_| {
                let pause = backoff.pause.as_millis();
                backoff.failed(&error);
                pause
            })
            .collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        assert!(backoff.until > Instant::now());
        backoff.over();
        assert_eq!(backoff.pause, Backoff::FIRST);
    }
}

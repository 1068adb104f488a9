//! One connection: hyper on a timed stream, one request at a time, each through the gate.
//!
//! Must never hand a handler a request that the gate refused, and never go on reading a connection after such a one.

use super::body::is_timeout;
use super::deadline::{Exchange, Timed};
use super::serve::{Counters, Handler, Limits};
use super::{FactsWanted, PeerCredentials, Rejection, gate};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Read buffer of a connection, at most: an ordinary request fits whole, and hostile ones cannot make it grow.
const READ_BUFFER: usize = 16 * 1024;

/// What the connections of one socket share.
pub(super) struct Shared<H> {
    pub(super) handler: Arc<H>,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    http: http1::Builder,
}

impl<H: Handler> Shared<H> {
    pub(super) fn new(handler: Arc<H>, limits: Limits, counters: Arc<Counters>) -> Self {
        let mut http = http1::Builder::new();
        // Deadlines are `Timed`'s; hyper's own is a backstop behind them. The number of fields is the gate's, since hyper
        // would allocate for each request to count other than to its own 100. Half-closed peers and pipelined flushes
        // stay off, hyper's defaults.
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.idle + limits.request)
            .max_header_size(limits.header_bytes)
            .max_buf_size(READ_BUFFER.max(limits.header_bytes));
        Self { handler, limits, counters, http }
    }

    /// Tells of something that got no answer from us, or none but hyper's own.
    pub(super) fn reject(&self, peer: &PeerCredentials, why: Rejection) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        self.handler.rejected(peer, why);
    }

    fn refuse(&self, peer: &PeerCredentials, why: Rejection) -> Response<Full<Bytes>> {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        self.handler.refuse(peer, why)
    }
}

/// Serves one connection until either side ends it, or the request in flight is answered after `shutdown` or after more
/// is `wanted` of the peer than was looked up.
pub(super) async fn run<H: Handler>(
    shared: Arc<Shared<H>>,
    stream: UnixStream,
    peer: PeerCredentials,
    mut wanted: watch::Receiver<FactsWanted>,
    shutdown: CancellationToken,
) {
    let exchange = Arc::new(Exchange::default());
    let timed = Timed::new(stream, &shared.limits, Arc::clone(&exchange));
    let asked = peer.asked();
    let outdated = async {
        if wanted.wait_for(|wanted| !asked.covers(*wanted)).await.is_err() {
            // Nobody will want more any more.
            std::future::pending::<()>().await;
        }
    };
    let leave = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = outdated => {}
        }
    };
    let peer = Arc::new(peer);
    let span = Span { ends: Instant::now() + shared.limits.age, requests: AtomicU32::new(0) };
    let service = service_fn(|request| answer(&shared, &peer, &exchange, &span, request));
    let mut connection = pin!(shared.http.serve_connection(TokioIo::new(timed), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = leave => {
            // hyper takes a connection with half a request for an idle one, unless it is the first.
            if exchange.receiving() {
                exchange.close();
            } else {
                connection.as_mut().graceful_shutdown();
            }
            connection.await
        }
    };
    if let Some(why) = rejection(&ended, &exchange) {
        shared.reject(&peer, why);
    } else if let Err(error) = ended {
        tracing::debug!(uid = peer.uid(), error = %error, "Connection ended early");
    }
}

/// How much of its life a connection has used.
struct Span {
    ends: Instant,
    requests: AtomicU32,
}

impl Span {
    /// Counts one more request; whether it was the last.
    fn over(&self, limits: &Limits) -> bool {
        let nth = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        nth >= limits.requests_per_connection || Instant::now() >= self.ends
    }
}

async fn answer<H: Handler>(
    shared: &Shared<H>,
    peer: &Arc<PeerCredentials>,
    exchange: &Exchange,
    span: &Span,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let verdict = gate::check(&request, shared.limits.headers, exchange.fault());
    let refused = verdict.is_err();
    let mut response = match verdict {
        Ok(()) => shared.handler.handle(Arc::clone(peer), request).await,
        Err(why) => shared.refuse(peer, why),
    };
    if span.over(&shared.limits) || refused || exchange.closing() {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.answered();
    Ok(response)
}

/// What the end of a connection says of a request that never was.
fn rejection(ended: &Result<(), hyper::Error>, exchange: &Exchange) -> Option<Rejection> {
    match ended {
        Err(error) if error.is_parse_too_large() => Some(Rejection::HeaderTooLarge),
        Err(error) if error.is_parse() => Some(Rejection::Malformed),
        Err(error) if exchange.cut() && is_timeout(error) => Some(Rejection::Timeout),
        _ => None,
    }
}

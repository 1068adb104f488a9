//! The HTTP interface: routes per socket. Reads requests, calls `issuer`, writes answers.
//!
//! Every exit of the signing and admin sockets is recorded: by `issuer` once a request is one, here before that.
//! A JWT can only be answered out of a `Recorded` value.

mod clock;
mod exit;
mod in_flight;
mod in_force;
mod introspect;
mod keys;
mod problem;
mod public;
mod rate;
mod release;
mod reload;
mod revoke;
mod sign;
mod status;
mod subjects;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::admin::Admin;
use crate::audit::{self, Actor, Entry, Event, Outcome};
use crate::caller::Unknown;
use crate::clock::Guarded;
use crate::issuer::Issuer;
use crate::keyring::{Backends, Keyring};
use crate::misuse::Misuse;
use crate::revocation::Revocations;
use crate::transport::{Counters, Handler, PeerCredentials, Rejection};
use exit::Exit;
pub use in_flight::InFlight;
pub use in_force::{Current, InForce};
use problem::Problem;
pub use rate::Rates;
pub use reload::{Changes, Fault, Faulty, NotReloaded, Reload, Reloaded};
pub use sign::ONE as ONE_REQUEST;

/// Limits of requests above those of the transport.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of a batch's body.
    pub batch_body: usize,
    /// JWTs in a batch.
    pub batch_items: usize,
    /// From the request read to its answer, backend and audit included.
    pub deadline: Duration,
    /// Requests being issued at once; one more is answered 503. One user gets half of them at most.
    pub in_flight: usize,
    /// `max-age` of the key set.
    pub jwks_max_age: Duration,
}

/// What all sockets share.
pub struct Api {
    /// What requests are judged by.
    pub in_force: Arc<Current>,
    /// Issues JWTs.
    pub issuer: Arc<Issuer>,
    /// Keys and their published form.
    pub keyring: Arc<Keyring>,
    /// The operator's acts.
    pub admin: Arc<Admin>,
    /// What was revoked.
    pub revocations: Arc<Revocations>,
    /// For status.
    pub backends: Backends,
    /// The clock that JWTs are dated by.
    pub clock: Arc<Guarded>,
    /// What is unusual.
    pub misuse: Arc<Misuse>,
    /// Where refusals are recorded.
    pub log: audit::Log,
    /// Bounds requests being issued.
    pub in_flight: Arc<InFlight>,
    /// Issuing tasks; the daemon waits for them when it stops.
    pub tracker: TaskTracker,
    /// Per socket, in the order signing, admin, public.
    pub counters: [Arc<Counters>; 3],
    /// Where reloads are asked for.
    pub reloads: mpsc::Sender<Reload>,
    /// When the daemon started.
    pub started: jiff::Timestamp,
}

/// Which socket a request came in on; each has its own routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// For callers.
    Signing,
    /// For operators.
    Admin,
    /// For anyone on the host.
    Public,
}

/// One socket's view of the API.
pub struct Endpoint {
    api: Arc<Api>,
    socket: Socket,
}

impl Endpoint {
    /// The routes of `socket`.
    pub fn new(api: Arc<Api>, socket: Socket) -> Self {
        Self { api, socket }
    }

    /// Refusals on the public socket are not evidence: it cannot issue, and anyone could fill the log through it.
    fn records(&self) -> bool {
        self.socket != Socket::Public
    }

    async fn route(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Exit> {
        let api = &self.api;
        // Conditions and alerts need facts too, not only the table of callers.
        if self.socket == Socket::Signing && !peer.asked().covers(now.wanted()) {
            return Err(Unknown::Outdated.into());
        }
        let method = request.method().clone();
        let read = method == Method::GET || method == Method::HEAD;
        match (self.socket, request.uri().path()) {
            (Socket::Signing, "/v1/sign") if method == Method::POST => {
                api.sign_one(now, peer, id, request).await
            }
            (Socket::Signing, "/v1/sign/batch") if method == Method::POST => {
                api.sign_batch(now, peer, id, request).await
            }
            (Socket::Signing, "/v1/check") if method == Method::POST => {
                api.check(now, peer, id, request).await
            }
            (Socket::Signing, "/v1/introspect") if method == Method::POST => {
                api.introspect(now, peer, id, request).await
            }
            (Socket::Signing, "/v1/introspect/batch") if method == Method::POST => {
                api.introspect_batch(now, peer, id, request).await
            }
            (Socket::Signing, "/v1/revoke") if method == Method::POST => {
                api.revoke_own(now, peer, id, request).await
            }
            (Socket::Admin, "/v1/revoke") if method == Method::POST => {
                api.revoke_any(now, peer, id, request).await
            }
            (Socket::Admin, "/v1/revoke") => Err(Problem::method("POST").into()),
            (
                Socket::Signing,
                "/v1/sign"
                | "/v1/sign/batch"
                | "/v1/check"
                | "/v1/introspect"
                | "/v1/introspect/batch"
                | "/v1/revoke",
            ) => Err(Problem::method("POST").into()),

            (Socket::Admin, "/v1/status") if read => Ok(api.status(now).await),
            (Socket::Admin, "/v1/status") => Err(Problem::method("GET").into()),
            (Socket::Admin, "/v1/clock/accept") if method == Method::POST => {
                api.accept_clock(now, peer, id, request).await
            }
            (Socket::Admin, "/v1/clock/accept") => Err(Problem::method("POST").into()),
            (Socket::Admin, "/v1/reload") if method == Method::POST => {
                api.reload(now, peer, id, request).await
            }
            (Socket::Admin, "/v1/reload") => Err(Problem::method("POST").into()),
            (Socket::Admin, "/v1/subjects/erase") if method == Method::POST => {
                api.erase(now, peer, id, request).await
            }
            (Socket::Admin, "/v1/subjects/search") if method == Method::POST => {
                api.search_key(now, peer, id, request).await
            }
            (Socket::Admin, "/v1/subjects/erase" | "/v1/subjects/search") => {
                Err(Problem::method("POST").into())
            }
            (Socket::Admin, path) if keys::Route::of(path).is_some() => {
                api.keys(now, peer, id, request).await
            }
            (Socket::Admin, path) if release::backend(path).is_some() => match method {
                Method::POST => api.release(now, peer, id, request).await,
                _ => Err(Problem::method("POST").into()),
            },

            (Socket::Public, "/healthz") if read => Ok(public::health()),
            (Socket::Public, "/readyz") if read => Ok(api.readiness()),
            (Socket::Public, "/openapi.json") if read => Ok(public::openapi()),
            (Socket::Public, "/healthz" | "/readyz" | "/openapi.json") => Err(Problem::method("GET").into()),
            (Socket::Public, path) => match api.published(now, path, request.headers()) {
                Some(response) if read => Ok(response),
                Some(_) => Err(Problem::method("GET").into()),
                None => Err(Problem::unknown_route().into()),
            },
            _ => Err(Problem::unknown_route().into()),
        }
    }

    /// Records what `issuer` has not recorded, then answers.
    async fn refuse(
        &self,
        now: &InForce,
        peer: &PeerCredentials,
        id: &str,
        exit: Exit,
    ) -> Response<Full<Bytes>> {
        if exit.recorded || !self.records() {
            return exit.problem.into_response(id);
        }
        let mut entry = rejected(peer, id, exit.caller.as_deref(), exit.problem.code);
        entry.policy = (self.socket == Socket::Signing).then(|| now.policy.digest().to_owned());
        let recorded = match self.api.log.append(vec![entry]) {
            Ok(mut ticket) => ticket.durable_by(Instant::now() + now.limits.deadline).await,
            Err(error) => Err(error),
        };
        match recorded {
            Ok(()) => exit.problem.into_response(id),
            Err(unavailable) => Problem::from(unavailable).into_response(id),
        }
    }
}

fn rejected(peer: &PeerCredentials, id: &str, caller: Option<&str>, code: &'static str) -> Entry {
    let event = if code == "caller.unknown" { Event::JwtDenied } else { Event::RequestRejected };
    Entry {
        request: Some(id.to_owned()),
        actor: Some(Actor::of(peer, caller)),
        rules: vec![code],
        ..Entry::new(event, Outcome::Denied)
    }
}

impl Handler for Endpoint {
    async fn handle(&self, peer: Arc<PeerCredentials>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let id = request_id();
        // Once: whatever is reloaded meanwhile, the request is judged by one configuration alone.
        let now = self.api.in_force.get();
        let mut response = match self.route(&now, Arc::clone(&peer), &id, request).await {
            Ok(response) => response,
            Err(exit) => self.refuse(&now, &peer, &id, exit).await,
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
        }
        response
    }

    fn refuse(&self, peer: &PeerCredentials, why: Rejection) -> Response<Full<Bytes>> {
        let id = request_id();
        let problem = Problem::from(why);
        self.note(peer, &id, problem.code);
        problem.into_response(&id)
    }

    fn rejected(&self, peer: &PeerCredentials, why: Rejection) {
        self.note(peer, &request_id(), Problem::from(why).code);
    }
}

impl Endpoint {
    /// Records a refusal of the transport's without waiting: nothing is released by it.
    fn note(&self, peer: &PeerCredentials, id: &str, code: &'static str) {
        if !self.records() {
            return;
        }
        match self.api.log.append(vec![rejected(peer, id, None, code)]) {
            Ok(ticket) => drop(ticket),
            Err(error) => tracing::error!(request = id, code, %error, "Refusal not recorded"),
        }
    }
}

/// A UUIDv7 (RFC 9562), so that ids sort by time.
fn request_id() -> String {
    Uuid::now_v7().to_string()
}

/// A 200 that no cache keeps.
fn answer(content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A 200 with JSON that no cache keeps.
fn json(value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => answer("application/json", body),
        Err(error) => {
            tracing::error!(%error, "Answer not serializable");
            Problem::internal().into_response("")
        }
    }
}

//! `GET /v1/status` on the admin socket: what an operator looks at first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::Serialize;

use super::{Api, InForce, json};
use crate::backend::Member;
use crate::{audit, backend, clock, misuse};

#[derive(Serialize)]
struct Status {
    version: &'static str,
    pid: u32,
    started: jiff::Timestamp,
    policy: String,
    audit: audit::Health,
    clock: clock::State,
    misuse: misuse::Report,
    /// Revocations that are kept.
    revocations: usize,
    backends: BTreeMap<String, Backend>,
    keys: BTreeMap<String, Key>,
    published: Published,
    sockets: BTreeMap<&'static str, Socket>,
}

#[derive(Serialize)]
struct Backend {
    #[serde(flatten)]
    status: backend::Status,
    #[serde(flatten)]
    health: Health,
    /// Requests that it is answering.
    in_flight: usize,
}

/// Why a backend, or a key in it, is not asked.
#[derive(Serialize)]
struct Health {
    /// What it did; an operator must release it.
    quarantine: Option<String>,
    /// It failed again and again and is left alone for a moment.
    resting: bool,
}

impl From<&backend::Health> for Health {
    fn from(health: &backend::Health) -> Self {
        let quarantine = health.quarantined();
        Self { resting: quarantine.is_none() && !health.is_good(), quarantine }
    }
}

#[derive(Serialize)]
struct Key {
    kid: String,
    algorithm: &'static str,
    /// Seconds since a signature of it last verified.
    proven_seconds_ago: Option<u64>,
    /// The same in each of its backends.
    backends: BTreeMap<String, Replica>,
}

#[derive(Serialize)]
struct Replica {
    /// The backend has shown the key.
    found: bool,
    #[serde(flatten)]
    health: Health,
    proven_seconds_ago: Option<u64>,
}

#[derive(Serialize)]
struct Published {
    /// Keys in the key set.
    keys: usize,
    /// Why the files that verifiers read are behind it.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Socket {
    open: usize,
    accepted: u64,
    refused: u64,
}

impl Api {
    pub(super) async fn status(&self, now: &InForce) -> Response<Full<Bytes>> {
        let mut backends = BTreeMap::new();
        for (name, backend) in &self.backends {
            let (status, health) = (backend.status().await, backend.health());
            let backend = Backend { status, health: Health::from(&**health), in_flight: health.in_flight() };
            backends.insert(name.clone(), backend);
        }
        let ring = self.keyring.ring();
        let keys = ring.actives().map(|version| {
            let key = Key {
                kid: version.kid().to_string(),
                algorithm: version.algorithm().name(),
                proven_seconds_ago: version.unproven_for(),
                backends: version.replicas().members().iter().map(replica).collect(),
            };
            (version.key().to_owned(), key)
        });
        let sockets =
            ["signing", "admin", "public"].into_iter().zip(&self.counters).map(|(name, counters)| {
                let socket = Socket {
                    open: counters.open.load(Ordering::Relaxed),
                    accepted: counters.accepted.load(Ordering::Relaxed),
                    refused: counters.refused.load(Ordering::Relaxed),
                };
                (name, socket)
            });
        json(&Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            started: self.started,
            policy: now.policy.digest().to_owned(),
            audit: self.log.health(),
            clock: self.clock.state(),
            misuse: self.misuse.report(),
            revocations: self.revocations.count(),
            backends,
            keys: keys.collect(),
            published: Published {
                keys: ring.key_set().kids().len(),
                problem: self.admin.publisher().fault(),
            },
            sockets: sockets.collect(),
        })
    }
}

fn replica(member: &Member) -> (String, Replica) {
    let replica = Replica {
        found: member.is_found(),
        health: Health::from(member.health()),
        proven_seconds_ago: member.proven_ago().map(|age| age.as_secs()),
    };
    (member.backend().to_string(), replica)
}

//! `GET /v1/status` on the admin socket: what an operator looks at first.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use serde::Serialize;

use super::{Api, json};
use crate::{audit, backend};

#[derive(Serialize)]
struct Status {
    version: &'static str,
    pid: u32,
    started: jiff::Timestamp,
    policy: String,
    audit: audit::Health,
    backends: BTreeMap<String, backend::Status>,
    keys: BTreeMap<String, Key>,
    sockets: BTreeMap<&'static str, Socket>,
}

#[derive(Serialize)]
struct Key {
    kid: String,
    algorithm: &'static str,
    /// Seconds since a signature of it last verified.
    proven_seconds_ago: Option<u64>,
}

#[derive(Serialize)]
struct Socket {
    open: usize,
    accepted: u64,
    refused: u64,
}

impl Api {
    pub(super) async fn status(&self) -> Response<Full<Bytes>> {
        let mut backends = BTreeMap::new();
        for (name, backend) in &self.backends {
            backends.insert(name.clone(), backend.status().await);
        }
        let keys = self.keyring.versions().map(|version| {
            let key = Key {
                kid: version.kid().to_string(),
                algorithm: version.algorithm().name(),
                proven_seconds_ago: version.unproven_for(),
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
            policy: self.issuer.policy().digest().to_owned(),
            audit: self.log.health(),
            backends,
            keys: keys.collect(),
            sockets: sockets.collect(),
        })
    }
}

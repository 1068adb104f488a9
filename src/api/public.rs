//! What anyone on the host may read: key set, discovery, health, readiness, the interface's description.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{Api, InForce, answer, json};
use crate::keyring::Document;
use crate::keyring::discovery::{CONFIGURATION, KEY_SET};

/// A key counts as ready while its last verified signature is at most this old, seconds.
const PROOF_AGE: u64 = 30;

/// Which of several issuers with one path is asked for; a proxy says it, since `Host` is this socket's own.
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

const OPENAPI: &str = include_str!("openapi.json");

/// Alive: the process answers.
pub(super) fn health() -> Response<Full<Bytes>> {
    json(&serde_json::json!({ "status": "ok" }))
}

/// The OpenAPI 3.1 description of all sockets.
pub(super) fn openapi() -> Response<Full<Bytes>> {
    answer("application/json", OPENAPI)
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// What is not ready, for people; free of secrets and paths.
    reasons: Vec<String>,
}

impl Api {
    /// The key set (RFC 7517 section 5) at the top and at the path of each issuer, and the issuers' own documents
    /// (OpenID Connect Discovery 1.0 section 4). `None` for any other path.
    pub(super) fn published(
        &self,
        now: &InForce,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Response<Full<Bytes>>> {
        let (place, name) = path.split_once("/.well-known/")?;
        let publication = self.admin.publisher().publication();
        let discovery = &publication.discovery;
        if name == KEY_SET && (place.is_empty() || discovery.has_path(place)) {
            let ring = self.keyring.ring();
            return Some(document(now, ring.key_set().document(), "application/jwk-set+json", headers));
        }
        // Several would be what a client and a proxy say.
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|host| host.to_str().ok());
        let found = discovery.find(place, host).filter(|_| name == CONFIGURATION)?;
        let mut response = document(now, found, "application/json", headers);
        response.headers_mut().insert(VARY, HOST.into());
        Some(response)
    }

    /// Ready: the log records, and every key has signed lately and may go on.
    pub(super) fn readiness(&self) -> Response<Full<Bytes>> {
        let mut reasons = Vec::new();
        let log = self.log.health();
        if !log.healthy {
            reasons.push("the audit log cannot record".to_owned());
        }
        if log.checkpoint.is_some_and(|checkpoint| checkpoint.is_contradicted()) {
            reasons.push("a witness has seen more of the audit log, or another one".to_owned());
        }
        if self.clock.fault().is_some() {
            reasons.push("the clock is not trusted".to_owned());
        }
        if self.admin.publisher().fault().is_some() {
            reasons.push("the published files are not up to date".to_owned());
        }
        let ring = self.keyring.ring();
        // A log that is not sealed keeps no JWT from being issued.
        let signing = self.admin.loader.keys.iter().filter(|(_, settings)| settings.published);
        for (key, _) in signing {
            let Some(version) = ring.active(key) else {
                reasons.push(format!("key {key} has no active version"));
                continue;
            };
            match version.unproven_for() {
                _ if version.is_revoked() => {
                    reasons.push(format!("key {key} signs nothing: its version was revoked, unrecorded"));
                }
                _ if version.replicas().is_quarantined() => {
                    reasons.push(format!("key {} is in quarantine", version.key()));
                }
                Some(age) if age <= PROOF_AGE => {}
                Some(age) => reasons.push(format!("key {} has not signed for {age} s", version.key())),
                None => reasons.push(format!("key {} has not signed yet", version.key())),
            }
        }
        let ready = reasons.is_empty();
        let mut response = json(&Readiness { ready, reasons });
        if !ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}

/// Revalidated by ETag (RFC 9110 section 13.1.2), and never used past its time, so that a new key is known before
/// it signs.
fn document(
    now: &InForce,
    document: &Document,
    kind: &'static str,
    headers: &HeaderMap,
) -> Response<Full<Bytes>> {
    let seen = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = seen.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let unchanged = tags.any(|tag| tag == "*" || tag == document.etag());
    let mut response = answer(kind, if unchanged { Bytes::new() } else { document.body() });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let max_age = format!("public, must-revalidate, max-age={}", now.limits.jwks_max_age.as_secs());
    let headers = response.headers_mut();
    for (name, value) in [(CACHE_CONTROL, max_age.as_str()), (ETAG, document.etag())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

//! `/v1/subjects/erase` and `/v1/subjects/search` on the admin socket. Names are in bodies, never in paths.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Map, Value, json as value};
use tokio::time::timeout;

use super::exit::Exit;
use super::keys::{ACT_WITHIN, reason_of, text};
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce, json};
use crate::admin::{Act, By, Whom};
use crate::audit::Actor;
use crate::subject::Kind;
use crate::transport::PeerCredentials;

/// Issuers that a message names at most.
const LISTED: usize = 20;

impl Api {
    /// Destroys the key of a person, or of everyone.
    pub(super) async fn erase(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Exit> {
        let shape = || {
            Problem::act(
                "send one of \"subject\", \"session\", \"consent\", or \"everyone\": true; \"issuer\" and \"reason\" \
                 (at most 200 bytes, one line, no names) where you like, and nothing else",
            )
        };
        let body = self.read(request, now.limits.body, ONE).await?;
        let Value::Object(mut body) = body else { return Err(shape().into()) };
        let reason = reason_of(&mut body).ok_or_else(shape)?;
        let everyone = match body.remove("everyone") {
            None => false,
            Some(Value::Bool(true)) => true,
            Some(_) => return Err(shape().into()),
        };
        let whom = match everyone {
            true => None,
            false => Some(whom(&mut body, now).ok_or_else(shape)??),
        };
        if !body.is_empty() {
            return Err(shape().into());
        }
        self.act(peer, id, Act::Erase { whom, reason }).await
    }

    /// Gives the key that finds a person's records.
    pub(super) async fn search_key(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Exit> {
        let shape = || {
            Problem::act(
                "send one of \"subject\", \"session\", \"consent\"; \"issuer\" and \"reason\" (at most 200 bytes, one \
                 line, no names) where you like, and nothing else",
            )
        };
        let body = self.read(request, now.limits.body, ONE).await?;
        let Value::Object(mut body) = body else { return Err(shape().into()) };
        let reason = reason_of(&mut body).ok_or_else(shape)?;
        let whom = whom(&mut body, now).ok_or_else(shape)??;
        if !body.is_empty() {
            return Err(shape().into());
        }
        let by = By::operator(Actor::of(&peer, None), Some(id.to_owned()));
        let admin = Arc::clone(&self.admin);
        let search = self.tracker.spawn(async move { admin.search_key(&by, &whom, reason).await });
        let key = match timeout(ACT_WITHIN, search).await {
            Ok(Ok(key)) => key?,
            // The task can only end without an answer by a panic, which is a defect.
            Ok(Err(_)) => return Err(Problem::internal().into()),
            Err(_) => return Err(Problem::act_deadline().into()),
        };
        Ok(json(&value!({ "key": key.map(|key| key.to_text().to_string()) })))
    }
}

/// The person that a body names. The issuer goes without saying where there is one alone.
pub(super) fn whom(body: &mut Map<String, Value>, now: &InForce) -> Option<Result<Whom, Problem>> {
    let named = [("subject", Kind::Subject), ("session", Kind::Session), ("consent", Kind::Consent)];
    let mut found = Vec::new();
    for (member, kind) in named {
        found.extend(text(body, member)?.map(|name| (kind, name)));
    }
    let Ok([(kind, name)]) = <[_; 1]>::try_from(found) else { return None };
    let issuers = issuers(now);
    let issuer = match (text(body, "issuer")?, issuers.first()) {
        (Some(issuer), _) => issuer,
        (None, Some(only)) if issuers.len() == 1 => (*only).to_owned(),
        _ => {
            return Some(Err(Problem::act(format!(
                "say at which \"issuer\": the same name may be somebody else at another one; configured are {}",
                listed(&issuers)
            ))));
        }
    };
    Some(Ok(Whom { issuer, kind, name }))
}

/// All that JWTs of profiles in force may have.
pub(super) fn issuers(now: &InForce) -> BTreeSet<&str> {
    now.policy.profiles().flat_map(|profile| profile.issuers()).collect()
}

/// For people; tenants may be many.
pub(super) fn listed(issuers: &BTreeSet<&str>) -> String {
    let mut some: Vec<&str> = issuers.iter().take(LISTED).copied().collect();
    if issuers.len() > LISTED {
        some.push("more");
    }
    some.join(", ")
}

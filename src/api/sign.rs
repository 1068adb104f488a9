//! `POST /v1/sign`, `/v1/sign/batch` and `/v1/check`.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use hyper::{Request, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::exit::Exit;
use super::problem::Problem;
use super::{Api, InForce, answer, json};
use crate::audit::Recorded;
use crate::caller::Caller;
use crate::issuer::Issued;
use crate::jose::json as strict;
use crate::jwt::SignedJwt;
use crate::policy::{Denial, Request as Want};
use crate::transport::{PeerCredentials, read_body};

/// Nesting of one request's JSON, the request itself included.
const DEPTH: usize = 8;
/// Values in one request's JSON.
const NODES: usize = 512;
/// One request; its bytes are a matter of configuration.
pub const ONE: strict::Limits = strict::Limits { bytes: usize::MAX, depth: DEPTH, nodes: NODES };

const JWT: &str = "application/jwt";
const SD_JWT: &str = "application/sd-jwt";

#[derive(Serialize)]
struct Answer<'a> {
    token: &'a str,
    jti: &'a str,
    kid: &'a str,
    iat: i64,
    exp: i64,
}

impl<'a> From<&'a SignedJwt> for Answer<'a> {
    fn from(jwt: &'a SignedJwt) -> Self {
        Self { token: jwt.expose(), jti: jwt.jti(), kid: jwt.kid().as_str(), iat: jwt.iat(), exp: jwt.exp() }
    }
}

type Answered = Result<Response<Full<Bytes>>, Exit>;

impl Api {
    pub(super) async fn sign_one(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        let caller = now.callers.identify(peer)?;
        let bare = prefers_bare_jwt(request.headers());
        let want = self.want(now, &caller, request).await?;
        let recorded = self.issue(now, &caller, id, vec![want]).await?;
        match recorded.into_inner().pop() {
            Some(Ok(jwt)) if bare => Ok(answer(media_type(jwt.expose()), jwt.expose().to_owned())),
            Some(Ok(jwt)) => Ok(json(&Answer::from(&jwt))),
            Some(Err(refusal)) => Err(Exit::issuer(&refusal)),
            None => Err(Problem::internal().into()),
        }
    }

    pub(super) async fn sign_batch(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Item<'a> {
            Jwt(Answer<'a>),
            Refused { error: Value },
        }
        #[derive(Serialize)]
        struct Results<'a> {
            results: Vec<Item<'a>>,
        }

        let caller = now.callers.identify(peer)?;
        let wants = async {
            now.rates.take(&caller, 1)?;
            let limits =
                strict::Limits { depth: DEPTH + 2, nodes: NODES * now.limits.batch_items + 2, ..ONE };
            let wants = batch(now, self.read(request, now.limits.batch_body, limits).await?)?;
            now.rates.fits(&caller, wants.len())?;
            now.rates.take(&caller, wants.len() - 1)?;
            Ok(wants)
        };
        let wants = wants.await.map_err(|exit: Exit| exit.of(caller.name()))?;
        let issued = self.issue(now, &caller, id, wants).await?.into_inner();
        let results = issued
            .iter()
            .map(|issued| match issued {
                Ok(jwt) => Item::Jwt(Answer::from(jwt)),
                Err(refusal) => Item::Refused { error: Problem::from(refusal).to_json(id) },
            })
            .collect();
        Ok(json(&Results { results }))
    }

    pub(super) async fn check(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        #[derive(Serialize)]
        struct Checked<T> {
            allowed: bool,
            rules: T,
        }

        let caller = now.callers.identify(peer)?;
        let want = self.want(now, &caller, request).await?;
        let rules = self.issuer.check((&now.policy, now.misuse), &caller, id, want).await?.into_inner();
        let rules = rules.map_err(|refusal| Exit::issuer(&refusal))?;
        Ok(json(&Checked { allowed: rules.iter().all(|verdict| verdict.holds), rules }))
    }

    /// Reads one request of a known caller.
    async fn want(
        &self,
        now: &InForce,
        caller: &Caller,
        request: Request<Incoming>,
    ) -> Result<Result<Want, Denial>, Exit> {
        let read = async {
            now.rates.take(caller, 1)?;
            Ok(now.policy.read(self.read(request, now.limits.body, ONE).await?))
        };
        read.await.map_err(|exit: Exit| exit.of(caller.name()))
    }

    /// Reads a body of strict JSON, of at most `bytes`.
    pub(super) async fn read(
        &self,
        request: Request<Incoming>,
        bytes: usize,
        limits: strict::Limits,
    ) -> Result<Value, Exit> {
        if request.headers().get(CONTENT_TYPE).is_none_or(|value| value != "application/json") {
            return Err(Problem::media_type().into());
        }
        let body = read_body(request, bytes).await?;
        Ok(strict::parse(&body, strict::Limits { bytes, ..limits })?)
    }

    /// Issues on a task of its own, so that a caller who hangs up cancels nothing and is recorded.
    async fn issue(
        &self,
        now: &InForce,
        caller: &Caller,
        id: &str,
        wants: Vec<Result<Want, Denial>>,
    ) -> Result<Recorded<Vec<Issued>>, Exit> {
        let busy = || Exit::from(Problem::overloaded()).of(caller.name());
        let seat = self.in_flight.enter(caller.peer().uid()).ok_or_else(busy)?;
        let (deliver, delivered) = oneshot::channel();
        let (issuer, policy) = (Arc::clone(&self.issuer), Arc::clone(&now.policy));
        let (misuse, caller, id) = (now.misuse, caller.clone(), id.to_owned());
        self.tracker.spawn(async move {
            let outcome = issuer.issue((&policy, misuse), &caller, &id, wants).await;
            drop(seat);
            if let Err(Ok(recorded)) = deliver.send(outcome) {
                issuer.record_undelivered(&policy, &caller, &id, recorded.get());
            }
        });
        match delivered.await {
            Ok(Ok(recorded)) => Ok(recorded),
            Ok(Err(unavailable)) => Err(unavailable.into()),
            // The task can only end without an answer by a panic, which is a defect.
            Err(_) => Err(Problem::internal().into()),
        }
    }
}

/// Takes `{"requests": [...]}` apart.
fn batch(now: &InForce, value: Value) -> Result<Vec<Result<Want, Denial>>, Problem> {
    let shape = "send {\"requests\": [...]} and nothing else";
    let Value::Object(mut body) = value else { return Err(Problem::batch(shape)) };
    let Some(Value::Array(requests)) = body.remove("requests") else { return Err(Problem::batch(shape)) };
    if !body.is_empty() {
        return Err(Problem::batch(shape));
    }
    let limit = now.limits.batch_items;
    if requests.is_empty() || requests.len() > limit {
        return Err(Problem::batch(format!("a batch has 1 to {limit} requests")));
    }
    // In a batch a request may be as large as alone, and no larger.
    if requests.iter().any(|request| values(request) > NODES || text(request) > now.limits.body) {
        return Err(Problem::batch("a request of the batch is larger than one alone may be"));
    }
    Ok(requests.into_iter().map(|request| now.policy.read(request)).collect())
}

/// Values in a tree, itself included.
fn values(tree: &Value) -> usize {
    let below: usize = match tree {
        Value::Object(members) => members.values().map(values).sum(),
        Value::Array(elements) => elements.iter().map(values).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    1 + below
}

/// Bytes of all names and strings in a tree.
fn text(tree: &Value) -> usize {
    match tree {
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + text(value)).sum(),
        Value::Array(elements) => elements.iter().map(text).sum(),
        Value::String(string) => string.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn prefers_bare_jwt(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).is_some_and(|value| value == JWT || value == SD_JWT)
}
/// RFC 7519 section 10.3.1; an SD-JWT, which alone has a tilde in it, is something else (RFC 9901 section 11.4).
fn media_type(jwt: &str) -> &'static str {
    if jwt.contains('~') { SD_JWT } else { JWT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_answers_are_asked_for_and_say_what_they_are() {
        for (accept, bare) in [(JWT, true), (SD_JWT, true), ("application/json", false), ("*/*", false)] {
            let headers = [(ACCEPT, accept.parse().unwrap())].into_iter().collect();
            assert_eq!(prefers_bare_jwt(&headers), bare, "{accept}");
        }
        for (jwt, of) in [("a.b.c", JWT), ("a.b.c.d.e", JWT), ("a.b.c~", SD_JWT), ("a.b.c~d~", SD_JWT)] {
            assert_eq!(media_type(jwt), of, "{jwt}");
        }
    }
}

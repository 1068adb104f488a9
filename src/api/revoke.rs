//! `POST /v1/revoke`: on the signing socket for a JWT that the caller may have made (RFC 7009), on the admin socket for more.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json as value};
use tokio::time::{Instant, timeout};

use super::exit::Exit;
use super::in_flight::Seat;
use super::keys::{ACT_WITHIN, text};
use super::problem::Problem;
use super::sign::ONE;
use super::subjects::{issuers, listed, whom};
use super::{Api, InForce, json};
use crate::admin::{By, Void};
use crate::audit::{Actor, Entry, Event, Outcome};
use crate::caller::Caller;
use crate::jwt::Jti;
use crate::profile::Fixed;
use crate::revocation::{BODY, Inactive, Presented, Reason};
use crate::transport::PeerCredentials;

const OWN: &str = "send \"token\", and \"reason\" where you like, and nothing else";
const ANY: &str = "send one of \"token\", \"jti\", \"subject\", \"session\", \"consent\" (with \"issuer\"), \"profile\" or \
                   \"everything\": true; \"reason\" and \"at\" (a time to come) where you like, and nothing else";

type Answered = Result<Response<Full<Bytes>>, Exit>;

impl Api {
    /// By a caller. A token that is none of ours, or of a profile that the caller may not use, is left alone, and nothing is
    /// told of it (RFC 7009 section 2.2).
    pub(super) async fn revoke_own(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        let caller = now.callers.identify(Arc::clone(&peer))?;
        let read = async {
            now.rates.take(&caller, 1)?;
            let body = self.read(request, now.limits.body.max(BODY), ONE).await?;
            let shape = || Problem::revocation(OWN);
            let Value::Object(mut body) = body else { return Err(shape().into()) };
            let token = text(&mut body, "token").flatten().ok_or_else(shape)?;
            let reason = reason(&mut body).ok_or_else(shape)?;
            if body.is_empty() { Ok((token, reason)) } else { Err(Exit::from(shape())) }
        };
        let (token, reason) = read.await.map_err(|exit: Exit| exit.of(caller.name()))?;
        let busy = || Exit::from(Problem::overloaded()).of(caller.name());
        let seat = self.in_flight.enter(peer.uid()).ok_or_else(busy)?;
        let actor = Actor::of(&peer, Some(caller.name()));
        let jwt = Presented::read(&token, &self.keyring.ring(), &now.policy);
        match jwt {
            Ok(jwt) if may_have_made(&caller, &jwt) => {
                let by = By::operator(actor, Some(id.to_owned()));
                self.void(by, of(jwt), (None, reason), Some(seat)).await?;
            }
            other => self.leave_alone(now, actor, id, other.err().unwrap_or(Inactive::Asker)).await?,
        }
        Ok(json(&value!({})))
    }

    /// Records that a caller's wish came to nothing, and why.
    async fn leave_alone(&self, now: &InForce, actor: Actor, id: &str, why: Inactive) -> Result<(), Problem> {
        let entry = Entry {
            request: Some(id.to_owned()),
            actor: Some(actor),
            policy: Some(now.policy.digest().to_owned()),
            rules: vec![why.code()],
            ..Entry::new(Event::JwtRevoked, Outcome::Denied)
        };
        let mut ticket = self.log.append(vec![entry])?;
        Ok(ticket.durable_by(Instant::now() + now.limits.deadline).await?)
    }

    /// By an operator.
    pub(super) async fn revoke_any(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        let shape = || Problem::revocation(ANY);
        let body = self.read(request, now.limits.body.max(BODY), ONE).await?;
        let Value::Object(mut body) = body else { return Err(shape().into()) };
        let reason = reason(&mut body).ok_or_else(shape)?;
        let at = match text(&mut body, "at").ok_or_else(shape)? {
            None => None,
            Some(at) => Some(at.parse::<Timestamp>().map_err(|_| shape())?.as_second()),
        };
        let now_shown = self.clock.shown();
        if at.is_some_and(|at| at <= now_shown.as_second()) {
            return Err(Problem::revocation(&format!(
                "\"at\" is not a time to come: it is {now_shown:.0} here; leave it out to revoke now"
            ))
            .into());
        }
        let what = self.what(now, &mut body)?.ok_or_else(shape)?;
        if !body.is_empty() {
            return Err(shape().into());
        }
        let by = By::operator(Actor::of(&peer, None), Some(id.to_owned()));
        // Without a seat: callers must not hold up an operator.
        self.void(by, what, (at, reason), None).await?;
        Ok(json(&value!({ "revoked": true })))
    }

    /// What an operator names; `None` if that is nothing, or more than one thing.
    fn what(&self, now: &InForce, body: &mut Map<String, Value>) -> Result<Option<Void>, Problem> {
        let named = |name: &str| body.contains_key(name);
        let count = ["token", "jti", "subject", "session", "consent", "profile", "everything"];
        if count.into_iter().filter(|name| named(name)).count() != 1 {
            return Ok(None);
        }
        if named("token") {
            let Some(token) = text(body, "token").flatten() else { return Ok(None) };
            let jwt = Presented::read(&token, &self.keyring.ring(), &now.policy);
            let not =
                |_| Problem::revocation("the token is none of this daemon's, or its key or profile is gone");
            return jwt.map(|jwt| Some(of(jwt))).map_err(not);
        }
        if named("jti") {
            let jti = text(body, "jti").flatten();
            let Some(jti) = jti else { return Ok(None) };
            // Anything else is a slip, and must not get into a record.
            if !Jti::is_one(&jti) {
                return Err(Problem::revocation(
                    "\"jti\" is not an id as this daemon gives them: a UUID in lower case",
                ));
            }
            return Ok(Some(Void::Jwt { jti, end: None, profile: None }));
        }
        if named("profile") {
            let Some(name) = text(body, "profile").flatten() else { return Ok(None) };
            let known = now.policy.profiles().find(|profile| profile.name.as_str() == name);
            let unknown = || Problem::revocation(&format!("there is no profile {name:?} in force"));
            return known.map(|profile| Some(Void::Profile(Arc::clone(profile)))).ok_or_else(unknown);
        }
        if named("everything") {
            return Ok((body.remove("everything") == Some(true.into())).then_some(Void::Everything));
        }
        let Some(whom) = whom(body, now).transpose()? else { return Ok(None) };
        let issuers = issuers(now);
        // Nobody's: a slip, after which the JWTs that are meant would be active still.
        if !issuers.contains(&*whom.issuer) {
            let there_are = listed(&issuers);
            return Err(Problem::revocation(&format!(
                "no profile in force has this \"issuer\"; there are {there_are}"
            )));
        }
        Ok(Some(Void::Person(whom)))
    }

    /// On a task of its own: whoever hangs up does not leave it half done.
    async fn void(
        &self,
        by: By,
        what: Void,
        (at, reason): (Option<i64>, Reason),
        seat: Option<Seat>,
    ) -> Result<(), Problem> {
        let admin = Arc::clone(&self.admin);
        let task = self.tracker.spawn(async move {
            let _seat = seat;
            admin.void(&by, what, at, reason).await
        });
        match timeout(ACT_WITHIN, task).await {
            Ok(Ok(done)) => Ok(done?),
            // The task can only end without an answer by a panic, which is a defect.
            Ok(Err(_)) => Err(Problem::internal()),
            Err(_) => Err(Problem::revocation_deadline()),
        }
    }
}

fn of(jwt: Presented) -> Void {
    Void::Jwt { end: Some(jwt.end()), profile: Some(jwt.profile.name.to_string()), jti: jwt.jti }
}

/// Of a profile that the caller may use, and with what is fixed by who that is: not another tenant's.
fn may_have_made(caller: &Caller, jwt: &Presented) -> bool {
    let says = |(name, value): (&String, &Value)| jwt.claims.get(name) == Some(value);
    let is_own = |fixed: &Fixed| fixed.issuer == jwt.issuer && fixed.claims.iter().all(says);
    caller.may_use(jwt.profile.name.as_str()) && jwt.profile.fixed.get(caller.name()).is_none_or(is_own)
}

/// One of the list; unspecified when left out.
fn reason(body: &mut Map<String, Value>) -> Option<Reason> {
    match body.remove("reason") {
        None => Some(Reason::default()),
        Some(value) => serde_json::from_value(value).ok(),
    }
}

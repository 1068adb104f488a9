//! `POST /v1/introspect` and `/v1/introspect/batch` on the signing socket: RFC 7662 in JSON.
//!
//! Who asks must be allowed to ask about the JWT's profile; of anything else, as of what is not active, nothing is told but
//! that. Each answer is recorded before it is given.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Map, Value, json as value};
use tokio::time::Instant;

use super::exit::Exit;
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce, json};
use crate::audit::{Actor, Entry, Event, Outcome};
use crate::caller::Caller;
use crate::jose::json as strict;
use crate::revocation::{Asked, Inactive, LONGEST, Presented};
use crate::transport::PeerCredentials;

/// What a request may say.
const SHAPE: &str =
    "send \"token\", and \"audience\" and \"replay\": \"once\" where you like, and nothing else";

/// One question.
struct Question {
    token: String,
    audience: Option<String>,
    once: bool,
}

impl Question {
    fn read(value: Value) -> Option<Self> {
        let Value::Object(mut body) = value else { return None };
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        let token = body.remove("token").and_then(text)?;
        let audience = match body.remove("audience") {
            None => None,
            Some(value) => Some(text(value)?),
        };
        let once = match body.remove("replay") {
            None => false,
            Some(value) => (value == "once").then_some(true)?,
        };
        body.is_empty().then_some(Self { token, audience, once })
    }
}

type Answered = Result<Response<Full<Bytes>>, Exit>;
type Judged = Result<Presented, Inactive>;

impl Api {
    pub(super) async fn introspect(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        let caller = now.callers.identify(peer)?;
        let read = async {
            now.rates.take(&caller, 1)?;
            let body = self.read(request, now.limits.body.max(LONGEST), ONE).await?;
            Ok(Question::read(body).ok_or_else(|| Problem::introspection(SHAPE))?)
        };
        let question = read.await.map_err(|exit: Exit| exit.of(caller.name()))?;
        let mut answers = self.answers(now, &caller, id, vec![question]).await?;
        answers.pop().map(|answer| json(&answer)).ok_or_else(|| Problem::internal().into())
    }

    pub(super) async fn introspect_batch(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        let caller = now.callers.identify(peer)?;
        let most = now.limits.batch_items;
        let read = async {
            now.rates.take(&caller, 1)?;
            let limits = strict::Limits { nodes: 4 * most + 2, ..ONE };
            let body = self.read(request, now.limits.batch_body, limits).await?;
            let questions = questions(body, most).ok_or_else(|| {
                Problem::introspection(&format!("send {{\"tokens\": [...]}} with 1 to {most} of: {SHAPE}"))
            })?;
            now.rates.fits(&caller, questions.len())?;
            now.rates.take(&caller, questions.len() - 1)?;
            Ok(questions)
        };
        let questions = read.await.map_err(|exit: Exit| exit.of(caller.name()))?;
        let answers = self.answers(now, &caller, id, questions).await?;
        Ok(json(&value!({ "results": answers })))
    }

    /// The answers, once they are recorded.
    async fn answers(
        &self,
        now: &InForce,
        caller: &Caller,
        id: &str,
        questions: Vec<Question>,
    ) -> Result<Vec<Value>, Exit> {
        let clock = self.clock.now().map_err(|fault| Problem::from(&crate::issuer::Refusal::Clock(fault)))?;
        let (ring, seconds) = (self.keyring.ring(), clock.as_second());
        let mut judged = Vec::with_capacity(questions.len());
        for question in &questions {
            let asked = Asked { audience: question.audience.as_deref() };
            let answer = self
                .revocations
                .judge(&question.token, (&ring, &now.policy), asked, seconds)
                .and_then(|jwt| match caller.may_introspect(jwt.profile.name.as_str()) {
                    true => Ok(jwt),
                    false => Err(Inactive::Asker),
                });
            judged.push(answer);
        }
        // Last, so that nothing is spent that is not active, or that nobody may ask about.
        self.spend(&questions, &mut judged).await?;
        let entries = judged.iter().map(|answer| entry(now, caller, id, answer.as_ref())).collect();
        let answers =
            judged.iter().map(|answer| answer.as_ref().map_or_else(|_| inactive(), active)).collect();
        let deadline = Instant::now() + now.limits.deadline;
        let recorded = async { self.log.append(entries)?.release(answers, deadline).await };
        Ok(recorded.await.map_err(Problem::from)?.into_inner())
    }

    /// Uses up what is active and to be used once: all of it, or on a fault none. Who is not the first is told so.
    async fn spend(&self, questions: &[Question], judged: &mut [Judged]) -> Result<(), Problem> {
        let once = |(question, answer): (&Question, &Judged)| question.once && answer.is_ok();
        let wanted: Vec<bool> = questions.iter().zip(&*judged).map(once).collect();
        if !wanted.contains(&true) {
            return Ok(());
        }
        let jwts = judged.iter().zip(&wanted).filter(|(_, wanted)| **wanted);
        let jwts: Vec<&Presented> = jwts.filter_map(|(answer, _)| answer.as_ref().ok()).collect();
        let firsts = self.revocations.spend(&jwts).await.map_err(|error| {
            tracing::error!(error = %crate::telemetry::Chain(&error), "JWTs not spent");
            Problem::state()
        })?;
        let answers = judged.iter_mut().zip(wanted).filter(|(_, wanted)| *wanted);
        for ((answer, _), first) in answers.zip(firsts) {
            if !first {
                *answer = Err(Inactive::Spent);
            }
        }
        Ok(())
    }
}

/// Takes `{"tokens": [...]}` apart.
fn questions(value: Value, most: usize) -> Option<Vec<Question>> {
    let Value::Object(mut body) = value else { return None };
    let Some(Value::Array(tokens)) = body.remove("tokens") else { return None };
    if !body.is_empty() || tokens.is_empty() || tokens.len() > most {
        return None;
    }
    tokens.into_iter().map(Question::read).collect()
}

fn inactive() -> Value {
    value!({ "active": false })
}

/// RFC 7662 section 2.2: its claims, beside what it is.
fn active(jwt: &Presented) -> Value {
    let mut answer = Map::new();
    answer.insert("active".to_owned(), true.into());
    answer.insert("profile".to_owned(), jwt.profile.name.as_str().into());
    let claims = jwt.claims.iter().filter(|(name, _)| !answer.contains_key(*name)).collect::<Vec<_>>();
    let claims: Vec<_> = claims.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    answer.extend(claims);
    answer.into()
}

fn entry(now: &InForce, caller: &Caller, id: &str, answer: Result<&Presented, &Inactive>) -> Entry {
    let (outcome, rules) = match answer {
        Ok(_) => (Outcome::Success, Vec::new()),
        Err(inactive) => (Outcome::Denied, vec![inactive.code()]),
    };
    let jwt = answer.ok();
    Entry {
        request: Some(id.to_owned()),
        actor: Some(Actor::of(caller.peer(), Some(caller.name()))),
        policy: Some(now.policy.digest().to_owned()),
        profile: jwt.map(|jwt| jwt.profile.name.to_string()),
        jti: jwt.map(|jwt| jwt.jti.clone()),
        kid: jwt.map(|jwt| jwt.kid.clone()),
        rules,
        ..Entry::new(Event::JwtIntrospected, outcome)
    }
}

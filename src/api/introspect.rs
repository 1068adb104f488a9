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
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::exit::Exit;
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce, json};
use crate::audit::{Actor, Entry, Event, Log, Outcome, Unavailable};
use crate::caller::Caller;
use crate::jose::json as strict;
use crate::keyring::Keyring;
use crate::policy::Policy;
use crate::revocation::{Asked, BODY, Inactive, Presented, Revocations};
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
            let body = self.read(request, now.limits.body.max(BODY), ONE).await?;
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

    /// The answers, once they are recorded. On a task of its own: whoever hangs up does not leave a JWT used up unrecorded.
    async fn answers(
        &self,
        now: &InForce,
        caller: &Caller,
        id: &str,
        questions: Vec<Question>,
    ) -> Result<Vec<Value>, Exit> {
        let busy = || Exit::from(Problem::overloaded()).of(caller.name());
        let seat = self.in_flight.enter(caller.peer().uid()).ok_or_else(busy)?;
        let clock = self.clock.now().map_err(|fault| Problem::from(&crate::issuer::Refusal::Clock(fault)))?;
        let asking = Asking {
            caller: caller.clone(),
            id: id.to_owned(),
            policy: Arc::clone(&now.policy),
            keyring: Arc::clone(&self.keyring),
            revocations: Arc::clone(&self.revocations),
            log: self.log.clone(),
            deadline: Instant::now() + now.limits.deadline,
        };
        let task = self.tracker.spawn(async move {
            let _seat = seat;
            Arc::new(asking).answer(questions, clock.as_second()).await
        });
        // The task can only end without an answer by a panic, which is a defect.
        Ok(task.await.map_err(|_| Problem::internal())??)
    }
}

/// All that it takes to answer.
struct Asking {
    caller: Caller,
    id: String,
    policy: Arc<Policy>,
    keyring: Arc<Keyring>,
    revocations: Arc<Revocations>,
    log: Log,
    deadline: Instant,
}

impl Asking {
    async fn answer(self: Arc<Self>, questions: Vec<Question>, now: i64) -> Result<Vec<Value>, Problem> {
        let questions = Arc::new(questions);
        let mut judged = if self.caller.introspects() && questions.len() > 1 {
            // So many signatures would hold up others.
            let (asking, questions) = (Arc::clone(&self), Arc::clone(&questions));
            let judging = spawn_blocking(move || asking.judge(&questions, now));
            judging.await.map_err(|_| Problem::internal())?
        } else {
            self.judge(&questions, now)
        };
        // Last, so that nothing is spent that is not active, or that nobody may ask about.
        let has_spent = self.spend(&questions, &mut judged).await?;
        let mut unrecorded: Vec<Entry> = judged.iter().map(|answer| self.entry(answer.as_ref())).collect();
        // What was revoked and acknowledged until the record was on disk must not be called active after that.
        while !unrecorded.is_empty() {
            self.record(std::mem::take(&mut unrecorded)).await.inspect_err(|error| {
                if has_spent {
                    tracing::error!(request = self.id, %error, "JWTs used up that no record may tell of");
                }
            })?;
            let ring = self.keyring.ring();
            for answer in &mut judged {
                let Err(why) = answer.as_ref().map_or(Ok(()), |jwt| self.revocations.stands(jwt, &ring))
                else {
                    continue;
                };
                unrecorded.push(self.entry(Err(&why)));
                *answer = Err(why);
            }
        }
        Ok(judged.iter().map(|answer| answer.as_ref().map_or_else(|_| inactive(), active)).collect())
    }

    fn judge(&self, questions: &[Question], now: i64) -> Vec<Judged> {
        let ring = self.keyring.ring();
        let judge = |question: &Question| {
            // Nobody makes us verify what they would not be told.
            if !self.caller.introspects() {
                return Err(Inactive::Asker);
            }
            let asked = Asked { audience: question.audience.as_deref() };
            let jwt = self.revocations.judge(&question.token, (&ring, &self.policy), asked, now)?;
            let may_ask = self.caller.may_introspect(jwt.profile.name.as_str());
            if may_ask { Ok(jwt) } else { Err(Inactive::Asker) }
        };
        questions.iter().map(judge).collect()
    }

    /// Uses up what is active and to be used once: all of it, or on a fault none. Who is not the first is told so. Whether
    /// there was anything to use up.
    async fn spend(&self, questions: &[Question], judged: &mut [Judged]) -> Result<bool, Problem> {
        let once = |(question, answer): (&Question, &Judged)| question.once && answer.is_ok();
        let wanted: Vec<bool> = questions.iter().zip(&*judged).map(once).collect();
        if !wanted.contains(&true) {
            return Ok(false);
        }
        // What could not be recorded is not used up.
        if let Some(reason) = self.log.health().reason {
            return Err(Unavailable { reason }.into());
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
        Ok(true)
    }

    async fn record(&self, entries: Vec<Entry>) -> Result<(), Unavailable> {
        self.log.append(entries)?.durable_by(self.deadline).await
    }

    fn entry(&self, answer: Result<&Presented, &Inactive>) -> Entry {
        let (outcome, rules) = match answer {
            Ok(_) => (Outcome::Success, Vec::new()),
            Err(inactive) => (Outcome::Denied, vec![inactive.code()]),
        };
        let jwt = answer.ok();
        Entry {
            request: Some(self.id.clone()),
            actor: Some(Actor::of(self.caller.peer(), Some(self.caller.name()))),
            policy: Some(self.policy.digest().to_owned()),
            profile: jwt.map(|jwt| jwt.profile.name.to_string()),
            jti: jwt.map(|jwt| jwt.jti.clone()),
            kid: jwt.map(|jwt| jwt.kid.clone()),
            rules,
            ..Entry::new(Event::JwtIntrospected, outcome)
        }
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

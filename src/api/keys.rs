//! `/v1/keys` and `/v1/proposals` on the admin socket: what there is to know of keys, and the acts that turn them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json as value};
use tokio::time::timeout;

use super::exit::Exit;
use super::problem::Problem;
use super::sign::ONE;
use super::{Api, InForce, json};
use crate::admin::{Act, AdminError, Asked, Done, KeyReport, Proposal};
use crate::audit::Actor;
use crate::transport::PeerCredentials;

/// Longer than a slow HSM takes for an RSA-4096 key, or the last JWTs of a revoked version to leave.
pub(super) const ACT_WITHIN: Duration = Duration::from_secs(240);
/// Longest reason of a revocation, bytes: a record keeps no more.
const REASON: usize = 200;

/// What a path of these stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Keys,
    Key(&'a str),
    Act { key: &'a str, verb: &'a str },
    Proposals,
    Proposal(&'a str),
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix("/v1/")?.split('/');
        let route = match (parts.next()?, parts.next(), parts.next()) {
            ("keys", None, None) => Self::Keys,
            ("keys", Some(key), None) if !key.is_empty() => Self::Key(key),
            ("keys", Some(key), Some(verb)) if !key.is_empty() && VERBS.contains(&verb) => {
                Self::Act { key, verb }
            }
            ("proposals", None, None) => Self::Proposals,
            ("proposals", Some(id), None) if !id.is_empty() => Self::Proposal(id),
            _ => return None,
        };
        parts.next().is_none().then_some(route)
    }
}

const VERBS: [&str; 7] = ["generate", "adopt", "rotate", "activate", "retire", "revoke", "destroy"];

/// The version that was acted on, and the key as it is now.
#[derive(Serialize)]
struct Acted {
    kid: String,
    #[serde(flatten)]
    report: KeyReport,
}

#[derive(Serialize)]
struct Proposed {
    proposal: Proposal,
    /// For people.
    detail: String,
}

type Answered = Result<Response<Full<Bytes>>, Exit>;

impl Api {
    pub(super) async fn keys(
        &self,
        now: &InForce,
        peer: Arc<PeerCredentials>,
        id: &str,
        request: Request<Incoming>,
    ) -> Answered {
        let path = request.uri().path().to_owned();
        let route = Route::of(&path).ok_or_else(Problem::unknown_route)?;
        let method = request.method();
        let read = method == Method::GET || method == Method::HEAD;
        match route {
            Route::Keys if read => Ok(json(&value!({ "keys": self.admin.keys().await? }))),
            Route::Key(key) if read => Ok(json(&self.admin.key(key).await?)),
            Route::Proposals if read => Ok(json(&value!({ "proposals": self.admin.proposals() }))),
            Route::Act { key, verb } if method == Method::POST => {
                let body = self.read(request, now.limits.body, ONE).await?;
                self.act(peer, id, read_act(key, verb, body)?).await
            }
            Route::Proposal(proposal) if method == Method::DELETE => {
                let withdrawn = self.admin.withdraw(Actor::of(&peer, None), id.to_owned(), proposal).await?;
                Ok(json(&withdrawn))
            }
            Route::Act { .. } => Err(Problem::method("POST").into()),
            Route::Proposal(_) => Err(Problem::method("DELETE").into()),
            Route::Keys | Route::Key(_) | Route::Proposals => Err(Problem::method("GET").into()),
        }
    }

    /// Asks for an act, on a task of its own: an operator who hangs up does not leave half of it undone.
    pub(super) async fn act(&self, peer: Arc<PeerCredentials>, id: &str, act: Act) -> Answered {
        let (admin, actor, request) = (Arc::clone(&self.admin), Actor::of(&peer, None), id.to_owned());
        let act = self.tracker.spawn(async move {
            Ok::<_, AdminError>(match admin.ask(actor, request, act).await? {
                Asked::Proposed(proposal) => proposed(*proposal),
                Asked::Done(Done::Erased(count)) => json(&value!({ "erased": count })),
                Asked::Done(Done::Released(released)) => json(&value!({ "released": released })),
                Asked::Done(Done::Version { key, kid }) => {
                    json(&Acted { kid, report: admin.key(&key).await? })
                }
            })
        });
        match timeout(ACT_WITHIN, act).await {
            Ok(Ok(answer)) => Ok(answer?),
            // The task can only end without an answer by a panic, which is a defect.
            Ok(Err(_)) => Err(Problem::internal().into()),
            Err(_) => Err(Problem::act_deadline().into()),
        }
    }
}

fn proposed(proposal: Proposal) -> Response<Full<Bytes>> {
    let detail = format!(
        "nothing is done yet: another uid than {} must ask for the very same until {}",
        proposal.by.uid, proposal.until
    );
    let mut response = json(&Proposed { proposal, detail });
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Reads the body of an act; `verb` is one of [`VERBS`].
fn read_act(key: &str, verb: &str, body: Value) -> Result<Act, Problem> {
    let shape = match verb {
        "adopt" => "send {\"name\": \"the key's name in the backend\"} and nothing else",
        "activate" => {
            "send {}, or \"early\": true or false and \"kid\": the prepared version, and nothing else"
        }
        "retire" => "send {} or {\"kid\": the active version} and nothing else",
        "revoke" => "send {}, or \"kid\" and \"reason\" (at most 200 bytes, one line), and nothing else",
        "destroy" => "send {\"kid\": the version, \"confirm\": the same again} and nothing else",
        _ => "send {} and nothing else",
    };
    members(key, verb, body).ok_or_else(|| Problem::act(shape))
}

fn members(key: &str, verb: &str, body: Value) -> Option<Act> {
    let Value::Object(mut body) = body else { return None };
    let key = key.to_owned();
    let act = match verb {
        "generate" => Act::Generate { key },
        "adopt" => Act::Adopt { key, name: text(&mut body, "name")?? },
        "rotate" => Act::Rotate { key },
        "activate" => {
            let early = match body.remove("early") {
                None => false,
                Some(Value::Bool(early)) => early,
                Some(_) => return None,
            };
            Act::Activate { key, kid: text(&mut body, "kid")?, early }
        }
        "retire" => Act::Retire { key, kid: text(&mut body, "kid")? },
        "revoke" => {
            let reason = reason_of(&mut body)?;
            Act::Revoke { key, kid: text(&mut body, "kid")?, reason }
        }
        "destroy" => {
            let (kid, again) = (text(&mut body, "kid")??, text(&mut body, "confirm")??);
            (kid == again).then_some(Act::Destroy { key, kid })?
        }
        _ => return None,
    };
    body.is_empty().then_some(act)
}

/// An operator's reason, which may be left out; `None` if it is something else.
#[expect(clippy::option_option, reason = "wrong, absent and present are three things")]
pub(super) fn reason_of(body: &mut Map<String, Value>) -> Option<Option<String>> {
    let reason = text(body, "reason")?;
    let fits = |text: &String| text.len() <= REASON && !text.chars().any(char::is_control);
    reason.as_ref().is_none_or(fits).then_some(reason)
}

/// A text member, which may be left out; `None` if it is something else.
#[expect(clippy::option_option, reason = "wrong, absent and present are three things")]
pub(super) fn text(body: &mut Map<String, Value>, name: &str) -> Option<Option<String>> {
    match body.remove(name) {
        None => Some(None),
        Some(Value::String(text)) if !text.is_empty() => Some(Some(text)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_route_or_none() {
        for (path, route) in [
            ("/v1/keys", Some(Route::Keys)),
            ("/v1/keys/access", Some(Route::Key("access"))),
            ("/v1/keys/access/rotate", Some(Route::Act { key: "access", verb: "rotate" })),
            ("/v1/proposals", Some(Route::Proposals)),
            ("/v1/proposals/1", Some(Route::Proposal("1"))),
            ("/v1/keys/", None),
            ("/v1/keys//rotate", None),
            ("/v1/keys/access/", None),
            ("/v1/keys/access/sign", None),
            ("/v1/keys/access/rotate/x", None),
            ("/v1/proposals/", None),
            ("/v2/keys", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn a_body_is_read_strictly() {
        let read = |verb: &str, body: &str| read_act("k", verb, serde_json::from_str(body).unwrap());
        let (key, kid) = ("k".to_owned(), Some("x".to_owned()));
        for (verb, body, act) in [
            ("generate", "{}", Act::Generate { key: key.clone() }),
            ("adopt", r#"{"name":"n"}"#, Act::Adopt { key: key.clone(), name: "n".into() }),
            ("rotate", "{}", Act::Rotate { key: key.clone() }),
            ("activate", "{}", Act::Activate { key: key.clone(), kid: None, early: false }),
            ("activate", r#"{"early":true}"#, Act::Activate { key: key.clone(), kid: None, early: true }),
            ("retire", r#"{"kid":"x"}"#, Act::Retire { key: key.clone(), kid: kid.clone() }),
            (
                "revoke",
                r#"{"kid":"x","reason":"lost"}"#,
                Act::Revoke { key: key.clone(), kid, reason: Some("lost".into()) },
            ),
            ("destroy", r#"{"kid":"x","confirm":"x"}"#, Act::Destroy { key, kid: "x".into() }),
        ] {
            assert_eq!(read(verb, body).unwrap(), act, "{verb} {body}");
        }
        let long = format!(r#"{{"reason":"{}"}}"#, "a".repeat(REASON + 1));
        for (verb, body) in [
            ("generate", "[]"),
            ("generate", r#"{"early":true}"#),
            ("adopt", "{}"),
            ("adopt", r#"{"name":""}"#),
            ("adopt", r#"{"name":1}"#),
            ("rotate", r#"{"kid":"x"}"#),
            ("activate", r#"{"early":1}"#),
            ("retire", r#"{"kid":null}"#),
            ("revoke", r#"{"reason":"a\nb"}"#),
            ("revoke", &long),
            ("destroy", r#"{"kid":"x"}"#),
            ("destroy", r#"{"kid":"x","confirm":"y"}"#),
            ("sign", "{}"),
        ] {
            let problem = read(verb, body).unwrap_err();
            assert_eq!((problem.status, problem.code), (StatusCode::BAD_REQUEST, "act.malformed"), "{body}");
        }
    }
}

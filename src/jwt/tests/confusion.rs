//! No kind passes as another (RFC 8725 section 3.12): every JWT is shown to a verifier of every other kind, which is
//! written here from that kind's specification and knows nothing of our table. All have one issuer and one audience, so
//! that neither helps.

use super::*;
use crate::profile::Kind;
use serde_json::Map;

const ISSUER: &str = "https://login.example.com";
const API: &str = "https://api.example.com";
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";
const HASH: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
const NOW: i64 = 1_700_000_000;

/// As open as a profile of this kind may be.
fn profile(kind: Kind) -> Profile {
    let spec = kind.spec();
    let names = Kind::ALL.into_iter().flat_map(claims).flat_map(|claims| {
        let Value::Object(claims) = claims else { panic!("not an object") };
        claims.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    });
    let open = names.filter(|name| !kind.forbids(name)).map(|name| (name, ClaimRule::default()));
    Profile {
        kind: Some(kind),
        audiences: if spec.audience { vec![API.into()] } else { Vec::new() },
        claims: open.collect(),
        ..Profile::sample(spec.name, "access", spec.typ)
    }
}
static KINDS: LazyLock<Policy> = LazyLock::new(|| Policy::new(Kind::ALL.map(profile).into(), String::new()));

/// What is asked for: the least, and the most.
fn claims(kind: Kind) -> Vec<Value> {
    let events = json!({LOGOUT: {}});
    match kind {
        Kind::AccessToken => vec![
            json!({"sub": "alice", "client_id": "web"}),
            json!({"sub": "alice", "client_id": "web", "scope": "a b", "auth_time": NOW, "acr": "1", "amr": ["pwd"], "sid": "s"}),
        ],
        Kind::Service => vec![
            json!({"sub": "web", "client_id": "web"}),
            json!({"sub": "web", "client_id": "web", "scope": "a", "roles": ["x"]}),
        ],
        Kind::DpopBound | Kind::MtlsBound => {
            let cnf = if kind == Kind::DpopBound { json!({"jkt": HASH}) } else { json!({"x5t#S256": HASH}) };
            vec![
                json!({"sub": "alice", "client_id": "web", "cnf": cnf}),
                json!({"sub": "web", "client_id": "web", "cnf": cnf, "scope": "a"}),
            ]
        }
        Kind::IdToken => vec![
            json!({"sub": "alice"}),
            json!({"sub": "alice", "nonce": "n", "auth_time": NOW, "acr": "1", "amr": ["pwd"], "azp": "web", "at_hash": "AAAAAAAAAAAAAAAAAAAAAA", "sid": "s"}),
        ],
        Kind::ClientAssertion | Kind::GithubApp => vec![json!({})],
        Kind::SecurityEvent => vec![
            json!({"events": {"urn:example:a": {}}}),
            json!({"events": {"urn:example:a": {"b": 1}}, "sub_id": {"format": "opaque", "id": "1"}, "txn": "t"}),
        ],
        Kind::LogoutToken => vec![
            json!({"sub": "alice", "events": events}),
            json!({"sid": "s", "events": events}),
            json!({"sub": "alice", "sid": "s", "events": events}),
        ],
        Kind::Webhook => {
            let digest = format!("sha-256=:{}=:", HASH.replace('-', "+").replace('_', "/"));
            vec![json!({"content_digest": digest})]
        }
    }
}

/// A verifier of this kind, as its specification describes it.
fn verifies(kind: Kind, header: &Value, payload: &Map<String, Value>) -> bool {
    let has = |name: &str| payload.contains_key(name);
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let date = |name: &str| payload.get(name).is_some_and(Value::is_u64);
    let for_us = text("aud") == Some(API) && text("iss") == Some(ISSUER);
    let alive = date("exp") && date("iat");
    let cnf = |member: &str| {
        let cnf = payload.get("cnf").and_then(Value::as_object);
        cnf.is_some_and(|cnf| cnf.len() == 1 && cnf.get(member).and_then(Value::as_str) == Some(HASH))
    };
    // RFC 9068 sections 2.2 and 4.
    let access = header["typ"] == "at+jwt"
        && for_us
        && alive
        && [text("sub"), text("client_id"), text("jti")].iter().all(Option::is_some);
    // RFC 8417 section 2.2: what happened, by URI.
    let events = payload.get("events").and_then(Value::as_object);
    match kind {
        // RFC 9449 section 7.1: what is bound is no bearer token. RFC 9700 section 4.15: no client is a person.
        Kind::AccessToken => access && !has("cnf") && text("sub") != text("client_id"),
        Kind::Service => access && !has("cnf") && text("sub") == text("client_id"),
        Kind::DpopBound => access && cnf("jkt"),
        Kind::MtlsBound => access && cnf("x5t#S256"),
        // OpenID Connect Core 1.0 sections 2 and 3.1.3.7.
        Kind::IdToken => header["typ"] == "JWT" && for_us && alive && text("sub").is_some() && !has("events"),
        // RFC 7523 section 3.
        Kind::ClientAssertion => {
            header["typ"] == "client-authentication+jwt"
                && for_us
                && date("exp")
                && text("sub") == text("iss")
                && text("jti").is_some()
        }
        // Who has other claims was not made for GitHub.
        Kind::GithubApp => {
            header["typ"] == "JWT"
                && text("iss") == Some(ISSUER)
                && alive
                && payload.keys().all(|name| ["iss", "iat", "exp", "jti"].contains(&name.as_str()))
        }
        // RFC 8417 sections 2.2 and 4.
        Kind::SecurityEvent => {
            header["typ"] == "secevent+jwt"
                && for_us
                && date("iat")
                && text("jti").is_some()
                && events.is_some_and(|events| !events.is_empty() && !events.contains_key(LOGOUT))
                && !has("exp")
                && !has("sub")
        }
        // OpenID Connect Back-Channel Logout 1.0 sections 2.4 and 2.6.
        Kind::LogoutToken => {
            header["typ"] == "logout+jwt"
                && for_us
                && alive
                && text("jti").is_some()
                && (has("sub") || has("sid"))
                && events.is_some_and(|events| events.get(LOGOUT).is_some_and(Value::is_object))
                && !has("nonce")
        }
        Kind::Webhook => {
            header["typ"] == "webhook+jwt"
                && for_us
                && alive
                && text("content_digest").is_some_and(|digest| digest.starts_with("sha-256=:"))
        }
    }
}

fn may_use_all() -> Caller {
    let rule = Rule {
        name: "billing".into(),
        uid: Some(1),
        gid: None,
        exe: None,
        unit: None,
        profiles: Kind::ALL.map(|kind| kind.spec().name.to_owned()).into(),
        rate: None,
        introspect: Default::default(),
    };
    let peer = PeerCredentials::assume(1, 1, 1, ProcessFacts::default());
    Callers::new(vec![rule]).identify(Arc::new(peer)).unwrap()
}
fn ask(kind: Kind, claims: Map<String, Value>) -> Result<Grant, crate::policy::Denial> {
    let request = Request { profile: kind.spec().name.into(), claims, ..Request::default() };
    KINDS.authorize(&may_use_all(), request, at(NOW))
}
/// All JWTs of this kind that are asked for above: header and payload.
fn made(kind: Kind) -> Vec<(Value, Map<String, Value>)> {
    let make = |asked: Value| {
        let Value::Object(asked) = asked else { panic!("not an object") };
        let grant = ask(kind, asked).unwrap();
        let right = right("access", at(NOW), Some(grant.terms().ttl.as_secs()));
        let draft = Draft::assemble(grant, right, Jti::random()).unwrap();
        let (header, payload) = texts(draft.signing_input());
        (serde_json::from_str(&header).unwrap(), serde_json::from_str(&payload).unwrap())
    };
    claims(kind).into_iter().map(make).collect()
}

#[test]
fn no_kind_passes_as_another() {
    let (mut own, mut others) = (0, 0);
    for kind in Kind::ALL {
        for (header, payload) in made(kind) {
            for verifier in Kind::ALL {
                let passes = verifies(verifier, &header, &payload);
                assert_eq!(passes, verifier == kind, "{kind:?} as {verifier:?}: {header} {payload:?}");
                *(if passes { &mut own } else { &mut others }) += 1;
            }
        }
    }
    assert!(own >= 18 && others >= 160, "{own} {others}");
}

/// Kinds that share a `typ` differ by what they say alone, so this must hold without a look at it.
#[test]
fn kinds_of_one_typ_differ_by_their_claims() {
    for kind in Kind::ALL {
        for (_, payload) in made(kind) {
            for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
                if other.spec().typ == kind.spec().typ {
                    let header = json!({"typ": other.spec().typ});
                    assert!(!verifies(other, &header, &payload), "{kind:?} as {other:?}: {payload:?}");
                }
            }
        }
    }
}

/// What one kind says is not to be had under the profile of another, however open that is.
#[test]
fn no_profile_says_what_another_kind_says() {
    let mut open = Vec::new();
    for kind in Kind::ALL {
        for (_, mut said) in made(kind) {
            for ours in ["iss", "iat", "nbf", "exp", "jti"] {
                said.shift_remove(ours);
            }
            for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
                if ask(other, said.clone()).is_ok() {
                    open.push((kind, other));
                }
            }
        }
    }
    // It says nothing of its own: `typ` and the subject tell them apart, as shown above.
    assert_eq!(open, [(Kind::GithubApp, Kind::ClientAssertion)]);
}

//! Dates of JWTs, whatever limits them.

use super::*;
use crate::profile::{Aal, Kind, Lifetime, SessionRule};

const NOW: i64 = 1_700_000_000;

/// What a profile and a request say of time.
#[derive(Debug, Clone)]
struct Times {
    kind: Option<Kind>,
    round: u64,
    default: u64,
    over: u64,
    aal: Option<Aal>,
    max_age: Option<u64>,
    auth_time: i64,
    expires_at: Option<i64>,
    ttl: Option<u64>,
    nanos: i32,
}
fn times() -> impl Strategy<Value = Times> {
    let kinds = [None, Some(Kind::GithubApp), Some(Kind::ClientAssertion), Some(Kind::IdToken)];
    let aals = [None, None, Some(Aal::One), Some(Aal::Two), Some(Aal::Three)];
    (
        (proptest::sample::select(kinds.to_vec()), 1u64..200, 0u64..600, 0u64..600),
        (proptest::sample::select(aals.to_vec()), proptest::option::of(1u64..7200)),
        // Near the ends of all of them.
        (
            proptest::sample::select(vec![0i64, 3600, 12 * 3600, 24 * 3600, 30 * 86400]),
            -1200i64..1200,
            proptest::option::of(-50i64..1200),
            proptest::option::of(1u64..1300),
            0i32..1_000_000_000,
        ),
    )
        .prop_map(|((kind, round, longer, over), (aal, max_age), (far, near, left, ttl, nanos))| {
            let back = if kind == Some(Kind::GithubApp) { 60 } else { 0 };
            Times {
                kind,
                round,
                default: back + round + longer,
                over,
                aal,
                max_age,
                auth_time: (NOW - far + near).min(NOW),
                expires_at: left.map(|left| NOW + left),
                ttl,
                nanos,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn nothing_outlives_what_limits_it(times in times()) {
        let max = times.default + times.over;
        let profile = Profile {
            kind: times.kind,
            audiences: if times.kind == Some(Kind::GithubApp) { vec![] } else { vec!["a".into()] },
            lifetime: Lifetime {
                default: Duration::from_secs(times.default), max: Duration::from_secs(max), over_ceiling: None,
            },
            round_iat: Duration::from_secs(times.round),
            session: SessionRule { required: false, aal: times.aal, max_age: times.max_age.map(Duration::from_secs) },
            nbf: times.kind.is_none(),
            skew: Duration::from_secs(30),
            ..Profile::sample("one", "access", "test+jwt")
        };
        let claims = if times.kind == Some(Kind::IdToken) { json!({"sub": "s"}) } else { json!({}) };
        let mut session = json!({"auth_time": times.auth_time});
        if let Some(end) = times.expires_at {
            session["expires_at"] = json!(end);
        }
        let request = Request {
            profile: "one".into(),
            claims: claims.as_object().unwrap().clone(),
            ttl: times.ttl.map(Duration::from_secs),
            session: Some(session),
            ..Request::default()
        };
        let now = Timestamp::new(NOW, times.nanos).unwrap();
        let policy = Policy::new(vec![profile], String::new());
        let granted = policy.authorize(&caller(), request, now);

        let backdate = if times.kind == Some(Kind::GithubApp) { 60 } else { 0 };
        let iat = (NOW - backdate) / times.round as i64 * times.round as i64;
        let after_login = |seconds: u64| times.auth_time + seconds as i64;
        let aal = times.aal.map(|aal| after_login(match aal {
            Aal::One => 30 * 86400,
            Aal::Two => 86400,
            Aal::Three => 43200,
        }));
        let ends = [times.expires_at, aal, times.max_age.map(after_login)];
        let end = ends.into_iter().flatten().min().unwrap_or(i64::MAX);
        let long_enough = times.ttl.is_none_or(|ttl| ttl > backdate as u64 + times.round - 1);
        let asked = times.ttl.is_none_or(|ttl| ttl <= max && iat + ttl as i64 <= end);
        prop_assert_eq!(granted.is_ok(), end > NOW && long_enough && asked, "{:?}", granted.err());
        if let Ok(grant) = granted {
            let right = right("access", now, Some(grant.terms().ttl.as_secs()));
            let last = right.exp();
            let draft = Draft::assemble(grant, right, Jti::random()).unwrap();
            let (_, payload) = texts(draft.signing_input());
            let payload: Value = serde_json::from_str(&payload).unwrap();
            let exp = payload["exp"].as_i64().unwrap();
            prop_assert_eq!(payload["iat"].as_i64(), Some(iat));
            prop_assert!(iat <= NOW && exp > NOW && exp <= end && exp <= last);
            prop_assert_eq!(exp, match times.ttl {
                Some(ttl) => iat + ttl as i64,
                None => end.min(iat + times.default as i64),
            });
            prop_assert_eq!((draft.iat(), draft.exp()), (iat, exp));
            let nbf = times.kind.is_none().then(|| json!(iat - 30));
            prop_assert_eq!(payload.get("nbf"), nbf.as_ref());
        }
    }
}

#[test]
fn a_security_event_has_no_end_but_its_record_does() {
    let profile =
        Profile { kind: Some(Kind::SecurityEvent), ..Profile::sample("one", "access", "secevent+jwt") };
    let claims = json!({"events": {"urn:example:a": {}}}).as_object().unwrap().clone();
    let request = Request { profile: "one".into(), claims, ..Request::default() };
    let grant = Policy::new(vec![profile], String::new()).authorize(&caller(), request, at(NOW)).unwrap();
    let draft = Draft::assemble(grant, right("access", at(NOW), None), Jti::random()).unwrap();
    let (_, payload) = texts(draft.signing_input());
    assert!(!payload.contains("\"exp\"") && payload.contains("\"iat\""), "{payload}");
    assert_eq!(draft.exp(), NOW + 300);
}

#[test]
fn an_assertion_is_about_its_issuer_and_an_app_has_no_audience() {
    let made = |kind: Kind, issuer: &str, audiences: &[&str]| {
        let profile = Profile {
            kind: Some(kind),
            issuer: issuer.into(),
            audiences: audiences.iter().map(|name| (*name).to_owned()).collect(),
            ..Profile::sample("one", "access", kind.spec().typ)
        };
        let request = Request { profile: "one".into(), ..Request::default() };
        let grant = Policy::new(vec![profile], String::new()).authorize(&caller(), request, at(NOW)).unwrap();
        let draft = Draft::assemble(grant, right("access", at(NOW), None), Jti::random()).unwrap();
        let (_, payload) = texts(draft.signing_input());
        (payload.replace(draft.jti().as_str(), "ID"), draft.subject().map(str::to_owned))
    };
    assert_eq!(
        made(Kind::ClientAssertion, "web", &["https://as.example.com"]),
        (
            r#"{"iss":"web","sub":"web","aud":"https://as.example.com","iat":1700000000,"exp":1700000300,"jti":"ID"}"#
                .to_owned(),
            Some("web".to_owned())
        )
    );
    assert_eq!(
        made(Kind::GithubApp, "Iv23li", &[]),
        (r#"{"iss":"Iv23li","iat":1699999940,"exp":1700000240,"jti":"ID"}"#.to_owned(), None)
    );
}

//! Profiles whose JWTs live by a session, by a login, by a kind, or by who the caller is.

use super::*;
use crate::profile::{Aal, Fixed, Kind, ProfileName, SessionRule};
use std::collections::BTreeMap;

fn named(name: &str, claims: &[&str]) -> Profile {
    profile(name, "test+jwt", &[API], claims.iter().map(|claim| (*claim, free())).collect())
}

/// One for each kind, as open as it may be, and those that a test asks for by name.
pub(super) fn governed() -> Vec<Profile> {
    let kinds = Kind::ALL.into_iter().map(of_kind);
    let login = |name, session| Profile { session, ..named(name, &["auth_time"]) };
    let rule = SessionRule::default();
    let mut fixed = named("fixed", &["client_id", "x"]);
    fixed.issuer = "https://{name}.example.com".into();
    let own = |caller: &str| Fixed {
        issuer: format!("https://{caller}.example.com"),
        claims: [("client_id".to_owned(), json!(format!("id-of-{caller}")))].into(),
    };
    fixed.fixed = ["billing", "deployer"].map(|caller| (caller.to_owned(), own(caller))).into();
    let login_of_each = Profile {
        fixed: [("billing".to_owned(), Fixed { claims: BTreeMap::new(), ..own("billing") })].into(),
        claims: BTreeMap::new(),
        name: ProfileName::new("fixed-login").unwrap(),
        ..of_kind(Kind::IdToken)
    };
    let elsewhere =
        Profile { fixed: [("deployer".to_owned(), own("deployer"))].into(), ..named("elsewhere", &["x"]) };
    let bounds = |min, max| ClaimRule { min: Some(min), max: Some(max), ..free() };
    let numbers = vec![
        ("count", bounds(json_number("-1"), json_number("10"))),
        ("share", bounds(json_number("0.5"), json_number("1.5"))),
    ];
    let others = vec![
        login("aal1", SessionRule { aal: Some(Aal::One), ..rule }),
        login("aal2", SessionRule { aal: Some(Aal::Two), ..rule }),
        login("aal3", SessionRule { aal: Some(Aal::Three), ..rule }),
        login("aged", SessionRule { max_age: Some(Duration::from_hours(8)), ..rule }),
        Profile { session: SessionRule { aal: Some(Aal::Three), ..rule }, ..named("silent", &["x"]) },
        profile("mistyped", "test+jwt", &[API], vec![("auth_time", kind(ClaimType::String))]),
        login("session", SessionRule { required: true, ..rule }),
        Profile { round_iat: Duration::from_mins(1), ..named("rounded", &["x"]) },
        fixed,
        elsewhere,
        login_of_each,
        profile("numbers", "test+jwt", &[API], numbers),
    ];
    kinds.chain(others).collect()
}

pub(super) fn of_kind(kind: Kind) -> Profile {
    let spec = kind.spec();
    let optional = spec.claims.iter().filter(|own| !own.needed).map(|own| own.name);
    let usual = ["auth_time", "email", "roles", "extra"].into_iter().filter(|name| !kind.forbids(name));
    let claims = optional.chain(usual).map(|name| (name.to_owned(), free())).collect();
    let mut profile = Profile {
        claims,
        kind: Some(kind),
        ..Profile::sample(&format!("a-{}", spec.name), "access", spec.typ)
    };
    if !spec.audience {
        profile.audiences.clear();
    }
    profile
}

fn json_number(text: &str) -> serde_json::Number {
    text.parse().unwrap()
}

#[test]
fn the_default_is_shortened_and_the_dates_are_set_back() {
    let granted = |request: Value| {
        let grant = authorize(&request.to_string()).unwrap();
        let terms = grant.terms();
        (terms.iat_back.as_secs(), terms.ttl.as_secs())
    };
    let now = NOW.as_second();
    // 22:13:20, rounded to the minute.
    for (profile, session, claims, expected) in [
        ("rounded", json!({}), json!({}), (20, 300)),
        ("rounded", json!({"expires_at": now + 100}), json!({}), (20, 120)),
        ("rounded", json!({"expires_at": now + 1}), json!({}), (20, 21)),
        ("rounded", json!({"expires_at": now + 280}), json!({}), (20, 300)),
        ("a-github-app", json!({"expires_at": now + 100}), json!({}), (60, 160)),
        ("aal3", json!({"auth_time": now - 12 * 3600 + 7}), json!({}), (0, 7)),
        ("aal3", json!({}), json!({"auth_time": now - 12 * 3600 + 7}), (0, 7)),
        ("aal2", json!({"auth_time": now - 24 * 3600 + 7}), json!({}), (0, 7)),
        ("aal1", json!({"auth_time": now - 30 * 86400 + 7}), json!({}), (0, 7)),
        ("aged", json!({"auth_time": now - 8 * 3600 + 7}), json!({}), (0, 7)),
        ("aged", json!({"auth_time": now - 8 * 3600 + 7, "expires_at": now + 6}), json!({}), (0, 6)),
        // A clock that is ahead lengthens nothing.
        ("aged", json!({"auth_time": now + 60}), json!({}), (0, 300)),
    ] {
        let request = json!({"profile": profile, "claims": claims, "session": session});
        assert_eq!(granted(request.clone()), expected, "{request}");
    }
}

#[test]
fn what_is_fixed_is_filled_in_and_the_issuer_follows_the_caller() {
    for claims in [json!({"x": 1}), json!({"x": 1, "client_id": "id-of-billing"})] {
        let grant = authorize(&with("fixed", claims)).unwrap();
        assert_eq!(grant.terms().issuer, "https://billing.example.com");
        let claims = serde_json::to_string(&grant.terms().claims).unwrap();
        assert_eq!(claims, r#"{"x":1,"client_id":"id-of-billing"}"#);
    }
    let grant = authorize(&with("rounded", json!({}))).unwrap();
    assert_eq!(grant.terms().issuer, "https://login.example.com");
}

#[test]
fn the_session_s_id_is_kept_for_its_tag() {
    let request = json!({"profile": "rounded", "claims": {}, "session": {"id": "s-1"}});
    assert_eq!(authorize(&request.to_string()).unwrap().terms().session.as_deref(), Some("s-1"));
    assert_eq!(authorize(&with("rounded", json!({}))).unwrap().terms().session, None);
}

#[test]
fn overrides_are_told() {
    let mut long = profile("long", "at+jwt", &[API], vec![]);
    assert!(long.overrides().is_empty());
    long.lifetime.over_ceiling = Some("a batch job that runs all night".into());
    long.detectors.off = DetectorSet::when(true, Detector::IBAN);
    assert_eq!(
        long.overrides(),
        ["over the ceiling of 1800 s (a batch job that runs all night)", "without the detectors iban"]
    );
}

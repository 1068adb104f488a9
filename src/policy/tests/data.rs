//! What a grant says of consent and of exceptions, and that no answer repeats what was found.
use super::*;
use proptest::prelude::*;

/// Profiles that ask for consent, and one with detectors of its own.
pub(super) fn governed() -> Vec<Profile> {
    let claims = || vec![("x", free()), ("mail", personal()), ("other", free())];
    let mut consented = profile("consented", "test+jwt", &[API], claims());
    consented.consent = Some(consent(ConsentWhen::Always));
    let mut fresh = profile("fresh", "test+jwt", &[API], claims());
    fresh.consent = Some(Consent { max_age: Duration::from_mins(1), ..consent(ConsentWhen::Always) });
    let mut personal = profile("personal", "test+jwt", &[API], claims());
    personal.consent = Some(Consent { claim: Some("consent_id".into()), ..consent(ConsentWhen::Personal) });
    let mail = may_hold(&[Detector::EMAIL, Detector::NAME]);
    let claims = vec![("x", free()), ("y", free()), ("pin", free()), ("mail", mail)];
    let mut searched = profile("searched", "test+jwt", &[API], claims);
    let own = OwnDetector {
        name: "customer".into(),
        pattern: Some("C-[0-9]{6}|77712".into()),
        names: vec!["ward number".into()],
    };
    searched.detectors = Detectors {
        off: DetectorSet::when(true, Detector::IBAN),
        own: Arc::new(OwnDetectors::new(vec![own]).unwrap()),
    };
    vec![consented, fresh, personal, searched]
}

fn grant(request: Value) -> Terms {
    authorize(&request.to_string()).unwrap().into_terms()
}
fn consent_of(granted_at: i64, expires_at: Option<i64>) -> Value {
    let mut consent = json!({"id": "c-1", "purposes": ["support", "billing"], "granted_at": granted_at});
    if let Some(end) = expires_at {
        consent["expires_at"] = end.into();
    }
    consent
}

#[test]
fn exceptions_that_were_used_are_in_the_grant_by_name() {
    let terms = grant(with_value("searched", json!({"mail": {"password": ["alice@example.com"]}, "x": 1})));
    assert_eq!(terms.exceptions, ["name:mail", "email:mail"]);
    assert!(grant(with_value("searched", json!({"mail": "nobody"}))).exceptions.is_empty());
}
fn with_value(profile: &str, claims: Value) -> Value {
    json!({"profile": profile, "claims": claims})
}

#[test]
fn the_id_of_a_consent_becomes_a_claim_only_where_the_profile_says_so() {
    for (profile, carried) in [("consented", None), ("personal", Some("c-1"))] {
        let request =
            json!({"profile": profile, "claims": {"x": 1}, "consent": consent_of(1_699_999_000, None)});
        let terms = grant(request);
        assert_eq!(terms.consent.as_deref(), Some("c-1"));
        assert_eq!(terms.claims.get("consent_id").and_then(Value::as_str), carried);
        assert_eq!(terms.claims.len(), 1 + usize::from(carried.is_some()));
    }
    let without = grant(with_value("personal", json!({"x": 1})));
    assert_eq!((without.consent, without.claims.len()), (None, 1));
}

#[test]
fn the_default_lifetime_ends_with_the_consent() {
    let of = |profile, granted_at, expires_at| {
        let consent = consent_of(granted_at, expires_at);
        grant(json!({"profile": profile, "claims": {}, "consent": consent})).ttl.as_secs()
    };
    let seconds = |granted_at, expires_at| of("consented", granted_at, expires_at);
    assert_eq!(of("fresh", 1_700_000_060, None), 60, "a clock that is ahead lengthens nothing");
    assert_eq!(seconds(1_699_999_000, None), 300);
    assert_eq!(seconds(1_699_996_500, None), 100, "an hour after it was given");
    assert_eq!(seconds(1_699_996_500, Some(1_700_000_007)), 7);
    assert_eq!(seconds(1_699_999_000, Some(253_402_300_799)), 300);
}

/// A canary in every place where a value can be, found by every detector or refused in its form.
#[test]
fn nothing_that_was_found_is_told() {
    let values = [
        ("alice.canary@example.com", "canary"),
        ("4111111111111111", "4111"),
        ("DE89370400440532013000", "8937"),
        ("536-22-1234", "536-22"),
        ("-----BEGIN PRIVATE KEY-----canary", "canary"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", "c2ln"),
        ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "dBjf"),
        ("C-481516", "481516"),
    ];
    let mut told = 0;
    for (value, canary) in values {
        for request in [
            with_value("rules", json!({"needed": 1, "any": value})),
            with_value("searched", json!({"x": value})),
            with_value("searched", json!({"x": {"y": [{"z": value}]}})),
            with_value("searched", json!({"x": {value: 1}})),
            with_value("searched", json!({"x": {"y": {value: [value, {value: "\u{7f}"}]}}})),
            with_value("searched", json!({"pin": {"password": value}})),
            with_value("searched", json!({value: value})),
            json!({"profile": "searched", "claims": {"x": 1}, "consent": value}),
            json!({"profile": "personal", "claims": {"mail": 1}, "consent": {"id": value, value: value}}),
            json!({"profile": "personal", "claims": {"mail": 1}, "consent": {"id": value, "purposes": [value]}}),
            json!({"profile": "searched", "claims": {"x": 1}, "ttl": value, value: value}),
        ] {
            let verdicts = policy().explain(&caller(), Request::from_json(request.clone()).unwrap(), NOW);
            let Err(denial) = authorize(&request.to_string()) else { continue };
            if value.starts_with("C-") && request["profile"] != "searched" {
                continue;
            }
            told += denial.violations.len();
            let text = serde_json::to_string(&(verdicts, denial.violations)).unwrap();
            assert!(!text.contains(canary), "{request}\n{text}");
        }
    }
    assert!(told > 80, "{told}");
    let own = authorize(&with("searched", json!({"C-481516": 1, "b": 1}))).unwrap_err();
    assert_eq!(own.violations[0].pointer, "/claims");
    let message = &own.violations[0].message;
    assert!(
        message.starts_with("a name in the request is a secret or personal itself; remove it. Every"),
        "{message}"
    );
    assert!(own.violations[1].message.starts_with("claim \"b\" is not allowed"));
    // Before the profile is known, and where there is none.
    for request in [
        json!({"profile": "none", "claims": {}, "C-481516": 1}),
        json!({"profile": 1, "C-481516": 1, "claims": {"C-481516": 1}}),
    ] {
        let read = policy().read(request);
        let denial = read.and_then(|request| policy().authorize(&caller(), request, NOW)).unwrap_err();
        let member = denial.violations.iter().find(|violation| violation.rule == "request.member").unwrap();
        assert_eq!(member.pointer, "");
        assert!(!format!("{denial:?}").contains("481516"), "{denial:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// Whatever is granted ends before the consent does, and no text in it is one that detectors find.
    #[test]
    fn a_grant_ends_with_its_consent(
        granted in -4000i64..100,
        expires in proptest::option::of(-100i64..1000),
        ttl in proptest::option::of(0u64..1000),
        mail in proptest::option::of(Just("alice@example.com")),
        x in prop_oneof![Just(json!("alice@example.com")), Just(json!({"pin": 1})), Just(json!("x"))],
        name in prop_oneof![Just("consented"), Just("personal")],
    ) {
        let now = NOW.as_second();
        let end = expires.map(|end| now + end);
        let mut request = json!({"profile": name, "claims": {"x": x}, "consent": consent_of(now + granted, end)});
        if let Some(mail) = mail {
            request["claims"]["mail"] = mail.into();
        }
        if let Some(ttl) = ttl {
            request["ttl"] = ttl.into();
        }
        if let Ok(grant) = authorize(&request.to_string()) {
            let terms = grant.into_terms();
            let exp = now + i64::try_from(terms.ttl.as_secs()).unwrap();
            prop_assert!(exp > now && exp <= now + granted + 3600 && end.is_none_or(|end| exp <= end));
            prop_assert!(ttl.is_none_or(|ttl| ttl == terms.ttl.as_secs()));
            prop_assert_eq!(&terms.claims["x"], "x");
            prop_assert_eq!(terms.exceptions.len(), usize::from(mail.is_some()));
        }
    }
}

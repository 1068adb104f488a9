//! What holds for every request.
use super::*;
use proptest::prelude::*;

fn claims() -> impl Strategy<Value = Map<String, Value>> {
    let name = prop_oneof![
        Just("sub"),
        Just("client_id"),
        Just("scope"),
        Just("auth_time"),
        Just("needed"),
        Just("any"),
        Just("string"),
        Just("enum"),
        Just("x"),
        Just("y"),
        Just("exp"),
        Just("role"),
        Just("Sub"),
    ];
    let value = prop_oneof![
        Just(json!("a0")),
        Just(json!("x")),
        Just(json!("x y")),
        Just(json!(1)),
        Just(json!(null)),
        Just(json!({"k": ["v"]})),
        "[a-z\\x00-\\x20]{0,3}".prop_map(|text| json!(text)),
    ];
    let audience = prop_oneof![
        4 => Just(None),
        4 => Just(Some(json!(API))),
        2 => proptest::sample::subsequence(vec!["a0", "a1", "a2", "a9", "b"], 0..5).prop_map(|names| Some(json!(names))),
        1 => Just(Some(json!(["a0", "a0"]))),
    ];
    (proptest::collection::vec((name, value), 0..5), audience, 0usize..6).prop_map(
        |(members, audience, place)| {
            let mut claims: Map<_, _> =
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            if let Some(audience) = audience {
                claims.shift_insert(place.min(claims.len()), "aud".into(), audience);
            }
            claims
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_grant_never_widens(
        name in prop_oneof![Just("access-token"), Just("forgetful"), Just("rules"), Just("many"), Just("whole"), Just("secret")],
        claims in claims(),
        ttl in proptest::option::of((0u64..1200).prop_map(Duration::from_secs)),
    ) {
            let request = || Request { profile: name.into(), claims: claims.clone(), ttl, ..Request::default() };
            let verdicts = POLICY.explain(&caller(), request(), NOW);
            match POLICY.authorize(&caller(), request(), NOW) {
                Ok(grant) => {
                    let profile = &grant.terms().profile;
                    prop_assert_eq!(profile.name.as_str(), name);
                    prop_assert!(caller().may_use(name));
                    prop_assert!(grant.terms().ttl >= Duration::from_secs(1) && grant.terms().ttl <= profile.lifetime.max);
                    prop_assert_eq!(grant.terms().ttl, ttl.unwrap_or(profile.lifetime.default));
                    prop_assert!((1..=8).contains(&grant.terms().audience.len()));
                    prop_assert!(grant.terms().audience.iter().all(|name| profile.audiences.contains(name)));
                    let mut left = claims.clone();
                    left.shift_remove("aud");
                    prop_assert_eq!(
                        serde_json::to_string(&grant.terms().claims).unwrap(),
                        serde_json::to_string(&left).unwrap()
                    );
                    for reserved in ["iss", "iat", "nbf", "exp", "jti", "aud"] {
                        prop_assert!(!grant.terms().claims.contains_key(reserved));
                    }
                    prop_assert!(verdicts.iter().all(|verdict| verdict.holds));
                }
                Err(denial) => {
                    let broken: Vec<_> = verdicts.into_iter().filter(|verdict| !verdict.holds).collect();
                    prop_assert!(!broken.is_empty());
                    let violations: Vec<Verdict> = denial.violations.into_iter().map(Verdict::from).collect();
                    prop_assert_eq!(broken, violations);
                }
            }
    }
    #[test]
    fn reading_a_request_never_panics(
        name in "[a-z]{0,8}|profile|claims|ttl", ttl in "[-0-9a-zA-Z. ]{0,12}", number in any::<f64>(),
    ) {
        for value in [json!(ttl), json!(number)] {
            if let Ok(request) = Request::from_json(json!({"profile": "x", "claims": {}, "ttl": value, name.as_str(): value})) {
                prop_assert!(request.ttl.is_none_or(|ttl| ttl >= Duration::from_secs(1) && ttl.subsec_nanos() == 0));
            }
        }
    }
}

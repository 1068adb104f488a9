//! What conditions come to: values of every kind, errors, and the worst that an expression and a request can do.

use super::*;
use crate::profile::CallerFact;
use proptest::prelude::*;

const CLAIMS: [&str; 9] = ["amount", "role", "list", "address", "a", "b", "yes", "nothing", "odd name"];

/// Profiles with a condition, and with hours; NOW is a Tuesday, a quarter past ten in the evening.
pub(super) fn governed() -> Vec<Profile> {
    let mut conditional =
        profile("conditional", "test+jwt", &[API], vec![("amount", free()), ("any", free())]);
    let text = "claims.amount < 1000 && (!has(claims.any) || caller.name == 'audit')";
    conditional.condition = Condition::compile(text, &["amount", "any"].into()).ok();
    let opening = |name, days, action| {
        let days = crate::profile::days(days).unwrap();
        let hours = Hours::new(days, (8 * 60, 23 * 60), jiff::tz::TimeZone::UTC, action);
        Profile { hours: Some(hours), ..profile(name, "test+jwt", &[API], vec![]) }
    };
    vec![
        opening("weekend", "sat-sun", Action::Refuse),
        opening("weekdays", "mon-fri", Action::Refuse),
        opening("watched", "sat-sun", Action::Warn),
        conditional,
    ]
}
fn profile_with(condition: &str) -> Profile {
    let claims = CLAIMS.map(|name| (name, free())).into();
    Profile {
        condition: Some(Condition::compile(condition, &CLAIMS.into()).unwrap()),
        consent: Some(Consent {
            purposes: vec!["care".into()],
            max_age: Duration::from_secs(2_000_000_000),
            ..consent(ConsentWhen::Personal)
        }),
        ..profile("p", "test+jwt", &[API], claims)
    }
}
fn asker(facts: ProcessFacts) -> Caller {
    let rule = Rule {
        name: "billing".into(),
        uid: Some(7),
        gid: None,
        exe: None,
        unit: None,
        profiles: ["p".to_owned()].into(),
        rate: None,
        introspect: Default::default(),
    };
    Callers::new(vec![rule]).identify(Arc::new(PeerCredentials::assume(7, 8, 9, facts))).unwrap()
}
fn facts() -> ProcessFacts {
    ProcessFacts { exe: Some("/usr/bin/app".into()), unit: Some("app.service".into()), groups: None }
}
fn request() -> Request {
    let claims = json!({
        "amount": 100, "role": "clerk", "list": [1, "x", {"k": null}, 2.5], "address": {"city": "Bern", "geo": {"x": 1}},
        "a": 18446744073709551615u64, "b": -1.5, "yes": true, "nothing": null, "odd name": 1
    });
    let Value::Object(claims) = claims else { unreachable!() };
    Request {
        profile: "p".into(),
        claims,
        consent: Some(json!({"id": "c1", "purposes": ["care"], "granted_at": 1})),
        session: Some(json!({"auth_time": 1_699_999_000})),
        ..Request::default()
    }
}
/// "yes", "no", or "error".
fn outcome(condition: &str, facts: ProcessFacts, request: Request) -> &'static str {
    let policy = Policy::new(vec![profile_with(condition)], String::new());
    match policy.authorize(&asker(facts), request, NOW) {
        Ok(_) => "yes",
        Err(denial) => match denial.violations[0].rule {
            "condition.holds" => "no",
            "condition.error" => "error",
            other => panic!("{condition}: {other}"),
        },
    }
}

#[test]
fn values_are_what_the_request_and_the_kernel_say() {
    for (condition, expected) in [
        ("claims.amount == 100 && claims.amount == 100.0 && claims.amount != 101", "yes"),
        ("claims.role == 'clerk' && claims.role.startsWith('cl') && claims.role.endsWith('k')", "yes"),
        ("claims.role.contains('ler') && claims.role.size() == 5 && size(claims.list) == 4", "yes"),
        ("claims.role.matches('^c[a-z]{4}$')", "yes"),
        ("claims.role.matches('^c[a-z]{3}$')", "no"),
        ("claims.list[0] == 1 && claims.list[1] == 'x' && 'x' in claims.list && claims.list[3] > 2", "yes"),
        ("claims.list[2].k == null && has(claims.list[2].k) && !has(claims.list[2].z)", "yes"),
        (
            "claims.address.city == 'Bern' && claims['address']['geo'].x == 1 && 'city' in claims.address",
            "yes",
        ),
        ("claims.address == {'geo': {'x': 1}, 'city': 'Bern'}", "yes"),
        ("claims.a > 9223372036854775807 && claims.b < 0 && claims.yes && claims.nothing == null", "yes"),
        ("claims['odd name'] == 1", "yes"),
        ("caller.name == 'billing' && caller.uid == 7 && caller.gid == 8", "yes"),
        ("caller.exe == '/usr/bin/app' && caller.unit == 'app.service'", "yes"),
        (
            "request.profile == 'p' && request.ttl == 300 && request.audience == ['https://api.example.com']",
            "yes",
        ),
        (
            "'care' in request.consent.purposes && request.consent.id == 'c1' && !has(request.consent.expires_at)",
            "yes",
        ),
        ("now == 1700000000 && now - request.session.auth_time <= 1000", "yes"),
        ("now - request.session.auth_time < 1000", "no"),
        ("has(request.session) && has(request.consent.granted_at) && has(caller.exe)", "yes"),
        ("{'clerk': 100, 'boss': 1000}[claims.role] >= claims.amount", "yes"),
        ("claims.amount > 50 ? claims.role == 'boss' : true", "no"),
        (
            "double(claims.amount) / 3.0 > 33.3 && string(claims.amount) == '100' && int(claims.b) == -1",
            "yes",
        ),
        ("false", "no"),
        // What is no answer.
        ("claims.amount", "error"),
        ("claims.role && true", "error"),
        ("claims.role < 5", "error"),
        ("claims.role + 1 == 'x'", "error"),
        ("claims.amount.matches('x')", "error"),
        ("claims.address.street == 'x'", "error"),
        ("claims.role.first == 'x'", "error"),
        ("has(claims.role.first)", "error"),
        ("has(claims.address.geo.x.y)", "error"),
        ("claims.list[4] == 1", "error"),
        ("claims.list['x'] == 1", "error"),
        ("claims.amount / 0 == 1", "error"),
        ("claims.amount % 0 == 1", "error"),
        ("9223372036854775807 + claims.amount > 0", "error"),
        ("-9223372036854775808 - claims.amount > 0", "error"),
        ("claims.a + 1u > 0u", "error"),
        ("int(claims.a) > 0", "error"),
        ("int(claims.role) > 0", "error"),
        ("request.session.id == 'x'", "error"),
        ("request.consent.expires_at > now", "error"),
        ("{'boss': 1}[claims.role] == 1", "error"),
        ("{'a': 1, claims.role: 2, 'clerk': 3} == {}", "error"),
        // As CEL has it, what decides counts more than an error beside it.
        ("claims.role < 5 || true", "yes"),
        ("claims.role < 5 && false", "no"),
    ] {
        assert_eq!(outcome(condition, facts(), request()), expected, "{condition}");
    }
}

#[test]
fn what_is_not_there_is_an_error_unless_it_is_asked_for() {
    let bare = || Request { consent: None, session: None, ..request() };
    for (condition, expected) in [
        ("caller.exe == '/usr/bin/app'", "error"),
        ("has(caller.exe)", "no"),
        ("!has(caller.unit) && !has(request.consent) && !has(request.session)", "yes"),
        ("request.consent.id == 'c1'", "error"),
        ("has(request.consent.id)", "no"),
    ] {
        assert_eq!(outcome(condition, ProcessFacts::default(), bare()), expected, "{condition}");
    }
    let wanted = Policy::new(vec![profile_with("has(caller.exe)")], String::new()).wanted();
    assert!(wanted.exe && !wanted.unit && !wanted.groups);
    assert!(profile_with("caller.unit == ''").condition.unwrap().wants(CallerFact::Unit));
}

#[test]
fn the_message_is_the_operators_and_names_what_is_missing() {
    let message = |condition: &str, text: Option<&str>, claims: Value| {
        let mut profile = profile_with(condition);
        profile.condition.as_mut().unwrap().message = text.map(str::to_owned);
        let Value::Object(claims) = claims else { unreachable!() };
        let request = Request { profile: "p".into(), claims, ..Request::default() };
        let denial = Policy::new(vec![profile], String::new()).authorize(&asker(facts()), request, NOW);
        denial.unwrap_err().violations.remove(0)
    };
    let told = message("claims.amount < 5", Some("ask for less"), json!({"amount": 7}));
    assert_eq!(told.message, "the condition of profile \"p\" does not hold; ask for less");
    let told = message("claims.amount < 5", Some("ask policy@example.com"), json!({"amount": 7}));
    assert!(told.message.ends_with("does not hold; ask policy@example.com"), "{}", told.message);
    let told = message("claims.amount < 5 && claims.role == 'x'", None, json!({"amount": "canary"}));
    assert_eq!((told.rule, &*told.pointer), ("condition.error", "/claims/role"));
    assert!(told.message.starts_with("claim \"role\" is missing"), "{}", told.message);
    assert!(!told.message.contains("canary"));
}

/// As deep and as much as is allowed, over the largest values that a request can have, on half the stack of a thread.
#[test]
fn the_worst_condition_ends_soon() {
    let long = "a".repeat(15_000);
    let many: Vec<_> = (0..480).map(|number| json!({"k": number})).collect();
    let deep = format!("claims.amount{}", " - 1".repeat(14));
    let choices = format!("{}true", "claims.yes?claims.yes:".repeat(14));
    for condition in [
        format!("{} == ''", vec!["claims.role"; 13].join(" + ")),
        format!("{} == []", vec!["claims.list"; 13].join(" + ")),
        vec!["claims.list == claims.list"; 40].join(" && "),
        ["claims.role.matches('(a|b|ab)*c$')"; 8].join(" || "),
        vec!["!(claims.address in claims.list)"; 35].join(" && "),
        format!("{deep} == 1"),
        choices,
    ] {
        let run = move |long: String, many: Vec<Value>| {
            let mut request = request();
            request.claims.insert("role".into(), json!(long));
            request.claims.insert("list".into(), json!(many));
            outcome(&condition, facts(), request)
        };
        let (long, many) = (long.clone(), many.clone());
        let began = std::time::Instant::now();
        let run = std::thread::Builder::new().stack_size(1 << 20).spawn(move || run(long, many));
        run.unwrap().join().unwrap();
        // Unoptimised and on a busy machine; a comprehension took 14 s with optimisations.
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|truth| json!(truth)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,8}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|elements| json!(elements)),
            prop::collection::btree_map("[ak]", inner, 0..3).prop_map(|members| json!(members)),
        ]
    })
}

proptest! {
    /// Whatever is written and whatever is asked, there is an answer, and it is the same again.
    #[test]
    fn any_condition_over_any_values_is_answered(
        text in crate::profile::condition_words(),
        amount in json_values(), role in json_values(), list in json_values(),
    ) {
        if let Ok(condition) = Condition::compile(&text, &CLAIMS.into()) {
            let profile = Profile { condition: Some(condition), ..profile_with("true") };
            let policy = Policy::new(vec![profile], String::new());
            let mut request = request();
            for (name, value) in [("amount", amount), ("role", role), ("list", list)] {
                request.claims.insert(name.into(), value);
            }
            let again = Request { profile: "p".into(), claims: request.claims.clone(), consent: request.consent.clone(), session: request.session.clone(), ..Request::default() };
            let rule = |request| policy.authorize(&asker(facts()), request, NOW).map(drop).map_err(|denial| rules(&denial));
            prop_assert_eq!(rule(request), rule(again));
        }
    }
}

//! Requests and the rules they break; what a grant never exceeds.

mod condition;
mod data;
mod explain;
mod pairs;
mod profiles;
mod properties;

use super::*;
use crate::caller::{Callers, Rule};
use crate::jose::{json, jwe};
use crate::profile::{
    Action, AudienceForm, ClaimRule, ClaimType, Condition, Consent, ConsentWhen, Detector, DetectorSet,
    Detectors, Encrypt, Hours, KeyBinding, OwnDetector, OwnDetectors, SdJwt,
};
use crate::transport::{PeerCredentials, ProcessFacts};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// 2023-11-14T22:13:20Z.
const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);
const API: &str = "https://api.example.com";

fn profile(name: &str, typ: &str, audiences: &[&str], claims: Vec<(&str, ClaimRule)>) -> Profile {
    Profile {
        audiences: audiences.iter().map(|name| (*name).to_owned()).collect(),
        claims: claims.into_iter().map(|(name, rule)| (name.to_owned(), rule)).collect(),
        ..Profile::sample(name, "access", typ)
    }
}
fn free() -> ClaimRule {
    ClaimRule::default()
}
fn required() -> ClaimRule {
    ClaimRule { required: true, ..free() }
}
fn kind(kind: ClaimType) -> ClaimRule {
    ClaimRule { kind: Some(kind), ..free() }
}
fn may_hold(detectors: &[Detector]) -> ClaimRule {
    ClaimRule { may_hold: detectors.iter().copied().collect(), ..free() }
}
fn personal() -> ClaimRule {
    ClaimRule { personal: true, ..may_hold(&[Detector::EMAIL]) }
}
fn consent(when: ConsentWhen) -> Consent {
    Consent {
        purposes: vec!["support".into(), "billing".into()],
        max_age: Duration::from_secs(3600),
        when,
        claim: None,
    }
}
fn schema(schema: Value) -> Option<jsonschema::Validator> {
    Some(jsonschema::validator_for(&schema).unwrap())
}

static POLICY: LazyLock<Policy> = LazyLock::new(policy);
fn policy() -> Policy {
    let mut many = profile(
        "many",
        "test+jwt",
        &["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"],
        vec![("x", free())],
    );
    many.audience_form = AudienceForm::Array;
    let mut whole = profile("whole", "test+jwt", &[API], vec![("x", free()), ("y", free())]);
    let sensitive = || ClaimRule { sensitive: true, ..free() };
    let mut sealed = profile("sealed", "sealed+jwt", &[API, "b"], vec![("x", free())]);
    sealed.audience_form = AudienceForm::Array;
    sealed.encrypt = Some(Encrypt::Always);
    let mut careful =
        profile("careful", "careful+jwt", &[API, "b"], vec![("x", free()), ("diagnosis", sensitive())]);
    careful.audience_form = AudienceForm::Array;
    careful.encrypt = Some(Encrypt::WhenSensitive);
    let person = |name: &str, key_binding, cnf| Profile {
        sd_jwt: Some(SdJwt { decoys: 0, key_binding: Some(key_binding) }),
        ..profile(
            name,
            "person+sd-jwt",
            &[API],
            vec![("cnf", cnf), ("x", ClaimRule { disclosable: true, ..free() })],
        )
    };
    let bound = person("bound", KeyBinding::Required, free());
    let loose = person("loose", KeyBinding::Optional, free());
    let strict = person("strict", KeyBinding::Required, required());
    whole.schema =
        schema(json!({"dependentRequired": {"x": ["y"]}, "additionalProperties": {"type": "integer"}}));
    let mut profiles = profiles::governed();
    profiles.extend(data::governed());
    profiles.extend(condition::governed());
    profiles.extend(
        [
            profile(
                "access-token",
                "at+jwt",
                &[API],
                vec![
                    ("sub", required()),
                    ("client_id", required()),
                    (
                        "scope",
                        ClaimRule {
                            pattern: Some(regex::Regex::new("^(?:[a-z:]+( [a-z:]+)*)$").unwrap()),
                            ..free()
                        },
                    ),
                    ("auth_time", free()),
                ],
            ),
            profile("forgetful", "AT+JWT", &[API], vec![("scope", free())]),
            profile("secret", "test+jwt", &[API], vec![]),
            profile(
                "rules",
                "test+jwt",
                &[API],
                vec![
                    ("sub", free()),
                    ("auth_time", free()),
                    ("needed", required()),
                    ("any", free()),
                    ("Mixed_Case", free()),
                    ("string", kind(ClaimType::String)),
                    ("integer", kind(ClaimType::Integer)),
                    ("date", kind(ClaimType::Date)),
                    ("const", ClaimRule { constant: Some(json!({"a": [1]})), ..free() }),
                    ("enum", ClaimRule { one_of: Some(vec![json!("x"), json!(1)]), ..free() }),
                    (
                        "pattern",
                        ClaimRule { pattern: Some(regex::Regex::new("^(?:a+|b)$").unwrap()), ..free() },
                    ),
                    ("length", ClaimRule { max_length: Some(2), ..free() }),
                    (
                        "schema",
                        ClaimRule {
                            schema: schema(json!({
                                "type": "object", "additionalProperties": false,
                                "properties": {"a": {"type": "array", "items": {"maxLength": 3, "type": "string"}},
                                               "b~/": {"const": 7}}
                            })),
                            ..free()
                        },
                    ),
                ],
            ),
            many,
            whole,
            sealed,
            careful,
            bound,
            loose,
            strict,
        ],
    );
    Policy::new(profiles, "0123456789abcdef".into())
        .with_recipients([(API.to_owned(), RECIPIENT.clone())].into())
}
static RECIPIENT: LazyLock<Recipient> = LazyLock::new(|| {
    let set = jwe::tests::Owner::agreement(&aws_lc_rs::agreement::ECDH_P256).set();
    let key = jwe::Recipient::choose(&set, jwe::ContentEncryption::A256GCM, None).unwrap();
    Recipient { jwks: "/api.json".into(), alg: None, key: Arc::new(key) }
});
fn caller() -> Caller {
    let rule = Rule {
        name: "billing".into(),
        uid: Some(1),
        gid: None,
        exe: None,
        unit: None,
        profiles: POLICY
            .profiles()
            .map(|profile| profile.name.to_string())
            .filter(|name| name != "secret")
            .chain(["ghost".to_owned()])
            .collect(),
        rate: None,
        introspect: Default::default(),
    };
    let peer = PeerCredentials::assume(1, 1, 1, ProcessFacts::default());
    Callers::new(vec![rule]).identify(Arc::new(peer)).unwrap()
}

/// Through the parser, as in the daemon.
fn authorize(request: &str) -> Result<Grant, Denial> {
    let limits = json::Limits { bytes: 16 * 1024, depth: 8, nodes: 512 };
    let tree = json::parse(request.as_bytes(), limits).unwrap();
    POLICY.authorize(&caller(), Request::from_json(tree)?, NOW)
}
/// `rule pointer` of every violation, as one text.
fn rules(denial: &Denial) -> String {
    let lines: Vec<_> = denial
        .violations
        .iter()
        .map(|v| format!("{} {}", v.rule, v.pointer.replace(' ', "%20")))
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join(", ")
}
fn with(profile: &str, claims: Value) -> String {
    json!({"profile": profile, "claims": claims}).to_string()
}

/// The lines of `requests.txt`: each request as JSON, and what it breaks.
fn table() -> impl Iterator<Item = (String, &'static str)> {
    let lines = include_str!("requests.txt").lines();
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let (request, expected) = line.split_once(" => ").unwrap();
        let request = match request.split_once(" {") {
            Some((profile, claims)) if !profile.contains('{') => {
                format!(r#"{{"profile":"{profile}","claims":{{{claims}}}"#)
            }
            _ => request.to_owned(),
        };
        (request, expected)
    })
}

#[test]
fn each_request_breaks_exactly_these_rules() {
    let mut seen = BTreeSet::new();
    for (request, expected) in table() {
        let broken = match authorize(&request) {
            Ok(_) => "ok".to_owned(),
            Err(denial) => rules(&denial),
        };
        assert_eq!(broken, expected, "{request}");
        seen.extend(broken.split(", ").filter_map(|text| text.split(' ').next().map(str::to_owned)));
    }
    for (rule, sentence) in RULES {
        assert!(seen.contains(*rule), "{rule} is never broken");
        assert!(sentence.ends_with('.'), "{rule}");
    }
    let ids: BTreeSet<_> = RULES.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), RULES.len());
}

#[test]
fn all_violations_at_once_in_order() {
    let request = json!({
        "profile": "rules", "ttl": 1000,
        "claims": {"aud": ["x"], "role": 1, "date": "x", "exp": 1, "any": "\u{7f}"}
    });
    assert_eq!(
        rules(&authorize(&request.to_string()).unwrap_err()),
        "ttl.max /ttl, aud.allowed /claims/aud/0, claim.unknown /claims/role, claim.type /claims/date, \
         claim.reserved /claims/exp, claim.control /claims/any, claim.required /claims/needed"
    );
}

#[test]
fn unknown_and_forbidden_profiles_look_alike() {
    let denial = |name| authorize(&with(name, json!({"exp": 1}))).unwrap_err();
    let (absent, forbidden) = (denial("absent"), denial("secret"));
    assert_eq!(absent, forbidden);
    assert_eq!(absent.profile, None);
    let known = authorize(&with("rules", json!({}))).unwrap_err();
    assert_eq!(known.profile.as_deref(), Some("rules"));
}

#[test]
fn messages_name_the_remedy_and_never_a_value() {
    let denial = authorize(&with("rules", json!({"needed": 1, "role": "admin"}))).unwrap_err();
    assert_eq!(
        denial.violations[0].message,
        "claim \"role\" is not allowed by profile \"rules\"; remove it or ask for it to be added under \
         [profile.rules.claims]"
    );
    let canary = "canary-4711";
    let values = [
        json!(canary),
        json!([canary, canary, canary]),
        json!({"a": [canary], "b~/": canary, "c": {"x": canary}}),
        json!(format!("{canary}\n")),
    ];
    let mut broken = 0;
    for profile in POLICY.profiles() {
        for name in profile.claims.keys().map(String::as_str).chain(["aud", "exp", "role", "scope"]) {
            for value in &values {
                let request = json!({"profile": profile.name.as_str(), "claims": {name: value}, "ttl": 901});
                let denial = authorize(&request.to_string()).unwrap_err();
                let text = serde_json::to_string(&denial.violations).unwrap();
                assert!(!text.contains(canary), "{text}");
                for violation in &denial.violations {
                    let remedy = violation.message.contains("; ");
                    assert!(remedy && violation.message.is_ascii(), "{violation:?}");
                }
                broken += denial.violations.len();
            }
        }
    }
    assert!(broken > 200);
    for request in
        [json!(canary), json!({"profile": {"x": canary}, "claims": canary, "ttl": canary, "kid": canary})]
    {
        assert!(!format!("{:?}", Request::from_json(request)).contains(canary));
    }
    let odd = authorize(&with("rules", json!({"needed": 1, "canary\u{202e}": 1}))).unwrap_err();
    assert!(!format!("{odd:?}").contains("canary"), "{odd:?}");
}

#[test]
fn strangers_in_a_request_are_told_where_to_go() {
    let message = |name: &str| {
        let request = Request::from_json(json!({"profile": "x", "claims": {}, name: 1})).unwrap();
        assert_eq!(request.faults[0].rule, "request.member");
        request.faults[0].message.clone()
    };
    for name in ["alg", "kid", "typ", "header", "jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "cty"] {
        assert!(message(name).contains("the daemon builds itself"), "{name}");
    }
    for name in ["aud", "sub", "scope"] {
        assert!(message(name).contains("move it into \"claims\""), "{name}");
    }
    for name in ["payload", "digest", "Profile", "Claims", "TTL", "é"] {
        assert!(message(name).contains("profile, claims, ttl, consent and session"), "{name}");
    }
}

#[test]
fn a_grant_says_what_was_asked_within_the_limits() {
    let request = json!({
        "profile": "many", "ttl": "2m",
        "claims": {"x": {"b": 1, "a": [2]}, "aud": ["a3", "a1"]}
    });
    let grant = authorize(&request.to_string()).unwrap();
    assert_eq!(grant.terms().profile.name.as_str(), "many");
    assert_eq!(grant.caller(), "billing");
    assert_eq!(grant.terms().audience, ["a3", "a1"]);
    assert_eq!(grant.terms().ttl, Duration::from_secs(120));
    assert_eq!(serde_json::to_string(&grant.terms().claims).unwrap(), r#"{"x":{"b":1,"a":[2]}}"#);
    let grant = authorize(&with("access-token", json!({"client_id": "c", "sub": "s"}))).unwrap();
    assert_eq!(grant.terms().audience, [API], "the only one");
    assert_eq!(grant.terms().ttl, Duration::from_secs(300), "the default");
    assert_eq!(serde_json::to_string(&grant.terms().claims).unwrap(), r#"{"client_id":"c","sub":"s"}"#);
}

#[test]
fn a_grant_names_whom_to_encrypt_to_where_that_is_due() {
    let to = |profile, claims| {
        let grant = authorize(&with(profile, claims)).unwrap();
        grant.terms().recipient.as_ref().map(|recipient| recipient.thumbprint().to_owned())
    };
    let api = Some(RECIPIENT.key.thumbprint().to_owned());
    assert_eq!(to("sealed", json!({"aud": API})), api);
    assert_eq!(to("careful", json!({"aud": API, "diagnosis": "J06.9"})), api);
    assert_eq!(to("careful", json!({"aud": API, "diagnosis": null})), api, "that it is null may say much");
    assert_eq!(to("careful", json!({"aud": API, "x": 1})), None);
    assert_eq!(to("careful", json!({"aud": ["b", API]})), None);
    assert_eq!(to("many", json!({"aud": "a0"})), None);
}

#[test]
fn part_seconds_are_refused_even_without_the_request_parser() {
    let request = |ttl| Request {
        profile: "many".into(),
        claims: Map::from_iter([("aud".to_owned(), json!("a0"))]),
        ttl: Some(ttl),
        ..Request::default()
    };
    let denial = POLICY.authorize(&caller(), request(Duration::from_millis(900)), NOW).unwrap_err();
    assert_eq!(denial.violations[0].rule, "ttl.positive");
    let over = POLICY.authorize(&caller(), request(Duration::from_millis(900_001)), NOW);
    assert_eq!(over.unwrap_err().violations[0].rule, "ttl.max");
    let huge = POLICY.authorize(&caller(), request(Duration::MAX), NOW);
    assert_eq!(huge.unwrap_err().violations[0].rule, "ttl.max");
}

#[test]
fn control_characters_in_names_are_refused_even_without_the_json_parser() {
    let request = Request {
        profile: "rules".into(),
        claims: Map::from_iter([("needed".into(), json!(1)), ("x\0y".into(), json!(1))]),
        ..Request::default()
    };
    let denial = POLICY.authorize(&caller(), request, NOW).unwrap_err();
    assert_eq!(rules(&denial), "claim.lookalike /claims");
}

#[test]
fn a_dry_run_shows_what_holds_too() {
    let request = json!({"profile": "rules", "ttl": 5, "claims": {"date": 1, "role": 1}});
    let verdicts = POLICY.explain(&caller(), Request::from_json(request).unwrap(), NOW);
    let lines: Vec<_> = verdicts
        .iter()
        .map(|v| format!("{}{} {}", if v.holds { "+" } else { "-" }, v.rule, v.pointer))
        .collect();
    assert_eq!(
        lines,
        [
            "+caller.profile /profile",
            "+ttl.positive /ttl",
            "+ttl.max /ttl",
            "+aud.required /claims/aud",
            "+claim.reserved /claims/date",
            "+claim.lookalike /claims/date",
            "+claim.unknown /claims/date",
            "+claim.type /claims/date",
            "+claim.control /claims/date",
            "+claim.reserved /claims/role",
            "+claim.lookalike /claims/role",
            "-claim.unknown /claims/role",
            "+claim.control /claims/role",
            "-claim.required /claims/needed",
            "+data.name /claims",
            "+data.card /claims",
            "+data.iban /claims",
            "+data.email /claims",
            "+data.national_id /claims",
            "+data.private_key /claims",
            "+data.jwt /claims",
            "+data.entropy /claims",
        ]
    );
    assert!(verdicts.iter().all(|v| v.holds == v.message.is_none()));
}

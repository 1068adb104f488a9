//! What must hold for any bytes whatever: as a request, as a configuration, as a condition. Panics where it does not.
#![allow(dead_code, unreachable_pub, reason = "every program that includes it uses another part")]

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use jwsd::api::ONE_REQUEST;
use jwsd::caller::Caller;
use jwsd::config::{Config, Loader};
use jwsd::jose::json;
use jwsd::policy::{Request, Terms, sentences};
use jwsd::profile::{Condition, ConsentWhen, Encrypt, Profile};
use jwsd::sys::users::Users;
use serde_json::{Value, json};

/// Policies that requests are judged by, with their names.
pub const POLICIES: [(&str, &str); 6] = [
    ("jwsd.toml", include_str!("../../config/jwsd.toml")),
    ("oauth-server.toml", include_str!("../../config/examples/oauth-server.toml")),
    ("github-app.toml", include_str!("../../config/examples/github-app.toml")),
    ("microservices.toml", include_str!("../../config/examples/microservices.toml")),
    ("health.toml", include_str!("../../config/examples/health.toml")),
    ("payments.toml", include_str!("../../config/examples/payments.toml")),
];

/// A machine where every name is that of a user and a group; nothing is looked up.
struct Everyone;
impl Users for Everyone {
    fn uid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(Some(number(name)))
    }
    fn gid(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(Some(number(name)))
    }
}
fn number(name: &str) -> u32 {
    name.bytes().fold(1, |sum, byte| (sum * 31 + u32::from(byte)) % 1_000_003)
}
pub fn loader() -> Loader<'static> {
    /// Where the policies find the keys of their recipients.
    static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
        let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let places = ["config/examples", "../../config/examples"].map(|place| own.join(place));
        places.into_iter().find(|place| place.is_dir()).unwrap()
    });
    Loader { users: &Everyone, directory: Some(&DIRECTORY), running: None }
}

/// Every policy, with every caller that it knows.
static CALLERS: LazyLock<Vec<(Config, Vec<Caller>)>> = LazyLock::new(|| {
    let load = |(name, text)| {
        let config = loader().parse(text, name).unwrap_or_else(|faults| panic!("{faults}"));
        let example =
            |name| config.callers.identify(Arc::new(config.callers.example(name).unwrap())).unwrap();
        let callers = config.callers.names().map(example).collect();
        (config, callers)
    };
    POLICIES.into_iter().map(load).collect()
});

/// 2026-01-01T00:00:00Z, when the cases of the examples ask.
const NOW: jiff::Timestamp = jiff::Timestamp::constant(1_767_225_600, 0);

/// A request: no panic, and a grant never widens. Gives how many callers it was granted to.
pub fn request(bytes: &[u8]) -> usize {
    let limits = json::Limits { bytes: 16 * 1024, ..ONE_REQUEST };
    let Ok(tree) = json::parse(bytes, limits) else { return 0 };
    let mut granted = 0;
    for (config, callers) in CALLERS.iter() {
        for caller in callers {
            let read = || Request::from_json(tree.clone());
            let (Ok(asked), Ok(again), Ok(tried)) = (read(), read(), read()) else { continue };
            let holds = config.policy.explain(caller, tried, NOW).iter().all(|verdict| verdict.holds);
            let judged = config.policy.authorize(caller, asked, NOW);
            assert_eq!(judged.is_ok(), holds, "a dry run says the same");
            let Ok(grant) = judged else { continue };
            granted += 1;
            let (terms, profile) = (grant.terms(), &grant.terms().profile);
            assert!(caller.may_use(profile.name.as_str()) && profile.name.as_str() == again.profile);
            assert!(again.ttl.is_none_or(|ttl| ttl == terms.ttl));
            is_within(terms, profile);
            ends_in_time(terms, profile, &again);
            let fixed = profile.fixed.get(caller.name());
            assert_eq!(&terms.issuer, fixed.map_or(&profile.issuer, |fixed| &fixed.issuer));
            let consent = profile.consent.as_ref().and_then(|rule| rule.claim.as_ref());
            for (name, value) in &terms.claims {
                if consent == Some(name) {
                    assert_eq!(value.as_str(), terms.consent.as_deref());
                    continue;
                }
                let its_own = profile.kind.is_some_and(|kind| kind.brings(name));
                assert!(its_own || profile.claims.contains_key(name), "{name} is not of the profile");
                assert!(!profile.kind.is_some_and(|kind| kind.forbids(name)), "{name} is another kind's");
                let due = again.claims.get(name).or_else(|| fixed?.claims.get(name));
                assert_eq!(due, Some(value), "{name} is not what was asked");
                let only = fixed.and_then(|fixed| fixed.claims.get(name));
                assert!(only.is_none_or(|only| only == value), "{name} is not the caller's");
            }
        }
    }
    granted
}

fn is_within(terms: &Terms, profile: &Profile) {
    assert!(terms.ttl >= Duration::from_secs(1) && terms.ttl <= profile.lifetime.max);
    assert!(terms.audience.len() <= 8);
    assert!(terms.audience.iter().all(|audience| profile.audiences.contains(audience)));
    assert!(profile.audiences.is_empty() || !terms.audience.is_empty());
    for (name, rule) in &profile.claims {
        assert!(!rule.required || terms.claims.contains_key(name), "{name} is required");
    }
    let has = |marked: fn(&jwsd::profile::ClaimRule) -> bool| {
        terms.claims.keys().filter_map(|name| profile.claims.get(name)).any(marked)
    };
    assert!(profile.encrypt != Some(Encrypt::Always) || terms.recipient.is_some());
    assert!(profile.encrypt.is_none() || !has(|rule| rule.sensitive) || terms.recipient.is_some());
    let consent = profile.consent.as_ref();
    let needed = consent.is_some_and(|rule| rule.when == ConsentWhen::Always || has(|rule| rule.personal));
    assert!(!needed || terms.consent.is_some());
}
/// Neither session nor consent is outlived.
fn ends_in_time(terms: &Terms, profile: &Profile, asked: &Request) {
    let seconds = |length: Duration| i64::try_from(length.as_secs()).unwrap();
    let exp = NOW.as_second() - seconds(terms.iat_back) + seconds(terms.ttl);
    let told = |of: &Option<Value>, name: &str| of.as_ref().and_then(|of| of.get(name)?.as_i64());
    assert!(told(&asked.session, "expires_at").is_none_or(|end| exp <= end));
    assert!(told(&asked.consent, "expires_at").is_none_or(|end| exp <= end));
    if let (Some(rule), Some(given)) = (&profile.consent, told(&asked.consent, "granted_at")) {
        assert!(exp <= given + seconds(rule.max_age));
    }
}

/// A configuration: no panic; its faults can be shown; what it is described as reads back to the same. Gives whether it is good.
pub fn policy_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match loader().parse(text, "fuzzed.toml") {
        Ok(config) => {
            let described =
                loader().describe(text, "fuzzed.toml").unwrap_or_else(|faults| panic!("{faults}"));
            let again = loader()
                .parse(&described, "described")
                .unwrap_or_else(|faults| panic!("{faults}\n{described}"));
            assert_eq!(config.policy.digest(), again.policy.digest());
            for profile in config.policy.profiles() {
                assert!(sentences(profile).iter().all(|sentence| !sentence.text.is_empty()));
            }
            true
        }
        Err(faults) => {
            assert!(faults.faults.iter().all(|fault| fault.line <= text.split('\n').count()));
            assert!(faults.to_string().ends_with("in fuzzed.toml"));
            false
        }
    }
}

/// A configuration whose one condition is still to be written, and the claims that it may refer to.
const CONDITIONED: &str = r#"
environment = "test"
listen.signing.group = "callers"
backend.hsm = { kind = "pkcs11", module = "/m.so", token = { label = "t" }, pin = { credential = "p" } }
key.k = { backend = "hsm", algorithm = "ES256" }
caller.c = { user = "c", profiles = ["p"] }
[profile.p]
key = "k"
typ = "p+jwt"
issuer = "https://a.example.com"
audiences = ["https://b.example.com"]
lifetime = { default = "5m", max = "1h" }
consent = { purposes = ["care"], max_age = "3650d" }
claims = { amount = {}, role = {}, list = {}, address = {} }
"#;
const CLAIMS: [&str; 4] = ["amount", "role", "list", "address"];

/// What claims may be: as expected, of other types, none, and as large as a request may be.
static ASKED: LazyLock<[Value; 4]> = LazyLock::new(|| {
    let many: Vec<_> = (0..480).map(|number| json!({"k": number})).collect();
    let consent = json!({"id": "c1", "purposes": ["care"], "granted_at": 1_767_000_000});
    let session = json!({"id": "s1", "auth_time": 1_767_225_000});
    let ask = |claims| json!({"profile": "p", "claims": claims, "consent": consent, "session": session});
    [
        ask(
            json!({"amount": 100, "role": "clerk", "list": [1, "x", {"k": null}, 2.5], "address": {"city": "Bern"}}),
        ),
        ask(
            json!({"amount": -9223372036854775808_i64, "role": [], "list": {"a": 1e308}, "address": 18446744073709551615_u64}),
        ),
        json!({"profile": "p", "claims": {}, "consent": consent}),
        ask(json!({"amount": 0, "role": "a b".repeat(5000), "list": many, "address": "\u{e9}\u{1f431}"})),
    ]
});

/// What became of a text as a condition.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    pub compiled: bool,
    pub yes: usize,
    pub no: usize,
    pub errors: usize,
}

/// A condition: no panic, no more stack than a thread of the daemon has; faults are inside the text; the configuration
/// takes it if the compiler does; whatever is asked has one answer, and the same again.
pub fn condition(bytes: &[u8]) -> Answers {
    let Ok(text) = std::str::from_utf8(bytes) else { return Answers::default() };
    let text = text.to_owned();
    let small = thread::Builder::new().stack_size(2 << 20);
    small.spawn(move || judge_by(&text)).unwrap().join().unwrap()
}
fn judge_by(text: &str) -> Answers {
    let mut answers = Answers::default();
    let compiled = Condition::compile(text, &CLAIMS.into());
    if let Err(faults) = &compiled {
        assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.message.is_empty()));
        for fault in faults {
            assert!(text.get(fault.at.clone()).is_some(), "{:?} is not in the text", fault.at);
        }
    }
    answers.compiled = compiled.is_ok();
    // As JSON has it, but for what TOML writes otherwise.
    let quoted = serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f");
    let written = format!("{CONDITIONED}condition = {quoted}\n");
    match loader().parse(&written, "fuzzed.toml") {
        Ok(config) => {
            assert!(answers.compiled);
            let caller = config.callers.example("c").unwrap();
            let caller = config.callers.identify(Arc::new(caller)).unwrap();
            for asked in ASKED.iter() {
                let judge = || {
                    let request = Request::from_json(asked.clone()).unwrap();
                    match config.policy.authorize(&caller, request, NOW) {
                        Ok(_) => Vec::new(),
                        Err(denial) => denial.violations.into_iter().map(|broken| broken.rule).collect(),
                    }
                };
                let rules: Vec<&str> = judge();
                match rules.as_slice() {
                    [] => answers.yes += 1,
                    ["condition.holds"] => answers.no += 1,
                    ["condition.error"] => answers.errors += 1,
                    other => panic!("{other:?}"),
                }
                assert_eq!(judge(), rules, "the same again");
            }
        }
        Err(faults) => {
            assert!(!answers.compiled, "{faults}");
            assert!(faults.to_string().contains("profile.p.condition"), "{faults}");
        }
    }
    answers
}

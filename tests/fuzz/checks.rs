//! What must hold for any bytes whatever: as a request, and as a configuration. Panics where it does not.
#![allow(dead_code, unreachable_pub, reason = "every program that includes it uses another part")]

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jwsd::api::ONE_REQUEST;
use jwsd::caller::Caller;
use jwsd::config::{Config, Loader};
use jwsd::jose::json;
use jwsd::policy::{Request, sentences};
use jwsd::sys::users::Users;

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
    Loader { users: &Everyone, directory: None, running: None }
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
            assert!(terms.ttl >= Duration::from_secs(1) && terms.ttl <= profile.lifetime.max);
            assert!(again.ttl.is_none_or(|ttl| ttl == terms.ttl));
            assert!(terms.audience.len() <= 8);
            assert!(terms.audience.iter().all(|audience| profile.audiences.contains(audience)));
            assert!(profile.audiences.is_empty() || !terms.audience.is_empty());
            assert_eq!(terms.issuer, profile.issuer);
            for (name, value) in &terms.claims {
                assert!(profile.claims.contains_key(name), "{name} is not of the profile");
                assert_eq!(again.claims.get(name), Some(value), "{name} is not what was asked");
            }
            for (name, rule) in &profile.claims {
                assert!(!rule.required || terms.claims.contains_key(name), "{name} is required");
            }
        }
    }
    granted
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

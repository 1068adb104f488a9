//! Faults of case files, each with its path and line, and what a good one is read as.

use super::*;
use crate::config::{Config, Faults, Loader};
use crate::sys::users::Assumed;
use serde_json::json;

const CONFIG: &str = include_str!("../../../config/jwsd.toml");
const GOOD: &str = r#"
[[case]]
name = "granted"
caller = "billing"
request = { profile = "access-token", claims = { sub = "a", n = 1, x = [1.5, true] }, ttl = 60 }
expect = { grant = { ttl = "1m", ttl_max = "5m", audience = ["a"], issuer = "i", claims = { sub = "a" }, absent = ["b"] } }

[[case]]
name = "denied"
process = { user = "billing", group = 7, groups = [8, "deployers"], exe = "/usr/bin/x", unit = "x.service" }
now = "2030-06-01T12:00:00+02:00"
request = '{"profile":"access-token","claims":{"\u0073ub":"a"}}'
expect = { denied = ["claim.required", "caller.unknown"] }
"#;

fn read(text: &str) -> Result<(Vec<Case>, Config), Faults> {
    let users = Assumed::default();
    let loader = Loader { users: &users, directory: None, running: None };
    let config = loader.parse(CONFIG, "jwsd.toml").unwrap();
    Ok((loader.cases(text, "x.cases.toml", &config)?, config))
}

#[test]
fn a_good_file_becomes_cases() {
    let (cases, config) = read(GOOD).unwrap();
    let [granted, denied] = cases.as_slice() else { panic!("{cases:?}") };
    assert_eq!((granted.name.as_str(), granted.line, denied.line), ("granted", 2, 8));
    assert_eq!(config.callers.identify(granted.process.clone()).unwrap().name(), "billing");
    assert_eq!(granted.now.to_string(), "2026-01-01T00:00:00Z");
    let request =
        json!({"profile": "access-token", "claims": {"sub": "a", "n": 1, "x": [1.5, true]}, "ttl": 60});
    assert_eq!(granted.request, request);
    let Expect::Grant(bounds) = &granted.expect else { panic!("{granted:?}") };
    assert_eq!((bounds.ttl, bounds.ttl_max), (Some(Duration::from_secs(60)), Some(Duration::from_secs(300))));
    assert_eq!((bounds.issuer.as_deref(), bounds.absent.as_slice()), (Some("i"), &["b".to_owned()][..]));
    assert_eq!(denied.now.to_string(), "2030-06-01T10:00:00Z");
    assert_eq!(denied.process.gid(), 7);
    let facts = denied.process.facts();
    assert_eq!(facts.groups.as_ref().unwrap().len(), 2);
    assert_eq!(
        (facts.exe.as_deref(), facts.unit.as_deref()),
        (Some("/usr/bin/x".as_ref()), Some("x.service"))
    );
    assert_eq!(denied.request["claims"]["sub"], "a");
    let Expect::Denied(rules) = &denied.expect else { panic!("{denied:?}") };
    assert_eq!(rules.len(), 2);
}

#[test]
fn every_fault_has_its_path_and_line() {
    for (from, to, path, line, says) in [
        ("name = \"granted\"", "", "case[0].name", 2, "missing"),
        ("name = \"granted\"", "name = \" \"", "case[0].name", 3, "say in a few words"),
        ("name = \"denied\"", "name = \"granted\"", "case[1].name", 9, "another case has this name"),
        ("caller = \"billing\"", "", "case[0]", 2, "write `caller` or `process`"),
        ("caller = \"billing\"", "caller = \"biling\"", "case[0].caller", 4, "did you mean \"billing\"?"),
        ("process = {", "caller = \"billing\"\nprocess = {", "case[1].process", 11, "exclude each other"),
        ("user = \"billing\"", "user = -1", "case[1].process.user", 10, "too small"),
        ("group = 7", "group = 4294967295", "case[1].process.group", 10, "is not a group"),
        ("unit =", "pid = 1, unit =", "case[1].process.pid", 10, "unknown key"),
        ("2030-06-01T", "2030-13-01T", "case[1].now", 11, "RFC 3339"),
        ("now = \"2030-06-01T12:00:00+02:00\"", "now = 2030-06-01", "case[1].now", 11, "JSON has no dates"),
        ("'{\"profile\"", "'[{\"profile\"", "case[1].request", 12, "no daemon would read it"),
        ("\"claims\":{", "\"claims\":{\"sub\":1,", "case[1].request", 12, "a member name appears twice"),
        ("n = 1", "n = 9007199254740992", "case[0].request", 5, "the number at"),
        ("n = 1", "n = [[[[[[[1]]]]]]]", "case[0].request", 5, "nested deeper"),
        ("grant = {", "grants = {", "case[0].expect.grants", 6, "did you mean \"grant\"?"),
        ("ttl = \"1m\"", "ttl = \"1\"", "case[0].expect.grant.ttl", 6, "is not a duration"),
        ("ttl = \"1m\"", "ttl = \"0s\"", "case[0].expect.grant.ttl", 6, "out of range"),
        ("absent = [\"b\"]", "absent = [\"sub\"]", "case[0].expect.grant.absent", 6, "remove one"),
        ("{ denied =", "{ grant = {}, denied =", "case[1].expect", 13, "either `grant` or `denied`"),
        ("\"claim.required\", ", "\"claim.require\", ", "case[1].expect.denied[0]", 13, "did you mean"),
        ("\"claim.required\", ", "\"x\", ", "case[1].expect.denied[0]", 13, "jwsd policy rules"),
        ("[\"claim.required\", \"caller.unknown\"]", "[]", "case[1].expect.denied", 13, "write the ids"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let faults = read(&GOOD.replacen(from, to, 1)).unwrap_err().faults;
        let fault = faults.iter().find(|fault| fault.path == path);
        let fault = fault.unwrap_or_else(|| panic!("{to}: {faults:?}"));
        assert_eq!(fault.line, line, "{to}");
        assert!(fault.message.contains(says), "{to}: {}", fault.message);
    }
    let [empty, broken] = ["case = []", "[[case]"].map(|text| read(text).unwrap_err().faults.remove(0));
    assert!(empty.message.contains("write at least one case"), "{}", empty.message);
    assert_eq!((broken.line, broken.path.as_str()), (1, ""));
}

#[test]
fn all_faults_come_at_once() {
    let text = GOOD.replace("name = ", "nam = ").replace("\"billing\"", "\"bulling\"").replace("\"1m\"", "1");
    let faults = read(&text).unwrap_err();
    let paths: Vec<&str> = faults.faults.iter().map(|fault| fault.path.as_str()).collect();
    let due = [
        "case[0].name",
        "case[0].nam",
        "case[0].caller",
        "case[0].expect.grant.ttl",
        "case[1].name",
        "case[1].nam",
    ];
    assert_eq!(paths, due);
    assert!(faults.to_string().ends_with("6 faults in x.cases.toml"));
}

//! `jwsd policy` as a security team uses it: cases in a pull request, sentences to sign off, a table of rules.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jwsd::config::Loader;
use jwsd::sys::users::Assumed;
use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory with the shipped configuration and a file of cases.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(cases: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.write("jwsd.toml", &fs::read_to_string(root().join("config/jwsd.toml")).unwrap());
        desk.write("x.cases.toml", cases);
        desk
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_jwsd"))
            .arg("policy")
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
    fn test(&self, more: &[&str]) -> (i32, String, String) {
        self.run(&[&["test", "--config", "jwsd.toml", "x.cases.toml"], more].concat())
    }
    fn report(&self) -> Value {
        serde_json::from_str(&self.test(&["--json", "--coverage"]).1).unwrap()
    }
}

const CASES: &str = r#"
[[case]]
name = "billing gets an access token"
caller = "billing"
request = { profile = "access-token", claims = { sub = "alice", client_id = "billing-app", aud = "https://api.example.com" } }
expect = { grant = { ttl = "5m", ttl_max = "15m", audience = ["https://api.example.com"], issuer = "https://login.example.com", claims = { sub = "alice" }, absent = ["scope"] } }

[[case]]
name = "no roles, and no escape in writing"
caller = "billing"
request = '{"profile":"access-token","claims":{"\u0073ub":"alice","client_id":"billing-app","role":"x"},"alg":"none"}'
expect = { denied = ["request.member", "claim.unknown", "aud.required"] }

[[case]]
name = "the deployer needs its program"
process = { group = "deployers", unit = "deployer.service" }
request = { profile = "deploy", claims = {} }
expect = { denied = ["caller.unknown"] }

[[case]]
name = "and has it"
process = { user = "root", group = 5, groups = ["deployers"], exe = "/usr/bin/deployer", unit = "deployer.service" }
request = { profile = "deploy", claims = { repository = "a/b", environment = "staging" }, ttl = "10m" }
expect = { grant = {} }
"#;

#[test]
fn cases_that_come_out_as_they_say_pass() {
    let desk = Desk::new(CASES);
    let (code, said, error) = desk.test(&[]);
    assert_eq!((code, error.as_str()), (0, ""), "{said}");
    assert!(
        said.contains("pass  x.cases.toml:2: billing gets an access token: granted profile access-token")
    );
    assert!(said.contains("denied by aud.required, claim.unknown, request.member"), "{said}");
    assert!(said.ends_with("4 passed, 0 failed\n"), "{said}");
}

#[test]
fn a_case_that_comes_out_otherwise_fails_and_says_where() {
    for (from, to, says) in [
        ("ttl = \"5m\"", "ttl = \"6m\"", "ttl is 5m, not 6m"),
        ("ttl_max = \"15m\"", "ttl_max = \"4m\"", "ttl is 5m, not at most 4m"),
        (
            "audience = [\"https://api.",
            "audience = [\"https://x.",
            "audience is [\"https://api.example.com\"], not",
        ),
        (
            "issuer = \"https://login.",
            "issuer = \"https://x.",
            "issuer is \"https://login.example.com\", not",
        ),
        (
            "claims = { sub = \"alice\" }",
            "claims = { sub = \"bob\" }",
            "claim \"sub\" is \"alice\", not \"bob\"",
        ),
        ("claims = { sub = \"alice\" }", "claims = { a = 1 }", "claim \"a\" is missing, not 1"),
        ("absent = [\"scope\"]", "absent = [\"client_id\"]", "claim \"client_id\" is there"),
        ("sub = \"alice\", ", "", "refused by claim.required at \"/claims/sub\""),
        ("\"request.member\", ", "", "request.member refuses it too"),
        ("[\"request.member\"", "[\"ttl.max\", \"request.member\"", "ttl.max does not refuse it"),
        ("denied = [\"request.member\", \"claim.unknown\", \"aud.required\"]", "grant = {}", "refused by"),
        ("grant = {} }", "denied = [\"ttl.max\"] }", "granted: profile deploy, ttl 10m"),
        ("exe = \"/usr/bin/deployer\"", "exe = \"/bin/sh\"", "refused by caller.unknown: no [caller]"),
    ] {
        assert!(CASES.contains(from), "{from}");
        let (code, said, error) = Desk::new(&CASES.replacen(from, to, 1)).test(&[]);
        assert_eq!((code, error.as_str()), (1, ""), "{to}: {said}");
        assert!(said.contains(says) && said.contains("FAIL  x.cases.toml:"), "{to}: {said}");
        assert!(said.ends_with("3 passed, 1 failed\n"), "{to}: {said}");
    }
}

#[test]
fn machines_get_json_with_what_no_case_shows() {
    let report = Desk::new(CASES).report();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(4), &json!(0)));
    let first = &report["cases"][0];
    assert_eq!(
        (&first["passed"], &first["line"], &first["came"]),
        (&json!(true), &json!(2), &json!(["granted"]))
    );
    assert_eq!(first["grant"]["audience"], json!(["https://api.example.com"]));
    let rules = |report: &Value| report["coverage"]["rules"].as_array().unwrap().clone();
    assert_eq!(report["coverage"]["profiles"], json!(["id-token", "support"]));
    assert!(rules(&report).contains(&json!("ttl.max")) && !rules(&report).contains(&json!("claim.unknown")));
    let failing =
        CASES.replace("\"claim.unknown\", ", "").replace("grant = {} }", "denied = [\"ttl.max\"] }");
    let report = Desk::new(&failing).report();
    assert_eq!(report["failed"], 2);
    assert!(rules(&report).contains(&json!("claim.unknown")), "a failed case shows nothing");
    assert_eq!(report["coverage"]["profiles"], json!(["deploy", "id-token", "support"]));
}

#[test]
fn faults_of_any_file_are_told_and_nothing_is_run() {
    let desk = Desk::new(CASES);
    desk.write("y.cases.toml", "[[case]]\nname = 1\n");
    desk.write("z.cases.toml", "case = 3\n");
    let (code, said, error) = desk.test(&["y.cases.toml", "z.cases.toml", "none.cases.toml"]);
    assert_eq!((code, said.as_str()), (78, ""));
    for due in ["y.cases.toml:2:8", "z.cases.toml:1:8", "none.cases.toml", "case[0].name: wrong type"] {
        assert!(error.contains(due), "{due}: {error}");
    }
    fs::set_permissions(desk.path("x.cases.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(desk.test(&[]).0, 77, "others could have written the cases");
    desk.write("jwsd.toml", "environment = 3");
    assert_eq!(desk.test(&[]).0, 78);
    assert_eq!(desk.run(&["test"]).0, 64, "there must be a file");
}

#[test]
fn profiles_are_explained_to_people_and_machines() {
    let desk = Desk::new(CASES);
    let (code, said, _) = desk.run(&["explain", "--config", "jwsd.toml"]);
    assert_eq!(code, 0);
    for due in [
        "Profile \"access-token\"",
        "Profile \"deploy\"",
        "Only caller \"billing\" may ask for it.",
        "[life.max] ttl.form",
        "of environment \"production\"",
        "It is issued in environment \"production\" alone",
    ] {
        assert!(said.contains(due), "{due}: {said}");
    }
    let (_, json, _) = desk.run(&["explain", "--config", "jwsd.toml", "--json", "deploy"]);
    let explained: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(explained["profiles"].as_array().unwrap().len(), 1);
    assert_eq!(explained["policy"].as_str().unwrap().len(), 16);
    assert_eq!(explained["environment"], "production");
    assert_eq!(explained["profiles"][0]["sentences"][1]["controls"], json!(["acc.env"]));
    let sentence = &explained["profiles"][0]["sentences"][0];
    assert_eq!(sentence["controls"], json!(["acc.issue"]));
    assert_eq!(sentence["rules"], json!(["caller.profile"]));
    let (code, _, error) = desk.run(&["explain", "--config", "jwsd.toml", "deplo"]);
    assert_eq!(code, 64);
    assert!(error.contains("the profiles are access-token, deploy"), "{error}");
    for command in
        [&["explain", "--config", "none.toml"][..], &["test", "--config", "none.toml", "x.cases.toml"]]
    {
        let (code, _, error) = desk.run(command);
        assert!(
            code == 78 && error.ends_with("1 fault in none.toml\nname another file with --config\n"),
            "{error}"
        );
    }
}

/// Each policy of `config/examples/` loads, has cases that come out as they say, and shows what each profile grants.
#[test]
fn the_examples_do_as_their_cases_say() {
    let examples = root().join("config/examples");
    let mut names: Vec<String> = fs::read_dir(&examples)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml") && !name.ends_with(".cases.toml"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["github-app.toml", "health.toml", "microservices.toml", "oauth-server.toml", "payments.toml"]
    );
    for name in names {
        let config = examples.join(&name);
        let cases = examples.join(name.replace(".toml", ".cases.toml"));
        let text = fs::read_to_string(&config).unwrap();
        assert!(text.starts_with("#:schema ../jwsd.schema.json\n"), "{name}");
        assert!(fs::read_to_string(&cases).unwrap().starts_with("#:schema ../cases.schema.json\n"), "{name}");
        let loader = Loader { users: &Assumed::default(), directory: Some(&examples), running: None };
        loader.describe(&text, &name).unwrap_or_else(|faults| panic!("{faults}"));
        let paths = [config.to_str().unwrap(), cases.to_str().unwrap()];
        let (code, said, error) =
            Desk::new("").run(&["test", "--json", "--coverage", "--config", paths[0], paths[1]]);
        assert_eq!(code, 0, "{name}: {said}{error}");
        let report: Value = serde_json::from_str(&said).unwrap();
        assert!(report["passed"].as_u64() >= Some(5), "{name}");
        assert_eq!(report["coverage"]["profiles"], json!([]), "{name}: no case shows what it grants");
    }
}

#[test]
fn the_schema_of_cases_for_editors_is_the_programs() {
    let present = Desk::new(CASES).run(&["schema"]).1;
    let stored = fs::read_to_string(root().join("config/cases.schema.json")).unwrap_or_default();
    assert!(stored == present, "run `jwsd policy schema > config/cases.schema.json`");
}

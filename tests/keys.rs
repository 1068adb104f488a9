//! Keys as operators turn them: through the admin socket and the command line, against SoftHSM, each act recorded.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use jwsd::state::QuarantineRow;

use common::{Connection, Daemon, JWSD, Response, Site, eventually};
use nix::unistd::geteuid;
use serde_json::{Value, json};

/// A site whose verifiers keep the key set for a second; versions of `access` sign two seconds after they are shown,
/// those of any other key a day.
fn site(keys: &[(&str, &str)]) -> Site {
    let mut site = Site::with_keys(keys);
    site.limits = "jwks_max_age = \"1s\"\n".to_owned();
    site.extra = "[key.access.rotation]\npublish_ahead = \"2s\"\nkeep = \"1h\"\n".to_owned();
    site.write_config();
    site
}

fn admin(daemon: &Daemon, method: &str, path: &str, body: &str) -> Response {
    let headers = [("Content-Type", "application/json")];
    Connection::open(&daemon.socket("admin.sock")).unwrap().request(method, path, &headers, body).unwrap()
}

fn act(daemon: &Daemon, key: &str, verb: &str, body: &Value) -> Response {
    admin(daemon, "POST", &format!("/v1/keys/{key}/{verb}"), &body.to_string())
}

/// The answer to an act that is done.
fn done(daemon: &Daemon, key: &str, verb: &str, body: Value) -> Value {
    let answer = act(daemon, key, verb, &body);
    assert_eq!(answer.status, 200, "{verb}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

fn kid(report: &Value) -> String {
    report["kid"].as_str().unwrap().to_owned()
}

fn key(daemon: &Daemon, name: &str) -> Value {
    admin(daemon, "GET", &format!("/v1/keys/{name}"), "").json()
}

fn version(report: &Value, kid: &str) -> Value {
    let versions = report["versions"].as_array().unwrap();
    versions.iter().find(|version| version["kid"] == kid).unwrap_or(&Value::Null).clone()
}

fn state(daemon: &Daemon, name: &str, kid: &str) -> String {
    version(&key(daemon, name), kid)["state"].as_str().unwrap_or_default().to_owned()
}

fn is_published(daemon: &Daemon, kid: &str) -> bool {
    daemon.key_set()["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid)
}

fn signs(daemon: &Daemon, name: &str) -> String {
    let answer = daemon.sign(name);
    match answer.status {
        200 => answer.json()["kid"].as_str().unwrap().to_owned(),
        status => format!("{status} {}", answer.code()),
    }
}

/// Records of one event about one version.
fn records(daemon: &Daemon, event: &str, kid: &str) -> Vec<Value> {
    let about = |record: &Value| record["event"] == event && record["kid"] == kid;
    daemon.records().into_iter().filter(about).collect()
}

fn is_ours(record: &Value) -> bool {
    record["actor"]["uid"] == geteuid().as_raw() && record["request"].is_string()
}

#[test]
fn a_version_is_made_takes_over_is_revoked_and_destroyed() {
    let site = site(&[("access", "ES256")]);
    let daemon = site.start();
    let first = signs(&daemon, "access");

    let made = done(&daemon, "access", "generate", json!({}));
    let second = kid(&made);
    assert_eq!(version(&made, &second)["state"], "prepared");
    assert_eq!(made["key"], "access");
    assert!(is_published(&daemon, &second) && signs(&daemon, "access") == first);
    let again = act(&daemon, "access", "generate", &json!({}));
    assert_eq!((again.status, again.code().as_str()), (409, "key.state"), "one at a time");

    let turned = done(&daemon, "access", "rotate", json!({}));
    assert_eq!(kid(&turned), second, "the prepared one is next");
    if version(&turned, &second)["state"] == "prepared" {
        assert_eq!((&turned["next"]["step"], &turned["next"]["kid"]), (&json!("activate"), &json!(second)));
    }
    eventually("the next version signs", || signs(&daemon, "access") == second);
    assert_eq!(state(&daemon, "access", &first), "retired");
    assert!(is_published(&daemon, &first), "verifiers still need it");
    let retired = act(&daemon, "access", "retire", &json!({ "kid": first }));
    assert_eq!((retired.status, retired.code().as_str()), (409, "key.state"), "it is not the active one");

    // Of everything the daemon shows of a key, this is what operators look for.
    eventually("signatures are counted", || {
        let report = key(&daemon, "access");
        let active = version(&report, &second);
        active["signatures"].as_u64() >= Some(1) && active["last_exp"].is_string()
    });
    let in_service = act(&daemon, "access", "destroy", &json!({ "kid": second, "confirm": second }));
    assert_eq!((in_service.status, in_service.code().as_str()), (409, "key.state"));

    let revoked = done(&daemon, "access", "revoke", json!({ "reason": "the laptop was stolen" }));
    assert_eq!(kid(&revoked), second, "the active one");
    assert_eq!(version(&revoked, &second)["reason"], "the laptop was stolen");
    assert!(!is_published(&daemon, &second));
    let next = signs(&daemon, "access");
    assert!(next != second, "nothing is signed with it after the answer");
    eventually("the next version is made and signs", || {
        let now = signs(&daemon, "access");
        ![first.as_str(), second.as_str()].contains(&now.as_str()) && !now.starts_with("503")
    });
    let third = signs(&daemon, "access");

    let listed = |kid: &str| -> Value {
        let path = site.config_path();
        let list = site.jwsd(&["keys", "list", "--json", "--config", path.to_str().unwrap()]);
        let rows: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
        rows.into_iter().find(|row| row["kid"] == kid).unwrap()
    };
    assert!(listed(&second)["label"].as_str().unwrap().starts_with("jwsd/test/access/"));
    let destroyed = done(&daemon, "access", "destroy", json!({ "kid": second, "confirm": second }));
    assert!(version(&destroyed, &second)["destroyed"].is_string());
    let row = listed(&second);
    assert_eq!(
        (&row["label"], &row["problems"]),
        (&json!(""), &json!([])),
        "the token has it no more: {row}"
    );
    assert_eq!(listed(&third)["state"], "active");

    assert_eq!(kid(&done(&daemon, "access", "retire", json!({}))), third);
    let answer = signs(&daemon, "access");
    assert!(answer.starts_with("503 key."), "nothing takes over: {answer}");

    for (event, kid) in [
        ("key.generated", &second),
        ("key.rotated", &second),
        ("key.revoked", &second),
        ("key.destroyed", &second),
        ("key.retired", &third),
    ] {
        let found = records(&daemon, event, kid);
        assert!(
            found.len() == 1 && is_ours(&found[0]) && found[0]["object"] == "access",
            "{event}: {found:?}"
        );
    }
    assert_eq!(records(&daemon, "key.revoked", &second)[0]["reason"], "the laptop was stolen");
    assert!(records(&daemon, "key.activated", &second)[0].get("actor").is_none(), "the daemon did it");
    let audit = site.jwsd(&["audit", "verify", site.audit.to_str().unwrap()]);
    assert!(audit.status.success());
}

#[test]
fn a_version_signs_early_only_if_it_is_told_to() {
    let site = site(&[("access", "ES256"), ("slow", "ES384")]);
    let daemon = site.start();
    let first = signs(&daemon, "slow");
    let none = act(&daemon, "slow", "activate", &json!({}));
    assert_eq!((none.status, none.code().as_str()), (409, "key.state"), "none is prepared");
    let next = kid(&done(&daemon, "slow", "generate", json!({})));
    let early = act(&daemon, "slow", "activate", &json!({}));
    assert_eq!((early.status, early.code().as_str()), (409, "key.state"));
    assert!(early.json()["detail"].as_str().unwrap().contains("it may sign from 2"), "{:?}", early.json());
    let other = act(&daemon, "slow", "activate", &json!({ "kid": first, "early": true }));
    assert_eq!((other.status, other.code().as_str()), (409, "key.state"), "the active one is not prepared");
    assert_eq!(signs(&daemon, "slow"), first);

    let told = done(&daemon, "slow", "activate", json!({ "kid": next, "early": true }));
    assert_eq!(kid(&told), next);
    eventually("the early version signs", || signs(&daemon, "slow") == next);
    let record = &records(&daemon, "key.activated", &next)[0];
    assert!(is_ours(record) && record["reason"].as_str().unwrap().contains("before verifiers"), "{record}");
}

/// A key without any version does not keep the others from being served, and an operator who hangs up leaves
/// nothing half done.
#[test]
fn the_first_version_is_made_by_a_running_daemon() {
    let mut site = Site::new();
    for name in ["second", "third"] {
        site.keys.insert(name.to_owned(), "ES256".to_owned());
    }
    site.write_config();
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    assert_eq!(signs(&daemon, "second"), "503 key.missing");
    assert!(daemon.log().contains("keys generate"), "{}", daemon.log());
    let made = done(&daemon, "second", "generate", json!({}));
    assert_eq!(signs(&daemon, "second"), kid(&made), "no verifier waits for the first one");

    let headers = [("Content-Type", "application/json")];
    let mut gone = Connection::open(&daemon.socket("admin.sock")).unwrap();
    gone.send(&common::http::format_request("POST", "/v1/keys/third/generate", &headers, b"{}")).unwrap();
    drop(gone);
    eventually("what the operator asked for is done", || daemon.sign("third").status == 200);
    assert_eq!(key(&daemon, "third")["versions"].as_array().unwrap().len(), 1);
}

/// A key that was made elsewhere, in the same token.
#[test]
fn a_key_is_adopted_by_a_running_daemon() {
    let site = site(&[("access", "ES256")]);
    let other = Site::bare(&[("ceremony", "ES256")]);
    fs::copy(site.path("softhsm2.conf"), other.path("softhsm2.conf")).unwrap();
    other.generate_all();
    let path = other.config_path();
    let list = other.jwsd(&["keys", "list", "--json", "--config", path.to_str().unwrap()]);
    let rows: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
    let made = rows.iter().find(|row| row["key"] == "ceremony").unwrap();
    let daemon = site.start();
    let wrong = act(&daemon, "access", "adopt", &json!({ "name": "pkcs11:object=nobody" }));
    assert_eq!((wrong.status, wrong.code().as_str()), (409, "key.refused"), "{:?}", wrong.json());
    let adopted = done(&daemon, "access", "adopt", json!({ "name": made["id"] }));
    assert_eq!((&adopted["kid"], &version(&adopted, &kid(&adopted))["id"]), (&made["kid"], &made["id"]));
    done(&daemon, "access", "rotate", json!({}));
    eventually("the adopted version signs", || signs(&daemon, "access") == kid(&adopted));
    assert!(is_ours(&records(&daemon, "key.adopted", &kid(&adopted))[0]));
}

#[test]
fn what_is_no_act_is_refused_and_recorded() {
    let site = site(&[("access", "ES256")]);
    let daemon = site.start();
    let kid = signs(&daemon, "access");
    let before = key(&daemon, "access");
    let cases = [
        ("POST", "/v1/keys/access/generate", r#"{"early":true}"#, 400, "act.malformed"),
        ("POST", "/v1/keys/access/activate", r#"{"early":"yes"}"#, 400, "act.malformed"),
        ("POST", "/v1/keys/access/adopt", "{}", 400, "act.malformed"),
        ("POST", "/v1/keys/access/destroy", r#"{"kid":"a","confirm":"b"}"#, 400, "act.malformed"),
        ("POST", "/v1/keys/access/revoke", r#"{"kid":"a","kid":"b"}"#, 400, "json.duplicate"),
        ("POST", "/v1/keys/access/revoke", r#"{"kid":"nobody"}"#, 404, "object.unknown"),
        ("POST", "/v1/keys/access/retire", r#"{"kid":"nobody"}"#, 404, "object.unknown"),
        ("POST", "/v1/keys/other/generate", "{}", 404, "object.unknown"),
        ("POST", "/v1/keys/access/sign", "{}", 404, "route.unknown"),
        ("POST", "/v1/keys/access", "{}", 405, "method.unsupported"),
        ("GET", "/v1/keys/access/revoke", "", 405, "method.unsupported"),
        ("GET", "/v1/keys/other", "", 404, "object.unknown"),
        ("DELETE", "/v1/proposals/nobody", "", 404, "object.unknown"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = admin(&daemon, method, path, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path} {body}");
    }
    let media = Connection::open(&daemon.socket("admin.sock")).unwrap().request(
        "POST",
        "/v1/keys/access/revoke",
        &[],
        "{}",
    );
    assert_eq!(media.unwrap().status, 415);
    let rejected: Vec<_> = daemon
        .records()
        .into_iter()
        .filter(|record| record["event"] == "request.rejected")
        .map(|record| record["rules"][0].as_str().unwrap().to_owned())
        .collect();
    let due: Vec<_> = cases.iter().map(|case| case.4).chain(["body.media_type"]).collect();
    assert_eq!(rejected, due, "every exit has its record");
    let after = key(&daemon, "access");
    assert_eq!(
        (&before["versions"][0]["state"], signs(&daemon, "access")),
        (&after["versions"][0]["state"], kid)
    );
    let on_signing = daemon.post("/v1/keys/access/revoke", &json!({}));
    assert_eq!(on_signing.code(), "route.unknown", "callers do not turn keys");
}

#[test]
fn the_command_line_asks_before_and_tells_after() {
    let site = site(&[("access", "ES256")]);
    let daemon = site.start();
    let socket = daemon.socket("admin.sock").display().to_string();
    let run = |arguments: &[&str]| site.jwsd(&[&["keys"], arguments, &["--socket", &socket]].concat());
    let text = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let first = signs(&daemon, "access");

    let asked = run(&["revoke", "access"]);
    assert_eq!(asked.status.code(), Some(64), "nobody is there to be asked: {}", text(&asked));
    assert!(text(&asked).contains(&first) && text(&asked).contains("all its JWTs ("), "{}", text(&asked));
    assert_eq!(signs(&daemon, "access"), first);
    for (arguments, code) in [
        (&["revoke", "access", "--kid", "short", "--yes"][..], 64),
        (&["revoke", "access", "--kid", "nobody-at-all", "--yes"], 78),
        (&["revoke", "other", "--yes"], 78),
        (&["activate", "access"], 1),
        (&["destroy", "access", "--kid", &first[..8], "--yes"], 1),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output));
    }

    let rotated = run(&["rotate", "access"]);
    assert!(rotated.status.success() && text(&rotated).contains("is the next to sign"), "{}", text(&rotated));
    eventually("the next version signs", || signs(&daemon, "access") != first);
    let next = signs(&daemon, "access");
    let revoked = run(&["revoke", "access", "--kid", &first[..8], "--reason", "a test", "--yes"]);
    assert!(revoked.status.success(), "{}", text(&revoked));
    for word in ["s from command to effect", first.as_str(), &format!("version {next} signs now")] {
        assert!(text(&revoked).contains(word), "{word}: {}", text(&revoked));
    }
    let destroyed = run(&["destroy", "access", "--kid", &first[..10], "--yes", "--json"]);
    let answer: Value =
        serde_json::from_slice(&destroyed.stdout).unwrap_or_else(|_| panic!("{}", text(&destroyed)));
    assert!(version(&answer, &first)["destroyed"].is_string());
    assert_eq!(signs(&daemon, "access"), next);
    let gone = site.jwsd(&["keys", "rotate", "access", "--socket", "/nonexistent"]);
    assert_eq!(gone.status.code(), Some(69));
}

const SECOND: u32 = 54_324;

/// Two operators: the first one's act waits, the second one's same act has it done, and neither can do it alone.
#[test]
fn a_version_that_signs_no_more_is_released_too() {
    let site = site(&[("access", "ES256")]);
    let daemon = site.start();
    let old = signs(&daemon, "access");
    assert_eq!(kid(&done(&daemon, "access", "revoke", json!({}))), old);
    daemon.stop();
    let config = jwsd::config::load(&site.config_path()).unwrap();
    let quarantines = || jwsd::daemon::open_store(&config).unwrap().quarantines().unwrap();
    let (reason, since) = ("a bad signature".to_owned(), 1_800_000_000);
    let row = QuarantineRow { backend: "hsm".into(), kid: Some(old.clone()), reason, since };
    jwsd::daemon::open_store(&config).unwrap().quarantine(&row).unwrap();
    assert_eq!(quarantines().len(), 1);

    let daemon = site.start();
    let socket = daemon.socket("admin.sock");
    let release = || {
        let output =
            site.jwsd(&["keys", "release", "hsm", "--key", "access", "--socket", socket.to_str().unwrap()]);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert_eq!(release(), (Some(0), "backend hsm: released access\n".to_owned()));
    assert_eq!(quarantines(), []);
    assert_eq!(records(&daemon, "quarantine.lifted", &old).len(), 1);
    assert_eq!(release(), (Some(0), "backend hsm: nothing was in quarantine\n".to_owned()));
}

#[test]
fn two_operators() {
    if !geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI must be root to have several users");
        println!("SKIPPED two_operators: several users need root");
        return;
    }
    let mut site = site(&[("access", "ES256")]);
    site.extra += "[admin]\ntwo_person = [\"revoke\", \"generate\", \"release\"]\n";
    site.write_config();
    let config = site.config_path();
    let closed = site.jwsd(&["check", config.to_str().unwrap()]);
    assert_eq!(closed.status.code(), Some(78), "nobody else gets at the admin socket");
    let text = fs::read_to_string(&config).unwrap();
    let open = format!("admin.sock\", mode = \"0660\", group = {SECOND} }}");
    fs::write(&config, text.replace("admin.sock\" }", &open)).unwrap();

    let alone = site.jwsd(&["keys", "generate", "--config", config.to_str().unwrap(), "access"]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&alone.stderr).contains("two operators are needed"));

    let daemon = site.start();
    fs::set_permissions(site.path("run"), fs::Permissions::from_mode(0o755)).unwrap();
    let program = site.path("jwsd");
    fs::copy(JWSD, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let socket = daemon.socket("admin.sock");
    let run = |uid: u32, arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("keys").args(arguments).args(["--json", "--socket"]).arg(&socket).stdin(Stdio::null());
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        let output = command.output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), answer, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let first = signs(&daemon, "access");

    let (code, waits, said) = run(0, &["revoke", "access", "--reason", "a drill", "--yes"]);
    assert_eq!(code, Some(75), "{said}");
    let proposal = &waits["proposal"];
    assert_eq!((&proposal["act"], &proposal["kid"]), (&json!("revoke"), &json!(first)));
    let (code, again, _) = run(0, &["revoke", "access", "--yes"]);
    assert_eq!(
        (code, &again["proposal"]["id"]),
        (Some(75), &proposal["id"]),
        "the same operator is no second one"
    );
    assert_eq!(signs(&daemon, "access"), first);
    // Another act is another act.
    let (code, other, said) = run(SECOND, &["generate", "access"]);
    assert_eq!(code, Some(75), "{said}");
    let waiting = admin(&daemon, "GET", "/v1/proposals", "").json();
    assert_eq!(waiting["proposals"].as_array().unwrap().len(), 2);
    let id = other["proposal"]["id"].as_str().unwrap();
    assert_eq!(admin(&daemon, "DELETE", &format!("/v1/proposals/{id}"), "").status, 200);

    let (code, revoked, said) = run(SECOND, &["revoke", "access", "--kid", &first, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(version(&revoked, &first)["state"], "revoked");
    assert_eq!(version(&revoked, &first)["reason"], "a drill", "the first one's words");
    assert!(signs(&daemon, "access") != first);
    assert_eq!(admin(&daemon, "GET", "/v1/proposals", "").json()["proposals"], json!([]));

    let by = |record: &Value, name: &str| record[name]["uid"].as_u64();
    let proposed = records(&daemon, "admin.proposed", &first);
    assert!(proposed.iter().all(|record| by(record, "actor") == Some(0)), "{proposed:?}");
    assert_eq!((proposed.len(), proposed[0]["reason"].as_str()), (2, Some("revoke: a drill")));
    for event in ["admin.approved", "key.revoked"] {
        let [record] = &records(&daemon, event, &first)[..] else { panic!("one record of {event}") };
        let who = (by(record, "actor"), by(record, "proposed_by"));
        assert_eq!(who, (Some(u64::from(SECOND)), Some(0)), "{event}: {record}");
    }
    let withdrawn = daemon.records().into_iter().find(|record| record["event"] == "admin.withdrawn").unwrap();
    assert_eq!((by(&withdrawn, "actor"), by(&withdrawn, "proposed_by")), (Some(0), Some(u64::from(SECOND))));
    // Quarantines too: this is a command of another kind, and says so in its own way.
    let socket_path = socket.to_str().unwrap();
    let released = site.jwsd(&["keys", "release", "hsm", "--socket", socket_path]);
    assert_eq!(released.status.code(), Some(75));
    let said = String::from_utf8_lossy(&released.stdout).into_owned();
    assert!(said.contains("the second operator: jwsd keys release hsm"), "{said}");
    let mut second = Command::new(&program);
    second.args(["keys", "release", "hsm", "--socket", socket_path]).uid(SECOND).gid(SECOND);
    let said = String::from_utf8_lossy(&second.output().unwrap().stdout).into_owned();
    assert!(said.contains("nothing was in quarantine"), "it was done: {said}");
    // Nobody is asked to agree to what cannot be done.
    for (backend, key) in [("hsm", "x'; id"), ("other", "access")] {
        let body = json!({ "key": key }).to_string();
        let unknown = admin(&daemon, "POST", &format!("/v1/backends/{backend}/release"), &body);
        assert_eq!((unknown.status, unknown.code().as_str()), (404, "object.unknown"), "{backend} {key}");
    }
    assert_eq!(admin(&daemon, "GET", "/v1/proposals", "").json()["proposals"], json!([]));
    // What the list does not name, one operator does.
    eventually("the next version signs", || daemon.sign("access").status == 200);
    assert_eq!(run(SECOND, &["rotate", "access"]).0, Some(0));
}

/// An emergency does not wait for a key to be written into the configuration again.
#[test]
fn a_key_that_left_the_configuration_is_shown_and_can_be_revoked_and_destroyed() {
    let mut site = site(&[("access", "ES256"), ("second", "ES256")]);
    let daemon = site.start();
    let gone = signs(&daemon, "second");
    drop(daemon);
    site.keys.remove("second");
    site.write_config();
    let daemon = site.start();
    assert!(is_published(&daemon, &gone), "what it signed is valid still");
    assert_eq!(kid(&done(&daemon, "second", "revoke", json!({ "kid": gone }))), gone);
    assert!(!is_published(&daemon, &gone));
    done(&daemon, "second", "destroy", json!({ "kid": gone, "confirm": gone }));
    assert_ne!(version(&key(&daemon, "second"), &gone)["destroyed"], Value::Null);
    assert_eq!(act(&daemon, "third", "revoke", &json!({})).code(), "object.unknown");
    assert_eq!(daemon.sign("access").status, 200);
}

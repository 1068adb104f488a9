//! What a new policy needs elsewhere is there before the first request is judged by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;

use crate::common::http::format_request;
use crate::common::{Connection, Site, good};
use crate::{edited, policy, records_of};

#[test]
fn jwts_may_live_longer_at_once() {
    let site = Site::new();
    let long = site.config_text();
    site.rewrite(&edited(&site, &[("default = \"5m\", max = \"15m\"", "default = \"10s\", max = \"10s\"")]));
    let daemon = site.start();
    site.rewrite(&long.replace("max = \"15m\"", "max = \"24h\", over_ceiling = \"a test of reloads\""));
    let mut wish = good("access");
    wish["ttl"] = json!("24h");
    assert_eq!(daemon.post("/v1/sign", &wish).rules(), ["ttl.max"]);
    let reload = daemon.reload();
    assert_eq!(reload.status, 200, "{}", reload.json());
    assert_eq!(daemon.post("/v1/sign", &wish).status, 200, "the state knows how late it expires");
    let state = rusqlite::Connection::open(site.path("state/state.db")).unwrap();
    let bound: i64 = state
        .query_row("SELECT exp_bound FROM key_versions WHERE state = 'active'", [], |row| row.get(0))
        .unwrap();
    let exp = daemon.records().iter().filter_map(|record| record["exp"].as_i64()).max().unwrap();
    assert!(bound >= exp, "{bound} {exp}");
}

#[test]
fn a_new_issuer_is_published_before_it_is_used() {
    let mut site = Site::new();
    site.extra = format!("[publish]\ndir = {:?}\n", site.path("public"));
    site.write_config();
    let daemon = site.start();
    let file = site.path("public/other.test/.well-known/openid-configuration");
    let first = policy(&daemon);

    // Where it cannot be, nothing changes.
    fs::write(site.path("public/other.test"), "in the way").unwrap();
    site.rewrite(&edited(&site, &[("https://issuer.test", "https://other.test")]));
    let refused = daemon.reload();
    assert_eq!((refused.status, refused.code().as_str()), (409, "issuer.unpublished"), "{refused:?}");
    assert_eq!(policy(&daemon), first);
    assert_eq!(records_of(&daemon, "policy.reloaded").len(), 0);
    let document = "/.well-known/openid-configuration";
    assert_eq!(daemon.get("public.sock", document).unwrap().json()["issuer"], "https://issuer.test");

    fs::remove_file(site.path("public/other.test")).unwrap();
    assert_eq!(daemon.reload().status, 200);
    assert!(file.exists());
    assert_eq!(daemon.get("public.sock", document).unwrap().json()["issuer"], "https://other.test");
    assert!(site.path("public/issuer.test/.well-known/jwks.json").exists(), "JWTs of the old one live on");
}

#[test]
fn nobody_is_judged_by_facts_that_were_not_looked_up() {
    let mut site = Site::new();
    site.limits = "request = \"60s\"\n".to_owned();
    site.extra = "[misuse]\nnew_exe = \"off\"\n".to_owned();
    site.write_config();
    let daemon = site.start();
    let body = good("access").to_string();
    let json = [("Content-Type", "application/json")];
    let request = format_request("POST", "/v1/sign", &json, body.as_bytes());
    let (begin, end) = request.split_at(20);
    // Half a request on a connection: it ends behind the answer, and one that rests ends at once. A slow machine gets
    // more time to see that there is half a one.
    let outdated = |next: &str| {
        let answer = [1, 4, 16].into_iter().find_map(|wait| {
            site.write_config();
            assert_eq!(daemon.reload().status, 200);
            let (mut idle, mut half) = (daemon.connect(), daemon.connect());
            for connection in [&mut idle, &mut half] {
                assert_eq!(connection.post("/v1/sign", &body).unwrap().status, 200);
            }
            half.send(begin).unwrap();
            std::thread::sleep(Duration::from_millis(250 * wait));
            site.rewrite(next);
            assert_eq!(daemon.reload().status, 200);
            assert!(idle.receive().is_err());
            half.send(end).and_then(|()| half.receive()).ok()
        });
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "connection.outdated"), "{next}");
        assert_eq!(answer.header("connection"), Some("close"));
    };
    let exe = std::env::current_exe().unwrap();

    // A condition that holds for whoever is looked at, and alerts about programs.
    let lifetime = "lifetime = { default = \"5m\", max = \"15m\" }\n";
    let condition = format!("{lifetime}condition = \"caller.exe == '{}'\"\n", exe.display());
    for edit in [(lifetime, condition.as_str()), ("\"off\"", "\"warn\"")] {
        outdated(&edited(&site, &[edit]));
        let signed = daemon.sign("access");
        assert_eq!(signed.status, 200, "{signed:?}");
    }

    // The same user, told apart by the program: this one may nothing any more.
    let uid = nix::unistd::geteuid();
    let extra = format!(
        "\n[profile.nothing]\nkey = \"access\"\ntyp = \"JWT\"\nissuer = \"x\"\naudiences = [\"x\"]\n\
         lifetime = {{ default = \"1s\", max = \"1s\" }}\n\
         [caller.program]\nuser = {uid}\nexe = {exe:?}\nprofiles = [\"nothing\"]\n"
    );
    outdated(&(site.config_text() + &extra));
    let denied = daemon.sign("access");
    assert_eq!((denied.status, denied.rules()), (403, vec!["caller.profile".to_owned()]));
    let denials = records_of(&daemon, "jwt.denied");
    assert_eq!(denials.last().unwrap()["actor"]["name"], "program");

    // Less is wanted again: connections stay.
    let mut knowing = daemon.connect();
    assert_eq!(knowing.post("/v1/sign", &body).unwrap().status, 403);
    site.write_config();
    assert_eq!(daemon.reload().status, 200);
    assert_eq!(knowing.post("/v1/sign", &body).unwrap().status, 200);
}

#[test]
fn a_request_finishes_under_the_policy_that_it_began_with() {
    let mut site = Site::new();
    site.limits = "request = \"60s\"\nfirst_byte = \"60s\"\n".to_owned();
    site.write_config();
    let daemon = site.start();
    let [first, second] = [policy(&daemon), {
        site.rewrite(&edited(&site, &[("https://issuer.test", "https://second.test")]));
        daemon.reload().json()["policy"].as_str().unwrap().to_owned()
    }];
    // The daemon does not say when it has read the head: a slow machine gets more time.
    let began = [1, 4, 16].into_iter().any(|wait| {
        site.write_config();
        assert_eq!(daemon.reload().json()["policy"], *first);
        let json = [("Content-Type", "application/json")];
        let request = format_request("POST", "/v1/sign", &json, good("access").to_string().as_bytes());
        let (begin, end) = request.split_at(request.len() - 1);
        let mut slow: Connection = daemon.connect();
        slow.send(begin).unwrap();
        std::thread::sleep(Duration::from_millis(250 * wait));
        site.rewrite(&edited(&site, &[("https://issuer.test", "https://second.test")]));
        assert_eq!(daemon.reload().json()["policy"], *second);
        slow.send(end).unwrap();
        let answer = slow.receive().unwrap().json();
        let record = records_of(&daemon, "jwt.issued").pop().unwrap();
        assert_eq!(record["jti"], answer["jti"]);
        let issuer = claims_of(answer["token"].as_str().unwrap())["iss"].clone();
        let is_first = issuer == "https://issuer.test";
        assert_eq!(record["policy"], *if is_first { &first } else { &second }, "{issuer}");
        is_first
    });
    assert!(began, "a request that had begun was judged by what came later");
}

/// The claims of a JWT, unchecked.
pub fn claims_of(jwt: &str) -> serde_json::Value {
    use base64::Engine as _;
    let payload = jwt.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let site = Site::new();
    let daemon = site.start();
    fs::remove_file(site.config_path()).unwrap();
    assert_eq!(daemon.reload().code(), "reload.refused");
    site.write_config();
    fs::set_permissions(site.config_path(), fs::Permissions::from_mode(0o622)).unwrap();
    assert_eq!(daemon.reload().code(), "reload.insecure");
    assert_eq!(daemon.sign("access").status, 200);
    assert_eq!(records_of(&daemon, "policy.refused").len(), 2);
}

//! The configuration is read again under a running daemon: all of it or nothing, and no request under two.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "reload/campaign.rs"]
mod campaign;
#[path = "common/mod.rs"]
mod common;
#[path = "reload/follows.rs"]
mod follows;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use common::{Daemon, JWSD, Site, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The site's configuration with some of its text replaced.
fn edited(site: &Site, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(site.config_text(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// The policy in force.
fn policy(daemon: &Daemon) -> String {
    daemon.status()["policy"].as_str().unwrap().to_owned()
}

/// The records of one event.
fn records_of(daemon: &Daemon, event: &str) -> Vec<Value> {
    daemon.records().into_iter().filter(|record| record["event"] == event).collect()
}

const SHORTER: (&str, &str) = ("max = \"15m\"", "max = \"10m\"");

#[test]
fn a_reload_says_what_it_changed_and_is_recorded() {
    let site = Site::new();
    let daemon = site.start();
    let first = policy(&daemon);
    let loaded = records_of(&daemon, "policy.loaded");
    assert_eq!(loaded.len(), 2, "the policy as a whole, and its one profile");
    assert!(loaded.iter().all(|record| record["policy"] == *first), "{loaded:?}");
    assert_eq!(loaded[1]["reason"], "lives for 300 s, 900 s at most");

    let same = daemon.reload();
    assert_eq!((same.status, same.json()["changed"].as_bool()), (200, Some(false)));
    assert_eq!(records_of(&daemon, "policy.reloaded").len(), 0);

    let limits = ("[limits]\n", "[limits]\nbody = \"1KiB\"\n");
    let caller = ("[caller.tester]", "[caller.renamed]");
    site.rewrite(&edited(&site, &[SHORTER, limits, caller]));
    let changed = daemon.reload().json();
    assert_eq!(changed["previous"], *first);
    assert_eq!(changed["policy"], *policy(&daemon));
    assert_ne!(changed["policy"], *first);
    assert_eq!(changed["profiles"], serde_json::json!({ "added": [], "removed": [], "changed": ["access"] }));
    assert_eq!(
        changed["callers"],
        serde_json::json!({ "added": ["renamed"], "removed": ["tester"], "changed": [] })
    );
    assert_eq!(changed["settings"], serde_json::json!(["limits"]));
    let [record] = &records_of(&daemon, "policy.reloaded")[..] else { panic!("one record") };
    assert_eq!((&record["policy"], &record["previous"]), (&changed["policy"], &changed["previous"]));
    assert_eq!(record["reason"], "profiles ~access; callers +renamed -tester; limits");
    assert_eq!(record["actor"]["uid"], nix::unistd::geteuid().as_raw());
    let loaded = records_of(&daemon, "policy.loaded");
    let last = loaded.last().unwrap();
    assert_eq!((&last["policy"], &last["profile"]), (&changed["policy"], &Value::from("access")));
    assert_eq!(last["reason"], "lives for 300 s, 600 s at most");
    // Limits are new too, for requests of that size as for others.
    let padded = format!("{}{}", " ".repeat(2000), common::good("access"));
    assert_eq!(daemon.connect().post("/v1/sign", &padded).unwrap().code(), "body.too_large");
    assert_eq!(daemon.sign("access").status, 200);
}

#[test]
fn every_fault_is_told_and_nothing_changes() {
    let site = Site::new();
    let daemon = site.start();
    let first = policy(&daemon);
    let socket = daemon.socket("admin.sock");
    let broken = edited(
        &site,
        &[
            SHORTER,
            ("issuer = \"https://issuer.test\"", "issuer = \"https://issuer.test?x\""),
            ("profiles = [\"access\"]", "profiles = [\"acess\"]"),
            ("segment = \"1MiB\"", "segment = \"2MiB\""),
            ("algorithm = \"ES256\"", "algorithm = \"ES384\""),
            ("/sign.sock", "/signing.sock"),
            ("sessions = 2", "sessions = 3"),
        ],
    );
    site.rewrite(&broken);
    let refused = daemon.reload();
    assert_eq!((refused.status, refused.code().as_str()), (409, "reload.refused"));
    let faults = refused.json()["faults"].as_array().unwrap().clone();
    let told: Vec<(&str, u64)> = faults
        .iter()
        .map(|fault| (fault["path"].as_str().unwrap(), fault["line"].as_u64().unwrap()))
        .collect();
    let line = |needle: &str| 1 + broken.lines().position(|line| line.contains(needle)).unwrap() as u64;
    for (path, needle) in [
        ("listen.signing.path", "signing.sock"),
        ("audit.segment", "2MiB"),
        ("backend.hsm.sessions", "sessions = 3"),
        ("caller.tester.profiles[0]", "acess"),
        ("key.access.algorithm", "ES384"),
        ("profile.access.issuer", "issuer.test?x"),
    ] {
        assert!(told.contains(&(path, line(needle))), "{path} {}: {told:?}", line(needle));
    }
    assert_eq!(told.len(), 6, "{told:?}");
    assert_eq!(policy(&daemon), first);

    // The command prints what `jwsd check` prints of the same file, where that finds the same.
    let output = site.jwsd(&["reload", "--socket", socket.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    let checked = site.jwsd(&["check", site.config_path().to_str().unwrap()]);
    for block in
        String::from_utf8(checked.stderr).unwrap().split("\n\n").filter(|block| block.contains("-->"))
    {
        assert!(said.contains(block.trim_start_matches("jwsd: ")), "{block}\nis not in\n{said}");
    }
    assert!(said.ends_with(&format!("6 faults in {}\n", site.config_path().display())), "{said}");
    let records = records_of(&daemon, "policy.refused");
    assert_eq!(records.len(), 2);
    let reason = records[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("6 faults: listen.signing.path, audit.segment"), "{reason}");
    assert_eq!((&records[0]["policy"], &records[0]["outcome"]), (&first.into(), &"denied".into()));
    assert!(
        !records.iter().any(|record| record.to_string().contains("signing.sock")),
        "places, not contents"
    );
    assert!(daemon.log().contains("Configuration refused"), "{}", daemon.log());

    // One that others may change is told apart.
    site.write_config();
    fs::set_permissions(site.config_path(), fs::Permissions::from_mode(0o666)).unwrap();
    let output = site.jwsd(&["reload", "--socket", socket.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(77), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(site.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    let output = site.jwsd(&["reload", "--socket", socket.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("unchanged: policy "));
}

#[test]
fn what_is_asked_is_read_strictly() {
    let site = Site::new();
    let daemon = site.start();
    let mut admin = common::Connection::open(&daemon.socket("admin.sock")).unwrap();
    assert_eq!(admin.post("/v1/reload", r#"{"file":"/etc/passwd"}"#).unwrap().code(), "reload.malformed");
    assert_eq!(admin.request("GET", "/v1/reload", &[], "").unwrap().status, 405);
    assert_eq!(daemon.post("/v1/reload", &serde_json::json!({})).status, 404, "not on the signing socket");
}

#[test]
fn sighup_reloads_and_the_service_manager_is_told() {
    let site = Site::new();
    let manager = UnixDatagram::bind(site.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut buffer = [0; 1024];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = Command::new(JWSD);
    command.env("NOTIFY_SOCKET", site.path("notify"));
    let daemon = site.start_with(command).unwrap();
    let first = policy(&daemon);
    assert_eq!(told().trim(), "READY=1");

    site.rewrite(&edited(&site, &[SHORTER]));
    daemon.signal(Signal::SIGHUP);
    let reloading = told();
    let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(reloading.starts_with("RELOADING=1\n") && stamp.parse::<u64>().is_ok(), "{reloading}");
    let ready = told();
    assert_ne!(policy(&daemon), first);
    assert_eq!(ready.trim(), format!("READY=1\nSTATUS=Policy {}", policy(&daemon)));
    let [record] = &records_of(&daemon, "policy.reloaded")[..] else { panic!("one record") };
    assert!(record.get("actor").is_none(), "a signal does not say who sent it");

    site.rewrite("");
    daemon.signal(Signal::SIGHUP);
    assert!(told().starts_with("RELOADING=1\n"));
    assert!(told().starts_with("READY=1\nSTATUS=Configuration not reloaded"));
    eventually("it is recorded", || records_of(&daemon, "policy.refused").len() == 1);
    assert_eq!(daemon.sign("access").status, 200);
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn reloads_follow_each_other() {
    let site = Site::new();
    let daemon = site.start();
    let texts = [edited(&site, &[SHORTER]), site.config_text()];
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| (0..5).map(|_| daemon.reload().status).collect::<Vec<_>>()))
            .collect();
        for text in texts.iter().cycle().take(40) {
            site.rewrite(text);
        }
        for statuses in asking {
            for status in statuses.join().unwrap() {
                assert!(status == 200 || status == 503, "{status}: done, or too many wait");
            }
        }
    });
    // Whatever they met, these differ.
    for text in [&texts[0], &texts[1], &texts[0]] {
        site.rewrite(text);
        assert_eq!(daemon.reload().status, 200);
    }
    // Each began where the one before it ended.
    let mut last = records_of(&daemon, "policy.loaded")[0]["policy"].clone();
    let reloaded = records_of(&daemon, "policy.reloaded");
    assert!(reloaded.len() >= 2, "{reloaded:?}");
    for record in reloaded {
        assert_eq!(record["previous"], last);
        last = record["policy"].clone();
    }
    assert_eq!(last, *policy(&daemon));
}

//! What belongs to one environment never works in another: a daemon refuses to start on a mixture, and says which.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/fake_kms.rs"]
mod fake_kms;
#[path = "rotation/host.rs"]
#[allow(dead_code, reason = "the tests of rotation use the rest")]
mod host;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{JWSD, Site, records};
use fake_kms::FakeKms;
use host::{Host, config_of};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The site as another environment would have it: `edits` of its text, and these of its directories made new.
fn moved(site: &Site, edits: &[(&str, &str)], fresh: &[&str]) {
    for name in fresh {
        fs::remove_dir_all(site.path(name)).unwrap();
        if *name == "state" {
            fs::create_dir(site.path(name)).unwrap();
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
    let text = edits.iter().fold(site.config_text(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    site.rewrite(&text);
}

const OTHER: (&str, &str) = ("environment = \"test\"", "environment = \"other\"");

/// As somebody would who moves a state on purpose and forgets the keys in it.
fn rename_state(site: &Site) {
    let state = rusqlite::Connection::open(site.path("state/state.db")).unwrap();
    let changed = state.execute("UPDATE meta SET value = 'other' WHERE name = 'environment'", []).unwrap();
    assert_eq!(changed, 1);
}

fn refusal(site: &Site) -> String {
    match site.start_with(Command::new(JWSD)) {
        Ok(_) => panic!("it started on a mixture"),
        Err(log) => log,
    }
}

/// The one label of the token's key, as the daemon made it.
fn label(site: &Site) -> String {
    let config = site.config_path();
    let shown = site.jwsd(&["keys", "list", "--config", config.to_str().unwrap()]);
    let text = String::from_utf8(shown.stdout).unwrap() + &String::from_utf8(shown.stderr).unwrap();
    let label = regex::Regex::new("jwsd/[a-z]+/access/[0-9a-f]{12}").unwrap();
    label.find(&text).unwrap_or_else(|| panic!("{text}")).as_str().to_owned()
}

#[test]
fn a_mixture_is_refused_by_name() {
    type Mix = fn(&Site);
    let rows: [(&str, Mix, &[&str]); 9] = [
        (
            "state",
            |site| moved(site, &[OTHER], &["audit"]),
            &["state.db belongs to environment \"test\"", "\"other\"", "[state] dir"],
        ),
        (
            "audit log",
            |site| moved(site, &[OTHER], &["state"]),
            &["audit belongs to environment \"test\"", "\"other\"", "[audit] dir"],
        ),
        (
            "a key that is used",
            |site| {
                moved(site, &[OTHER], &["audit"]);
                rename_state(site);
            },
            &["key \"jwsd/test/access/", "belongs to environment \"test\"", "\"other\""],
        ),
        (
            "a token",
            |site| moved(site, &[OTHER], &["audit", "state"]),
            &[
                "the token of backend \"hsm\" holds key \"jwsd/test/access/",
                "environment \"test\"",
                "\"other\"",
            ],
        ),
        (
            "an issuer of another environment",
            |site| {
                let issuers = "environment = \"test\"\nissuers = { test = [\"https://another.test\"], other = [\"https://issuer.test\"] }";
                moved(site, &[("environment = \"test\"", issuers)], &[]);
            },
            &["profile.access.issuer", "environment \"other\"", "\"test\""],
        ),
        (
            "an issuer that is not listed",
            |site| {
                let issuers = "environment = \"test\"\nissuers = { test = [\"https://another.test\"] }";
                moved(site, &[("environment = \"test\"", issuers)], &[]);
            },
            &["profile.access.issuer", "does not list it for environment \"test\""],
        ),
        (
            "a profile",
            |site| moved(site, &[("typ = \"at+jwt\"", "typ = \"at+jwt\"\nenvironment = \"other\"")], &[]),
            &["profile.access.environment", "\"other\"", "\"test\""],
        ),
        (
            "a key of the configuration",
            |site| moved(site, &[("algorithm =", "environment = \"other\"\nalgorithm =")], &[]),
            &["key.access.environment", "\"other\"", "\"test\""],
        ),
        (
            "a backend",
            |site| moved(site, &[("sessions =", "environment = \"other\"\nsessions =")], &[]),
            &["backend.hsm.environment", "\"other\"", "\"test\""],
        ),
    ];
    for (name, mix, told) in rows {
        let site = Site::new();
        let daemon = site.start();
        let records = daemon.records();
        let started = records.iter().find(|record| record["event"] == "daemon.started").unwrap();
        assert_eq!(started["reason"], "environment test");
        daemon.stop();
        mix(&site);
        let log = refusal(&site);
        for part in told {
            assert!(log.contains(part), "{name}: {part}\nis not in\n{log}");
        }
        // What is refused is as it was: with the old name it starts.
        if fs::read_to_string(site.path("audit/environment")).unwrap() == "test\n" {
            site.write_config();
            site.start();
        }
    }
}

/// Where no daemon runs, what a daemon refuses is refused by the command.
#[test]
fn nothing_is_done_with_a_mixed_token_without_a_daemon() {
    let site = Site::new();
    let label = label(&site);
    moved(&site, &[OTHER], &["audit", "state"]);
    let config = site.config_path();
    let name = format!("pkcs11:object={}", label.replace('/', "%2F"));
    for act in [vec!["generate", "access"], vec!["adopt", "access", &name]] {
        let output =
            site.jwsd(&[&["keys", act[0], "--config", config.to_str().unwrap()], &act[1..]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{said}");
        for part in ["the token of backend \"hsm\"", &*label, "environment \"test\"", "says \"other\""] {
            assert!(said.contains(part), "{part}\nis not in\n{said}");
        }
    }
}

fn orphans(site: &Site) -> Vec<Value> {
    let of_orphans = |record: &Value| record["event"] == "key.orphaned";
    records(&site.audit).into_iter().filter(of_orphans).collect()
}

/// A token that was away at the start, or whose foreign key somebody has put there since, is looked at while the daemon
/// runs, which does not stop for it.
#[test]
fn a_mixture_that_shows_later_is_told_once() {
    let site = Site::new();
    let label = label(&site);
    moved(&site, &[OTHER], &["audit", "state"]);
    jwsd::daemon::runtime().unwrap().block_on(async {
        let host = Host::start(&config_of(&site.config_path()), |store| store, |backend| backend).await;
        let began = Instant::now();
        while orphans(&site).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60), "not told within a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Another keeper begins with a look of its own.
        let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
        let keeper = tokio::spawn(Arc::clone(&host.admin).keep(shutdown.clone(), tracker.clone()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        shutdown.cancel();
        keeper.await.unwrap();
        tracker.close();
        tracker.wait().await;
        host.stop().await;
    });
    let [told] = &orphans(&site)[..] else { panic!("once in a run: {:#?}", orphans(&site)) };
    assert_eq!((&told["outcome"], &told["object"]), (&"failed".into(), &"hsm".into()));
    let reason = told["reason"].as_str().unwrap();
    for part in ["the token of backend \"hsm\"", &*label, "environment \"test\"", "says \"other\""] {
        assert!(reason.contains(part), "{part}\nis not in\n{reason}");
    }
}

#[test]
fn a_kms_key_is_told_by_its_description() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kms = runtime.block_on(FakeKms::start("eu-central-1"));
    let site = Site::with_kms(&[("access", "ES256")], "eu-central-1", &kms.url());
    site.start().stop();
    // Another environment's keys in the same account are no mixture: rights are given for each key.
    let arn = kms.add("ECC_NIST_P256");
    kms.script().keys.get_mut(&arn).unwrap().description = "jwsd/other/access/000000000000".to_owned();
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    daemon.stop();
    assert!(orphans(&site).is_empty(), "{:#?}", orphans(&site));
    let config = site.config_path();
    let output = site.jwsd(&["keys", "adopt", "--config", config.to_str().unwrap(), "access", &arn]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "key \"jwsd/other/access/000000000000\"",
        "belongs to environment \"other\"",
        "the configuration says \"test\"",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    moved(&site, &[OTHER], &["audit"]);
    rename_state(&site);
    let log = refusal(&site);
    for part in ["key \"jwsd/test/access/", "belongs to environment \"test\"", "\"other\""] {
        assert!(log.contains(part), "{part}\nis not in\n{log}");
    }
}

/// As docs/operations.md says.
#[test]
fn a_directory_is_moved_on_purpose() {
    let site = Site::new();
    site.start().stop();
    moved(&site, &[OTHER], &["tokens", "state"]);
    fs::write(site.path("audit/environment"), "other\n").unwrap();
    fs::create_dir(site.path("tokens")).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "test", "--so-pin", "so-pin-0", "--pin", common::PIN])
        .env("SOFTHSM2_CONF", site.path("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(made.status.success());
    let config = site.config_path();
    let made = site.jwsd(&["keys", "generate", "--config", config.to_str().unwrap(), "access"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(label(&site).starts_with("jwsd/other/"));
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    let reasons: Vec<_> = daemon.records().into_iter().filter(|r| r["event"] == "daemon.started").collect();
    assert_eq!(
        (&reasons[0]["reason"], &reasons[1]["reason"]),
        (&"environment test".into(), &"environment other".into())
    );
}

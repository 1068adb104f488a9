//! What a reload changes, and what it leaves to a restart.

use super::{GOOD, LOADER};
use crate::config::Loader;

#[test]
fn only_what_requests_are_judged_by_changes_without_a_restart() {
    let running = LOADER.parse(GOOD, "x").unwrap().written;
    for (from, to, section) in [
        ("environment = \"production\"", "environment = \"staging\"", "environment"),
        ("allow_root = false", "allow_root = true", "allow_root"),
        ("public = {}", "public = { mode = \"0660\" }", "listen.public.mode"),
        ("headers = 32", "headers = 33", "limits.headers"),
        ("headers = 32", "jwks_max_age = \"6m\"", "limits.jwks_max_age"),
        ("dir = \"/var/log/jwsd\"", "dir = \"/var/log/other\"", "audit.dir"),
        ("dir = \"/var/lib/jwsd\"", "dir = \"/var/lib/other\"", "state.dir"),
        ("level = \"info\"", "level = \"debug\"", "log.level"),
        ("[log]", "[clock]\nmode = \"strict\"\n[log]", "clock.mode"),
        ("[log]", "[admin]\ntwo_person_within = \"1m\"\n[log]", "admin.two_person_within"),
        ("[log]", "[publish]\ndir = \"/srv/jwsd\"\n[log]", "publish.dir"),
        ("label = \"jwsd\"", "label = \"other\"", "backend.hsm.token.label"),
        ("algorithm = \"ES256\"", "algorithm = \"ES384\"", "key.access.algorithm"),
        ("[key.access]", "[key.more]\nbackend = \"hsm\"\nalgorithm = \"ES256\"\n[key.access]", "key.more"),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let loader = Loader { running: Some(&running), ..LOADER };
        let faults = loader.parse(&text, "x").unwrap_err().faults;
        let told: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        // Taking `headers` out is a change, too.
        assert!(told.contains(&section) && told.len() <= 2, "{section}: {told:?}");
        assert!(faults.iter().all(|fault| fault.message.contains("restart the daemon")), "{faults:?}");
    }
    for (from, to, settings) in [
        ("allow_root = false", "allow_root = false # a comment", 0),
        ("body = \"16KiB\"", "body = \"8KiB\"", 1),
        ("body = \"16KiB\"", "batch_items = 7", 1),
        ("nbf = false", "nbf = true", 0),
        ("rate = \"200/s\"", "rate = \"300/s\"", 0),
        ("[log]", "[misuse]\nnew_exe = \"off\"\n[log]", 1),
        ("[log]", "[detector.ward]\npattern = \"W-[0-9]{4}\"\n[log]", 1),
        (
            "allow_root = false",
            "issuers = { production = [\"https://login.example.com\", \"deploy-robot\"] }",
            1,
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let loader = Loader { running: Some(&running), ..LOADER };
        let next = loader.parse(&text, "x").unwrap().written;
        assert_eq!(running.settings(&next).len(), settings, "{to}");
    }
}

#[test]
fn recipients_change_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let owner = crate::jose::jwe::tests::Owner::agreement(&aws_lc_rs::agreement::ECDH_P256);
    std::fs::write(directory.path().join("api.json"), owner.set().to_string()).unwrap();
    let running = LOADER.parse(GOOD, "x").unwrap().written;
    let loader = Loader { running: Some(&running), directory: Some(directory.path()), ..LOADER };
    let text = GOOD.replacen("[log]", "[recipient.reports]\njwks = \"api.json\"\n[log]", 1);
    let next = loader.parse(&text, "x").unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(next.policy.recipients().len(), 1);
    assert_eq!(running.settings(&next.written), ["recipient"]);
}

#[test]
fn names_are_told_apart() {
    let parse = |text: &str| LOADER.parse(text, "x").unwrap().written;
    let before = parse(GOOD);
    let renamed = GOOD.replace("[caller.billing]", "[caller.accounts]").replace("nbf = false", "nbf = true");
    let after = parse(&renamed);
    let (profiles, callers) = (before.profiles(&after), before.callers(&after));
    assert_eq!((profiles.added.len(), profiles.removed.len()), (0, 0));
    assert_eq!(profiles.changed, ["access-token"]);
    assert_eq!((callers.added, callers.removed), (vec!["accounts".to_owned()], vec!["billing".to_owned()]));
    assert_eq!(callers.changed, Vec::<String>::new());
    assert_eq!(parse(&format!("{GOOD}\n# the same\n")), before);
}

//! `jwsd audit search --format json` and `--format page`: what a daemon's log says of one person, as a browser shows it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::{Daemon, Site, browser::chromium, good};
use serde_json::{Value, json};

/// A site with a log of Wanda, who has a session and a consent, and of somebody else.
fn site() -> (Site, Daemon) {
    let mut site = Site::new();
    site.extra = r#"
[profile.support-case]
key = "access"
typ = "case+jwt"
issuer = "https://issuer.test"
audiences = ["https://cases.test"]
lifetime = { default = "90m", max = "2h" }
consent = { purposes = ["support"], max_age = "1d", when = "always", claim = "consent_id" }
[profile.support-case.claims]
sub = { may_hold = ["email"] }
"#
    .to_owned();
    let text =
        site.config_text().replace("profiles = [\"access\"]", "profiles = [\"access\", \"support-case\"]");
    site.rewrite(&text);
    let daemon = site.start();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut request = good("access");
    for sub in ["wanda", "wanda", "bob"] {
        request["claims"]["sub"] = sub.into();
        request["session"] = json!({ "id": "login-1", "expires_at": now + 3600 });
        daemon.post("/v1/sign", &request).jwt();
    }
    request["ttl"] = "1s".into();
    request["claims"]["sub"] = "wanda".into();
    daemon.post("/v1/sign", &request).jwt();
    let case = json!({
        "profile": "support-case", "claims": { "sub": "wanda" },
        "consent": { "id": "consent-7", "purposes": ["support"], "granted_at": now - 60 },
    });
    daemon.post("/v1/sign", &case).jwt();
    (site, daemon)
}

fn search(site: &Site, arguments: &[&str]) -> Output {
    let config = site.config_path();
    let known = ["audit", "search", "--config", config.to_str().unwrap()];
    site.jwsd(&[&known, arguments].concat())
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_person_gets_all_there_is_of_them() {
    let (site, _daemon) = site();
    let wanda = ["--subject", "wanda", "--reason", "request 4711", "--format"];
    let found = search(&site, &[&wanda[..], &["json"]].concat());
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let found = document(&found);
    assert_eq!(found["about"], json!([{ "kind": "subject", "name": "wanda" }]));
    assert_eq!((&found["log"]["verified"], &found["log"]["first"]), (&true.into(), &1.into()));
    let records = found["records"].as_array().unwrap();
    let events: Vec<&str> = records.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["jwt.issued", "jwt.issued", "jwt.issued", "jwt.issued", "subject.searched"]);
    assert_eq!(records[4]["reason"], "request 4711");
    assert!(
        records[4]["seq"].as_u64() <= found["log"]["last"].as_u64(),
        "checked with the record of the search"
    );
    // The same as one by one, of which each is another search.
    let lines = search(&site, &["--subject", "wanda", "--event", "jwt.issued"]);
    let lines: Vec<Value> = String::from_utf8(lines.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines, records[..4]);
    let session = search(&site, &["--subject", "wanda", "--session", "login-1", "--format", "json"]);
    let session = document(&session);
    assert_eq!(session["about"][1], json!({ "kind": "session", "name": "login-1" }));
    assert_eq!(session["records"].as_array().unwrap().len(), 3);
    let before = ["--subject", "wanda", "--until", "2026-01-01", "--format", "json"];
    let before = search(&site, &before);
    assert_eq!((before.status.code(), document(&before)["records"].as_array().unwrap().len()), (Some(1), 0));

    for (arguments, code, said) in [
        (&["--format", "page"][..], 64, "say whom, with --subject"),
        (&["--format", "json", "--event", "jwt.issued"], 64, "say whom"),
        (&["--subject", "wanda", "--format", "page", "--event", "jwt.issued"], 64, "leave --event out"),
        (&["--subject", "wanda", "--format", "json", "--caller", "tester"], 64, "leave --caller out"),
        (&["--subject", "wanda", "--format", "csv"], 64, "jsonl, json, page"),
        (&["--subject", "nobody", "--format", "page"], 1, "no record is of them"),
    ] {
        let wrong = search(&site, arguments);
        let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(code), 0), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
    // Nothing of a log that was changed.
    for file in fs::read_dir(&site.audit).unwrap().map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("case+jwt", "cash+jwt", 1).replacen("jwt.issued", "jwt.denied", 1))
            .unwrap();
    }
    let refused = search(&site, &[&wanda[..], &["page"]].concat());
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let shown = search(&site, &[&wanda[..], &["page", "--unsound"]].concat());
    assert!(String::from_utf8_lossy(&shown.stdout).contains("The log does not verify"));
}

#[test]
fn a_browser_shows_their_page() {
    let (site, daemon) = site();
    let pages = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("person");
    fs::create_dir_all(&pages).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    search(&site, &["--subject", "wanda", "--reason", "a complaint"]);
    let found = search(&site, &["--subject", "wanda", "--reason", "request <4711>", "--format", "page"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let page = pages.join("page.html");
    fs::write(&page, &found.stdout).unwrap();
    let profile = site.path("chromium");
    let (dom, said) = chromium(&profile, &page, &["--dump-dom"]);
    assert!(!said.contains("CONSOLE"), "{said}");
    for part in [
        "<h1>What the records say of you</h1>",
        "The log verifies.",
        "the person known as “wanda”",
        "4, of which 3 are valid still",
        "<td>5 minutes</td>",
        "<td>1 hour 30 minutes</td>",
        "https://cases.test",
        "in a login session of yours",
        "on the ground of a consent of yours",
        "request &lt;4711&gt;",
        "a complaint",
        "The service keeps no pass and none of its content",
    ] {
        assert!(dom.contains(part), "{part}");
    }
    assert!(!dom.contains("bob") && !dom.contains("<script") && dom.matches("<h2>").count() == 6);
    let section =
        |title: &str| dom.split(&format!("<h2>{title}</h2>")).nth(1).unwrap().split("</section>").next();
    assert_eq!(section("What was issued").unwrap().matches("<tr>").count(), 1 + 4);
    assert_eq!(section("Who looked you up").unwrap().matches("<tr>").count(), 1 + 2);

    let shot = |name: &str, page: &Path, theme: &str| {
        let picture = pages.join(name);
        let _ = fs::remove_file(&picture);
        let screenshot = format!("--screenshot={}", picture.display());
        let scheme = format!("--blink-settings=preferredColorScheme={theme}");
        let (_, said) = chromium(&profile, page, &[&screenshot, &scheme, "--window-size=1400,1500"]);
        assert!(!said.contains("CONSOLE"), "{said}");
        fs::read(&picture).unwrap()
    };
    let (dark, light) = (shot("dark.png", &page, "0"), shot("light.png", &page, "1"));
    assert!(dark.starts_with(b"\x89PNG") && light.starts_with(b"\x89PNG") && dark != light);
    // A policy of the page itself: even a script that got in would not run.
    let forged = pages.join("forged.html");
    let text = String::from_utf8(found.stdout).unwrap();
    fs::write(&forged, text.replace("<h1>", "<script>document.title = 'run'</script><h1>")).unwrap();
    let (dom, said) = chromium(&profile, &forged, &["--dump-dom"]);
    assert!(
        said.contains("Content Security Policy") && dom.contains("<title>What the records say"),
        "{said}"
    );
    drop(daemon);
}

//! `jwsd audit report` on the log of a daemon that has signed and refused, in numbers and as a browser shows it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{JWSD, Site, browser::chromium};
use serde_json::Value;

fn report(arguments: &[&str]) -> Output {
    Command::new(JWSD).args(["audit", "report"]).args(arguments).output().unwrap()
}

/// A site whose daemon has issued three JWTs and denied one.
fn used() -> Site {
    let site = Site::new();
    let daemon = site.start();
    for _ in 0..3 {
        assert_eq!(daemon.sign("access").status, 200);
    }
    assert_eq!(daemon.sign("nonsense").status, 403);
    assert_eq!(daemon.stop().0, Some(0));
    site
}

/// Spoils the checksum of one record.
fn spoil(site: &Site) {
    for file in fs::read_dir(&site.audit).unwrap().map(|file| file.unwrap().path()) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("jwt.denied", "jwt.issued", 1)).unwrap();
    }
}

#[test]
fn what_happened_is_reported_with_the_configuration() {
    let site = used();
    let config = site.config_path();
    let config = config.to_str().unwrap();
    let json = report(&["--config", config, "--from", "1h", "--format", "json"]);
    assert!(json.status.success(), "{}", String::from_utf8_lossy(&json.stderr));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["verification"]["sound"], true);
    let figures = &json["figures"];
    assert_eq!((&figures["totals"]["issued"], &figures["totals"]["denied"]), (&3.into(), &1.into()));
    assert_eq!(figures["records"], json["verification"]["records"]);
    assert_eq!(figures["profiles"]["access"]["issued"], 3);
    assert_eq!(figures["rules"]["caller.profile"]["refused"], 1);
    assert_eq!(figures["policy_changed"][1], json["settings"]["policy"]);
    let active = figures["keys"].as_object().unwrap().values().find(|key| key["state"] == "active").unwrap();
    assert_eq!(
        (&active["key"], &active["jwts"], &active["age_days"]),
        (&"access".into(), &3.into(), &0.into())
    );
    let control = |id: &str| {
        let mut controls = json["controls"].as_array().unwrap().iter();
        controls.find(|control| control["id"] == id).unwrap().clone()
    };
    assert!(control("life.max")["settings"].to_string().contains("access: "), "{}", control("life.max"));
    assert!(control("key.hsm")["settings"].to_string().contains("Key access is in hsm."));
    assert!(control("key.hsm")["gaps"].to_string().contains("token in software"));
    assert!(control("gov.drill")["gaps"].to_string().contains("not built"));

    // The log alone, and a period in which nothing was.
    let log = site.audit.to_str().unwrap();
    let bare = report(&[log, "--from", "2026-01-01", "--to", "2026-01-02", "--format", "json"]);
    let bare: Value = serde_json::from_slice(&bare.stdout).unwrap();
    assert_eq!((&bare["figures"]["records"], &bare["settings"]), (&0.into(), &Value::Null));

    let wrong = report(&[log, "--from", "2026-01-02", "--to", "2026-01-01"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("earlier --from"));
    assert_eq!(report(&["/nowhere", "--from", "1h"]).status.code(), Some(69));
    assert_eq!(report(&["--config", "/nowhere.toml", "--from", "1h"]).status.code(), Some(78));

    let page = site.path("report.html");
    let page = page.to_str().unwrap();
    let written = report(&[log, "--from", "1h", "--output", page]);
    assert!(written.status.success());
    assert!(String::from_utf8_lossy(&written.stdout).starts_with("report on "));
    assert!(fs::read_to_string(page).unwrap().starts_with("<!DOCTYPE html>"));
    // Nothing is overwritten.
    assert_eq!(report(&[log, "--from", "1h", "--output", page]).status.code(), Some(69));

    spoil(&site);
    let unsound = report(&[log, "--from", "1h"]);
    assert_eq!(unsound.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unsound.stderr).contains("forged or incomplete"));
    assert!(String::from_utf8_lossy(&unsound.stdout).contains("The log does not verify: 2 problems."));
}

#[test]
fn a_browser_shows_the_page() {
    let site = used();
    let config = site.config_path();
    let config = config.to_str().unwrap();
    let pages = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report");
    fs::create_dir_all(&pages).unwrap();
    let write = |name: &str| {
        let page = pages.join(name);
        let _ = fs::remove_file(&page);
        report(&["--config", config, "--from", "1h", "--output", page.to_str().unwrap()]);
        page
    };
    let page = write("sound.html");
    let profile = site.path("chromium");
    let (dom, said) = chromium(&profile, &page, &["--dump-dom"]);
    // A browser's word for anything that it would not load or run.
    assert!(!said.contains("CONSOLE"), "{said}");
    for heading in
        ["Controls", "JWTs over time", "Callers", "Keys", "Operators' acts", "All records", "Settings"]
    {
        assert!(dom.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    assert_eq!(dom.matches("<tr id=\"control-").count(), 31);
    assert_eq!(dom.matches("<h2>").count(), 15);
    assert!(dom.contains("The log verifies.") && !dom.contains("<script"));
    // Events of the log, and the same number of rows.
    let json = report(&["--config", config, "--from", "1h", "--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let events = dom.split("<section id=\"events\">").nth(1).unwrap().split("</section>").next().unwrap();
    assert_eq!(events.matches("<tr>").count(), json["figures"]["events"].as_object().unwrap().len() + 1);

    // With and without a dark theme, the pictures differ in what is behind the text.
    let shot = |name: &str, page: &Path, theme: &str| {
        let picture = pages.join(name);
        let _ = fs::remove_file(&picture);
        let screenshot = format!("--screenshot={}", picture.display());
        let scheme = format!("--blink-settings=preferredColorScheme={theme}");
        let (_, said) = chromium(&profile, page, &[&screenshot, &scheme, "--window-size=1400,2600"]);
        assert!(!said.contains("CONSOLE"), "{said}");
        fs::read(&picture).unwrap()
    };
    let (dark, light) = (shot("dark.png", &page, "0"), shot("light.png", &page, "1"));
    assert!(dark.starts_with(b"\x89PNG") && light.starts_with(b"\x89PNG") && dark != light);

    spoil(&site);
    let page = write("unsound.html");
    shot("unsound.png", &page, "1");
    let (dom, _) = chromium(&profile, &page, &["--dump-dom"]);
    let first = dom.split("</h1>").nth(1).unwrap();
    assert!(
        first.trim_start().starts_with("<div class=\"verdict unsound\" role=\"alert\">"),
        "{}",
        &first[..200]
    );

    // A policy of the page itself: even a script that got in would not run.
    let text = fs::read_to_string(&page).unwrap();
    let forged = pages.join("forged.html");
    fs::write(&forged, text.replace("<h1>", "<script>document.title = 'run'</script><h1>")).unwrap();
    let (dom, said) = chromium(&profile, &forged, &["--dump-dom"]);
    assert!(said.contains("CONSOLE") && said.contains("Content Security Policy"), "{said}");
    assert!(dom.contains("<title>Audit report"));
}

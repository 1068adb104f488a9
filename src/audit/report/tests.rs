//! The fold on records made by hand, and what both forms make of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::figures::{Outcomes, Tally};
use super::*;
use crate::audit::line::{encode, parse};
use crate::policy::CONTROLS;

const HOSTILE: &str = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>\u{202e}\u{200b}";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Figures of the 24th of November, of records given as time of the month and members.
fn figures(records: &[(&str, &str)]) -> Figures {
    figures_of("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z", records)
}

fn figures_of(from: &str, to: &str, records: &[(&str, &str)]) -> Figures {
    let mut fold = Fold::new(at(from), at(to));
    for (seq, (time, body)) in (1..).zip(records) {
        let mut line = Vec::new();
        encode(&mut line, seq, &format!("2026-11-{time}.000000Z"), body.as_bytes());
        fold.add(&parse(line.strip_suffix(b"\n").unwrap()).unwrap());
    }
    fold.finish()
}

fn report(figures: Figures, sound: bool) -> Report {
    let verification = Verification {
        sound,
        records: 9,
        first: 1,
        last: 9,
        segments: 1,
        bytes: 1234,
        extent: "Checked.".into(),
        declared: Vec::new(),
        problems: if sound { Vec::new() } else { vec![format!("line 3 {HOSTILE}")] },
        problem_count: u64::from(!sound),
    };
    let controls = controls(None, &verification, &figures);
    let made = at("2026-11-25T08:00:00Z");
    Report { version: "1", made, log: "log".into(), verification, controls, figures, settings: None }
}

fn issued(caller: &str, profile: &str, more: &str) -> String {
    format!(
        r#""event":"jwt.issued","outcome":"success","actor":{{"name":{},"uid":7,"gid":7,"pid":1}},"profile":{},"policy":"aa","kid":"k1","alg":"ES256","iat":1000,"exp":1300{more}"#,
        serde_json::to_string(caller).unwrap(),
        serde_json::to_string(profile).unwrap(),
    )
}

fn key(event: &str, kid: &str, outcome: &str) -> String {
    format!(r#""event":"key.{event}","outcome":"{outcome}","kid":"{kid}","alg":"ES256","object":"access""#)
}

const DENIED: &str = r#""event":"jwt.denied","outcome":"denied","actor":{"uid":7,"gid":7,"pid":1},"policy":"aa","rules":["caller.unknown"]"#;

/// Texts of the cells of a section's rows.
fn rows(html: &str, section: &str) -> Vec<Vec<String>> {
    let section = html.split(&format!("<section id=\"{section}\">")).nth(1).unwrap();
    let section = section.split("</section>").next().unwrap();
    let cells = |row: &str| {
        let cells = row.split("</tr>").next().unwrap().split("<td").skip(1);
        cells.map(|cell| plain(&format!("<td{}", cell.split("</td>").next().unwrap()))).collect()
    };
    section.split("<tr>").map(cells).filter(|row: &Vec<String>| !row.is_empty()).collect()
}

fn plain(html: &str) -> String {
    let text: String =
        html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&").replace('\u{202f}', "")
}

/// Names and attributes of all tags, values left out.
fn tags(html: &str) -> Vec<String> {
    let tag = |part: &str| {
        let tag = part.split('>').next().unwrap();
        let outside: Vec<&str> = tag.split('"').step_by(2).collect();
        outside.concat()
    };
    html.split('<').skip(1).map(tag).collect()
}

#[test]
fn figures_are_those_of_the_period() {
    let failed = r#""event":"jwt.failed","outcome":"failed","actor":{"name":"shop","uid":7,"gid":7,"pid":1},"profile":"access","policy":"aa","rules":["backend.down"]"#;
    let checked = r#""event":"policy.checked","outcome":"denied","actor":{"name":"shop","uid":7,"gid":7,"pid":1},"policy":"aa","rules":["ttl.max","aud.allowed"]"#;
    let alert = r#""event":"alert.raised","outcome":"success","actor":{"name":"shop","uid":7,"gid":7,"pid":1},"profile":"access","rules":["rate.caller"],"count":5,"reason":"many""#;
    let figures = figures(&[
        ("23T23:59:59", &issued("shop", "access", "")),
        ("24T00:00:00", &issued("shop", "access", r#","session":"s","clk":"unsync""#)),
        (
            "24T05:30:00",
            &issued("bank", "payment", r#","enc":"A256GCM","consent":"c","exceptions":["email:contact"]"#),
        ),
        ("24T05:31:00", DENIED),
        ("24T05:32:00", failed),
        ("24T06:00:00", checked),
        ("24T07:00:00", alert),
        ("24T08:00:00", alert),
        ("25T00:00:00", &issued("shop", "access", "")),
    ]);
    assert_eq!(figures.records, 7);
    assert_eq!(figures.first, Some((2, "2026-11-24T00:00:00.000000Z".to_owned())));
    let totals = Tally { issued: 2, denied: 1, failed: 1, checked: 1, alerts: 2, ..Tally::default() };
    assert_eq!(figures.totals, totals);
    let shop = Tally { issued: 1, failed: 1, checked: 1, alerts: 2, ..Tally::default() };
    assert_eq!(figures.callers.0["shop"], shop);
    assert_eq!(figures.callers.0["(unknown, uid 7)"].denied, 1);
    let payment = &figures.profiles.0["payment"];
    assert_eq!((payment.tally.issued, payment.longest, payment.encrypted), (1, Some(300), 1));
    assert_eq!((payment.with_consent, payment.with_session, payment.with_exceptions), (1, 0, 1));
    assert_eq!((figures.exceptions.0["email:contact"], figures.unsynchronised), (1, 1));
    let rule =
        |id: &str| (figures.rules.0[id].refused, figures.rules.0[id].failed, figures.rules.0[id].checked);
    assert_eq!(
        (rule("caller.unknown"), rule("backend.down"), rule("ttl.max")),
        ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    );
    let [one] = figures.alerts.shown.as_slice() else { panic!("{:?}", figures.alerts) };
    assert_eq!((one.records, one.greatest, one.reason.as_str()), (2, 5, "many"));
    let hours: Vec<u64> = figures.buckets.iter().map(|bucket| bucket.tally.issued).collect();
    assert_eq!((hours.len(), hours[0], hours[5], hours.iter().sum::<u64>()), (24, 1, 1, 2));
    assert_eq!(figures.events.0["jwt.denied"], Outcomes { denied: 1, ..Outcomes::default() });
    assert_eq!(figures.policies.0["aa"].requests, 5);
}

#[test]
fn keys_have_lives_that_began_before_the_period() {
    let operator =
        r#","actor":{"uid":3,"gid":3,"pid":1},"proposed_by":{"uid":4,"gid":4,"pid":2},"reason":"leaked""#;
    let revoked = key("revoked", "k1", "success") + operator;
    let figures = figures(&[
        ("14T00:00:00", &key("generated", "k1", "success")),
        ("14T00:01:00", &key("published", "k1", "success")),
        ("14T00:02:00", &key("activated", "k1", "success")),
        ("24T01:00:00", &issued("shop", "access", "")),
        ("24T01:30:00", &key("adopted", "k2", "failed")),
        ("24T02:00:00", &revoked),
        ("24T02:00:01", &key("destroyed", "k1", "success")),
        ("24T02:00:02", &key("destroyed", "k1", "failed")),
        ("24T03:00:00", r#""event":"key.tested","outcome":"success","kid":"k1","object":"hsm","count":40"#),
        (
            "24T03:00:01",
            r#""event":"key.quarantined","outcome":"failed","kid":"k1","object":"hsm","reason":"wrong""#,
        ),
    ]);
    assert_eq!(figures.keys.0.len(), 1);
    let one = &figures.keys.0["k1"];
    // What a failure took back is not there.
    assert_eq!((one.state, &one.destroyed, one.age_days), ("revoked", &None, Some(11)));
    assert_eq!((one.key.as_str(), one.jwts, one.tests, one.quarantines), ("access", 1, 40, 1));
    assert_eq!(figures.backends.0["hsm"].quarantines, 1);
    assert_eq!(figures.key_acts.count(), 4);
    let [act] = figures.operators.shown.as_slice() else { panic!("{:?}", figures.operators) };
    assert_eq!((act.by.as_deref(), act.proposed_by.as_deref()), (Some("uid 3"), Some("uid 4")));
}

#[test]
fn policy_clock_log_and_backends_are_told() {
    let loaded = |digest: &str| format!(r#""event":"policy.loaded","outcome":"success","policy":"{digest}""#);
    let figures = figures(&[
        ("20T00:00:00", &loaded("aa")),
        ("20T00:00:00", &(loaded("aa") + r#","profile":"access","reason":"lives for 300 s""#)),
        ("24T00:00:00", &loaded("aa")),
        (
            "24T01:00:00",
            r#""event":"policy.reloaded","outcome":"success","policy":"bb","previous":"aa","reason":"+x""#,
        ),
        ("24T02:00:00", r#""event":"clock.jumped","outcome":"failed","reason":"2 h ahead""#),
        ("24T03:00:00", r#""event":"log.recovered","outcome":"success","segment":"1.jsonl","dropped":7"#),
        ("24T04:00:00", r#""event":"backend.down","outcome":"failed","object":"hsm","reason":"gone""#),
        ("24T04:01:00", r#""event":"backend.down","outcome":"success","object":"hsm""#),
        ("24T05:00:00", r#""event":"log.sealed","outcome":"success","kid":"seal","after":7"#),
    ]);
    assert_eq!(figures.policy_changed, Some(("2026-11-24T01:00:00.000000Z".to_owned(), "bb".to_owned())));
    assert_eq!(figures.profiles.0["access"].loaded.as_deref(), Some("lives for 300 s"));
    assert_eq!((figures.policy_acts.count(), figures.clock.count(), figures.log.count()), (2, 1, 1));
    assert_eq!(figures.log.shown[0].reason.as_deref(), Some("segment 1.jsonl, 7 bytes dropped"));
    assert_eq!((figures.backends.0["hsm"].down, figures.seals, figures.keys.0["seal"].seals), (1, 1, 1));
}

#[test]
fn buckets_fit_the_period() {
    for (from, to, seconds, most) in [
        ("2026-11-24T00:30:00Z", "2026-11-24T01:30:00Z", 3600, 2),
        // As many hours and days as there are bars, from the middle of one.
        ("2026-11-01T00:30:00Z", "2026-11-06T10:30:00Z", 3600, 131),
        ("2026-11-01T00:30:00Z", "2026-11-06T10:30:00.5Z", 86_400, 6),
        ("2026-07-01T12:00:00Z", "2026-11-08T12:00:00Z", 86_400, 131),
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 86_400, 30),
        ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 604_800, 54),
        ("1990-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 15 * 604_800, 131),
    ] {
        let figures = figures_of(from, to, &[]);
        assert_eq!(figures.bucket_seconds, seconds, "{from}");
        assert!(figures.buckets.len() <= most, "{from}: {}", figures.buckets.len());
        let (first, last) = (figures.buckets.first().unwrap().from, figures.buckets.last().unwrap().from);
        assert!(first <= at(from) && last < at(to), "{first} {last}");
    }
    // A period that ends within the first second of an hour has something of that hour.
    let figures = figures_of(
        "2026-11-24T00:30:00Z",
        "2026-11-24T02:00:00.5Z",
        &[("24T02:00:00", &issued("a", "access", ""))],
    );
    let hours: Vec<u64> = figures.buckets.iter().map(|bucket| bucket.tally.issued).collect();
    assert_eq!(hours, [0, 0, 1]);
}

#[test]
fn names_are_counted_apart_up_to_a_limit() {
    let records: Vec<String> = (0..MOST + 50).map(|name| issued(&format!("c{name}"), "access", "")).collect();
    let records: Vec<(&str, &str)> = records.iter().map(|body| ("24T01:00:00", body.as_str())).collect();
    let figures = figures(&records);
    assert_eq!(figures.callers.0.len(), MOST + 1);
    assert_eq!(figures.callers.0["(others)"].issued, 50);
}

#[test]
fn hostile_names_stay_text() {
    let page = |name: &str| {
        let json = serde_json::to_string(name).unwrap();
        let odd = format!(
            r#""event":"key.generated","outcome":"failed","object":{json},"kid":"k","reason":{json},"actor":{{"name":{json},"uid":1,"gid":1,"pid":1,"unit":{json}}}"#
        );
        let odd_rule = format!(
            r#""event":"alert.raised","outcome":"success","policy":{json},"rules":[{json}],"reason":{json}"#
        );
        let denied = format!(r#""event":"jwt.denied","outcome":"denied","rules":[{json}]"#);
        let down = format!(r#""event":"backend.down","outcome":"failed","object":{json},"reason":{json}"#);
        let more = format!(r#","exceptions":[{json}]"#);
        let mut report = report(
            figures(&[
                ("24T01:00:00", &issued(name, name, &more)),
                ("24T01:00:01", &odd),
                ("24T01:00:02", &odd_rule),
                ("24T01:00:03", &denied),
                ("24T01:00:04", &down),
            ]),
            false,
        );
        let listing = Listing { title: "Callers", head: &["Caller"], rows: vec![vec![name.to_owned()]] };
        let answers =
            Answers::from([("life.max", Answer { settings: vec![name.into()], gaps: vec![name.into()] })]);
        report.log = name.to_owned();
        report.verification.problems = vec![name.to_owned()];
        report.controls = controls(Some(&answers), &report.verification, &report.figures);
        report.settings = Some(Settings {
            file: name.to_owned(),
            environment: name.to_owned(),
            policy: name.to_owned(),
            tables: vec![listing],
            answers,
        });
        html(&report)
    };
    let (hostile, harmless) = (page(HOSTILE), page("harmless"));
    // Whatever names are, the page has the same elements and attributes.
    assert_eq!(tags(&hostile), tags(&harmless));
    assert!(
        !tags(&hostile)
            .iter()
            .any(|tag| tag.starts_with("script") || tag.starts_with("img") || tag.contains(" on"))
    );
    assert!(!hostile.contains(['\u{202e}', '\u{200b}']));
    let shown = HOSTILE.replace('\u{202e}', "\\u{202e}").replace('\u{200b}', "\\u{200b}");
    assert_eq!(rows(&hostile, "callers")[0][0], shown);
    // The title, the log, the problem, both sides of a control, and every table that names it.
    assert!(hostile.matches("&lt;script&gt;").count() >= 15, "{}", hostile.matches("&lt;script&gt;").count());
}

#[test]
fn both_forms_show_the_same() {
    let report = report(
        figures(&[
            ("23T00:00:00", &key("generated", "k1", "success")),
            ("24T01:00:00", &issued("shop", "access", "")),
            ("24T01:00:01", &issued("bank", "access", "")),
            ("24T01:00:02", DENIED),
        ]),
        true,
    );
    let (html, json) = (html(&report), serde_json::to_value(&report).unwrap());
    let figures = &json["figures"];
    let numbers = |value: &Value, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| value[name].to_string()).collect()
    };
    let tally = ["issued", "denied", "failed", "checked", "rejected", "undelivered", "alerts"];
    for (section, table, members) in [
        ("callers", "callers", tally.as_slice()),
        ("profiles", "profiles", &["issued", "denied", "failed", "checked", "encrypted", "with_session"]),
        ("events", "events", &["success", "denied", "failed"]),
    ] {
        let shown: Vec<Vec<String>> =
            rows(&html, section).into_iter().map(|row| row[..=members.len()].to_vec()).collect();
        let told = figures[table].as_object().unwrap().iter();
        let told: Vec<Vec<String>> =
            told.map(|(name, value)| [vec![name.clone()], numbers(value, members)].concat()).collect();
        assert_eq!(shown, told, "{section}");
        assert!(!shown.is_empty());
    }
    assert_eq!(rows(&html, "keys")[0][1..5], ["k1", "ES256", "prepared", "2 d"]);
    assert_eq!(figures["keys"]["k1"]["age_days"], 2);
    let controls = json["controls"].as_array().unwrap();
    for control in controls {
        let row =
            html.split(&format!("<tr id=\"control-{}\">", control["id"].as_str().unwrap())).nth(1).unwrap();
        let row = plain(row.split("</tr>").next().unwrap());
        for member in ["settings", "evidence", "gaps"] {
            let lines = control[member].as_array().unwrap();
            assert!(lines.iter().all(|line| row.contains(line.as_str().unwrap())), "{control}");
        }
    }
}

#[test]
fn every_control_has_a_row_with_words_sources_and_an_answer() {
    let report = report(figures(&[]), true);
    let ids: BTreeSet<&str> = report.controls.iter().map(|control| control.id).collect();
    assert_eq!(ids.len(), report.controls.len());
    assert_eq!(ids.len(), 31);
    assert!(CONTROLS.iter().all(|(id, _)| ids.contains(id)));
    for control in &report.controls {
        assert!(!control.asked.is_empty() && !control.sources.is_empty(), "{control:?}");
        assert!(!control.settings.is_empty() || !control.gaps.is_empty(), "{control:?}");
    }
    let gaps = |id: &str| report.controls.iter().find(|control| control.id == id).unwrap().gaps.join(" ");
    for unbuilt in ["rev.near-real-time", "rev.replay", "log.siem", "mon.service", "gov.drill"] {
        assert!(gaps(unbuilt).contains("not built"), "{unbuilt}: {}", gaps(unbuilt));
    }
    // Without a configuration its answers are missing, and without seals the log can be forged.
    assert!(gaps("life.max").contains("--config"));
    assert!(gaps("log.integrity").contains("No signed checkpoint"));
}

#[test]
fn nothing_happened() {
    let report = report(figures(&[]), true);
    let html = html(&report);
    assert_eq!((report.figures.records, report.figures.buckets.len()), (0, 24));
    for section in
        ["callers", "profiles", "rules", "alerts", "keys", "operators", "clock", "log", "backends", "events"]
    {
        assert!(rows(&html, section).is_empty(), "{section}");
    }
    assert!(html.matches("<p class=\"none\">None.</p>").count() >= 10);
    assert!(!html.contains("NaN") && !html.contains("inf\""));
}

#[test]
fn an_unsound_log_is_the_first_that_is_said() {
    let report = report(figures(&[]), false);
    let html = html(&report);
    let after = html.split("<h1>Audit report</h1>\n").nth(1).unwrap();
    assert!(after.starts_with(
        "<div class=\"verdict unsound\" role=\"alert\"><p><strong>The log does not verify: 1 problems."
    ));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["verification"]["sound"], false);
    let integrity =
        json["controls"].as_array().unwrap().iter().find(|control| control["id"] == "log.integrity");
    assert!(integrity.unwrap()["gaps"].to_string().contains("problems: 1"));
}

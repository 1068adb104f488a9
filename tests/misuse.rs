//! A real daemon that notices misuse: it warns, refuses before a key is touched, and judges conditions and hours.

mod common;

use common::{Connection, Daemon, Response, Site, eventually};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// A site whose caller may use these profiles: name, and what is special of each.
fn site(profiles: &[(&str, &str)], extra: &str) -> Site {
    let mut site = Site::new();
    for (name, special) in profiles {
        site.extra += &format!(
            r#"
[profile.{name}]
key = "access"
typ = "{name}+jwt"
issuer = "https://issuer.test"
audiences = ["https://api.test"]
lifetime = {{ default = "1m", max = "5m" }}
claims = {{ sub = {{}}, amount = {{}} }}
{special}
"#
        );
    }
    site.extra += extra;
    site.write_config();
    let text = std::fs::read_to_string(site.config_path()).unwrap();
    let names: Vec<_> = profiles.iter().map(|(name, _)| format!("{name:?}")).collect();
    let allowed = format!("profiles = [\"access\", {}]", names.join(", "));
    std::fs::write(site.config_path(), text.replace("profiles = [\"access\"]", &allowed)).unwrap();
    site
}
fn ask(daemon: &Daemon, profile: &str, claims: Value) -> Response {
    daemon.post("/v1/sign", &json!({"profile": profile, "claims": claims}))
}
fn of<'r>(records: &'r [Value], event: &str) -> Vec<&'r Value> {
    records.iter().filter(|record| record["event"] == event).collect()
}
fn seconds(response: &Response) -> u64 {
    response.header("retry-after").unwrap().parse().unwrap()
}
/// A day of the week that it is not now, and will not be soon.
fn far_day() -> &'static str {
    let today = TimeZone::UTC.to_datetime(Timestamp::now()).weekday().to_monday_zero_offset();
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::from(today.unsigned_abs() + 3) % 7]
}

#[test]
fn rates_are_told_of_and_kept_before_a_key_is_touched() {
    let site = site(
        &[
            ("rated", r#"rates = [{ per = "caller", window = "1h", warn = 2, refuse = 5 }]"#),
            ("persons", r#"rates = [{ per = "subject", window = "1h", warn = 1, refuse = 2 }]"#),
            ("short", r#"rates = [{ per = "profile", window = "1s", refuse = 1 }]"#),
        ],
        "",
    );
    let daemon = site.start();
    for _ in 0..3 {
        assert_eq!(ask(&daemon, "rated", json!({})).status, 200);
    }
    // Each item of a batch is one; what policy refuses is none.
    let item = json!({"profile": "rated", "claims": {}});
    let bad = json!({"profile": "rated", "claims": {"x": 1}});
    let batch = json!({"requests": [item, bad, item, item, item]});
    let results = daemon.post("/v1/sign/batch", &batch).json()["results"].clone();
    let codes: Vec<_> = results.as_array().unwrap().iter().map(|one| one["error"]["code"].clone()).collect();
    assert_eq!(
        codes,
        [json!(null), json!("policy.denied"), json!(null), "rate.refused".into(), "rate.refused".into()]
    );
    assert!(results[3]["error"]["detail"].as_str().unwrap().contains("try again in "), "{results}");

    let refused = || {
        let before = daemon.signs();
        for _ in 0..5 {
            let answer = ask(&daemon, "rated", json!({}));
            assert_eq!((answer.status, answer.code().as_str()), (429, "rate.refused"), "{answer:?}");
            assert!((3000..=4100).contains(&seconds(&answer)), "{answer:?}");
        }
        daemon.signs() - before
    };
    // A key that is idle for ten seconds signs a self-test, which is the only other reason.
    assert!(refused() == 0 || refused() == 0, "refused requests reached the key");

    // Subjects are told apart by their tags, and known by nothing else.
    for subject in ["canary-alice", "canary-bob", "canary-alice"] {
        assert_eq!(ask(&daemon, "persons", json!({"sub": subject})).status, 200);
    }
    assert_eq!(ask(&daemon, "persons", json!({"sub": "canary-alice"})).code(), "rate.refused");
    assert_eq!(ask(&daemon, "persons", json!({"sub": "canary-bob"})).status, 200);

    // It is over when it is said to be.
    assert_eq!(ask(&daemon, "short", json!({})).status, 200);
    // On a slow machine the second may come after the window.
    let answer = (0..100).map(|_| ask(&daemon, "short", json!({}))).find(|answer| answer.status != 200);
    let answer = answer.expect("two within a second");
    assert_eq!(answer.status, 429);
    assert!((1..=2).contains(&seconds(&answer)), "{answer:?}");
    std::thread::sleep(std::time::Duration::from_secs(seconds(&answer)));
    assert_eq!(ask(&daemon, "short", json!({})).status, 200);

    let records = daemon.records();
    let alerts = of(&records, "alert.raised");
    let told: Vec<_> = alerts
        .iter()
        .filter(|alert| alert["profile"] != "short")
        .map(|alert| (alert["rules"][0].as_str().unwrap(), alert["count"].as_u64().unwrap()))
        .collect();
    // Each is told when it is exceeded and when it is refused, and not again.
    let expected = [
        ("rate.caller", 3),
        ("rate.caller", 5),
        ("rate.subject", 2),
        ("rate.subject", 2),
        ("rate.subject", 2),
    ];
    assert_eq!(told, expected, "{alerts:#?}");
    assert_eq!((&alerts[0]["profile"], &alerts[0]["actor"]["name"]), (&json!("rated"), &json!("tester")));
    assert_eq!(alerts[0]["reason"], "more than 2 in 3600 s");
    assert!(alerts[0]["subject"].is_null());
    let issued = of(&records, "jwt.issued");
    let person = issued.iter().find(|record| record["profile"] == "persons").unwrap();
    let alert = alerts.iter().find(|alert| alert["rules"] == json!(["rate.subject"])).unwrap();
    // Only whoever is given the person's key can tell that both are about the same.
    assert!(alert["subject"] != person["subject"] && alert["subject"].is_string());
    let (log, socket) = (site.audit.to_str().unwrap(), daemon.socket("admin.sock"));
    let arguments =
        ["audit", "search", log, "--socket", socket.to_str().unwrap(), "--subject", "canary-alice"];
    let found = site.jwsd(&arguments);
    assert!(found.status.success(), "{found:?}");
    let found: Vec<Value> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events = |event: &str| found.iter().filter(|record| record["event"] == event).count();
    assert_eq!(
        (events("jwt.issued"), events("alert.raised"), events("subject.searched")),
        (2, 2, 1),
        "{found:#?}"
    );
    let denied: Vec<_> = of(&records, "jwt.denied");
    let rated = json!(["rate.refused", "rate.caller"]);
    assert!(
        denied.iter().filter(|record| record["rules"] == rated && record["profile"] == "rated").count() >= 7
    );
    assert!(!format!("{records:?}{}", daemon.log()).contains("canary-"));
    assert!(daemon.log().contains("Alert raised"), "{}", daemon.log());

    let misuse = daemon.status()["misuse"].clone();
    assert_eq!((&misuse["alerts"]["rate.caller"], &misuse["alerts"]["rate.subject"]), (&json!(2), &json!(3)));
    assert_eq!(misuse["subjects"], 2);
    assert!(misuse["refused"].as_u64().unwrap() >= 8);
}

#[test]
fn who_is_refused_again_and_again_is_not_answered_for_a_while() {
    let site = site(&[], "[misuse]\ndenials = { window = \"1s\", warn = 3, refuse = 6 }\n");
    let daemon = site.start();
    let mut connection: Connection = daemon.connect();
    let good = common::good("access").to_string();
    let bad = json!({"profile": "access", "claims": {"admin": true}}).to_string();
    let answers: Vec<_> = (0..30).map(|_| connection.post("/v1/sign", &bad).unwrap()).collect();
    assert!(answers[..7].iter().all(|answer| answer.code() == "policy.denied"));
    let refused = answers.iter().find(|answer| answer.status == 429).expect("it is too much");
    assert_eq!(refused.code(), "rate.refused");
    assert!(!String::from_utf8_lossy(&refused.body).contains("admin"));
    // A dry run counts, and is refused, like the request itself. On a slow machine the window may pass meanwhile.
    for path in ["/v1/sign", "/v1/check"] {
        let answer = (0..20).find_map(|_| {
            while connection.post("/v1/check", &bad).unwrap().status == 200 {}
            Some(connection.post(path, &good).unwrap()).filter(|answer| answer.status == 429)
        });
        let answer = answer.expect("it is too much");
        assert_eq!(answer.code(), "rate.refused");
        std::thread::sleep(std::time::Duration::from_secs(seconds(&answer)));
        assert_eq!(connection.post(path, &good).unwrap().status, 200);
    }
    let checked = daemon.records();
    let refused = json!(["rate.refused", "denials.caller"]);
    assert!(of(&checked, "policy.checked").iter().any(|record| record["rules"] == refused));
    let records = daemon.records();
    let alerts: Vec<_> = of(&records, "alert.raised").iter().map(|alert| alert["rules"].clone()).collect();
    assert!(
        alerts.len() >= 2 && alerts.iter().all(|rules| *rules == json!(["denials.caller"])),
        "{alerts:?}"
    );
    assert!(daemon.status()["misuse"]["alerts"]["denials.caller"].as_u64().unwrap() >= 2);
}

fn ask_by_another_program(site: &Site) {
    let socket = site.socket("sign.sock");
    let wish = ["sign", "--profile", "access", "--claim", "sub=alice", "--claim", "client_id=web"];
    let audience = ["--aud", "https://api.test", "--socket", socket.to_str().unwrap()];
    let signed = site.jwsd(&[&wish[..], &audience].concat());
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
}

#[test]
fn a_program_that_was_not_there_before_is_told_of() {
    let mut site = Site::new();
    let daemon = site.start();
    assert_eq!(daemon.sign("access").status, 200);
    assert_eq!(daemon.sign("access").status, 200);
    assert_eq!(of(&daemon.records(), "alert.raised").len(), 0, "the first is learnt");
    ask_by_another_program(&site);
    ask_by_another_program(&site);
    let records = daemon.records();
    let [alert] = &of(&records, "alert.raised")[..] else { panic!("told once: {records:#?}") };
    assert_eq!((&alert["rules"], &alert["actor"]["name"]), (&json!(["exe.new"]), &json!("tester")));
    assert_eq!(daemon.status()["misuse"]["alerts"]["exe.new"], 1);

    // Off from the beginning, and asked for by a reload.
    assert_eq!(daemon.stop().0, Some(0));
    site.extra = "[misuse]\nnew_exe = \"off\"\n".to_owned();
    site.write_config();
    let daemon = site.start();
    let alerts = || of(&daemon.records(), "alert.raised").len();
    let before = alerts();
    let mut old = daemon.connect();
    let good = common::good("access").to_string();
    assert_eq!(old.post("/v1/sign", &good).unwrap().status, 200);
    ask_by_another_program(&site);
    assert_eq!(alerts(), before, "nobody looks");
    site.rewrite(&site.config_text().replace("\"off\"", "\"warn\""));
    assert_eq!(daemon.reload().status, 200);
    assert_eq!(daemon.sign("access").status, 200);
    assert_eq!(alerts(), before, "the first is learnt");
    ask_by_another_program(&site);
    assert_eq!(alerts(), before + 1);
}

#[test]
fn conditions_and_hours_are_rules_of_policy() {
    let condition = "condition = \"\"\"claims.amount < 1000 && caller.name == 'tester' \
                     && request.ttl <= 60 && now > 1600000000\"\"\"\ncondition_message = \"ask for less\"";
    let hours = |action| {
        format!("hours = {{ days = {:?}, from = \"00:00\", to = \"24:00\", action = {action:?} }}", far_day())
    };
    let (closed, watched) = (hours("refuse"), hours("warn"));
    let site = site(&[("paid", condition), ("closed", &closed), ("watched", &watched)], "");
    let daemon = site.start();
    let before = daemon.signs();
    let rule = |answer: Response| {
        assert_eq!(answer.status, 403, "{answer:?}");
        answer.json()["violations"][0].clone()
    };
    assert_eq!(ask(&daemon, "paid", json!({"amount": 999})).status, 200);
    let violation = rule(ask(&daemon, "paid", json!({"amount": 1000})));
    assert_eq!(violation["rule"], "condition.holds");
    assert!(violation["message"].as_str().unwrap().ends_with("does not hold; ask for less"), "{violation}");
    let violation = rule(ask(&daemon, "paid", json!({})));
    assert_eq!(
        (&violation["rule"], &violation["pointer"]),
        (&json!("condition.error"), &json!("/claims/amount"))
    );
    let long = json!({"profile": "paid", "claims": {"amount": 1}, "ttl": 61});
    assert_eq!(rule(daemon.post("/v1/sign", &long))["rule"], "condition.holds");
    let check = daemon.post("/v1/check", &json!({"profile": "paid", "claims": {"amount": 1}})).json();
    let holds = |rule: &str| {
        check["rules"].as_array().unwrap().iter().any(|one| one["rule"] == rule && one["holds"] == true)
    };
    assert!(check["allowed"] == true && holds("condition.holds") && holds("condition.error"), "{check}");
    // Midnight may pass meanwhile, which is why the day is three days ahead.
    assert_eq!(rule(ask(&daemon, "closed", json!({})))["rule"], "hours.open");
    assert!(daemon.signs() - before <= 2, "one JWT and a self-test");

    assert_eq!(ask(&daemon, "watched", json!({})).status, 200);
    assert_eq!(ask(&daemon, "watched", json!({})).status, 200);
    eventually("use outside the hours is told of", || !of(&daemon.records(), "alert.raised").is_empty());
    let records = daemon.records();
    let alerts = of(&records, "alert.raised");
    assert_eq!(alerts.len(), 1, "once: {alerts:?}");
    assert_eq!((&alerts[0]["rules"], &alerts[0]["profile"]), (&json!(["hours.outside"]), &json!("watched")));
    let denied: Vec<_> = of(&records, "jwt.denied").iter().map(|record| record["rules"][0].clone()).collect();
    assert_eq!(denied, ["condition.holds", "condition.error", "condition.holds", "hours.open"]);
}

//! Every refused request gets the right code, and the worker's sign counter does not move (promise 2 of the README).
//!
//! One table; the first column numbers the attacks: J rows are about the content of a JWT, S rows about socket and HTTP.

#[path = "refusals/cases.rs"]
mod cases;
mod common;

use cases::Case;
use common::{Connection, Daemon, Response, Site};

fn ask(daemon: &Daemon, case: &Case) -> Response {
    let mut connection = daemon.connect();
    let json = [("Content-Type", "application/json")];
    connection.send(&common::http::format_request("POST", "/v1/sign", &json, &case.body)).unwrap();
    connection.receive().unwrap()
}

#[test]
fn refused_requests_get_their_code_and_never_reach_the_key() {
    let site = Site::new();
    let daemon = site.start();
    let cases = cases::all();

    assert_eq!(daemon.sign("access").status, 200);
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for case in &cases {
        let signs = daemon.signs();
        let mut response = ask(&daemon, case);
        asked += 1;
        if daemon.signs() != signs {
            // A key that is idle for ten seconds signs a self-test: the only other reason, and it cannot come twice.
            let signs = daemon.signs();
            response = ask(&daemon, case);
            asked += 1;
            assert_eq!(
                daemon.signs(),
                signs,
                "{} {}: a refused request reached the key",
                case.row,
                case.what
            );
        }
        let (code, rules) = (response.code(), response.rules());
        let good = response.status == case.status
            && code == case.code
            && case.rule.is_none_or(|rule| rules.iter().any(|found| found == rule));
        if !good {
            let text: String = String::from_utf8_lossy(&case.body).chars().take(120).collect();
            let Case { row, what, status: wanted, code: due, rule, .. } = case;
            let got = response.status;
            wrong.push(format!(
                "{row} {what}: {text}\n  wanted {wanted} {due} {rule:?}, got {got} {code} {rules:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{} refused requests, sign counter unmoved", cases.len());
    assert!(cases.len() >= 120);

    let denied = daemon.records().iter().filter(|record| record["outcome"] == "denied").count();
    assert_eq!(denied, asked, "every refusal has its record");
    assert_eq!(daemon.sign("access").status, 200, "and the daemon goes on");
}

#[test]
fn what_is_not_a_request_is_refused_and_recorded() {
    let site = Site::new();
    let daemon = site.start();
    let good = common::good("access").to_string();
    let json = ("Content-Type", "application/json");
    type Rejected<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str);
    let cases: &[Rejected<'_>] = &[
        ("S12", "GET", "/v1/sign", &[], 405, "method.unsupported"),
        ("S12", "PUT", "/v1/sign", &[json, ("Content-Length", "0")], 405, "method.unsupported"),
        ("S12", "POST", "/v1/other", &[json], 404, "route.unknown"),
        ("S12", "POST", "/v1/status", &[json], 404, "route.unknown"),
        ("S12", "POST", "/.well-known/jwks.json", &[json], 404, "route.unknown"),
        ("S13", "POST", "/v1/sign", &[], 415, "body.media_type"),
        ("S13", "POST", "/v1/sign", &[("Content-Type", "text/plain")], 415, "body.media_type"),
        (
            "S13",
            "POST",
            "/v1/sign",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            415,
            "body.media_type",
        ),
        ("S13", "POST", "/v1/sign", &[json, ("Origin", "https://evil.test")], 403, "http.browser"),
        ("S13", "POST", "/v1/sign", &[json, ("Host", "evil.test")], 400, "http.host"),
        ("S12", "POST", "/v1/sign", &[json, ("Expect", "100-continue")], 417, "http.expect"),
        ("S12", "POST", "/v1/sign", &[json, ("Upgrade", "h2c")], 400, "http.upgrade"),
        ("S10", "POST", "/v1/sign", &[json, ("Transfer-Encoding", "chunked")], 400, "http.transfer_encoding"),
    ];
    let signs = daemon.signs();
    for (row, method, path, headers, status, code) in cases {
        // Only what is posted has a body; bytes behind a request without one would be another request.
        let body = if *method == "POST" { good.as_str() } else { "" };
        let response = daemon.connect().request(method, path, headers, body).unwrap();
        assert_eq!(
            (response.status, response.code().as_str()),
            (*status, *code),
            "{row} {method} {path} {headers:?}"
        );
    }
    assert!(daemon.signs() <= signs + 1, "at most a self-test");
    let rejected = || {
        let records = daemon.records().into_iter().filter(|record| record["event"] == "request.rejected");
        records.map(|record| record["rules"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let due: Vec<_> = cases.iter().map(|case| case.5).collect();
    common::eventually("every refusal has its record", || rejected().len() >= cases.len());
    assert_eq!(rejected(), due);
}

#[test]
fn an_unknown_caller_learns_nothing() {
    let mut site = Site::new();
    site.write_config();
    let text = std::fs::read_to_string(site.config_path()).unwrap();
    let me = format!("user = {}", nix::unistd::geteuid());
    assert!(text.contains(&me));
    std::fs::write(site.config_path(), text.replace(&me, "user = 12345")).unwrap();
    let daemon = site.start();
    let signs = daemon.signs();
    let refused = daemon.sign("access");
    let unknown = daemon.sign("no-such-profile");
    for response in [&refused, &unknown] {
        assert_eq!((response.status, response.code().as_str()), (403, "caller.unknown"));
        assert!(response.json().get("detail").is_none() && response.json().get("violations").is_none());
    }
    assert!(daemon.signs() <= signs + 1);
    let record = daemon.records().into_iter().find(|record| record["event"] == "jwt.denied").unwrap();
    assert_eq!(record["rules"], serde_json::json!(["caller.unknown"]));
    assert_eq!(record["actor"]["uid"], nix::unistd::geteuid().as_raw());
    site.extra.clear();
}

/// Faults of the request's form and of its claims come back together.
#[test]
fn all_violations_come_at_once() {
    let site = Site::new();
    let daemon = site.start();
    let body = r#"{"profile":"access","claims":{"sub":1,"iss":"x","role":"admin","what":1},"ttl":"soon","alg":"none"}"#;
    let mut rules = daemon.connect().post("/v1/sign", body).unwrap().rules();
    rules.sort();
    let due = [
        "at.sub",
        "aud.required",
        "claim.enum",
        "claim.required",
        "claim.reserved",
        "claim.type",
        "claim.unknown",
        "request.member",
        "ttl.form",
    ];
    assert_eq!(rules, due);
    let checked = daemon.connect().post("/v1/check", body).unwrap().json();
    let broken = checked["rules"].as_array().unwrap().iter().filter(|rule| rule["holds"] == false).count();
    assert_eq!((checked["allowed"].as_bool(), broken), (Some(false), due.len()));
}

#[test]
fn batches_are_refused_as_a_whole_or_item_by_item() {
    let site = Site::new();
    let daemon = site.start();
    let batch = |body: &str| daemon.connect().post("/v1/sign/batch", body).unwrap();
    let good = common::good("access");
    for (body, code) in [
        ("[]".to_owned(), "batch.malformed"),
        ("{}".to_owned(), "batch.malformed"),
        (r#"{"requests":[]}"#.to_owned(), "batch.malformed"),
        (format!(r#"{{"requests":[{good}],"more":1}}"#), "batch.malformed"),
        (format!(r#"{{"requests":[{}]}}"#, vec![good.to_string(); 257].join(",")), "batch.malformed"),
        (format!(r#"{{"requests":[{good}],"requests":[]}}"#), "json.duplicate"),
        (format!(r#"{{"requests":[{{"profile":"{}"}}]}}"#, "a".repeat(20_000)), "batch.malformed"),
        (format!(r#"{{"requests":[{good},[{}]]}}"#, vec!["1"; 600].join(",")), "batch.malformed"),
    ] {
        assert_eq!((batch(&body).status, batch(&body).code().as_str()), (400, code), "{body:.80}");
    }
    let mixed = batch(&format!(
        r#"{{"requests":[{good},{{"profile":"access","claims":{{"admin":true}}}},1,{good}]}}"#
    ));
    let results = mixed.json()["results"].as_array().cloned().unwrap();
    assert_eq!(mixed.status, 200);
    assert_eq!(results.len(), 4);
    assert!(results[0]["token"].is_string() && results[3]["token"].is_string());
    assert_eq!(results[1]["error"]["code"], "policy.denied");
    assert_eq!(results[2]["error"]["violations"][0]["rule"], "request.object");
    assert!(
        results[1]["error"]["violations"].as_array().unwrap().len() >= 4,
        "all violations at once: {}",
        results[1]
    );
}

#[test]
fn a_rate_is_kept_per_caller() {
    let site = Site::new();
    let text = std::fs::read_to_string(site.config_path()).unwrap();
    std::fs::write(
        site.config_path(),
        text.replace("profiles = [\"access\"]", "profiles = [\"access\"]\nrate = \"5/s\""),
    )
    .unwrap();
    let daemon = site.start();
    let mut connection: Connection = daemon.connect();
    let body = common::good("access").to_string();
    let answers: Vec<_> = (0..40).map(|_| connection.post("/v1/sign", &body).unwrap()).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(answers[0].status == 200 && refused.len() >= 20, "{} refused", refused.len());
    assert_eq!(refused[0].code(), "rate.exceeded");
    assert!(
        refused[0]
            .header("retry-after")
            .is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 1))
    );
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let many = format!(r#"{{"requests":[{}]}}"#, vec![body; 6].join(","));
    assert_eq!(connection.post("/v1/sign/batch", &many).unwrap().code(), "rate.batch");
}

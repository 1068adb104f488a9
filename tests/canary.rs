//! Promise 8 of the README: no secret, no JWT and no raw personal data in any log, record, metric, error, environment or argument.

mod common;

use std::collections::HashSet;
use std::fs;

use common::{Site, good, rounds};
use serde_json::json;

#[test]
fn canary() {
    let requests = rounds(300);
    let site = Site::new();
    let daemon = site.start();
    let mut connection = daemon.connect();
    let mut seen = String::new();
    let mut jwts = HashSet::new();
    for number in 0..requests {
        let subject = format!("canary-subject-{number}");
        let mut request = good("access");
        request["claims"]["sub"] = subject.as_str().into();
        match number % 8 {
            0 => request["claims"]["canary-claim-name"] = "canary-claim-value".into(),
            1 => request["profile"] = "canary-profile".into(),
            2 => request["claims"]["level"] = "canary-wrong-type".into(),
            3 => request["claims"]["scope"] = "CANARY-WRONG-PATTERN".into(),
            4 => {
                request["canary-member"] = json!({ "canary": "canary" });
                request["session"] = json!({ "id": ["canary-session"], "expires_at": "canary-time" });
            }
            5 => request["session"] = json!({ "id": format!("canary-session-{number}") }),
            _ => {}
        }
        let mut body = request.to_string();
        if number % 16 == 7 {
            body.push_str("canary-trailing");
        }
        let response = connection.post("/v1/sign", &body).unwrap();
        match response.status {
            200 => drop(jwts.insert(response.json()["token"].as_str().unwrap().to_owned())),
            // Names of claims and members are the caller's own and may be told back; values may not.
            _ => seen.push_str(
                &String::from_utf8_lossy(&response.body)
                    .replace("canary-claim-name", "")
                    .replace("canary-member", ""),
            ),
        }
    }
    assert!(jwts.len() as u64 * 4 > requests, "{} JWTs", jwts.len());
    seen.push_str(&daemon.status().to_string());
    for pid in [daemon.pid(), daemon.worker_pid()] {
        for file in ["environ", "cmdline"] {
            seen.push_str(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap()));
        }
    }
    let audit = site.audit.clone();
    let records = daemon.records();
    let sessions =
        records.iter().filter(|record| record["session"].as_str().is_some_and(|tag| tag.len() == 22));
    assert_eq!(
        sessions.count() as u64,
        requests.saturating_add(2) / 8,
        "each session that was told has a tag"
    );
    seen.push_str(&records.iter().map(ToString::to_string).collect::<String>());
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    seen.push_str(&log);
    for entry in fs::read_dir(&audit).unwrap() {
        seen.push_str(&String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()));
    }
    let lower = seen.to_lowercase();
    if let Some(place) = lower.find("canary") {
        panic!("a canary got out: ...{}", &lower[place.saturating_sub(80)..(place + 60).min(lower.len())]);
    }
    for jwt in &jwts {
        let (input, signature) = jwt.rsplit_once('.').unwrap();
        let payload = input.rsplit_once('.').unwrap().1;
        assert!(!seen.contains(signature) && !seen.contains(payload), "a JWT got out");
    }
    println!("canary: {requests} requests, {} bytes of output, 0 canaries", seen.len());
}

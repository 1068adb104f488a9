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
    // Who asks is named in records and logs, and this very program has such a name.
    let own = std::env::current_exe().unwrap().display().to_string();
    let lower = seen.replace(&own, "").to_lowercase();
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

/// Personal data and secrets, one for each detector, and what must never be seen of it.
const PERSONAL: [(&str, &str, &str); 8] = [
    ("card", "4556 7375 8689 9855", "7375 8689"),
    ("iban", "DE02 1203 0000 0000 2020 51", "1203 0000"),
    ("email", "wanda.canary@example.com", "wanda.canary"),
    ("national_id", "536-22-8726", "536-22-8726"),
    ("private_key", "-----BEGIN PRIVATE KEY-----canary-key-material", "canary-key-material"),
    ("jwt", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZ25hdHVyZQ", "Y2FuYXJ5"),
    ("entropy", "tR8vK2mXq7LpZ4wN9bYcJ3hF6dGs1AeU", "tR8vK2mX"),
    ("number-plate", "CAN-481516", "can-481516"),
];
/// What else must never be seen: under a name that tells of a secret, as a number, and ids of consent and session.
const NEEDLES: [&str; 5] =
    ["canary-hunter2", "4539578763621486", "canary-consent", "canary-session", "canary-purpose"];

fn files(directory: &std::path::Path) -> Vec<u8> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { fs::read(path).unwrap() }).collect()
}
/// What is in a sink of which nothing may be seen.
fn leaks(sink: &str, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let needles = PERSONAL.iter().map(|(.., needle)| *needle).chain(NEEDLES);
    let found = needles.filter(|needle| text.contains(&needle.to_lowercase()));
    found.map(|needle| format!("{needle} in {sink}")).collect()
}

#[test]
fn personal_data_of_every_detector() {
    let mut site = Site::new();
    let detectors: Vec<&str> = PERSONAL.iter().map(|(detector, ..)| *detector).chain(["name"]).collect();
    // This very program is more than the user that runs it, so that this caller counts.
    site.extra = format!(
        r#"
[log]
level = "trace"
[detector.number-plate]
pattern = "CAN-[0-9]{{6}}"
names = ["plate number"]
[profile.person]
key = "access"
typ = "person+jwt"
issuer = "https://issuer.test"
audiences = ["https://api.test"]
lifetime = {{ default = "5m", max = "15m" }}
consent = {{ purposes = ["support"], max_age = "1d", when = "personal", claim = "consent_id" }}
[profile.person.claims]
sub = {{ may_hold = ["email"] }}
note = {{ }}
granted = {{ personal = true, may_hold = {detectors:?} }}
[caller.marked-caller]
user = {}
exe = {:?}
profiles = ["person"]
"#,
        nix::unistd::geteuid(),
        std::env::current_exe().unwrap(),
    );
    site.write_config();
    let daemon = site.start();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let consent =
        |id: &str| json!({"id": id, "purposes": ["support", "canary-purpose"], "granted_at": now - 60});

    let mut requests = Vec::new();
    for (_, value, _) in PERSONAL {
        let nested = json!({"a": [value], "b": {value: value}, "password": "canary-hunter2", "n": 4539578763621486u64});
        for (claims, consent) in [
            (json!({"sub": "u", "note": value}), None),
            (json!({"sub": "u", "note": nested}), None),
            (json!({"sub": "u", "note": "x", value: value}), None),
            (
                json!({"sub": "wanda.canary@example.com", "granted": nested}),
                Some(consent("canary-consent-1")),
            ),
            (json!({"sub": "wanda.canary@example.com", "granted": value}), Some(consent("canary-consent-2"))),
            (json!({"sub": "wanda.canary@example.com", "granted": value}), None),
            (json!({"sub": "u", "granted": value}), Some(consent(value))),
            (
                json!({"sub": "u", "granted": value}),
                Some(json!({"id": [value], value: value, "purposes": [value]})),
            ),
            (json!({"sub": "u", "marked-claim": value}), Some(json!(value))),
        ] {
            let mut request = json!({"profile": "person", "claims": claims});
            if let Some(consent) = consent {
                request["consent"] = consent;
            }
            requests.push(request.clone());
            request["session"] = json!({"id": format!("canary-session {value}"), "expires_at": now + 600});
            requests.push(request.clone());
            request["ttl"] = value.into();
            requests.push(request);
        }
    }
    let (mut bodies, mut granted) = (Vec::new(), 0);
    let mut connection = daemon.connect();
    for request in &requests {
        let response = connection.post("/v1/sign", &request.to_string()).unwrap();
        match response.status {
            200 => granted += 1,
            _ => bodies.extend(response.body),
        }
        bodies.extend(connection.post("/v1/check", &request.to_string()).unwrap().body);
    }
    for requests in requests.chunks(50) {
        let answer = connection.post("/v1/sign/batch", &json!({ "requests": requests }).to_string()).unwrap();
        for result in answer.json()["results"].as_array().unwrap() {
            match result.get("error") {
                Some(error) => bodies.extend(error.to_string().into_bytes()),
                None => granted += 1,
            }
        }
    }
    // Twice a request with each value where it is allowed, at least.
    assert!(granted >= PERSONAL.len() * 4, "{granted} granted");

    let records = daemon.records();
    let exceptions: HashSet<String> = records
        .iter()
        .filter_map(|record| record["exceptions"].as_array())
        .flatten()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect();
    for detector in &detectors {
        assert!(exceptions.contains(&format!("{detector}:granted")), "{detector} in {exceptions:?}");
    }
    assert!(exceptions.contains("email:sub"));
    let tags: HashSet<&str> = records.iter().filter_map(|record| record["consent"].as_str()).collect();
    assert!(tags.len() >= 2 && tags.iter().all(|tag| tag.len() == 22), "{tags:?}");
    let rules: HashSet<&str> = records
        .iter()
        .filter_map(|record| record["rules"].as_array())
        .flatten()
        .filter_map(|rule| rule.as_str())
        .filter(|rule| rule.starts_with("data."))
        .collect();
    assert_eq!(rules.len(), 9, "{rules:?}");

    let status = daemon.status().to_string().into_bytes();
    let (pid, worker) = (daemon.pid(), daemon.worker_pid());
    let process = [pid, worker].into_iter().flat_map(|pid| {
        ["environ", "cmdline"].iter().flat_map(move |file| fs::read(format!("/proc/{pid}/{file}")).unwrap())
    });
    let process = process.collect();
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    let sinks: [(&str, Vec<u8>); 6] = [
        ("bodies", bodies),
        ("status", status),
        ("process", process),
        ("log", log.into_bytes()),
        ("audit", files(&site.audit)),
        ("state", files(&site.path("state"))),
    ];
    let sizes: Vec<_> = sinks.iter().map(|(sink, bytes)| format!("{sink} {}", bytes.len())).collect();
    println!("canary: {} requests, {granted} granted, bytes of {}", requests.len(), sizes.join(", "));
    // What is known to be there is found there, and every needle would be.
    let markers = ["marked-claim", "access", "SOFTHSM2_CONF", "INFO", "marked-caller", "access"];
    let everything: String =
        PERSONAL.iter().map(|(.., needle)| needle.to_uppercase()).chain(NEEDLES.map(str::to_owned)).collect();
    for ((sink, bytes), marker) in sinks.iter().zip(markers) {
        assert!(String::from_utf8_lossy(bytes).contains(marker), "{marker} is not in {sink}");
        assert_eq!(leaks(sink, bytes), [""; 0]);
        let planted = [bytes, everything.as_bytes()].concat();
        assert_eq!(leaks(sink, &planted).len(), PERSONAL.len() + NEEDLES.len(), "in {sink}");
    }
}

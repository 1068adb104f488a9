//! Thousands of generated attacks by the content of a request, through the real socket: none is signed, none reaches the
//! key, each is recorded.
//!
//! Rows of the catalogue that are not about what a request says stand elsewhere: J16 (special signatures), J17 (weak
//! and private keys) and J18 (`kid` is the thumbprint of the key) in `src/jose/tests.rs`; J19 (policy between check
//! and signature) where policies are reloaded. The halves of J4 and J15 that are about reading a JWT belong to who
//! reads one; here nobody can have it made.

mod common;
#[path = "attacks/forge.rs"]
mod forge;

use std::collections::BTreeMap;

use common::{Daemon, Dice, Site, rounds};
use forge::{Attack, Forge};
use serde_json::Value;

/// Of a batch's body, 1 MiB less the frame.
const BATCH_BYTES: usize = 1_000_000;
const BATCH_ITEMS: usize = 256;

/// Sends what `ask` sends, and once more if the key was used meanwhile: a key that is idle for ten seconds signs a
/// self-test, which cannot come twice. Gives the answer and how often it was asked.
fn unsigned<T>(daemon: &Daemon, what: &str, ask: impl Fn() -> T) -> (T, usize) {
    let before = daemon.signs();
    let answer = ask();
    let after = daemon.signs();
    if after == before {
        return (answer, 1);
    }
    let answer = ask();
    assert_eq!(daemon.signs(), after, "{what}: an attack reached the key");
    (answer, 2)
}

/// Why the answer to an attack is not what is due; `problem` is its body.
fn complaint(attack: &Attack, status: u16, problem: &Value) -> Option<String> {
    let violations = problem["violations"].as_array();
    let mut rules = violations.into_iter().flatten().filter_map(|violation| violation["rule"].as_str());
    let good = match attack.rule {
        Some(rule) => problem["code"] == "policy.denied" && rules.any(|found| found == rule),
        None => matches!(status, 400 | 413) && problem["code"].is_string(),
    };
    let text: String = String::from_utf8_lossy(&attack.body).chars().take(200).collect();
    (!good).then(|| format!("{} {text}\n  due: {:?}, came: {status} {problem:.300}", attack.row, attack.rule))
}

#[test]
fn attacks() {
    let many = usize::try_from(rounds(5000)).unwrap();
    let mut forge = Forge::new(Dice::new("attacks"));
    let attacks: Vec<Attack> = (0..many).map(|_| forge.attack()).collect();
    let site = Site::new();
    let daemon = site.start();
    let (mut asked, mut wrong) = (0, Vec::new());

    let mut alone: Vec<&Attack> = Vec::new();
    let mut batches: Vec<Vec<&Attack>> = vec![Vec::new()];
    let mut bytes = 0;
    for attack in &attacks {
        // One that is no JSON would spoil a whole batch; and some requests are sent alone too.
        if attack.rule.is_none() || alone.len() * 3 < attacks.len() {
            alone.push(attack);
            continue;
        }
        if bytes + attack.body.len() > BATCH_BYTES || batches[batches.len() - 1].len() == BATCH_ITEMS {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += attack.body.len() + 1;
        batches.last_mut().unwrap().push(attack);
    }
    for attack in &alone {
        let (response, times) = unsigned(&daemon, attack.row, || {
            let mut connection = daemon.connect();
            let json = [("Content-Type", "application/json")];
            connection.send(&common::http::format_request("POST", "/v1/sign", &json, &attack.body)).unwrap();
            connection.receive().unwrap()
        });
        asked += times;
        assert_ne!(response.status, 200, "{} {}", attack.row, String::from_utf8_lossy(&attack.body));
        wrong.extend(complaint(attack, response.status, &response.json()));
    }
    for batch in batches.iter().filter(|batch| !batch.is_empty()) {
        let bodies: Vec<&str> =
            batch.iter().map(|attack| std::str::from_utf8(&attack.body).unwrap()).collect();
        let body = format!("{{\"requests\":[{}]}}", bodies.join(","));
        let (response, times) =
            unsigned(&daemon, "batch", || daemon.connect().post("/v1/sign/batch", &body).unwrap());
        asked += times * batch.len();
        let results =
            response.json()["results"].as_array().cloned().unwrap_or_else(|| panic!("{response:?}"));
        assert_eq!(results.len(), batch.len());
        for (attack, result) in batch.iter().zip(&results) {
            assert!(result.get("token").is_none(), "signed: {}", String::from_utf8_lossy(&attack.body));
            wrong.extend(complaint(attack, 403, &result["error"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {many}:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));

    let records = daemon.records();
    let denied = records.iter().filter(|record| record["outcome"] == "denied").count();
    assert_eq!(denied, asked, "every attack has its record");
    assert!(!records.iter().any(|record| record["event"] == "jwt.issued"));
    assert_eq!(daemon.sign("access").status, 200, "and the daemon goes on");
    assert!(
        daemon.records().iter().any(|record| record["event"] == "jwt.issued"),
        "what is issued would have been seen"
    );
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    attacks.iter().for_each(|attack| *rows.entry(attack.row).or_default() += 1);
    println!("attacks: {many} ({} alone, {} batches), 0 signed; {rows:?}", alone.len(), batches.len());
}

//! A state that fails: nothing is acknowledged that is not kept, nothing is active that may be used up, and what was
//! revoked stays so. An audit log that fails: nothing takes effect that is not recorded.

use rusqlite::Connection;
use serde_json::json;

use super::bed::{Jwt, admin, ask, is_active, is_yes, records_of, revoke, site};
use crate::common::http::format_request;
use crate::common::{Site, eventually};

/// Makes every change of the two tables fail, as a full or broken disk does, and mends that again.
struct Broken(Connection);

impl Broken {
    const TABLES: [&str; 2] = ["revocations", "spent"];

    fn new(site: &Site) -> Self {
        let state = Connection::open(site.path("state/state.db")).unwrap();
        for table in Self::TABLES {
            let make = format!(
                "CREATE TRIGGER broken_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'broken'); END"
            );
            state.execute(&make, []).unwrap();
        }
        Self(state)
    }

    fn mend(self) {
        for table in Self::TABLES {
            self.0.execute(&format!("DROP TRIGGER broken_{table}"), []).unwrap();
        }
    }
}

#[test]
fn a_state_that_fails_acknowledges_nothing() {
    let site = site();
    let daemon = site.start();
    let jwts: Vec<Jwt> = (0..4).map(|_| Jwt::from(&daemon.sign("access"))).collect();
    revoke(&daemon, &json!({ "token": jwts[0].token }));
    let broken = Broken::new(&site);

    let by_operator = admin(&daemon, "/v1/revoke", &json!({ "token": jwts[1].token }));
    let by_caller = daemon.post("/v1/revoke", &json!({ "token": jwts[1].token }));
    assert!(by_operator.status >= 500 && by_caller.status >= 500, "{by_operator:?} {by_caller:?}");
    let records = records_of(&daemon, "jwt.revoked");
    let outcomes: Vec<_> = records.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["success", "success", "failed", "success", "failed"]);
    assert!(!String::from_utf8_lossy(&by_caller.body).contains("state.db"), "{by_caller:?}");

    let once = json!({ "token": jwts[2].token, "replay": "once" });
    let answer = daemon.post("/v1/introspect", &once);
    assert_eq!((answer.status, answer.code().as_str()), (503, "state.unavailable"));
    let batch = json!({ "tokens": [{ "token": jwts[3].token }, once] });
    let answer = daemon.post("/v1/introspect/batch", &batch);
    assert_eq!((answer.status, answer.code().as_str()), (503, "state.unavailable"));
    // What needs no change of the state goes on.
    assert!(is_active(&daemon, &jwts[3].token) && !is_active(&daemon, &jwts[0].token));
    assert_eq!(daemon.sign("access").status, 200);

    broken.mend();
    revoke(&daemon, &json!({ "token": jwts[1].token }));
    assert!(!is_active(&daemon, &jwts[1].token));
    assert!(is_yes(&ask(&daemon, once)), "a fault uses nothing up");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn a_batch_that_fails_uses_nothing_up() {
    let site = site();
    let daemon = site.start();
    let jwts: Vec<Jwt> = (0..3).map(|_| Jwt::from(&daemon.sign("access"))).collect();
    let state = Connection::open(site.path("state/state.db")).unwrap();
    // The second of each transaction fails.
    state
        .execute(
            "CREATE TRIGGER full BEFORE INSERT ON spent WHEN (SELECT count(*) FROM spent) >= 1
             BEGIN SELECT RAISE(ABORT, 'full'); END",
            [],
        )
        .unwrap();
    let once: Vec<_> = jwts.iter().map(|jwt| json!({ "token": jwt.token, "replay": "once" })).collect();
    let answer = daemon.post("/v1/introspect/batch", &json!({ "tokens": once }));
    assert_eq!((answer.status, answer.code().as_str()), (503, "state.unavailable"));
    state.execute("DROP TRIGGER full", []).unwrap();
    let answer = daemon.post("/v1/introspect/batch", &json!({ "tokens": once })).json();
    assert!(answer["results"].as_array().unwrap().iter().all(is_yes), "{answer}");
}

/// The directory of the log is gone, so that no segment can follow the one that is full.
#[test]
fn nothing_takes_effect_that_is_not_recorded() {
    let mut site = site();
    site.segment = "64KiB".to_owned();
    site.write_config();
    let daemon = site.start();
    let jwts: Vec<Jwt> = (0..2).map(|_| Jwt::from(&daemon.sign("access"))).collect();
    let hidden = site.path("audit-hidden");
    std::fs::rename(&site.audit, &hidden).unwrap();
    eventually("the log has failed", || {
        let answer = daemon.post("/v1/introspect", &json!({ "token": jwts[0].token }));
        assert!(answer.status == 503 || is_yes(&answer.json()), "{answer:?}");
        answer.status == 503
    });
    for body in [json!({ "token": jwts[0].token }), json!({ "everything": true })] {
        let answer = admin(&daemon, "/v1/revoke", &body);
        assert_eq!((answer.status, answer.code().as_str()), (503, "audit.unavailable"), "{body}");
    }
    let answer = daemon.post("/v1/revoke", &json!({ "token": "x" }));
    assert_eq!((answer.status, answer.code().as_str()), (503, "audit.unavailable"));
    std::fs::rename(&hidden, &site.audit).unwrap();
    eventually("the log is back", || daemon.sign("access").status == 200);
    for jwt in &jwts {
        assert!(is_active(&daemon, &jwt.token), "it was revoked without a record");
    }
}

/// What was kept of the clock is damaged, so that nobody knows whether it is right.
#[test]
fn without_a_clock_nothing_is_active_and_what_is_revoked_is_so_afterwards() {
    let site = site();
    let daemon = site.start();
    let jwts: Vec<Jwt> = (0..3).map(|_| Jwt::from(&daemon.sign("access"))).collect();
    revoke(&daemon, &json!({ "token": jwts[0].token }));
    assert_eq!(daemon.stop().0, Some(0));
    let state = Connection::open(site.path("state/state.db")).unwrap();
    assert_eq!(state.execute("UPDATE meta SET value = 'x' WHERE name = 'clock'", []).unwrap(), 1);
    drop(state);
    let daemon = site.start();
    for path in ["/v1/introspect", "/v1/introspect/batch"] {
        let question = json!({ "token": jwts[2].token, "replay": "once" });
        let body = if path.ends_with("batch") { json!({ "tokens": [question] }) } else { question };
        let answer = daemon.post(path, &body);
        assert_eq!((answer.status, answer.code().as_str()), (503, "clock.untrusted"), "{path}");
    }
    revoke(&daemon, &json!({ "token": jwts[1].token }));
    let answer = admin(&daemon, "/v1/clock/accept", &json!({}));
    assert_eq!(answer.status, 200, "{answer:?}");
    for (jwt, is_left) in jwts.iter().zip([false, false, true]) {
        assert_eq!(is_active(&daemon, &jwt.token), is_left);
    }
    assert!(
        is_yes(&ask(&daemon, json!({ "token": jwts[2].token, "replay": "once" }))),
        "nothing was used up"
    );
}

/// Whoever asks to use a JWT up and hangs up while the state is busy.
#[test]
fn what_is_used_up_is_recorded_though_nobody_waits_for_the_answer() {
    let mut site = site();
    // One user gets half of them.
    site.limits = "in_flight = 2\n".to_owned();
    site.write_config();
    let daemon = site.start();
    let (jwt, other) = (Jwt::from(&daemon.sign("access")), Jwt::from(&daemon.sign("access")));
    let state = Connection::open(site.path("state/state.db")).unwrap();
    state.execute_batch("BEGIN IMMEDIATE").unwrap();
    let question = json!({ "token": jwt.token, "replay": "once" }).to_string();
    let headers = [("Content-Type", "application/json")];
    let mut asking = daemon.connect();
    asking.send(&format_request("POST", "/v1/introspect", &headers, question.as_bytes())).unwrap();
    // Until it has the only seat: another question would take it. The state waits for five seconds.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let answer = daemon.post("/v1/introspect", &json!({ "token": other.token }));
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
    drop(asking);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let answer = daemon.post("/v1/revoke", &json!({ "token": other.token }));
    assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"), "it goes on");
    state.execute_batch("ROLLBACK").unwrap();
    eventually("it is used up", || {
        state.query_row("SELECT count(*) FROM spent", [], |row| row.get::<_, i64>(0)).unwrap() == 1
    });
    let of_it = || {
        let records = records_of(&daemon, "jwt.introspected");
        records.into_iter().filter(|record| record["jti"] == jwt.jti.as_str()).collect::<Vec<_>>()
    };
    eventually("it is recorded", || of_it().len() == 1);
    assert_eq!(of_it()[0]["outcome"], "success");
    assert!(is_active(&daemon, &other.token), "the seat is free again");
}

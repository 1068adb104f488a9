//! Each way to take JWTs back, and what is left of it in the state.

use std::time::Duration;

use serde_json::{Value, json};

use super::bed::{
    API, ISSUER, Jwt, admin, introspect, is_active, now, of, of_person, records_of, revoke, sign, site, why,
};
use crate::common::{Daemon, Response, Site, eventually};

/// Two JWTs of alice with sessions and consents of their own, and one of bob.
fn people(daemon: &Daemon) -> [Jwt; 3] {
    [("alice", "s1", "c1"), ("alice", "s2", "c2"), ("bob", "s3", "c3")]
        .map(|(sub, sid, consent)| sign(daemon, &of_person(sub, sid, consent)))
}

fn active(daemon: &Daemon, jwts: &[Jwt; 3]) -> [bool; 3] {
    jwts.each_ref().map(|jwt| is_active(daemon, &jwt.token))
}

fn text_of(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

fn next_second() {
    let before = now();
    while now() == before {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_way_voids_what_it_names_and_no_more() {
    let site = site();
    let mut daemon = site.start();
    for (what, left) in [
        (
            Box::new(|jwts: &[Jwt; 3]| json!({ "token": jwts[0].token })) as Box<dyn Fn(&[Jwt; 3]) -> Value>,
            [false, true, true],
        ),
        (Box::new(|jwts| json!({ "jti": jwts[1].jti, "reason": "superseded" })), [true, false, true]),
        (Box::new(|_| json!({ "subject": "alice" })), [false, false, true]),
        (Box::new(|_| json!({ "session": "s2", "reason": "session-ended" })), [true, false, true]),
        (Box::new(|_| json!({ "consent": "c3", "issuer": ISSUER })), [true, true, false]),
        (Box::new(|_| json!({ "subject": "s1" })), [true, true, true]),
        (Box::new(|_| json!({ "profile": "access" })), [true, true, true]),
        (Box::new(|_| json!({ "profile": "person" })), [false, false, false]),
        (Box::new(|_| json!({ "everything": true })), [false, false, false]),
    ] {
        // What was revoked before is not meant by what is issued in a later second.
        next_second();
        let jwts = people(&daemon);
        let what = what(&jwts);
        assert_eq!(active(&daemon, &jwts), [true, true, true], "{what}");
        // Again is no fault.
        for _ in 0..2 {
            revoke(&daemon, &what);
            assert_eq!(active(&daemon, &jwts), left, "{what}");
        }
        daemon.kill();
        daemon = site.start();
        assert_eq!(active(&daemon, &jwts), left, "after kill -9: {what}");
    }
    next_second();
    let jwts = people(&daemon);
    assert_eq!(active(&daemon, &jwts), [true, true, true], "what is issued later is not meant");
    let revoked = records_of(&daemon, "jwt.revoked");
    assert_eq!(revoked.len(), 18);
    let told: Vec<_> = revoked.iter().step_by(2).map(|record| record["object"].as_str().unwrap()).collect();
    let objects = ["jwt", "jwt", "subject", "session", "consent", "subject", "profile", "profile"];
    assert_eq!(told, [&objects[..], &["everything"]].concat());
    assert!(revoked.iter().all(|record| record["outcome"] == "success" && record["actor"]["uid"].is_u64()));
    assert_eq!((&revoked[0]["profile"], &revoked[2]["reason"]), (&json!("person"), &json!("superseded")));
    assert!(revoked[4]["subject"].as_str().is_some_and(|tag| tag.len() == 22), "{}", revoked[4]);
}

#[test]
fn a_caller_takes_back_its_own() {
    let site = site();
    let daemon = site.start();
    let jwts = [Jwt::from(&daemon.sign("access")), sign(&daemon, &of("secret", "alice"))];
    let other = Jwt::from(&daemon.sign("access"));
    for jwt in &jwts {
        for _ in 0..2 {
            let answer = daemon.post("/v1/revoke", &json!({ "token": jwt.token, "reason": "superseded" }));
            assert_eq!((answer.status, answer.json()), (200, json!({})));
        }
    }
    assert!(!is_active(&daemon, &jwts[0].token));
    assert_eq!(why(&daemon), "token.revoked");
    assert!(is_active(&daemon, &other.token));
    let records = records_of(&daemon, "jwt.revoked");
    let told: Vec<_> = records.iter().map(|record| record["jti"].as_str().unwrap()).collect();
    assert_eq!(told, [&jwts[0].jti, &jwts[0].jti, &jwts[1].jti, &jwts[1].jti]);
    assert!(records.iter().all(|record| record["actor"]["name"] == "tester" && record["object"] == "jwt"));

    // What is not the caller's is left alone, and the answer does not tell that; the record does.
    let text = site.config_text().replace("\"secret\", ", "");
    site.rewrite(&text);
    assert_eq!(daemon.reload().status, 200);
    for (token, code) in [(&*jwts[1].token, "token.asker"), ("x", "token.form")] {
        assert_eq!(daemon.post("/v1/revoke", &json!({ "token": token })).json(), json!({}));
        let records = records_of(&daemon, "jwt.revoked");
        let last = records.last().unwrap();
        assert_eq!(json!([last["outcome"], last["rules"]]), json!(["denied", [code]]));
    }
    for body in [
        json!({}),
        json!([]),
        json!({ "token": 1 }),
        json!({ "token": "" }),
        json!({ "token": other.token, "reason": "because" }),
        json!({ "token": other.token, "at": "2099-01-01T00:00:00Z" }),
        json!({ "jti": other.jti }),
        json!({ "everything": true }),
    ] {
        let answer = daemon.post("/v1/revoke", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "revocation.malformed"), "{body}");
    }
    assert!(is_active(&daemon, &other.token));
}

/// Two tenants, whose issuer is in a profile by its template alone.
#[test]
fn a_tenant_is_known_by_its_own_issuer() {
    let mut site = site();
    site.extra += &format!(
        "[caller.second]\nuser = 65533\nprofiles = [\"tenant\"]\n\
         [profile.tenant]\nkey = \"access\"\ntyp = \"tenant+jwt\"\nissuer = \"https://{{name}}.test\"\n\
         audiences = [{API:?}]\nlifetime = {{ default = \"5m\", max = \"15m\" }}\nclaims = {{ sub = {{}} }}\n"
    );
    for names in [&mut site.profiles, &mut site.introspect] {
        names.push("tenant".to_owned());
    }
    site.write_config();
    let daemon = site.start();
    let jwts = [(); 2].map(|()| sign(&daemon, &of("tenant", "alice")));
    assert!(is_active(&daemon, &jwts[0].token));
    for (issuer, part) in
        [(None, "https://tester.test"), (Some("https://{name}.test"), "https://second.test")]
    {
        let answer = admin(&daemon, "/v1/revoke", &with_issuer(issuer));
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 400);
        assert!(detail.contains(part) && !detail.contains('{'), "{detail}");
    }
    revoke(&daemon, &with_issuer(Some("https://second.test")));
    assert!(is_active(&daemon, &jwts[0].token), "it was somebody else");
    revoke(&daemon, &with_issuer(Some("https://tester.test")));
    assert!(!is_active(&daemon, &jwts[0].token));

    // The other tenant may use the profile, too, and leaves these alone.
    next_second();
    let jwt = sign(&daemon, &of("tenant", "alice"));
    let text = site.config_text();
    let text = text.replace("caller.tester", "caller.first").replace("caller.second", "caller.tester");
    let text = text.replace("caller.first", "caller.second");
    site.rewrite(&text);
    assert_eq!(daemon.reload().status, 200);
    assert_eq!(daemon.post("/v1/revoke", &json!({ "token": jwt.token })).json(), json!({}));
    let records = records_of(&daemon, "jwt.revoked");
    let last = records.last().unwrap();
    assert_eq!(
        json!([last["outcome"], last["rules"], last["actor"]["name"]]),
        json!(["denied", ["token.asker"], "second"])
    );
    assert!(is_active(&daemon, &jwt.token));
    let own = sign(&daemon, &of("tenant", "alice"));
    daemon.post("/v1/revoke", &json!({ "token": own.token }));
    assert!(!is_active(&daemon, &own.token));
}

fn with_issuer(issuer: Option<&str>) -> Value {
    let mut body = json!({ "subject": "alice" });
    if let Some(issuer) = issuer {
        body["issuer"] = issuer.into();
    }
    body
}

#[test]
fn an_operator_is_told_what_is_wrong() {
    let site = site();
    let daemon = site.start();
    let jwt = Jwt::from(&daemon.sign("access"));
    for (body, part) in [
        (json!({}), "send one of"),
        (json!("x"), "send one of"),
        (json!({ "everything": false }), "send one of"),
        (json!({ "everything": true, "jti": jwt.jti }), "send one of"),
        (json!({ "subject": "a", "session": "b" }), "send one of"),
        (json!({ "subject": "" }), "send one of"),
        (json!({ "profile": "access", "issuer": ISSUER }), "send one of"),
        (json!({ "jti": jwt.jti, "reason": "because" }), "send one of"),
        (json!({ "jti": jwt.jti, "at": "tomorrow" }), "send one of"),
        (json!({ "jti": jwt.jti, "at": 1_900_000_000 }), "send one of"),
        (json!({ "jti": jwt.jti, "more": 1 }), "send one of"),
        (json!({ "jti": jwt.jti, "at": "2020-01-01T00:00:00Z" }), "not a time to come"),
        (json!({ "everything": true, "at": text_of(now()) }), "not a time to come"),
        (json!({ "jti": jwt.jti.to_uppercase() }), "UUID"),
        (json!({ "jti": jwt.token }), "UUID"),
        (json!({ "profile": "nobody" }), "no profile \"nobody\""),
        (json!({ "subject": "alice", "issuer": "https://another.test" }), ISSUER),
        (json!({ "token": "x" }), "none of this daemon's"),
    ] {
        let answer = admin(&daemon, "/v1/revoke", &body);
        assert_eq!((answer.status, answer.code().as_str()), (400, "revocation.malformed"), "{body}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(part), "{body}: {detail}");
    }
    let socket = daemon.socket("admin.sock").display().to_string();
    let past = ["revoke", "--socket", &socket, "--jti", &jwt.jti, "--at", "2020-01-01T00:00:00Z"];
    let command = site.jwsd(&past);
    let said = [command.stdout, command.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(!command.status.success() && said[0].is_empty(), "{said:?}");
    assert!(said[1].contains("not a time to come"), "{said:?}");
    assert!(is_active(&daemon, &jwt.token));
    assert!(records_of(&daemon, "jwt.revoked").is_empty());
}

#[test]
fn what_is_to_happen_later_happens_then_restarts_included() {
    let site = site();
    let daemon = site.start();
    let jwts = people(&daemon);
    let at = now() + 3;
    let text = text_of(at);
    for what in ["jti", "subject"] {
        let name = if what == "jti" { &jwts[2].jti } else { "alice" };
        revoke(&daemon, &json!({ what: name, "at": text }));
    }
    assert_eq!(active(&daemon, &jwts), [true, true, true]);
    daemon.kill();
    let daemon = site.start();
    loop {
        let before = now();
        let left = active(&daemon, &jwts);
        assert!(left == [true, true, true] || now() >= at, "too early");
        assert!(left == [false, false, false] || before < at, "too late: {left:?}");
        if before >= at {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    next_second();
    assert_eq!(active(&daemon, &people(&daemon)), [true, true, true]);
    let record = &records_of(&daemon, "jwt.revoked")[0];
    assert_eq!(record["reason"], json!(format!("unspecified, from {text} on")));
}

#[test]
fn keys_that_are_revoked_void_what_they_signed_and_keys_that_retire_do_not() {
    let site = site();
    let daemon = site.start();
    let config = site.config_path().display().to_string();
    let keys = |arguments: &[&str]| {
        let done = site.jwsd(&[&["keys"], arguments, &["--config", &config]].concat());
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let kid = |answer: &Response| answer.json()["kid"].as_str().unwrap().to_owned();
    let signed = daemon.sign("access");
    let (old, old_kid) = (Jwt::from(&signed), kid(&signed));
    assert!(is_active(&daemon, &old.token));
    assert_eq!(records_of(&daemon, "jwt.introspected").last().unwrap()["kid"], old_kid.as_str());
    keys(&["generate", "access"]);
    keys(&["activate", "access", "--early", "--yes"]);
    // From the next second on.
    eventually("the new one signs", || kid(&daemon.sign("access")) != old_kid);
    let new = Jwt::from(&daemon.sign("access"));
    assert!(is_active(&daemon, &old.token), "its key has retired, which voids nothing");
    keys(&["revoke", "access", "--kid", &old_kid, "--yes"]);
    assert!(!is_active(&daemon, &old.token));
    assert_eq!(why(&daemon), "token.key");
    assert!(is_active(&daemon, &new.token));
    daemon.kill();
    let daemon = site.start();
    assert!(!is_active(&daemon, &old.token) && is_active(&daemon, &new.token));
}

#[test]
fn who_is_erased_has_no_active_jwt_left() {
    let site = site();
    let daemon = site.start();
    let jwts = people(&daemon);
    let answer = admin(&daemon, "/v1/subjects/erase", &json!({ "subject": "alice" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(active(&daemon, &jwts), [false, false, true]);
    let records = daemon.records();
    let place = |event| records.iter().position(|record| record["event"] == event).unwrap();
    assert!(place("jwt.revoked") < place("subject.erased"));
    assert_eq!(records[place("jwt.revoked")]["reason"], "erased");
    daemon.kill();
    let daemon = site.start();
    assert_eq!(active(&daemon, &jwts), [false, false, true]);
}

/// Rows of revocations and of what was used up.
fn rows(site: &Site) -> (i64, i64) {
    let state = rusqlite::Connection::open(site.path("state/state.db")).unwrap();
    let count =
        |table| state.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    (count("revocations"), count("spent"))
}

#[test]
fn what_has_expired_leaves_no_row() {
    let site = site();
    let daemon = site.start();
    let (brief, long) = (sign(&daemon, &of("brief", "alice")), Jwt::from(&daemon.sign("access")));
    let spent = sign(&daemon, &of("brief", "alice"));
    for jwt in [&brief, &long] {
        revoke(&daemon, &json!({ "token": jwt.token }));
    }
    next_second();
    // The same again is the same row.
    revoke(&daemon, &json!({ "token": long.token }));
    let once = daemon.post("/v1/introspect", &json!({ "token": spent.token, "replay": "once" }));
    assert_eq!(once.json()["active"], true);
    revoke(&daemon, &json!({ "subject": "alice" }));
    assert_eq!(rows(&site), (3, 1));
    assert_eq!(daemon.stop().0, Some(0));
    // A day is left for clocks that are wrong; as if it were gone by, and the rest but a moment.
    let state = rusqlite::Connection::open(site.path("state/state.db")).unwrap();
    let age = |table| state.execute(&format!("UPDATE {table} SET until = until - 86401"), []).unwrap();
    assert_eq!((age("revocations"), age("spent")), (3, 1));
    drop(state);
    eventually("they have expired", || now() > spent.iat.max(brief.iat) + 2);
    let daemon = site.start();
    eventually("they are forgotten", || rows(&site) == (2, 0));
    assert_eq!(introspect(&daemon, &long.token), json!({ "active": false }), "not so what lives on");
    assert!(!daemon.log().contains("not forgotten"));
}

//! What introspection answers, to whom, and what is recorded of it.

use serde_json::{Value, json};

use super::bed::{
    API, Jwt, admin, ask, introspect, is_active, is_yes, now, of, of_person, records_of, sign, site, why,
};
use crate::common::segments;

#[test]
fn what_is_active_says_what_it_claims_and_what_is_not_says_only_that() {
    let site = site();
    let daemon = site.start();
    let jwt = Jwt::from(&daemon.sign("access"));
    let answer = introspect(&daemon, &jwt.token);
    for (name, value) in [
        ("active", json!(true)),
        ("profile", json!("access")),
        ("iss", json!("https://issuer.test")),
        ("sub", json!("alice")),
        ("client_id", json!("web")),
        ("aud", json!(API)),
        ("jti", json!(jwt.jti)),
        ("iat", json!(jwt.iat)),
        ("exp", json!(jwt.iat + 300)),
    ] {
        assert_eq!(answer[name], value, "{name}: {answer}");
    }
    let many = introspect(&daemon, &sign(&daemon, &of("many", "alice")).token);
    assert_eq!((&many["active"], &many["aud"]), (&json!(true), &json!([API])));

    let (rest, signature) = jwt.token.rsplit_once('.').unwrap();
    let (header, payload) = rest.split_once('.').unwrap();
    // Its last character has bits to spare, which the text as a whole must not hold.
    let swapped: String = signature[1..].chars().chain(['A']).collect();
    for (token, code) in [
        (String::new(), "token.form"),
        ("a.b.c".to_owned(), "token.form"),
        (rest.to_owned(), "token.form"),
        (format!("{}~", jwt.token), "token.form"),
        (format!("{header}.{payload}.{swapped}"), "token.signature"),
        (format!("{header}.{payload}."), "token.form"),
        ("x".repeat(64 << 10), "token.form"),
    ] {
        assert!(!is_active(&daemon, &token), "{token}");
        assert_eq!(why(&daemon), code, "{token}");
    }
    // Whatever is wrong, the answer is the same in every byte.
    let wrong = daemon.post("/v1/introspect", &json!({ "token": "a.b.c" }));
    assert_eq!(wrong.body, br#"{"active":false}"#);
    assert_eq!(wrong.header("cache-control"), Some("no-store"));
}

#[test]
fn who_may_not_ask_is_told_nothing() {
    let site = site();
    let daemon = site.start();
    let jwt = sign(&daemon, &of("secret", "alice"));
    assert!(!is_active(&daemon, &jwt.token));
    assert_eq!(why(&daemon), "token.asker");
    // Nor can it use it up.
    assert!(!is_yes(&ask(&daemon, json!({ "token": jwt.token, "replay": "once" }))));
    assert_eq!(why(&daemon), "token.asker");
    let spent = rusqlite::Connection::open(site.path("state/state.db")).unwrap();
    let spent: i64 = spent.query_row("SELECT count(*) FROM spent", [], |row| row.get(0)).unwrap();
    assert_eq!(spent, 0);
}

/// Nor does anybody verify anything for them.
#[test]
fn who_may_ask_about_nothing_is_told_nothing() {
    let mut site = site();
    site.introspect.clear();
    site.write_config();
    let daemon = site.start();
    for token in [Jwt::from(&daemon.sign("access")).token, "x".to_owned()] {
        assert!(!is_active(&daemon, &token));
        assert_eq!(why(&daemon), "token.asker");
        let batch =
            daemon.post("/v1/introspect/batch", &json!({ "tokens": [{ "token": token }, { "token": "y" }] }));
        assert_eq!(batch.json(), json!({ "results": [{ "active": false }, { "active": false }] }));
        assert_eq!(why(&daemon), "token.asker");
    }
}

#[test]
fn another_audience_or_a_later_time_makes_it_inactive() {
    let site = site();
    let daemon = site.start();
    let jwt = Jwt::from(&daemon.sign("access"));
    assert!(is_yes(&ask(&daemon, json!({ "token": jwt.token, "audience": API }))));
    for audience in ["https://other.test", "https://api.test/", ""] {
        assert!(!is_yes(&ask(&daemon, json!({ "token": jwt.token, "audience": audience }))));
        assert_eq!(why(&daemon), "token.audience");
    }
    let brief = sign(&daemon, &of("brief", "alice"));
    let exp = brief.iat + 2;
    // Each answer was given between the two times, so it may be either only in the second in which it turns.
    loop {
        let before = now();
        let is_active = is_active(&daemon, &brief.token);
        let after = now();
        assert!(is_active || after >= exp, "expired {} s too early", exp - after);
        assert!(!is_active || before < exp, "active {} s after its end", before - exp);
        if before > exp {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(why(&daemon), "token.expired");
}

#[test]
fn batches_answer_each_in_its_place() {
    let site = site();
    let daemon = site.start();
    let (one, two) = (Jwt::from(&daemon.sign("access")), sign(&daemon, &of("secret", "bob")));
    let once = json!({ "token": one.token, "replay": "once" });
    let batch = json!({ "tokens": [
        { "token": one.token }, { "token": "x" }, { "token": two.token }, once, once,
        { "token": one.token, "audience": "https://other.test" }, { "token": one.token },
    ] });
    let answer = daemon.post("/v1/introspect/batch", &batch);
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()["results"].as_array().unwrap().clone();
    let active: Vec<bool> = results.iter().map(is_yes).collect();
    // Of two in one batch that use it up, the first wins; who does not ask for it is not told of it.
    assert_eq!(active, [true, false, false, true, false, false, true]);
    assert_eq!(results[0]["jti"], one.jti.as_str());
    let rules: Vec<Value> =
        records_of(&daemon, "jwt.introspected").iter().map(|record| record["rules"][0].clone()).collect();
    assert_eq!(
        json!(rules),
        json!([null, "token.form", "token.asker", null, "token.spent", "token.audience", null])
    );
    let question = json!({ "token": "x" });
    let full = json!({ "tokens": vec![question.clone(); 256] });
    assert_eq!(daemon.post("/v1/introspect/batch", &full).json()["results"].as_array().unwrap().len(), 256);
    for bad in [
        json!({ "tokens": [] }),
        json!({ "tokens": vec![question.clone(); 257] }),
        json!({ "tokens": ["x"] }),
        json!({ "tokens": [question, { "token": 1 }] }),
        json!({ "tokens": {} }),
        json!({ "tokens": [{ "token": "x" }], "more": 1 }),
        json!([]),
    ] {
        let answer = daemon.post("/v1/introspect/batch", &bad);
        assert_eq!((answer.status, answer.code().as_str()), (400, "introspection.malformed"), "{bad}");
    }
}

#[test]
fn what_is_used_once_is_used_up_restarts_included() {
    let site = site();
    let daemon = site.start();
    let once = |jwt: &Jwt| json!({ "token": jwt.token, "replay": "once" });
    let (first, second) = (Jwt::from(&daemon.sign("access")), Jwt::from(&daemon.sign("access")));
    assert!(is_active(&daemon, &first.token), "looking at it does not use it up");
    assert!(is_yes(&ask(&daemon, once(&first))));
    assert!(!is_yes(&ask(&daemon, once(&first))));
    assert_eq!(why(&daemon), "token.spent");
    assert!(!is_yes(&ask(&daemon, json!({ "token": second.token, "audience": "x", "replay": "once" }))));
    daemon.kill();
    let daemon = site.start();
    assert!(!is_yes(&ask(&daemon, once(&first))), "kill -9 brings it back");
    assert!(is_yes(&ask(&daemon, once(&second))), "what was refused was not used up");
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = site.start();
    assert!(!is_yes(&ask(&daemon, once(&second))));
}

#[test]
fn malformed_questions_are_refused_and_recorded() {
    let site = site();
    let daemon = site.start();
    for (body, code) in [
        ("{}", "introspection.malformed"),
        ("[]", "introspection.malformed"),
        (r#"{"token":1}"#, "introspection.malformed"),
        (r#"{"token":"x","audience":["x"]}"#, "introspection.malformed"),
        (r#"{"token":"x","audience":null}"#, "introspection.malformed"),
        (r#"{"token":"x","replay":"twice"}"#, "introspection.malformed"),
        (r#"{"token":"x","replay":true}"#, "introspection.malformed"),
        (r#"{"token":"x","token_type_hint":"access_token"}"#, "introspection.malformed"),
        (r#"{"token":"x","token":"y"}"#, "json.duplicate"),
    ] {
        let answer = daemon.connect().post("/v1/introspect", body).unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
        let rejected = records_of(&daemon, "request.rejected");
        assert_eq!(rejected.last().unwrap()["rules"], json!([code]), "{body}");
        assert_eq!(rejected.last().unwrap()["actor"]["name"], "tester", "{body}");
    }
    for path in ["/v1/introspect", "/v1/introspect/batch", "/v1/revoke"] {
        assert_eq!(daemon.get("sign.sock", path).unwrap().status, 405, "{path}");
    }
    assert_eq!(daemon.get("admin.sock", "/v1/revoke").unwrap().status, 405);
    assert_eq!(admin(&daemon, "/v1/introspect", &json!({ "token": "x" })).status, 404);
    assert!(records_of(&daemon, "jwt.introspected").is_empty());
}

#[test]
fn what_its_holder_shows_is_judged_and_what_is_encrypted_is_not() {
    let site = site();
    let daemon = site.start();
    let mut request = of("card", "alice");
    request["claims"]["note"] = "red".into();
    let card = sign(&daemon, &request);
    let answer = introspect(&daemon, &card.token);
    assert_eq!(
        (&answer["active"], &answer["sub"], &answer["note"]),
        (&json!(true), &json!("alice"), &json!("red"))
    );
    let (jws, shown) = card.token.split_once('~').unwrap();
    let shown: Vec<&str> = shown.split('~').filter(|part| !part.is_empty()).collect();
    assert_eq!(shown.len(), 2);
    let is_subject = |part: &&&str| {
        let text = jwsd::jose::base64url_decode(part).unwrap();
        String::from_utf8(text).unwrap().contains("\"sub\"")
    };
    let subject = shown.iter().find(is_subject).unwrap();
    let answer = introspect(&daemon, &format!("{jws}~{subject}~"));
    assert_eq!(
        (&answer["active"], &answer["sub"], answer.get("note")),
        (&json!(true), &json!("alice"), None)
    );
    // Of whom it is must be shown, or else a person that is revoked hides behind that.
    assert!(!is_active(&daemon, &format!("{jws}~")));
    assert_eq!(why(&daemon), "token.hidden");
    for broken in [
        jws.to_owned(),
        format!("{jws}~{subject}~{subject}~"),
        format!("{jws}~WyJhIiwiYiIsMV0~"),
        // A holder's proof, which nobody here can check.
        format!("{jws}~{subject}~garbage"),
        format!("{jws}~{subject}~{jws}"),
    ] {
        assert!(!is_active(&daemon, &broken));
        assert_eq!(why(&daemon), "token.form");
    }
    let sealed = sign(&daemon, &of("sealed", "alice"));
    assert_eq!(sealed.token.split('.').count(), 5);
    assert!(!is_active(&daemon, &sealed.token));
    assert_eq!(why(&daemon), "token.form");
}

#[test]
fn records_say_who_asked_of_what_and_nothing_personal() {
    let site = site();
    let daemon = site.start();
    let mut request = of_person("canary-subject", "canary-session", "canary-consent");
    request["claims"]["note"] = "canary-note".into();
    let jwt = sign(&daemon, &request);
    assert!(is_active(&daemon, &jwt.token));
    assert!(!is_active(&daemon, "canary-token"));
    let [active, inactive] = records_of(&daemon, "jwt.introspected").try_into().unwrap();
    assert_eq!((&active["outcome"], &active["jti"]), (&json!("success"), &json!(jwt.jti)));
    assert_eq!((&active["profile"], &active["actor"]["name"]), (&json!("person"), &json!("tester")));
    assert!(active["kid"].as_str().is_some_and(|kid| kid.len() == 43) && active["request"].is_string());
    assert_eq!((&inactive["outcome"], inactive.get("jti")), (&json!("denied"), None));
    for what in ["subject", "session", "consent"] {
        super::bed::revoke(&daemon, &json!({ what: format!("canary-{what}"), "reason": "compromised" }));
    }
    // What is wrong with a request is told without what it says.
    let mut said = String::new();
    for body in [
        json!({ "subject": "canary-subject", "session": "canary-session" }),
        json!({ "jti": "canary-jti" }),
        json!({ "subject": "canary-subject", "reason": "canary-reason" }),
        json!({ "token": "canary-token" }),
        json!({ "subject": ["canary-subject"] }),
    ] {
        let answer = admin(&daemon, "/v1/revoke", &body);
        assert_eq!(answer.status, 400, "{body}");
        said += &String::from_utf8(answer.body).unwrap();
    }
    assert_eq!(daemon.post("/v1/revoke", &json!({ "token": "canary-token" })).json(), json!({}));
    let revoked = records_of(&daemon, "jwt.revoked");
    assert_eq!(revoked.len(), 4, "{revoked:?}");
    assert!(revoked[..3].iter().all(|record| record["reason"] == "compromised"), "{revoked:?}");
    assert_eq!(json!([revoked[3]["outcome"], revoked[3]["rules"]]), json!(["denied", ["token.form"]]));
    said += &daemon.status().to_string();
    let (code, log) = daemon.stop();
    assert_eq!(code, Some(0));
    said += &log;
    for path in segments(&site.audit) {
        said += &std::fs::read_to_string(path).unwrap();
    }
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(site.path("state")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            bytes.extend(std::fs::read(path).unwrap());
        }
    }
    said += &String::from_utf8_lossy(&bytes);
    assert!(said.contains("jwt.introspected"));
    assert!(
        !said.contains("canary"),
        "{:?}",
        said.find("canary").map(|at| &said[at.saturating_sub(90)..at + 20])
    );
    assert!(!said.contains(jwt.token.rsplit('.').next().unwrap()), "a JWT got out");
}

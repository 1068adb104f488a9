//! The whole daemon while AWS KMS misbehaves and callers never rest: whatever happens, every JWT that anyone received
//! has its record, what is refused is refused with a documented code, and KMS is not answered with a flood.

#![allow(unreachable_pub, reason = "modules of one test program")]

mod common;
#[path = "common/fake_kms.rs"]
mod fake_kms;

#[path = "kms_daemon/bed.rs"]
mod bed;

use std::thread;
use std::time::{Duration, Instant};

use bed::{Bed, REGIONS, put_credentials};
use common::rounds;
use fake_kms::Fault;
use serde_json::Value;

/// For how long something is the matter: a moment in `scripts/test`, half a minute in a campaign.
fn seconds(few: u64, most: u64) -> Duration {
    Duration::from_secs(rounds(few).min(most))
}

/// Waits until KMS has answered so many requests like that; lifts quarantines as they come.
fn see(bed: &Bed, fault: &Fault, count: u64) {
    let (fake, began) = (&bed.fakes[0], Instant::now());
    let wanted = fake.faults() + count;
    while fake.faults() < wanted {
        if bed.is_quarantined() {
            bed.release();
        }
        assert!(began.elapsed() < Duration::from_secs(300), "{fault:?}: too few");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Each fault, now and then and all the time.
fn every_fault(name: &str, faults: &[Fault], codes: &[&str]) {
    // Each entry of `attempts` is a try then; hedges are tested elsewhere.
    let mut bed = Bed::new(&REGIONS[..1], "hedge = false");
    for fault in faults {
        let phase = bed.under_load(&format!("{name}, a fifth {fault:?}"), codes, |bed| {
            bed.fakes[0].script().share = at(fault, 20);
            see(bed, fault, rounds(10));
        });
        assert!(phase.jwts > 0, "{fault:?}");
        bed.under_load(&format!("{name}, all {fault:?}"), codes, |bed| {
            bed.fakes[0].script().share = at(fault, 100);
            see(bed, fault, 1);
            thread::sleep(Duration::from_millis(if rounds(0) > 0 { 1000 } else { 100 }));
            bed.fakes[0].script().share = None;
        });
        assert_eq!(bed.is_quarantined(), codes.contains(&"backend.untrusted"), "{fault:?}");
        if bed.is_quarantined() {
            assert_eq!(bed.daemon.get("public.sock", "/readyz").unwrap().status, 503, "{fault:?}");
            bed.release();
        }
        bed.recovers();
    }
    bed.end();
}

/// In so many of a hundred requests.
fn at(fault: &Fault, percent: u64) -> Option<(Fault, u64)> {
    Some((fault.clone(), percent))
}

#[test]
fn what_may_pass() {
    let faults = [
        Fault::Exception("KMSInternalException", 500),
        Fault::Exception("DependencyTimeoutException", 503),
        Fault::Exception("KeyUnavailableException", 500),
        Fault::Exception("NeverHeardOfException", 500),
        Fault::Html(502),
        Fault::Garbage,
        Fault::Close,
        Fault::Hang,
    ];
    every_fault("passes", &faults, &["backend.down", "backend.deadline"]);
}

#[test]
fn what_is_too_much() {
    let faults = [
        Fault::Exception("ThrottlingException", 400),
        Fault::Exception("LimitExceededException", 400),
        Fault::Html(429),
    ];
    every_fault("throttled", &faults, &["backend.busy"]);
}

#[test]
fn what_an_operator_must_mend() {
    let faults = [
        Fault::Exception("KMSInvalidStateException", 400),
        Fault::Exception("DisabledException", 400),
        Fault::Exception("NotFoundException", 400),
        Fault::Exception("AccessDeniedException", 400),
    ];
    every_fault("mend", &faults, &["backend.misconfigured", "backend.untrusted"]);
}

#[test]
fn what_is_configured_wrongly() {
    let faults = [
        Fault::Exception("InvalidKeyUsageException", 400),
        Fault::Exception("NeverHeardOfException", 400),
        Fault::Html(404),
    ];
    every_fault("misconfigured", &faults, &["backend.misconfigured", "backend.down"]);
}

#[test]
fn what_must_never_be_used() {
    every_fault("forged", &[Fault::BadSignature, Fault::Truncated], &["backend.untrusted"]);
}

#[test]
fn what_would_be_our_own_defect() {
    let faults =
        [Fault::Exception("ValidationException", 400), Fault::Exception("InvalidGrantTokenException", 400)];
    every_fault("defect", &faults, &["backend.bug", "backend.down"]);
}

#[test]
fn what_credentials_would_help_against_if_there_were_any() {
    let faults = [
        Fault::Exception("ExpiredTokenException", 400),
        Fault::Exception("UnrecognizedClientException", 400),
        Fault::Exception("IncompleteSignature", 400),
    ];
    every_fault("credentials", &faults, &["backend.down"]);
}

#[test]
fn throttling_of_a_third() {
    let mut bed = Bed::new(&REGIONS[..1], "");
    let phase = bed.under_load("30 % throttled", &["backend.busy"], |bed| {
        bed.fakes[0].script().share = at(&Fault::Exception("ThrottlingException", 400), 30);
        thread::sleep(seconds(2, 30));
    });
    assert!(phase.jwts > phase.refused, "{} JWTs, {} refused", phase.jwts, phase.refused);
    bed.fakes[0].script().share = None;
    bed.recovers();
    bed.end();
}

#[test]
fn black_hole() {
    let mut bed = Bed::new(&REGIONS[..1], "");
    let hole = seconds(1, 5);
    let phase = bed.under_load("black hole", &["backend.down", "backend.deadline"], |bed| {
        thread::sleep(Duration::from_millis(500));
        bed.fakes[0].script().black_hole = true;
        thread::sleep(hole);
        bed.fakes[0].script().black_hole = false;
    });
    assert!(phase.jwts > 0);
    println!("kms-daemon: black hole of {hole:?}: the first JWT {:?} after its end", bed.recovers());
    bed.under_load("after the black hole", &[], |_| thread::sleep(Duration::from_millis(500)));
    bed.end();
}

/// The access key in use ends again and again, and there is always another one: nobody notices.
#[test]
fn credentials_end_and_are_renewed() {
    let mut bed = Bed::new(&REGIONS[..1], "");
    bed.under_load("credentials renewed", &[], |bed| {
        for round in 0..rounds(10) {
            let (old, new) = if round % 2 == 0 { ("first", "second") } else { ("second", "first") };
            put_credentials(&bed.site, new);
            bed.fakes[0].script().refused = [(old.to_owned(), "ExpiredTokenException")].into();
            bed.take_turns();
        }
    });
    bed.under_load("credentials missing", &["backend.down"], |bed| {
        bed.fakes[0].script().refused =
            ["first", "second"].map(|id| (id.to_owned(), "ExpiredTokenException")).into();
        thread::sleep(seconds(1, 5));
    });
    put_credentials(&bed.site, "third");
    println!("kms-daemon: {:?} after there were newer credentials, a JWT", bed.recovers());
    bed.end();
}

#[test]
fn clocks_differ_by_ten_minutes() {
    let mut bed = Bed::new(&REGIONS[..1], "");
    bed.under_load("clocks", &[], |bed| {
        for ahead in [600, -600, 0].repeat(usize::try_from(rounds(4)).unwrap()) {
            bed.fakes[0].script().ahead = ahead;
            bed.take_turns();
        }
    });
    bed.end();
}

/// One multi-Region key in two Regions: whatever one of them does, nobody is refused.
#[test]
fn two_regions() {
    let mut bed = Bed::new(&REGIONS, "");
    let arn = bed.fakes[0].script().keys.keys().next().unwrap().clone();
    let disable = |bed: &Bed, state: &str| {
        bed.fakes[0].script().keys.get_mut(&arn).unwrap().state = state.to_owned();
    };
    for what in ["internal", "throttled", "hangs", "denied", "disabled", "wrong", "black hole"] {
        let fault = match what {
            "internal" => Some(Fault::Exception("KMSInternalException", 500)),
            "throttled" => Some(Fault::Exception("ThrottlingException", 400)),
            "denied" => Some(Fault::Exception("AccessDeniedException", 400)),
            "wrong" => Some(Fault::BadSignature),
            "hangs" => Some(Fault::Hang),
            _ => None,
        };
        let phase = bed.under_load(&format!("one of two Regions: {what}"), &[], |bed| {
            bed.fakes[0].script().share = fault.map(|fault| (fault, 100));
            bed.fakes[0].script().black_hole = what == "black hole";
            disable(bed, if what == "disabled" { "Disabled" } else { "Enabled" });
            thread::sleep(seconds(1, 5));
            bed.fakes[0].script().share = None;
            bed.fakes[0].script().black_hole = false;
            disable(bed, "Enabled");
        });
        assert!(phase.jwts > 0, "{what}");
        if bed.is_quarantined() {
            bed.release();
        }
        let before = bed.fakes[0].outcome("ok");
        common::eventually("the Region signs again", || {
            bed.recovers();
            bed.fakes[0].outcome("ok") > before
        });
    }
    bed.end();
}

/// Whoever may move an alias cannot swap the key under a daemon: what is kept is the ARN.
#[test]
fn an_alias_is_looked_up_once() {
    let bed = Bed::new(&REGIONS[..1], "");
    let fake = &bed.fakes[0];
    let arn = fake.script().aliases["alias/access"].clone();
    let config = bed.site.config_path().display().to_string();
    let shown = bed.site.jwsd(&["keys", "show", "--config", &config, "--json", "access"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown[0]["id"], &shown[0]["name"]), (&Value::from(&*arn), &Value::from(&*arn)));
    let kid = bed.daemon.key_set()["keys"][0]["kid"].clone();

    let other = fake.add("ECC_NIST_P256");
    fake.script().aliases.insert("alias/access".to_owned(), other);
    assert_eq!(bed.daemon.stop().0, Some(0));
    let daemon = bed.site.start();
    assert_eq!(daemon.key_set()["keys"][0]["kid"], kid);
    assert_eq!(daemon.sign("access").status, 200);
}

/// The daemon's log against CloudTrail's, while somebody else has used the key once.
#[test]
fn a_signature_behind_the_daemons_back_is_found() {
    // A hedge that nobody waited for may have been signed or not, and would answer for it.
    let bed = Bed::new(&REGIONS[..1], "hedge = false");
    let fake = &bed.fakes[0];
    let arn = fake.script().aliases["alias/access"].clone();
    let kid = bed.daemon.key_set()["keys"][0]["kid"].as_str().unwrap().to_owned();
    for _ in 0..200 {
        assert_eq!(bed.daemon.sign("access").status, 200);
    }
    let (daemon, site) = (bed.daemon, bed.site);
    assert_eq!(daemon.stop().0, Some(0));

    let trail = site.path("trail.json");
    let reconcile = || {
        let records = serde_json::json!({ "Records": fake.script().trail });
        std::fs::write(&trail, records.to_string()).unwrap();
        let (log, trail) = (site.audit.to_str().unwrap(), trail.to_str().unwrap());
        site.jwsd(&[
            "audit",
            "reconcile",
            log,
            "--kid",
            &kid,
            "--cloudtrail",
            trail,
            "--kms-key",
            &arn,
            "--json",
        ])
    };
    let agreed = reconcile();
    let found: Value = serde_json::from_slice(&agreed.stdout).unwrap();
    assert_eq!((agreed.status.code(), &found["unanswered"]), (Some(0), &Value::Array(vec![])), "{found}");
    assert!(found["signatures"].as_u64().unwrap() > 200, "self-tests are in it: {found}");

    sign_behind(fake, &arn);
    let output = reconcile();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), found["unanswered"].as_array().unwrap().len()),
        (Some(1), 1),
        "{found}"
    );
    println!("kms-daemon: reconcile: {} signatures, 1 of them without a record: found", found["signatures"]);
}

/// One request of somebody who has the rights.
fn sign_behind(fake: &fake_kms::FakeKms, arn: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(fake.url().trim_start_matches("http://")).unwrap();
    let message = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [7; 32]);
    let body = serde_json::json!({
        "KeyId": arn, "Message": message, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256",
    })
    .to_string();
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: kms\r\nx-amz-target: TrentService.Sign\r\nx-amz-date: {date}\r\n\
         authorization: Credential=stranger/x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

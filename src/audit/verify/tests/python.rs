//! The second implementation comes to the same verdicts.

use super::changed::{Bench, Case};
use super::maker::two_hundred;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

pub(super) fn segments(segments: &[(u64, Vec<u8>)]) -> Value {
    let name = |first| crate::audit::segment::segment_name(first);
    segments.iter().map(|(first, bytes)| json!([name(*first), BASE64.encode(bytes)])).collect()
}

fn line(case: &Case) -> String {
    let mut line = match &case.splice {
        None => json!({ "segments": segments(&case.segments) }),
        Some(splice) => json!({
            "splices": [[splice.segment, splice.begin, splice.length, crate::jose::hex(&splice.bytes)]],
        }),
    };
    if let Some(kept) = case.kept {
        line["kept"] = kept.into();
    }
    if let Some(base) = &case.base {
        line["base"] = base.as_ref().map(|base| BASE64.encode(base)).into();
    }
    if let Some(archive) = &case.archive {
        line["archive"] = segments(archive);
    }
    if let Some(keys) = &case.keys {
        line["keys"] = json!(keys);
    }
    format!("{line}\n")
}

/// What it says of each; `None` without the Python environment of `scripts/test`.
pub(super) fn judge(bench: &Bench, cases: &[Case]) -> Option<Vec<String>> {
    let base = json!({
        "segments": segments(&bench.log.segments),
        "keys": [bench.first.key.to_vkey()],
        "witness": bench.log.witness(),
        "base": bench.log.base.as_ref().map(|base| BASE64.encode(base.text())),
    });
    judge_as(&base, cases)
}

/// The same, of changes of any log.
pub(super) fn judge_as(base: &Value, cases: &[Case]) -> Option<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), Into::into)
        .join("venv/bin/python");
    if !python.exists() {
        println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
        return None;
    }
    let mut child = Command::new(python)
        .arg(root.join("tests/interop/audit_batch.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            input.write_all(format!("{base}\n").as_bytes()).unwrap();
            cases.iter().for_each(|case| input.write_all(line(case).as_bytes()).unwrap());
        });
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    let said: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(said.len(), cases.len());
    Some(said)
}

#[test]
fn tamper_python_agrees() {
    for make in [two_hundred, shorten::retained] {
        agrees(&Bench::new(make));
    }
}

fn agrees(bench: &Bench) {
    let mut cases = vec![Case::whole("nothing changed".to_owned(), bench.log.segments.clone())];
    cases.extend(tamper::all_cases(bench, 200));
    let Some(said) = judge(bench, &cases) else { return };
    assert_eq!(said[0], "sound");
    let mut sound = 0;
    for (case, said) in cases.iter().zip(&said) {
        let ours =
            if case.splice.is_some() { bench.is_sound_from(case.from, case) } else { bench.is_sound(case) };
        assert_eq!(ours, said == "sound", "{}: {said}", case.what);
        sound += u32::from(ours);
    }
    println!("tamper: {} logs, one verdict on each, {sound} sound", cases.len());
}

#[test]
fn tamper_python_agrees_on_sound_logs_of_every_shape() {
    for make in [gaps, live, back_and_forth, shorten::late, shorten::torn] {
        let bench = Bench::new(make);
        let cases = [Case::whole("nothing changed".to_owned(), bench.log.segments.clone())];
        let Some(said) = judge(&bench, &cases) else { return };
        assert_eq!(said, ["sound"]);
    }
}

#[test]
fn tamper_python_agrees_on_what_an_acceptance_does_not_excuse() {
    let bench = Bench::new(told_again);
    let mut again = bench.log.clone();
    again.cut(9);
    let mut escaped = bench.log.clone();
    let mut line = Vec::new();
    let body = br#""event":"jwt.denied","outcome":"succ\u0065ss","made":{"outcome":"success"}"#;
    crate::audit::line::encode(&mut line, escaped.next, "2026-11-24T08:00:00.123456Z", body);
    escaped.segments[0].1.extend(line);
    let mut forged = bench.log.clone();
    forged.accept(&bench.second.note(&bench.log.tree));
    forged.seal(&bench.first);
    let cases = [("cut again", again), ("escaped", escaped), ("forged", forged)]
        .map(|(what, log)| Case::whole(what.to_owned(), log.segments));
    let Some(said) = judge(&bench, &cases) else { return };
    for (case, said) in cases.iter().zip(&said) {
        assert!(!bench.is_sound(case) && said != "sound", "{}: {said}", case.what);
    }
    assert!(said[0].contains("of 13 records, is in none"), "{}", said[0]);
    assert!(said[1].contains("outcome is not a text without escapes"), "{}", said[1]);
    assert!(said[2].contains("no key of this log signed"), "{}", said[2]);
}

#[test]
fn tamper_python_agrees_on_how_an_acceptance_is_written() {
    let bench = Bench::new(two_hundred);
    let note = serde_json::to_string(&bench.first.note(&bench.log.tree)).unwrap();
    let cases = [
        (r#""object":"w","size":9"#.to_owned(), true),
        (r#""note":null,"object":"w","size":9"#.to_owned(), true),
        (format!(r#""note":{note}"#), true),
        (format!(r#""note":{note},"object":"w","size":9"#), true),
        (format!(r#""note":{note},"object":null,"size":null"#), true),
        (format!(r#""note":{note},"object":7"#), false),
        (format!(r#""note":{note},"object":["w"]"#), false),
        (format!(r#""note":{note},"size":-1"#), false),
        (format!(r#""note":{note},"size":"x""#), false),
        (format!(r#""note":{note},"size":9.0"#), false),
        (format!(r#""note":{note},"size":18446744073709551616"#), false),
        (format!(r#""note":{note},"size":9,"size":9"#), false),
        (format!(r#""note":{note},"note":null"#), false),
        (format!(r#""note":null,"note":{note}"#), false),
        (r#""object":"w","size":9,"size":9"#.to_owned(), false),
        (r#""object":"w","object":"w","size":9"#.to_owned(), false),
        (r#""object":"w","size":9,"note":null,"note":null"#.to_owned(), false),
        (r#""object":"w","size":9,"note":7"#.to_owned(), false),
        (r#""object":"w","size":true"#.to_owned(), false),
        (r#""object":"w""#.to_owned(), false),
        (r#""size":9"#.to_owned(), false),
    ];
    let made = cases.iter().map(|(members, _)| {
        let mut log = bench.log.clone();
        let body = format!(r#""event":"log.accepted","outcome":"success",{members}"#);
        let mut line = Vec::new();
        crate::audit::line::encode(&mut line, log.next, "2026-11-24T08:00:00.123456Z", body.as_bytes());
        log.segments.last_mut().unwrap().1.extend(line);
        Case::whole(members.clone(), log.segments)
    });
    let made: Vec<Case> = made.collect();
    let said = judge(&bench, &made);
    for (at, (case, (_, sound))) in made.iter().zip(&cases).enumerate() {
        assert_eq!(bench.is_sound(case), *sound, "{}", case.what);
        if let Some(said) = &said {
            assert_eq!(said[at] == "sound", *sound, "{}: {}", case.what, said[at]);
        }
    }
}

/// 15 records, cut to 7, which was accepted; then told up to 18.
fn told_again(first: &Signer, _: &Signer) -> Maker {
    let mut log = Maker::new();
    for _ in 0..3 {
        log.issue(4);
        log.seal(first);
    }
    log.cut(7);
    log.accept(&log.notes[2].clone());
    log.seal(first);
    log.issue(4);
    log.seal(first);
    log.issue(4);
    log.seal(first);
    // Once more, by whoever may append to the witness.
    log.notes.push(log.notes[2].clone());
    log
}

/// Records of unknown durability that are there, torn ones, and a gap within a gap.
fn gaps(first: &Signer, _: &Signer) -> Maker {
    let mut log = Maker::new();
    log.issue(5);
    log.seal(first);
    let before = (log.tree.clone(), log.last);
    log.gap(4, 2, true);
    (log.tree, log.last) = before;
    log.gap(9, 1, false);
    log.issue(4);
    log.seal(first);
    log
}

/// Records after the last seal, and part of one.
fn live(first: &Signer, _: &Signer) -> Maker {
    let mut log = Maker::new();
    log.issue(5);
    log.seal(first);
    log.issue(5);
    log.segments[0].1.extend(b"{\"seq\":12,\"time\":\"");
    log
}

/// A key that comes back, and an acceptance.
fn back_and_forth(first: &Signer, second: &Signer) -> Maker {
    let mut log = Maker::new();
    log.introduce(second);
    log.seal(first);
    log.seal(second);
    log.introduce(first);
    log.seal(second);
    log.seal(first);
    let mut lost = log.clone();
    lost.issue(30);
    lost.seal(first);
    let lost = lost.notes.pop().unwrap();
    log.accept(&lost);
    log.seal(first);
    log.notes.push(lost);
    log
}

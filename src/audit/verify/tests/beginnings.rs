//! What is done to the beginning of a log that is not kept from its first record on, and who finds it.

use super::changed::{Bench, Case};
use super::maker::{Maker, Signer, two_hundred};
use super::python::judge;
use super::shorten::{Place, look, put, retained};
use super::*;

/// A base with another value of one of its members.
fn bases(base: &str) -> Vec<(String, Vec<u8>)> {
    let mut changed: Vec<(String, Vec<u8>)> = Vec::new();
    for at in 0..base.len() {
        for bit in 0..8 {
            let mut bytes = base.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            changed.push((format!("bit {bit} of byte {at} of the base flipped"), bytes));
        }
        changed.push((format!("base cut at {at}"), base.as_bytes()[..at].to_vec()));
    }
    let value: serde_json::Value = serde_json::from_str(base).unwrap();
    let other = Signer::ed25519().key.to_vkey();
    for (name, other) in [
        ("after", serde_json::json!(value["after"].as_u64().unwrap() + 1)),
        ("after", serde_json::json!(value["after"].as_u64().unwrap() - 1)),
        ("size", serde_json::json!(value["size"].as_u64().unwrap() ^ 6)),
        ("vkey", serde_json::json!(other)),
    ] {
        let written = base.replacen(&value[name].to_string(), &other.to_string(), 1);
        assert_ne!(written, base);
        changed.push((format!("{name} of the base changed"), written.into_bytes()));
    }
    let peaks: Vec<_> = value["peaks"].as_array().unwrap().iter().map(ToString::to_string).collect();
    let swapped = base.replace(&peaks[0], "x").replace(&peaks[1], &peaks[0]).replace('x', &peaks[1]);
    changed.push(("peaks of the base swapped".to_owned(), swapped.into_bytes()));
    changed
}

/// What somebody does to the beginning of a log, its base and its archive.
fn beginnings(bench: &Bench, before: &Maker) -> Vec<Case> {
    let (log, base) = (&bench.log, bench.log.base.as_ref().unwrap());
    let of = |what: &str, segments: &[(u64, Vec<u8>)]| Case::whole(what.to_owned(), segments.to_vec());
    let mut cases = Vec::new();
    for (what, base) in bases(&base.text()) {
        cases.push(Case { base: Some(Some(base)), ..of(&what, &log.segments) });
    }
    cases.push(Case { base: Some(None), ..of("base removed", &log.segments) });
    let going = |kept| look(before, kept).goes.unwrap().base.text().into_bytes();
    cases.push(Case { base: Some(Some(going(1))), ..of("an older base put back", &log.segments) });
    cases.push(Case { base: Some(Some(going(4))), ..of("a later base", &log.segments) });
    cases.push(Case {
        base: Some(Some(going(4))),
        ..of("a later base, and removed up to there", &log.segments[1..])
    });
    cases.push(of("one more segment removed", &log.segments[1..]));
    cases.push(of("all but the last segment removed", &log.segments[log.segments.len() - 1..]));
    let (other, another) = (Signer::ed25519(), Signer::es256());
    let foreign = retained(&other, &another).base.unwrap().text().into_bytes();
    cases.push(Case { base: Some(Some(foreign)), ..of("base of another log", &log.segments) });
    // What the base says was never said, or not sealed.
    let unsaid = before.segments[3..].to_vec();
    cases.push(of("log.archived cut off", &unsaid));
    let mut alone = before.clone();
    let said = log
        .segments
        .last()
        .unwrap()
        .1
        .split(|&b| b == b'\n')
        .find(|line| line.windows(12).any(|w| w == b"log.archived"));
    alone.segments.last_mut().unwrap().1.extend([said.unwrap(), b"\n"].concat());
    cases.push(of("nothing after log.archived", &alone.segments[3..]));
    // The archive is read as one log with what is kept.
    let archive = before.segments[..3].to_vec();
    let old = bench.second.key.to_vkey();
    let with = |what: &str, archive: Vec<(u64, Vec<u8>)>| Case {
        archive: Some(archive),
        keys: Some(vec![old.clone()]),
        ..of(what, &log.segments)
    };
    for at in 0..3 {
        let mut missing = archive.clone();
        missing.remove(at);
        cases.push(with(&format!("archived segment {at} missing"), missing));
        for byte in (0..archive[at].1.len()).step_by(211) {
            let mut changed = archive.clone();
            changed[at].1[byte] ^= 2;
            cases.push(with(&format!("byte {byte} of archived segment {at} changed"), changed));
        }
        let mut cut = archive.clone();
        cut[at].1.truncate(archive[at].1.len() / 2);
        cases.push(with(&format!("archived segment {at} cut"), cut));
    }
    let mut swapped = archive.clone();
    (swapped[0].1, swapped[1].1) = (archive[1].1.clone(), archive[0].1.clone());
    cases.push(with("archived segments swapped", swapped));
    let foreign = two_hundred(&another, &other).segments[..3].to_vec();
    cases.push(with("the archive of another log", foreign));
    cases
}

/// A log with a base, as files.
fn is_sound(bench: &Bench, case: &Case) -> bool {
    let log = Maker { segments: case.segments.clone(), base: None, ..bench.log.clone() };
    let place = Place::new(&log);
    let good = bench.log.base.as_ref().map(|base| base.text().into_bytes());
    if let Some(base) = case.base.clone().unwrap_or(good) {
        put(&place.dir().join("base"), &base);
    }
    let keys = case.keys.iter().flatten().map(|key| SealKey::from_vkey(key).unwrap()).collect();
    let mut trust = if case.keys.is_some() { Trust::new(keys) } else { trust(&[&bench.first], "") };
    trust.add_checkpoints("witness", &bench.log.witness());
    if let Some(archive) = &case.archive {
        super::maker::write(archive, &place.archive());
        return place.with_archive(trust).is_sound();
    }
    place.report(trust).is_sound()
}

#[test]
fn tamper_beginnings() {
    let bench = Bench::new(retained);
    // The same, before anything went.
    let mut before = bench.log.clone();
    before.base = None;
    before.segments.splice(0..0, before.gone.clone());
    let (_, newest) = before.segments.last_mut().unwrap();
    let said = newest.windows(12).position(|w| w == b"log.archived").unwrap();
    newest.truncate(newest[..said].iter().rposition(|&b| b == b'\n').unwrap() + 1);
    let nothing = Case::whole("nothing changed".to_owned(), bench.log.segments.clone());
    let archive = Case {
        archive: Some(before.segments[..3].to_vec()),
        keys: Some(vec![bench.second.key.to_vkey()]),
        ..Case::whole("all of it".to_owned(), bench.log.segments.clone())
    };
    assert!(is_sound(&bench, &nothing) && is_sound(&bench, &archive));
    let cases = beginnings(&bench, &before);
    for case in &cases {
        assert!(!is_sound(&bench, case), "not found: {}", case.what);
    }
    let sound = [nothing, archive];
    if let Some(said) = judge(&bench, &[&sound[..], &cases[..]].concat()) {
        assert_eq!(said[..2], ["sound", "sound"]);
        for (case, said) in cases.iter().zip(&said[2..]) {
            assert_ne!(said, "sound", "{}", case.what);
        }
    }
    println!("tamper: {} changes of a log's beginning, all found", cases.len());
}

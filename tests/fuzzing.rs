//! The checks of the fuzz targets on their seeds and on mutations of these, with any compiler. Writes the seeds where
//! `scripts/torture fuzz-...` finds them.

#[path = "fuzz/checks.rs"]
mod checks;
mod common;

use std::fs;
use std::path::Path;

use common::{Dice, rounds};
use serde_json::Value;

/// Requests: of the examples' cases, and those of the policy's own tests under the name of a profile that there is.
fn requests() -> Vec<Vec<u8>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let mut seeds = Vec::new();
    for (name, text) in checks::POLICIES {
        let config = checks::loader().parse(text, name).unwrap();
        let path = examples.join(name.replace(".toml", ".cases.toml"));
        let Ok(cases) = fs::read_to_string(path) else { continue };
        let cases = checks::loader().cases(&cases, name, &config).unwrap_or_else(|faults| panic!("{faults}"));
        seeds.extend(cases.into_iter().map(|case| case.request.to_string().into_bytes()));
    }
    assert!(seeds.len() > 30);
    let lines = include_str!("../src/policy/tests/requests.txt").lines();
    for (request, _) in lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" => "))
    {
        let claims = request.split_once(" {").filter(|(profile, _)| !profile.contains('{'));
        let request =
            claims.map(|(_, claims)| format!("{{\"profile\":\"access-token\",\"claims\":{{{claims}}}"));
        seeds.extend(request.map(String::into_bytes));
    }
    seeds
}
fn conditions() -> Vec<Vec<u8>> {
    include_str!("fuzz/conditions.txt").lines().map(|line| line.as_bytes().to_vec()).collect()
}
fn policy_files() -> Vec<Vec<u8>> {
    checks::POLICIES.into_iter().map(|(_, text)| text.as_bytes().to_vec()).collect()
}

/// Bytes that mean something in JSON or TOML, or that should not be there.
const ODD: &[u8] = b"\"\\{}[]:,.=0-9e\n\x00\xff\xe2\x80\x8baZ";

/// Bytes changed, cut out, doubled, put in, or taken from another seed.
fn mutate(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut below = |limit: usize| usize::try_from(dice.below(limit.max(1) as u64)).unwrap();
    let mut bytes = seeds[below(seeds.len())].clone();
    for _ in 0..=below(4) {
        let start = below(bytes.len());
        let end = (start + below(24)).min(bytes.len());
        let piece = match below(4) {
            0 => Vec::new(),
            1 => [&bytes[start..end], &bytes[start..end]].concat(),
            2 => {
                let other = &seeds[below(seeds.len())];
                let from = below(other.len());
                other[from..(from + below(48)).min(other.len())].to_vec()
            }
            _ => (0..=below(3)).map(|_| ODD[below(ODD.len())]).collect(),
        };
        bytes.splice(start..end, piece);
    }
    bytes
}
/// For libFuzzer.
fn write(target: &str, seeds: &[Vec<u8>]) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz-seeds").join(target);
    fs::create_dir_all(&directory).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(directory.join(number.to_string()), seed).unwrap();
    }
}

#[test]
fn requests_hold() {
    let seeds = requests();
    write("request", &seeds);
    let granted: usize = seeds.iter().map(|seed| checks::request(seed)).sum();
    assert!(granted >= 8, "seeds reach grants: {granted}");
    let mut dice = Dice::new("fuzz-request");
    let mut granted = 0;
    let mut whole = 0;
    for _ in 0..rounds(10_000) {
        let bytes = mutate(&mut dice, &seeds);
        whole += usize::from(serde_json::from_slice::<Value>(&bytes).is_ok());
        granted += checks::request(&bytes);
    }
    // How many are granted is chance; that seeds reach grants was seen above.
    assert!(whole > granted, "{granted} of {whole} grants");
}

#[test]
fn policy_files_hold() {
    let seeds = policy_files();
    write("policy_file", &seeds);
    assert!(seeds.iter().all(|seed| checks::policy_file(seed)));
    let mut dice = Dice::new("fuzz-policy");
    let good = (0..rounds(1000)).filter(|_| checks::policy_file(&mutate(&mut dice, &seeds))).count();
    assert!(good > 0, "some mutations are harmless");
}

#[test]
fn conditions_hold() {
    let seeds = conditions();
    write("condition", &seeds);
    let answers: Vec<_> = seeds.iter().map(|seed| checks::condition(seed)).collect();
    assert!(answers.iter().all(|answer| answer.compiled), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.yes > 0 && answer.no > 0 && answer.errors > 0));
    let mut dice = Dice::new("fuzz-condition");
    let mut compiled = 0;
    let rounds = rounds(1000);
    for _ in 0..rounds {
        compiled += u64::from(checks::condition(&mutate(&mut dice, &seeds)).compiled);
    }
    assert!(compiled > 0 && compiled < rounds, "{compiled} of {rounds} are conditions");
}

//! How long policy takes for one request, read out of its parsed tree and judged, granted or refused; and what the
//! encryption of a JWT adds.
//!
//! The profile is the largest of `config/examples/`, with its condition and without, the request the largest that its
//! cases show to be granted. `--count N NAME` does one thing N times and nothing else, for callgrind; `--list` prints
//! the names.

mod jwe;

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion};
use jwsd::caller::Caller;
use jwsd::config::{Case, Config, Expect, Loader};
use jwsd::policy::Request;
use jwsd::sys::users::Assumed;
use serde_json::{Value, json};

/// Something to measure, under a name.
struct Measured {
    name: String,
    /// Given a copy of it.
    input: Value,
    run: Box<dyn Fn(Value)>,
}

/// A profile's evaluation of one request.
struct Evaluation {
    name: String,
    config: Config,
    caller: Caller,
    now: jiff::Timestamp,
    request: Value,
}
impl Evaluation {
    /// Whether it is granted.
    fn run(&self, request: Value) -> bool {
        let judged = Request::from_json(request)
            .and_then(|request| self.config.policy.authorize(&self.caller, request, self.now));
        judged.is_ok()
    }
    fn measured(self, more: &str, is_granted: bool) -> Measured {
        assert_eq!(self.run(self.request.clone()), is_granted, "{}", self.name);
        let (name, input) = (format!("policy/{}{more}", self.name), self.request.clone());
        let run = Box::new(move |request| assert_eq!(black_box(self.run(request)), is_granted));
        Measured { name, input, run }
    }
}

/// The configuration without the conditions of its profiles.
fn unconditional(text: &str) -> String {
    let mut file: toml::Table = text.parse().unwrap();
    for (_, profile) in file["profile"].as_table_mut().unwrap() {
        let profile = profile.as_table_mut().unwrap();
        profile.remove("condition");
        profile.remove("condition_message");
    }
    file.to_string()
}

/// Granted requests of the example `name`, with the number of rules for claims in their profiles.
fn granted(name: &str, rewrite: fn(&str) -> String) -> Vec<(usize, Evaluation)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let read = |end: &str| fs::read_to_string(directory.join(format!("{name}{end}"))).unwrap();
    let users = Assumed::default();
    let loader = Loader { users: &users, directory: Some(&directory), running: None };
    let load = || loader.parse(&rewrite(&read(".toml")), name).unwrap_or_else(|faults| panic!("{faults}"));
    let cases = loader.cases(&read(".cases.toml"), name, &load()).unwrap_or_else(|faults| panic!("{faults}"));
    let granted = cases.into_iter().filter(|case| matches!(case.expect, Expect::Grant(_)));
    let evaluation = |case: Case| {
        let config = load();
        let caller = config.callers.identify(Arc::clone(&case.process)).unwrap();
        let profile = case.request["profile"].as_str().unwrap();
        let profile = config.policy.profiles().find(|known| known.name.as_str() == profile).unwrap();
        let (size, name) = (profile.claims.len(), format!("{name}/{}", profile.name));
        (size, Evaluation { name, config, caller, now: case.now, request: case.request })
    };
    granted.map(evaluation).collect()
}

/// The largest profile of all, with a request that it grants and the same request with a claim too many.
fn evaluations() -> Vec<Measured> {
    let examples = ["oauth-server", "github-app", "microservices", "health", "payments"];
    let size = |(profile, evaluation): &(usize, Evaluation)| {
        (*profile, evaluation.request["claims"].as_object().map_or(0, |claims| claims.len()))
    };
    let largest = |rewrite| {
        let all = examples.into_iter().flat_map(|name| granted(name, rewrite));
        all.max_by_key(size).unwrap().1
    };
    let mut refused = largest(str::to_owned);
    refused.request["claims"]["not_of_the_profile"] = json!("x");
    vec![
        largest(str::to_owned).measured("", true),
        largest(unconditional).measured("-unconditional", true),
        refused.measured("-refused", false),
    ]
}

fn main() {
    let mut all = evaluations();
    all.extend(jwe::encryptions());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--list"] => all.iter().for_each(|measured| println!("{}", measured.name)),
        ["--count", count, name] => {
            let measured = all.iter().find(|known| known.name == *name).unwrap();
            // A copy of the request is part of each, as the parsed tree of a request is.
            for _ in 0..count.parse::<u32>().unwrap() {
                (measured.run)(black_box(measured.input.clone()));
            }
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for Measured { name, input, run } in &all {
                criterion.bench_function(name, |bencher| {
                    bencher.iter_batched(|| input.clone(), run, BatchSize::SmallInput);
                });
            }
            criterion.final_summary();
        }
    }
}

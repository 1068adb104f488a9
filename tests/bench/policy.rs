//! How long policy takes for one request: read out of its parsed tree and judged, granted or refused.
//!
//! The profile is the largest of `config/examples/`, the request the largest that its cases show to be granted.
//! `--count N NAME` evaluates N times and nothing else, for callgrind; `--list-evaluations` prints the names.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion};
use jwsd::caller::Caller;
use jwsd::config::{Config, Expect, Loader};
use jwsd::policy::Request;
use jwsd::sys::users::Assumed;
use serde_json::{Value, json};

/// What is evaluated, under a name.
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
}

/// Granted requests of the example `name`, by the number of rules for claims in their profiles.
fn granted(name: &str) -> Vec<(usize, Evaluation)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let read = |end: &str| fs::read_to_string(directory.join(format!("{name}{end}"))).unwrap();
    let loader = Loader { users: &Assumed::default(), directory: Some(&directory), running: None };
    let load = || loader.parse(&read(".toml"), name).unwrap_or_else(|faults| panic!("{faults}"));
    let cases = loader.cases(&read(".cases.toml"), name, &load()).unwrap_or_else(|faults| panic!("{faults}"));
    let granted = cases.into_iter().filter(|case| matches!(case.expect, Expect::Grant(_)));
    let evaluation = |case: jwsd::config::Case| {
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
fn evaluations() -> Vec<(Evaluation, bool)> {
    let examples = ["oauth-server", "github-app", "microservices", "health", "payments"];
    let size = |(profile, evaluation): &(usize, Evaluation)| {
        (*profile, evaluation.request["claims"].as_object().map_or(0, |claims| claims.len()))
    };
    let largest = || examples.into_iter().flat_map(granted).max_by_key(size).unwrap().1;
    let mut refused = largest();
    refused.name.push_str("-refused");
    refused.request["claims"]["not_of_the_profile"] = json!("x");
    vec![(largest(), true), (refused, false)]
}

fn main() {
    let evaluations = evaluations();
    for (evaluation, is_granted) in &evaluations {
        assert_eq!(evaluation.run(evaluation.request.clone()), *is_granted, "{}", evaluation.name);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--list-evaluations"] => {
            evaluations.iter().for_each(|(evaluation, _)| println!("{}", evaluation.name))
        }
        ["--count", count, name] => {
            let (evaluation, _) = evaluations.iter().find(|(known, _)| known.name == *name).unwrap();
            // A copy of the request is part of each, as the parsed tree of a request is.
            for _ in 0..count.parse::<u32>().unwrap() {
                black_box(evaluation.run(black_box(evaluation.request.clone())));
            }
        }
        _ => {
            let mut criterion = Criterion::default().configure_from_args();
            for (evaluation, _) in &evaluations {
                criterion.bench_function(&format!("policy/{}", evaluation.name), |bencher| {
                    bencher.iter_batched(
                        || evaluation.request.clone(),
                        |request| evaluation.run(request),
                        BatchSize::SmallInput,
                    );
                });
            }
            criterion.final_summary();
        }
    }
}

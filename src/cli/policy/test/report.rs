//! What a run of cases came to, for people and for machines.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::super::output::{Failure, line};
use super::answer::{Answer, Granted};
use crate::config::{Case, Config, Expect};
use crate::policy::{self, Sentence};

/// A case and what came of it.
pub(super) struct Ran {
    pub(super) file: String,
    pub(super) case: Case,
    pub(super) answer: Answer,
}

/// The whole run.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    passed: usize,
    failed: usize,
    cases: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage<'a>>,
}
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    line: usize,
    name: &'a str,
    passed: bool,
    /// `granted`, or the rules that it was to break.
    expected: Vec<&'a str>,
    /// `granted`, or the rules that it broke.
    came: Vec<&'a str>,
    /// In which it is not what was expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
    /// What was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<Granted<'a>>,
}
/// What no passing case shows.
#[derive(Serialize)]
struct Coverage<'a> {
    /// Rules that some profile has and that no case shows to refuse.
    rules: Vec<&'static str>,
    /// Profiles that no case shows to grant.
    profiles: Vec<&'a str>,
}

const GRANTED: &str = "granted";

impl<'a> Report<'a> {
    /// With what was left out, where there is a configuration to compare with.
    pub(super) fn new(ran: &'a [Ran], covering: Option<&'a Config>) -> Self {
        let cases: Vec<Line<'a>> = ran.iter().map(Line::new).collect();
        let passed = cases.iter().filter(|line| line.passed).count();
        let coverage = covering.map(|config| Coverage::new(ran, &cases, config));
        Self { passed, failed: cases.len() - passed, cases, coverage }
    }
    pub(super) fn failed(&self) -> usize {
        self.failed
    }
    pub(super) fn print_json(&self) -> Result<(), Failure> {
        line(serde_json::to_string_pretty(self).unwrap_or_default())
    }
    pub(super) fn print(&self) -> Result<(), Failure> {
        for Line { file, line: at, name, passed, expected, came, differences, grant } in &self.cases {
            let what = match grant {
                Some(grant) => format!("granted {grant}"),
                None => format!("denied by {}", came.join(", ")),
            };
            if *passed {
                line(format_args!("pass  {file}:{at}: {name}: {what}"))?;
                continue;
            }
            line(format_args!("FAIL  {file}:{at}: {name}"))?;
            match expected.as_slice() {
                [GRANTED] => line("        expected a grant")?,
                rules => line(format_args!("        expected to be denied by {}", rules.join(", ")))?,
            }
            differences.iter().try_for_each(|text| line(format_args!("        {text}")))?;
        }
        let Self { passed, failed, .. } = self;
        line(format_args!("{passed} passed, {failed} failed"))?;
        let Some(Coverage { rules, profiles }) = &self.coverage else { return Ok(()) };
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        line(format_args!("Rules that no case shows to refuse: {}", list(rules)))?;
        line(format_args!("Profiles that no case shows to grant: {}", list(profiles)))
    }
}
impl<'a> Line<'a> {
    fn new(ran: &'a Ran) -> Self {
        let Ran { file, case, answer } = ran;
        let differences = answer.differences(&case.expect);
        let (came, grant) = match answer {
            Answer::Granted(grant) => (vec![GRANTED], Some(Granted::from(grant.terms()))),
            _ => (answer.rules().into_iter().collect(), None),
        };
        let expected = match &case.expect {
            Expect::Grant(_) => vec![GRANTED],
            Expect::Denied(rules) => rules.iter().map(String::as_str).collect(),
        };
        let passed = differences.is_empty();
        Self { file, line: case.line, name: &case.name, passed, expected, came, differences, grant }
    }
}
impl<'a> Coverage<'a> {
    fn new(ran: &[Ran], lines: &[Line<'_>], config: &'a Config) -> Self {
        let (mut refused, mut granted) = (BTreeSet::new(), BTreeSet::new());
        for (ran, _) in ran.iter().zip(lines).filter(|(_, line)| line.passed) {
            match &ran.answer {
                Answer::Granted(grant) => drop(granted.insert(grant.terms().profile.name.to_string())),
                answer => refused.extend(answer.rules()),
            }
        }
        let profiles = || config.policy.profiles().map(|profile| profile.as_ref());
        let sentences: Vec<Sentence> = profiles().flat_map(policy::sentences).collect();
        let theirs: BTreeSet<&str> =
            sentences.iter().flat_map(|sentence| sentence.rules.iter().copied()).collect();
        let shown = |id: &&str| theirs.contains(*id) && !refused.contains(*id);
        Self {
            rules: policy::RULES.iter().map(|(id, _)| *id).filter(shown).collect(),
            profiles: profiles().map(|p| p.name.as_str()).filter(|name| !granted.contains(*name)).collect(),
        }
    }
}

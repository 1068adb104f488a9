//! `jwsd policy rules`: the table that stands in `docs/policy.md`.

use std::process::ExitCode;

use super::super::output::{Outcome, line};
use crate::policy::RULES;

pub(super) fn run() -> Outcome {
    line("| id | what must hold |\n| --- | --- |")?;
    for (id, sentence) in RULES {
        line(format_args!("| `{id}` | {sentence} |"))?;
    }
    Ok(ExitCode::SUCCESS)
}

//! The report for auditors: figures of a period out of the log, control by control, as one page of HTML and as JSON.
//!
//! Both forms are made of one value, so that they cannot differ. Says only what records and the configuration say, and
//! says from which; what jwsd does not do is a gap here, never an answer. Knows no configuration: whoever has one hands
//! over [`Answers`]. Memory is bounded by the distinct names in the log, and by [`MOST`] of each.

mod chart;
mod controls;
mod evidence;
mod figures;
mod fold;
mod frame;
mod keys;
mod markup;
mod page;
pub mod person;
mod said;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::select::Filter;
pub use controls::{Control, controls};
pub use figures::{Figures, MOST};
pub use fold::Fold;
pub use page::html;

/// Everything that the page shows.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of the program that made it.
    pub version: &'static str,
    /// When it was made.
    pub made: Timestamp,
    /// The log, as it was named.
    pub log: String,
    /// Whether the log can be relied on.
    pub verification: Verification,
    /// One row per control.
    pub controls: Vec<Control>,
    /// What the records of the period say.
    pub figures: Figures,
    /// What the configuration says; absent when none was given.
    pub settings: Option<Settings>,
}

/// What checking the log came to.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Nothing is wrong.
    pub sound: bool,
    /// Valid records in all, not only those of the period.
    pub records: u64,
    /// Number of the first one.
    pub first: u64,
    /// Number of the last one.
    pub last: u64,
    /// Files.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// What this kind of check can and cannot find, in a sentence.
    pub extent: String,
    /// Faults that the log declares itself.
    pub declared: Vec<String>,
    /// What is wrong, the first of it.
    pub problems: Vec<String>,
    /// How much is wrong.
    pub problem_count: u64,
}

/// What a configuration says, for the page.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Settings {
    /// The file.
    pub file: String,
    /// Name of the environment.
    pub environment: String,
    /// Digest of its policy, as records name it.
    pub policy: String,
    /// Tables of what there is.
    pub tables: Vec<Listing>,
    /// What answers which control, by its id.
    #[serde(skip)]
    pub answers: Answers,
}

/// A table of plain texts.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    /// What it lists.
    pub title: &'static str,
    /// Its columns.
    pub head: &'static [&'static str],
    /// Its rows.
    pub rows: Vec<Vec<String>>,
}

/// What a configuration says to each control, by its id.
pub type Answers = BTreeMap<&'static str, Answer>;

/// What a configuration says to one control.
#[derive(Debug, Default, Clone)]
pub struct Answer {
    /// What is in force.
    pub settings: Vec<String>,
    /// What it lacks.
    pub gaps: Vec<String>,
}

/// Reads the log in `dir` once, for the figures of `from` to before `to`. The log must have been verified.
///
/// # Errors
/// If the log cannot be read.
pub fn read(
    dir: &Path,
    from: Timestamp,
    to: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Figures> {
    let mut fold = Fold::new(from, to);
    let filter = Filter { until: Some(to), ..Filter::default() };
    filter.each(dir, progress, &mut |line| {
        fold.add(line);
        Ok(())
    })?;
    Ok(fold.finish())
}

#[cfg(test)]
mod tests;

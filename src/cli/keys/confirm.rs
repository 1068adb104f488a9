//! A last look before what cannot be taken back.

use std::io::{self, IsTerminal, Write};

use crate::cli::output::{Failure, NO, USAGE};

/// Characters of a `kid` that name a version, at least.
pub(super) const PREFIX: usize = 8;

/// Says what is about to happen and has the operator type `word`; `yes` was said on the command line.
///
/// # Errors
/// Something else was typed, or nobody is there who could.
pub(in crate::cli) fn confirm(warning: &str, what: &str, word: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let message =
            format!("{warning}\nnothing was done: nobody can be asked here, so say --yes if you mean it");
        return Err(Failure::new(USAGE, message));
    }
    let mut out = io::stderr();
    write!(out, "{warning}\nType {what} ({word}) to go on: ")?;
    out.flush()?;
    let mut typed = String::new();
    io::stdin().read_line(&mut typed)?;
    if typed.trim() == word {
        return Ok(());
    }
    Err(Failure::new(NO, "that is something else; nothing was done"))
}

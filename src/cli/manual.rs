//! `jwsd schema`, `completions` and `man`: made from the code, so that they cannot lag behind it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;

use super::Arguments;
use super::output::{Failure, Outcome, PERMISSION, line};
use crate::config;

pub(super) fn schema() -> Outcome {
    line(format_args!("{:#}", config::json_schema()))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "jwsd", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man_pages(directory: &Path) -> Outcome {
    let mut command = Arguments::command();
    command.build();
    write_pages(&command, directory)
        .map_err(|error| Failure::new(PERMISSION, format_args!("{}: {error}", directory.display())))?;
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &clap::Command, directory: &Path) -> io::Result<()> {
    if command.is_hide_set() {
        return Ok(());
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(directory.join(page.get_filename()), text)?;
    command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .try_for_each(|sub| write_pages(sub, directory))
}

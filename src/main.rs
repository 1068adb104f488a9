//! The `jwsd` program: arguments, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything opens a descriptor of its own.
    if let Err(error) = jwsd::sys::kernel::note_inherited() {
        eprintln!("jwsd: inherited descriptors: {error}");
        return ExitCode::from(70);
    }
    jwsd::cli::run()
}

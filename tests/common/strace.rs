//! strace as a means to fail or end a daemon in the middle of a system call.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether it is not installed, which CI does not forgive.
pub fn is_missing(test: &str) -> bool {
    let missing = Command::new("strace").arg("-V").output().is_err();
    if missing {
        assert!(std::env::var_os("CI").is_none(), "CI must have strace");
        println!("SKIPPED {test}: strace is not installed");
    }
    missing
}

/// strace with these expressions, written to `trace`.
pub fn strace(trace: &Path, expressions: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    strace.arg("-o").arg(trace);
    for expression in expressions {
        strace.args(["-e", expression]);
    }
    strace
}

/// Attaches it to a thread, or with `-f` to a process, and waits until it is.
pub fn attach(mut strace: Command, id: impl AsRef<OsStr>) -> Child {
    let mut strace = strace.arg("-p").arg(id).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(strace.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("attached"), "{said}");
    strace
}

/// Waits for its end, which comes with that of what it traces, or by `now`. It may miss the end of a process all of whose
/// threads are killed at once, and is killed then.
pub fn end(mut strace: Child, now: bool) {
    if now {
        // Gone already is what is wanted.
        let _ = kill(Pid::from_raw(strace.id().try_into().unwrap()), Signal::SIGINT);
    }
    let started = Instant::now();
    while strace.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(2) {
            let _ = strace.kill();
        }
        sleep(Duration::from_millis(2));
    }
}

/// The calls of a trace as they began: thread, name of the call, the rest of the line.
pub fn calls(trace: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    trace.lines().filter_map(|line| {
        let (head, rest) = line.split_once('(')?;
        let mut words = head.split_whitespace().rev();
        let call = words.next()?;
        Some((words.next().unwrap_or_default(), call, rest))
    })
}

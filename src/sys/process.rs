//! Hardening of our own process. Called once, at the start, before any file is opened or thread started.
//!
//! Must never be undone later, and never be left out where a secret may be in memory: daemon and worker both call it.

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use sd_notify::NotifyState;
use std::io;
use std::path::PathBuf;

/// Why the process could not be hardened.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct HardenError {
    what: &'static str,
    #[source]
    source: io::Error,
}

impl HardenError {
    fn of(what: &'static str) -> impl Fn(nix::Error) -> Self {
        move |error| Self { what, source: error.into() }
    }
}

/// Keeps memory from other processes and from disk: no core files, no tracing by other processes of the same user, no
/// privileges gained by a program we start, and files that are ours alone (umask 077).
///
/// Giving up privileges holds for the calling thread and those it starts, so there must be no other yet. The undumpable state
/// is lost on `execve`, so a worker calls this for itself.
///
/// # Errors
/// The system refuses one of them.
pub fn harden() -> Result<(), HardenError> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(HardenError::of("set the core file size to zero"))?;
    prctl::set_dumpable(false).map_err(HardenError::of("make the process undumpable"))?;
    prctl::set_no_new_privs().map_err(HardenError::of("give up gaining privileges"))?;
    umask(Mode::S_IRWXG | Mode::S_IRWXO);
    Ok(())
}

/// Whether we run with root's rights.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Raises the number of descriptors we may have open to the most that is allowed, and says how many that is.
///
/// The soft limit is low for the sake of programs that use `select`; this one does not.
///
/// # Errors
/// The system refuses.
pub fn raise_nofile() -> Result<u64, HardenError> {
    let failed = HardenError::of("raise the number of open files");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(&failed)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(&failed)?;
    Ok(hard)
}

/// The name of this host; empty if it has none.
pub fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where systemd put this unit's credentials (`LoadCredential=`); `None` when it passed none.
#[allow(
    clippy::disallowed_methods,
    reason = "systemd has no other way to say it, and it is a path, not a secret"
)]
pub fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from)
}

/// Tells the service manager, if there is one, that requests are answered.
pub fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one, that the configuration is being read again; [`notify_reloaded`] follows.
pub fn notify_reloading() {
    // systemd takes the ready that follows for the end of this reload by its time.
    let now = NotifyState::monotonic_usec_now().inspect_err(|error| {
        tracing::warn!(%error, "Monotonic clock not readable");
    });
    notify(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
}

/// Tells the service manager, if there is one, that the reload has ended, and how.
pub fn notify_reloaded(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells the service manager, if there is one, that the process is about to end.
pub fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "Service manager not notified");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    const CHILD: &str = "sys::process::tests::child_hardens_itself";

    /// Hardening cannot be undone, so a child does it.
    #[test]
    fn hardening_shows_in_proc() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", CHILD, "--ignored", "--nocapture", "--test-threads=1"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "changes its process for good: hardening_shows_in_proc runs it in a child"]
    fn child_hardens_itself() {
        harden().unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        assert!(status.contains("Umask:\t0077\n"), "{status}");
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
        assert!(!prctl::get_dumpable().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn open_files_are_raised_to_the_hard_limit() {
        let most = raise_nofile().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (most, most));
    }

    #[test]
    fn root_is_told_by_effective_uid() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert_eq!(is_root(), uids.split_whitespace().nth(1) == Some("0"));
    }
}

//! What the kernel says of the process at the other end.
//!
//! `SO_PEERCRED` names user, group and pid as they were when the peer called `connect`. A child that inherits the connection,
//! or a process it is passed to, speaks with those credentials: connections are short-lived, and that is all that can be done.
//!
//! Further facts come from `/proc/PID`, where a pid may by now mean another process. They are read between taking a pidfd of
//! the peer (`SO_PEERPIDFD`, Linux 6.5) and finding that process still alive; else they are `None`. Must never guess:
//! a fact that is not certain is `None`, and `None` matches no rule.
//!
//! Reading another user's executable needs `CAP_SYS_PTRACE`; groups and unit need no privilege.

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{getsockopt, sockopt};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Which facts to read from `/proc` at connect time, because some rule needs them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FactsWanted {
    /// Supplementary groups.
    pub groups: bool,
    /// The executable.
    pub exe: bool,
    /// The systemd unit.
    pub unit: bool,
}

impl FactsWanted {
    /// All there are.
    pub const ALL: Self = Self { groups: true, exe: true, unit: true };

    /// Whether all that `other` wants is wanted here too.
    pub fn covers(self, other: Self) -> bool {
        self.or(other) == self
    }

    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            groups: self.groups || other.groups,
            exe: self.exe || other.exe,
            unit: self.unit || other.unit,
        }
    }
}

/// Facts of one peer, taken when it connected.
#[derive(Debug, Clone)]
pub struct PeerCredentials {
    uid: u32,
    gid: u32,
    pid: i32,
    facts: ProcessFacts,
    asked: FactsWanted,
}

/// Facts from `/proc`, read while the pidfd proved the process alive. `None` where not wanted or not certain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Supplementary groups, by number.
    pub groups: Option<Vec<u32>>,
    /// The executable, by a path that leads to the same file for us. A deleted or replaced one, and one of another mount
    /// namespace, is `None`.
    pub exe: Option<PathBuf>,
    /// The system's unit the process belongs to: `billing.service`, `session-3.scope`, and `user@1000.service` for all units
    /// of a user's own manager, whose names that user is free to choose.
    pub unit: Option<String>,
}

impl PeerCredentials {
    /// Reads the credentials of a connected socket. Reads `/proc` where facts are wanted, which does not wait for a disk.
    ///
    /// # Errors
    /// The kernel does not name the peer.
    pub fn of(stream: &tokio::net::UnixStream, wanted: FactsWanted) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let pid = peer.pid().unwrap_or_default();
        let facts = if wanted == FactsWanted::default() {
            ProcessFacts::default()
        } else {
            pidfd_of(stream).and_then(|process| facts_of(pid, &process, wanted)).unwrap_or_default()
        };
        Ok(Self::assume(peer.uid(), peer.gid(), pid, facts).asking(wanted))
    }

    /// This very process, for acts of the command line.
    pub fn ours() -> Self {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        Self::assume(uid.as_raw(), gid.as_raw(), nix::unistd::getpid().as_raw(), ProcessFacts::default())
    }

    /// For tests and for acts of the command line itself: all facts count as looked up.
    pub fn assume(uid: u32, gid: u32, pid: i32, facts: ProcessFacts) -> Self {
        Self { uid, gid, pid, facts, asked: FactsWanted::ALL }
    }

    /// The same, with only these facts looked up.
    #[must_use]
    pub fn asking(self, asked: FactsWanted) -> Self {
        Self { asked, ..self }
    }

    /// Effective user when it connected.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Effective group when it connected.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Process that connected, in our pid namespace; 0 if it is in none that we see. For the record, never for a decision.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Which facts were looked up, found or not.
    pub fn asked(&self) -> FactsWanted {
        self.asked
    }

    /// What `/proc` says of it.
    pub fn facts(&self) -> &ProcessFacts {
        &self.facts
    }
}

fn pidfd_of(stream: &tokio::net::UnixStream) -> Option<OwnedFd> {
    static WARNED: Once = Once::new();
    match getsockopt(stream, sockopt::PeerPidfd) {
        Ok(process) => Some(process),
        Err(nix::Error::ENOPROTOOPT) => {
            WARNED.call_once(|| {
                tracing::warn!(
                    "Kernel has no SO_PEERPIDFD (Linux 6.5), rules on groups, exe or unit match nobody"
                );
            });
            None
        }
        // The peer is gone already.
        Err(_) => None,
    }
}

/// The facts, if they are certain to be of `process`.
fn facts_of(pid: i32, process: &OwnedFd, wanted: FactsWanted) -> Option<ProcessFacts> {
    if pid <= 0 {
        return None;
    }
    let dir = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let facts = ProcessFacts {
        groups: wanted.groups.then(|| groups_in(&read("status")?)).flatten(),
        exe: wanted.exe.then(|| exe_of(&dir)).flatten(),
        unit: wanted.unit.then(|| unit_in(&read("cgroup")?)).flatten(),
    };
    // Only now: alive here, it was alive while each was read, and its pid was its own.
    is_alive(process).then_some(facts)
}

/// A pidfd becomes readable when its process exits.
fn is_alive(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, PollTimeout::ZERO) == Ok(0)
}

/// The executable, if its path leads to the same file for us as for the peer: in a mount namespace of its own, any user can
/// put any file at any path.
fn exe_of(dir: &Path) -> Option<PathBuf> {
    let link = dir.join("exe");
    let exe = fs::read_link(&link).ok()?;
    let theirs = fs::metadata(&link).ok()?;
    let ours = fs::metadata(&exe).ok()?;
    (theirs.dev() == ours.dev() && theirs.ino() == ours.ino()).then_some(exe)
}

/// `Groups:` of `/proc/PID/status`.
fn groups_in(status: &str) -> Option<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:"))?;
    line.split_ascii_whitespace().map(|group| group.parse().ok()).collect()
}

/// The unit of `/proc/PID/cgroup`, as `sd_pid_get_unit` finds it: the first below the slices. What lies below that is of
/// the unit's own making, or of its user's, and may be named at will.
fn unit_in(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let unit = path.split('/').find(|part| !part.ends_with(".slice"))?;
    // systemd escapes a name that a kernel file might have.
    let unit = unit.strip_prefix('_').unwrap_or(unit);
    let is_unit = unit.ends_with(".service") || unit.ends_with(".scope");
    is_unit.then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    const ALL: FactsWanted = FactsWanted::ALL;

    #[test]
    fn reads_groups() {
        let status = "Name:\tx\nGid:\t5\t5\t5\t5\nGroups:\t4 24 1000 \nNStgid:\t1\n";
        assert_eq!(groups_in(status), Some(vec![4, 24, 1000]));
        assert_eq!(groups_in("Groups:\t\n"), Some(vec![]));
        assert_eq!(groups_in("Groups:\t4 x\n"), None);
        assert_eq!(groups_in("Name:\tGroups: 4\n"), None);
    }

    #[test]
    fn reads_units_as_systemd_does() {
        for (cgroup, unit) in [
            ("0::/system.slice/billing.service\n", Some("billing.service")),
            ("1:name=systemd:/x.service\n0::/system.slice/system-a.slice/a@1.service\n", Some("a@1.service")),
            ("0::/system.slice/app.service/evil/billing.service\n", Some("app.service")),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/billing.service\n",
                Some("user@1000.service"),
            ),
            ("0::/user.slice/user-1000.slice/session-3.scope\n", Some("session-3.scope")),
            ("0::/_cgroup.service\n", Some("cgroup.service")),
            ("0::/init.scope\n", Some("init.scope")),
            ("0::/\n", None),
            ("0::/system.slice\n", None),
            ("0::/docker/0123\n", None),
            ("0::/docker/billing.service\n", None),
            ("0::/../billing.service\n", None),
            ("0::/system.slice/billing.service (deleted)\n", None),
            ("1:cpu:/system.slice/billing.service\n", None),
        ] {
            assert_eq!(unit_in(cgroup).as_deref(), unit, "{cgroup}");
        }
    }

    /// Either end of a pair has its maker for a peer.
    fn own_pidfd() -> OwnedFd {
        let (here, _there) = UnixStream::pair().unwrap();
        getsockopt(&here, sockopt::PeerPidfd).unwrap()
    }

    #[test]
    fn reads_its_own_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let facts = facts_of(pid, &own_pidfd(), ALL).unwrap();
        assert_eq!(facts.exe, std::env::current_exe().ok());
        let mut groups: Vec<u32> = nix::unistd::getgroups().unwrap().iter().map(|g| g.as_raw()).collect();
        groups.sort_unstable();
        assert_eq!(facts.groups, Some(groups));
        assert_eq!(facts_of(pid, &own_pidfd(), FactsWanted::default()), Some(ProcessFacts::default()));
        assert_eq!(facts_of(0, &own_pidfd(), ALL), None);
    }

    #[test]
    fn a_deleted_executable_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("sleep");
        fs::copy("/bin/sleep", &copy).unwrap();
        let mut child = Command::new(&copy).arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let proc = PathBuf::from(format!("/proc/{}", child.id()));
        assert_eq!(exe_of(&proc), Some(copy.clone()));
        fs::remove_file(&copy).unwrap();
        assert_eq!(exe_of(&proc), None);
        fs::copy("/bin/sleep", &copy).unwrap();
        assert_eq!(exe_of(&proc), None, "another file at the same path is not it");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    const SOCKET: &str = "JWSD_TEST_SOCKET";

    /// The pid means another process by now, one that lives and may well be somebody we know.
    #[test]
    fn a_pid_used_again_is_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transport::credentials::tests::child_connects_and_waits", "--ignored"])
            .env(SOCKET, &path)
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        let process = getsockopt(&stream, sockopt::PeerPidfd).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(facts_of(pid, &process, ALL).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        let ours = i32::try_from(std::process::id()).unwrap();
        assert!(facts_of(ours, &own_pidfd(), ALL).is_some());
        assert_eq!(facts_of(ours, &process, ALL), None);
    }

    #[test]
    #[ignore = "needs a socket to connect to: a_pid_used_again_is_found_out runs it in a child"]
    fn child_connects_and_waits() {
        let mut stream = UnixStream::connect(std::env::var_os(SOCKET).unwrap()).unwrap();
        let end = io::Read::read(&mut stream, &mut [0]);
        assert_eq!(end.unwrap(), 0);
    }
}

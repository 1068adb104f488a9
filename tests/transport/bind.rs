//! Getting the socket (S4, S5, S6, S7), and leaving nothing behind.

use crate::passed;
use crate::server::settings;
use command_fds::{CommandFdExt, FdMapping};
use jwsd::transport::{BindError, Listener};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> Result<Listener, BindError> {
    Listener::open(&settings(path, 0o660))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Refused, for this reason, and what is in the directory is as before but for the lock.
#[track_caller]
fn refused(path: &Path, reason: &str, in_use: bool) {
    let parent = path.parent().unwrap_or(path);
    let list = || {
        let entries = fs::read_dir(parent).into_iter().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| !name.to_string_lossy().ends_with(".lock"));
        names.sort();
        names
    };
    let before = list();
    let error = open(path).unwrap_err();
    assert!(error.message.contains(reason), "{error}");
    assert_eq!(error.in_use, in_use, "{error}");
    assert_eq!(error.path, path);
    assert_eq!(list(), before);
}

#[test]
fn mode_and_group_are_as_asked_and_nothing_is_left() {
    let dir = dir();
    let path = dir.path().join("s");
    let own = nix::unistd::getegid().as_raw();
    // Only root may give any group; others at least their own.
    let gid = if nix::unistd::geteuid().is_root() { 12345 } else { own };
    for mode in [0o600, 0o660, 0o666] {
        let mut settings = settings(&path, mode);
        settings.gid = Some(gid);
        let listener = Listener::open(&settings).unwrap();
        let stat = fs::symlink_metadata(&path).unwrap();
        assert!(stat.file_type().is_socket());
        assert_eq!((stat.mode() & 0o7777, stat.gid()), (mode, gid));
        assert_eq!(fs::metadata(dir.path().join("s.lock")).unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
    }
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["s.lock"]);
}

/// Ends the watch, also when a test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn it_is_never_more_open_than_its_mode() {
    let dir = dir();
    let path = dir.path().join("s");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                if let Ok(stat) = fs::symlink_metadata(&path) {
                    assert_eq!(stat.mode() & 0o777, 0o600);
                    seen += 1;
                }
                if let Ok(stat) = fs::symlink_metadata(dir.path().join(".s.new")) {
                    assert_eq!(stat.mode() & 0o777, 0o700);
                }
            }
            seen
        });
        let until = Done(&done);
        for _ in 0..300 {
            drop(Listener::open(&settings(&path, 0o600)).unwrap());
        }
        // Long enough to be seen at least once.
        let _listener = Listener::open(&settings(&path, 0o600)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(until);
        assert!(watch.join().unwrap() > 0);
    });
}

#[test]
fn a_stale_socket_is_replaced() {
    let dir = dir();
    let path = dir.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    let stale = fs::metadata(&path).unwrap().ino();
    let _listener = open(&path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), stale);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn what_a_killed_run_left_is_taken_over() {
    let dir = dir();
    let path = dir.path().join("s");
    let nursery = dir.path().join(".s.new");
    fs::create_dir(&nursery).unwrap();
    chmod(&nursery, 0o700);
    drop(UnixListener::bind(nursery.join("signing")).unwrap());
    let _listener = open(&path).unwrap();
    assert!(!nursery.exists());
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_directory_in_the_way_must_be_ours_alone() {
    let dir = dir();
    let nursery = dir.path().join(".s.new");
    fs::create_dir(&nursery).unwrap();
    chmod(&nursery, 0o755);
    refused(&dir.path().join("s"), "not ours alone", false);
    fs::remove_dir(&nursery).unwrap();
    symlink("/tmp", &nursery).unwrap();
    refused(&dir.path().join("s"), "cannot open the directory", false);
}

#[test]
fn another_instance_is_left_alone() {
    let dir = dir();
    let path = dir.path().join("s");
    let first = open(&path).unwrap();
    refused(&path, "another instance", true);
    UnixStream::connect(&path).unwrap();
    drop(first);
    drop(open(&path).unwrap());
    // One that knows nothing of our lock, with nobody accepting.
    let _other = UnixListener::bind(&path).unwrap();
    refused(&path, "another instance", true);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let dir = dir();
    let path = dir.path().join("s");
    fs::write(&path, "precious").unwrap();
    refused(&path, "something else than a socket", false);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    let target = dir.path().join("target");
    drop(UnixListener::bind(&target).unwrap());
    symlink(&target, &path).unwrap();
    refused(&path, "something else than a socket", false);
    fs::remove_file(&path).unwrap();
    symlink("/nowhere", &path).unwrap();
    refused(&path, "something else than a socket", false);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(&path, "something else than a socket", false);
}

#[test]
fn a_socket_of_another_user_is_left_alone() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a socket of another user");
        return;
    }
    let dir = dir();
    let path = dir.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
    refused(&path, "another user", false);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::chown(dir.path(), Some(12345), None).unwrap();
    refused(&path, "another user", false);
}

#[test]
fn paths_are_judged() {
    let dir = dir();
    refused(Path::new("relative/s"), "absolute", false);
    refused(Path::new("\0abstract"), "absolute", false);
    refused(Path::new("/"), "must end in the name", false);
    refused(&dir.path().join("s/.."), "must end in the name", false);
    refused(&dir.path().join("no/such/s"), "cannot make the directory", false);
    let fill = |length: usize| {
        let have = dir.path().as_os_str().len() + 1;
        dir.path().join("s".repeat(length - have))
    };
    refused(&fill(108), "108 bytes long", false);
    let longest = fill(107);
    let _listener = open(&longest).unwrap();
    UnixStream::connect(&longest).unwrap();
}

#[test]
fn directories_are_judged() {
    let dir = dir();
    let parent = dir.path().join("run");
    let path = parent.join("s");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&parent).unwrap().mode() & 0o7777, 0o755, "made for callers to pass");
    for mode in [0o777, 0o1777, 0o775, 0o757] {
        chmod(&parent, mode);
        refused(&path, "others may write", false);
    }
    for mode in [0o755, 0o750, 0o711, 0o700] {
        chmod(&parent, mode);
        drop(open(&path).unwrap());
    }
    symlink(&parent, dir.path().join("link")).unwrap();
    refused(&dir.path().join("link/s"), "no symbolic link", false);
    fs::write(dir.path().join("file"), "").unwrap();
    refused(&dir.path().join("file/s"), "its directory", false);
}

#[test]
fn a_lock_that_is_no_file_of_ours_is_refused() {
    let dir = dir();
    symlink("/dev/null", dir.path().join("s.lock")).unwrap();
    refused(&dir.path().join("s"), "cannot open its lock file", false);
    fs::remove_file(dir.path().join("s.lock")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("s.lock"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&dir.path().join("s"), "not a file of ours", false);
}

#[test]
fn on_drop_only_its_own_is_unlinked() {
    let dir = dir();
    let path = dir.path().join("s");
    let listener = open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "of somebody else").unwrap();
    drop(listener);
    assert_eq!(fs::read_to_string(&path).unwrap(), "of somebody else");
}

/// As systemd does it: the socket is descriptor 3, and the environment says whose it is and what it is called.
fn activated(names: &str, sockets: Vec<UnixListener>, path: &Path) -> std::process::Output {
    let mut child = Command::new("/bin/sh");
    let count = sockets.len();
    child
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "bind::child_is_activated", "--ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env("LISTEN_FDS", count.to_string())
        .env("LISTEN_FDNAMES", names)
        .env("JWSD_TEST_SOCKET", path);
    let mappings = sockets
        .into_iter()
        .zip(3..)
        .map(|(socket, child_fd)| FdMapping { parent_fd: socket.into(), child_fd });
    child.fd_mappings(mappings.collect()).unwrap();
    child.output().unwrap()
}

#[test]
fn a_socket_of_systemd_is_taken_by_name_and_left() {
    let dir = dir();
    let bound = |name: &str| UnixListener::bind(dir.path().join(name)).unwrap();
    let path = dir.path().join("passed");
    let sockets = vec![bound("other"), bound("passed")];
    passed(&activated("admin:signing", sockets, &path));
    assert!(path.exists(), "it is systemd's to unlink");
    assert!(!dir.path().join("passed.lock").exists());

    // Not passed under our name: it binds, beside the others.
    let path = dir.path().join("own");
    passed(&activated("admin", vec![bound("third")], &path));
    assert!(dir.path().join("own.lock").exists());

    let child = activated("signing:signing", vec![bound("a"), bound("b")], &path);
    assert!(!child.status.success());
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("more than one socket named signing"), "{said}");
}

#[test]
#[ignore = "needs sockets from its parent: a_socket_of_systemd_is_taken_by_name_and_left runs it in a child"]
fn child_is_activated() {
    jwsd::sys::kernel::note_inherited().unwrap();
    let path = std::env::var_os("JWSD_TEST_SOCKET").unwrap();
    let listener = open(Path::new(&path)).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(listener);
}

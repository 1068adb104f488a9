//! What only the kernel can say: descriptors that the process was started with, how sure it is of the time, which boot
//! this is. The one file with `unsafe` code.
//!
//! Must never hand out the same descriptor twice, nor one that this process opened itself; never sets the clock.

use command_fds::inherited::{InheritedFdError, init_inherited_fds, take_fd_ownership};
use nix::libc;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static DONE: AtomicBool = AtomicBool::new(false);

/// Notes which descriptors were inherited (the worker's session sockets, systemd's listening sockets) and marks them
/// close-on-exec.
///
/// Call it as the first statement of `main`, once: what is open later than that belongs to somebody.
///
/// # Errors
/// When called a second time, when `/proc/self/fd` cannot be read, or when a descriptor cannot be marked.
#[allow(unsafe_code)]
pub fn note_inherited() -> std::io::Result<()> {
    if DONE.swap(true, Ordering::SeqCst) {
        return Err(std::io::Error::other("inherited descriptors were taken before"));
    }
    // SAFETY: the callee takes ownership of every open descriptor above 2, so none of them may have an owner yet.
    // `main` calls this before anything else: no other thread exists, no file or socket was opened by Rust code, and
    // the runtime itself owns only 0, 1 and 2, which the callee leaves alone. A second call does not get here.
    unsafe { init_inherited_fds() }
}

/// Takes ownership of an inherited descriptor, by number.
///
/// # Errors
/// When `raw` was not inherited, was taken before, or [`note_inherited`] did not run.
pub fn take_inherited(raw: RawFd) -> Result<OwnedFd, InheritedFdError> {
    take_fd_ownership(raw)
}

/// The kernel's bound on the wall clock's error, adjtimex(2)'s `maxerror`. It grows while nobody disciplines the clock
/// and is 16 s or more when it was set by hand or never synchronised. `None` when the kernel does not tell.
#[allow(unsafe_code)]
pub fn clock_error() -> Option<Duration> {
    let mut timex = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: the callee reads and writes one `timex`, which is what the pointer leads to, alive and ours alone until
    // it returns. Its `modes` are 0: nothing is set.
    let told = unsafe { libc::adjtimex(timex.as_mut_ptr()) } >= 0;
    // SAFETY: a `timex` is made of integers only, for which zeroes are values, whatever the callee has filled in.
    let timex = unsafe { timex.assume_init() };
    told.then(|| u64::try_from(timex.maxerror).ok().map(Duration::from_micros)).flatten()
}

/// Bytes sent on a socket that have not arrived: of a Unix datagram socket, that the other process has not read; of a TCP
/// socket, that the other kernel has not acknowledged.
///
/// # Errors
/// When the descriptor is no such socket.
#[allow(unsafe_code)]
pub fn unread(socket: BorrowedFd<'_>) -> std::io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the callee writes one integer to where the pointer leads, alive and ours alone until it returns; the
    // descriptor is open, for it is borrowed.
    let told = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if told < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Names this boot of the kernel; another one has another name. `None` where `/proc` does not show it.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_was_not_read_is_counted() {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        assert_eq!(unread(ours.as_fd()).unwrap(), 0);
        ours.send(b"hello").unwrap();
        assert!(unread(ours.as_fd()).unwrap() >= 5);
        theirs.recv(&mut [0; 8]).unwrap();
        assert_eq!(unread(ours.as_fd()).unwrap(), 0);
        assert!(unread(std::fs::File::open("/proc/self/status").unwrap().as_fd()).is_err());
    }

    #[test]
    fn the_kernel_tells_of_its_clock_and_boot() {
        // Only a filter of system calls can forbid it; a bound is never above NTP's own limit.
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let is_filtered = !status.lines().any(|line| line == "Seccomp:\t0");
        let error = clock_error();
        assert!(error.is_some() || is_filtered, "adjtimex is allowed but told nothing");
        assert!(error.is_none_or(|error| error <= Duration::from_secs(16)), "{error:?}");
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().is_some_and(|id| id.len() == 36), "{:?}", boot_id());
    }
}

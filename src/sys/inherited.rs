//! Descriptors that the process was started with: the worker's session sockets, systemd's listening sockets.
//!
//! Must never hand out the same descriptor twice, nor one that this process opened itself.

use command_fds::inherited::{InheritedFdError, init_inherited_fds, take_fd_ownership};
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

static DONE: AtomicBool = AtomicBool::new(false);

/// Notes which descriptors were inherited and marks them close-on-exec.
///
/// Call it as the first statement of `main`, once: what is open later than that belongs to somebody.
///
/// # Errors
/// When called a second time, when `/proc/self/fd` cannot be read, or when a descriptor cannot be marked.
#[allow(unsafe_code)]
pub fn init() -> std::io::Result<()> {
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
/// When `raw` was not inherited, was taken before, or [`init`] did not run.
pub fn take(raw: RawFd) -> Result<OwnedFd, InheritedFdError> {
    take_fd_ownership(raw)
}

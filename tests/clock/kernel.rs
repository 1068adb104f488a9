//! A library for `LD_PRELOAD` that answers `adjtimex` out of the file `KERNEL_CLOCK_ERROR`: the bound on the clock's
//! error in microseconds. Never passes a call on to the kernel, so it cannot set a clock.
#![allow(unsafe_code, clippy::missing_safety_doc, reason = "a C function is what it must be")]

use nix::libc::{TIME_OK, c_int, c_long, timex};

/// As adjtimex(2) with `modes = 0`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn adjtimex(answer: *mut timex) -> c_int {
    let file = std::env::var("KERNEL_CLOCK_ERROR").unwrap_or_default();
    let Ok(text) = std::fs::read_to_string(file) else { return -1 };
    let Ok(error) = text.trim().parse::<c_long>() else { return -1 };
    // SAFETY: the caller passes a `timex` of its own.
    unsafe { (*answer).maxerror = error };
    TIME_OK
}

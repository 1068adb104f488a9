//! x
use std::cell::Cell;
thread_local!(pub(super) static STEPS: Cell<usize> = const { Cell::new(0) });

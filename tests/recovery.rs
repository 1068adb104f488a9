//! Recovery of a PKCS#11 backend, fault by fault: real workers, real tokens, and a module that misbehaves by script.
//!
//! The same tests are the campaigns of `scripts/torture`, with more rounds.
#![allow(unreachable_pub, dead_code, reason = "modules of one test program, some shared with others")]

mod common;

#[path = "recovery/bad_signatures.rs"]
mod bad_signatures;
#[path = "recovery/bed.rs"]
mod bed;
#[path = "pkcs11_worker/fixture.rs"]
mod fixture;
#[path = "recovery/hangs.rs"]
mod hangs;
#[path = "recovery/limits.rs"]
mod limits;
#[path = "recovery/matrix.rs"]
mod matrix;
#[path = "recovery/pins.rs"]
mod pins;
#[path = "recovery/reinsert.rs"]
mod reinsert;

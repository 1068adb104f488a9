//! Revocation and introspection through a real daemon: what is active, what is not any more, and that an acknowledged
//! revocation holds, whatever happens to the daemon.
#![allow(unreachable_pub, reason = "modules of one test program")]

mod common;

#[path = "revocation/acts.rs"]
mod acts;
#[path = "revocation/answers.rs"]
mod answers;
#[path = "revocation/bed.rs"]
mod bed;
#[path = "revocation/faults.rs"]
mod faults;
#[path = "revocation/kills.rs"]
mod kills;
#[path = "revocation/racers.rs"]
mod racers;

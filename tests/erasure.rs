//! Who is erased is so for good: on every disk, in every copy, whenever the daemon is killed meanwhile, and the log
//! stays whole.
//!
//! Copies of the state count without the files of epochs: those must not be in backups, or whoever is erased is in
//! them still (`[subjects]` says so, and `backend` there takes the key off the disk altogether).
#![allow(unreachable_pub, reason = "modules of one test program")]

mod common;

#[path = "erasure/bed.rs"]
mod bed;
#[path = "erasure/copies.rs"]
mod copies;
#[path = "erasure/disk.rs"]
mod disk;
#[path = "erasure/kills.rs"]
mod kills;
#[path = "erasure/operators.rs"]
mod operators;

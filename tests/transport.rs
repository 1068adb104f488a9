//! The transport as a peer meets it: raw bytes over real sockets, against a handler that only echoes.
//!
//! Times in here are waited for ("eventually"), never measured: the machine may be slow.
#![allow(unreachable_pub, reason = "modules of one test program")]

#[path = "transport/bind.rs"]
mod bind;
#[path = "transport/caps.rs"]
mod caps;
#[path = "transport/drain.rs"]
mod drain;
#[path = "transport/peers.rs"]
mod peers;
#[path = "transport/server.rs"]
mod server;
#[path = "transport/slow.rs"]
mod slow;
#[path = "transport/smuggling.rs"]
mod smuggling;

use std::process::Command;

/// Runs an ignored test of this file in a process of its own, for what would disturb the others.
fn in_child(name: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .arg("--test-threads=1")
        .output()
        .unwrap();
    passed(&child);
}

fn passed(child: &std::process::Output) {
    let said = String::from_utf8_lossy(&child.stdout);
    let complained = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "{said}");
}

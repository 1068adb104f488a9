//! Who is at the other end.

use crate::in_child;
use crate::server::{Server, eventually, get, limits};
use jwsd::transport::{FactsWanted, PeerCredentials, ProcessFacts};
use nix::unistd::{getegid, geteuid, getgroups};
use std::os::unix::net::UnixStream;
use std::process::Command;

const ALL: FactsWanted = FactsWanted { groups: true, exe: true, unit: true };
const SOCKET: &str = "JWSD_TEST_SOCKET";

#[test]
fn the_handler_is_told_who_asks() {
    let server = Server::start_wanting(limits(), ALL);
    let mut client = server.connect();
    client.send(get("/", "").as_bytes());
    assert_eq!(client.response().0, 200);
    let peer = server.echo.peers.lock().unwrap()[0].clone();
    assert_eq!(peer.uid(), geteuid().as_raw());
    assert_eq!(peer.gid(), getegid().as_raw());
    assert_eq!(u32::try_from(peer.pid()), Ok(std::process::id()));
    let mut groups: Vec<u32> = getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
    groups.sort_unstable();
    assert_eq!(peer.facts().groups, Some(groups));
    assert_eq!(peer.facts().exe, std::env::current_exe().ok());
}

#[test]
fn facts_are_read_only_when_wanted() {
    let server = Server::start(limits());
    let mut client = server.connect();
    client.send(get("/", "").as_bytes());
    assert_eq!(client.response().0, 200);
    let peer = server.echo.peers.lock().unwrap()[0].clone();
    assert_eq!(*peer.facts(), ProcessFacts::default());
}

#[test]
fn connections_end_when_more_is_wanted_of_their_peers() {
    let groups = FactsWanted { groups: true, ..FactsWanted::default() };
    let server = Server::start_wanting(limits(), groups);
    let mut idle = server.connect();
    idle.send(get("/", "").as_bytes());
    assert_eq!(idle.response().0, 200);
    let mut busy = server.connect();
    busy.send(get("/wait", "").as_bytes());
    eventually("both are open", || server.open() == 2 && server.handled().len() == 2);

    // Less is no reason.
    server.wanted.send(FactsWanted::default()).unwrap();
    idle.send(get("/", "").as_bytes());
    assert_eq!(idle.response().0, 200);

    server.wanted.send(ALL).unwrap();
    assert_eq!(idle.rest(), "");
    server.echo.release.add_permits(1);
    let (status, _, body) = busy.full_response();
    assert_eq!((status, body.as_str()), (200, "waited"));
    assert_eq!(busy.rest(), "", "closed, whether or not the answer could say so yet");

    let mut fresh = server.connect();
    fresh.send(get("/", "").as_bytes());
    assert_eq!(fresh.response().0, 200);
    let asked: Vec<FactsWanted> = server.echo.peers.lock().unwrap().iter().map(|peer| peer.asked()).collect();
    assert_eq!(asked, [groups, groups, groups, ALL]);
}

#[tokio::test]
async fn a_peer_that_is_gone_has_no_facts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peers::child_connects", "--ignored"])
        .env(SOCKET, &path)
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    let (stream, _) = listener.accept().await.unwrap();
    let peer = PeerCredentials::of(&stream, ALL).unwrap();
    assert_eq!(peer.uid(), geteuid().as_raw());
    assert_eq!(u32::try_from(peer.pid()), Ok(pid));
    assert_eq!(*peer.facts(), ProcessFacts::default());
}

#[test]
#[ignore = "needs a socket to connect to: a_peer_that_is_gone_has_no_facts runs it in a child"]
fn child_connects() {
    UnixStream::connect(std::env::var_os(SOCKET).unwrap()).unwrap();
}

#[test]
fn a_hardened_daemon_without_privilege_serves() {
    in_child("peers::child_is_hardened");
}

/// Undumpable, its own `/proc` files belong to root; what it needs of them must still be there.
#[test]
#[ignore = "gives up its privileges: a_hardened_daemon_without_privilege_serves runs it in a child"]
fn child_is_hardened() {
    if geteuid().is_root() {
        nix::unistd::setgroups(&[]).unwrap();
        nix::unistd::setgid(65534.into()).unwrap();
        nix::unistd::setuid(65534.into()).unwrap();
    }
    jwsd::sys::process::harden().unwrap();
    assert!(!jwsd::sys::process::is_root());
    let server = Server::start_wanting(limits(), ALL);
    server.assert_serves();
    let peer = server.echo.peers.lock().unwrap()[0].clone();
    assert_eq!(peer.facts().exe, std::env::current_exe().ok());
    assert!(peer.facts().groups.is_some());
}

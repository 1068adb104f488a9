//! Too many connections, descriptors and panics.

use crate::in_child;
use crate::server::{Client, EVENTUALLY, Server, eventually, get, limits};
use jwsd::transport::{Limits, Rejection};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn one_user_has_its_share() {
    let server = Server::start(Limits { connections_per_uid: 3, ..limits() });
    let mut held: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    eventually("three are open", || server.open() == 3);
    for _ in 0..20 {
        assert_eq!(server.connect().rest(), "");
    }
    assert_eq!(server.open(), 3);
    assert_eq!(server.counters.refused.load(Ordering::Relaxed), 20);
    let told = server.rejected();
    assert!(told.iter().all(|why| *why == Rejection::TooManyConnections));
    assert!((1..20).contains(&told.len()), "told once in a while: {}", told.len());
    held.pop();
    eventually("two are open", || server.open() == 2);
    server.assert_serves();
}

#[test]
fn beyond_the_limit_of_all_they_wait() {
    let server = Server::start(Limits { connections: 2, ..limits() });
    let first = server.connect();
    let _second = server.connect();
    eventually("two are open", || server.open() == 2);
    let mut third = server.connect();
    third.send(get("/", "").as_bytes());
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut byte = [0];
    assert!(std::io::Read::read(&mut third.stream, &mut byte).is_err(), "nobody answers yet");
    assert_eq!(server.open(), 2);
    drop(first);
    third.stream.set_read_timeout(Some(EVENTUALLY)).unwrap();
    assert_eq!(third.response().0, 200);
}

#[test]
fn a_panic_ends_its_connection_only() {
    let server = Server::start(limits());
    let mut other = server.connect();
    other.send(get("/", "").as_bytes());
    assert_eq!(other.response().0, 200);
    let mut client = server.connect();
    client.send(get("/panic", "").as_bytes());
    assert_eq!(client.rest(), "");
    eventually("one is open", || server.open() == 1);
    other.send(get("/", "").as_bytes());
    assert_eq!(other.response().0, 200);
    server.assert_serves();
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn descriptors_run_out_and_come_back() {
    in_child("caps::child_runs_out_of_descriptors");
}

#[test]
#[ignore = "lowers a limit of its process: descriptors_run_out_and_come_back runs it in a child"]
fn child_runs_out_of_descriptors() {
    let server = Server::start(limits());
    server.assert_serves();
    eventually("its descriptor is free", || server.open() == 0);
    let accepted = server.counters.accepted.load(Ordering::Relaxed);
    let client = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, descriptors() as u64 + 8, hard).unwrap();
    let mut hoard: Vec<File> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    connect(client.as_raw_fd(), &UnixAddr::new(&server.path).unwrap()).unwrap();
    let mut client = Client::of(UnixStream::from(client));
    client.send(get("/", "").as_bytes());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.counters.accepted.load(Ordering::Relaxed), accepted);
    assert!(!server.ended());
    drop(hoard);
    assert_eq!(client.response().0, 200);
    server.assert_serves();
}

#[test]
fn passed_descriptors_are_dropped() {
    in_child("caps::child_sends_descriptors");
}

#[test]
#[ignore = "counts the descriptors of its process: passed_descriptors_are_dropped runs it in a child"]
fn child_sends_descriptors() {
    let server = Server::start(limits());
    let mut client = server.connect();
    client.send(get("/", "").as_bytes());
    assert_eq!(client.response().0, 200);
    let null = File::open("/dev/null").unwrap();
    // As many as one message may carry (SCM_MAX_FD).
    let bomb = [null.as_raw_fd(); 253];
    let before = descriptors();
    let request = get("/", "");
    for _ in 0..20 {
        let sent = sendmsg::<()>(
            client.stream.as_raw_fd(),
            &[IoSlice::new(request.as_bytes())],
            &[ControlMessage::ScmRights(&bomb)],
            MsgFlags::empty(),
            None,
        );
        assert_eq!(sent, Ok(request.len()));
        assert_eq!(client.response().0, 200);
        assert_eq!(descriptors(), before);
    }
}

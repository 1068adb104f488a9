//! Peers that take their time (S8). Each ends its own connection, and none but its own.

use crate::server::{Server, eventually, get, limits, post};
use jwsd::transport::{Limits, Rejection};
use std::io::Read;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(300);
const NAP: Duration = Duration::from_millis(20);

#[test]
fn nothing_sent_is_cut() {
    let server = Server::start(Limits { first_byte: SOON, ..limits() });
    assert_eq!(server.connect().rest(), "");
    eventually("the connection is gone", || server.open() == 0);
    assert_eq!(server.rejected(), [], "a connection that asked nothing was refused nothing");
}

#[test]
fn a_dripping_header_is_cut() {
    let server = Server::start(Limits { request: SOON, ..limits() });
    let mut client = server.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: jwsd\r\nX: ");
    eventually("sending fails", || {
        std::thread::sleep(NAP);
        !client.send(b"x")
    });
    assert_eq!(client.rest(), "");
    eventually("it was told", || server.rejected() == [Rejection::Timeout]);
    assert_eq!(server.handled(), Vec::<String>::new());
}

#[test]
fn a_header_cut_short_on_a_used_connection_is_cut() {
    let server = Server::start(Limits { request: SOON, ..limits() });
    let mut client = server.connect();
    // The second request has begun while the first is answered.
    client.send(format!("{}GET", get("/", "")).as_bytes());
    assert_eq!(client.response().0, 200);
    assert_eq!(client.rest(), "");
    eventually("it was told", || server.rejected() == [Rejection::Timeout]);
}

#[test]
fn a_dripping_body_is_answered_and_cut() {
    let server = Server::start(Limits { request: SOON, ..limits() });
    let mut client = server.connect();
    client.send(b"POST /echo HTTP/1.1\r\nHost: jwsd\r\nContent-Length: 10000\r\n\r\n");
    eventually("sending fails", || {
        std::thread::sleep(NAP);
        !client.send(b"x")
    });
    let answer = client.rest();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    eventually("the connection is gone", || server.open() == 0);
    assert_eq!(server.rejected(), [], "the handler has answered for it");
}

#[test]
fn an_idle_connection_is_closed() {
    let server = Server::start(Limits { idle: SOON, ..limits() });
    let mut client = server.connect();
    for _ in 0..3 {
        client.send(post("/echo", "", "x").as_bytes());
        assert_eq!(client.response(), (200, "x".into()));
    }
    assert_eq!(client.rest(), "");
    assert_eq!(server.rejected(), []);
}

#[test]
fn an_old_connection_is_closed_behind_an_answer() {
    let server = Server::start(Limits { age: SOON, ..limits() });
    let mut client = server.connect();
    eventually("an answer says that it is the last", || {
        std::thread::sleep(NAP);
        client.send(post("/echo", "", "x").as_bytes());
        let (status, head, body) = client.full_response();
        assert_eq!((status, body.as_str()), (200, "x"));
        head.contains("\r\nconnection: close\r\n")
    });
    assert_eq!(client.rest(), "");
    assert_eq!(server.rejected(), []);
    // It counts when the answer is given, not when it was asked for.
    let mut client = server.connect();
    client.send(get("/wait", "").as_bytes());
    eventually("it was asked", || server.handled().iter().any(|path| path == "/wait"));
    std::thread::sleep(SOON);
    server.echo.release.add_permits(1);
    assert!(client.full_response().1.contains("\r\nconnection: close\r\n"));
    assert_eq!(client.rest(), "");
}

#[test]
fn an_answer_nobody_reads_is_dropped() {
    let server = Server::start(Limits { write: SOON, ..limits() });
    let mut client = server.connect();
    client.send(get("/big", "").as_bytes());
    eventually("it was asked", || server.handled() == ["/big"]);
    eventually("the connection is gone", || server.open() == 0);
    let mut got = 0;
    let mut piece = vec![0; 65536];
    while let Ok(n @ 1..) = client.stream.read(&mut piece) {
        got += n;
    }
    assert!(got < crate::server::BIG, "{got}");
    server.assert_serves();
}

#[test]
fn a_slow_reader_that_moves_is_not_cut() {
    let server = Server::start(Limits { write: Duration::from_secs(5), ..limits() });
    let mut client = server.connect();
    client.send(get("/big", "Connection: close\r\n").as_bytes());
    std::thread::sleep(SOON);
    let answer = client.rest();
    assert!(answer.len() > crate::server::BIG);
}

#[test]
fn a_slow_handler_is_not_cut() {
    let server =
        Server::start(Limits { first_byte: SOON, request: SOON, idle: SOON, write: SOON, ..limits() });
    let mut client = server.connect();
    client.send(get("/wait", "").as_bytes());
    eventually("it was asked", || server.handled() == ["/wait"]);
    std::thread::sleep(SOON * 4);
    assert_eq!(server.open(), 1);
    server.echo.release.add_permits(1);
    assert_eq!(client.response(), (200, "waited".into()));
    // And the idle time begins only now.
    assert_eq!(client.rest(), "");
}

#[test]
fn a_peer_that_hangs_up_frees_its_place() {
    let server = Server::start(limits());
    let mut client = server.connect();
    client.send(get("/wait", "").as_bytes());
    eventually("it was asked", || server.handled() == ["/wait"]);
    drop(client);
    eventually("the connection is gone", || server.open() == 0);
}

//! The end: in-flight requests are answered, nobody else is waited for.

use crate::server::{Server, eventually, get, limits};
use jwsd::transport::Limits;
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[test]
fn in_flight_requests_end_and_idle_connections_close() {
    let server = Server::start(limits());
    let mut silent = server.connect();
    let mut idle = server.connect();
    idle.send(get("/", "").as_bytes());
    assert_eq!(idle.response().0, 200);
    let mut busy = server.connect();
    busy.send(get("/wait", "").as_bytes());
    eventually("all are open", || server.open() == 3 && server.handled().len() == 2);

    server.shutdown.cancel();
    assert_eq!(silent.rest(), "");
    assert_eq!(idle.rest(), "");
    eventually("the socket is gone", || !server.path.exists());
    assert!(UnixStream::connect(&server.path).is_err());
    assert!(!server.ended(), "a request is in flight");

    server.echo.release.add_permits(1);
    let (status, head, body) = busy.full_response();
    assert_eq!((status, body.as_str()), (200, "waited"));
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(busy.rest(), "");
    eventually("serving ends", || server.ended());
    assert_eq!(server.open(), 0);
}

#[test]
fn a_request_half_received_may_end() {
    let server = Server::start(limits());
    let mut client = server.connect();
    client.send(get("/", "").as_bytes());
    assert_eq!(client.response().0, 200);
    client.send(b"GET /half HTTP/1.1\r\n");
    // Until the server has read it, it is an idle connection like any other.
    std::thread::sleep(Duration::from_millis(200));
    server.shutdown.cancel();
    eventually("the socket is gone", || !server.path.exists());
    client.send(b"Host: jwsd\r\n\r\n");
    assert_eq!(client.response().0, 200);
    assert_eq!(client.rest(), "");
    eventually("serving ends", || server.ended());
}

#[test]
fn draining_has_an_end() {
    let server = Server::start(Limits { drain: Duration::from_millis(300), ..limits() });
    let mut busy = server.connect();
    busy.send(get("/wait", "").as_bytes());
    eventually("it was asked", || server.handled() == ["/wait"]);
    server.shutdown.cancel();
    eventually("serving ends", || server.ended());
    assert_eq!(busy.rest(), "");
}

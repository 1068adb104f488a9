//! Requests that two readers could understand differently, each with a second request hidden behind it.

use crate::server::{Client, Server, eventually, get, limits, post, status};
use jwsd::transport::{Limits, Rejection};
use std::sync::OnceLock;
use std::time::Duration;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: jwsd\r\n\r\n";

/// An incomplete request is cut soon, so that the table runs in bearable time.
fn server() -> Server {
    Server::start(Limits { request: Duration::from_millis(700), ..limits() })
}

/// A request to `/echo` with these header lines, and nothing else but a host.
fn raw(headers: &str, body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nHost: jwsd\r\n{headers}\r\n\r\n{body}")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: jwsd\r\n\r\n")
}

/// The request, and the status it gets; 0 where the connection is closed without an answer.
fn table() -> &'static [(String, u16)] {
    static TABLE: OnceLock<Vec<(String, u16)>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let long = "x".repeat(9000);
        let many = (0..32).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
        let hundred = (0..120).map(|n| format!("X-{n}: 1\r\n")).collect::<String>();
        vec![
            // Two ways to say how long the body is (S10).
            (raw("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"), 400),
            (raw("Content-Length: 2\r\nContent-Length: 3", "{}"), 400),
            (raw("Content-Length: 2\r\nContent-Length: 2", "{}"), 400),
            (raw("Content-Length: 2\r\nX: y\r\ncontent-length:2", "{}"), 400),
            (raw("Content-Length: 2, 2", "{}"), 400),
            (raw("Content-Length: 2 2", "{}"), 400),
            // Lengths that are not digits alone.
            (raw("Content-Length: +2", "{}"), 400),
            (raw("Content-Length: -2", "{}"), 400),
            (raw("Content-Length: 0x2", "{}"), 400),
            (raw("Content-Length: 2.0", "{}"), 400),
            (raw("Content-Length: 2;q=1", "{}"), 400),
            (raw("Content-Length: \"2\"", "{}"), 400),
            (raw("Content-Length:", "{}"), 400),
            (raw("Content-Length: two", "{}"), 400),
            (raw("Content-Length: 99999999999999999999999", "{}"), 400),
            (raw("Content-Length: 18446744073709551615", "{}"), 431),
            // Any transfer coding, however written.
            (raw("Transfer-Encoding: chunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: chunked\t", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding:\tchunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding:  CHUNKED", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: identity", "{}"), 400),
            (raw("Transfer-Encoding: xchunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: chunked, identity", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: \"chunked\"", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding: chunked", "0;ext=\n\r\n\r\n"), 400),
            (raw("Transfer-Encoding: chunked", "2;a=b\r\n{}\r\n0\r\n\r\n"), 400),
            (raw("Transfer-Encoding:\r\n chunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding : chunked", "0\r\n\r\n"), 400),
            (raw("Transfer-Encoding\u{0b}: chunked", "0\r\n\r\n"), 400),
            // Header lines that some accept and some do not.
            (raw("Content-Length : 2", "{}"), 400),
            (raw("Content-Length\t: 2", "{}"), 400),
            (raw(" Content-Length: 2", "{}"), 400),
            (raw("X: a\r\n Content-Length: 2", "{}"), 400),
            (raw("X: a\r\n\tContent-Length: 2", "{}"), 400),
            (raw("X: a\0b\r\nContent-Length: 2", "{}"), 400),
            (raw("X\0: a\r\nContent-Length: 2", "{}"), 400),
            (raw("X: a\rContent-Length: 2", "{}"), 400),
            (raw("X: \x01", "{}"), 400),
            (raw("X: \x7f", "{}"), 400),
            (raw("no colon", "{}"), 400),
            (raw(": nameless", "{}"), 400),
            (raw("X(y): z", "{}"), 400),
            // Bare line feeds, and lines before the first.
            (raw("X: a\nContent-Length: 2", "{}"), 400),
            (raw("Content-Length: 2\nX: a", "{}"), 400),
            ("GET /echo HTTP/1.1\nHost: jwsd\n\n".into(), 400),
            ("GET /echo HTTP/1.1\nHost: jwsd\r\n\r\n".into(), 400),
            ("GET /echo HTTP/1.1\r\nHost: jwsd\r\n\n".into(), 400),
            ("\r\nGET /echo HTTP/1.1\r\nHost: jwsd\r\n\r\n".into(), 400),
            ("\n\nGET /echo HTTP/1.1\r\nHost: jwsd\r\n\r\n".into(), 400),
            // Versions and first lines.
            (line("GET /echo HTTP/1.0"), 505),
            (line("GET /echo HTTP/0.9"), 400),
            (line("GET /echo HTTP/2.0"), 400),
            (line("GET /echo HTTP/1.2"), 400),
            (line("GET /echo http/1.1"), 400),
            (line("GET /echo"), 400),
            (line("GET  /echo HTTP/1.1"), 400),
            (line("GET /echo  HTTP/1.1"), 400),
            (line("GET\t/echo HTTP/1.1"), 400),
            (line("GET /echo HTTP/1.1 "), 400),
            (line(" GET /echo HTTP/1.1"), 400),
            (line("GET /e cho HTTP/1.1"), 400),
            (line("GET /\0 HTTP/1.1"), 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0),
            // Targets that are not a path (S13).
            (line("GET http://jwsd/echo HTTP/1.1"), 400),
            (line("GET http://169.254.169.254/echo HTTP/1.1"), 400),
            (line("GET jwsd:80 HTTP/1.1"), 400),
            (line("CONNECT jwsd:443 HTTP/1.1"), 400),
            (line("OPTIONS * HTTP/1.1"), 400),
            (line("GET echo HTTP/1.1"), 400),
            (line("GET ?x HTTP/1.1"), 400),
            // Hosts.
            ("GET /echo HTTP/1.1\r\n\r\n".into(), 400),
            (get("/echo", "Host: jwsd\r\n"), 400),
            (get("/echo", "Host: evil.example\r\n"), 400),
            ("GET /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(), 400),
            ("GET /echo HTTP/1.1\r\nHost: localhost:8080\r\n\r\n".into(), 400),
            ("GET /echo HTTP/1.1\r\nHost: localhost, jwsd\r\n\r\n".into(), 400),
            ("GET /echo HTTP/1.1\r\nHost:\r\n\r\n".into(), 400),
            ("GET /echo HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n".into(), 400),
            // Asking for another protocol, or for leave (S12).
            (post("/echo", "Expect: 100-continue\r\n", "{}"), 417),
            (raw("Content-Length: 2\r\nExpect: 100-continue", ""), 417),
            (post("/echo", "Expect: 200-maybe\r\n", "{}"), 417),
            (post("/echo", "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\n", "{}"), 400),
            (get("/echo", "Upgrade: websocket\r\nConnection: upgrade\r\n"), 400),
            // Browsers, and what they can reach (S13).
            (get("/echo", "Origin: https://evil.example\r\n"), 403),
            (get("/echo", "Origin: null\r\n"), 403),
            (get("/echo", "Sec-Fetch-Site: cross-site\r\n"), 403),
            (get("/echo", "Sec-Fetch-Mode: no-cors\r\n"), 403),
            // Size (S12).
            (get("/echo", &many), 431),
            (get("/echo", &hundred), 431),
            (get("/echo", &format!("X: {long}\r\n")), 431),
            (get("/echo", &format!("{long}: x\r\n")), 431),
            (line(&format!("GET /{long} HTTP/1.1")), 431),
            (long, 431),
        ]
    })
}

#[test]
fn ambiguous_requests_are_refused_with_all_that_follows() {
    let server = server();
    for (request, expected) in table() {
        let shown: String = request.escape_debug().take(120).collect();
        let mut client = server.connect();
        client.send(format!("{request}{SMUGGLED}").as_bytes());
        let answer = client.rest();
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{shown} got a second answer: {answer}");
        assert_eq!(status(&answer).unwrap_or_default(), *expected, "{shown} got: {answer}");
        assert_eq!(server.handled(), Vec::<String>::new(), "{shown} reached the handler");
    }
    eventually("every refusal was told", || {
        server.refused().len() + server.rejected().len() == table().len()
    });
    let told: Vec<_> = [server.refused(), server.rejected()].concat();
    assert!(!told.contains(&Rejection::Timeout), "{told:?}");
}

#[test]
fn pieces_do_not_matter() {
    let server = server();
    // Sent byte by byte, the last ones of a refused request may find the door closed; the answer is the same.
    for (request, expected) in table().iter().filter(|(request, _)| request.len() < 500).step_by(3) {
        let mut client = server.connect();
        for byte in format!("{request}{SMUGGLED}").as_bytes() {
            if !client.send(&[*byte]) {
                break;
            }
        }
        let answer = client.rest();
        assert_eq!(status(&answer).unwrap_or_default(), *expected, "{request:?} got: {answer}");
        assert_eq!(server.handled(), Vec::<String>::new(), "{request:?}");
    }
}

#[test]
fn refused_bodies_are_not_read_on() {
    let server = server();
    for (request, expected) in [
        ("POST /echo HTTP/1.1\r\nHost: jwsd\r\n\r\n".to_owned(), 411),
        (raw("Content-Length: 16385", ""), 413),
        (raw("Content-Length: 999999999999", "x"), 413),
    ] {
        let mut client = server.connect();
        client.send(format!("{request}{}", "y".repeat(100)).as_bytes());
        let answer = client.rest();
        assert_eq!(status(&answer), Some(expected), "{request:?} got: {answer}");
    }
}

#[test]
fn plain_requests_pass_even_together() {
    let server = server();
    let mut client = server.connect();
    let whole = [
        post("/echo", "", "one"),
        get("/two", "X: \u{e9}\r\nTE: trailers\r\n"),
        "GET /three HTTP/1.1\r\nhOsT:localhost  \r\n\r\n".to_owned(),
        post("/echo", "", ""),
        post("/echo", "Connection: close\r\n", &"z".repeat(16384)),
    ]
    .concat();
    for piece in whole.as_bytes().chunks(97) {
        assert!(client.send(piece));
    }
    let bodies: Vec<_> = (0..5).map(|_| client.response()).collect();
    let expected = ["one", "ok", "ok", "", &"z".repeat(16384)].map(|body| (200, body.to_owned()));
    assert_eq!(bodies, expected);
    assert_eq!(client.rest(), "");
    assert_eq!(server.refused(), []);
    assert_eq!(server.rejected(), []);
}

#[test]
fn a_fault_behind_a_good_request_closes_too() {
    let server = server();
    let mut client = server.connect();
    client.send(post("/echo", "", "good").as_bytes());
    assert_eq!(client.response(), (200, "good".into()));
    client.send(format!("{}{SMUGGLED}", raw("Content-Length: 2\r\nContent-Length: 2", "{}")).as_bytes());
    let answer = client.rest();
    assert_eq!(status(&answer), Some(400), "{answer}");
    assert_eq!(server.handled(), ["/echo"]);
}

#[test]
fn a_connection_ends_after_its_requests() {
    let server = Server::start(Limits { requests_per_connection: 3, ..limits() });
    let mut client: Client = server.connect();
    for nth in 1..=3 {
        client.send(get("/", "").as_bytes());
        let (status, head, _) = client.full_response();
        assert_eq!(status, 200);
        assert_eq!(head.contains("\r\nconnection: close\r\n"), nth == 3, "{head}");
    }
    assert_eq!(client.rest(), "");
}

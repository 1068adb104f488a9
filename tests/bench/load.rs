//! A load generator that costs little: one thread, `poll(2)`, requests prepared once and patched in place.
//!
//! It shares the machine's cores with what it measures, so it must never do per answer what can be done once.

use crate::Fault;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one request's JSON, as in `reference` figures of other daemons.
const BODY: usize = 300;
/// Marks the digits that differ from request to request.
const COUNTER: &str = "00000000";
/// One answer in so many is kept and verified.
const KEEP_EVERY: u64 = 500;
const STALLED: Duration = Duration::from_secs(10);

/// How the load comes: connections with one request in flight each, of `batch` JWTs each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) batch: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.connections, self.batch) {
            (1, 1) => write!(f, "1 connection"),
            (n, 1) => write!(f, "{n} connections"),
            (n, batch) => write!(f, "{n} connections, batches of {batch}"),
        }
    }
}

/// What came back.
pub(crate) struct Outcome {
    /// One per request.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) wall: Duration,
    /// JWTs of some of the answers.
    pub(crate) kept: Vec<String>,
    batch: usize,
}

impl Outcome {
    pub(crate) fn jwts(&self) -> u64 {
        (self.latencies.len() * self.batch) as u64
    }
}

/// Open connections, ready to run.
pub(crate) struct Load {
    shape: Shape,
    connections: Vec<Connection>,
}

impl Load {
    pub(crate) fn connect(socket: &Path, profile: &str, shape: Shape) -> Result<Self, Fault> {
        let connections = (0..shape.connections).map(|_| Connection::open(socket, profile, shape.batch));
        Ok(Self { shape, connections: connections.collect::<Result<_, _>>()? })
    }

    /// Sends for `duration`, then waits for the answers in flight: every JWT that was asked for is counted.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Outcome, Fault> {
        let mut outcome = Outcome {
            latencies: Vec::with_capacity(1 << 17),
            wall: Duration::ZERO,
            kept: Vec::new(),
            batch: self.shape.batch,
        };
        let start = Instant::now();
        for (i, connection) in self.connections.iter_mut().enumerate() {
            connection.send(i)?;
        }
        let mut in_flight = self.connections.len();
        while in_flight > 0 {
            for i in self.readable()? {
                let connection = &mut self.connections[i];
                if !connection.receive()? {
                    continue;
                }
                outcome.latencies.push(connection.sent.elapsed());
                let count = outcome.latencies.len();
                if count as u64 % KEEP_EVERY == 1 {
                    connection.keep_jwts(&mut outcome.kept)?;
                }
                if start.elapsed() < duration {
                    connection.send(self.shape.connections + count)?;
                } else {
                    in_flight -= 1;
                }
            }
        }
        outcome.wall = start.elapsed();
        Ok(outcome)
    }

    /// Connections with something to read.
    fn readable(&self) -> Result<Vec<usize>, Fault> {
        let wanted = |c: &'_ Connection| {
            PollFlags::from_bits_truncate(if c.waiting { PollFlags::POLLIN.bits() } else { 0 })
        };
        let mut fds: Vec<PollFd> =
            self.connections.iter().map(|c| PollFd::new(c.stream.as_fd(), wanted(c))).collect();
        if poll(&mut fds, PollTimeout::try_from(STALLED)?)? == 0 {
            return Err("no answer for 10 s: is the daemon hanging?".into());
        }
        Ok((0..fds.len()).filter(|i| self.connections[*i].waiting && fds[*i].any() == Some(true)).collect())
    }
}

struct Connection {
    stream: UnixStream,
    request: Vec<u8>,
    /// Where the counters are in `request`.
    counters: Vec<usize>,
    answer: Vec<u8>,
    /// Bytes of `answer` that are filled.
    filled: usize,
    /// Length of the whole answer, once its head is read.
    expected: Option<usize>,
    head: usize,
    sent: Instant,
    waiting: bool,
}

impl Connection {
    fn open(socket: &Path, profile: &str, batch: usize) -> Result<Self, Fault> {
        let stream = UnixStream::connect(socket)?;
        stream.set_nonblocking(true)?;
        let request = request(profile, batch);
        let counters =
            (0..request.len() - COUNTER.len()).filter(|i| request[*i..].starts_with(COUNTER.as_bytes()));
        Ok(Self {
            stream,
            counters: counters.collect(),
            request,
            answer: vec![0; 2048 * (1 + batch)],
            filled: 0,
            expected: None,
            head: 0,
            sent: Instant::now(),
            waiting: false,
        })
    }

    /// Sends a request of its own subjects, numbered from `number`.
    fn send(&mut self, number: usize) -> Result<(), Fault> {
        for (i, at) in self.counters.iter().enumerate() {
            let digits = format!("{:08}", (number * self.counters.len() + i) % 100_000_000);
            self.request[*at..*at + COUNTER.len()].copy_from_slice(digits.as_bytes());
        }
        (self.filled, self.expected, self.waiting) = (0, None, true);
        self.sent = Instant::now();
        // The socket's buffer holds a whole request; a full one is rare and worth the wait.
        let mut rest = self.request.as_slice();
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    poll(
                        &mut [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)],
                        PollTimeout::try_from(STALLED)?,
                    )?;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there; true when the answer is whole.
    fn receive(&mut self) -> Result<bool, Fault> {
        loop {
            match self.stream.read(&mut self.answer[self.filled..]) {
                Ok(0) => {
                    return Err("the daemon closed a connection, or answered more than expected".into());
                }
                Ok(n) => self.filled += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e.into()),
            }
            if self.expected.is_none() {
                self.read_head()?;
            }
            if self.expected == Some(self.filled) {
                self.waiting = false;
                return Ok(true);
            }
        }
    }

    fn read_head(&mut self) -> Result<(), Fault> {
        let bytes = &self.answer[..self.filled];
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Ok(());
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200 ") {
            let body = String::from_utf8_lossy(&bytes[end..]);
            return Err(format!("the daemon answered: {}{body}", head.lines().next().unwrap_or("")).into());
        }
        let length =
            head.lines().find_map(|l| l.strip_prefix("content-length:")).ok_or("an answer has no length")?;
        self.head = end + 4;
        self.expected = Some(self.head + length.trim().parse::<usize>()?);
        Ok(())
    }

    /// Adds the JWTs of the answer, all of which must be there.
    fn keep_jwts(&self, kept: &mut Vec<String>) -> Result<(), Fault> {
        let answer: Value = serde_json::from_slice(&self.answer[self.head..self.filled])?;
        let results = answer["results"].as_array().map_or(std::slice::from_ref(&answer), Vec::as_slice);
        for result in results {
            kept.push(result["token"].as_str().ok_or_else(|| format!("no JWT in {result}"))?.to_owned());
        }
        if results.len() == self.counters.len() {
            Ok(())
        } else {
            Err("a batch came back with another length".into())
        }
    }
}

/// The whole request, head and body.
fn request(profile: &str, batch: usize) -> Vec<u8> {
    let one = |note: String| {
        let claims = json!({
            "aud": "https://api.example.com",
            "sub": format!("user-{COUNTER}"),
            "client_id": "bench",
            "scope": "orders:read orders:write",
            "note": note,
        });
        json!({ "profile": profile, "claims": claims })
    };
    let padding = BODY - one(String::new()).to_string().len();
    let one = one("x".repeat(padding));
    let (path, body) = match batch {
        1 => ("/v1/sign", one.to_string()),
        n => ("/v1/sign/batch", json!({ "requests": vec![one; n] }).to_string()),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

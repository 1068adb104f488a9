//! A served socket, its echoing handler, and blocking clients.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use jwsd::transport::{
    BodyError, Counters, FactsWanted, Handler, Limits, Listener, PeerCredentials, Rejection, SocketSettings,
    read_body, serve,
};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a slow machine.
pub const EVENTUALLY: Duration = Duration::from_secs(30);
pub const BODY_LIMIT: usize = 16 * 1024;
pub const BIG: usize = 8 * 1024 * 1024;

/// Limits that no test meets by accident.
pub fn limits() -> Limits {
    Limits {
        connections: 64,
        connections_per_uid: 64,
        headers: 32,
        header_bytes: 8192,
        first_byte: EVENTUALLY,
        request: EVENTUALLY,
        idle: EVENTUALLY,
        write: EVENTUALLY,
        requests_per_connection: 1000,
        age: EVENTUALLY * 10,
        drain: EVENTUALLY,
    }
}

pub fn settings(path: &Path, mode: u32) -> SocketSettings {
    SocketSettings { name: "signing", path: path.to_owned(), mode, gid: None }
}

#[derive(Debug)]
pub struct Echo {
    /// Paths that reached the handler.
    pub handled: Mutex<Vec<String>>,
    pub refused: Mutex<Vec<Rejection>>,
    pub rejected: Mutex<Vec<Rejection>>,
    pub peers: Mutex<Vec<Arc<PeerCredentials>>>,
    /// A permit ends one `/wait`.
    pub release: Semaphore,
}

impl Handler for Echo {
    async fn handle(&self, peer: Arc<PeerCredentials>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        self.handled.lock().unwrap().push(path.clone());
        self.peers.lock().unwrap().push(peer);
        match path.as_str() {
            "/echo" => match read_body(request, BODY_LIMIT).await {
                Ok(body) => Response::new(Full::new(body)),
                Err(error) => answer(
                    match error {
                        BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                        BodyError::LengthRequired => StatusCode::LENGTH_REQUIRED,
                        BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
                        BodyError::Aborted => StatusCode::BAD_REQUEST,
                    },
                    error.to_string(),
                ),
            },
            "/wait" => {
                self.release.acquire().await.unwrap().forget();
                Response::new(Full::from("waited"))
            }
            "/big" => Response::new(Full::from(vec![b'x'; BIG])),
            "/panic" => panic!("as asked"),
            _ => Response::new(Full::from("ok")),
        }
    }

    fn refuse(&self, _: &PeerCredentials, why: Rejection) -> Response<Full<Bytes>> {
        self.refused.lock().unwrap().push(why);
        answer(why.status(), why.code().to_owned())
    }

    fn rejected(&self, _: &PeerCredentials, why: Rejection) {
        self.rejected.lock().unwrap().push(why);
    }
}

fn answer(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

pub struct Server {
    pub path: PathBuf,
    pub echo: Arc<Echo>,
    pub counters: Arc<Counters>,
    pub shutdown: CancellationToken,
    /// What is to be looked up of peers.
    pub wanted: watch::Sender<FactsWanted>,
    serving: JoinHandle<()>,
    _runtime: Runtime,
    _dir: TempDir,
}

impl Server {
    pub fn start(limits: Limits) -> Self {
        Self::start_wanting(limits, FactsWanted::default())
    }

    pub fn start_wanting(limits: Limits, wanted: FactsWanted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sign.sock");
        let listener = Listener::open(&settings(&path, 0o600)).unwrap();
        let echo = Arc::new(Echo {
            handled: Mutex::default(),
            refused: Mutex::default(),
            rejected: Mutex::default(),
            peers: Mutex::default(),
            release: Semaphore::new(0),
        });
        let counters = Arc::new(Counters::default());
        let shutdown = CancellationToken::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (wanted, told) = watch::channel(wanted);
        let serving = runtime.spawn(serve(
            listener,
            limits,
            told,
            Arc::clone(&echo),
            Arc::clone(&counters),
            shutdown.clone(),
        ));
        Self { path, echo, counters, shutdown, wanted, serving, _runtime: runtime, _dir: dir }
    }

    pub fn connect(&self) -> Client {
        Client::of(UnixStream::connect(&self.path).unwrap())
    }

    pub fn open(&self) -> usize {
        self.counters.open.load(Ordering::Relaxed)
    }

    pub fn ended(&self) -> bool {
        self.serving.is_finished()
    }

    pub fn rejected(&self) -> Vec<Rejection> {
        self.echo.rejected.lock().unwrap().clone()
    }

    pub fn refused(&self) -> Vec<Rejection> {
        self.echo.refused.lock().unwrap().clone()
    }

    pub fn handled(&self) -> Vec<String> {
        self.echo.handled.lock().unwrap().clone()
    }

    /// A fresh connection is served.
    pub fn assert_serves(&self) {
        let mut client = self.connect();
        client.send(post("/echo", "", "alive").as_bytes());
        assert_eq!(client.response(), (200, "alive".into()));
    }
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < EVENTUALLY, "never came about: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: jwsd\r\n{headers}\r\n")
}

pub fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: jwsd\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// The peer that behaves as the test says.
pub struct Client {
    pub stream: UnixStream,
}

impl Client {
    pub fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(EVENTUALLY)).unwrap();
        stream.set_write_timeout(Some(EVENTUALLY)).unwrap();
        Self { stream }
    }

    /// Sends; a server that has closed already is no fault.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => all.extend_from_slice(&piece[..n]),
                // Closed with something of ours unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the server did not close: {error}"),
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// The status and body of one response.
    pub fn response(&mut self) -> (u16, String) {
        let (status, _, body) = self.full_response();
        (status, body)
    }

    pub fn full_response(&mut self) -> (u16, String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (status(&head).unwrap(), head, String::from_utf8(body).unwrap())
    }
}

/// The status of the first response in some bytes.
pub fn status(text: &str) -> Option<u16> {
    text.get(9..12)?.parse().ok()
}

//! A SIEM of each kind: reads what comes and keeps it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// What one server read, by connection: the records.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Vec<Value>>>>);

impl Seen {
    fn connect(&self) -> usize {
        let mut seen = self.0.lock().unwrap();
        seen.push(Vec::new());
        seen.len() - 1
    }

    fn add(&self, connection: usize, record: Value) {
        self.0.lock().unwrap()[connection].push(record);
    }

    pub fn connections(&self) -> Vec<Vec<Value>> {
        self.0.lock().unwrap().clone()
    }
}

/// The record that a message ends in.
fn record(message: &[u8]) -> Value {
    let at = message.iter().position(|&byte| byte == b'{').unwrap();
    serde_json::from_slice(&message[at..]).unwrap()
}

pub fn syslog_unix(path: &Path) -> Seen {
    let (socket, seen) = (UnixDatagram::bind(path).unwrap(), Seen::default());
    let (ours, connection) = (seen.clone(), seen.connect());
    thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = socket.recv(&mut buffer).unwrap();
            ours.add(connection, record(&buffer[..count]));
        }
    });
    seen
}

pub fn journal(path: &Path) -> Seen {
    let (socket, seen) = (UnixDatagram::bind(path).unwrap(), Seen::default());
    let (ours, connection) = (seen.clone(), seen.connect());
    thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = socket.recv(&mut buffer).unwrap();
            let fields = std::str::from_utf8(&buffer[..count]).unwrap();
            let of = |name: &str| fields.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let record: Value = serde_json::from_str(of("MESSAGE=")).unwrap();
            assert_eq!(
                (record["event"].as_str(), of("SYSLOG_IDENTIFIER=")),
                (Some(of("JWSD_EVENT=")), "jwsd")
            );
            ours.add(connection, record);
        }
    });
    seen
}

pub fn syslog_tcp() -> (u16, Seen) {
    let (listener, seen) = (TcpListener::bind("127.0.0.1:0").unwrap(), Seen::default());
    let (port, ours) = (listener.local_addr().unwrap().port(), seen.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, ours) = (stream.unwrap(), ours.clone());
            thread::spawn(move || frames(BufReader::new(stream), &ours));
        }
    });
    (port, seen)
}

/// The file of its authority comes first.
pub fn syslog_tls(directory: &Path) -> (PathBuf, u16, Seen) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ca = directory.join("siem.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let (listener, seen) = (TcpListener::bind("127.0.0.1:0").unwrap(), Seen::default());
    let (port, ours) = (listener.local_addr().unwrap().port(), seen.clone());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let (stream, ours) = (StreamOwned::new(session, stream.unwrap()), ours.clone());
            thread::spawn(move || frames(BufReader::new(stream), &ours));
        }
    });
    (ca, port, seen)
}

fn frames(mut stream: impl BufRead, seen: &Seen) {
    let connection = seen.connect();
    loop {
        let mut length = Vec::new();
        if stream.read_until(b' ', &mut length).is_err() || length.is_empty() {
            return;
        }
        let Ok(length) = std::str::from_utf8(&length).unwrap().trim_end().parse::<usize>() else { return };
        let mut message = vec![0; length];
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        seen.add(connection, record(&message));
    }
}

/// A collector, and the bodies of its requests.
pub fn collector() -> (u16, Arc<Mutex<Vec<String>>>) {
    let (listener, seen) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let (port, ours) = (listener.local_addr().unwrap().port(), Arc::clone(&seen));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, ours) = (stream.unwrap(), Arc::clone(&ours));
            thread::spawn(move || {
                // A client that is killed breaks off anywhere.
                let _ = requests(stream, &ours);
            });
        }
    });
    (port, seen)
}

fn requests(mut stream: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line)? > 2 {
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        if line.is_empty() {
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        seen.lock().unwrap().push(String::from_utf8(body).unwrap());
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}

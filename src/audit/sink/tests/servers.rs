//! Servers that do what a script says, one connection after the other.

use super::super::Kind;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a server does with its next connection or request.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Ends the connection after so many bytes, whatever was sent beyond.
    CloseAfter(usize),
    /// Ends the connection in good order once nothing comes for so long.
    Idle(Duration),
    /// Reads so many bytes and then nothing.
    HangAfter(usize),
    /// Reads a little at a time, and ends the connection after so many bytes.
    Slow(usize),
    /// HTTP: this answer, without taking anything.
    Answer(&'static str),
    /// HTTP: takes everything, and says that it refuses so many of them.
    Partial(u64),
    /// HTTP: refuses a request that has this record.
    Poison(u64),
}

#[derive(Default)]
pub(super) struct Script {
    pub(super) faults: VecDeque<Fault>,
    /// What a syslog server read, by connection: numbers of records.
    pub(super) connections: Vec<Vec<u64>>,
    /// Whole messages as they came.
    pub(super) messages: Vec<Vec<u8>>,
    /// HTTP: heads of requests.
    pub(super) heads: Vec<String>,
}

pub(super) type Shared = Arc<Mutex<Script>>;

/// A certificate authority's file and what a server needs.
pub(super) fn certificate(directory: &Path) -> (std::path::PathBuf, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let file = directory.join("ca.pem");
    std::fs::write(&file, certificate.pem()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (file, TlsAcceptor::from(Arc::new(config)))
}

/// A syslog server on a port of its own.
pub(super) async fn syslog(acceptor: Option<TlsAcceptor>) -> (u16, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Shared::default();
    let script = Arc::clone(&shared);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (script, acceptor) = (Arc::clone(&script), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(tls) = acceptor.accept(tcp).await {
                            read_frames(tls, script).await;
                        }
                    }
                    None => read_frames(tcp, script).await,
                }
            });
        }
    });
    (port, shared)
}

pub(super) fn tcp(port: u16) -> Kind {
    Kind::SyslogTcp { host: "127.0.0.1".to_owned(), port }
}

async fn read_frames(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Shared) {
    let (fault, connection) = {
        let mut script = script.lock().unwrap();
        script.connections.push(Vec::new());
        (script.faults.pop_front(), script.connections.len() - 1)
    };
    let (mut buffer, mut read) = (Vec::new(), 0);
    loop {
        let most = match fault {
            Some(Fault::CloseAfter(most)) => most.saturating_sub(read),
            Some(Fault::HangAfter(most)) if read >= most => std::future::pending().await,
            Some(Fault::HangAfter(most)) => most - read,
            Some(Fault::Slow(most)) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
                most.saturating_sub(read).min(997)
            }
            _ => 64 * 1024,
        };
        if most == 0 {
            return;
        }
        let mut piece = vec![0; most];
        let patience = if let Some(Fault::Idle(after)) = fault { after } else { Duration::from_secs(600) };
        let count = match tokio::time::timeout(patience, stream.read(&mut piece)).await {
            Ok(Ok(count)) => count,
            Ok(Err(_)) => return,
            Err(_) => 0,
        };
        if count == 0 {
            let _ = stream.shutdown().await;
            return;
        }
        read += count;
        buffer.extend_from_slice(&piece[..count]);
        while let Some(message) = take_frame(&mut buffer) {
            let at = message.windows(7).position(|window| window == b"{\"seq\":").unwrap();
            let seq = super::seq(&message[at..]);
            let mut script = script.lock().unwrap();
            script.connections[connection].push(seq);
            script.messages.push(message);
        }
    }
}

/// One frame of RFC 6587 with octet counting.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let space = buffer.iter().position(|&byte| byte == b' ')?;
    let digits = std::str::from_utf8(&buffer[..space]).unwrap();
    assert!(!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()), "{digits:?}");
    let end = space + 1 + digits.parse::<usize>().unwrap();
    if buffer.len() < end {
        return None;
    }
    let message = buffer[space + 1..end].to_vec();
    buffer.drain(..end);
    Some(message)
}

/// A collector on a port of its own.
pub(super) async fn collector(acceptor: Option<TlsAcceptor>) -> (u16, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Shared::default();
    let script = Arc::clone(&shared);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (script, acceptor) = (Arc::clone(&script), acceptor.clone());
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => {
                        if let Ok(tls) = acceptor.accept(tcp).await {
                            answer_all(tls, script).await;
                        }
                    }
                    None => answer_all(tcp, script).await,
                }
            });
        }
    });
    (port, shared)
}

async fn answer_all(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: Shared) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = buffer.drain(..end + 4).collect();
                break String::from_utf8(head).unwrap();
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let length: usize = length.parse().unwrap();
        let fault = {
            let mut script = script.lock().unwrap();
            script.heads.push(head);
            let poison = matches!(script.faults.front(), Some(Fault::Poison(_)));
            if poison { script.faults.front().cloned() } else { script.faults.pop_front() }
        };
        match fault {
            Some(Fault::CloseAfter(most)) if most < length => {
                while buffer.len() < most && stream.read_buf(&mut buffer).await.unwrap_or(0) > 0 {}
                return;
            }
            Some(Fault::HangAfter(_)) => std::future::pending().await,
            _ => {}
        }
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body: Vec<u8> = buffer.drain(..length).collect();
        let seqs = super::otlp::seqs(&body);
        let answer = match fault {
            Some(Fault::CloseAfter(_)) => return,
            Some(Fault::Answer(answer)) => answer.to_owned(),
            Some(Fault::Poison(seq)) if seqs.contains(&seq) => {
                let said = r#"{"code":3,"message":"bad record"}"#;
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{said}", said.len())
            }
            other => {
                let refused = if let Some(Fault::Partial(count)) = other { count } else { 0 };
                let said = match refused {
                    0 => "{}".to_owned(),
                    _ => format!(
                        r#"{{"partialSuccess":{{"rejectedLogRecords":"{refused}","errorMessage":"too old"}}}}"#
                    ),
                };
                let mut script = script.lock().unwrap();
                script.connections.push(seqs);
                script.messages.push(body);
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len())
            }
        };
        let sent = stream.write_all(answer.as_bytes()).await;
        if sent.is_err() || answer.contains("connection: close") {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

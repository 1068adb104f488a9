//! A C2SP tlog-witness over HTTP, with state and with faults on demand. Shares no code with the daemon: it parses notes,
//! checks consistency proofs (RFC 9162 section 2.1.4.2) and cosigns by itself.
#![allow(dead_code, unreachable_pub, reason = "not every program of tests uses all of it")]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What it does instead of answering as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Hangs up.
    Down,
    /// Never answers.
    Hang,
    /// Answers after that many milliseconds.
    Slow(u64),
    /// 200 with something else than signature lines.
    Garbage,
    /// Cosigns with another key of the same name.
    WrongKey,
    /// 200 without an end.
    Huge,
    Redirect,
    Status(u16),
    /// Cosigns as if it were that much later or earlier, seconds.
    Clock(i64),
    /// 409 with the size that it was told.
    Stubborn,
    /// 409 with another size every time.
    Fickle,
    /// 409 without a size.
    Sizeless,
}

struct State {
    key: Ed25519KeyPair,
    /// Size and root of the last checkpoint that it cosigned, by origin.
    logs: HashMap<String, (u64, Vec<u8>)>,
    /// Ed25519 keys that may sign; any, when empty.
    trusted: Vec<Vec<u8>>,
    fault: Fault,
    /// Old sizes and sizes that it was asked about, and the status that it gave.
    asked: Vec<(u64, u64, u16)>,
}

/// Runs until the program ends.
pub struct FakeWitness {
    pub name: String,
    pub url: String,
    pub vkey: String,
    state: Arc<Mutex<State>>,
}

impl FakeWitness {
    pub fn start(name: &str) -> Self {
        let key = Ed25519KeyPair::generate().unwrap();
        let raw = [&[4], key.public_key().as_ref()].concat();
        let vkey = format!("{name}+{}+{}", hex(&id(name, &raw)), BASE64.encode(&raw));
        let (logs, trusted, asked) = (HashMap::new(), Vec::new(), Vec::new());
        let state = Arc::new(Mutex::new(State { key, logs, trusted, fault: Fault::None, asked }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/w/", listener.local_addr().unwrap());
        let (shared, own) = (Arc::clone(&state), name.to_owned());
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (state, name) = (Arc::clone(&shared), own.clone());
                std::thread::spawn(move || serve(&socket, &state, &name));
            }
        });
        Self { name: name.to_owned(), url, vkey, state }
    }

    pub fn fault(&self, fault: Fault) {
        self.state.lock().unwrap().fault = fault;
    }
    /// What it has of its one log.
    pub fn has(&self) -> Option<(u64, Vec<u8>)> {
        self.state.lock().unwrap().logs.values().next().cloned()
    }
    /// As if it had seen that.
    pub fn remember(&self, origin: &str, size: u64, root: &[u8]) {
        self.state.lock().unwrap().logs.insert(origin.to_owned(), (size, root.to_vec()));
    }
    /// As if it had never seen anything.
    pub fn forget(&self) {
        self.state.lock().unwrap().logs.clear();
    }
    /// Takes checkpoints by these keys alone (Ed25519, as vkeys).
    pub fn trust(&self, vkeys: &[&str]) {
        let raw = |vkey: &&str| BASE64.decode(vkey.splitn(3, '+').nth(2).unwrap()).unwrap()[1..].to_vec();
        self.state.lock().unwrap().trusted = vkeys.iter().map(raw).collect();
    }
    pub fn asked(&self) -> Vec<(u64, u64, u16)> {
        self.state.lock().unwrap().asked.clone()
    }
}

fn id(name: &str, raw: &[u8]) -> [u8; 4] {
    let hash = digest(&SHA256, &[name.as_bytes(), b"\n", raw].concat());
    hash.as_ref()[..4].try_into().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers one request.
fn serve(mut socket: &TcpStream, state: &Mutex<State>, name: &str) {
    let mut reader = BufReader::new(socket);
    let (mut line, mut length, mut target) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if target.is_empty() {
            target = line.trim_end().to_owned();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() || target.is_empty() {
        return;
    }
    let body = String::from_utf8(body).unwrap();
    let fault = state.lock().unwrap().fault;
    match fault {
        Fault::Down => return,
        Fault::Hang => std::thread::sleep(Duration::from_secs(3600)),
        Fault::Slow(millis) => std::thread::sleep(Duration::from_millis(millis)),
        _ => {}
    }
    let (status, extra, answer) = match fault {
        _ if target != "POST /w/add-checkpoint HTTP/1.1" => (404, "", String::new()),
        Fault::Garbage => (200, "", "<html>\n\n\u{2014} hello\n</html>".to_owned()),
        Fault::Huge => (200, "", "\u{2014} x AAAAAAAA\n".repeat(100_000)),
        Fault::Redirect => (307, "Location: http://127.0.0.1:1/\r\n", String::new()),
        Fault::Status(status) => (status, "", "no\n".to_owned()),
        Fault::Sizeless => (409, "", String::new()),
        _ => add(&mut state.lock().unwrap(), name, &body, fault),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        answer.len()
    );
    let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(answer.as_bytes()));
}

fn add(state: &mut State, name: &str, body: &str, fault: Fault) -> (u16, &'static str, String) {
    const SIZE: &str = "Content-Type: text/x.tlog.size\r\n";
    let (proof, note) = body.split_once("\n\n").expect("an empty line after the proof");
    let mut proof = proof.lines();
    let old: u64 = proof.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
    let proof: Vec<Vec<u8>> = proof.map(|line| BASE64.decode(line).unwrap()).collect();
    assert!(proof.len() <= 63 && proof.iter().all(|hash| hash.len() == 32));
    let (text, signatures) = note.split_once("\n\n").unwrap();
    let text = format!("{text}\n");
    let lines: Vec<&str> = text.lines().collect();
    let (origin, size, root) = (lines[0], lines[1].parse::<u64>().unwrap(), BASE64.decode(lines[2]).unwrap());
    let signed = signatures.lines().any(|line| {
        let raw = BASE64.decode(line.rsplit(' ').next().unwrap()).unwrap();
        let verifies =
            |key: &Vec<u8>| UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &raw[4..]).is_ok();
        state.trusted.is_empty() || state.trusted.iter().any(verifies)
    });
    let (has, seen) = state.logs.get(origin).cloned().unwrap_or((0, Vec::new()));
    let (status, answer) = match fault {
        Fault::Stubborn => (409, format!("{old}\n")),
        Fault::Fickle => (409, format!("{}\n", old.saturating_sub(1).max(1))),
        _ if !signed => (403, String::new()),
        _ if old > size => (400, String::new()),
        _ if old != has => (409, format!("{has}\n")),
        _ if old == size && has > 0 && seen != root => (409, format!("{has}\n")),
        _ if !is_consistent((old, &seen), (size, &root), &proof) => (422, String::new()),
        _ => (200, String::new()),
    };
    state.asked.push((old, size, status));
    if status != 200 {
        return (status, if status == 409 { SIZE } else { "" }, answer);
    }
    state.logs.insert(origin.to_owned(), (size, root));
    let shift = if let Fault::Clock(shift) = fault { shift } else { 0 };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().saturating_add_signed(shift);
    let other = Ed25519KeyPair::generate().unwrap();
    let key = if fault == Fault::WrongKey { &other } else { &state.key };
    let signature = key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
    let raw = [&[4], key.public_key().as_ref()].concat();
    let bytes = [&id(name, &raw)[..], &time.to_be_bytes(), signature.as_ref()].concat();
    (200, "", format!("\u{2014} {name} {}\n", BASE64.encode(bytes)))
}

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    digest(&SHA256, &[&[1], left, right].concat()).as_ref().to_vec()
}

fn is_consistent((old, before): (u64, &[u8]), (new, after): (u64, &[u8]), proof: &[Vec<u8>]) -> bool {
    if old == 0 || old == new {
        return proof.is_empty();
    }
    let mut path: Vec<&[u8]> = proof.iter().map(Vec::as_slice).collect();
    if old.is_power_of_two() {
        path.insert(0, before);
    }
    let (mut first, mut second) = (old - 1, new - 1);
    while first & 1 == 1 {
        (first, second) = (first >> 1, second >> 1);
    }
    let Some((start, rest)) = path.split_first() else { return false };
    let (mut left, mut right) = (start.to_vec(), start.to_vec());
    for hash in rest {
        if second == 0 {
            return false;
        }
        if first & 1 == 1 || first == second {
            (left, right) = (node(hash, &left), node(hash, &right));
            while first & 1 == 0 && first != 0 {
                (first, second) = (first >> 1, second >> 1);
            }
        } else {
            right = node(&right, hash);
        }
        (first, second) = (first >> 1, second >> 1);
    }
    left == before && right == after && second == 0
}

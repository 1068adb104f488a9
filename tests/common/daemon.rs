//! A running daemon, as its callers and its operator see it.

use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::{Connection, Response, good, records};

/// A running daemon; killed when dropped.
pub struct Daemon {
    pub(super) run: PathBuf,
    pub(super) audit: PathBuf,
    pub(super) child: Child,
    pub(super) log: Arc<Mutex<String>>,
    pub(super) reader: Option<thread::JoinHandle<()>>,
}

impl Daemon {
    /// The process that was started (strace, when it was started through it).
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// What it has written for operators so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn connect(&self) -> Connection {
        Connection::open(&self.socket("sign.sock")).unwrap()
    }

    /// One request on a connection of its own.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.connect().post(path, &body.to_string()).unwrap()
    }

    pub fn get(&self, socket: &str, path: &str) -> std::io::Result<Response> {
        Connection::open(&self.socket(socket))?.request("GET", path, &[], "")
    }

    pub fn sign(&self, profile: &str) -> Response {
        self.post("/v1/sign", &good(profile))
    }

    /// Has it read its configuration again.
    pub fn reload(&self) -> Response {
        Connection::open(&self.socket("admin.sock")).unwrap().post("/v1/reload", "{}").unwrap()
    }

    pub fn status(&self) -> Value {
        self.get("admin.sock", "/v1/status").unwrap().json()
    }

    /// `C_Sign` calls so far.
    pub fn signs(&self) -> u64 {
        self.status()["backends"]["hsm"]["signs"].as_u64().unwrap()
    }

    pub fn worker_pid(&self) -> i32 {
        i32::try_from(self.status()["backends"]["hsm"]["worker_pid"].as_i64().unwrap()).unwrap()
    }

    pub fn key_set(&self) -> Value {
        self.get("public.sock", "/.well-known/jwks.json").unwrap().json()
    }

    pub fn records(&self) -> Vec<Value> {
        records(&self.audit)
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end, whatever brings that.
    pub fn wait(mut self) {
        self.child.wait().unwrap();
    }

    /// kill -9, and wait for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and wait for the end; gives the exit code and the whole log.
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.signal(nix::sys::signal::Signal::SIGTERM);
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status.code(), self.log())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

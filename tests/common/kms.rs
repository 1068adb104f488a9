//! AWS KMS for tests: settings, credentials, and the emulator in a process of its own.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part")]

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use jwsd::backend::aws_kms::{Backend, Settings};
use jwsd::backend::{Health, KeyStore};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Of a backend `name` whose service answers at `endpoint`; generous limits, no hedges.
pub fn settings(name: &str, region: &str, endpoint: &str) -> Settings {
    Settings {
        name: name.to_owned(),
        region: region.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        profile: None,
        role: None,
        rate: 10_000,
        concurrency: 64,
        connect_timeout: Duration::from_secs(2),
        attempt_timeout: Duration::from_secs(5),
        hedge: false,
        generate: true,
        deletion_days: 30,
    }
}

/// An access key that never expires.
pub fn credentials(id: &str) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(id, "not-a-secret", None, None, "test"))
}

/// The emulator on a free loopback port; killed when dropped.
pub struct Emulator {
    child: Child,
    port: u16,
    _home: TempDir,
}

impl Emulator {
    /// `None`, and says so, where it is not installed; fails then if `CI` is set.
    pub fn start() -> Option<Self> {
        let program = emulator();
        if !program.exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is missing: scripts/test makes it",
                program.display()
            );
            eprintln!("SKIPPED: {} is missing; scripts/test makes it", program.display());
            return None;
        }
        let home = tempfile::Builder::new().prefix("jwsd-kms-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(&program)
            .env_clear()
            .envs([("BIND_HOST", "127.0.0.1"), ("SERVICES", "kms"), ("LOG_LEVEL", "WARNING")])
            .env("GATEWAY_PORT", port.to_string())
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut emulator = Self { child, port, _home: home };
        let started = Instant::now();
        while !emulator.answers() {
            assert_eq!(emulator.child.try_wait().unwrap(), None, "the emulator ended");
            assert!(started.elapsed() < Duration::from_secs(60), "the emulator is not ready in a minute");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(emulator)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A backend `name` on it.
    pub async fn store(&self, name: &str) -> Arc<dyn KeyStore> {
        let settings = settings(name, "eu-central-1", &self.url());
        let (store, started) =
            Backend::start_with(settings, credentials("test"), Health::of_backend(name, None)).await;
        started.unwrap();
        store
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let request = "GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The emulator's program, whether it is there or not: beside the directory of this test binary, `TARGET/debug/deps`.
pub fn emulator() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("kms-venv/bin/ministack")
}

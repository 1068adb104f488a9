//! A token of its own for every test, with or without the faulty module in front.
#![allow(dead_code, reason = "every test program uses another part")]

use jwsd::backend::pkcs11::{Backend, PinSource, Settings, TokenSelector};
use jwsd::backend::{Ask, Error, Health, KeySpec, KeyStore as _, Opened, Wanted};
use jwsd::jose::{Algorithm, PublicKey, Signature, Verifier};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

pub const PIN: &str = "canary-73519";
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

pub struct Token {
    dir: tempfile::TempDir,
    module: PathBuf,
    /// What the faulty module forwards to.
    real: PathBuf,
    pin: Mutex<String>,
}

impl Token {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tokens")).unwrap();
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            dir.path().join("tokens").display()
        );
        std::fs::write(dir.path().join("softhsm2.conf"), conf).unwrap();
        let token = Self { dir, module: SOFTHSM.into(), real: SOFTHSM.into(), pin: Mutex::new(PIN.into()) };
        token.softhsm2_util(&[
            "--init-token",
            "--free",
            "--label",
            "jwsd",
            "--so-pin",
            "so-pin",
            "--pin",
            PIN,
        ]);
        token
    }

    /// A token of Kryoptic, whose module must be there.
    pub fn kryoptic() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("token.sql");
        let conf = format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = {store:?}\n");
        std::fs::write(dir.path().join("kryoptic.conf"), conf).unwrap();
        let (module, real) = (kryoptic_module(), kryoptic_module());
        let token = Self { dir, module, real, pin: Mutex::new(PIN.into()) };
        let mut child = Command::new(env!("CARGO_BIN_EXE_jwsd"))
            .args(["pkcs11-init-token", "jwsd"])
            .arg(&token.module)
            .env("KRYOPTIC_CONF", token.path("kryoptic.conf"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("so-pin-0\n{PIN}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        token
    }

    pub fn faulty(script: &str) -> Self {
        let token = Self::new().behind_the_faulty_module();
        token.script(script);
        token
    }

    /// The same token, reached through the faulty module.
    pub fn behind_the_faulty_module(self) -> Self {
        self.script("");
        Self { module: faulty_module().to_owned(), ..self }
    }

    /// Replaces the fault script, also while a worker runs.
    pub fn script(&self, script: &str) {
        // In one step: a reader must never see half of it.
        let draft = self.path("script.new");
        std::fs::write(&draft, script).unwrap();
        std::fs::rename(draft, self.path("script")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn set_pin(&self, pin: &str) {
        *self.pin.lock().unwrap() = pin.into();
    }

    pub fn softhsm2_util(&self, arguments: &[&str]) {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .output()
            .expect("softhsm2-util must be installed (apt install softhsm2)");
        assert!(output.status.success(), "{output:?}");
    }

    pub fn settings(&self) -> Settings {
        let variables = [
            ("SOFTHSM2_CONF", "softhsm2.conf"),
            ("KRYOPTIC_CONF", "kryoptic.conf"),
            ("FAULTY_PKCS11_SCRIPT", "script"),
            ("FAULTY_PKCS11_STATE", "logins"),
        ];
        let env: BTreeMap<_, _> =
            variables.map(|(name, file)| (name.into(), self.path(file).display().to_string())).into();
        let real = ("FAULTY_PKCS11_MODULE".into(), self.real.display().to_string());
        let env = env.into_iter().chain([real]).collect();
        Settings {
            name: "hsm".into(),
            program: env!("CARGO_BIN_EXE_jwsd").into(),
            module: self.module.clone(),
            token: TokenSelector { label: Some("jwsd".into()), ..TokenSelector::default() },
            pin: PinSource::File("unused".into()),
            sessions: 2,
            env,
            start_timeout: Duration::from_secs(20),
            marker_dir: self.dir.path().into(),
            generate: true,
        }
    }

    pub async fn start(&self) -> Arc<Backend> {
        self.try_start(self.settings()).await.unwrap()
    }

    pub async fn try_start(&self, settings: Settings) -> Result<Arc<Backend>, Error> {
        let pin = self.pin.lock().unwrap().clone();
        let read = Box::new(move || Ok(SecretString::from(pin.clone())));
        started(Backend::start(settings, read, Health::of_backend("hsm", None)).await).await
    }

    /// Makes a key and opens it.
    pub async fn generate(&self, backend: &Backend, id: &[u8], algorithm: Algorithm) -> Opened {
        let spec = KeySpec { algorithm, rsa_bits: 2048 };
        let made = backend.generate(id, "test", spec).await.unwrap();
        backend.open(Wanted::Id(id), algorithm, Some(&made.public)).await.unwrap()
    }
}

/// A deadline that no healthy signature misses.
pub fn soon() -> Ask {
    within(20_000)
}

pub fn within(millis: u64) -> Ask {
    Ask { flow: 1, ..Ask::own(Instant::now() + Duration::from_millis(millis)) }
}

/// A backend whose first start must have worked; one that did not is shut down.
pub async fn started((backend, outcome): (Arc<Backend>, Result<(), Error>)) -> Result<Arc<Backend>, Error> {
    if outcome.is_err() {
        backend.shutdown().await;
    }
    outcome.map(|()| backend)
}

/// One attempt to sign.
pub trait Sign {
    async fn sign(&self, input: &[u8], ask: Ask) -> Result<Signature, Error>;
}

impl Sign for Opened {
    async fn sign(&self, input: &[u8], ask: Ask) -> Result<Signature, Error> {
        self.signer.sign(input, ask).await.result
    }
}

pub fn verifies(algorithm: Algorithm, public: &PublicKey, input: &[u8], signature: &Signature) -> bool {
    let verifier = Verifier::new(algorithm, public.clone()).unwrap();
    verifier.verify(input, signature).is_ok()
}

pub fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Whether the process runs; a zombie does not.
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// Kryoptic's module, where `ensure_kryoptic` of scripts/lib.sh leaves it.
pub fn kryoptic_module() -> PathBuf {
    std::env::var_os("JWSD_TEST_KRYOPTIC")
        .map_or_else(|| profile_dir().parent().unwrap().join("kryoptic/libkryoptic_pkcs11.so"), PathBuf::from)
}

/// `target/debug` or its like.
fn profile_dir() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_jwsd")).parent().unwrap()
}

/// The test-only module, built first if this test target was built alone.
fn faulty_module() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let profile_dir = profile_dir();
        let profile = match profile_dir.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--example", "faulty_pkcs11", "--profile", profile])
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .arg("--target-dir")
            .arg(profile_dir.parent().unwrap())
            .status()
            .unwrap();
        assert!(built.success(), "the faulty module must build");
        profile_dir.join("examples/libfaulty_pkcs11.so")
    })
}

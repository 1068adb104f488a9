//! What the daemon needs around it: a SoftHSM token of its own, keys, a configuration, and a directory on a real disk.

use crate::{Fault, raw};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{Pid, getuid};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const LABEL: &str = "bench";
pub(crate) const PIN: &str = "bench-pin-1234";

/// A directory with everything in it; removed on drop.
pub(crate) struct Bed {
    dir: TempDir,
    audit: PathBuf,
    signing: PathBuf,
    public: PathBuf,
    algorithms: Vec<raw::Algorithm>,
    /// Whether the audit log is sealed.
    sealed: bool,
}

impl Bed {
    /// One SoftHSM token.
    pub(crate) fn make(parent: &Path, module: &Path, algorithms: &[raw::Algorithm]) -> Result<Self, Fault> {
        Self::with_token(Self::bare(parent, algorithms)?, module)
    }

    fn with_token(bed: Self, module: &Path) -> Result<Self, Fault> {
        bed.make_token()?;
        let env = [("SOFTHSM2_CONF", bed.path("softhsm2.conf"))];
        bed.configure(&bed.backend("hsm", module, &env), &["hsm"])?;
        Ok(bed)
    }

    /// One SoftHSM token, which also seals the audit log.
    pub(crate) fn sealed(parent: &Path, module: &Path, algorithms: &[raw::Algorithm]) -> Result<Self, Fault> {
        Self::with_token(Self { sealed: true, ..Self::bare(parent, algorithms)? }, module)
    }

    /// One SoftHSM token, its keys, and a copy of it all as a second token; both are reached through `module`, which
    /// does as the files `script-a` and `script-b` say.
    pub(crate) fn twins(
        parent: &Path,
        module: &Path,
        jwsd: &Path,
        algorithms: &[raw::Algorithm],
    ) -> Result<Self, Fault> {
        let bed = Self::bare(parent, algorithms)?;
        bed.make_token()?;
        let half = |name: &str, conf: &str| {
            let env = [
                ("SOFTHSM2_CONF", bed.path(conf)),
                ("FAULTY_PKCS11_SCRIPT", bed.path(&format!("script-{name}"))),
            ];
            bed.backend(&format!("hsm-{name}"), module, &env)
        };
        for name in ["a", "b"] {
            bed.script(name, "")?;
        }
        let first = half("a", "softhsm2.conf");
        bed.configure(&first, &["hsm-a"])?;
        bed.generate(jwsd)?;
        run(Command::new("cp").arg("-a").args([bed.path("tokens"), bed.path("tokens-b")]))?;
        let copy = format!("directories.tokendir = {}\nlog.level = ERROR\n", bed.path("tokens-b").display());
        write_private(&bed.path("softhsm2-b.conf"), &copy)?;
        bed.configure(&(first + &half("b", "softhsm2-b.conf")), &["hsm-a", "hsm-b"])?;
        Ok(bed)
    }

    /// Keys in what plays AWS KMS at `endpoint`, with so many requests at once.
    pub(crate) fn kms(
        parent: &Path,
        endpoint: &str,
        concurrency: u32,
        algorithms: &[raw::Algorithm],
    ) -> Result<Self, Fault> {
        let bed = Self::bare(parent, algorithms)?;
        let backend = format!(
            "[backend.cloud]\nkind = \"aws-kms\"\nregion = \"eu-central-1\"\nendpoint = {endpoint:?}\n\
             rate = \"1000000/s\"\nconcurrency = {concurrency}\nhedge = false\n"
        );
        bed.configure(&backend, &["cloud"])?;
        Ok(bed)
    }

    /// Replaces the script of one of [`Self::twins`], in one step.
    pub(crate) fn script(&self, name: &str, text: &str) -> Result<(), Fault> {
        fs::write(self.path("script.new"), text)?;
        Ok(fs::rename(self.path("script.new"), self.path(&format!("script-{name}")))?)
    }

    fn bare(parent: &Path, algorithms: &[raw::Algorithm]) -> Result<Self, Fault> {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(fs::canonicalize(parent)?)?;
        if statfs(dir.path())?.filesystem_type() == TMPFS_MAGIC {
            return Err(
                format!("{} is in memory: name a directory on a disk with --dir", parent.display()).into()
            );
        }
        let path = |name: &str| dir.path().join(name);
        for name in ["tokens", "run", "state", "audit"] {
            fs::DirBuilder::new().mode(0o700).create(path(name))?;
        }
        write_private(&path("pin"), PIN)?;
        Ok(Self {
            audit: path("audit"),
            signing: path("run/sign.sock"),
            public: path("run/public.sock"),
            algorithms: algorithms.to_vec(),
            sealed: false,
            dir,
        })
    }

    fn make_token(&self) -> Result<(), Fault> {
        let softhsm =
            format!("directories.tokendir = {}\nlog.level = ERROR\n", self.path("tokens").display());
        write_private(&self.path("softhsm2.conf"), &softhsm)?;
        run(Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "bench-so-pin"])
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf")))?;
        Ok(())
    }

    /// Makes every key.
    pub(crate) fn generate(&self, jwsd: &Path) -> Result<(), Fault> {
        let names = self.algorithms.iter().map(|algorithm| algorithm.name());
        for name in names.chain(self.sealed.then_some("audit")) {
            run(Command::new(jwsd)
                .args(["keys", "generate", "--config"])
                .arg(self.path("jwsd.toml"))
                .arg(name))?;
        }
        Ok(())
    }

    /// Starts the daemon; returns when it is ready to sign.
    pub(crate) fn start(&self, jwsd: &Path) -> Result<Daemon, Fault> {
        let config = self.path("jwsd.toml");
        let listed = run(Command::new(jwsd).args(["keys", "list", "--json", "--config"]).arg(&config))?;
        let ids =
            serde_json::from_str::<Vec<Listed>>(&listed)?.into_iter().filter_map(Listed::decode).collect();
        let log = fs::File::create_new(self.path("log"))?;
        let child = Command::new(jwsd)
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()?;
        let daemon = Daemon { child, ids };
        let start = Instant::now();
        while !self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
            if start.elapsed() > Duration::from_secs(20) {
                return Err(format!(
                    "the daemon is not ready; it said:\n{}",
                    fs::read_to_string(self.path("log"))?
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(daemon)
    }

    /// Sets `SOFTHSM2_CONF` for this process.
    #[allow(unsafe_code)]
    pub(crate) fn point_module_here(&self) {
        // SAFETY: no other thread has been started yet.
        unsafe { std::env::set_var("SOFTHSM2_CONF", self.path("softhsm2.conf")) };
    }

    pub(crate) fn signing_socket(&self) -> &Path {
        &self.signing
    }

    /// On the disk of the audit log.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Verifies with a library that the daemon does not verify with; returns how many.
    pub(crate) fn verify(&self, jwts: &[String]) -> Result<u64, Fault> {
        let answer = self.get("/.well-known/jwks.json")?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("the key set has no body")?;
        let keys: JwkSet = serde_json::from_str(body)?;
        for jwt in jwts {
            let header = decode_header(jwt)?;
            let key = header.kid.and_then(|kid| keys.find(&kid).cloned()).ok_or("a JWT of an unknown key")?;
            let mut validation = Validation::new(header.alg);
            validation.set_audience(&["https://api.example.com"]);
            decode::<serde_json::Value>(jwt, &DecodingKey::from_jwk(&key)?, &validation)?;
        }
        Ok(jwts.len() as u64)
    }

    /// `jwsd audit verify` accepts what was written.
    pub(crate) fn verify_audit(&self, jwsd: &Path) -> Result<(), Fault> {
        run(Command::new(jwsd).args(["audit", "verify", "--config"]).arg(self.path("jwsd.toml")))?;
        Ok(())
    }

    /// Records of issued JWTs, counted in the files themselves.
    pub(crate) fn issued_records(&self) -> Result<u64, Fault> {
        let issued = regex::bytes::Regex::new(r#""event":\s*"jwt\.(issued|failed)""#)?;
        let mut count = 0;
        for entry in fs::read_dir(&self.audit)? {
            let bytes = fs::read(entry?.path())?;
            for record in issued.captures_iter(&bytes) {
                if &record[1] == b"failed" {
                    return Err("the audit log says that a JWT failed".into());
                }
                count += 1;
            }
        }
        Ok(count)
    }

    /// Records of this event, counted in the files themselves.
    pub(crate) fn count_records(&self, event: &str) -> Result<usize, Fault> {
        let event = format!("\"event\":\"{event}\"");
        let mut count = 0;
        for entry in fs::read_dir(&self.audit)? {
            count += String::from_utf8_lossy(&fs::read(entry?.path())?).matches(&event).count();
        }
        Ok(count)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn get(&self, path: &str) -> Result<String, Fault> {
        let mut stream = UnixStream::connect(&self.public)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn backend(&self, name: &str, module: &Path, env: &[(&str, PathBuf)]) -> String {
        let env: Vec<String> = env.iter().map(|(name, path)| format!("{name} = {path:?}")).collect();
        format!(
            r#"[backend.{name}]
kind = "pkcs11"
module = {module:?}
token = {{ label = "{LABEL}" }}
pin = {{ file = {pin:?} }}
env = {{ {env} }}
"#,
            pin = self.path("pin"),
            env = env.join(", "),
        )
    }

    /// Writes the configuration: these backends, and every key in those of `holders`.
    fn configure(&self, backends: &str, holders: &[&str]) -> Result<(), Fault> {
        let dir = self.dir.path().display();
        let names: Vec<String> = self.algorithms.iter().map(|a| format!("{:?}", a.name())).collect();
        let mut text = format!(
            r#"environment = "bench"
allow_root = {root}
[listen]
signing = {{ path = "{dir}/run/sign.sock" }}
admin = {{ path = "{dir}/run/admin.sock" }}
public = {{ path = "{dir}/run/public.sock" }}
[audit]
dir = "{dir}/audit"
[state]
dir = "{dir}/state"
[log]
level = "warn"
[limits]
requests_per_connection = 100_000_000
connections = 1000
connections_per_uid = 1000
{backends}
[caller.bench]
user = {uid}
profiles = [{profiles}]
"#,
            root = getuid().is_root(),
            uid = getuid(),
            profiles = names.join(", "),
        );
        for algorithm in &self.algorithms {
            let name = algorithm.name();
            text += &format!(
                r#"[key.{name}]
backends = {holders:?}
algorithm = "{algorithm:?}"
[profile.{name}]
key = "{name}"
typ = "at+jwt"
issuer = "https://localhost/bench"
audiences = ["https://api.example.com"]
lifetime = {{ default = "5m", max = "15m" }}
[profile.{name}.claims]
sub = {{ required = true, type = "string", max_length = 64 }}
client_id = {{ required = true }}
scope = {{ pattern = "[a-z:]+( [a-z:]+)*" }}
note = {{ type = "string", max_length = 300 }}
"#
            );
        }
        if self.sealed {
            text += "[key.audit]\nbackend = \"hsm\"\nalgorithm = \"Ed25519\"\n[audit.checkpoint]\nkey = \"audit\"\n";
        }
        let path = self.path("jwsd.toml");
        if path.exists() {
            fs::remove_file(&path)?;
        }
        write_private(&path, &text)
    }
}

/// A key as `jwsd keys list --json` shows it.
#[derive(serde::Deserialize)]
struct Listed {
    key: String,
    /// Hex.
    id: String,
}

impl Listed {
    /// `None` for an id that is not hex, as of KMS.
    fn decode(self) -> Option<(String, Vec<u8>)> {
        let digits =
            self.id.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        Some((self.key, digits.collect::<Option<_>>()?))
    }
}

/// `jwsd serve`; killed on drop, so that a failed run leaves nothing behind.
pub(crate) struct Daemon {
    child: Child,
    /// `CKA_ID` by name of the key.
    ids: BTreeMap<String, Vec<u8>>,
}

impl Daemon {
    /// The processes of its workers, oldest first.
    pub(crate) fn workers(&self) -> Result<Vec<u32>, Fault> {
        let mut workers = crate::cost::children(self.pid())?;
        workers.sort_unstable();
        Ok(workers)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn key_id(&self, algorithm: raw::Algorithm) -> Result<&[u8], Fault> {
        Ok(self.ids.get(algorithm.name()).ok_or("`jwsd keys list` does not show the key")?)
    }

    /// The most memory it ever had resident.
    pub(crate) fn peak_memory_kib(&self) -> Result<u64, Fault> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line =
            status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/PID/status")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Asks it to stop, as an operator would, and waits.
    pub(crate) fn stop(mut self) -> Result<(), Fault> {
        kill(Pid::from_raw(i32::try_from(self.pid())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the daemon ended with {status}").into()) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), Fault> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// What it printed.
fn run(command: &mut Command) -> Result<String, Fault> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(format!("{command:?} ended with {}: {said}", output.status).into())
}

//! A real daemon as a process, on real sockets, against a real SoftHSM token, in a directory of its own.
#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part")]

pub mod browser;
pub mod daemon;
pub mod http;
pub mod strace;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use daemon::Daemon;
pub use http::{Connection, Response};

pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const PIN: &str = "canary-pin-48151623";
pub const JWSD: &str = env!("CARGO_BIN_EXE_jwsd");

/// A directory with a token and a configuration; daemons are started in it.
pub struct Site {
    directory: TempDir,
    /// `[key.NAME]` to algorithm.
    pub keys: BTreeMap<String, String>,
    pub module: PathBuf,
    /// Environment of the worker besides SOFTHSM2_CONF.
    pub env: BTreeMap<String, String>,
    pub audit: PathBuf,
    pub segment: String,
    pub sessions: u16,
    /// TOML of all `[backend.NAME]`; the one token in `hsm` when empty.
    pub backends: String,
    /// Names of the backends that hold each key.
    pub holders: Vec<String>,
    /// Environment of daemon and commands besides our own.
    pub process_env: BTreeMap<String, String>,
    /// TOML lines for `[limits]`.
    pub limits: String,
    /// More TOML, appended.
    pub extra: String,
    /// Profiles in `extra` that the caller may use.
    pub profiles: Vec<String>,
    /// Profiles whose JWTs the caller may ask about.
    pub introspect: Vec<String>,
}

impl Site {
    /// A token, and one ES256 key named `access`.
    pub fn new() -> Self {
        Self::with_keys(&[("access", "ES256")])
    }

    /// A SoftHSM token in backend `hsm`, with these keys.
    pub fn with_keys(keys: &[(&str, &str)]) -> Self {
        let site = Self::bare(keys);
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", site.path("tokens").display());
        fs::write(site.path("softhsm2.conf"), text).unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "test", "--so-pin", "so-pin-0", "--pin", PIN])
            .env("SOFTHSM2_CONF", site.path("softhsm2.conf"))
            .output()
            .expect("softhsm2-util is missing; scripts/test installs it (apt-get install softhsm2)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        site.generate_all();
        site
    }

    /// The same keys in two tokens, `hsm-a` and `hsm-b`, each behind a module that does as its file `script-a` or
    /// `script-b` says. The second is a copy of the first, as an HSM's own cloning makes it.
    pub fn with_two_tokens(keys: &[(&str, &str)], module: &Path) -> Self {
        let mut site = Self::with_keys(keys);
        copy(&site.path("tokens"), &site.path("tokens-b"));
        fs::rename(site.path("softhsm2.conf"), site.path("softhsm2-a.conf")).unwrap();
        fs::rename(site.path("state"), site.path("state-before")).unwrap();
        fs::create_dir(site.path("state")).unwrap();
        fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", site.path("tokens-b").display());
        fs::write(site.path("softhsm2-b.conf"), text).unwrap();
        site.module = site.path("module.so");
        fs::copy(module, &site.module).unwrap();
        for half in ["a", "b"] {
            fs::write(site.path(&format!("script-{half}")), "").unwrap();
            let mut env = BTreeMap::new();
            env.insert("FAULTY_PKCS11_MODULE", SOFTHSM.to_owned());
            for (name, file) in [("SOFTHSM2_CONF", "softhsm2-"), ("FAULTY_PKCS11_SCRIPT", "script-")] {
                let end = if name == "SOFTHSM2_CONF" { ".conf" } else { "" };
                env.insert(name, site.path(&format!("{file}{half}{end}")).display().to_string());
            }
            site.backends += &site.backend(&format!("hsm-{half}"), &env);
        }
        site.holders = vec!["hsm-a".to_owned(), "hsm-b".to_owned()];
        site.write_config();
        // The state knew the key in `hsm`; under its new name it is adopted.
        let before = rusqlite::Connection::open(site.path("state-before/state.db")).unwrap();
        let names: Vec<String> = site.keys.keys().cloned().collect();
        for key in names {
            let select = "SELECT hex(backend_id) FROM key_versions WHERE key = ?1";
            let id: String = before.query_row(select, [&key], |row| row.get(0)).unwrap();
            let config = site.config_path();
            let adopted = site.jwsd(&["keys", "adopt", "--config", config.to_str().unwrap(), &key, &id]);
            assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
        }
        site
    }

    /// A Kryoptic token in backend `hsm`, with these keys.
    pub fn with_kryoptic(keys: &[(&str, &str)], module: &Path) -> Self {
        let mut site = Self::bare(keys);
        let text =
            format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = {:?}\n", site.path("token.sql"));
        fs::write(site.path("kryoptic.conf"), text).unwrap();
        site.module = module.to_owned();
        let conf = site.path("kryoptic.conf").display().to_string();
        let mut child = Command::new(JWSD)
            .args(["pkcs11-init-token", "test"])
            .arg(module)
            .env("KRYOPTIC_CONF", &conf)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("so-pin-0\n{PIN}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        site.env.insert("KRYOPTIC_CONF".to_owned(), conf);
        site.generate_all();
        site
    }

    /// Keys in AWS KMS as `endpoint` plays it, in backend `cloud`; made there by the daemon's own command.
    pub fn with_kms(keys: &[(&str, &str)], region: &str, endpoint: &str) -> Self {
        let mut site = Self::bare(keys);
        site.backends = format!(
            "[backend.cloud]\nkind = \"aws-kms\"\nregion = {region:?}\nendpoint = {endpoint:?}\nrate = \"10000/s\"\n"
        );
        site.holders = vec!["cloud".to_owned()];
        for (name, value) in [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "not-a-secret")] {
            site.process_env.insert(name.to_owned(), value.to_owned());
        }
        // Nothing of the machine's own configuration, nor a look at an instance's.
        for (name, value) in [
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ] {
            site.process_env.insert(name.to_owned(), value.to_owned());
        }
        site.generate_all();
        site
    }

    /// Makes every key that the configuration names.
    pub fn generate_all(&self) {
        self.write_config();
        for key in self.keys.keys() {
            self.generate(key);
        }
    }

    /// A directory and keys to be, in no backend yet.
    pub fn bare(keys: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("jwsd-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let site = Self {
            keys: keys
                .iter()
                .map(|(name, algorithm)| ((*name).to_owned(), (*algorithm).to_owned()))
                .collect(),
            module: SOFTHSM.into(),
            env: BTreeMap::new(),
            audit: directory.path().join("audit"),
            segment: "1MiB".to_owned(),
            sessions: 2,
            backends: String::new(),
            holders: vec!["hsm".to_owned()],
            process_env: BTreeMap::new(),
            limits: String::new(),
            extra: String::new(),
            profiles: Vec::new(),
            introspect: Vec::new(),
            directory,
        };
        for name in ["tokens", "run", "state"] {
            fs::create_dir(site.path(name)).unwrap();
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        site.write_pin(PIN);
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.path("run").join(name)
    }

    pub fn write_pin(&self, pin: &str) {
        fs::write(self.path("pin"), pin).unwrap();
        fs::set_permissions(self.path("pin"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub fn config_path(&self) -> PathBuf {
        self.path("jwsd.toml")
    }

    /// Writes the configuration; call it again after changing a field.
    pub fn write_config(&self) {
        fs::write(self.config_path(), self.config_text()).unwrap();
        fs::set_permissions(self.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Puts another configuration in place of the one there is, at once.
    pub fn rewrite(&self, text: &str) {
        let next = self.path("jwsd.toml.next");
        fs::write(&next, text).unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&next, self.config_path()).unwrap();
    }

    pub fn config_text(&self) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let backends = if self.backends.is_empty() {
            let mut env: BTreeMap<&str, String> =
                self.env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            env.insert("SOFTHSM2_CONF", path("softhsm2.conf"));
            self.backend("hsm", &env)
        } else {
            self.backends.clone()
        };
        let mut text = format!(
            r#"
environment = "test"
allow_root = true
[listen]
signing = {{ path = "{run}/sign.sock" }}
admin = {{ path = "{run}/admin.sock" }}
public = {{ path = "{run}/public.sock" }}
[limits]
{limits}
[audit]
dir = {audit:?}
segment = "{segment}"
[state]
dir = "{state}"
{backends}
[caller.tester]
user = {uid}
profiles = [{profiles}]
introspect = {introspect:?}
"#,
            run = path("run"),
            limits = self.limits,
            audit = self.audit.display().to_string(),
            segment = self.segment,
            state = path("state"),
            uid = nix::unistd::geteuid(),
            profiles = self
                .keys
                .keys()
                .chain(&self.profiles)
                .map(|name| format!("{name:?}"))
                .collect::<Vec<_>>()
                .join(", "),
            introspect = self.introspect,
        );
        for (key, algorithm) in &self.keys {
            text.push_str(&format!(
                r#"
[key.{key}]
backends = {:?}
algorithm = "{algorithm}"
[profile.{key}]
key = "{key}"
typ = "at+jwt"
issuer = "https://issuer.test"
audiences = ["https://api.test", "https://other.test"]
lifetime = {{ default = "5m", max = "15m" }}
[profile.{key}.claims]
sub = {{ required = true, type = "string", max_length = 64 }}
client_id = {{ required = true, type = "string" }}
scope = {{ pattern = "[a-z:]+( [a-z:]+)*" }}
role = {{ enum = ["reader", "writer"] }}
level = {{ type = "integer" }}
region = {{ const = "eu" }}
auth_time = {{ type = "date" }}
groups = {{ type = "array", max_length = 4 }}
address = {{ schema = {{ type = "object", properties = {{ city = {{ type = "string" }} }}, required = ["city"], additionalProperties = false }} }}
"#,
                self.holders
            ));
        }
        text + &self.extra
    }

    /// A `[backend.NAME]` of this site's module and PIN.
    fn backend(&self, name: &str, env: &BTreeMap<&str, String>) -> String {
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
        format!(
            r#"
[backend.{name}]
kind = "pkcs11"
module = {module:?}
token = {{ label = "test" }}
pin = {{ file = {pin:?} }}
sessions = {sessions}
env = {{ {env} }}
"#,
            module = self.module.display().to_string(),
            pin = self.path("pin"),
            sessions = self.sessions,
            env = env.join(", "),
        )
    }

    fn generate(&self, key: &str) {
        let made = self.jwsd(&["keys", "generate", "--config", self.config_path().to_str().unwrap(), key]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Runs the program to its end.
    pub fn jwsd(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(JWSD).args(arguments).envs(&self.process_env).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start(&self) -> Daemon {
        self.start_with(Command::new(JWSD)).unwrap_or_else(|log| panic!("the daemon did not start:\n{log}"))
    }

    /// Starts the daemon through `command` (such as strace) to which `serve` is added. Gives its log when it ends.
    pub fn start_with(&self, mut command: Command) -> Result<Daemon, String> {
        let mut child = command
            .args(["serve", "--config"])
            .arg(self.config_path())
            .envs(&self.process_env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().unwrap();
        let sink = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut daemon =
            Daemon { run: self.path("run"), audit: self.audit.clone(), child, log, reader: Some(reader) };
        let started = Instant::now();
        loop {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                daemon.reader.take().unwrap().join().unwrap();
                return Err(format!("{status}\n{}", daemon.log()));
            }
            if daemon.get("public.sock", "/healthz").is_ok_and(|response| response.status == 200) {
                return Ok(daemon);
            }
            assert!(started.elapsed() < Duration::from_secs(60), "not ready in a minute:\n{}", daemon.log());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A request that every profile of a [`Site`] grants.
pub fn good(profile: &str) -> Value {
    json!({ "profile": profile, "claims": { "sub": "alice", "client_id": "web", "aud": "https://api.test" } })
}

/// The log's segments, oldest first.
pub fn segments(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    segments.sort();
    segments
}

/// Every complete record of a log, in order.
pub fn records(directory: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for segment in segments(directory) {
        let bytes = fs::read(segment).unwrap();
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = bytes[..complete].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        records.extend(lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()));
    }
    records
}

/// Rounds of a campaign: a few in `scripts/test`, as many as asked for in `scripts/torture`.
pub fn rounds(few: u64) -> u64 {
    std::env::var("JWSD_TORTURE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

/// A small generator for random moments; its seed is printed so that a run can be repeated.
pub struct Dice(u64);

impl Dice {
    pub fn new(campaign: &str) -> Self {
        let given = std::env::var("JWSD_TORTURE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() & u128::from(u64::MAX)).unwrap()
        });
        println!("{campaign}: seed {seed} (repeat with JWSD_TORTURE_SEED={seed})");
        Self(seed | 1)
    }

    /// Another one that follows from this one.
    pub fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX) | 1)
    }

    /// Below `limit`; xorshift64*.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

/// Waits until `holds`, a minute at most.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Copies a directory as it is.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// The value at a percentile (0 to 100) of unsorted durations.
pub fn percentile(durations: &mut [Duration], percent: usize) -> Duration {
    durations.sort_unstable();
    durations[(durations.len() * percent / 100).min(durations.len() - 1)]
}

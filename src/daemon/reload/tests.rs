//! A reload whose reading does not end in time.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, mpsc as channel};

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::super::{Foundation, admin, open_log, open_store};
use super::*;
use crate::api::InForce;
use crate::clock::{Clock, SystemClock};

/// Longer than anything here takes that is not held up.
const LONG: Duration = Duration::from_secs(60);

const FILE: &str = r#"environment = "test"
[listen]
signing = {}
admin = {}
public = {}
[audit]
dir = "DIR/audit"
segment = "1MiB"
[state]
dir = "DIR/state"
[backend.hsm]
kind = "pkcs11"
module = "/usr/lib/softhsm/libsofthsm2.so"
token = { label = "test" }
pin = { file = "DIR/pin" }
[key.access]
backend = "hsm"
algorithm = "ES256"
[profile.access]
key = "access"
typ = "at+jwt"
issuer = "https://issuer.test"
audiences = ["https://api.test"]
lifetime = { default = "5m", max = "15m" }
[caller.tester]
user = 4711
profiles = ["access"]
"#;

fn write(directory: &TempDir, text: &str) -> PathBuf {
    let file = directory.path().join("jwsd.toml");
    fs::write(&file, text.replace("DIR", directory.path().to_str().unwrap())).unwrap();
    file
}

/// What the log has on disk.
fn recorded(directory: &TempDir) -> String {
    let segments = fs::read_dir(directory.path().join("audit")).unwrap().map(|entry| entry.unwrap().path());
    let segments = segments.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    segments.map(|path| String::from_utf8(fs::read(path).unwrap()).unwrap()).collect()
}

/// A daemon's reloader without backends, which reads as `reading` says.
fn reloader(file: PathBuf, reading: Reading) -> Reloader {
    let config = config::load(&file).unwrap();
    let (log, store) = (open_log(&config).unwrap(), open_store(&config).unwrap());
    let foundation = Foundation { store, backends: BTreeMap::new(), cache: Duration::ZERO };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let admin = Arc::new(admin(&config, &foundation, &log, &clock));
    let followed = Followed::new(&config.keys, &config.publication);
    let now = InForce::new(config.callers, config.policy, config.limits, config.misuse);
    let wanted = watch::Sender::new(now.wanted());
    Reloader {
        file,
        reading,
        written: config.written,
        followed,
        in_force: Current::new(now),
        wanted,
        seen: recipients::Seen::default(),
        admin,
        log,
    }
}

async fn ask(reloads: &mpsc::Sender<Reload>) -> Result<Reloaded, NotReloaded> {
    let (done, answer) = oneshot::channel();
    reloads.try_send(Reload { by: By::DAEMON, done }).ok().unwrap();
    timeout(LONG, answer).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_not_read_in_time_changes_nothing_even_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(&directory, FILE);
    // The first reading waits for `release`, and then finds another policy; `ended` hears of each that ends.
    let (release, held) = channel::channel::<()>();
    let (end, ended) = channel::channel();
    let held = Mutex::new(Some(held));
    let read = move |file: &Path, running: &Written| {
        let wait = held.lock().unwrap().take();
        if let Some(wait) = wait {
            wait.recv_timeout(LONG).unwrap();
        }
        let read = config::reload(file, running);
        end.send(read.is_ok()).unwrap();
        read
    };
    let mut reloader = reloader(file, Reading { read: Arc::new(read), within: Duration::from_millis(50) });
    let (in_force, log) = (Arc::clone(&reloader.in_force), reloader.log.clone());
    let first = in_force.get().policy.digest().to_owned();
    write(&directory, &FILE.replace("max = \"15m\"", "max = \"10m\""));

    let outcome = reloader.reload(&By::DAEMON).await;
    assert!(matches!(outcome, Err(NotReloaded::Slow)), "{outcome:?}");
    assert_eq!(tell(&outcome), "Configuration not read in time");
    let told = recorded(&directory);
    let refused =
        told.lines().find(|line| line.contains("policy.refused")).expect("recorded before it is told");
    for part in ["\"outcome\":\"failed\"", "\"reason\":\"not read within 50ms\"", &first] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    release.send(()).unwrap();
    assert!(ended.recv_timeout(LONG).unwrap(), "what was read late is good");
    assert_eq!(in_force.get().policy.digest(), first);

    // Neither is the next one held up by it, and it takes over what is there.
    reloader.reading.within = LONG;
    let (reloads, asked) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    let hangups = signal(SignalKind::hangup()).unwrap();
    let running = tokio::spawn(reloader.run(hangups, asked, shutdown.clone()));
    let reloaded = ask(&reloads).await.unwrap();
    assert!(reloaded.changed && reloaded.previous == first, "{reloaded:?}");
    assert_eq!(in_force.get().policy.digest(), reloaded.policy);
    shutdown.cancel();
    running.await.unwrap();
    log.close().await;
}

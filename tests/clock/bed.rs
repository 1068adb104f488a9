//! A daemon whose wall clock a test can set, and whose kernel says of that clock what the test wants.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use jwsd::clock::{Clock, Head, SystemClock};
use jwsd::state::{Settings, Store};

use crate::common::{Daemon, JWSD, Site, eventually};

/// What the kernel says of a clock that was set by hand, and of one that is synchronised; microseconds.
pub const UNKNOWN: u64 = 16_000_000;
pub const SYNCHRONISED: u64 = 3_000;

/// Seconds that the daemon's clock starts ahead of the real one: its key is older than any time of a test.
const START: i64 = 4 * 86_400;

pub struct Bed {
    pub site: Site,
    /// Seconds that the daemon's clock has been set by since then.
    pub offset: i64,
}

impl Bed {
    pub fn new(mode: &str) -> Self {
        let mut site = Site::new();
        site.extra = format!("[clock]\nmode = {mode:?}\n");
        site.write_config();
        let kernel = Path::new(JWSD).with_file_name("examples").join("libkernel_clock.so");
        assert!(kernel.exists(), "{} is missing; run `cargo build --examples`", kernel.display());
        let file = |name: &str| site.path(name).display().to_string();
        let environment = [
            ("LD_PRELOAD", format!("{}:{}", faketime().display(), kernel.display())),
            ("FAKETIME_TIMESTAMP_FILE", file("offset")),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
            ("KERNEL_CLOCK_ERROR", file("error")),
        ];
        site.process_env = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut bed = Self { site, offset: 0 };
        bed.kernel(UNKNOWN);
        bed.set(0);
        bed
    }

    /// Sets the clock, in one step.
    pub fn set(&mut self, offset: i64) {
        self.replace("offset", &format!("{:+}", START + offset));
        self.offset = offset;
    }

    /// The kernel's bound on the clock's error from now on.
    pub fn kernel(&self, micros: u64) {
        self.replace("error", &micros.to_string());
    }

    fn replace(&self, name: &str, text: &str) {
        fs::write(self.site.path("new"), text).unwrap();
        fs::rename(self.site.path("new"), self.site.path(name)).unwrap();
    }

    /// What the daemon's clock shows now, milliseconds.
    pub fn wall(&self) -> i64 {
        SystemClock.now().as_millisecond() + (START + self.offset) * 1000
    }

    /// `jwsd clock ACT`: exit code and output.
    pub fn command(&self, act: &str) -> (Option<i32>, String) {
        let socket = self.site.socket("admin.sock");
        let output = self.site.jwsd(&["clock", act, "--socket", socket.to_str().unwrap()]);
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    pub fn store(&self) -> Store {
        Store::open(&Settings { dir: self.site.path("state") }, "test").unwrap()
    }

    pub fn head(&self) -> Head {
        self.store().clock().unwrap().unwrap()
    }

    /// Waits until the daemon has kept that the clock is where it was set to.
    pub fn kept(&self) {
        let reading = SystemClock.read();
        let booted: Timestamp = reading.wall - reading.boot + SignedDuration::from_secs(START + self.offset);
        eventually("the clock is kept", || {
            let seen = self.store().clock().unwrap().map(|head| head.seen);
            seen.is_some_and(|seen| seen.duration_since(booted).abs() < SignedDuration::from_secs(1))
        });
    }
}

/// The library that makes a clock of its own for a process.
fn faketime() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library =
        directories.map(|directory| directory.join("faketime/libfaketime.so.1")).find(|path| path.exists());
    library.expect("libfaketime is missing; scripts/test installs it (apt-get install libfaketime)")
}

/// Signed by a clock that is trusted: `None`. Otherwise the code of the refusal.
pub fn refusal(daemon: &Daemon) -> Option<String> {
    let mut answer = daemon.sign("access");
    // After a jump the state must be told first how long JWTs live now.
    eventually("the key signs", || {
        let inactive = answer.status != 200 && answer.code() == "key.inactive";
        if inactive {
            answer = daemon.sign("access");
        }
        !inactive
    });
    if answer.status == 200 {
        return None;
    }
    assert_eq!(answer.status, 503, "{answer:?}");
    Some(answer.code())
}

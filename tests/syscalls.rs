//! Every system call by which the audit log reaches the disk fails once, at each of its places in a start, some requests
//! and a change of segment: what a caller got has its record, and the log verifies or states its gap.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use common::{Connection, Daemon, Dice, JWSD, Site, eventually, good, rounds, strace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// The calls that change the disk, or on whose answer it depends whether it is changed.
const CALLS: [&str; 15] = [
    "mkdir",
    "openat",
    "flock",
    "fstat",
    "newfstatat",
    "statx",
    "getdents64",
    "fallocate",
    "write",
    "fdatasync",
    "fsync",
    "renameat2",
    "unlinkat",
    "ftruncate",
    "close",
];
/// What each may answer instead, as strace takes it.
const FAULTS: [(&str, &str); 5] = [
    ("EIO", "error=EIO"),
    ("ENOSPC", "error=ENOSPC"),
    ("EDQUOT", "error=EDQUOT"),
    ("EINTR", "error=EINTR"),
    ("SIGKILL", "signal=SIGKILL"),
];
/// Of one call's places in one run so many are tried.
const PLACES: u64 = 8;
/// More segments than a run has.
const SEGMENTS: u64 = 400;

/// What the log's directory holds when the daemon starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A killed daemon's log, torn at its end.
    Crashed,
    /// Nothing; and the faults come once it runs, to the thread that writes the log.
    Running,
}

#[derive(Debug, Clone)]
struct Case {
    found: Found,
    call: String,
    /// Which of the calls: "3" the third of each thread, "3+" all from there on.
    when: String,
    name: &'static str,
    fault: String,
}

struct Bed {
    site: Site,
    /// The log of a killed daemon, and what its callers had got.
    crashed: PathBuf,
    before: Vec<String>,
    runs: u64,
}

impl Bed {
    fn new() -> Self {
        let mut site = Site::new();
        site.segment = "64KiB".to_owned();
        site.audit = site.path("crashed");
        site.write_config();
        let daemon = site.start();
        let before =
            (0..3).map(|_| daemon.sign("access").json()["jti"].as_str().unwrap().to_owned()).collect();
        daemon.kill();
        let newest = common::segments(&site.audit).pop().unwrap();
        let torn = [fs::read(&newest).unwrap().as_slice(), b"{\"seq\":99,\"time\":\"20"].concat();
        fs::write(newest, torn).unwrap();
        Self { crashed: site.audit.clone(), site, before, runs: 0 }
    }

    /// A directory of its own for the next run.
    fn prepare(&mut self, found: Found) {
        self.runs += 1;
        self.site.audit = self.site.path(&format!("audit-{}", self.runs));
        if found == Found::Crashed {
            common::copy(&self.crashed, &self.site.audit);
        }
        self.site.write_config();
    }

    /// The daemon under strace, which looks at what is done to the log's files only.
    fn traced(&self, expressions: &[&str]) -> Result<Daemon, String> {
        let mut strace = strace::strace(&self.site.path("trace"), expressions);
        strace.args(["-f", "-qq"]);
        let names = ["lock", "environment", "environment.new", "spare"].map(str::to_owned);
        let segments = (1..SEGMENTS).map(|first| format!("{first:020}.jsonl"));
        let files = names.into_iter().chain(segments).map(|name| self.site.audit.join(name));
        let parent = self.site.audit.parent().map(Path::to_owned);
        for path in files.chain(parent).chain([self.site.audit.clone()]) {
            strace.arg("-P").arg(path);
        }
        strace.arg(JWSD);
        self.site.start_with(strace)
    }

    /// strace of the thread that writes the log.
    fn attach(&self, daemon: &Daemon, expressions: &[&str]) -> Child {
        let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let is_writer = |task: &PathBuf| fs::read_to_string(task.join("comm")).unwrap().trim() == "audit";
        let writer = tasks.map(|task| task.unwrap().path()).find(is_writer).unwrap();
        let command = strace::strace(&self.site.path("trace"), expressions);
        strace::attach(command, writer.file_name().unwrap())
    }

    /// Starts the daemon so, has it sign and change segments, and stops it. The `jti`s of all that callers got, and
    /// whether it started at all.
    fn run(&self, found: Found, expressions: &[&str]) -> (Vec<String>, bool) {
        let running = found == Found::Running;
        let daemon = match if running { Ok(self.site.start()) } else { self.traced(expressions) } {
            Ok(daemon) => daemon,
            Err(log) => {
                assert!(!log.contains("panicked"), "{log}");
                return (Vec::new(), false);
            }
        };
        let strace = running.then(|| self.attach(&daemon, expressions));
        let one = |body: &Value| body["jti"].as_str().map(str::to_owned);
        let mut released = Vec::new();
        let single = ("/v1/sign", good("access"));
        let batch = ("/v1/sign/batch", json!({ "requests": vec![good("access"); 48] }));
        for (path, body) in [&single, &single, &batch, &batch, &batch, &single, &single] {
            let post = |mut connection: Connection| connection.post(path, &body.to_string());
            match Connection::open(&daemon.socket("sign.sock")).and_then(post) {
                Ok(answer) if answer.status == 200 => {
                    let body = answer.json();
                    let results = body["results"].as_array();
                    released.extend(
                        results
                            .map_or_else(|| vec![&body], |all| all.iter().collect())
                            .into_iter()
                            .filter_map(one),
                    );
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body)),
                // It was killed.
                Err(_) => break,
            }
        }
        let status = daemon.get("admin.sock", "/v1/status").ok();
        if let Some(pid) = status.and_then(|status| status.json()["pid"].as_i64()) {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            if !running {
                eventually("the daemon stops", || kill(pid, None).is_err());
            }
        }
        if let Some(mut strace) = strace {
            // Killed by then, or ends now.
            daemon.wait();
            strace.wait().unwrap();
        }
        (released, true)
    }

    /// How often a thread at most makes each call, in a run without a fault.
    fn record(&mut self, found: Found) -> BTreeMap<String, u64> {
        self.prepare(found);
        let (released, started) = self.run(found, &[&format!("trace={}", CALLS.join(","))]);
        assert!(started && released.len() == 4 + 3 * 48, "{}", released.len());
        assert!(common::segments(&self.site.audit).len() > 1, "segments change");
        let mut counts = BTreeMap::<(String, String), u64>::new();
        let trace = fs::read_to_string(self.site.path("trace")).unwrap();
        for (thread, call, _) in strace::calls(&trace).filter(|(_, call, _)| CALLS.contains(call)) {
            *counts.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
        }
        let mut most = BTreeMap::<String, u64>::new();
        for ((call, _), count) in counts {
            let known = most.entry(call).or_default();
            *known = count.max(*known);
        }
        most
    }

    /// Every fault at every place that was seen.
    fn cases(&mut self) -> Vec<Case> {
        let mut cases = Vec::new();
        for found in [Found::Nothing, Found::Crashed, Found::Running] {
            let seen = self.record(found);
            println!("syscalls: {found:?}: {seen:?}");
            for call in
                ["openat", "fallocate", "write", "fdatasync", "fsync", "renameat2", "ftruncate", "close"]
            {
                assert!(seen.contains_key(call), "{call} was not seen: {seen:?}");
            }
            for (call, &count) in &seen {
                let mut add = |when: String, name, fault: &str| {
                    cases.push(Case { found, call: call.clone(), when, name, fault: fault.to_owned() });
                };
                // The first ones, and of many also some later ones.
                let step = count.div_ceil(PLACES).max(1) as usize;
                for place in (1..=count).step_by(step) {
                    FAULTS.iter().for_each(|(name, fault)| add(place.to_string(), name, fault));
                    if call == "write" {
                        add(place.to_string(), "short", "retval=40");
                    }
                }
                let half = count / 2 + 1;
                add(format!("{half}+"), "EIO for good", "error=EIO");
                add(format!("{half}+"), "ENOSPC for good", "error=ENOSPC");
            }
        }
        cases
    }

    /// One case: with the fault, then without.
    fn try_case(&mut self, case: &Case) -> Tried {
        self.prepare(case.found);
        let Case { call, fault, when, .. } = case;
        let inject = format!("inject={call}:{fault}:when={when}");
        let (released, started) = self.run(case.found, &[&format!("trace={call}"), &inject]);
        let trace = fs::read_to_string(self.site.path("trace")).unwrap();
        let struck = trace.contains("INJECTED") || trace.contains("killed by SIGKILL");
        let daemon = self.site.start();
        let after = daemon.sign("access");
        assert_eq!(after.status, 200, "{case:?}: {}", String::from_utf8_lossy(&after.body));
        let recorded: HashSet<String> = daemon
            .records()
            .iter()
            .filter(|record| record["event"] == "jwt.issued")
            .map(|record| record["jti"].as_str().unwrap().to_owned())
            .collect();
        let before: &[String] = if case.found == Found::Crashed { &self.before } else { &[] };
        let lost: Vec<_> = released.iter().chain(before).filter(|jti| !recorded.contains(*jti)).collect();
        assert!(lost.is_empty(), "{case:?}: released without a record: {lost:?}");
        daemon.stop();
        let verified = self.site.jwsd(&["audit", "verify", self.site.audit.to_str().unwrap()]);
        assert!(verified.status.success(), "{case:?}: {}", String::from_utf8_lossy(&verified.stdout));
        fs::remove_dir_all(&self.site.audit).unwrap();
        Tried { released: released.len(), started, struck }
    }
}

/// What a case came to.
struct Tried {
    /// JWTs that callers got in spite of the fault.
    released: usize,
    started: bool,
    /// Whether the fault came: threads do not share their work in the same way each time.
    struck: bool,
}

#[test]
fn syscalls() {
    if strace::is_missing("syscalls") {
        return;
    }
    let mut dice = Dice::new("syscalls");
    let mut bed = Bed::new();
    let all = bed.cases();
    assert!(all.len() >= 200, "{} cases", all.len());
    let wanted = usize::try_from(rounds(12)).unwrap().min(all.len());
    // A spread, from a random one on.
    let (start, total) = (dice.below(all.len() as u64) as usize, all.len());
    let (mut counts, mut released, mut refused) = (BTreeMap::<String, BTreeMap<&str, u64>>::new(), 0, 0);
    let mut struck = 0;
    for index in 0..wanted {
        let case = &all[(start + index * total / wanted) % total];
        let tried = bed.try_case(case);
        released += tried.released;
        refused += u64::from(!tried.started);
        struck += usize::from(tried.struck);
        *counts.entry(case.call.clone()).or_default().entry(case.name).or_default() += 1;
    }
    for (call, faults) in &counts {
        println!("syscalls: {call}: {faults:?}");
    }
    println!(
        "syscalls: {wanted} of {total} cases, the fault came in {struck}; {refused} starts refused, {released} JWTs released, 0 \
         without a record"
    );
    assert!(released > 0 && struck * 10 >= wanted * 9);
}

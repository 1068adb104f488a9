//! kill -9 before each call that changes a disk, between asking for an erasure and its answer: the person is there with
//! all records and nothing is recorded, or is gone and that is recorded; nothing is left behind, and asked again it comes
//! to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bed::{
    Form, assert_nameless, assert_sound, epoch_keys, erase, files, issue, issued, name, search_key, site, tag,
};
use crate::common::{Daemon, Dice, Response, Site, eventually, rounds, segments, strace};
use crate::disk::Secret;

/// The calls that change a disk. Those of `openat` count that may make a file.
const CALLS: [&str; 10] = [
    "openat",
    "pwrite64",
    "write",
    "fdatasync",
    "fsync",
    "rename",
    "renameat",
    "unlink",
    "unlinkat",
    "ftruncate",
];

/// One call of an erasure: what it is, and which of the calls of its thread that strace counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    call: String,
    file: String,
    nth: u64,
}

struct Bed {
    site: Site,
    trace: PathBuf,
    people: usize,
}

/// Who is to be erased in one case.
struct Target {
    name: String,
    key: Secret,
    jtis: Vec<String>,
    /// Records there were before.
    records: usize,
}

impl Bed {
    fn new(form: Form) -> Self {
        let site = site(form);
        Self { trace: site.path("trace"), site, people: 0 }
    }

    /// Somebody new with three records.
    fn target(&mut self, daemon: &Daemon) -> Target {
        self.people += 1;
        let name = name(self.people);
        let jtis = issue(daemon, &[name.clone(), name.clone(), name.clone()]);
        let key = search_key(daemon, &name).unwrap();
        Target { key, jtis, records: daemon.records().len(), name }
    }

    /// All that an erasure may touch. Of a temporary file only the name is known, of which a process counts up the end.
    fn paths(&self, daemon: &Daemon, file: &str) -> Vec<PathBuf> {
        let state = self.site.path("state");
        let database = rusqlite::Connection::open(state.join("state.db")).unwrap();
        let current = "SELECT number FROM epochs WHERE stage = 'current'";
        let current: i64 = database.query_row(current, [], |row| row.get(0)).unwrap();
        let epochs = (current..current + 3).map(|number| format!("epoch-{number}.key"));
        match file {
            "epoch" => epochs.map(|name| state.join(name)).collect(),
            // Opened and renamed beside the directory, which is what strace can tell.
            "state" => vec![state],
            "temporary" => {
                let pid = daemon.pid();
                let names =
                    epochs.flat_map(|name| (0..9).map(move |count| format!(".{name}.{pid}.{count}.tmp")));
                names.map(|name| state.join(name)).collect()
            }
            "log" => segments(&self.site.audit),
            other => vec![state.join(other)],
        }
    }

    /// Asks for an erasure under strace of this process, which looks at these files, or at all. The answer, if there
    /// was one.
    fn erase(
        &self,
        (daemon, target): (&Daemon, &Target),
        (process, paths): (i32, &[PathBuf]),
        expressions: &[&str],
    ) -> Option<Response> {
        let mut command = strace::strace(&self.trace, expressions);
        command.args(["-f", "-y", "-s", "0"]);
        for path in paths {
            command.arg("-P").arg(path);
        }
        let strace = strace::attach(command, process.to_string());
        let answer = erase(daemon, &target.name).ok();
        strace::end(strace, answer.is_some());
        answer
    }

    /// The calls of the trace, in order.
    fn steps(&self, dies: Dies) -> Vec<Step> {
        let trace = fs::read_to_string(&self.trace).unwrap();
        let mut counts = BTreeMap::<(String, String, String), u64>::new();
        let mut steps = Vec::new();
        for (thread, call, rest) in strace::calls(&trace).filter(|(_, call, _)| CALLS.contains(call)) {
            let file = self.kind(call, rest);
            // Of the worker strace counts the calls on all files.
            let counted = if dies == Dies::Daemon { file.clone() } else { String::new() };
            let nth = counts.entry((thread.to_owned(), call.to_owned(), counted)).or_default();
            *nth += 1;
            if call != "openat" || rest.contains("O_CREAT") {
                steps.push(Step { call: call.to_owned(), file, nth: *nth });
            }
        }
        steps
    }

    /// Which kind of file a call is about.
    fn kind(&self, call: &str, rest: &str) -> String {
        let state = self.site.path("state").display().to_string();
        let by_name = matches!(call, "openat" | "rename" | "renameat" | "unlink" | "unlinkat");
        let first =
            rest.split_once('<').and_then(|(_, path)| path.split_once('>')).map_or("", |(path, _)| path);
        let name = Path::new(first).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = if by_name && first != state {
            rest.split('"').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default()
        } else {
            name
        };
        match name {
            _ if first == state => "state",
            name if name.ends_with(".jsonl") => "log",
            name if name.ends_with(".object") => "object",
            name if name.ends_with(".lock") => "lock",
            name if name.starts_with("epoch-") => "epoch",
            name if name.starts_with(".epoch-") => "temporary",
            name => name,
        }
        .to_owned()
    }

    /// What is left after a kill and a new start: one or the other, and nothing else. Whether the person is gone.
    fn judge(&self, (form, dies): (Form, Dies), daemon: &Daemon, target: &Target, place: &str) -> bool {
        let found = search_key(daemon, &target.name);
        let recorded = || -> Vec<Value> {
            let records = daemon.records().split_off(target.records);
            records.into_iter().filter(|record| record["event"] == "subject.erased").collect()
        };
        match &found {
            Some(key) => {
                assert_eq!(*key, target.key, "{place}");
                let all = issued(&daemon.records());
                let theirs: Vec<_> = all.iter().filter(|(jti, seen)| tag(key, jti) == *seen).collect();
                assert!(theirs.iter().map(|(jti, _)| jti).eq(&target.jtis), "{place}");
            }
            None => eventually("the erasure is recorded", || !recorded().is_empty()),
        }
        self.nothing_is_left((form, dies), place);
        let recorded = recorded();
        assert_eq!(recorded.is_empty(), found.is_some(), "{place}: {recorded:?}");
        let ids: BTreeSet<_> = recorded.iter().map(|record| record["request"].to_string()).collect();
        assert!(
            ids.len() <= 1 && recorded.iter().all(|record| record["count"] == 1),
            "{place}: {recorded:?}"
        );
        found.is_none()
    }

    /// One epoch, one key of it, no erasure that waits.
    fn nothing_is_left(&self, (form, dies): (Form, Dies), place: &str) {
        let state = self.site.path("state");
        let (mut seen, mut half, started) = (String::new(), 0, Instant::now());
        let mut settled = || {
            let database = rusqlite::Connection::open(state.join("state.db")).unwrap();
            let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            let current = count("SELECT coalesce(max(number), 0) FROM epochs WHERE stage = 'current'");
            let unused = "SELECT count(*) FROM epochs WHERE stage = 'making'";
            // Half of a pair, which a token was making when it was killed, an operator must take away.
            half = if dies == Dies::Worker { count(unused) } else { 0 };
            let epochs = count("SELECT count(*) FROM epochs") - half;
            let rows = (epochs, count("SELECT count(*) FROM erasures"));
            drop(database);
            let names =
                files(&[&state]).into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
            let names: Vec<_> = names.filter(|name| name.contains("epoch")).collect();
            let wanted = if form == Form::File { vec![format!("epoch-{current}.key")] } else { Vec::new() };
            seen = format!("{rows:?} {names:?}");
            rows == (1, 0) && names == wanted
        };
        while !settled() {
            assert!(started.elapsed().as_secs() < 20, "{place}: left: {seen}");
            sleep(Duration::from_millis(20));
        }
        // What the token itself leaves of an object that it was writing is not shown, and cannot be used.
        let (shown, wanted) = (epoch_keys(&self.site), usize::from(form == Form::Backend));
        assert!((wanted..=wanted + usize::try_from(half).unwrap()).contains(&shown), "{place}: {shown} keys");
    }
}

#[test]
fn kills_with_keys_in_files() {
    run(Form::File, Dies::Daemon, &["fdatasync", "renameat", "unlink"]);
}

#[test]
fn kills_with_keys_in_a_token() {
    run(Form::Backend, Dies::Daemon, &["fdatasync"]);
}

#[test]
fn kills_while_the_token_writes() {
    run(Form::Backend, Dies::Worker, &["openat", "unlink"]);
}

/// Which process is killed; the other one follows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    Daemon,
    Worker,
}

fn run(form: Form, dies: Dies, more: &[&str]) {
    if strace::is_missing("erasure") {
        return;
    }
    let mut dice = Dice::new("erasure-kills");
    let mut bed = Bed::new(form);
    let mut daemon = bed.site.start();
    let look = |bed: &Bed, daemon: &Daemon, kinds: &[&str]| match dies {
        Dies::Daemon => {
            let paths = kinds.iter().flat_map(|kind| bed.paths(daemon, kind));
            (daemon.pid(), paths.collect::<Vec<_>>())
        }
        Dies::Worker => (daemon.worker_pid(), Vec::new()),
    };
    let kinds = ["state.db", "state.db-wal", "epoch", "temporary", "state", "log"];
    let trace = format!("trace={}", CALLS.join(","));
    // What an erasure does, of the second kind: the first one makes files that are there from then on.
    for _ in 0..2 {
        let target = bed.target(&daemon);
        let (process, paths) = look(&bed, &daemon, &kinds);
        let answer = bed.erase((&daemon, &target), (process, &paths), &[&trace]);
        assert_eq!(answer.unwrap().status, 200);
        assert!(bed.judge((form, dies), &daemon, &target, "nowhere"));
    }
    let steps = bed.steps(dies);
    for call in ["write"].iter().chain(more) {
        assert!(steps.iter().any(|step| step.call == *call), "{call} was not seen: {steps:?}");
    }
    let total = steps.len();
    let wanted = usize::try_from(rounds(10)).unwrap().min(total);
    let start = usize::try_from(dice.below(total as u64)).unwrap();
    let (mut places, mut gone, mut killed, mut tried) = (BTreeSet::new(), 0, BTreeMap::<_, u64>::new(), 0);
    for index in 0..wanted {
        let at = (start + index * total / wanted) % total;
        let step = &steps[at];
        let like = |steps: &[Step]| {
            let like = steps.iter().filter(|other| (&other.call, &other.file) == (&step.call, &step.file));
            like.count()
        };
        let place = like(&steps[..=at]);
        // Nobody says which thread takes which of the calls: where the kill came is seen afterwards.
        for nth in [step.nth, place as u64, step.nth + 1] {
            if places.contains(&(&step.call, &step.file, place)) {
                break;
            }
            tried += 1;
            let target = bed.target(&daemon);
            let inject = format!("inject={}:signal=SIGKILL:when={nth}", step.call);
            let (process, paths) = look(&bed, &daemon, &[&step.file]);
            let expressions = [&*format!("trace={}", step.call), &inject];
            let answer = bed.erase((&daemon, &target), (process, &paths), &expressions);
            let answered = answer.is_some_and(|answer| answer.status == 200);
            let struck = fs::read_to_string(&bed.trace).unwrap().contains("killed by SIGKILL");
            if !struck {
                assert!(answered && bed.judge((form, dies), &daemon, &target, "nowhere"));
                continue;
            }
            places.insert((&step.call, &step.file, like(&bed.steps(dies))));
            daemon.kill();
            daemon = bed.site.start();
            let place = format!("killed at {step:?}");
            let is_gone = bed.judge((form, dies), &daemon, &target, &place);
            assert!(is_gone || !answered, "{place}");
            gone += u64::from(is_gone);
            *killed.entry(format!("{} {}", step.call, step.file)).or_default() += 1;
            let again = erase(&daemon, &target.name).unwrap();
            assert_eq!(
                (again.status, &again.json()["erased"]),
                (200, &u64::from(!is_gone).into()),
                "{place}"
            );
            assert_eq!(search_key(&daemon, &target.name), None, "{place}");
            if wanted < total {
                break;
            }
        }
    }
    let (code, told) = daemon.stop();
    assert_eq!(code, Some(0), "{told}");
    assert_nameless(&bed.site, &told);
    assert_sound(&bed.site);
    for (place, count) in &killed {
        println!("erasure-kills: {form:?}, {dies:?}: {count} before {place}");
    }
    let killed: u64 = killed.values().sum();
    println!(
        "erasure-kills: {form:?}, {dies:?}: {killed} kills at {} of {total} places in {tried} attempts; {gone} erased and \
         recorded, {} not erased, 0 both or neither, nothing left behind",
        places.len(),
        killed - gone
    );
    let reached = if wanted < total { usize::try_from(killed).unwrap() } else { places.len() };
    assert!(reached * 10 >= wanted * 7, "{reached} of {wanted} places");
}

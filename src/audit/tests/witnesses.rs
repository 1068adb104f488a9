//! Whether the log is what its witnesses have seen of it.

use super::restoring::{note, seal, sealed};
use super::*;
use crate::audit::tree::{Tree, leaf};
use crate::audit::witness::http::Remote;
use crate::audit::witness::http::tests::fake_witness::FakeWitness;
use crate::audit::witness::{Witness, last_note};
use crate::audit::{Actor, OpenError};
use std::os::unix::net::UnixDatagram;

struct Watched {
    bench: Bench,
    file: PathBuf,
}

impl Watched {
    /// A log with a seal of each of these sizes, and an empty witness.
    fn with(sizes: &[u64]) -> Self {
        let mut bench = Bench::sealed();
        let file = bench.settings.dir.with_file_name("witness");
        std::fs::write(&file, "").unwrap();
        bench.settings.checkpoint.as_mut().unwrap().witnesses = vec![Witness::File(file.clone())];
        let log = bench.open();
        for &size in sizes {
            while wait(log.head()).unwrap().tree.size() < size {
                record(&log, issued(0)).unwrap();
            }
            seal(&log);
        }
        wait(log.close());
        Self { bench, file }
    }
    /// The notes of the log, oldest first.
    fn notes(&self) -> Vec<String> {
        let records = self.bench.lines().into_iter().map(|line| json(&line));
        let sealed = records.filter(|record| record["event"] == "log.sealed");
        sealed.map(|record| record["note"].as_str().unwrap().to_owned()).collect()
    }
    fn sees(&self, content: &str) {
        std::fs::write(&self.file, content).unwrap();
    }
    fn refused(&self) -> OpenError {
        let before = std::fs::read_dir(self.bench.dir()).unwrap().count();
        let error = self.bench.try_open().err().expect("it is refused");
        assert_eq!(std::fs::read_dir(self.bench.dir()).unwrap().count(), before, "nothing was made");
        assert!(error.to_string().contains(self.file.to_str().unwrap()), "{error}");
        error
    }
    fn accept(&self) -> Vec<String> {
        let (settings, clock) = (&self.bench.settings, Arc::new(SystemClock));
        wait(Log::accept(settings, clock, Actor::default(), "a test")).unwrap()
    }
}

fn tree(leaves: u64) -> Tree {
    let mut tree = Tree::default();
    (0..leaves).for_each(|n| tree.push(leaf(&n.to_be_bytes())));
    tree
}

#[test]
fn a_log_that_has_what_was_seen_opens() {
    let watched = Watched::with(&[3, 8, 20]);
    let notes = watched.notes();
    assert_eq!(notes.len(), 3);
    let [old, middle, new] = [0, 1, 2].map(|at| format!("{}\n", notes[at]));
    for content in [
        String::new(),
        old.clone(),
        middle.clone(),
        [old.as_str(), &middle, &new].concat(),
        // What was cut short counts for nothing, wherever that was.
        format!("{old}{}", &middle[..40]),
        format!("{old}{}", &middle[..middle.len() - 1]),
        format!("{old}{}\n\n{new}", &middle[..40]),
        "jwsd/te".to_owned(),
        new[..50].to_owned(),
    ] {
        watched.sees(&content);
        wait(watched.bench.open().close());
    }
}

#[test]
fn a_log_that_lacks_what_was_seen_is_refused_until_it_is_accepted() {
    let watched = Watched::with(&[3, 8, 20]);
    let seen = note("jwsd/test", &tree(500));
    watched.sees(&format!("{}\n{seen}\n", watched.notes()[2]));
    let error = watched.refused();
    assert!(matches!(error, OpenError::Truncated { there: 500, here: 20, .. }), "{error}");
    assert!(error.to_string().contains("accept-truncation"), "{error}");
    assert_eq!(watched.accept(), [watched.file.display().to_string()]);
    assert_eq!(watched.accept(), Vec::<String>::new(), "once is enough");
    let log = watched.bench.open();
    // Newer seals do not hide it.
    seal(&log);
    wait(log.close());
    wait(watched.bench.open().close());
    let accepted =
        watched.bench.lines().iter().map(|l| json(l)).find(|l| l["event"] == "log.accepted").unwrap();
    assert_eq!((accepted["note"].as_str(), accepted["reason"].as_str()), (Some(&*seen), Some("a test")));
    // It stands for that checkpoint and for no other.
    watched.sees(&format!("{}\n", note("jwsd/test", &tree(501))));
    watched.refused();
}

#[test]
fn another_log_is_refused() {
    let watched = Watched::with(&[3, 8, 20]);
    for (seen, word) in [
        (note("jwsd/test", &tree(20)), "none like it"),
        (note("jwsd/test", &tree(8)), "none like it"),
        // No seal is of this size.
        (note("jwsd/test", &tree(9)), "none like it"),
        (note("jwsd/other", &tree(8)), "jwsd/other"),
    ] {
        watched.sees(&format!("{}\n{seen}\n", watched.notes()[0]));
        let error = watched.refused();
        assert!(matches!(error, OpenError::Different { .. }) && error.to_string().contains(word), "{error}");
    }
    let fresh = Watched::with(&[]);
    fresh.sees(&format!("{}\n", note("jwsd/test", &tree(4))));
    assert!(matches!(fresh.refused(), OpenError::Truncated { there: 4, here: 0, .. }));
}

#[test]
fn a_witness_that_cannot_be_asked_keeps_the_log_shut() {
    let watched = Watched::with(&[3]);
    for content in ["root:x:0:0\n", "\n\n\n\n", "some text\n\nmore\n\nand more\n"] {
        watched.sees(content);
        let error = watched.refused();
        assert!(matches!(error, OpenError::Witness { .. }), "{error}");
    }
    std::fs::remove_file(&watched.file).unwrap();
    assert!(watched.refused().to_string().contains("make it"));
    std::fs::create_dir(&watched.file).unwrap();
    watched.refused();
    std::fs::remove_dir(&watched.file).unwrap();
    std::os::unix::fs::symlink("/dev/null", &watched.file).unwrap();
    watched.refused();
    std::fs::remove_file(&watched.file).unwrap();
    nix::unistd::mkfifo(&watched.file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(watched.refused().to_string().contains("regular file"));
}

/// What it cosigned once the log could never take back.
#[test]
fn a_seal_that_a_power_loss_took_is_shown_to_nobody() {
    let mut bench = Bench::sealed();
    let log = bench.open();
    record(&log, issued(0)).unwrap();
    seal(&log);
    record(&log, issued(1)).unwrap();
    let head = wait(log.head()).unwrap();
    wait(log.close());
    // Written together, the first of them spoiled: neither was acknowledged.
    let mut bytes = std::fs::read(bench.segment(1)).unwrap();
    let begin = bytes.len();
    for (seq, entry) in
        (head.last + 1..).zip([issued(2), sealed(&head.tree, head.last, &note("jwsd/test", &head.tree))])
    {
        let mut body = Vec::new();
        crate::audit::queue::serialize_body(&entry, &mut body).unwrap();
        crate::audit::line::encode(&mut bytes, seq, "2026-11-24T08:00:00.000000Z", &body);
        if seq == head.last + 1 {
            let end = bytes.len() - 1;
            bytes[begin..end].fill(0);
        }
    }
    std::fs::write(bench.segment(1), bytes).unwrap();
    let fake = FakeWitness::start("witness.example/w");
    let key = crate::audit::cosignature::Cosigner::from_vkey(&fake.vkey).unwrap();
    let remote = Remote { url: fake.url.parse().unwrap(), key, ca: None };
    bench.settings.checkpoint.as_mut().unwrap().witnesses = vec![Witness::Http(remote)];
    wait(bench.open().close());
    assert!(bench.lines().iter().any(|line| json(line)["event"] == "log.resumed"));
    assert_eq!(fake.has().unwrap().0, 1, "the seal before: {:?}", fake.asked());
}

#[test]
fn a_log_that_is_refused_is_left_as_it_is() {
    let watched = Watched::with(&[3, 8]);
    watched.sees(&format!("{}\n", note("jwsd/test", &tree(500))));
    let segment = watched.bench.segment(1);
    let mut torn = std::fs::read(&segment).unwrap();
    torn.extend(b"{\"seq\":12,");
    std::fs::write(&segment, &torn).unwrap();
    watched.refused();
    assert_eq!(std::fs::read(&segment).unwrap(), torn);
    watched.accept();
    let recovered =
        watched.bench.lines().iter().map(|line| json(line)).find(|line| line["event"] == "log.recovered");
    assert_eq!(recovered.unwrap()["dropped"], 10, "and what it lost is recorded once it is taken");
}

#[test]
fn a_log_keeps_its_name() {
    let mut watched = Watched::with(&[3]);
    let checkpoint = watched.bench.settings.checkpoint.as_mut().unwrap();
    checkpoint.origin = Some("jwsd/renamed".to_owned());
    let error = watched.bench.try_open().err().unwrap();
    assert!(matches!(&error, OpenError::Origin { found, .. } if found == "jwsd/test"), "{error}");
    watched.bench.settings.checkpoint.as_mut().unwrap().origin = None;
    let log = watched.bench.open();
    assert_eq!(log.sealing().unwrap().origin, "jwsd/test");
}

#[test]
fn a_file_gets_each_note_once_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("witness");
    let witness = Witness::File(file.clone());
    let notes = [3, 4].map(|size| note("jwsd/test", &tree(size)));
    let now = jiff::Timestamp::UNIX_EPOCH;
    assert!(witness.tell(&notes[0], now).is_err(), "it is not made");
    std::fs::write(&file, "").unwrap();
    notes.iter().for_each(|note| witness.tell(note, now).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{}\n{}\n", notes[0], notes[1]));
    // After one that was cut short.
    std::fs::write(&file, &notes[0][..30]).unwrap();
    witness.tell(&notes[1], now).unwrap();
    assert_eq!(last_note(&file, "jwsd/test").unwrap().as_ref(), Some(&notes[1]));
}

#[test]
fn the_systems_log_gets_one_message() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let witness = Witness::Syslog(path.clone());
    let (note, now) = (note("jwsd/test", &tree(3)), jiff::Timestamp::UNIX_EPOCH);
    assert!(witness.tell(&note, now).is_err(), "nobody listens");
    let socket = UnixDatagram::bind(&path).unwrap();
    witness.tell(&note, now).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let text = std::str::from_utf8(&buffer[..length]).unwrap();
    let parts: Vec<&str> = text.splitn(8, ' ').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("<85>1", "1970-01-01T00:00:00.000000Z", "jwsd"));
    assert_eq!((parts[4], parts[5], parts[6]), (&*std::process::id().to_string(), "checkpoint", "-"));
    assert_eq!(json(parts[7])["note"].as_str(), Some(note.as_str()));
    assert_eq!(text.lines().count(), 1);
}

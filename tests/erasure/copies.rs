//! Nothing that is left on a disk tells which records are of the erased: not the state, what SQLite leaves of it, nor
//! copies from before. All others are found as ever, and the log has not changed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::PathBuf;

use crate::bed::{
    self, Form, assert_nameless, assert_sound, current, epoch_secret, erase, issue, issued, name, search_key,
    tag,
};
use crate::common::{Daemon, Dice, Site, copy, rounds, segments};
use crate::disk::{Disk, Person, Secret, sealed_buckets};

/// Records of each person.
const RECORDS: usize = 20;
/// Of so many of the erased every place of a disk is tried for their rows.
const EVERYWHERE: usize = 2;

#[test]
fn with_keys_in_files() {
    run(Form::File);
}

#[test]
fn with_keys_in_a_token() {
    run(Form::Backend);
}

fn run(form: Form) {
    let people = usize::try_from(rounds(60)).unwrap().clamp(20, 1000);
    let mut dice = Dice::new("erasure");
    let site = bed::site(form);
    let daemon = site.start();
    let names: Vec<String> = (0..people).map(name).collect();
    let mut jtis = vec![HashSet::new(); people];
    for _ in 0..RECORDS {
        jtis.iter_mut().zip(issue(&daemon, &names)).for_each(|(jtis, jti)| assert!(jtis.insert(jti)));
    }
    let keys: Vec<Secret> = names.iter().map(|name| search_key(&daemon, name).unwrap()).collect();
    let all = issued(&daemon.records());
    let found = |key: &Secret| -> HashSet<String> {
        all.iter().filter(|(jti, seen)| tag(key, jti) == *seen).map(|(jti, _)| jti.clone()).collect()
    };
    for (key, jtis) in keys.iter().zip(&jtis) {
        assert_eq!(found(key), *jtis);
    }
    let log = read_log(&site);

    let mut left: Vec<usize> = (0..people).collect();
    let mut gone = BTreeSet::new();
    while gone.len() < people / 10 {
        gone.insert(left.swap_remove(usize::try_from(dice.below(left.len() as u64)).unwrap()));
    }
    // Copies before the first and before the last half, and the keys of the epochs that end.
    let mut copies: Vec<PathBuf> = Vec::new();
    let mut ended: Vec<(jwsd::state::EpochRow, Secret)> = Vec::new();
    for (at, person) in gone.iter().enumerate() {
        if at == 0 || at == gone.len() / 2 {
            let place = site.path(&format!("copy-{at}"));
            copy(&site.path("state"), &place);
            copies.push(place);
            let row = current(&site);
            let secret = epoch_secret(&site, &row).unwrap();
            ended.push((row, secret));
        }
        erase_one(&site, &daemon, &names[*person], at % 2 == 0 && at < 6);
    }
    let now = site.path("now");
    copy(&site.path("state"), &now);
    let row = current(&site);

    // The others are as they were, the erased are nobody.
    for (number, name) in names.iter().enumerate() {
        let key = search_key(&daemon, name);
        assert_eq!(key, (!gone.contains(&number)).then_some(keys[number]), "{name}");
    }
    search(&site, &daemon, &names, &gone, &jtis);
    let mut told = daemon.status().to_string();
    let (code, log_of_daemon) = daemon.stop();
    assert_eq!(code, Some(0), "{log_of_daemon}");
    told += &log_of_daemon;
    assert_nameless(&site, &told);
    assert_sound(&site);
    for (segment, bytes) in &log {
        let now = fs::read(segment).unwrap();
        assert!(now.starts_with(bytes), "{} is not what it was", segment.display());
    }
    let records = crate::common::records(&site.audit);
    let erased = records.iter().filter(|record| record["event"] == "subject.erased");
    let counts: Vec<_> = erased.map(|record| record["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, vec![1; gone.len()], "one record for each");

    // The ended epochs' keys are gone, and so nothing on a disk opens what the erased are in.
    for (row, _) in &ended {
        assert_eq!(epoch_secret(&site, row), None, "{row:?}");
    }
    let state = site.path("state");
    let person = |number: &usize| Person::of(&state, &names[*number]);
    let lost: Vec<Person> = gone.iter().map(person).collect();
    let living: Vec<Person> = left.iter().map(person).collect();
    let is_epoch = |name: &str| name.contains("epoch-");
    let before = Disk::read(&[&copies[0]], is_epoch);
    // First what the scan is worth: with the key of that time all are found in the copy.
    let (_, secret) = &ended[0];
    let buckets = before.buckets(secret);
    let everyone: Vec<Person> = living.iter().chain(&lost).copied().collect();
    let known: BTreeMap<Person, BTreeSet<Secret>> = gone
        .iter()
        .zip(&lost)
        .chain(left.iter().zip(&living))
        .map(|(number, person)| (*person, BTreeSet::from([keys[*number]])))
        .collect();
    assert_eq!(before.subjects(&buckets, &everyone, &lost[..1]), known);
    if form == Form::File {
        // A copy with its epoch's file gives them all away: that is why backups must leave it out.
        assert!(Disk::read(&[&copies[0]], |_| false).epochs(&sealed_buckets(&copies[0])).contains(secret));
    }

    let copies_of = copies.iter().map(PathBuf::as_path).collect::<Vec<_>>();
    let disk = Disk::read(&[&state, &now], |_| false)
        .and(Disk::read(&copies_of, |name| form == Form::File && is_epoch(name)));
    let sealed = copies.iter().chain([&now]).flat_map(|dir| sealed_buckets(dir).into_iter().take(1));
    let mut epochs = disk.epochs(&sealed.collect::<Vec<_>>());
    epochs.extend(epoch_secret(&site, &row));
    assert_eq!(epochs, BTreeSet::from([epoch_secret(&site, &row).unwrap()]), "one epoch is left");
    let opened: BTreeSet<_> = epochs.iter().flat_map(|epoch| disk.buckets(epoch)).collect();
    let sample = &lost[..lost.len().min(EVERYWHERE)];
    let left_over = disk.subjects(&opened, &everyone, sample);
    let others = known.into_iter().filter(|(person, _)| living.contains(person)).collect::<BTreeMap<_, _>>();
    assert_eq!(left_over, others, "the others' keys open, the erased's do not");
    // Nor does anything lie about as it is, which would open them.
    let theirs: BTreeSet<u16> = lost.iter().map(Person::bucket).collect();
    let old = buckets.iter().filter(|bucket| theirs.contains(&bucket.number)).map(|bucket| &bucket.secret);
    let dead =
        gone.iter().map(|number| &keys[*number]).chain(ended.iter().map(|(_, secret)| secret)).chain(old);
    assert_eq!(disk.plain(dead), [""; 0]);

    // Said in tags: with any key that is left, none of the erased's.
    let mut tried = 0;
    for (jti, seen) in all.iter().filter(|(jti, _)| gone.iter().any(|number| jtis[*number].contains(jti))) {
        for key in left_over.values().flatten() {
            tried += 1;
            assert!(tag(key, jti) != *seen, "{jti}");
        }
    }
    println!(
        "erasure: {form:?}: {people} people with {RECORDS} records each, {} erased; {} bytes on disk, {} buckets and {} keys \
         opened, {tried} tags of the erased tried, 0 match; the other {} are found with all their records",
        gone.len(),
        disk.len(),
        opened.len(),
        left_over.len(),
        left.len()
    );
}

/// As an operator does it, or as a program does.
fn erase_one(site: &Site, daemon: &Daemon, name: &str, by_command: bool) {
    if !by_command {
        let answer = erase(daemon, name).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()["erased"], 1);
        return;
    }
    let socket = daemon.socket("admin.sock");
    let erased = site.jwsd(&["erase", "--subject", name, "--yes", "--socket", socket.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&erased.stdout);
    assert!(erased.status.success() && said.contains("is erased"), "{said}");
}

/// What `jwsd audit search` says of two who are there and one who is not.
fn search(site: &Site, daemon: &Daemon, names: &[String], gone: &BTreeSet<usize>, jtis: &[HashSet<String>]) {
    let socket = daemon.socket("admin.sock");
    let (log, socket) = (site.audit.to_str().unwrap(), socket.to_str().unwrap());
    let there = (0..names.len()).filter(|number| !gone.contains(number)).take(2);
    for number in there.chain(gone.first().copied()) {
        let found = site.jwsd(&[
            "audit",
            "search",
            log,
            "--subject",
            &names[number],
            "--socket",
            socket,
            "--event",
            "jwt.issued",
        ]);
        let text = String::from_utf8(found.stdout).unwrap();
        let found_jtis: HashSet<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["jti"].as_str().unwrap().to_owned()
            })
            .collect();
        let (wanted, code) = match gone.contains(&number) {
            true => (HashSet::new(), 1),
            false => (jtis[number].clone(), 0),
        };
        assert_eq!((found_jtis, found.status.code()), (wanted, Some(code)));
    }
}

fn read_log(site: &Site) -> Vec<(PathBuf, Vec<u8>)> {
    // What is being written ends where it ends now.
    segments(&site.audit).into_iter().map(|segment| (segment.clone(), fs::read(segment).unwrap())).collect()
}

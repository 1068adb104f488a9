//! Logs whose beginning went: what is left verifies, alone and with the archive, after an end at any step; and who finds
//! what was taken away without leave.

use super::maker::{Maker, Signer, issued, two_hundred};
use super::shorten::*;
use super::*;
use crate::audit::checkpoint::SealKey;
use crate::audit::disk::{Disk, KernelDisk};
use crate::audit::prove::{self, segment};
use crate::audit::retain::archive::Archive;
use crate::audit::retain::{self, Settings, plan};
use crate::audit::{Entry, Event, Outcome};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn what_a_failed_disk_left_is_archived_and_vouched_for_by_nobody() {
    let signer = Signer::ed25519();
    let mut log = torn(&signer, &signer);
    log.segments.splice(0..0, log.gone.clone());
    log.base = None;
    let place = Place::new(&log);
    let going = plan(&place.dir(), &terms(), when(&log, 1)).unwrap().goes.unwrap();
    assert_eq!((going.base.after, going.count), (5, 7));
    Archive::open(&place.archive()).unwrap().take(&place.dir(), &going).unwrap();
    let segment = place.archive().join("00000000000000000001.jsonl");
    let proof = fs::read_to_string(segment.with_extension("proof")).unwrap();
    let bytes = fs::read(&segment).unwrap();
    let keys = [SealKey::from_vkey(&signer.key.to_vkey()).unwrap()];
    let proven = segment::check(&proof, &bytes[..], &keys).unwrap().unwrap();
    assert_eq!((proven.records, proven.unvouched), (7, 2));
    // Without its gap it is damaged.
    let plain: String = proof.split_inclusive('\n').filter(|line| !line.starts_with("gap")).collect();
    assert!(segment::check(&plain, &bytes[..], &keys).unwrap().is_err());
    let stranger = [SealKey::from_vkey(&Signer::ed25519().key.to_vkey()).unwrap()];
    assert!(segment::check(&proof, &bytes[..], &stranger).unwrap().is_err());
    // After a power loss less of the doubtful part may be there: the archive takes that in its place.
    let end = bytes.len() - 20;
    put(&place.dir().join("00000000000000000001.jsonl"), &bytes[..end]);
    let going = plan(&place.dir(), &terms(), when(&log, 1)).unwrap().goes.unwrap();
    Archive::open(&place.archive()).unwrap().take(&place.dir(), &going).unwrap();
    assert_eq!(fs::read(&segment).unwrap(), &bytes[..end]);
}

#[test]
fn what_is_kept_verifies_with_the_key_in_force_and_all_of_it_with_the_first() {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let mut log = two_hundred(&first, &second);
    let before = log.clone();
    let place = Place::new(&log);
    let going = plan(&place.dir(), &terms(), when(&log, 3)).unwrap().goes.unwrap();
    assert_eq!(going.segments.len(), 3);
    Archive::open(&place.archive()).unwrap().take(&place.dir(), &going).unwrap();
    log.record(&going.record(Some(&place.archive())));
    log.seal(&second);
    place.write(&log);
    going.carry_out(&place.store(Arc::new(KernelDisk))).unwrap();
    take(&mut log, &going);
    assert_eq!(fs::read_to_string(place.dir().join("base")).unwrap(), going.base.text());

    let report = place.report(trust(&[&second], &log.witness()));
    assert_sound(&report);
    let begins = report.begins.unwrap();
    assert_eq!((begins.after, begins.size), (going.base.after, going.base.tree.size()));
    assert!(report.checkpoints.earlier > 3 && report.checkpoints.found > 3, "{:?}", report.checkpoints);
    assert_finds(&place.report(trust(&[&first], "")), "give the key in force here, or --archive");
    let report = place.with_archive(trust(&[&first], &log.witness()));
    assert_sound(&report);
    assert_eq!((report.first, report.records, report.checkpoints.earlier), (1, 202, 0));
    assert_finds(&place.with_archive(trust(&[&second], "")), "none of those that were given");
    assert_eq!(place.records().len(), 202);
    // The log says which key that is, though the record that introduced it went.
    assert_eq!(prove::keys(&place.dir()).unwrap().seals[0].2.as_deref(), Some(second.key.to_vkey().as_str()));

    // Each archived segment by itself.
    let keys = [&first, &second].map(|signer| SealKey::from_vkey(&signer.key.to_vkey()).unwrap());
    let mut records = 0;
    for (listed, _) in &going.segments {
        let path = place.archive().join(&listed.name);
        let proof = fs::read_to_string(path.with_extension("proof")).unwrap();
        let bytes = fs::read(&path).unwrap();
        let proven = segment::check(&proof, &bytes[..], &keys).unwrap().unwrap();
        assert_eq!((&proven.segment, proven.unvouched), (&listed.name, 0));
        for at in (0..bytes.len()).step_by(97) {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(segment::check(&proof, &changed[..], &keys).unwrap().is_err(), "byte {at}");
        }
        for at in (0..proof.len()).filter(|at| proof.is_char_boundary(*at) && proof.is_char_boundary(at + 1))
        {
            let mut changed = proof.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            // A gap may be said to be wider where that makes no difference.
            if let Ok(same) = segment::check(&changed, &bytes[..], &keys).unwrap() {
                assert!(same == proven && changed[..at].contains("\ngap "), "proof byte {at}");
            }
        }
        records += proven.records;
        for end in 0..proof.len() {
            if let Some(cut) = proof.get(..end) {
                assert!(segment::check(cut, &bytes[..], &keys).unwrap().is_err(), "cut at {end}");
            }
        }
    }
    assert_eq!(records, going.count);

    // Proofs of JWTs, kept and archived, and of growth.
    let facts = |n: u64| prove::Facts {
        jti: format!("jti-{n}"),
        kid: issued(n).kid.unwrap(),
        alg: "ES256".to_owned(),
        iat: 1_780_000_000,
        exp: 1_780_000_300,
        aud: vec!["https://api.example.com".to_owned()],
    };
    let (dir, archive) = (place.dir(), place.archive());
    let kept = going.base.after + 10;
    for (n, archive) in [(kept, None), (kept, Some(&*archive)), (5, Some(&*archive))] {
        let proof = prove::inclusion_of(&dir, archive, &facts(n)).unwrap();
        prove::check::check(&proof, &keys, Some(&facts(n))).unwrap();
    }
    let gone = prove::inclusion_of(&dir, None, &facts(5)).unwrap_err();
    assert!(gone.to_string().contains("give --archive"), "{gone}");
    let sizes: Vec<u64> =
        before.notes.iter().map(|note| note.lines().nth(1).unwrap().parse().unwrap()).collect();
    for &old in &sizes {
        let all = prove::consistency_of(&dir, Some(&archive), old, None).unwrap();
        prove::check::check(&all, &keys, None).unwrap();
        match prove::consistency_of(&dir, None, old, None) {
            Ok(proof) => {
                assert!(old >= going.base.tree.size());
                prove::check::check(&proof, &keys, None).unwrap();
            }
            Err(_) => assert!(old < going.base.tree.size()),
        }
    }
}

#[test]
fn only_what_is_old_sealed_and_free_of_keys_that_wait_goes() {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let log = two_hundred(&first, &second);
    // In the second segment a key is introduced that takes over in the third.
    let goes = |kept| look(&log, kept).goes.map_or(0, |going| going.segments.len());
    assert_eq!([0, 1, 2, 3, 4].map(goes), [0, 1, 1, 3, 4]);
    let next = look(&log, 1).next.unwrap();
    assert_eq!(next.0, "00000000000000000040.jsonl");
    // One that is never used is no hindrance once the daemon has begun anew: it introduces all that may take over.
    let mut log = Maker::new();
    log.introduce(&first);
    log.seal(&first);
    log.introduce(&second);
    log.begin();
    log.issue(3);
    log.seal(&first);
    assert!(look(&log, 1).goes.is_none());
    let mut started = log.clone();
    started.record(&Entry::new(Event::DaemonStarted, Outcome::Success));
    assert_eq!(look(&started, 1).goes.unwrap().segments.len(), 1);
    log.introduce(&second);
    assert_eq!(look(&log, 1).goes.unwrap().segments.len(), 1);
    log.seal(&first);
    log.seal(&second);
    assert_sound(&verify_segments(&log.segments, &trust(&[&first], "")));
    let going = declare(&mut log, 1, &second);
    take(&mut log, &going);
    assert_sound(&verify_from(log.base.as_ref(), &log.segments, &trust(&[&first], "")));
    // What no seal covers stays.
    let mut log = Maker::new();
    log.introduce(&first);
    log.seal(&first);
    log.issue(2);
    log.begin();
    log.issue(2);
    assert!(look(&log, 1).goes.is_none());
    log.seal(&first);
    assert_eq!(look(&log, 1).goes.unwrap().segments.len(), 1);
    // What is damaged is not taken for old.
    log.segments[0].1[100] ^= 1;
    let place = Place::new(&log);
    let error = plan(&place.dir(), &terms(), when(&log, 1)).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    // Nor what was changed by somebody who knows the format.
    log.segments[0].1[100] ^= 1;
    let text = String::from_utf8(log.segments[0].1.clone()).unwrap().replace("jti-3", "jti-9");
    log.segments[0].1 = text
        .lines()
        .flat_map(|line| [super::tamper::with_crc(line.as_bytes()), b"\n".to_vec()].concat())
        .collect();
    let place = Place::new(&log);
    let error = plan(&place.dir(), &terms(), when(&log, 1)).unwrap_err();
    assert!(error.to_string().contains("no seal fits"), "{error}");
}

#[test]
fn an_acceptance_stays_as_long_as_it_excuses_something() {
    let signer = Signer::ed25519();
    let mut log = Maker::new();
    log.introduce(&signer);
    log.issue(30);
    log.seal(&signer);
    log.cut(8);
    log.accept(&log.notes[0].clone());
    log.seal(&signer);
    for _ in 0..3 {
        log.begin();
        log.issue(11);
        log.seal(&signer);
    }
    // 10 leaves, 22 and 34; 31 were lost.
    let goes = |kept| look(&log, kept).goes.map_or(0, |going| going.segments.len());
    assert_eq!([1, 2, 3].map(goes), [0, 0, 3]);
    let mut late = log.clone();
    let going = declare(&mut late, 3, &signer);
    take(&mut late, &going);
    let report = verify_from(late.base.as_ref(), &late.segments, &trust(&[&signer], &late.witness()));
    assert_sound(&report);
    assert!(report.checkpoints.earlier > 0);
}

#[test]
fn the_longest_term_of_a_segment_counts() {
    let signer = Signer::ed25519();
    let mut log = Maker::new();
    log.introduce(&signer);
    log.issue(3);
    log.seal(&signer);
    log.begin();
    log.issue(1);
    log.seal(&signer);
    let place = Place::new(&log);
    let look = |days, profile: &str, after: i64| {
        let term = |days: u64| Duration::from_secs(days * 86_400);
        let profiles = BTreeMap::from([(profile.to_owned(), term(days))]);
        let settings = Settings { default: term(10), profiles, archive: None };
        let now = Timestamp::from_second(1_780_000_000 + after * 86_400 + 60).unwrap();
        plan(&place.dir(), &settings, now).unwrap().goes.is_some()
    };
    assert!(look(5, "other", 10) && !look(5, "other", 9));
    assert!(look(20, "access-token", 20) && !look(20, "access-token", 19));
    // Its records have other profiles too, or none.
    assert!(look(5, "access-token", 10) && !look(5, "access-token", 9));
}

/// Does nothing any more after so many calls, as a process that was killed.
struct Fuse(AtomicU64);

impl Fuse {
    fn burn(&self) -> std::io::Result<()> {
        let left = self.0.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map(drop).map_err(|_| std::io::Error::from_raw_os_error(nix::libc::EIO))
    }
}

impl Disk for Fuse {
    fn open(&self, directory: &File, name: &str, flags: nix::fcntl::OFlag) -> std::io::Result<File> {
        self.burn()?;
        KernelDisk.open(directory, name, flags)
    }
    fn replace(&self, directory: &File, from: &str, to: &str) -> std::io::Result<()> {
        self.burn()?;
        KernelDisk.replace(directory, from, to)
    }
    fn remove(&self, directory: &File, name: &str) -> std::io::Result<()> {
        self.burn()?;
        KernelDisk.remove(directory, name)
    }
    fn write(&self, file: &File, bytes: &[u8]) -> std::io::Result<usize> {
        self.burn().or_else(|error| KernelDisk.write(file, &bytes[..bytes.len() / 2]).and(Err(error)))?;
        KernelDisk.write(file, bytes)
    }
    fn sync_all(&self, file: &File) -> std::io::Result<()> {
        self.burn()?;
        KernelDisk.sync_all(file)
    }
}

#[test]
fn an_end_at_any_step_leaves_a_log_that_verifies_and_loses_nothing() {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let log = two_hundred(&first, &second);
    let both = || trust(&[&first, &second], &log.witness());
    for calls in 0.. {
        let place = Place::new(&log);
        let going = plan(&place.dir(), &terms(), when(&log, 3)).unwrap().goes.unwrap();
        let fuse = Arc::new(Fuse(AtomicU64::new(calls)));
        let archived =
            Archive::on(&place.archive(), Arc::<Fuse>::clone(&fuse)).unwrap().take(&place.dir(), &going);
        let mut declared = log.clone();
        declared.record(&going.record(Some(&place.archive())));
        let mut done = archived.is_ok();
        if done {
            // Nothing of this is believed before a seal covers it.
            assert_sound(&place.report(both()));
            place.write(&declared);
            declared.seal(&second);
            place.write(&declared);
            // The fuse is for what is done here, not for the start.
            let left = fuse.0.swap(u64::MAX, Ordering::SeqCst);
            let store = place.store(Arc::<Fuse>::clone(&fuse));
            fuse.0.store(left, Ordering::SeqCst);
            done = going.carry_out(&store).is_ok();
        }
        assert_sound(&place.report(both()));
        assert_sound(&place.with_archive(both()));
        assert_eq!(place.records().len(), if archived.is_ok() { 202 } else { 200 });
        agrees(&place, &[&first, &second], calls);
        // And the next run does the rest.
        let store = place.store(Arc::new(KernelDisk));
        retain::finish(&place.dir(), &store).unwrap();
        let now = when(&log, 3);
        if let Some(going) = plan(&place.dir(), &terms(), now).unwrap().goes {
            Archive::open(&place.archive()).unwrap().take(&place.dir(), &going).unwrap();
            if archived.is_err() {
                declared.seal(&second);
                place.write(&declared);
            }
            going.carry_out(&place.store(Arc::new(KernelDisk))).unwrap();
        }
        let names = crate::audit::segment::list_all(&place.dir()).unwrap().0;
        assert_eq!(names.len(), 2, "{names:?}");
        assert_sound(&place.report(trust(&[&second], "")));
        assert_sound(&place.with_archive(trust(&[&first], "")));
        assert_eq!(place.records().len(), 202);
        if done {
            assert!(calls > 20, "{calls}");
            break;
        }
    }
}

/// The second implementation calls it sound too, with and without the archive.
fn agrees(place: &Place, keys: &[&Signer], calls: u64) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let python = target.join("venv/bin/python");
    if !python.exists() {
        println!("SKIPPED: {} is not there; scripts/test makes it", python.display());
        return;
    }
    for archive in [None, Some(place.archive())] {
        let mut verifier = std::process::Command::new(&python);
        verifier.arg("-B").arg(root.join("scripts/audit_verify.py")).arg(place.dir());
        verifier.args(keys.iter().flat_map(|signer| ["--key".to_owned(), signer.key.to_vkey()]));
        verifier.args(archive.iter().flat_map(|archive| [Path::new("--archive"), archive]));
        let output = verifier.output().unwrap();
        assert!(output.status.success(), "{calls}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn segments_are_not_removed_for_a_base_that_nothing_bears_out() {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let log = two_hundred(&first, &second);
    let going = look(&log, 3).goes.unwrap();
    let place = Place::new(&log);
    put(&place.dir().join("base"), going.base.text().as_bytes());
    let store = place.store(Arc::new(KernelDisk));
    let error = retain::finish(&place.dir(), &store).unwrap_err();
    assert!(error.to_string().contains("nothing that is sealed says"), "{error}");
    assert_eq!(place.records().len(), 200);
    // Nor for one that is not sealed yet.
    let mut unsealed = log.clone();
    unsealed.record(&going.record(None));
    place.write(&unsealed);
    put(&place.dir().join("base"), going.base.text().as_bytes());
    assert!(retain::finish(&place.dir(), &place.store(Arc::new(KernelDisk))).is_err());
    assert_finds(&place.report(trust(&[&second], "")), "no log.archived that a seal covers");
    assert_eq!(place.records().len(), 201);
}

#[test]
fn an_archive_is_never_written_over() {
    let (first, second) = (Signer::ed25519(), Signer::es256());
    let log = two_hundred(&first, &second);
    let place = Place::new(&log);
    let going = plan(&place.dir(), &terms(), when(&log, 3)).unwrap().goes.unwrap();
    let segment = place.archive().join(&going.segments[1].0.name);
    for other in ["", "of another log\n"] {
        put(&segment, other.as_bytes());
        let taken = Archive::open(&place.archive()).unwrap().take(&place.dir(), &going);
        assert!(taken.unwrap_err().to_string().contains("another file has this name"));
        assert_eq!(fs::read_to_string(&segment).unwrap(), other);
    }
    fs::remove_file(&segment).unwrap();
    // What is there already is not copied again.
    for _ in 0..2 {
        Archive::open(&place.archive()).unwrap().take(&place.dir(), &going).unwrap();
    }
    fs::set_permissions(place.archive(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = Archive::open(&place.archive()).err().unwrap().to_string();
    assert!(error.contains("chmod o-w"), "{error}");
    let error = Archive::open(&place.archive().join("none")).err().unwrap().to_string();
    assert!(error.contains("make that directory"), "{error}");
}

//! A failing, full or tampered disk: nothing is released, the log says what is unknown, and it heals by itself.

use super::*;

/// Runs one failing append after one good one, lets the log heal, and returns its lines.
fn after_fault(bench: &Bench, break_it: impl FnOnce(&Log)) -> Vec<serde_json::Value> {
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    break_it(&log);
    let mut waiting: Vec<_> = (2..5).map(|n| log.append(vec![issued(n), denied(n)])).collect();
    let mut refused = 0;
    for ticket in &mut waiting {
        let outcome = match ticket {
            Ok(ticket) => wait(ticket.durable()),
            Err(unavailable) => Err(unavailable.clone()),
        };
        refused += usize::from(outcome.is_err());
    }
    assert!(refused > 0, "the fault was noticed");
    assert!(heals(&log) < Duration::from_secs(1));
    assert!(log.health().healthy);
    wait(log.close());
    bench.lines().iter().map(|l| json(l)).collect()
}

fn resumed(lines: &[serde_json::Value]) -> &serde_json::Value {
    let mut found = lines.iter().filter(|l| l["event"] == "log.resumed");
    let resumed = found.next().expect("log.resumed");
    assert!(found.next().is_none());
    resumed
}

#[test]
fn a_failed_sync_poisons_the_segment() {
    let bench = Bench::new();
    let lines = after_fault(&bench, |_| bench.disk.sync.store(1, Ordering::SeqCst));
    let resumed = resumed(&lines);
    assert_eq!(resumed["after"], 1);
    let unknown = resumed["unknown"].as_u64().unwrap();
    assert!(unknown >= 2, "{resumed}");
    assert_eq!(resumed["seq"], 2 + unknown);
    assert_eq!(resumed["rules"][0], "segment-sync");
    assert_eq!(resumed["segment"], "00000000000000000001.jsonl");
    let report = bench.assert_sound();
    assert_eq!(report.gaps.len(), 1);
    assert_eq!((report.gaps[0].unknown, report.gaps[0].missing), (unknown, 0));
}

#[test]
fn a_failed_write_leaves_a_declared_gap() {
    let bench = Bench::new();
    let lines = after_fault(&bench, |_| bench.disk.write.store(1, Ordering::SeqCst));
    assert_eq!(resumed(&lines)["rules"][0], "segment-write");
    let report = bench.assert_sound();
    assert_eq!(report.gaps[0].missing, report.gaps[0].unknown);
    assert_eq!(std::fs::read_to_string(bench.segment(1)).unwrap().lines().count(), 1, "not written again");
}

#[test]
fn a_short_write_is_a_fault_and_its_torn_end_is_declared() {
    let bench = Bench::new();
    let lines = after_fault(&bench, |_| bench.disk.short.store(1, Ordering::SeqCst));
    assert_eq!(resumed(&lines)["rules"][0], "segment-short-write");
    let report = bench.assert_sound();
    assert_eq!(report.gaps[0].missing, 1, "only the torn line: {report:?}");
    assert!(!std::fs::read_to_string(bench.segment(1)).unwrap().ends_with('\n'));
}

#[test]
fn repeated_faults_leave_one_segment_and_one_declaration() {
    let bench = Bench::new();
    let lines = after_fault(&bench, |_| bench.disk.sync.store(3, Ordering::SeqCst));
    let resumed = resumed(&lines);
    assert_eq!(resumed["seq"].as_u64().unwrap(), 2 + resumed["unknown"].as_u64().unwrap());
    bench.assert_sound();
    assert_eq!(bench.segments().len(), 2, "failed attempts are removed");
}

#[test]
fn many_sync_faults_release_nothing_and_stay_verifiable() {
    let bench = Bench::new();
    let log = bench.open();
    let mut acknowledged = Vec::new();
    for n in 0..200 {
        if n % 4 == 3 {
            bench.disk.sync.store(1, Ordering::SeqCst);
            assert!(record(&log, issued(n)).is_err());
            heals(&log);
        } else if record(&log, issued(n)).is_ok() {
            acknowledged.push(format!("r-{n}"));
        }
    }
    wait(log.close());
    let report = bench.assert_sound();
    assert_eq!(report.gaps.len(), 50);
    let recorded: std::collections::HashSet<_> =
        bench.lines().iter().map(|l| json(l)["request"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(acknowledged.len(), 150);
    assert!(acknowledged.iter().all(|r| recorded.contains(r)));
}

#[test]
fn a_fault_in_the_declaration_itself_is_declared_by_the_next() {
    let bench = Bench::new();
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    // The batch's sync, then the directory's while the next segment is made.
    bench.disk.sync.store(1, Ordering::SeqCst);
    bench.disk.sync_all.store(1, Ordering::SeqCst);
    assert!(record(&log, issued(2)).is_err());
    heals(&log);
    wait(log.close());
    let lines: Vec<_> = bench.lines().iter().map(|l| json(l)).collect();
    assert_eq!(resumed(&lines)["unknown"], 2, "one number for the record, one for the attempt");
    bench.assert_sound();
}

#[test]
fn an_unlinked_segment_fails_closed_and_is_missed() {
    let bench = Bench::new();
    let lines = after_fault(&bench, |_| std::fs::remove_file(bench.segment(1)).unwrap());
    assert!(!bench.segment(1).exists());
    assert_eq!(resumed(&lines)["rules"][0], "segment-unlinked");
    assert_eq!(resumed(&lines)["after"], 1);
    let report = bench.verify();
    assert!(report.problems.iter().any(|p| p.what.contains("missing")), "{report:#?}");
}

#[test]
fn a_renamed_segment_fails_closed() {
    let bench = Bench::new();
    let moved = bench.dir().join("moved");
    let lines = after_fault(&bench, |_| std::fs::rename(bench.segment(1), &moved).unwrap());
    assert_eq!(resumed(&lines)["rules"][0], "segment-replaced");
    assert!(!bench.verify().is_sound());
    std::fs::rename(&moved, bench.segment(1)).unwrap();
    bench.assert_sound();
}

#[test]
fn a_swapped_segment_fails_closed_and_keeps_the_stranger() {
    let bench = Bench::new();
    let lines = after_fault(&bench, |_| {
        let original = bench.dir().join("original");
        std::fs::rename(bench.segment(1), &original).unwrap();
        std::fs::copy(&original, bench.segment(1)).unwrap();
    });
    assert_eq!(resumed(&lines)["rules"][0], "segment-replaced");
    assert_eq!(bench.assert_sound().gaps.len(), 1);
}

#[test]
fn a_foreign_write_fails_closed() {
    for text in ["", "{}\n"] {
        let bench = Bench::new();
        let lines = after_fault(&bench, |_| {
            let mut content = std::fs::read(bench.segment(1)).unwrap();
            content.extend_from_slice(text.as_bytes());
            if text.is_empty() {
                content.clear();
            }
            std::fs::write(bench.segment(1), content).unwrap();
        });
        assert_eq!(resumed(&lines)["rules"][0], "segment-changed");
    }
}

#[test]
fn a_moved_directory_keeps_the_log_down_until_it_is_back() {
    let bench = Bench::new();
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    let moved = bench.dir().with_extension("moved");
    std::fs::rename(bench.dir(), &moved).unwrap();
    assert!(record(&log, issued(2)).is_err());
    // A fresh directory at the path is not the one that was locked.
    std::fs::create_dir(bench.dir()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let refused = record(&log, denied(3)).unwrap_err();
    assert!(refused.reason.contains("no longer the directory that was locked"), "{refused}");
    let health = log.health();
    assert!(!health.healthy && health.segment.is_empty());
    assert_eq!(std::fs::read_dir(bench.dir()).unwrap().count(), 0);
    std::fs::remove_dir(bench.dir()).unwrap();
    std::fs::rename(&moved, bench.dir()).unwrap();
    assert!(heals(&log) < Duration::from_secs(1));
    wait(log.close());
    assert_eq!(bench.assert_sound().gaps.len(), 1);
}

#[test]
fn without_a_spare_the_reserve_is_for_denials() {
    let bench = Bench::new();
    let log = bench.open();
    record(&log, denied(0)).unwrap();
    // The spare exists already: it will be used, after which none can be made.
    bench.disk.reserve.store(u32::MAX, Ordering::SeqCst);
    let mut issued_count = 0;
    let refused = loop {
        match record(&log, issued(issued_count)) {
            Ok(()) => issued_count += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.reason.contains("disk full"), "{refused}");
    assert_eq!(bench.segments().len(), 2);
    let health = log.health();
    assert!(!health.healthy && health.reason.unwrap().contains("disk full"));
    assert!(log.append(vec![issued(0)]).is_err(), "at once");
    assert!(log.append(vec![denied(1), issued(0)]).is_err(), "in a batch too");
    let mut denied_count = 0;
    let refused = loop {
        match record(&log, denied(denied_count)) {
            Ok(()) => denied_count += 1,
            Err(refused) => break refused,
        }
    };
    assert!(denied_count > 20, "{denied_count} denials");
    assert!(refused.reason.contains("disk full"), "{refused}");
    bench.disk.reserve.store(0, Ordering::SeqCst);
    assert!(heals(&log) < Duration::from_secs(1));
    wait(log.close());
    let report = bench.assert_sound();
    assert!(report.gaps.is_empty(), "nothing was lost");
    assert_eq!(report.records as usize, 1 + issued_count + denied_count + 1);
}

#[test]
fn a_stuck_disk_is_told_and_not_waited_for() {
    let bench = Bench::new();
    let log = bench.open();
    record(&log, issued(1)).unwrap();
    bench.disk.hang.store(true, Ordering::SeqCst);
    let soon = || tokio::time::Instant::now() + Duration::from_millis(50);
    let mut ticket = log.append(vec![issued(2)]).unwrap();
    let late = wait(ticket.durable_by(soon())).unwrap_err();
    assert!(late.reason.contains("did not answer in time"), "{late}");
    let late = wait(log.append(vec![issued(3)]).unwrap().release("jwt", soon())).err().unwrap();
    assert!(late.reason.contains("did not answer in time"), "{late}");
    let later = || log.health_at(Instant::now() + Duration::from_secs(4));
    let health = later();
    assert!(!health.healthy && health.reason.unwrap().contains("has not answered for"));
    bench.disk.hang.store(false, Ordering::SeqCst);
    wait(ticket.durable()).unwrap();
    let start = Instant::now();
    while !later().healthy {
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", later());
        std::thread::sleep(Duration::from_millis(10));
    }
    wait(log.close());
    assert_eq!(bench.assert_sound().records, 3, "what came too late is recorded all the same");
}

#[test]
fn batches_leave_room_for_single_records() {
    let bench = Bench::new();
    let log = bench.open();
    bench.disk.hang.store(true, Ordering::SeqCst);
    let soon = tokio::time::Instant::now() + Duration::from_millis(50);
    wait(log.append(vec![issued(0)]).unwrap().durable_by(soon)).unwrap_err();
    let large = || Entry { aud: vec!["https://api.example.com".to_owned(); 500], ..issued(1) };
    let mut batches = 0;
    let refused = loop {
        match log.append(vec![large(); 64]) {
            Ok(ticket) => drop(ticket),
            Err(refused) => break refused,
        }
        batches += 1;
    };
    assert!(batches > 8 && refused.reason.contains("too slow"), "{batches} {refused}");
    let ticket = log.append(vec![issued(2)]).unwrap();
    bench.disk.hang.store(false, Ordering::SeqCst);
    wait(async move { ticket.release((), tokio::time::Instant::now() + Duration::from_secs(60)).await })
        .map(drop)
        .unwrap();
    wait(log.close());
    assert_eq!(bench.assert_sound().records, 2 + 64 * batches);
}

/// A file system of its own, unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// A tmpfs of 4 MiB, or `None` when not root.
    fn small(at: &Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"]).arg(at);
        let mounted = nix::unistd::geteuid().is_root() && mount.status().is_ok_and(|s| s.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_survived_many_times() {
    let parent = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::small(&parent.path().join("small")) else {
        eprintln!("SKIPPED a_full_disk_is_survived_many_times: needs root to mount a tmpfs");
        return;
    };
    let settings = Settings {
        dir: mount.0.join("audit"),
        environment: "test".into(),
        segment: MIN_SEGMENT,
        checkpoint: None,
        retain: None,
    };
    let log = Log::open(&settings, Arc::new(SystemClock)).unwrap();
    let mut acknowledged = 0;
    for cycle in 0..15 {
        // Everything but what the log has reserved.
        let ballast = mount.0.join("ballast");
        let full = std::fs::write(&ballast, vec![7; 8 * 1024 * 1024]);
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull, "cycle {cycle}");
        let refused = loop {
            match record(&log, issued(acknowledged)) {
                Ok(()) => acknowledged += 1,
                Err(refused) => break refused,
            }
        };
        assert!(refused.reason.contains("disk full"), "{refused}");
        record(&log, denied(cycle)).unwrap();
        std::fs::remove_file(ballast).unwrap();
        assert!(heals(&log) < Duration::from_secs(1), "cycle {cycle}");
        acknowledged += 1;
        let report = super::super::verify::verify(&settings.dir, &mut |_, _| {}).unwrap();
        assert!(report.is_sound() && report.open_tail.is_none(), "{report:#?}");
    }
    wait(log.close());
    let issued = lines(&settings.dir).iter().filter(|line| json(line)["event"] == "jwt.issued").count();
    assert_eq!(issued, acknowledged);
    drop(log);
}

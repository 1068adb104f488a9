//! A log of many records: what the writer keeps in memory, and what a start reads of it.

use super::sealing::{Bed, Soft};
use super::*;
use crate::keyring::Ring;
use std::process::Command;

/// Records that are written before memory is looked at, so that every buffer has its size.
const WARM: usize = 20_000;
/// So much more memory than after that is none that grows with the log, bytes.
const SLACK: u64 = 8 << 20;

/// In a process of its own, where nothing else takes memory. With JWSD_TORTURE_ROUNDS=10000000 it is the log of a month.
#[test]
fn memory_and_starts_do_not_grow_with_the_log() {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "audit::tests::large::written_in_a_child", "--ignored", "--nocapture"]);
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", told.lines().find(|line| line.contains(" records")).unwrap());
}

#[test]
#[ignore = "memory_and_starts_do_not_grow_with_the_log runs it in a child"]
fn written_in_a_child() {
    let rounds = std::env::var("JWSD_TORTURE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let records = rounds.unwrap_or(100_000_usize);
    let mut bed = Bed::new(Ring::sample(Some(&Soft::new(7).version(i64::MIN, i64::MAX)), None));
    // Not in memory, which is what is measured.
    let directory = tempfile::tempdir().unwrap();
    bed.bench.settings.dir = directory.path().join("audit");
    bed.bench.settings.segment = 64 << 20;
    let log = bed.bench.open();
    let mut sealer = bed.sealer(&log);
    let (mut written, mut warm, mut most) = (0, None, 0);
    while written < records {
        let batch: Vec<Entry> = (0..500).map(|n| issued(written + n)).collect();
        written += 500;
        wait(async { log.append(batch).unwrap().durable().await }).unwrap();
        if written % 10_000 == 0 {
            assert!(wait(sealer.seal(true)));
            let now = resident();
            let base = *warm.get_or_insert(now);
            if written <= WARM {
                warm = Some(now);
            }
            most = now.max(most);
            assert!(now < base + SLACK, "{now} bytes after {written} records, {base} before");
        }
    }
    assert!(wait(sealer.seal(true)));
    drop(sealer);
    wait(log.close());
    drop(log);
    let start = Instant::now();
    let (log, read) = bytes_read(|| bed.bench.open());
    let took = start.elapsed();
    assert!(wait(log.head()).unwrap().tree.size() > records as u64);
    // The end of the newest segment alone.
    assert!(read <= bed.bench.settings.segment, "{read} bytes");
    println!(
        "{records} records: {} KiB resident after {WARM}, {} KiB at most; opened again in {took:?}, {read} bytes read",
        warm.unwrap_or_default() >> 10,
        most >> 10
    );
}

/// Memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

//! Processor time of the daemon, its worker and ourselves, as the kernel counts it.

use crate::Fault;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use std::time::Duration;

/// Processor time used so far. Processes are counted in clock ticks of 10 ms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Snapshot {
    pub(crate) daemon: Duration,
    pub(crate) worker: Duration,
    pub(crate) load: Duration,
}

impl Snapshot {
    /// The daemon is `pid`; its children are its workers.
    pub(crate) fn take(pid: u32) -> Result<Self, Fault> {
        let mut worker = Duration::ZERO;
        for child in children(pid)? {
            worker += process_cpu(child)?;
        }
        Ok(Self { daemon: process_cpu(pid)?, worker, load: own_cpu()? })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            daemon: self.daemon - before.daemon,
            worker: self.worker.saturating_sub(before.worker),
            load: self.load - before.load,
        }
    }
}

/// User and system time of this process, all threads.
pub(crate) fn own_cpu() -> Result<Duration, Fault> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(micros)?))
}

fn process_cpu(pid: u32) -> Result<Duration, Fault> {
    let fields = stat(pid)?;
    let hertz = sysconf(SysconfVar::CLK_TCK)?.ok_or("the kernel does not tell the length of a tick")?;
    let ticks: u64 = field(&fields, 14)? + field(&fields, 15)?;
    Ok(Duration::from_secs_f64(ticks as f64 / hertz as f64))
}

pub(crate) fn children(pid: u32) -> Result<Vec<u32>, Fault> {
    let numbers =
        std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // A process that ends meanwhile is no child of ours.
    Ok(numbers
        .filter(|child| stat(*child).is_ok_and(|f| field(&f, 4).is_ok_and(|p| p == u64::from(pid))))
        .collect())
}

/// The fields of `/proc/PID/stat` from the third on; the second may contain anything.
fn stat(pid: u32) -> Result<Vec<String>, Fault> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').ok_or("unknown form of /proc/PID/stat")?;
    Ok(rest.split_whitespace().map(str::to_owned).collect())
}

/// Field `number` as proc(5) counts them.
fn field(fields: &[String], number: usize) -> Result<u64, Fault> {
    Ok(fields.get(number - 3).ok_or("/proc/PID/stat is short")?.parse()?)
}

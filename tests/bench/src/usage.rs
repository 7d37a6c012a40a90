//! What processes use, from `/proc`: processor time including that of children that were waited for, and peak memory. The
//! kernel tells times in ticks, usually of 10 ms: less than a few of them says little.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::row::Usage;

/// A process whose use is being watched, from [`Watch::start`] on.
#[derive(Debug)]
pub struct Watch {
    process: PathBuf,
    cpu_ms: f64,
    memory_kb: u64,
}

impl Watch {
    /// Begins to watch a process. Its peak of memory is forgotten: the one of before is not ours.
    pub fn start(id: u32) -> Result<Self> {
        let process = PathBuf::from(format!("/proc/{id}"));
        // Where the kernel refuses it, the peak is that of the process's whole life, and never too low.
        let _ = std::fs::write(process.join("clear_refs"), "5");
        let mut watch = Self {
            process,
            cpu_ms: 0.0,
            memory_kb: 0,
        };
        watch.cpu_ms = watch.cpu_now()?;
        watch.memory_kb = watch.memory("VmRSS:")?;
        Ok(watch)
    }

    /// What the process used since the start; the peak is the most that was resident since then, all of it.
    pub fn so_far(&self) -> Result<Usage> {
        Ok(Usage {
            cpu_ms: self.cpu_now()? - self.cpu_ms,
            peak_memory_kb: self.memory("VmHWM:")?,
        })
    }

    /// How much memory was resident at the start, in kilobytes.
    pub fn memory_at_start_kb(&self) -> u64 {
        self.memory_kb
    }

    /// Processor time of the process and of children that it waited for, in milliseconds.
    fn cpu_now(&self) -> Result<f64> {
        let path = self.process.join("stat");
        let stat =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        // The program's name is in parentheses and may hold anything; utime is the 12th field after it (proc(5)).
        let (_, fields) = stat
            .rsplit_once(')')
            .context("expected a name in parentheses in stat")?;
        let ticks: Vec<f64> = fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("expected numbers of clock ticks in stat")?;
        Ok(ticks.iter().sum::<f64>() * 1000.0 / ticks_per_second())
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let path = self.process.join("status");
        let status =
            std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .with_context(|| format!("expected {field} in {}", path.display()))
    }
}

fn ticks_per_second() -> f64 {
    let found = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten();
    found.map_or(100.0, |ticks| ticks as f64)
}

/// The sums of several processes. That of the peaks is what they held at most, whenever each had its own.
pub fn together(all: impl IntoIterator<Item = Usage>) -> Usage {
    all.into_iter().fold(Usage::default(), |sum, one| Usage {
        cpu_ms: sum.cpu_ms + one.cpu_ms,
        peak_memory_kb: sum.peak_memory_kb + one.peak_memory_kb,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_this_process_are_seen() {
        let watch = Watch::start(std::process::id()).expect("this process is in /proc");
        let before = watch.so_far().expect("a usage").cpu_ms;
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while watch.so_far().expect("a usage").cpu_ms < before + 50.0 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
            assert!(start.elapsed().as_secs() < 20, "50 ms of work took 20 s");
        }
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let peak = watch.so_far().expect("a usage").peak_memory_kb;
        assert!(
            peak >= 64 << 10,
            "{} bytes resident, the peak is {peak} kB",
            block.len()
        );
    }
}

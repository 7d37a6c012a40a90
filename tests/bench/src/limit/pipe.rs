//! Output of commands read from their pipes and thrown away.

use std::io::Read as _;
use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::{megabytes_per_second, spawn};
use crate::emit;

/// As much is read at a time.
const READ: usize = 64 << 10;

/// Runs `count` commands at once that print `bytes` each; from their start to the end of the last one.
pub fn throughput(count: usize, bytes: usize) -> Result<f64> {
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    let one = || -> Result<usize> {
        let mut child = spawn::started(Command::new(&own).args(emit::lines(bytes / emit::LINE)))?;
        let mut pipe = child.stdout.take().context("expected a pipe")?;
        let (mut buffer, mut total) = (vec![0; READ], 0);
        loop {
            match pipe.read(&mut buffer)? {
                0 => break,
                read => total += read,
            }
        }
        child.wait()?;
        Ok(total)
    };
    let start = Instant::now();
    let totals: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let took = start.elapsed();
    for total in totals {
        let total = total.map_err(|_| anyhow::anyhow!("a reader of a pipe panicked"))??;
        ensure!(
            total == bytes,
            "expected {bytes} bytes from a pipe, found {total}"
        );
    }
    Ok(megabytes_per_second(count, bytes, took))
}

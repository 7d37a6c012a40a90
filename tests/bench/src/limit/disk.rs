//! Files written in order and synced at their end.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::megabytes_per_second;

/// As much is written at a time: the largest frame.
const WRITE: usize = 64 << 10;

/// Writes `count` files of `bytes` at once, until all are synced.
pub fn throughput(folder: &Path, count: usize, bytes: usize) -> Result<f64> {
    let paths: Vec<_> = (0..count)
        .map(|index| folder.join(format!("disk-{index}")))
        .collect();
    let start = Instant::now();
    let written: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(|| write(path, bytes)))
            .collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let took = start.elapsed();
    for path in &paths {
        // The folder is removed in the end in any case; this only frees its room sooner.
        let _ = std::fs::remove_file(path);
    }
    for outcome in written {
        outcome.map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    Ok(megabytes_per_second(count, bytes, took))
}

/// How long a new small file takes until it and its name are durable: the mean of some, in milliseconds. A step waits for
/// several such syncs; what else writes to the same disk can make them a hundred times slower.
pub fn sync_ms(folder: &Path) -> Result<f64> {
    const COUNT: u32 = 50;
    let paths = (0..COUNT).map(|index| folder.join(format!("sync-{index}")));
    let start = Instant::now();
    for path in paths.clone() {
        write(&path, 4096)?;
        File::open(folder)?.sync_all()?;
    }
    let took = start.elapsed();
    paths.into_iter().try_for_each(std::fs::remove_file)?;
    Ok((took / COUNT).as_secs_f64() * 1000.0)
}

fn write(path: &Path, bytes: usize) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("failed to make {}", path.display()))?;
    let chunk = vec![b'.'; WRITE];
    let mut left = bytes;
    while left > 0 {
        let part = &chunk[..left.min(WRITE)];
        file.write_all(part)?;
        left -= part.len();
    }
    file.sync_all()
        .with_context(|| format!("failed to sync {}", path.display()))
}

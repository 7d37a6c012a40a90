//! Open files of this process: simulated workers have a socket each.

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Allows so many workers, and the programs that are started from here as many files.
pub fn allow(workers: usize) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = u64::try_from(workers)? * 2 + 500;
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard)
            .context("failed to allow more open files")?;
    }
    anyhow::ensure!(
        needed <= hard,
        "expected to be allowed {needed} open files, found {hard}; raise `ulimit -Hn`"
    );
    Ok(())
}

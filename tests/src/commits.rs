//! How many transactions an SQLite database has committed, read from outside: its WAL index counts them (`iChange` in
//! <https://sqlite.org/walformat.html>). Nothing in the program has to count for it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Where the header of the WAL index has its version, and where the counter.
const VERSION: usize = 0;
const CHANGES: usize = 8;

/// The counter of a database that is open elsewhere; it wraps around.
pub fn so_far(database: &Path) -> Result<u32> {
    let mut index = database.as_os_str().to_owned();
    index.push("-shm");
    let bytes = std::fs::read(&index).with_context(|| format!("failed to read {}", index.display()))?;
    let number = |at: usize| -> Result<u32> {
        let found = bytes.get(at..at + 4).and_then(|found| found.try_into().ok());
        found
            .map(u32::from_ne_bytes)
            .context("expected a WAL index, found less")
    };
    ensure!(
        number(VERSION)? == 3_007_000,
        "expected version 3007000 of the WAL index, found {}",
        number(VERSION)?
    );
    number(CHANGES)
}

//! Waiting for a condition: bounded, and with words that say what was awaited.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How long a test waits for something that takes a second on an idle machine.
pub const BOUND: Duration = Duration::from_secs(60);

/// Often enough not to be noticed, rarely enough not to load the machine.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `condition` until it answers something. An error counts as "not yet": a master that restarts refuses
/// connections; the last one is part of the error when the bound is reached.
pub fn wait_for<T>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match condition() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() >= bound {
            let why = last.map_or_else(String::new, |error| {
                format!("; the last attempt failed: {error:#}")
            });
            return Err(anyhow!(
                "expected {what} within {bound:?}, it did not happen{why}"
            ));
        }
        sleep(PAUSE);
    }
}

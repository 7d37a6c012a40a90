//! The wall clock finer than a millisecond. Rows compare what one process wrote down with what another one saw.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "`capstan_model::Clock` counts milliseconds, and what is measured here may take less than one"
)]
pub fn nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds from `earlier` to `later`, both in nanoseconds; negative where the clock was set back.
pub fn milliseconds_between(earlier: u64, later: u64) -> f64 {
    (later as f64 - earlier as f64) / 1e6
}

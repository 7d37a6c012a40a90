//! Time as a parameter. The only home of the system's clock: everything else is handed a [`Clock`].

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant `ms` milliseconds later (earlier if negative), saturating.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// Where the current time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;
}

/// The environment variable that names the file of [`SystemClock`]'s offset.
const OFFSET_FILE: &str = "CAPSTAN_CLOCK_OFFSET_FILE";
/// The most that an offset moves the clock, either way: a hundred years.
const MOST_OFFSET_MS: i64 = 100 * 366 * 24 * 3_600_000;
/// More digits than any offset has.
const LONGEST_OFFSET: u64 = 32;

/// The machine's clock.
///
/// For tests alone, it can be made to jump: if the environment variable `CAPSTAN_CLOCK_OFFSET_FILE` names a file when the
/// clock is first read, the file is read anew with each reading, and the milliseconds in it (a signed decimal number) are
/// added. A file that is missing, empty or holds anything else counts as zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The file whose number is added to each reading, if the environment names one. A program says so when it starts.
    pub fn offset_file() -> Option<&'static Path> {
        static FILE: OnceLock<Option<OsString>> = OnceLock::new();
        let named = FILE.get_or_init(|| std::env::var_os(OFFSET_FILE).filter(|name| !name.is_empty()));
        named.as_deref().map(Path::new)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let now = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        match Self::offset_file() {
            Some(file) => now.plus_ms(offset(file)),
            None => now,
        }
    }
}

/// The offset that a file holds.
fn offset(file: &Path) -> i64 {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(LONGEST_OFFSET).read_to_string(&mut text));
    let offset: i64 = read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0);
    offset.clamp(-MOST_OFFSET_MS, MOST_OFFSET_MS)
}

/// A clock that stands still until it is turned by hand; for tests.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Turns the clock forward (or, if negative, back).
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_bounded_number_and_anything_else_is_none() {
        let file = std::env::temp_dir().join(format!("capstan-clock-{}", std::process::id()));
        let long = format!("{}1", " ".repeat(LONGEST_OFFSET as usize));
        for (text, expected) in [
            ("86400000", 86_400_000),
            ("-86400000\n", -86_400_000),
            ("+5", 5),
            ("9223372036854775807", MOST_OFFSET_MS),
            ("-9223372036854775808", -MOST_OFFSET_MS),
            ("", 0),
            ("tomorrow", 0),
            ("1e3", 0),
            ("99999999999999999999", 0),
            (long.as_str(), 0),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(offset(&file), expected, "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(offset(&file), 0);
    }
}

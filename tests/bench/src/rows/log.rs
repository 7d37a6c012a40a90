//! One large log: from its step's start to the moment at which every byte of it is durable at the master and it is noted
//! as complete. The time until the step has ended, with the log compressed and indexed, is in the note.

use anyhow::Result;

use super::logs;
use crate::row::{Aim, Bench, Measured, Row};

/// The row.
pub const ROW: Row = Row {
    name: "log",
    what: "one log of 100 MB in lines of 80 characters",
    run,
};

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    logs::measure(bench, 1, bench.count(100_000_000, 8_000_000), Aim::AtLeast(100.0))
}

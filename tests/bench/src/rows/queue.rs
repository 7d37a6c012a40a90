//! A long queue: the master's start with it, how long a free worker is without a build, giving requests to workers by itself, and
//! a change that a thousand schedulers decide about.

mod fan_out;
mod matching;
mod waiting;

use anyhow::Result;

use crate::row::{Bench, Measured, Row};

/// The row.
pub const ROW: Row = Row {
    name: "queue",
    what: "100,000 requests that wait for 1,000 builders: start, decisions; matching; a change for 1,000 schedulers",
    run,
};

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let mut lines = vec![matching::measure(bench)?];
    lines.extend(waiting::measure(bench)?);
    lines.push(fan_out::measure(bench)?);
    Ok(lines)
}

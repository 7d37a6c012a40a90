//! From the exec of `capstan run` on a farm with 300 builders of 7 steps to its ready line, and what it holds in memory
//! then. The first start makes the database and compiles the plugins; the second finds both.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::builders;
use crate::launch::{self, Master};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};
use crate::usage::Watch;

/// The row.
pub const ROW: Row = Row {
    name: "start",
    what: "the master's start with 300 builders: until it serves, and its memory then",
    run,
};

/// How often an empty program is started.
const EMPTY: usize = 20;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(300, 30);
    let farm = launch::farm(bench)?;
    farm.write("ci.star", builders::many(count))?;
    let first = Master::start(bench, &farm.folder())?;
    let first_ms = first.took.as_secs_f64() * 1000.0;
    first.stop()?;
    let (mut times, mut memories, mut used) = (Vec::new(), Vec::new(), None);
    for _ in 0..bench.repeat.max(1) {
        let master = Master::start(bench, &farm.folder())?;
        times.push(master.took.as_secs_f64() * 1000.0);
        let watch = Watch::start(master.id())?;
        memories.push(watch.memory_at_start_kb() as f64 * 1.024 / 1000.0);
        used = Some(watch.so_far()?);
        master.stop()?;
    }
    let empty = (0..EMPTY).map(|_| empty_program()).collect::<Result<Vec<_>>>()?;
    let limit = Figure::new(median(&empty), Unit::Milliseconds);
    Ok(vec![
        Measured {
            limit: Some(("an empty program, from exec to exit".to_owned(), limit)),
            aim: Some(Aim::AtMost(300.0)),
            note: format!(
                "{count} builders of 7 steps; plugins compiled and database made by an earlier start, which took \
                 {first_ms:.0} ms"
            ),
            ..Measured::of("until it serves", Unit::Milliseconds, times)
        },
        Measured {
            aim: Some(Aim::AtMost(60.0)),
            master: used,
            ..Measured::of("resident when it serves", Unit::Megabytes, memories)
        },
        Measured::of(
            "until the very first start serves",
            Unit::Milliseconds,
            vec![first_ms],
        ),
    ])
}

fn empty_program() -> Result<f64> {
    let start = Instant::now();
    let status = Command::new("true").status().context("failed to start `true`")?;
    ensure!(
        status.success(),
        "expected `true` to succeed, it ended with {status}"
    );
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

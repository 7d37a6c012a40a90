//! What a worker costs its machine: the memory of an idle `capstan-worker` a second after it connected, and the size of
//! its file.

use std::time::Duration;

use anyhow::{Context as _, Result};
use capstan_tests::sample;

use crate::launch;
use crate::row::{Aim, Bench, Measured, Row, Unit};
use crate::usage::Watch;

/// The row.
pub const ROW: Row = Row {
    name: "worker",
    what: "an idle worker's memory, and the size of its program",
    run,
};

/// What a start leaves behind is gone by then.
const SETTLE: Duration = Duration::from_secs(1);

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let program = bench.programs.join("capstan-worker");
    let size = std::fs::metadata(&program)
        .context("failed to look at capstan-worker")?
        .len();
    let mut farm = launch::farm(bench)?;
    farm.write("ci.star", sample::hello("step.shell(command = [\"true\"])"))?;
    farm.start_master()?;
    farm.add_worker("w1")?;
    let (mut memories, mut used) = (Vec::new(), None);
    for round in 0..bench.repeat.max(1) {
        if round > 0 {
            farm.stop_worker("w1")?;
            farm.start_worker("w1")?;
        }
        std::thread::sleep(SETTLE);
        let watch = Watch::start(farm.worker("w1")?.id())?;
        memories.push(watch.memory_at_start_kb() as f64 * 1.024 / 1000.0);
        used = Some(watch.so_far()?);
    }
    farm.shut_down()?;
    let profile = if cfg!(debug_assertions) {
        "of a build for development, which is not what is shipped"
    } else {
        ""
    };
    Ok(vec![
        Measured {
            aim: Some(Aim::AtMost(10.0)),
            worker: used,
            note: "resident, with the pages of its program that it has touched".to_owned(),
            ..Measured::of("idle and connected", Unit::Megabytes, memories)
        },
        Measured {
            aim: Some(Aim::AtMost(15.0)),
            note: profile.to_owned(),
            ..Measured::of("its file", Unit::Megabytes, vec![size as f64 / 1e6])
        },
    ])
}

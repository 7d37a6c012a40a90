//! Many builds whose step waits for a command: the master's memory for each, from before they are asked for until all of them
//! wait, with steps that give up their instance while they wait. Their commands are simulated, and have printed something.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::builders;
use crate::crowd::{self, Crowd};
use crate::launch::{self, Master};
use crate::limit::idle_connections::SETTLE;
use crate::limit::sockets;
use crate::row::{Aim, Bench, Measured, Row, Unit};
use crate::usage::Watch;

/// The row.
pub const ROW: Row = Row {
    name: "waiting",
    what: "ten thousand builds that wait for a command, without an instance: memory for each",
    run,
};

/// How long it may take until all wait.
const BOUND: Duration = Duration::from_secs(900);

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let side = bench.count(100, 12);
    sockets::allow(side)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(bench, side))
}

/// As many builds of each of `side` builders on as many workers.
async fn measure(bench: &Bench, side: usize) -> Result<Vec<Measured>> {
    let count = side * side;
    let farm = launch::farm(bench)?;
    farm.write("ci.star", builders::square(side))?;
    farm.edit(
        "capstan.toml",
        "# keep_instances = \"30s\"",
        "keep_instances = \"0s\"",
    )?;
    let master = Master::start(bench, &farm.folder())?;
    let members = crowd::enrol(&farm, side).await?;
    let mut crowd = Crowd::start(&members);
    crowd.all_after(0, BOUND).await?;
    // What only the first build needs is not theirs.
    crowd::force(&farm, "b0", 1).await?;
    crowd
        .until("a command to begin", BOUND, |tally| tally.began == 1)
        .await?;
    tokio::time::sleep(SETTLE).await;
    let watch = Watch::start(master.id())?;
    let start = Instant::now();
    for builder in 0..side {
        let rest = if builder == 0 { side - 1 } else { side };
        crowd::force(&farm, &format!("b{builder}"), rest).await?;
    }
    let all = crowd
        .until("all commands to begin", BOUND, |tally| tally.began == count)
        .await?;
    let took = (all - start).as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let used = watch.so_far()?;
    let after = Watch::start(master.id())?.memory_at_start_kb();
    let grown = after.saturating_sub(watch.memory_at_start_kb()) as f64 * 1.024;
    drop(crowd);
    master.kill()?;
    Ok(vec![
        Measured {
            aim: Some(Aim::AtMost(10.0)),
            master: Some(used),
            note: format!("{count} builds of one step on {side} workers, measured once"),
            ..Measured::of(
                "the master's memory for each",
                Unit::Kilobytes,
                vec![grown / (count - 1) as f64],
            )
        },
        Measured {
            note: "from the first order until all commands run".to_owned(),
            ..Measured::of(
                "all of them begun",
                Unit::PerSecond,
                vec![(count - 1) as f64 / took],
            )
        },
    ])
}

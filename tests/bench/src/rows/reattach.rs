//! Many workers that each run a command, and a master that is killed and started again at once: how long it takes from the
//! kill until its successor takes up the log of each command where the first one had left it; and, when all commands then
//! end at once, how long until the end of each is durable.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::builders;
use crate::crowd::{self, Crowd};
use crate::launch::{self, Master};
use crate::limit::sockets;
use crate::row::{Aim, Bench, Measured, Row, Unit};
use crate::usage::Watch;

/// The row.
pub const ROW: Row = Row {
    name: "reattach",
    what: "a thousand running commands, taken up again after a kill of the master",
    run,
};

/// How long all of them may take for each thing.
const BOUND: Duration = Duration::from_secs(120);

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(1000, 50);
    sockets::allow(count)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(bench, count))
}

async fn measure(bench: &Bench, count: usize) -> Result<Vec<Measured>> {
    let farm = launch::farm(bench)?;
    farm.write("ci.star", builders::on_workers(count))?;
    let master = Master::start(bench, &farm.folder())?;
    let members = crowd::enrol(&farm, count).await?;
    master.stop()?;
    let (mut resumed, mut ended, mut begun, mut used) = (Vec::new(), Vec::new(), Vec::new(), None);
    for _ in 0..bench.repeat.max(1) {
        let master = Master::start(bench, &farm.folder())?;
        let mut crowd = Crowd::start(&members);
        crowd.all_after(0, BOUND).await?;
        let start = Instant::now();
        crowd::force(&farm, "hello", count).await?;
        let at = crowd
            .until("all commands to begin", BOUND, |tally| tally.began == count)
            .await?;
        begun.push((at - start).as_secs_f64());
        // What they printed is stored: nothing is resumed that had not begun.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let killed = Instant::now();
        master.kill()?;
        let master = Master::start(bench, &farm.folder())?;
        let watch = Watch::start(master.id())?;
        let at = crowd
            .until("all commands to be taken up", BOUND, |tally| {
                tally.resumed == count
            })
            .await?;
        resumed.push((at - killed).as_secs_f64());
        used = Some(watch.so_far()?);
        let end = Instant::now();
        crowd.end_commands();
        let at = crowd
            .until("all ends to be durable", BOUND, |tally| tally.forgotten == count)
            .await?;
        ended.push((at - end).as_secs_f64());
        drop(crowd);
        master.stop()?;
    }
    Ok(vec![
        Measured {
            aim: Some(Aim::AtMost(5.0)),
            master: used,
            note: format!("{count} simulated workers with a command each; from the kill, as in `workers`"),
            ..Measured::of("all commands taken up after kill -9", Unit::Seconds, resumed)
        },
        Measured {
            note: "from the order to end at once, right after that; their builds end with them".to_owned(),
            ..Measured::of("all of their ends durable", Unit::Seconds, ended)
        },
        Measured {
            note: format!("{count} builds asked for one by one"),
            ..Measured::of("all commands begun", Unit::Seconds, begun)
        },
    ])
}

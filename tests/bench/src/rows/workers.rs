//! Many idle workers: the master's memory for each, from before the first connects until all are settled; and how long it
//! takes from a `kill -9` of the master, which is started again at once, until its successor has welcomed all of them.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::builders;
use crate::crowd::{self, Crowd};
use crate::launch::{self, Master};
use crate::limit::idle_connections::{self, SETTLE};
use crate::limit::sockets;
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};
use crate::usage::Watch;

/// The row.
pub const ROW: Row = Row {
    name: "workers",
    what: "a thousand idle workers: memory for each, and their return after a kill of the master",
    run,
};

/// How long all of them may take to connect.
const BOUND: Duration = Duration::from_secs(60);

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
    let (mut memory, mut connect, mut back, mut used) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut plain = Vec::new();
    for _ in 0..bench.repeat.max(1) {
        plain.push(idle_connections::memory_each(count).await? / 1000.0);
        let master = Master::start(bench, &farm.folder())?;
        let watch = Watch::start(master.id())?;
        let start = Instant::now();
        let mut crowd = Crowd::start(&members);
        let (last, epoch) = crowd.all_after(0, BOUND).await?;
        connect.push((last - start).as_secs_f64());
        tokio::time::sleep(SETTLE).await;
        // Before the next look, which begins a new peak.
        used = Some(watch.so_far()?);
        let after = Watch::start(master.id())?.memory_at_start_kb();
        let grown = after.saturating_sub(watch.memory_at_start_kb());
        memory.push(grown as f64 * 1.024 / count as f64);
        let killed = Instant::now();
        master.kill()?;
        let master = Master::start(bench, &farm.folder())?;
        let (last, _) = crowd.all_after(epoch, BOUND).await?;
        back.push((last - killed).as_secs_f64());
        drop(crowd);
        master.kill()?;
    }
    let limit = Figure::new(median(&plain), Unit::Kilobytes);
    Ok(vec![
        Measured {
            limit: Some(("a quinn server, mutual TLS, one stream".to_owned(), limit)),
            aim: Some(Aim::AtMost(64.0)),
            master: used,
            note: format!("{count} workers on this machine, each with a certificate and a socket of its own"),
            ..Measured::of("the master's memory for each", Unit::Kilobytes, memory)
        },
        Measured {
            aim: Some(Aim::AtMost(5.0)),
            note: "from the kill; the master is started again at once, and a worker notices when it next shows itself, \
                   which idle workers do every 3 s"
                .to_owned(),
            ..Measured::of("all back after kill -9", Unit::Seconds, back)
        },
        Measured::of("all connected, dialling at once", Unit::Seconds, connect),
    ])
}

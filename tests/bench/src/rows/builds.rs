//! Many builds of one step on ten workers: from before the first one is asked for to the end of the last one. They are asked
//! for over a few connections at once, so that the asking is not what is measured.

use std::thread;

use anyhow::{Result, ensure};

use crate::clock;
use crate::limit::{disk, spawn};
use crate::measured::{Running, define_workers, on_a_farm, time};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "builds",
    what: "200 builds of one `true` step on 10 workers",
    run,
};

const WORKERS: usize = 10;
/// Who asks at once.
const ASKERS: usize = 4;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(200, 40);
    let configuration = format!(
        "{}builder(\"small\", workers = workers, collapse = False, steps = [step.shell(command = [\"true\"])])\n",
        define_workers(WORKERS, 1)
    );
    on_a_farm(bench, &configuration, WORKERS, |running| {
        // Every worker has had a build before.
        let mut made = 2 * WORKERS;
        builds(running, 0, made)?;
        let (mut rates, mut limits, mut syncs, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
        for _ in 0..bench.repeat {
            limits.push(spawn::per_second(count)?);
            syncs.push(disk::sync_ms(&bench.scratch)?);
            let (ms, used) = running.watched(|running| builds(running, made, count))?;
            rates.push(count as f64 * 1000.0 / ms);
            made += count;
            last = Some(used);
        }
        Ok(vec![Measured {
            limit: Some((
                "spawn, two pipes, wait".to_owned(),
                Figure::new(median(&limits), Unit::PerSecond),
            )),
            aim: Some(Aim::AtLeast(200.0)),
            master: last.map(|used| used.master),
            worker: last.map(|used| used.workers),
            note: format!(
                "{count} builds, asked for over {ASKERS} connections; the workers' figures are their sums; a small \
                 file took {:.2} ms to be durable",
                median(&syncs)
            ),
            ..Measured::of("builds of one step", Unit::PerSecond, rates)
        }])
    })
}

/// Milliseconds that `count` builds took, from before the first one was asked for.
fn builds(running: &Running, made: usize, count: usize) -> Result<f64> {
    let start = clock::nanoseconds();
    thread::scope(|scope| {
        let ask = |asker: usize| {
            (asker..count)
                .step_by(ASKERS)
                .try_for_each(|_| running.force("small"))
        };
        let askers: Vec<_> = (0..ASKERS).map(|asker| scope.spawn(move || ask(asker))).collect();
        askers.into_iter().try_for_each(|asker| match asker.join() {
            Ok(asked) => asked,
            Err(_) => anyhow::bail!("an asker panicked"),
        })
    })?;
    let ended = running.wait("small", made as u64 + 1, count)?;
    let good = ended.iter().filter(|build| build["outcome"] == "success").count();
    ensure!(good == count, "expected {count} builds to succeed, {good} did");
    let ends = ended
        .iter()
        .map(|build| time(build, "finished"))
        .collect::<Result<Vec<_>>>()?;
    Ok(ends.into_iter().fold(0.0, f64::max) - start as f64 / 1e6)
}

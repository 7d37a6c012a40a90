//! One build of many steps that each run `true`: from the build's start to its end, as the master noted them. Each step is
//! a plugin's call, a command with its log, a supervisor on the worker, and what has to be durable of it.

use anyhow::Result;

use crate::limit::{disk, spawn};
use crate::measured::{define_workers, on_a_farm, time};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "steps",
    what: "one build of 500 `true` steps, supervisor included",
    run,
};

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(500, 50);
    let configuration = format!(
        "{}builder(\"warm\", workers = workers, steps = [step.shell(command = [\"true\"])])
builder(\"many\", workers = workers, steps = [
    step.shell(name = \"step-{{}}\".format(i), command = [\"true\"]) for i in range({count})
])\n",
        define_workers(1, 1)
    );
    on_a_farm(bench, &configuration, 1, |running| {
        running.build("warm")?;
        let (mut rates, mut costs, mut last) = (Vec::new(), Vec::new(), None);
        let (mut limits, mut syncs) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeat {
            limits.push(spawn::per_second(count)?);
            syncs.push(disk::sync_ms(&bench.scratch)?);
            let (build, used) = running.watched(|running| running.build("many"))?;
            let ms = time(&build, "finished")? - time(&build, "started")?;
            rates.push(count as f64 * 1000.0 / ms);
            costs.push(used.master.cpu_ms / count as f64);
            last = Some(used);
        }
        let limit = Figure::new(median(&limits), Unit::PerSecond);
        Ok(vec![
            Measured {
                limit: Some(("spawn, two pipes, wait".to_owned(), limit)),
                aim: Some(Aim::RatioAtLeast(1.0 / 3.0)),
                master: last.map(|used| used.master),
                worker: last.map(|used| used.workers),
                note: format!(
                    "{count} steps; the worker's time is with supervisors and commands; a small file took {:.2} ms to be durable",
                    median(&syncs)
                ),
                ..Measured::of("steps, one after the other", Unit::PerSecond, rates)
            },
            Measured {
                aim: Some(Aim::AtMost(0.5)),
                ..Measured::of("master's CPU for a step", Unit::Milliseconds, costs)
            },
        ])
    })
}

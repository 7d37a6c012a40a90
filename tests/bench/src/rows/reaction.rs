//! From a change to the command that it leads to: from the moment at which the master noted the change, just before it
//! became durable, to the moment that the command's own process reads from its clock (`date` prints it). Between them: the
//! scheduler's call, the request, the build, the step's call, the way to the worker, the supervisor, and `date` itself.
//!
//! The master notes whole milliseconds, rounded down: the figure is half a millisecond too large in the mean.

use anyhow::{Context as _, Result, ensure};
use capstan_tests::Project;
use serde_json::Value;

use crate::clock;
use crate::limit::{disk, quic::Pair, spawn};
use crate::measured::{Running, define_workers, on_a_farm, time};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "reaction",
    what: "change accepted to command running, median of 50",
    run,
};

/// Prints the moment at which it runs, in nanoseconds.
const NOW: (&str, [&str; 1]) = ("date", ["+%s%N"]);

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(50, 5);
    let folder = bench.scratch.join("reaction");
    std::fs::create_dir_all(&folder)?;
    let project = Project::create(&folder, "project")?;
    project.push("the first", &[("file", "0")])?;
    let configuration = format!(
        "{}source.git_poller(name = \"project\", repository = {:?}, interval = 0.2, announce_existing = True)
now = builder(\"now\", workers = workers, steps = [step.shell(command = [{:?}, {:?}])])
schedule.any_branch(name = \"each\", builders = [now])\n",
        define_workers(1, 1),
        project.repository(),
        NOW.0,
        NOW.1[0],
    );
    on_a_farm(bench, &configuration, 1, |running| {
        // The existing commit: everything has been done once.
        let mut number = 1;
        running.wait("now", number, 1)?;
        let (mut medians, mut slowest, mut last) = (Vec::new(), 0.0_f64, None);
        let (mut limits, mut syncs) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeat {
            limits.push(limit(count)?);
            syncs.push(disk::sync_ms(&bench.scratch)?);
            let (all, used) = running.watched(|running| {
                (0..count)
                    .map(|_| {
                        number += 1;
                        project.push("another", &[("file", &number.to_string())])?;
                        one(running, number)
                    })
                    .collect::<Result<Vec<_>>>()
            })?;
            slowest = all.iter().copied().fold(slowest, f64::max);
            medians.push(median(&all));
            last = Some(used);
        }
        Ok(vec![Measured {
            limit: Some((
                "QUIC round trip, then spawn".to_owned(),
                Figure::new(median(&limits), Unit::Milliseconds),
            )),
            aim: Some(Aim::AtMost(8.0)),
            master: last.map(|used| used.master),
            worker: last.map(|used| used.workers),
            note: format!(
                "median of {count}, the slowest took {slowest:.1} ms; both to the time that `date` prints; the CPU is with \
                 polling and whole builds; a small file took {:.2} ms to be durable",
                median(&syncs)
            ),
            ..Measured::of("change accepted to command running", Unit::Milliseconds, medians)
        }])
    })
}

/// Milliseconds from the change that led to this build to its command.
fn one(running: &Running, number: u64) -> Result<f64> {
    let ended = running.wait("now", number, 1)?;
    let build = ended.first().context("expected a build")?;
    let change = build["changes"]
        .as_array()
        .and_then(|all| all.first())
        .and_then(Value::as_i64);
    let change = running.api.get(&format!(
        "/changes/{}",
        change.context("expected a build with a change")?
    ))?;
    let steps = running.api.get(&format!("/builders/now/builds/{number}"))?;
    let log = steps["steps"][0]["logs"][0]["id"]
        .as_i64()
        .context("expected a log")?;
    let text = running.api.bytes(&format!("/logs/{log}/raw?channel=stdout"))?;
    let ran = moment(&text)?;
    let ms = ran as f64 / 1e6 - time(&change, "received")?;
    ensure!(
        ms > 0.0,
        "expected the command to run after the change, it ran {ms} ms after"
    );
    Ok(ms)
}

/// The median of: a message to the other end and back, then a process that reads its clock.
fn limit(count: usize) -> Result<f64> {
    let pair = Pair::connect()?;
    let trips = pair.round_trips(count)?;
    let times = trips.into_iter().map(|trip| {
        let start = clock::nanoseconds();
        let ran = moment(&spawn::printed(NOW.0, &NOW.1)?)?;
        Ok(trip.as_secs_f64() * 1000.0 + clock::milliseconds_between(start, ran))
    });
    Ok(median(&times.collect::<Result<Vec<_>>>()?))
}

fn moment(printed: &[u8]) -> Result<u64> {
    let text = String::from_utf8_lossy(printed);
    text.trim()
        .parse()
        .with_context(|| format!("expected nanoseconds, found `{text}`"))
}

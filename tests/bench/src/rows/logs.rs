//! Four large logs at once on four workers: from the first step's start to the last log's completion. [`super::log`] is
//! the same with one.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::emit;
use crate::limit::Stages;
use crate::measured::{Running, command, define_workers, on_a_farm, time};
use crate::row::{Aim, Bench, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "logs",
    what: "four logs of 25 MB at once",
    run,
};

/// More than the windows of a connection and the buffers on the way: what a log adds beyond them would grow with it.
const FLAT_MB: f64 = 32.0;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    measure(bench, 4, bench.count(25_000_000, 4_000_000), Aim::AtLeast(150.0))
}

/// What one round took, in milliseconds.
struct Round {
    /// Until the last log was complete.
    complete: f64,
    /// Until the last step had ended: its log is sealed.
    sealed: f64,
}

/// `count` logs of `bytes` at once, one on each of `count` workers.
pub fn measure(bench: &Bench, count: usize, bytes: usize, aim: Aim) -> Result<Vec<Measured>> {
    let lines = bytes / emit::LINE;
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    let mut words = vec![own.display().to_string()];
    words.extend(emit::lines(lines));
    let configuration = format!(
        "{}builder(\"large\", workers = workers, collapse = False, steps = [step.shell(command = {})])\n",
        define_workers(count, 1),
        command(&words)
    );
    let mb = (count * lines * emit::LINE) as f64 / 1e6;
    on_a_farm(bench, &configuration, count, |running| {
        let (mut rates, mut sealed, mut growths, mut last) = (Vec::new(), Vec::new(), Vec::new(), None);
        let mut stages = Vec::new();
        for round in 0..bench.repeat {
            stages.push(Stages::measure(&bench.scratch, count, lines * emit::LINE)?);
            let first = (round * count) as u64 + 1;
            let (took, used) = running.watched(|running| once(running, first, count, lines))?;
            rates.push(mb * 1000.0 / took.complete);
            sealed.push(mb * 1000.0 / took.sealed);
            growths.push(used.master_growth_kb as f64 * 1.024 / 1000.0);
            last = Some(used);
        }
        let middle = |of: fn(&Stages) -> f64| median(&stages.iter().map(of).collect::<Vec<_>>());
        let stages = Stages {
            pipe: middle(|stages| stages.pipe),
            quic: middle(|stages| stages.quic),
            disk: middle(|stages| stages.disk),
        };
        Ok(vec![
            Measured {
                limit: Some(stages.slowest()),
                aim: Some(aim),
                master: last.map(|used| used.master),
                worker: last.map(|used| used.workers),
                note: format!(
                    "{}; {:.0} MB/s until the step has ended, with the log compressed and indexed",
                    stages.describe(),
                    median(&sealed)
                ),
                ..Measured::of(
                    format!("{count} × {:.0} MB", mb / count as f64),
                    Unit::MegabytesPerSecond,
                    rates,
                )
            },
            Measured {
                aim: Some(Aim::AtMost(FLAT_MB)),
                ..Measured::of(
                    "master's memory at its peak, above idle",
                    Unit::Megabytes,
                    growths,
                )
            },
        ])
    })
}

fn once(running: &Running, first: u64, count: usize, lines: usize) -> Result<Round> {
    (0..count).try_for_each(|_| running.force("large"))?;
    let ended = running.wait("large", first, count)?;
    let builds: Vec<_> = ended.iter().filter_map(|build| build["id"].as_i64()).collect();
    let (mut start, mut complete, mut sealed) = (f64::MAX, 0.0_f64, 0.0_f64);
    for build in builds {
        for event in happened(running, build)? {
            let at = time(&event, "at")?;
            match event["kind"].as_str() {
                Some("step.started") => start = start.min(at),
                Some("step.finished") => sealed = sealed.max(at),
                Some("log.complete") => {
                    let found = event["payload"]["lines"].as_u64();
                    // The command's header and footer are lines too.
                    ensure!(
                        found >= Some(lines as u64),
                        "expected a log of {lines} lines, found {event}"
                    );
                    complete = complete.max(at);
                }
                _ => {}
            }
        }
    }
    ensure!(
        start < complete && complete <= sealed,
        "expected a log to begin, be complete and be sealed"
    );
    Ok(Round {
        complete: complete - start,
        sealed: sealed - start,
    })
}

/// Everything that happened to a build that has ended.
fn happened(running: &Running, build: i64) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    running
        .api
        .events(&format!("/events?after=0&build={build}"), |event| {
            let last = event.kind == "build.finished";
            all.push(event.data);
            Ok(if last {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
    Ok(all)
}

//! How late a reader of a running log is: a command prints lines with the moment of their printing, one at a time; a
//! client of the log's event stream compares each with its clock when it has decoded the event.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use capstan_tests::{BOUND, wait_for};

use crate::limit::quic::Pair;
use crate::measured::{Running, command, define_workers, on_a_farm};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};
use crate::{clock, emit};

/// The row.
pub const ROW: Row = Row {
    name: "live",
    what: "line printed to seen by a reader of the log's event stream, median",
    run,
};

/// No divisor of the usual timers' periods: lines fall anywhere between their ticks.
const EVERY: Duration = Duration::from_millis(37);

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(200, 20);
    let own = std::env::current_exe().context("failed to find this program's own file")?;
    let mut words = vec![own.display().to_string()];
    words.extend(emit::ticks(count, EVERY));
    let configuration = format!(
        "{}builder(\"ticks\", workers = workers, steps = [step.shell(command = {})])\n",
        define_workers(1, 1),
        command(&words)
    );
    on_a_farm(bench, &configuration, 1, |running| {
        let (mut medians, mut limits, mut slowest, mut last) = (Vec::new(), Vec::new(), 0.0_f64, None);
        for round in 1..=bench.repeat {
            limits.push(median(&Pair::connect()?.pass_lines(count, EVERY)?));
            let (late, used) = running.watched(|running| follow(running, round as u64))?;
            ensure!(
                late.len() == count,
                "expected {count} lines, the reader saw {}",
                late.len()
            );
            slowest = late.iter().copied().fold(slowest, f64::max);
            medians.push(median(&late));
            last = Some(used);
        }
        Ok(vec![Measured {
            limit: Some((
                "pipe, then QUIC".to_owned(),
                Figure::new(median(&limits), Unit::Milliseconds),
            )),
            aim: Some(Aim::AtMost(50.0)),
            master: last.map(|used| used.master),
            worker: last.map(|used| used.workers),
            note: format!("median of {count} lines, one every {EVERY:?}; the slowest took {slowest:.1} ms"),
            ..Measured::of("line printed to seen", Unit::Milliseconds, medians)
        }])
    })
}

/// How late each line of a new build's log was, in milliseconds. Reading begins when the log does: lines of before then
/// count as late as they were.
fn follow(running: &Running, number: u64) -> Result<Vec<f64>> {
    running.force("ticks")?;
    let log = wait_for("a log of the build", BOUND, || {
        let build = running.api.get(&format!("/builders/ticks/builds/{number}"))?;
        Ok(build["steps"][0]["logs"][0]["id"].as_i64())
    })?;
    let mut late = Vec::new();
    running.api.events(&format!("/logs/{log}/follow"), |event| {
        let seen = clock::nanoseconds();
        for line in event.data["lines"].as_array().into_iter().flatten() {
            if line["channel"] == "stdout" {
                let printed = line["text"].as_str().and_then(|text| text.trim().parse().ok());
                late.push(clock::milliseconds_between(
                    printed.context("expected nanoseconds")?,
                    seen,
                ));
            }
        }
        Ok(if event.kind == "complete" {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    running.wait("ticks", number, 1)?;
    Ok(late)
}

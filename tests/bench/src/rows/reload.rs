//! From the request for a reload of 1,000 builders of 6 steps to its answer, while a build runs: everything is read, evaluated and
//! checked again, compared, made durable and in force. The build began before all of them and has to end well after them.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::measured::{Running, define_workers, on_a_farm};
use crate::row::{Aim, Bench, Measured, Row, Unit};

/// The row.
pub const ROW: Row = Row {
    name: "reload",
    what: "a reload of 1,000 builders of 6 steps, each of them changed, while a build runs",
    run,
};

/// Ends the build that runs.
const GO: &str = "go";

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let count = bench.count(1000, 50);
    let go = bench.scratch.join(GO);
    let configuration = |mark: usize| {
        format!(
            "{workers}builder(\"long\", workers = workers, steps = [step.shell(command = [\"sh\", \"-c\", {wait:?}])])

def part(builder, n):
    return step.shell(name = \"part-%d\" % n, command = [\"make\", \"part-%d-%d\" % (builder, n), \"mark={mark}\"])

for b in range({count}):
    builder(\"builder-%d\" % b, workers = workers, steps = [part(b, n) for n in range(6)])
",
            workers = define_workers(1, 2),
            wait = format!("while [ ! -e '{}' ]; do sleep 0.1; done", go.display()),
        )
    };
    on_a_farm(bench, &configuration(0), 1, |running| {
        running.force("long")?;
        wait_until_it_runs(running)?;
        let (times, used) = running.watched(|running| {
            let mut times = Vec::new();
            for mark in 1..=bench.repeat.max(1) {
                running.farm.write("ci.star", configuration(mark))?;
                let asked = Instant::now();
                let answer = running.api.post("/reload", &json!({}))?;
                times.push(asked.elapsed().as_secs_f64() * 1000.0);
                let changed = answer["changes"].as_array().map_or(0, Vec::len);
                ensure!(
                    changed == count,
                    "expected {count} builders to change, found {changed}"
                );
            }
            Ok(times)
        })?;
        std::fs::write(&go, "")?;
        let ended = running.wait("long", 1, 1)?;
        ensure!(
            ended[0]["outcome"] == "success" && ended[0]["number"] == 1,
            "expected the build to go on and succeed, found {}",
            ended[0]
        );
        Ok(vec![Measured {
            aim: Some(Aim::AtMost(1000.0)),
            master: Some(used.master),
            note: format!(
                "{count} builders of 6 steps, all changed; a build runs meanwhile and is not disturbed"
            ),
            ..Measured::of("a reload", Unit::Milliseconds, times)
        }])
    })
}

fn wait_until_it_runs(running: &Running) -> Result<()> {
    capstan_tests::wait_for("the build to run", std::time::Duration::from_secs(60), || {
        let found = running.api.get("/builders/long/builds/1");
        let step = found.ok().map(|build| build["steps"][0]["state"].clone());
        Ok((step == Some("running".into())).then_some(()))
    })
}

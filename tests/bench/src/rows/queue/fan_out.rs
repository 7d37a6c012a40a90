//! One change that a thousand schedulers decide about: from the moment at which the master noted the change until the last of
//! their requests can be seen through the interface. Beside it raw SQLite, one row for each.

use std::time::Duration;

use anyhow::{Context as _, Result};
use capstan_tests::{Project, wait_for};

use super::super::store::entry;
use crate::clock;
use crate::limit::sqlite;
use crate::measured::{on_a_farm, time};
use crate::row::{Aim, Bench, Figure, Measured, Unit, median};

/// How long one change may take.
const BOUND: Duration = Duration::from_secs(120);
/// The figure may be too large by so much.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn measure(bench: &Bench) -> Result<Measured> {
    let count = bench.count(1_000, 50);
    let folder = bench.scratch.join("fan-out");
    std::fs::create_dir_all(&folder)?;
    let project = Project::create(&folder, "project")?;
    project.push("the first", &[("file", "0")])?;
    let configuration = format!(
        "source.git_poller(name = \"project\", repository = {:?}, interval = 0.2, announce_existing = True)
builder(\"now\", collapse = False, workers = [worker(\"away\")], steps = [step.shell(command = [\"true\"])])
for n in range({count}):
    schedule.any_branch(name = \"each-%d\" % n, builders = [\"now\"])\n",
        project.repository()
    );
    let mut raw = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for _ in 0..bench.repeat.max(1) {
        let folder = tempfile::tempdir_in(&bench.scratch)?;
        let found = runtime.block_on(sqlite::append(folder.path(), count, 1, |append| {
            vec![entry(append)]
        }))?;
        raw.push(count as f64 / found.rows_per_second * 1000.0);
    }
    on_a_farm(bench, &configuration, 0, |running| {
        let total = |number: usize| (number + 1) * count;
        let all_made = |number: usize| {
            let wanted = i64::try_from(total(number)).unwrap_or(i64::MAX);
            wait_for("the requests of all schedulers", BOUND, || {
                std::thread::sleep(PAUSE);
                let page = running.api.get("/requests?limit=1")?;
                Ok((page["requests"][0]["id"].as_i64() >= Some(wanted)).then_some(page))
            })
        };
        // The existing commit: everything has been done once.
        all_made(0)?;
        let mut times = Vec::new();
        for number in 1..=bench.repeat.max(1) {
            project.push("another", &[("file", &number.to_string())])?;
            let newest = all_made(number)?;
            let seen = clock::nanoseconds() as f64 / 1e6;
            let last = &newest["requests"][0];
            let change = last["changes"][0]
                .as_i64()
                .context("expected a request with a change")?;
            let change = running.api.get(&format!("/changes/{change}"))?;
            times.push(seen - time(&change, "received")?);
        }
        Ok(Measured {
            limit: Some((
                "raw SQLite, a row for each".to_owned(),
                Figure::new(median(&raw), Unit::Milliseconds),
            )),
            aim: Some(Aim::AtMost(1000.0)),
            note: format!(
                "{count} schedulers, each a call of its plugin and a request; asked for every {} ms",
                PAUSE.as_millis()
            ),
            ..Measured::of(
                "a change to the last scheduler's request",
                Unit::Milliseconds,
                times,
            )
        })
    })
}

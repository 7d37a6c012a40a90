//! What a step's journal costs. The same step with a journal in memory and with one in the real store, in this process: the
//! difference is what being durable adds. How often the store commits for a step, in a build of the real programs with full
//! sync, counted by SQLite itself. And how long a step that has made ten thousand calls takes to be where it was.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, ensure};
use capstan_engine::{Engine, Options, WaitMode};
use capstan_model::journal::{Entry, Kind};
use capstan_model::{StepId, Timestamp};
use capstan_store::{Store, Synchronous};
use capstan_tests::commits;
use serde_json::json;

use super::plugins::{self, AtOnce};
use crate::measured::{define_workers, on_a_farm};
use crate::row::{Aim, Bench, Measured, Row, Unit, median};
use port::{Durable, InMemory};

mod port;

/// The row.
pub const ROW: Row = Row {
    name: "journal",
    what: "what a durable journal adds to a step, commits for a step, replay of 10,000 entries",
    run,
};

/// Steps before those that are measured.
const WARM: usize = 20;

/// Rows that are replayed: as many as a plugin may have, unless its manifest asks for more.
const ROWS: u32 = 10_000;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let steps = bench.count(1000, 50);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut normal, mut full) = (Vec::new(), Vec::new());
    let (mut replay, mut commits) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat.max(1) {
        normal.push(runtime.block_on(added(bench, steps, Synchronous::Normal))?);
        full.push(runtime.block_on(added(bench, steps, Synchronous::Full))?);
        replay.push(runtime.block_on(replayed())?);
        commits.push(commits_a_step(bench, bench.count(200, 30))?);
    }
    let note = format!(
        "{steps} steps one after the other, each a run of the built-in shell whose command ends at once; the same step \
         with its journal in memory is taken off"
    );
    Ok(vec![
        Measured {
            aim: Some(Aim::AtMost(1.0)),
            note,
            ..Measured::of("added to a step, normal sync", Unit::Milliseconds, normal)
        },
        Measured::of("added to a step, full sync", Unit::Milliseconds, full),
        Measured {
            aim: Some(Aim::AtMost(3.0)),
            note: "all that the master commits from the build's first step to its last, divided by the steps"
                .to_owned(),
            ..Measured::of("commits for a step, full sync", Unit::Times, commits)
        },
        Measured {
            note: format!("{ROWS} rows, each answered from the journal"),
            ..Measured::of("replay of a journal", Unit::Milliseconds, replay)
        },
    ])
}

/// The median of a step's time with the store less that without, in milliseconds.
async fn added(bench: &Bench, steps: usize, synchronous: Synchronous) -> Result<f64> {
    let engine = Engine::new(Options::default())?;
    let shell = plugins::built_in(&engine, "shell")?;
    let folder = tempfile::tempdir_in(&bench.scratch)?;
    let (store, ids) = store(folder.path(), WARM + steps, synchronous).await?;
    let (mut durable, mut volatile) = (Vec::new(), Vec::new());
    for (number, id) in ids.into_iter().enumerate() {
        let mut run = plugins::step_run(&shell, json!({ "command": ["true"] }));
        run.step = id;
        let port = Arc::new(Durable::new(store.clone(), id));
        let start = Instant::now();
        let end = plugins::drive(&engine, run, port.clone()).await?;
        port.finish(end).await?;
        let with = start.elapsed().as_secs_f64() * 1000.0;
        let run = plugins::step_run(&shell, json!({ "command": ["true"] }));
        let start = Instant::now();
        plugins::drive(&engine, run, Arc::new(AtOnce)).await?;
        if number >= WARM {
            durable.push(with);
            volatile.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    store.close().await;
    Ok(median(&durable) - median(&volatile))
}

/// A store with one build of so many steps.
async fn store(folder: &Path, count: usize, synchronous: Synchronous) -> Result<(Store, Vec<StepId>)> {
    let url = format!("sqlite:{}/journal.db", folder.display());
    let mut options = capstan_store::Options::new(url);
    options.synchronous = synchronous;
    let store = Store::open(&options, Timestamp(1)).await?;
    let steps = super::store::build_of(&store, count).await?;
    Ok((store, steps))
}

/// How long a run takes to answer [`ROWS`] calls from its journal, in milliseconds.
async fn replayed() -> Result<f64> {
    let engine = Engine::new(Options {
        journal_rows: ROWS,
        ..Options::default()
    })?;
    let fixture = plugins::fixture(&engine)?;
    let script = json!({ "script": [{ "op": "now-forever" }] });
    let rows = Arc::new(Mutex::new(Vec::<Entry>::new()));
    // Its end is that the journal is full.
    plugins::drive(
        &engine,
        plugins::step_run(&fixture, script.clone()),
        Arc::new(InMemory(rows.clone())),
    )
    .await?;
    let mut journal = std::mem::take(&mut *rows.lock().map_err(|_| anyhow::anyhow!("a step panicked"))?);
    journal.retain(|row| row.kind != Kind::Finished);
    let enough = usize::try_from(ROWS)?.saturating_sub(2);
    ensure!(
        journal.len() >= enough,
        "expected {enough} rows, found {}",
        journal.len()
    );
    let mut run = plugins::step_run(&fixture, script);
    (run.journal, run.mode) = (journal, WaitMode::Replay);
    let start = Instant::now();
    plugins::drive(&engine, run, Arc::new(AtOnce)).await?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// Commits while a build of `count` steps runs, divided by them.
fn commits_a_step(bench: &Bench, count: usize) -> Result<f64> {
    let configuration = format!(
        "{}builder(\"warm\", workers = workers, steps = [step.shell(command = [\"true\"])])
builder(\"many\", workers = workers, steps = [
    step.shell(name = \"step-{{}}\".format(i), command = [\"true\"]) for i in range({count})
])\n",
        define_workers(1, 1)
    );
    on_a_farm(bench, &configuration, 1, |running| {
        running.build("warm")?;
        let database = running.farm.folder().join("data/capstan.db");
        let before = commits::so_far(&database)?;
        running.build("many")?;
        let commits = commits::so_far(&database)?.wrapping_sub(before);
        Ok(f64::from(commits) / count as f64)
    })
}

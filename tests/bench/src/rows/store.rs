//! Rows of journals that are durable, a second: many steps at once, each appending to its own journal and waiting until that
//! is on disk, as builds do. Beside it raw SQLite in the same shape.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use capstan_model::journal::{Class, Entry, Kind};
use capstan_model::plan::Bundle;
use capstan_model::{Digest, Properties, SourceStamp, StepId, Timestamp};
use capstan_store::{NewBuild, NewBuildset, NewStep, Options, Store};
use serde_json::json;
use tokio::task::JoinSet;

use crate::limit::sqlite;
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "store",
    what: "rows of journals that are durable, a second, beside raw SQLite",
    run,
};

/// Steps that append side by side: more than the writer puts into one transaction.
const STEPS: usize = 256;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rows = bench.count(20_000, 2_000);
    runtime.block_on(async {
        Ok(vec![
            measure(bench, "one row in an append", rows, |append| vec![entry(append)]).await?,
            measure(bench, "four rows in an append", rows, |append| {
                (0..4).map(|row| entry(append * 4 + row)).collect()
            })
            .await?,
        ])
    })
}

async fn measure(bench: &Bench, label: &str, rows: usize, make: fn(usize) -> Vec<Entry>) -> Result<Measured> {
    let appends = (rows / (STEPS * make(0).len())).max(1);
    let (mut ours, mut raw, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.repeat.max(1) {
        let folder = tempfile::tempdir_in(&bench.scratch)?;
        let found = sqlite::append(folder.path(), STEPS, appends, make).await?;
        raw.push(found.rows_per_second);
        groups.push(found.group);
        ours.push(append(folder.path(), appends, make).await?);
    }
    Ok(Measured {
        limit: Some((
            "raw SQLite, one insert a row".to_owned(),
            Figure::new(median(&raw), Unit::PerSecond),
        )),
        aim: Some(Aim::RatioAtLeast(0.7)),
        note: format!(
            "{STEPS} steps side by side, {appends} appends each, full sync; raw SQLite had {:.0} appends in a \
             transaction",
            median(&groups)
        ),
        ..Measured::of(label, Unit::PerSecond, ours)
    })
}

/// Rows a second through the store.
async fn append(folder: &Path, appends: usize, make: fn(usize) -> Vec<Entry>) -> Result<f64> {
    let store = Store::open(
        &Options::new(format!("sqlite:{}/ours.db", folder.display())),
        Timestamp(1),
    )
    .await?;
    let steps = running_steps(&store).await?;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for step in steps {
        let store = store.clone();
        tasks.spawn(async move {
            for append in 0..appends {
                store
                    .append_journal(step, make(append), Vec::new(), None, Timestamp(9))
                    .await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let took = start.elapsed().as_secs_f64();
    store.close().await;
    Ok((STEPS * appends * make(0).len()) as f64 / took)
}

/// A build of so many steps, none of which has begun.
pub(super) async fn build_of(store: &Store, count: usize) -> Result<Vec<StepId>> {
    let now = Timestamp(2);
    let sources = vec![SourceStamp::default()];
    let request = NewBuildset {
        reason: "a measurement".to_owned(),
        sources: sources.clone(),
        builders: vec!["hello".to_owned()],
        ..NewBuildset::default()
    };
    let requests = store.submit(request, now).await?.requests;
    let step = |number: usize| NewStep {
        name: format!("step {number}"),
        plugin: "shell".to_owned(),
        digest: Digest::of(b"shell"),
        config: json!({ "command": ["true"] }),
        options: json!({}),
    };
    let build = NewBuild {
        shown: None,
        directory: String::new(),
        locks: Vec::new(),
        builder: "hello".to_owned(),
        requests,
        worker: "w1".to_owned(),
        plan: store.put_plan(Bundle::default(), now).await?,
        reason: "a measurement".to_owned(),
        sources,
        properties: Properties::default(),
        steps: (0..count).map(step).collect(),
        reports: Vec::new(),
    };
    let build = store
        .create_build(build, now)
        .await?
        .context("expected the request to wait")?;
    Ok(build.steps)
}

/// A build whose steps all run.
async fn running_steps(store: &Store) -> Result<Vec<StepId>> {
    let now = Timestamp(2);
    let steps = build_of(store, STEPS).await?;
    let created = Entry {
        kind: Kind::Created,
        call: "created".to_owned(),
        seq: 0,
        ..entry(0)
    };
    for step in &steps {
        store.begin_step(*step, created.clone(), now).await?;
    }
    Ok(steps)
}

/// A row as the start of a command makes it; `append` counts from 0, after the row that begins a journal.
pub(super) fn entry(append: usize) -> Entry {
    Entry {
        seq: u32::try_from(append).map_or(u32::MAX, |append| append + 1),
        kind: Kind::Start,
        call: "commands.run".to_owned(),
        class: Class::RunOnce,
        request_hash: Digest::of(&append.to_le_bytes()),
        request: Some(json!({
            "program": { "argv": ["make", "-j", "4", "check"] },
            "env": { "CI": { "set": "1" }, "LANG": { "set": "C.UTF-8" } },
            "workdir": "build/tests",
            "idle_timeout_ms": 1_200_000,
            "command": "3fdc2a52-8f3f-5c51-9a2e-2f4d1d8a7c11",
            "log": "stdio",
        })),
        response: None,
        at: Timestamp(1_800_000_000_000),
    }
}

//! A master with 100,000 requests that wait: from its exec until it answers why one of them waits; then, with simulated workers
//! whose commands end at once, from the end of a build to the start of the next one on the same worker, as the master noted both.
//! Beside it what the machine takes to read the rows, and to make a transaction durable.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_model::{SourceStamp, Timestamp};
use capstan_store::{NewBuildset, Options, Store, Synchronous};
use capstan_tests::Api;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use sqlx::Connection as _;

use crate::crowd::{self, Crowd};
use crate::launch::{self, Master};
use crate::limit::{disk, sockets};
use crate::row::{Aim, Bench, Figure, Measured, Unit, median};

/// Workers that are there.
const WORKERS: usize = 4;
const BOUND: Duration = Duration::from_secs(300);

pub(super) fn measure(bench: &Bench) -> Result<Vec<Measured>> {
    sockets::allow(WORKERS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(bench))
}

async fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let (requests, builders) = (bench.count(100_000, 2_000), bench.count(1_000, 100));
    let farm = launch::farm(bench)?;
    farm.write("ci.star", configuration(builders))?;
    // Makes the database and compiles the plugins.
    Master::start(bench, &farm.folder())?.stop()?;
    let database = farm.folder().join("data/capstan.db");
    let first = fill(&database, requests, builders).await?;
    let (mut starts, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..bench.repeat.max(1) {
        reads.push(read(&database, requests).await?);
        let start = Instant::now();
        let master = Master::start(bench, &farm.folder())?;
        let why = farm.api()?.get(&format!("/requests/{first}/why"))?;
        starts.push(start.elapsed().as_secs_f64() * 1000.0);
        ensure!(
            why["state"] == "pending",
            "expected a request that waits, found {why}"
        );
        master.stop()?;
    }
    let sync = disk::sync_ms(&bench.scratch)?;
    let gaps = gaps(bench, &farm, bench.count(400, 40)).await?;
    let at = |part: f64| {
        gaps.get((gaps.len() as f64 * part) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let (middle, high) = (at(0.5), at(0.99));
    Ok(vec![
        Measured {
            limit: Some((
                "raw SQLite, reading the same rows".to_owned(),
                Figure::new(median(&reads), Unit::Milliseconds),
            )),
            aim: Some(Aim::AtMost(5000.0)),
            note: format!("{requests} requests of {builders} builders; until it says why one of them waits"),
            ..Measured::of("the master's start with a long queue", Unit::Milliseconds, starts)
        },
        Measured {
            limit: Some((
                "a small file made durable".to_owned(),
                Figure::new(sync, Unit::Milliseconds),
            )),
            aim: Some(Aim::AtMost(100.0)),
            note: format!(
                "99th percentile of {}, the median is {middle:.0} ms; {WORKERS} workers whose commands end at once, so that \
                 whole builds are carried out meanwhile",
                gaps.len()
            ),
            ..Measured::of(
                "a free worker gets its next build",
                Unit::Milliseconds,
                vec![high],
            )
        },
    ])
}

fn configuration(builders: usize) -> String {
    format!(
        "workers = [worker(\"w%d\" % n, slots = 1) for n in range({WORKERS})]
for b in range({builders}):
    builder(\"b%d\" % b, collapse = False, workers = workers, steps = [step.shell(command = [\"true\"])])
"
    )
}

/// Leaves so many requests, a hundred in a buildset; answers one of them.
async fn fill(database: &Path, requests: usize, builders: usize) -> Result<i64> {
    const SET: usize = 100;
    let options = Options {
        synchronous: Synchronous::Normal,
        ..Options::new(format!("sqlite:{}", database.display()))
    };
    let store = Store::open(&options, Timestamp(1)).await?;
    let sets = futures::stream::iter(0..requests / SET).map(|set| {
        let names = (0..SET).map(|place| format!("b{}", (set * SET + place) % builders));
        let buildset = NewBuildset {
            reason: "a measurement".to_owned(),
            sources: vec![SourceStamp::default()],
            builders: names.collect(),
            ..NewBuildset::default()
        };
        store.submit(buildset, Timestamp(2))
    });
    let made: Vec<_> = sets.buffered(32).try_collect().await?;
    store.close().await;
    let last = made.last().and_then(|set| set.requests.last());
    Ok(last.context("expected requests")?.0)
}

/// Milliseconds that the driver takes to read what a queue needs.
async fn read(database: &Path, requests: usize) -> Result<f64> {
    let mut conn = sqlx::SqliteConnection::connect(&format!("sqlite:{}", database.display())).await?;
    let start = Instant::now();
    let rows = sqlx::query(
        "SELECT requests.id, requests.buildset, builders.name, requests.priority, requests.submitted, buildsets.likeness
         FROM requests JOIN builders ON builders.id = requests.builder JOIN buildsets ON buildsets.id = requests.buildset
         WHERE requests.state = 'pending'",
    )
    .fetch_all(&mut conn)
    .await?;
    let took = start.elapsed().as_secs_f64() * 1000.0;
    ensure!(
        rows.len() == requests,
        "expected {requests} rows, found {}",
        rows.len()
    );
    conn.close().await?;
    Ok(took)
}

/// How long workers were without a build, from the shortest to the longest.
async fn gaps(bench: &Bench, farm: &capstan_tests::Farm, count: usize) -> Result<Vec<f64>> {
    let master = Master::start(bench, &farm.folder())?;
    let members = crowd::enrol(farm, WORKERS).await?;
    let mut crowd = Crowd::start(&members);
    crowd.end_commands();
    crowd
        .until(&format!("{count} builds"), BOUND, |tally| {
            tally.forgotten >= count + WORKERS
        })
        .await?;
    let api = farm.api()?;
    let gaps = tokio::task::spawn_blocking(move || between(&api)).await??;
    drop(crowd);
    master.kill()?;
    Ok(gaps)
}

fn between(api: &Api) -> Result<Vec<f64>> {
    let page = api.get("/builds?limit=500")?;
    let mut by_worker: HashMap<&str, Vec<&Value>> = HashMap::new();
    for build in page["builds"].as_array().context("expected builds")? {
        by_worker
            .entry(build["worker"].as_str().unwrap_or_default())
            .or_default()
            .push(build);
    }
    let mut gaps = Vec::new();
    for builds in by_worker.values_mut() {
        builds.sort_by_key(|build| build["started"].as_i64());
        for pair in builds.windows(2) {
            if let (Some(end), Some(start)) = (pair[0]["finished"].as_f64(), pair[1]["started"].as_f64()) {
                gaps.push(start - end);
            }
        }
    }
    gaps.sort_by(f64::total_cmp);
    Ok(gaps)
}

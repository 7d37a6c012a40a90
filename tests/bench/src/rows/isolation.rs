//! What plugins do to each other: the 99th percentile of a scheduler's calls, and of whole runs of a step, alone and beside
//! a plugin that spins, one that allocates without end and one that floods the host with calls, each called again as soon as
//! it was ended. In this process with the master's own engine and as many threads as the machine has processors.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use capstan_engine::{Caller, Engine, Options, Plugin, Ports, SchedulerEvent};
use capstan_model::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;

use super::plugins::{AtOnce, built_in, change, drive, micros, step_run};
use crate::row::{Aim, Bench, Measured, Row, Unit};

/// The row.
pub const ROW: Row = Row {
    name: "isolation",
    what: "calls beside a plugin that spins, one that allocates and one that floods",
    run,
};

/// A guest that does what its parameters say.
const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/guests/fixtures/fixture-scheduler.wasm"
);
/// Between two calls, so that the calls are spread over the time.
const PAUSE: Duration = Duration::from_millis(2);
/// Until the disturbers are all at work.
const RUN_UP: Duration = Duration::from_millis(200);

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let engine = Engine::new(Options::default())?;
    let (scheduler, shell) = (built_in(&engine, "any-branch")?, built_in(&engine, "shell")?);
    let disturbers = ["spin", "allocate", "print"].map(|what| Ok((what, disturber(&engine)?)));
    let disturbers = disturbers.into_iter().collect::<Result<Vec<_>>>()?;
    let calls = bench.count(2000, 100);
    let victims = move |beside: bool| {
        let (engine, scheduler, shell) = (engine.clone(), scheduler.clone(), shell.clone());
        let disturbers = disturbers.clone();
        async move {
            let mut disturbing = JoinSet::new();
            for (what, plugin) in disturbers.into_iter().filter(|_| beside) {
                disturbing.spawn(disturb(plugin, what));
            }
            tokio::time::sleep(RUN_UP).await;
            let handled = schedules(&scheduler, calls).await?;
            let ran = steps(&engine, &shell, calls).await?;
            // One that has ended by now did not disturb.
            ensure!(
                disturbing.try_join_next().is_none(),
                "expected the disturbers to go on"
            );
            disturbing.shutdown().await;
            Ok([handled, ran])
        }
    };
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..bench.repeat.max(1) {
        for (beside, times) in [false, true].into_iter().zip(&mut times) {
            let found: [Vec<f64>; 2] = runtime.block_on(apart(victims(beside)))?;
            for (all, found) in times.iter_mut().zip(found) {
                all.push(percentile(found));
            }
        }
    }
    let [[handled, ran], [handled_beside, ran_beside]] = times;
    Ok([
        lines("a scheduler handles a change", handled, handled_beside),
        lines("a step from its first row to its last", ran, ran_beside),
    ]
    .concat())
}

/// Runs it in a task, as the master does all that it does.
async fn apart<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let mut one = JoinSet::new();
    one.spawn(work);
    one.join_next().await.context("expected a task")??
}

fn lines(what: &str, alone: Vec<f64>, beside: Vec<f64>) -> Vec<Measured> {
    let rise = alone
        .iter()
        .zip(&beside)
        .map(|(alone, beside)| beside - alone)
        .collect();
    let line = |label: &str, runs| Measured::of(format!("{what}: {label}"), Unit::Milliseconds, runs);
    vec![
        Measured {
            note: "99th percentile, from when the call was due".to_owned(),
            ..line("alone", alone)
        },
        line("beside the three", beside),
        Measured {
            aim: Some(Aim::AtMost(10.0)),
            ..line("rise", rise)
        },
    ]
}

/// A plugin that does what its parameters say, with an account of its own.
fn disturber(engine: &Engine) -> Result<Plugin> {
    let bytes = std::fs::read(FIXTURE).with_context(|| format!("{FIXTURE}; run `cargo xtask plugins`"))?;
    Ok(engine.load(&bytes)?)
}

/// Calls it over and over; each call is ended by a limit.
async fn disturb(plugin: Plugin, what: &'static str) {
    let config = json!({ "do": what });
    loop {
        let _ended = plugin
            .handle(&caller(), &config, &[], Timestamp(0), SchedulerEvent::Started)
            .await;
    }
}

fn caller() -> Caller {
    Caller {
        owner: "bench".to_owned(),
        grants: Arc::default(),
        ports: Ports::nowhere(),
    }
}

async fn schedules(plugin: &Plugin, calls: usize) -> Result<Vec<f64>> {
    let (caller, config) = (caller(), json!({}));
    let mut times = Vec::with_capacity(calls);
    for call in 0..calls {
        let event = SchedulerEvent::Change(Box::new(change(call)));
        let due = due().await;
        plugin.handle(&caller, &config, &[], Timestamp(1), event).await?;
        times.push(micros(due) / 1000.0);
    }
    Ok(times)
}

async fn steps(engine: &Engine, plugin: &Plugin, calls: usize) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let run = step_run(plugin, json!({ "command": ["true"] }));
        let due = due().await;
        let end = drive(engine, run, Arc::new(AtOnce)).await?;
        times.push(micros(due) / 1000.0);
        ensure!(
            end.failure.is_none(),
            "expected the step to succeed, it ended with {end:?}"
        );
    }
    Ok(times)
}

/// Waits for the next call's time, and answers when that was: a thread that is not free is a delay as any other.
async fn due() -> Instant {
    let due = tokio::time::Instant::now() + PAUSE;
    tokio::time::sleep_until(due).await;
    due.into_std()
}

fn percentile(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

//! What a plugin costs that was written in Python or JavaScript: the rows of [`super::plugins`] with guests that carry an
//! interpreter. The guests are files in the folder that `CAPSTAN_BENCH_GUESTS` names: `python-step.wasm`,
//! `python-scheduler.wasm`, and the same for `javascript`, each with its manifest, as `capstan plugin build` makes them.
//!
//! The step ends at once, or asks for the time as often as its parameter `now` says. The scheduler asks for a build with
//! each change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use capstan_engine::{Engine, Options, Plugin};
use serde_json::json;

use super::plugins::{AtOnce, drive, micros, schedule, step_run};
use crate::row::{Bench, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "languages",
    what: "a scheduler's call, a step's run and a host call of guests in Python and JavaScript",
    run,
};

/// The folder with the guests.
pub(super) const FOLDER: &str = "CAPSTAN_BENCH_GUESTS";
pub(super) const LANGUAGES: [&str; 2] = ["python", "javascript"];
/// Host calls of one run.
const CALLS: u32 = 5000;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut lines = Vec::new();
    for language in LANGUAGES {
        let missing = match &folder {
            None => Some(format!("{FOLDER} names no folder with {language}-step.wasm")),
            Some(folder) if !folder.join(format!("{language}-step.wasm")).is_file() => {
                Some(format!("no {language}-step.wasm in {}", folder.display()))
            }
            Some(_) => None,
        };
        match (missing, &folder) {
            (None, Some(folder)) => lines.extend(runtime.block_on(measure(bench, folder, language))?),
            (reason, _) => lines.push(skipped(language, &reason.unwrap_or_default())),
        }
    }
    Ok(lines)
}

fn skipped(language: &str, reason: &str) -> Measured {
    Measured {
        note: format!("skipped: {reason}"),
        ..Measured::of(
            format!("{language}: not measured"),
            Unit::Microseconds,
            Vec::new(),
        )
    }
}

async fn measure(bench: &Bench, folder: &Path, language: &str) -> Result<Vec<Measured>> {
    let cache = bench.scratch.join(format!("cache-{language}"));
    let options = Options {
        cache_dir: Some(cache),
        journal_rows: CALLS + 10,
        ..Options::default()
    };
    let engine = Engine::new(options.clone())?;
    let read = |kind: &str| {
        let path = folder.join(format!("{language}-{kind}.wasm"));
        std::fs::read(&path).with_context(|| path.display().to_string())
    };
    let (step, scheduler) = (read("step")?, read("scheduler")?);
    let (cold, plugin) = timed(|| engine.load(&step))?;
    let scheduler = engine.load(&scheduler)?;
    // Another engine, as after a restart.
    let again = Engine::new(options)?;
    let (cached, _) = timed(|| again.load(&step))?;
    let runs = bench.count(300, 20);
    let (mut calls, mut steps, mut host) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.repeat.max(1) {
        calls.push(schedule(&scheduler, runs).await?);
        steps.push(whole(&engine, &plugin, runs).await?);
        host.push(host_call(&engine, &plugin, bench.count(10, 2)).await?);
    }
    let line = |label: &str, unit, runs| Measured::of(format!("{language}: {label}"), unit, runs);
    Ok(vec![
        Measured {
            note: format!("{:.1} MB of component", step.len() as f64 / 1e6),
            ..line("cold compile of a step", Unit::Milliseconds, vec![cold])
        },
        line("cached load of a step", Unit::Milliseconds, vec![cached]),
        line("a scheduler handles a change", Unit::Microseconds, calls),
        line("a step from its first row to its last", Unit::Microseconds, steps),
        line("a step's host call", Unit::Microseconds, host),
    ])
}

fn timed(load: impl FnOnce() -> Result<Plugin, capstan_engine::LoadError>) -> Result<(f64, Plugin)> {
    let start = Instant::now();
    let plugin = load()?;
    Ok((micros(start) / 1000.0, plugin))
}

/// The median time of one whole run in microseconds.
async fn whole(engine: &Engine, plugin: &Plugin, runs: usize) -> Result<f64> {
    let mut times = Vec::with_capacity(runs);
    for _ in 0..runs {
        times.push(one(engine, plugin, 0).await?);
    }
    Ok(median(&times))
}

/// What one host call takes: a run that makes many of them less one that makes none, divided.
async fn host_call(engine: &Engine, plugin: &Plugin, runs: usize) -> Result<f64> {
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        full.push(one(engine, plugin, CALLS).await?);
        empty.push(one(engine, plugin, 0).await?);
    }
    Ok((median(&full) - median(&empty)) / f64::from(CALLS))
}

async fn one(engine: &Engine, plugin: &Plugin, now: u32) -> Result<f64> {
    let prepared = step_run(plugin, json!({ "bench": true, "now": now }));
    let start = Instant::now();
    let end = drive(engine, prepared, Arc::new(AtOnce)).await?;
    let took = micros(start);
    ensure!(
        end.failure.is_none(),
        "expected the step to succeed, it ended with {end:?}"
    );
    Ok(took)
}

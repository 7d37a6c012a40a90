//! What a plugin costs that was written in Python or JavaScript: the rows of [`super::plugins`] with guests that carry an
//! interpreter, written with the SDK and built as an author builds them (`tests/bench/guests`), if the tools are there.
//!
//! The step ends at once, or asks for the time as often as its parameter `now` says. The scheduler asks for a build with
//! each change.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use capstan_conformance::{authored, guests, tools};
use capstan_engine::{Engine, Options, Plugin};
use capstan_model::plugin::Kind;
use capstan_pack::Language;
use serde_json::json;

use super::plugins::{AtOnce, drive, micros, schedule, step_run};
use crate::row::{Bench, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "languages",
    what: "a scheduler's call, a step's run and a host call of guests in Python and JavaScript",
    run,
};

/// The languages whose interpreter comes along.
const LANGUAGES: [Language; 2] = [Language::Python, Language::Javascript];
/// Host calls of one run.
const CALLS: u32 = 5000;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut lines = Vec::new();
    for language in LANGUAGES {
        if capstan_pack::is_installed(language, &tools()) {
            lines.extend(runtime.block_on(measure(bench, language))?);
        } else {
            lines.push(skipped(language));
        }
    }
    Ok(lines)
}

/// The languages that can be measured here.
pub(super) fn installed() -> impl Iterator<Item = Language> {
    LANGUAGES
        .into_iter()
        .filter(|language| capstan_pack::is_installed(*language, &tools()))
}

/// The component of a kind in a language.
pub(super) fn guest(kind: Kind, language: Language) -> Result<Vec<u8>> {
    authored(&guests(env!("CARGO_MANIFEST_DIR")), kind, language, "bench")
}

fn skipped(language: Language) -> Measured {
    Measured {
        note: "skipped: its tools are not there; `cargo xtask ci languages` installs them".to_owned(),
        ..Measured::of(
            format!("{language}: not measured"),
            Unit::Microseconds,
            Vec::new(),
        )
    }
}

async fn measure(bench: &Bench, language: Language) -> Result<Vec<Measured>> {
    let cache = bench.scratch.join(format!("cache-{language}"));
    let options = Options {
        cache_dir: Some(cache),
        journal_rows: CALLS + 10,
        ..Options::default()
    };
    let engine = Engine::new(options.clone())?;
    let (step, scheduler) = (guest(Kind::Step, language)?, guest(Kind::Scheduler, language)?);
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

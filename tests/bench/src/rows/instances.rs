//! What steps hold that wait with their instances in memory: a thousand of the built-in shell, in this process with the
//! master's own engine, each waiting for a command that does not end. Measured is the process's resident memory before the
//! first and with all of them. A hundred guests in Python and in JavaScript, too, where their tools are there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use capstan_engine::{Abandoned, CommandFault, Engine, Options, Plugin, StepPort};
use capstan_model::journal::{Effect, Entry};
use capstan_model::plugin::Kind;
use capstan_model::{CommandId, CommandSpec, Completion, Timestamp};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::languages::{guest, installed};
use super::plugins::{AtOnce, built_in, drive, step_run};
use crate::row::{Aim, Bench, Figure, Measured, Row, Unit};
use crate::usage::Watch;

/// The row.
pub const ROW: Row = Row {
    name: "instances",
    what: "the memory of a thousand steps that wait with their instances",
    run,
};

/// Longer than any machine takes to make a thousand instances.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the machine's own line writes to, for each instance: one page of WebAssembly.
const PAGE: usize = 64 << 10;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let count = bench.count(1000, 50);
    // No plugin gets every place: see to it that its share is large enough.
    let places = Options {
        step_instances: 1200,
        ..Options::default()
    };
    let engine = Engine::new(places)?;
    let shell = built_in(&engine, "shell")?;
    let held = runtime.block_on(held(&engine, &shell, &json!({ "command": ["true"] }), count))?;
    let bare = bare(count)?;
    let mut lines = vec![Measured {
        aim: Some(Aim::AtMost(200.0 * count as f64 / 1000.0)),
        limit: Some((
            "as many mappings of 64 kB, written".to_owned(),
            Figure::new(bare, Unit::Megabytes),
        )),
        note: "the built-in shell, waiting for its command".to_owned(),
        ..Measured::of(format!("{count} live instances"), Unit::Megabytes, vec![held])
    }];
    let few = bench.count(100, 10);
    for language in installed() {
        let engine = Engine::new(Options {
            cache_dir: Some(bench.scratch.join("cache")),
            ..Options::default()
        })?;
        let plugin = engine.load(&guest(Kind::Step, language)?)?;
        let held = runtime.block_on(self::held(&engine, &plugin, &json!({ "wait": true }), few))?;
        let label = format!("{language}: one of {few} live instances");
        lines.push(Measured::of(
            label,
            Unit::Kilobytes,
            vec![held * 1000.0 / few as f64],
        ));
    }
    Ok(lines)
}

/// By how many megabytes the process grows.
async fn held(engine: &Engine, plugin: &Plugin, config: &Value, count: usize) -> Result<f64> {
    // What the first instance alone needs is not counted.
    drive(engine, step_run(plugin, config.clone()), Arc::new(AtOnce)).await?;
    let before = resident()?;
    let mut all = JoinSet::new();
    for _ in 0..count {
        let (engine, run) = (engine.clone(), step_run(plugin, config.clone()));
        all.spawn(async move { drive(&engine, run, Arc::new(Never)).await });
    }
    let began = Instant::now();
    while engine.live_steps() < count as u64 {
        ensure!(
            began.elapsed() < PATIENCE,
            "{} of {count} instances were made",
            engine.live_steps()
        );
        ensure!(all.try_join_next().is_none(), "expected every step to wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let grown = resident()? - before;
    all.shutdown().await;
    Ok(grown)
}

/// What as many mappings take, each written to as far as one page of WebAssembly.
fn bare(count: usize) -> Result<f64> {
    let before = resident()?;
    let all: Vec<Vec<u8>> = (0..count).map(|_| vec![1; PAGE]).collect();
    std::hint::black_box(&all);
    Ok(resident()? - before)
}

fn resident() -> Result<f64> {
    Ok(Watch::start(std::process::id())?.memory_at_start_kb() as f64 * 1024.0 / 1e6)
}

/// A master whose commands do not end.
struct Never;

impl StepPort for Never {
    fn append(&self, rows: Vec<Entry>, effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.append(rows, effects)
    }

    fn append_start(
        &self,
        rows: Vec<Entry>,
        effects: Vec<Effect>,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.append_start(rows, effects, id, spec)
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        AtOnce.journal()
    }

    fn start_command(
        &self,
        seq: u32,
        id: CommandId,
        spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        AtOnce.start_command(seq, id, spec)
    }

    fn wait_command(&self, _id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        Box::pin(std::future::pending())
    }

    fn kill_command(&self, id: CommandId, reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.kill_command(id, reason)
    }

    fn sleep_until(&self, _at: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    fn now(&self) -> Timestamp {
        AtOnce.now()
    }

    fn write_log(&self, name: String, offset: u64, text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        AtOnce.write_log(name, offset, text)
    }
}

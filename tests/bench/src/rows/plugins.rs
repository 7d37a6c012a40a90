//! Calls into plugins, in this process with the master's own engine: a scheduler handling a change, the whole run of a step
//! whose command ends at once, and one host call of a step, row of its journal included. Nothing is stored; what the store
//! costs is another row.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use capstan_engine::{
    Abandoned, Caller, CommandFault, Engine, Options, Plugin, Ports, SchedulerEvent, StepEnd, StepPort,
    StepRun, WaitMode,
};
use capstan_model::journal::{Created, Effect, Entry, HOST_ABI};
use capstan_model::plugin::Rights;
use capstan_model::{
    Change, ChangeId, CommandId, CommandSpec, Completion, Exit, NewChange, Properties, SourceStamp, StepId,
    Timestamp,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::row::{Aim, Bench, Measured, Row, Unit, median};

/// The row.
pub const ROW: Row = Row {
    name: "plugins",
    what: "a scheduler's call, a step's whole run, one host call",
    run,
};

/// A guest that makes one host call after the other until its journal is full.
const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/guests/fixtures/fixture-step.wasm"
);

/// Calls before those that are measured.
const WARM: usize = 50;

fn run(bench: &Bench) -> Result<Vec<Measured>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(bench))
}

async fn measure(bench: &Bench) -> Result<Vec<Measured>> {
    let options = Options::default();
    let rows = options.journal_rows;
    let engine = Engine::new(options)?;
    let calls = bench.count(5000, 300);
    let rounds = bench.repeat.max(1);
    let (scheduler, shell) = (built_in(&engine, "any-branch")?, built_in(&engine, "shell")?);
    let (mut schedules, mut steps, mut host) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        schedules.push(schedule(&scheduler, calls).await?);
        steps.push(step(&engine, &shell, calls).await?);
    }
    let fixture = fixture(&engine)?;
    for _ in 0..rounds {
        host.push(host_call(&engine, &fixture, rows, bench.count(20, 3)).await?);
    }
    let note = |text: String| text;
    Ok(vec![
        Measured {
            aim: Some(Aim::AtMost(50.0)),
            note: note(format!(
                "the built-in any-branch gets a change and asks for builds; {calls} calls, each with a new instance"
            )),
            ..Measured::of("a scheduler handles a change", Unit::Microseconds, schedules)
        },
        Measured {
            aim: Some(Aim::AtMost(150.0)),
            note: note(format!(
                "the built-in shell: instance, command, end; {calls} runs; commands and storage answer at once"
            )),
            ..Measured::of("a step from its first row to its last", Unit::Microseconds, steps)
        },
        Measured {
            aim: Some(Aim::AtMost(1.0)),
            note: note(format!(
                "a guest that asks for the time {rows} times, with the row that each answer leaves in the journal"
            )),
            ..Measured::of("a step's host call", Unit::Microseconds, host)
        },
    ])
}

pub(super) fn built_in(engine: &Engine, name: &str) -> Result<Plugin> {
    let found = capstan_builtin::components()
        .iter()
        .find(|(known, _)| *known == name);
    let (_, bytes) = found.with_context(|| format!("expected a built-in plugin {name}"))?;
    Ok(engine.load(bytes)?)
}

/// The median time of one call in microseconds.
pub(super) async fn schedule(plugin: &Plugin, calls: usize) -> Result<f64> {
    let caller = Caller {
        owner: "bench".to_owned(),
        grants: Arc::default(),
        ports: Ports::nowhere(),
    };
    let config = json!({});
    let begun = plugin
        .handle(&caller, &config, &[], Timestamp(0), SchedulerEvent::Started)
        .await?;
    let mut times = Vec::with_capacity(calls);
    for call in 0..WARM + calls {
        let event = SchedulerEvent::Change(Box::new(change(call)));
        let start = Instant::now();
        let decision = plugin
            .handle(&caller, &config, &begun.state, Timestamp(1), event)
            .await?;
        if call >= WARM {
            times.push(micros(start));
        }
        ensure!(
            !decision.submit.is_empty(),
            "expected the scheduler to ask for a build"
        );
    }
    Ok(median(&times))
}

/// The median time of one whole run in microseconds.
async fn step(engine: &Engine, plugin: &Plugin, runs: usize) -> Result<f64> {
    let mut times = Vec::with_capacity(runs);
    for run in 0..WARM + runs {
        let prepared = step_run(plugin, json!({ "command": ["true"] }));
        let start = Instant::now();
        let end = drive(engine, prepared, Arc::new(AtOnce)).await?;
        if run >= WARM {
            times.push(micros(start));
        }
        ensure!(
            end.failure.is_none(),
            "expected the step to succeed, it ended with {end:?}"
        );
    }
    Ok(median(&times))
}

/// What one host call takes: a run that makes `rows` of them less one that makes none, divided.
async fn host_call(engine: &Engine, plugin: &Plugin, rows: u32, runs: usize) -> Result<f64> {
    let (mut full, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let prepared = step_run(plugin, json!({ "script": [{ "op": "now-forever" }] }));
        let start = Instant::now();
        let end = drive(engine, prepared, Arc::new(AtOnce)).await?;
        full.push(micros(start));
        ensure!(
            end.failure.is_some(),
            "expected the journal's limit to end the guest, it ended with {end:?}"
        );
        let prepared = step_run(plugin, json!({ "script": [] }));
        let start = Instant::now();
        drive(engine, prepared, Arc::new(AtOnce)).await?;
        empty.push(micros(start));
    }
    Ok((median(&full) - median(&empty)) / f64::from(rows))
}

/// Runs a step to its end.
pub(super) async fn drive(engine: &Engine, run: StepRun, port: Arc<dyn StepPort>) -> Result<StepEnd> {
    let (_never, stop) = watch::channel(None);
    Ok(engine.run_step(run, port, stop).await?)
}

/// The guest of which [`FIXTURE`] speaks.
pub(super) fn fixture(engine: &Engine) -> Result<Plugin> {
    let bytes = std::fs::read(Path::new(FIXTURE));
    Ok(engine.load(&bytes.with_context(|| format!("{FIXTURE}; run `cargo xtask plugins`"))?)?)
}

pub(super) fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

pub(super) fn step_run(plugin: &Plugin, config: Value) -> StepRun {
    let mut properties = Properties::default();
    properties.set("branch", "main", "scheduler");
    let created = Created {
        plugin: plugin.digest(),
        plugin_name: plugin.name().to_owned(),
        world: plugin.world(),
        host_abi: HOST_ABI,
        config,
        env: None,
        seed: 42,
        step_name: "compile".to_owned(),
        sources: vec![SourceStamp::default()],
        properties,
    };
    let grants = Rights {
        commands: vec!["*".to_owned()],
        ..Rights::default()
    };
    StepRun {
        plugin: plugin.clone(),
        grants: Arc::new(grants),
        created,
        journal: Vec::new(),
        installation: Uuid::from_u128(7),
        step: StepId(9),
        builder: "hello".to_owned(),
        builder_dir: "hello".to_owned(),
        env: [].into(),
        orphan_timeout_ms: 60_000,
        mode: WaitMode::Warm,
    }
}

pub(super) fn change(number: usize) -> Change {
    let facts = NewChange {
        dedup_key: format!("change-{number}"),
        codebase: String::new(),
        repository: "https://git.example.org/project".to_owned(),
        project: "project".to_owned(),
        branch: Some("main".to_owned()),
        revision: format!("{number:040x}"),
        author: "Ada <ada@example.org>".to_owned(),
        comments: "Say what the numbers mean\n\nThey were bare before.".to_owned(),
        files: vec![
            "src/numbers.c".to_owned(),
            "src/numbers.h".to_owned(),
            "README".to_owned(),
        ],
        category: None,
        when: Timestamp(1),
        properties: Properties::default(),
    };
    Change {
        id: ChangeId(i64::try_from(number).unwrap_or(0)),
        source: "git".to_owned(),
        received: Timestamp(2),
        facts,
    }
}

/// A master whose storage and workers answer at once.
pub(super) struct AtOnce;

impl StepPort for AtOnce {
    fn append(&self, _rows: Vec<Entry>, _effects: Vec<Effect>) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }

    fn append_start(
        &self,
        _rows: Vec<Entry>,
        _effects: Vec<Effect>,
        _id: CommandId,
        _spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }

    fn journal(&self) -> BoxFuture<'_, Result<Vec<Entry>, Abandoned>> {
        async { Err(Abandoned("its rows are kept nowhere".to_owned())) }.boxed()
    }

    fn start_command(
        &self,
        _seq: u32,
        _id: CommandId,
        _spec: CommandSpec,
    ) -> BoxFuture<'_, Result<(), CommandFault>> {
        async { Ok(()) }.boxed()
    }

    fn wait_command(&self, _id: CommandId) -> BoxFuture<'_, Result<Completion, CommandFault>> {
        let completion = Completion {
            exit: Exit::Code(0),
            duration_ms: 1,
            stdout_bytes: 0,
            stderr_bytes: 0,
            stdout: Vec::new(),
        };
        async { Ok(completion) }.boxed()
    }

    fn kill_command(&self, _id: CommandId, _reason: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }

    fn sleep_until(&self, _at: Timestamp) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn now(&self) -> Timestamp {
        Timestamp(1)
    }

    fn write_log(&self, _name: String, _offset: u64, _text: String) -> BoxFuture<'_, Result<(), Abandoned>> {
        async { Ok(()) }.boxed()
    }
}

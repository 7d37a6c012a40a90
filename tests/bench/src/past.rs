//! A farm with a past: one build made through the store with all that belongs to it, and copied as often as wanted by SQL
//! that knows which columns are keys and times. So the copies have the shape that this version of the store writes.

mod copies;

use std::path::Path;

use anyhow::{Context as _, Result};
use capstan_model::journal::{Class, Entry, Kind};
use capstan_model::plan::Bundle;
use capstan_model::{
    CommandId, CommandSpec, Completion, Digest, EnvValue, Exit, NewChange, Outcome, Program, Properties,
    SourceStamp, StepId, Timestamp,
};
use capstan_store::{
    BuildFinish, NewBuild, NewBuildset, NewCommand, NewReport, NewStep, Options, Store, Synchronous,
};
use serde_json::json;

/// Steps of each build.
const STEPS: usize = 7;
/// Between one build and the next.
const PERIOD_MS: i64 = 20_000;
/// Requests that wait for a worker.
const WAITING: usize = 20;

/// Fills the database of a farm whose master has never run: `builds` builds of `builders` builders named as in
/// [`crate::builders::many`]. The second builder has a tenth of them and more, the last has
/// three, the oldest, the others share the rest.
pub async fn fill(farm: &Path, builds: usize, builders: usize, now: Timestamp) -> Result<()> {
    let database = farm.join("data/capstan.db");
    let options = Options {
        synchronous: Synchronous::Normal,
        ..Options::new(format!("sqlite:{}", database.display()))
    };
    let begun = now.plus_ms(-PERIOD_MS * i64::try_from(builds)?);
    let store = Store::open(&options, begun).await?;
    first_build(&store, begun).await?;
    store.close().await;
    copies::make(&database, builds, builders).await?;
    let store = Store::open(&options, now).await?;
    for _ in 0..WAITING {
        store.submit(buildset(vec![stamp()], Vec::new()), now).await?;
    }
    store.close().await;
    Ok(())
}

/// The build that is copied. Nothing else is in the database, so each of its rows has the first ids of its table.
async fn first_build(store: &Store, now: Timestamp) -> Result<()> {
    for worker in 0..10 {
        store.upsert_worker(&format!("w{worker}"), now).await?;
    }
    let change = store
        .accept_changes("git", b"cursor", vec![change()], &[], now)
        .await?;
    let changes = change.iter().map(|change| change.id).collect();
    let requests = store
        .submit(buildset(vec![stamp()], changes), now)
        .await?
        .requests;
    let mut properties = Properties::default();
    for (name, value) in [
        ("branch", "main"),
        ("revision", "b2c3"),
        ("owner", "Ada <ada@example.org>"),
    ] {
        properties.set(name, value, "scheduler");
    }
    let report = |phase: &str| NewReport {
        reporter: "report-file".to_owned(),
        phase: phase.to_owned(),
    };
    let build = NewBuild {
        shown: None,
        directory: String::new(),
        locks: Vec::new(),
        builder: "builder-0".to_owned(),
        requests,
        worker: "w0".to_owned(),
        plan: store.put_plan(Bundle::default(), now).await?,
        reason: "a change by Ada".to_owned(),
        sources: vec![stamp()],
        properties,
        steps: (0..STEPS).map(new_step).collect(),
        reports: vec![report("started")],
    };
    let build = store
        .create_build(build, now)
        .await?
        .context("expected the request to wait")?;
    for step in &build.steps {
        done_step(store, *step, now).await?;
    }
    let finish = BuildFinish {
        outcome: Outcome::Success,
        summary: "412 tests passed".to_owned(),
        reports: vec![report("finished")],
        subscribers: Vec::new(),
        retry: false,
    };
    store.finish_build(build.id, finish, now.plus_ms(15_000)).await?;
    for report in store.reports(None, 10).await? {
        store.report_delivered(report.id, now).await?;
    }
    Ok(())
}

async fn done_step(store: &Store, step: StepId, now: Timestamp) -> Result<()> {
    store.begin_step(step, entry(0, Kind::Created, now), now).await?;
    let command = NewCommand {
        id: CommandId::derive(store.installation(), step, 1),
        seq: 1,
        log: "stdio".to_owned(),
        worker: "w0".to_owned(),
        spec: spec(),
    };
    let id = command.id;
    let start = vec![entry(1, Kind::Start, now)];
    let log = store
        .append_journal(step, start, Vec::new(), Some(command), now)
        .await?;
    let completion = Completion {
        exit: Exit::Code(0),
        duration_ms: 2000,
        stdout_bytes: 4096,
        stderr_bytes: 0,
        stdout: Vec::new(),
    };
    let end = now.plus_ms(2000);
    store.finish_command(id, completion, end).await?;
    store
        .append_journal(step, vec![entry(2, Kind::End, end)], Vec::new(), None, end)
        .await?;
    store
        .seal_log(log.context("expected a log")?.id, 4096, 80, end)
        .await?;
    store
        .finish_step(
            step,
            Outcome::Success,
            "412 tests",
            Some(entry(3, Kind::Finished, end)),
            end,
        )
        .await?;
    Ok(())
}

fn buildset(sources: Vec<SourceStamp>, changes: Vec<capstan_model::ChangeId>) -> NewBuildset {
    NewBuildset {
        scheduler: Some("each-push".to_owned()),
        reason: "a change by Ada".to_owned(),
        sources,
        changes,
        builders: vec!["builder-0".to_owned()],
        ..NewBuildset::default()
    }
}

fn stamp() -> SourceStamp {
    SourceStamp {
        repository: "https://git.example.org/project".to_owned(),
        branch: Some("main".to_owned()),
        revision: Some("b2c3".to_owned()),
        ..SourceStamp::default()
    }
}

fn change() -> NewChange {
    NewChange {
        dedup_key: "first".to_owned(),
        codebase: String::new(),
        repository: "https://git.example.org/project".to_owned(),
        project: "project".to_owned(),
        branch: Some("main".to_owned()),
        revision: "b2c3".to_owned(),
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
    }
}

fn new_step(number: usize) -> NewStep {
    NewStep {
        name: format!("part-{number}"),
        plugin: "shell".to_owned(),
        digest: Digest::of(b"shell"),
        config: json!({ "command": ["make", "-C", "parts", format!("part-{number}")] }),
        options: json!({ "halt_on_failure": true }),
    }
}

fn spec() -> CommandSpec {
    CommandSpec {
        program: Program::Argv(["make", "-C", "parts", "all"].map(str::to_owned).into()),
        builder_dir: "builder-0".to_owned(),
        workdir: "build".to_owned(),
        env: [("CI".to_owned(), EnvValue::Set("1".to_owned()))].into(),
        log: "stdio".to_owned(),
        idle_timeout_ms: Some(1_200_000),
        total_timeout_ms: None,
        term_grace_ms: 10_000,
        orphan_timeout_ms: 60_000,
        capture_stdout: 0,
    }
}

fn entry(seq: u32, kind: Kind, at: Timestamp) -> Entry {
    Entry {
        seq,
        kind,
        call: kind.as_str().to_owned(),
        class: if matches!(kind, Kind::Start | Kind::End) {
            Class::RunOnce
        } else {
            Class::Local
        },
        request_hash: Digest::of(&seq.to_le_bytes()),
        request: Some(json!({ "program": { "argv": ["make", "-C", "parts", "all"] } })),
        response: (kind == Kind::End).then(|| json!({ "code": 0 })),
        at,
    }
}

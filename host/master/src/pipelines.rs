//! Pipelines of repositories: a step of a build that is replaced by the steps that a file of the repository gives. Called by `build`.
//!
//! The file is read from the mirror at the build's revision and evaluated in a process of its own (`child`); what that answers is
//! looked at again here (`verify`). The steps, the revision that they are from and the end of the step that stood for them are one
//! transaction: a master that dies before has begun nothing that it could go on with otherwise.

mod child;
mod files;
mod verify;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use capstan_config::PluginInfo;
use capstan_config::pipeline::{Answer, Request};
use capstan_model::plan::Step as Planned;
use capstan_model::{Channel, Outcome, Pipeline, SourceStamp, counted};
use capstan_store::{Build, NewStep, Record, Step, Unfolded};
use futures::FutureExt as _;
use serde::Deserialize as _;
use tokio::sync::Semaphore;

use crate::Error;
use crate::build::{Became, Next, StepOptions};
use crate::farm::Farm;
use crate::git::Mirrors;
use crate::ledger::Ledger;
use files::Files;
use verify::verified;

/// Evaluations side by side.
const ABREAST: usize = 2;
/// The log that says what was read, and what came of it.
const LOG: &str = "pipeline";

/// What evaluating pipelines needs of the master.
pub(crate) struct Pipelines {
    mirrors: Arc<Mirrors>,
    turns: Semaphore,
    /// An empty folder, in which the processes are.
    folder: PathBuf,
}

impl Pipelines {
    pub fn new(mirrors: Arc<Mirrors>, folder: PathBuf) -> Self {
        Self {
            mirrors,
            turns: Semaphore::new(ABREAST),
            folder,
        }
    }
}

/// What a pipeline's file became, or a word on why nothing.
struct Read {
    became: Result<Unfolded, String>,
    /// For the log.
    told: String,
}

impl Read {
    fn failed(told: String, fault: impl Into<String>) -> Self {
        let fault = fault.into();
        Self {
            told: format!("{told}error: {fault}\n"),
            became: Err(fault),
        }
    }
}

/// Puts a pipeline's steps in the place of the step that stands for it.
pub(crate) async fn run(
    farm: &Farm,
    ledger: &Ledger,
    build: &Build,
    next: Box<Next>,
) -> Result<Became, Error> {
    let Next { step, options } = *next;
    ledger.commit(farm).await?;
    farm.store.begin_pipeline(step.id, farm.clock.now()).await?;
    let mut stop = farm.stops.signal(build.id, options.always_run);
    let read = tokio::select! {
        read = read(farm, build, &step, &options).boxed() => read?,
        Ok(_) = stop.wait_for(Option::is_some) => {
            finish(farm, ledger, &step, Outcome::Cancelled, "stopped");
            return Ok(Outcome::Cancelled.into());
        }
    };
    tell(farm, ledger, &step, &read.told).await?;
    match read.became {
        Ok(unfolded) => {
            ledger.commit(farm).await?;
            farm.store.unfold_pipeline(unfolded, farm.clock.now()).await?;
            Ok(Outcome::Success.into())
        }
        Err(fault) => {
            finish(farm, ledger, &step, Outcome::Exception, &fault);
            Ok(Outcome::Exception.into())
        }
    }
}

/// The log has all of a fault; a summary has so many characters of it.
const MAX_SUMMARY: usize = 500;

fn finish(farm: &Farm, ledger: &Ledger, step: &Step, outcome: Outcome, summary: &str) {
    let summary = summary.chars().take(MAX_SUMMARY).collect();
    let end = Record::Finish {
        step: step.id,
        outcome,
        summary,
    };
    ledger.note(farm.clock.now(), end);
}

async fn read(farm: &Farm, build: &Build, step: &Step, options: &StepOptions) -> Result<Read, Error> {
    let pipeline = match (Pipeline::deserialize(&step.config), &options.fault) {
        (_, Some(fault)) => return Ok(Read::failed(String::new(), fault)),
        (Ok(pipeline), None) => pipeline,
        (Err(error), None) => return Err(Error::failed("read what a pipeline may be", error)),
    };
    let (place, mut stamp) = match source(&pipeline, build) {
        Ok(found) => found,
        Err(fault) => return Ok(Read::failed(String::new(), fault)),
    };
    let mirrors = &farm.pipelines.mirrors;
    let (branch, revision) = (stamp.branch.as_deref(), stamp.revision.as_deref());
    let revision = match mirrors.revision(&pipeline.repository, branch, revision).await {
        Ok(revision) => revision,
        Err(fault) => return Ok(Read::failed(String::new(), fault.to_string())),
    };
    let mut told = format!("{} of {} at {revision}\n", pipeline.file, pipeline.repository);
    stamp.revision = Some(revision.clone());
    let answer = evaluate(farm, build, &pipeline, &revision).await?;
    told.push_str(&answer.told);
    if let Some(fault) = answer.fault {
        return Ok(Read {
            became: Err(fault),
            told,
        });
    }
    if let Err(fault) = verified(farm, &pipeline, &answer.steps).await? {
        return Ok(Read::failed(told, fault));
    }
    let steps = named_apart(farm, build, answer.steps).await?;
    for step in &steps {
        told.push_str(&format!(
            "{}: {} ({})\n",
            step.plugin.location, step.name, step.plugin.plugin
        ));
    }
    let short: String = revision.chars().take(12).collect();
    let summary = format!(
        "{} from {} at {short}",
        counted(steps.len() as u64, "step"),
        pipeline.file
    );
    let unfolded = Unfolded {
        step: step.id,
        source: (place, stamp),
        steps: steps
            .iter()
            .map(|step| new_step(step, options, &pipeline))
            .collect(),
        summary,
    };
    Ok(Read {
        became: Ok(unfolded),
        told,
    })
}

/// The source of the build that the pipeline is about, and its place. A build that is about nothing is about the newest revision.
fn source(pipeline: &Pipeline, build: &Build) -> Result<(u32, SourceStamp), String> {
    let mut sources = build.sources.iter().zip(0u32..);
    let same = |stamp: &SourceStamp| stamp.repository == pipeline.repository || stamp.repository.is_empty();
    if let Some((stamp, place)) = sources.find(|(stamp, _)| same(stamp)) {
        return Ok((place, stamp.clone()));
    }
    if build.sources.is_empty() {
        let newest = SourceStamp {
            codebase: String::new(),
            repository: pipeline.repository.clone(),
            project: String::new(),
            branch: None,
            revision: None,
            patch: None,
        };
        return Ok((0, newest));
    }
    let found: Vec<_> = build
        .sources
        .iter()
        .map(|stamp| stamp.repository.as_str())
        .collect();
    Err(format!(
        "expected a build of {}, whose {} it takes its steps from, found one of {}",
        pipeline.repository,
        pipeline.file,
        found.join(" and ")
    ))
}

async fn evaluate(farm: &Farm, build: &Build, pipeline: &Pipeline, revision: &str) -> Result<Answer, Error> {
    let mut allowed = Vec::new();
    for step in &pipeline.allow {
        match farm.pinned(step.digest).await {
            Ok(plugin) => allowed.push(PluginInfo::new(plugin.manifest().clone(), plugin.digest())),
            // A store that cannot be read now may be later.
            Err(error @ Error::Store(_)) => return Err(error),
            Err(error) => return Ok(Answer::fault(error.to_string())),
        }
    }
    let request = Request {
        file: pipeline.file.clone(),
        builder: build.made_by.clone(),
        allowed,
        secrets: Some(pipeline.secrets.clone()),
        workdir: pipeline.workdir.clone(),
    };
    let pipelines = &farm.pipelines;
    let mut files = Files::new(&pipelines.mirrors, pipeline, revision);
    let _turn = pipelines.turns.acquire().await;
    Ok(
        match child::evaluate(&pipelines.folder, &request, &mut files).await {
            Ok(answer) => answer,
            Err(fault) => Answer::fault(format!("{}: {fault}", pipeline.file)),
        },
    )
}

/// Steps whose names no other step of the build has.
async fn named_apart(farm: &Farm, build: &Build, steps: Vec<Planned>) -> Result<Vec<Planned>, Error> {
    let there = farm.store.steps(build.id).await?;
    let mut taken: BTreeSet<String> = there.into_iter().map(|step| step.name).collect();
    let apart = steps.into_iter().map(|step| {
        let numbered = (2..).map(|n: u64| format!("{}-{n}", step.name));
        let mut names = std::iter::once(step.name.clone()).chain(numbered);
        let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(name.clone());
        Planned { name, ..step }
    });
    Ok(apart.collect())
}

fn new_step(step: &Planned, stands: &StepOptions, pipeline: &Pipeline) -> NewStep {
    NewStep {
        name: step.name.clone(),
        plugin: step.plugin.plugin.clone(),
        digest: step.plugin.digest,
        config: step.plugin.config.clone(),
        options: stands.of_pipeline(step, &pipeline.secrets).to_value(),
    }
}

/// Writes the log of the step. Of a reading that a crash undid it may be there already: the branch may have moved since.
async fn tell(farm: &Farm, ledger: &Ledger, step: &Step, text: &str) -> Result<(), Error> {
    let log = farm.store.open_log(step.id, LOG, farm.clock.now()).await?;
    let mut writer = farm.logs.writer(log).await?;
    let there = writer.totals().channel(Channel::Stdout);
    let again = if there > 0 { "read again:\n" } else { "" };
    writer
        .append_text(there, Channel::Stdout, 0, format!("{again}{text}").as_bytes())
        .await?;
    drop(writer);
    let totals = farm.logs.end(log).await?;
    let (length, lines) = (totals.length, totals.lines);
    ledger.note(farm.clock.now(), Record::LogComplete { log, length, lines });
    farm.to_seal.notify_one();
    Ok(())
}
